"""Stands for Ray Tune where trials need not be trained: a search and its scheduler are told what `curve` says."""

from __future__ import annotations

import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from genlab.lanes.client import OBJECTIVE
from genlab.sweep.plan import Plan
from genlab.sweep.search import Search
from genlab.tracking.records import Records, TrialRecord
from genlab.tracking.storage import FileName

END = 10_000  # more events than any sweep here has

Curve = Callable[[TrialRecord, int], "float | str"]  # the objective of an epoch, or another kind of result


def part(trial: str) -> FileName:
    """A file of the trial's, as an event names it; there is none."""
    return FileName(f"trials/{trial}/part", 1, "0")


def begin(record: TrialRecord) -> dict[str, Any]:
    """What a trial's client is given, as far as this stand-in reads it."""
    return {"trial": record.name, "config": dict(record.config)}


def search(plan: Plan, records: Records) -> Search:
    """The search of a sweep's next life."""
    unfinished = [trial for trial in records.trials.values() if trial.ends is None and not trial.confirms]
    return Search(plan, records, unfinished, begin, lambda: False, records.append)


def from_the_setting(record: TrialRecord, epoch: int) -> float:
    """A falling curve that follows from the setting alone."""
    return record.settings["lr"] * 100 + 1 / epoch


def play(
    plan: Plan,
    records: Records,
    scheduler: Any,
    searcher: Search,
    until: int = END,
    seed: int = 0,
    lanes: int = 3,
    curve: Curve = from_the_setting,
) -> None:
    """So many trials at a time as there are lanes, advanced in random order, until `until` events are there."""
    chance = random.Random(seed)
    live: dict[str, Any] = {}
    while len(records.events) < until:
        while len(live) < lanes:
            tune_id = f"tune-{seed}-{len(searcher.asked)}-{chance.random()}"
            config = searcher.suggest(tune_id)
            if not isinstance(config, dict):
                break
            trial = SimpleNamespace(trial_id=tune_id, config=config)
            scheduler.on_trial_add(None, trial)
            live[tune_id] = trial
        if not live:
            return
        trial = live[chance.choice(sorted(live))]
        record = records.trials[trial.config["trial"]]
        epoch, epochs = record.last.epoch + 1 if record.last else 1, record.config["epochs"]
        value = curve(record, epoch)
        kind, objective = (value, 0.0) if isinstance(value, str) else ("ok", value)
        done = kind != "ok" or epoch >= epochs
        result = {"kind": kind, "epoch": epoch, "epochs": epochs, OBJECTIVE: objective, "done": done}
        stop = done or scheduler.on_trial_result(None, trial, result) == "STOP"
        if not stop:
            searcher.on_trial_result(trial.trial_id, result)
        commit(records, record.name, epoch, value, ("completed" if epoch >= epochs else "pruned") if stop else None)
        if stop:
            scheduler.on_trial_complete(None, trial, result)
            searcher.on_trial_complete(trial.trial_id, result)
            del live[trial.trial_id]


def commit(records: Records, name: str, epoch: int, value: float | str, ends: str | None = None) -> None:
    """The event of an epoch, as the driver writes it; a cut leaves none."""
    if value == "error":
        records.append("error", trial=name, epoch=epoch, traceback="ZeroDivisionError")
    elif value == "diverged":
        records.append("epoch", trial=name, epoch=epoch, report=part(name), state=None, objective=None, ends="diverged")
    elif value != "cut":
        records.append(
            "epoch", trial=name, epoch=epoch, report=part(name), state=part(name), objective=value, ends=ends
        )
