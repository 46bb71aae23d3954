"""How a sweep's trials stand, kept up with its events: a look costs what is new, however many trials there are."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

from genlab.tracking.events import AnyEvent, EpochDone, Started, TrialBegan, TrialFailed
from genlab.tracking.records import Records, TrialRecord, standing


class Standing:
    """Counts of trials and epochs, and the trials with the best first."""

    def __init__(self, records: Records, mode: str) -> None:
        """`mode` is `min` or `max`."""
        self.records, self.mode = records, mode
        self._lock = threading.Lock()  # a table is drawn while Tune goes on
        self._begin()

    def _begin(self) -> None:
        self.seen = 0  # events
        self.epochs = 0  # of all trials
        self.running: dict[str, TrialRecord] = {}
        self.searched = 0  # trials of the search
        self.ended = 0  # of those
        self.ended_epochs = 0  # and theirs
        self._ranked: list[tuple[Any, int, TrialRecord]] = []  # that ended; among equals the earlier one is first
        self._order: dict[str, int] = {}
        self._lengths: dict[str, int] = {}  # epochs of each trial

    def update(self) -> Standing:
        """Take in what has happened since."""
        with self._lock:
            if len(self.records.events) < self.seen:  # something could not be written
                self._begin()
            for event in islice(self.records.events, self.seen, None):
                self.seen += 1
                self._take(event)
        return self

    def _take(self, event: AnyEvent) -> None:
        trials = self.records.trials
        match event:
            case TrialBegan():
                record = trials[event.trial]
                self._order[record.name], self._lengths[record.name] = len(self._order), 0
                self.running[record.name] = record
                self.searched += not record.confirms
            case EpochDone():
                self.epochs += 1
                self._lengths[event.trial] += 1
                if event.ends:
                    self._end(trials[event.trial], 1)
            case TrialFailed():
                self._end(trials[event.trial], 1)
            case Started():
                for name in event.retry:
                    self._end(trials[name], -1)

    def _end(self, record: TrialRecord, sign: int) -> None:
        """A trial ended; with a sign of -1 it is tried again."""
        entry = (standing(record, self.mode), self._order[record.name], record)
        if sign > 0:
            del self.running[record.name]
            bisect.insort(self._ranked, entry, key=lambda one: one[:2])
        else:
            self.running[record.name] = record
            self._ranked = [one for one in self._ranked if one[2] is not record]
        if not record.confirms:
            self.ended += sign
            self.ended_epochs += sign * self._lengths[record.name]

    def searching(self) -> Iterable[TrialRecord]:
        """The running trials of the search."""
        return [trial for trial in list(self.running.values()) if not trial.confirms]

    def first(self, count: int) -> Iterator[TrialRecord]:
        """The running trials, then those that ended, the best first; `count` at most."""
        return islice(chain(list(self.running.values()), (trial for _, _, trial in self._ranked)), count)
