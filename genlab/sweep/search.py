"""What is tried next, and what ends early: Optuna by ask and tell, ASHA by a trial's lasting name. Both can be rebuilt
from a sweep's events."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from genlab.errors import CorruptFile
from genlab.lanes.client import OBJECTIVE
from genlab.sweep.plan import Plan, distribution_record
from genlab.sweep.proposals import instead, propose, startup
from genlab.sweep.scope import Settings
from genlab.sweep.space import Space
from genlab.tasks.fields import as_dict
from genlab.tracking.events import Distribution, EpochDone, TrialBegan
from genlab.tracking.records import CONFIRMS, Records, TrialRecord, rank
from genlab.tracking.schema import as_json

MODELLED = 50  # trials until Optuna's TPE takes over: few are better told by a Gaussian process
WINDOW = 100  # TPE sees that many of the newest trials, up to twice as many, so that a proposal's cost is bounded,
BEST = 50  # and the best of those before: it models the best tenth, but 25 at most


def trial_name(number: int, plan: Plan, records: Records) -> str:
    """The lasting name of trial `number`. All have as many digits as the first one, so that they sort as they count,
    unless a sweep is extended beyond."""
    first = next(iter(records.trials), None)
    return f"{number:0{len(first) if first else max(4, len(str(plan.trials - 1)))}d}"


def is_default(name: str) -> bool:
    """Whether it is the name of trial 0, which has the default setting."""
    return not name.strip("0")


def window(number: int) -> int:
    """The trial from which on Optuna knows all of them when it proposes trial `number`."""
    return max(0, number // WINDOW - 1) * WINDOW


def new_study(plan: Plan) -> optuna.Study:
    """A study that knows no trial yet."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(direction="minimize" if plan.sweep.mode == "min" else "maximize")


def sampler(plan: Plan, number: int) -> optuna.samplers.BaseSampler:
    """What proposes trial `number`: a new one for each, so that a proposal follows from what is known alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            multivariate=True,
            group=bool(plan.sweep.conditions),
            constant_liar=True,
            seed=int(np.random.SeedSequence([plan.seed, number]).generate_state(1)[0]),
        )


def _frozen(trial: TrialRecord) -> optuna.trial.FrozenTrial:
    curve = {n: epoch.objective for n, epoch in trial.epochs.items() if epoch.objective is not None}
    kinds = {"completed": TrialState.COMPLETE, "failed": TrialState.FAIL}
    try:
        return create_trial(
            params={name: trial.settings[name] for name in trial.distributions},  # rows of a grid come from none
            distributions=_distributions(trial),
            intermediate_values=curve,
            state=kinds.get(trial.ends or "", TrialState.PRUNED),
            value=trial.objective if trial.ends == "completed" else None,
        )
    except ValueError as error:
        raise CorruptFile(f"the records of trial {trial.name} are damaged: {error}") from error


def _distributions(trial: TrialRecord) -> dict[str, BaseDistribution]:
    return {
        name: optuna.distributions.json_to_distribution(json.dumps(as_json(kept)))
        for name, kept in trial.distributions.items()
    }


def suggest(trial: optuna.Trial, plan: Plan) -> tuple[Settings, dict[str, Distribution]]:
    """Settings of one more trial, and the distributions they come from."""
    settings: Settings = {}
    used: dict[str, Distribution] = {}
    for name, distribution in plan.space.items():
        if plan.scope.applies(name, settings):
            settings[name] = _value(trial, name, distribution)
            used[name] = distribution_record(distribution)
    return settings, used


def _value(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, FloatDistribution):
        return trial.suggest_float(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    assert isinstance(distribution, CategoricalDistribution)
    return trial.suggest_categorical(name, distribution.choices)


class Search(Searcher):
    """Hands Tune what was cut off, then new settings: of Optuna, or the plan's grid, row by row."""

    def __init__(
        self, plan: Plan, records: Records, unfinished: Iterable[TrialRecord], begin: Any, stopped: Any, append: Any
    ) -> None:
        """
        Args:
            begin: called with a trial's record (its last committed epoch is where it goes on); returns what Tune gives
                to the trial's client.
            stopped: says whether the sweep is about to end.
            append: commits an event.
        """
        super().__init__(metric=OBJECTIVE, mode=plan.sweep.mode)
        self.plan, self.records, self.begin, self.append = plan, records, begin, append
        self.unfinished = list(unfinished)
        self.number = sum(not trial.confirms for trial in records.trials.values())  # of the next new trial
        self.running: dict[str, str] = {}  # trials by Tune's ids
        self.stopped = stopped
        self.space = Space(plan.scope)
        self.startup = startup(plan, self.space) if plan.space else []
        self.tried = {self.space.key(trial.settings) for trial in records.trials.values()}
        self._recall()

    def _recall(self) -> None:
        """Begin a study, and tell it the trials of the window, in their order, those that are unfinished by name."""
        self.study, self.since = new_study(self.plan), window(self.number)
        self.asked: dict[str, optuna.Trial] = {}
        self.reported: set[tuple[int, int]] = set()  # Optuna trial, epoch
        searched = [record for record in self.records.trials.values() if not record.confirms]
        before = [record for record in searched[: self.since] if record.ends is not None]
        best = {record.name for record in rank(before, self.plan.sweep.mode)[:BEST]}
        for i, record in enumerate(searched):
            if record.ends is None:
                asked = self.asked[record.name] = self._ask(record.settings)
                for epoch, known in record.epochs.items():
                    if known.objective is not None:
                        self._report(asked, epoch, known.objective)
            elif i >= self.since or record.name in best:
                self.study.add_trial(_frozen(record))

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles what it is given; nothing of that is ever read

    def suggest(self, trial_id: str) -> Any:
        if self.stopped():
            return Searcher.FINISHED
        if self.unfinished:
            record = self.unfinished.pop(0)
        else:
            number = self.number
            if number >= self.plan.trials:
                return Searcher.FINISHED
            if window(number) != self.since:
                self._recall()
            if self.plan.grid is not None:
                asked, settings, used = self._ask({}), self.plan.grid[number], {}
            elif (asked := self._propose(number)) is not None:
                settings, used = suggest(asked, self.plan)
            else:  # every setting was tried
                return Searcher.FINISHED
            name = trial_name(number, self.plan, self.records)
            config = as_dict(self.plan.config(settings))
            self.append("trial", trial=name, settings=settings, config=config, distributions=used)
            if name not in self.records.trials:  # the sweep stops
                return Searcher.FINISHED
            record, self.asked[name] = self.records.trials[name], asked
            self.tried.add(self.space.key(settings))
            self.number += 1
        self.running[trial_id] = record.name
        return self.begin(record)

    def _propose(self, number: int) -> optuna.Trial | None:
        """Optuna's trial with settings for trial `number`, which none had before; None where all were tried."""
        if number == 0:
            return self._ask(self.plan.default)
        asked: optuna.Trial | None = None
        if number <= len(self.startup):
            proposed = self.startup[number - 1]
        elif number < MODELLED:
            proposed = propose(self.plan, self.space, self.records, number)
        else:
            self.study.sampler = sampler(self.plan, number)
            asked = self.study.ask()
            proposed, _ = suggest(asked, self.plan)
        if proposed is None:
            return None
        settings = instead(self.plan, self.space, proposed, self.tried, number)
        if asked is not None:
            if settings == proposed:
                return asked
            self.study.tell(asked, state=TrialState.FAIL)  # TPE does not look at what failed
        return None if settings is None else self._ask(settings)

    def _ask(self, settings: Mapping[str, Any]) -> optuna.Trial:
        """Optuna's trial with these settings."""
        self.study.sampler = optuna.samplers.RandomSampler()  # it has nothing to draw
        self.study.enqueue_trial(dict(settings))
        asked = self.study.ask()
        suggest(asked, self.plan)
        return asked

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if result["kind"] == "ok":
            self._report(self.asked[self.running[trial_id]], result["epoch"], result[OBJECTIVE])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        asked = self.asked.pop(self.running.pop(trial_id))
        kind = "error" if error or result is None else result["kind"]
        if kind == "cut":  # it is not over: whoever resumes the sweep goes on with it
            return
        if kind in ("ok", "diverged") and result is not None:
            if kind == "ok":
                self._report(asked, result["epoch"], result[OBJECTIVE])
            if kind == "ok" and result["epoch"] >= result["epochs"]:
                self.study.tell(asked, result[OBJECTIVE])
            else:
                self.study.tell(asked, state=TrialState.PRUNED)
        else:
            self.study.tell(asked, state=TrialState.FAIL)

    def _report(self, asked: optuna.Trial, epoch: int, objective: float) -> None:
        if (asked.number, epoch) not in self.reported:  # a trial whose actor died tells its epochs again
            self.reported.add((asked.number, epoch))
            asked.report(objective, epoch)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the records hold all."""

    def restore(self, checkpoint_path: str) -> None:
        raise RuntimeError("a search is rebuilt from a sweep's events")


class Confirmation(Searcher):
    """Hands Tune a list of trials, in order."""

    def __init__(self, trials: Iterable[TrialRecord], begin: Any, stopped: Any) -> None:
        super().__init__(metric=OBJECTIVE, mode="min")
        self.trials, self.begin, self.stopped = list(trials), begin, stopped

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def suggest(self, trial_id: str) -> Any:
        if self.stopped() or not self.trials:
            return Searcher.FINISHED
        return self.begin(self.trials.pop(0))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: it searches nothing."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the records hold all."""

    def restore(self, checkpoint_path: str) -> None:
        raise RuntimeError("a confirmation is rebuilt from a sweep's events")


class _Named:
    """A trial by its lasting name, which its Tune id is not: a resumed trial has another one."""

    def __init__(self, name: str) -> None:
        self.trial_id = name


class Asha(AsyncHyperBandScheduler):
    """ASHA (Li et al. 2020). The first trial is never stopped, so a sweep can say what it gained over the defaults."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(
            time_attr="epoch",
            metric=OBJECTIVE,
            mode=plan.sweep.mode,
            max_t=plan.epochs,
            grace_period=plan.sweep.grace_epochs,
            reduction_factor=plan.sweep.reduction_factor,
        )

    def rungs(self) -> dict[int, dict[str, float]]:
        """The objective of each trial at each rung, by epoch and name."""
        bracket = self._brackets[0]
        sign = self._metric_op or 1.0
        return {int(epoch): {name: sign * value for name, value in own.items()} for epoch, own in bracket._rungs}

    def feed(self, records: Records) -> None:
        """Take in what the events tell, in their order."""
        for event in records.events:
            if not isinstance(event, TrialBegan | EpochDone) or event.trial.startswith(CONFIRMS):
                continue
            if isinstance(event, TrialBegan):
                self._trial_info[event.trial] = self._brackets[0]
            elif event.objective is not None:
                result = {"epoch": event.epoch, OBJECTIVE: event.objective}
                take = super().on_trial_complete if event.ends else super().on_trial_result
                take(None, _Named(event.trial), result)  # type: ignore[arg-type]

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        self._trial_info[trial.config["trial"]] = self._brackets[0]

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if result["kind"] != "ok":
            return TrialScheduler.STOP
        name = trial.config["trial"]
        decision = super().on_trial_result(tune_controller, _Named(name), result)  # type: ignore[arg-type]
        return TrialScheduler.CONTINUE if is_default(name) else decision

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        if result["kind"] == "ok" and trial.config["trial"] in self._trial_info:
            super().on_trial_complete(tune_controller, _Named(trial.config["trial"]), result)  # type: ignore[arg-type]

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        self._trial_info.pop(trial.config["trial"], None)


def scheduler(plan: Plan, records: Records) -> FIFOScheduler:
    """The plan's scheduler, knowing what the records know."""
    if plan.scheduler == "fifo":
        return FIFOScheduler()
    asha = Asha(plan)
    asha.feed(records)
    return asha
