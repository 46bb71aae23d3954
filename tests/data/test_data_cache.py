from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from genlab.data import Stream, load
from genlab.data.cache import Pixels, cached
from genlab.data.sources import digits
from genlab.data.sources.source import Source
from genlab.errors import DataError, StorageError

PIXELS = Pixels(torch.arange(4 * 64).to(torch.uint8).view(4, 1, 8, 8), torch.tensor([0, 1, 0, 1]), ("a", "b"))


def never() -> Pixels:
    raise AssertionError("it was built again")


def mapped_file(tensor: Tensor) -> str | None:
    """The file that the tensor's memory is mapped from, as the kernel has it."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, *fields = line.split(maxsplit=5)
        start, end = (int(address, 16) for address in addresses.split("-"))
        if start <= tensor.data_ptr() < end:
            return fields[4] if len(fields) == 5 else None
    return None


def equal(a: Pixels, b: Pixels) -> bool:
    same = torch.equal(a.images, b.images) and a.classes == b.classes
    return same and (a.labels is b.labels if a.labels is None or b.labels is None else torch.equal(a.labels, b.labels))


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_a_set_is_mapped_and_a_stream_on_the_cpu_does_not_copy_it(cache: Path) -> None:
    for _ in range(2):  # when built, and when found
        image_set = load("digits", "test")
        file = mapped_file(image_set.images)
        assert file is not None and Path(file).parent == cache / "sets"
        assert mapped_file(Stream(image_set, batch_size=8, seed=0)._images) == file


@pytest.mark.parametrize("labels", [PIXELS.labels, None])
def test_what_is_stored_is_read_back(labels: Tensor | None, tmp_path: Path) -> None:
    stored = PIXELS._replace(labels=labels)
    assert equal(cached(tmp_path / "set.safetensors", lambda: stored), stored)
    assert equal(cached(tmp_path / "set.safetensors", never), stored)


def test_writing_into_a_mapped_set_does_not_reach_the_file(tmp_path: Path) -> None:
    cached(tmp_path / "set.safetensors", lambda: PIXELS).images.zero_()
    assert equal(cached(tmp_path / "set.safetensors", never), PIXELS)


@pytest.mark.parametrize("damage", ["empty", "8 bytes", "cut", "header", "pixel", "label", "garbage"])
def test_a_damaged_file_is_rebuilt(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "set.safetensors"
    cached(path, lambda: PIXELS)
    data = bytearray(path.read_bytes())
    if damage == "pixel":
        data[-1] ^= 1
    elif damage == "label":
        data[data.index(b"\x01\0\0\0\0\0\0\0")] ^= 1
    elif damage == "header":
        data[20] ^= 1
    data = {"empty": b"", "8 bytes": data[:8], "cut": data[:-1], "garbage": b"\xff" * 500}.get(damage, data)
    path.write_bytes(data)
    assert equal(cached(path, lambda: PIXELS), PIXELS)
    assert equal(cached(path, never), PIXELS)


def test_a_failed_build_leaves_nothing_and_a_killed_one_is_cleared_away(tmp_path: Path) -> None:
    path = tmp_path / "set.safetensors"

    def fail() -> Pixels:
        raise DataError("bad file")

    with pytest.raises(DataError, match="bad file"):
        cached(path, fail)
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["set.lock"]
    (tmp_path / ".set.safetensors.0123.tmp").write_bytes(b"half")
    cached(path, lambda: PIXELS)
    assert sorted(file.name for file in tmp_path.iterdir() if file.is_file()) == ["set.lock", "set.safetensors"]


def test_processes_that_ask_at_once_build_once(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def build() -> Pixels:
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.3)
        return PIXELS

    def ask() -> None:
        os._exit(0 if equal(cached(tmp_path / "set.safetensors", build), PIXELS) else 1)

    processes = [multiprocessing.get_context("fork").Process(target=ask) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(log.read_text().splitlines()) == 1


def test_the_cached_file_has_the_mode_that_the_umask_gives(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        cached(tmp_path / "set.safetensors", lambda: PIXELS)
    finally:
        os.umask(before)
    assert (tmp_path / "set.safetensors").stat().st_mode & 0o777 == 0o640


def test_a_cache_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GENLAB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataError, match=r"cannot write in the folder .*file/cache/sets.*GENLAB_CACHE"):
        load("digits", "train")


def test_a_full_disk_is_an_error_of_the_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("genlab.data.cache.save_file", full)
    with pytest.raises(StorageError, match=r"set\.safetensors.*No space left"):
        cached(tmp_path / "set.safetensors", lambda: PIXELS)


def test_files_that_change_while_they_are_read_are_not_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cached_files: Callable[[], list[str]]
) -> None:
    file = tmp_path / "source"
    file.write_bytes(b"before")

    def read() -> Pixels:
        file.write_bytes(b"afterwards")
        return PIXELS

    monkeypatch.setattr(digits, "find", lambda split, image_size: Source((file,), read))
    with pytest.raises(DataError, match="changed while they were read"):
        load("digits", "train")
    assert cached_files() == []
