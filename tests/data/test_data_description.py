from __future__ import annotations

import json
import subprocess
import sys

import pytest

from genlab.data import SetDescription, load
from genlab.errors import CorruptFile

DESCRIPTION = SetDescription("digits", "test", (300, 1, 8, 16), ("0", "1"), "0123456789abcdef")


def test_a_description_goes_through_json() -> None:
    plain = json.loads(json.dumps(DESCRIPTION.as_json()))
    assert plain == DESCRIPTION.as_json()
    assert list(plain) == ["name", "split", "shape", "classes", "digest"]
    assert SetDescription.from_json({**plain, "more": 1}) == DESCRIPTION
    assert SetDescription.from_json(load("digits", "test").describe().as_json()) == load("digits", "test").describe()


def test_channels_and_size_come_from_the_shape() -> None:
    assert (DESCRIPTION.channels, DESCRIPTION.image_size) == (1, 16)


@pytest.mark.parametrize("key", ["name", "split", "shape", "classes", "digest"])
def test_a_missing_key_is_named(key: str) -> None:
    plain = DESCRIPTION.as_json()
    del plain[key]
    with pytest.raises(CorruptFile, match=f"has no {key}$"):
        SetDescription.from_json(plain)


@pytest.mark.parametrize(
    "wrong",
    [{"name": 3}, {"shape": [1, 2, 3]}, {"shape": "abcd"}, {"shape": ["1"] * 4}, {"classes": "ab"}, {"digest": None}],
)
def test_values_of_another_kind_are_refused(wrong: dict) -> None:
    with pytest.raises(CorruptFile, match="damaged"):
        SetDescription.from_json({**DESCRIPTION.as_json(), **wrong})
    with pytest.raises(CorruptFile, match="not a mapping"):
        SetDescription.from_json([])  # pyright: ignore[reportArgumentType]


def test_a_description_needs_no_torch() -> None:
    code = "import sys, genlab.data; genlab.data.SetDescription; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)
