"""How good the best setting is that a search has found after so much training: genlab's, at random, plain Optuna's.

Nothing is trained: the surfaces are grids of real trials with their curves, recorded on digits (`surfaces/record.py`),
and two in closed form with categories and conditions (`surfaces/closed_form.py`); and spaces of a few settings, any
of which may be the best (`surfaces/finite.py`). Our side is what a sweep runs, one trial after the other: plan, search,
ASHA and records, without Ray. Optuna's is `TPESampler()` as shipped, without and with the pruner that it ships with.
All begin with the default setting, so that the search alone is compared; with `--shipped` the others begin as they do
by themselves.

Compared at equal epochs: those of N full trials. Who prunes trains more trials for them. Only a trial that ran to its
end counts. Regret is 0 at the best setting there is and 1 at the mean of random ones. Where there are a few settings,
the table also says how many trials had one that was tried before.

uv run benchmarks/search.py
uv run benchmarks/search.py --repetitions 400 --trials 5 10 20
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import multiprocessing
import os
import statistics
import sys
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple

import optuna
import tyro
from optuna.trial import TrialState
from surfaces import closed_form, finite, recorded
from surfaces.surface import Surface

from genlab.lanes.client import OBJECTIVE, PLACEHOLDER
from genlab.sweep.plan import Plan, make
from genlab.sweep.search import Search, scheduler, suggest
from genlab.tasks.fields import as_dict
from genlab.tracking.events import KINDS, AnyEvent
from genlab.tracking.records import Records, apply
from genlab.tracking.storage import FileName

SIDES = ("genlab", "random", "optuna", "optuna_pruned")
FEW = [surface.name for surface in finite.FINITE]  # surfaces of a few settings
ENDLESS = 1_000_000  # trials, where epochs are what ends a search
LONG = 100  # trials from which a budget is a long one


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare searches on surfaces that are known; prints a table and one JSON line."""

    repetitions: int = 100
    """Of every search, each with a seed of its own."""
    long_repetitions: int = 30
    """Where a search goes on for 100 full trials or more, which takes most of the time."""
    trials: tuple[int, ...] = (5, 10, 20, 50, 200)
    """What the searches may spend: the epochs of so many full trials."""
    finite_trials: tuple[int, ...] = (2, 4, 12)
    """The same in spaces of a few settings."""
    shipped: bool = False
    """The others do not begin with the default setting."""
    processes: int = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    """How many repetitions run at once."""

    def __post_init__(self) -> None:
        if min(self.repetitions, self.long_repetitions) < 2:
            raise ValueError("an interval takes 2 repetitions at least")


class Unwritten(Records):
    """Records that are kept in memory."""

    def __init__(self) -> None:
        self.events, self.trials = [], {}

    def append(self, kind: str, **content: Any) -> AnyEvent:
        event = KINDS[kind](n=len(self.events) + 1, time=0.0, **content)
        self.events.append(event)
        apply(self.trials, event)
        return event


class Found(NamedTuple):
    """What a search came to.

    Attributes:
        regret: of the best trial that ran to its end; 1 where none did.
        trials: how many ended.
        again: how many of them had a setting that another one had before.
    """

    regret: float
    trials: int
    again: int


class Spent:
    """What a search has spent so far, and the best it has found for it."""

    def __init__(self, surface: Surface) -> None:
        self.surface, self.epochs = surface, 0
        self.best: float | None = None
        self.steps: list[tuple[int, float]] = []  # epochs so far and regret, after every trial
        self.settings: list[tuple[Any, ...]] = []  # of each trial: the values of the fields that are searched

    def trial(self, config: Mapping[str, Any], epochs: int, final: float | None) -> None:
        """One more trial trained so long; `final` where it ran to its end."""
        self.epochs += epochs
        if final is not None:
            better = min if self.surface.sweep.mode == "min" else max
            self.best = final if self.best is None else better(self.best, final)
        self.steps.append((self.epochs, self.surface.regret(self.best)))
        self.settings.append(tuple(config[name] for name in self.surface.sweep.space))

    def at(self, epochs: int) -> Found:
        """What it had come to once so many epochs were spent."""
        within = [regret for spent, regret in self.steps if spent <= epochs]
        again = len(within) - len(set(self.settings[: len(within)]))
        return Found(within[-1] if within else 1.0, len(within), again)


@cache
def surfaces() -> dict[str, Surface]:
    """All of them, by name."""
    known = [
        recorded.load("gan_digits"),
        recorded.load("classifier_digits"),
        closed_form.OPTIMIZER,
        closed_form.NETWORK,
        *finite.FINITE,
    ]
    return {surface.name: surface for surface in known}


def budgets(options: Options) -> list[tuple[str, int]]:
    """Each surface with what the searches may spend there, in trials, in the order of the table."""
    endless = [(name, trials) for trials in options.trials for name in surfaces() if name not in FEW]
    return endless + [(name, trials) for name in FEW for trials in options.finite_trials]


def ours(surface: Surface, plan: Plan, epochs: int) -> Spent:
    """What Ray Tune and the driver do, with a single lane that answers from the surface."""
    spent, records = Spent(surface), Unwritten()

    def begin(record: Any) -> dict[str, Any]:
        return {"trial": record.name, "config": dict(record.config)}

    search = Search(plan, records, [], begin, lambda: spent.epochs >= epochs, records.append)
    asha = scheduler(plan, records)
    controller: Any = None
    while isinstance(config := search.suggest(name := str(len(spent.steps))), dict):
        trial: Any = SimpleNamespace(trial_id=name, config=config)
        asha.on_trial_add(controller, trial)
        curve, result, ends = surface.curve(config["config"]), {}, None
        while ends is None:
            epoch = result.get("epoch", 0) + 1
            finite = epoch <= len(curve)
            result = {
                "kind": "ok" if finite else "diverged",
                "epoch": epoch,
                "epochs": surface.epochs,
                OBJECTIVE: curve[epoch - 1] if finite else PLACEHOLDER,
                "done": epoch == surface.epochs or not finite,
            }
            if result["done"]:
                ends = "completed" if finite else "diverged"
            elif asha.on_trial_result(controller, trial, result) == "STOP":
                ends = "pruned"
            else:
                search.on_trial_result(name, result)
            objective = result[OBJECTIVE] if finite else None
            none = FileName(f"trials/{config['trial']}/none", 0, "")  # nobody writes it
            records.append(
                "epoch", trial=config["trial"], epoch=epoch, report=none, state=none, objective=objective, ends=ends
            )
        asha.on_trial_complete(controller, trial, result)
        search.on_trial_complete(name, result)
        spent.trial(config["config"], result["epoch"], result[OBJECTIVE] if ends == "completed" else None)
    return spent


def theirs(surface: Surface, plan: Plan, epochs: int, side: str, seed: int, default: bool) -> Spent:
    """Optuna's own loop by ask and tell."""
    spent, common = Spent(surface), as_dict(plan.config({}))
    samplers: Mapping[str, Any] = {"random": optuna.samplers.RandomSampler}
    study = optuna.create_study(
        direction="minimize" if surface.sweep.mode == "min" else "maximize",
        sampler=samplers.get(side, optuna.samplers.TPESampler)(seed=seed),
        pruner=optuna.pruners.MedianPruner() if side == "optuna_pruned" else optuna.pruners.NopPruner(),
    )
    if default:
        study.enqueue_trial(plan.default)
    while spent.epochs < epochs:
        trial = study.ask()
        settings, _ = suggest(trial, plan)
        config = {**common, **settings}
        curve, epoch = surface.curve(config), 0
        for epoch, objective in enumerate(curve, 1):
            trial.report(objective, epoch)
            if epoch < surface.epochs and trial.should_prune():
                break
        if epoch == surface.epochs:
            study.tell(trial, curve[-1])
            spent.trial(config, epoch, curve[-1])
        else:
            study.tell(trial, state=TrialState.PRUNED)
            spent.trial(
                config, min(epoch + (epoch == len(curve)), surface.epochs), None
            )  # the epoch that diverged as well
    return spent


Job = tuple[str, str, int, int, bool]


def run(job: Job) -> tuple[Job, Found]:
    """One search: its surface, side, budget in trials, repetition, and whether the others begin with the default."""
    name, side, trials, repetition, default = job
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    surface = surfaces()[name]
    epochs = trials * surface.epochs
    if side != "genlab":
        plan = make(surface.sweep, {"seed": repetition}, None)
        return job, theirs(surface, plan, epochs, side, repetition, default).at(epochs)
    scheduled = make(surface.sweep, {"trials": trials}, None).scheduler  # what a sweep of so many trials has by itself
    plan = make(surface.sweep, {"trials": ENDLESS, "scheduler": scheduled, "seed": repetition}, None)
    return job, ours(surface, plan, epochs).at(epochs)


def main(options: Options) -> None:
    """All searches; a table while they are done, the JSON line at the end."""
    began, default = time.time(), not options.shipped
    found: dict[tuple[str, int, str], list[Found]] = {}
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        print(
            f"{'surface':22} {'N':>4} " + "".join(f"{side:>28}" for side in SIDES) + "   genlab is, beside each",
            flush=True,
        )
        for name, trials in budgets(options):
            count = options.long_repetitions if trials >= LONG else options.repetitions
            jobs = [(name, side, trials, i, default) for i in range(count) for side in SIDES]
            for (*_, side, _, _, _), result in pool.imap_unordered(run, jobs):
                found.setdefault((name, trials, side), []).append(result)
            print(row(name, trials, found), flush=True)
    regret: dict[str, dict[int, Any]] = {}
    for name, trials in budgets(options):
        regret.setdefault(name, {})[trials] = {side: summary(found[name, trials, side]) for side in SIDES}
    result = {
        "benchmark": "search",
        "regret": regret,
        "genlab_is": {side: {trials: counted(trials, side, found) for trials in options.trials} for side in SIDES[1:]},
        "tried_again": {
            side: sum(
                one.again for (name, _, own), each in found.items() if name in FEW and own == side for one in each
            )
            for side in SIDES
        },
        "repetitions": options.repetitions,
        "long_repetitions": options.long_repetitions,
        "others_begin_with_the_default": default,
        "seconds": round(time.time() - began),
        "processes": options.processes,
        "versions": {package: importlib.metadata.version(package) for package in ("optuna", "ray", "numpy")},
    }
    print(json.dumps(result))


def summary(results: list[Found]) -> dict[str, float]:
    """Mean regret, half the width of its 95 % interval; on average trials, and those that tried a setting again."""
    regrets = [one.regret for one in results]
    return {
        "mean": round(statistics.fmean(regrets), 4),
        "within": round(1.96 * statistics.stdev(regrets) / math.sqrt(len(regrets)), 4),
        "trials": round(statistics.fmean(one.trials for one in results), 1),
        "again": round(statistics.fmean(one.again for one in results), 2),
    }


def verdict(own: list[Found], other: list[Found]) -> str:
    """Whether the 95 % interval of the difference in mean regret lies on one side of 0."""
    means = [statistics.fmean(one.regret for one in side) for side in (own, other)]
    errors = [statistics.variance([one.regret for one in side]) / len(side) for side in (own, other)]
    half = 1.96 * math.sqrt(sum(errors))
    return "ahead" if means[0] + half < means[1] else "behind" if means[0] - half > means[1] else "even"


def counted(trials: int, side: str, found: Mapping[tuple[str, int, str], Any]) -> dict[str, int]:
    """On how many surfaces of endless settings we are ahead of, even with and behind another side."""
    verdicts = [
        verdict(found[name, trials, "genlab"], found[name, trials, side]) for name in surfaces() if name not in FEW
    ]
    return {word: verdicts.count(word) for word in ("ahead", "even", "behind")}


def row(name: str, trials: int, found: Mapping[tuple[str, int, str], Any]) -> str:
    """A line of the table: regret and its interval; trials where they are not N, or those with a setting of before."""
    cells = []
    for side in SIDES:
        told = summary(found[name, trials, side])
        more = f" ({told['trials']:.0f})" if told["trials"] > trials else ""
        more = f" ({told['again']:.1f} again)" if name in FEW else more
        cells.append(f"{told['mean']:.3f} ± {told['within']:.3f}{more:>6}")
    verdicts = [verdict(found[name, trials, "genlab"], found[name, trials, side]) for side in SIDES[1:]]
    return f"{name:22} {trials:>4} " + "".join(f"{cell:>28}" for cell in cells) + "   " + ", ".join(verdicts)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    main(tyro.cli(Options))
