"""An image set in memory, and how it is found, built and mapped."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genlab.data import sources
from genlab.data.cache import Pixels, cached
from genlab.data.names import check_name, check_split
from genlab.data.places import cache_root
from genlab.errors import DataError, GenlabError

_MOST = 12  # sets that a process holds: mapped, so they cost little until they are copied to a device
_held: dict[Path, ImageSet] = {}
_RECIPE = 1  # raise it when the same files give other pixels or another split: caches of before are then not read


@dataclass(frozen=True, eq=False)
class ImageSet:
    """One split of one data set.

    `images` is uint8 [N,C,S,S] with values 0..255; `labels` is int64 [N] with values 0..len(classes)-1, or None for
    a set without classes, whose `classes` is (). Both tensors are mapped from the cache: don't write to them.
    """

    name: str
    split: str
    images: Tensor
    labels: Tensor | None
    classes: tuple[str, ...]
    _copies: dict[torch.device, tuple[Tensor, Tensor | None]] = field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        return self.images.shape[0]

    @property
    def channels(self) -> int:
        return self.images.shape[1]

    @property
    def image_size(self) -> int:
        return self.images.shape[3]

    @functools.cached_property
    def digest(self) -> str:
        """Of all images and labels."""
        seen = hashlib.sha256(self.images.contiguous().numpy().data)
        if self.labels is not None:
            seen.update(self.labels.contiguous().numpy().data)
        return seen.hexdigest()[:16]

    def describe(self) -> dict[str, Any]:
        """Name, split, shape [N,C,S,S], class names and digest, as JSON values: what tells whether two runs saw the
        same data.
        """
        return {
            "name": self.name,
            "split": self.split,
            "shape": list(self.images.shape),
            "classes": list(self.classes),
            "digest": self.digest,
        }

    def on(self, device: torch.device | str) -> tuple[Tensor, Tensor | None]:
        """Images and labels on `device`: copied there once, however many trials train on them."""
        place = torch.device(device)
        if place not in self._copies:
            labels = None if self.labels is None else self.labels.to(place)
            self._copies[place] = self.images.to(place), labels
        return self._copies[place]


def load(name: str, split: str, *, image_size: int = 32, data_root: str | os.PathLike[str] | None = None) -> ImageSet:
    """One split ("train", "validation" or "test") of a data set as squares of `image_size` pixels (8 or more).

    Files are looked for under `data_root`, then `GENLAB_DATA`, then `data` in the user cache; an absent set is
    downloaded into `data_root` where that was given and can be written, otherwise into the user cache. The first
    call checks the files and builds a cached set from them; later calls, in any process, map it, until the size or
    the time of a file changes. A process that asks again gets the very set that it has.

    Raises GenlabError for a name, split or size that does not exist; DataError for files that are absent (naming the
    folder and the files), truncated or altered (naming the file; nothing is cached), or a cache folder that cannot be
    written; StorageError where the cached file itself cannot be written.
    """
    check_name(name)
    check_split(split)
    if image_size < 8:
        raise GenlabError(f"image_size is {image_size}: it must be 8 or more")
    source = sources.find(name, split, image_size, data_root)

    def fingerprint() -> str:
        seen: list[Any] = [_RECIPE, name, split, image_size, source.detail]
        for path in source.files:
            try:
                status = path.stat()
            except OSError as error:
                raise DataError(f"cannot read {path}: {error.strerror}") from error
            seen.append((str(path), status.st_size, status.st_mtime_ns))
        return hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:20]

    before = fingerprint()

    def build() -> Pixels:
        pixels = source.read()
        if fingerprint() != before:
            raise DataError(f"the files of {name} changed while they were read: {source.files[0].parent}")
        return pixels

    stem = f"{name.partition(':')[0]}-{split}-{image_size}-{before}"
    path = cache_root() / "sets" / f"{stem}.safetensors"
    if path not in _held:
        while len(_held) >= _MOST:
            del _held[next(iter(_held))]
        _held[path] = ImageSet(name, split, *cached(path, build))
    return _held[path]
