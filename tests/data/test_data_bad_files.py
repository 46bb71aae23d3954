"""Files that give no image: the first ten are named, and all are counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from made_images import paint

from genlab.data import load, rows
from genlab.errors import DataError


def test_the_first_ten_bad_files_are_named_and_all_are_counted(
    tmp_path: Path, cached_files: Callable[[], list[str]]
) -> None:
    for i in range(12):
        paint(tmp_path / "test" / f"good{i:02}.png", i)
        (tmp_path / "test" / f"bad{i:02}.png").write_bytes(b"no image" if i else b"")
    for i in range(10):
        paint(tmp_path / "train" / f"{i}.png", i)
    with pytest.raises(DataError) as error:
        load("image_folder", "test", data_root=tmp_path)
    message = str(error.value)
    assert message.startswith(f"12 of 24 images cannot be used: {tmp_path}/test/bad00.png is empty; ")
    assert all(f"test/bad{i:02}.png is not an image" in message for i in range(1, 10)) and "bad10" not in message
    assert message.endswith("; and 2 more") and "\n" not in message
    assert cached_files() == []


def test_what_to_do_is_said_once(tmp_path: Path) -> None:
    def problem(item: int) -> object:
        raise rows.BadImage(f"{item} is wide", "make it smaller") if item % 2 else rows.BadImage(f"{item} is empty")

    with pytest.raises(DataError) as error:
        list(rows.in_order(rows.Rows((4, 3, 8, 8), problem)))  # pyright: ignore[reportArgumentType]
    assert (
        str(error.value)
        == "4 of 4 images cannot be used: 0 is empty; 1 is wide; 2 is empty; 3 is wide. Make it smaller"
    )


def test_bad_files_are_not_looked_for_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "_PATIENCE", -1.0)

    def problem(item: int) -> object:
        raise rows.BadImage(f"{item} is empty")

    with pytest.raises(DataError, match=r"^1 of the first 1 of 5,000 images cannot be used: 0 is empty$"):
        list(rows.in_order(rows.Rows((5000, 3, 8, 8), problem)))  # pyright: ignore[reportArgumentType]


def test_files_that_are_not_there_are_counted(tmp_path: Path) -> None:
    """CelebA's list names more images than the folder has."""
    (tmp_path / "celeba" / "img_align_celeba").mkdir(parents=True)
    names = [f"{i:06}.jpg" for i in range(1, 13)]
    (tmp_path / "celeba" / "list_eval_partition.txt").write_text("".join(f"{name} 0\n" for name in names))
    with pytest.raises(DataError, match=r"cannot read .*000001\.jpg: No such file.*000010\.jpg: .*, and 2 more$"):
        load("celeba", "train", data_root=tmp_path)
