"""The curves of a sweep: which trials, which lines, what stands on the axes, and that nothing overlaps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from genlab.errors import GenlabError
from genlab.report.curves import CUT, DPI, curves, curves_figure
from genlab.tracking.epoch_reports import ReplicaReport


def drawn(sweep: Any, trial: str | None = None) -> dict[str, Any]:
    """The figure's axes: those of steps by `loss`, `loss 2`, ... from the left, those of epochs by their title."""
    found: dict[str, Any] = {}
    for axes in curves_figure(sweep.records, trial).axes:
        name = axes.get_ylabel() or axes.get_title("left")
        found[f"{name} 2" if name in found else name] = axes
    return found


def two_trials(make_sweep: Any, steps: int = 12, **manifest: Any) -> Any:
    """Trial 0001 is best, 0002 a pruned one."""
    sweep = make_sweep(**manifest)
    sweep.trial("0000", lr=0.1)
    sweep.trial("0001", lr=0.25, note="$x$ _y")
    sweep.trial("0002", lr=0.3)
    for epoch in (1, 2, 3):
        ends = "completed" if epoch == 3 else None
        for name, worse in (("0000", 50.0), ("0001", 0.0)):
            report = sweep.report(name, epoch, steps)
            for replica in report.replicas:
                replica.metrics["frechet_distance"] += worse
            sweep.epoch(name, epoch, ends, report)
    sweep.epoch("0002", 1, "pruned")
    return sweep


def steps_of(sweep: Any, trial: str, name: str, steps: int = 12) -> np.ndarray:
    return np.concatenate([sweep.report(trial, epoch, steps).replicas[0].steps[name] for epoch in (1, 2, 3)])


def legend(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_the_best_trial_beside_the_default_setting(make_sweep: Any) -> None:
    sweep = two_trials(make_sweep)
    axes = drawn(sweep)
    assert list(axes) == ["loss", "loss 2", "score", "score 2", "frechet_distance (lower is better)", "kid", "lambda"]
    objective = sweep.records.trials["0001"].objective
    assert axes["loss"].get_title("left") == f"trial 0001, best: frechet_distance {objective:.4g}\nlr=0.25  note=$x$ _y"
    assert axes["loss 2"].get_title("left").startswith("trial 0000, default setting: frechet_distance ")
    for name, curve in (("loss", "loss/generator"), ("score", "score/real")):
        for key, trial in ((name, "0001"), (f"{name} 2", "0000")):
            (line, *marks) = axes[key].lines
            np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 37))
            np.testing.assert_allclose(line.get_ydata(), steps_of(sweep, trial, curve))
            assert [mark.get_xdata()[0] for mark in marks] == [12, 24, 36]  # ends of epochs
        assert axes[name].get_ylim() == axes[f"{name} 2"].get_ylim()
        assert axes[name].get_xlim() == axes[f"{name} 2"].get_xlim()
    assert legend(axes["loss 2"]) == ["generator"] and legend(axes["score 2"]) == ["real"]
    above = axes["loss"].child_axes[0]
    assert [tick.get_text() for tick in above.get_xticklabels()] == ["epoch 1", "2", "3"]
    for name, axis in (("frechet_distance", "frechet_distance (lower is better)"), ("kid", "kid")):
        for line, trial in zip(axes[axis].lines, ("0000", "0001"), strict=True):
            np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
            by_epoch = [sweep.report(trial, epoch).metrics()[name] for epoch in (1, 2, 3)]
            worse = 50 if (trial, name) == ("0000", "frechet_distance") else 0
            np.testing.assert_allclose(line.get_ydata(), np.array(by_epoch) + worse)
    assert legend(axes["lambda"]) == ["trial 0001, best", "trial 0000, default\nsetting"]


def test_nothing_overlaps_or_leaves_the_picture(make_sweep: Any) -> None:
    sweep = two_trials(make_sweep, 300, seeds=(0, 1))
    figure = curves_figure(sweep.records)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    hidden = set()  # ticks beyond the ends of their axis
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis, axes.child_axes[0].xaxis if axes.child_axes else axes.xaxis):
            low, high = sorted(axis.get_view_interval())
            hidden |= {tick.label1 for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high}
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text not in hidden]
    assert len(boxes) > 60 and not any(text.get_parse_math() for text in texts if "$" in text.get_text())
    for i, (text, box) in enumerate(boxes):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1, text
        for other, another in boxes[:i]:
            assert not box.overlaps(another) or box.bounds == another.bounds, (text, other)


def test_a_trial_alone(make_sweep: Any) -> None:
    sweep = two_trials(make_sweep)
    axes = drawn(sweep, "0002")
    assert "loss 2" not in axes and legend(list(axes.values())[-1]) == ["trial 0002"]
    assert axes["loss"].get_title("left").startswith("trial 0002: ")
    with pytest.raises(GenlabError, match="has no trial '0009': did you mean"):
        curves_figure(sweep.records, "0009")


def test_the_default_setting_may_be_best_or_all_there_is(make_sweep: Any) -> None:
    sweep = make_sweep()
    sweep.trial("0000")
    assert not curves_figure(sweep.records).axes and "no epoch can be shown" in figure_texts(sweep)
    sweep.epoch("0000", 1)
    assert drawn(sweep)["loss"].get_title("left").startswith("trial 0000, default setting: ")
    sweep.epoch("0000", 2, "completed")
    axes = drawn(sweep)
    assert axes["loss"].get_title("left").startswith("trial 0000, best and default setting: ") and "loss 2" not in axes
    assert not curves_figure(make_sweep().records).axes  # no trial has begun


def figure_texts(sweep: Any) -> str:
    return " ".join(text.get_text() for text in curves_figure(sweep.records).texts)


def test_many_steps_are_smoothed_and_outliers_do_not_flatten_the_rest(make_sweep: Any) -> None:
    sweep = make_sweep()
    sweep.trial("0000")
    curve = np.sin(np.arange(1000) / 100).astype(np.float32)
    curve[500], curve[700] = 1e6, np.nan
    report = replace(sweep.report("0000", 1), replicas=[ReplicaReport({}, {"loss/vae": curve})])
    sweep.epoch("0000", 1, "diverged", report)
    axes = drawn(sweep)["loss"]
    thin, thick = axes.lines[:2]
    np.testing.assert_array_equal(thin.get_ydata(), curve)
    smooth = thick.get_ydata()
    assert thin.get_linewidth() < 1 < thick.get_linewidth() and np.isnan(smooth[700]) and np.isfinite(smooth[699])
    np.testing.assert_allclose(smooth[250], curve[240:260].mean(), rtol=1e-5)  # of 1000 / 50 steps
    assert -1.3 < axes.get_ylim()[0] < -1 and 1 < axes.get_ylim()[1] < 1.3
    outside = int(((curve > axes.get_ylim()[1]) | (curve < axes.get_ylim()[0])).sum())
    assert 1 <= outside <= 2 * CUT * 1000 and axes.texts[0].get_text() == f"{outside} steps lie outside"
    assert "thick: mean of 20 steps" in axes.get_legend().get_title().get_text()


def test_a_damaged_report_leaves_a_gap(make_sweep: Any) -> None:
    sweep = two_trials(make_sweep)
    Path(sweep.records.storage.root, sweep.records.trials["0001"].epochs[2].report.path).write_bytes(b"junk")
    axes = drawn(sweep)
    y = axes["loss"].lines[0].get_ydata()
    expected = steps_of(sweep, "0001", "loss/generator")
    expected[12:24] = np.nan
    np.testing.assert_allclose(y, expected)
    np.testing.assert_array_equal(axes["kid"].lines[1].get_xdata(), [1, 3])


@pytest.mark.parametrize("steps", [{}, {"loss/vae": np.full(5, 7, np.float32)}])
def test_the_axes_hold_both_trials_even_if_one_has_no_steps(steps: dict[str, np.ndarray], make_sweep: Any) -> None:
    sweep = make_sweep()
    for name, own, value in (("0000", steps, 9.0), ("0001", {"loss/vae": np.ones(3, np.float32)}, 1.0)):
        sweep.trial(name)
        replicas = [ReplicaReport({"frechet_distance": value}, own)]
        sweep.epoch(name, 1, "completed", replace(sweep.report(name, 1), replicas=replicas))
    axes = drawn(sweep)
    assert len(axes["loss"].lines) == 2 and len(axes["loss 2"].lines) == 2 * len(steps)
    low, high = axes["loss"].get_ylim()
    assert low < 1 < high and (high > 7) == bool(steps) and axes["loss"].get_xlim() == (0, 5 if steps else 3)


def test_of_several_seeds_the_mean_and_its_spread(make_sweep: Any) -> None:
    sweep = two_trials(make_sweep, seeds=(4, 5))
    axes = drawn(sweep)
    best = axes["kid"].lines[1].get_ydata()
    metrics = [sweep.report("0001", epoch).metrics() for epoch in (1, 2, 3)]
    np.testing.assert_allclose(best, [each["kid"] for each in metrics])
    band = axes["kid"].collections[1].get_paths()[0].vertices
    np.testing.assert_allclose(band[:, 1].max(), max(each["kid"] + each["kid/std"] for each in metrics))
    assert "seed 4 of 2" not in axes["loss 2"].get_legend().get_title().get_text()
    assert "of seed 4" in axes["loss 2"].get_legend().get_title().get_text()
    assert not any("/" in name for name in axes if name not in ("loss", "score"))


def test_what_is_shown_by_epoch(make_sweep: Any) -> None:
    """The metric, then what changes; no constants before that, no speeds, no test data, nothing that steps show."""
    sweep = make_sweep(metric="elbo", mode="max")
    sweep.trial("0000")
    names = ("a", "images_per_second", "test/elbo", "loss/vae", "b", "elbo", "c", "d")
    for epoch in (1, 2):
        metrics = {"frechet_distance": 7.0, **dict.fromkeys(names, float(epoch)), "elbo": np.nan}
        own = ReplicaReport(metrics, {"loss/vae": np.ones(4, np.float32)})
        sweep.epoch("0000", epoch, None, replace(sweep.report("0000", epoch), replicas=[own]))
    axes = drawn(sweep)
    assert list(axes) == ["loss", "elbo (higher is better)", "a", "b", "c"]
    assert [text.get_text() for text in axes["elbo (higher is better)"].texts] == ["never finite"]


def test_the_picture(make_sweep: Any) -> None:
    """It needs no display, leaves no figure behind, and is the same each time."""
    sweep = make_sweep()
    sweep.whole_trial("0000", 1)
    picture = curves(sweep.records)
    assert picture.mode == "RGB" and picture.width == 13 * DPI
    assert picture.tobytes() == curves(sweep.records).tobytes() and not plt.get_fignums()
