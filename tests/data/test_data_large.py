"""Sets that a device does not keep: read batch by batch, from the file or from the host's memory."""

from __future__ import annotations

import gc
import random
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from torch import Tensor

from genlab.data import Batch, Batches, ImageSet, memory
from genlab.data.cache import Pixels, Rows, cached
from genlab.data.images import FileImages, MemoryImages
from genlab.data.prefetch import Prefetch
from genlab.errors import StorageError

COUNT = 50
PIXELS = torch.randint(256, (COUNT, 3, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(COUNT) % 10
CLASSES = tuple("0123456789")
NOISE = Pixels(PIXELS, LABELS, CLASSES)
CPU = torch.device("cpu")
Budget = Callable[[], None]


def stored(path: Path, pixels: Pixels = NOISE) -> ImageSet:
    file = cached(path, lambda: pixels, lambda: None)
    return ImageSet("noise", "train", file.images, file.labels, file.classes)


def forbid_the_mapping(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: FileImages) -> Tensor:
        raise AssertionError("the whole set was mapped")

    monkeypatch.setattr(FileImages, "whole", property(refuse))


def equal(a: Batch, b: Batch) -> bool:
    same_labels = a.labels is b.labels is None
    if a.labels is not None and b.labels is not None:
        same_labels = torch.equal(a.labels, b.labels)
    return same_labels and torch.equal(a.images, b.images)


@pytest.mark.parametrize("kind", ["whole", "subset", "no labels"])
@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize("augment", ["none", "flip", "crop_flip"])
def test_batches_are_the_same_above_the_budget(
    kind: str, world_size: int, augment: str, tmp_path: Path, no_memory: Budget, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_set = stored(tmp_path / "set.safetensors", Pixels(PIXELS, None if kind == "no labels" else LABELS, CLASSES))
    if kind == "subset":
        image_set = image_set.subset(torch.arange(COUNT).flip(0).repeat(2)[:70], LABELS.repeat(2)[:70])

    def draw(steps: list[int]) -> list[Batch]:
        """All ranks' batches, kept until the last is drawn: none may lie in a buffer."""
        settings = {"batch_size": 8, "seed": 3, "augment": augment, "world_size": world_size}
        ranks = [Batches(image_set, **settings, rank=rank) for rank in range(world_size)]
        return [rank.batch(step) for step in steps for rank in ranks]

    steps = [*range(14), *random.Random(0).sample(range(40), 20), 5, 5, 4, 6]
    kept = draw(steps)
    no_memory()
    forbid_the_mapping(monkeypatch)
    for ours, expected in zip(draw(steps), kept, strict=True):
        assert equal(ours, expected)


def test_selected_images_are_the_same_above_the_budget(
    tmp_path: Path, no_memory: Budget, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_set = stored(tmp_path / "set.safetensors")
    no_memory()
    forbid_the_mapping(monkeypatch)
    items = torch.tensor([3, 49, 0, 3])
    assert torch.equal(image_set.select(items), PIXELS[items].float() / 255)
    subset = image_set.subset(items)
    assert torch.equal(subset.select(torch.tensor([1, 2])), PIXELS[[49, 0]].float() / 255)
    assert torch.equal(subset.images, PIXELS[items])
    assert torch.equal(subset.on("cpu")[0], PIXELS[items])


def test_one_batch_is_read_ahead_by_a_thread(
    tmp_path: Path, no_memory: Budget, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[list[int]] = []
    read = FileImages.read

    def logged(images: FileImages, items: Tensor, out: Tensor) -> None:
        assert threading.current_thread() is not threading.main_thread()
        reads.append(items.tolist())
        read(images, items, out)

    image_set = stored(tmp_path / "set.safetensors")
    no_memory()
    monkeypatch.setattr(FileImages, "read", logged)
    batches = Batches(image_set, batch_size=8, seed=0)
    for step in range(9):  # into the second pass
        batches.batch(step)
        while len(reads) < step + 2:
            time.sleep(0.001)
    time.sleep(0.05)
    assert len(reads) == 10  # none twice, and one ahead
    first_pass = [item for items in reads[:6] for item in items]
    assert len(set(first_pass)) == len(first_pass) == 48


def test_images_in_memory_are_read_ahead_for_a_device_that_does_not_keep_them(no_memory: Budget) -> None:
    images = MemoryImages(PIXELS)
    no_memory()
    assert images.fits(CPU) and not images.fits(torch.device("cuda"))
    prefetch = Prefetch(images, 4, CPU)
    items = torch.arange(40).view(10, 4)
    for step in (0, 1, 2, 7, 3, 3, 4):
        assert torch.equal(prefetch.take(step, lambda step: items[step % 10]), PIXELS[items[step]])


@pytest.mark.parametrize("rows", [1, 7, COUNT])
def test_a_file_is_copied_to_a_device_in_chunks(rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = stored(tmp_path / "set.safetensors").pixels
    monkeypatch.setattr("genlab.data.images._CHUNK", rows * 3 * 12 * 12)
    assert torch.equal(images._copied(CPU), PIXELS)


def test_a_file_that_went_away_is_named_and_read_again_when_it_is_back(tmp_path: Path, no_memory: Budget) -> None:
    path = tmp_path / "set.safetensors"
    image_set = stored(path)
    expected = [Batches(image_set, batch_size=8, seed=0).batch(step) for step in range(5)]
    no_memory()
    batches = Batches(image_set, batch_size=8, seed=0)
    batches.batch(0)  # step 1 may be read ahead
    path.rename(tmp_path / "away")
    with pytest.raises(StorageError, match=rf"cannot read {path}: No such file"):
        batches.batch(2)
    with pytest.raises(StorageError, match=r"set\.safetensors"):
        image_set.select(torch.tensor([0]))
    (tmp_path / "away").rename(path)
    assert equal(batches.batch(2), expected[2]) and equal(batches.batch(3), expected[3])
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(StorageError, match=r"set\.safetensors has become shorter"):
        batches.batch(1)


def test_no_thread_and_no_buffer_outlives_the_batches(tmp_path: Path, no_memory: Budget) -> None:
    image_set = stored(tmp_path / "set.safetensors")
    no_memory()
    batches = Batches(image_set, batch_size=8, seed=0)
    batches.batch(0)
    known = weakref.ref(batches)
    del batches
    gc.collect()
    assert known() is None
    for thread in threading.enumerate():
        if thread.name == "genlab-read":
            thread.join(10)
            assert not thread.is_alive()


def test_a_read_that_hangs_does_not_keep_the_process(tmp_path: Path) -> None:
    stored(tmp_path / "set.safetensors")
    code = f"""
import time
from pathlib import Path
from genlab.data import Batches, ImageSet, memory
from genlab.data.cache import cached
from genlab.data.images import FileImages
memory.budget = lambda device: 0
file = cached(Path({str(tmp_path / "set.safetensors")!r}), None, None)
batches = Batches(ImageSet("noise", "train", file.images, file.labels, file.classes), batch_size=8, seed=0)
read = FileImages.read
FileImages.read = lambda *given: read(*given) if batches._prefetch._step == 0 else time.sleep(600)
batches.batch(0)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs /proc")
def test_memory_does_not_grow_with_the_set(tmp_path: Path, no_memory: Budget) -> None:
    def peak() -> int:
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) >> 10 for line in status.splitlines() if line.startswith("VmHWM"))

    def grown(count: int) -> int:
        """MiB by which the resident memory grew while a set of so many images was built and all of it drawn."""
        row = torch.arange(3 * 128 * 128).to(torch.uint8).view(3, 128, 128)
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # the peak is what there is now
        before = peak()
        rows = Rows((count, 3, 128, 128), lambda item: row + item % 256)
        image_set = stored(tmp_path / f"{count}.safetensors", Pixels(rows, None, ()))
        batches = Batches(image_set, batch_size=50, seed=0)
        for step in range(batches.steps_per_pass):
            batches.batch(step)
        return peak() - before

    no_memory()
    grown(100)  # code, threads and their arenas
    assert grown(4000) < 80  # of 188 MiB; 40 may come and go with the allocator


def test_the_budget_is_an_eighth_of_the_devices_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory.budget(CPU) == psutil.virtual_memory().total // 8
    card = SimpleNamespace(total_memory=8000)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    assert memory.budget(torch.device("cuda")) == 1000


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("source", ["file", "memory"])
@pytest.mark.parametrize("augment", ["none", "crop_flip"])
def test_the_gpu_gives_the_same_above_its_budget_without_waiting(
    source: str, augment: str, tmp_path: Path, no_memory: Budget
) -> None:
    pixels = torch.randint(256, (640, 3, 128, 128), dtype=torch.uint8)
    labels = torch.arange(640) % 10
    image_set = ImageSet("noise", "train", pixels, labels, CLASSES)
    if source == "file":
        image_set = stored(tmp_path / "set.safetensors", Pixels(pixels, labels, CLASSES))
    kept = Batches(image_set, batch_size=64, seed=0, augment=augment, device="cuda")
    expected = [kept.batch(step) for step in range(25)]
    no_memory()
    batches = Batches(image_set, batch_size=64, seed=0, augment=augment, device="cuda")
    assert batches._kept is None
    batches.batch(0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        ours = [batches.batch(step) for step in range(25)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(equal(a, b) for a, b in zip(ours, expected, strict=True))
    items = torch.tensor([3, 600])
    assert torch.equal(image_set.select(items, "cuda"), pixels[items].cuda().float() / 255)
