"""Batches of images that a device does not keep: one is used while a thread reads the next."""

from __future__ import annotations

import threading
from collections.abc import Callable

import torch
from torch import Tensor

from genlab.data.images import Images


class Prefetch:
    """Reads batches of `count` rows of `images` into two buffers in turn, in pinned memory for a CUDA device.

    A thread lives for one read, and knows the images and a buffer but not this object: nothing has to be closed.
    """

    def __init__(self, images: Images, count: int, device: torch.device) -> None:
        self._images, self._device = images, device
        self._buffer, self._other = (_Buffer((count, *images.shape[1:]), device) for _ in range(2))
        self._step = -1
        self._reading: _Reading | None = None

    def take(self, step: int, items: Callable[[int], Tensor]) -> Tensor:
        """The rows `items(step)` on the device, uint8 [count,C,S,S]; those of `step + 1` are then read ahead.

        On the CPU the result is a buffer: it is good until the next call. `items` gives int64 [count] on the CPU.
        Raises StorageError, naming the file, where it cannot be read.
        """
        if self._reading is not None and self._step != step:
            self._reading.join()  # another step than was read ahead: the buffer is needed for this one
            self._reading = None
        if self._reading is None:
            self._start(step, items)
        reading, self._reading = self._reading, None
        assert reading is not None
        rows = reading.buffer().on(self._device)
        self._buffer, self._other = self._other, self._buffer
        self._start(step + 1, items)
        return rows

    def _start(self, step: int, items: Callable[[int], Tensor]) -> None:
        self._step, self._reading = step, _Reading(self._images, items(step), self._buffer)
        self._reading.start()


class _Buffer:
    """Memory of the host for one batch."""

    def __init__(self, shape: tuple[int, ...], device: torch.device) -> None:
        cuda = device.type == "cuda"
        self.rows = torch.empty(shape, dtype=torch.uint8, pin_memory=cuda)
        self._copied = torch.cuda.Event(blocking=True) if cuda else None

    def on(self, device: torch.device) -> Tensor:
        """The rows on `device`, without waiting for the copy; on the CPU the buffer itself."""
        rows = self.rows.to(device, non_blocking=True)
        if self._copied is not None:
            self._copied.record(torch.cuda.current_stream(device))
        return rows

    def wait(self) -> None:
        """Until the last copy out of the buffer is done."""
        if self._copied is not None:
            self._copied.synchronize()


class _Reading(threading.Thread):
    """One batch being read. A daemon: the process may end meanwhile."""

    def __init__(self, images: Images, items: Tensor, buffer: _Buffer) -> None:
        super().__init__(name="genlab-read", daemon=True)
        self._images, self._items, self._buffer = images, items, buffer
        self._error: Exception | None = None

    def run(self) -> None:
        try:
            self._buffer.wait()
            self._images.read(self._items, self._buffer.rows)
        except Exception as error:  # raised again by `buffer`, in the thread that asks
            self._error = error

    def buffer(self) -> _Buffer:
        """The filled buffer, once it is; or the error that kept it from being filled."""
        self.join()
        if self._error is not None:
            raise self._error
        return self._buffer
