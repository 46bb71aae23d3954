"""Where the pixels come from: one module a data set, each with `find`, which reads names only."""

from __future__ import annotations

import os

from genlab.data.sources import celeba, cifar10, digits, image_folder, mnist
from genlab.data.sources.source import Source

__all__ = ["Source", "find"]


def find(name: str, split: str, image_size: int, data_root: str | os.PathLike[str] | None) -> Source:
    """The files of one split of `name` (valid, as `check_name` has it), downloaded where absent; reads none of them.

    Raises DataError where they are absent and cannot be downloaded.
    """
    if name == "digits":
        return digits.find(split, image_size)
    if name == "cifar10":
        return cifar10.find(split, image_size, data_root)
    if name == "celeba":
        return celeba.find(split, image_size, data_root)
    if name in mnist.FOLDERS:
        return mnist.find(name, split, image_size, data_root)
    return image_folder.find(name, split, image_size, data_root)
