"""The Gaussian process that proposes settings while trials are few."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_sweeps import manifest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from toys import toy_sweep
from tune_stand_in import commit

from genlab.sweep import choice, integer, uniform
from genlab.sweep.plan import Plan, make
from genlab.sweep.proposals import Process, _improvement, _known, propose
from genlab.sweep.space import Space
from genlab.tracking.records import Records
from genlab.tracking.storage import Storage

NUMBERS = {"lr": uniform(0.0, 1.0), "sleep": uniform(0.0, 1.0), "megabytes": integer(0, 100)}


def plan_of(space: Any, **changes: Any) -> Plan:
    return make(toy_sweep(space=space, settings={"epochs": 4, "lr": 0.5, "batch": 4}, **changes), {"trials": 40}, None)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records.create(Storage(str(tmp_path)), manifest("toy"))


def add(records: Records, settings: dict[str, Any], *curve: float | str, ends: str | None = "completed") -> str:
    name = f"{len(records.trials):04d}"
    records.append("trial", trial=name, settings=settings, config={"epochs": 1, "seed": 0}, distributions={})
    for epoch, value in enumerate(curve, 1):
        commit(records, name, epoch, value, ends if epoch == len(curve) else None)
    return name


def test_it_expects_what_a_peer_expects() -> None:
    """scikit-learn's, of the same lengths and noise."""
    chance, space = np.random.default_rng(0), Space(plan_of(NUMBERS).scope)
    rows, more, asked = (space.random(n, chance) for n in (12, 3, 20))
    scores = np.sin(5 * rows.sum(1)) + rows[:, 0]
    scores = (scores - scores.mean()) / scores.std()
    lengths, noise = np.log([0.3, 0.6, 1.2]), math.log(0.02)
    process = Process(rows, scores, space, (lengths, noise))

    def peer(rows: np.ndarray, scores: np.ndarray) -> Any:
        kernel = ConstantKernel(process.variance) * Matern(np.exp(lengths), nu=2.5)
        kernel += WhiteKernel(process.variance * math.exp(noise))
        return GaussianProcessRegressor(kernel, optimizer=None, alpha=0).fit(rows, scores)

    seen = process.given(more, np.array([1.0, -1.0, 0.5]))
    of_peer = peer(rows, scores)
    for ours, theirs in (
        (process, of_peer),
        (seen, peer(np.vstack([rows, more]), np.concatenate([scores, [1.0, -1.0, 0.5]]))),
    ):
        mean, deviation = ours.expects(asked)
        of_them, with_noise = theirs.predict(asked, return_std=True)
        np.testing.assert_allclose(mean, of_them, atol=1e-8)
        np.testing.assert_allclose(deviation**2 + process.variance * math.exp(noise), with_noise**2, atol=1e-8)
    explained = [of_peer.log_marginal_likelihood()]
    for variance in (process.variance * 0.8, process.variance * 1.25):  # its own explains the scores best
        kernel = ConstantKernel(variance) * Matern(np.exp(lengths), nu=2.5) + WhiteKernel(variance * math.exp(noise))
        other = GaussianProcessRegressor(kernel, optimizer=None, alpha=0).fit(rows, scores)
        explained.append(other.log_marginal_likelihood())
    assert max(explained) == explained[0]


def test_it_finds_which_fields_matter() -> None:
    chance, space = np.random.default_rng(1), Space(plan_of(NUMBERS).scope)
    rows = space.random(40, chance)
    scores = np.cos(6 * rows[:, 1])
    lengths, noise = Process(rows, (scores - scores.mean()) / scores.std(), space).fitted
    assert lengths[1] < min(lengths[0], lengths[2]) - 1 and noise < math.log(0.01)
    loud = Process(rows, chance.normal(size=40), space).fitted[1]
    assert loud > math.log(0.05)


def test_categories_and_what_is_not_searched_lie_apart() -> None:
    """Two settings are the more alike the more categories they share; a field that both leave out is alike."""
    space = Space(plan_of({"batch": choice(2, 4, 6), "nan_at": choice(0, 9), "lr": uniform(0.0, 1.0)}).scope)
    nan = math.nan
    rows = np.array([[0, 0, 0.5], [2, 0, 0.5], [2, 1, 0.5], [0, 0, nan], [1, 0, nan]])
    process = Process(rows[:1], np.array([1.0]), space, (np.zeros(3), math.log(1e-6)))
    means = process.expects(rows)[0]
    assert (
        means[0] > means[1] > means[2] and means[1] == pytest.approx(means[3]) and means[4] == pytest.approx(means[2])
    )
    left_out = Process(rows[3:4], np.array([1.0]), space, (np.zeros(3), math.log(1e-6)))
    assert left_out.expects(rows[3:4])[0][0] == pytest.approx(1.0, abs=1e-4)
    assert left_out.expects(rows[4:])[0][0] == pytest.approx(means[1])


def test_improvement_is_the_expected_one() -> None:
    gap, deviation = np.array([-1.0, 0.0, 0.3, 2.0]), np.array([0.5, 1.0, 0.2, 3.0])
    draws = np.random.default_rng(0).normal(size=400_000)
    expected = [np.maximum(g - d * draws, 0).mean() for g, d in zip(gap, deviation, strict=True)]
    np.testing.assert_allclose(_improvement(gap, deviation), expected, rtol=0.02, atol=1e-3)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_scores_are_of_what_is_known_of_each_trial(records: Records, mode: str) -> None:
    """Low is good; a pruned trial counts as what it would have come to; bad ones, and diverged ones, count alike."""
    sign = 1.0 if mode == "min" else -1.0
    plan = plan_of(NUMBERS, mode=mode)
    curves = [(5.0, 3.0, 2.0, 1.0), (6.0, 4.0, 3.0, 2.0), (7.0, 4.0, 3.0, 3.0), (9.0, 5.0), (99.0,), (8.0, "diverged")]
    for i, curve in enumerate(curves):
        told = [value if isinstance(value, str) else sign * value for value in curve]
        add(records, {"lr": i / 10}, *told, ends="completed" if len(curve) == 4 else "pruned")
    add(records, {"lr": 0.8}, "error")
    add(records, {"lr": 0.9}, sign * 1.0, ends=None)
    records.append(
        "trial", trial="confirm-0000", settings={"lr": 0.0}, config={"epochs": 1, "seed": 0}, distributions={}
    )
    rows, scores, running = _known(plan, Space(plan.scope), records)
    assert rows[:, 0].tolist() == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.8] and running[:, 0].tolist() == [0.9]
    # pruned at epoch 2 with 5: others gained 2, 2 and 1 from there on; the last three are capped
    finals = [1.0, 2.0, 3.0, 3.0]
    cap = 3 * np.median([*finals, 95.0]) - 2 * 1.0
    expected = np.array([*finals, cap, cap, cap])
    np.testing.assert_allclose(scores, (expected - expected.mean()) / expected.std())


@pytest.mark.parametrize("end", ["diverged", "error"])
def test_where_all_went_wrong_the_next_one_is_elsewhere(records: Records, end: str) -> None:
    plan = plan_of({"lr": uniform(0.0, 1.0)})
    for i in range(5):
        add(records, {"lr": i / 100}, end)
    assert propose(plan, Space(plan.scope), records, 5)["lr"] > 0.3


def test_what_runs_is_not_tried_beside_itself(records: Records) -> None:
    """Many lanes may ask before anything has ended: they get settings apart from each other."""
    plan = plan_of({"lr": uniform(0.0, 1.0)})
    tried = [0.5]
    add(records, {"lr": 0.5})
    for number in range(1, 8):
        settings = propose(plan, Space(plan.scope), records, number)
        assert min(abs(settings["lr"] - one) for one in tried) > 0.04
        tried.append(settings["lr"])
        add(records, settings)


def test_lanes_that_ask_one_after_the_other_do_not_get_the_same_valley_twice(records: Records) -> None:
    """What already runs where the best is expected is worth no second trial."""
    plan = plan_of({"lr": uniform(0.0, 1.0)})
    for i, loss in enumerate((0.5, 0.2, 0.4, 0.3, 0.6, 0.1)):
        add(records, {"lr": i / 5}, loss)
    asked = []
    for number in range(6, 10):
        asked.append(propose(plan, Space(plan.scope), records, number)["lr"])
        add(records, {"lr": asked[-1]})
    assert asked[0] > 0.9 and max(asked) - min(asked) > 0.3


def test_no_setting_comes_twice_while_there_are_others(records: Records) -> None:
    plan = plan_of({"batch": choice(2, 4), "megabytes": integer(0, 2), "nan_at": choice(0, 9)})
    for number in range(12):
        settings = propose(plan, Space(plan.scope), records, number) if number else dict(plan.default)
        add(records, settings, float(settings["megabytes"] + settings["batch"]))
    tried = [tuple(trial.settings.values()) for trial in records.trials.values()]
    assert len(set(tried)) == 12


def test_what_runs_does_not_come_twice_either(records: Records) -> None:
    """However good it is expected to be: in a space of six settings four run, and one is left."""
    plan = plan_of({"batch": choice(2, 4), "megabytes": integer(0, 2)})
    for number in range(6):
        settings = propose(plan, Space(plan.scope), records, number) if number else dict(plan.default)
        assert settings is not None
        add(records, settings, *([0.0] if number < 2 else []), ends="completed")
    assert len({tuple(trial.settings.values()) for trial in records.trials.values()}) == 6
    assert propose(plan, Space(plan.scope), records, 6) is None


def test_it_finds_the_valley(records: Records) -> None:
    """Of two numbers and a category within twenty trials."""
    plan = plan_of({"lr": uniform(0.0, 1.0), "sleep": uniform(0.0, 1.0), "batch": choice(2, 4, 6)})
    for number in range(20):
        settings = propose(plan, Space(plan.scope), records, number) if number else dict(plan.default)
        distance = (settings["lr"] - 0.8) ** 2 + (settings["sleep"] - 0.3) ** 2
        add(records, settings, distance + 0.2 * (settings["batch"] != 6))
    assert min(trial.objective or 0.0 for trial in records.trials.values()) < 0.01
