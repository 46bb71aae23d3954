"""Grids: images of three kinds as one picture, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from genlab.grids import can_be_shown, grid, labelled_rows


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
    whole = labelled_rows(images, ["a", "", "a much longer name"])
    assert whole.dtype == np.uint8 and whole.shape[0] == pictures.shape[0]
    names, shown = np.split(whole, [whole.shape[1] - pictures.shape[1]], axis=1)
    np.testing.assert_array_equal(shown, pictures)
    dark = (names < 128).any(2)
    by_row = [dark[top : top + 26] for top in (1, 27, 53)]
    assert by_row[0].any() and not by_row[1].any() and by_row[2].sum() > 5 * by_row[0].sum()
    left = np.flatnonzero(by_row[2].any(0))
    assert left[0] > 0 and left[-1] < names.shape[1] - 3  # whole, and not at the pictures' edge
