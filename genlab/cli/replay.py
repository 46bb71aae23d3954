"""`genlab replay`: send to MLflow what a tracking server has not yet taken."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated

import tyro

from genlab.tracking.replay import Replayed, replay
from genlab.tracking.server import shown


def run(
    storage: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="STORAGE")],
    sweep: str | None = None,
    tracking_uri: str | None = None,
) -> int:
    """Send to MLflow what a tracking server has not yet taken. What is there already is neither doubled nor changed.

    Args:
        storage: folder or URL that holds the sweeps, ./results by default in a sweep.
        sweep: name of one sweep's folder, such as lsgan-20260102-030405; all sweeps if absent.
        tracking_uri: where to send it, such as http://host:5000; if absent, where each sweep was told to, or else the
            storage's own mlflow.db. Name it where MLflow's password or token is in the environment.
    """
    results = replay(storage, sweep, tracking_uri, _progress if sys.stderr.isatty() else None)
    for result in results:
        print(_line(result))
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
    if result.left and not result.events:
        return f"{result.sweep}: not sent: {result.problem}"
    if result.left:
        return f"{result.sweep}: {result.left} of {result.events} events not sent to {where}: {result.problem}"
    return f"{result.sweep}: {result.problem or f'all {result.events} events are in {where}'}"


def _progress(sweep: str, done: int, events: int) -> None:
    print(f"\r{sweep}: {done}/{events} ", end="\n" if done == events else "", file=sys.stderr, flush=True)
