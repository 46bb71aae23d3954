"""No setting is tried twice, by whatever means it is proposed and in however many lives; a space that has no more of
them ends the search."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
from made_sweeps import manifest
from one_process import Machine, at, curve_sweep, machine
from optuna.distributions import FloatDistribution, IntDistribution
from toys import ToyConfig, toy_sweep
from tune_stand_in import END, commit, play, search

from genlab.errors import GenlabError
from genlab.sweep import Sweep, choice, integer, log_uniform, uniform
from genlab.sweep.closing import exhausted_line
from genlab.sweep.plan import Plan, make
from genlab.sweep.proposals import instead, startup
from genlab.sweep.search import MODELLED, Search, scheduler
from genlab.sweep.space import Space
from genlab.tracking.outcome import outcome
from genlab.tracking.records import Records, TrialRecord
from genlab.tracking.storage import Storage

__all__ = ["machine"]


@dataclass(frozen=True, kw_only=True)
class MixedConfig(ToyConfig):
    """With a field of each kind; odd batches are refused beside a flag."""

    flag: bool = False
    widths: tuple[int, ...] = (8,)
    decay: float = 0.9
    strict: bool = False

    def check(self) -> None:
        super().check()
        if self.strict and self.flag and self.megabytes % 2:
            raise GenlabError(f"megabytes={self.megabytes} must be even beside a flag")


class Mixed(toys.Toy):
    Config = MixedConfig


CONDITIONS = {"megabytes": {"batch": [4, 6]}, "flag": {"megabytes": [1, 2]}}
SPACES: dict[str, tuple[Mapping[str, Any], Mapping[str, Any], int]] = {  # with conditions; how many settings it has
    "one value": ({"sleep": uniform(0.5, 0.5)}, {}, 1),
    "one integer": ({"megabytes": integer(3, 3)}, {}, 1),
    "two": ({"decay": choice(0.9, 0.95)}, {}, 2),
    "bool": ({"flag": choice(True, False)}, {}, 2),
    "bool and choice": ({"flag": choice(False, True), "batch": choice(2, 4, 6)}, {}, 6),
    "tuples": ({"widths": choice((8,), (16, 32), ()), "flag": choice(False, True)}, {}, 6),
    "steps": ({"megabytes": integer(0, 10, step=5), "sleep": FloatDistribution(0.1, 0.5, step=0.1)}, {}, 15),
    "logarithmic integers": ({"megabytes": IntDistribution(1, 9, log=True)}, {}, 9),
    "condition on a step": (
        {"sleep": FloatDistribution(0.1, 0.5, step=0.1), "flag": choice(False, True)},
        {"flag": {"sleep": [0.3]}},
        6,
    ),
    "conditions": ({"batch": choice(2, 4, 6), "megabytes": integer(1, 3), "flag": choice(True, False)}, CONDITIONS, 12),
    "more than the process proposes": ({"megabytes": integer(1, 30), "batch": choice(2, 4, 6)}, {}, 90),
    "of a condition many": (
        {"flag": choice(False, True), "megabytes": integer(1, 70)},
        {"megabytes": {"flag": [True]}},
        71,
    ),
}


def plan_of(space: Mapping[str, Any], conditions: Mapping[str, Any] = {}, **options: Any) -> Plan:
    settings = {"epochs": 1, "batch": 4, "megabytes": 1, "sleep": 0.5, "lr": 0.01}
    if isinstance(space.get("megabytes"), IntDistribution):
        settings["megabytes"] = space["megabytes"].low
    if "sleep" in space:
        settings["sleep"] = space["sleep"].high
    sweep = toy_sweep(task=Mixed, space=space, conditions=conditions, settings=settings)
    return make(sweep, {"trials": 200, **options}, None)


def from_the_setting(record: TrialRecord, epoch: int) -> float:
    """A level for each value; a trial that asks for it fails or diverges."""
    settings = record.config
    return settings["megabytes"] % 7 + settings["sleep"] + settings["batch"] / 10 + 0.3 * settings["flag"]


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records.create(Storage(str(tmp_path)), manifest("toy"))


def tried(records: Records) -> list[str]:
    return [json.dumps(dict(trial.settings), sort_keys=True) for trial in records.trials.values()]


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("name", SPACES)
def test_each_setting_is_tried_once_and_then_the_search_ends(records: Records, name: str, lanes: int) -> None:
    space, conditions, count = SPACES[name]
    plan = plan_of(space, conditions)
    assert (plan.trials, plan.asked) == (count, 200)
    searcher = search(plan, records)
    play(plan, records, scheduler(plan, records), searcher, lanes=lanes, curve=from_the_setting)
    assert len(records.trials) == len(set(tried(records))) == count
    configs = {json.dumps({**trial.config}, sort_keys=True) for trial in records.trials.values()}
    assert len(configs) == count  # and no two are the same by what is not searched
    assert records.trials["0000"].settings == plan.default
    assert searcher.suggest("more") == Search.FINISHED
    longer = plan_of(space, conditions, trials=300)
    assert search(longer, records).suggest("more") == Search.FINISHED


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", ["two", "bool and choice", "steps", "conditions"])
def test_those_that_cover_the_space_are_new(name: str, seed: int) -> None:
    space, conditions, count = SPACES[name]
    plan = plan_of(space, conditions, seed=seed)
    first = [plan.default, *startup(plan, Space(plan.scope))]
    assert len(first) == min(count, 5) == len({json.dumps(settings, sort_keys=True) for settings in first})


@pytest.mark.parametrize("seed", range(3))
def test_two_trials_of_two_values_have_one_each(records: Records, seed: int) -> None:
    plan = make(toy_sweep(task=Mixed, space={}), {"set": ("decay=0.9,0.95",), "trials": 2, "seed": seed}, None)
    play(plan, records, scheduler(plan, records), search(plan, records), lanes=1, curve=from_the_setting)
    assert [trial.settings["decay"] for trial in records.trials.values()] == [0.9, 0.95]


def test_a_setting_beside_endless_others_is_tried_once(records: Records) -> None:
    """Of one optimizer nothing is searched: also Optuna, which knows it to be good, must not have it again."""
    space = {"flag": choice(False, True), "lr": log_uniform(1e-3, 1e-1)}
    plan = plan_of(space, {"lr": {"flag": [True]}}, trials=MODELLED + 15)
    assert plan.trials == MODELLED + 15
    play(plan, records, scheduler(plan, records), search(plan, records), curve=lambda one, _: float(one.config["flag"]))
    assert [dict(trial.settings) for trial in records.trials.values()].count({"flag": False}) == 1
    assert len(set(tried(records))) == len(records.trials) == MODELLED + 15


def test_what_runs_is_not_proposed_again_by_any_means(records: Records) -> None:
    """All lanes ask before anything has ended, or anything more has."""
    plan = plan_of(*SPACES["more than the process proposes"][:2])
    searcher = search(plan, records)
    for i in range(90):
        assert isinstance(searcher.suggest(str(i)), dict)
        if i in (5, 20):  # the process, then Optuna, know something
            for trial in list(records.trials.values()):
                if trial.ends is None:
                    commit(records, trial.name, 1, from_the_setting(trial, 1), "completed")
    assert len(set(tried(records))) == 90 and sum(trial.ends is None for trial in records.trials.values()) == 69
    assert searcher.suggest("more") == Search.FINISHED


def test_what_runs_is_not_proposed_again_in_another_life(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genlab.sweep.search.MODELLED", 8)
    plan = plan_of(*SPACES["steps"][:2])
    searcher = search(plan, records)
    for i in range(11):
        searcher.suggest(str(i))
        if i in (2, 5, 8):
            name = f"{i:04d}"
            commit(records, name, 1, from_the_setting(records.trials[name], 1), "completed")
    records = Records.open(Storage(records.storage.url + "/.."), records.name)
    again = search(plan, records)
    assert len(again.unfinished) == 8
    for i in range(8 + 4):
        assert isinstance(again.suggest(str(i)), dict)
    assert len(set(tried(records))) == len(records.trials) == 15 and again.suggest("more") == Search.FINISHED


def test_trials_that_failed_or_diverged_are_not_tried_again(records: Records) -> None:
    plan = plan_of(*SPACES["steps"][:2])
    ends = itertools.cycle(["error", "diverged", 1.0])
    play(plan, records, scheduler(plan, records), search(plan, records), lanes=1, curve=lambda *_: next(ends))
    assert len(set(tried(records))) == len(records.trials) == 15


@pytest.mark.parametrize("name", ["steps", "conditions"])
def test_a_search_that_is_cut_off_or_extended_comes_to_the_same_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """By each means of proposing."""
    monkeypatch.setattr("genlab.sweep.search.MODELLED", 8)
    space, conditions, count = SPACES[name]

    def grown(*lives: tuple[int, int]) -> list[str]:
        """Settings of all trials, where each life asks for so many trials and ends at so many events."""
        records = Records.create(Storage(str(tmp_path)), manifest("toy"))
        for trials, until in lives:
            plan = plan_of(space, conditions, trials=trials, scheduler="fifo")
            searcher = search(plan, records)
            play(plan, records, scheduler(plan, records), searcher, until=until, lanes=1, curve=from_the_setting)
            records = Records.open(Storage(records.storage.url + "/.."), records.name)
        return tried(records)

    whole = grown((200, END))
    assert len(whole) == count
    assert grown(*((200, until) for until in range(3, 30, 4)), (200, END)) == whole
    assert grown((3, END), (7, END), (10, END), (200, END)) == whole


def test_the_seed_decides_which_comes_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genlab.sweep.search.MODELLED", 8)
    orders = []
    for seed in (0, 0, 1):
        records = Records.create(Storage(str(tmp_path)), manifest("toy"))
        plan = plan_of({"megabytes": integer(1, 20)}, seed=seed)
        play(plan, records, scheduler(plan, records), search(plan, records), lanes=1, curve=from_the_setting)
        orders.append(tried(records))
    assert orders[0] == orders[1] != orders[2] and {*orders[0]} == {*orders[2]}


def test_in_place_of_a_setting_that_was_tried_comes_one_that_is_like_it() -> None:
    plan = plan_of(
        {"megabytes": integer(0, 40), "sleep": FloatDistribution(0.0, 1.0, step=0.1), "flag": choice(False, True)}
    )
    space = Space(plan.scope)
    proposed = {"megabytes": 20, "sleep": 0.5, "flag": True}
    assert instead(plan, space, proposed, set(), 60) == proposed
    known = {space.key(proposed)}
    for _ in range(4):
        for number in range(60, 70):
            settings = instead(plan, space, proposed, known, number)
            assert settings is not None and space.key(settings) not in known
            assert settings["flag"] and abs(settings["megabytes"] - 20) <= 4 and settings["sleep"] == 0.5
        known.add(space.key(settings))


def test_of_those_that_are_as_much_like_it_chance_takes_one() -> None:
    found = set()
    for seed in range(4):
        plan = plan_of({"batch": choice(*range(2, 30))}, seed=seed)
        space = Space(plan.scope)
        for number in (60, 61, 60):
            settings = instead(plan, space, {"batch": 4}, {space.key({"batch": 4})}, number)
            assert settings is not None
            found.add((seed, number, settings["batch"]))
    assert len(found) == 8 and len({batch for _, _, batch in found}) > 4  # by seed and number, and by nothing else


@pytest.mark.parametrize("name", SPACES)
def test_all_settings_can_be_told_apart_and_listed(name: str) -> None:
    space, conditions, count = SPACES[name]
    made = Space(plan_of(space, conditions).scope)
    rows = np.array(list(made.all()))
    listed = [json.dumps(made.decode(row), sort_keys=True) for row in rows]
    assert len(set(listed)) == len({*made.keys(rows)}) == len(listed) == count
    np.testing.assert_array_equal(made.settle(np.nan_to_num(rows)), rows)
    for row, key in zip(rows, made.keys(rows), strict=True):
        assert made.key(made.decode(row)) == key
    known: set[bytes] = set()
    while (row := made.new(rows[:0], known)) is not None:
        known.add(made.keys(row[None])[0])
    assert known == {*made.keys(rows)}


def test_numbers_without_steps_never_end_and_differ_by_more_than_rounding() -> None:
    made = Space(plan_of({"sleep": uniform(0.0, 1.0), "megabytes": integer(0, 10**12)}).scope)
    first = np.array(list(itertools.islice(made.all(), 50)))
    assert len({*made.keys(first)}) == 50
    alone = Space(plan_of({"sleep": uniform(0.0, 1.0)}).scope)
    assert len({*alone.keys(np.array(list(itertools.islice(alone.all(), 50))))}) == 50
    same = np.array([[0.5, 0.5], [0.5 + 1e-12, 0.5], [0.5 + 1e-6, 0.5]])
    assert [made.keys(same)[0] == key for key in made.keys(same)] == [True, True, False]
    assert made.key({"sleep": 0.5, "megabytes": 10**11}) != made.key({"sleep": 0.5, "megabytes": 10**11 + 1})


# ---- settings that the config refuses


STRICT = {"flag": choice(False, True), "megabytes": choice(2, 3, 4, 5)}


def strict(**options: Any) -> Plan:
    settings = {"epochs": 1, "megabytes": 2, "strict": True}
    return make(toy_sweep(task=Mixed, space=STRICT, settings=settings), {"trials": 50, **options}, None)


def test_what_the_config_refuses_makes_no_trial_and_is_said_once(
    records: Records, caplog: pytest.LogCaptureFixture
) -> None:
    """Each value is taken by itself, two together are not: it is no reason to end the search."""
    plan = strict()
    assert (plan.trials, plan.asked) == (6, 50)
    play(plan, records, scheduler(plan, records), search(plan, records), curve=from_the_setting)
    assert len(set(tried(records))) == len(records.trials) == 6
    assert not any(one.config["flag"] and one.config["megabytes"] % 2 for one in records.trials.values())
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("left out, as all settings that the config refuses: {'flag': True, 'megabytes': ")
    assert said.endswith("must be even beside a flag")


def test_in_place_of_what_the_config_refuses_comes_what_it_takes() -> None:
    plan = strict()
    for number in range(60, 70):
        settings = instead(plan, Space(plan.scope), {"flag": True, "megabytes": 3}, set(), number)
        assert settings in (
            {"flag": True, "megabytes": 2},
            {"flag": True, "megabytes": 4},
            {"flag": False, "megabytes": 3},
        )


@pytest.mark.parametrize("modelled", [2, MODELLED])
def test_a_search_ends_where_nothing_is_left_that_the_config_takes(
    records: Records, monkeypatch: pytest.MonkeyPatch, modelled: int
) -> None:
    """By whatever means it proposes; also where so much is refused that nobody could count the rest."""
    monkeypatch.setattr("genlab.sweep.search.MODELLED", modelled)
    with monkeypatch.context() as patch:
        patch.setattr("genlab.sweep.space.REFUSED", 1)
        plan = strict()
    assert plan.trials == 50
    searcher = search(plan, records)
    play(plan, records, scheduler(plan, records), searcher, lanes=1, curve=from_the_setting)
    assert len(set(tried(records))) == len(records.trials) == 6
    assert exhausted_line(plan, outcome(records.trials.values(), "min")) == "the space is exhausted: it has 6 settings"
    del records.trials["0005"]
    assert exhausted_line(plan, outcome(records.trials.values(), "min")) is None


def test_what_is_left_is_found_behind_all_that_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few settings in a row a config may refuse."""
    monkeypatch.setattr("genlab.sweep.space.REFUSED", 2)
    space = Space(plan_of({"megabytes": integer(1, 30)}).scope)
    known = {space.key({"megabytes": number}) for number in range(1, 30)}
    assert [space.decode(row) for row in space.untried(known)] == [{"megabytes": 30}]


def test_settings_are_counted_up_to_what_is_asked_for() -> None:
    space = Space(strict().scope)
    assert [space.count(most) for most in (1, 5, 6, 7, 100)] == [1, 5, 6, 6, 6]
    assert [strict(trials=trials).trials for trials in (5, 6, 7)] == [5, 6, 6]
    huge = plan_of({"megabytes": integer(0, 10**12), "batch": choice(2, 4)})
    assert huge.trials == 200
    assert plan_of({"batch": choice(2, 4), "sleep": uniform(0.1, 0.9)}).trials == 200


# ---- what is said


FINITE = {"space": {"level": choice(10.0, 20.0, 30.0)}, "grid": (), "trials": 50}


def finite(**changes: Any) -> Sweep:
    return curve_sweep(**FINITE | changes)


def test_a_sweep_that_has_no_more_settings_ends_well_and_says_so(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert machine.run(finite()) == 0
    said = capsys.readouterr().out
    assert "there are only 3 settings, and none is tried twice: 3 of the 50 trials will run\n" in said
    assert "3 trials (3 completed)\nthe space is exhausted: it has 3 settings\n" in said
    assert next(iter(machine.records.trials.values())).settings == {"level": 10.0}
    assert machine.fits[0][2] == 3 and machine.asked_room[0][1] == 3
    # resumed, also for more trials, it trains nothing and ends as well
    for options in ({}, {"trials": 60}, {"trials": 3}):
        assert machine.run(finite(), resume="latest", **options) == 0
        assert machine.trained() == [] and len(machine.records.trials) == 3
        assert "the space is exhausted: it has 3 settings" in capsys.readouterr().out
    with pytest.raises(GenlabError, match="has 3 trials already: --trials 2 would take some away"):
        machine.run(finite(), resume="latest", trials=2)


def test_a_sweep_that_tried_a_setting_twice_is_resumed_all_the_same(machine: Machine) -> None:
    """As one may have of an earlier genlab."""
    assert machine.run(finite(), trials=2) == 0
    records = machine.records
    first, second = records.trials.values()
    for name, like in (("0002", first), ("0003", second)):
        again = {"settings": like.settings, "config": like.config, "distributions": like.distributions}
        records.append("trial", trial=name, **again)
        records.append("error", trial=name, epoch=1, traceback="ZeroDivisionError")
    assert machine.run(finite(), resume="latest", trials=50) == 0
    assert machine.trained() == [] and len(machine.records.trials) == 4


def test_a_sweep_that_has_more_settings_says_nothing(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert machine.run(finite(), trials=2) == 0
    assert "settings" not in capsys.readouterr().out
    assert machine.run(finite(), resume="latest", trials=3) == 0  # as many as there are
    said = capsys.readouterr().out
    assert "none is tried twice" not in said and "the space is exhausted: it has 3 settings" in said


def test_it_is_said_of_a_search_alone_and_of_one_that_was_not_stopped(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert machine.run(finite(), set=("level=20",)) == 0
    assert "exhausted" not in capsys.readouterr().out
    machine.before = at("0002", 2, lambda: {"kind": "storage", "value": "no space is left"})
    assert machine.run(finite()) == 1  # with its last setting
    assert "exhausted" not in capsys.readouterr().out and len(machine.records.trials) == 3
    machine.before = lambda request: None
    assert machine.run(finite(), resume="latest") == 0
    assert machine.trained() == [("0002", 2), ("0002", 3)] and len(machine.records.trials) == 3
    assert "the space is exhausted: it has 3 settings" in capsys.readouterr().out


def test_a_dry_run_says_it_too(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert machine.run(finite(), dry_run=True) == 0
    said = capsys.readouterr().out
    assert (
        "curve: 3 trials of at most 3 epochs\nthere are only 3 settings, and none is tried twice: 3 of the 50" in said
    )


def test_where_nothing_is_searched_a_number_of_trials_is_not_ignored_without_a_word() -> None:
    with pytest.raises(GenlabError, match="--trials 7 would do nothing: no field is searched"):
        make(finite(), {"set": ("level=20",), "trials": 7}, None)
    assert make(finite(), {"set": ("level=20",)}, None).fewer_in_words() == ""  # nobody asked for more
    assert make(finite(), {"set": ("level=20",), "trials": 1}, None).fewer_in_words() == ""
    single = make(finite(space={"level": choice(10.0)}), {}, None)
    assert single.fewer_in_words() == "there is only 1 setting, and none is tried twice: 1 of the 50 trials will run"
