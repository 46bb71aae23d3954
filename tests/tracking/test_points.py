"""A report as MLflow's points: names, values, milliseconds and steps, each written here by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from genlab.tracking.epoch_reports import EpochReport, ReplicaReport
from genlab.tracking.points import epoch_points, legal, report_points, thin

NAN, INF = math.nan, math.inf


def curve(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_one_replica_shows_its_metrics_by_epoch_and_its_losses_by_iteration() -> None:
    replica = ReplicaReport(
        {"kid": 0.25, "accuracy/clean": 0.5, "lost": NAN, "high": INF},
        {"loss/generator": curve(4.0, NAN, 2.0), "score/real": curve(-1.0, 0.5, -INF)},
    )
    report = EpochReport("0003", 4, 1_760_000_004.125, 21, (9,), [replica])
    assert report_points(report) == [
        ("kid", 0.25, 1_760_000_004_125, 4),
        ("accuracy/clean", 0.5, 1_760_000_004_125, 4),
        ("step/loss/generator", 4.0, 1_760_000_004_125, 21),
        ("step/loss/generator", 2.0, 1_760_000_004_125, 23),
        ("step/score/real", -1.0, 1_760_000_004_125, 21),
        ("step/score/real", 0.5, 1_760_000_004_125, 22),
    ]


def test_each_replica_has_its_own_curve_under_its_seed_and_metrics_have_mean_and_spread() -> None:
    replicas = [
        ReplicaReport({"kid": 1.0, "fid": 3.0}, {"loss": curve(0.5, 1.5)}),
        ReplicaReport({"kid": 3.0, "fid": NAN, "own": 8.0}, {"loss": curve(2.5, 3.5), "alone": curve(4.5)}),
        ReplicaReport({"kid": 8.0, "fid": 5.0}, {"loss": curve(5.5)}),
    ]
    report = EpochReport("0003", 2, 1_760_000_000.0, 2, (7, 11, 5), replicas)
    points = report_points(report)
    assert {(time, step) for name, _, time, step in points if "step/" not in name} == {(1_760_000_000_000, 2)}
    # spread: the deviations -3, -1 and 4 have the squares 9, 1 and 16, over two degrees of freedom
    assert {name: value for name, value, _, _ in points if "step/" not in name} == {
        "kid": 4.0,
        "kid/std": pytest.approx(math.sqrt(13), rel=1e-12),
        "kid/seed_7": 1.0,
        "kid/seed_11": 3.0,
        "kid/seed_5": 8.0,
        "fid/seed_7": 3.0,  # of a metric that one replica lost there is no mean
        "fid/seed_5": 5.0,
    }
    assert [(name, value, step) for name, value, _, step in points if "step/" in name] == [
        ("step/loss/seed_7", 0.5, 2),
        ("step/loss/seed_7", 1.5, 3),
        ("step/loss/seed_11", 2.5, 2),
        ("step/loss/seed_11", 3.5, 3),
        ("step/alone/seed_11", 4.5, 2),
        ("step/loss/seed_5", 5.5, 2),
    ]


def test_the_metrics_of_the_end_are_points_too() -> None:
    points = epoch_points({"gain": 1.5, "best objective%": -2.0, "none": NAN}, 1_760_000_000.5, 0)
    assert points == [("gain", 1.5, 1_760_000_000_500, 0), ("best objective_", -2.0, 1_760_000_000_500, 0)]


def test_a_curve_of_a_hundred_points_is_shown_whole_and_a_longer_one_by_a_hundred() -> None:
    assert list(thin(np.arange(100.0))) == list(thin(np.zeros(100))) == list(range(100))
    assert list(thin(np.arange(400.0))) == [i for first in range(0, 400, 8) for i in (first, first + 7)]  # 50 stretches


def test_of_each_stretch_the_lowest_and_the_highest_are_shown() -> None:
    steps = np.array([5, 1, 9, 4, NAN, 2, 2, 7, 0, 3, -INF, 8, 6], float)
    # the ten finite ones in two stretches: 5 1 9 4 2 2 and 7 0 3 8 6, since the first is the longer one
    assert list(thin(steps, 4)) == [1, 2, 8, 11]
    assert list(thin(np.full(300, 2.0), 4)) == [0, 150]  # where all are equal one a stretch says it
    assert list(thin(np.array([]))) == list(thin(np.array([NAN, INF]))) == []


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("accuracy/pgd/eps_0.03", "accuracy/pgd/eps_0.03"),
        ("a:b c-d", "a:b c-d"),
        ("odd=name(%)", "odd_name___"),
        ("größe", "gr__e"),
        ("/x//y/", "x/y"),
        ("./a/../b", "a/b"),
        ("..", "_"),
        ("", "_"),
        ("x" * 251, "x" * 250),
    ],
)
def test_a_name_keeps_all_that_mlflow_takes(name: str, taken: str) -> None:
    assert legal(name) == taken
