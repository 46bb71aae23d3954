"""Image files as squares of pixels."""

from __future__ import annotations

import contextlib
import logging
import re
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
import PIL
import torch
from PIL import ExifTags, Image, ImageFile, ImageOps, features

from genlab.data.paths import shown
from genlab.data.rows import BadImage, Rows
from genlab.data.sources import eight_bits
from genlab.data.sources.folders import ending

logger = logging.getLogger(__name__)
_PNG_END = b"\xaeB`\x82"  # the checksum of its last chunk
_TIFF_STARTS = (b"II*\0", b"MM\0*")
_OPTIONAL = {".avif": "avif", ".jp2": "jpg_2000", ".webp": "webp"}  # what a build of Pillow may lack, as it calls it
_LARGE = 1 << 22  # pixels of an image that is first made smaller by whole factors, to what is left to be antialiased:
_GAP = 3  # times the size that is wanted
_STRIP = 1 << 21  # of its pixels that are converted together
_BYTES_OF_DECODER = {"AVIF": 12, "JPEG2000": 12, "WEBP": 12}  # for a pixel, besides the image
_BYTES_OF_PROGRESSIVE = 6  # of a JPEG
_MUCH = 128 << 20  # bytes: of images that take more no two are decoded at a time


class Paths:
    """Files as paths, made one at a time: a path takes several times the memory of its name."""

    def __init__(self, folder: Path, files: list[str]) -> None:
        self._folder, self._files = folder, files

    def __iter__(self) -> Iterator[Path]:
        return (self._folder / file for file in self._files)


def decoded(folder: Path, files: list[str], size: int) -> Rows:
    """The images uint8 [N,3,size,size] of `files`, each read when it is asked for.

    Of an image the middle square is taken: its short side is resized (bilinear, antialiased) to `size`. It is turned
    upright as its EXIF data say. What is transparent is seen on white. Of a file of several frames or pages the first
    is taken, and a line is logged. Eight bits of 16 are kept, the upper ones.

    A row raises BadImage, naming the file, where that cannot be read, is no whole image, has values of unknown scale,
    or is larger than Pillow takes (179 megapixels).
    """
    said = threading.Event()
    # A thread, where a lock would do: each thread has memory of its own, which it keeps when an image is done.
    alone = ThreadPoolExecutor(1)

    def read(item: int) -> torch.Tensor:
        path = folder / files[item]
        try:
            pixels, has_more = _decode(path, size, alone)
        except BadImage as error:
            bad = BadImage(error.problem, error.cure)  # without the traceback, which keeps the image in memory
        else:
            if has_more and not said.is_set():
                said.set()
                logger.info("%s holds several frames or pages: of each such file the first is taken", shown(path))
            return pixels
        raise bad

    return Rows((len(files), 3, size, size), read)


def _decode(path: Path, size: int, alone: Executor) -> tuple[torch.Tensor, bool]:
    """uint8 [3,size,size], and whether there is more than this in the file. Raises BadImage.

    `alone` does one thing at a time: an image that takes much memory is left to it.
    """
    file = shown(path)
    try:
        with path.open("rb") as opened:
            if _bytes_for(opened, size) > _MUCH:
                square, has_more = alone.submit(_read, opened, size, file).result()
            else:
                square, has_more = _read(opened, size, file)
    except BadImage:
        raise
    except Image.DecompressionBombError as error:
        pixels, most = (int(number) / 1e6 for number in re.findall(r"\d+", str(error))[:2])
        raise BadImage(f"{file} has {pixels:.1f} megapixels, and {most:.1f} are the most", "make it smaller") from error
    except PIL.UnidentifiedImageError as error:
        raise _unidentified(path, file) from error
    except MemoryError as error:
        raise BadImage(f"{file} takes more memory than there is", "make it smaller") from error
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        if isinstance(error, OSError) and error.errno is not None:
            raise BadImage(f"cannot read {file}: {error.strerror}") from error
        raise BadImage(f"{file} is not an image, or is truncated or altered ({shown(str(error))})") from error
    # By numpy, in this thread: torch would call all of its own threads for every image.
    return torch.from_numpy(np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))), has_more


def _unidentified(path: Path, file: str) -> BadImage:
    """What to say of a file in which Pillow sees no image."""
    with path.open("rb") as opened:
        start = opened.read(4)
    kind = _OPTIONAL.get(ending(path.name))
    if not start:
        return BadImage(f"{file} is empty")
    if kind is not None and not features.check(kind):
        return BadImage(f"{file} cannot be read: this build of Pillow lacks {kind}", "install one that has it")
    if start in _TIFF_STARTS:
        return BadImage(
            f"{file} is an altered TIFF, or of a kind that Pillow {PIL.__version__} does not read", eight_bits.CURE
        )
    return BadImage(f"{file} is not an image, or is truncated or altered (Pillow knows no such kind of file)")


def _opened(file: BinaryIO, size: int) -> tuple[ImageFile.ImageFile, tuple[float, float] | None]:
    """The image, of which only the start was read; a large JPEG will be decoded at a fraction of its size.

    Also how wide and high it is then: its last pixels are partly beyond its edge. None if it is decoded as it is.
    """
    file.seek(0)
    image = Image.open(file)
    drafted = image.draft(None, (_GAP * size, _GAP * size)) if _is_large(image) else None
    return image, drafted[1][2:] if drafted else None


def _read(file: BinaryIO, size: int, name: str) -> tuple[Image.Image, bool]:
    """The middle square in RGB, and whether the file holds more than this image."""
    image, extent = _opened(file, size)
    if image.format == "PNG":
        image.verify()  # its checksums, which decoding alone does not look at, up to that of the end
        if file.read(len(_PNG_END)) != _PNG_END:
            raise OSError("no end marker")
        image, _ = _opened(file, size)
        eight_bits.scale_clear_value(image)
    with contextlib.closing(image):  # or its pixels stay in memory until Python collects garbage
        square = _square(image, extent, size, name)
        return square, getattr(image, "is_animated", False) and image.format != "MPO"  # which has previews of the same


def _is_large(image: Image.Image) -> bool:
    return image.width * image.height > _LARGE


def _bytes_for(file: BinaryIO, size: int) -> int:
    """About what its image takes in memory until it is small."""
    image = Image.open(file)
    decoder = _BYTES_OF_PROGRESSIVE if image.info.get("progressive") else _BYTES_OF_DECODER.get(image.format or "", 0)
    taken = decoder * image.width * image.height
    image, _ = _opened(file, size)
    pixels = image.width * image.height
    converted = 0 if eight_bits.is_plain(image) else _STRIP if _is_large(image) else pixels
    return taken + 4 * pixels + 16 * converted


def _square(image: Image.Image, extent: tuple[float, float] | None, size: int, file: str) -> Image.Image:
    """The middle square in RGB, of size x size pixels, upright. `extent` is as `_opened` gives it."""
    image.load()  # only now are its size and its orientation what they are
    values, factor = eight_bits.deep(image, file), 1
    if _is_large(image):
        factor = max(1, min(image.size) // (_GAP * size))
    whole = eight_bits.converted(image, values) if factor == 1 else _reduced(image, factor, values)
    width, height = (length / factor for length in extent or image.size)
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    square = whole.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    square.info.clear()  # its EXIF data, which may be damaged: of them the orientation alone is wanted
    square.getexif()[ExifTags.Base.Orientation] = image.getexif().get(ExifTags.Base.Orientation, 1)
    return ImageOps.exif_transpose(square).convert("RGB")


def _reduced(image: Image.Image, factor: int, values: eight_bits.Deep | None) -> Image.Image:
    """The image, a fraction as wide and high, in mode "L" or "RGB".

    Strip by strip: copies of all of it would take many times its memory.
    """
    height = max(1, _STRIP // (image.width * factor)) * factor
    strips = []
    for top in range(0, image.height, height):
        strip = image.crop((0, top, image.width, min(top + height, image.height)))
        strips.append(eight_bits.converted(strip, values).reduce(factor))
    whole = Image.new(strips[0].mode, (strips[0].width, sum(strip.height for strip in strips)))
    for i, strip in enumerate(strips):
        whole.paste(strip, (0, i * height // factor))
    return whole
