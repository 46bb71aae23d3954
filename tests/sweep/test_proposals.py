"""What is proposed next: new settings in every life, by chance at first, then from what is known."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import FloatDistribution, IntDistribution, distribution_to_json
from test_needs import Needy
from toys import toy_sweep
from tune_stand_in import commit, search

from genlab.sweep import Sweep, choice, integer, log_uniform, uniform
from genlab.sweep.plan import Plan, make
from genlab.tracking.records import Records
from genlab.tracking.storage import Storage


@pytest.fixture
def make_records(tmp_path: Path) -> Callable[[], Records]:
    return lambda: Records.create(Storage(str(tmp_path)), "toy", {})


def propose(plan: Plan, records: Records, count: int, objective: Any = None) -> list[dict[str, Any]]:
    """Settings of so many more trials; each is complete before the next where `objective` says how good it is."""
    searcher = search(plan, records)
    found = []
    for i in range(count):
        record = records.trials[searcher.suggest(str(i))["trial"]]
        found.append(dict(record.settings))
        if objective is not None:
            value = objective(record)
            commit(records, record.name, 1, value, "completed")
            searcher.on_trial_complete(str(i), {"kind": "ok", "epoch": 1, "epochs": 1, "objective": value})
    return found


def sweep(**changes: Any) -> Sweep:
    return toy_sweep(**{"settings": {"epochs": 1}, "trials": 40} | changes)


def test_the_seed_of_the_sweep_is_the_seed_of_its_search(make_records: Callable[[], Records]) -> None:
    first, same, other = (propose(make(sweep(), {"seed": s}, None), make_records(), 6) for s in (5, 5, 6))
    assert first == same
    assert first[0] == other[0] == {"lr": 0.01}
    assert not {s["lr"] for s in first[1:]} & {s["lr"] for s in other[1:]}


@pytest.mark.parametrize("lives", [[4, 4, 4], [1, 1, 1, 1, 1], [9, 12, 3]])
def test_no_life_of_a_sweep_tries_again_what_another_one_tried(
    make_records: Callable[[], Records], lives: list[int]
) -> None:
    """Also while all is by chance: random numbers begin anew in every life."""
    records, plan = make_records(), make(sweep(), {}, None)
    tried = [settings["lr"] for count in lives for settings in propose(plan, records, count, lambda record: 1.0)]
    assert len(tried) == sum(lives) == len(set(tried))
    assert tried[0] == 0.01


@pytest.mark.parametrize(("trials", "by_chance"), [(8, 2), (40, 10), (100, 10)])
def test_the_first_proposals_come_by_chance_and_later_ones_from_what_is_known(
    make_records: Callable[[], Records], trials: int, by_chance: int
) -> None:
    """So two searches agree until they have seen enough to know that they search for opposite things."""
    plan = make(sweep(trials=trials, space={"lr": uniform(0.0, 1.0)}), {}, None)
    small, large = (
        propose(plan, make_records(), by_chance + 1, lambda record, sign=sign: sign * record.settings["lr"])
        for sign in (1, -1)
    )
    assert small[:by_chance] == large[:by_chance]
    assert small[by_chance:] != large[by_chance:]


def known(plan: Plan, records: Records, rows: list[dict[str, Any]], unfinished: list[dict[str, Any]]) -> Records:
    """Records of complete trials, the good ones in the middle of their list, and of those that still train."""
    for i, settings in enumerate([*rows, *unfinished]):
        name, config = f"{i:04d}", dataclasses.asdict(plan.config(settings))
        distributions = {field: json.loads(distribution_to_json(plan.space[field])) for field in settings}
        records.append("trial", trial=name, settings=settings, config=config, distributions=distributions)
        if i < len(rows):
            commit(records, name, 1, abs(i - len(rows) / 2), "completed")
    return records


def test_what_is_being_tried_at_the_moment_is_taken_into_account(make_records: Callable[[], Records]) -> None:
    plan = make(sweep(space={"lr": uniform(0.0, 1.0)}), {}, None)
    rows = [{"lr": i / 20} for i in range(20)]
    low, high = (propose(plan, known(plan, make_records(), rows, [{"lr": lr}] * 4), 9)[4:] for lr in (0.45, 0.55))
    assert low != high


CONDITIONS = {"lr": {"batch": [4]}, "sleep": {"batch": [4]}}


@pytest.mark.parametrize("conditions", [{}, CONDITIONS])
def test_fields_are_searched_together(
    make_records: Callable[[], Records], conditions: Mapping[str, Mapping[str, Sequence[Any]]]
) -> None:
    """What was good together matters: the proposals for one field follow from the other's values in good trials. Fields
    that share their condition are searched together where they are searched at all."""
    space = {"lr": uniform(0.0, 1.0), "sleep": uniform(0.0, 1.0), "batch": choice(2, 4)}
    plan = make(sweep(space=space, conditions=conditions), {}, None)
    proposed = []
    for shift in (0, 7):
        rows: list[dict[str, Any]] = [
            {"batch": 4, "lr": i / 24, "sleep": (i * 5 + shift) % 24 / 24} if i % 2 or not conditions else {"batch": 2}
            for i in range(24)
        ]
        drawn = propose(plan, known(plan, make_records(), rows, []), 12)
        proposed.append([settings["lr"] for settings in drawn if "lr" in settings])
    assert len(proposed[0]) > 2 and proposed[0] != proposed[1]


@pytest.mark.parametrize(
    ("field", "distribution", "valid", "middle"),
    [
        ("lr", uniform(0.0, 1.0), None, 0.5),
        ("lr", log_uniform(1e-4, 1.0), None, 1e-2),
        ("lr", FloatDistribution(0.1, 0.5, step=0.2), [0.1, 0.3, 0.5], None),
        ("batch", integer(2, 10, step=4), [2, 6, 10], None),
        ("batch", integer(2, 4), [2, 3, 4], None),
        ("batch", IntDistribution(1, 10_000, log=True), None, 100),
        ("batch", choice(2, 5), [2, 5], None),
    ],
)
def test_a_range_is_searched_as_it_was_written(
    make_records: Callable[[], Records], field: str, distribution: Any, valid: list[float] | None, middle: float | None
) -> None:
    """All of its values come, and no others; half of a range lie below its middle, which is geometric for a log."""
    settings = {"epochs": 1, "batch": 2, "lr": 0.1}
    plan = make(sweep(space={field: distribution}, settings=settings, trials=1000), {}, None)
    values = [drawn[field] for drawn in propose(plan, make_records(), 80)]
    if valid is not None:
        assert sorted(set(values)) == pytest.approx(valid)
    else:
        assert 0.35 < sum(value < middle for value in values) / 80 < 0.65


def test_a_field_is_searched_where_all_of_its_conditions_hold(make_records: Callable[[], Records]) -> None:
    """Whether a field was drawn, fixed on the command line, or has its default; and however a tuple is written."""
    space = {"lr": log_uniform(1e-3, 1e-1), "batch": choice(2, 4), "nan_at": choice(0, 9)}
    settings = {"epochs": 1, "batch": 4}
    both = {"lr": {"batch": [4], "nan_at": [0]}}
    plan = make(sweep(space=space, conditions=both, settings=settings), {}, None)
    drawn = propose(plan, make_records(), 40)
    assert {(s["batch"], s["nan_at"]): "lr" in s for s in drawn} == {
        (4, 0): True,
        (2, 0): False,
        (4, 9): False,
        (2, 9): False,
    }
    for value, searched in ((4, True), (2, False)):
        fixed = make(sweep(space=space, conditions=both), {"set": (f"batch={value}", "nan_at=0")}, None)
        assert all(("lr" in s) == searched for s in propose(fixed, make_records(), 5))

    chain = {"batch": {"nan_at": [9]}, "lr": {"batch": [4]}}
    for ordered in (space, dict(reversed(space.items()))):  # what a field needs is drawn before it in any case
        plan = make(sweep(space=ordered, conditions=chain, settings=settings), {}, None)
        found = {(s["nan_at"], s.get("batch")): "lr" in s for s in propose(plan, make_records(), 40)}
        assert found == {(0, None): True, (9, 4): True, (9, 2): False}

    space = {"widths": choice((1,), (16, 32)), "lr": log_uniform(1e-3, 1e-1)}
    for wanted in ((16, 32), "16:32"):
        plan = make(sweep(task=Needy, space=space, conditions={"lr": {"widths": [wanted]}}), {}, None)
        drawn = propose(plan, make_records(), 20)
        assert {s["widths"]: "lr" in s for s in drawn} == {"1": False, "16:32": True}
