"""`genlab list`: the sweeps of a storage, a line each."""

from __future__ import annotations

from typing import Annotated

import tyro

from genlab.cli.show import wide_console
from genlab.errors import GenlabError
from genlab.results import SweepResults
from genlab.screen import one_line
from genlab.tracking.records import Records
from genlab.tracking.replay import no_sweeps
from genlab.tracking.storage import MANIFEST, Storage


def run(storage: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="STORAGE")] = "./results") -> int:
    """List the sweeps of a storage, oldest first: how each stands, its trials, and its best one.

    Args:
        storage: folder or URL that holds the sweeps.
    """
    from rich.table import Table

    from genlab.sweep.view import show

    where = Storage(storage)
    if where.exists(MANIFEST):
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
            best = sweep.outcome.best
            found = (show(best.objective), best.name) if best else ("-", "-")
            row = (sweep.state, sweep.ends(), f"{sweep.metric} ({sweep.mode})", *found)
        except Exception as error:  # one sweep, whoever made it, must not hide the others
            problems.append(
                str(error) if isinstance(error, GenlabError) else f"{name}: {type(error).__name__}: {error}"
            )
            row = ("cannot be read",)
        table.add_row(*map(one_line, (name, *row)))
    console = wide_console()
    console.print(table)
    for problem in problems:
        console.print(one_line(problem), soft_wrap=True)
    return 1 if problems else 0
