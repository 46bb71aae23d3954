"""Images that are made one by one, by several threads, and what is said where some of them cannot be made."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from torch import Tensor

from genlab.data.paths import NAMED, in_short
from genlab.errors import DataError

_PATIENCE = 60.0  # seconds in which more bad images are looked for after the first one


class BadImage(DataError):
    """A file that gives no image.

    Attributes:
        problem: the file and what is wrong with it.
        cure: what to do. It names no file: of many such files it is said once. "" where `problem` says enough.
    """

    def __init__(self, problem: str, cure: str = "") -> None:
        super().__init__(f"{problem}: {cure}" if cure else problem)
        self.problem, self.cure = problem, cure


class Rows(NamedTuple):
    """`shape` is (N,C,S,S); `read_row(i)` gives uint8 [C,S,S] or raises BadImage, in any of several threads."""

    shape: tuple[int, ...]
    read_row: Callable[[int], Tensor]


def in_order(rows: Rows) -> Iterator[Tensor]:
    """The rows from the first to the last, made by several threads, which are a few rows ahead.

    After a bad image the others are looked at, for a minute at most, and no more rows are given. Then DataError is
    raised, which names the first ten bad images and says how many there are.
    """
    bad, seen, until = _Bad(), 0, float("inf")
    for row in _made(rows):
        seen += 1
        if isinstance(row, BadImage):
            until = until if bad.count else time.monotonic() + _PATIENCE
            bad.add(row)
        elif not bad.count:
            yield row
        if time.monotonic() > until:
            break
    if bad.count:
        raise bad.error(seen, rows.shape[0])


class _Bad:
    """The bad images of a set: how many there are, the first of them, and what to do."""

    def __init__(self) -> None:
        self.count = 0
        self._first: list[BadImage] = []
        self._cures: dict[str, None] = {}

    def add(self, image: BadImage) -> None:
        self.count += 1
        self._cures[image.cure] = None
        if len(self._first) < NAMED:
            self._first.append(image)

    def error(self, seen: int, of: int) -> DataError:
        """Where `seen` of the set's `of` images were looked at."""
        if self.count == 1 and seen == of:
            return self._first[0]
        looked = f"{of:,}" if seen == of else f"the first {seen:,} of {of:,}"
        problems = in_short([image.problem for image in self._first], self.count, "; ")
        cures = "".join(f". {cure[:1].upper()}{cure[1:]}" for cure in self._cures if cure)
        return DataError(f"{self.count:,} of {looked} images cannot be used: {problems}{cures}")


def _made(rows: Rows) -> Iterator[Tensor | BadImage]:
    workers = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:  # Pillow decodes outside of Python's lock
        ahead: deque[Future[Tensor]] = deque()

        def next_one() -> Tensor | BadImage:
            try:
                return ahead.popleft().result()
            except BadImage as error:
                return error

        for item in range(rows.shape[0]):
            ahead.append(pool.submit(rows.read_row, item))
            if len(ahead) == 4 * workers:
                yield next_one()
        while ahead:
            yield next_one()
