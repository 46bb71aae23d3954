"""What lies in folders of images: each real folder and each real file once, whatever links lead there."""

from __future__ import annotations

import contextlib
import heapq
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from genlab.data.paths import in_short, shown
from genlab.errors import DataError

ENDINGS = frozenset(
    {".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"}
    | {".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
)  # of images; a file of a kind that this build of Pillow lacks is refused when it is read

Identity = tuple[int, int]  # of a real folder or file: device and inode


@dataclass
class Found:
    """What lies in one folder of images and below it. Hidden files and folders do not count.

    Attributes:
        folder: as it was given.
        images: the images' paths relative to `folder`, sorted, by the folder's entry that they lie below (a class);
            "" for those that lie in `folder` itself.
        passed_over: how many files have an ending that is no image's, by the same entry and by ending, "" for files
            without one. It has every folder that is an entry.
        left_out: links and irregular files that do not count, each with the reason.
    """

    folder: Path
    images: dict[str, list[str]] = field(default_factory=dict)
    passed_over: dict[str, Counter[str]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def look(folders: Sequence[Path]) -> list[Found]:
    """What lies in each of the folders, which hold different splits.

    Links to folders and files elsewhere are followed. A link is left out where it leads to a folder that the link
    itself lies in, or to what is found below the same entry without it.

    Raises:
        DataError: naming the first ten, where a folder cannot be read, a link leads nowhere, or what is one folder or
            file on the disk lies in two of `folders` or below two entries of one: two splits, two classes.
    """
    walk = _Walk()
    found = [walk.through(folder) for folder in folders]
    walk.settle_links()
    if problems := sorted(walk.problems):
        many = f"{len(problems):,} problems: " if len(problems) > 1 else ""
        raise DataError(many + in_short(problems, separator="; "))
    for each in found:
        for words in (*each.images.values(), each.left_out):
            words.sort()
    return found


def ending(file: str) -> str:
    """The ending of a file's name in small letters, with its dot; "" for none."""
    return os.path.splitext(file)[1].lower()


class _Place(NamedTuple):
    """Where a file or folder was found: its path relative to `found.folder`, and the entry that it lies below."""

    found: Found
    entry: str
    path: str

    @property
    def whole(self) -> str:
        return str(self.found.folder / self.path)


class _Folder(NamedTuple):
    """A folder that is yet to be read. `above`: the real folders that it lies in, on the way to it and on the disk."""

    place: _Place
    above: frozenset[Identity]


class _LinkedImage(NamedTuple):
    """A link to an image: what it is, and the folder and the name that it has on the disk."""

    place: _Place
    identity: Identity
    folder: Identity
    name: str


class _Walk:
    def __init__(self) -> None:
        self.problems: list[str] = []
        self._folders: dict[Identity, _Place] = {}  # those that were read
        self._linked: list[_LinkedImage] = []
        self._identities: dict[str, Identity] = {}  # of the folders that linked images lie in

    def through(self, folder: Path) -> Found:
        """Real folders come first: where links lead to them, too, the links are left out."""
        found = Found(folder)
        real, links = [_Folder(_Place(found, "", ""), _above(folder))], []
        while real or links:
            place, above = real.pop() if real else heapq.heappop(links)[1]
            if (identity := self._new(place, above)) is None:
                continue
            above |= {identity}
            for name, is_link in self._read(place):
                below = _Place(found, place.entry or name, os.path.join(place.path, name))
                if is_link:
                    heapq.heappush(links, (below.path, _Folder(below, above | _above(below.whole))))
                else:
                    real.append(_Folder(below, above))
        return found

    def _new(self, place: _Place, above: frozenset[Identity]) -> Identity | None:
        """The folder's identity; None where it is not to be read."""
        try:
            identity = _identity(os.stat(place.whole))
        except OSError as error:
            self.problems.append(f"cannot read the folder {shown(place.whole)}: {error.strerror}")
            return None
        if identity in above:
            place.found.left_out.append(f"{shown(place.whole)} (a link to a folder that it lies in)")
            return None
        if identity in self._folders:
            self._again(place, self._folders[identity], "folder")
            return None
        self._folders[identity] = place
        if place.entry:
            place.found.passed_over.setdefault(place.entry, Counter())
        return identity

    def _again(self, place: _Place, known: _Place, what: str) -> None:
        if known.found is place.found and known.entry == place.entry:
            place.found.left_out.append(f"{shown(place.whole)} (the same {what} as {shown(known.whole)})")
        else:
            self.problems.append(
                f"{shown(place.whole)} and {shown(known.whole)} are the same {what}, whose images would count twice: "
                "remove one of them"
            )

    def _read(self, place: _Place) -> Iterator[tuple[str, bool]]:
        """The folders in a folder, and whether they are links; notes its files."""
        try:
            with os.scandir(place.whole) as entries:
                listed = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            self.problems.append(f"cannot read the folder {shown(place.whole)}: {error.strerror}")
            return
        for entry in listed:
            try:
                is_link = entry.is_symlink()
                if stat.S_ISDIR(entry.stat().st_mode) if is_link else entry.is_dir():
                    yield entry.name, is_link
                else:
                    self._file(entry, _Place(place.found, place.entry, os.path.join(place.path, entry.name)))
            except OSError as error:
                self.problems.append(f"cannot follow the link {shown(entry.path)}: {error.strerror}")

    def _file(self, entry: os.DirEntry[str], place: _Place) -> None:
        found = place.found
        if not entry.is_file():
            found.left_out.append(f"{shown(place.whole)} (no regular file)")
        elif ending(entry.name) not in ENDINGS:
            found.passed_over.setdefault(place.entry, Counter())[ending(entry.name)] += 1
        elif entry.is_symlink():
            folder, name = os.path.split(_target(entry.path))
            if folder not in self._identities:
                self._identities[folder] = _identity(os.stat(folder))
            self._linked.append(_LinkedImage(place, _identity(entry.stat()), self._identities[folder], name))
        else:
            found.images.setdefault(place.entry, []).append(place.path)

    def settle_links(self) -> None:
        """Take the linked images that were not found by another way; once all folders were read."""
        known: dict[Identity, _Place] = {}
        for linked in sorted(self._linked, key=lambda each: each.place.path):
            place, folder = linked.place, self._folders.get(linked.folder)
            if folder is not None and ending(linked.name) in ENDINGS and not linked.name.startswith("."):
                self._again(place, folder._replace(path=os.path.join(folder.path, linked.name)), "file")
            elif linked.identity in known:
                self._again(place, known[linked.identity], "file")
            else:
                known[linked.identity] = place
                place.found.images.setdefault(place.entry, []).append(place.path)


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


def _above(folder: str | os.PathLike[str]) -> frozenset[Identity]:
    """The folders in which the real folder lies."""
    found = set()
    for parent in Path(os.path.realpath(folder)).parents:
        with contextlib.suppress(OSError):
            found.add(_identity(os.stat(parent)))
    return frozenset(found)


def _target(link: str) -> str:
    """The real file that a link, or a link to a link, leads to."""
    while os.path.islink(link):
        link = os.path.join(os.path.dirname(link), os.readlink(link))
    return link
