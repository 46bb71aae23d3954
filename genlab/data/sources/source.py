"""What every data set's `find` returns, and the checks they share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from genlab.data.cache import Pixels
from genlab.data.paths import shown
from genlab.data.splits import stratified
from genlab.errors import DataError
from genlab.randomness import derive


@dataclass(frozen=True)
class Source:
    """The files of one split. `read` checks them and returns the pixels; where it gives `Rows` a file is checked when
    its row is read. Either raises DataError naming the bad one.

    `detail` is whatever the pixels depend on besides the files.
    """

    files: Iterable[Path]
    read: Callable[[], Pixels]
    detail: str = ""


def read_bytes(path: Path) -> bytes:
    """The whole file; DataError, naming it, where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {shown(path)}: {error.strerror}") from error


def check_md5(data: bytes, expected: str, path: Path | str) -> None:
    """Raise DataError, naming `path`, unless `data` has the md5 that torchvision lists for it."""
    found = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if found != expected:
        raise DataError(
            f"{path} is truncated or altered: {len(data)} bytes of md5 {found}, and it should be {expected}; "
            "delete it and it will be downloaded again"
        )


def split_of(name: str, split: str, labels: Tensor, sizes: dict[str, int]) -> Tensor:
    """The indices (int64, ascending) of `split` when `sizes` items, stratified, leave the set for other splits.

    The choice is fixed for each set name, for ever: it is a hash of each item's index.
    """
    keys = [derive(0, f"split/{name}", index) for index in range(len(labels))]
    parts = stratified(labels.tolist(), keys, list(sizes.values()))
    return torch.tensor(dict(zip([*sizes, "train"], parts, strict=True))[split])
