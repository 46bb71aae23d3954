"""What each use of a name of Ray's that is not its interface is worth: seconds with it, and without it.

A sweep of trivial two-worker trials (`sides/lanes.py`) is run with all parts of `genlab/lanes/ray_parts`, and with one
of them taken out of a copy of the library; in each round all of them, one after the other. Each sweep has a Ray of its
own. Counted are `first`, the seconds from the command until the first trial's end is recorded; `whole`, those until the
command ends; and, where they were most, Ray's `processes` and the `memory` that each has to itself, in MiB together.

uv run benchmarks/ray_parts.py
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import psutil
import tyro

from genlab.tracking.events import EpochDone
from genlab.tracking.records import Records
from genlab.tracking.storage import Storage

BENCHMARKS = Path(__file__).resolve().parent
ROOM = "genlab/lanes/ray_parts"
START, TRAIN, TUNE = f"{ROOM}/start.py", f"{ROOM}/train.py", f"{ROOM}/tune.py"
PARTS: dict[str, tuple[str, str, str]] = {
    "no dashboard": (START, '"start_api_server", ', ""),
    "dashboard's packages are not looked for": (
        START,
        'names.absent("ray.dashboard.optional_deps")',
        "contextlib.nullcontext()",
    ),
    "no autoscaler": (START, '"start_monitor", ', ""),
    "no reader of logs": (START, ', "start_log_monitor"', ""),
    "on the loopback": (START, 'if hasattr(constants, "ENABLE_RAY_CLUSTER"):', "if False:"),
    "all of Ray Train's": (TRAIN, "return _lean_run() if all(", "return None if any("),
    "no coordinator of resources": (
        TRAIN,
        'parts["scaling_policy"] = Policy(scaling_config=self.scaling_config)',
        "pass",
    ),
    "no callbacks without use": (TRAIN, "if type(one).__name__ not in UNUSED_CALLBACKS", ""),
    "settings without a runtime environment": (
        TRAIN,
        "get_env_vars_to_propagate()}",
        "get_env_vars_to_propagate() | SETTINGS}",
    ),
    "torch at once": (TRAIN, 'importlib.import_module("torch")', "pass"),
    "clients in one process": (TUNE, 'if not hasattr(cache, "get"):', "if True:"),
    "Tune's state once": (TUNE, "if save is None or", "if save or"),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Time a small sweep without each private part of Ray in turn; prints one JSON line."""

    rounds: int = 5
    """In each, every part is left out once."""
    lanes: int = 1
    """Of two workers each, on one CPU a worker."""
    trials: int = 2
    """In a sweep."""
    only: tuple[str, ...] = ()
    """These parts; all, if none is named."""

    def __post_init__(self) -> None:
        if unknown := set(self.only) - set(PARTS):
            raise ValueError(f"no such parts: {', '.join(sorted(unknown))}; there are: {', '.join(PARTS)}")


@dataclass(frozen=True)
class Sweep:
    """What one took: seconds, and processes of Ray's at their most with their own MiB then."""

    first: float
    whole: float
    processes: int
    memory: float


NUMBERS = tuple(field.name for field in fields(Sweep))


def main(options: Options) -> None:
    """All rounds, after one that does not count (in it each copy is compiled); what a part is worth is the median over
    rounds of the difference within one."""
    chosen = options.only or tuple(PARTS)
    rounds: list[dict[str, Sweep]] = []
    with tempfile.TemporaryDirectory(prefix="genlab-benchmark-") as folder:
        roots = {name: without(name, Path(folder) / str(i)) for i, name in enumerate(("", *chosen))}
        for number in range(options.rounds + 1):
            order = list(roots)[:: -1 if number % 2 else 1]  # no side always comes first
            rounds.append({name: sweep(roots[name], options) for name in order})
            print(f"round {number} of {options.rounds}", file=sys.stderr)
    del rounds[0]

    def medians(of: Callable[[dict[str, Sweep], str], float]) -> dict[str, float]:
        return {number: round(statistics.median(of(one, number) for one in rounds), 2) for number in NUMBERS}

    def more_without(name: str) -> dict[str, float]:
        return medians(lambda one, number: getattr(one[name], number) - getattr(one[""], number))

    result = {
        "benchmark": "ray_parts",
        "all_parts": medians(lambda one, number: getattr(one[""], number)),
        "more_without": {name: more_without(name) for name in chosen},
        "rounds": options.rounds,
        "lanes": options.lanes,
        "trials": options.trials,
        "cpus": os.cpu_count(),
    }
    print(json.dumps(result))


def without(name: str, root: Path) -> Path:
    """A copy of the library in which this part does nothing; of all of it, if the name is empty."""
    shutil.copytree(BENCHMARKS.parent / "genlab", root / "genlab", ignore=shutil.ignore_patterns("__pycache__"))
    if name:
        path, own, other = PARTS[name]
        text = (root / path).read_text()
        if text.count(own) != 1:
            sys.exit(f"{path} has this {text.count(own)} times, not once: {own}")
        (root / path).write_text(text.replace(own, other))
    return root


def sweep(root: Path, options: Options) -> Sweep:
    """A sweep with the library at `root`."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment |= {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(root)}
    with tempfile.TemporaryDirectory(prefix="genlab-benchmark-") as folder:
        words = f"--trials {options.trials} --lanes {options.lanes} --workers 2 --cpus-per-worker 1 --scheduler fifo"
        command = [sys.executable, str(BENCHMARKS / "sides" / "lanes.py"), *words.split(), "--address", "local"]
        began = time.time()
        with subprocess.Popen(
            [*command, "--storage", folder],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            most = [(0, 0.0)]
            watching = threading.Thread(target=_watch, args=(process, most))
            watching.start()
            said, _ = process.communicate()
            ended = time.time()
            watching.join()
        if process.returncode:
            sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{said[-4000:]}")
        storage = Storage(folder)
        records = Records.open(storage, Records.sweeps(storage)[0])
        ends = [event.time for event in records.events if isinstance(event, EpochDone) and event.ends == "completed"]
        first = ends[0]
    return Sweep(first - began, ended - began, *max(most))


def _watch(process: subprocess.Popen[str], most: list[tuple[int, float]]) -> None:
    """Note processes below it that are Ray's, and their MiB, once a second."""
    while process.poll() is None:
        memory = []
        try:
            for child in psutil.Process(process.pid).children(recursive=True):
                if any("ray" in word for word in child.cmdline()[:3]):
                    memory.append(child.memory_full_info().uss / 2**20)
        except psutil.Error:
            continue
        most.append((len(memory), sum(memory)))
        time.sleep(1)


if __name__ == "__main__":
    main(tyro.cli(Options))
