"""Made-up sweeps for figures, and what is on a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from genlab.report.curves import curves_figure
from genlab.tracking.epoch_reports import ReplicaReport
from genlab.tracking.events import Distribution
from genlab.tracking.schema import checked

METRIC = "frechet_distance"


def told(
    sweep: Any,
    name: str,
    epochs: Sequence[Mapping[str, float]],
    ends: str | None = "completed",
    settings: Mapping[str, Any] | None = None,
    steps: Mapping[str, Sequence[float]] | None = None,
    distributions: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
) -> None:
    """A trial that reported these metrics in its epochs, and nothing else.

    Args:
        epochs: metrics by name; a list is those of several seeds.
        steps: curves of every epoch.
        config: what was not searched.
    """
    own = dict(settings or {})
    config = {"epochs": max(1, len(epochs)), "seed": 0} | dict(config or {}) | own
    drawn = {field: checked(kept, Distribution) for field, kept in (distributions or {}).items()}
    sweep.records.append("trial", trial=name, settings=own, config=config, distributions=drawn)
    curves = {key: np.array(curve, np.float32) for key, curve in (steps or {}).items()}
    length = max(map(len, curves.values()), default=0)
    for epoch, metrics in enumerate(epochs, 1):
        seeds = range(max((len(v) for v in metrics.values() if isinstance(v, list)), default=1))
        replicas = [
            ReplicaReport({k: v[i] if isinstance(v, list) else v for k, v in metrics.items()}, curves) for i in seeds
        ]
        report = replace(
            sweep.report(name, epoch), replicas=replicas, seeds=tuple(seeds), first_step=(epoch - 1) * length
        )
        path = f"trials/{name}/epoch_{epoch:04d}-a.report.safetensors"
        written = sweep.records.storage.write(path, report.encode())
        last = ends if epoch == len(epochs) else None
        objective = report.metrics().get(METRIC)
        if last == "diverged" or (objective is not None and not np.isfinite(objective)):
            objective = None
        sweep.records.append(
            "epoch", trial=name, epoch=epoch, report=written, state=None, objective=objective, ends=last
        )


def figure_of(sweep: Any, trial: str | None = None) -> Figure:
    return curves_figure(sweep.records, trial)


def axes_of(sweep: Any, trial: str | None = None) -> dict[str, Axes]:
    """The figure's axes by title, those without one by what stands below or beside them; of the same name in order:
    `loss`, `loss 2`."""
    found: dict[str, Axes] = {}
    for axes in figure_of(sweep, trial).axes:
        name = axes.get_ylabel() or axes.get_title("left") or axes.get_xlabel()
        number = sum(other == name or other.startswith(f"{name} ") for other in found) + 1
        found[name if number == 1 else f"{name} {number}"] = axes
    return found


def texts_of(sweep: Any, trial: str | None = None) -> list[str]:
    """What is written on the figure itself, from above."""
    return [text.get_text() for text in sorted(figure_of(sweep, trial).texts, key=lambda text: -text.get_position()[1])]


def curve(line: Any) -> tuple[list[float], list[float]]:
    """The points of a line."""
    return [*map(float, line.get_xdata())], [*map(float, line.get_ydata())]


def legend_of(axes: Axes) -> list[str]:
    legend = axes.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def assert_readable(figure: Figure) -> None:
    """No text lies upon another or outside of the picture, no axes upon others. (Of oblique texts only that they are
    within it: boxes around them overlap where they do not.)"""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    hidden = set()  # ticks beyond the ends of their axis
    for axes in figure.axes:
        above = [child.xaxis for child in axes.child_axes]
        for axis in (axes.xaxis, axes.yaxis, *above):
            low, high = sorted(axis.get_view_interval())
            ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
            hidden |= {tick.label1 for tick in ticks if not low <= tick.get_loc() <= high}
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]  # type: ignore[attr-defined]
    shown = [text for text in texts if text not in hidden]
    for text, box in ((text.get_text(), text.get_window_extent()) for text in shown):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1, text
    boxes = [(text.get_text(), text.get_window_extent()) for text in shown if text.get_rotation() in (0, 90)]
    for i, (text, box) in enumerate(boxes):
        for other, another in boxes[:i]:
            assert not box.overlaps(another) or box.bounds == another.bounds, (text, other)
    inner = [axes.get_window_extent() for axes in figure.axes]
    for i, box in enumerate(inner):
        assert not any(box.overlaps(other) for other in inner[:i])


def inches(figure: Figure, axes: Any) -> tuple[float, ...]:
    """Left, top, width and height of axes."""
    box, (width, height) = axes.get_position(), figure.get_size_inches()
    return tuple(
        round(float(value), 6)
        for value in (box.x0 * width, (1 - box.y1) * height, box.width * width, box.height * height)
    )


def bands(figure: Figure) -> list[float]:
    """Heights in inches of what is empty all across a figure: above its first part, between its parts, below the last
    one."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    filled = (np.asarray(canvas.buffer_rgba())[..., :3] < 255).any((1, 2))
    edges = np.flatnonzero(np.diff(filled.astype(int), prepend=1, append=1))
    return [float(high - low) / figure.dpi for low, high in edges.reshape(-1, 2)]
