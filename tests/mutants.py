"""Whether the tests notice: each kept bug is put into a copy of the project, and the tests named for it must fail.

Prints the bugs that survive; exits with 1 if any does, with 2 if a line to be changed is gone (whoever changes that
line changes its bug as well) or if tests fail without any bug. A bug in `mutants.toml` is a file, a line of it
(without its indentation, found once), what takes its place, and the tests that ought to notice.

uv run tests/mutants.py
uv run tests/mutants.py training/loop.py 12
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIST = Path(__file__).with_name("mutants.toml")
SLOWER = 5  # times as long as without a bug, and a minute more: then a bug has made the tests hang


@dataclass(frozen=True)
class Mutant:
    """One bug: `line` of `file` becomes `bug`; `tests` are pytest's arguments."""

    number: int
    file: str
    line: str
    bug: str
    tests: tuple[str, ...]

    def apply(self, root: Path) -> str:
        """The file's text with the bug.

        Raises:
            ValueError: the line is not there, or not once.
        """
        lines = (root / self.file).read_text().splitlines(keepends=True)
        found = [i for i, line in enumerate(lines) if line.strip() == self.line]
        if len(found) != 1:
            raise ValueError(f"mutant {self.number}: {self.file} has this line {len(found)} times: {self.line}")
        indent = lines[found[0]][: -len(lines[found[0]].lstrip())]
        lines[found[0]] = f"{indent}{self.bug}\n"
        return "".join(lines)


def kept() -> list[Mutant]:
    """The bugs of the list, numbered from 1. A group says the file and the tests once for all of its bugs."""
    groups = tomllib.loads(LIST.read_text())["group"]
    entries = [(group, line, bug) for group in groups for line, bug in group["bugs"]]
    return [
        Mutant(number, group["file"], line, bug, tuple(group["tests"]))
        for number, (group, line, bug) in enumerate(entries, 1)
    ]


def passes(tests: tuple[str, ...], root: Path, patience: float | None = None) -> bool:
    """Whether these tests pass in the copy at `root`, within `patience` seconds.

    Raises:
        ValueError: pytest could not run them.
    """
    marks = ["-m", ""] if all("::" in test for test in tests) else []  # what is named may be slow
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *marks, *tests]
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=patience)
    except subprocess.TimeoutExpired:
        return False
    if done.returncode not in (0, 1):
        raise ValueError(f"pytest {' '.join(tests)} exited with {done.returncode}\n{done.stdout[-2000:]}")
    return done.returncode == 0


def survives(mutant: Mutant, root: Path, patience: float) -> bool:
    """Whether all of its tests pass in the copy at `root`, which is put right again."""
    file = root / mutant.file
    before = file.read_text()
    file.write_text(mutant.apply(root))
    try:
        return passes(mutant.tests, root, patience)
    finally:
        file.write_text(before)


def main(words: list[str]) -> int:
    """Try those whose file contains a word or whose number it is; all without words."""
    mutants = kept()
    problems = []
    for mutant in mutants:
        try:
            mutant.apply(ROOT)
        except ValueError as error:
            problems.append(str(error))
    if problems:
        print(*problems, sep="\n", file=sys.stderr)
        return 2
    chosen = [m for m in mutants if not words or any(word == str(m.number) or word in m.file for word in words)]
    if not chosen:
        print(f"no kept bug has the number, or a file with the word: {' '.join(words)}", file=sys.stderr)
        return 2
    survivors = []
    alone: dict[tuple[str, ...], float] = {}  # seconds that tests take without a bug
    with tempfile.TemporaryDirectory(prefix="genlab-mutants-") as folder:
        root = Path(folder) / "genlab"
        files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
        for name in files:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
        for mutant in chosen:
            if mutant.tests not in alone:
                began = time.monotonic()
                if not passes(mutant.tests, root):
                    print(f"without any bug, these fail: {' '.join(mutant.tests)}", file=sys.stderr)
                    return 2
                alone[mutant.tests] = time.monotonic() - began
            began = time.monotonic()
            alive = survives(mutant, root, SLOWER * alone[mutant.tests] + 60)
            survivors += [mutant] * alive
            verdict = "SURVIVES" if alive else "noticed"
            print(
                f"{mutant.number:4}  {verdict:8}  {time.monotonic() - began:4.0f} s  {mutant.file}: {mutant.bug}",
                flush=True,
            )
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} noticed")
    for mutant in survivors:
        print(f"survives: {mutant.file}\n    {mutant.line}\n    {mutant.bug}")
    return 1 if survivors else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ValueError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
