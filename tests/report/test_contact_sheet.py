"""The contact sheet: what stands where, the same pixels every time, and an explanation where there is no picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genlab.report import contact_sheet as module
from genlab.report.contact_sheet import CELL, COLUMN_HEAD, EMPTY, GAP, HEAD, LABEL, MARGIN, contact_sheet, spread
from genlab.report.grids import grid


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
    Path(sweep.storage.root, sweep.records.name, epochs[1].part.path).unlink()
    Path(sweep.storage.root, sweep.records.name, epochs[3].part.path).write_bytes(b"junk")
    contact_sheet(sweep.records)
    for text in (
        "The part of this epoch is damaged or missing.",
        "Failed: ValueError: the loss has no gradient",
        "Not trained yet.",
        "no objective",
    ):
        assert text in texts
    assert "Diverged: a loss was no longer finite." in texts
    contact_sheet(sweep.records, "reconstructions")
    assert "No images 'reconstructions' in this epoch." in texts


def test_no_more_than_twenty_rows_and_confirms_apart(make_sweep: Any, texts: list[str]) -> None:
    sweep = make_sweep()
    for i in range(23):
        sweep.whole_trial(f"{i:05d}", 1, lr=i)
    sweep.whole_trial("confirm-00001-0", 1, lr=1)
    sheet = contact_sheet(sweep.records)
    assert "frechet_distance, lower is better  ·  23 trials, best first  ·  the last 3 are left out" in texts
    assert "trained again on fresh seeds" in texts and "1.  confirm-00001-0" in texts
    assert sheet.height > 21 * CELL


def test_a_sweep_without_trials(make_sweep: Any, texts: list[str]) -> None:
    contact_sheet(make_sweep().records)
    assert "No trial has begun." in texts


def test_replicas_show_their_spread(make_sweep: Any, texts: list[str]) -> None:
    sweep = make_sweep(seeds=(0, 1, 2))
    sweep.whole_trial("00000", 1)
    metrics = sweep.part("00000", 1).metrics()
    contact_sheet(sweep.records)
    assert f"{metrics['frechet_distance']:.5g} ± {metrics['frechet_distance/std']:.2g}" in texts


@pytest.mark.parametrize("shape", [(1, 300, 200, 3), (3, 7, 9, 1), (64, 28, 28, 1), (5, 64, 64, 4), (2, 1, 500, 1)])
def test_any_size_of_image_fits_a_cell(shape: tuple[int, ...]) -> None:
    assert module._cell(np.zeros(shape, np.uint8)).size == (CELL, CELL)


def test_grid() -> None:
    images = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 4, 1), np.uint8)
    whole = grid(images, 3)
    assert whole.shape == (2 * 5 + 2, 3 * 6 + 2, 3) and whole.dtype == np.uint8
    assert (whole[2:5, 2:6] == 0).all() and (whole[7:10, 8:12] == 4).all() and (whole[7:10, 14:18] == 255).all()
    assert (whole[:2] == 255).all() and (whole[:, 6:8] == 255).all()
    assert grid(images).shape == whole.shape  # as square as it gets
    assert grid(images[:0], 4).shape == (7, 26, 3)
    with pytest.raises(ValueError, match="uint8"):
        grid(images.astype(np.float32), 2)
    with pytest.raises(ValueError, match="uint8"):
        grid(images[..., 0], 2)
