"""Text on its way to a terminal: shown as it is, whatever stands in it, and lost without harm where nobody reads it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from typing import IO, Any

from rich.console import Console

_COLORS = re.compile(r"\x1b\[[0-9;:]*m")  # they change how text looks, and could hide it
# what moves the cursor, writes to the clipboard, or turns the direction of text round; a line's end and a tab may stay
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def escaped(text: str) -> str:
    """`text` with its control characters written out, as `\\x1b`, and without colors: a name, an error or a command out
    of a sweep's folder may hold anything."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), _COLORS.sub("", text))


def one_line(text: str) -> str:
    """`escaped(text)` in one line: what names, settings or commands hold looks like no line of ours."""
    return escaped(text).replace("\n", "\\n").replace("\t", "\\t")


class Screen(Console):
    """A terminal, or what is in its place, that shows each text as it is: [a], :100: and control characters may stand
    in a setting. A notebook gets lines as a file does: what rich would display there comes from one thread alone."""

    def __init__(self) -> None:
        plain: Any = {"force_jupyter": False, "force_terminal": False} if Console().is_jupyter else {}
        super().__init__(highlight=False, markup=False, emoji=False, **plain)

    def render_str(self, text: str, **options: Any) -> Any:
        """As rich does, of text without control characters. All that is printed, also in tables, comes by here."""
        return super().render_str(escaped(text), **options)


class Forgiving:
    """In the place of a standard stream. What nobody reads any more (`| head -1`), or a full disk does not take, is
    lost, and the program goes on."""

    def __init__(self, stream: IO[str], lost: Callable[[OSError], None]) -> None:
        """
        Args:
            stream: the true one.
            lost: called at the first failure.
        """
        self._stream, self._lost, self._failed = stream, lost, False

    def write(self, text: str) -> int:
        """As a text file does."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """As a text file does."""
        self._try(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _try(self, action: Callable[[], Any]) -> None:
        if self._failed:
            return
        try:
            action()
        except OSError as error:
            self._failed = True
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())  # what is left in the stream's buffer goes there at the end
            os.close(nowhere)
            self._lost(error)


def forgive(told: str = "") -> None:
    """Have this process go on when its standard output, or its standard error, can be written no more.

    Args:
        told: what is said on standard error when that happens to standard output, before the reason.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # closed from the beginning: the next file to be opened would have its number
            setattr(sys, name, open(os.devnull, "w" if number else "r"))  # noqa: SIM115
    errors = sys.stderr

    def lost(error: OSError) -> None:
        if told:
            print(f"{told} ({error.strerror})", file=errors, flush=True)

    if not isinstance(sys.stderr, Forgiving):
        sys.stderr = errors = Forgiving(sys.stderr, lambda error: None)  # type: ignore[assignment]
    if not isinstance(sys.stdout, Forgiving):
        sys.stdout = Forgiving(sys.stdout, lost)  # type: ignore[assignment]
