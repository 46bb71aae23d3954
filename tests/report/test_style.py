"""Values as texts, texts that fit, and which axes are logarithmic."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image, ImageColor, ImageDraw

from genlab.grids import font
from genlab.report.style import ENDS, FAINT, INK, LINE, fitting, is_logarithmic, make_logarithmic, pixels, told


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.000123456, "0.0001235"),
        (12345.6, "12346"),
        (-98765.4, "-98765"),
        (1e6, "1e+06"),
        (9999.0, "9999"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (123456789, "123456789"),
        (True, "True"),
        (None, "None"),
        ("one\ntwo", "one two"),
        ("a  b", "a  b"),
    ],
)
def test_a_value_is_one_short_line(value: Any, text: str) -> None:
    assert told(value) == text


@pytest.mark.parametrize("text", ["short", "w" * 14, "w" * 300, "one\ntwo", "ä" * 300, "", "line\n" * 90])
def test_a_text_is_cut_where_there_is_no_room(text: str) -> None:
    pen = ImageDraw.Draw(Image.new("RGB", (9, 9)))
    cut = fitting(pen, text, 12, 100.0)
    assert pen.textlength(cut, font(12, cut)) <= 100 and "\n" not in cut
    whole = " ".join(text.splitlines())
    assert cut == whole or (cut.endswith("…") and whole.startswith(cut[:-1]) and len(cut) > 4)
    assert cut == whole or pen.textlength(whole, font(12, whole)) > 100


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 100.0], True),
        ([1.0, 99.0], False),
        ([0.0, 100.0], False),
        ([-1.0, 100.0], False),
        ([-100.0, -1.0], False),
        ([1e-6, 2e-4, 1.0], True),
        ([5.0], False),
        ([], False),
    ],
)
def test_positive_values_of_two_decades_want_a_logarithmic_axis(values: list[float], expected: bool) -> None:
    assert is_logarithmic(np.array(values)) is expected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (10_000.0, "10000"),
        (999_999.0, "999999"),
        (0.0, "0"),
        (-0.5, "-0.5"),
        (1e-10, "1e-10"),
        (99.996, "100"),
        (7, "7"),
    ],
)
def test_numbers_have_four_digits_and_those_before_the_point(value: float, text: str) -> None:
    assert told(value) == text


@pytest.mark.parametrize("which", ["x", "y"])
def test_numbers_of_a_logarithmic_axis_are_written_out(which: Literal["x", "y"]) -> None:
    axes = Figure().add_axes((0.1, 0.1, 0.8, 0.8))
    make_logarithmic(axes, which)
    scales = {"x": axes.get_xscale(), "y": axes.get_yscale()}
    assert scales == {"x": "linear", "y": "linear"} | {which: "log"}
    axis = {"x": axes.xaxis, "y": axes.yaxis}[which]
    major, minor = axis.get_major_formatter(), axis.get_minor_formatter()
    assert [major(value, 0) for value in (0.001, 1.0, 1000.0, 1e7)] == ["0.001", "1", "1000", "1e+07"]
    assert minor(2.0, 0) == ""


def test_colours_tell_how_a_trial_ended_and_what_matters_is_darker() -> None:
    def brightness(color: str) -> float:
        return sum(ImageColor.getrgb(color)) / 3

    assert brightness(INK) < 60 < brightness(FAINT) < 150 < brightness(LINE) < 240
    assert ENDS["diverged"] == ENDS["failed"] and len({*ENDS.values()}) == 4


def test_a_figure_as_pixels() -> None:
    figure = Figure((2, 1), 100, facecolor="#102030")
    found = pixels(figure)
    assert found.shape == (100, 200, 3) and found.dtype == np.uint8 and (found == (16, 32, 48)).all()
    assert found.flags.owndata and found.flags.c_contiguous
