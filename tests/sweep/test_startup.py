"""The first trials cover the space, whatever comes after them; few trials are all trained to the end."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_sweeps import manifest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from test_needs import Needy
from toys import toy_sweep
from tune_stand_in import commit, search

from genlab.sweep import choice, integer, log_uniform, proposals, uniform
from genlab.sweep.plan import FEW, Plan, make
from genlab.sweep.proposals import _crowded, _in_turn, startup
from genlab.sweep.space import Space, place, values
from genlab.tracking.records import Records
from genlab.tracking.storage import Storage

SPACE = {
    "batch": choice(2, 4, 6),
    "nan_at": choice(0, 9),
    "lr": log_uniform(1e-3, 1e-1),
    "sleep": uniform(0.0, 1.0),
    "megabytes": choice(1, 2, 3, 4),
}
CONDITIONS = {"sleep": {"nan_at": [9]}, "megabytes": {"batch": [2, 4], "nan_at": [9]}}


def plan_of(seed: int = 0, trials: int = 40, **changes: Any) -> Plan:
    values: dict[str, Any] = {"space": SPACE, "conditions": CONDITIONS}
    settings = {"epochs": 1, "batch": 4, "sleep": 0.5, "megabytes": 1}
    return make(toy_sweep(**{**values, "settings": settings, **changes}), {"seed": seed, "trials": trials}, None)


@pytest.mark.parametrize("seed", range(12))
def test_any_first_trials_cover_every_field_where_it_is_searched(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each category floor or ceil equally often; numbers in each of 2^k parts if there are so many."""
    monkeypatch.setattr(proposals, "STARTUP", 16)
    plan = plan_of(seed)
    drawn = startup(plan, Space(plan.scope))
    assert len(drawn) == 16
    for name, distribution in plan.space.items():
        taken = [settings[name] for settings in drawn if name in settings]
        if isinstance(distribution, CategoricalDistribution):
            share, rest = divmod(len(taken), len(distribution.choices))
            assert sorted(Counter(taken).values()) == sorted(
                share + (i < rest) for i in range(len(distribution.choices)) if share or i < rest
            )
        else:
            places = [place(distribution, value) for value in taken]
            for parts in (2, 4, 8, 16):
                if len(places) >= parts:
                    assert {int(one * parts) for one in places} == {*range(parts)}
    for settings in drawn:
        assert all((name in settings) == plan.scope.applies(name, settings) for name in plan.space)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_each_value_of_a_category_comes_before_one_comes_again(count: int) -> None:
    """The default's value has come with trial 0; also where numbers beside it make endless settings."""
    space = {"megabytes": choice(*range(count)), "lr": log_uniform(1e-3, 1e-1)}
    for seed in range(30):
        for default in (0, count - 1):
            plan = make(toy_sweep(space=space, settings={"megabytes": default}), {"seed": seed}, None)
            first = [plan.default, *startup(plan, Space(plan.scope))][:count]
            assert {settings["megabytes"] for settings in first} == {*range(count)}


def test_new_values_come_first_however_crowded_they_are() -> None:
    space = Space(plan_of(space={"megabytes": choice(0, 1, 2), "lr": uniform(0.0, 1.0)}, conditions={}).scope)
    tried, old, new = np.array([[0, 0.0], [1, 0.01]]), np.array([0, 1.0]), np.array([2, 0.001])
    assert _crowded(np.array([old, new]), tried, space).argmin() == 0
    first, second = _in_turn(tried, np.array([old, new]), space)
    assert first.tolist() == new.tolist() and second.tolist() == old.tolist()


def test_trial_1_is_far_from_the_default() -> None:
    """Of those that cover the space it is the one that has least in common with it."""
    away = []
    for seed in range(40):
        plan = plan_of(seed, space={"lr": log_uniform(1e-3, 1e-1), "sleep": uniform(0.0, 1.0)}, conditions={})
        space = Space(plan.scope)
        rows = np.array([space.encode(settings) for settings in startup(plan, space)])
        alike = (2 - np.abs(rows - space.encode(plan.default)).sum(1)) ** 2
        away.append(alike.argmin() == 0)
    assert all(away)


def test_categories_are_not_taken_in_step() -> None:
    """Of two categories with two values each all four pairs come among the first five trials, nearly always."""
    space = {"batch": choice(2, 4), "nan_at": choice(0, 9), "lr": log_uniform(1e-3, 1e-1)}
    pairs = []
    for seed in range(40):
        plan = plan_of(seed, space=space, conditions={})
        drawn = [plan.default, *startup(plan, Space(plan.scope))]
        pairs.append(len({(settings["batch"], settings["nan_at"]) for settings in drawn}))
    assert pairs.count(4) >= 36


def test_a_small_sweep_does_not_sit_on_the_default(tmp_path: Path) -> None:
    """The default's value of a category that has no say comes in a third of the new ones, as by chance, and not much
    more often once the process proposes, wherever the best learning rate lies."""
    for trials, most in ((4, 1 / 3), (7, 0.5)):
        same = []
        for seed in range(20):
            best = 1e-3 * 100 ** (seed / 19)
            plan = plan_of(seed, trials, conditions={})
            records = Records.create(Storage(str(tmp_path)), manifest("toy"))
            searcher = search(plan, records)
            for i in range(trials):
                record = records.trials[searcher.suggest(str(i))["trial"]]
                value = abs(np.log(record.settings["lr"] / best))
                commit(records, record.name, 1, float(value), "completed")
                searcher.on_trial_complete(str(i), {"kind": "ok", "epoch": 1, "epochs": 1, "objective": float(value)})
                same += [record.settings["batch"] == 4] if i else []
        assert np.mean(same) <= most + 1e-9


@pytest.mark.parametrize(("trials", "by_itself"), [(1, "fifo"), (FEW - 1, "fifo"), (FEW, "asha"), (50, "asha")])
def test_few_trials_are_all_trained_to_the_end_unless_asked_otherwise(trials: int, by_itself: str) -> None:
    assert plan_of(trials=trials).scheduler == by_itself
    for asked in ("fifo", "asha"):
        assert make(toy_sweep(), {"trials": trials, "scheduler": asked}, None).scheduler == asked


@pytest.mark.parametrize(
    ("distribution", "all_of_them"),
    [
        (choice("a", "b", "c"), ["a", "b", "c"]),
        (integer(2, 10, step=4), [2, 6, 10]),
        (integer(3, 3), [3]),
        (FloatDistribution(0.1, 0.5, step=0.2), [0.1, 0.3, 0.5]),
        (IntDistribution(1, 4, log=True), [1, 2, 3, 4]),
        (uniform(-1.0, 3.0), None),
        (uniform(2.0, 2.0), None),
        (log_uniform(1e-4, 1e-1), None),
    ],
)
def test_a_value_lies_at_its_place(distribution: Any, all_of_them: list[Any] | None) -> None:
    if all_of_them is None:
        all_of_them = [distribution.low, (distribution.low + distribution.high) / 2, distribution.high]
    for value in all_of_them:
        (back,) = values(distribution, np.array([place(distribution, value)]))
        assert back == pytest.approx(value) and type(back) is type(value)
        assert json.loads(json.dumps(back)) == back
    if not isinstance(distribution, CategoricalDistribution):
        evenly = values(distribution, (np.arange(1200) + 0.5) / 1200)
        assert min(evenly) >= distribution.low and max(evenly) <= distribution.high and evenly == sorted(evenly)
        if (
            isinstance(distribution, (IntDistribution, FloatDistribution))
            and distribution.step
            and not distribution.log
        ):
            assert set(Counter(np.round(evenly, 9)).values()) == {1200 // len(all_of_them)}


def test_rows_stand_for_settings_under_their_conditions() -> None:
    """Also where a condition names a number, a tuple that is written as text, or what is not searched."""
    number = {"megabytes": integer(1, 3), "sleep": uniform(0.0, 1.0), "lr": log_uniform(1e-3, 1e-1)}
    of_number = {"sleep": {"megabytes": [2, 3]}, "lr": {"sleep": [0.5]}}
    tuples = {"widths": choice((1,), (16, 32)), "lr": log_uniform(1e-3, 1e-1)}
    plans = [
        plan_of(),
        plan_of(space=number, conditions=of_number),
        plan_of(task=Needy, space=tuples, conditions={"lr": {"widths": [(16, 32)]}}, settings={"epochs": 1}),
        plan_of(task=Needy, space=tuples, conditions={"lr": {"widths": ["16:32"]}}, settings={"epochs": 1}),
        make(
            toy_sweep(space=SPACE, conditions=CONDITIONS, settings={"batch": 4, "sleep": 0.5}),
            {"set": ("nan_at=9", "megabytes=1")},
            None,
        ),
    ]
    for plan in plans:
        space = Space(plan.scope)
        rows = space.settle(space.random(300, np.random.default_rng(0)))
        seen = Counter()
        for row in rows:
            settings = space.decode(row)
            for name in plan.space:
                assert (name in settings) == plan.scope.applies(name, settings)
                seen[name, name in settings] += 1
            np.testing.assert_allclose(space.encode(settings), row, atol=1e-12)
        assert all(seen[name, False] for name in plan.sweep.conditions if name in plan.space) or plan is plans[-1]
