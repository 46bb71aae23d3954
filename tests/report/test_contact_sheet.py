"""The contact sheet: what stands where, the same pixels every time, and an explanation where there is no picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genlab.errors import GenlabError
from genlab.grids import Labels
from genlab.report import cells
from genlab.report.contact_sheet import (
    CELL,
    COLUMN_HEAD,
    EMPTY,
    GAP,
    HEAD,
    LABEL,
    MARGIN,
    contact_sheet,
    preferred,
    spread,
)
from genlab.tracking.epoch_reports import EpochReport, ReplicaReport


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


@pytest.mark.parametrize(("trials", "left_out"), [(20, None), (21, "the last 1 are left out")])
def test_trials_that_have_no_row_are_counted(
    trials: int, left_out: str | None, make_sweep: Any, texts: list[str]
) -> None:
    sweep = make_sweep()
    for i in range(trials):
        sweep.whole_trial(f"{i:05d}", 1, lr=i)
    contact_sheet(sweep.records)
    words = [f"{trials} trials, best first", *([left_out] if left_out else []), "images: samples"]
    assert texts[1] == "  ·  ".join(["frechet_distance, lower is better", *words])


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
    assert texts[1].endswith("not shown: the images test/samples")
    contact_sheet(one_epoch(make_sweep, {"test/samples": test, "test/other": test}).records)
    assert any(text.endswith("not shown: the images test/samples, test/other") for text in texts)
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
    assert [text for text in texts if text.startswith("epoch ")] == ["epoch 2"]  # the only one with such images
    assert cell(sheet, 1, 0) == (60, 60, 60) and cell(sheet, 0, 0) == EMPTY
    assert "No images 'reconstructions' in this epoch." in texts


def test_what_cannot_be_shown_is_never_preferred() -> None:
    flat, empty, good = np.zeros((4, 4), np.uint8), np.zeros((0, 4, 4, 1), np.uint8), plain(9)
    for odd in (flat, empty):
        assert preferred({"a": odd, "samples": odd, "b": good, "c": good}) == "b"
    assert preferred({"a": good, "samples": good}) == "samples"
    assert preferred({"test/samples": good, "a": flat}) is None
    assert preferred({"testing": good}) == "testing"


def columns_of(texts: list[str]) -> list[str]:
    """The titles above the cells."""
    return [text for text in texts if text.startswith("epoch ")]


def test_wide_images_have_wide_cells_and_fewer_epochs(make_sweep: Any, texts: list[str]) -> None:
    """Five times wider than high they would be 190 x 38 pixels in a square."""
    sweep = make_sweep()
    for name in ("00000", "00001"):
        sweep.trial(name, lr=name)
        for epoch in range(1, 10):
            picture = np.full((120, 600, 3), 10 * epoch, np.uint8)
            sweep.epoch(name, epoch, "completed" if epoch == 9 else None, images={"figure": picture})
    sheet = np.asarray(contact_sheet(sweep.records))
    assert columns_of(texts) == ["epoch 1", "epoch 5", "epoch 9"]
    for row in range(2):
        top = HEAD + COLUMN_HEAD + row * (CELL + GAP)
        line = sheet[top + CELL // 2, MARGIN + LABEL :, 0]
        assert [int((line == 10 * epoch).sum()) for epoch in (1, 5, 9)] == [480] * 3
        assert int((sheet[top : top + CELL, MARGIN + LABEL + 240, 0] == 10).sum()) == 96
    assert sheet.shape[1] == MARGIN + LABEL + 3 * (480 + GAP) - GAP + MARGIN


def test_what_is_smaller_than_its_cell_stands_in_the_middle(make_sweep: Any) -> None:
    """Cells are as large as the first images want them."""
    sweep = make_sweep()
    for i, shape in enumerate(((200, 400), (100, 60))):
        sweep.trial(f"0000{i}", lr=i)
        own = ReplicaReport({"frechet_distance": float(i)}, {}, {"a": np.full((*shape, 1), 10 + i, np.uint8)})
        sweep.epoch(f"0000{i}", 1, "completed", replace(sweep.report(f"0000{i}", 1), replicas=[own]))
    sheet = np.asarray(contact_sheet(sweep.records))[..., 0]
    left, top = MARGIN + LABEL, HEAD + COLUMN_HEAD + 200 + GAP
    painted = sheet[top : top + 200, left : left + 400] == 11
    rows, columns = np.flatnonzero(painted.any(1)), np.flatnonzero(painted.any(0))
    assert abs(rows[0] - (199 - rows[-1])) <= 1 and abs(columns[0] - (399 - columns[-1])) <= 1 < columns[0]


def test_high_images_have_high_rows(make_sweep: Any) -> None:
    rows = np.full((10, 8, 32, 32, 1), 90, np.uint8)
    sweep = make_sweep()
    for i in range(2):
        sweep.trial(f"0000{i}", lr=i)
        sweep.epoch(f"0000{i}", 1, "completed", images={"by_class": rows})
    sheet: Any = contact_sheet(sweep.records)
    row = (sheet.height - HEAD - COLUMN_HEAD - MARGIN) // 2
    assert CELL + GAP < row <= cells.HIGHEST + GAP
    painted = np.asarray(sheet)[HEAD + COLUMN_HEAD :, MARGIN + LABEL :, 0] == 90
    assert painted.sum() > 2 * 80 * 22 * 22
    bars = [sheet.getpixel((MARGIN + 1, HEAD + COLUMN_HEAD + i * row + row - GAP - 2)) for i in range(2)]
    assert bars[0] == bars[1] != (255, 255, 255)  # the label's bar is as high as the row


def test_epochs_without_such_images_have_no_column(make_sweep: Any, texts: list[str]) -> None:
    """A task may show some at the end alone, or now and then: no columns of empty boxes beside them."""
    sweep = make_sweep()
    for name in ("00000", "00001", "00002"):
        sweep.trial(name, lr=name)
        for epoch in range(1, 10):
            images = {"paths": plain(100 + epoch)} if epoch in (1, 5, 9) else {}
            if name == "00001" and epoch == 5:
                break
            sweep.epoch(name, epoch, "completed" if epoch == 9 else None, images=images)
    sweep.error("00001", 5)
    sheet = contact_sheet(sweep.records)
    assert columns_of(texts) == ["epoch 1", "epoch 5", "epoch 9", "epoch 4"]  # the last one is a mark in a cell
    whole = sorted([cell(sheet, row, column)[0] for column in range(3)] for row in range(2))
    assert whole == [[101, 105, 109]] * 2


def test_an_epoch_whose_report_is_damaged_keeps_its_column(make_sweep: Any, texts: list[str]) -> None:
    sweep = make_sweep()
    sweep.trial("00000")
    for epoch in (1, 2, 3):
        sweep.epoch("00000", epoch, "completed" if epoch == 3 else None, images=plain(epoch))
    path = sweep.records.trials["00000"].epochs[2].report.path
    Path(sweep.storage.root, sweep.records.name, path).write_bytes(b"junk")
    contact_sheet(sweep.records)
    assert columns_of(texts) == ["epoch 1", "epoch 2", "epoch 3"]
    assert "The report of this epoch is damaged or missing." in texts


def test_rows_and_columns_have_their_labels(make_sweep: Any, texts: list[str]) -> None:
    images, labels = np.full((2, 3, 32, 32, 1), 90, np.uint8), Labels(("cat", "dog"), ("0", "0.05", "0.1"))
    sweep = make_sweep(seeds=(0, 1))
    sweep.trial("00000")
    other = ReplicaReport({"frechet_distance": 1.0}, {}, {"rows": images}, {"rows": Labels(("cow", "hen"))})
    own = ReplicaReport({"frechet_distance": 1.0}, {}, {"rows": images}, {"rows": labels})
    sweep.epoch("00000", 1, "completed", replace(sweep.report("00000", 1), replicas=[own, other]))
    contact_sheet(sweep.records)
    assert [text for text in texts if text in ("cat", "dog", "cow", "0", "0.05", "0.1")] == [
        "cat",
        "dog",
        "0",
        "0.05",
        "0.1",
    ]


def test_the_title_is_never_cut(make_sweep: Any) -> None:
    """Beside a single narrow column, too."""
    sweep = make_sweep("s" * 60, metric="accuracy/fgsm/eps_0.1/and/much/more/of/a/very/long/name", mode="max")
    sweep.whole_trial("00000", 1)
    sheet = np.asarray(contact_sheet(sweep.records))[: HEAD - 2]
    assert (sheet[:, -MARGIN:] == 255).all() and (sheet[:, -5 * MARGIN : -MARGIN] < 200).any()


def test_settings_of_several_lines_and_of_any_letters_are_drawn(make_sweep: Any, texts: list[str]) -> None:
    sweep = make_sweep()
    for i, text in enumerate(("one\ntwo", "ä" * 300)):
        sweep.whole_trial(f"0000{i}", 1, prompt=text)
    contact_sheet(sweep.records)
    assert "one two" in texts and any(text.startswith("äää") and text.endswith("…") for text in texts)


@pytest.mark.parametrize(("width", "columns"), [(190, 6), (240, 6), (241, 5), (290, 5), (291, 4), (365, 4), (366, 3)])
def test_of_wider_images_there_are_fewer_epochs(width: int, columns: int, make_sweep: Any, texts: list[str]) -> None:
    sweep = make_sweep()
    sweep.trial("00000")
    for epoch in range(1, 8):
        images = {"figure": np.full((100, width, 3), 9, np.uint8)}
        sweep.epoch("00000", epoch, "completed" if epoch == 7 else None, images=images)
    sheet = contact_sheet(sweep.records)
    assert len(columns_of(texts)) == columns
    assert sheet.width >= MARGIN + LABEL + columns * (width + GAP) - GAP + MARGIN


def test_of_a_long_trial_some_epochs_are_looked_at(make_sweep: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = make_sweep()
    sweep.trial("00000")
    for epoch in range(1, 61):
        sweep.epoch("00000", epoch, "completed" if epoch == 60 else None, images=plain(epoch))
    read, real = [], EpochReport.read
    monkeypatch.setattr(EpochReport, "read", staticmethod(lambda *words: read.append(words[1].path) or real(*words)))
    sheet = contact_sheet(sweep.records)
    assert len({*read}) <= 24
    shown = [cell(sheet, 0, column)[0] for column in range(6)]
    assert shown[0] == 1 and shown[-1] == 60 and all(9 <= gap <= 15 for gap in np.diff(shown))
