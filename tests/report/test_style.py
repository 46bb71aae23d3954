"""Values as texts, texts that fit, and which axes are logarithmic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from genlab.grids import font
from genlab.report.style import fitting, is_logarithmic, told


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
