"""What is read of one trial: its metrics by their own names, and no more of it than is needed at a time."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from figures import METRIC, told

from genlab.errors import GenlabError
from genlab.report.contact_sheet import contact_sheet
from genlab.report.curves import curves
from genlab.report.trials import Reports, own_metrics, trained, why_no_more
from genlab.tracking.epoch_reports import EpochReport, ReplicaReport


def report(seeds: tuple[int, ...], *metrics: dict[str, float]) -> EpochReport:
    return EpochReport("0000", 1, 0.0, 0, seeds, [ReplicaReport(own) for own in metrics])


def test_metrics_have_the_names_that_the_task_gave_them() -> None:
    one = {"kid": 1.0, "kid/std": 2.0, "kid/seed_0": 3.0, "b": np.nan}
    assert list(own_metrics(report((0,), one))) == list(one)
    two = own_metrics(report((0, 1), {"kid": 1.0, "a": 5.0}, {"a": 7.0, "kid": 2.0, "c": 1.0}))
    assert two == {"kid": 1.5, "a": 6.0}


def test_a_report_is_read_when_it_is_asked_for_and_its_damage_is_its_own(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    sweep.whole_trial("0000", 2)
    trial = sweep.records.trials["0000"]
    Path(sweep.records.storage.root, trial.epochs[1].report.path).write_bytes(b"junk")
    reports = Reports(sweep.records, trial)
    first, second = reports[1], reports[2]
    assert isinstance(first, GenlabError)
    assert isinstance(second, EpochReport) and second.epoch == 2
    Path(sweep.records.storage.root, trial.epochs[2].report.path).unlink()
    assert reports[2] is second  # it was kept
    sweep.trial("0001")
    empty = sweep.records.storage.write("trials/0001/empty", report(()).encode())
    sweep.records.append("epoch", trial="0001", epoch=1, report=empty, state=None, objective=1.0, ends="completed")
    assert isinstance(Reports(sweep.records, sweep.records.trials["0001"])[1], GenlabError)
    for draw in (contact_sheet, curves):
        draw(sweep.records)  # it costs its own cell


def test_of_a_long_trial_the_images_are_not_kept(
    make_sweep: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep()
    sweep.whole_trial("0000", 12)
    living: list[weakref.ref[EpochReport]] = []
    most = []
    real = EpochReport.decode

    def decode(data: bytes, name: str) -> EpochReport:
        found = real(data, name)
        living.append(weakref.ref(found))
        most.append(sum(ref() is not None for ref in living))
        return found

    monkeypatch.setattr(EpochReport, "decode", staticmethod(decode))
    assert len(trained(sweep.records, sweep.records.trials["0000"], "").metrics) == 12
    assert max(most) <= 2  # that one, and the one before


def test_all_steps_of_a_trial_in_their_places(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep(seeds=(3, 4))
    sweep.trial("0000")
    sweep.epoch("0000", 1, steps=4)
    sweep.epoch("0000", 3, "completed", steps=4)  # of the second nothing is known
    found = trained(sweep.records, sweep.records.trials["0000"], "best")
    curves = [sweep.report("0000", epoch, 4).replicas[0].steps["score/real"] for epoch in (1, 3)]
    np.testing.assert_array_equal(found.steps["score/real"], [*curves[0], *[np.nan] * 4, *curves[1]])
    assert found.ends == {1: 4, 3: 12} and found.seeds == (3, 4) and found.called == "trial 0000, best"


def test_an_epoch_that_says_it_began_after_steps_that_nobody_saw_takes_no_memory(
    make_sweep: Callable[..., Any],
) -> None:
    """A report comes from anybody, and its first step may be any number."""
    sweep = make_sweep()
    sweep.trial("0000")
    sweep.epoch("0000", 1, steps=4)
    sweep.epoch("0000", 2, report=replace(sweep.report("0000", 2, 4), first_step=2**52))
    sweep.epoch("0000", 3, "completed", steps=4)
    found = trained(sweep.records, sweep.records.trials["0000"], "best")
    assert found.damaged == [2] and found.ends == {1: 4, 3: 12} and list(found.metrics) == [1, 3]


def test_of_a_metric_the_finite_values_and_the_last_of_them(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [{METRIC: 3.0, "a": np.nan}, {METRIC: 2.0, "a": 5.0}, {METRIC: np.inf}])
    found = trained(sweep.records, sweep.records.trials["0000"], "")
    assert found.finite(METRIC) == {1: 3.0, 2: 2.0} and found.last(METRIC) == 2.0
    assert found.finite("a") == {2: 5.0} and found.finite("b") == {} and found.last("b") is None
    assert found.called == "trial 0000" and not found.damaged and not found.of_some


@pytest.mark.parametrize(
    ("ends", "why"),
    [
        ("completed", "Ended before this epoch."),
        ("pruned", "Stopped early by the scheduler."),
        ("diverged", "Diverged: a loss was no longer finite."),
        (None, "Not trained yet."),
    ],
)
def test_why_a_trial_has_no_more_epochs(ends: str | None, why: str, make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    sweep.whole_trial("0000", 1, ends)
    trial = sweep.records.trials["0000"]
    assert why_no_more(trial) == why
    sweep.error("0000", 2)
    assert why_no_more(trial) == "Failed: ValueError: the loss has no gradient"


def test_a_gap_in_the_steps_may_be_a_million_and_ten_times_those_that_are_known(make_sweep: Callable[..., Any]) -> None:
    for first, damaged in ((1_000_000 + 10 * 8, []), (1_000_000 + 10 * 8 + 1, [2])):
        sweep = make_sweep()
        sweep.trial("0000")
        sweep.epoch("0000", 1, steps=4)
        sweep.epoch("0000", 2, "completed", report=replace(sweep.report("0000", 2, 4), first_step=first))
        found = trained(sweep.records, sweep.records.trials["0000"], "")
        assert found.damaged == damaged and len(found.steps["score/real"]) == (4 if damaged else first + 4)


def test_of_several_seeds_a_spread_for_each_metric_and_the_first_ones_steps(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep(seeds=(3, 4))
    told(sweep, "0000", [{METRIC: [1.0, 3.0], "kid": [2.0, 2.0]}, {METRIC: [5.0, 5.5], "kid": [1.0, 4.0]}])
    found = trained(sweep.records, sweep.records.trials["0000"], "")
    assert {epoch: dict(own) for epoch, own in found.metrics.items()} == {
        1: {METRIC: 2.0, "kid": 2.0},
        2: {METRIC: 5.25, "kid": 2.5},
    }
    assert found.spreads[1][METRIC] == np.std([1.0, 3.0], ddof=1) and found.spreads[1]["kid"] == 0.0
    assert found.spreads[2]["kid"] == np.std([1.0, 4.0], ddof=1) and set(found.spreads[2]) == {METRIC, "kid"}
    told(sweep, "0001", [{METRIC: 1.0}])
    assert trained(sweep.records, sweep.records.trials["0001"], "").spreads == {1: {}}
