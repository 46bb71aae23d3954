"""What grows with the number of trials, and what with the number of lanes.

First a sweep of many one-epoch trials of a task that trains nothing, on two lanes of one CPU each, with all that a
sweep keeps: records, states, MLflow. Then it is resumed for a few trials more. Then a sweep's driver over lanes that
are simulated (`sides/simulated_lanes.py`): no torch, one process for all of them, events in a store of 30 ms a call,
no MLflow. The same on a few lanes, with clients in one process and in one each.

uv run benchmarks/many_trials.py
uv run benchmarks/many_trials.py --trials 10000
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from sides import slow_files

from genlab.tracking.address import own_database
from genlab.tracking.events import EpochDone
from genlab.tracking.records import Records
from genlab.tracking.replay import replay
from genlab.tracking.server import quiet_mlflow
from genlab.tracking.storage import Storage

ROOT = Path(__file__).resolve().parent
LANES = 2  # that are real
MORE = 4  # trials, on resume
NEEDED = 10.0  # epochs a second: 200 lanes, 20 s an epoch
GOALS = {1000: 1.15, 10_000: 2.0}  # seconds of one of the last hundred trials over one of the first
PACKAGES = ("torch", "ray", "optuna", "mlflow")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Time many trials, and many simulated lanes; prints a table and one JSON line."""

    trials: int = 1000
    """On real lanes, of one epoch each; 0: none."""
    simulated_lanes: int = 200
    """0: none."""
    simulated_trials: int = 1000
    """Of five epochs at most, on simulated lanes."""
    seconds_per_epoch: float = 0.0
    """On a simulated lane; 0: it answers at once."""
    latency: float = 0.03
    """Seconds that each call of the simulated lanes' store takes."""
    alone_lanes: int = 10
    """Simulated lanes with which clients in one process and clients in one each are compared; 0: no comparison."""

    def __post_init__(self) -> None:
        if 0 < self.trials < 20:
            raise ValueError("--trials: the first trials are compared with the last ones, so at least 20")


def main(options: Options) -> None:
    """One part after the other."""
    found: dict[str, Any] = {}
    if options.trials:
        found["trials"] = many_trials(options.trials)
    if options.simulated_lanes:
        seconds = options.seconds_per_epoch
        found["lanes"] = simulated(options.simulated_lanes, options.simulated_trials, seconds, options.latency)
    if options.alone_lanes:
        lanes = options.alone_lanes  # an epoch takes a second, so that no lane waits for its trial's process for long
        found["shared"], found["alone"] = (
            simulated(lanes, 3 * lanes, 1.0, 0.0, words) for words in ("--no-alone", "--alone")
        )
    show(found)
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    print(json.dumps({"benchmark": "many_trials", **found, "needed": NEEDED, "cpus": cpus, "versions": versions}))


def many_trials(count: int) -> dict[str, Any]:
    """Seconds a trial and how they grow, the driver's memory, seconds until MLflow has all, and seconds from a command
    to its sweep's first result: of a new one, which waits for lanes, and of one that is resumed.

    The times are those of the sweep's events, which the driver commits when Tune has decided on a result.
    """
    with tempfile.TemporaryDirectory(prefix="genlab-benchmark-") as folder:
        words = ["--lanes", LANES, "--cpus-per-worker", 1, "--scheduler", "fifo", "--storage", folder]
        words += ["--address", "local"]
        began, said = spawn("many.py", "--trials", count, *words)
        storage = Storage(folder)
        records = Records.open(storage, Records.sweeps(storage)[0])
        ends = [event.time for event in records.events if isinstance(event, EpochDone) and event.ends == "completed"]
        require(len(ends), count, "trials that ran to the end")
        sent = until_in_mlflow(storage, records.name, count)
        resumed, _ = spawn("many.py", "--trials", count + MORE, "--resume", records.name, *words)
        records = Records.open(storage, records.name)
        require(len(records.trials), count + MORE, "trials with those of the resumed sweep")
        again = list(records.trials.values())[count].time
        ended = [event.time for event in records.events if isinstance(event, EpochDone) and event.ends]
        result = min(time for time in ended if time > again)
    hundred = min(100, count // 2 - 1)
    first, last = (ends[hundred] - ends[0]) / hundred, (ends[-1] - ends[-1 - hundred]) / hundred
    return {
        "trials": count,
        "first_seconds_per_trial": round(first, 4),
        "last_seconds_per_trial": round(last, 4),
        "ratio": round(last / first, 2),
        "goal": GOALS.get(count),
        "driver_peak_mib": found_in(said)["peak_mib"],
        "seconds_until_in_mlflow": round(sent - ends[-1], 1),
        "first_result_after_seconds": round(ends[0] - began, 1),
        "resumed_first_trial_begins_after_seconds": round(again - resumed, 1),
        "resumed_first_result_after_seconds": round(result - resumed, 1),
    }


def until_in_mlflow(storage: Storage, sweep: str, count: int) -> float:
    """When MLflow holds a child run for every trial, with its point. A sweep that ends has sent what it could in half a
    minute; the rest is sent as its closing lines say."""
    if in_mlflow(storage) < count:
        (done,) = replay(storage.url, sweep)
        if done.left:
            sys.exit(f"{done.left} events of {sweep} are not in MLflow: {done.problem}")
    now = time.time()
    require(in_mlflow(storage), count, "trials in MLflow")
    return now


def in_mlflow(storage: Storage) -> int:
    """How many trials have a point of their loss there."""
    client = quiet_mlflow().MlflowClient(own_database(storage))
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found, token = 0, None
    while token != "":
        runs = client.search_runs(experiments, max_results=1000, page_token=token)
        found += sum("mlflow.parentRunId" in run.data.tags and "loss" in run.data.metrics for run in runs)
        token = runs.token or ""
    return found


def simulated(lanes: int, trials: int, seconds: float, latency: float, *words: str) -> dict[str, Any]:
    """What a driver and a mailbox do for so many lanes."""
    with tempfile.TemporaryDirectory(prefix="genlab-benchmark-") as folder:
        environment, where = {}, f"{folder}/store"
        if latency:
            environment, where = slow_files.install(Path(folder) / "known", latency), f"slow://{folder}/store"
        counts = ["--lanes", lanes, "--trials", trials, "--seconds", seconds]
        _, said = spawn("simulated_lanes.py", *counts, "--storage", where, *words, **environment)
    found = found_in(said)
    require(found["trials_ended"], trials, "trials on simulated lanes that ended")
    return {"lanes": lanes, "seconds_per_epoch": seconds, "storage_seconds_per_call": latency, **found}


def show(found: dict[str, Any]) -> None:
    """A line for each figure."""
    for part, figures in found.items():
        for name, value in figures.items():
            print(f"{part:8} {name.replace('_', ' '):40} {value}")


def spawn(script: str, *words: Any, **environment: str) -> tuple[float, str]:
    """Run one side: when the command was given, and what it printed."""
    own = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    paths = [str(ROOT), *filter(None, [environment.pop("PYTHONPATH", os.environ.get("PYTHONPATH"))])]
    own |= {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(paths), **environment}
    began = time.time()
    command = [sys.executable, str(ROOT / "sides" / script), *map(str, words)]
    done = subprocess.run(command, env=own, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{script} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return began, done.stdout


def found_in(said: str) -> dict[str, Any]:
    """The last line of JSON; Ray may have printed something after it."""
    return json.loads([line for line in said.splitlines() if line.startswith("{")][-1])


def require(found: int, wanted: int, what: str) -> None:
    """What is measured must have happened."""
    if found != wanted:
        sys.exit(f"{what}: {found}, not {wanted}")


if __name__ == "__main__":
    main(tyro.cli(Options))
