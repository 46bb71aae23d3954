"""A sweep's best trial beside its default setting: losses and scores by step, metrics by epoch, as one figure."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from genlab.errors import CorruptFile, GenlabError, nearest
from genlab.report.contact_sheet import BETTER, TEST, spread
from genlab.tracking.epoch_reports import EpochReport
from genlab.tracking.outcome import outcome
from genlab.tracking.records import Records, TrialRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = 4  # metrics by epoch: the sweep's own, then others
MARKS = 8  # epochs that are named above an axis of steps
SMOOTHED, FEWEST = 50, 5  # a thick line is a mean over one in so many of all steps, where these are not too few
CUT = 0.002  # the share of steps at either end of their range that an axis may leave out
SPEEDS = ("images_per_second", "epoch_seconds")  # not shown, unless they judge the sweep
DPI = 100
WIDTH, LEFT, RIGHT, GAP = 13.0, 0.6, 2.1, 0.65  # inches: of the figure; beside its axes, where the legend is; between
HEAD, ROW, FOOT, BETWEEN = 1.3, 2.4, 0.5, 0.8  # inches: above the rows; of one; below; between
LETTERS, NAME = 130, 24  # in a line across the rows; in one of a legend
DEFAULT = "default setting"
INK, FAINT, LINE = "#1c2026", "#70767f", "#d9dce1"
TRIALS = ("#1f5fbf", "#9aa0a8")  # best, default
STYLE: Any = {
    "font.size": 9,
    "text.parse_math": False,  # a setting may hold a $
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.titlelocation": "left",
    "legend.frameon": False,
}


class _Curves(NamedTuple):
    """Of one trial: `steps` by name, float [all steps], NaN where a report is damaged; the last step of each epoch;
    metrics by epoch; which of how many seeds the steps are of."""

    trial: TrialRecord
    role: str
    steps: Mapping[str, np.ndarray]
    ends: Mapping[int, int]
    metrics: Mapping[int, Mapping[str, float]]
    seeds: Sequence[int]


def curves(records: Records, trial: str | None = None) -> Image.Image:
    """`curves_figure` as a picture: an RGB image; the same records give the same pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(curves_figure(records, trial))  # no display is needed
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def curves_figure(records: Records, trial: str | None = None) -> Figure:
    """How the best trial of a sweep trained, and the one of its default setting, side by side on equal axes.

    A row of losses and a row of scores by step, of the first seed, where there are any: every step as a thin line, a
    running mean as a thick one. An axis leaves out the outermost 0.2 % of steps, and says how many. Below, the sweep's
    metric and up to three others by epoch; of several seeds the mean, and one standard deviation around it.

    Args:
        records: the sweep's.
        trial: name of the one trial to show instead.

    Raises:
        GenlabError: there is no such trial.
    """
    import matplotlib
    from matplotlib.figure import Figure

    metric, mode = records.manifest.metric, records.manifest.mode
    with matplotlib.rc_context(STYLE):
        shown = [one for one in _read(records, trial, mode) if one.metrics]
        kinds, names = _kinds(shown), _metrics(shown, metric)
        rows = len(kinds) + bool(names)
        if not rows:
            figure = Figure((6, 1.5), DPI)
            figure.text(0.5, 0.5, f"{records.name}: no epoch can be shown.", ha="center", va="center", color=FAINT)
            return figure
        height = HEAD + rows * ROW + (rows - 1) * BETWEEN + FOOT
        figure = Figure((WIDTH, height), DPI)
        figure.text(LEFT / WIDTH, 1 - 0.2 / height, records.name, ha="left", va="top", fontsize=14, color=INK)
        for row, (kind, own) in enumerate(kinds.items()):
            axes = _row(figure, row, len(shown))
            _by_step(axes, shown, kind, own)
            if row == 0:
                for axis, one in zip(axes, shown, strict=True):
                    axis.set_title(_title(one, metric, LETTERS // len(shown)), fontsize=9, color=INK)
        if names:
            axes = _row(figure, len(kinds), len(names))
            _by_epoch(axes, shown, names)
        if metric in names and mode in BETTER:
            axes[0].set_title(f"{metric} ({BETTER[mode]})", fontsize=9, color=INK)
        return figure


def _read(records: Records, asked: str | None, mode: str) -> list[_Curves]:
    """The trials to show: the best and the default one, or that which was asked for."""
    if asked is not None:
        if asked not in records.trials:
            known = nearest(asked, records.trials) if records.trials else "none has begun"
            raise GenlabError(f"the sweep {records.name} has no trial {asked!r}: {known}")
        return [_curves(records, records.trials[asked], "")]
    found = outcome(records.trials.values(), mode)
    if not found.searched:
        return []
    default = found.searched[0]
    if found.best is None:
        return [_curves(records, default, DEFAULT)]
    if found.best is default:
        return [_curves(records, default, f"best and {DEFAULT}")]
    return [_curves(records, found.best, "best"), _curves(records, default, DEFAULT)]


def _curves(records: Records, trial: TrialRecord, role: str) -> _Curves:
    pieces: list[tuple[int, Mapping[str, np.ndarray]]] = []
    ends: dict[int, int] = {}
    metrics: dict[int, Mapping[str, float]] = {}
    seeds: Sequence[int] = ()
    for epoch, record in sorted(trial.epochs.items()):
        try:
            report = EpochReport.read(records.storage, record.report)
        except CorruptFile:
            continue
        metrics[epoch], seeds, steps = report.metrics(), report.seeds, report.replicas[0].steps
        pieces.append((report.first_step, steps))
        if steps:
            ends[epoch] = report.first_step + max(map(len, steps.values()))
    whole = {name: np.full(max(ends.values()), np.nan) for _, steps in pieces for name in steps}
    for first, steps in pieces:
        for name, curve in steps.items():
            whole[name][first : first + len(curve)] = np.where(np.isfinite(curve), curve, np.nan)
    return _Curves(trial, role, whole, ends, metrics, seeds)


def _kinds(shown: Sequence[_Curves]) -> dict[str, list[str]]:
    """Names of what is known of single steps, by what stands on their axis."""
    names = list(dict.fromkeys(name for one in shown for name in one.steps))
    kinds: dict[str, list[str]] = {"loss": [], "score": [], "value": []}
    for name in names:
        kind = name.partition("/")[0]
        kinds[kind if kind in ("loss", "score") else "value"].append(name)
    return {kind: own for kind, own in kinds.items() if own}


def _title(one: _Curves, metric: str, width: int) -> str:
    """Which trial it is, what it reached, and its settings in at most three lines of `width` characters."""
    objective = "no objective" if one.trial.objective is None else f"{metric} {one.trial.objective:.4g}"
    settings = "  ".join(f"{name}={_value(value)}" for name, value in one.trial.settings.items())
    lines = textwrap.wrap(settings, width, max_lines=3, placeholder=" …")
    return "\n".join([f"{_name(one)}: {objective}", *lines])


def _name(one: _Curves) -> str:
    return f"trial {one.trial.name}" + (f", {one.role}" if one.role else "")


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _row(figure: Figure, row: int, count: int) -> list[Axes]:
    """`count` axes side by side, all of one row."""
    height = figure.get_figheight()
    top = height - HEAD - row * (ROW + BETWEEN)
    width = (WIDTH - LEFT - RIGHT - (count - 1) * GAP) / count
    lefts = [LEFT + i * (width + GAP) for i in range(count)]
    return [figure.add_axes((x / WIDTH, (top - ROW) / height, width / WIDTH, ROW / height)) for x in lefts]


def _by_step(axes: Sequence[Axes], shown: Sequence[_Curves], kind: str, names: Sequence[str]) -> None:
    """One row: the same axes for every trial, the legend beside the last one."""
    import matplotlib

    colors = matplotlib.color_sequences["tab10"]
    known = np.concatenate([curve for one in shown for name, curve in one.steps.items() if name in names])
    low, high = _range(known[np.isfinite(known)])
    steps = max(len(curve) for one in shown for curve in one.steps.values())
    window = steps // SMOOTHED if steps // SMOOTHED >= FEWEST else 1
    for axis, one in zip(axes, shown, strict=True):
        outside = 0
        for i, name in enumerate(names):
            if name not in one.steps:
                continue
            curve, color = one.steps[name], colors[i % len(colors)]
            x = np.arange(1, len(curve) + 1)
            if window > 1:
                axis.plot(x, curve, color=color, linewidth=0.5, alpha=0.35)
            axis.plot(x, _smoothed(curve, window), color=color, linewidth=1.8)
            outside += int(((curve < low) | (curve > high)).sum())
        axis.set(xlim=(0, steps), ylim=(low, high), xlabel="step", ylabel=kind)
        _mark_epochs(axis, one)
        if outside:
            words = f"{outside} steps lie outside"
            axis.text(0.995, 0.98, words, transform=axis.transAxes, ha="right", va="top", fontsize=8, color=FAINT)
    handles = [_line(colors[i % len(colors)]) for i in range(len(names))]
    title = [f"thick: mean of {window} steps", "thin: each step"] if window > 1 else []
    if len(shown[0].seeds) > 1:
        title.append(f"of seed {shown[0].seeds[0]} alone")
    _legend(axes[-1], handles, [name.removeprefix(f"{kind}/") for name in names], "\n".join(title))


def _mark_epochs(axis: Axes, one: _Curves) -> None:
    """A line at the end of each of some epochs, with its number above."""
    chosen = [list(one.ends)[i - 1] for i in spread(len(one.ends), MARKS)]
    if not chosen:  # it has no steps, and another trial has
        return
    for epoch in chosen:
        axis.axvline(one.ends[epoch], color=LINE, linewidth=0.8, zorder=0)
    above = axis.secondary_xaxis("top")
    above.set_xticks([one.ends[epoch] for epoch in chosen], [f"epoch {chosen[0]}", *map(str, chosen[1:])])
    above.tick_params(length=0, pad=1, labelsize=8, labelcolor=FAINT)
    above.spines["top"].set_visible(False)


def _range(values: np.ndarray) -> tuple[float, float]:
    """What an axis shows of these values."""
    if not len(values):
        return 0.0, 1.0
    low, high = np.quantile(values, (CUT, 1 - CUT))
    room = 0.06 * (high - low) or 0.05 * abs(high) or 0.05
    return float(low - room), float(high + room)


def _smoothed(curve: np.ndarray, window: int) -> np.ndarray:
    """The mean of `window` steps around each, of those that are known."""
    import pandas as pd

    return np.where(np.isnan(curve), np.nan, pd.Series(curve).rolling(window, center=True, min_periods=1).mean())


def _by_epoch(axes: Sequence[Axes], shown: Sequence[_Curves], names: Sequence[str]) -> None:
    """The last row: a panel a metric, the trials over one another."""
    from matplotlib.ticker import MaxNLocator

    last = max(epoch for one in shown for epoch in one.metrics)
    for axis, name in zip(axes, names, strict=True):
        drawn = False
        for i, one in reversed(list(enumerate(shown))):  # the best on top
            epochs = [epoch for epoch, metrics in one.metrics.items() if np.isfinite(metrics.get(name, np.nan))]
            values = np.array([one.metrics[epoch][name] for epoch in epochs])
            drawn = drawn or bool(epochs)
            axis.plot(epochs, values, color=TRIALS[i], linewidth=1.8, marker="o", markersize=3)
            if all(f"{name}/std" in one.metrics[epoch] for epoch in epochs):
                spreads = np.array([one.metrics[epoch][f"{name}/std"] for epoch in epochs])
                axis.fill_between(epochs, values - spreads, values + spreads, color=TRIALS[i], alpha=0.2, linewidth=0)
        axis.set_title(name, fontsize=9, color=INK)
        axis.set(xlabel="epoch", xlim=(0.5, last + 0.5))
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
        if not drawn:
            axis.set_yticks([])
            axis.text(0.5, 0.5, "never finite", transform=axis.transAxes, ha="center", color=FAINT)
    seeds = f"mean of {len(shown[0].seeds)} seeds,\n± standard deviation" if len(shown[0].seeds) > 1 else ""
    _legend(axes[-1], [_line(color) for color in TRIALS[: len(shown)]], [_name(one) for one in shown], seeds)


def _metrics(shown: Sequence[_Curves], metric: str) -> list[str]:
    """The sweep's own, then those that change, then constants; without those that are shown by step."""
    every = [metrics for one in shown for metrics in one.metrics.values()]
    by_step = {name for one in shown for name in one.steps}
    names = dict.fromkeys(name for metrics in every for name in metrics)
    others = [
        name
        for name in names
        if name != metric
        and name not in by_step
        and name not in SPEEDS
        and not name.startswith(TEST)
        and not name.endswith("/std")
        and "/seed_" not in name
    ]
    changing = {name for name in others if len({metrics.get(name) for metrics in every}) > 1}
    others.sort(key=lambda name: name not in changing)  # keeps the report's order otherwise
    return [*([metric] if metric in names else []), *others][:PANELS]


def _line(color: Any) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=color, linewidth=1.8)


def _legend(axis: Axes, handles: Sequence[Any], labels: Sequence[str], title: str) -> None:
    """To the right of a row's last axes, where no line runs."""
    place: Any = {"loc": "upper left", "bbox_to_anchor": (1.02, 1.0), "borderaxespad": 0, "alignment": "left"}
    wrapped = ["\n".join(textwrap.wrap(label, NAME, max_lines=2, placeholder=" …")) for label in labels]
    legend = axis.legend(handles, wrapped, title=title or None, **place)
    legend.get_title().set(fontsize=8, color=FAINT)
