"""A set in whose images hardly anything is to be seen is warned of, and no other."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from made_images import noise
from PIL import Image

from genlab.data import SPLITS, ImageSet, load
from genlab.data.brightness import Brightness
from genlab.errors import GenlabError

RANDOM = np.random.default_rng(0)


def written(folder: Path, image: Callable[[int], np.ndarray], count: int = 40) -> Path:
    folder.mkdir()
    for i in range(count):
        Image.fromarray(image(i)).save(folder / f"{i}.png")
    return folder


def warnings(folder: Path, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What is warned of when all splits are built, and when they come from the cache; said once each."""
    before = len(caplog.records)
    for split in (*SPLITS, *SPLITS):
        load(f"image_folder:{folder}", split, image_size=16)
    return [each.getMessage() for each in caplog.records[before:] if each.levelno == logging.WARNING]


def deep(bits: int) -> Callable[[int], np.ndarray]:
    """Values of so many bits in a file of 16, as many of each."""
    return lambda i: (np.arange(256) << bits >> 8).reshape(16, 16).astype(np.uint16)


def test_values_of_12_bits_in_a_file_of_16_are_said_with_numbers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path / "deep", deep(12))
    train, *others = warnings(folder, caplog)
    assert train == (
        f"image_folder:{folder}, train: hardly anything is to be seen in 32 of 32 images: their values lie within 16 "
        "of 255. Of one color are 0, the mean brightness of the set is 8. Look at the files: values of 12 bits in a "
        "file of 16 bits, say, come out nearly black"
    )
    assert len(others) == 2
    monkeypatch.setattr("genlab.data.image_set._loaded", {})  # as in another process
    monkeypatch.setattr("genlab.data.image_set._doubted", set())
    monkeypatch.setattr("genlab.data.sources.image_files._decode", lambda *_: pytest.fail("decoded again"))
    assert warnings(folder, caplog) == [train, *others]


def test_values_of_14_bits_in_a_file_of_16_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = warnings(written(tmp_path / "deep", deep(14)), caplog)
    assert len(found) == 3 and "no value in 32 images is above 63 of 255, and their mean is 32" in found[0]


def test_one_class_that_is_black_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for i in range(40):
        noise(tmp_path / "set" / "good" / f"{i}.png", i)
    written(tmp_path / "set" / "black", lambda i: np.zeros((16, 16), np.uint8), 40)
    assert "in 32 of 64 images" in (found := warnings(tmp_path / "set", caplog))[0]
    assert "Of one color are 32, the mean brightness of the set is 6" in found[0]


@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (200, 10, 10)])
def test_images_of_one_color_are_said(
    color: tuple[int, int, int], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = warnings(written(tmp_path / "flat", lambda i: np.full((8, 8, 3), color, np.uint8)), caplog)
    assert len(found) == 3 and "in 32 of 32 images" in found[0] and "Of one color are 32" in found[0]


def strokes(i: int) -> np.ndarray:
    """Mostly black, as handwritten digits are."""
    image = np.zeros((28, 28), np.uint8)
    image[8:20, 10 + i % 8 : 12 + i % 8] = 255
    return image


@pytest.mark.parametrize(
    "image",
    [
        strokes,
        lambda i: 255 - strokes(i),
        deep(16),
        lambda i: RANDOM.integers(100, 150, (16, 16, 3), dtype=np.uint8),  # gray weather
        lambda i: np.zeros((16, 16), np.uint8) if i == 0 else strokes(i),  # one that failed
    ],
)
def test_other_images_are_not(
    image: Callable[[int], np.ndarray], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert warnings(written(tmp_path / "set", image), caplog) == []


def test_digits_are_not(caplog: pytest.LogCaptureFixture) -> None:
    for split in SPLITS:
        load("digits", split)
    assert not [each for each in caplog.records if each.levelno == logging.WARNING]


def test_brightness_is_that_of_all_images_whatever_they_come_in() -> None:
    images = torch.randint(3, 250, (20, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images[3], images[4, 0], images[5] = 7, 9, images[5] // 32  # of one color; one channel of it; nearly
    whole, parts = Brightness(), Brightness()
    whole.add(images)
    for image in images:
        parts.add(image[None])
    assert whole == parts == Brightness(2, 1, int(images.max()), int(images.sum()))
    assert Brightness.from_text(whole.as_text()) == whole
    assert len(whole.as_text()) == len(Brightness().as_text())


def test_a_set_made_by_hand_of_floats_is_refused() -> None:
    """Of values in [0, 1] nothing would be left."""
    with pytest.raises(GenlabError, match=r"images of own must be uint8 \[N,C,S,S\].*not torch.float32 \[4, 3, 8, 8\]"):
        ImageSet("own", "train", torch.rand(4, 3, 8, 8), None, ())
    with pytest.raises(GenlabError, match=r"not torch.uint8 \[4, 8, 8\]"):
        ImageSet("own", "train", torch.zeros(4, 8, 8, dtype=torch.uint8), None, ())
