"""One life of a sweep's driver: lanes up, what was cut off first, then the search, then what confirms it."""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import threading
from collections.abc import Mapping
from typing import Any

import ray
from ray.exceptions import RaySystemError

from genlab.errors import GenlabError, StorageError, place
from genlab.lanes.cluster import Room
from genlab.lanes.loading import pickled
from genlab.lanes.pool import LanePool
from genlab.lanes.worker import LaneSettings
from genlab.sweep.plan import Plan
from genlab.sweep.repair import repair
from genlab.sweep.view import View
from genlab.tasks.fields import as_dict
from genlab.tracking.drain import Drain
from genlab.tracking.records import CONFIRMS, Records, TrialRecord, rank
from genlab.tracking.storage import Storage

ALIKE = 3  # trials that fail in the same place before any has trained an epoch, and the others would fail there, too
CONFIRM_SEEDS = 3  # at least so many, since one seed confirms nothing
DATA = ("GENLAB_DATA", "GENLAB_CACHE")  # folders that lanes use as the driver does


class Stop(Exception):
    """The sweep ends before its time; it can be resumed."""


class Run:
    """The driver's part of a sweep. Its truth is in the records: what it holds itself may be lost at any time."""

    def __init__(self, plan: Plan, records: Records, storage: Storage, drain: Drain, view: View) -> None:
        self.plan, self.records, self.storage, self.drain, self.view = plan, records, storage, drain, view
        self.why: str | None = None  # it stops before its time
        self.refused: str | None = None  # it could not even begin
        self.pool: Any = None
        self.prepared = threading.Event()
        self.files: dict[str, str] = {}
        self.doomed: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.ended = threading.Event()

    # ---- from outside

    def stop(self, why: str) -> None:
        """End soon, keep what is done. Called from any thread, and from a signal's handler."""
        if self.why is None:
            self.why = why  # the watching thread tells the mailbox, too, should it not be there yet
            if self.pool is not None:
                self.pool.mailbox.cut.remote(why)

    def stopped(self) -> bool:
        """Whether the sweep is about to end before its time."""
        return self.why is not None

    def execute(self, room: Room, data_root: str | None, news: Mapping[str, Any]) -> None:
        """Run until all trials have ended, or `stop`. `news` of a resume (options, code) are remembered unless it is
        refused.

        Raises:
            GenlabError: what must be prepared could not be, or the data are not those of before.
            Stop: it ended before its time.
        """
        plan = self.plan
        settings = LaneSettings(
            lane=0,
            mailbox=None,
            code=pickled(plan.kind, plan.task),
            script=plan.script,
            storage=self.storage.url,
            folder=self.records.name,
            data_root=data_root,
            environment={
                name: os.path.abspath(os.path.expanduser(os.environ[name])) for name in DATA if name in os.environ
            },
            threads=int(room.resources["CPU"]),
            epoch_deadline=plan.sweep.epoch_deadline,
            working_folder=os.getcwd(),
        )
        self.pool = LanePool(room.lanes, plan.workers, room.resources, settings, room.patience)
        threads = [
            threading.Thread(target=work, daemon=True, name=work.__name__)
            for work in (self._prepare, self._watch, self._sweep_away)
        ]
        try:
            for thread in threads:
                thread.start()
            if news or self.records.data() is not None:  # a resume that is refused must have changed nothing
                self.wait_until_prepared()
            if news and not self.refused:
                self.records.append("start", **{"options": {}, **news})
                for name in news.get("changed", ()):
                    self.view.say(f"{name} is another one than before: it trains what follows, as the records now say")
            repair(self)
            self._fit(search=True)
            self._confirm()
        finally:
            self.ended.set()
            self.doomed.put(None)
            with contextlib.suppress(Exception):  # what was printed last; a Ray that is gone has nothing to tell
                self._hear(self.pool.look(timeout=5))
            self.pool.close()
        if self.refused:
            raise GenlabError(self.refused)
        if self.why:
            raise Stop(self.why)

    # ---- in threads of their own

    def _prepare(self) -> None:
        """One lane builds what all trials need; they wait at the mailbox meanwhile."""
        request = {
            "id": "prepare@/0",
            "session": "prepare@",
            "trial": "prepare",
            "epoch": 0,
            "script": self.plan.script_digest(),
            "configs": [as_dict(config) for config in self.plan.to_prepare()],
        }
        try:
            answer: Any = ray.get(self.pool.mailbox.ask.remote(request))
            kind, value = answer["kind"], answer["value"]
            if kind == "ok":
                self._check_data(value)
                self.files = value["files"]
                ray.get(self.pool.mailbox.go.remote(self.files))
                self.prepared.set()
                return
            if kind in ("error", "lost"):
                self.refused = f"what the trials need could not be prepared: {value}"
            self.stop(self.refused or str(value))
        except GenlabError as error:
            self.refused = str(error)
        except Exception as error:  # Ray is gone
            self.refused = f"what the trials need could not be prepared: {error}"
        self.stop(self.refused or "cut")
        self.prepared.set()

    def wait_until_prepared(self) -> None:
        """Until that is done, or the sweep stops."""
        while not (self.prepared.wait(0.2) or self.why):
            continue

    def _check_data(self, prepared: dict[str, Any]) -> None:
        known, data = self.records.data(), prepared["data"]
        if known is None:
            self.append("data", description=data, prepared=prepared["metrics"])
        elif known != data:
            changed = [name for name in {*known, *data} if known.get(name) != data.get(name)]
            raise GenlabError(
                f"the data are not those that the sweep began with ({', '.join(sorted(changed))}): "
                f"{known} then, {data} now. Resume with the same --data-root, or start a new sweep."
            )

    def _watch(self) -> None:
        """Tell a mailbox that was started again what it must know; notice lanes that do not come up."""
        while not self.ended.wait(1.0):
            try:
                seen = self.pool.look()
                self._hear(seen)
                if self.pool.problem:
                    self.stop(self.pool.problem)
                if seen["cut"] and not self.why:
                    self.why = seen["cut"]
                if self.why and not seen["cut"]:
                    self.pool.mailbox.cut.remote(self.why)
                if self.prepared.is_set() and not self.why and not seen["ready"]:
                    self.pool.mailbox.go.remote(self.files)
            except Exception as error:  # the whole Ray is gone: nothing will ever answer
                if not ray.is_initialized() or isinstance(error, RaySystemError):
                    self.why = self.why or f"Ray is gone: {error}"
                    return

    def _hear(self, seen: Mapping[str, Any]) -> None:
        """Show what lanes have to say, and what tasks printed there."""
        for note in seen["notes"]:
            self.view.say(note)

    def _sweep_away(self) -> None:
        """Delete states that nothing needs any more."""
        while (path := self.doomed.get()) is not None:
            with contextlib.suppress(StorageError):  # it lies there until a resume looks for orphans
                self.records.storage.delete(path)

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
                report=value["report"],
                state=value["state"],
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
        where = [place(event["traceback"]) for event in self.records.events if event["event"] == "error"]
        alike = list(itertools.takewhile(lambda one: one == where[-1], reversed(where)))
        if len(alike) >= min(ALIKE, self.plan.trials):
            self.stop(
                f"{len(alike)} trials failed in the same place, and none has trained an epoch: {where[-1]}. Repair "
                "that, then begin anew, or resume for the trials to come, with --accept-code if the code has changed"
            )

    def append(self, kind: str, **content: Any) -> None:
        """Commit an event, unless the sweep stops."""
        if self.why is not None:
            return
        try:
            number = self.records.append(kind, **content)["n"]
            if kind not in ("data", "trial"):  # which the next one takes along: MLflow's start would delay the lanes'
                self.drain.notify(number)
        except StorageError as error:
            self.stop(str(error))

    def spare_states(self, record: TrialRecord) -> None:
        """Best and last stay."""
        keep = [record.best(self.plan.sweep.mode), record.last]
        for epoch in record.epochs.values():
            if epoch.state is not None and not any(epoch is kept for kept in keep):
                self.doomed.put(epoch.state.path)
                epoch.state = None

    def begin(self, record: TrialRecord) -> dict[str, Any]:
        """What Tune hands to a trial's client."""
        last = record.last
        return {
            "trial": record.name,
            "config": dict(record.config),
            "replicas": max(self.plan.seeds, CONFIRM_SEEDS) if record.confirms else self.plan.seeds,
            "state": list(last.state) if last and last.state else None,
            "at": last.epoch if last else 0,
            "epochs": record.config["epochs"],
            "metric": self.plan.sweep.metric,
            "test": record.confirms,
        }

    # ---- phases

    def _fit(self, search: bool) -> None:
        """Let Tune run the search, or the trials that confirm it."""
        unfinished = [t for t in self.records.trials.values() if t.confirms != search and t.ends is None]
        known = sum(not trial.confirms for trial in self.records.trials.values())
        count = len(unfinished) + (max(0, self.plan.trials - known) if search else 0)
        if count == 0 or self.why:
            return
        from genlab.sweep import search as searching
        from genlab.sweep import tuning

        if search:
            searcher: Any = searching.Search(self.plan, self.records, unfinished, self.begin, self.stopped, self.append)
            scheduler = searching.scheduler(self.plan, self.records)
        else:
            searcher, scheduler = searching.Confirmation(unfinished, self.begin, self.stopped), None
        tuning.fit(self, searcher, scheduler, count)

    def _confirm(self) -> None:
        """Train the best settings again on fresh seeds; only there are the test data read."""
        plan = self.plan
        if not plan.confirm or self.why:
            return
        searched = [trial for trial in self.records.trials.values() if not trial.confirms]
        completed = [trial for trial in rank(searched, plan.sweep.mode) if trial.ends == "completed"]
        for trial in completed[: plan.confirm]:
            name = f"{CONFIRMS}{trial.name}"
            if name not in self.records.trials:
                config = {**trial.config, "seed": trial.config["seed"] + plan.seeds}
                self.append(
                    "trial",
                    trial=name,
                    settings=dict(trial.settings),
                    config=config,
                    distributions=dict(trial.distributions),
                )
        self._fit(search=False)
