"""CelebA (Liu et al. 2015): faces, aligned and cropped, in torchvision's layout and with the authors' own split."""

from __future__ import annotations

import os
from pathlib import Path

from genlab.data.cache import Pixels
from genlab.data.sources.download import find_or_download
from genlab.data.sources.image_files import Paths, decoded
from genlab.data.sources.source import Source, read_bytes
from genlab.errors import DataError

_IMAGES = "celeba/img_align_celeba"
_PARTITION = "celeba/list_eval_partition.txt"
_SPLITS = {"train": "0", "validation": "1", "test": "2"}


def find(split: str, image_size: int, data_root: str | os.PathLike[str] | None) -> Source:
    """162,770 train, 19,867 validation and 19,962 test images; three channels, no labels.

    Of the 178 x 218 pixels the middle 178 x 178 are brought to `image_size`. Which images there are is what the list
    says: of part of the set, a list of that part.
    """

    def look(root: Path) -> Path | None:
        return root if (root / _IMAGES).is_dir() and (root / _PARTITION).is_file() else None

    parts = (_IMAGES, _PARTITION)
    root = find_or_download("celeba", "CelebA", data_root, look, parts, parts)
    folder, names = root / _IMAGES, _of_split(root / _PARTITION, split)
    return Source(Paths(folder, names), lambda: Pixels(decoded(folder, names, image_size), None, ()))


def _of_split(partition: Path, split: str) -> list[str]:
    """The names of the split's images, in the order of the list."""
    names = []
    for number, line in enumerate(read_bytes(partition).decode("ascii", "replace").splitlines(), 1):
        words = line.split()
        if len(words) != 2 or words[1] not in _SPLITS.values():
            raise DataError(f"{partition} is truncated or altered: line {number} is not an image's name and 0, 1 or 2")
        if words[1] == _SPLITS[split]:
            names.append(words[0])
    if not names:
        raise DataError(f"{partition} is truncated or altered: it names no image of the {split} split")
    return names
