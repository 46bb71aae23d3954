"""What a task prints on a lane, on its way to the driver's terminal: line by line, and no more than one can read."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

PAUSE = 0.5  # seconds in which lines are collected before they are sent
BURST, RATE = 100, 10  # lines that are sent at once, as of a network that prints itself, and then a second
LONGEST = 1000  # characters of a line


class Output:
    """In the place of standard output while a rank serves a request. All goes to the worker's file as well."""

    def __init__(self, send: Callable[[str], Any]) -> None:
        """
        Args:
            send: takes some lines of text, from any thread, and returns at once.
        """
        self._send = send
        self._lock = threading.Lock()
        self._file: Any = None
        self._who = ""
        self._begun = ""  # a line that has no end yet
        self._lines: list[str] = []
        self._left_out = 0
        self._allowed, self._at = float(BURST), time.monotonic()
        self._timer: threading.Timer | None = None

    @contextlib.contextmanager
    def of(self, who: str) -> Iterator[None]:
        """Meanwhile what is printed is `who`'s; at the end its lines have been sent."""
        if who != self._who:
            self._pass_on()
        self._file, self._who = sys.stdout, who
        try:
            with contextlib.redirect_stdout(self):  # type: ignore[type-var]
                yield
        finally:
            with self._lock:
                self._take(self._begun)
                self._begun = ""
            self._pass_on(all_of_it=False)  # epochs may be short: a line after each would be a flood, too

    def write(self, text: str) -> int:
        """As a text file does."""
        with self._lock:
            *whole, self._begun = (self._begun + text.replace("\r", "\n")).split("\n")
            if len(self._begun) > LONGEST:
                whole, self._begun = [*whole, self._begun], ""
            for line in whole:
                self._take(line)
        return self._file.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """As a text file does."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)  # flush, isatty, encoding, …

    def _take(self, line: str) -> None:
        if not line.strip():
            return
        now = time.monotonic()
        self._allowed, self._at = min(float(BURST), self._allowed + RATE * (now - self._at)), now
        if self._allowed >= 1:
            self._allowed -= 1
            self._lines.append(line if len(line) <= LONGEST else f"{line[:LONGEST]}…")
        else:
            self._left_out += 1
        if self._timer is None:
            self._timer = threading.Timer(PAUSE, self._pass_on)
            self._timer.daemon = True
            self._timer.start()

    def _pass_on(self, all_of_it: bool = True) -> None:
        """Send what was collected. Unless it is `all_of_it`, how much was left out waits for the timer."""
        with self._lock:
            lines, self._lines = self._lines, []
            if self._left_out and all_of_it:
                lines.append(f"({self._left_out} more lines, which are in the worker's file alone)")
                self._left_out = 0
            if self._timer is not None and not self._left_out:
                self._timer.cancel()
                self._timer = None
            if lines:  # in the lock: what comes later must not overtake them
                self._send("\n".join(f"{self._who}: {line}" for line in lines))
