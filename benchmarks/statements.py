"""What the reports say against what came out: records of sweeps, and docs/RESULTS.md from them.

uv run benchmarks/statements.py record results/dcgan-20260102-030405 --as dcgan-mnist
uv run benchmarks/statements.py write
uv run benchmarks/statements.py check

The statements, with the number that decides each, are in `statements.toml` beside this script.
"""

from __future__ import annotations

import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from evidence import page
from evidence.record import as_text, record

from genlab.errors import GenlabError

STATEMENTS = Path(__file__).resolve().with_suffix(".toml")
DOCS = STATEMENTS.parents[1] / "docs"


@dataclass(frozen=True, kw_only=True)
class Record:
    """Keep what sweeps found as docs/results/NAME.json."""

    folders: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """Of sweeps that have ended; several if the rows of one grid were run apart."""
    name: Annotated[str, tyro.conf.arg(name="as", metavar="NAME")]
    """Of a [runs.NAME] in statements.toml."""
    partial: bool = False
    """Also of a sweep that has not ended; the record and the page say so."""


@dataclass(frozen=True)
class Write:
    """Write docs/RESULTS.md from the records."""


@dataclass(frozen=True)
class Check:
    """Exit with 1 if docs/RESULTS.md is not what `write` would write."""


def main(command: Record | Write | Check, docs: Path = DOCS) -> int:
    """Do it; the exit code.

    Raises:
        GenlabError: a sweep that cannot be recorded, or a record that cannot be read.
    """
    table: dict[str, Any] = tomllib.loads(STATEMENTS.read_text())
    results, target = docs / "results", docs / "RESULTS.md"
    if isinstance(command, Record):
        if command.name not in table["runs"]:
            raise GenlabError(f"statements.toml has no [runs.{command.name}]: it has {', '.join(table['runs'])}")
        made = as_text(record(command.folders, command.name, command.partial))
        results.mkdir(exist_ok=True)
        (results / f"{command.name}.json").write_text(made)
        print(f"{results / command.name}.json: {len(made) / 1024:.0f} KB")
        return 0
    text = page.text(table, page.read(results), results)
    if isinstance(command, Write):
        target.write_text(text)
        return 0
    if target.exists() and target.read_text() == text:
        return 0
    print(f"{target} is not what the records say: uv run benchmarks/statements.py write", file=sys.stderr)
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main(tyro.cli(Record | Write | Check)))  # pyright: ignore[reportArgumentType]
    except GenlabError as error:
        sys.exit(f"statements: {error}")
