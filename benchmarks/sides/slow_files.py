"""A file system as slow as a distant store: the disk, after a pause before each call.

`slow:///folder` is such a folder for fsspec in every process whose PYTHONPATH has what `install` writes.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

SECONDS = "SLOW_FILES_SECONDS"  # the environment variable that says how long a call takes


def install(folder: Path, seconds: float) -> dict[str, str]:
    """Write into `folder` what makes `slow://` known; the variables for a process that is to know it."""
    known = folder / "slow_files-1.dist-info"
    known.mkdir(parents=True)
    (known / "METADATA").write_text("Metadata-Version: 2.1\nName: slow-files\nVersion: 1\n")
    (known / "entry_points.txt").write_text("[fsspec.specs]\nslow = slow_files:SlowFiles\n")
    paths = [str(folder), str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths), SECONDS: str(seconds)}


class SlowFiles(AbstractFileSystem):
    """What `genlab.tracking.storage` asks of a store that is not a disk; files appear whole."""

    protocol = "slow"
    cachable = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.disk, self.seconds = LocalFileSystem(), float(os.environ[SECONDS])

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        time.sleep(self.seconds)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "xb" if mode == "create" else "wb") as file:
            file.write(value)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        time.sleep(self.seconds)
        return Path(path).read_bytes()[start:end]

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        time.sleep(self.seconds)
        return self.disk.ls(path, detail=detail)

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        time.sleep(self.seconds)
        return self.disk.info(path)

    def rm_file(self, path: str) -> None:
        time.sleep(self.seconds)
        os.remove(path)
