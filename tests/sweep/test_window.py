"""However many trials there were, a proposal is made from the newest ones and the best of those before."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_sweeps import manifest
from optuna.trial import TrialState
from toys import toy_sweep
from tune_stand_in import commit, play, search

from genlab.sweep import search as module
from genlab.sweep.plan import Plan, make
from genlab.sweep.search import Search, is_default, scheduler, trial_name, window
from genlab.tracking.records import Records, TrialRecord
from genlab.tracking.storage import Storage


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WINDOW": 10, "BEST": 3, "MODELLED": 6}.items():
        monkeypatch.setattr(module, name, value)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records.create(Storage(str(tmp_path)), manifest("toy"))


def plan(trials: int, mode: str = "min") -> Plan:
    return make(toy_sweep(settings={"epochs": 1}, trials=trials, mode=mode), {}, None)


def objective(record: TrialRecord, epoch: int) -> float:
    """The best are 0004, 0011 and 0002; all others are worse the later they come."""
    return {4: -3.0, 11: -2.0, 2: -1.0}.get(int(record.name), 1.0 + int(record.name))


def known(searcher: Search, sign: int = 1) -> list[float]:
    """The numbers of the trials that Optuna knows, in its order; those that still run have none."""
    numbers = {sign * objective(record, 1): int(record.name) for record in searcher.records.trials.values()}
    return [
        numbers[trial.value] for trial in searcher.study.trials if trial.state == TrialState.COMPLETE and trial.value
    ]


def test_the_window_moves_in_steps() -> None:
    assert [window(number) for number in (0, 9, 19, 20, 29, 30, 47)] == [0, 0, 0, 10, 10, 20, 30]


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize(
    ("trials", "expected"),
    [(19, [*range(19)]), (24, [0, 2, 4, *range(10, 24)]), (35, [2, 4, 11, *range(20, 35)])],
)
def test_a_proposal_knows_the_newest_trials_and_the_best_of_those_before(
    records: Records, trials: int, expected: list[int], mode: str
) -> None:
    sign = 1 if mode == "min" else -1
    made, longer = plan(trials, mode), plan(trials + 1, mode)
    searcher = search(made, records)
    curve = lambda record, epoch: sign * objective(record, epoch)  # noqa: E731 - the best are the best by either mode
    play(made, records, scheduler(made, records), searcher, lanes=1, curve=curve)
    assert known(searcher, sign) == expected
    again = Records.open(Storage(records.storage.url + "/.."), records.name)
    assert known(search(longer, again), sign) == expected  # as in a later life


def test_the_best_before_are_of_those_that_ended(records: Records) -> None:
    """Trials of an earlier life that never ended take no place from a pruned one, however good they were then."""
    distributions = make(toy_sweep(), {}, None).identity().space
    for i in range(25):
        settings = {"lr": 1e-3 * (i + 1)}
        records.append(
            "trial", trial=f"{i:04d}", settings=settings, config={"epochs": 3, "seed": 0}, distributions=distributions
        )
        if i not in (3, 4):
            commit(records, f"{i:04d}", 1, 5.0 + i, "pruned" if i == 2 else "completed" if i in (0, 1) else "diverged")
        else:
            commit(records, f"{i:04d}", 1, 0.0)
    study = search(plan(40), records).study
    assert {0.001, 0.002, 0.003} <= {trial.params["lr"] for trial in study.trials if trial.state.is_finished()}


def test_trials_that_run_meanwhile_are_known_after_the_window_has_moved(records: Records) -> None:
    """Some begin before it moves and end after it; what they come to is told as that of all others."""
    searcher = search(plan(45), records)
    play(plan(45), records, scheduler(plan(45), records), searcher, lanes=7, curve=objective)
    assert all(trial.ends == "completed" for trial in records.trials.values()) and len(records.trials) == 45
    assert not searcher.asked and {trial.state for trial in searcher.study.trials} == {TrialState.COMPLETE}
    assert len(searcher.study.trials) <= 2 * 10 + 3 + 7


def test_names_sort_as_they_count(tmp_path: Path) -> None:
    for trials, last in ((10_000, "9999"), (10_001, "10000"), (1_000_000, "999999")):
        records = Records.create(Storage(str(tmp_path)), manifest("toy"))
        names = [trial_name(number, plan(trials), records) for number in (0, 9, 10, trials - 1)]
        assert names == sorted(names) and names[-1] == last and len({*map(len, names)}) == 1
        assert is_default(names[0]) and not any(map(is_default, names[1:]))
    records.append("trial", trial="0000", settings={}, config={"epochs": 1, "seed": 0}, distributions={})
    assert trial_name(7, plan(1_000_000), records) == "0007"  # of a sweep that is extended
