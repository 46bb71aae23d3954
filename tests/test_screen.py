"""What reaches a terminal: control characters written out, and nothing lost but what nobody reads."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table

from genlab.screen import Forgiving, Screen, escaped, forgive, one_line

PROGRAM = """
import sys
from genlab.screen import forgive
forgive("it cannot be written")
opened = open(sys.argv[1], "w")
print("to the output")
print("to the errors", file=sys.stderr)
sys.stdout.flush()
assert not sys.stderr.isatty() and sys.stdin.read() == ""
opened.write("to the file")
"""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\nc", "a\tb\nc"),  # a tab and a line's end may stay
        ("\x1b]52;c;aGk=\x07", "\\x1b]52;c;aGk=\\x07"),  # the clipboard
        ("\x1b[2J\x1b[31mred\x1b[0m", "\\x1b[2Jred"),
        ("\x1b[38:2:1m\x1b[1;4mx", "x"),
        ("a\rb\x00\x08\x0b\x0c\x1f\x7f\x80\x9b\x9f", "a\\rb\\x00\\x08\\x0b\\x0c\\x1f\\x7f\\x80\\x9b\\x9f"),
        ("\u202eabc\u2066\u2069\u202a\u200e\u200f\u061c", "\\u202eabc\\u2066\\u2069\\u202a\\u200e\\u200f\\u061c"),
        ("\u2028\u2029\ud800\udfff", "\\u2028\\u2029\\ud800\\udfff"),
        ("ä ε \xa0 → 日本 …", "ä ε \xa0 → 日本 …"),
    ],
)
def test_control_characters_are_written_out(text: str, shown: str) -> None:
    assert escaped(text) == shown


def test_all_that_a_screen_shows_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.width = 80
    screen.print("[red]:100: \x1b[2J 12")
    table = Table(title="\x1b]0;x", box=None)
    table.add_column("[b]")
    table.add_row("\x07:smile:")
    screen.print(table)
    said = capsys.readouterr().out
    for words in ("[red]:100: \\x1b[2J 12", "\\x1b]0;x", "[b]", "\\x07:smile:"):
        assert words in said
    assert "\x1b" not in said and "\x07" not in said


class Broken(io.TextIOBase):
    """A stream that nobody reads; the file beneath it is another one."""

    def __init__(self, path: Path, error: type[Exception] | OSError) -> None:
        self.file, self.error, self.tries = path.open("w"), error, 0

    def write(self, text: str) -> int:
        self.tries += 1
        raise self.error

    def flush(self) -> None:
        self.tries += 1
        raise self.error

    def fileno(self) -> int:
        return self.file.fileno()


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[Callable[..., Broken]]:
    made: list[Broken] = []

    def make(error: Any = BrokenPipeError) -> Broken:
        made.append(Broken(tmp_path / f"stream{len(made)}", error))
        return made[-1]

    yield make
    for stream in made:
        stream.file.close()


def test_what_cannot_be_written_is_lost_and_said_once(broken: Callable[..., Broken]) -> None:
    stream, lost = broken(), []
    forgiving: Any = Forgiving(stream, lost.append)
    assert forgiving.write("four") == 4 and forgiving.write("") == 0
    forgiving.flush()
    assert stream.tries == 1 and len(lost) == 1 and isinstance(lost[0], BrokenPipeError)
    assert os.fstat(stream.fileno()).st_rdev == os.stat(os.devnull).st_rdev  # what is in a buffer goes nowhere
    print("more", file=forgiving)
    assert stream.tries == 1


def test_a_flush_that_fails_is_forgiven_too(broken: Callable[..., Broken]) -> None:
    lost: list[OSError] = []
    Forgiving(broken(), lost.append).flush()  # type: ignore[arg-type]
    assert len(lost) == 1


def test_no_file_is_left_open(broken: Callable[..., Broken]) -> None:
    before = len(os.listdir("/dev/fd"))
    stream = broken()
    Forgiving(stream, lambda error: None).write("x")  # type: ignore[arg-type]
    assert len(os.listdir("/dev/fd")) == before + 1  # the stream's own


def test_what_is_no_fault_of_the_stream_is_raised(broken: Callable[..., Broken]) -> None:
    with pytest.raises(UnicodeError):
        Forgiving(broken(UnicodeError), lambda error: None).write("x")  # type: ignore[arg-type]


def test_a_stream_that_works_is_as_it_was() -> None:
    stream, lost = io.StringIO(), []
    forgiving: Any = Forgiving(stream, lost.append)
    assert forgiving.write("one") == 3
    forgiving.flush()
    assert stream.getvalue() == "one" and not lost and forgiving.isatty() is False and forgiving.getvalue() == "one"


def test_a_process_goes_on_without_its_standard_streams(
    broken: Callable[..., Broken], monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = io.StringIO()
    monkeypatch.setattr(sys, "stdout", broken(OSError(errno.ENOSPC, "No space left on device")))
    monkeypatch.setattr(sys, "stderr", errors)
    forgive("it cannot be written")
    forgive("it cannot be written")  # twice is once
    print("lost")
    print("lost")
    sys.stdout.flush()
    assert errors.getvalue() == "it cannot be written (No space left on device)\n"
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", broken())
    forgive()
    print("lost", file=sys.stderr)
    print("kept")
    assert sys.stdout.getvalue() == "kept\n"


def test_where_nothing_is_to_be_told_nothing_is(broken: Callable[..., Broken], monkeypatch: pytest.MonkeyPatch) -> None:
    errors = io.StringIO()
    monkeypatch.setattr(sys, "stdout", broken())
    monkeypatch.setattr(sys, "stderr", errors)
    forgive()
    print("lost")
    assert errors.getvalue() == ""


def test_both_streams_may_be_unreadable(broken: Callable[..., Broken], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", broken())
    monkeypatch.setattr(sys, "stderr", broken())
    forgive("told to nobody")
    print("lost")
    print("lost", file=sys.stderr)


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_what_is_closed_from_the_beginning_takes_what_is_printed(closed: str, tmp_path: Path) -> None:
    """As a daemon has it. The next file to be opened would have its number."""
    file = tmp_path / "file"
    command = f'exec "$@" {closed}'
    done = subprocess.run(
        ["sh", "-c", command, "sh", sys.executable, "-c", PROGRAM, file], stdin=subprocess.DEVNULL, capture_output=True
    )
    assert (done.returncode, file.read_text()) == (0, "to the file")
    assert done.stdout.decode() == ("" if "1>" in closed else "to the output\n")
    assert done.stderr.decode() == ("" if "2>" in closed else "to the errors\n")


def test_a_line_stays_a_line() -> None:
    text = "a\nb\tc\r\x1b[31md\x1b[0m"
    assert escaped(text) == "a\nb\tc\\rd"
    assert one_line(text) == "a\\nb\\tc\\rd"
