"""The benchmark of Ray's private parts: each one can still be taken out of the library."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import ray_parts  # noqa: E402


@pytest.mark.parametrize("part", ray_parts.PARTS)
def test_each_part_can_be_left_out_by_itself(part: str, tmp_path: Path) -> None:
    copy = ray_parts.without(part, tmp_path / "copy")
    changed = [file for file in copy.rglob("*.py") if file.read_text() != (ROOT / file.relative_to(copy)).read_text()]
    assert [str(file.relative_to(copy)) for file in changed] == [ray_parts.PARTS[part][0]]
    compile(changed[0].read_text(), changed[0].name, "exec")


def test_what_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no such parts: no lights; there are: no dashboard"):
        ray_parts.Options(only=("no lights",))
