"""Send to MLflow what a tracking server has not yet taken, or has lost: all of a storage's sweeps, or one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from genlab.errors import GenlabError, StorageError, nearest
from genlab.tracking import address
from genlab.tracking.claims import Heartbeat, live_driver
from genlab.tracking.events import SweepEnded
from genlab.tracking.mlflow_runs import Publisher
from genlab.tracking.records import Records
from genlab.tracking.sender import claim
from genlab.tracking.server import Unreachable
from genlab.tracking.storage import Storage

PAUSES = (1.0, 2.0)  # seconds before each further try: a server may just be starting


@dataclass
class Replayed:
    """What became of one sweep.

    Attributes:
        tracking_uri: where it was sent; empty where that is not known.
        events, left: how many there are, and how many of them are not on the server. If the records cannot be read
            `events` is 0 and `left` is 1.
        problem: why some are left, or why nothing was sent.
        restored: files that had been sent before and were gone; they are there again.
        notes: what was done to the server beside sending, in lines.
    """

    sweep: str
    tracking_uri: str = ""
    events: int = 0
    left: int = 0
    problem: str | None = None
    unreachable: bool = False
    restored: int = 0
    notes: list[str] = field(default_factory=list)


def replay(
    storage_url: str,
    sweep: str | None = None,
    tracking_uri: str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Replayed]:
    """Send what is not there. What is there stays as it is; nothing is doubled.

    Args:
        storage_url: a folder or URL that holds sweeps.
        sweep: the folder name of one of them; None for all.
        tracking_uri: where to; None for what each sweep's records name, if that is the storage's own database or what
            MLFLOW_TRACKING_URI names.
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
        result = Replayed(name)
        results.append(result)
        try:
            records = Records.open(storage, name)
            result.events = result.left = len(records.events)
            recorded = records.options().get("tracking_uri")
            result.tracking_uri = address.chosen(storage, tracking_uri, str(recorded) if recorded else None)
            by_driver = str(recorded or address.own_database(storage))
            _replay(records, result, by_driver, down, progress)
        except GenlabError as error:
            if sweep is not None and not result.events:
                raise
            result.problem, result.left = str(error), result.left or 1
        except Exception as error:  # one sweep must not keep the others from being sent
            result.problem, result.left = f"{type(error).__name__}: {error}", result.left or 1
    return results


def _replay(
    records: Records,
    result: Replayed,
    by_driver: str,
    down: set[str],
    progress: Callable[[str, int, int], None] | None,
) -> None:
    """Send one sweep, unless its driver, which sends to `by_driver`, does; `down` are servers that were unreachable."""
    server, driver = address.normal(result.tracking_uri), live_driver(records.storage)
    if driver is not None and address.same(result.tracking_uri, by_driver):
        result.left, result.problem = 0, "it is running: its own driver sends it"
    elif server in down:
        result.problem, result.unreachable = "the server was unreachable before", True
    else:
        _send(records, result, driver is None, progress)
        if result.unreachable and address.is_http(result.tracking_uri):
            down.add(server)


def _send(records: Records, result: Replayed, over: bool, progress: Callable[[str, int, int], None] | None) -> None:
    """`over`: nobody is at work on it. Where another process may have sent it meanwhile, it is gone through again."""
    while True:
        sender: Heartbeat | None = None
        try:
            sender = claim(records.storage, result.tracking_uri)
        except StorageError as error:
            result.notes.append(f"nobody is kept from sending it at the same time: {error}")
        try:
            if _publish(records, result, over, sender, progress):
                return
        finally:
            if sender is not None:
                sender.stop()


def _publish(
    records: Records,
    result: Replayed,
    over: bool,
    sender: Heartbeat | None,
    progress: Callable[[str, int, int], None] | None,
) -> bool:
    """Send all events. False where the claim has lapsed meanwhile."""
    publisher = Publisher(records.storage, records.name, records.manifest, result.tracking_uri, look=True)
    try:
        for done, event in enumerate(records.events):
            for pause in _pauses():
                if sender is not None and sender.lapsed:
                    return False
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
        publisher.look_for_doubles()
        if over and records.events and not isinstance(records.events[-1], SweepEnded):
            publisher.interrupted(time.time())
    except Unreachable as error:
        result.problem, result.unreachable = str(error), True
    finally:
        result.restored += publisher.restored
        result.notes += publisher.notes
    return result.unreachable or sender is None or not sender.lapsed


def _pauses() -> Iterator[float | None]:
    yield from PAUSES
    yield None


def no_sweeps(storage: Storage) -> str:
    """Why a storage without sweeps is refused."""
    return f"{storage.url} holds no sweeps; name the folder that was given to --storage (./results by default)"
