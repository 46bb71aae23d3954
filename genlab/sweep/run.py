"""What a sweep's driver holds and commits: results in the scheduler's order, each as one event."""

from __future__ import annotations

import itertools
import queue
import threading
from collections import deque
from typing import Any

from genlab.errors import place
from genlab.sweep.plan import Plan
from genlab.sweep.view import View
from genlab.tracking.drain import Drain
from genlab.tracking.events import DataSeen, TrialBegan, TrialFailed
from genlab.tracking.records import Records, TrialRecord
from genlab.tracking.storage import FileName, Storage

ALIKE = 3  # trials that fail in the same place before any has trained an epoch, and the others would fail there, too
CONFIRM_SEEDS = 3  # at least so many, since one seed confirms nothing


class Run:
    """A sweep that runs. Its truth is in the records: what it holds itself may be lost at any time."""

    def __init__(self, plan: Plan, records: Records, storage: Storage, drain: Drain, view: View) -> None:
        self.plan, self.records, self.storage, self.drain, self.view = plan, records, storage, drain, view
        self.why: str | None = None  # it stops before its time
        self.pool: Any = None
        self.doomed: queue.SimpleQueue[str | None] = queue.SimpleQueue()  # states that nothing needs any more
        self._spared: deque[tuple[int, str]] = deque()  # states that nothing needs once that event is committed
        self._noted: queue.SimpleQueue[bool] = queue.SimpleQueue()  # True for each event, False at the end
        self._committing: threading.Thread | None = None
        self._beginning = threading.Lock()  # of that thread: trials and what is prepared note events, each by its own

    # ---- from outside

    def stop(self, why: str) -> None:
        """End soon, keep what is done. Called from any thread, and from a signal's handler."""
        if self.why is None:
            self.why = why  # the watching thread tells the mailbox, too, should it not be there yet
            self.storage.hurry()
            if self.pool is not None:
                self.pool.mailbox.cut.remote(why)

    def stopped(self) -> bool:
        """Whether the sweep is about to end before its time."""
        return self.why is not None

    # ---- what Tune tells

    def commit(self, name: str, result: dict[str, Any]) -> None:
        """A trial's result, with the scheduler's decision: from now on it has happened."""
        record, kind, value = self.records.trials[name], result["kind"], result["value"]
        if kind in ("cut", "storage"):
            self.why = self.why or str(value)
        if self.why or record.ends is not None or (kind != "error" and result["epoch"] in record.epochs):
            return
        if kind in ("error", "lost"):
            self.append("error", trial=name, epoch=result["epoch"], traceback=value)
            self.view.ended(record)
            self._stop_if_all_fail_alike()
        else:
            diverged = kind == "diverged"
            ends = "diverged" if diverged else None
            if not diverged and result["done"]:
                ends = "completed" if result["epoch"] >= result["epochs"] else "pruned"
            self.append(
                "epoch",
                trial=name,
                epoch=result["epoch"],
                report=FileName(*value["report"]),
                state=None if value["state"] is None else FileName(*value["state"]),
                objective=None if diverged else result["objective"],
                ends=ends,
            )
            self.spare_states(record)
            (self.view.ended if ends else self.view.advanced)(record)
        if record.ends is not None:
            self.pool.mailbox.forget.remote(name)

    def _stop_if_all_fail_alike(self) -> None:
        """A mistake in the task fails all trials in the same place: the first ones are enough."""
        if any(trial.epochs for trial in self.records.trials.values()):
            return
        where = [place(event.traceback) for event in self.records.events if isinstance(event, TrialFailed)]
        alike = list(itertools.takewhile(lambda one: one == where[-1], reversed(where)))
        if len(alike) >= min(ALIKE, self.plan.trials):
            self.stop(
                f"{len(alike)} trials failed in the same place, and none has trained an epoch: {where[-1]}. Repair "
                "that, then begin anew, or resume for the trials to come, with --accept-code if the code has changed"
            )

    # ---- what becomes of it

    def append(self, kind: str, **content: Any) -> None:
        """Note an event, unless the sweep stops. A thread of its own commits them in their order: Tune waits for no
        storage, and what comes meanwhile is one file."""
        if self.why is not None:
            return
        self.records.note(kind, **content)
        with self._beginning:
            if self._committing is None:
                self._committing = threading.Thread(target=self._commit, daemon=True, name="commit")
                self._committing.start()
        self._noted.put(True)

    def settle(self) -> None:
        """Commit all that is noted, or forget it where the storage fails. The driver ends with it."""
        with self._beginning:
            committing, self._committing = self._committing, None
        if committing is not None:
            self._noted.put(False)
            committing.join()
        self.records.forget()
        self._give_up_states()

    def _commit(self) -> None:
        told, goes_on = self.records.committed, True
        while goes_on:
            goes_on = self._noted.get()  # of events that went with an earlier one nothing is left to commit
            try:
                self.records.commit()
            except Exception as error:  # the storage's for the most part; whatever it is, nothing more can be kept
                self.stop(str(error))
                return
            committed = self.records.committed
            # the first events, of data and trials, are sent with the next one: MLflow's start would delay the lanes'
            if not all(isinstance(event, DataSeen | TrialBegan) for event in self.records.events[told:committed]):
                self.drain.notify(committed)
                told = committed
            self._give_up_states()

    def _give_up_states(self) -> None:
        while self._spared and self._spared[0][0] <= self.records.committed:
            self.doomed.put(self._spared.popleft()[1])

    def spare_states(self, record: TrialRecord) -> None:
        """Best and last stay."""
        keep = [record.best(self.plan.sweep.mode), record.last]
        for epoch in record.epochs.values():
            if epoch.state is not None and not any(epoch is kept for kept in keep):
                self._spared.append((len(self.records.events), epoch.state.path))
                epoch.state = None

    def begin(self, record: TrialRecord) -> dict[str, Any]:
        """What Tune hands to a trial's client."""
        last = record.last
        return {
            "trial": record.name,
            "config": {**record.config, **self.plan.places(record.settings)},
            "replicas": max(self.plan.seeds, CONFIRM_SEEDS) if record.confirms else self.plan.seeds,
            "state": list(last.state) if last and last.state else None,
            "at": last.epoch if last else 0,
            "epochs": record.config["epochs"],
            "metric": self.plan.sweep.metric,
            "test": record.confirms,
        }
