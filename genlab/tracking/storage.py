"""Where a sweep's records lie: a folder or any URL that fsspec knows, behind a few verbs."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import posixpath
import threading
import uuid
from collections.abc import Callable
from typing import IO, Any, NamedTuple, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from genlab.errors import CorruptFile, GenlabError, StorageError

T = TypeVar("T")
PAUSES = (0.2, 1.0, 3.0)  # seconds before each further try: a full or unreachable store may come back
PATIENT = (*PAUSES, 10.0, 20.0, 30.0, 60.0, 60.0, 60.0)  # where giving up ends a sweep
WITHOUT_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)  # from a disk that knows no hard links

log = logging.getLogger(__name__)


class AlreadyThere(StorageError):
    """Somebody else has written this file."""


class FileName(NamedTuple):
    """A file as an event names it: its path below the storage folder, its length and its digest."""

    path: str
    bytes: int
    sha256: str


class Storage:
    """A folder, local or remote. Paths are relative, with `/`. What is written appears whole or not at all."""

    def __init__(self, url: str, patient: bool = False) -> None:
        """
        Args:
            url: a folder (made absolute, since Ray moves its workers elsewhere) or a URL such as `s3://bucket/results`.
            patient: try for four minutes, and say so, where else four seconds are enough.
        """
        self.patient, self._hurry = patient, threading.Event()
        try:
            self.filesystem, path = fsspec.core.url_to_fs(os.path.expanduser(url))
        except (ValueError, ImportError) as error:
            raise GenlabError(f"storage {url!r} cannot be used: {error}") from error
        self.local = isinstance(self.filesystem, LocalFileSystem)
        self.root = os.path.abspath(path) if self.local else path.rstrip("/")
        self.url = self.root if self.local else self.filesystem.unstrip_protocol(self.root)

    def __reduce__(self) -> tuple[Any, ...]:
        return Storage, (self.url, self.patient)

    def below(self, folder: str) -> Storage:
        """The storage whose root is `folder` of this one, just as patient."""
        made = Storage(posixpath.join(self.url, folder), self.patient)
        made._hurry = self._hurry
        return made

    def hurry(self) -> None:
        """Be patient no longer, here and below. Called from any thread, and from a signal's handler."""
        self._hurry.set()

    def where(self, path: str) -> str:
        """The full path or URL of `path`, for a person."""
        return posixpath.join(self.url, path)

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
            if self.read(path) != data:  # else it is ours: only the store's answer was lost
                raise AlreadyThere(f"{self.where(path)} is there already: somebody else wrote it") from None
            return _named(path, data)

    def _write(self, path: str, data: bytes, new: bool) -> FileName:
        full = posixpath.join(self.root, path)

        def put() -> None:
            if not self.local:
                self.filesystem.pipe_file(full, data, mode="create" if new else "overwrite")
                return
            folder = posixpath.dirname(full)
            fresh = not os.path.isdir(folder)
            os.makedirs(folder, exist_ok=True)
            temporary = f"{full}.{uuid.uuid4().hex[:8]}.tmp"
            try:
                with open(temporary, "wb") as file:
                    _fill(file, data)
                if new:
                    _name_anew(temporary, full, data)
                else:
                    os.replace(temporary, full)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary)
            for changed in (folder, *([posixpath.dirname(folder)] if fresh else [])):
                _sync_folder(changed)

        self._patiently(put, f"{self.where(path)} cannot be written")
        return _named(path, data)

    def clear(self) -> None:
        """Remove all that lies here, the folder too."""
        with contextlib.suppress(FileNotFoundError):
            self._patiently(lambda: self.filesystem.rm(self.root, recursive=True), f"{self.url} cannot be removed")

    def read(self, path: str) -> bytes:
        """The file's bytes.

        Raises:
            FileNotFoundError: it is not there (at once: that is an answer, not a fault).
            StorageError: the storage did not answer after a few tries.
        """
        full = posixpath.join(self.root, path)
        return self._patiently(lambda: self.filesystem.cat_file(full), f"{self.where(path)} cannot be read")

    def read_named(self, name: FileName) -> bytes:
        """The bytes of a file that an event names.

        Raises:
            CorruptFile: it is missing, or not what was written.
        """
        try:
            data = self.read(name.path)
        except FileNotFoundError as error:
            raise CorruptFile(f"{self.where(name.path)} is missing") from error
        if len(data) != name.bytes:
            raise CorruptFile(f"{self.where(name.path)} holds {len(data)} bytes where {name.bytes} were written")
        if hashlib.sha256(data).hexdigest() != name.sha256:
            raise CorruptFile(f"{self.where(name.path)} is not what was written: its digest differs")
        return data

    def names(self, folder: str = "") -> list[str]:
        """Base names in `folder`, sorted; none where there is no such folder."""
        full = posixpath.join(self.root, folder).rstrip("/")
        self.filesystem.invalidate_cache(full)
        try:
            listed = self._patiently(lambda: self.filesystem.ls(full, detail=False), f"{full} cannot be listed")
        except FileNotFoundError:
            return []
        return sorted(posixpath.basename(str(name).rstrip("/")) for name in listed)

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of each file in `folder`, by base name; none where there is no such folder."""
        full = posixpath.join(self.root, folder)
        self.filesystem.invalidate_cache(full)
        try:
            listed = self._patiently(lambda: self.filesystem.ls(full, detail=True), f"{full} cannot be listed")
        except FileNotFoundError:
            return {}
        return {posixpath.basename(entry["name"]): entry["size"] for entry in listed if entry["type"] == "file"}

    def exists(self, path: str) -> bool:
        """Whether there is such a file or folder."""
        full = posixpath.join(self.root, path)
        self.filesystem.invalidate_cache(posixpath.dirname(full))
        return self._patiently(lambda: self.filesystem.exists(full), f"{self.where(path)} cannot be reached")

    def delete(self, path: str) -> None:
        """Remove one file; none is there already is fine."""
        with contextlib.suppress(FileNotFoundError):
            full = posixpath.join(self.root, path)
            self._patiently(lambda: self.filesystem.rm_file(full), f"{self.where(path)} cannot be deleted")

    def check_writable(self) -> None:
        """Refuse a storage that cannot be written, before anything is trained.

        Raises:
            GenlabError: naming the folder and why.
        """
        probe = f".probe-{uuid.uuid4().hex[:8]}"
        full = posixpath.join(self.root, probe)
        try:
            if self.local:
                os.makedirs(self.root, exist_ok=True)
            self.filesystem.pipe_file(full, b"genlab")
            self.filesystem.rm_file(full)
        except Exception as error:  # each kind of store has errors of its own
            raise GenlabError(
                f"the storage {self.url} cannot be written ({error}); name another by --storage"
            ) from error

    def _patiently(self, action: Callable[[], T], failure: str) -> T:
        pauses, told = PATIENT if self.patient else PAUSES, False
        for i, pause in enumerate((*pauses, None)):
            try:
                result = action()
            except (FileNotFoundError, FileExistsError):
                raise
            except Exception as error:  # each kind of store has errors of its own
                if pause is None or (i >= len(PAUSES) and self._hurry.is_set()):
                    raise StorageError(f"{failure}: {error}") from error
                if i == len(PAUSES):
                    told = True
                    log.warning("%s: %s; trying again for %.0f s", failure, error, sum(pauses[i:]))
                self._hurry.wait(pause)
            else:
                if told:
                    log.warning("the storage %s answers again", self.url)
                return result
        raise AssertionError("unreachable")


def _named(path: str, data: bytes) -> FileName:
    return FileName(path, len(data), hashlib.sha256(data).hexdigest())


def _fill(file: IO[bytes], data: bytes) -> None:
    file.write(data)
    file.flush()
    os.fsync(file.fileno())


def _name_anew(temporary: str, full: str, data: bytes) -> None:
    """Give a file its name, unless one has that name: FileExistsError."""
    try:
        os.link(temporary, full)
    except OSError as error:
        if error.errno not in WITHOUT_LINKS:
            raise
        with open(full, "xb") as file:
            _fill(file, data)


def _sync_folder(folder: str) -> None:
    """Have the disk know the names in it."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
