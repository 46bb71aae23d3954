"""What kinds of image files become: scales, transparency, endings, orientation, frames."""

from __future__ import annotations

import io
import logging
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from made_images import noise, paint, png, tiff
from PIL import Image, features

from genlab.data import load
from genlab.errors import DataError


def pixels(content: bytes, file: str, folder: Path, size: int = 8) -> torch.Tensor:
    """What one image file becomes: int32 [3,size,size]. It is one of ten that are alike."""
    for i in range(10):
        (folder / "set").mkdir(exist_ok=True)
        (folder / "set" / f"{i}{file}").write_bytes(content)
    return load(f"image_folder:{folder}/set", "test", image_size=size).images[0].int()


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)  # pyright: ignore[reportArgumentType]
    return file.getvalue()


# ---- scales


RAMP = np.linspace(0, 1, 64).reshape(8, 8)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (saved(Image.fromarray(RAMP.astype(np.float32)), "TIFF"), "floating-point numbers from 0 to 1 (mode F)"),
        (saved(Image.fromarray((RAMP * 900).astype(np.float32)), "TIFF"), "from 0 to 900 (mode F)"),
        (saved(Image.fromarray((RAMP * 255).astype(np.int32)), "TIFF"), "from 0 to 255 (mode I)"),
        (saved(Image.fromarray((RAMP * 1e6).astype(np.int32)), "TIFF"), "from 0 to 1e+06 (mode I)"),
        (tiff(16, (RAMP * 999).astype("<i2").tobytes(), 8, sample=2), "signed ones of 16, from 0 to 999 (mode I)"),
        (tiff(8, (RAMP * 99).astype("i1").tobytes(), 8, sample=2), "signed numbers of 8 bits"),
    ],
)
def test_an_unknown_scale_is_refused_by_name(content: bytes, words: str, tmp_path: Path) -> None:
    noise(tmp_path / "set" / "good.png")
    with pytest.raises(DataError) as error:
        pixels(content, ".tif", tmp_path)
    assert re.search(rf"/set/\d\.tif holds .*{re.escape(words)}.*, whose scale is unknown", str(error.value))
    assert "ave it with 8 bits" in str(error.value) or "ave such images with 8 bits" in str(error.value)


def test_kinds_of_tiff_that_pillow_lacks_are_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"\d\.tif is an altered TIFF, or of a kind that Pillow .* does not read: save such images"
    ):
        pixels(tiff(64, RAMP.astype("<f8").tobytes(), 8, sample=3), ".tif", tmp_path)


FULL = (RAMP * 65535).round()


@pytest.mark.parametrize(
    ("content", "file"),
    [
        (saved(Image.fromarray(FULL.astype(np.uint16)), "PNG"), ".png"),
        (saved(Image.fromarray(FULL.astype(np.uint16)), "TIFF"), ".tif"),
        (tiff(16, (65535 - FULL).astype("<u2").tobytes(), 8, white_is_zero=True), ".tif"),
        (b"P5\n8 8\n4095\n" + (RAMP * 4095).round().astype(">u2").tobytes(), ".pgm"),
        (png(16, 2, [row.repeat(3).tobytes() for row in FULL.astype(">u2")], 8), ".png"),
        (
            tiff(
                12, b"".join(struct.pack(">I", a << 12 | b)[1:] for a, b in (RAMP * 4095).astype(int).reshape(-1, 2)), 8
            ),
            ".tif",
        ),
    ],
    ids=["png", "tiff", "white is zero", "pgm of 12 bits", "png of 3 x 16 bits", "tiff of 12 bits"],
)
def test_a_known_scale_of_more_than_eight_bits_reaches_from_black_to_white(
    content: bytes, file: str, tmp_path: Path
) -> None:
    expected = torch.from_numpy(RAMP * 255).expand(3, 8, 8)
    assert (pixels(content, file, tmp_path) - expected).abs().max() <= 1


# ---- transparency


HALF = np.zeros((32, 32), np.uint8)
HALF[:, 16:] = 255  # opaque on the right


def with_alpha(mode: str) -> Image.Image:
    """Red (or gray) everywhere, and seen on the right alone."""
    image = Image.new("L" if mode == "LA" else "RGB", (32, 32), 200 if mode == "LA" else (200, 10, 10))
    image.putalpha(Image.fromarray(HALF))
    return image


def with_palette() -> Image.Image:
    image = Image.fromarray((HALF // 255).astype(np.uint8), "L").convert("P")
    image.putpalette([9, 9, 9, 200, 10, 10])
    return image


def gray_rows(left: int, right: int, bits: int) -> list[bytes]:
    """32 rows of 32 pixels, the left half of one value and the right of another, packed."""
    row = sum(value << bits * (31 - i) for i, value in enumerate([left] * 16 + [right] * 16))
    return [row.to_bytes(4 * bits, "big")] * 32


@pytest.mark.parametrize(
    ("content", "file", "right"),
    [
        (saved(with_alpha("RGBA"), "PNG"), ".png", (200, 10, 10)),
        (saved(with_alpha("LA"), "PNG"), ".png", (200, 200, 200)),
        (saved(with_alpha("RGBA"), "WEBP", lossless=True, exact=True), ".webp", (200, 10, 10)),
        (saved(with_alpha("RGBA"), "TIFF"), ".tiff", (200, 10, 10)),
        (saved(with_palette(), "PNG", transparency=0), ".png", (200, 10, 10)),
        (saved(with_palette(), "PNG", transparency=b"\0\xff"), ".png", (200, 10, 10)),
        (saved(with_palette(), "GIF", transparency=0), ".gif", (200, 10, 10)),
        (saved(Image.fromarray(HALF), "PNG", transparency=0), ".png", (255, 255, 255)),
        (
            png(8, 2, [bytes([1, 2, 3] * 16 + [200, 10, 10] * 16)] * 32, 32, struct.pack(">3H", 1, 2, 3)),
            ".png",
            (200, 10, 10),
        ),
        (png(1, 0, gray_rows(0, 1, 1), 32, struct.pack(">H", 0)), ".png", (255, 255, 255)),
        (png(2, 0, gray_rows(1, 2, 2), 32, struct.pack(">H", 1)), ".png", (170, 170, 170)),
        (png(4, 0, gray_rows(3, 4, 4), 32, struct.pack(">H", 3)), ".png", (68, 68, 68)),
        (png(16, 0, gray_rows(0x1234, 0x4567, 16), 32, struct.pack(">H", 0x1234)), ".png", (0x45,) * 3),
        (
            png(
                16,
                2,
                [struct.pack(">96H", *[0x1234, 2, 3] * 16, *[0x4567] * 48)] * 32,
                32,
                struct.pack(">3H", 0x1234, 2, 3),
            ),
            ".png",
            (0x45,) * 3,
        ),
    ],
)
@pytest.mark.parametrize("large", [False, True])
def test_what_is_transparent_is_seen_on_white(
    content: bytes, file: str, right: tuple[int, int, int], large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr("genlab.data.sources.image_files._LARGE", 100)
        monkeypatch.setattr("genlab.data.sources.image_files._GAP", 1)
        monkeypatch.setattr("genlab.data.sources.image_files._STRIP", 300)
    found = pixels(content, file, tmp_path)
    assert found[:, :, :3].eq(255).all()
    assert (found[:, :, 5:] - torch.tensor(right)[:, None, None]).abs().max() <= 1


def test_half_transparent_is_half_white(tmp_path: Path) -> None:
    found = pixels(saved(Image.new("RGBA", (8, 8), (0, 100, 200, 128)), "PNG"), ".png", tmp_path)
    assert (found - torch.tensor([127, 177, 227])[:, None, None]).abs().max() <= 1


# ---- endings and frames


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        *[(".gif", "GIF"), (".jfif", "JPEG"), (".jpe", "JPEG"), (".JPG", "JPEG"), (".avif", "AVIF"), (".PnG", "PNG")],
        *[(".jp2", "JPEG2000"), (".pnm", "PPM"), (".pbm", "PPM"), (".webp", "WEBP"), (".TIFF", "TIFF")],
    ],
)
def test_all_endings_of_images_are_read(file: str, kind: str, tmp_path: Path) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this build of Pillow lacks AVIF")
    image = Image.new("1" if file == ".pbm" else "RGB", (16, 16), "white")
    image.paste(0 if file == ".pbm" else (0, 0, 0), (0, 0, 16, 8))
    found = pixels(saved(image, kind), file, tmp_path)
    assert found[:, :3].max() <= 4 and found[:, 5:].min() >= 251


def test_a_kind_that_this_build_of_pillow_lacks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not passed over: the set would be another one on another machine."""
    monkeypatch.setattr(features, "check", lambda kind: kind != "avif")
    with pytest.raises(DataError, match=r"\d\.avif cannot be read: this build of Pillow lacks avif: install one"):
        pixels(b"....ftypavif....", ".avif", tmp_path)


@pytest.mark.parametrize(("kind", "file"), [("GIF", ".gif"), ("WEBP", ".webp"), ("PNG", ".png"), ("TIFF", ".tif")])
def test_of_several_frames_the_first_is_taken_and_a_line_says_so(
    kind: str, file: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "genlab")
    first, second = Image.new("RGB", (8, 8), (200, 10, 10)), Image.new("RGB", (8, 8), (10, 10, 200))
    options = {"lossless": True} if kind == "WEBP" else {}
    found = pixels(saved(first, kind, save_all=True, append_images=[second], **options), file, tmp_path)
    assert (found - torch.tensor([200, 10, 10])[:, None, None]).abs().max() <= 1
    caplog.clear()
    load(f"image_folder:{tmp_path}/set", "train", image_size=8)
    (line,) = [each for each in caplog.messages if "several frames" in each]
    assert line.endswith(f"{file} holds several frames or pages: of each such file the first is taken")


def test_a_phones_preview_is_no_second_frame(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "genlab")
    photo = Image.new("RGB", (16, 16), (200, 10, 10))
    pixels(saved(photo, "MPO", save_all=True, append_images=[photo.resize((8, 8))]), ".jpg", tmp_path)
    assert not [each for each in caplog.messages if "several frames" in each]


# ---- orientation


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("large", [False, True])
def test_every_orientation_is_turned_upright(
    orientation: int, kind: str, large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four colors in the corners of a wide image's middle."""
    if large:
        monkeypatch.setattr("genlab.data.sources.image_files._LARGE", 100)
        monkeypatch.setattr("genlab.data.sources.image_files._STRIP", 70)
    corners = Image.new("RGB", (64, 32))
    for i, color in enumerate([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]):
        corners.paste(color, (16 + i % 2 * 16, i // 2 * 16, 32 + i % 2 * 16, 16 + i // 2 * 16))
    upright = [
        [0, 1, 2, 3],
        [1, 0, 3, 2],
        [3, 2, 1, 0],
        [2, 3, 0, 1],
        [0, 2, 1, 3],
        [2, 0, 3, 1],
        [3, 1, 2, 0],
        [1, 3, 0, 2],
    ]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    found = pixels(saved(corners, kind, exif=exif, **options), f".{kind.lower()}", tmp_path, size=8)
    colors = {(1, 0, 0): 0, (0, 1, 0): 1, (0, 0, 1): 2, (1, 1, 1): 3}
    seen = [colors[tuple((found[:, y, x] > 127).int().tolist())] for y, x in ((1, 1), (1, 6), (6, 1), (6, 6))]
    assert seen == upright[orientation - 1]


def test_damaged_exif_data_do_no_harm(tmp_path: Path) -> None:
    content = saved(
        Image.new("RGB", (8, 8), (200, 10, 10)), "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x02\x01\x12\0\x03junk"
    )
    assert (pixels(content, ".png", tmp_path) - torch.tensor([200, 10, 10])[:, None, None]).abs().max() <= 1


# ---- files that are no images


@pytest.mark.parametrize(
    ("content", "file", "words"),
    [
        (b"", ".png", r"0\.png is empty$"),
        (b"this is text", ".jpg", r"0\.jpg is not an image, or is truncated or altered \(Pillow knows no such kind"),
    ],
)
def test_what_is_no_image_is_named_with_the_reason(content: bytes, file: str, words: str, tmp_path: Path) -> None:
    for i in range(1, 10):
        noise(tmp_path / "set" / f"{i}.png", i)
    (tmp_path / "set" / f"0{file}").write_bytes(content)
    errors = []
    for split in ("train", "validation", "test"):
        try:
            load(f"image_folder:{tmp_path}/set", split, image_size=8)
        except DataError as error:
            errors.append(str(error))
    assert len(errors) == 1 and re.search(words, errors[0])


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(10):
        paint(tmp_path / "set" / f"{i}.png", i)
    is_open = Path.open

    def refuse(path: Path, *arguments: str, **named: str) -> object:
        if path.parent.name == "set":
            raise PermissionError(13, "Permission denied")
        return is_open(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"cannot read .*/set/\d\.png: Permission denied"):
        load(f"image_folder:{tmp_path}/set", "test", image_size=8)
