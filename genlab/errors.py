"""The errors a user is meant to read: one sentence on what was wrong, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GenlabError(Exception):
    """Something the user can put right. The command line prints it without a traceback and exits with 2."""


class DataError(GenlabError):
    """A data set that is absent, truncated or altered; the message names the file."""


class CorruptFile(GenlabError):
    """A state, report or event that is cut short, altered, or not of genlab's making; the message names it."""


class StorageError(GenlabError):
    """Storage that is full or cannot be reached: nobody's trial is at fault, the sweep can be resumed."""


def nearest(wrong: str, valid: Iterable[str]) -> str:
    """The end of a sentence that refuses `wrong`: the nearest valid names, or all of them where none is near."""
    names = sorted(valid)
    close = difflib.get_close_matches(wrong, names, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"valid names: {', '.join(names)}"
