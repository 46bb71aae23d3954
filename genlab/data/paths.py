"""Where data sets are looked for, where genlab's own cache lies, and how a path is shown; needs no torch."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from genlab.errors import DataError

NAMED = 10  # of many files, so many are named


def cache_root() -> Path:
    """`GENLAB_CACHE`, or `genlab` in the user cache (`XDG_CACHE_HOME`, else `~/.cache`)."""
    if own := os.environ.get("GENLAB_CACHE"):
        return Path(own).expanduser().absolute()
    user = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(user).expanduser().absolute() / "genlab"


def named_roots(data_root: str | os.PathLike[str] | None) -> list[Path]:
    """The folders that the user named, first choice first: `data_root`, then `GENLAB_DATA`."""
    named = [data_root, os.environ.get("GENLAB_DATA")]
    return list(dict.fromkeys(Path(root).expanduser().absolute() for root in named if root))


def data_roots(data_root: str | os.PathLike[str] | None) -> list[Path]:
    """Every folder that data sets are looked for in: the named ones, then `data` in the cache."""
    return list(dict.fromkeys([*named_roots(data_root), cache_root() / "data"]))


def download_root(data_root: str | os.PathLike[str] | None) -> Path:
    """Where downloads go: `data_root` where it was given and can be written, otherwise `data` in the cache.

    Never `GENLAB_DATA`: an environment variable tends to name a folder that several people share.
    """
    if data_root:
        given = Path(data_root).expanduser().absolute()
        existing = next((folder for folder in (given, *given.parents) if folder.exists()), given)
        if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
            return given
    return cache_root() / "data"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` (made with its folder) against every other process of this machine.

    Raises DataError, naming the folder, where the lock file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except OSError as error:
        raise DataError(
            f"cannot write in the folder {path.parent} ({error.strerror}): set GENLAB_CACHE to one that can be written"
        ) from error
    with file:
        # A file system without locks lets two processes do the same work; the renames keep what they write whole.
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def shown(path: str | os.PathLike[str]) -> str:
    r"""The path as a message has it: what cannot be printed, or is no UTF-8, is escaped (`\n`, `\x1b`, `\xff`)."""
    return "".join(each if each.isprintable() else _escaped(each) for each in os.fspath(path))


def _escaped(character: str) -> str:
    if 0xDC80 <= ord(character) <= 0xDCFF:  # how Python keeps a byte of a name that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def in_short(words: Sequence[str], count: int | None = None, separator: str = ", ") -> str:
    """The first ten of the words in a row, and how many others there are of `count` (else: of these words)."""
    others = (len(words) if count is None else count) - len(words[:NAMED])
    return separator.join([*words[:NAMED], *([f"and {others:,} more"] if others else [])])
