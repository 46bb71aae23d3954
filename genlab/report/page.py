"""A figure that is filled from above: sections of known height, at places in inches."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from genlab.report.style import DPI, FAINT, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, LEFT, RIGHT, GAP = 13.0, 0.75, 0.25, 0.65  # inches: of the figure; beside its axes; between two of them
LINE_HEIGHT = 0.165  # inches: of a line of text
LETTERS = 140  # in a line across the page
TITLE, FOOT = 0.34, 0.2  # inches: of a section's title; below the last section


class Section(NamedTuple):
    """A part of a page: its height in inches, what draws it below a place in inches from above, and a title."""

    height: float
    draw: Callable[[Figure, float], None]
    title: str = ""


class Box(NamedTuple):
    """A part of a figure: inches from the left and from above, and its size."""

    figure: Figure
    left: float
    top: float
    width: float
    height: float

    def axes(self) -> Axes:
        """New axes that fill it."""
        whole = self.figure.get_figheight()
        bottom = 1 - (self.top + self.height) / whole
        return self.figure.add_axes((self.left / WIDTH, bottom, self.width / WIDTH, self.height / whole))

    def column(self, number: int, count: int) -> Box:
        """One of `count` columns, from 0, a gap apart."""
        width = (self.width - (count - 1) * GAP) / count
        return self._replace(left=self.left + number * (width + GAP), width=width)


def page(sections: Sequence[Section]) -> Figure:
    """A figure of all sections, one below another."""
    from matplotlib.figure import Figure

    height = sum(section.height + (TITLE if section.title else 0) for section in sections) + FOOT
    figure = Figure((WIDTH, height), DPI)
    top = 0.0
    for section in sections:
        if section.title:
            write(figure, LEFT, top + 0.04, section.title, size=11)
            top += TITLE
        section.draw(figure, top)
        top += section.height
    return figure


def write(figure: Figure, left: float, top: float, text: str, color: str = INK, size: float = 9, **more: Any) -> None:
    """A text whose first line is below `top`; inches from the left and from above."""
    figure.text(
        left / WIDTH, 1 - top / figure.get_figheight(), text, **{"va": "top", "color": color, "fontsize": size} | more
    )


def line(color: Any, **more: Any) -> Any:
    """A line for a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], **{"color": color, "linewidth": 1.8} | more)


def legend(axis: Axes, handles: Sequence[Any], labels: Sequence[str], letters: int, title: str = "") -> None:
    """To the right of axes, where no line runs, `letters` in a line."""
    beside: Any = {"loc": "upper left", "bbox_to_anchor": (1.02, 1.0), "borderaxespad": 0, "alignment": "left"}
    wrapped = ["\n".join(textwrap.wrap(label, letters, max_lines=2, placeholder=" …")) for label in labels]
    found = axis.legend(handles, wrapped, title=title or None, fontsize=8, **beside)
    found.get_title().set(fontsize=8, color=FAINT)


def wrapped(text: str, lines: int, letters: int = LETTERS) -> list[str]:
    """A text in at most so many lines."""
    return textwrap.wrap(text, letters, max_lines=lines, placeholder=" …")
