"""Losses and scores by step: which lines, on which axes, smoothed how."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from figures import METRIC, axes_of, legend_of, told

from genlab.report.by_step import CUT


def steps_of(sweep: Any, trial: str, name: str) -> np.ndarray:
    epochs = range(1, len(sweep.records.trials[trial].epochs) + 1)
    return np.concatenate([sweep.report(trial, epoch).replicas[0].steps[name] for epoch in epochs])


def two_trials(make_sweep: Callable[..., Any], **manifest: Any) -> Any:
    """Trial 0001 is best."""
    sweep = make_sweep(**manifest)
    sweep.trial("0000", lr=0.1)
    sweep.trial("0001", lr=0.25)
    for epoch in (1, 2, 3):
        for name, worse in (("0000", 50.0), ("0001", 0.0)):
            report = sweep.report(name, epoch)
            for replica in report.replicas:
                replica.metrics[METRIC] += worse
            sweep.epoch(name, epoch, "completed" if epoch == 3 else None, report)
    return sweep


def test_the_trials_stand_side_by_side_on_equal_axes(make_sweep: Callable[..., Any]) -> None:
    sweep = two_trials(make_sweep)
    axes = axes_of(sweep)
    assert [*axes][-4:] == ["loss", "loss 2", "score", "score 2"]
    assert axes["loss"].get_title("left") == "trial 0001, best"
    assert axes["loss 2"].get_title("left") == "trial 0000, default setting"
    assert axes["score"].get_title("left") == axes["score 2"].get_title("left") == ""  # said once, above
    for name, curve in (("loss", "loss/generator"), ("score", "score/real")):
        for key, trial in ((name, "0001"), (f"{name} 2", "0000")):
            (line, *marks) = axes[key].lines
            np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 37))
            np.testing.assert_allclose(line.get_ydata(), steps_of(sweep, trial, curve))
            assert [mark.get_xdata()[0] for mark in marks] == [12, 24, 36]  # ends of epochs
        assert axes[name].get_ylim() == axes[f"{name} 2"].get_ylim()
        assert axes[name].get_xlim() == axes[f"{name} 2"].get_xlim()
    assert legend_of(axes["loss 2"]) == ["generator"] and legend_of(axes["score 2"]) == ["real"]
    above = axes["loss"].child_axes[0]
    assert [tick.get_text() for tick in above.get_xticklabels()] == ["epoch 1", "2", "3"]


def test_many_steps_are_smoothed_and_outliers_do_not_flatten_the_rest(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    curve = np.sin(np.arange(1000) / 100).astype(np.float32)
    curve[500], curve[700] = 1e6, np.nan
    told(sweep, "0000", [{}], "diverged", steps={"loss/vae": curve})
    axes = axes_of(sweep)["loss"]
    thin, thick = axes.lines[:2]
    np.testing.assert_array_equal(thin.get_ydata(), curve)
    smooth = np.asarray(thick.get_ydata())
    assert thin.get_linewidth() < 1 < thick.get_linewidth() and np.isnan(smooth[700]) and np.isfinite(smooth[699])
    np.testing.assert_allclose(smooth[250], curve[240:260].mean(), rtol=1e-5)  # of 1000 / 50 steps
    assert -1.3 < axes.get_ylim()[0] < -1 and 1 < axes.get_ylim()[1] < 1.3
    outside = int(((curve > axes.get_ylim()[1]) | (curve < axes.get_ylim()[0])).sum())
    assert 1 <= outside <= 2 * CUT * 1000 and axes.texts[0].get_text().startswith(f"{outside} step")
    assert "thick: mean of 20 steps" in axes.get_legend().get_title().get_text()  # type: ignore[union-attr]


def test_steps_that_are_not_finite_are_gaps_and_nothing_else(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    curve = np.linspace(1, 2, 1000, dtype=np.float32)
    curve[500], curve[600] = np.inf, -np.inf
    told(sweep, "0000", [{METRIC: 1.0}], steps={"loss/vae": curve})
    axes = axes_of(sweep)["loss"]
    for line in axes.lines[:2]:
        assert list(np.flatnonzero(~np.isfinite(line.get_ydata()))) == [500, 600]
    assert axes.get_ylim()[1] < 2.2


def test_steps_beyond_either_end_of_the_axis_are_counted(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    curve = np.sin(np.arange(1000) / 100).astype(np.float32)
    curve[100], curve[300] = -1e6, 1e6
    told(sweep, "0000", [{METRIC: 1.0}], steps={"loss/vae": curve})
    assert [text.get_text() for text in axes_of(sweep)["loss"].texts] == ["2 steps lie outside"]


def test_a_damaged_report_leaves_a_gap(make_sweep: Callable[..., Any]) -> None:
    sweep = two_trials(make_sweep)
    Path(sweep.records.storage.root, sweep.records.trials["0001"].epochs[2].report.path).write_bytes(b"junk")
    expected = steps_of(sweep, "0001", "loss/generator")
    expected[12:24] = np.nan
    np.testing.assert_allclose(axes_of(sweep)["loss"].lines[0].get_ydata(), expected)


@pytest.mark.parametrize("steps", [{}, {"loss/vae": np.full(5, 7, np.float32)}])
def test_the_axes_hold_both_trials_even_if_one_has_no_steps(steps: Any, make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [{METRIC: 9.0}], steps=steps)
    told(sweep, "0001", [{METRIC: 1.0}], steps={"loss/vae": np.ones(3)})
    axes = axes_of(sweep)
    assert len(axes["loss"].lines) == 2 and len(axes["loss 2"].lines) == 2 * len(steps)
    low, high = axes["loss"].get_ylim()
    assert low < 1 < high and (high > 7) == bool(steps) and axes["loss"].get_xlim() == (0, 5 if steps else 3)


def test_of_several_seeds_the_first_is_shown_and_said(make_sweep: Callable[..., Any]) -> None:
    axes = axes_of(two_trials(make_sweep, seeds=(4, 5)))
    assert "of seed 4 alone" in axes["loss 2"].get_legend().get_title().get_text()  # type: ignore[union-attr]


def test_what_is_no_loss_and_no_score_has_a_row_for_each_scale(make_sweep: Callable[..., Any]) -> None:
    """A λ from 0 to 1 beside a norm of 300 would be a flat line."""
    sweep = make_sweep()
    steps = {"lambda": np.linspace(0, 1, 9), "norm": np.full(9, 300.0), "rate": np.full(9, 0.5), "loss/a": np.ones(9)}
    told(sweep, "0000", [{METRIC: 1.0}], steps=steps)
    axes = axes_of(sweep)
    assert [*axes] == ["loss", "value", "value 2"]
    assert legend_of(axes["value"]) == ["lambda", "rate"] and legend_of(axes["value 2"]) == ["norm"]


def test_the_legend_tells_names_apart(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [{METRIC: 1.0}], steps={f"loss/{name}": np.ones(9) for name in ("a/x", "b/x", "c")})
    assert legend_of(axes_of(sweep)["loss"]) == ["a/x", "b/x", "c"]


def test_a_colour_is_never_used_twice_on_an_axis(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [{METRIC: 1.0}], steps={f"loss/{letter}": np.ones(9) for letter in "abcdefghijklm"})
    axes = axes_of(sweep)
    assert [len(legend_of(axes[name])) for name in ("loss", "loss 2")] == [10, 3]
    for own in (axes["loss"], axes["loss 2"]):
        colors = [line.get_color() for line in own.lines if len(line.get_xdata()) == 9]
        assert len(set(map(str, colors))) == len(colors)


def test_epochs_that_are_many_are_named_here_and_there(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [{METRIC: 1.0 / n} for n in range(1, 31)], steps={"loss/a": np.ones(4)})
    axes = axes_of(sweep)["loss"]
    names = [tick.get_text() for tick in axes.child_axes[0].get_xticklabels()]
    assert names[0] == "epoch 1" and names[-1] == "30" and len(names) == 8
    assert [mark.get_xdata()[0] for mark in axes.lines[1:]] == [4 * int(name.split()[-1]) for name in names]


def test_a_curve_has_one_colour_in_both_trials(make_sweep: Callable[..., Any]) -> None:
    """Also where one of them has fewer curves."""
    sweep = make_sweep()
    told(sweep, "0000", [{METRIC: 9.0}], steps={"loss/b": np.full(9, 2.0)})
    told(sweep, "0001", [{METRIC: 1.0}], steps={"loss/a": np.ones(9), "loss/b": np.full(9, 3.0)})
    axes = axes_of(sweep)
    colors = {line.get_ydata()[0]: line.get_color() for own in ("loss", "loss 2") for line in axes[own].lines[:2]}
    assert colors[2.0] == colors[3.0] != colors[1.0] and legend_of(axes["loss 2"]) == ["a", "b"]


def test_scales_of_other_values_are_absolute_and_of_both_trials(make_sweep: Callable[..., Any]) -> None:
    for default, best in ((-300.0, 0.5), (0.5, -300.0)):
        sweep = make_sweep()
        for name, value in (("0000", default), ("0001", best)):
            steps = {"high": np.array([value, np.nan]), "low": np.full(2, 0.7)}
            told(sweep, name, [{METRIC: 9.0 - int(name)}], steps=steps)
        assert [*axes_of(sweep)] == ["value", "value 2", "value 3", "value 4"]  # two rows of two trials


def test_a_long_name_in_the_legend_has_lines_of_twenty_four_letters(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [{METRIC: 1.0}], steps={"loss/twenty four letters now and more": np.ones(9)})
    assert legend_of(axes_of(sweep)["loss"]) == ["twenty four letters now\nand more"]


def test_nothing_known_of_steps_is_no_row(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [{METRIC: 1.0}], steps={"loss/a": np.full(5, np.nan)})
    assert axes_of(sweep)["loss"].get_ylim() == (0, 1)  # of what was never finite an empty one
    told(sweep, "0001", [{METRIC: 0.5}])
    assert not any(name.startswith("loss") for name in axes_of(sweep, "0001"))
