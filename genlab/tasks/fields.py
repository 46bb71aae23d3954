"""The fields of a config: their types, their values, and how a command line writes them. Free of torch."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from genlab.errors import GenlabError, nearest

if TYPE_CHECKING:
    from genlab.tasks.config import Config

    C = TypeVar("C", bound=Config)

SEPARATOR = ":"  # between the elements of a tuple; the comma stands between the values of a choice


def build(kind: type[C], settings: Mapping[str, Any]) -> C:
    """A checked config from some of its fields; the others keep their defaults.

    Raises:
        GenlabError: a key that is no field (with the nearest ones), a value of another type or out of range, or none
            for a field that has no default.
    """
    without = [field.name for field in dataclasses.fields(kind) if field.name not in settings and _is_needed(field)]
    if without:
        raise GenlabError(
            f"{kind.__name__} has no value for {', '.join(without)}: give the field a default in the class, which is "
            "that of trial 0, or name it in the sweep's settings"
        )
    config = kind(**{name: check_value(kind, name, value) for name, value in settings.items()})
    config.check()
    return config


def complete(kind: type[Config], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Values of all fields: those of `settings`, else the defaults; none of a field that has neither. Only types are
    checked, so that a default that no trial has may be one that a config refuses. For the driver: of a class that was
    sent to a lane `dataclasses.MISSING` is another one.

    Raises:
        GenlabError: a key that is no field, or a value of another type.
    """
    defaults = {field.name: _default(field) for field in dataclasses.fields(kind) if not _is_needed(field)}
    return {name: check_value(kind, name, value) for name, value in {**defaults, **settings}.items()}


def as_dict(config: Config) -> dict[str, Any]:
    """All fields by name. JSON turns tuples into lists, which `build` takes for tuples again."""
    return dataclasses.asdict(config)


def check_value(kind: type[Config], name: str, value: Any) -> Any:
    """`value` as field `name` holds it.

    An int is taken for a float, a list or the text `0:0.01` for a tuple, a number of numpy's for Python's own; nothing
    else is changed.

    Raises:
        GenlabError: no such field, another type, or nan, which is equal to nothing: no search could find it again.
    """
    hint, value = _hint(kind, name), plain(value)
    for option in options(hint):
        try:
            if typing.get_origin(option) is tuple and isinstance(value, str):
                return _parse_tuple(option, value)
            return _checked(option, value)
        except ValueError:
            continue
    raise _ill_typed(name, repr(value), hint)


def parse_value(kind: type[Config], name: str, text: str) -> Any:
    """The value of field `name` that `text` writes on a command line.

    Raises:
        GenlabError: no such field, or no value of its type.
    """
    hint = _hint(kind, name)
    for option in options(hint):
        try:
            return _parse(option, text)
        except ValueError:
            continue
    raise _ill_typed(name, text, hint)


def as_text(value: Any) -> str:
    """`value` as a command line writes it; `parse_value` reads it back."""
    if isinstance(value, (tuple, list)):
        return SEPARATOR.join(as_text(each) for each in value)
    return str(value)


def written(value: Any) -> Any:
    """A tuple as a command line writes it, which is how it is searched and recorded; everything else as it is."""
    return as_text(value) if isinstance(value, tuple) else value


def plain(value: Any) -> Any:
    """`value`; of a number, bool or text of numpy's, alone or in a tuple or list, Python's own."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value.item()
    if type(value) in (tuple, list):
        return type(value)([plain(each) for each in value])
    return value


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _is_needed(field: dataclasses.Field[Any]) -> bool:
    """Whether a config cannot be made without a value for it."""
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


@functools.cache
def hints(kind: type[Config]) -> dict[str, Any]:
    """The types of a config's fields, by name."""
    names = {field.name for field in dataclasses.fields(kind)}
    return {name: hint for name, hint in typing.get_type_hints(kind).items() if name in names}


def _hint(kind: type[Config], name: str) -> Any:
    every = hints(kind)
    if name not in every:
        value = getattr(kind, name, None)
        if name not in typing.get_type_hints(kind) and isinstance(value, bool | int | float | str | tuple):
            cure = f"write its type, as in {name}: {type(value).__name__} = {value!r}"
        else:
            cure = nearest(name, every)
        raise GenlabError(f"{kind.__name__} has no field {name!r}: {cure}")
    return every[name]


def options(hint: Any) -> tuple[Any, ...]:
    """The types of a union, None first: any text is a str; of another type itself."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return (hint,)
    return tuple(sorted(typing.get_args(hint), key=lambda option: option is not types.NoneType))


def _elements(option: Any, count: int) -> list[Any]:
    """The types of a tuple's `count` elements; ValueError where the tuple has another length."""
    kinds = typing.get_args(option)
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return [kinds[0]] * count
    if len(kinds) != count:
        raise ValueError
    return list(kinds)


def _checked(option: Any, value: Any) -> Any:
    """`value` if it is of the type `option`; ValueError otherwise."""
    if typing.get_origin(option) is Literal:
        if any(value == valid and type(value) is type(valid) for valid in typing.get_args(option)):
            return value
    elif typing.get_origin(option) is tuple:
        if isinstance(value, (tuple, list)):
            kinds = _elements(option, len(value))
            if not any(isinstance(each, str) and SEPARATOR in each for each in value):  # it could not be written
                return tuple(_checked(kind, each) for kind, each in zip(kinds, value, strict=True))
    elif option is float and type(value) in (int, float):
        return _number(value)
    elif type(value) is option:
        return value
    raise ValueError


def _parse(option: Any, text: str) -> Any:
    """The value of type `option` that `text` writes; ValueError where it writes none."""
    if typing.get_origin(option) is Literal:
        for valid in typing.get_args(option):
            if text == str(valid):
                return valid
    elif typing.get_origin(option) is tuple:
        return _parse_tuple(option, text)
    elif option is types.NoneType and text.lower() == "none":
        return None
    elif option is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    elif option is float:
        return _number(text)
    elif option in (int, str):
        return option(text)
    raise ValueError


def _number(value: float | str) -> float:
    """As a float; ValueError for nan and for what no float can hold."""
    try:
        number = float(value)
    except OverflowError:
        raise ValueError from None
    if math.isnan(number):
        raise ValueError
    return number


def _parse_tuple(option: Any, text: str) -> tuple[Any, ...]:
    words = text.split(SEPARATOR) if text else []
    return tuple(_parse(kind, word) for kind, word in zip(_elements(option, len(words)), words, strict=True))


def _ill_typed(name: str, value: str, hint: Any) -> GenlabError:
    nan = ", and nan is no number" if value.lower() == "nan" else ""
    return GenlabError(f"{name}={value} is ill-typed: {name} is {_describe(hint)}{nan}")


def _describe(hint: Any) -> str:
    words = []
    for option in options(hint):
        if typing.get_origin(option) is Literal:
            words += [str(valid) for valid in typing.get_args(option)]
        elif typing.get_origin(option) is tuple:
            words.append(f"a tuple, written {SEPARATOR.join(_example(kind) for kind in typing.get_args(option))}")
        else:
            names = {types.NoneType: "none", bool: "true or false", int: "an int"}
            words.append(names.get(option, f"a {option.__name__}"))
    return " or ".join(words)


def _example(kind: Any) -> str:
    return "..." if kind is Ellipsis else getattr(kind, "__name__", str(kind))
