"""Whole sweeps in this process: lanes and Tune are played, and answer at once; all else is the real thing."""

from __future__ import annotations

import dataclasses
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
import ray.cloudpickle
import torch

from genlab.lanes.calls import ask
from genlab.lanes.client import Client, Result, unpacked
from genlab.lanes.cluster import Room
from genlab.lanes.worker import Rank
from genlab.sweep import Sweep
from genlab.sweep.command import execute
from genlab.sweep.options import Options
from genlab.tasks import Config, Context, CustomTask, Replica, Report, State, implementation
from genlab.tracking.records import Records
from genlab.tracking.storage import Storage

DATA = {"train": "digits"}  # what the tasks' data are; a test may change it


@dataclass(frozen=True, kw_only=True)
class CurveConfig(Config):
    """Says what the loss will be: `level` and an epoch's own part of `curve`; of the test data 100 more."""

    epochs: int = 3
    level: float = 10.0
    curve: tuple[float, ...] = (3.0, 2.0, 1.0)
    nan_at: int = 0
    nan_seed: int = -1  # of the replica that diverges there; -1: of all
    fail_at: int = 0

    def reports(self) -> tuple[str, ...]:
        return ("loss",)


class Curve(CustomTask):
    """Counts its epochs."""

    Config = CurveConfig

    @property
    def data(self) -> Any:
        return {"train": SimpleNamespace(as_json=lambda: DATA["train"])}

    def start(self) -> Replica:
        return CurveReplica(self.config, self.context)


class CurveReplica(Replica):
    """Its state is the seed that it began with, and how many epochs it has seen."""

    def __init__(self, config: Any, context: Context) -> None:
        self.config, self.seen = config, torch.tensor([float(config.seed), 0.0])

    def advance(self, epoch: int) -> Report:
        c = self.config
        if epoch == c.fail_at:
            raise ZeroDivisionError("the curve breaks")
        self.seen[1] += 1
        diverged = epoch == c.nan_at and c.nan_seed in (-1, c.seed)
        return Report({"loss": c.level + c.curve[epoch - 1], "seen": float(self.seen[1])}, diverged=diverged)

    def evaluate(self, split: str) -> Report:
        return Report({"loss": self.config.level + 100})

    def save(self) -> State:
        return State({"seen": self.seen.clone()}, {})

    def load(self, state: State) -> None:
        self.seen = state.tensors["seen"].clone()


def curve_sweep(**changes: Any) -> Sweep:
    """Three settings, trained to the end: levels 10 (the default), 30 and 20."""
    values = {"name": "curve", "task": Curve, "metric": "loss", "grid": [{"level": 30.0}, {"level": 20.0}]}
    return Sweep(**values | changes)


class RankHere(Rank):
    """A rank that leaves the memory of this process alone: walking through all of it takes half a second."""

    def _reclaim(self) -> None:
        pass


class Actor:
    """A stand-in for an actor's handle: calls are done at once, and kept in `told`."""

    def __init__(self, own: Any = None) -> None:
        self.own, self.told = own, []

    def __getattr__(self, name: str) -> Any:
        def remote(*arguments: Any) -> Any:
            self.told.append((name, *arguments))
            return getattr(self.own, name)(*arguments) if hasattr(self.own, name) else None

        return SimpleNamespace(remote=remote)


class Pool:
    """Stands for lanes and their mailbox."""

    def __init__(self, machine: Machine, given: tuple[Any, ...]) -> None:
        self.lanes, self.workers, self.resources, settings, self.deadline = given
        self.machine, self.problem, self.closed = machine, None, False
        self.mailbox: Any = Actor(self)
        self.settings = dataclasses.replace(settings, mailbox=self.mailbox)
        kind, task = ray.cloudpickle.loads(self.settings.code)
        self.rank = RankHere(self.settings, kind, task or implementation(kind), 0, 1, "cpu", f"a{len(machine.pools)}")
        self.serving, self.ready = threading.Lock(), threading.Event()
        self.files: dict[str, str] = {}
        self.notes: deque[str] = deque()  # told in one thread, read in another
        self.cut_by: str | None = None
        self.asked: list[dict[str, Any]] = []

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        while request["trial"] != "prepare" and not self.ready.wait(0.05):
            if self.cut_by is not None:  # the mailbox answers by itself: no lane is asked
                return {"kind": "cut", "value": self.cut_by}
        with self.serving:
            self.asked.append(request)
            if (answer := self.machine.before(request)) is not None:
                return answer
            if self.cut_by is not None:
                return {"kind": "cut", "value": self.cut_by}
            return self.rank.serve({**request, "prepared": self.files})

    def go(self, files: dict[str, str]) -> None:
        self.files = files
        self.ready.set()

    def cut(self, why: str) -> None:
        self.cut_by = why

    def note(self, text: str) -> None:
        self.notes.append(text)

    def look(self, timeout: float = 60.0) -> dict[str, Any]:
        notes = [self.notes.popleft() for _ in range(len(self.notes))]
        return {"notes": notes, "cut": self.cut_by, "ready": True, "lanes": {0: "a"}, "lost": {}, "error": None}

    def close(self) -> None:
        self.closed = True


class Drain:
    """Notes what it is told."""

    problem = page = None

    def __init__(self, records: Records, tracking_uri: str) -> None:
        self.tracking_uri, self.told, self.notes, self.closed = tracking_uri, list[int](), list[str](), False

    def notify(self, n: int) -> None:
        self.told.append(n)

    def close(self) -> int:
        self.closed = True
        return 0


class Elsewhere:
    """In place of a process that loads the task as a lane would: finds nothing wrong."""

    def __init__(self, machine: Any, code: bytes, order: dict[str, Any]) -> None:
        self.machine, self.order, self.stopped = machine, order, False
        machine.tried.append(self)

    def answer(self) -> dict[str, Any]:
        found = {"metrics": {self.order["metric"]: 0.25}, "diverged": False, "few": True}
        return found if self.order["step"] else {}

    def stop(self) -> None:
        self.stopped = True


class Machine:
    """Runs sweeps; keeps what stood for Ray while they ran.

    `before` is called with every request to a lane, and may answer in its place.
    """

    def __init__(self, folder: Path) -> None:
        self.storage = Storage(str(folder))
        self.before: Callable[[dict[str, Any]], dict[str, Any] | None] = lambda request: None
        self.tried: list[Elsewhere] = []
        self.joined: list[str | None] = []
        self.asked_room: list[tuple[Any, ...]] = []
        self.pools: list[Pool] = []
        self.drains: list[Drain] = []
        self.fits: list[tuple[Any, Any, int]] = []

    def run(self, sweep: Sweep, **options: Any) -> int:
        """The exit code."""
        return execute(sweep, Options(storage=self.storage.url, **options), __file__)

    @property
    def records(self) -> Records:
        """Of the latest sweep, as they lie in the storage."""
        return Records.open(self.storage, Records.sweeps(self.storage)[-1])

    def trained(self) -> list[tuple[str, int]]:
        """What the last run asked of lanes: trials and epochs."""
        return [(one["trial"], one["epoch"]) for one in self.pools[-1].asked if one["trial"] != "prepare"]

    def lanes(self, *given: Any) -> Pool:
        self.pools.append(Pool(self, given))
        return self.pools[-1]

    def drain(self, *given: Any) -> Drain:
        self.drains.append(Drain(*given))
        return self.drains[-1]

    def room(self, *asked: Any) -> Room:
        self.asked_room.append(asked)
        return Room(2, {"CPU": 3}, 77.0)

    def fit(self, run: Any, searcher: Any, scheduler: Any, count: int) -> None:
        """What Tune does, one trial after the other."""
        self.fits.append((searcher, scheduler, count))
        for number in range(count):
            config = searcher.suggest(f"tune-{number}")
            if not isinstance(config, dict):
                return
            last: Result | None = None
            trial: Any = SimpleNamespace(trial_id=f"tune-{number}", config=config)
            if scheduler is not None:
                scheduler.on_trial_add(None, trial)
            done = False
            while not (done or run.stopped()):
                client = Client(config["begun"], last)
                (answer,) = ask(run.pool.mailbox, [client.request()])
                last = result = client.result(answer)
                if not result["done"] and scheduler is not None:
                    result["done"] = scheduler.on_trial_result(None, trial, result) == "STOP"
                done = result["done"]
                run.commit(config["trial"], unpacked(result))


def at(trial: str, epoch: int, act: Any) -> Any:
    """For a machine's `before`: calls `act` when this is asked, which may answer."""
    return lambda request: act() if (request["trial"], request["epoch"]) == (trial, epoch) else None


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Sweeps into a folder of their own, without Ray."""
    made = Machine(tmp_path / "results")

    def connect(address: str | None) -> bool:
        made.joined.append(address)
        return False

    monkeypatch.setattr("genlab.sweep.command.Elsewhere", partial(Elsewhere, made))
    monkeypatch.setattr("genlab.lanes.cluster.connect", connect)
    monkeypatch.setattr("genlab.lanes.cluster.room", made.room)
    monkeypatch.setattr("genlab.lanes.cluster.check_storage", lambda given: None)
    monkeypatch.setattr("genlab.sweep.driver.LanePool", made.lanes)
    monkeypatch.setattr("genlab.sweep.tuning.fit", made.fit)
    monkeypatch.setattr("genlab.tracking.drain.Drain", made.drain)
    monkeypatch.setattr(ray, "get", lambda answer, **_: answer)
    return made
