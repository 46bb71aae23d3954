"""Rows of a contact sheet without images: how the sweep's metric went, among all trials, and what else was measured."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from genlab.errors import GenlabError
from genlab.grids import font
from genlab.report.style import (
    DPI,
    ENDS,
    FAINT,
    INK,
    SPEEDS,
    STYLE,
    TEST,
    fitting,
    is_logarithmic,
    make_logarithmic,
    pixels,
    told,
)
from genlab.report.trials import Reports, own_metrics, why_no_more
from genlab.tracking.records import Records, TrialRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLOT, TABLE, BETWEEN = 430, 190, 24  # pixels: widths of the plot, of a column of metrics; between them
COLUMNS = 2  # of metrics
LINE_HEIGHT = 14.5  # pixels
OTHERS = "#c4c8ce"


class MetricStrips:
    """Beside each label a plot of the sweep's metric by epoch, with those of the other trials in gray, or, where each
    trial has one epoch, its place among them; and the other metrics of the trial's last epoch that differ between
    trials."""

    def __init__(self, records: Records, shown: Sequence[TrialRecord], left_out: Sequence[str], height: int) -> None:
        """
        Args:
            shown: the trials on the sheet.
            left_out: keys of images that no cell can show.
            height: of a row, in pixels.
        """
        self._metric = records.manifest.metric
        self._curves = {trial.name: _objectives(trial) for trial in shown}
        self._last = max((trial.last.epoch for trial in shown if trial.last), default=0)
        every = np.array([value for curve in self._curves.values() for value in curve.values()])
        self._logarithmic = is_logarithmic(every)
        self._limits = _limits(every, self._logarithmic)
        last = [Reports(records, trial)[trial.last.epoch] for trial in shown if trial.last]
        metrics = [own_metrics(report) for report in last if not isinstance(report, GenlabError)]
        names = dict.fromkeys(name for one in metrics for name in one)
        rest = [name for name in names if name != self._metric and name not in SPEEDS]
        rest.sort(key=lambda name: not name.startswith(TEST))  # of trials that confirm
        self._names = [name for name in rest if len({one.get(name) for one in metrics}) > 1 or len(metrics) == 1]
        self.width, self.height = PLOT + BETWEEN + COLUMNS * TABLE, height
        self.words = f"not shown: the images {', '.join(left_out)}" if left_out else "no images"
        by = "" if self._last == 1 else " by epoch"
        self.heads = [(PLOT / 2, f"{self._metric}{by}")] if every.size else []
        if self._names:
            self.heads.append((PLOT + BETWEEN + COLUMNS * TABLE / 2, "other metrics of the last epoch"))

    def draw(self, sheet: Image.Image, x: int, y: int, trial: TrialRecord, reports: Reports) -> None:
        """A trial's row, with its upper left corner at (x, y)."""
        pen, top, right = ImageDraw.Draw(sheet), float(y), x + self.width
        if self._curves[trial.name]:
            sheet.paste(Image.fromarray(self._plot(trial)), (x, y))
            x += PLOT + BETWEEN
        if trial.ends in ("pruned", "diverged", "failed") or trial.last is None:
            lines = textwrap.wrap(why_no_more(trial), COLUMNS * TABLE // 7, max_lines=3, placeholder=" …")
            for i, line in enumerate(lines):
                pen.text((x, y + 17 * i), line, ENDS.get(trial.ends, INK), font(13, line))
            top += 17 * len(lines) + 4 if self._curves[trial.name] else 0
        if trial.last is None:
            return
        left, report = right - COLUMNS * TABLE, reports[trial.last.epoch]
        if isinstance(report, GenlabError):
            pen.text((left, top), "The report of the last epoch is damaged or missing.", FAINT, font(13))
            return
        self._table(pen, left, top, y + self.height, own_metrics(report))

    def _table(self, pen: ImageDraw.ImageDraw, x: int, top: float, bottom: int, metrics: dict[str, float]) -> None:
        """Names and values, in columns; how many have no room is said."""
        lines = int((bottom - top) // LINE_HEIGHT)
        names = [name for name in self._names if name in metrics]
        most = COLUMNS * lines if len(names) <= COLUMNS * lines else COLUMNS * lines - 1
        for i, name in enumerate(names[:most]):
            left, at = x + i // lines * TABLE, top + i % lines * LINE_HEIGHT
            value = told(metrics[name])
            room = TABLE - 16 - pen.textlength(value, font(12))
            pen.text((left, at), fitting(pen, name, 12, room), FAINT, font(12))
            pen.text((left + TABLE - 10, at), value, INK, font(12), anchor="ra")
        if len(names) > most:
            at = top + (lines - 1) * LINE_HEIGHT
            pen.text((x + (COLUMNS - 1) * TABLE, at), f"and {len(names) - most} more", FAINT, font(12))

    def _plot(self, trial: TrialRecord) -> np.ndarray:
        """uint8 [height, PLOT, 3]."""
        import matplotlib
        from matplotlib.figure import Figure

        with matplotlib.rc_context(STYLE | {"font.size": 8}):
            figure = Figure((PLOT / DPI, self.height / DPI), DPI)
            side, below, above = 56 / PLOT, 20 / self.height, 8 / self.height
            axes = figure.add_axes((side, below, 1 - side - 10 / PLOT, 1 - below - above))
            if self._last == 1:
                self._place(axes, trial)
            else:
                self._curve(axes, trial)
            return pixels(figure)

    def _curve(self, axes: Axes, trial: TrialRecord) -> None:
        from matplotlib.ticker import MaxNLocator

        for name, curve in self._curves.items():
            if name != trial.name:
                axes.plot(list(curve), list(curve.values()), color=OTHERS, linewidth=1)
        own = self._curves[trial.name]
        color = ENDS.get(trial.ends, INK)
        axes.plot(list(own), list(own.values()), color=color, linewidth=1.8, marker="o", markersize=3)
        axes.set(xlim=(0.5, self._last + 0.5), ylim=self._limits)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        if self._logarithmic:
            make_logarithmic(axes, "y")
        else:
            axes.yaxis.set_major_locator(MaxNLocator(4))

    def _place(self, axes: Axes, trial: TrialRecord) -> None:
        others = [value for name, curve in self._curves.items() if name != trial.name for value in curve.values()]
        axes.plot(others, np.zeros(len(others)), "o", markersize=7, markerfacecolor="none", color=FAINT, alpha=0.6)
        own = list(self._curves[trial.name].values())
        axes.plot(own, np.zeros(len(own)), "o", markersize=10, color=ENDS.get(trial.ends, INK))
        axes.set(xlim=self._limits, ylim=(-1, 1), yticks=[])
        axes.spines["left"].set_visible(False)
        if self._logarithmic:
            make_logarithmic(axes, "x")


def _objectives(trial: TrialRecord) -> dict[int, float]:
    """By epoch, those that there are."""
    found = {epoch: record.objective for epoch, record in sorted(trial.epochs.items())}
    return {epoch: value for epoch, value in found.items() if value is not None}


def _limits(values: np.ndarray, logarithmic: bool) -> tuple[float, float]:
    """What an axis of these values shows: all of them, with some room."""
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    if logarithmic:
        return low / 1.3, high * 1.3
    room = 0.08 * (high - low) or 0.05 * abs(high) or 0.05
    return low - room, high + room
