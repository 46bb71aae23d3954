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
from genlab.sweep.proposals import STARTUP, startup
from genlab.sweep.search import _applies
from genlab.sweep.space import Space, place, values
from genlab.tasks.fields import as_dict
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
    """Each category floor or ceil equally often; the first 2^k numbers in different ones of 2^k parts."""
    monkeypatch.setattr(proposals, "STARTUP", 16)
    plan = plan_of(seed)
    drawn = startup(plan, Space(plan))
    assert len(drawn) == 16
    for name, distribution in plan.space.items():
        taken = [settings[name] for settings in drawn if name in settings]
        if isinstance(distribution, CategoricalDistribution):
            for first in range(len(taken) + 1):
                counts = Counter(taken[:first])
                assert {counts[one] for one in distribution.choices} <= {
                    first // len(distribution.choices),
                    -(-first // len(distribution.choices)),
                }
        else:
            places = [place(distribution, value) for value in taken]
            for parts in (2, 4, 8, 16):
                if len(places) >= parts:
                    assert sorted(int(one * parts) for one in places[:parts]) == list(range(parts))
    defaults = as_dict(plan.config({}))
    for settings in drawn:
        assert all((name in settings) == _applies(plan, name, {**defaults, **settings}) for name in plan.space)


def test_categories_are_not_taken_in_step() -> None:
    """Of two categories with two values each all four pairs come among four trials, nearly always."""
    space = {"batch": choice(2, 4), "nan_at": choice(0, 9), "lr": log_uniform(1e-3, 1e-1)}
    pairs = []
    for seed in range(40):
        plan = plan_of(seed, space=space, conditions={})
        drawn = startup(plan, Space(plan))
        pairs.append(len({(settings["batch"], settings["nan_at"]) for settings in drawn}))
    assert pairs.count(min(STARTUP, 4)) >= 36


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
        space, defaults = Space(plan), as_dict(plan.config({}))
        rows = space.settle(space.random(300, np.random.default_rng(0)))
        seen = Counter()
        for row in rows:
            settings = space.decode(row)
            for name in plan.space:
                assert (name in settings) == _applies(plan, name, {**defaults, **settings})
                seen[name, name in settings] += 1
            np.testing.assert_allclose(space.encode(settings), row, atol=1e-12)
        assert all(seen[name, False] for name in plan.sweep.conditions if name in plan.space) or plan is plans[-1]
