"""What an author's function returned, and which names there are: the words of errors about it. Free of torch."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Mapping
from typing import Any, TypeVar

from genlab.errors import GenlabError, nearest

Value = TypeVar("Value")


class Named(dict[str, Value]):
    """A mapping by name; asked for one that it has not, it says which there are."""

    def __init__(self, what: str, values: Mapping[str, Value]) -> None:
        """
        Args:
            what: what it has not, such as `no network`.
        """
        super().__init__(values)
        self.what = what

    def __missing__(self, name: str) -> Value:
        """
        Raises:
            GenlabError: always.
        """
        there = nearest(str(name), self) if self else "there is none at all"
        raise GenlabError(f"there is {self.what} {name!r}: {there}")


def where(function: Any) -> str:
    """The place of an author's function: `sweeps/dann.py:41 dann_loss`; its name alone where no source is known."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(getattr(function, "__func__", function))
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    name = getattr(function, "__qualname__", type(function).__qualname__)
    if code is None:
        return name
    return f"{near(code.co_filename)}:{code.co_firstlineno} {name}"


def near(file: str) -> str:
    """A path as it is said from here, if that is shorter."""
    relative = os.path.relpath(file) if os.path.isabs(file) else file
    return relative if len(relative) < len(file) else file


def described(value: Any) -> str:
    """A value in a few words: `None`, `a list of 3`, `a tensor float32 [64]`, `the float 0.5`, `the class Adam`."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return "None" if value is None else f"the {type(value).__name__} {value!r}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    kind = type(value).__name__
    kind = {"Tensor": "tensor", "Parameter": "parameter", "ndarray": "array"}.get(kind, kind)
    described = f"an {kind}" if kind[0] in "aeioAEIO" else f"a {kind}"
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{described} {str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    return f"{described} of {len(value)}" if isinstance(value, (tuple, list)) else described


def method(owner: Any, name: str) -> str:
    """A method of an author's class and its place: `evaluate() (sweeps/vae.py:60 VAETask.evaluate)`."""
    return f"{name}() ({where(getattr(owner, name))})"


def mapping(value: Any, owner: Any, name: str, wanted: str) -> Mapping[str, Any]:
    """`value`, which the method `name` of `owner` returned, if it is a mapping by name.

    Args:
        wanted: what it should have been, as in `streams by name, {"images": Stream(...)}`.

    Raises:
        GenlabError: it is something else.
    """
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise GenlabError(f"{method(owner, name)} returned {described(value)}: it must return {wanted}")
    return value
