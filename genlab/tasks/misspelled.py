"""Methods of an author's class that nothing calls, and whose names are nearly those of optional ones. Free of torch."""

from __future__ import annotations

import difflib
import functools
import inspect
import logging
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

from genlab.tasks.base import Replica, Task
from genlab.tasks.config import Config
from genlab.tasks.returned import where

NEAR = 0.8  # of difflib's ratio: `sampel` is as near to `sample` as 0.83

logger = logging.getLogger(__name__)


def warn(*kinds: type) -> None:
    """Log a line for each method of these classes, and of the tasks, configs and replicas beside them in their modules,
    that is taken for a misspelled one. An author's helper that something calls is none, whatever its name."""
    for line in found(*kinds):
        logger.warning(line)


def found(*kinds: type) -> list[str]:
    """The lines that `warn` logs."""
    own = list(dict.fromkeys(one for kind in kinds for one in kind.__mro__ if _is_own(one)))
    modules = {one.__module__: made.__globals__ for one in own for made in _functions(vars(one))}  # their names
    modules |= {one.__module__: vars(sys.modules[one.__module__]) for one in own if one.__module__ in sys.modules}
    beside = [one for names in modules.values() for one in names.values() if isinstance(one, type)]
    classes = dict.fromkeys([*own, *(one for one in beside if one.__module__ in modules)])
    used = {
        name
        for names in [*modules.values(), *map(vars, classes)]
        for made in _functions(names)
        for name in _names(made.__code__)
    }
    return [line for one in classes if _is_own(one) for line in _lines(one, used)]


def _lines(kind: type, used: set[str]) -> Iterator[str]:
    """Of one class."""
    own = {name for one in kind.__mro__ if _is_own(one) for name in vars(one)}
    inherited = [vars(one) for one in kind.__mro__ if not _is_own(one)]
    optional = {name for names in inherited for name in names if not name.startswith("_") and _function(names[name])}
    near = {_plain(name): name for name in optional - own}
    for name, value in vars(kind).items():
        function = _function(value)
        if name.startswith("_") or name in used or function is None or any(name in names for names in inherited):
            continue
        if close := difflib.get_close_matches(_plain(name), near, n=1, cutoff=NEAR):
            yield f"nothing calls {name}() ({where(function)}): is it to be {near[close[0]]}()?"


def _is_own(value: Any) -> bool:
    """Whether it is an author's class of a task, config or replica."""
    ours = isinstance(value, type) and value.__module__.partition(".")[0] == "genlab"
    return isinstance(value, type) and not ours and issubclass(value, (Task, Config, Replica))


def _plain(name: str) -> str:
    return name.lower().replace("_", "")


def _function(value: Any) -> Any:
    """The function of a method or a property; None where it is neither."""
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    elif isinstance(value, property):
        value = value.fget
    elif isinstance(value, functools.cached_property):
        value = value.func
    value = inspect.unwrap(value) if callable(value) else value
    return value if isinstance(value, types.FunctionType) else None


def _functions(names: Mapping[str, Any]) -> Iterator[types.FunctionType]:
    """Those among a module's names, or a class's, methods and properties among them."""
    yield from (made for value in list(names.values()) if (made := _function(value)) is not None)


def _names(code: types.CodeType) -> Iterator[str]:
    """What a function looks up, by attribute or by text, functions inside of it included."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
        elif isinstance(constant, str) and constant.isidentifier():
            yield constant
