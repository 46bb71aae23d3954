"""Where a sweep's records lie: a folder or any URL that fsspec knows, behind a few verbs.

All that is read from a sweep's folder is read through here."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import posixpath
import threading
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar

import fsspec
import psutil

from genlab.errors import CorruptFile, GenlabError, StorageError
from genlab.tracking.local import Closed, LocalFolder, TooLarge
from genlab.tracking.schema import Count

T = TypeVar("T")
PAUSES = (0.2, 1.0, 3.0)  # seconds before each further try: a full or unreachable store may come back
PATIENT = (*PAUSES, 10.0, 20.0, 30.0, 60.0, 60.0, 60.0)  # where giving up ends a sweep
MANIFEST = "manifest.json"  # what each sweep's folder holds from its start to its end
TEXT = 1 << 28  # bytes that a JSON file may have

log = logging.getLogger(__name__)


class AlreadyThere(StorageError):
    """Somebody else has written this file."""


class Gone(OSError):
    """A sweep's folder that is away, as when its mount is: a fault of the storage, which may pass."""


class FileName(NamedTuple):
    """A file as an event names it: its path below the sweep's folder, its length and its digest."""

    path: str
    bytes: Count
    sha256: str


class Files(Protocol):
    """What a storage needs of a place: `LocalFolder` documents each."""

    root: str

    def make(self, new: bool = False) -> None: ...

    def read(self, path: str, most: int) -> bytes: ...

    def read_start(self, path: str, count: int) -> bytes: ...

    def write(self, path: str, data: bytes, new: bool) -> None: ...

    def names(self, path: str) -> list[str]: ...

    def sizes(self, path: str) -> dict[str, int]: ...

    def exists(self, path: str, odd: bool = False) -> bool: ...

    def delete(self, path: str) -> None: ...

    def clear(self, path: str) -> None: ...


class RemoteFolder:
    """A folder of a store that fsspec knows. It has no links, and folders are there once something is in them."""

    def __init__(self, filesystem: Any, root: str) -> None:
        self.filesystem, self.root = filesystem, root

    def make(self, new: bool = False) -> None:
        """Nothing."""

    def read(self, path: str, most: int) -> bytes:
        data = self.filesystem.cat_file(self._full(path), start=0, end=most + 1)
        if len(data) > most:
            raise TooLarge(f"{path} has more than {most:,} bytes, and one of its kind has no more")
        return data

    def read_start(self, path: str, count: int) -> bytes:
        return self.filesystem.cat_file(self._full(path), start=0, end=count)

    def write(self, path: str, data: bytes, new: bool) -> None:
        self.filesystem.pipe_file(self._full(path), data, mode="create" if new else "overwrite")

    def names(self, path: str) -> list[str]:
        return [posixpath.basename(str(name).rstrip("/")) for name in self._listed(path, detail=False)]

    def sizes(self, path: str) -> dict[str, int]:
        listed = self._listed(path, detail=True)
        return {posixpath.basename(entry["name"]): entry["size"] for entry in listed if entry["type"] == "file"}

    def exists(self, path: str, odd: bool = False) -> bool:
        full = self._full(path)
        self.filesystem.invalidate_cache(posixpath.dirname(full))
        return self.filesystem.exists(full)

    def delete(self, path: str) -> None:
        self.filesystem.rm_file(self._full(path))

    def clear(self, path: str) -> None:
        self.filesystem.rm(self._full(path), recursive=True)

    def _listed(self, path: str, detail: bool) -> Any:
        full = self._full(path)
        self.filesystem.invalidate_cache(full)
        return self.filesystem.ls(full, detail=detail)

    def _full(self, path: str) -> str:
        return posixpath.join(self.root, path).rstrip("/")


class Storage:
    """A folder, local or remote. Paths are relative, with `/`. What is written appears whole or not at all.

    Of a local one nothing is read that is no regular file, and no link below it is followed (`LocalFolder`). It is made
    by `make` alone: who writes to a folder that has gone away is told, and makes no other one in its place.
    """

    def __init__(self, url: str, patient: bool = False, marker: str = "") -> None:
        """
        Args:
            url: a folder (made absolute, since Ray moves its workers elsewhere) or a URL such as `s3://bucket/results`.
            patient: try for four minutes, and say so, where else four seconds are enough.
            marker: a file that the folder always has. Where it is not, the folder is taken to be away for a while.
        """
        self.patient, self.marker, self._hurry = patient, marker, threading.Event()
        self.faults = 0  # that have passed
        try:
            self.files, self.url = _place(os.path.expanduser(url))
        except (ValueError, ImportError) as error:
            raise GenlabError(f"storage {url!r} cannot be used: {error}") from error
        self.local = isinstance(self.files, LocalFolder)
        self.root = self.files.root

    def __reduce__(self) -> tuple[Any, ...]:
        return Storage, (self.url, self.patient, self.marker)

    def below(self, folder: str, marker: str = "") -> Storage:
        """The storage whose root is `folder` of this one, just as patient."""
        made = Storage(posixpath.join(self.url, folder), self.patient, marker)
        made._hurry = self._hurry
        return made

    def sweep(self, name: str) -> Storage:
        """The folder of a sweep. It may be a link."""
        return self.below(name, MANIFEST)

    def hurry(self) -> None:
        """Be patient no longer, here and below. Called from any thread, and from a signal's handler."""
        self._hurry.set()

    def where(self, path: str) -> str:
        """The full path or URL of `path`, for a person."""
        return posixpath.join(self.url, path)

    def make(self, new: bool = False) -> None:
        """Make the folder, where it is not there yet.

        Raises:
            FileExistsError: it is to be `new`, and is there.
            StorageError: it cannot be made.
        """
        self._patiently(lambda: self.files.make(new), f"{self.url} cannot be made")

    def write(self, path: str, data: bytes) -> FileName:
        """Write `data` whole: on disk under a temporary name, then renamed; an object store puts objects whole. What is
        written next cannot outlive it when the power goes.

        Raises:
            StorageError: after a few tries, naming the file.
        """
        return self._write(path, data, new=False)

    def write_new(self, path: str, data: bytes) -> FileName:
        """`write` a file that nobody else may have written: of several who try at once, one does.

        Raises:
            AlreadyThere: somebody else did.
            StorageError: it cannot be written.
        """
        try:
            return self._write(path, data, new=True)
        except FileExistsError:
            if not self._holds(path, data):  # else it is ours: only the store's answer was lost
                raise AlreadyThere(f"{self.where(path)} is there already: somebody else wrote it") from None
            return _named(path, data)

    def _holds(self, path: str, data: bytes) -> bool:
        try:
            return self.read(path, len(data)) == data
        except CorruptFile:
            return False

    def _write(self, path: str, data: bytes, new: bool) -> FileName:
        def put() -> None:
            if self.local and path != self.marker:
                self._check_there()
            try:
                self.files.write(path, data, new)
            except FileNotFoundError:
                raise Gone(f"the folder {self.url} is not there") from None

        self._patiently(put, f"{self.where(path)} cannot be written")
        return _named(path, data)

    def clear(self, path: str) -> None:
        """Remove the folder `path`, with all that is in it; none is there already is fine.

        Raises:
            CorruptFile: it is a link, which is left as it is.
        """
        with contextlib.suppress(FileNotFoundError):
            self._patiently(lambda: self.files.clear(path), f"{self.where(path)} cannot be removed")

    def read(self, path: str, most: int = TEXT) -> bytes:
        """The bytes of a file.

        Raises:
            FileNotFoundError: it is not there (at once: that is an answer, not a fault).
            CorruptFile: it has more than `most` bytes, is no regular file, or lies behind a link.
            StorageError: the storage did not answer after a few tries.
        """
        return self._patiently(lambda: self.files.read(path, most), f"{self.where(path)} cannot be read")

    def read_start(self, path: str, count: int) -> bytes:
        """The first `count` bytes of a file, or all of a shorter one; errors are those of `read`."""
        return self._patiently(lambda: self.files.read_start(path, count), f"{self.where(path)} cannot be read")

    def read_named(self, name: FileName) -> bytes:
        """The bytes of a file that an event names.

        Raises:
            CorruptFile: it is missing, or not what was written.
        """
        where = self.where(name.path)
        if name.bytes > psutil.virtual_memory().available:
            raise CorruptFile(f"{where} has {name.bytes:,} bytes, which this machine's memory cannot hold")
        try:
            data = self.read(name.path, name.bytes)
        except FileNotFoundError as error:
            raise CorruptFile(f"{where} is missing") from error
        except TooLarge as error:
            raise CorruptFile(f"{where} holds more than the {name.bytes} bytes that were written") from error
        if len(data) != name.bytes:
            raise CorruptFile(f"{where} holds {len(data)} bytes where {name.bytes} were written")
        if hashlib.sha256(data).hexdigest() != name.sha256:
            raise CorruptFile(f"{where} is not what was written: its digest differs")
        return data

    def names(self, folder: str = "") -> list[str]:
        """Base names in `folder`, sorted; none where there is no such folder."""
        try:
            return sorted(self._patiently(lambda: self.files.names(folder), f"{self.where(folder)} cannot be listed"))
        except FileNotFoundError:
            return []

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of each regular file in `folder`, by base name; none where there is no such folder."""
        try:
            return self._patiently(lambda: self.files.sizes(folder), f"{self.where(folder)} cannot be listed")
        except FileNotFoundError:
            return {}

    def exists(self, path: str, odd: bool = False) -> bool:
        """Whether there is such a regular file or folder, behind no link; if `odd`, also one that cannot be read.

        Raises:
            Closed: a folder on the way may not be looked into.
            StorageError: the storage did not answer after a few tries.
        """
        return self._patiently(lambda: self.files.exists(path, odd), f"{self.where(path)} cannot be reached")

    def delete(self, path: str) -> None:
        """Remove one file; none is there already is fine."""
        with contextlib.suppress(FileNotFoundError):
            self._patiently(lambda: self.files.delete(path), f"{self.where(path)} cannot be deleted")

    def check_writable(self) -> None:
        """Make the folder, and refuse one that cannot be written, before anything is trained.

        Raises:
            GenlabError: naming the folder and why.
        """
        probe = f".probe-{uuid.uuid4().hex[:8]}"
        try:
            self.files.make()
            self.files.write(probe, b"genlab", True)
            self.files.delete(probe)
        except Exception as error:  # each kind of store has errors of its own
            raise GenlabError(
                f"the storage {self.url} cannot be written ({error}); name another by --storage"
            ) from error

    def _check_there(self) -> None:
        """
        Raises:
            Gone: the folder has no marker: it, or the mount that it lies on, is away.
        """
        try:
            there = not self.marker or self.files.exists(self.marker)
        except Closed:
            there = False
        if not there:
            raise Gone(f"the folder {self.url} is not there, or has no {self.marker}")

    def _patiently(self, action: Callable[[], T], failure: str) -> T:
        pauses, told = PATIENT if self.patient else PAUSES, False
        for i, pause in enumerate((*pauses, None)):
            try:
                try:
                    result = action()
                except FileNotFoundError:
                    self._check_there()
                    raise
            except (FileNotFoundError, FileExistsError, CorruptFile):
                raise
            except Exception as error:  # each kind of store has errors of its own
                if pause is None or (i >= len(PAUSES) and self._hurry.is_set()):
                    self.hurry()  # what follows need not wait for as long again
                    raise StorageError(f"{failure}: {error}") from error
                if i == len(PAUSES):
                    told = True
                    log.warning("%s: %s; trying again for %.0f s", failure, error, sum(pauses[i:]))
                self._hurry.wait(pause)
            else:
                self.faults += i > 0
                if told:
                    log.warning("the storage %s answers again", self.url)
                return result
        raise AssertionError("unreachable")


def read_file(path: str | os.PathLike[str], most: int) -> bytes:
    """The bytes of one file that a person named, by a path or a URL. What they named may be a link.

    Raises:
        FileNotFoundError: it is not there.
        CorruptFile: it is no regular file, or has more than `most` bytes, or than memory holds.
        StorageError: it cannot be read.
    """
    name = os.fspath(path)
    if "://" not in name:
        name = os.path.realpath(os.path.expanduser(name))
    folder, base = posixpath.split(name)
    return Storage(folder or ".").read(base, min(most, psutil.virtual_memory().available))


def _place(url: str) -> tuple[Files, str]:
    """The files at a path or URL, and its one full form.

    Raises:
        ValueError, ImportError: no such kind of URL, or its package is not installed.
    """
    path = url.removeprefix("file://") if url.startswith("file:///") else url
    if "://" not in path and "::" not in path:
        root = os.path.abspath(path)
        return LocalFolder(root), root
    filesystem, path = fsspec.core.url_to_fs(path)
    root = path.rstrip("/")
    return RemoteFolder(filesystem, root), filesystem.unstrip_protocol(root)


def _named(path: str, data: bytes) -> FileName:
    return FileName(path, len(data), hashlib.sha256(data).hexdigest())
