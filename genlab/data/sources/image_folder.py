"""A folder of image files: class sub-folders or flat, split into train/validation/test folders or by genlab."""

from __future__ import annotations

import contextlib
import logging
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch

from genlab.data.cache import Pixels
from genlab.data.paths import in_short, named_roots, shown
from genlab.data.sources.folders import ENDINGS, Found, look
from genlab.data.sources.image_files import Paths, decoded
from genlab.data.sources.source import Source
from genlab.data.splits import stratified
from genlab.errors import DataError
from genlab.randomness import derive

logger = logging.getLogger(__name__)
_FOLDERS = {"train": ("train",), "validation": ("validation", "val"), "test": ("test",)}
_LIKE_SPLITS = {"train", "training", "validation", "validate", "valid", "val", "test", "testing"}
_FEWEST = 10
_said: set[str] = set()  # what this process has said of folders


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
    lie directly in the folder have no labels. Three channels. Which images a split has depends on their paths below
    the folder alone. What was found and what was passed over is logged, once a process.

    Raises DataError for a folder that is absent or has too few images, and for what `folders.look` refuses.
    """
    folder = _folder(name, data_root)
    chosen = _choose(folder, split)

    def read() -> Pixels:
        images = decoded(chosen.folder, chosen.files, image_size)
        return Pixels(images, torch.tensor(chosen.labels) if chosen.classes else None, chosen.classes)

    return Source(Paths(chosen.folder, chosen.files), read, detail=f"{chosen.classes} {chosen.labels}")


def _folder(name: str, data_root: str | os.PathLike[str] | None) -> Path:
    try:
        sub = Path(name.partition(":")[2]).expanduser()
    except RuntimeError as error:
        raise DataError(f"{shown(name)}: there is no such user") from error
    candidates = [sub] if sub.is_absolute() else [root / sub for root in named_roots(data_root)]
    if not candidates:
        raise DataError(
            f"{shown(name)} needs a folder: give --data-root or GENLAB_DATA, or image_folder:/an/absolute/path"
        )
    for folder in candidates:
        try:
            if folder.is_dir():
                return folder
        except OSError as error:  # not even its parent may be looked at
            raise DataError(f"{shown(name)}: cannot read the folder {shown(folder)}: {error.strerror}") from error
    raise DataError(f"{shown(name)}: there is no folder {' or '.join(map(shown, candidates))}")


def _split_folder(folder: Path, split: str) -> Path | None:
    # A link that leads nowhere is there, too: it is refused by name, where its images would be missed in silence.
    present = [path for own in _FOLDERS[split] if (path := folder / own).is_dir() or _leads_nowhere(path)]
    if len(present) > 1:
        raise DataError(f"{shown(folder)} has both {' and '.join(path.name for path in present)}: keep one of them")
    return present[0] if present else None


def _leads_nowhere(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


def _choose(folder: Path, split: str) -> _Listing:
    own = {each: found for each in _FOLDERS if (found := _split_folder(folder, each)) is not None}
    if own and "train" not in own:
        others = " and ".join(path.name for path in own.values())
        raise DataError(f"{shown(folder)} has {others} but no train: name the training images' folder train")
    # All of them, whichever is asked for: what lies in two of them is refused.
    found = dict(zip(own or ["train"], look([*own.values()] or [folder]), strict=True))
    if own:
        _say_besides(folder, [path.name for path in own.values()])
    pool = _listed(found["train"])
    if len(pool.files) < _FEWEST:
        raise DataError(
            f"{shown(pool.folder)} has {len(pool.files)} images: at least {_FEWEST} are needed to train and test"
        )
    if split != "train" and split in own:
        return _with_classes_of(pool, _listed(found[split]))
    missing = [each for each in ("validation", "test") if each not in own]
    if not missing:
        return pool
    keys = [derive(0, f"split/image_folder/{_key(file)}") for file in pool.files]
    parts = stratified(pool.labels, keys, [max(1, len(pool.files) // 10)] * len(missing))
    return pool.only(dict(zip([*missing, "train"], parts, strict=True))[split])


def _key(file: str) -> str:
    """The path as text that can be encoded, also where it is not UTF-8."""
    return file.encode("utf-8", "backslashreplace").decode()


def _with_classes_of(train: _Listing, other: _Listing) -> _Listing:
    """`other` with `train`'s label numbers: a class may be absent from it, but none may be new."""
    new = sorted(set(other.classes) - set(train.classes))
    if new or bool(train.classes) != bool(other.classes):
        raise DataError(
            f"{shown(other.folder)} has not the classes of {shown(train.folder)}: {in_short(new) or 'it has none'}"
        )
    numbers = [train.classes.index(each) for each in other.classes] or [0]
    return other._replace(labels=[numbers[label] for label in other.labels], classes=train.classes)


def _listed(found: Found) -> _Listing:
    """The images with their classes, said once; DataError where they make no set."""
    folder, images = shown(found.folder), {**found.images}
    flat = images.pop("", [])
    names = sorted(images)
    if flat and names:
        raise DataError(
            f"{folder} has images beside class folders ({shown(flat[0])}, {shown(names[0])}): move one kind away"
        )
    if not flat and not names:
        others = _besides_images(found, found.passed_over)
        raise DataError(f"{folder} has no images ({', '.join(sorted(ENDINGS))}){others}")
    if names and (empty := sorted(set(found.passed_over) - {"", *names})):
        others = _besides_images(found, empty[:1])
        raise DataError(f"{shown(found.folder / empty[0])} has no images{others}: fill this class folder or remove it")
    classes = tuple(shown(name) for name in names)
    _check_classes(folder, classes)
    _say_found(found, [len(images[name]) for name in names], classes)
    files = [file for name in names for file in images[name]]
    labels = [i for i, name in enumerate(names) for _ in images[name]]
    return _Listing(found.folder, flat or files, labels or [0] * len(flat), classes)


def _check_classes(folder: str, classes: tuple[str, ...]) -> None:
    if len(set(classes)) < len(classes):
        raise DataError(f"{folder} has two class folders whose names are shown alike: rename one ({in_short(classes)})")
    if len(classes) > 1 and {each.lower() for each in classes} <= _LIKE_SPLITS:
        raise DataError(
            f"{folder} has the folders {' and '.join(classes)}, which would be classes: name those of the splits "
            "train, validation (or val) and test"
        )


def _say_found(found: Found, counts: list[int], classes: tuple[str, ...]) -> None:
    """A line of what there is, and a warning for what may not be as it was meant."""
    folder = shown(found.folder)
    total = sum(map(len, found.images.values()))
    by_class = in_short([f"{name} {count:,}" for name, count in zip(classes, counts, strict=True)])
    several = "classes" if len(classes) > 1 else "class"
    of = f"in {len(classes):,} {several} ({by_class})" if classes else "without classes"
    others = _endings(found, found.passed_over)
    passed_over = f"; passed over by ending: {others}" if others else ""
    _say(logging.INFO, f"{folder}: {total:,} image{'s' * (total > 1)} {of}{passed_over}")
    if found.left_out:
        _say(logging.WARNING, f"{folder}: {len(found.left_out):,} left out: {in_short(found.left_out)}")
    folded = {name: unicodedata.normalize("NFC", name).casefold() for name in classes}
    times = Counter(folded.values())
    if alike := [name for name in classes if times[folded[name]] > 1]:
        _say(
            logging.WARNING,
            f"{folder}: {in_short(alike)} are different classes, though their names differ in case alone",
        )


def _say_besides(folder: Path, splits: list[str]) -> None:
    """What lies beside the folders of the splits."""
    entries: list[str] = []
    with contextlib.suppress(OSError):  # there are folders whose entries may be opened, but not listed
        entries = sorted(os.listdir(folder))
    if besides := [shown(entry) for entry in entries if not entry.startswith(".") and entry not in splits]:
        _say(logging.INFO, f"{shown(folder)}: only {', '.join(splits)} are read; passed over: {in_short(besides)}")


def _endings(found: Found, entries: Iterable[str]) -> str:
    """What was passed over below these entries, such as "3 .txt, 2 without an ending"; "" for nothing."""
    passed_over = sum((found.passed_over[entry] for entry in entries), Counter())
    by_count = sorted(passed_over.items(), key=lambda item: (-item[1], item[0]))
    return in_short([f"{count:,} {shown(ending) or 'without an ending'}" for ending, count in by_count])


def _besides_images(found: Found, entries: Iterable[str]) -> str:
    """The end of a sentence on entries without images: what they have instead."""
    others = _endings(found, entries)
    passed_over = f"; passed over by ending: {others}" if others else ""
    return passed_over + (f"; left out: {in_short(found.left_out)}" if found.left_out else "")


def _say(level: int, text: str) -> None:
    """Once a process, however often its trials ask for the set."""
    if text not in _said:
        _said.add(text)
        logger.log(level, "%s", text)
