"""What is proposed next: new settings in every life, by chance at first, then from what is known."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from made_sweeps import manifest
from optuna.distributions import FloatDistribution, IntDistribution
from test_needs import Needy
from toys import toy_sweep
from tune_stand_in import END, commit, play, search

from genlab.sweep import Sweep, choice, integer, log_uniform, uniform
from genlab.sweep import search as searching
from genlab.sweep.plan import Plan, distribution_record, make
from genlab.sweep.proposals import STARTUP
from genlab.sweep.search import MODELLED, scheduler
from genlab.tracking.records import Records, TrialRecord
from genlab.tracking.storage import Storage


@pytest.fixture
def make_records(tmp_path: Path) -> Callable[[], Records]:
    return lambda: Records.create(Storage(str(tmp_path)), manifest("toy"))


def propose(plan: Plan, records: Records, count: int, objective: Any = None) -> list[dict[str, Any]]:
    """Settings of so many more trials, fewer where there are no more; each is complete before the next where
    `objective` says how good it is."""
    searcher = search(plan, records)
    found = []
    for i in range(count):
        if not isinstance(config := searcher.suggest(str(i)), dict):
            break
        record = records.trials[config["trial"]]
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


@pytest.mark.parametrize("trials", [8, 40, 100])
def test_the_first_proposals_cover_the_space_and_later_ones_come_from_what_is_known(
    make_records: Callable[[], Records], trials: int
) -> None:
    """So two searches agree until they have seen enough to know that they search for opposite things."""
    plan = make(sweep(trials=trials, space={"lr": uniform(0.0, 1.0)}), {}, None)
    small, large = (
        propose(plan, make_records(), STARTUP + 3, lambda record, sign=sign: sign * record.settings["lr"])
        for sign in (1, -1)
    )
    assert small[: STARTUP + 1] == large[: STARTUP + 1]
    assert small[STARTUP + 1 :] != large[STARTUP + 1 :]
    assert small[-1]["lr"] < large[-1]["lr"]


BOTH = {"lr": uniform(0.0, 1.0), "batch": choice(2, 4), "sleep": log_uniform(0.01, 1.0)}


@pytest.mark.parametrize("conditions", [{}, {"sleep": {"batch": [4]}}])
def test_a_search_that_is_cut_off_or_extended_proposes_what_it_would_have_proposed(
    make_records: Callable[[], Records], monkeypatch: pytest.MonkeyPatch, conditions: Any
) -> None:
    """By every means: covering the space, from the process, from Optuna. Each life ends in the midst of a trial."""
    monkeypatch.setattr("genlab.sweep.search.MODELLED", 9)

    def value(record: TrialRecord, epoch: int) -> float:
        return record.settings["lr"] + (record.settings["batch"] == 4) + record.settings.get("sleep", 0.3) / epoch

    def grown(*lives: tuple[int, int]) -> list[Any]:
        """Settings of all trials, where each life of the sweep has so many trials and ends at so many events."""
        records = make_records()
        for trials, until in lives:
            made = sweep(space=BOTH, conditions=conditions, settings={"epochs": 3, "batch": 4, "sleep": 0.1})
            plan = make(made, {"trials": trials, "scheduler": "asha"}, None)
            play(plan, records, scheduler(plan, records), search(plan, records), until=until, lanes=1, curve=value)
            records = Records.open(Storage(records.storage.url + "/.."), records.name)
        return [dict(trial.settings) for trial in records.trials.values()]

    whole = grown((24, END))
    assert len(whole) == 24
    assert grown(*((24, until) for until in range(3, 80, 7)), (24, END)) == whole
    assert grown((4, END), (9, END), (16, END), (24, END)) == whole


def test_each_means_has_its_trials(make_records: Callable[[], Records], monkeypatch: pytest.MonkeyPatch) -> None:
    """Four that cover the space, then the process, from the fiftieth on Optuna."""
    assert (STARTUP, MODELLED) == (4, 50)
    monkeypatch.setattr("genlab.sweep.search.MODELLED", 7)
    asked: list[tuple[str, int]] = []
    for name in ("propose", "sampler"):
        real = getattr(searching, name)
        record = lambda *given, name=name, real=real: (asked.append((name, given[-1])), real(*given))[1]  # noqa: E731
        monkeypatch.setattr(searching, name, record)
    propose(make(sweep(), {}, None), make_records(), 10, lambda record: record.settings["lr"])
    assert asked == [("propose", 5), ("propose", 6), ("sampler", 7), ("sampler", 8), ("sampler", 9)]


@pytest.mark.parametrize("lanes", [2, 5])
def test_what_comes_next_follows_from_the_records_alone(
    make_records: Callable[[], Records], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lanes: int
) -> None:
    """Wherever a sweep stands, with several trials unfinished, another driver proposes what this one does."""
    monkeypatch.setattr("genlab.sweep.search.MODELLED", 9)
    records = make_records()
    plan = make(sweep(space=BOTH, settings={"epochs": 3, "batch": 4, "sleep": 0.1}), {"trials": 24}, None)
    searcher, asha = search(plan, records), scheduler(plan, records)
    ask = searcher.suggest

    def asked(trial_id: str) -> Any:
        copy = tmp_path / f"copy-{trial_id}"
        shutil.copytree(records.storage.url, copy / records.name)
        other = search(plan, Records.open(Storage(str(copy)), records.name))
        resumed = [other.suggest(f"old-{i}") for i in range(len(other.unfinished))]
        handed = ask(trial_id)
        if isinstance(handed, dict):
            assert other.suggest(trial_id) == handed and handed not in resumed
        return handed

    monkeypatch.setattr(searcher, "suggest", asked)
    play(plan, records, asha, searcher, lanes=lanes, curve=lambda record, epoch: record.settings["lr"] / epoch)
    assert len(records.trials) == 24


def known(plan: Plan, records: Records, rows: list[dict[str, Any]], unfinished: list[dict[str, Any]]) -> Records:
    """Records of complete trials, the good ones in the middle of their list, and of those that still train."""
    for i, settings in enumerate([*rows, *unfinished]):
        name, config = f"{i:04d}", dataclasses.asdict(plan.config(settings))
        distributions = {field: distribution_record(plan.space[field]) for field in settings}
        records.append("trial", trial=name, settings=settings, config=config, distributions=distributions)
        if i < len(rows):
            commit(records, name, 1, abs(i - len(rows) / 2), "completed")
    return records


@pytest.mark.parametrize("count", [20, MODELLED])
def test_what_is_being_tried_at_the_moment_is_taken_into_account(
    make_records: Callable[[], Records], count: int
) -> None:
    plan = make(sweep(space={"lr": uniform(0.0, 1.0)}, trials=100), {}, None)
    rows = [{"lr": i / count} for i in range(count)]
    low, high = (propose(plan, known(plan, make_records(), rows, [{"lr": lr}] * 4), 9)[4:] for lr in (0.45, 0.55))
    assert low != high


CONDITIONS = {"lr": {"batch": [4]}, "sleep": {"batch": [4]}}


@pytest.mark.parametrize("count", [24, MODELLED])
@pytest.mark.parametrize("conditions", [{}, CONDITIONS])
def test_fields_are_searched_together(
    make_records: Callable[[], Records], conditions: Mapping[str, Mapping[str, Sequence[Any]]], count: int
) -> None:
    """What was good together matters: the proposals for one field follow from the other's values in good trials. Fields
    that share their condition are searched together where they are searched at all."""
    space = {"lr": uniform(0.0, 1.0), "sleep": uniform(0.0, 1.0), "batch": choice(2, 4)}
    plan = make(sweep(space=space, conditions=conditions, trials=100), {}, None)
    proposed = []
    for shift in (0, 7):
        rows: list[dict[str, Any]] = [
            {"batch": 4, "lr": i / 24 % 1, "sleep": (i * 5 + shift) % 24 / 24}
            if i % 2 or not conditions
            else {"batch": 2}
            for i in range(count)
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
    """All of its values come, each once, and no others; half of a range lie below its middle, which is geometric for a
    log."""
    settings = {"epochs": 1, "batch": 2, "lr": 0.1}
    plan = make(sweep(space={field: distribution}, settings=settings, trials=1000), {}, None)
    values = [drawn[field] for drawn in propose(plan, make_records(), 80)]
    if valid is not None:
        assert sorted(values) == pytest.approx(valid)
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
