"""A sweep as one compact JSON record: what was run, on what, and every value that a statement may rest on."""

from __future__ import annotations

import json
import math
import os
import posixpath
import re
import shlex
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from evidence import measures

import genlab
from genlab.errors import GenlabError
from genlab.results import SweepResults, TrialResults
from genlab.tracking.epoch_reports import EpochReport
from genlab.tracking.events import DataSeen
from genlab.tracking.storage import Storage
from genlab.training.checkpoints import Checkpoint, load

FORMAT = 1
DIGITS = 5  # significant ones, of what is kept
POINTS = 60  # of a curve of single steps that are kept, means of blocks
LEFT_OUT = ("sizes/", "images_per_second", "test/sizes/")  # beginnings of the names of metrics that no statement needs
OF_THIS_MACHINE = ("--storage", "--data-root", "--address", "--tracking-uri")  # options that say where, not what
VERSIONS = ("python", "genlab", "torch", "torchvision", "numpy")


def record(folders: Sequence[str], name: str, partial: bool = False) -> dict[str, Any]:
    """What the sweeps in `folders` found, as one record called `name`.

    Args:
        folders: of sweeps whose trials belong together, such as the rows of a grid that were run apart.
        partial: also of sweeps that have not ended; the record says so.

    Raises:
        GenlabError: no folder is named, there is no such sweep, or one has not ended.
    """
    if not folders:
        raise GenlabError("name the folder of a sweep to record")
    sweeps = [genlab.open(folder) for folder in folders]
    for sweep in sweeps:
        if sweep.state != "ended" and not partial:
            raise GenlabError(
                f"{sweep.name} has not ended, it is {sweep.state}: resume it, or record what there is with --partial"
            )
    trials = [(sweep, sweep.trial(one)) for sweep in sweeps for one in sweep.records.trials]
    configs = [{key: portable(value) for key, value in trial.config.items()} for _, trial in trials]
    made = [_trial(sweep, trial, config) for (sweep, trial), config in zip(trials, configs, strict=True)]
    return _as_record(
        name,
        any(sweep.state != "ended" for sweep in sweeps),
        [_sweep(sweep, [one for one in made if one["trial"].startswith(f"{sweep.name}/")]) for sweep in sweeps],
        made,
    )


def together(kept: Mapping[str, Any], added: Mapping[str, Any]) -> dict[str, Any]:
    """One record of the sweeps of two records of the same name; of a sweep that both hold, what `added` says.

    So the commands of one run can be run apart, on other days and machines, when the folders of the first are gone.
    """
    anew = {sweep["sweep"] for sweep in added["sweeps"]}
    trials = [
        {**trial, "settings": {**record["config"], **trial["settings"]}}
        for record in (kept, added)
        for trial in record["trials"]
        if record is added or trial["trial"].rpartition("/")[0] not in anew
    ]
    sweeps = [sweep for sweep in kept["sweeps"] if sweep["sweep"] not in anew]
    return _as_record(added["name"], kept["partial"] or added["partial"], [*sweeps, *added["sweeps"]], trials)


def _as_record(
    name: str, partial: bool, sweeps: Sequence[Mapping[str, Any]], trials: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """With the settings that all trials share told once."""
    configs = [trial["settings"] for trial in trials]
    fields = dict.fromkeys(key for config in configs for key in config)
    common = {
        key: configs[0][key] for key in fields if all(key in own and own[key] == configs[0][key] for own in configs)
    }
    own = [{key: value for key, value in config.items() if key not in common} for config in configs]
    return {
        "format": FORMAT,
        "name": name,
        "partial": partial,
        "sweeps": list(sweeps),
        "config": common,
        "trials": [{**trial, "settings": settings} for trial, settings in zip(trials, own, strict=True)],
    }


def as_text(made: Mapping[str, Any]) -> str:
    """The record as a file: JSON, with lists of numbers on one line."""
    text = json.dumps(made, indent=1, ensure_ascii=False)
    return re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text) + "\n"


def _sweep(sweep: SweepResults, trials: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    environment = sweep.manifest.environment
    return {
        "sweep": sweep.name,
        "command": _command(str(environment.get("command", ""))),
        "commit": environment.get("git_commit"),
        "dirty": {"true": True, "false": False}.get(str(environment.get("git_dirty"))),
        "versions": {key: environment[key] for key in VERSIONS if key in environment},
        "date": time.strftime("%Y-%m-%d", time.gmtime(sweep.manifest.created)),
        "hours": _short(_seconds(trials) / 3600),
        "data": sweep.records.data() or {},
        "prepared": [
            {key: _short(value) for key, value in metrics.items()}
            for event in sweep.records.events
            if isinstance(event, DataSeen)
            for metrics in event.prepared.values()
        ],
        "metric": sweep.metric,
        "mode": sweep.mode,
    }


def _seconds(trials: Sequence[Mapping[str, Any]]) -> float:
    """Of all epochs of all seeds, one after the other: what the lanes worked, whatever ran beside and between."""
    replicas = [replica for trial in trials for replica in trial["seeds"].values()]
    return sum(value or 0.0 for replica in replicas for value in replica["metrics"].get("epoch_seconds", ()))


def _command(typed: str) -> str:
    """As it was typed, without what is true of one machine only."""
    words, kept = shlex.split(typed), []
    while words:
        word = words.pop(0)
        if word in OF_THIS_MACHINE:
            words[:1] = []
        elif not word.startswith(tuple(f"{option}=" for option in OF_THIS_MACHINE)):
            kept.append(portable(word))
    return f"uv run sweeps/{shlex.join(kept)}" if kept else ""


def portable(value: Any) -> Any:
    """A setting without the folders of this machine."""
    if isinstance(value, str) and os.path.isabs(value.rpartition(":")[2]):
        kind, colon, path = value.rpartition(":")
        return f"{kind}{colon}{posixpath.basename(path)}"
    return value


def _trial(sweep: SweepResults, trial: TrialResults, settings: Mapping[str, Any]) -> dict[str, Any]:
    """One trial: by seed the metrics of every epoch, what its curves and images say, and the curves themselves."""
    best = sweep.outcome.best
    reports = [trial.report(epoch) for epoch in sorted(trial.record.epochs)]
    first = reports[0] if reports else None
    seeds = first.seeds if first else ()
    steps = len(next(iter(first.replicas[0].steps.values()), ())) if first else 0
    judge = _judge(sweep, trial)
    return {
        "trial": f"{sweep.name}/{trial.name}",
        "settings": dict(settings),
        "ends": trial.ends,
        "winner": best is not None and trial.confirms == best.name,
        "device": first.host.get("device") if first else None,
        "workers": first.host.get("workers") if first else None,
        "steps_per_epoch": steps,
        "seeds": {str(seed): _replica(reports, i, steps, judge) for i, seed in enumerate(seeds)},
    }


def _replica(reports: Sequence[EpochReport], i: int, steps: int, judge: Any) -> dict[str, Any]:
    replicas = [report.replicas[i] for report in reports]
    by_epoch: list[dict[str, float]] = []
    classes = None
    for replica in replicas:
        own = {key: value for key, value in replica.metrics.items() if not key.startswith(LEFT_OUT)}
        own |= measures.of_images(replica.images)
        if judge is not None and "samples" in replica.images:
            before, classes = classes, _classes(judge, replica.images["samples"])
            if before is not None:
                own["images/class_changed"] = measures.class_changed(classes, before)
        by_epoch.append(own)
    names = dict.fromkeys(name for own in by_epoch for name in own)
    steps_of = dict.fromkeys(name for replica in replicas for name in replica.steps)
    parts = {name: [one.steps[name] for one in replicas if name in one.steps] for name in steps_of}
    curves = {name: np.concatenate(own) for name, own in parts.items()}
    finite = {name: curve for name, curve in curves.items() if len(curve) and np.isfinite(curve).all()}
    thinned = {
        name: measures.block_means(curve, max(1, math.ceil(len(curve) / POINTS))) for name, curve in finite.items()
    }
    return {
        "metrics": {name: [_short(own.get(name, math.nan)) for own in by_epoch] for name in names},
        "measures": {name: _short(value) for name, value in measures.of_curves(finite, steps).items()},
        "curves": {name: [_short(value) for value in curve] for name, curve in thinned.items()},
    }


def _judge(sweep: SweepResults, trial: TrialResults) -> Any:
    """The classifier that judged the trial's images; None where none reads classes of images of their size, or where
    what was prepared does not lie beside the sweep any more."""
    storage = Storage(posixpath.split(sweep.url)[0])
    wanted = {key: trial.config.get(key) for key in ("dataset", "image_size")}
    seen = [event for event in sweep.records.events if isinstance(event, DataSeen)]
    for path in (path for event in seen for path in event.prepared):
        if storage.exists(path):
            checkpoint = Checkpoint.read(storage.where(path))
            if checkpoint.task == "classifier" and wanted == {key: checkpoint.config.get(key) for key in wanted}:
                classes = [description.get("classes") for description in checkpoint.data.values()]
                return load(checkpoint)["classifier"] if all(classes) else None
    return None


def _classes(judge: Any, images: np.ndarray) -> np.ndarray:
    """The class that the judge sees in each of uint8 [N, H, W, C]: int64 [N]."""
    with torch.no_grad():
        return judge(torch.from_numpy(images).movedim(-1, 1).float() / 255).argmax(1).numpy()


def _short(value: float) -> float | None:
    """Rounded; None where it is not finite."""
    return float(f"{float(value):.{DIGITS}g}") if math.isfinite(value) else None
