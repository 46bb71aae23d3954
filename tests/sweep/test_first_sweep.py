"""The page `docs/first_sweep.md`, followed to the letter: its scripts, its commands, and what they print."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "first_sweep.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SCRIPT = "sweeps/bits.py"  # the page says under which name its script is saved


def called(line: str) -> list[str]:
    """What `$ uv run …` starts, in the environment of the tests."""
    uv, run, what, *words = shlex.split(line.removeprefix("$ "))
    assert (uv, run) == ("uv", "run")
    program = ["-c", "from genlab.cli import main; main()"] if what == "genlab" else [what]
    return [sys.executable, *program, *words]


def matches(expected: str, printed: str) -> bool:
    """Whether each line is as the page has it: `…` stands for anything in a line and, alone, for any lines."""
    lines = [
        r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + r"\n" for line in expected.split("\n")
    ]
    return re.fullmatch("".join(lines), printed.rstrip("\n") + "\n") is not None


@pytest.mark.parametrize(
    ("expected", "printed", "well"),
    [
        ("a …\nb", "a 3\nb\n", True),
        ("a\n…\nb", "a\nb", True),
        ("a\n…\nb", "a\n1\n2\nb", True),
        ("a\n…", "a\n1\n2", True),
        ("a …\nb", "a 3\n4\nb", False),
        ("a\nb", "a\nb\nc", False),
    ],
)
def test_what_the_page_expects_is_looked_for(expected: str, printed: str, well: bool) -> None:
    assert matches(expected, printed) is well


@pytest.mark.slow
def test_the_page_does_what_it_says(
    shared_ray: str, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a Ray and in an MLflow database that are there already, as from the second sweep of a user on."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_ADDRESS", shared_ray)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")  # as under `uv run`
    monkeypatch.setenv("COLUMNS", "120")
    script, names = Path(SCRIPT), dict[str, object]()
    done: list[str] = []
    for kind, body in BLOCK.findall(PAGE.read_text()):
        done.append(kind)
        if kind == "python" and not script.exists():
            script.parent.mkdir()
            script.write_text(body)
        elif kind == "python":
            exec(compile(body, str(PAGE), "exec"), names)
        elif kind == "diff":
            old, new = (line[1:] for line in body.splitlines())
            assert script.read_text().count(old) == 1
            script.write_text(script.read_text().replace(old, new))
        else:
            for line, expected in re.findall(r"^(\$ .*)\n((?:[^$].*\n)*)", body, re.MULTILINE):
                words = [
                    str(sorted(Path("results").glob("bits-*"))[-1]) if "…" in word else word for word in called(line)
                ]
                ran = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                assert matches(expected.rstrip("\n"), ran.stdout), f"{line}\n{ran.stdout}"
    assert done[:4] == ["python", "console", "diff", "console"] and done.count("console") >= 5 and done[-1] == "python"
    assert Path("bits.png").stat().st_size > 500
