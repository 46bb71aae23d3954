"""The errors a user is meant to read: one sentence on what was wrong, where, and what to do."""

from __future__ import annotations

import difflib
import os
import re
import sysconfig
import traceback
from collections.abc import Iterable, Iterator

FRAME = re.compile(r'^  File "(.+)", line (\d+), in (.+)$', re.MULTILINE)  # as Python writes one
PLACE = re.compile(r".+?:\d+, in [^:]+: \w+")  # as `told` writes one
NAMED = re.compile(r".*?\(\S+:\d+ [^()]*\)")  # what is said of a function that returned what it must not


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
    if not names:
        return "there is none"
    close = difflib.get_close_matches(wrong, names, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"valid names: {', '.join(names)}"


def calling(otherwise: str = "") -> str:
    """What goes before a command that is told to the user, who may have typed `uv run` before this one."""
    return "uv run " if "UV_RUN_RECURSION_DEPTH" in os.environ else otherwise


def last_line(text: str) -> str:
    """Of the text of an error: its last line, which says what was raised, and where if that is known."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no message")


def told(error: BaseException, folder: str = ".") -> str:
    """What went wrong, for whoever wrote the task: the whole traceback, and as the last line all of it in short.

    That line is `FILE:LINE, in FUNCTION: Type: message`. It names the last frame that is the author's own: none of
    genlab, of an installed package or of the standard library. Of a message of several lines it has the first.

    Args:
        error: caught. One that has no frame of the author's is looked for in its cause.
        folder: the file is named from here where that is shorter.

    Returns:
        Where no frame is the author's the last line is `Type: message`; and a GenlabError is then its message alone.
    """
    place = next((found for each in _causes(error) if (found := _own_place(each, folder))), None)
    if place is None and isinstance(error, GenlabError):
        return str(error)
    whole = "".join(traceback.format_exception(error)).rstrip()
    message = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    short = ": ".join(part for part in (place, type(error).__name__, message) if part)
    return whole if last_line(whole) == short else f"{whole}\n{short}"


def place(text: str) -> str:
    """Where it was that `told` tells of, with the type of the error; alike for errors that differ in their message."""
    short = last_line(text)
    if (own := PLACE.match(short) or NAMED.match(short)) is not None:
        return own.group()
    if frames := FRAME.findall(text):  # of genlab or of a package
        file, line, function = frames[-1]
        return f"{file}:{line}, in {function}: {short.partition(': ')[0]}"
    return short


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, then what it was raised from, each once."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        yield error
        seen.append(error)
        error = error.__cause__


def _own_place(error: BaseException, folder: str) -> str | None:
    """`FILE:LINE, in FUNCTION` of the last frame that is the author's; of code that is no Python its file and line."""
    trace = traceback.extract_tb(error.__traceback__)
    frames = [(frame.filename, frame.lineno, frame.name) for frame in trace if _is_own(frame.filename)]
    if isinstance(error, SyntaxError) and error.filename and _is_own(error.filename):
        frames.append((error.filename, error.lineno, "<module>"))
    if not frames:
        return None
    file, line, name = frames[-1]
    nearer = os.path.relpath(file, folder) if os.path.isabs(file) else file
    return f"{min(nearer, file, key=len)}:{line}, in {name}"


def _is_own(file: str) -> bool:
    """Whether a file of code is the author's. It need not exist here: functions of a script are sent without it."""
    if file.startswith("<") or {"site-packages", "dist-packages"} & {*file.split(os.sep)}:
        return False
    folders = [os.path.dirname(__file__), *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib"))]
    homes = [os.path.join(home, "") for folder in folders for home in (folder, os.path.realpath(folder))]
    return not file.startswith(tuple(homes))
