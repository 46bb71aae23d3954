from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genlab.data import SPLITS, ImageSet, load
from genlab.errors import DataError


def paint(path: Path, value: int, size: tuple[int, int] = (12, 10)) -> None:
    """One image of one grey value, so that a loaded image tells which file it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)


def values(image_set: ImageSet) -> list[int]:
    return image_set.images[:, 0, 4, 4].tolist()


@pytest.fixture
def classes_root(tmp_path: Path) -> Path:
    """Class folders: 40 images of `cat` with values 0.., 20 of `dog` with values 100.."""
    root = tmp_path / "pets"
    for i in range(40):
        paint(root / "cat" / f"{i:02}.png", i)
    for i in range(20):
        paint(root / "dog" / ("deep" if i % 2 else "") / f"{i:02}.png", 100 + i)
    return root


def test_class_folders_are_split_by_tenths_and_stratified(classes_root: Path) -> None:
    (classes_root / "cat" / "notes.txt").write_text("not an image")
    (classes_root / "cat" / "._00.png").write_text("left by a file manager")
    sets = {split: load("image_folder", split, image_size=8, data_root=classes_root) for split in SPLITS}
    assert {split: len(each) for split, each in sets.items()} == {"train": 48, "validation": 6, "test": 6}
    everything = sorted(value for each in sets.values() for value in values(each))
    assert everything == [*range(40), *range(100, 120)]
    for each in sets.values():
        assert each.classes == ("cat", "dog")
        assert each.labels is not None
        assert each.labels.tolist() == [int(value >= 100) for value in values(each)]
    assert sum(value >= 100 for value in values(sets["test"])) == 2


def test_the_split_depends_neither_on_listing_order_nor_on_the_folder(
    classes_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = values(load("image_folder", "test", image_size=8, data_root=classes_root))
    moved = tmp_path / "moved"
    shutil.copytree(classes_root, moved)
    listdir, walk = os.listdir, os.walk
    monkeypatch.setattr(os, "listdir", lambda path: listdir(path)[::-1])
    monkeypatch.setattr(
        os, "walk", lambda *a, **k: ((top, dirs[::-1], files[::-1]) for top, dirs, files in walk(*a, **k))
    )
    assert values(load(f"image_folder:{moved}", "test", image_size=8)) == before


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    for i in range(30):
        paint(tmp_path / "flat" / f"{i}.png", i)
    train = load("image_folder:flat", "train", data_root=tmp_path)
    assert (len(train), train.labels, train.classes, train.channels) == (24, None, (), 3)
    assert train.describe().classes == ()


@pytest.mark.parametrize("own", ["val", "validation"])
def test_split_folders_are_used_and_the_missing_split_comes_from_train(own: str, tmp_path: Path) -> None:
    for i in range(20):
        paint(tmp_path / "train" / "ab"[i % 2] / f"{i}.png", i)
    for i in range(3):
        paint(tmp_path / own / "b" / f"{i}.png", 200 + i)
    train, validation, test = (load("image_folder", split, image_size=8, data_root=tmp_path) for split in SPLITS)
    assert values(validation) == [200, 201, 202]
    assert validation.labels is not None and validation.labels.tolist() == [1, 1, 1]
    assert validation.classes == ("a", "b")
    assert len(test) == 2
    assert sorted(values(train) + values(test)) == list(range(20))


def test_the_short_side_is_resized_and_the_middle_cut_out(tmp_path: Path) -> None:
    for i in range(10):
        pixels = np.zeros((20, 60, 3), np.uint8)
        pixels[:, 20:40] = (10, 20, 30)  # the middle square of a wide image
        (tmp_path / "flat").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "flat" / f"{i}.png")
    images = load("image_folder:flat", "train", image_size=10, data_root=tmp_path).images
    inside = images[0, :, :, 1:-1]  # the edges blend with what was cut off
    assert torch.equal(inside, torch.tensor([10, 20, 30], dtype=torch.uint8)[:, None, None].expand(3, 10, 8))


def test_other_kinds_of_pixels_become_eight_bit_rgb(tmp_path: Path) -> None:
    deep = Image.fromarray(np.full((16, 16), 0x80FF, np.uint16))
    kinds = {
        "16bit.png": deep,
        "grey.png": Image.new("L", (16, 16), 128),
        "alpha.png": Image.new("RGBA", (16, 16), (128, 128, 128, 255)),
        "palette.png": Image.new("RGB", (16, 16), (128, 128, 128)).quantize(2),
        "jpeg.JPG": Image.new("RGB", (16, 16), (128, 128, 128)),
        "cmyk.jpeg": Image.new("CMYK", (16, 16), (0, 0, 0, 127)),
        "lossless.webp": Image.new("RGB", (16, 16), (128, 128, 128)),
        "plain.bmp": Image.new("RGB", (16, 16), (128, 128, 128)),
        "plain.ppm": Image.new("RGB", (16, 16), (128, 128, 128)),
        "plain.tiff": Image.new("RGB", (16, 16), (128, 128, 128)),
    }
    for part in ("train", "test"):
        for file, image in kinds.items():
            (tmp_path / part).mkdir(exist_ok=True)
            image.save(tmp_path / part / file)
    images = load("image_folder", "test", image_size=8, data_root=tmp_path).images
    assert images.shape == (10, 3, 8, 8)
    assert ((images.int() - 128).abs() <= 2).all()


def test_a_photo_is_turned_upright(tmp_path: Path) -> None:
    sideways = Image.fromarray(np.repeat(np.uint8([[0] * 8 + [200] * 8]), 16, axis=0))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter, clockwise, to see it upright
    for i in range(10):
        sideways.save(tmp_path / f"{i}.png", exif=exif)
    image = load("image_folder", "train", image_size=8, data_root=tmp_path).images[0, 0]
    assert image[0].eq(0).all() and image[-1].eq(200).all()


def encoded(kind: str) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP"])
@pytest.mark.parametrize("cut", [0.0, 0.1, 0.5, 0.99, -1])
def test_a_truncated_image_is_named(
    kind: str, cut: float, classes_root: Path, cached_files: Callable[[], list[str]]
) -> None:
    data = encoded(kind)
    bad = classes_root / "dog" / f"bad.{kind.lower()}"
    bad.write_bytes(data[: int(cut) if cut < 0 else int(len(data) * cut)])
    errors = []
    for split in SPLITS:
        try:
            load("image_folder", split, image_size=8, data_root=classes_root)
        except DataError as error:
            errors.append(str(error))
    assert len(errors) == 1 and str(bad) in errors[0]
    assert len(cached_files()) == 2  # the splits that the bad file is not in


@pytest.mark.parametrize("position", range(0, 900, 97))
def test_an_altered_png_is_named(position: int, tmp_path: Path, cached_files: Callable[[], list[str]]) -> None:
    data = bytearray(encoded("PNG"))
    data[position % len(data)] ^= 4
    for i in range(10):
        (tmp_path / f"{i}.png").write_bytes(data)
    with pytest.raises(DataError, match=r"\d\.png is not an image, or is truncated or altered"):
        load("image_folder", "train", data_root=tmp_path)
    assert cached_files() == []


def test_a_text_file_called_image_is_named(classes_root: Path) -> None:
    for i in range(60):  # enough to be in every split
        (classes_root / "cat" / f"text{i}.jpg").write_text("this is no image")
    with pytest.raises(DataError, match=r"text\d+\.jpg"):
        load("image_folder", "validation", data_root=classes_root)


def test_folders_that_make_no_set_are_refused(tmp_path: Path, classes_root: Path) -> None:
    def refused(
        message: str, name: str = "image_folder", root: Path | None = classes_root, split: str = "test"
    ) -> None:
        with pytest.raises(DataError, match=message):
            load(name, split, data_root=root)

    refused("needs a folder", root=None)
    refused("no folder .*pets/nothing", name="image_folder:nothing")
    refused("no folder /no/such/folder", name="image_folder:/no/such/folder")
    (classes_root / "fish").mkdir()
    refused("fish has no images")
    paint(classes_root / "fish.png", 1)
    refused("images beside class folders")
    (tmp_path / "empty").mkdir()
    refused("empty has no images", root=tmp_path / "empty")
    paint(tmp_path / "few" / "1.png", 1)
    refused("few has 1 images: at least 10", root=tmp_path / "few")
    paint(tmp_path / "no_train" / "val" / "a" / "1.png", 1)
    refused("no train", root=tmp_path / "no_train")


def test_a_class_that_training_lacks_is_refused(tmp_path: Path) -> None:
    for i in range(10):
        paint(tmp_path / "train" / "a" / f"{i}.png", i)
    paint(tmp_path / "test" / "b" / "1.png", 1)
    with pytest.raises(DataError, match=r"test has not the classes of .*train: b"):
        load("image_folder", "test", data_root=tmp_path)
    paint(tmp_path / "val" / "1.png", 1)
    with pytest.raises(DataError, match="it has none"):
        load("image_folder", "validation", data_root=tmp_path)
    paint(tmp_path / "validation" / "a" / "1.png", 1)
    with pytest.raises(DataError, match="both validation and val"):
        load("image_folder", "validation", data_root=tmp_path)


def test_a_new_image_is_noticed(tmp_path: Path) -> None:
    for i in range(20):
        paint(tmp_path / f"{i}.png", i)
    assert len(load("image_folder", "train", data_root=tmp_path)) == 16
    for i in range(20, 40):
        paint(tmp_path / f"{i}.png", i)
    assert len(load("image_folder", "train", data_root=tmp_path)) == 32
