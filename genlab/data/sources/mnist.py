"""MNIST and Fashion-MNIST in torchvision's layout, from the official .gz files or from unpacked ones."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genlab.data.cache import Pixels
from genlab.data.resize import pad_to_32, resize
from genlab.data.sources.download import find_or_download
from genlab.data.sources.source import Source, check_md5, read_bytes, split_of
from genlab.errors import DataError

FOLDERS = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}  # also torchvision's class names
_COUNTS = {"train": 60_000, "t10k": 10_000}
_SIDE = 28
_VALIDATION = 5_000


def _names(part: str) -> tuple[str, str]:
    return f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"


def find(name: str, split: str, image_size: int, data_root: str | os.PathLike[str] | None) -> Source:
    """55,000 train and 5,000 validation images from the official training files, 10,000 test images; one channel."""
    folder = f"{FOLDERS[name]}/raw"
    part = "t10k" if split == "test" else "train"

    def look(root: Path) -> tuple[Path, ...] | None:
        found = []
        for file in _names(part):
            # The packed file first: torchvision knows its md5.
            candidates = [root / folder / f"{file}.gz", root / folder / file]
            found += [path for path in candidates if path.is_file()][:1]
        return tuple(found) if len(found) == 2 else None

    everything = [f"{folder}/{file}.gz" for part in _COUNTS for file in _names(part)]
    wanted = [f"{folder}/{file}.gz" for file in _names(part)]
    files = find_or_download(name, FOLDERS[name], data_root, look, wanted, everything)

    def read() -> Pixels:
        from torchvision import datasets

        set_class: Any = getattr(datasets, FOLDERS[name])
        md5 = dict(set_class.resources)
        count = _COUNTS[part]
        images = _idx(files[0], md5, (count, _SIDE, _SIDE))
        labels = _idx(files[1], md5, (count,)).to(torch.int64)
        if labels.unique().tolist() != list(range(10)):
            raise DataError(f"{files[1]} is altered: its labels are not the ten classes 0..9")
        images = images[:, None]
        if split != "test":
            chosen = split_of(name, split, labels, {"validation": _VALIDATION})
            images, labels = images[chosen], labels[chosen]
        if image_size != _SIDE:
            images = resize(pad_to_32(images), image_size)
        classes = tuple("0123456789") if name == "mnist" else tuple(set_class.classes)
        return Pixels(images, labels, classes)

    return Source(files, read)


def _idx(path: Path, md5: dict[str, str], shape: tuple[int, ...]) -> torch.Tensor:
    """The uint8 array of an IDX file, which must be of `shape`: four bytes of magic, big-endian sizes, then values."""
    data = read_bytes(path)
    if path.suffix == ".gz":
        check_md5(data, md5[path.name], path)
        data = gzip.decompress(data)
    header = struct.pack(f">{1 + len(shape)}I", 0x0800 | len(shape), *shape)
    if data[: len(header)] != header:
        raise DataError(f"{path} is altered: its header is not that of an IDX file of {shape} bytes; delete it")
    if len(data) != len(header) + int(np.prod(shape)):
        raise DataError(f"{path} is truncated or altered: {len(data)} bytes do not hold {shape} values; delete it")
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=len(header)).reshape(shape).copy())
