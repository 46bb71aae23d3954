from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from genlab.data import Batches, load
from genlab.data.cache import Pixels, Rows, Stored, cached, digest_of
from genlab.data.sources import digits
from genlab.data.sources.source import Source
from genlab.errors import DataError, StorageError

PIXELS = Pixels(torch.arange(4 * 64).to(torch.uint8).view(4, 1, 8, 8), torch.tensor([0, 1, 0, 1]), ("a", "b"))


def never() -> Pixels:
    raise AssertionError("it was built again")


def unchanged() -> None:
    """The check of sources that stay as they are."""


def mapped_file(tensor: Tensor) -> str | None:
    """The file that the tensor's memory is mapped from, as the kernel has it."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, *fields = line.split(maxsplit=5)
        start, end = (int(address, 16) for address in addresses.split("-"))
        if start <= tensor.data_ptr() < end:
            return fields[4] if len(fields) == 5 else None
    return None


def equal(stored: Stored, pixels: Pixels) -> bool:
    assert isinstance(pixels.images, Tensor)
    labels = [None if labels is None else labels.tolist() for labels in (stored.labels, pixels.labels)]
    same = torch.equal(stored.images.whole, pixels.images) and labels[0] == labels[1]
    return same and stored.classes == pixels.classes and stored.digest == digest_of(pixels.images, pixels.labels)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_a_set_is_mapped_and_batches_on_the_cpu_do_not_copy_it(cache: Path) -> None:
    for _ in range(2):  # when built, and when found
        image_set = load("digits", "test")
        file = mapped_file(image_set.images)
        assert file is not None and Path(file).parent == cache / "sets"
        kept = Batches(image_set, batch_size=8, seed=0)._kept
        assert kept is not None and mapped_file(kept) == file


@pytest.mark.parametrize("labels", [PIXELS.labels, None])
def test_what_is_stored_is_read_back(labels: Tensor | None, tmp_path: Path) -> None:
    stored = PIXELS._replace(labels=labels)
    assert equal(cached(tmp_path / "set.safetensors", lambda: stored, unchanged), stored)
    assert equal(cached(tmp_path / "set.safetensors", never, unchanged), stored)


def test_writing_into_a_mapped_set_does_not_reach_the_file(tmp_path: Path) -> None:
    cached(tmp_path / "set.safetensors", lambda: PIXELS, unchanged).images.whole.zero_()
    assert equal(cached(tmp_path / "set.safetensors", never, unchanged), PIXELS)


@pytest.mark.parametrize("damage", ["empty", "8 bytes", "cut", "header", "pixel", "label", "garbage"])
def test_a_damaged_file_is_rebuilt(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "set.safetensors"
    cached(path, lambda: PIXELS, unchanged)
    data = bytearray(path.read_bytes())
    if damage == "pixel":
        data[-1] ^= 1
    elif damage == "label":
        data[data.index(b"\x01\0\0\0\0\0\0\0")] ^= 1
    elif damage == "header":
        data[20] ^= 1
    data = {"empty": b"", "8 bytes": data[:8], "cut": data[:-1], "garbage": b"\xff" * 500}.get(damage, data)
    path.write_bytes(data)
    assert equal(cached(path, lambda: PIXELS, unchanged), PIXELS)
    assert equal(cached(path, never, unchanged), PIXELS)


def large(path: Path, no_memory: Callable[[], None]) -> bytearray:
    """Store the set, above the budget from now on; its file's content."""
    cached(path, lambda: PIXELS, unchanged)
    no_memory()
    cached(path, never, unchanged)
    return bytearray(path.read_bytes())


@pytest.mark.parametrize("damage", ["cut", "longer", "dtype", "shape", "header"])
def test_a_file_above_the_budget_is_rebuilt_where_its_header_or_length_is_wrong(
    damage: str, tmp_path: Path, no_memory: Callable[[], None]
) -> None:
    path = tmp_path / "set.safetensors"
    data = large(path, no_memory)
    changes = {"dtype": (b'"U8"', b'"I8"'), "shape": (b"[4, 1, 8, 8]", b"[4, 2, 8, 8]"), "header": (b"{", b"(")}
    damaged = {"cut": data[:-1], "longer": data + b"0"}
    path.write_bytes(damaged.get(damage) or data.replace(*changes[damage], 1))
    assert equal(cached(path, lambda: PIXELS, unchanged), PIXELS)
    assert path.read_bytes() == data


def test_a_file_above_the_budget_is_not_read_to_open_it(tmp_path: Path, no_memory: Callable[[], None]) -> None:
    path = tmp_path / "set.safetensors"
    data = large(path, no_memory)
    data[-1] ^= 1
    path.write_bytes(data)
    digest = digest_of(PIXELS.images if isinstance(PIXELS.images, Tensor) else None, PIXELS.labels)
    assert cached(path, never, unchanged).digest == digest


@pytest.mark.parametrize("labels", [PIXELS.labels, None])
def test_rows_are_stored_as_a_whole_tensor_would_be_and_safetensors_reads_them(
    labels: Tensor | None, tmp_path: Path
) -> None:
    images = torch.arange(200 * 64).to(torch.uint8).view(200, 1, 8, 8)
    labels = None if labels is None else labels.repeat(50)

    def read_row(item: int) -> Tensor:
        time.sleep(0.002 * (item % 7 == 0))  # later rows are ready before it
        return images[item]

    by_rows = Pixels(Rows((200, 1, 8, 8), read_row), labels, ("a", "b"))
    cached(tmp_path / "rows.safetensors", lambda: by_rows, unchanged)
    cached(tmp_path / "whole.safetensors", lambda: by_rows._replace(images=images), unchanged)
    assert (tmp_path / "rows.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    tensors = load_file(tmp_path / "rows.safetensors")
    assert torch.equal(tensors.pop("images"), images)
    assert tensors.keys() == (set() if labels is None else {"labels"})
    assert labels is None or torch.equal(tensors["labels"], labels)


def test_the_sources_are_checked_after_the_last_row_and_an_error_stores_nothing(tmp_path: Path) -> None:
    path, read = tmp_path / "set.safetensors", []

    def good_row(item: int) -> Tensor:
        read.append(item)
        return torch.zeros(1, 8, 8, dtype=torch.uint8)

    def bad_row(item: int) -> Tensor:
        if item == 60:
            raise DataError("row 60 is bad")
        return good_row(item)

    def check() -> None:
        assert sorted(read) == list(range(100))
        raise DataError("files changed")

    for read_row, message in ((bad_row, "row 60 is bad"), (good_row, "files changed")):
        read.clear()
        pixels = Pixels(Rows((100, 1, 8, 8), read_row), None, ())
        with pytest.raises(DataError, match=message):
            cached(path, lambda pixels=pixels: pixels, check)
        assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["set.lock"]


def test_a_failed_build_leaves_nothing_and_a_killed_one_is_cleared_away(tmp_path: Path) -> None:
    path = tmp_path / "set.safetensors"

    def fail() -> Pixels:
        raise DataError("bad file")

    with pytest.raises(DataError, match="bad file"):
        cached(path, fail, unchanged)
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["set.lock"]
    (tmp_path / ".set.safetensors.0123.tmp").write_bytes(b"half")
    cached(path, lambda: PIXELS, unchanged)
    assert sorted(file.name for file in tmp_path.iterdir() if file.is_file()) == ["set.lock", "set.safetensors"]


def test_processes_that_ask_at_once_build_once(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def build() -> Pixels:
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.3)
        return PIXELS

    def ask() -> None:
        os._exit(0 if equal(cached(tmp_path / "set.safetensors", build, unchanged), PIXELS) else 1)

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
        cached(tmp_path / "set.safetensors", lambda: PIXELS, unchanged)
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

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match=r"set\.safetensors.*No space left"):
        cached(tmp_path / "set.safetensors", lambda: PIXELS, unchanged)
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["set.lock"]


def test_a_file_gets_its_name_when_all_of_it_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, on_disk = tmp_path / "set.safetensors", []

    def fsync(descriptor: int) -> None:
        assert not path.exists()
        on_disk.append((os.fstat(descriptor).st_ino, next(tmp_path.glob("*.tmp")).read_bytes()))

    monkeypatch.setattr("os.fsync", fsync)
    cached(path, lambda: PIXELS, unchanged)
    assert on_disk == [(path.stat().st_ino, path.read_bytes())]


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
