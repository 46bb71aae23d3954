"""The metric of each trial of a sweep over what was searched: for trials of one epoch, whose curves are dots."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from genlab.report.by_epoch import TRIALS
from genlab.report.contact_sheet import differences
from genlab.report.page import LEFT, RIGHT, WIDTH, Box, Section
from genlab.report.style import ENDS, is_logarithmic, make_logarithmic, told
from genlab.report.trials import Trained
from genlab.tracking.records import TrialRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SLOTS = 4  # panels side by side
HIGH, ABOVE, BELOW = 2.0, 0.15, 0.95  # inches: the axes of a panel; above them, and below, where names of values stand
OTHERS = "#8d939c"
FEW = 6  # different numbers of a field without a distribution up to which each has a tick of its own
LETTERS, NAMED = 12, 12  # of a value at a tick; ticks at most
FAR = 3.0  # what lies farther from the middle four fifths than so many times their width is beyond the axis


class Range(NamedTuple):
    """Of what a field was drawn from what an axis needs: choices, or whether numbers are logarithmic."""

    choices: list[Any] | None
    logarithmic: bool


def sections(trials: Sequence[TrialRecord], shown: Sequence[Trained], metric: str) -> list[Section]:
    """A panel for each field that differs between the trials; none where there is nothing to compare.

    Args:
        trials: those of the search.
        shown: trials to mark.
        metric: the sweep's own.
    """
    judged = _judged(trials)
    fields = differences(trials)
    if len(judged) < 2 or not fields:
        return []
    marked = _judged([one.trial for one in shown])
    low, high, logarithmic = _limits(np.array([*judged.values()]), [*marked.values()], len(judged) < len(trials))
    outside = sum(not low <= value <= high for value in judged.values())
    words = [f"{metric} by setting: {len(judged)} trials"]
    if outside:
        words.append(f"{outside} beyond the axis")
    if len(judged) < len(trials):
        words.append(f"{len(trials) - len(judged)} without {metric}, as a cross below")
    height = math.ceil(len(fields) / SLOTS) * (ABOVE + HIGH + BELOW)
    draw = partial(_panels, trials, fields, shown, (low, high), logarithmic)
    return [Section(height, draw, ", ".join(words))]


def _judged(trials: Sequence[TrialRecord]) -> dict[str, float]:
    """The objectives by the names of their trials, of those that have one."""
    return {trial.name: trial.objective for trial in trials if trial.objective is not None}


def _limits(values: np.ndarray, marked: Sequence[float], crosses: bool) -> tuple[float, float, bool]:
    """What the axis of the metric shows, and whether it is logarithmic. A few trials far from the others are left out,
    but none that is marked. Where there are `crosses`, they have room below the rest."""
    every = np.append(values, marked)
    if logarithmic := is_logarithmic(every):
        low, high = math.log(every.min()), math.log(every.max())
    else:
        first, last = np.quantile(values, (0.1, 0.9))
        near = values[(values >= first - FAR * (last - first)) & (values <= last + FAR * (last - first))]
        low, high = float(np.append(near, marked).min()), float(np.append(near, marked).max())
    room = high - low or abs(high) or 1.0
    low, high = low - (0.15 if crosses else 0.06) * room, high + 0.06 * room
    return (math.exp(low), math.exp(high), True) if logarithmic else (low, high, False)


def _panels(
    trials: Sequence[TrialRecord],
    fields: Sequence[str],
    shown: Sequence[Trained],
    limits: tuple[float, float],
    logarithmic: bool,
    figure: Figure,
    top: float,
) -> None:
    across = math.ceil(len(fields) / math.ceil(len(fields) / SLOTS))
    for i, field in enumerate(fields):
        row, column = divmod(i, across)
        box = Box(figure, LEFT, top + row * (ABOVE + HIGH + BELOW) + ABOVE, WIDTH - LEFT - RIGHT, HIGH)
        axes = box.column(column, max(2, across)).axes()
        _points(axes, trials, field, shown)
        if logarithmic:
            make_logarithmic(axes, "y")
        axes.set_ylim(limits)


def _points(axes: Axes, trials: Sequence[TrialRecord], field: str, shown: Sequence[Trained]) -> None:
    """The metric of the trials that have a setting of `field`, and below it those that have none."""
    having = [trial for trial in trials if field in trial.settings]
    at = _axis(axes, having, field)
    places = {trial.name: at(trial.settings[field]) for trial in having}
    marked = {one.trial.name: one.trial for one in shown if field in one.trial.settings}
    others = {name: value for name, value in _judged(having).items() if name not in marked}
    dots: Any = {"linestyle": "none", "marker": "o", "markersize": 5, "alpha": 0.6, "markeredgewidth": 0}
    axes.plot([places[name] for name in others], [*others.values()], color=OTHERS, **dots)
    for style, one in reversed([*zip(TRIALS, shown, strict=False)]):
        for value in _judged([trial for trial in marked.values() if trial is one.trial]).values():
            mark = {"color": style["color"], "marker": style["marker"], "markersize": 8, "linestyle": "none"}
            axes.plot([at(one.trial.settings[field])], [value], **mark)
    without = [place for name, place in places.items() if name not in _judged(having)]
    crosses: Any = {"linestyle": "none", "marker": "x", "markersize": 6, "color": ENDS["failed"]}
    axes.plot(without, [0.04] * len(without), transform=axes.get_xaxis_transform(), **crosses)
    few = f" (searched in {len(having)} of {len(trials)} trials)" if len(having) < len(trials) else ""
    axes.set_xlabel(field + few)


def _axis(axes: Axes, trials: Sequence[TrialRecord], field: str) -> Callable[[Any], float]:
    """Make the axis of a field: numbers on a scale as they are searched on, of anything else a tick for each value.

    Returns:
        Where a value is on it.
    """
    from matplotlib.ticker import MaxNLocator

    values = [trial.settings[field] for trial in trials]
    searched = next((found for trial in trials if (found := _range(trial, field)) is not None), None)
    choices = searched.choices if searched is not None else None
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    numeric = choices is None and len(numbers) == len(values)
    if numeric and (searched is not None or len(set(numbers)) > FEW):
        if is_logarithmic(np.array(numbers, float)) if searched is None else searched.logarithmic:
            make_logarithmic(axes, "x")
        elif all(isinstance(number, int) for number in numbers):
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        else:
            axes.xaxis.set_major_locator(MaxNLocator(5))
        return float
    ordered = sorted(set(numbers)) if numeric else [*(choices or ()), *values]
    ticks = [*dict.fromkeys(map(told, ordered))]
    every = math.ceil(len(ticks) / NAMED)
    labels = [text if len(text) <= LETTERS else f"{text[:5]}…{text[5 - LETTERS + 1 :]}" for text in ticks[::every]]
    crowded = sum(map(len, labels)) + 2 * len(labels) > 30
    lying: Any = {"rotation": 40, "ha": "right"} if crowded else {}
    axes.set_xticks(range(0, len(ticks), every), labels, **lying)
    axes.set_xlim(-0.5, len(ticks) - 0.5)
    return lambda value: float(ticks.index(told(value)))


def _range(trial: TrialRecord, field: str) -> Range | None:
    """What a trial's setting was drawn from; None if that is not on record, as of a row of a grid."""
    kept = trial.distributions.get(field)
    if kept is None:
        return None
    choices = kept.attributes.get("choices")
    return Range(choices if isinstance(choices, list) else None, kept.attributes.get("log") is True)
