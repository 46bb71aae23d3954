"""What a program prints, where nobody is there to read it, or somebody else wrote it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from genlab.screen import escaped, one_line

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
