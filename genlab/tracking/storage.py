"""Where a sweep's records lie: a folder or any URL that fsspec knows, behind a few verbs."""

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
import time
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from genlab.errors import CorruptFile, GenlabError, StorageError

T = TypeVar("T")
PAUSES = (0.2, 1.0, 3.0)  # seconds before each further try: a full or unreachable store may come back


class FileName(NamedTuple):
    """A file as an event names it: its path below the storage folder, its length and its digest."""

    path: str
    bytes: int
    sha256: str


class Storage:
    """A folder, local or remote. Paths are relative, with `/`. What is written appears whole or not at all."""

    def __init__(self, url: str) -> None:
        """
        Args:
            url: a folder (made absolute, since Ray moves its workers elsewhere) or a URL such as `s3://bucket/results`.
        """
        try:
            self.filesystem, path = fsspec.core.url_to_fs(os.path.expanduser(url))
        except (ValueError, ImportError) as error:
            raise GenlabError(f"storage {url!r} cannot be used: {error}") from error
        self.local = isinstance(self.filesystem, LocalFileSystem)
        self.root = os.path.abspath(path) if self.local else path.rstrip("/")
        self.url = self.root if self.local else self.filesystem.unstrip_protocol(self.root)

    def __reduce__(self) -> tuple[Any, ...]:
        return Storage, (self.url,)

    def below(self, folder: str) -> Storage:
        """The storage whose root is `folder` of this one."""
        return Storage(posixpath.join(self.url, folder))

    def where(self, path: str) -> str:
        """The full path or URL of `path`, for a person."""
        return posixpath.join(self.url, path)

    def write(self, path: str, data: bytes) -> FileName:
        """Write `data` whole: on disk under a temporary name, then renamed; an object store puts objects whole.

        Raises:
            StorageError: after a few tries, naming the file.
        """
        return self._write(path, data, new=False)

    def write_new(self, path: str, data: bytes) -> FileName:
        """Write a file that nobody else may have written, and wait for the disk: what is written next cannot outlive
        it when the power goes.

        Raises:
            StorageError: it is there already, or cannot be written.
        """
        if self.exists(path):
            raise StorageError(f"{self.where(path)} is there already: somebody else wrote it")
        return self._write(path, data, new=True)

    def _write(self, path: str, data: bytes, new: bool) -> FileName:
        full = posixpath.join(self.root, path)

        def put() -> None:
            if not self.local:
                self.filesystem.pipe_file(full, data)
                return
            os.makedirs(posixpath.dirname(full), exist_ok=True)
            temporary = f"{full}.{uuid.uuid4().hex[:8]}.tmp"
            try:
                with open(temporary, "wb") as file:
                    file.write(data)
                    if new:
                        file.flush()
                        os.fsync(file.fileno())
                os.replace(temporary, full)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise

        self._patiently(put, f"{self.where(path)} cannot be written")
        return FileName(path, len(data), hashlib.sha256(data).hexdigest())

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

    @staticmethod
    def _patiently(action: Callable[[], T], failure: str) -> T:
        for pause in (*PAUSES, None):
            try:
                return action()
            except FileNotFoundError:
                raise
            except Exception as error:  # each kind of store has errors of its own
                if pause is None:
                    raise StorageError(f"{failure}: {error}") from error
                time.sleep(pause)
        raise AssertionError("unreachable")
