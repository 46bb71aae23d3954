"""scikit-learn's 1,797 handwritten digits of 8 x 8 pixels: they come with the installation."""

from __future__ import annotations

import gzip
import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from genlab.data.cache import Pixels
from genlab.data.resize import resize
from genlab.data.sources.source import Source, read_bytes, split_of
from genlab.errors import DataError

_COUNT = 1797
_SIZES = {"validation": 300, "test": 300}


def _file() -> Path:
    """The file behind `load_digits`, found and read without importing scikit-learn, which takes seconds."""
    spec = find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise DataError("digits needs scikit-learn, which is not installed: install genlab's dependencies")
    return Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"


def find(split: str, image_size: int) -> Source:
    """1,197 train, 300 validation and 300 test images with one channel, stratified by class."""
    path = _file()

    def read() -> Pixels:
        try:
            lines = gzip.decompress(read_bytes(path)).splitlines()
            table = torch.from_numpy(np.loadtxt(lines, delimiter=",")) if lines else torch.empty(0)
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise DataError(f"{path} is truncated or altered ({error}): install scikit-learn again") from error
        if table.shape != (_COUNT, 65) or table.min() < 0 or table.max() > 16 or table[:, 64].max() > 9:
            raise DataError(f"{path} is altered: not {_COUNT} digits of 64 values in 0..16: install scikit-learn again")
        raw, labels = table[:, :64], table[:, 64].to(torch.int64)
        images = (raw.reshape(-1, 1, 8, 8) * (255 / 16)).round().to(torch.uint8)
        chosen = split_of("digits", split, labels, _SIZES)
        return Pixels(resize(images[chosen], image_size, "bicubic"), labels[chosen], tuple("0123456789"))

    return Source((path,), read)
