"""Names of Ray's that may not be there, and putting something else in their place for a while."""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
from collections.abc import Iterator
from typing import Any


def named(path: str) -> Any:
    """What is called `module:name` or `module:name.attribute`; None where it is not there."""
    module, _, names = path.partition(":")
    try:
        return functools.reduce(getattr, names.split("."), importlib.import_module(module))
    except (ImportError, AttributeError):
        return None


@contextlib.contextmanager
def absent(module: str) -> Iterator[None]:
    """Meanwhile `module` is not to be had, for those who would load it, use none of it, and can do without it."""
    here = module in sys.modules
    if not here:
        sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if not here:
            del sys.modules[module]


@contextlib.contextmanager
def replaced(owner: Any, name: str, other: Any) -> Iterator[None]:
    """Meanwhile this attribute is another one."""
    plain = getattr(owner, name)
    setattr(owner, name, other)
    try:
        yield
    finally:
        setattr(owner, name, plain)
