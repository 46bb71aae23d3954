"""What a trial costs beside its training: the stock pattern (a Train run inside every Tune trial), and lanes.

Both sides train the same trivial trial one at a time: a Linear(10, 1) under DDP on two workers of one thread, Adam, two
steps and one report an epoch, settings from Optuna. The lanes keep all that a sweep keeps: a checkpoint and a record of
every epoch, and MLflow. The stock side keeps nothing, and reports as often as it can. Each has a Ray of its own.

uv run benchmarks/trial_overhead.py
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
from typing import NamedTuple

import tyro

from genlab.tracking.address import own_database
from genlab.tracking.events import EpochDone
from genlab.tracking.records import Records
from genlab.tracking.server import quiet_mlflow
from genlab.tracking.storage import Storage

SIDES = Path(__file__).resolve().parent / "sides"
WORKERS, STEPS = 2, 2
METRIC = "loss/line"
PACKAGES = ("torch", "ray", "optuna", "mlflow")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Time the same trivial two-worker trial in the stock pattern and on lanes; prints one JSON line."""

    trials: int = 30
    """On the lanes."""
    stock_trials: int = 3
    """In the stock pattern, half a minute each on two cores."""
    epochs: int = 5
    """Of every trial, on both sides; each reports once."""

    def __post_init__(self) -> None:
        if min(self.trials, self.stock_trials) < 2:
            raise ValueError("seconds per trial are taken between two results: at least 2 trials a side")


class Side(NamedTuple):
    """Seconds: from the command until Tune had the first trial's last result, and from there on for every trial."""

    first: float
    per_trial: float


def main(options: Options) -> None:
    """Both sides, one after the other."""
    lanes, in_mlflow = time_lanes(options)  # first: processes that end take time from a start
    stock = time_stock(options)
    result = {
        "benchmark": "trial_overhead",
        "stock_seconds_per_trial": round(stock.per_trial, 3),
        "lanes_seconds_per_trial": round(lanes.per_trial, 3),
        "lanes_seconds_per_trial_in_mlflow": round(in_mlflow, 3),
        "stock_first_trial_seconds": round(stock.first, 2),
        "first_trial_seconds": round(lanes.first, 2),
        "ratio": round(stock.per_trial / lanes.per_trial, 1),
        "trials": options.trials,
        "stock_trials": options.stock_trials,
        "epochs": options.epochs,
        "workers": WORKERS,
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }
    print(json.dumps(result))


def time_stock(options: Options) -> Side:
    """The times are the side's own, taken where Tune hands out a result."""
    with tempfile.TemporaryDirectory(prefix="genlab-benchmark-") as folder:
        began, said = spawn("stock.py", folder, trials=options.stock_trials, epochs=options.epochs, workers=WORKERS)
    results = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    ends = [result["time"] for result in results if result["epoch"] == options.epochs]
    require(len(ends), options.stock_trials, "trials of the stock pattern that reported every epoch")
    require(len(results), options.stock_trials * options.epochs, "reports of the stock pattern")
    return Side(ends[0] - began, (ends[-1] - ends[0]) / (len(ends) - 1))


def time_lanes(options: Options) -> tuple[Side, float]:
    """The times are those of the sweep's events, which the driver commits when Tune has decided on a result; the
    last number is seconds per trial until the sweep's process is gone, which has sent everything to MLflow."""
    with tempfile.TemporaryDirectory(prefix="genlab-benchmark-") as folder:
        began, _ = spawn(
            "lanes.py",
            folder,
            trials=options.trials,
            epochs=options.epochs,
            workers=WORKERS,
            lanes=1,
            cpus_per_worker=1,
            scheduler="fifo",
            storage=folder,
            address="local",
        )
        ended = time.time()
        storage = Storage(folder)
        records = Records.open(storage, Records.sweeps(storage)[0])
        ends = [event.time for event in records.events if isinstance(event, EpochDone) and event.ends == "completed"]
        require(len(ends), options.trials, "trials on lanes that ran to the end")
        reports = sum(len(trial.epochs) for trial in records.trials.values())
        require(reports, options.trials * options.epochs, "reports on lanes")
        check_mlflow(storage, options)
    pauses = len(ends) - 1
    return Side(ends[0] - began, (ends[-1] - ends[0]) / pauses), (ended - ends[0]) / pauses


def check_mlflow(storage: Storage, options: Options) -> None:
    """MLflow holds a child run for every trial, with a point for every epoch and every step."""
    client = quiet_mlflow().MlflowClient(own_database(storage))
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, max_results=10_000)
    children = [run.info.run_id for run in runs if "mlflow.parentRunId" in run.data.tags]
    require(len(children), options.trials, "child runs in MLflow")
    for child in children:
        require(len(client.get_metric_history(child, METRIC)), options.epochs, f"epochs of {child} in MLflow")
        steps = client.get_metric_history(child, f"step/{METRIC}")
        require(len(steps), options.epochs * STEPS, f"steps of {child} in MLflow")


def spawn(script: str, folder: str, **options: str | int) -> tuple[float, str]:
    """Run one side in `folder`: when the command was given, and what it printed."""
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment["CUDA_VISIBLE_DEVICES"] = ""  # both sides on CPUs, wherever this runs
    began = time.time()
    done = subprocess.run(
        [sys.executable, str(SIDES / script), *words], cwd=folder, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{script} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return began, done.stdout


def require(found: int, wanted: int, what: str) -> None:
    """Both sides must have done what they are compared for."""
    if found != wanted:
        sys.exit(f"{what}: {found}, not {wanted}")


if __name__ == "__main__":
    main(tyro.cli(Options))
