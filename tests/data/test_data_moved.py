"""A folder of images that was moved, or is called otherwise, is the same data: the digest is of what the data are."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from made_images import noise, paint

from genlab.data import SPLITS, SetDescription, load
from genlab.data.names import kind_of

MOVES: dict[str, Callable[[Path], tuple[str, Path | None]]] = {
    "moved": lambda root: (f"image_folder:{root.rename(root.parent / 'a new place')}", None),
    "copied": lambda root: (f"image_folder:{shutil.copytree(root, root.parent / 'sub' / 'copy')}", None),
    "a slash": lambda root: (f"image_folder:{root}/", None),
    "relative": lambda root: ("image_folder:pets", root.parent),
    "relative, a slash": lambda root: ("image_folder:./pets/", root.parent),
    "data root": lambda root: ("image_folder", root),
    "up and down": lambda root: (f"image_folder:{root}/../pets", None),
    "through a link": lambda root: (f"image_folder:{linked(root)}", None),
    "a link to each class": lambda root: (f"image_folder:{linked_inside(root)}", None),
}


def linked(root: Path) -> Path:
    (root.parent / "link").symlink_to(root)
    return root.parent / "link"


def linked_inside(root: Path) -> Path:
    for path in (root / "train").iterdir():
        (root.parent / "other" / "train").mkdir(parents=True, exist_ok=True)
        (root.parent / "other" / "train" / path.name).symlink_to(path)
    return root.parent / "other"


def described(name: str, data_root: Path | None = None) -> list[SetDescription]:
    return [load(name, split, image_size=8, data_root=data_root).describe() for split in SPLITS]


@pytest.mark.parametrize("how", MOVES)
def test_the_same_images_elsewhere_are_the_same_data(how: str, tmp_path: Path) -> None:
    for i in range(40):
        noise(tmp_path / "pets" / "train" / "Zabc"[i % 4] / ("deep/er" if i % 3 else "") / f"{i}.png", i)
    before = described(f"image_folder:{tmp_path}/pets")
    after = described(*MOVES[how](tmp_path / "pets"))
    assert [dataclasses.replace(each, name="") for each in before] == [
        dataclasses.replace(each, name="") for each in after
    ]
    assert all(one.same_data(other) for one, other in zip(before, after, strict=True))


def test_other_images_in_the_same_place_are_other_data(tmp_path: Path) -> None:
    for i in range(20):
        paint(tmp_path / "pets" / f"{i}.png", i)
    before = described(f"image_folder:{tmp_path}/pets")
    paint(tmp_path / "pets" / "7.png", 70)
    os.utime(tmp_path / "pets" / "7.png", (0, 0))
    after = described(f"image_folder:{tmp_path}/pets")
    assert [one.same_data(other) for one, other in zip(before, after, strict=True)].count(False) == 1


ONE = SetDescription("image_folder:/a", "train", (8, 3, 8, 8), ("a", "b"), "0123456789abcdef")


def test_where_a_folder_lies_makes_no_difference() -> None:
    for name in ("image_folder", "image_folder:/b", "image_folder:/a/", "image_folder:a:b"):
        assert ONE.same_data(dataclasses.replace(ONE, name=name))


@pytest.mark.parametrize(
    "change",
    [
        {"name": "mnist"},
        {"split": "test"},
        {"shape": (9, 3, 8, 8)},
        {"classes": ("a", "c")},
        {"classes": ()},
        {"digest": "0123456789abcdee"},
    ],
)
def test_all_else_makes_a_difference(change: dict) -> None:
    assert not ONE.same_data(dataclasses.replace(ONE, **change))


def test_only_image_folders_have_a_place() -> None:
    assert [kind_of(name) for name in ("image_folder", "image_folder:x", "image_folder:/a:b")] == ["image_folder"] * 3
    for name in ("mnist", "own:set", "my_image_folder:/a", "image_folders:/a"):
        assert kind_of(name) == name
