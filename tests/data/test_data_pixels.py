"""From a file to an image: what the pixels become on their way, and what a cached set depends on."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest
import torch
from PIL import Image
from torch import Tensor

from genlab.data import SPLITS, ImageSet, load, resize
from genlab.data.images import FileImages
from genlab.data.paths import cache_root
from genlab.data.resize import resize as resized
from genlab.errors import DataError


def rows_of(row: list[int]) -> Tensor:
    """One image, uint8 [1,1,S,S], every row of which is this one."""
    return torch.tensor(row, dtype=torch.uint8).expand(1, 1, len(row), len(row)).contiguous()


def test_a_smaller_image_is_the_mean_of_what_it_covers() -> None:
    """Antialiased: taking single pixels would miss what lies between them."""
    stripes = rows_of([255, 0, 0, 255] * 4)
    assert all(value in (127, 128) for value in resized(stripes, 4)[0, 0, 0, 1:3].tolist())
    assert ((resized(stripes, 4).int() - 127).abs() < 10).all()  # at the edge less is seen of the neighbours
    edge = resized(rows_of([255] * 8 + [0] * 8), 4)[0, 0, 0]
    assert edge[0] == 255 and edge[3] == 0


def test_a_larger_image_is_rounded_and_stays_in_range() -> None:
    assert resized(rows_of([10, 11]), 4)[0, 0, 0].tolist() == [10, 10, 11, 11]  # 10, 10.25, 10.75, 11
    step = resized(rows_of([0] * 8 + [255] * 8), 64, "bicubic")[0, 0, 0].int()
    assert (step[:28] < 64).all() and (step[36:] > 191).all()  # what overshoots is cut off, and does not wrap around
    bump = rows_of([100] * 4 + [200] + [100] * 4)
    assert resized(bump, 36, "bicubic").min() < 97 and resized(bump, 36).min() == 100  # bicubic alone undershoots


def test_every_image_is_resized_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a set is more than a chunk."""
    monkeypatch.setattr(resize, "_CHUNK", 3)
    images = torch.randint(256, (8, 2, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    whole = resized(images, 9)
    for i in range(8):
        assert torch.equal(whole[i : i + 1], resized(images[i : i + 1], 9))


def test_sixteen_grey_levels_of_a_digit_reach_from_black_to_white() -> None:
    levels = {value for split in SPLITS for value in load("digits", split, image_size=8).images.unique().tolist()}
    assert levels == {round(255 * i / 16) for i in range(17)}


# ---- reading a file


def test_a_read_that_comes_in_pieces_is_put_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As network file systems give it; and no read leaves its file open."""
    content = torch.randint(256, (6, 1, 5, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    (tmp_path / "file").write_bytes(b"head" + content.numpy().tobytes())
    read = os.preadv
    monkeypatch.setattr(os, "preadv", lambda file, parts, position: read(file, [parts[0][:7]], position))
    images = FileImages(tmp_path / "file", 4, (6, 1, 5, 5))
    for items in ([0, 1], [5, 0, 3], [2]):
        out = torch.empty(len(items), 1, 5, 5, dtype=torch.uint8)
        images.read(torch.tensor(items), out)
        assert torch.equal(out, content[items])
    assert str((tmp_path / "file").resolve()) not in [file.path for file in psutil.Process().open_files()]


# ---- what a cached set depends on


def paint(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (value,) * 3).save(path)
    os.utime(path, (1e9, 1e9))


def values(image_set: ImageSet) -> list[int]:
    return image_set.images[:, 0, 4, 4].tolist()


def test_files_of_one_name_size_and_age_in_two_folders_are_two_sets(tmp_path: Path) -> None:
    for folder, value in (("dark", 10), ("light", 90)):
        for i in range(10):
            paint(tmp_path / folder / "train" / f"{i}.bmp", value + i)
            paint(tmp_path / folder / "test" / f"{i}.bmp", value + 50 + i)
    for folder, value in (("dark", 10), ("light", 90)):
        sets = {split: load("image_folder", split, image_size=8, data_root=tmp_path / folder) for split in SPLITS}
        assert values(sets["test"]) == [value + 50 + i for i in range(10)]
        assert sorted(values(sets["train"]) + values(sets["validation"])) == [value + i for i in range(10)]


def test_ten_images_are_enough(tmp_path: Path) -> None:
    for i in range(9):
        paint(tmp_path / f"{i}.bmp", i)
    with pytest.raises(DataError, match="has 9 images: at least 10"):
        load("image_folder", "train", data_root=tmp_path)
    paint(tmp_path / "9.bmp", 9)
    sets = [load("image_folder", split, image_size=8, data_root=tmp_path) for split in SPLITS]
    assert [len(each) for each in sets] == [8, 1, 1]
    assert sorted(value for each in sets for value in values(each)) == list(range(10))


def test_small_classes_are_in_every_split(tmp_path: Path) -> None:
    """Stratified: each tenth has a tenth of every class."""
    for i in range(100):
        paint(tmp_path / "root" / f"class_{i % 10}" / f"{i}.bmp", i)
    for split, each in (("train", 8), ("validation", 1), ("test", 1)):
        found = load("image_folder", split, image_size=8, data_root=tmp_path / "root")
        assert found.labels is not None and found.labels.bincount().tolist() == [each] * 10


def test_a_process_keeps_the_sets_that_it_has() -> None:
    """So that trials that begin one after another share what lies in memory."""
    first = [load("digits", split, image_size=8) for split in SPLITS]
    assert [load("digits", split, image_size=8) is one for split, one in zip(SPLITS, first, strict=True)] == [True] * 3


def test_labels_follow_the_classes_of_the_training_images(tmp_path: Path) -> None:
    """Also when a class comes in between, and not one file of the other splits has changed."""
    for i in range(20):
        paint(tmp_path / "train" / "ac"[i % 2] / f"{i}.png", i)
    paint(tmp_path / "test" / "c" / "0.png", 200)

    def labels() -> tuple[list[int], tuple[str, ...]]:
        found = load("image_folder", "test", image_size=8, data_root=tmp_path)
        assert found.labels is not None
        return found.labels.tolist(), found.classes

    assert labels() == ([1], ("a", "c"))
    paint(tmp_path / "train" / "b" / "0.png", 0)
    assert labels() == ([2], ("a", "b", "c"))


def test_images_behind_links_are_found_and_hidden_ones_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(10):
        paint(tmp_path / "elsewhere" / f"{i}.png", i)
        paint(tmp_path / "faces" / "train" / "a" / f"{i}.png", 100 + i)
    paint(tmp_path / "faces" / "train" / "a" / ".trash" / "x.png", 250)
    paint(tmp_path / "faces" / "train" / "a" / ".x.png", 251)
    paint(tmp_path / "faces" / "train" / ".git" / "x.png", 252)
    paint(tmp_path / "faces" / "test" / "a" / "0.png", 0)
    paint(tmp_path / "faces" / "val" / "a" / "0.png", 0)
    (tmp_path / "faces" / "train" / "a" / "more").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    found = load("image_folder:~/faces", "train", image_size=8)
    assert sorted(values(found)) == [*range(10), *range(100, 110)] and found.classes == ("a",)


def test_the_cache_is_in_the_users_folder_where_nothing_else_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GENLAB_CACHE", "~/mine")
    assert cache_root() == tmp_path / "mine"
    monkeypatch.setenv("GENLAB_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "")  # empty is as good as unset
    assert cache_root() == tmp_path / ".cache" / "genlab"
