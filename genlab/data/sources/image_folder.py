"""A folder of image files: class sub-folders or flat, split into train/validation/test folders or by genlab."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import torch

from genlab.data.cache import Pixels
from genlab.data.paths import named_roots
from genlab.data.sources.image_files import Paths, decoded
from genlab.data.sources.source import Source
from genlab.data.splits import stratified
from genlab.errors import DataError
from genlab.randomness import derive

_EXTENSIONS = {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
_FOLDERS = {"train": ("train",), "validation": ("validation", "val"), "test": ("test",)}
_FEWEST = 10


class _Listing(NamedTuple):
    """Image files relative to the folder, sorted, with the class of each (0 for all in a flat folder)."""

    folder: Path
    files: list[str]
    labels: list[int]
    classes: tuple[str, ...]

    def only(self, items: list[int]) -> _Listing:
        return self._replace(files=[self.files[i] for i in items], labels=[self.labels[i] for i in items])


def find(name: str, split: str, image_size: int, data_root: str | os.PathLike[str] | None) -> Source:
    """The split's own folder (`train`, `validation` or `val`, `test`) or, where absent, a tenth of the training images.

    Without a `train` folder all images are the training images. Sub-folders that hold images are classes; images that
    lie directly in the folder have no labels. Three channels. Raises DataError for a folder that is absent or has
    too few images.
    """
    folder = _folder(name, data_root)
    chosen = _choose(folder, split)

    def read() -> Pixels:
        images = decoded(chosen.folder, chosen.files, image_size)
        return Pixels(images, torch.tensor(chosen.labels) if chosen.classes else None, chosen.classes)

    return Source(Paths(chosen.folder, chosen.files), read, detail=f"{chosen.classes} {chosen.labels}")


def _folder(name: str, data_root: str | os.PathLike[str] | None) -> Path:
    sub = name.partition(":")[2]
    if Path(sub).expanduser().is_absolute():
        candidates = [Path(sub).expanduser()]
    else:
        candidates = [root / sub for root in named_roots(data_root)]
    if not candidates:
        raise DataError(f"{name} needs a folder: give --data-root or GENLAB_DATA, or image_folder:/an/absolute/path")
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise DataError(f"{name}: there is no folder {' or '.join(map(str, candidates))}")


def _split_folder(folder: Path, split: str) -> Path | None:
    present = [folder / own for own in _FOLDERS[split] if (folder / own).is_dir()]
    if len(present) > 1:
        raise DataError(f"{folder} has both {' and '.join(path.name for path in present)}: keep one of them")
    return present[0] if present else None


def _choose(folder: Path, split: str) -> _Listing:
    own = {each: _split_folder(folder, each) for each in _FOLDERS}
    train = own["train"]
    if train is None and (others := [path.name for path in own.values() if path]):
        raise DataError(f"{folder} has {' and '.join(others)} but no train: name the training images' folder train")
    pool = _list(train or folder)
    if len(pool.files) < _FEWEST:
        raise DataError(f"{pool.folder} has {len(pool.files)} images: at least {_FEWEST} are needed to train and test")
    taken = own[split]
    if split != "train" and taken is not None:
        return _with_classes_of(pool, _list(taken))
    missing = [each for each in ("validation", "test") if own[each] is None]
    if not missing:
        return pool
    keys = [derive(0, f"split/image_folder/{file}") for file in pool.files]
    parts = stratified(pool.labels, keys, [max(1, len(pool.files) // 10)] * len(missing))
    return pool.only(dict(zip([*missing, "train"], parts, strict=True))[split])


def _with_classes_of(train: _Listing, other: _Listing) -> _Listing:
    """`other` with `train`'s label numbers: a class may be absent from it, but none may be new."""
    new = sorted(set(other.classes) - set(train.classes))
    if new or bool(train.classes) != bool(other.classes):
        raise DataError(f"{other.folder} has not the classes of {train.folder}: {', '.join(new) or 'it has none'}")
    numbers = [train.classes.index(each) for each in other.classes] or [0]
    return other._replace(labels=[numbers[label] for label in other.labels], classes=train.classes)


def _is_image(file: str) -> bool:
    return not file.startswith(".") and Path(file).suffix.lower() in _EXTENSIONS


def _list(folder: Path) -> _Listing:
    """Every image under `folder`; hidden files and folders, and files with other extensions, are passed over."""
    try:
        entries = sorted(entry for entry in os.listdir(folder) if not entry.startswith("."))
    except OSError as error:
        raise DataError(f"cannot read the folder {folder}: {error.strerror}") from error
    flat = [entry for entry in entries if _is_image(entry) and (folder / entry).is_file()]
    by_class = {entry: _walk(folder, entry) for entry in entries if (folder / entry).is_dir()}
    classes = tuple(entry for entry, files in by_class.items() if files)
    if flat and classes:
        raise DataError(f"{folder} has images beside class folders ({flat[0]}, {classes[0]}): move one kind away")
    if flat:
        return _Listing(folder, flat, [0] * len(flat), ())
    if not classes:
        raise DataError(f"{folder} has no images ({', '.join(sorted(_EXTENSIONS))})")
    if len(classes) < len(by_class):
        empty = sorted(set(by_class) - set(classes))
        raise DataError(f"{folder / empty[0]} has no images: fill this class folder or remove it")
    files = [file for each in classes for file in by_class[each]]
    return _Listing(folder, files, [i for i, each in enumerate(classes) for _ in by_class[each]], classes)


def _walk(folder: Path, sub: str) -> list[str]:
    found = []
    for where, folders, files in os.walk(folder / sub, followlinks=True):
        folders[:] = [each for each in folders if not each.startswith(".")]
        found += [(Path(where) / file).relative_to(folder).as_posix() for file in files if _is_image(file)]
    return sorted(found)
