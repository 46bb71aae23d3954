"""Send to MLflow what a tracking server has not yet taken: all of a storage's sweeps, or one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from genlab.errors import GenlabError, nearest
from genlab.tracking.heartbeat import live_driver
from genlab.tracking.mlflow_runs import Publisher
from genlab.tracking.records import Records
from genlab.tracking.server import Unreachable, default_tracking_uri, is_http, shown
from genlab.tracking.storage import Storage

PAUSES = (1.0, 2.0)  # seconds before each further try: a server may just be starting
SECRETS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")


@dataclass
class Replayed:
    """What became of one sweep: `left` of its `events` are not on the server, and why. If its records cannot be read
    `events` is 0 and `left` is 1."""

    sweep: str
    tracking_uri: str
    events: int = 0
    left: int = 0
    problem: str | None = None
    unreachable: bool = False


def replay(
    storage_url: str,
    sweep: str | None = None,
    tracking_uri: str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Replayed]:
    """Send what is not there yet. What is there stays as it is; nothing is doubled.

    Args:
        storage_url: a folder or URL that holds sweeps.
        sweep: the folder name of one of them; None for all.
        tracking_uri: where to; None for what each sweep's records name, or else the storage's own database. A server
            that only they name gets no password of the environment's.
        progress: called with sweep, events done and events in all.

    Returns:
        One entry a sweep, oldest first. After a server that is unreachable no further sweep is tried on it.

    Raises:
        GenlabError: no such sweep, or the named sweep's records are damaged or of another format.
    """
    storage = Storage(storage_url)
    names = Records.sweeps(storage)
    if sweep is not None and sweep not in names:
        raise GenlabError(
            f"{storage.url} holds no sweep {sweep!r}; {nearest(sweep, names)}" if names else no_sweeps(storage)
        )
    if not names:
        raise GenlabError(no_sweeps(storage))
    results: list[Replayed] = []
    down: set[str] = set()
    for name in [sweep] if sweep is not None else names:
        result = Replayed(name, tracking_uri or "")
        results.append(result)
        try:
            records = Records.open(storage, name)
        except GenlabError as error:
            if sweep is not None:
                raise
            result.left, result.problem = 1, str(error)
            continue
        own = str(records.options().get("tracking_uri") or default_tracking_uri(storage))
        result.tracking_uri = tracking_uri or own
        result.events = result.left = len(records.events)
        driver = live_driver(records.storage)
        if result.tracking_uri == own and driver is not None:  # two senders at once could make a run twice
            result.left, result.problem = 0, "it is running: its own driver sends it"
        elif tracking_uri is None and (secret := _would_send(own)) is not None:
            result.problem = (
                f"its records name {shown(own)}, to which {secret} would be sent: confirm the address by --tracking-uri"
            )
        elif result.tracking_uri in down:
            result.problem, result.unreachable = "the server was unreachable before", True
        else:
            _send(records, result, driver is None, progress)
            if result.unreachable and is_http(result.tracking_uri):
                down.add(result.tracking_uri)
    return results


def _would_send(uri: str) -> str | None:
    """The environment's secret that MLflow would send to this server, which the user has not named; None if none."""
    if not is_http(uri) or uri == os.environ.get("MLFLOW_TRACKING_URI"):
        return None
    return next((name for name in SECRETS if os.environ.get(name)), None)


def _send(records: Records, result: Replayed, over: bool, progress: Callable[[str, int, int], None] | None) -> None:
    """`over`: nobody is at work on it."""
    publisher = Publisher(records.storage, records.name, records.manifest, result.tracking_uri)
    try:
        for done, event in enumerate(records.events):
            for pause in _pauses():
                try:
                    publisher.publish(event)
                    break
                except Unreachable:
                    if pause is None:
                        raise
                    time.sleep(pause)
            result.left = result.events - done - 1 + len(publisher.unsent)
            if progress is not None:
                progress(records.name, done + 1, result.events)
        result.problem = next(iter(publisher.unsent.values()), None)
        if over and records.events and records.events[-1]["event"] != "end":
            publisher.interrupted(time.time())
    except Unreachable as error:
        result.problem, result.unreachable = str(error), True
    except GenlabError as error:  # refused for good: another sweep may still be taken
        result.problem = str(error)


def _pauses() -> Iterator[float | None]:
    yield from PAUSES
    yield None


def no_sweeps(storage: Storage) -> str:
    """Why a storage without sweeps is refused."""
    return f"{storage.url} holds no sweeps; name the folder that was given to --storage (./results by default)"
