"""CelebA in torchvision's layout: a folder of made-up pictures, of the real ones' size, and the list of its splits."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision.datasets
from PIL import Image

from genlab.data import SPLITS, load
from genlab.errors import DataError

PART_OF = [0, 0, 2, 1, 0, 1, 0, 2, 0, 0]  # as the list has them


def write(root: Path) -> tuple[Path, Path]:
    """Ten pictures of gray 0, 20, 40, ... whose upper and lower 20 rows are white, and the list; the two paths."""
    images, partition = root / "celeba" / "img_align_celeba", root / "celeba" / "list_eval_partition.txt"
    images.mkdir(parents=True)
    for i in range(10):
        picture = Image.new("RGB", (178, 218), "white")
        picture.paste((20 * i,) * 3, (0, 20, 178, 198))
        picture.save(images / f"{i + 1:06d}.jpg", quality=100)
    partition.write_text("".join(f"{i + 1:06d}.jpg {part}\n" for i, part in enumerate(PART_OF)))
    return images, partition


@pytest.mark.parametrize("size", [64, 128])
def test_each_split_is_the_middle_of_the_images_that_the_list_names(size: int, tmp_path: Path) -> None:
    write(tmp_path)
    for number, split in enumerate(SPLITS):
        faces = load("celeba", split, image_size=size, data_root=tmp_path)
        values = torch.tensor([20 * i for i, part in enumerate(PART_OF) if part == number])
        assert faces.shape == (len(values), 3, size, size)
        assert faces.labels is None and faces.classes == ()
        inside = faces.images[:, :, 2:-2].int()  # the edges blend with what was cut off
        assert (inside - values[:, None, None, None]).abs().max() <= 2


def test_it_is_cached(tmp_path: Path, cached_files: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    images, _ = write(tmp_path)
    load("celeba", "train", image_size=64, data_root=tmp_path)
    (name,) = cached_files()
    assert name.startswith("celeba-train-64-")
    monkeypatch.setattr("genlab.data.image_set._loaded", {})  # as in another process
    monkeypatch.setattr("genlab.data.sources.image_files._decode", lambda *_: pytest.fail("decoded again"))
    assert len(load("celeba", "train", image_size=64, data_root=tmp_path)) == 6
    os.utime(images / "000001.jpg", (0, 0))
    with pytest.raises(pytest.fail.Exception, match="decoded again"):
        load("celeba", "train", image_size=64, data_root=tmp_path)


def test_what_is_damaged_is_named(tmp_path: Path, cached_files: Callable[[], list[str]]) -> None:
    images, partition = write(tmp_path)
    (images / "000003.jpg").write_bytes((images / "000003.jpg").read_bytes()[:500])
    with pytest.raises(DataError, match=r"000003\.jpg is not an image, or is truncated"):
        load("celeba", "test", data_root=tmp_path)
    (images / "000004.jpg").unlink()
    with pytest.raises(DataError, match=r"cannot read .*000004\.jpg"):
        load("celeba", "validation", data_root=tmp_path)
    for text, why in (
        ("000001.jpg 0\n000002.jpg\n", "line 2 is not"),
        ("000001.jpg 3\n", "line 1 is not"),
        ("000001.jpg 0\n", "names no image of the validation split"),
    ):
        partition.write_text(text)
        with pytest.raises(DataError, match=rf"list_eval_partition\.txt is truncated or altered: .*{why}"):
            load("celeba", "validation", data_root=tmp_path)
    assert cached_files() == []


def test_absent_it_is_downloaded_through_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def celeba(root: str, download: bool) -> None:
        assert download
        write(Path(root))
        (Path(root) / "celeba" / "img_align_celeba.zip").write_bytes(b"packed")

    monkeypatch.setattr(torchvision.datasets, "CelebA", celeba)
    assert len(load("celeba", "train", data_root=tmp_path / "mine")) == 6
    kept = sorted(path.name for path in (tmp_path / "mine" / "celeba").iterdir())
    assert kept == ["img_align_celeba", "list_eval_partition.txt"]


def test_absent_and_without_gdown_it_is_said_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(root: str, download: bool) -> None:
        raise RuntimeError("To download files from GDrive, 'gdown' is required.")

    monkeypatch.setattr(torchvision.datasets, "CelebA", refuse)
    (tmp_path / "celeba" / "img_align_celeba").mkdir(parents=True)  # without its list
    needed = "put celeba/img_align_celeba, celeba/list_eval_partition.txt into the folder .*'gdown' is required"
    with pytest.raises(DataError, match=needed):
        load("celeba", "train", data_root=tmp_path)
