"""What the reports say against what came out: records of sweeps, and docs/RESULTS.md from them.

uv run benchmarks/statements.py run vae-mnist dae-mnist --data-root DATA
uv run benchmarks/statements.py record results/dcgan-20260102-030405 --as dcgan-mnist [--add]
uv run benchmarks/statements.py write
uv run benchmarks/statements.py check

`run` starts the sweeps of a [runs.NAME], or goes on with those that were cut off, and keeps what they found.

The statements, with the number that decides each, are in `statements.toml` beside this script.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from evidence import page, pictures
from evidence.record import as_text, record, together

import genlab
from genlab.errors import GenlabError, nearest
from genlab.tracking.records import Records
from genlab.tracking.storage import Storage

STATEMENTS = Path(__file__).resolve().with_suffix(".toml")
ROOT = STATEMENTS.parents[1]
DOCS = ROOT / "docs"


@dataclass(frozen=True, kw_only=True)
class Run:
    """Run the sweeps of statements.toml, or go on with them; keep what they found and write the page."""

    names: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """Each of a [runs.NAME] in statements.toml."""
    storage: str = "results/statements"
    """Folder for the sweeps: one in it for each command."""
    data_root: str | None = None
    """Folder with the data sets."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """Keep what sweeps found as docs/results/NAME.json."""

    folders: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """Of sweeps that have ended; several if the rows of one grid were run apart."""
    name: Annotated[str, tyro.conf.arg(name="as", metavar="NAME")]
    """Of a [runs.NAME] in statements.toml."""
    partial: bool = False
    """Also of a sweep that has not ended; the record and the page say so."""
    add: bool = False
    """Keep what the record holds of other sweeps, whose folders may be gone."""


@dataclass(frozen=True)
class Write:
    """Write docs/RESULTS.md from the records."""


@dataclass(frozen=True)
class Check:
    """Exit with 1 if docs/RESULTS.md is not what `write` would write."""


def main(command: Run | Record | Write | Check, docs: Path = DOCS) -> int:
    """Do it; the exit code.

    Raises:
        GenlabError: no such run, a sweep that did not end or cannot be recorded, or a record that cannot be read.
    """
    table: dict[str, Any] = tomllib.loads(STATEMENTS.read_text())
    results, target = docs / "results", docs / "RESULTS.md"
    for name in command.names if isinstance(command, Run) else (command.name,) if isinstance(command, Record) else ():
        if name not in table["runs"]:
            raise GenlabError(f"statements.toml has no [runs.{name}]: {nearest(name, table['runs'])}")
    if isinstance(command, Record):
        keep(table, command.name, command.folders, command.partial, results, command.add)
        return 0
    if isinstance(command, Run):
        for name in command.names:
            keep(table, name, run(name, table["runs"][name]["commands"], command), False, results)
    text = page.text(table, page.read(results), results)
    if isinstance(command, Run | Write):
        target.write_text(text)
        return 0
    if target.exists() and target.read_text() == text:
        return 0
    print(f"{target} is not what the records say: uv run benchmarks/statements.py write", file=sys.stderr)
    return 1


def keep(
    table: Mapping[str, Any], name: str, folders: Sequence[str], partial: bool, results: Path, add: bool = False
) -> None:
    """Write the record of a run and its pictures into the folder `results`, and say so.

    Raises:
        GenlabError: a sweep that cannot be recorded, or no record to add to.
    """
    found = record(folders, name, partial)
    if add:
        found = together(page.read_one(results / f"{name}.json"), found)
    made = as_text(found)
    results.mkdir(exist_ok=True)
    (results / f"{name}.json").write_text(made)
    print(f"{results / name}.json: {len(made) / 1024:.0f} KB")
    for path in pictures.draw(table, name, folders, results):
        print(path)


def run(name: str, commands: Sequence[str], options: Run) -> list[str]:
    """Run the sweeps of one name to their ends; their folders. What has ended already is left as it is.

    Raises:
        GenlabError: a sweep stopped before its end.
    """
    folders = []
    for number, command in enumerate(commands):
        storage = os.path.abspath(f"{options.storage}/{name}-{number}")
        script, *words = shlex.split(command)[2:]  # after `uv run`
        swept = Records.sweeps(Storage(storage))
        if swept:
            words = ["--resume"]
        elif options.data_root is not None:
            words += ["--data-root", options.data_root]
        if not swept or genlab.open(f"{storage}/{swept[-1]}").state != "ended":
            code = subprocess.run([sys.executable, script, *words, "--storage", storage], cwd=ROOT).returncode
            if code:
                raise GenlabError(f"{name} stopped with exit code {code}: the same command goes on with it")
        folders.append(f"{storage}/{Records.sweeps(Storage(storage))[-1]}")
    return folders


if __name__ == "__main__":
    try:
        sys.exit(main(tyro.cli(Run | Record | Write | Check)))  # pyright: ignore[reportArgumentType]
    except GenlabError as error:
        sys.exit(f"statements: {error}")
