"""What a search comes to: who trains how long, what Optuna is told, and what the next life of the sweep does."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from made_sweeps import manifest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from toys import toy_sweep
from tune_stand_in import Curve, begin, commit, from_the_setting, play, search

from genlab.lanes.client import OBJECTIVE
from genlab.sweep.plan import Plan, make
from genlab.sweep.search import Asha, Confirmation, Search, scheduler
from genlab.tracking.records import Records
from genlab.tracking.storage import Storage

COMPLETE, PRUNED, FAIL, RUNNING = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING

# The objective of six trials in each of four epochs, smaller being better.
CURVES: list[list[float | str]] = [
    [5, 5, 5, 5],  # the default setting
    [3, 3, 3, 3],
    [4, 4, 4, 9],  # the median of those before it, and worse at its end
    [6, 0, 0, 0],  # bad at first
    [1, 8, 0, 0],  # bad in its second epoch
    [2, 2, 7, 2],  # bad in its third
]


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records.create(Storage(str(tmp_path)), manifest("toy"))


def again(records: Records) -> Records:
    """As another driver reads them."""
    return Records.open(Storage(records.storage.url + "/.."), records.name)


def by_number(curves: Sequence[Sequence[float | str]], mode: str = "min") -> Curve:
    """The curve of each trial by its number; turned upside down where the best is the largest."""

    def curve(record: Any, epoch: int) -> float | str:
        value = curves[int(record.name)][epoch - 1]
        return value if isinstance(value, str) or mode == "min" else -value

    return curve


def one_after_the_other(plan: Plan, records: Records, curve: Curve = from_the_setting) -> tuple[Search, Any]:
    """A life of the sweep with a single lane; its search and its scheduler."""
    searcher, asha = search(plan, records), scheduler(plan, records)
    play(plan, records, asha, searcher, lanes=1, curve=curve)
    return searcher, asha


def told(study: optuna.Study) -> list[tuple[TrialState, float | None, dict[int, float]]]:
    """What Optuna knows of each trial: how it ended, its value if it is complete, its curve."""
    return [
        (trial.state, trial.value if trial.state == COMPLETE else None, trial.intermediate_values)
        for trial in study.trials
    ]


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize(
    ("grace", "factor", "rungs", "trained"),
    [
        # Behind the median of those that got there before: the fourth in epoch 1, the fifth in epoch 2. Epoch 3 is no
        # rung, and who is behind in the last epoch has got there.
        (1, 2, [1, 2, 4], [4, 4, 4, 1, 2, 4]),
        # Above the best third of those before: 3.67 for the third and the fourth in epoch 1; 2 for the last in epoch 3.
        (1, 3, [1, 3], [4, 4, 1, 1, 4, 3]),
        # All have two epochs; there the fifth is above 3.5.
        (2, 2, [2, 4], [4, 4, 4, 4, 2, 4]),
        (None, None, None, [4, 4, 4, 4, 4, 4]),
    ],
)
def test_who_is_worse_than_its_share_at_a_rung_ends_there(
    records: Records, mode: str, grace: int | None, factor: int | None, rungs: list[int] | None, trained: list[int]
) -> None:
    of_asha = {"grace_epochs": grace, "reduction_factor": factor} if grace else {}
    sweep = toy_sweep(settings={"epochs": 4}, mode=mode, trials=6, **of_asha)
    plan = make(sweep, {"scheduler": "asha" if grace else "fifo"}, None)
    searcher, asha = one_after_the_other(plan, records, by_number(CURVES, mode))
    trials = list(records.trials.values())
    assert [max(trial.epochs) for trial in trials] == trained
    assert [trial.ends for trial in trials] == ["completed" if n == 4 else "pruned" for n in trained]
    sign = 1 if mode == "min" else -1
    curves = [{e + 1: sign * float(row[e]) for e in range(n)} for row, n in zip(CURVES, trained, strict=True)]
    expected = [
        (COMPLETE, curve[4], curve) if n == 4 else (PRUNED, None, curve)
        for n, curve in zip(trained, curves, strict=True)
    ]
    for study in (searcher.study, search(plan, again(records)).study):
        assert told(study) == expected
        assert study.best_value == sign * min(sign * curve[4] for curve in curves if 4 in curve)
    if rungs:
        assert isinstance(asha, Asha)
        held = {r: {f"{i:04d}": curve[r] for i, curve in enumerate(curves) if r in curve} for r in rungs}
        assert asha.rungs() == held == scheduler(plan, again(records)).rungs()  # type: ignore[attr-defined]


def test_a_later_life_judges_by_what_earlier_ones_saw(records: Records) -> None:
    """The search is cut while a trial is in its second epoch; without the rungs of before nobody would be stopped."""
    plan = make(toy_sweep(settings={"epochs": 4}, trials=6, reduction_factor=2), {"scheduler": "asha"}, None)
    searcher = search(plan, records)
    play(plan, records, scheduler(plan, records), searcher, until=7, lanes=1, curve=by_number(CURVES))
    assert [len(trial.epochs) for trial in records.trials.values()] == [4, 1]
    for _ in range(3):
        records = again(records)
        until = len(records.events) + 4
        asha = scheduler(plan, records)
        play(plan, records, asha, search(plan, records), until=until, lanes=1, curve=by_number(CURVES))
    one_after_the_other(plan, again(records), by_number(CURVES))
    assert [max(trial.epochs) for trial in again(records).trials.values()] == [4, 4, 4, 1, 2, 4]


def test_what_ended_otherwise_is_told_as_what_it_is_at_once_and_in_a_later_life(records: Records) -> None:
    plan = make(toy_sweep(settings={"epochs": 3}, trials=7), {"scheduler": "fifo"}, None)
    curves = [[3.0, 1.0, 2.0], [2, "diverged"], ["diverged"], ["error"], [0, "error"], [1, "cut"], [4, 4, 4]]
    searcher, _ = one_after_the_other(plan, records, by_number(curves))
    live = {trial.name: trial for trial in records.trials.values()}
    ended = [
        (COMPLETE, 2.0, {1: 3.0, 2: 1.0, 3: 2.0}),  # its last epoch counts, not its best
        (PRUNED, None, {1: 2.0}),
        (PRUNED, None, {}),
        (FAIL, None, {}),
        (FAIL, None, {1: 0.0}),
    ]
    last = (COMPLETE, 4.0, {1: 4.0, 2: 4.0, 3: 4.0})
    assert told(searcher.study) == [*ended, (RUNNING, None, {1: 1.0}), last]
    assert searcher.study.direction == optuna.study.StudyDirection.MINIMIZE
    records.append("trial", trial="confirm-0000", settings={}, config={"epochs": 1, "seed": 0}, distributions={})
    for epoch in (1, 2, 3):
        commit(records, "confirm-0000", epoch, -9.0, "completed" if epoch == 3 else None)
    study = search(plan, again(records)).study
    assert told(study) == told(searcher.study)  # in the same order, and without what confirms
    assert [trial.params for trial in study.trials] == [dict(live[name].settings) for name in sorted(live)]
    assert study.trials[0].distributions == {"lr": FloatDistribution(1e-4, 1e-1, log=True)}


def test_a_trial_that_tells_its_epochs_again_is_heard_once(records: Records) -> None:
    """Its actor died: another one begins where the first one began."""
    searcher = search(make(toy_sweep(), {}, None), records)
    for name in ("a", "b"):
        searcher.suggest(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of Optuna, which wants each step once
        for epoch, objective in ((1, 5.0), (2, 4.0), (1, 5.0), (2, 4.0)):
            for name in ("a", "b"):
                searcher.on_trial_result(name, {"kind": "ok", "epoch": epoch, OBJECTIVE: objective})
    assert told(searcher.study) == [(RUNNING, None, {1: 5.0, 2: 4.0})] * 2
    searcher.on_trial_result("a", {"kind": "diverged", "epoch": 3, OBJECTIVE: 0.0})
    assert 3 not in searcher.study.trials[0].intermediate_values
    searcher.on_trial_complete("a", None, error=True)  # it died once too often
    searcher.on_trial_complete("b", {"kind": "ok", "epoch": 3, "epochs": 3, OBJECTIVE: 3.0}, error=True)
    assert [state for state, *_ in told(searcher.study)] == [FAIL, FAIL]


def test_what_was_cut_off_comes_first_with_its_curve_and_then_what_is_new(records: Records) -> None:
    plan = make(toy_sweep(settings={"epochs": 3}, trials=6), {}, None)
    searcher = search(plan, records)
    for name in "abcd":
        searcher.suggest(name)
    for epoch in (1, 2, 3):
        commit(records, "0001", epoch, 7.0, "completed" if epoch == 3 else None)
    commit(records, "0000", 1, 8.0)
    commit(records, "0003", 1, 9.0)
    commit(records, "0003", 2, 8.5)
    settings = [dict(trial.settings) for trial in records.trials.values()]
    records = again(records)
    searcher = search(plan, records)
    names = [handed["trial"] if isinstance(handed := searcher.suggest(str(i)), dict) else handed for i in range(7)]
    assert names == ["0000", "0002", "0003", "0004", "0005", Search.FINISHED, Search.FINISHED]
    assert told(searcher.study)[:4] == [
        (RUNNING, None, {1: 8.0}),
        (COMPLETE, 7.0, {1: 7.0, 2: 7.0, 3: 7.0}),
        (RUNNING, None, {}),
        (RUNNING, None, {1: 9.0, 2: 8.5}),
    ]
    assert [trial.params for trial in searcher.study.trials[:4]] == settings
    assert [dict(trial.settings) for trial in records.trials.values()][:4] == settings
    # epochs that Optuna knows already are not told again; the trial's last one is
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        searcher.on_trial_result("2", {"kind": "ok", "epoch": 2, OBJECTIVE: 8.5})
        searcher.on_trial_complete("2", {"kind": "ok", "epoch": 3, "epochs": 3, OBJECTIVE: 8.0})
    assert told(searcher.study)[3] == (COMPLETE, 8.0, {1: 9.0, 2: 8.5, 3: 8.0})


@pytest.mark.parametrize("grid", [False, True])
def test_a_confirmed_sweep_is_extended_by_as_many_as_were_asked_for(records: Records, grid: bool) -> None:
    rows = [{"lr": lr} for lr in (0.02, 0.03, 0.04, 0.05, 0.06)]
    sweep = toy_sweep(settings={"epochs": 3}, grid=rows if grid else ())
    plan = make(sweep, {"grid": True} if grid else {"trials": 6, "scheduler": "asha"}, None)
    shorter = dataclasses.replace(plan, trials=3)
    one_after_the_other(shorter, records)
    assert list(records.trials) == ["0000", "0001", "0002"]
    for name in ("confirm-0001", "confirm-0000"):
        records.append("trial", trial=name, settings={"lr": 0.9}, config={"epochs": 1, "seed": 0}, distributions={})
        commit(records, name, 1, 0.5)
        if name == "confirm-0001":
            commit(records, name, 2, 0.5, "completed")
    records = again(records)
    searcher, asha = one_after_the_other(plan, records)
    names = [f"{i:04d}" for i in range(6)]
    assert [name for name in records.trials if not name.startswith("confirm")] == names
    assert len(searcher.study.trials) == 6 and searcher.suggest("more") == Search.FINISHED
    if grid:
        assert [records.trials[n].settings["lr"] for n in names] == [0.01, 0.02, 0.03, 0.04, 0.05, 0.06]
        assert all(not trial.distributions for trial in records.trials.values())
    else:
        assert all(set(held) <= set(names) for held in asha.rungs().values())


def test_rows_of_a_grid_are_told_as_complete_at_their_own_length(records: Records) -> None:
    sweep = toy_sweep(settings={"epochs": 3}, grid=[{"epochs": 1}, {"epochs": 5, "lr": 0.05}])
    plan = make(sweep, {"grid": True}, None)
    searcher, _ = one_after_the_other(plan, records)
    assert [len(trial.epochs) for trial in records.trials.values()] == [3, 1, 5]
    assert [state for state, *_ in told(searcher.study)] == [COMPLETE] * 3
    assert [trial.config["lr"] for trial in records.trials.values()] == [0.01, 0.01, 0.05]


def test_the_event_of_a_trial_says_all_of_its_config(records: Records) -> None:
    plan = make(toy_sweep(settings={"epochs": 2, "megabytes": 7}), {"seed": 4}, None)
    searcher = search(plan, records)
    for name in "ab":
        searcher.suggest(name)
    default, drawn = again(records).trials.values()
    assert default.settings == {"lr": 0.01} and 1e-4 <= drawn.settings["lr"] <= 1e-1 and drawn.settings != {"lr": 0.01}
    for trial in (default, drawn):
        assert trial.config == {**dataclasses.asdict(plan.config({})), **trial.settings}
        assert (trial.config["epochs"], trial.config["megabytes"], trial.config["seed"]) == (2, 7, 4)
        assert {n: d.name for n, d in trial.distributions.items()} == {"lr": "FloatDistribution"}


def test_who_stops_hands_out_nothing_more(records: Records) -> None:
    plan = make(toy_sweep(), {}, None)
    search(plan, records).suggest("a")
    (unfinished,) = records.trials.values()
    stopped = Search(plan, records, [unfinished], begin, lambda: True, records.append)
    assert stopped.suggest("b") == Search.FINISHED
    without_storage = Search(plan, records, [], begin, lambda: False, lambda kind, **content: None)
    assert without_storage.suggest("c") == Search.FINISHED
    assert list(records.trials) == ["0000"]


def test_trials_that_confirm_are_handed_out_in_order(records: Records) -> None:
    for name in ("confirm-0002", "confirm-0000", "confirm-0001"):
        records.append("trial", trial=name, settings={}, config={"epochs": 1, "seed": 0}, distributions={})
    stop = False
    confirmation = Confirmation(records.trials.values(), begin, lambda: stop)
    assert [confirmation.suggest(str(i))["trial"] for i in range(2)] == ["confirm-0002", "confirm-0000"]
    stop = True
    assert confirmation.suggest("2") == Confirmation.FINISHED
    stop = False
    assert confirmation.suggest("3")["trial"] == "confirm-0001"
    assert confirmation.suggest("4") == Confirmation.FINISHED


def test_a_trial_may_leave_the_scheduler_twice(records: Records) -> None:
    plan = make(toy_sweep(), {}, None)
    asha = Asha(plan)
    trial = SimpleNamespace(trial_id="t", config={"trial": "0000"})
    asha.on_trial_add(None, trial)
    for _ in range(2):
        asha.on_trial_complete(None, trial, {"kind": "ok", "epoch": 3, "epochs": 3, OBJECTIVE: 1.0})
        asha.on_trial_remove(None, trial)
    assert asha.rungs() == {3: {"0000": 1.0}, 1: {}}
