"""What stands where in curves.png, in inches from the left and from above, in which colour and how large."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from figures import METRIC, assert_readable, axes_of, bands, curve, figure_of, inches, told
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from test_by_setting import searched
from test_curves import STEPS, two_trials

INK, FAINT, LINE = "#1c2026", "#70767f", "#d9dce1"
BEST, DEFAULT = "#1f5fbf", "#c2571a"  # blue, orange
OWN = f"{METRIC} (lower is better)"
LEFT, RIGHT = 0.75, 13 - 0.25  # inches: where axes begin and end


def places(sweep: Any, trial: str | None = None) -> dict[str, tuple[float, ...]]:
    """Left, top, width and height of all axes."""
    return {name: inches(axes.figure, axes) for name, axes in axes_of(sweep, trial).items()}  # type: ignore[arg-type]


def words(figure: Figure) -> dict[str, Any]:
    return {text.get_text(): text for text in figure.texts}


def place(text: Any) -> tuple[float, float]:
    """Of a text, in inches from the left and from above."""
    x, y = text.get_position()
    return round(x * 13, 4), round((1 - y) * text.figure.get_figheight(), 4)


def by_setting(sweep: Any) -> Any:
    space = {
        "lr": FloatDistribution(1e-4, 1e-1, log=True),
        "loss": CategoricalDistribution(["a", "b", "c"]),
        "depth": IntDistribution(1, 9),
    }
    rows: list[Any] = [(5.0, 1e-3, "a", 2), (9.0, 1e-2, "b", 3), (2.0, 1e-1, "c", 9), (None, 2e-3, "c", 9)]
    return searched(sweep, space, *((value, dict(zip(space, row, strict=True))) for value, *row in rows))


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_page_is_full_and_its_parts_are_apart(seeds: int, make_sweep: Callable[..., Any]) -> None:
    sweep = two_trials(make_sweep, seeds)
    for trial in (None, "0001", "0002"):
        empty = bands(figure_of(sweep, trial))
        assert min(empty) > 0 and max(empty[:-1]) < 0.45 and 0.1 < empty[-1] < 0.45


def test_the_page_of_trials_of_one_epoch_is_full_too(make_sweep: Callable[..., Any]) -> None:
    sweep = by_setting(make_sweep())
    figure = figure_of(sweep)
    assert max(bands(figure)[:-1]) < 0.45 and bands(figure)[-1] < 0.9  # names of values may stand upright there
    assert_readable(figure)


def test_the_head_is_the_sweep_then_a_line_for_each_trial(make_sweep: Callable[..., Any]) -> None:
    sweep = two_trials(make_sweep)
    figure = figure_of(sweep)
    name, about, best, settings, default, others = figure.texts[:6]
    assert name.get_text() == sweep.records.name and place(name) == (LEFT, 0.15)
    sizes = [text.get_fontsize() for text in figure.texts]
    assert name.get_fontsize() == max(sizes) and sizes.count(max(sizes)) == 1
    colors = [text.get_color() for text in (name, about, best, settings, default, others)]
    assert colors == [INK, FAINT, INK, FAINT, INK, FAINT]
    heights = [place(text)[1] for text in (name, about, best, settings, default, others)]
    assert np.diff(heights) == pytest.approx([0.3, 0.3, 0.165, 0.231, 0.165], abs=0.01)
    assert {place(text)[0] for text in (best, settings, default, others)} == {1.3}
    for sample, text, color in zip(figure.artists, (best, default), (BEST, DEFAULT), strict=True):
        line: Any = sample
        assert to_hex(line.get_color()) == color
        xs, ys = np.array(line.get_xdata()) * 13, (1 - np.array(line.get_ydata())) * figure.get_figheight()
        assert (xs[0], xs[-1]) == pytest.approx((LEFT, 1.2)) and len(set(ys)) == 1  # left of the trial's words
        assert place(text)[1] < ys[0] < place(text)[1] + 0.165  # beside its first line
        assert line.get_markevery() == [1] and xs[1] == pytest.approx((xs[0] + xs[2]) / 2)  # one mark, in its middle


def test_a_trials_settings_are_three_lines_at_most_and_push_down_what_follows(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [{METRIC: 2.0}, {METRIC: 3.0}], settings={f"field_{i}": "v" * 20 for i in range(40)})
    told(sweep, "0001", [{METRIC: 1.0}, {METRIC: 2.0}], settings={f"field_{i}": "w" * 20 for i in range(7)})
    figure = figure_of(sweep)
    told_of = [text for text in figure.texts[2:] if place(text)[0] == 1.3]
    assert [text.get_text()[:10] for text in (told_of[0], told_of[3])] == ["trial 0001", "trial 0000"]
    last = told_of[4:]
    assert len(last) == 3 and last[0].get_text().startswith("field_0=")
    assert last[-1].get_text().endswith(" …") and all(100 < len(text.get_text()) <= 132 for text in last)
    assert np.diff([place(text)[1] for text in last]) == pytest.approx([0.165, 0.165], abs=0.001)
    assert place(words(figure)["by epoch"])[1] > place(last[-1])[1] + 0.165
    assert_readable(figure)


def test_the_sweeps_metric_has_half_the_page_and_two_rows_of_panels_beside_it(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    rows = [dict.fromkeys(("a", "b", "c", "d", "e", "f/x", "f/y", "g"), n + 1.0) for n in range(3)]
    for name in ("0000", "0001"):
        told(sweep, name, [{METRIC: float(name) + 3 - n} | row for n, row in enumerate(rows)])
    found = places(sweep)
    slot = (12 - 3 * 0.65) / 4
    lefts = [round(LEFT + i * (slot + 0.65), 4) for i in range(4)]
    top, pitch = found[OWN][1], 2.55
    at = {name: (lefts.index(round(x, 4)), round((y - top) / pitch, 4)) for name, (x, y, _, _) in found.items()}
    assert at == {
        OWN: (0, 0),
        "a": (2, 0),
        "b": (3, 0),
        "c": (2, 1),
        "d": (3, 1),
        "e": (0, 2),
        "f": (1, 2),
        "g": (3, 2),
    }
    singles = [found[name][2:] for name in "abcdeg"]
    assert singles == [pytest.approx((slot, 1.7))] * 6
    assert found[OWN][2:] == pytest.approx((2 * slot + 0.65, 1.7 + 2.55))
    assert found["f"][2:] == pytest.approx((2 * slot + 0.65 - 1.55, 1.7))  # beside it stands its legend
    assert found["f"][0] + 2 * slot + 0.65 < found["g"][0]
    figure = figure_of(sweep)
    legend: Any = axes_of(sweep)["f"].get_legend()
    FigureCanvasAgg(legend.figure.figure).draw()
    assert legend.get_window_extent().x1 / 100 < found["g"][0] - 0.2
    title = words(figure)["by epoch"]
    assert place(title)[0] == LEFT and place(title)[1] < top - 0.3 and title.get_fontsize() == 11


@pytest.mark.parametrize(
    ("others", "wide", "high"), [(0, 12.0, 1.7), (1, 5.675, 1.7), (2, 5.675, 1.7), (3, 5.675, 4.25)]
)
def test_beside_few_others_the_metric_is_lower_and_alone_as_wide_as_the_page(
    others: int, wide: float, high: float, make_sweep: Callable[..., Any]
) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [{METRIC: 3.0 - n} | {f"x{'abc'[i]}": 1.0 + n for i in range(others)} for n in range(2)])
    found = places(sweep)
    assert len(found) == 1 + others and found[OWN][2:] == pytest.approx((wide, high))
    assert figure_of(sweep).get_figheight() - sum(found[OWN][1::2]) < 1.0  # nothing is below it


def test_a_series_is_a_row_of_equal_panels_and_its_legend(make_sweep: Callable[..., Any]) -> None:
    sweep = two_trials(make_sweep)
    row = [where for name, where in places(sweep).items() if name.startswith("accuracy/eps_…")]
    assert len(row) == 3 and row[0][0] == LEFT
    assert {where[1] for where in row} == {row[0][1]} and {where[2:] for where in row} == {row[0][2:]}
    assert row[-1][0] + row[-1][2] == pytest.approx(RIGHT - 1.55)
    alone = [where for name, where in places(sweep, "0001").items() if name.startswith("accuracy/eps_…")]
    assert [where[0] for where in alone] == [where[0] for where in row[:2]]  # no gap where the other trial would be
    title = axes_of(sweep, "0001")["accuracy/eps_…"].get_title("left")
    assert title == "accuracy/eps_…"  # of one trial its role is not said
    both = [axes for name, axes in axes_of(sweep).items() if name.startswith("accuracy/eps_…")]
    values = np.concatenate([line.get_ydata() for axes in both[:2] for line in axes.lines])
    low, high = both[0].get_ylim()
    room = 0.06 * (values.max() - values.min())
    assert (low, high) == pytest.approx((values.min() - room, values.max() + room))


def test_a_series_that_does_not_change_between_epochs_has_some_height(make_sweep: Callable[..., Any]) -> None:
    names = [f"a/eps_{i}" for i in range(4)]
    for value, expected in ((5.0, (4.75, 5.25)), (0.0, (-0.05, 0.05))):
        sweep = make_sweep()
        told(sweep, "0000", [{METRIC: 1.0} | dict.fromkeys(names, value), {METRIC: 1.0, names[0]: value}])
        assert axes_of(sweep)["a/eps_…"].get_ylim() == pytest.approx(expected)


def test_lines_and_bands_have_the_colours_of_the_head(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep(seeds=(0, 1))
    for name, first in (("0000", 9.0), ("0001", 3.0)):
        told(sweep, name, [{METRIC: [first, first + 1], "kid": [first + n, first + 2.0]} for n in range(3)])
    for name in (OWN, "kid"):
        axes = axes_of(sweep)[name]
        default, best = axes.lines
        assert (to_hex(default.get_color()), to_hex(best.get_color())) == (DEFAULT, BEST)
        assert (default.get_marker(), best.get_marker()) == (
            "D",
            "o",
        ) and best.get_linewidth() > default.get_linewidth()
        assert best.get_markersize() == default.get_markersize() == 3
        shades = [band.get_facecolor()[0] for band in axes.collections]
        assert [to_hex(shade[:3]) for shade in shades] == [DEFAULT, BEST] and all(
            0.05 < shade[3] < 0.3 for shade in shades
        )
        assert {float(width) for band in axes.collections for width in band.get_linewidth()} == {0.0}
        assert axes.get_xlabel() == "epoch" and axes.title.get_position()[0] >= 0
        label: Any = axes._left_title  # type: ignore[attr-defined]
        assert (label.get_color(), label.get_fontsize()) == (INK, 9)


def test_axes_are_plain_faint_and_open(make_sweep: Callable[..., Any]) -> None:
    sweep = two_trials(make_sweep)
    for name, axes in axes_of(sweep).items():
        spines: Any = axes.spines
        assert [spines[side].get_visible() for side in ("top", "right", "bottom", "left")] == [False, False, True, True]
        assert to_hex(spines["bottom"].get_edgecolor()) == FAINT, name
        legend = axes.get_legend()
        assert legend is None or not legend.get_frame_on()


def test_epochs_are_whole_numbers_and_few(make_sweep: Callable[..., Any]) -> None:
    for epochs in (1, 2, 3, 40):
        sweep = make_sweep()
        told(sweep, "0000", [{METRIC: 50.0 - n, "kid": 1.0 + n} for n in range(epochs)])
        told(sweep, "0001", [{METRIC: 1.0}, {METRIC: 2.0}])
        ticks = axes_of(sweep, "0000" if epochs > 1 else "0001")[OWN].xaxis.get_majorticklocs()
        assert all(float(tick).is_integer() for tick in ticks) and len(ticks) <= 8
        assert sum(1 <= tick <= max(2, epochs) for tick in ticks) >= 2


@pytest.mark.parametrize(("epochs", "size"), [(40, 3), (41, 0)])
def test_up_to_forty_epochs_are_marked(epochs: int, size: int, make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [{METRIC: 1.0 / n} for n in range(1, epochs + 1)])
    assert axes_of(sweep)[OWN].lines[0].get_markersize() == size


def test_a_series_over_its_numbers_looks_as_its_trials_do(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    for name, best in (("0000", 0.0), ("0001", 1.0)):
        rows = {f"top{k}": 0.1 * k + best for k in (1, 2, 3, 4)} | ({} if best else {"top9": 0.5})
        told(sweep, name, [{METRIC: 3.0 - best} | rows])
    axes = axes_of(sweep)["top… after the last epoch"]
    default, best = axes.lines
    assert (to_hex(default.get_color()), to_hex(best.get_color())) == (DEFAULT, BEST)
    assert curve(default)[0] == curve(best)[0] == [1, 2, 3, 4, 9]
    np.testing.assert_allclose(best.get_ydata(), [1.1, 1.2, 1.3, 1.4, np.nan])  # of the best there is none
    assert default.get_markersize() == best.get_markersize() == 3
    assert axes.get_xlabel() == "top"
    sweep = make_sweep()
    told(sweep, "0000", [{METRIC: 3.0} | {f"r/{k}": 0.1 * k for k in (1, 2, 3, 4)}])
    (axes,) = axes_of(sweep).values()
    assert axes.get_xlabel() == "number"
    assert inches(axes.figure, axes)[2:] == pytest.approx((5.675, 1.7))  # type: ignore[arg-type]


def test_rows_by_step_leave_room_for_their_legends(make_sweep: Callable[..., Any]) -> None:
    sweep = two_trials(make_sweep)
    found = places(sweep)
    rows = [[found["loss"], found["loss 2"]], [found["score"], found["score 2"]]]
    for left, right in rows:
        assert left[0] == LEFT and right[0] + right[2] == pytest.approx(13 - 2.1)
        assert left[1:] == right[1:] and left[3] == pytest.approx(2.1)
        assert right[0] - left[0] - left[2] == pytest.approx(0.65)
    assert 2.8 < rows[1][0][1] - rows[0][0][1] < 3.2
    alone = places(sweep, "0001")
    assert alone["loss"][2] == pytest.approx(13 - 2.1 - LEFT)
    axes = axes_of(sweep)
    assert axes["loss"].get_legend() is None and axes["loss 2"].get_legend() is not None  # once, beside the last
    for name in ("loss", "loss 2", "score", "score 2"):
        assert (axes[name].get_xlabel(), axes[name].get_ylabel()) == ("step", name.split()[0])


def test_by_step_a_curve_has_its_legends_colour_and_marks_are_faint(make_sweep: Callable[..., Any]) -> None:
    sweep = two_trials(make_sweep)
    axes: Any = axes_of(sweep)["loss 2"]
    curves, marks = axes.lines[:2], axes.lines[2:]
    handles = axes.get_legend().legend_handles
    assert [line.get_color() for line in curves] == [handle.get_color() for handle in handles]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["generator", "discriminator"]
    assert curves[0].get_ydata()[0] == 2 and curves[1].get_ydata()[0] == 1
    for mark in marks:
        assert to_hex(mark.get_color()) == LINE and mark.get_zorder() < min(line.get_zorder() for line in curves)
        assert list(mark.get_ydata()) == [0, 1] and mark.get_linewidth() < 1  # over the whole height, and thin
    above = axes.child_axes[0]
    assert list(above.get_xticks()) == [30, 60, 90] and not above.spines["top"].get_visible()
    for tick in above.get_xticklabels():
        assert (to_hex(tick.get_color()), tick.get_fontsize()) == (FAINT, 8)
    assert axes.get_xlim() == (0, 90)
    figure = axes.figure
    FigureCanvasAgg(figure).draw()
    title = axes_of(sweep)["loss"]._left_title  # type: ignore[attr-defined]
    assert (title.get_color(), title.get_fontsize()) == (INK, 9)


def test_a_trial_that_ended_in_its_first_step_is_drawn(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [{METRIC: 1.0}], steps={"loss/a": [7.0]})
    low, high = axes_of(sweep)["loss"].get_ylim()
    assert 5 < low < 7 < high < 9


def test_smoothing_begins_where_a_mean_has_five_steps(make_sweep: Callable[..., Any]) -> None:
    """The lines are one in 50 of all steps: of 249 steps four, which smooth nothing."""
    for steps, window in ((249, 1), (250, 5)):
        sweep = make_sweep()
        told(sweep, "0000", [{METRIC: 1.0}], steps={"loss/a": np.arange(steps) % 7 + 1.0, "loss/b": np.ones(steps)})
        axes: Any = axes_of(sweep)["loss"]
        title = axes.get_legend().get_title().get_text()
        drawn = [line for line in axes.lines if len(line.get_xdata()) == steps]
        assert len(drawn) == (2 if window == 1 else 4)
        assert title == ("" if window == 1 else "thick: mean of 5 steps\nthin: each step")
        if window > 1:
            thin, thick = drawn[:2]
            assert thin.get_color() == thick.get_color() and thin.get_alpha() < 0.6
            assert thick.get_ydata()[0] == pytest.approx(np.mean([1, 2, 3]))  # at its ends of fewer
    assert drawn[0].get_xdata()[0] == 1 and drawn[1].get_xdata()[-1] == 250


def test_how_many_steps_lie_outside_stands_in_the_corner_of_their_axes(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    values = np.sin(np.arange(1000) / 100)
    values[300] = 1e6
    told(sweep, "0000", [{METRIC: 1.0}], steps={"loss/vae": values})
    axes = axes_of(sweep)["loss"]
    (text,) = axes.texts
    assert text.get_text().endswith(("lies outside", "lie outside")) and text.get_color() == FAINT
    assert (text.get_ha(), text.get_va()) == ("right", "top") and text.get_fontsize() == 8
    FigureCanvasAgg(axes.figure).draw()  # type: ignore[arg-type]
    own, box = axes.get_window_extent(), text.get_window_extent()
    assert own.x0 + own.width * 0.6 < box.x0 < box.x1 <= own.x1 and own.y1 - 25 < box.y0 < box.y1 <= own.y1
    sweep = make_sweep()
    told(sweep, "0000", [{METRIC: 1.0}], steps={"loss/vae": [*np.linspace(0, 1, 600), 1e6]})
    (text,) = axes_of(sweep)["loss"].texts
    assert text.get_text() == "1 step lies outside"


def test_panels_by_setting_fill_the_page_in_equal_columns(make_sweep: Callable[..., Any]) -> None:
    found = [*places(by_setting(make_sweep())).values()]
    assert len(found) == 3 and found[0][0] == LEFT and found[-1][0] + found[-1][2] == pytest.approx(RIGHT)
    assert {where[1] for where in found} == {found[0][1]} and {where[2:] for where in found} == {found[0][2:]}
    assert found[0][3] == pytest.approx(2.0)
    for count, across, down in ((1, 2, 1), (4, 4, 1), (5, 3, 2), (9, 3, 3)):
        sweep = make_sweep()
        space = {f"f{i}": FloatDistribution(0.0, 9.0) for i in range(count)}
        searched(sweep, space, *((2.0 - n, {name: float(n + i) for i, name in enumerate(space)}) for n in range(2)))
        found = [*places(sweep).values()]
        tops = sorted({where[1] for where in found})
        assert len(found) == count and len(tops) == down
        assert sum(where[1] == tops[0] for where in found) == min(across, count)
        assert found[0][2] == pytest.approx((12 - (across - 1) * 0.65) / across)
        assert np.diff(tops) == pytest.approx([3.1] * (down - 1))
        assert figure_of(sweep).get_figheight() - tops[-1] - 2.0 == pytest.approx(1.15)


def test_by_setting_dots_are_gray_and_what_is_marked_has_the_heads_colours(make_sweep: Callable[..., Any]) -> None:
    axes = axes_of(by_setting(make_sweep()))["lr"]
    dots, default, best, crosses = axes.lines
    red, green, blue = (int(to_hex(dots.get_color())[i : i + 2], 16) for i in (1, 3, 5))
    assert max(red, green, blue) - min(red, green, blue) < 20 and 0.4 < (dots.get_alpha() or 1) < 0.9
    assert (to_hex(default.get_color()), to_hex(best.get_color())) == (DEFAULT, BEST)
    assert (default.get_marker(), best.get_marker(), crosses.get_marker()) == ("D", "o", "x")
    assert default.get_markersize() == best.get_markersize() > dots.get_markersize()
    assert {line.get_linestyle() for line in axes.lines} == {"None"}  # trials are no curve
    assert to_hex(crosses.get_color()) == "#be2828"
    FigureCanvasAgg(axes.figure).draw()  # type: ignore[arg-type]
    own = axes.get_window_extent()
    x, y = crosses.get_transform().transform(crosses.get_xydata())[0]
    assert own.y0 < y < own.y0 + 0.1 * own.height and own.x0 < x < own.x1  # at the foot of the axes
    lowest = axes.transData.transform((0.01, 2.0))[1]
    assert lowest > y + 10  # the best trial's dot is above it


def test_by_setting_there_is_some_room_around_the_dots(make_sweep: Callable[..., Any]) -> None:
    space = {"dropout": FloatDistribution(0.0, 0.5)}
    for objectives, expected in (
        ([1.0, 2.0, 3.0], (0.88, 3.12)),
        ([1.0, 2.0, 3.0, None], (0.7, 3.12)),  # below it crosses
        ([4.0, 4.0], (3.76, 4.24)),
        ([0.0, 0.0], (-0.06, 0.06)),
    ):
        trials: list[Any] = [(value, {"dropout": 0.1 * i}) for i, value in enumerate(objectives)]
        axes = axes_of(searched(make_sweep(), space, *trials))["dropout"]
        assert axes.get_ylim() == pytest.approx(expected)
    values = [1.0, 10.0, 1000.0]
    axes = axes_of(searched(make_sweep(), space, *((v, {"dropout": v / 2000}) for v in values)))["dropout"]
    assert axes.get_ylim() == pytest.approx((10**-0.18, 10**3.18)) and axes.get_yscale() == "log"


def test_what_is_far_from_the_middle_is_so_by_three_times_its_width(make_sweep: Callable[..., Any]) -> None:
    """Four fifths of the trials are the middle."""
    space = {"dropout": FloatDistribution(0.0, 0.5)}
    for far, beyond in ((-25.0, False), (-28.0, True), (35.0, False), (38.0, True)):
        rows: list[Any] = [(float(i), {"dropout": 0.01 * i}) for i in range(11)]
        rows.insert(5, (far, {"dropout": 0.3}))
        sweep = searched(make_sweep(mode="max" if far < 0 else "min"), space, *rows)
        low, high = axes_of(sweep)["dropout"].get_ylim()
        assert (low <= far <= high) == (not beyond)
        assert any(text.get_text().endswith(", 1 beyond the axis") for text in figure_of(sweep).texts) == beyond


def test_names_of_values_lie_flat_where_they_have_room_else_oblique(make_sweep: Callable[..., Any]) -> None:
    for choices, rotation, side in ((["a", "b", "c"], 0, "center"), ([f"choice {i}" for i in range(6)], 40, "right")):
        space = {"loss": CategoricalDistribution(choices)}
        sweep = searched(make_sweep(), space, *((float(i), {"loss": own}) for i, own in enumerate(choices)))
        axes = axes_of(sweep)["loss"]
        assert [label.get_text() for label in axes.get_xticklabels()] == choices
        assert {(label.get_rotation(), label.get_ha()) for label in axes.get_xticklabels()} == {(rotation, side)}
        assert list(axes.get_xticks()) == [*range(len(choices))] and axes.get_xlim() == (-0.5, len(choices) - 0.5)


def test_a_field_of_whole_numbers_has_whole_ticks(make_sweep: Callable[..., Any]) -> None:
    space = {"depth": IntDistribution(1, 3), "rate": FloatDistribution(0.0, 1.0)}
    sweep = searched(make_sweep(), space, *((float(i), {"depth": i, "rate": i / 3}) for i in (1, 2, 3)))
    axes = axes_of(sweep)
    assert all(float(tick).is_integer() for tick in axes["depth"].get_xticks())
    assert not all(float(tick).is_integer() for tick in axes["rate"].get_xticks())
    assert len(axes["rate"].get_xticks()) <= 7


def test_a_table_stands_below_its_heading_in_three_blocks(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    names = [f"m{letter}" for letter in "abcdefg"]
    for i, trial in enumerate(("0000", "0001")):
        told(sweep, trial, [{METRIC: 9.0 - i} | {name: 10.0 * k + i for k, name in enumerate(names)}])
    figure = figure_of(sweep)
    found = words(figure)
    at = {name: place(found[name]) for name in names}
    lefts = [LEFT, LEFT + 4, LEFT + 8]
    assert [at[name][0] for name in names] == pytest.approx([lefts[i // 3] for i in range(7)])
    assert at["ma"][1] == at["md"][1] == at["mg"][1] and at["mb"][1] - at["ma"][1] == pytest.approx(0.165, abs=1e-3)
    heads = [text for text in figure.texts if text.get_text() in ("best", "default setting")]
    assert {round(at["ma"][1] - place(text)[1], 3) for text in heads} == {0.165}
    assert place(found["other metrics"])[1] + 0.2 < place(heads[0])[1] - 0.1
    for k, name in enumerate(names):
        best, default = found[f"{10 * k + 1}"], found[f"{10 * k}"]
        left = lefts[k // 3]
        assert place(best) == pytest.approx((left + 4 - 0.3 - 0.95, at[name][1]), abs=1e-3)
        assert place(default) == pytest.approx((left + 4 - 0.3, at[name][1]), abs=1e-3)
        assert found[name].get_color() == FAINT and best.get_color() == default.get_color() == INK
        assert best.get_ha() == default.get_ha() == "right"
    assert {(text.get_color(), text.get_fontsize(), text.get_ha()) for text in heads} == {(FAINT, 8, "right")}
    lowest = max(y for _, y in at.values())
    assert figure.get_figheight() - lowest == pytest.approx(0.033 + 0.2 + 0.2, abs=1e-3)  # room below it
    assert_readable(figure)
    assert max(bands(figure)) < 0.45


def test_a_long_name_in_a_table_is_cut_before_its_values(make_sweep: Callable[..., Any]) -> None:
    for trials, letters in ((1, 34), (2, 25)):
        sweep = make_sweep()
        for i in range(trials):
            told(sweep, f"000{i}", [{METRIC: 9.0 - i, "n" * letters: 1.0 + i, "l" * (letters + 1): 3.0 + i}])
        names = {text.get_text() for text in figure_of(sweep).texts}
        assert {"n" * letters, "l" * (letters - 1) + "…"} <= names


def test_words_about_metrics_are_faint_lines_of_the_page(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    same = {f"a rather long name of metric {i:02}": float(i) for i in range(20)}
    told(sweep, "0000", [{METRIC: 3.0 - n} | same for n in range(2)])
    figure = figure_of(sweep)
    (first,) = (i for i, text in enumerate(figure.texts) if text.get_text().startswith("the same in every epoch"))
    lines = figure.texts[first:]
    assert len(lines) > 3 and {text.get_color() for text in lines} == {FAINT} and {place(t)[0] for t in lines} == {LEFT}
    assert np.diff([place(text)[1] for text in lines]) == pytest.approx([0.165] * (len(lines) - 1), abs=1e-3)
    assert all(name in " ".join(text.get_text() for text in lines) for name in same)
    assert figure.get_figheight() - place(lines[-1])[1] == pytest.approx(0.165 + 0.2 + 0.2, abs=1e-3)
    assert_readable(figure)


def test_a_single_trial_that_was_asked_for_heads_its_column_of_a_table(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [{METRIC: 3.0, "kid": 1.0}], steps=STEPS)
    assert "trial 0000" in words(figure_of(sweep, "0000")) and "kid" in words(figure_of(sweep, "0000"))


def test_an_axis_leaves_out_one_step_in_five_hundred_at_either_end(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [{METRIC: 1.0}], steps={"loss/a": np.arange(1001.0)})
    low, high = axes_of(sweep)["loss"].get_ylim()
    assert (low, high) == pytest.approx((2 - 0.06 * 996, 998 + 0.06 * 996))


def test_curves_that_never_move_have_an_axis(make_sweep: Callable[..., Any]) -> None:
    for value, expected in ((0.0, (-0.05, 0.05)), (-4.0, (-4.2, -3.8))):
        sweep = make_sweep()
        told(sweep, "0000", [{METRIC: 1.0}], steps={"loss/a": np.full(9, value)})
        assert axes_of(sweep)["loss"].get_ylim() == pytest.approx(expected)
