"""Panels by epoch: the metric first and largest, related ones together, series over their numbers, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from figures import METRIC, assert_readable, axes_of, curve, figure_of, legend_of, texts_of, told

OWN = f"{METRIC} (lower is better)"


def two(sweep: Any, best: list[dict[str, Any]], default: list[dict[str, Any]] | None = None) -> Any:
    """Trial 0001 is best, 0000 the default setting, with metrics by epoch."""
    rising = range(1, len(best) + 1)
    own = [{METRIC: 1.0 / epoch} | metrics for epoch, metrics in zip(rising, best, strict=True)]
    told(sweep, "0000", [{METRIC: 9.0 / epoch} | m for epoch, m in zip(rising, default or best, strict=True)])
    told(sweep, "0001", own)
    return sweep


def area(axes: Any) -> float:
    box = axes.get_position()
    return box.width * box.height


def test_every_metric_that_changes_has_a_curve_and_the_sweeps_own_the_largest(make_sweep: Callable[..., Any]) -> None:
    names = ["recall", *(f"other {letter}" for letter in "abcdefgh"), "precision", "accuracy/clean", "accuracy/target"]
    sweep = two(make_sweep(), [{name: float(epoch) for name in names} for epoch in (1, 2, 3)])
    axes = axes_of(sweep)
    assert set(axes) == {OWN, "recall, precision", *(f"other {letter}" for letter in "abcdefgh"), "accuracy"}
    assert next(iter(axes)) == OWN
    assert all(area(axes[OWN]) > 2 * area(other) for name, other in axes.items() if name != OWN)
    box = axes[OWN].get_position()
    assert box.y1 == max(other.get_position().y1 for other in axes.values()) and box.x0 < 0.1
    assert legend_of(axes["accuracy"]) == ["clean", "target"]
    assert_readable(figure_of(sweep))


def test_the_best_trial_lies_on_top_of_the_default_one(make_sweep: Callable[..., Any]) -> None:
    best, default = [{"kid": 5.0}, {"kid": 4.0}], [{"kid": 7.0}, {"kid": 6.0}]
    axes = axes_of(two(make_sweep(), best, default))
    behind, above = axes["kid"].lines
    assert curve(behind) == ([1, 2], [7, 6]) and curve(above) == ([1, 2], [5, 4])
    assert above.get_linestyle() == "-" and behind.get_linestyle() != "-" and above.get_color() != behind.get_color()


def test_in_a_shared_panel_a_colour_is_a_metric_and_dashes_the_default_setting(make_sweep: Callable[..., Any]) -> None:
    best = [{"e/a": 1.0 * n, "e/b": 2.0 * n} for n in (1, 2)]
    default = [{"e/a": 3.0 * n, "e/b": 4.0 * n} for n in (1, 2)]
    axes = axes_of(two(make_sweep(), best, default))["e"]
    assert [curve(line)[1] for line in axes.lines] == [[3, 6], [4, 8], [1, 2], [2, 4]]
    colors = [line.get_color() for line in axes.lines]
    assert colors[0] == colors[2] != colors[1] == colors[3]
    assert [line.get_linestyle() == "-" for line in axes.lines] == [False, False, True, True]
    assert [handle.get_color() for handle in axes.get_legend().legend_handles] == colors[:2]  # type: ignore[union-attr]


def test_of_several_seeds_the_mean_and_a_band_of_one_standard_deviation(make_sweep: Callable[..., Any]) -> None:
    best = [{"kid": [1.0, 3.0]}, {"kid": [2.0, 2.5]}]
    axes = axes_of(two(make_sweep(seeds=(0, 1)), best, [{"kid": [9.0, 9.5]}, {"kid": [8.0, 8.0]}]))
    assert curve(axes["kid"].lines[1]) == ([1, 2], [2.0, 2.25])
    band = axes["kid"].collections[1].get_paths()[0].vertices
    spread = np.std([1.0, 3.0], ddof=1)
    assert band[:, 1].max() == 2.0 + spread and band[:, 1].min() == 2.0 - spread
    assert not any("seed_" in name or "/std" in name for name in axes)


def test_in_a_shared_panel_the_best_trial_alone_has_bands_and_many_metrics_have_none(
    make_sweep: Callable[..., Any],
) -> None:
    names = [*(f"e/{letter}" for letter in "abc"), *(f"f/{letter}" for letter in "abcd")]
    rows = [{name: [1.0 * n + i, 2.0 * n + i] for i, name in enumerate(names)} for n in (1, 2)]
    default = [{name: [50.0 * n, 90.0 * n] for name in names} for n in (1, 2)]
    axes = axes_of(two(make_sweep(seeds=(0, 1)), rows, default))
    assert len(axes["e"].collections) == 3 and not axes["f"].collections
    for i, band in enumerate(axes["e"].collections):
        heights = band.get_paths()[0].vertices[:, 1]
        assert heights.max() == pytest.approx(i + 3 + np.std([2, 4], ddof=1))  # in the second epoch
    colors = [line.get_color() for line in axes["e"].lines[3:]]
    assert [tuple(band.get_facecolor()[0][:3]) for band in axes["e"].collections] == colors


def test_a_name_of_the_authors_that_looks_like_a_spread_is_no_spread(make_sweep: Callable[..., Any]) -> None:
    """Of one seed `weights/std` and `of/seed_3` are the task's own metrics."""
    sweep = two(make_sweep(), [{"weights/std": 1.0 * n, "of/seed_3": 2.0 * n, "weights": 7.0 * n} for n in (1, 2)])
    axes = axes_of(sweep)
    assert "of/seed_3" in axes and legend_of(axes["weights"]) == ["std", "weights"]
    assert all(not one.collections for one in axes.values())


def test_a_series_is_shown_by_epoch_for_each_trial_and_over_its_numbers(make_sweep: Callable[..., Any]) -> None:
    numbers = [round(0.01 * i, 2) for i in range(30, 0, -1)]

    def metrics(factor: float) -> list[dict[str, float]]:
        return [{f"accuracy/pgd/eps_{x:g}": factor * epoch * (1 - x) for x in numbers} for epoch in (1, 2)]

    sweep = two(make_sweep(), metrics(0.4), metrics(0.3))
    axes = axes_of(sweep)
    stem = "accuracy/pgd/eps_…"
    assert list(axes)[1:] == [f"{stem}, best", f"{stem}, default setting", f"{stem} after the last epoch"]
    for role, factor in (("best", 0.4), ("default setting", 0.3)):
        lines = axes[f"{stem}, {role}"].lines
        assert len(lines) == 30
        np.testing.assert_allclose(lines[0].get_ydata(), [factor * 0.99, factor * 2 * 0.99])
        np.testing.assert_allclose(lines[-1].get_ydata(), [factor * 0.7, factor * 2 * 0.7])
        shades = [float(np.sum(line.get_color()[:3])) for line in lines]
        assert shades == sorted(shades, reverse=True)  # from light to dark
    assert axes[f"{stem}, best"].get_ylim() == axes[f"{stem}, default setting"].get_ylim()
    last = axes[f"{stem} after the last epoch"]
    assert last.get_xlabel() == "eps" and last.get_xscale() == "linear"
    for line, factor in zip(last.lines, (0.3, 0.4), strict=True):
        np.testing.assert_allclose(line.get_xdata(), sorted(numbers))
        np.testing.assert_allclose(line.get_ydata(), [factor * 2 * (1 - x) for x in sorted(numbers)])
    assert legend_of(last)[0] == "eps 0.01" and legend_of(last)[-1] == "eps 0.3" and len(legend_of(last)) == 8
    assert last.get_legend().get_title().get_text() == "30 curves, among them"  # type: ignore[union-attr]
    assert_readable(figure_of(sweep))


def test_a_short_series_names_each_of_its_curves_and_decades_have_a_logarithmic_axis(
    make_sweep: Callable[..., Any],
) -> None:
    names = ["error/at_0.001", "error/at_0.01", "error/at_0.1", "error/at_1"]
    sweep = two(make_sweep(), [{name: float(i * n) for i, name in enumerate(names)} for n in (1, 2)])
    last = axes_of(sweep)["error/at_… after the last epoch"]
    assert legend_of(last) == ["at 0.001", "at 0.01", "at 0.1", "at 1"] and last.get_xscale() == "log"
    assert last.get_legend().get_title().get_text() == ""  # type: ignore[union-attr]
    assert_readable(figure_of(sweep))


def test_the_sweeps_own_metric_is_first_also_where_it_is_one_of_a_series(make_sweep: Callable[..., Any]) -> None:
    names = [f"accuracy/eps_{i}" for i in range(4)]
    sweep = make_sweep(metric="accuracy/eps_2", mode="max")
    told(sweep, "0000", [dict.fromkeys(names, 0.1 * n) for n in (1, 2)])
    axes = axes_of(sweep)
    assert next(iter(axes)) == "accuracy/eps_2 (higher is better)" and len([*axes.values()][1].lines) == 4


def test_the_sweeps_own_metric_stands_among_its_relatives_too(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep(metric="accuracy/clean", mode="max")
    told(sweep, "0000", [{"accuracy/clean": 0.1 * n, "accuracy/target": 0.2 * n} for n in (1, 2)])
    axes = axes_of(sweep)
    assert list(axes) == ["accuracy/clean (higher is better)", "accuracy"]
    assert legend_of(axes["accuracy"]) == ["clean", "target"]


def test_of_one_epoch_a_series_is_shown_over_its_numbers_alone(make_sweep: Callable[..., Any]) -> None:
    sweep = two(make_sweep(), [{f"accuracy/eps_{k}": 1.0 - 0.1 * k for k in range(5)}])
    assert list(axes_of(sweep)) == ["accuracy/eps_… after the last epoch"]
    assert "of the last epoch" in texts_of(sweep) and "by epoch" not in texts_of(sweep)


def test_a_series_is_in_the_order_of_its_numbers(make_sweep: Callable[..., Any]) -> None:
    numbers = (10, 9, 100, 2)
    axes = axes_of(two(make_sweep(), [{f"recall/at_{k}": 0.01 * k * n for k in numbers} for n in (1, 2)]))
    for line in axes["recall/at_… after the last epoch"].lines:
        assert curve(line)[0] == [2, 9, 10, 100]
        np.testing.assert_allclose(curve(line)[1], [0.04, 0.18, 0.2, 2.0])
    assert legend_of(axes["recall/at_… after the last epoch"]) == ["at 2", "at 9", "at 10", "at 100"]


def test_names_of_two_lines_are_whole_in_a_legend(make_sweep: Callable[..., Any]) -> None:
    sweep = two(make_sweep(), [{"e/a rather long name": 1.0 * n, "e/b": 2.0 * n} for n in (1, 2)])
    assert [name.replace("\n", " ") for name in legend_of(axes_of(sweep)["e"])] == ["a rather long name", "b"]
    assert_readable(figure_of(sweep))


def test_a_series_that_never_changes_is_told_and_one_that_does_in_part_is_whole(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    moving = {f"a/{i}": [0.0, 0.0] for i in range(3)} | {"a/3": [0.5, 0.6]}
    still = {f"sizes/{i}": 1.0 * i for i in range(4)}
    told(sweep, "0000", [{METRIC: 1.0 / (n + 1)} | {k: v[n] for k, v in moving.items()} | still for n in (0, 1)])
    axes = axes_of(sweep)
    assert [*axes] == [OWN, "a/…", "a/… after the last epoch"] and len(axes["a/…"].lines) == 4
    assert any("sizes/3 3" in text for text in texts_of(sweep))


def test_of_a_trial_with_fewer_epochs_as_many_are_drawn(make_sweep: Callable[..., Any]) -> None:
    """The rows of a grid may differ in their epochs."""
    for default, best in ((1, 3), (3, 2)):
        sweep = make_sweep()
        told(sweep, "0000", [{METRIC: 9.0 - n, "kid": 1.0 + n} for n in range(default)])
        told(sweep, "0001", [{METRIC: 4.0 - n, "kid": 3.0 - n} for n in range(best)])
        axes = axes_of(sweep)
        drawn = [curve(line)[0] for line in axes["kid"].lines]
        assert drawn == [[*range(1, default + 1)], [*range(1, best + 1)]]
        assert axes["kid"].get_xlim() == axes[OWN].get_xlim() == (0.5, 3.5)


def test_epochs_that_are_not_finite_leave_a_gap_and_are_said(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    values = [1.0, np.nan, np.inf, 4.0]
    rows = [{METRIC: 1.0 / (n + 1), "kid": value, "a": value} for n, value in enumerate(values)]
    told(sweep, "0000", [*rows, {METRIC: 0.1, "kid": 5.0, "a": 5.0, "b": -np.inf}, {METRIC: 0.1, "b": 1.0}, {"b": 2.0}])
    assert curve(axes_of(sweep)["kid"].lines[0]) == ([1, 4, 5], [1.0, 4.0, 5.0])
    texts = texts_of(sweep)
    assert "not finite in epochs 2, 3 of trial 0000: kid, a" in texts
    assert "not finite in epoch 5 of trial 0000: b" in texts


def test_a_metric_of_many_decades_has_a_logarithmic_axis_with_plain_numbers(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [{METRIC: 10.0 ** (3 - n), "kid": 3.0 - n, "minus": -(10.0**n)} for n in range(3)])
    axes = axes_of(sweep)
    assert [axes[name].get_yscale() for name in (OWN, "kid", "minus")] == ["log", "linear", "linear"]
    figure = figure_of(sweep)
    assert_readable(figure)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert {"10", "100", "1000"} <= set(labels) and not any("$" in label for label in labels)


def test_the_axis_is_logarithmic_for_either_trials_sake(make_sweep: Callable[..., Any]) -> None:
    rows = {"best": [1.0, 2.0], "default": [1.0, 5000.0]}
    for first, second in (("best", "default"), ("default", "best")):
        own, other = ([{"kid": value} for value in rows[key]] for key in (first, second))
        assert axes_of(two(make_sweep(), own, other))["kid"].get_yscale() == "log"


def test_a_lone_metric_takes_the_page(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [{METRIC: 2.0}, {METRIC: 1.0}])
    assert axes_of(sweep)[OWN].get_position().width > 0.85


def test_hundreds_of_epochs_are_a_line_without_marks(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [{METRIC: 1.0 / n} for n in range(1, 61)])
    (line,) = axes_of(sweep)[OWN].lines
    assert len(curve(line)[0]) == 60 and line.get_markersize() == 0


def test_scales_are_those_of_absolute_values(make_sweep: Callable[..., Any]) -> None:
    """Beside -5000 a curve from -2 to -3 is a flat line."""
    sweep = two(make_sweep(), [{"e/a": -5000.0 * n, "e/b": -2.0 - n, "e/c": 2.0 + n} for n in (1, 2)])
    axes = axes_of(sweep)
    assert set(axes) == {OWN, "e/a", "e"} and legend_of(axes["e"]) == ["b", "c"]


def test_epochs_that_are_not_finite_are_said_of_either_trial(make_sweep: Callable[..., Any]) -> None:
    rows: list[dict[str, Any]] = [{"kid": 1.0}, {"kid": np.nan}, {"kid": 3.0}]
    texts = texts_of(two(make_sweep(), rows, [rows[1], *rows[::2]]))
    assert "not finite in epoch 2 of trial 0001: kid" in texts and "not finite in epoch 1 of trial 0000: kid" in texts
