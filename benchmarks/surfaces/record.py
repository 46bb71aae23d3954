"""Train every setting of a grid and keep the curves, for `benchmarks/search.py` to search without training.

Trials are the real ones of `gan` and `classifier`, one after the other, without Ray. Each ends up as a line of
NAME.lines in a folder of its own, so an interrupted recording goes on where it was; the last line done, all of them
become NAME.json beside this script.

OMP_NUM_THREADS=1 uv run benchmarks/surfaces/record.py classifier_digits
OMP_NUM_THREADS=1 uv run benchmarks/surfaces/record.py gan_digits
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import itertools
import json
import math
import platform
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from genlab.tasks import Context, build, config_class, implementation
from genlab.tracking.storage import Storage
from genlab.training.preparation import prepare, prepared
from genlab.training.trial import Trial

HERE = Path(__file__).resolve().parent
DIGITS = 5  # significant ones, of what is kept


@dataclass(frozen=True)
class Grid:
    """What is recorded: every combination of `numbers` for each of `choices`.

    Attributes:
        settings: what all trials have in common.
        choices: settings of the searched categories, one row a combination that conditions allow.
        conditions: as a sweep's.
        numbers: for each searched number its values, ascending.
        scales: `log` or `linear`, of each of them.
        seeds: how many, whose metrics are averaged as in a sweep with `--seeds`.
    """

    task: str
    metric: str
    mode: str
    settings: Mapping[str, Any]
    choices: list[dict[str, Any]]
    conditions: Mapping[str, Mapping[str, list[Any]]]
    numbers: Mapping[str, list[float]]
    scales: Mapping[str, str]
    seeds: int


def between(low: float, high: float, count: int) -> list[float]:
    """So many numbers from `low` to `high`, each the same multiple of the one before."""
    return [float(f"{low * (high / low) ** (i / (count - 1)):.4g}") for i in range(count)]


GRIDS = {
    # as in sweeps/lsgan.py, with smaller networks and batches
    "gan_digits": Grid(
        task="gan",
        metric="kid",
        mode="min",
        settings={
            "epochs": 5,
            "epoch_steps": 75,
            "reuse_fakes": True,
            "batch_size": 32,
            "ngf": 8,
            "ndf": 8,
            "lr_generator": 1e-3,
            "lr_discriminator": 1e-3,
        },
        choices=[
            {"loss": loss, "normalization": normalization} | ({"spectral_norm": spectral} if spectral else {})
            for loss in ("non_saturating", "least_squares")
            for normalization, spectral in (("batch", ""), ("none", "none"), ("none", "discriminator"))
        ],
        conditions={"spectral_norm": {"normalization": ["none"]}},
        numbers={
            "lr_generator": between(2e-4, 2e-3, 5),
            "lr_discriminator": between(2e-4, 2e-3, 5),
            "beta1": [0.3, 0.7],
        },
        scales={"lr_generator": "log", "lr_discriminator": "log", "beta1": "linear"},
        seeds=1,
    ),
    # the sweep of the README
    "classifier_digits": Grid(
        task="classifier",
        metric="accuracy/clean",
        mode="max",
        settings={"epochs": 5},
        choices=[
            {"batch_size": batch_size, "width": width, "augment": augment}
            for batch_size in (32, 64, 128)
            for width in (16, 32)
            for augment in ("none", "crop_flip")
        ],
        conditions={},
        numbers={"lr": between(1e-4, 1e-2, 9)},
        scales={"lr": "log"},
        seeds=3,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Record one grid; takes five minutes (classifier) or fifty (gan) on one core."""

    name: tyro.conf.Positional[str]
    """classifier_digits or gan_digits."""
    folder: Path = Path("results/surfaces")
    """Where the lines and what trials need lie meanwhile."""


def main(options: Options) -> None:
    """All settings that are not recorded yet, and then the file."""
    grid = GRIDS[options.name]
    options.folder.mkdir(parents=True, exist_ok=True)
    lines = options.folder / f"{options.name}.lines"
    kept = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
    known = {json.dumps(one["settings"]): one["curve"] for one in kept}
    commits = {one["commit"] for one in kept}
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True).stdout.strip()
    wanted = list(settings_of(grid))
    began = time.time()
    for settings in wanted:
        if json.dumps(settings) in known:
            continue
        curve = known[json.dumps(settings)] = train(grid, settings, options.folder)
        commits.add(commit)
        with lines.open("a") as file:
            file.write(json.dumps({"settings": settings, "curve": curve, "commit": commit}) + "\n")
        print(f"{len(known)} of {len(wanted)}, {time.time() - began:.0f} s", flush=True)
    (HERE / f"{options.name}.json").write_text(as_text(options.name, grid, known, commits))


def settings_of(grid: Grid) -> Iterator[dict[str, Any]]:
    """Every setting: those at the ends and in the middle of each range first."""
    points = list(itertools.product(*(range(len(values)) for values in grid.numbers.values())))
    ends = [len(values) - 1 for values in grid.numbers.values()]
    points.sort(key=lambda point: sum(index % 2 and index < end for index, end in zip(point, ends, strict=True)))
    for point in points:
        numbers = {name: values[i] for (name, values), i in zip(grid.numbers.items(), point, strict=True)}
        for row in grid.choices:
            yield {**row, **numbers}


def train(grid: Grid, settings: Mapping[str, Any], folder: Path) -> list[float]:
    """The metric of every epoch, until one that is not finite."""
    kind = config_class(grid.task)
    config = build(kind, {**grid.settings, **settings})
    task, context, storage = implementation(kind), Context(), Storage(str(folder))
    found = prepared(config, prepare(task, [config], context, storage).files, context, storage)
    trial = Trial(task, config, dataclasses.replace(context, prepared=found), replicas=grid.seeds)
    curve: list[float] = []
    for _ in range(config.epochs):
        reports = trial.advance()
        value = sum(report.metrics.get(grid.metric, math.nan) for report in reports) / len(reports)
        if any(report.diverged for report in reports) or not math.isfinite(value):
            break
        curve.append(float(f"{value:.{DIGITS}g}"))
    return curve


def as_text(name: str, grid: Grid, curves: Mapping[str, list[float]], commits: set[str]) -> str:
    """The file: how it came about, and a line for each combination of categories, its curves in the order of the
    grid, the last number running fastest."""
    head = {
        "command": f"OMP_NUM_THREADS=1 uv run benchmarks/surfaces/record.py {name}",
        "commits": sorted(commits),
        "versions": {package: importlib.metadata.version(package) for package in ("torch", "torchmetrics", "numpy")},
        "python": platform.python_version(),
        **{field.name: getattr(grid, field.name) for field in dataclasses.fields(grid) if field.name != "choices"},
    }
    points = list(itertools.product(*grid.numbers.values()))
    tables = []
    for row in grid.choices:
        keys = [json.dumps({**row, **dict(zip(grid.numbers, point, strict=True))}) for point in points]
        tables.append(json.dumps({"choices": row, "curves": [curves[key] for key in keys]}))
    return json.dumps(head, indent=1)[:-2] + ',\n "tables": [\n' + ",\n".join(tables) + "\n ]\n}\n"


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(tyro.cli(Options))
