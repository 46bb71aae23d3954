"""How an author's function is named in a message."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from genlab.tasks.returned import where


def decorated(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*arguments: Any) -> Any:
        return function(*arguments)

    return wrapper


@decorated
def a_loss(networks: Any, inputs: Any, config: Any) -> Any:
    """Is decorated."""


def test_a_decorated_function_has_its_own_line() -> None:
    line = inspect.getsourcelines(inspect.unwrap(a_loss))[1]
    assert where(a_loss).endswith(f"test_returned.py:{line} a_loss")
    assert where(functools.partial(a_loss, 1)) == where(a_loss)
