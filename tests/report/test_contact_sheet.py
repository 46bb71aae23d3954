"""The contact sheet: what stands where, the same pixels every time, and an explanation where there is no picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genlab.errors import GenlabError
from genlab.report import contact_sheet as module
from genlab.report.contact_sheet import CELL, COLUMN_HEAD, EMPTY, GAP, HEAD, LABEL, MARGIN, contact_sheet, spread


def plain(level: int, channels: int = 1) -> np.ndarray:
    return np.full((16, 8, 8, channels), level, np.uint8)


def cell(sheet: Any, row: int, column: int) -> tuple[int, ...]:
    """A pixel well inside an image of a cell."""
    x, y = MARGIN + LABEL + column * (CELL + GAP), HEAD + COLUMN_HEAD + row * (CELL + GAP)
    return sheet.getpixel((x + 20, y + 20))


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Everything that is written on sheets."""
    from PIL import ImageDraw

    written: list[str] = []
    for name in ("text", "multiline_text"):
        real = getattr(ImageDraw.ImageDraw, name)

        def write(self: Any, at: Any, text: str, *rest: Any, real: Any = real, **more: Any) -> Any:
            written.append(text.replace("\n", " "))
            return real(self, at, text, *rest, **more)

        monkeypatch.setattr(ImageDraw.ImageDraw, name, write)
    return written


def test_rows_best_first_columns_by_epoch(make_sweep: Any, texts: list[str]) -> None:
    sweep = make_sweep("lsgan")
    for name, level, epochs in (("00000", 200, 2), ("00001", 50, 9), ("00002", 120, 4)):
        sweep.trial(name, lr=level / 1000, ngf=8)
        for epoch in range(1, epochs + 1):
            ends = ("completed" if epochs == 9 else "pruned") if epoch == epochs else None
            sweep.epoch(name, epoch, ends, images=plain(level + epoch, 3 if level == 120 else 1))
    sheet = contact_sheet(sweep.records)
    assert spread(9) == [1, 3, 4, 6, 7, 9]
    assert [cell(sheet, 0, i)[0] for i in range(6)] == [51, 53, 54, 56, 57, 59]  # the only one that ran to the end
    assert [cell(sheet, 1, i) for i in (0, 1, 2)] == [(121,) * 3, (123,) * 3, (124,) * 3] and cell(sheet, 1, 3) == EMPTY
    assert cell(sheet, 2, 0)[0] == 201 and cell(sheet, 2, 1)[0] == 202  # its last epoch is between two columns
    for text in (
        "epoch 9",
        "epoch 2",
        "1.  00001",
        "pruned after epoch 4",
        "Stopped early by the scheduler.",
        "lr",
        "0.05",
    ):
        assert text in texts
    assert "ngf" not in texts  # the same in all trials
    assert sheet.mode == "RGB" and sheet.tobytes() == contact_sheet(sweep.records).tobytes()


def test_what_has_no_picture_is_explained(make_sweep: Any, texts: list[str]) -> None:
    sweep = make_sweep()
    for name in ("00000", "00001"):
        sweep.trial(name, lr=name)
        for epoch in (1, 2, 3):
            sweep.epoch(name, epoch, "completed" if epoch == 3 else None, images=plain(epoch))
    sweep.trial("00002", lr="x")
    sweep.epoch("00002", 1, images=plain(9))
    sweep.error("00002", 2)
    sweep.trial("00003", lr="y")
    sweep.whole_trial("00004", 1, "diverged")
    epochs = sweep.records.trials["00000"].epochs
    Path(sweep.storage.root, sweep.records.name, epochs[1].report.path).unlink()
    Path(sweep.storage.root, sweep.records.name, epochs[3].report.path).write_bytes(b"junk")
    contact_sheet(sweep.records)
    for text in (
        "The report of this epoch is damaged or missing.",
        "Failed: ValueError: the loss has no gradient",
        "Not trained yet.",
        "no objective",
    ):
        assert text in texts
    assert "Diverged: a loss was no longer finite." in texts


def test_images_that_are_asked_for_are_shown_or_else_refused(make_sweep: Any, texts: list[str]) -> None:
    sweep = make_sweep()
    for name, images in (("00000", {"samples": plain(40)}), ("00001", {"samples": plain(50), "drawn": plain(60)})):
        sweep.trial(name, lr=name)
        sweep.epoch(name, 1, "completed", images=images)
    rows = sorted([cell(contact_sheet(sweep.records, "drawn"), row, 0) for row in range(2)])
    assert rows == [(60, 60, 60), EMPTY]
    assert "No images 'drawn' in this epoch." in texts and texts[1].endswith("images: drawn")
    with pytest.raises(GenlabError, match="no report has the images 'darwn': did you mean drawn"):
        contact_sheet(sweep.records, "darwn")
    only = one_epoch(make_sweep, {}).records
    contact_sheet(only, "drawn")  # where there are no images at all there are no others to be shown
    sweep.trial("00002")
    contact_sheet(make_sweep().records, "drawn")


def test_no_more_than_twenty_rows_and_confirms_apart(make_sweep: Any, texts: list[str]) -> None:
    sweep = make_sweep()
    for i in range(23):
        sweep.whole_trial(f"{i:05d}", 1, lr=i)
    sweep.whole_trial("confirm-00001-0", 1, lr=1)
    sheet = contact_sheet(sweep.records)
    words = "frechet_distance, lower is better", "23 trials, best first", "the last 3 are left out", "images: samples"
    assert "  ·  ".join(words) in texts
    assert "trained again on fresh seeds" in texts and "1.  confirm-00001-0" in texts
    assert sheet.height > 21 * CELL


def test_a_sweep_without_trials(make_sweep: Any, texts: list[str]) -> None:
    contact_sheet(make_sweep().records)
    assert "No trial has begun." in texts


def test_replicas_show_their_spread(make_sweep: Any, texts: list[str]) -> None:
    sweep = make_sweep(seeds=(0, 1, 2))
    sweep.whole_trial("00000", 1)
    metrics = sweep.report("00000", 1).metrics()
    contact_sheet(sweep.records)
    assert f"{metrics['frechet_distance']:.5g} ± {metrics['frechet_distance/std']:.2g}" in texts


def test_a_trial_without_an_objective_has_no_spread(make_sweep: Any, texts: list[str]) -> None:
    sweep = make_sweep(seeds=(0, 1, 2))
    sweep.whole_trial("00000", 1, None)
    sweep.error("00000", 2)
    contact_sheet(sweep.records)
    assert "no objective" in texts and not any("±" in text for text in texts)


def area(sheet: Any, row: int, column: int) -> np.ndarray:
    """The pixels of a cell, uint8 [CELL, CELL, 3]."""
    x, y = MARGIN + LABEL + column * (CELL + GAP), HEAD + COLUMN_HEAD + row * (CELL + GAP)
    return np.asarray(sheet)[y : y + CELL, x : x + CELL]


def one_epoch(make_sweep: Any, images: np.ndarray | dict[str, np.ndarray]) -> Any:
    sweep = make_sweep()
    sweep.trial("00000")
    sweep.epoch("00000", 1, "completed", images=images)
    return sweep


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (300, 600, (95, 190)),  # made smaller
        (480, 160, (190, 63)),
        (190, 190, (190, 190)),
        (100, 150, (100, 150)),  # twice as large it has no room
        (40, 60, (120, 180)),  # three times
        (5, 1, (190, 38)),
        (2, 4000, (1, 190)),
    ],
)
def test_a_single_picture_keeps_its_aspect_ratio(
    height: int, width: int, expected: tuple[int, int], make_sweep: Any
) -> None:
    color = (200, 30, 90)
    sheet = contact_sheet(one_epoch(make_sweep, np.full((height, width, 3), color, np.uint8)).records)
    painted = (area(sheet, 0, 0) == color).all(-1)
    rows, columns = np.flatnonzero(painted.any(1)), np.flatnonzero(painted.any(0))
    found = (rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1)
    assert found == expected and painted.sum() == found[0] * found[1]
    assert (area(sheet, 0, 0)[~painted] == 255).all()
    assert rows[0] == (CELL - found[0]) // 2 and columns[0] == (CELL - found[1]) // 2  # in the middle


def test_a_small_picture_is_enlarged_by_whole_pixels(make_sweep: Any) -> None:
    picture = np.array([[0, 255, 0], [255, 0, 90]], np.uint8)[..., None]
    pixels = area(contact_sheet(one_epoch(make_sweep, picture).records), 0, 0)
    expected = np.kron(picture[..., 0], np.ones((63, 63), np.uint8))  # 190 // 3
    np.testing.assert_array_equal(pixels[32 : 32 + 126, 0:189], expected[..., None].repeat(3, -1))


def test_a_large_picture_is_made_smaller_without_losing_lines(make_sweep: Any) -> None:
    picture = np.full((1900, 1900, 1), 255, np.uint8)
    picture[:, ::10] = 0  # one column of ten: taking every tenth pixel would show all of it or nothing
    pixels = area(contact_sheet(one_epoch(make_sweep, picture).records), 0, 0)
    assert abs(pixels.mean() - 229.5) < 3


def squares(pixels: np.ndarray) -> list[list[int]]:
    """The gray levels of a cell's tiles, row by row: areas of one level other than white."""
    painted = pixels[..., 0] < 255
    tops = np.flatnonzero(np.diff(painted.any(1).astype(int), prepend=0) == 1)
    lefts = np.flatnonzero(np.diff(painted.any(0).astype(int), prepend=0) == 1)
    return [[int(pixels[top + 1, left + 1, 0]) for left in lefts] for top in tops]


def leveled(*shape: int, size: tuple[int, int] = (8, 8)) -> np.ndarray:
    """Gray images of `shape`, each of one level: 1, 2, 3, ..."""
    levels = np.arange(1, np.prod(shape) + 1, dtype=np.uint8).reshape(*shape, 1, 1, 1)
    return levels * np.ones((*size, 1), np.uint8)


def test_rows_and_columns_are_whole_in_a_cell(make_sweep: Any) -> None:
    cell_of = {
        shape: area(contact_sheet(one_epoch(make_sweep, leveled(*shape)).records), 0, 0) for shape in [(2, 5), (6, 3)]
    }
    assert squares(cell_of[2, 5]) == [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]]
    assert squares(cell_of[6, 3]) == [[3 * row + 1, 3 * row + 2, 3 * row + 3] for row in range(6)]
    painted = cell_of[2, 5][..., 0] < 255
    assert painted.sum() == 10 * 32 * 32  # 4 times 8 pixels: 5 of these and 6 gaps of 2 fit into 190


def test_many_rows_and_columns_are_whole_in_a_cell(make_sweep: Any) -> None:
    """More than there are pixels for with gaps of two: then the whole is made smaller."""
    images = np.zeros((70, 100, 6, 6, 1), np.uint8)
    images[:35] = 120
    images[:35, 50:] = 240
    pixels = area(contact_sheet(one_epoch(make_sweep, images).records), 0, 0)[..., 0].astype(float)
    rows = np.flatnonzero((pixels < 250).any(1))
    assert 130 <= len(rows) <= 134  # 70 / 100 of the cell
    first, second = pixels[rows[0] : rows[0] + 60], pixels[rows[-1] - 60 : rows[-1]]
    assert first[:, 5:90].mean() < first[:, 100:185].mean() - 50 and second.mean() < first[:, 5:90].mean() - 50


def test_of_a_set_the_first_sixteen_are_shown_in_a_square(make_sweep: Any) -> None:
    pixels = area(contact_sheet(one_epoch(make_sweep, leveled(40)).records), 0, 0)
    assert squares(pixels) == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]]
    assert squares(area(contact_sheet(one_epoch(make_sweep, leveled(5)).records), 0, 0)) == [[1, 2, 3], [4, 5, 255]]


def test_samples_are_shown_or_else_the_first_images(make_sweep: Any, texts: list[str]) -> None:
    def level(images: dict[str, np.ndarray]) -> int:
        return cell(contact_sheet(one_epoch(make_sweep, images).records), 0, 0)[0]

    test, figure, other, samples = plain(10), np.full((90, 90, 3), 20, np.uint8), plain(30), plain(40)
    assert level({"test/samples": test, "figure": figure, "samples": samples}) == 40
    assert texts[1].endswith("images: samples")
    assert level({"test/samples": test, "figure": figure, "a": other}) == 20  # the first, whatever its name
    assert level({"nothing": figure[:0], "b": other, "a": figure}) == 30
    texts.clear()
    only = one_epoch(make_sweep, {"test/samples": test}).records
    contact_sheet(only)
    assert "No images in this epoch." in texts and not any("images:" in text for text in texts)
    assert cell(contact_sheet(only, "test/samples"), 0, 0)[0] == 10  # who asks gets them


def test_the_first_report_with_images_says_which_are_shown(make_sweep: Any, texts: list[str]) -> None:
    sweep = make_sweep()
    sweep.trial("00000", lr=1)
    sweep.epoch("00000", 1, images={})
    sweep.epoch("00000", 2, images={"reconstructions": plain(60)})
    sweep.epoch("00000", 3, "completed", images={})
    sweep.whole_trial("00001", 3, lr=2)  # its images are "samples"
    sheet = contact_sheet(sweep.records)
    assert "1.  00001" in texts and "2.  00000" in texts  # the first that began is not the best
    assert [cell(sheet, 1, i) for i in range(3)] == [EMPTY, (60, 60, 60), EMPTY]
    assert [cell(sheet, 0, i) for i in range(3)] == [EMPTY] * 3
    assert "No images 'reconstructions' in this epoch." in texts


@pytest.mark.parametrize(
    "shape",
    [(1, 300, 200, 3), (3, 7, 9, 1), (64, 28, 28, 1), (5, 64, 64, 4), (2, 1, 500, 1), (3, 2, 4), (9, 1, 900, 3, 3)],
)
def test_any_size_of_image_fits_a_cell(shape: tuple[int, ...]) -> None:
    drawn = np.asarray(module._cell(np.zeros(shape, np.uint8)))
    assert drawn.shape == (CELL, CELL, 3) and (drawn < 128).any()
