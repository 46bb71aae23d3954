"""Where the images of a whole set lie, in memory or in a file, and how their rows are read.

A row is one image, uint8 [C,S,S].
"""

from __future__ import annotations

import functools
import mmap
import os
import sys
from abc import ABC, abstractmethod
from pathlib import Path

import torch
from torch import Tensor

from genlab.data import memory
from genlab.errors import StorageError

_CPU = torch.device("cpu")
_CHUNK = 64 << 20
_NO_RESERVE = 0x4000 if sys.platform == "linux" else 0  # mmap.MAP_NORESERVE, which Python names from 3.13 on


class Images(ABC):
    """All images of a set, in order. `shape` is (N, C, S, S)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self._copies: dict[torch.device, Tensor] = {}

    @property
    @abstractmethod
    def whole(self) -> Tensor:
        """uint8 [N,C,S,S] in the memory of the host, or mapped from the file: don't write to it."""

    @abstractmethod
    def fits(self, device: torch.device) -> bool:
        """Whether a process may keep all of it on `device`."""

    @abstractmethod
    def read(self, items: Tensor, out: Tensor) -> None:
        """Copy the rows `items` (int64 [n], on the CPU) into `out`, contiguous uint8 [n,C,S,S], on the CPU.

        Touches no more of the host's memory than `out` where the set does not fit there. Raises StorageError, naming
        the file, where it cannot be read.
        """

    @abstractmethod
    def _copied(self, device: torch.device) -> Tensor:
        """A new copy on `device`."""

    def on(self, device: torch.device) -> Tensor:
        """uint8 [N,C,S,S] on `device`: copied there once; on the CPU `whole` itself."""
        if device.type == "cpu":
            return self.whole
        if device not in self._copies:
            self._copies[device] = self._copied(device)
        return self._copies[device]

    def gather(self, items: Tensor) -> Tensor:
        """The rows `items` (int64 [n], on the CPU) as a new tensor, uint8 [n,C,S,S], on the CPU."""
        if self.fits(_CPU):
            return self.whole.index_select(0, items)
        rows = torch.empty(len(items), *self.shape[1:], dtype=torch.uint8)
        self.read(items, rows)
        return rows

    @property
    def _bytes(self) -> int:
        return self.shape[0] * self._row_bytes

    @property
    def _row_bytes(self) -> int:
        _, channels, height, width = self.shape
        return channels * height * width


class MemoryImages(Images):
    """Images that a caller made: they are in the host's memory already."""

    def __init__(self, images: Tensor) -> None:
        super().__init__(tuple(images.shape))
        self._images = images

    @property
    def whole(self) -> Tensor:
        return self._images

    def fits(self, device: torch.device) -> bool:
        return device.type == "cpu" or self._bytes <= memory.budget(device)

    def read(self, items: Tensor, out: Tensor) -> None:
        torch.index_select(self._images, 0, items, out=out)

    def _copied(self, device: torch.device) -> Tensor:
        return self._images.to(device)


class FileImages(Images):
    """Rows that lie one after another in the file `path`, from the byte `offset` on.

    Where the set is larger than the budget its rows are read, not mapped: pages of a mapping that were touched count
    as memory of the process.
    """

    def __init__(self, path: Path, offset: int, shape: tuple[int, ...]) -> None:
        super().__init__(shape)
        self._path, self._offset = path, offset

    @functools.cached_property
    def whole(self) -> Tensor:
        try:
            with self._path.open("rb") as file:
                # Private, so that no write reaches the file; without a reserve, so that it may be larger than memory.
                flags = mmap.MAP_PRIVATE | _NO_RESERVE
                mapping = mmap.mmap(file.fileno(), 0, flags, mmap.PROT_READ | mmap.PROT_WRITE)
        except (OSError, ValueError) as error:
            raise StorageError(f"cannot map {self._path}: {error}") from error
        return torch.frombuffer(mapping, dtype=torch.uint8, offset=self._offset).view(self.shape)

    def fits(self, device: torch.device) -> bool:
        return self._bytes <= memory.budget(device)

    def read(self, items: Tensor, out: Tensor) -> None:
        self._read([(item, 1) for item in items.tolist()], out)

    def _copied(self, device: torch.device) -> Tensor:
        """In chunks, not from the mapping: the host may have less memory than the device."""
        copy = torch.empty(self.shape, dtype=torch.uint8, device=device)
        length = max(1, _CHUNK // self._row_bytes)
        for first in range(0, len(copy), length):
            part = copy[first : first + length]
            rows = torch.empty(part.shape, dtype=torch.uint8)
            self._read([(first, len(part))], rows)
            part.copy_(rows)
        return copy

    def _read(self, runs: list[tuple[int, int]], out: Tensor) -> None:
        """Fill `out` with runs of rows, each given by its first row and its length."""
        left = out.numpy().reshape(-1).data
        try:
            # Opened for every batch: a set holds no descriptor, so nothing has to close it.
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                for first, count in runs:
                    size = count * self._row_bytes
                    self._fill(descriptor, self._offset + first * self._row_bytes, left[:size])
                    left = left[size:]
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StorageError(f"cannot read {self._path}: {error.strerror}") from error

    def _fill(self, descriptor: int, position: int, out: memoryview) -> None:
        while out:
            count = os.preadv(descriptor, [out], position)
            if count == 0:
                raise StorageError(f"{self._path} has become shorter since it was opened")
            out, position = out[count:], position + count
