"""`genlab list`: the sweeps of a storage, a line each."""

from __future__ import annotations

from typing import Annotated

import tyro

from genlab.cli.show import wide_console
from genlab.errors import GenlabError
from genlab.results import SweepResults
from genlab.tracking.records import Records
from genlab.tracking.replay import no_sweeps
from genlab.tracking.storage import Storage


def run(storage: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="STORAGE")] = "./results") -> int:
    """List the sweeps of a storage, oldest first: how each stands, its trials, and its best one.

    Args:
        storage: folder or URL that holds the sweeps.
    """
    from rich.table import Table

    from genlab.sweep.view import show

    where = Storage(storage)
    if where.exists("manifest.json"):
        raise GenlabError(f"{where.url} is a sweep itself: genlab show {storage}")
    names = Records.sweeps(where)
    if not names:
        raise GenlabError(no_sweeps(where))
    table, problems = Table(box=None, pad_edge=False), []
    for column in ("sweep", "state", "trials", "metric", "best", "of trial"):
        table.add_column(column, overflow="fold")
    for name in names:
        try:
            sweep = SweepResults(Records.open(where, name))
        except GenlabError as error:
            problems.append(str(error))
            table.add_row(name, "cannot be read")
            continue
        best = sweep.outcome.best
        found = (show(best.objective), best.name) if best else ("-", "-")
        table.add_row(name, sweep.state, sweep.ends(), f"{sweep.metric} ({sweep.mode})", *found)
    console = wide_console()
    console.print(table)
    for problem in problems:
        console.print(problem, soft_wrap=True)
    return 1 if problems else 0
