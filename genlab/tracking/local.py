"""Files below one folder of this machine, reached through no link and read only where they are regular files.

A sweep's folder may come from anybody. A link in it could have a foreign file read, sent to a server, overwritten or
deleted; a FIFO or a device could keep its reader waiting for ever. So every part of a path below the folder is opened
by itself, without following links (`openat`, `O_NOFOLLOW`). The folder itself may be a link: its user named it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from typing import IO

from genlab.errors import CorruptFile

WITHOUT_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)  # from a disk that knows no hard links
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class NotRegular(CorruptFile):
    """A link, a device, a FIFO or a socket where a file or a folder must be."""


class Closed(CorruptFile):
    """A folder that this account may not look into."""


class TooLarge(CorruptFile):
    """A file that is larger than any of its kind may be."""


class LocalFolder:
    """One folder. Paths are relative to it, with `/`."""

    def __init__(self, root: str) -> None:
        """`root` is absolute. It need not be there."""
        self.root = root

    def make(self, new: bool = False) -> None:
        """Make the folder, with those above it.

        Raises:
            FileExistsError: it is to be `new`, and is there.
        """
        os.makedirs(os.path.dirname(self.root), exist_ok=True)
        try:
            os.mkdir(self.root)
        except FileExistsError:
            if new or not os.path.isdir(self.root):
                raise

    def read(self, path: str, most: int) -> bytes:
        """The bytes of a regular file.

        Raises:
            FileNotFoundError: it is not there.
            NotRegular: it is no regular file, or its path leads through a link.
            TooLarge: it has more than `most` bytes.
        """
        with self._opened(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > most:
                raise TooLarge(f"{self.where(path)} has {size:,} bytes, and one of its kind {most:,} at most")
            data = file.read(size + 1)
            if len(data) > size:
                raise TooLarge(f"{self.where(path)} has grown while it was read")
        return data

    def read_start(self, path: str, count: int) -> bytes:
        """The first `count` bytes of a regular file, or all of a shorter one.

        Raises:
            FileNotFoundError, NotRegular: as `read`.
        """
        with self._opened(path) as file:
            return file.read(count)

    def write(self, path: str, data: bytes, new: bool) -> None:
        """Write a file under another name and rename it, so that it is there whole or not at all. Its content is on the
        disk before it has its name, and its name before this returns. Folders between the root and the file are made.

        Raises:
            FileNotFoundError: the root is not there.
            FileExistsError: the file is to be `new`, and is there.
            NotRegular: its path leads through a link.
        """
        with self._above(path, make=True) as (folder, name):
            temporary = f"{name}.{uuid.uuid4().hex[:8]}.tmp"
            try:
                _fill(_new(temporary, folder), data)
                if new:
                    self._name_anew(temporary, name, folder, data)
                else:
                    os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=folder)
            os.fsync(folder)

    def names(self, path: str) -> list[str]:
        """Names in the folder `path`, of whatever kind."""
        with self._folder(path) as folder:
            return os.listdir(folder)

    def sizes(self, path: str) -> dict[str, int]:
        """Bytes of each regular file in the folder `path`, by name, without those that are deleted meanwhile."""
        found: dict[str, int] = {}
        with self._folder(path) as folder, os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    if entry.is_file(follow_symlinks=False):
                        found[entry.name] = entry.stat(follow_symlinks=False).st_size
        return found

    def exists(self, path: str, odd: bool = False) -> bool:
        """Whether there is such a regular file, or such a folder; if `odd`, also a link, or whatever else.

        Raises:
            Closed: a folder on the way may not be looked into.
        """
        try:
            if not _parts(path):
                return os.path.isdir(self.root)
            with self._above(path) as (folder, name):
                mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        except (FileNotFoundError, NotADirectoryError, NotRegular):
            return False
        except PermissionError as error:
            raise Closed(f"{self.where(path)} cannot be reached: {error.strerror}") from None
        except OSError as error:
            if error.errno == errno.ELOOP:  # links that lead to each other
                return False
            raise
        return odd or stat.S_ISREG(mode) or stat.S_ISDIR(mode)

    def delete(self, path: str) -> None:
        """Remove a file, or a link; never what a link leads to.

        Raises:
            FileNotFoundError: it is not there.
        """
        with self._above(path) as (folder, name):
            os.unlink(name, dir_fd=folder)

    def clear(self, path: str) -> None:
        """Remove the folder `path` with all that is in it; of a link nothing.

        Raises:
            FileNotFoundError: it is not there.
            NotRegular: it is a link.
        """
        with self._above(path) as (folder, name):
            if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                raise NotRegular(f"{self.where(path)} is no folder: it is not removed")
            shutil.rmtree(name, dir_fd=folder)

    def where(self, path: str) -> str:
        """The full path."""
        return os.path.join(self.root, path)

    @contextlib.contextmanager
    def _opened(self, path: str) -> Iterator[IO[bytes]]:
        """A regular file, to be read; errors are those of `read`."""
        with self._above(path) as (folder, name):
            try:
                number = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            except OSError as error:
                raise self._unsafe(path, folder, name, error) from None
            if not stat.S_ISREG(os.fstat(number).st_mode):
                os.close(number)
                raise NotRegular(f"{self.where(path)} is no regular file: nothing is read from it")
            with open(number, "rb") as file:
                yield file

    @contextlib.contextmanager
    def _folder(self, path: str, make: bool = False) -> Iterator[int]:
        """A descriptor of the folder `path`; folders that are missing on the way are made if `make`."""
        here = os.open(self.root, _FOLDER)
        try:
            for i, part in enumerate(parts := _parts(path)):
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, dir_fd=here)
                        os.fsync(here)
                try:
                    below = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=here)
                except OSError as error:
                    raise self._unsafe("/".join(parts[: i + 1]), here, part, error) from None
                os.close(here)
                here = below
            yield here
        finally:
            os.close(here)

    @contextlib.contextmanager
    def _above(self, path: str, make: bool = False) -> Iterator[tuple[int, str]]:
        """A descriptor of the folder that holds a file, and the file's name in it."""
        *folders, name = _parts(path)
        with self._folder("/".join(folders), make) as folder:
            yield folder, name

    def _unsafe(self, path: str, folder: int, name: str, error: OSError) -> OSError | CorruptFile:
        """What opening a part of a path failed by: NotRegular for a link or a socket, else the error itself."""
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
            with contextlib.suppress(OSError):
                if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                    return NotRegular(f"{self.where(path)} is a link: nothing below {self.root} may be one")
            return NotRegular(f"{self.where(path)} is no regular file or folder")
        return error

    def _name_anew(self, temporary: str, name: str, folder: int, data: bytes) -> None:
        """Give a file its name, unless one has that name: FileExistsError."""
        try:
            os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            if error.errno not in WITHOUT_LINKS:
                raise
            made = _new(name, folder)
            try:
                _fill(made, data)
            except OSError:
                os.unlink(name, dir_fd=folder)
                raise


def _parts(path: str) -> list[str]:
    """The parts of a relative path.

    Raises:
        NotRegular: it would lead out of the folder.
    """
    parts = [part for part in path.split("/") if part]
    if ".." in parts or "." in parts or "\0" in path or path.startswith("/"):
        raise NotRegular(f"the path {path!r} leads out of its folder")
    return parts


def _new(name: str, folder: int) -> int:
    """A descriptor of a file that is made now."""
    return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=folder)


def _fill(file: int, data: bytes) -> None:
    with open(file, "wb") as opened:
        opened.write(data)
        opened.flush()
        os.fsync(file)
