"""What the contact sheet and the curves have in common: colours, values as texts, texts that fit."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from genlab.grids import font

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.ImageDraw import ImageDraw

INK, FAINT, LINE = "#1c2026", "#70767f", "#d9dce1"
ENDS = {  # how a trial ended; None: it has not
    "completed": "#168048",
    "pruned": "#b07000",
    "diverged": "#be2828",
    "failed": "#be2828",
    None: "#3c64aa",
}
BETTER = {"min": "lower is better", "max": "higher is better"}
SPEEDS = ("epoch_seconds", "images_per_second")  # the loop's own metrics
TEST = "test/"  # names of what was read from test data begin so
DPI = 100  # of figures
STYLE: Any = {  # of figures
    "font.size": 9,
    "text.parse_math": False,  # a setting may hold a $
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.titlelocation": "left",
    "legend.frameon": False,
}


def told(value: Any) -> str:
    """A setting or a metric in one line: a float with four digits, and those before the point."""
    if isinstance(value, float):
        return f"{value:.0f}" if 1e4 <= abs(value) < 1e6 else f"{value:.4g}"
    return " ".join(str(value).splitlines())


def fitting(pen: ImageDraw, text: str, size: int, room: float) -> str:
    """`text` in one line, cut where letters of `size` pixels have no more `room`."""
    text = " ".join(text.splitlines())
    letters = font(size, text + "…")
    if pen.textlength(text, letters) <= room:
        return text
    while text and pen.textlength(text + "…", letters) > room:
        text = text[:-1]
    return text + "…"


def is_logarithmic(values: np.ndarray) -> bool:
    """Whether finite values, float [N], are told apart on a logarithmic axis alone: positive ones of two decades."""
    return bool(len(values)) and bool(values.min() > 0) and bool(values.max() >= 100 * values.min())


def make_logarithmic(axes: Axes, which: Literal["x", "y"]) -> None:
    """Give axes a logarithmic scale whose numbers are written out."""
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(lambda value, _: "")


def pixels(figure: Figure) -> np.ndarray:
    """A figure as uint8 [H, W, 3]; no display is needed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        # a character that the font lacks is drawn as a box; the warning would put it on the terminal as it is
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
