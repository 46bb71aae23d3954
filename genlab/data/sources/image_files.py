"""Image files as squares of pixels."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from genlab.data.cache import Rows
from genlab.data.sources.source import read_bytes
from genlab.errors import DataError

_PNG_END = b"IEND\xaeB`\x82"


class Paths:
    """Files as paths, made one at a time: a path takes several times the memory of its name."""

    def __init__(self, folder: Path, files: list[str]) -> None:
        self._folder, self._files = folder, files

    def __iter__(self) -> Iterator[Path]:
        return (self._folder / file for file in self._files)


def decoded(folder: Path, files: list[str], size: int) -> Rows:
    """The images uint8 [N,3,size,size] of `files`, each read when it is asked for."""
    return Rows((len(files), 3, size, size), lambda item: _decode(folder / files[item], size))


def _decode(path: Path, size: int) -> torch.Tensor:
    """uint8 [3,size,size]: the short side resized (bilinear, antialiased) to `size` and the middle cut out.

    Raises DataError, naming the file, where it cannot be read or is no whole image.
    """
    data = read_bytes(path)
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.format == "PNG":  # its checksums and its end, which decoding alone does not look at
                Image.open(io.BytesIO(data)).verify()
                if _PNG_END not in data:
                    raise OSError("no end marker")
            fitted = ImageOps.fit(_rgb(image), (size, size), Image.Resampling.BILINEAR)
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        raise DataError(f"{path} is not an image, or is truncated or altered ({error})") from error
    # By numpy, in this thread: torch would call all of its own threads for every image.
    return torch.from_numpy(np.ascontiguousarray(np.asarray(fitted).transpose(2, 0, 1)))


def _rgb(image: Image.Image) -> Image.Image:
    """Upright, in three channels of eight bits."""
    if image.mode.startswith("I"):  # 16 bits a pixel, which convert("RGB") would clip instead of scale
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    return ImageOps.exif_transpose(image).convert("RGB")
