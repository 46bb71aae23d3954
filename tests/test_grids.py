"""Grids: images of three kinds as one picture, pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from genlab.grids import (
    LONGEST,
    MOST,
    PAD,
    Labels,
    can_be_shown,
    check_labels,
    font,
    grid,
    labelled,
    margins,
    picture_size,
)


def test_a_set_is_put_side_by_side() -> None:
    images = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 4, 1), np.uint8)
    whole = grid(images, 3)
    assert whole.shape == (2 * 5 + 2, 3 * 6 + 2, 3) and whole.dtype == np.uint8
    assert (whole[2:5, 2:6] == 0).all() and (whole[7:10, 8:12] == 4).all() and (whole[7:10, 14:18] == 255).all()
    assert (whole[:2] == 255).all() and (whole[:, 6:8] == 255).all()
    assert grid(images).shape == whole.shape  # as square as it gets
    assert grid(images[:0], 4).shape == (7, 26, 3)


def test_rows_and_columns_stay_as_they_are() -> None:
    images = np.array([[[[1, 2]], [[3, 4]], [[5, 6]]], [[[7, 8]], [[9, 10]], [[11, 12]]]], np.uint8)[..., None]
    assert images.shape == (2, 3, 1, 2, 1)  # 2 rows of 3, each 1 high and 2 wide, gray
    o = 0  # the background
    expected = [
        [o, o, o, o, o, o, o, o, o, o, o, o, o, o],
        [o, o, o, o, o, o, o, o, o, o, o, o, o, o],
        [o, o, 1, 2, o, o, 3, 4, o, o, 5, 6, o, o],
        [o, o, o, o, o, o, o, o, o, o, o, o, o, o],
        [o, o, o, o, o, o, o, o, o, o, o, o, o, o],
        [o, o, 7, 8, o, o, 9, 10, o, o, 11, 12, o, o],
        [o, o, o, o, o, o, o, o, o, o, o, o, o, o],
        [o, o, o, o, o, o, o, o, o, o, o, o, o, o],
    ]
    for channel in range(3):
        np.testing.assert_array_equal(grid(images, background=0)[..., channel], expected)
    np.testing.assert_array_equal(grid(images, columns=2), grid(images))  # nobody rearranges them
    assert grid(np.zeros((7, 1, 2, 2, 3), np.uint8)).shape == (30, 6, 3)


def test_a_single_picture_stays_as_it_is() -> None:
    picture = np.arange(4 * 7 * 4, dtype=np.uint8).reshape(4, 7, 4)
    np.testing.assert_array_equal(grid(picture[..., :3]), picture[..., :3])
    np.testing.assert_array_equal(grid(picture), picture[..., :3])  # without alpha
    gray = grid(picture[..., :1])
    assert gray.shape == (4, 7, 3)
    for channel in range(3):
        np.testing.assert_array_equal(gray[..., channel], picture[..., 0])


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (1, 2, 3, 4, 4)])
def test_alpha_is_dropped(shape: tuple[int, ...]) -> None:
    images = np.full(shape, 9, np.uint8)
    images[..., 3] = 200
    assert set(np.unique(grid(images))) == {9, 255}


@pytest.mark.parametrize("shape", [(5, 6, 1), (5, 6, 3), (5, 6, 4), (2, 5, 6, 3), (0, 5, 6, 1), (2, 3, 5, 6, 4)])
def test_what_can_be_shown(shape: tuple[int, ...]) -> None:
    assert can_be_shown(np.zeros(shape, np.uint8))
    assert grid(np.zeros(shape, np.uint8)).shape[-1] == 3


@pytest.mark.parametrize("shape", [(3,), (6, 3), (5, 6, 2), (5, 6, 5), (2, 5, 6), (1, 2, 3, 5, 6, 3)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    assert not can_be_shown(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="uint8"):
        grid(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_])
def test_other_types_are_refused(dtype: type) -> None:
    assert not can_be_shown(np.zeros((2, 5, 6, 3), dtype))
    with pytest.raises(ValueError, match="uint8"):
        grid(np.zeros((2, 5, 6, 3), dtype))


def test_rows_have_their_names_beside_them() -> None:
    images = np.full((3, 2, 24, 24, 1), 90, np.uint8)
    pictures = grid(images)
    whole = labelled(images, ["a", "", "a much longer name"])
    assert whole.dtype == np.uint8 and whole.shape[0] == pictures.shape[0]
    names, shown = np.split(whole, [whole.shape[1] - pictures.shape[1]], axis=1)
    np.testing.assert_array_equal(shown, pictures)
    dark = (names < 128).any(2)
    by_row = [dark[top : top + 26] for top in (1, 27, 53)]
    assert by_row[0].any() and not by_row[1].any() and by_row[2].sum() > 5 * by_row[0].sum()
    left = np.flatnonzero(by_row[2].any(0))
    assert left[0] > 0 and left[-1] < names.shape[1] - 3  # whole, and not at the pictures' edge


def test_columns_have_their_names_above_them() -> None:
    images = np.full((2, 3, 24, 48, 1), 90, np.uint8)
    pictures = grid(images)
    whole = labelled(images, (), ["a", "", "wider"])
    assert whole.shape[1] == pictures.shape[1]
    names, shown = np.split(whole, [whole.shape[0] - pictures.shape[0]])
    np.testing.assert_array_equal(shown, pictures)
    dark = (names < 128).any(2)
    by_column = [dark[:, left : left + 48] for left in (2, 52, 102)]
    assert dark.sum() == sum(each.sum() for each in by_column)  # each within its own column
    assert by_column[0].any() and not by_column[1].any() and by_column[2].sum() > 2 * by_column[0].sum()
    for each in (by_column[0], by_column[2]):
        found = np.flatnonzero(each.any(0))
        assert abs((found[0] + found[-1]) / 2 - 23.5) <= 2  # in the middle
        assert not each[-1].any()  # not at the pictures' edge


def test_rows_and_columns_may_both_have_names() -> None:
    images = np.full((2, 3, 32, 32, 3), 90, np.uint8)
    pictures, whole = grid(images), labelled(images, ["first", "second"], ["1", "2", "3"])
    top, left = (whole.shape[i] - pictures.shape[i] for i in (0, 1))
    assert top > 10 and left > 30
    np.testing.assert_array_equal(whole[top:, left:], pictures)
    assert (whole[:top, :left] == 255).all() and (whole[:top, left:] < 128).any() and (whole[top:, :left] < 128).any()


def in_columns(whole: np.ndarray, width: int, count: int) -> list[np.ndarray]:
    """Of names above `count` images of 24 x `width` pixels the dark ones, by column; none lies between two."""
    dark = (whole[: len(whole) - 28] < 128).any(2)
    found = [dark[:, PAD + i * (width + PAD) :][:, :width] for i in range(count)]
    assert dark.sum() == sum(each.sum() for each in found)
    return found


@pytest.mark.parametrize("name", ["a", "0.05", "0.025", "horse", "automobile", "mmmm"])
@pytest.mark.parametrize("width", [24, 32, 48])
def test_each_name_stays_above_its_own_column(name: str, width: int) -> None:
    images = np.full((1, 3, 24, width, 1), 90, np.uint8)
    first, second, third = in_columns(labelled(images, (), [name, "", name]), width, 3)
    assert first.sum() == third.sum() > 5 and not second.any()


def test_names_that_are_wider_than_their_columns_stand_upright() -> None:
    """They are whole, and read from below."""
    images = np.full((1, 3, 24, 24, 1), 90, np.uint8)
    whole = labelled(images, (), ["automobile", "x", "automobile"])
    assert whole.shape[1] == grid(images).shape[1]
    upright = np.rot90(in_columns(whole, 24, 3)[0], -1)
    lying = Image.new("L", (200, 40), 255)
    pen = ImageDraw.Draw(lying)
    sizes = []
    for size in range(9, 21):
        pen.rectangle([0, 0, 200, 40], 255)
        pen.text((4, 4), "automobile", 0, ImageFont.load_default(size))
        sizes.append(crop(np.asarray(lying) < 128))
    assert any(crop(upright).shape == own.shape and (crop(upright) == own).mean() > 0.97 for own in sizes)


def crop(dark: np.ndarray) -> np.ndarray:
    rows, columns = np.flatnonzero(dark.any(1)), np.flatnonzero(dark.any(0))
    return dark[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def test_letters_are_no_larger_than_asked_for() -> None:
    images = np.full((2, 2, 60, 60, 1), 90, np.uint8)
    high, low = ["reconstruction", "y"], ["x", "y"]
    for rows, columns in ((high, ()), ((), low), (high, low)):
        usual, small = (labelled(images, rows, columns, *own) for own in ((), (10,)))
        labels = Labels(tuple(rows), tuple(columns))
        for whole, own in ((usual, ()), (small, (10,))):
            left, top = margins(labels, 60, 60, *own)
            assert whole.shape == (124 + 2 + top, 124 + 2 + left, 3)
        assert small.shape[0] + small.shape[1] < usual.shape[0] + usual.shape[1]


@pytest.mark.parametrize("shape", [(3, 1, 40, 40, 1), (1, 3, 40, 40, 1), (1, 3, 40, 12, 1)])
def test_letters_that_pillow_has_not_are_drawn_none_the_less(shape: tuple[int, ...]) -> None:
    """Its own font draws the same box for each of them. Beside rows, above columns, and upright."""
    images, upright = np.full(shape, 90, np.uint8), "mm" if shape[3] == 12 else ""
    drawn = []
    for letter in "ελÄЖ":
        rows, columns = ((letter, "", ""), ()) if shape[0] == 3 else ((), (letter + upright, "", ""))
        whole = labelled(images, rows, columns)
        beside = whole[:44, : -grid(images).shape[1]] if rows else whole[: -grid(images).shape[0], : shape[3] + 4]
        drawn.append(crop((beside < 128).any(2)))
    for i, one in enumerate(drawn):
        for another in drawn[:i]:
            assert one.shape != another.shape or (one != another).any()


def test_a_long_name_is_cut_and_a_line_stays_a_line() -> None:
    images = np.full((2, 2, 8, 8, 1), 90, np.uint8)
    np.testing.assert_array_equal(labelled(images, ("n" * 4000, "")), labelled(images, ("n" * 39 + "…", "")))
    assert labelled(images, ("n" * 40, "")).shape[1] > labelled(images, ("n" * 39, "")).shape[1]  # 40 are whole
    np.testing.assert_array_equal(labelled(images, ("two\nlines", "")), labelled(images, ("two lines", "")))


def test_without_names_a_grid_is_drawn() -> None:
    for shape in ((4, 5, 3), (3, 4, 5, 1), (2, 3, 4, 5, 1)):
        images = np.full(shape, 9, np.uint8)
        np.testing.assert_array_equal(labelled(images), grid(images))


@pytest.mark.parametrize(
    ("shape", "labels", "says"),
    [
        ((2, 3, 4, 4, 1), Labels(("a",)), "1 labels for 2 rows"),
        ((2, 3, 4, 4, 1), Labels((), ("a", "b")), "2 labels for 3 columns"),
        ((2, 3, 4, 4, 1), Labels(("a", "b", "c")), "3 labels for 2 rows"),
        ((2, 4, 4, 1), Labels(("a", "b")), r"\[rows, columns, H, W, C\], and these are \[2, 4, 4, 1\]"),
        ((4, 4, 1), Labels((), ("a",)), r"\[rows, columns, H, W, C\]"),
        ((1, 1, 4, 4, 1), Labels((7,)), "labels of rows that are no texts"),  # type: ignore[arg-type]
    ],
)
def test_labels_that_do_not_fit_are_refused(shape: tuple[int, ...], labels: Labels, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        check_labels(np.zeros(shape, np.uint8), labels)
    with pytest.raises(ValueError, match=says):
        labelled(np.zeros(shape, np.uint8), *labels)


@pytest.mark.parametrize(
    "shape",
    [(5, 6, 1), (1, 9, 4), (1, 5, 6, 3), (2, 5, 6, 3), (7, 5, 6, 1), (0, 5, 6, 1), (2, 3, 5, 6, 4), (3, 1, 2, 2, 1)],
)
def test_the_size_of_a_picture_is_known_before_it_is_made(shape: tuple[int, ...]) -> None:
    images = np.zeros(shape, np.uint8)
    assert picture_size(images) == grid(images).shape[:2]


def test_a_picture_that_would_be_too_large_is_refused_before_it_takes_memory() -> None:
    pixel = np.zeros((1, 1, 1), np.uint8)

    def of(*shape: int) -> np.ndarray:
        return np.broadcast_to(pixel, (*shape, 1))

    edge = math.isqrt(MOST)
    assert edge**2 == MOST and can_be_shown(of(edge, edge)) and not can_be_shown(of(edge, edge + 1))
    assert can_be_shown(of(1, LONGEST)) and not can_be_shown(of(1, LONGEST + 1))
    assert can_be_shown(of(LONGEST, 1)) and not can_be_shown(of(LONGEST + 1, 1))
    cells = (edge - PAD) // 10  # of 8 pixels, 2 apart
    assert can_be_shown(of(cells**2, 8, 8)) and not can_be_shown(of((cells + 1) ** 2, 8, 8))
    assert can_be_shown(of(cells, cells, 8, 8)) and not can_be_shown(of(cells + 1, cells + 1, 8, 8))
    with pytest.raises(ValueError, match=r"of 67,108,864 pixels at most, got uint8 \[1, 65537, 1\]"):
        grid(of(1, LONGEST + 1))
    with pytest.raises(ValueError, match=r"C = 1, 3 or 4, got float64 \[2, 2, 1\]"):
        grid(np.zeros((2, 2, 1)))


def test_a_long_name_above_a_column_is_cut_and_stays_a_line() -> None:
    images = np.full((2, 2, 8, 8, 1), 90, np.uint8)
    np.testing.assert_array_equal(labelled(images, (), ("n" * 4000, "")), labelled(images, (), ("n" * 39 + "…", "")))
    assert labelled(images, (), ("n" * 40, "")).shape[0] > labelled(images, (), ("n" * 39, "")).shape[0]
    np.testing.assert_array_equal(labelled(images, (), ("two\n  lines", "")), labelled(images, (), ("two lines", "")))


def test_each_row_has_its_name_at_its_middle_and_its_end_beside_the_images() -> None:
    images = np.full((3, 2, 40, 24, 1), 90, np.uint8)
    whole = labelled(images, ["HHH", "H", "HH"])
    names = (whole[:, : -grid(images).shape[1]] < 128).any(2)
    for i in range(3):
        rows = np.flatnonzero(names[2 + i * 42 : 42 + i * 42].any(1))
        assert abs((rows[0] + rows[-1]) / 2 - 19.5) <= 2
        assert names.shape[1] - 14 < np.flatnonzero(names[2 + i * 42 : 42 + i * 42].any(0))[-1] < names.shape[1] - 2


def test_letters_are_half_as_high_as_images_and_within_what_can_be_read() -> None:
    for height, size in ((8, 9), (24, 13), (30, 16), (38, 20), (400, 20)):
        left, top = margins(Labels(("mmm",), ()), height, 90)
        length = math.ceil(font(size).getlength("mmm"))
        assert top == 0 and length + 2 * 2 <= left <= length + 2 * size, height
        gap = (left - length) // 2
        assert gap == max(2, min(size, (height + 2) // 4))
    assert margins(Labels(("",), ()), 24, 90) == margins(Labels(), 24, 90) == (0, 0)
    _, lying = margins(Labels((), ("m",)), 24, 90)
    assert 13 * 1.25 <= lying <= 13 * 1.25 + 8


def test_letters_above_columns_are_made_smaller_before_they_stand_upright() -> None:
    """Down to nine pixels, which can still be read."""
    text = "wide name"
    narrow = math.ceil(font(9).getlength(text)) + PAD  # of images above which they just fit
    for width, upright in ((narrow, False), (narrow - 1, True)):
        _, top = margins(Labels((), (text,)), 40, width)
        assert (top > font(9).getlength(text)) == upright
        labelled(np.full((1, 1, 40, width, 1), 90, np.uint8), (), (text,))
    _, high = margins(Labels((), (text,)), 40, 6)  # they are not made smaller still
    assert math.ceil(font(9).getlength(text)) <= high <= math.ceil(font(9).getlength(text)) + 10


def test_a_grid_has_as_many_columns_as_are_asked_for() -> None:
    images = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 3, 1), np.uint8)
    assert grid(images, 6).shape == (6, 32, 3) and grid(images, 1).shape == (26, 7, 3)
    assert grid(images).shape == (2 * 4 + 2, 3 * 5 + 2, 3) and grid(images[:0]).shape == (6, 7, 3)
    assert [grid(images, 4)[2 + 4 * row, 2 + 5 * column, 0] for row in (0, 1) for column in range(4)] == [
        *range(6),
        255,
        255,
    ]
