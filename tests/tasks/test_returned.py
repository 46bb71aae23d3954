"""How an author's function, and what it returned, are named in a message."""

from __future__ import annotations

import functools
import inspect
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genlab.errors import GenlabError
from genlab.tasks.returned import described, mapping, method, near, where


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


class Owner:
    """An author's class."""

    def method(self) -> None: ...

    def __call__(self) -> None: ...


def test_whatever_can_be_called_has_a_name_and_a_line_if_it_has_a_source() -> None:
    first = inspect.getsourcelines(Owner)[1]
    assert where(Owner().method).endswith(f"test_returned.py:{first + 3} Owner.method")
    assert where(Owner()).endswith(f"test_returned.py:{first + 5} Owner")
    assert where(math.cos) == "cos"
    assert method(Owner(), "method").startswith("method() (") and method(Owner(), "method").endswith(" Owner.method)")


def test_a_file_is_named_from_here_where_that_is_shorter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / "a" / "b" / "c"
    deep.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert near(str(deep / "x.py")) == "a/b/c/x.py" and near("x.py") == "x.py"
    monkeypatch.chdir(deep)
    assert near("/x.py") == "/x.py"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "None"),
        (True, "the bool True"),
        (3, "the int 3"),
        (0.5, "the float 0.5"),
        ("x", "the str 'x'"),
        (Owner, "the class Owner"),
        (Owner(), "an Owner"),
        (Path("x"), "a PosixPath"),
        ([1, 2], "a list of 2"),
        ((), "a tuple of 0"),
        ({"a": 1}, "a dict"),
        (OSError(), "an OSError"),
        (torch.ones(2, 3), "a tensor float32 [2, 3]"),
        (torch.nn.Parameter(torch.ones(2)), "a parameter float32 [2]"),
        (np.zeros((4, 1), np.uint8), "an array uint8 [4, 1]"),
    ],
)
def test_a_value_is_described_by_its_kind_and_size(value: Any, words: str) -> None:
    assert described(value) == words


@pytest.mark.parametrize(
    ("value", "words"), [([1], "a list of 1"), ({"a": 1, 2: 3}, "a dict"), ({2: 3}, "a dict"), (None, "None")]
)
def test_what_is_by_name_is_a_mapping_of_texts(value: Any, words: str) -> None:
    wanted = 'streams by name, as in {"images": Stream(...)}'
    with pytest.raises(GenlabError) as refused:
        mapping(value, Owner(), "method", wanted)
    assert str(refused.value).endswith(f"Owner.method) returned {words}: it must return {wanted}")
    assert mapping({"a": 1}, Owner(), "method", wanted) == {"a": 1} and mapping({}, Owner(), "method", wanted) == {}
