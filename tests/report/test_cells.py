"""Images in the cells of a contact sheet: how large they are, what is seen of them, and in which order."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genlab.grids import Labels
from genlab.report.cells import CELL, HIGHEST, WIDEST, arranged, drawn, size

COLOR = (200, 30, 90)


def seen(images: np.ndarray, labels: Labels | None = None, within: tuple[int, int] | None = None) -> np.ndarray:
    """What a cell shows, at the size that it wants."""
    ready = arranged(images, labels or Labels())
    return drawn(*ready, *(within or size(*ready)))


def squares(pixels: np.ndarray) -> list[list[int]]:
    """The gray levels of tiles, row by row: areas of one level other than white."""
    painted = pixels[..., 0] < 255
    tops = np.flatnonzero(np.diff(painted.any(1).astype(int), prepend=0) == 1)
    lefts = np.flatnonzero(np.diff(painted.any(0).astype(int), prepend=0) == 1)
    return [[int(pixels[top + 1, left + 1, 0]) for left in lefts] for top in tops]


def leveled(*shape: int, size: tuple[int, int] = (8, 8)) -> np.ndarray:
    """Gray images of `shape`, each of one level: 1, 2, 3, ..."""
    levels = np.arange(1, np.prod(shape) + 1, dtype=np.uint8).reshape(*shape, 1, 1, 1)
    return levels * np.ones((*size, 1), np.uint8)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (190, 190, (190, 190)),
        (120, 240, (120, 240)),  # at its own size, where that fits
        (120, 600, (96, 480)),  # five times wider than high: as wide as a cell gets
        (300, 600, (240, 480)),
        (600, 600, (280, 280)),
        (560, 160, (280, 80)),  # as high as a cell gets
        (30, 60, (90, 180)),  # a small one is enlarged by whole pixels, to 190 at most
        (5, 1, (190, 38)),
        (2, 4000, (1, 480)),
    ],
)
def test_a_single_picture_is_as_large_as_it_is_within_limits(
    height: int, width: int, expected: tuple[int, int]
) -> None:
    pixels = seen(np.full((height, width, 3), COLOR, np.uint8))
    assert pixels.shape == (*expected, 3) and (pixels == COLOR).all()


@pytest.mark.parametrize(
    ("within", "expected"), [((190, 190), (95, 190)), ((480, 190), (190, 380)), ((190, 50), (50, 100))]
)
def test_a_picture_keeps_its_shape_in_a_cell_of_another(within: tuple[int, int], expected: tuple[int, int]) -> None:
    assert seen(np.full((300, 600, 3), COLOR, np.uint8), within=within).shape[:2] == expected


def test_a_small_picture_is_enlarged_by_whole_pixels() -> None:
    picture = np.array([[0, 255, 0], [255, 0, 90]], np.uint8)[..., None]
    expected = np.kron(picture[..., 0], np.ones((63, 63), np.uint8))  # 190 // 3
    np.testing.assert_array_equal(seen(picture), expected[..., None].repeat(3, -1))


def test_a_large_picture_is_made_smaller_without_losing_lines() -> None:
    picture = np.full((1900, 1900, 1), 255, np.uint8)
    picture[:, ::10] = 0  # one column of ten: taking every tenth pixel would show all of it or nothing
    assert abs(seen(picture).mean() - 229.5) < 3


@pytest.mark.parametrize(
    ("rows", "columns", "least"),
    [(2, 10, 44), (1, 8, 44), (4, 4, 44), (10, 8, 25), (3, 3, 44), (2, 16, 27), (20, 2, 11)],
)
def test_images_in_rows_and_columns_get_room_for_each(rows: int, columns: int, least: int) -> None:
    """In a square of 190 pixels those of two rows of ten would be 16 pixels wide."""
    pixels = seen(leveled(rows, columns, size=(32, 32)))
    assert squares(pixels) == [[row * columns + i + 1 for i in range(columns)] for row in range(rows)]
    painted = (pixels[..., 0] < 255).sum() / (rows * columns)
    assert painted >= least**2
    assert pixels.shape[0] <= HIGHEST and pixels.shape[1] <= WIDEST


def test_images_of_another_shape_keep_it() -> None:
    pixels = seen(np.full((2, 3, 10, 40, 1), 90, np.uint8))
    painted = pixels[..., 0] < 255
    tops, lefts = (np.flatnonzero(np.diff(painted.any(i).astype(int), prepend=0)) for i in (1, 0))
    height, width = tops[1] - tops[0], lefts[1] - lefts[0]
    assert abs(width / height - 4) < 0.2 and width * height >= 40 * 40


def test_of_a_set_the_first_sixteen_are_shown_in_a_square() -> None:
    assert squares(seen(leveled(40))) == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]]
    assert squares(seen(leveled(5))) == [[1, 2, 3], [4, 5, 255]]
    assert squares(seen(leveled(1))) == [[1]]
    height, width, _ = seen(leveled(5)).shape
    assert abs(width / height - 3 / 2) < 0.05  # two rows, no empty third one


def test_many_rows_and_columns_are_whole() -> None:
    """More than there are pixels for with gaps of two: then the whole is made smaller."""
    images = np.zeros((170, 260, 6, 6, 1), np.uint8)
    images[:85] = 120
    images[:85, 130:] = 240
    pixels = seen(images)[..., 0].astype(float)
    height, width = pixels.shape
    assert abs(width / height - 260 / 170) < 0.05
    left, right = pixels[10 : height // 2 - 10, 10 : width // 2 - 10], pixels[10 : height // 2 - 10, width // 2 + 10 :]
    below = pixels[height // 2 + 10 : -10]
    assert left.mean() < right.mean() - 50 and below.mean() < left.mean() - 50


def test_labels_stand_beside_the_images() -> None:
    images = np.full((2, 10, 28, 28, 1), 90, np.uint8)
    plain, rows = seen(images), seen(images, Labels(("image", "reconstruction")))
    assert rows.shape[1] <= WIDEST and rows.shape[0] <= plain.shape[0]
    beside = rows[:, : rows.shape[1] - 10 * 32]
    assert ((beside[: len(beside) // 2] < 90).any() and (beside[len(beside) // 2 :] < 90).any()) and (rows == 255).any()
    both = seen(images, Labels(("image", "reconstruction"), tuple("0123456789")))
    assert both.shape[0] > rows.shape[0] and (both[:12] < 90).any()


def test_labels_that_stand_upright_above_narrow_images_fit_too() -> None:
    """Of a cell that wider images chose."""
    images = np.full((1, 2, 60, 8, 1), 90, np.uint8)
    for within in ((190, 190), (480, 280)):
        pixels = seen(images, Labels((), ("automobile", "horse")), within)
        assert pixels.shape[0] <= within[1] and pixels.shape[1] <= within[0]


def test_long_labels_leave_room_for_the_images() -> None:
    images = np.full((3, 8, 32, 32, 1), 90, np.uint8)
    pixels = seen(images, Labels(("n" * 200, "b", "c")))
    assert pixels.shape[1] <= WIDEST and (pixels[..., 0] == 90).sum() > 24 * 30 * 30


def test_labels_are_left_out_where_images_are_lower_than_letters() -> None:
    images = np.full((60, 4, 32, 32, 1), 90, np.uint8)
    named = seen(images, Labels(tuple(f"class {i}" for i in range(60))))
    assert set(np.unique(named)) <= {90, 255}


SHAPES = st.one_of(
    st.tuples(st.integers(1, 700), st.integers(1, 700), st.sampled_from([1, 3, 4])),
    st.tuples(st.integers(1, 20), st.integers(1, 90), st.integers(1, 90), st.sampled_from([1, 3, 4])),
    st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(1, 90), st.integers(1, 90), st.sampled_from([1, 3])),
)


@settings(max_examples=60, deadline=None)
@given(SHAPES, st.integers(CELL, WIDEST), st.integers(CELL, HIGHEST), st.booleans())
def test_whatever_is_shown_fits_its_cell(shape: Any, width: int, height: int, named: bool) -> None:
    """Also in a cell that other images chose."""
    labels = Labels(("name",) * shape[0], ("x",) * shape[1]) if named and len(shape) == 5 else Labels()
    ready = arranged(np.zeros(shape, np.uint8), labels)
    wanted = size(*ready)
    assert 1 <= wanted[0] <= WIDEST and 1 <= wanted[1] <= HIGHEST
    for room in (wanted, (width, height)):
        pixels = drawn(*ready, *room)
        assert pixels.dtype == np.uint8 and (pixels < 250).any()
        assert pixels.shape[0] <= room[1] and pixels.shape[1] <= room[0]


def test_a_large_picture_is_blended_wherever_its_lines_lie() -> None:
    """Of four pixels one is seen where every fourth is taken."""
    for first in range(4):
        picture = np.full((4 * HIGHEST, 4 * HIGHEST, 1), 255, np.uint8)
        picture[:, first::4] = 0
        shown = seen(picture)
        assert shown.shape == (HIGHEST, HIGHEST, 3) and (abs(shown[5:-5, 5:-5].astype(int) - 191) < 30).all()


def test_images_among_others_are_blended_up_to_twice_their_size_and_then_repeated() -> None:
    line = np.zeros((30, 30, 1), np.uint8)
    line[:, 15:] = 240
    levels = {within: set(np.unique(seen(line[None, None], within=(within, within)))) for within in (54, 64, 99)}
    assert len(levels[54]) > 3 and levels[64] == levels[99] == {0, 240, 255}


@pytest.mark.parametrize(("letters", "shown"), [(16, "n" * 16), (17, "n" * 15 + "…"), (40, "n" * 15 + "…")])
def test_a_label_has_sixteen_letters(letters: int, shown: str) -> None:
    images = np.zeros((1, 2, 8, 8, 1), np.uint8)
    own, labels = arranged(images, Labels(("n" * letters,), ("a", "n" * letters)))
    assert own is images and labels == Labels((shown,), ("a", shown))


def test_a_set_has_no_labels() -> None:
    assert arranged(np.zeros((3, 8, 8, 1), np.uint8), Labels())[1] == Labels()


def test_with_labels_the_images_are_as_large_as_the_rest_lets_them_be() -> None:
    images = np.full((3, 4, 32, 32, 1), 90, np.uint8)
    for labels in (Labels(("image", "a", "b"), ()), Labels((), tuple("0123")), Labels(("x", "y", "z"), tuple("0123"))):
        for within in ((190, 190), (240, 150), (480, 280)):
            pixels = seen(images, labels, within)
            height, width = pixels.shape[:2]
            assert height <= within[1] and width <= within[0]
            assert height > within[1] - 3 * 32 or width > within[0] - 4 * 32
            edge = math.sqrt((pixels[..., 0] == 90).sum() / 12)
            assert edge > 0.6 * min(within[0] / 4, within[1] / 3)
            assert abs(edge - round(edge)) < 0.4  # squares stay squares


def test_letters_in_a_cell_are_small() -> None:
    """Those of a cell stand beside images of a hundred pixels and more."""
    images = np.full((1, 1, 300, 300, 1), 90, np.uint8)
    pixels = seen(images, Labels((), ("H",)), (190, 190))
    rows = np.flatnonzero((pixels < 60).any((1, 2)))
    assert 7 <= rows[-1] - rows[0] + 1 <= 10


def test_images_of_eight_pixels_have_their_labels() -> None:
    images = np.full((4, 4, 8, 8, 1), 90, np.uint8)
    assert (seen(images, Labels(("a", "b", "c", "d")), (90, 8 * 4 + 10)) < 60).any()
    assert not (seen(images, Labels(("a", "b", "c", "d")), (90, 7 * 4 + 10)) < 60).any()
