"""docs/RELIABILITY.md: a row for each fault that a test did to a running sweep.

Tests `tell` what a sweep came through a fault with. `pytest -m "reliability or cluster" --write-reliability` keeps that
in `docs/reliability.json` and writes the page from it. Rows that were not run stay, with their own commit.
"""

from __future__ import annotations

import datetime
import functools
import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from outcomes import Outcome

ROOT = Path(__file__).parent.parent
KEPT = ROOT / "docs" / "reliability.json"
PAGE = ROOT / "docs" / "RELIABILITY.md"
COMMAND = 'uv run pytest -m "reliability or cluster" --write-reliability'
FAULTS = {  # by group; the page names those that no run has tried yet
    "A process of the sweep": (
        "nothing",
        "a lane's worker killed",
        "one of two ranks raises while the other waits in an all-reduce",
        "the process of the trials' clients killed",
        "the mailbox killed",
        "a Ray Train controller killed",
        "the drain killed",
    ),
    "The driver, or Ray": (
        "the driver killed (SIGKILL)",
        "the driver killed as soon as its manifest is written",
        "the head killed whole, and started again",
    ),
    "MLflow": (
        "the server is down from the start, and back after the sweep",
        "the server goes down in the middle, and comes back",
        "the server takes 5 s for each answer",
        "the server answers 500 to everything",
    ),
    "The storage": (
        "the storage is full until the screen says so",
        "the storage is read-only until the screen says so",
        "the storage is full until Ctrl-C, before MLflow has a database",
        "the storage's mount is away until the screen says so",
        "the storage takes 0.5 s for each call",
    ),
    "What a lane lacks": ("a node without the data", "a GPU that refuses memory"),
    "A host, or its network": (
        "a host lost for good",
        "a host lost, and back",
        "the network cut for 20 s",
        "the network cut for good",
    ),
}
LONGEST = 160  # characters of a line on the screen
TOLD: dict[str, dict[str, Any]] = {}  # rows of this run of pytest, by fault

BEGINNING = f"""# What a sweep comes through

Each row is a test: something happens to a running sweep, and the sweep is counted when it has ended. This page is
written by

```
{COMMAND}
```

from what the tests found. No number is typed by hand. `-m reliability` needs one machine, and a minute or two a row;
`-m cluster` makes two hosts of network namespaces and needs root. A row that a run leaves out stays as it was, with the
commit it was found at; a folder with changes that are not committed writes none.

**The sweep.** `tests/noted.py`: six trials of six short epochs, two lanes of one CPU (one lane of two workers where two
ranks are needed; on two hosts a lane takes all CPUs of a host). MLflow is on. No trial ends before the fault.

**What is counted.**

- *Trials*: how many trained to their end, of how many; and those that did not, by how they ended.
- *Seconds lost*: the longest that any trial waited for its next epoch, less the median wait; for its first one, too,
  if it began after the sweep's first epoch. The row "nothing" says what this is without a fault, on the same machine.
- *Epochs twice*: how many times rank 0 began an epoch that it, or another, had begun before.
- *MLflow*: points and images of committed epochs that MLflow lacks, and those that it has too many of, after what
  the person did. 0 is the goal.
- *The person did*: what the screen asks for, and no more.
- *On the screen*: the first line that tells of the fault; "nothing" where a sweep without the fault says the same.

**The machine.** Few cores, which a test shares with whatever else runs there: seconds are upper bounds, and the counts
are what to look at. The last column has the commit, the date and the cores.
"""


def check() -> None:
    """Refuse to write rows of a commit that nobody could look at.

    Raises:
        pytest.UsageError: what is here is no commit.
    """
    if commit().endswith("+"):
        raise pytest.UsageError("commit what was changed before --write-reliability: its rows name what was run")


def tell(
    group: str,
    fault: str,
    outcome: Outcome,
    saw: str | None = None,
    did: str = "nothing",
    note: str = "",
    hide: Mapping[str, str] | None = None,
) -> None:
    """Add a row, or replace the one of this fault.

    Args:
        group: of FAULTS.
        fault: one of that group.
        saw: part of the line on the screen that tells of it; without it, the first line that is not usual.
        did: what the person did.
        note: a sentence to be read with the row.
        hide: texts that are of this run alone, and what stands for them.
    """
    assert fault in FAULTS[group]
    lines = [line for line in outcome.unusual() if saw is None or saw in line]
    TOLD[fault] = {
        "group": group,
        "trials": outcome.trials,
        "ended": outcome.ended,
        "seconds_lost": round(outcome.seconds_lost, 1),
        "trained_twice": outcome.trained_twice,
        "recorded_twice": len(outcome.recorded_twice),
        "mlflow": outcome.mlflow,
        "did": did,
        "saw": _shown(lines[0], hide or {}) if lines else "nothing",
        "note": note,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "commit": commit(),
        "cores": os.cpu_count(),
    }


def _shown(line: str, hide: Mapping[str, str]) -> str:
    """A line without what is of this run or this machine alone."""
    for text, instead in hide.items():
        line = line.replace(text, instead)
    line = re.sub(r"(noted|toy)-\d{8}-\d{6}(-\d+)?", "SWEEP", line)
    line = re.sub(r"\b[0-9a-f]{16,}\b", "…", line)
    line = re.sub(r"\b\d+\.\d+\.\d+\.\d+\b", "ADDRESS", line)
    line = re.sub(r"(?<=[\s'\"(])/[^\s:'\")]+/", "…/", line)
    return line if len(line) <= LONGEST else line[:LONGEST].rstrip() + " …"


@functools.cache
def commit() -> str:
    """The commit that is checked out here when this is first asked; `+` where more than this page differs from it."""
    name = _git("rev-parse", "--short=7", "HEAD")
    own = (f":!{PAGE.relative_to(ROOT)}", f":!{KEPT.relative_to(ROOT)}")
    return name + ("+" if _git("status", "--porcelain", "--", ".", *own) else "") if name else "unknown"


def _git(*words: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def write() -> None:
    """Keep the rows of this run, and write the page of all that are kept."""
    rows = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    rows |= TOLD
    KEPT.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    PAGE.write_text(page(rows))


def page(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """The page of these rows."""
    parts = [BEGINNING]
    for group, faults in FAULTS.items():
        found = {fault: rows[fault] for fault in faults if fault in rows}
        parts.append(f"## {group}\n")
        if found:
            parts.append(_table(found))
        if missing := [fault for fault in faults if fault not in rows]:
            parts.append(f"Not tried yet: {'; '.join(missing)}.\n")
    return "\n".join(parts)


def _table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    names = ("what happens", "trials", "seconds lost", "epochs twice", "MLflow lacks", "MLflow doubled")
    names += ("the person did", "on the screen", "found at")
    lines = [_line(names), _line(["---"] * len(names))]
    lines += [_line(_cells(fault, row)) for fault, row in rows.items()]
    notes = [f"- {fault}: {row['note']}" for fault, row in rows.items() if row["note"]]
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def _cells(fault: str, row: Mapping[str, Any]) -> Sequence[str]:
    ended = row["ended"]
    well = ended.get("completed", 0) + ended.get("pruned", 0)
    others = ", ".join(f"{count} {how}" for how, count in ended.items() if how not in ("completed", "pruned"))
    return (
        fault,
        f"{well} of {row['trials']}" + (f" ({others})" if others else ""),
        f"{row['seconds_lost']:.0f}",
        str(row["trained_twice"]),
        _of_mlflow(row["mlflow"], "missing"),
        _of_mlflow(row["mlflow"], "too many"),
        row["did"],
        "nothing" if row["saw"] == "nothing" else f"`{row['saw'].replace('`', '')}`",
        f"{row['commit']}, {row['date']}, {row['cores']} cores",
    )


def _of_mlflow(counts: Mapping[str, int], what: str) -> str:
    some = [f"{counts[f'{kind} {what}']} of {counts[kind]} {kind}" for kind in ("points", "images")]
    return ", ".join(some) if any(counts[f"{kind} {what}"] for kind in ("points", "images")) else "0"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
