"""A sweep's records: its manifest and its numbered events. Only what an event names has happened.

Events are written by the driver alone, in the order in which the scheduler decided:

    {"event": "start",  "options": {...}, "code": {...}, "retry": [...]} it was resumed, with these new options and,
                                                                         where that was accepted, with other code;
                                                                         these failed trials are tried again
    {"event": "data",   "description": {...}, "prepared": {...}}         what the data sets were, and how good what was
                                                                         prepared is: metrics by file
    {"event": "trial",  "trial", "settings", "config", "distributions"}  a trial begins
    {"event": "epoch",  "trial", "epoch", "report", "state", "objective", "ends"}
    {"event": "error",  "trial", "epoch", "traceback"}                   a trial failed
    {"event": "repair", "trial", "epoch", "report", "state"}             a damaged epoch was trained again
    {"event": "end",    "summary": {...}}                                the sweep is done (it may be extended)

`report` and `state` are file names with length and digest, `ends` is None, "completed", "pruned" or "diverged".
Every event carries its number `n` and `time`, seconds since 1970.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from genlab.errors import CorruptFile, GenlabError, StorageError
from genlab.sealed import seal, unseal
from genlab.tracking.event_files import Cut, Event, EventFiles
from genlab.tracking.storage import AlreadyThere, FileName, Storage

FORMAT = 3
KNOWN = (2, FORMAT)  # 2: events without a crc32, each in a file of its own
CONFIRMS = "confirm-"  # before the name of the trial whose setting is trained again
CONTACT_SHEET, CURVES = "contact_sheet.png", "curves.png"  # in a sweep's folder, once it has ended


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
    settings: Mapping[str, Any]
    config: Mapping[str, Any]
    distributions: Mapping[str, Any]
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


def fold(events: Iterable[Event]) -> dict[str, TrialRecord]:
    """The trials that events tell of, by name, in the order in which they began."""
    trials: dict[str, TrialRecord] = {}
    for event in events:
        apply(trials, event)
    return trials


def apply(trials: dict[str, TrialRecord], event: Event) -> None:
    """Take one more event into `trials`."""
    kind = event["event"]
    if kind == "trial":
        names = ("settings", "config", "distributions", "time")
        trials[event["trial"]] = TrialRecord(event["trial"], **{name: event[name] for name in names})
    elif kind == "epoch":
        trials[event["trial"]].epochs[event["epoch"]] = EpochRecord(
            event["epoch"], _file(event["report"]), _file(event["state"]), event["objective"], event["ends"]
        )
    elif kind == "repair":
        epoch = trials[event["trial"]].epochs[event["epoch"]]
        epoch.report, epoch.state = _file(event["report"]), _file(event["state"])
    elif kind == "error":
        trials[event["trial"]].error = event["traceback"]
    elif kind == "start":
        for name in event.get("retry", ()):
            trials[name].error = None


def _file(value: Any) -> Any:
    return FileName(*value) if value is not None else None


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
        self, folder: Storage, manifest: Mapping[str, Any], files: EventFiles, events: list[Event], cut: Cut | None
    ) -> None:
        """What `create` and `open` return. `events` are in `files`, but for the end that was `cut`."""
        self.storage, self.manifest, self.events = folder, manifest, events
        self.name = folder.url.rpartition("/")[2]
        try:
            self.trials = fold(events)
        except KeyError as error:
            raise CorruptFile(f"{self.storage.url} is no whole sweep: of {error} no event tells before") from None
        self._files, self._cut = files, cut
        self._noting, self._writing = threading.Lock(), threading.Lock()

    @staticmethod
    def create(storage: Storage, sweep: str, manifest: Mapping[str, Any]) -> Records:
        """A new stamped folder with its manifest."""
        stamp = time.strftime("%Y%m%d-%H%M%S")
        for again in itertools.count(1):
            name = f"{sweep}-{stamp}-{again}" if again > 1 else f"{sweep}-{stamp}"
            whole = {"format": FORMAT, "name": name, "created": time.time(), **manifest}
            folder = storage.below(name)
            with contextlib.suppress(AlreadyThere):  # two sweeps may start in one second
                folder.write_new("manifest.json", seal(json.dumps(whole, indent=1)).encode())
                return Records(folder, whole, EventFiles(folder), [], None)
        raise AssertionError("unreachable")

    @staticmethod
    def open(storage: Storage, name: str) -> Records:
        """The records in folder `name`.

        Raises:
            GenlabError: there are none, or they are of another format.
            CorruptFile: the manifest or an event is damaged. What is damaged at the very end was not written.
        """
        folder = storage.below(name)
        manifest = read_manifest(folder)
        files = event_files(folder, manifest)
        return Records(folder, manifest, files, *files.read())

    @staticmethod
    def sweeps(storage: Storage) -> list[str]:
        """Names of the sweeps in a storage, oldest first."""
        found = [(re.search(r"(\d{8}-\d{6})(?:-(\d+))?$", name), name) for name in storage.names()]
        stamped = [((m.group(1), int(m.group(2) or 1)), name) for m, name in found if m]
        return [name for _, name in sorted(stamped) if storage.exists(f"{name}/manifest.json")]

    def append(self, kind: str, **content: Any) -> Event:
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

    def note(self, kind: str, **content: Any) -> Event:
        """An event that the next `commit` writes. Here it counts at once; it has happened when it is written."""
        with self._noting:
            event = {"n": len(self.events) + 1, "event": kind, "time": time.time(), **content}
            apply(self.trials, event)
            self.events.append(event)
        return event

    @property
    def committed(self) -> int:
        """The number of the last event that has happened."""
        return self._files.last

    def commit(self) -> None:
        """Write what has been noted, in one file.

        Raises:
            StorageError: it could not be written.
        """
        with self._writing:
            if noted := self.events[self.committed :]:
                if self._cut is not None:
                    self._files.mend(self._cut)
                    self._cut = None
                self._files.write(noted)
                with contextlib.suppress(StorageError):  # the next commit tries again
                    self._files.put_together(self.events)

    def forget(self) -> None:
        """Of what has been noted, only what was written counts."""
        with self._writing, self._noting:
            if self.events[self.committed :]:
                del self.events[self.committed :]
                self.trials = fold(self.events)

    def options(self) -> dict[str, Any]:
        """What was asked for at its start, and since."""
        options = dict(self.manifest.get("options") or {})
        for event in self.events:
            if event["event"] == "start":
                options |= event["options"]
        return options

    def code(self) -> Mapping[str, str]:
        """Digests of the code that trains its trials, by name, as it was last begun or accepted; none if not kept."""
        code = (self.manifest.get("identity") or {}).get("code", {})
        for event in self.events:
            code = event.get("code") or code if event["event"] == "start" else code
        return code

    def data(self) -> Mapping[str, Any] | None:
        """What the data sets were, as the first lane that read them described them."""
        return next((event["description"] for event in self.events if event["event"] == "data"), None)


def read_manifest(folder: Storage) -> dict[str, Any]:
    """The manifest of the sweep in `folder`.

    Raises:
        GenlabError: there is none, or it is of another format.
        CorruptFile: it is damaged.
    """
    try:
        manifest = read_json(folder, "manifest.json")
    except FileNotFoundError:
        raise GenlabError(f"{folder.url} holds no sweep: it has no manifest.json") from None
    if manifest.get("format") not in KNOWN:
        raise GenlabError(
            f"the sweep {folder.url} is of format {manifest.get('format')}, and this genlab knows format "
            f"{' and '.join(map(str, KNOWN))} only: open it with the genlab that made it, or begin a new sweep"
        )
    if manifest.pop("crc32", None) is None and manifest["format"] == FORMAT:
        raise CorruptFile(f"{folder.where('manifest.json')} is damaged: it has no crc32")
    return manifest


def event_files(folder: Storage, manifest: Mapping[str, Any]) -> EventFiles:
    """The files of the events of the sweep in `folder`, which has this manifest."""
    return EventFiles(folder, sealed=manifest["format"] == FORMAT)


def read_json(folder: Storage, path: str) -> dict[str, Any]:
    """A JSON mapping.

    Raises:
        FileNotFoundError: it is not there.
        CorruptFile: it is no JSON mapping, or not the one that was written.
    """
    try:
        return unseal(folder.read(path))
    except ValueError as error:
        raise CorruptFile(f"{folder.where(path)} is damaged: {error}") from error
