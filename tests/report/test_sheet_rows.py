"""The contact sheet's rows: which trial is where, what its label says, and what stands in a cell without a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from test_contact_sheet import cell, plain

from genlab.errors import GenlabError
from genlab.report.contact_sheet import BAND, CELL, COLUMN_HEAD, GAP, HEAD, LABEL, MARGIN, contact_sheet
from genlab.tracking.epoch_reports import ReplicaReport

TOP, ROW = HEAD + COLUMN_HEAD, CELL + GAP


class Written(NamedTuple):
    """A text on a sheet, and where it begins or has its middle."""

    text: str
    x: float
    y: float


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Written]:
    """Everything that is written on sheets."""
    from PIL import ImageDraw

    found: list[Written] = []
    for name in ("text", "multiline_text"):
        real = getattr(ImageDraw.ImageDraw, name)

        def write(self: Any, at: Any, text: str, *rest: Any, real: Any = real, **more: Any) -> Any:
            found.append(Written(text.replace("\n", " "), *at))
            return real(self, at, text, *rest, **more)

        monkeypatch.setattr(ImageDraw.ImageDraw, name, write)
    return found


def label(written: Sequence[Written], row: int, top: int = TOP) -> list[str]:
    """The texts left of a row, from above."""
    own = [w for w in written if w.x < MARGIN + LABEL and top + row * ROW <= w.y < top + row * ROW + CELL]
    return [w.text for w in sorted(own, key=lambda w: (w.y, w.x))]


def notes(written: Sequence[Written], row: int) -> dict[int, str]:
    """The sentences in the cells of a row, by column."""
    own = [w for w in written if w.x > MARGIN + LABEL and w.y == TOP + row * ROW + CELL / 2]
    return {int(w.x - MARGIN - LABEL) // ROW: w.text for w in own}


def told(
    sweep: Any, name: str, objectives: Sequence[float], level: int, ends: str | None = "completed", **settings: Any
) -> None:
    """A trial with these objectives; the images of epoch e are of the gray level `level` + e."""
    sweep.trial(name, **settings)
    for epoch, objective in enumerate(objectives, 1):
        shown = ReplicaReport({"frechet_distance": objective}, {}, {"samples": plain(level + epoch)})
        report = replace(sweep.report(name, epoch), replicas=[shown])
        sweep.epoch(name, epoch, ends if epoch == len(objectives) else None, report=report)


@pytest.mark.parametrize(
    ("mode", "better", "order"),
    [("min", "lower is better", [0, 1, 3, 2, 4]), ("max", "higher is better", [1, 0, 2, 3, 4])],
)
def test_rows_are_the_trials_in_the_order_of_their_last_objectives(
    mode: str, better: str, order: list[int], make_sweep: Callable[..., Any], written: list[Written]
) -> None:
    sweep = make_sweep(mode=mode)
    told(sweep, "00000", [5.0, -2.0], 10, lr=0.1)
    told(sweep, "00001", [-5.0, 3.0], 50, lr=0.2)
    told(sweep, "00002", [7.0, 0.5], 90, "pruned", lr=0.3)
    told(sweep, "00003", [8.0, -9.0], 130, "pruned", lr=0.4)
    told(sweep, "00004", [0.0], 170, None, lr=0.5)
    sweep.error("00004", 2)
    sheet = contact_sheet(sweep.records)
    assert [cell(sheet, row, 0)[0] for row in range(5)] == [11 + 40 * trial for trial in order]
    assert [cell(sheet, row, 1)[0] for row in range(4)] == [12 + 40 * trial for trial in order[:4]]
    ended = ["completed after epoch 2"] * 2 + ["pruned after epoch 2"] * 2 + ["failed after epoch 1"]
    values = ["-2", "3", "0.5", "-9", "no objective"]
    for row, trial in enumerate(order):
        expected = [f"{row + 1}.  0000{trial}", values[trial], ended[trial], "lr", f"0.{trial + 1}"]
        assert label(written, row) == expected
    heads = [w.text for w in written if w.y < TOP]
    assert heads[0] == sweep.records.name and heads[2:] == ["epoch 1", "epoch 2"]
    assert heads[1] == f"frechet_distance, {better}  ·  5 trials, best first  ·  images: samples"


def test_an_epoch_is_named_above_the_middle_of_its_cells(
    make_sweep: Callable[..., Any], written: list[Written]
) -> None:
    sweep = make_sweep()
    told(sweep, "00000", [2.0, 1.0], 10)
    contact_sheet(sweep.records)
    middles = {w.text: w.x for w in written if w.text.startswith("epoch ")}
    assert middles == {f"epoch {i + 1}": MARGIN + LABEL + i * ROW + CELL / 2 for i in range(2)}


def test_an_objective_of_0_is_one(make_sweep: Callable[..., Any], written: list[Written]) -> None:
    sweep = make_sweep()
    told(sweep, "00000", [0.0], 10)
    contact_sheet(sweep.records)
    assert label(written, 0)[1] == "0"


def test_the_color_beside_a_label_says_how_the_trial_ended(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    told(sweep, "00000", [1.0], 10)
    told(sweep, "00001", [1.0], 10, "pruned")
    told(sweep, "00002", [3.0], 10, None)
    told(sweep, "00003", [4.0], 10, "diverged")
    sweep.trial("00004")
    sweep.error("00004", 1)
    sheet: Any = contact_sheet(sweep.records)
    completed, pruned, unfinished, diverged, failed = (
        sheet.getpixel((MARGIN + 1, TOP + row * ROW + 120)) for row in range(5)
    )
    assert completed[1] > 2 * completed[0] and completed[1] > 1.5 * completed[2]  # green
    assert pruned[0] > pruned[1] > 2 * pruned[2]  # amber
    assert unfinished[2] > unfinished[1] > unfinished[0]  # blue
    assert diverged == failed and failed[0] > 3 * max(failed[1:])  # red


def test_the_twenty_best_and_five_that_confirm(make_sweep: Callable[..., Any], written: list[Written]) -> None:
    sweep = make_sweep(mode="max")
    for i in range(23):
        told(sweep, f"{i:05d}", [float(i)], 10 * i, lr=i, ngf=8)
    objectives = [3.0, 6.0, 1.0, 5.0, 2.0, 7.0, 4.0]
    for i, objective in enumerate(objectives):
        told(sweep, f"confirm-{i:05d}", [0.0, objective], int(objective), lr=i, ngf=8)
    sheet = contact_sheet(sweep.records)
    assert [cell(sheet, row, 0)[0] for row in range(20)] == [10 * i + 1 for i in range(22, 2, -1)]
    below = TOP + 20 * ROW + BAND
    levels = [sheet.getpixel((MARGIN + LABEL + ROW + 20, below + row * ROW + 20)) for row in range(5)]
    assert levels == [(9,) * 3, (8,) * 3, (7,) * 3, (6,) * 3, (5,) * 3]  # in the column of epoch 2
    assert sheet.height == below + 5 * ROW + MARGIN
    assert label(written, 0) == ["1.  00022", "22", "completed after epoch 1", "lr", "22"]
    assert label(written, 4, below)[:2] == ["5.  confirm-00000", "3"]
    assert label(written, 4, below)[3:] == ["lr", "0", "ngf", "8"]  # all, since it stands alone
    assert [w.text for w in written if below - BAND <= w.y < below] == ["trained again on fresh seeds"]


def test_a_trial_that_has_no_row_does_not_say_which_images_are_shown(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    for i in range(21):
        sweep.trial(f"{i:05d}")
        images = {"figure" if i else "samples": plain(10 + i)}
        own = ReplicaReport({"frechet_distance": -float(i)}, {}, images)
        sweep.epoch(f"{i:05d}", 1, "completed", report=replace(sweep.report(f"{i:05d}", 1), replicas=[own]))
    assert cell(contact_sheet(sweep.records), 0, 0)[0] == 30


def test_the_first_replica_is_shown(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep(seeds=(4, 5))
    for i, images in enumerate([({"b": plain(10)}, {"samples": plain(20)}), ({"b": plain(30)}, {"b": plain(40)})]):
        replicas = [ReplicaReport({"frechet_distance": 1.0}, {}, own) for own in images]
        sweep.trial(f"0000{i}")
        sweep.epoch(f"0000{i}", 1, "completed", report=replace(sweep.report(f"0000{i}", 1), replicas=replicas))
    sheet = contact_sheet(sweep.records)
    assert [cell(sheet, row, 0)[0] for row in range(2)] == [10, 30]


def test_the_first_replica_says_which_images_are_shown(make_sweep: Callable[..., Any], written: list[Written]) -> None:
    sweep = make_sweep(seeds=(4, 5))
    replicas = [
        ReplicaReport({"frechet_distance": 1.0}, {}, own)
        for own in ({"a": plain(10), "b": plain(20)}, {"b": plain(30), "c": plain(40)})
    ]
    sweep.trial("00000")
    sweep.epoch("00000", 1, "completed", report=replace(sweep.report("00000", 1), replicas=replicas))
    assert cell(contact_sheet(sweep.records), 0, 0)[0] == 10
    assert written[1].text.endswith("images: a")
    with pytest.raises(GenlabError, match="no report has the images 'd': valid names: a, b"):
        contact_sheet(sweep.records, "d")


def test_a_label_has_the_settings_that_differ_by_name(make_sweep: Callable[..., Any], written: list[Written]) -> None:
    """In the order in which they were named, each in a line of its own; of a trial that lacks one, the others."""
    sweep = make_sweep()
    told(sweep, "00000", [1.0], 10, z=0.012345678, same="x", a=1)
    told(sweep, "00001", [2.0], 10, z=3, same="x", a=True, depth=4)
    sheet = contact_sheet(sweep.records)
    assert label(written, 0)[3:] == ["z", "0.01235", "a", "1"]
    assert label(written, 1)[3:] == ["z", "3", "a", "True", "depth", "4"]
    lines = sorted({w.y for w in written if w.text in ("z", "a", "depth") and w.y > TOP + ROW})
    assert len(lines) == 3 and min(np.diff(lines)) >= 12  # as high as the letters
    assert sheet.width >= MARGIN + LABEL + ROW - GAP + MARGIN
    assert not any("left out" in w.text for w in written)


def test_settings_differ_that_are_written_alike(make_sweep: Callable[..., Any], written: list[Written]) -> None:
    sweep = make_sweep()
    told(sweep, "00000", [1.0], 10, width=16, same=1)
    told(sweep, "00001", [2.0], 10, width="16", same=1)
    contact_sheet(sweep.records)
    assert label(written, 0)[3:] == label(written, 1)[3:] == ["width", "16"]


@pytest.mark.parametrize(
    ("last", "shown"),
    [((3.0, 4.0), "3.5 ± 0.71"), ((0.0301, 0.0302), "0.03015 ± 7.1e-05"), ((100, 900), "500 ± 5.7e+02")],
)
def test_the_spread_is_that_of_the_last_epoch(
    last: Any, shown: str, make_sweep: Callable[..., Any], written: list[Written]
) -> None:
    """With two digits, however small or large it is."""
    sweep = make_sweep(seeds=(0, 1))
    sweep.trial("00000")
    for epoch, values in enumerate([(1.0, 9.0), last], 1):
        replicas = [ReplicaReport({"frechet_distance": value}, {}, {"samples": plain(9)}) for value in values]
        report = replace(sweep.report("00000", epoch), replicas=replicas)
        sweep.epoch("00000", epoch, "completed" if epoch == 2 else None, report=report)
    contact_sheet(sweep.records)
    assert label(written, 0)[1] == shown


@pytest.mark.parametrize(("count", "lines", "rest"), [(8, 8, None), (9, 7, "and 2 more"), (12, 7, "and 5 more")])
def test_a_label_with_too_many_settings_says_how_many_are_left_out(
    count: int, lines: int, rest: str | None, make_sweep: Callable[..., Any], written: list[Written]
) -> None:
    sweep = make_sweep()
    for i in range(2):
        settings: dict[str, Any] = {f"s{k}": 100 * i + k for k in range(count)}
        told(sweep, f"0000{i}", [float(i)], 10, **settings)
    contact_sheet(sweep.records)
    shown = [word for k in range(lines) for word in (f"s{k}", str(100 + k))]
    assert label(written, 1)[3:] == [*shown, *([rest] if rest else [])]


@pytest.mark.parametrize("settings", [{"dataset": "image_folder:" + "w" * 60}, {"w" * 60: 1}, {"n" * 25: "w" * 25}])
def test_long_texts_are_cut_before_the_cells(settings: dict[str, Any], make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    told(sweep, "00000", [1.0], 10, **settings)
    told(sweep, "00001" + "w" * 60, [2.0], 10)
    sheet = np.asarray(contact_sheet(sweep.records))
    for row in range(2):
        gap = sheet[TOP + row * ROW :, MARGIN + LABEL - GAP // 2 : MARGIN + LABEL][:CELL]
        assert (gap == 255).all()


def test_a_trial_says_once_why_it_has_no_more_pictures(make_sweep: Callable[..., Any], written: list[Written]) -> None:
    sweep = make_sweep()
    told(sweep, "00000", [1.0, 1.0, 1.0, 1.0], 10)
    told(sweep, "00001", [2.0], 20)  # a grid's trials may differ in their epochs
    told(sweep, "00002", [3.0, 3.0], 30, "pruned")
    told(sweep, "00003", [4.0], 40, None)
    told(sweep, "00004", [5.0], 50, "diverged")
    told(sweep, "00005", [6.0], 60, None)
    sweep.error("00005", 2)
    sweep.trial("00006")
    sweep.records.append("error", trial="00006", epoch=1, traceback="\n")
    sheet = contact_sheet(sweep.records)
    assert [notes(written, row) for row in range(7)] == [
        {},
        {1: "Ended before this epoch."},
        {2: "Stopped early by the scheduler."},
        {1: "Not trained yet."},
        {1: "Diverged: a loss was no longer finite."},
        {1: "Failed: ValueError: the loss has no gradient"},
        {0: "Failed: no message"},
    ]
    assert label(written, 3)[:3] == ["4.  00003", "4", "unfinished after epoch 1"]
    assert label(written, 6)[:3] == ["7.  00006", "no objective", "failed"]
    assert cell(sheet, 6, 1) == cell(sheet, 6, 3) == (255, 255, 255)  # what comes after stays empty


def test_images_that_cannot_be_shown_cost_their_own_cell_alone(
    make_sweep: Callable[..., Any], written: list[Written]
) -> None:
    sweep = make_sweep()
    told(sweep, "00000", [1.0], 30)
    kinds = {"flat": np.zeros((4, 4), np.uint8), "none": np.zeros((0, 4, 4, 1), np.uint8), "float": np.zeros((4, 4, 1))}
    for i, images in enumerate(kinds.values(), 1):
        own = ReplicaReport({"frechet_distance": 1.0 + i}, {}, {"samples": images})
        sweep.trial(f"0000{i}")
        sweep.epoch(f"0000{i}", 1, "completed", report=replace(sweep.report(f"0000{i}", 1), replicas=[own]))
    sheet = contact_sheet(sweep.records)
    assert cell(sheet, 0, 0) == (31, 31, 31)
    unknown, nothing = "The report of this epoch is damaged or missing.", "No images 'samples' in this epoch."
    assert [notes(written, row) for row in range(4)] == [{}, {0: unknown}, {0: nothing}, {0: unknown}]


def test_an_epoch_between_two_columns_is_marked_with_its_number(
    make_sweep: Callable[..., Any], written: list[Written]
) -> None:
    """Columns are the epochs 1, 3, 4, 6, 7 and 9: the last picture of a trial of two stands in the second of them."""
    sweep = make_sweep()
    told(sweep, "00000", [1.0] * 9, 10)
    told(sweep, "00001", [2.0] * 2, 100, "pruned")
    told(sweep, "00002", [3.0] * 3, 200, "pruned")
    sheet = contact_sheet(sweep.records)
    assert [cell(sheet, 0, column)[0] for column in range(6)] == [11, 13, 14, 16, 17, 19]
    assert [cell(sheet, row, column)[0] for row in (1, 2) for column in (0, 1)] == [101, 102, 201, 203]
    marks = [w for w in written if w.text.startswith("epoch ") and w.y > TOP]
    assert [w.text for w in marks] == ["epoch 2"]
    assert 0 < marks[0].x - (MARGIN + LABEL + ROW) < CELL / 2 and CELL / 2 < marks[0].y - (TOP + ROW) < CELL
    assert notes(written, 1) == notes(written, 2) == {2: "Stopped early by the scheduler."}
