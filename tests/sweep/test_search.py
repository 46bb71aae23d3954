"""Optuna and ASHA rebuilt from events are what they were."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
from made_sweeps import manifest
from optuna.trial import TrialState
from toys import toy_sweep
from tune_stand_in import END, play, search

from genlab.lanes.client import OBJECTIVE
from genlab.sweep import choice, log_uniform
from genlab.sweep.plan import make
from genlab.sweep.search import Asha
from genlab.tracking.records import Records
from genlab.tracking.storage import Storage


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records.create(Storage(str(tmp_path)), manifest("toy"))


def check_rungs(asha: Asha, records: Records) -> None:
    """Each rung holds each trial once, with its own value at that epoch."""
    rungs = asha.rungs()
    assert any(rungs.values())
    for epoch, held in rungs.items():
        reached = {t.name: t.epochs[epoch].objective for t in records.trials.values() if epoch in t.epochs}
        assert held == pytest.approx(reached)


def test_a_sweep_rebuilt_from_its_events_goes_on_as_if_nothing_had_happened(records: Records) -> None:
    plan = make(toy_sweep(settings={"epochs": 9}, trials=20), {}, None)
    whole, searcher = Asha(plan), search(plan, records)
    play(plan, records, whole, searcher, 60)
    for cut, until in ((1, 85), (2, END)):
        known = Records.open(Storage(records.storage.url + "/.."), records.name)
        again = Asha(plan)
        again.feed(known)
        assert again.rungs() == whole.rungs()
        searcher = search(plan, known)
        ended = [trial for trial in known.trials.values() if trial.ends]
        states = [trial.state for trial in searcher.study.trials]
        assert states.count(TrialState.COMPLETE) == sum(trial.ends == "completed" for trial in ended)
        assert states.count(TrialState.PRUNED) == sum(trial.ends == "pruned" for trial in ended)
        play(plan, known, again, searcher, until, seed=cut)
        whole, records = again, known
    assert len(records.trials) == 20 and all(trial.ends for trial in records.trials.values())
    check_rungs(whole, records)
    assert all(trial.state.is_finished() for trial in searcher.study.trials)
    longer = dataclasses.replace(plan, trials=25)
    play(longer, records, whole, search(longer, records))
    assert len(records.trials) == 25
    check_rungs(whole, records)


def test_the_first_trial_is_the_default_and_never_stopped(records: Records) -> None:
    plan = make(toy_sweep(settings={"epochs": 9, "lr": 0.1}, trials=20), {}, None)  # the worst there is
    play(plan, records, Asha(plan), search(plan, records))
    first = records.trials["0000"]
    assert first.settings == {"lr": 0.1} and first.ends == "completed"
    assert any(trial.ends == "pruned" for trial in records.trials.values())


def test_a_diverged_trial_is_in_no_rung_and_told_as_pruned(records: Records) -> None:
    plan = make(toy_sweep(), {}, None)
    asha, searcher = Asha(plan), search(plan, records)
    trial = SimpleNamespace(trial_id="t", config=searcher.suggest("t"))
    asha.on_trial_add(None, trial)
    result = {"kind": "diverged", "epoch": 1, OBJECTIVE: 0.0, "done": True}
    assert asha.on_trial_result(None, trial, result) == "STOP"
    asha.on_trial_complete(None, trial, result)
    searcher.on_trial_complete("t", result)
    assert not any(asha.rungs().values())
    assert searcher.study.trials[0].state == TrialState.PRUNED


def test_failures_are_told_as_failures_and_cuts_not_at_all(records: Records) -> None:
    plan = make(toy_sweep(), {}, None)
    searcher = search(plan, records)
    for name, kind in (("a", "error"), ("b", "cut")):
        searcher.suggest(name)
        searcher.on_trial_complete(name, {"kind": kind, "epoch": 1, OBJECTIVE: 0.0})
    assert [trial.state for trial in searcher.study.trials] == [TrialState.FAIL, TrialState.RUNNING]


def test_conditions_are_data(records: Records) -> None:
    sweep = toy_sweep(
        space={"lr": log_uniform(1e-3, 1e-1), "batch": choice(2, 4)}, conditions={"lr": {"batch": [4]}}, trials=30
    )
    plan = make(sweep, {}, None)
    searcher = search(plan, records)
    for i in range(30):
        searcher.suggest(str(i))
    with_lr = {trial.settings["batch"]: "lr" in trial.settings for trial in records.trials.values()}
    assert with_lr == {2: False, 4: True}
