"""Downloads through torchvision, whole or not at all."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from genlab.data.paths import cache_root, data_roots, download_root, locked
from genlab.errors import DataError

_SECONDS_WITHOUT_A_BYTE = 20.0
_SECONDS_BETWEEN_NEWS = 5.0
logger = logging.getLogger(__name__)
T = TypeVar("T")


def find_or_download(
    name: str,
    set_class: str,
    data_root: str | os.PathLike[str] | None,
    look: Callable[[Path], T | None],
    wanted: Sequence[str],
    parts: Sequence[str],
) -> T:
    """What `look` finds under the first of the data roots where it finds something, downloading where none has it.

    `set_class` is torchvision's class, `parts` are the files of its download to keep, `wanted` those that `look`
    cannot do without, all relative to the root. Raises DataError naming the folder and the wanted files.
    """
    roots = data_roots(data_root)
    for root in roots:
        if (found := look(root)) is not None:
            return found
    target = download_root(data_root)
    with locked(cache_root() / "downloads" / f"{name}.lock"):
        if (found := look(target)) is None:  # another process may have downloaded it meanwhile
            try:
                _download(set_class, target, parts)
            except Exception as error:  # torchvision lets through whatever its mirrors, archives and disk raise
                reason = " ".join(str(error).split()) or type(error).__name__
                raise DataError(
                    f"{name} was found in none of {', '.join(map(str, roots))} and could not be downloaded: "
                    f"put {', '.join(wanted)} into the folder {roots[0]} (the download said: {reason[:300]})"
                ) from error
            found = look(target)
    if found is None:
        raise DataError(f"{name} was downloaded into {target}, but {', '.join(wanted)} did not come with it")
    return found


def _download(set_class: str, target: Path, parts: Sequence[str]) -> None:
    """Let torchvision download beside `target`'s files and move `parts` there: a cut download leaves no half file."""
    from torchvision import datasets  # takes a second, and a cached set needs none of it

    make: Any = getattr(datasets, set_class)
    is_new = not target.exists()
    target.mkdir(parents=True, exist_ok=True)
    try:
        with (
            tempfile.TemporaryDirectory(dir=target, prefix=".download-") as folder,
            _timeout(),
            _progress(set_class, target, Path(folder)),
        ):
            make(folder, download=True)  # prints its progress and compares the md5
            for part in parts:
                (target / part).parent.mkdir(parents=True, exist_ok=True)
                (Path(folder) / part).replace(target / part)
    except BaseException:
        if is_new:
            with contextlib.suppress(OSError):
                target.rmdir()  # a mistyped root should not come to exist
        raise


@contextlib.contextmanager
def _progress(set_class: str, target: Path, folder: Path) -> Iterator[None]:
    """Log how much has come: torchvision's bar is on the terminal of this process, and a worker has none."""
    done = threading.Event()

    def tell() -> None:
        while not done.wait(_SECONDS_BETWEEN_NEWS):
            with contextlib.suppress(OSError):  # files come and go
                size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
                logger.info("downloading %s: %.0f MB so far", set_class, size / 1e6)

    logger.info("downloading %s into %s", set_class, target)
    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()


@contextlib.contextmanager
def _timeout() -> Iterator[None]:
    """torchvision sets no timeout: behind a firewall that drops packets it would wait for minutes a mirror."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SECONDS_WITHOUT_A_BYTE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
