"""`genlab replay`: send to MLflow what a tracking server has not yet taken."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated

import tyro

from genlab.screen import one_line
from genlab.tracking.address import shown
from genlab.tracking.replay import Replayed, replay


def run(
    storage: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="STORAGE")],
    sweep: str | None = None,
    tracking_uri: str | None = None,
) -> int:
    """Send to MLflow what a tracking server has not yet taken, or has lost. What is there is not doubled or changed.

    Args:
        storage: folder or URL that holds the sweeps, ./results by default in a sweep.
        sweep: name of one sweep's folder, such as lsgan-20260102-030405; all sweeps if absent.
        tracking_uri: where to send it, such as http://host:5000; if absent, the storage's own mlflow.db. A sweep that
            was sent elsewhere goes there again only if this option, or MLFLOW_TRACKING_URI, names that place.
    """
    results = replay(storage, sweep, tracking_uri, _progress if sys.stderr.isatty() else None)
    for result in results:
        for line in (*result.notes, _line(result)):
            print(one_line(line))
    if not any(result.left for result in results):
        return 0
    again = ["genlab", "replay", storage]
    again += ["--sweep", sweep] if sweep else []
    again += ["--tracking-uri", shown(tracking_uri)] if tracking_uri else []
    left = sum(result.left for result in results)
    why = "once the server answers" if any(result.unreachable for result in results) else "once that is put right"
    print(f"genlab: {left} events are not sent; {why}, try again: {shlex.join(again)}", file=sys.stderr)
    return 1


def _line(result: Replayed) -> str:
    where = shown(result.tracking_uri)
    if result.left and not (result.events and where):
        return f"{result.sweep}: not sent: {result.problem}"
    if result.left:
        return f"{result.sweep}: {result.left} of {result.events} events not sent to {where}: {result.problem}"
    restored = f"; {result.restored} files were gone there and are sent again" if result.restored else ""
    return f"{result.sweep}: {result.problem or f'all {result.events} events are in {where}{restored}'}"


def _progress(sweep: str, done: int, events: int) -> None:
    end = "\n" if done == events else ""
    print(f"\r{one_line(sweep)}: {done}/{events} ", end=end, file=sys.stderr, flush=True)
