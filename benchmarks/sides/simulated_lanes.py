"""A sweep's driver over lanes that train nothing: they speak the mailbox's protocol and answer after so many seconds.

Everything else is the sweep's own: driver, Tune, search, view, events and the mailbox. MLflow hears nothing, and no
summary is made. All lanes are in one process, since one each would not fit into memory here: the mailbox has their
calls, and one caller.

uv run benchmarks/sides/simulated_lanes.py --lanes 50 --trials 150
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import uuid
from collections import Counter
from dataclasses import dataclass
from typing import Any

import psutil
import tyro
from sides.many import Nothing
from sides.memory import peak_mib

from genlab.lanes.cluster import Room, connect
from genlab.lanes.pool import LanePool
from genlab.lanes.worker import BEAT
from genlab.sweep import Sweep, log_uniform
from genlab.sweep import driver as driving
from genlab.sweep.command import manifest
from genlab.sweep.plan import make
from genlab.sweep.run import Run
from genlab.sweep.view import View
from genlab.tracking.events import EpochDone
from genlab.tracking.records import Records
from genlab.tracking.storage import Storage

EVERY = 1.0  # seconds between two looks at the processes


@dataclass(frozen=True, kw_only=True)
class Options:
    """Drive simulated lanes; the last line printed is JSON."""

    storage: str
    lanes: int = 50
    trials: int = 150
    epochs: int = 5
    """Of each trial."""
    seconds: float = 0.0
    """That an epoch takes on its lane."""
    alone: bool = False
    """Each running trial's client in a process of its own."""


class SimulatedLanes:
    """An actor in which all lanes wait for the mailbox, each by calls of its own."""

    def __init__(self, mailbox: Any, count: int, seconds: float) -> None:
        self.mailbox, self.count, self.seconds = mailbox, count, seconds

    async def serve(self) -> None:
        """Until the mailbox sends them home."""
        await asyncio.gather(*(self._lane(number) for number in range(self.count)))

    async def _lane(self, number: int) -> None:
        attempt = uuid.uuid4().hex[:8]
        await self.mailbox.join.remote(number, attempt, 1, [None], "simulated")
        beating = asyncio.create_task(self._beat(number, attempt))
        session = done = outcome = None
        while True:
            request = await self.mailbox.exchange.remote(number, attempt, 0, 1, session, done, outcome)
            if request is None:
                beating.cancel()
                return
            if "again" in request:
                continue
            if "restart" in request:
                raise RuntimeError(f"the mailbox gave lane {number} up")
            await asyncio.sleep(0 if request["trial"] == "prepare" else self.seconds)
            session, done = request["session"], (request["id"], request["ticket"])
            outcome = {"kind": "ok", "value": _trained(request)}

    async def _beat(self, number: int, attempt: str) -> None:
        while True:
            await asyncio.sleep(BEAT)
            await self.mailbox.beat.remote(number, attempt, None)


def _trained(request: dict[str, Any]) -> dict[str, Any]:
    """What a lane answers; the files that it names are not there."""
    trial, epoch = request["trial"], request["epoch"]
    if trial == "prepare":
        return {"files": {}, "data": {}, "metrics": {}}
    files = {name: [f"trials/{trial}/epoch_{epoch:04d}.{name}", 0, "0" * 64] for name in ("report", "state")}
    return {**files, "epoch": epoch, "metrics": {"loss": request["config"]["lr"] / epoch}, "diverged": False}


class SimulatedPool(LanePool):
    """A pool without Ray Train's runs."""

    seconds = 0.0  # an epoch

    def __init__(self, lanes: int, *given: Any) -> None:
        import ray

        super().__init__(0, *given)
        self.lanes = lanes
        actor: Any = ray.remote(SimulatedLanes).options(num_cpus=0, max_concurrency=10_000)
        self.playing = actor.remote(self.mailbox, lanes, self.seconds)
        self.served = self.playing.serve.remote()

    def close(self, timeout: float = 3.0) -> None:
        """Send the lanes home first: nobody else waits for them."""
        import ray

        ray.get(self.mailbox.close.remote())
        ray.wait([self.served], timeout=timeout)
        super().close(timeout)


class Processes:
    """Most processes of this Ray's actors at one time, by the actor's name, and their memory then."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.seen: dict[str, int] = {}
        self.bytes = 0
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()

    def _look(self) -> None:
        while not self.ended.wait(EVERY):
            found: Counter[str] = Counter()
            size = 0
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    name = "".join(process.cmdline()[:1])
                    if name.startswith("ray::") and name not in ("ray::IDLE", "ray::SimulatedLanes.serve"):
                        found[name.removeprefix("ray::").partition(".")[0]] += 1
                        size += process.memory_full_info().pss  # what several share counts once
            if found.total() >= sum(self.seen.values()):
                self.seen, self.bytes = dict(found), size


class Deaf:
    """In the drain's place."""

    def notify(self, n: int) -> None:
        """Nothing: MLflow is not measured here."""


def main(options: Options) -> None:
    """One sweep's search."""
    driving.LanePool = SimulatedPool
    SimulatedPool.seconds = options.seconds
    if options.alone:
        from ray.tune.execution import class_cache, tune_controller  # noqa: F401 - it has its own by now

        del class_cache._ActorClassCache
    connect("local")
    storage = Storage(options.storage)
    sweep = Sweep(
        name="simulated",
        task=Nothing,
        metric="loss",
        space={"lr": log_uniform(1e-4, 1e-1)},
        settings={"epochs": options.epochs},
        trials=options.trials,
    )
    plan = make(sweep, {"lanes": options.lanes}, None)
    records = Records.create(storage, manifest(plan, None))
    drain: Any = Deaf()
    run = Run(plan, records, storage, drain, View(plan, records))
    processes = Processes()
    driving.Driver(run).execute(Room(options.lanes, {"CPU": 1}, 180.0), None, {})
    processes.ended.set()
    times = [event.time for event in records.events if isinstance(event, EpochDone)]
    tenth = len(times) // 10  # at the start lanes come up one by one, at the end they have nothing left to do
    rate = (len(times) - 2 * tenth - 1) / (times[-tenth - 1] - times[tenth])
    ended = sum(trial.ends is not None for trial in records.trials.values())
    found = {
        "trials_ended": ended,
        "epochs": len(times),
        "epochs_per_second": round(rate, 2),
        "processes": processes.seen,
        "processes_mib": round(processes.bytes / 2**20),
        "driver_peak_mib": peak_mib(),
        "driver_cpu_ms_per_epoch": round(sum(psutil.Process().cpu_times()[:2]) / len(times) * 1000, 1),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(tyro.cli(Options))
