"""Images of many pixels: they become what a small copy would, in bounded memory, and there is a limit."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
from made_images import noise, png
from PIL import Image

from genlab.data import SPLITS, load
from genlab.data.sources import image_files
from genlab.errors import DataError


def picture(width: int, height: int, mode: str) -> Image.Image:
    """Waves that differ in each channel; through half of it something else is seen, if it has an alpha channel."""
    x, y = np.meshgrid(np.arange(width) / width, np.arange(height) / height)
    channels = [127 + 120 * np.sin(7 * x + i) * np.cos(5 * y - i) for i in range(3)]
    image = Image.fromarray(np.stack(channels, 2).astype(np.uint8))
    if mode == "RGBA":
        image.putalpha(Image.fromarray((255 * x).astype(np.uint8)))
        return image
    if mode == "I;16":
        return Image.fromarray((channels[0] * 256).astype(np.uint16))
    return image.convert(mode)


@pytest.mark.parametrize(("width", "height"), [(641, 480), (479, 640), (1301, 97)])
@pytest.mark.parametrize(
    ("mode", "file", "drafted"),
    [
        *[("RGB", "png", False), ("RGBA", "png", False), ("P", "png", False), ("I;16", "png", False)],
        *[("CMYK", "tiff", False), ("L", "gif", False)],
        *[("RGB", "jpeg", True), ("L", "jpeg", True), ("CMYK", "jpeg", True)],
    ],
)
def test_a_large_image_becomes_what_a_small_one_does(
    mode: str, file: str, drafted: bool, width: int, height: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "set").mkdir()
    options = {"quality": 95, "subsampling": 0} if file == "jpeg" else {}
    picture(width, height, mode).save(tmp_path / "set" / f"0.{file}", **options)
    for i in range(1, 10):
        (tmp_path / "set" / f"{i}.{file}").hardlink_to(tmp_path / "set" / f"0.{file}")
    small = load(f"image_folder:{tmp_path}/set", "test", image_size=8).images[0].int()
    monkeypatch.setattr("genlab.data.image_set._loaded", {})
    monkeypatch.setenv("GENLAB_CACHE", str(tmp_path / "other"))
    monkeypatch.setattr(image_files, "_LARGE", 10_000)
    monkeypatch.setattr(image_files, "_STRIP", 20_000)
    monkeypatch.setattr(image_files, "_MUCH", 0)
    reduced: list[int] = []
    reduce = image_files._reduced
    monkeypatch.setattr(
        image_files, "_reduced", lambda image, factor, values: reduced.append(factor) or reduce(image, factor, values)
    )
    large = load(f"image_folder:{tmp_path}/set", "test", image_size=8).images[0].int()
    assert (large - small).abs().max() <= 6 and (large - small).abs().float().mean() < 1
    assert bool(reduced) or (drafted and width * height > 10_000)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs /proc")
@pytest.mark.parametrize(("mode", "file", "most"), [("RGB", "png", 190), ("RGBA", "png", 250), ("RGB", "jpeg", 60)])
def test_memory_is_that_of_one_large_image(mode: str, file: str, most: int, tmp_path: Path) -> None:
    """Of four images of 36 megapixels, each 137 MiB where it is decoded as a whole."""

    def peak() -> int:
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) >> 10 for line in status.splitlines() if line.startswith("VmHWM"))

    (tmp_path / "set").mkdir()
    options = {"compress_level": 1} if file == "png" else {}
    Image.new(mode, (6000, 6000), (200, 10, 10, 100)[: len(mode)]).save(tmp_path / "set" / f"0.{file}", **options)
    for i in range(1, 4):
        (tmp_path / "set" / f"{i}.{file}").hardlink_to(tmp_path / "set" / f"0.{file}")
    for i in range(4, 10):
        noise(tmp_path / "set" / f"{i}.png", i)
    load("digits", "train")  # code, threads and their memory
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what there is now
    before = peak()
    load(f"image_folder:{tmp_path}/set", "train", image_size=8)
    assert peak() - before < most


def test_too_many_pixels_are_a_sentence_of_their_own(tmp_path: Path) -> None:
    for i in range(9):
        noise(tmp_path / f"{i}.png", i)
    (tmp_path / "9.png").write_bytes(png(8, 0, [b"\0"], 20_000, height=10_000))
    with pytest.raises(DataError) as error:
        for split in SPLITS:
            load("image_folder", split, data_root=tmp_path)
    assert str(error.value) == f"{tmp_path}/9.png has 200.0 megapixels, and 179.0 are the most: make it smaller"


def test_no_image_is_kept_for_the_sake_of_an_error(tmp_path: Path) -> None:
    """Or a folder of large bad ones would fill the memory."""
    rows = image_files.decoded(tmp_path, ["bad.tif"], 8)
    Image.fromarray(np.zeros((8, 8), np.float32)).save(tmp_path / "bad.tif")
    with pytest.raises(DataError, match="scale is unknown") as error:
        rows.read_row(0)
    frames, trace = [], error.value.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    assert "_square" not in frames and error.value.__context__ is None and error.value.__cause__ is None
