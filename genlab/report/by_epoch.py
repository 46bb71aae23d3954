"""Metrics by epoch: the sweep's own first and largest, related ones in one panel, series over their number, too."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from genlab.report.contact_sheet import spread
from genlab.report.groups import Group, related
from genlab.report.page import GAP, LEFT, RIGHT, WIDTH, Box, Section, legend, line
from genlab.report.style import BETTER, INK, is_logarithmic, make_logarithmic
from genlab.report.trials import Trained
from genlab.report.values import Kinds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SLOTS = 4  # panels side by side
HIGH, ABOVE, BELOW = 1.7, 0.3, 0.55  # inches: the axes of a panel; above them, and below
BESIDE = 1.55  # inches: a legend beside a panel
NAMED = 8  # curves of a series that its legend names
BANDS = 3  # metrics in a panel up to which they have bands
MARKED = 40  # epochs up to which each is marked
TRIALS: Any = (
    {"color": "#1f5fbf", "marker": "o", "linestyle": "-", "linewidth": 1.8},
    {"color": "#c2571a", "marker": "D", "linestyle": (0, (4, 2)), "linewidth": 1.4},
)
"""How the lines of the trials look, where a colour is a trial; where it is a metric, all but the colour."""


class Panel(NamedTuple):
    """What draws itself into a box that is so many slots wide and high."""

    wide: int
    high: int
    draw: Callable[[Box], Any]


def sections(shown: Sequence[Trained], metric: str, mode: str, found: Kinds) -> list[Section]:
    """Panels for what changes, and for series; none where there is neither.

    Args:
        shown: one trial or two.
        metric, mode: the sweep's own.
        found: how each metric is shown.
    """
    panels = []
    for group in related(found.changing, _largest(shown, found.changing)):
        if group.names != (metric,):
            one = partial(_single, shown, group.names[0], group.title)
            panels.append(Panel(2, 1, partial(_several, shown, group)) if len(group.names) > 1 else Panel(1, 1, one))
    over_numbers = [group for group in found.series if not _changes(shown, group)]
    panels += [Panel(2, 1, partial(_over_numbers, shown, group)) for group in over_numbers]
    if metric in found.changing:
        room = sum(panel.wide for panel in panels)
        wide, high = (SLOTS, 1) if not room else (2, 1) if room <= 2 else (2, 2)
        better = f" ({BETTER[mode]})" if mode in BETTER else ""
        panels.insert(0, Panel(wide, high, partial(_single, shown, metric, metric + better)))
    panels += [Panel(SLOTS, 1, partial(_series, shown, each)) for each in found.series if each not in over_numbers]
    if not panels:
        return []
    places = _places(panels)
    rows = max(row + panel.high for (row, _), panel in zip(places, panels, strict=True))
    has_epochs = bool(found.changing) or len(over_numbers) < len(found.series)
    draw = partial(_draw, panels, places)
    return [Section(rows * (ABOVE + HIGH + BELOW), draw, "by epoch" if has_epochs else "of the last epoch")]


def _places(panels: Sequence[Panel]) -> list[tuple[int, int]]:
    """Row and column of each panel: the first free ones from above, then from the left, that have room for it."""
    taken: set[tuple[int, int]] = set()
    places = []
    for wide, high, _ in panels:
        candidates = ((row, column) for row in itertools.count() for column in range(SLOTS - wide + 1))
        for row, column in candidates:
            own = {(row + i, column + k) for i in range(high) for k in range(wide)}
            if not own & taken:
                taken |= own
                places.append((row, column))
                break
    return places


def _draw(panels: Sequence[Panel], places: Sequence[tuple[int, int]], figure: Figure, top: float) -> None:
    for (row, column), panel in zip(places, panels, strict=True):
        slot = Box(figure, LEFT, top + row * (ABOVE + HIGH + BELOW) + ABOVE, WIDTH - LEFT - RIGHT, 0).column(
            column, SLOTS
        )
        width = panel.wide * (slot.width + GAP) - GAP
        panel.draw(slot._replace(width=width, height=panel.high * (ABOVE + HIGH + BELOW) - ABOVE - BELOW))


def _single(shown: Sequence[Trained], name: str, title: str, box: Box) -> None:
    """One metric, the trials over one another; of several seeds with a band of one standard deviation."""
    axes = box.axes()
    for style, one in reversed([*zip(TRIALS, shown, strict=False)]):  # the best on top
        _curve(axes, one, name, style)
        _band(axes, one, name, style["color"])
    _finish(axes, shown, [name], title)


def _several(shown: Sequence[Trained], group: Group, box: Box) -> None:
    """Metrics of one scale, a colour each; the second trial's dashed."""
    import matplotlib

    axes = box._replace(width=box.width - BESIDE).axes()
    colors = matplotlib.color_sequences["tab10"][: len(group.names)]
    for style, one in reversed([*zip(TRIALS, shown, strict=False)]):
        for color, name in zip(colors, group.names, strict=True):
            _curve(axes, one, name, style | {"color": color})
            if one is shown[0] and len(group.names) <= BANDS:
                _band(axes, one, name, color)
    _finish(axes, shown, group.names, group.title)
    legend(axes, [line(color) for color in colors], group.labels, 16)


def _series(shown: Sequence[Trained], group: Group, box: Box) -> None:
    """A series by epoch, the trials side by side, its numbers from light to dark; and over its numbers."""
    import matplotlib

    box = box._replace(width=box.width - BESIDE)
    values = _values(shown, group.names)
    low, high = float(values.min()), float(values.max())
    room = 0.06 * (high - low) or 0.05 * abs(high) or 0.05
    colors = matplotlib.colormaps["viridis_r"](np.linspace(0.1, 1, len(group.names)))
    for i, one in enumerate(shown):
        axes = box.column(i, 3).axes()
        for color, name in zip(colors, group.names, strict=True):
            _curve(axes, one, name, {"color": color, "marker": "o", "linewidth": 1.2})
        _finish(axes, shown, (), group.title + (f", {one.role}" if len(shown) > 1 else ""))
        axes.set_ylim(low - room, high + room)
    last = _over_numbers(shown, group, box.column(len(shown), 3))
    chosen = [i - 1 for i in spread(len(group.names), NAMED)]
    words = [f"{group.of} {group.labels[i]}".strip() for i in chosen]
    left_out = f"{len(group.names)} curves, among them" if len(chosen) < len(group.names) else ""
    legend(last, [line(colors[i]) for i in chosen], words, 16, left_out)


def _over_numbers(shown: Sequence[Trained], group: Group, box: Box) -> Axes:
    """A series over its numbers, after the last epoch of each trial."""
    axes = box.axes()
    numbers = np.array(group.numbers)
    for style, one in reversed([*zip(TRIALS, shown, strict=False)]):
        values = np.array([np.nan if (last := one.last(name)) is None else last for name in group.names])
        axes.plot(numbers, values, markersize=3, **style)
    if is_logarithmic(numbers):
        make_logarithmic(axes, "x")
    axes.set_title(f"{group.title} after the last epoch", fontsize=9, color=INK)
    axes.set_xlabel(group.of or "number")
    return axes


def _curve(axes: Axes, one: Trained, name: str, style: Any) -> None:
    finite = one.finite(name)
    size = 3 if len(finite) <= MARKED else 0
    axes.plot([*finite], [*finite.values()], **(style | {"markersize": size}))


def _band(axes: Axes, one: Trained, name: str, color: Any) -> None:
    finite = {n: value for n, value in one.finite(name).items() if np.isfinite(one.spreads[n].get(name, np.nan))}
    if finite:
        values, spreads = np.array([*finite.values()]), np.array([one.spreads[n][name] for n in finite])
        axes.fill_between([*finite], values - spreads, values + spreads, color=color, alpha=0.15, linewidth=0)


def _finish(axes: Axes, shown: Sequence[Trained], names: Sequence[str], title: str) -> None:
    """Title and axes of a panel by epoch; logarithmic where the metrics `names` are told apart so alone."""
    from matplotlib.ticker import MaxNLocator

    last = max(epoch for one in shown for epoch in one.metrics)
    axes.set(xlabel="epoch", xlim=(0.5, last + 0.5))
    axes.set_title(title, fontsize=9, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    if is_logarithmic(_values(shown, names)):
        make_logarithmic(axes, "y")


def _values(shown: Sequence[Trained], names: Sequence[str]) -> np.ndarray:
    """All that are finite, float [N]."""
    return np.array([value for one in shown for name in names for value in one.finite(name).values()])


def _largest(shown: Sequence[Trained], names: Sequence[str]) -> dict[str, float]:
    return {name: float(np.abs(_values(shown, [name])).max()) for name in names}


def _changes(shown: Sequence[Trained], group: Group) -> bool:
    return any(len(one.finite(name)) > 1 for one in shown for name in group.names)
