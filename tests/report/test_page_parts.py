"""A page's parts by themselves: inches from above and from the left, texts, lines and legends."""

from __future__ import annotations

import itertools
from typing import Any

import matplotlib
import pytest
from figures import inches
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from genlab.report.page import Box, Section, legend, line, page, wrapped, write

INK, FAINT = "#1c2026", "#70767f"


def test_a_box_is_counted_in_inches_from_above() -> None:
    figure = Figure((13, 10))
    assert inches(figure, Box(figure, 1.0, 2.0, 5.0, 3.0).axes()) == (1.0, 2.0, 5.0, 3.0)


def test_columns_are_equal_and_a_gap_apart() -> None:
    figure = Figure((13, 10))
    whole = Box(figure, 1.0, 2.0, 9.3, 3.0)
    assert whole.column(0, 1) == whole
    places = [inches(figure, whole.column(i, 3).axes()) for i in range(3)]
    lefts, widths = [place[0] for place in places], {place[2] for place in places}
    (width,) = widths
    gaps = [right - left - width for left, right in itertools.pairwise(lefts)]
    assert lefts[0] == 1.0 and round(lefts[2] + width, 5) == 10.3  # both edges are the box's
    assert 0.5 < gaps[0] < 0.8 and gaps[0] == pytest.approx(
        gaps[1], abs=1e-5
    )  # a gap has room for the numbers of an axis
    assert {place[1::2] for place in places} == {(2.0, 3.0)}


def test_sections_stand_one_below_another_each_below_its_title() -> None:
    tops: list[float] = []
    parts = [(1.0, "first"), (2.5, ""), (0.5, "last")]
    figure = page([Section(height, lambda figure, top: tops.append(top), title) for height, title in parts])
    assert figure.get_figwidth() == 13 and figure.dpi == 100
    height = figure.get_figheight()
    titles = {text.get_text(): (1 - text.get_position()[1]) * height for text in figure.texts}
    assert list(titles) == ["first", "last"]
    room = tops[0]
    assert 0.25 < room < 0.5 and tops == pytest.approx([room, room + 1.0, 2 * room + 3.5])
    assert height == pytest.approx(2 * room + 4.0 + 0.2)
    for (title, below), top in zip(titles.items(), (0.0, room + 3.5), strict=True):
        assert top < below < top + 0.1, title  # the letters are within the title's own room
    assert {text.get_fontsize() for text in figure.texts} == {11} and {text.get_color() for text in figure.texts} == {
        INK
    }
    assert {text.get_position()[0] * 13 for text in figure.texts} == {0.75}


def test_a_text_hangs_below_its_place() -> None:
    figure = Figure((13, 10))
    write(figure, 1.3, 2.0, "plain")
    write(figure, 2.6, 4.0, "faint", FAINT, 7, ha="right", va="baseline")
    plain, faint = figure.texts
    assert plain.get_position() == pytest.approx((0.1, 0.8)) and faint.get_position() == pytest.approx((0.2, 0.6))
    assert (plain.get_color(), plain.get_fontsize(), plain.get_ha(), plain.get_va()) == (INK, 9, "left", "top")
    assert (faint.get_color(), faint.get_fontsize(), faint.get_ha(), faint.get_va()) == (FAINT, 7, "right", "baseline")


def test_a_legend_stands_right_of_its_axes_and_says_what_each_line_is() -> None:
    figure = Figure((13, 10))
    axes = Box(figure, 1.0, 2.0, 5.0, 3.0).axes()
    names = ["plain", "a name of many words that has no room in two lines"]
    legend(axes, [line("#123456"), line("#654321", linewidth=3, linestyle=":")], names, 16, "above them")
    FigureCanvasAgg(figure).draw()
    found: Any = axes.get_legend()
    box, own = found.get_window_extent(), axes.get_window_extent()
    assert own.x1 < box.x0 < own.x1 + 40 and abs(box.y1 - own.y1) <= 1  # beside them, and begins where they do
    first, second = found.legend_handles
    assert [to_hex(handle.get_color()) for handle in (first, second)] == ["#123456", "#654321"]
    assert (first.get_linewidth(), second.get_linewidth(), second.get_linestyle()) == (1.8, 3, ":")
    texts = [text.get_text() for text in found.get_texts()]
    assert texts[0] == "plain" and texts[1].split("\n") == ["a name of many", "words that has …"]
    assert {text.get_fontsize() for text in (*found.get_texts(), found.get_title())} == {8}
    assert (found.get_title().get_text(), found.get_title().get_color()) == ("above them", FAINT)
    assert found.get_title().get_window_extent().x0 == pytest.approx(first.get_window_extent().x0, abs=6)  # left, too
    legend(axes, [line("red")], ["a"], 16)
    assert axes.get_legend().get_title().get_text() == ""  # type: ignore[union-attr]


def test_a_text_in_so_many_lines_says_when_it_is_cut() -> None:
    assert wrapped("one two three", 2, 8) == ["one two", "three"]
    assert wrapped("one two three four", 2, 9) == ["one two", "three …"]
    assert wrapped("", 2) == [] and wrapped("w " * 70, 1) == [("w " * 70).strip()]
    assert len(wrapped("w " * 71, 2)) == 2


def test_a_page_has_its_size_whatever_the_persons_own_settings_are() -> None:
    with matplotlib.rc_context({"figure.dpi": 50, "figure.figsize": (2, 2)}):
        figure = page([Section(1.0, lambda figure, top: None)])
    assert figure.dpi == 100 and tuple(figure.get_size_inches()) == (13, 1.2)
