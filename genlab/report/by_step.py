"""Losses and scores of every step: a row for each kind, the trials side by side on equal axes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from genlab.report.contact_sheet import spread
from genlab.report.groups import scales
from genlab.report.page import LEFT, WIDTH, Box, Section, legend, line
from genlab.report.style import FAINT, INK, LINE
from genlab.report.trials import Trained

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW, ABOVE, BELOW = 2.1, 0.42, 0.5  # inches: the axes of a row; what is above them, and below
BESIDE, NAME = 2.1, 24  # inches to the right of a row, for its legend; letters in a line of it
MARKS = 8  # epochs that are named above an axis
SMOOTHED, FEWEST = 50, 5  # a thick line is a mean over one in so many of all steps, where these are not too few
CUT = 0.002  # the share of steps at either end of their range that an axis may leave out
COLOURS = 10  # curves on an axis at most


def sections(shown: Sequence[Trained]) -> list[Section]:
    """Rows for what is known of single steps; none where nothing is."""
    rows = _rows(shown)
    found = [Section(ABOVE + ROW + BELOW, partial(_row, shown, *rows[i], not i)) for i in range(len(rows))]
    return [found[0]._replace(title="by step"), *found[1:]] if found else []


def _rows(shown: Sequence[Trained]) -> list[tuple[str, list[str]]]:
    """Names by what stands on their axis: losses, scores, and others of one scale."""
    kinds: dict[str, list[str]] = {"loss": [], "score": [], "value": []}
    for name in dict.fromkeys(name for one in shown for name in one.steps):
        kind = name.partition("/")[0]
        kinds[kind if kind in ("loss", "score") else "value"].append(name)
    known = {name: [one.steps[name] for one in shown if name in one.steps] for own in kinds.values() for name in own}
    largest = {name: float(np.nanmax(np.abs(np.append(np.concatenate(own), 0)))) for name, own in known.items()}
    rows = [(kind, kinds[kind]) for kind in ("loss", "score")]
    rows += [("value", own) for own in scales(kinds["value"], largest)]
    return [(kind, own[i : i + COLOURS]) for kind, own in rows for i in range(0, len(own), COLOURS)]


def _row(shown: Sequence[Trained], kind: str, names: Sequence[str], is_first: bool, figure: Figure, top: float) -> None:
    """One row: the same axes for every trial, the legend beside the last one."""
    import matplotlib

    colors = matplotlib.color_sequences["tab10"]
    box = Box(figure, LEFT, top + ABOVE, WIDTH - LEFT - BESIDE, ROW)
    axes = [box.column(i, len(shown)).axes() for i in range(len(shown))]
    known = np.concatenate([curve for one in shown for name, curve in one.steps.items() if name in names])
    low, high = _range(known[np.isfinite(known)])
    steps = max(len(curve) for one in shown for curve in one.steps.values())
    window = steps // SMOOTHED if steps // SMOOTHED >= FEWEST else 1
    for axis, one in zip(axes, shown, strict=True):
        outside = 0
        for i, name in enumerate(names):
            if name not in one.steps:
                continue
            curve, color = one.steps[name], colors[i]
            x = np.arange(1, len(curve) + 1)
            if window > 1:
                axis.plot(x, curve, color=color, linewidth=0.5, alpha=0.35)
            axis.plot(x, _smoothed(curve, window), color=color, linewidth=1.8)
            outside += int(((curve < low) | (curve > high)).sum())
        axis.set(xlim=(0, steps), ylim=(low, high), xlabel="step", ylabel=kind)
        if is_first:
            axis.set_title(one.called, fontsize=9, color=INK, pad=16)
        _mark_epochs(axis, one)
        if outside:
            words = f"{outside} step{'s lie' if outside > 1 else ' lies'} outside"
            axis.text(0.995, 0.98, words, transform=axis.transAxes, ha="right", va="top", fontsize=8, color=FAINT)
    title = [f"thick: mean of {window} steps", "thin: each step"] if window > 1 else []
    if len(shown[0].seeds) > 1:
        title.append(f"of seed {shown[0].seeds[0]} alone")
    labels = [name.removeprefix(f"{kind}/") for name in names]
    legend(axes[-1], [line(color) for color in colors[: len(names)]], labels, NAME, "\n".join(title))


def _mark_epochs(axis: Axes, one: Trained) -> None:
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
