"""What has no curve is told: nothing that was reported is left out without a word."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from figures import METRIC, assert_readable, axes_of, curve, figure_of, texts_of, told

from genlab.tracking.epoch_reports import ReplicaReport


def test_what_never_changes_is_told_in_a_line(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    for i, name in enumerate(("0000", "0001")):
        metrics = {"sizes/real": 300.0, "parameters": 1000.0 + 500 * i}
        told(sweep, name, [{METRIC: 9.0 - i - n, "kid": 0.5 + n} | metrics for n in range(2)])
    assert list(axes_of(sweep)) == [f"{METRIC} (lower is better)", "kid"]
    line = "the same in every epoch: sizes/real 300 · parameters 1500 (best), 1000 (default setting)"
    assert line in texts_of(sweep)
    assert "the same in every epoch: sizes/real 300 · parameters 1500" in texts_of(sweep, "0001")


def test_a_value_of_0_is_told(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    for i, name in enumerate(("0000", "0001")):
        told(sweep, name, [{METRIC: 9.0 - i - n, "still": 1.0 * i, "epoch_seconds": 1.0 - i} for n in range(2)])
    assert {
        "the same in every epoch: still 1 (best), 0 (default setting)",
        "median of the epochs: epoch_seconds 0 (best), 1 (default setting)",
    } <= {*texts_of(sweep)}


def test_a_metric_that_is_constant_in_one_trial_alone_is_drawn(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [{METRIC: 9.0 - n, "kid": 1.0 + n} for n in range(2)])
    told(sweep, "0001", [{METRIC: 5.0 - n, "kid": 4.0} for n in range(2)])
    assert [curve(line)[1] for line in axes_of(sweep)["kid"].lines] == [[1, 2], [4, 4]]


def test_the_sweeps_own_metric_is_drawn_even_if_it_never_changes(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [{METRIC: 3.0, "kid": 1.0 + n} for n in range(3)])
    (line,) = axes_of(sweep)[f"{METRIC} (lower is better)"].lines
    assert curve(line) == ([1, 2, 3], [3, 3, 3])


def test_speeds_are_medians_at_the_end(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    speeds = [(12345.6, 9.0), (11111.0, 2.0), (10000.0, 3.0)]
    told(sweep, "0000", [{METRIC: s, "images_per_second": i, "epoch_seconds": s} for i, s in speeds])
    assert texts_of(sweep)[-1] == "median of the epochs: images_per_second 11111 · epoch_seconds 3"
    assert not {"images_per_second", "epoch_seconds"} & set(axes_of(sweep))


def test_a_sweep_for_speed_draws_it(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep(metric="images_per_second", mode="max")
    told(sweep, "0000", [{"images_per_second": 5.0 + n} for n in range(2)])
    assert list(axes_of(sweep)) == ["images_per_second (higher is better)"]


def test_test_data_stand_apart(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep(seeds=(0, 1))
    epochs = [{METRIC: [4.0 - n, 5.0 - n], "kid": [1.0 + n, 2.0 + n]} for n in range(2)]
    epochs[1] |= {f"test/{METRIC}": [6.0, 8.0], "test/kid": [3.0, 3.5]}
    told(sweep, "0000", epochs[:1])
    told(sweep, "confirm-0000", epochs)
    assert list(axes_of(sweep, "confirm-0000")) == [f"{METRIC} (lower is better)", "kid"]
    texts = texts_of(sweep, "confirm-0000")
    below = texts[texts.index("on test data") :]
    assert {f"test/{METRIC}", "7 ± 1.4", "test/kid", "3.25 ± 0.35"} <= set(below)
    assert_readable(figure_of(sweep, "confirm-0000"))


def test_a_name_with_test_in_it_is_no_test_data(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    told(
        sweep,
        "0000",
        [{METRIC: 3.0 - n, "contest/a": 1.0 + n, "a/test/b": 2.0 + n, "tests": 1.0 + n} for n in range(2)],
    )
    assert {"contest/a", "a/test/b", "tests"} <= set(axes_of(sweep)) and "on test data" not in texts_of(sweep)


def test_seeds_that_agree_have_a_spread_of_0(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep(seeds=(0, 1))
    told(sweep, "0000", [{METRIC: [3.0, 4.0], "kid": [1.5, 1.5]}])
    assert "1.5 ± 0" in texts_of(sweep)


def test_a_robustness_curve_of_test_data_is_drawn_over_its_numbers(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    test = {f"test/accuracy/eps_{x:g}": 1 - x for x in (0.1, 0.2, 0.3, 0.4)}
    told(sweep, "0000", [{METRIC: 2.0}])
    told(sweep, "confirm-0000", [{METRIC: 2.0}, {METRIC: 1.0} | test])
    axes = axes_of(sweep, "confirm-0000")
    (line,) = axes["test/accuracy/eps_… after the last epoch"].lines
    np.testing.assert_allclose(line.get_ydata(), [0.9, 0.8, 0.7, 0.6])
    assert "on test data" not in texts_of(sweep, "confirm-0000")


def test_of_one_epoch_every_metric_stands_in_a_table(make_sweep: Callable[..., Any]) -> None:
    """A curve would be a dot."""
    sweep = make_sweep()
    names = [f"metric {letter}" for letter in "abcdefghijklmnopqrstuvwxyzABCD"]
    for i, name in enumerate(("0000", "0001")):
        told(sweep, name, [{METRIC: 9.0 - i} | {own: 100.0 * i + k for k, own in enumerate(names)}])
    texts = texts_of(sweep)
    assert "other metrics" in texts and not figure_of(sweep).axes
    assert {*names} <= {*texts} and {str(k) for k in range(30)} | {str(100 + k) for k in range(30)} <= {*texts}
    assert texts.count("best") == texts.count("default setting") == 3  # blocks side by side
    assert_readable(figure_of(sweep))


def test_a_table_is_in_the_order_of_the_report_and_read_downwards(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    names = ["z", "b", "y", "a", "x", "c", "w"]
    told(sweep, "0000", [{METRIC: 9.0} | {name: float(i) for i, name in enumerate(names)}])
    places = {text.get_text(): text.get_position() for text in figure_of(sweep).texts if text.get_text() in names}
    assert sorted(names, key=lambda name: (places[name][0], -places[name][1])) == names
    assert len({round(x, 6) for x, _ in places.values()}) == 3


def test_values_stand_beside_their_names_and_below_their_trial(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [{METRIC: 9.0, "kid": 1.0, "only here": 5.0}])
    told(sweep, "0001", [{METRIC: 8.0, "kid": 2.0}])
    texts = figure_of(sweep).texts
    at = {text.get_text(): text.get_position() for text in texts}
    heads = {t.get_text(): t.get_position()[0] for t in texts if t.get_text() in ("best", "default setting")}
    assert at["kid"][1] == at["1"][1] == at["2"][1] and at["only here"][1] == at["5"][1]
    assert at["kid"][0] < at["2"][0] < at["1"][0] < at["only here"][0]
    assert at["only here"][0] < at["5"][0] == heads["default setting"]  # the last block's


def test_what_was_reported_in_one_epoch_of_several_is_told(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [{METRIC: 3.0}, {METRIC: 2.0, "rare": 0.125}, {METRIC: 1.0}])
    texts = texts_of(sweep)
    assert "reported once" in texts and {"rare", "0.125"} <= {*texts} and len(figure_of(sweep).axes) == 1


def test_what_was_never_finite_is_told(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [{METRIC: np.nan, "a": np.inf, "kid": 1.0 + n} for n in range(2)], "diverged")
    assert f"never finite: {METRIC}, a" in texts_of(sweep) and list(axes_of(sweep)) == ["kid"]


def test_a_metric_of_some_seeds_alone_is_told(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep(seeds=(0, 1))
    sweep.trial("0000")
    for epoch, name in ((1, "here"), (2, "there")):
        replicas = [ReplicaReport({METRIC: 1.0, name: 2.0}), ReplicaReport({METRIC: 1.0})]
        report = replace(sweep.report("0000", epoch), replicas=replicas[:: 1 if epoch == 1 else -1])
        sweep.epoch("0000", epoch, "completed" if epoch == 2 else None, report)
    assert "not reported by every seed, so without a mean: here, there" in texts_of(sweep)


def test_damaged_reports_are_told(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [{METRIC: 5.0 - n} for n in range(5)])
    for epoch in (2, 4):
        path = sweep.records.trials["0000"].epochs[epoch].report.path
        Path(sweep.records.storage.root, path).write_bytes(b"junk")
    assert "left out, since damaged or missing: epochs 2, 4 of trial 0000" in texts_of(sweep)
    assert curve(axes_of(sweep)[f"{METRIC} (lower is better)"].lines[0])[0] == [1, 3, 5]


def test_losses_that_are_shown_by_step_are_not_shown_twice(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [{METRIC: 2.0 - n, "loss/vae": 5.0 - n} for n in range(2)], steps={"loss/vae": [1.0, 2.0]})
    assert list(axes_of(sweep)) == [f"{METRIC} (lower is better)", "loss"]
    own = make_sweep(metric="loss/vae")
    told(own, "0000", [{"loss/vae": 5.0 - n} for n in range(2)], steps={"loss/vae": [1.0, 2.0]})
    assert list(axes_of(own)) == ["loss/vae (lower is better)", "loss"]


def test_nothing_that_was_reported_is_left_out(make_sweep: Callable[..., Any]) -> None:
    """Each name is on a panel, in a table or in a line."""
    sweep = make_sweep()
    names = ["kid", "a/b", "a/c", "a/b/d", *(f"eps_{i}" for i in range(6)), *(f"x{c}" for c in "abcdefghij")]
    told(sweep, "0000", [dict.fromkeys([METRIC, *names], 1.0 + n) | {"same": 1.0} for n in range(2)])
    figure = figure_of(sweep)
    words = " ".join(
        [
            *(text.get_text() for text in figure.texts),
            *(axes.get_title("left") for axes in figure.axes),
            *(text.get_text() for axes in figure.axes if axes.get_legend() for text in axes.get_legend().get_texts()),  # type: ignore[union-attr]
        ]
    )
    lines = sum(len(axes.lines) for axes in figure.axes)
    assert all(part in words for name in [METRIC, *names, "same"] for part in name.replace("_", "/").split("/"))
    assert lines == 1 + len(names) + 1  # and the series over its numbers


def test_the_sweeps_own_metric_is_in_the_head_and_in_no_table(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [{METRIC: 3.0, "kid": 1.0}])
    texts = texts_of(sweep)
    assert "kid" in texts and METRIC not in texts and f"{METRIC} 3, completed" in texts[2]


def test_a_metric_that_is_constant_and_another_in_each_trial_says_whose(make_sweep: Callable[..., Any]) -> None:
    """Of a trial that has none nothing is said; neither is a role of a trial alone."""
    sweep = make_sweep()
    told(sweep, "0000", [{METRIC: 9.0 - n, "only": 4.0, "epoch_seconds": 2.0 + n} for n in range(3)])
    told(sweep, "0001", [{METRIC: 5.0 - n, "both": 1.0, "epoch_seconds": 7.0 + n} for n in range(3)])
    texts = texts_of(sweep)
    assert "the same in every epoch: both 1 (best) · only 4 (default setting)" in texts
    assert "median of the epochs: epoch_seconds 8 (best), 3 (default setting)" in texts
    assert {"the same in every epoch: only 4", "median of the epochs: epoch_seconds 3"} <= {*texts_of(sweep, "0000")}


def test_words_come_in_the_order_of_their_weight(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    common = {"same": 1.0, "epoch_seconds": 1.0, "gone": np.nan}
    rows = [{METRIC: 3.0 - n, "kid": kid} | common for n, kid in enumerate((1.0, np.nan, 2.0))]
    told(sweep, "0000", [*rows, {METRIC: 0.5, "same": 1.0}])
    path = sweep.records.trials["0000"].epochs[4].report.path
    Path(sweep.records.storage.root, path).write_bytes(b"junk")
    assert [text.partition(":")[0] for text in texts_of(sweep)[-5:]] == [
        "the same in every epoch",
        "median of the epochs",
        "never finite",
        "not finite in epoch 2 of trial 0000",
        "left out, since damaged or missing",
    ]
    assert texts_of(sweep)[-1].endswith("missing: epoch 4 of trial 0000")


@pytest.mark.parametrize(("trials", "letters"), [(1, 34), (2, 25)])
def test_a_name_has_as_many_letters_as_its_trials_leave_it(
    trials: int, letters: int, make_sweep: Callable[..., Any]
) -> None:
    sweep, long = make_sweep(), "n" * letters
    for i in range(trials):
        told(sweep, f"{i:04d}", [{METRIC: 3.0 - i, long: 1.0, f"{long}m": 2.0}], settings={"lr": 0.1 + i})
    shown = {text for text in texts_of(sweep) if text.startswith("nnn")}
    assert shown == {long, f"{'n' * (letters - 1)}…"}
