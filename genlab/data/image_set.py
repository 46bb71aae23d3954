"""One split of a data set, and how it is found, built and opened."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
from pathlib import Path

import torch
from torch import Tensor

from genlab.data import sources
from genlab.data.cache import cached, digest_of
from genlab.data.description import SetDescription
from genlab.data.images import Images, MemoryImages
from genlab.data.names import check_name, check_split
from genlab.data.paths import cache_root, in_short, shown
from genlab.errors import DataError, GenlabError

logger = logging.getLogger(__name__)
_MOST = 12  # sets that a process keeps: they cost little until they are copied to a device
_loaded: dict[Path, ImageSet] = {}
_doubted: set[Path] = set()  # sets of which this process said that hardly anything is to be seen
_RECIPE = 2  # raise it when the same files give other pixels or another split: caches of before are then not read


class ImageSet:
    """One split of one data set, or a subset of one.

    Attributes:
        name, split: as `load` takes them; anything for a set made by hand.
        labels: int64 [N] with values 0..len(classes)-1 on the CPU, or None for a set without classes.
        classes: their names; () for a set without classes.
        base: the whole set that a subset was taken from; None for a whole set.
        indices: int64 [N], the subset's images by their number in `base`; None for a whole set.
        pixels: where the images of the whole set lie.

    Don't write to `images` and `labels`.
    """

    def __init__(
        self, name: str, split: str, images: Tensor | Images, labels: Tensor | None, classes: tuple[str, ...]
    ) -> None:
        """`images` is uint8 [N,C,S,S] on the CPU, with values 0..255, or where such images lie.

        Raises GenlabError for a tensor of another kind: of floats in [0,1] nothing would be left.
        """
        if isinstance(images, Tensor) and (images.dtype != torch.uint8 or images.ndim != 4):
            raise GenlabError(
                f"the images of {name} must be uint8 [N,C,S,S] with values 0..255, not {images.dtype} "
                f"{list(images.shape)}: of floats in [0,1] make (images * 255).round().to(torch.uint8)"
            )
        self.name, self.split, self.labels, self.classes = name, split, labels, classes
        self.base: ImageSet | None = None
        self.indices: Tensor | None = None
        self.pixels = images if isinstance(images, Images) else MemoryImages(images)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, S, S)."""
        whole = self.pixels.shape
        return whole if self.indices is None else (len(self.indices), *whole[1:])

    @property
    def channels(self) -> int:
        return self.shape[1]

    @property
    def image_size(self) -> int:
        return self.shape[3]

    @property
    def images(self) -> Tensor:
        """uint8 [N,C,S,S] on the CPU: a whole set's own, mapped from its file; of a subset a new copy at every access.

        Of a set that memory cannot hold take a few images at a time, by `select`.
        """
        return self.pixels.whole if self.indices is None else self.pixels.gather(self.indices)

    @functools.cached_property
    def digest(self) -> str:
        """16 hexadecimal digits: of all images and labels; of a subset from its base's digest, indices and labels."""
        if self.base is None or self.indices is None:
            return digest_of(self.images, self.labels)
        return digest_of(self.indices, self.labels, prefix=self.base.digest)

    def describe(self) -> SetDescription:
        """What tells whether two runs saw the same data."""
        return SetDescription(self.name, self.split, self.shape, self.classes, self.digest)

    def select(self, items: Tensor, device: torch.device | str = "cpu") -> Tensor:
        """The images `items` (int64 [n] in 0..N-1) for evaluation: float32 [n,C,S,S] in [0,1] on `device`.

        Raises GenlabError for items that do not exist, StorageError where the set's file cannot be read.
        """
        items = self._checked(items, "items")
        pixels = self.pixels.gather(items if self.indices is None else self.indices[items])
        return pixels.to(device).to(torch.float32).div_(255)

    def on(self, device: torch.device | str) -> tuple[Tensor, Tensor | None]:
        """All images (uint8 [N,C,S,S]) and labels on `device`, whatever their size.

        A whole set is copied there once, however many trials train on it; a subset gathers a new copy at every call.
        """
        device = torch.device(device)
        labels = None if self.labels is None else self.labels.to(device)
        if self.indices is None:
            return self.pixels.on(device), labels
        if self.pixels.fits(device):
            return self.pixels.on(device).index_select(0, self.indices.to(device)), labels
        return self.images.to(device), labels

    def subset(self, indices: Tensor, labels: Tensor | None = None) -> ImageSet:
        """The images at `indices` (int64 [n] in 0..N-1, repeated ones allowed) as a set; no pixel is copied.

        `labels` (int64 [n], values 0..len(classes)-1) replace the images' own. A subset of a subset is one of the
        whole set. Raises GenlabError for indices or labels that are not of this kind, and for no indices at all.
        """
        indices = self._checked(indices, "indices")
        if not len(indices):
            raise GenlabError(f"a subset of {self.name} needs at least one index")
        if labels is None:
            labels = None if self.labels is None else self.labels[indices]
        else:
            labels = _int64(labels, "labels", len(self.classes))
            if len(labels) != len(indices):
                raise GenlabError(f"{len(indices)} indices and {len(labels)} labels make no subset")
        made = ImageSet(self.name, self.split, self.pixels, labels, self.classes)
        made.base = self if self.base is None else self.base
        made.indices = indices if self.indices is None else self.indices[indices]
        return made

    def _checked(self, items: Tensor, what: str) -> Tensor:
        return _int64(items, f"{what} of {self.name}", len(self))


def _int64(values: Tensor, what: str, end: int) -> Tensor:
    """A copy of `values` on the CPU; GenlabError unless they are int64 [n] in 0..end-1."""
    if values.dtype != torch.int64 or values.ndim != 1:
        raise GenlabError(f"{what} must be int64 [n], not {values.dtype} {list(values.shape)}")
    values = values.to("cpu", copy=True)
    if len(values) and (int(values.min()) < 0 or int(values.max()) >= end):
        raise GenlabError(f"{what} must lie in 0..{end - 1}, not {int(values.min())}..{int(values.max())}")
    return values


def load(name: str, split: str, *, image_size: int = 32, data_root: str | os.PathLike[str] | None = None) -> ImageSet:
    """One split ("train", "validation" or "test") of a data set as squares of `image_size` pixels (8 or more).

    Files are looked for under `data_root`, then `GENLAB_DATA`, then `data` in the user cache; an absent set is
    downloaded into `data_root` where that was given and can be written, otherwise into the user cache. The first
    call checks the files and builds a cached set from them; later calls, in any process, open it, until the size or
    the time of a file changes. A process that asks again gets the very set that it has. A set in whose images hardly
    anything is to be seen is warned of, once a process.

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
        """Hashed file by file: there may be a million."""
        seen = hashlib.sha256(json.dumps([_RECIPE, name, split, image_size, source.detail]).encode())
        absent = []
        for path in source.files:
            try:
                status = path.stat()
            except OSError as error:
                absent.append(f"{shown(path)}: {error.strerror}")
                continue
            seen.update(json.dumps([str(path), status.st_size, status.st_mtime_ns]).encode())
        if absent:
            raise DataError(f"cannot read {in_short(absent)}")
        return seen.hexdigest()[:20]

    before = fingerprint()

    def check() -> None:
        if fingerprint() != before:
            folder = next(iter(source.files)).parent
            raise DataError(f"the files of {shown(name)} changed while they were read: {shown(folder)}")

    stem = f"{name.partition(':')[0]}-{split}-{image_size}-{before}"
    path = cache_root() / "sets" / f"{stem}.safetensors"
    if path not in _loaded:
        stored = cached(path, source.read, check)
        while len(_loaded) >= _MOST:
            del _loaded[next(iter(_loaded))]
        _loaded[path] = ImageSet(name, split, stored.images, stored.labels, stored.classes)
        _loaded[path].digest = stored.digest
        if path not in _doubted and (doubt := stored.brightness.doubt(stored.images.shape)) is not None:
            _doubted.add(path)
            logger.warning("%s, %s: %s", shown(name), split, doubt)
    return _loaded[path]
