"""One life of a sweep's driver: lanes up, what was cut off first, then the search, then what confirms it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Mapping
from typing import Any

import ray
from ray.exceptions import RaySystemError

from genlab.data import kind_of
from genlab.errors import GenlabError
from genlab.lanes.calls import ask, call
from genlab.lanes.client import packed
from genlab.lanes.cluster import Room
from genlab.lanes.loading import pickled
from genlab.lanes.pool import LanePool
from genlab.lanes.worker import LaneSettings
from genlab.sweep.repair import repair
from genlab.sweep.run import Run
from genlab.tasks.fields import as_dict
from genlab.tracking.records import CONFIRMS, TrialRecord, rank

SWEPT = 30.0  # seconds that the deletion of states may take at the end; a resume looks for what is left
DATA = ("GENLAB_DATA", "GENLAB_CACHE")  # folders that lanes use as the driver does


WHERE = "--data-root FOLDER, --dataset image_folder:FOLDER"  # how it is said where data lie


class Stop(Exception):
    """The sweep ends before its time; it can be resumed."""


class Driver:
    """Drives a run: brings up its lanes, prepares, searches, confirms, and watches over all that."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.refused: str | None = None  # it could not even begin
        self.prepared = threading.Event()
        self.files: dict[str, str] = {}  # what is prepared, by the key of its source
        self.lost: dict[int, str] = {}  # lanes that do not come up, and why
        self.hearing = threading.Lock()  # what is heard is shown before anybody hears more
        self.ended = threading.Event()

    def execute(self, room: Room, data_root: str | None, news: Mapping[str, Any]) -> None:
        """Run until all trials have ended, or `stop`. `news` of a resume (options, code) are remembered unless it is
        refused.

        Raises:
            GenlabError: what must be prepared could not be, or the data are not those of before.
            Stop: it ended before its time.
        """
        run, plan = self.run, self.run.plan
        settings = LaneSettings(
            lane=0,
            mailbox=None,
            code=pickled(plan.kind, plan.task),
            script=plan.script,
            storage=run.storage.url,
            folder=run.records.name,
            data_root=data_root,
            environment={
                name: os.path.abspath(os.path.expanduser(os.environ[name])) for name in DATA if name in os.environ
            },
            threads=int(room.resources["CPU"]),
            epoch_deadline=plan.sweep.epoch_deadline,
            working_folder=os.getcwd(),
        )
        run.pool = LanePool(room.lanes, plan.workers, room.resources, settings, room.patience)
        threads = [
            threading.Thread(target=work, daemon=True, name=work.__name__)
            for work in (self._prepare, self._watch, self._sweep_away)
        ]
        try:
            for thread in threads:
                thread.start()
            if news or run.records.data() is not None:  # a resume that is refused must have changed nothing
                self.wait_until_prepared()
            if news and not self.refused:
                run.records.append("start", **{"options": {}, **news})
                if again := news.get("retry"):
                    run.view.say(f"trying again what failed: {', '.join(again)}")
                for name in news.get("changed", ()):
                    run.view.say(f"{name} is another one than before: it trains what follows, as the records now say")
            repair(run)
            self._fit(search=True)
            self._confirm()
        finally:
            self.ended.set()
            run.settle()
            run.doomed.put(None)
            threads[-1].join(SWEPT)  # until the states that nothing needs are deleted
            with contextlib.suppress(Exception):  # what was printed last; a Ray that is gone has nothing to tell
                self._hear(timeout=5)
            run.pool.close()
        if self.refused:
            raise GenlabError(self.refused)
        if run.why:
            raise Stop(run.why)

    # ---- in threads of their own

    def _prepare(self) -> None:
        """One lane builds what all trials need; they wait at the mailbox meanwhile."""
        run = self.run
        request = {
            "id": "prepare@/0",
            "session": "prepare@",
            "trial": "prepare",
            "epoch": 0,
            "script": run.plan.script_digest(),
            "configs": [as_dict(config) for config in run.plan.to_prepare()],
        }
        try:
            (answer,) = ask(run.pool.mailbox, [request])
            kind, value = answer["kind"], answer["value"]
            with contextlib.suppress(Exception):  # of a Ray that is gone `call` tells
                self._hear(timeout=10)  # what was prepared is told before the first trial's line
            if kind == "ok":
                self._check_data(value)
                self.files = value["files"]
                call(run.pool.mailbox.go, self.files)
                self.prepared.set()
                return
            if kind in ("error", "lost"):
                self.refused = f"what the trials need could not be prepared: {value}"
                if run.records.data() is not None:
                    self.refused += f"\nIf the data have been moved, say where they lie now: {WHERE}"
            run.stop(self.refused or str(value))
        except GenlabError as error:
            self.refused = str(error)
        except Exception as error:  # Ray is gone
            self.refused = f"what the trials need could not be prepared: {error}"
        run.stop(self.refused or "cut")
        self.prepared.set()

    def wait_until_prepared(self) -> None:
        """Until that is done, or the sweep stops."""
        while not (self.prepared.wait(0.2) or self.run.why):
            continue

    def _check_data(self, prepared: dict[str, Any]) -> None:
        known, data = self.run.records.data(), prepared["data"]
        if known is None:
            self.run.append("data", description=data, prepared=prepared["metrics"])
        elif changed := [name for name in {*known, *data} if _what(known.get(name)) != _what(data.get(name))]:
            raise GenlabError(
                f"the data are not those that the sweep began with ({', '.join(sorted(changed))}): "
                f"{known} then, {data} now. Resume with the data of then, wherever they lie now ({WHERE}), or start a "
                "new sweep"
            )

    def _watch(self) -> None:
        """Tell a mailbox that was started again what it must know; notice lanes that do not come up."""
        run = self.run
        while not self.ended.wait(1.0):
            try:
                seen = self._hear()
                if run.pool.problem:
                    run.stop(run.pool.problem)
                if seen["cut"] and not run.why:
                    run.why = seen["cut"]
                if run.why and not seen["cut"]:
                    run.pool.mailbox.cut.remote(run.why)
                if self.prepared.is_set() and not run.why and not seen["ready"]:
                    run.pool.mailbox.go.remote(self.files)
            except Exception as error:  # the whole Ray is gone: nothing will ever answer
                if not ray.is_initialized() or isinstance(error, RaySystemError):
                    run.why = run.why or f"Ray is gone: {error}"
                    return

    def _hear(self, timeout: float = 60.0) -> Mapping[str, Any]:
        """Show what lanes have to say, what tasks printed there, and which lanes do not come up. Returns what the pool
        sees.

        Raises:
            TimeoutError: another thread hears, and gets no answer.
            Exception: whatever Ray raises.
        """
        if not self.hearing.acquire(timeout=timeout):
            raise TimeoutError(f"the mailbox has not answered for {timeout:.0f} s")
        try:
            seen = self.run.pool.look(timeout)
            view, lost = self.run.view, dict(seen["lost"])
            for note in seen["notes"]:
                view.say(note)
            for lane in sorted(lost.keys() - self.lost.keys()):
                view.say(f"lane {lane} does not come up: {lost[lane]}; the others go on, and it is tried again")
            for lane in sorted(self.lost.keys() - lost.keys()):
                view.say(f"lane {lane} is up again")
            self.lost = lost
            view.lanes_up(sum(map(bool, seen["lanes"].values())), self.run.pool.lanes, lost)
            return seen
        finally:
            self.hearing.release()

    def _sweep_away(self) -> None:
        """Delete states that nothing needs any more."""
        while (path := self.run.doomed.get()) is not None:
            with contextlib.suppress(GenlabError):  # it lies there until a resume looks for orphans
                self.run.records.storage.delete(path)

    # ---- phases

    def _fit(self, search: bool) -> None:
        """Let Tune run the search, or the trials that confirm it."""
        run = self.run
        unfinished = [t for t in run.records.trials.values() if t.confirms != search and t.ends is None]
        known = sum(not trial.confirms for trial in run.records.trials.values())
        count = len(unfinished) + (max(0, run.plan.trials - known) if search else 0)
        if count == 0 or run.why:
            return
        from genlab.sweep import search as searching
        from genlab.sweep import tuning

        def begin(record: TrialRecord) -> dict[str, Any]:
            return packed(run.begin(record))

        if search:
            searcher: Any = searching.Search(run.plan, run.records, unfinished, begin, run.stopped, run.append)
            scheduler = searching.scheduler(run.plan, run.records)
        else:
            searcher, scheduler = searching.Confirmation(unfinished, begin, run.stopped), None
        tuning.fit(run, searcher, scheduler, count)

    def _confirm(self) -> None:
        """Train the best settings again on fresh seeds; only there are the test data read."""
        run, plan = self.run, self.run.plan
        if not plan.confirm or run.why:
            return
        searched = [trial for trial in run.records.trials.values() if not trial.confirms]
        completed = [trial for trial in rank(searched, plan.sweep.mode) if trial.ends == "completed"]
        for trial in completed[: plan.confirm]:
            name = f"{CONFIRMS}{trial.name}"
            if name not in run.records.trials:
                config = {**trial.config, "seed": int(str(trial.config["seed"])) + plan.seeds}
                run.append(
                    "trial",
                    trial=name,
                    settings=dict(trial.settings),
                    config=config,
                    distributions=dict(trial.distributions),
                )
        self._fit(search=False)


def _what(descriptions: Any) -> Any:
    """What the data sets of a stream are, but for where they lie."""
    if not isinstance(descriptions, list):
        return descriptions
    described = [one if isinstance(one, dict) else {"": one} for one in descriptions]
    return [{**one, "name": kind_of(str(one.get("name", "")))} for one in described]
