"""A sweep's records: its manifest and its numbered events, and the trials that these tell of."""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from genlab.errors import CorruptFile, StorageError
from genlab.tracking.event_files import Cut, EventFiles
from genlab.tracking.events import (
    KINDS,
    AnyEvent,
    DataSeen,
    Digests,
    Distribution,
    EpochDone,
    Repaired,
    Started,
    TrialBegan,
    TrialFailed,
)
from genlab.tracking.local import Closed
from genlab.tracking.manifest import Manifest, read_manifest
from genlab.tracking.schema import Setting, Settings
from genlab.tracking.storage import MANIFEST, AlreadyThere, FileName, Storage

CONFIRMS = "confirm-"  # before the name of the trial whose setting is trained again
CONTACT_SHEET, CURVES = "contact_sheet.png", "curves.png"  # in a sweep's folder, once it has ended
STAMP = re.compile(r"(\d{8}-\d{6})(?:-(\d+))?$")  # at the end of a folder's name: when its sweep began

log = logging.getLogger(__name__)


@dataclass
class EpochRecord:
    """One committed epoch."""

    epoch: int
    report: FileName
    state: FileName | None
    objective: float | None
    ends: str | None


@dataclass
class TrialRecord:
    """What is known of one trial, folded from its events."""

    name: str
    settings: Settings
    config: Settings
    distributions: Mapping[str, Distribution]
    time: float
    epochs: dict[int, EpochRecord] = field(default_factory=dict)
    error: str | None = None

    @property
    def confirms(self) -> bool:
        """Whether it trains a setting again on fresh seeds, out of the search's sight."""
        return self.name.startswith(CONFIRMS)

    @property
    def last(self) -> EpochRecord | None:
        """The last committed epoch."""
        return self.epochs[max(self.epochs)] if self.epochs else None

    @property
    def ends(self) -> str | None:
        """`completed`, `pruned`, `diverged`, `failed`, or None while it is unfinished."""
        if self.error is not None:
            return "failed"
        return self.last.ends if self.last else None

    @property
    def objective(self) -> float | None:
        """The objective of its last epoch; None if it diverged, failed, or has not got there."""
        return self.last.objective if self.last and self.ends != "failed" else None

    def best(self, mode: str) -> EpochRecord | None:
        """The epoch with the best objective, `mode` being `min` or `max`."""
        judged = [epoch for epoch in self.epochs.values() if epoch.objective is not None]
        sign = 1 if mode == "min" else -1
        return min(judged, key=lambda epoch: sign * (epoch.objective or 0.0), default=None)


def fold(events: Iterable[AnyEvent]) -> dict[str, TrialRecord]:
    """The trials that events tell of, by name, in the order in which they began."""
    trials: dict[str, TrialRecord] = {}
    for event in events:
        apply(trials, event)
    return trials


def apply(trials: dict[str, TrialRecord], event: AnyEvent) -> None:
    """Take one more event into `trials`.

    Raises:
        KeyError: it is of a trial, or an epoch, that no event before it tells of.
    """
    match event:
        case TrialBegan():
            trials[event.trial] = TrialRecord(
                event.trial, event.settings, event.config, event.distributions, event.time
            )
        case EpochDone():
            trials[event.trial].epochs[event.epoch] = EpochRecord(
                event.epoch, event.report, event.state, event.objective, event.ends
            )
        case Repaired():
            epoch = trials[event.trial].epochs[event.epoch]
            epoch.report, epoch.state = event.report, event.state
        case TrialFailed():
            trials[event.trial].error = event.traceback
        case Started():
            for name in event.retry:
                trials[name].error = None


def standing(trial: TrialRecord, mode: str) -> tuple[bool, bool, float]:
    """What trials are ranked by, the least being the best: those that ran to the end by their objective, then the
    others by theirs, then those without."""
    value, sign = trial.objective, 1 if mode == "min" else -1
    return trial.ends != "completed", value is None, sign * (value or 0.0)


def rank(trials: Iterable[TrialRecord], mode: str) -> list[TrialRecord]:
    """Best first; among equals the order stays."""
    return sorted(trials, key=lambda trial: standing(trial, mode))


class Records:
    """The records of one sweep in its own folder below the storage."""

    def __init__(
        self, folder: Storage, manifest: Manifest, files: EventFiles, events: list[AnyEvent], cut: Cut | None
    ) -> None:
        """What `create` and `open` return. `events` are in `files`, but for the end that was `cut`."""
        self.storage, self.manifest, self.events = folder, manifest, events
        self.name = folder.url.rpartition("/")[2]
        try:
            self.trials = fold(events)
        except KeyError as error:
            raise CorruptFile(
                f"the events of {self.storage.url} are inconsistent: {error} is used before an event begins it"
            ) from None
        self._files, self._cut = files, cut
        self._noting, self._writing = threading.Lock(), threading.Lock()

    @staticmethod
    def create(storage: Storage, manifest: Manifest) -> Records:
        """A new folder, named by the sweep and the time, with its manifest, whose `name` and `created` are set here."""
        stamp = time.strftime("%Y%m%d-%H%M%S")
        for again in itertools.count(1):
            name = f"{manifest.sweep}-{stamp}-{again}" if again > 1 else f"{manifest.sweep}-{stamp}"
            whole = msgspec.structs.replace(manifest, name=name, created=time.time())
            folder = storage.sweep(name)
            with contextlib.suppress(FileExistsError, AlreadyThere):  # two sweeps may start in one second
                folder.make(new=True)
                folder.write_new(MANIFEST, whole.encode())
                return Records(folder, whole, EventFiles(folder), [], None)
        raise AssertionError("unreachable")

    @staticmethod
    def open(storage: Storage, name: str) -> Records:
        """The records in folder `name`.

        Raises:
            GenlabError: there are none, or they are of another format.
            CorruptFile: the manifest or an event is damaged. What is damaged at the very end was not written.
        """
        manifest = read_manifest(storage.below(name))
        files = EventFiles(storage.sweep(name))
        return Records(files.folder, manifest, files, *files.read())

    @staticmethod
    def sweeps(storage: Storage) -> list[str]:
        """Names of the folders in a storage that hold a sweep: oldest first by their names, then those whose names do
        not say when their sweep began. One that cannot be looked into counts if it is called as a sweep."""
        names = [name for name in storage.names() if _is_sweep(storage, name)]
        stamped = [((m[1], int(m[2] or 1)), name) for name in names if (m := STAMP.search(name))]
        return [name for _, name in sorted(stamped)] + [name for name in names if not STAMP.search(name)]

    def append(self, kind: str, **content: Any) -> AnyEvent:
        """Commit one event; when this returns, it has happened.

        Raises:
            StorageError: it could not be written, and has not happened.
        """
        event = self.note(kind, **content)
        try:
            self.commit()
        except Exception:
            self.forget()
            raise
        return event

    def note(self, kind: str, **content: Any) -> AnyEvent:
        """An event that the next `commit` writes. Here it counts at once; it has happened when it is written.

        Args:
            kind: a key of `events.KINDS`.
            content: the fields of that kind.
        """
        with self._noting:
            event = KINDS[kind](n=len(self.events) + 1, time=time.time(), **content)
            apply(self.trials, event)
            self.events.append(event)
        return event

    @property
    def committed(self) -> int:
        """The number of the last event that has happened."""
        return self._files.last

    def commit(self) -> None:
        """Write what has been noted, in one file, and what was written before and is gone.

        Raises:
            StorageError: it could not be written.
        """
        with self._writing:
            if noted := self.events[self.committed :]:
                if self._cut is not None:
                    self._files.mend(self._cut)
                    self._cut = None
                if gone := self._files.restore(self.events):
                    log.warning("%s had lost %d events: they are written again", self.storage.url, gone)
                self._files.write(noted)
                with contextlib.suppress(StorageError):  # the next commit tries again
                    self._files.put_together(self.events)

    def forget(self) -> None:
        """Of what has been noted, only what was written counts."""
        with self._writing, self._noting:
            if self.events[self.committed :]:
                del self.events[self.committed :]
                self.trials = fold(self.events)

    def options(self) -> dict[str, Setting]:
        """What was asked for at its start, and since."""
        options = dict(self.manifest.options)
        for event in self.events:
            if isinstance(event, Started):
                options |= event.options
        return options

    def code(self) -> Digests:
        """Digests of the code that trains its trials, by name, as it was last begun or accepted."""
        accepted = [event.code for event in self.events if isinstance(event, Started) and event.code]
        return accepted[-1] if accepted else self.manifest.identity.code

    def data(self) -> Mapping[str, Any] | None:
        """What the data sets were, as the first lane that read them described them."""
        return next((event.description for event in self.events if isinstance(event, DataSeen)), None)


def _is_sweep(storage: Storage, name: str) -> bool:
    try:
        return storage.below(name).exists(MANIFEST, odd=True)
    except (Closed, StorageError):
        return STAMP.search(name) is not None
