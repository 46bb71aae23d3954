"""What stands where on a contact sheet, in which colour and how large."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sheets import Drawn, assert_apart, record
from test_contact_sheet import plain

from genlab.report.contact_sheet import contact_sheet
from genlab.tracking.epoch_reports import ReplicaReport

INK, FAINT, LINE, EMPTY, WHITE = (28, 32, 38), (112, 118, 127), (217, 220, 225), (243, 244, 247), (255, 255, 255)
GREEN, AMBER, RED = (22, 128, 72), (176, 112, 0), (190, 40, 40)
LEFT, CELLS, TOP, CELL, GAP = 24, 24 + 250, 64 + 30, 190, 10  # pixels: margin; first cell, and its top; its size
ROW = CELL + GAP


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    return record(monkeypatch)


def trial(
    sweep: Any, name: str, objectives: list[float], ends: str | None = "completed", shown: bool = True, **settings: Any
) -> None:
    """With images of one gray level, or with none."""
    sweep.trial(name, **settings)
    for epoch, objective in enumerate(objectives, 1):
        images = {"samples": plain(100)} if shown else {}
        own = ReplicaReport({"frechet_distance": objective, "kid": objective / 3, "recall": 1 / objective}, {}, images)
        last = ends if epoch == len(objectives) else None
        sweep.epoch(name, epoch, last, replace(sweep.report(name, epoch), replicas=[own]))


def whole(make_sweep: Callable[..., Any], shown: bool) -> Any:
    """A sweep with a row of each kind."""
    sweep = make_sweep()
    many = {f"setting_{i}": i for i in range(12)}
    trial(sweep, "0000", [9.0, 5.0, 3.0, 2.0, 1.0, 0.5, 0.4, 0.3, 0.2], shown=shown, lr=0.1, **many)
    trial(sweep, "0001", [9.0, 6.0], "pruned", shown, lr=0.25, note="ä long note " * 9)
    trial(sweep, "0002", [9.0], None, shown, lr=0.3)
    sweep.records.append("error", trial="0002", epoch=2, traceback="ValueError: " + "many words of why " * 30)
    trial(sweep, "confirm-0000", [9.0, 1.0], shown=shown, lr=0.1, depth=3)
    return sweep


@pytest.mark.parametrize("shown", [True, False])
def test_no_text_lies_upon_another_or_leaves_the_sheet(
    shown: bool, make_sweep: Callable[..., Any], drawn: Drawn
) -> None:
    sheet = contact_sheet(whole(make_sweep, shown).records)
    assert_apart([each for each in drawn.texts if each.text], sheet.width - LEFT + 1, sheet.height)
    for each in drawn.texts:
        assert each.at[0] >= LEFT
    for left, top, width, height in drawn.pasted:  # pictures stand right of the labels, and within the sheet
        assert (
            CELLS <= left and left + width <= sheet.width - LEFT and TOP <= top and top + height <= sheet.height - LEFT
        )


def test_the_head_names_the_sweep_in_large_letters_and_below_it_what_is_shown(
    make_sweep: Callable[..., Any], drawn: Drawn
) -> None:
    sweep = make_sweep("lsgan")
    trial(sweep, "0000", [2.0, 1.0])
    sheet = contact_sheet(sweep.records)
    name, words = drawn.texts[:2]
    assert (name.text, name.at, name.color) == (sweep.records.name, (LEFT, 16), INK)
    assert (words.at[0], words.color) == (LEFT, FAINT)
    assert name.size == max(each.size for each in drawn.texts) and words.size < name.size
    assert name.box[3] < words.box[1] and words.box[3] < 64 + 5  # one below the other, above the columns
    heads = [drawn.of("epoch 1"), drawn.of("epoch 2")]
    assert {each.color for each in heads} == {INK} and all(64 < each.box[1] < each.box[3] < TOP for each in heads)
    assert [each.at for each in heads] == [(CELLS + CELL / 2 + i * ROW, 64 + 15) for i in range(2)]
    for each in heads:
        assert abs((each.box[0] + each.box[2]) / 2 - each.at[0]) <= 1  # its middle is there
    assert sheet.size == (CELLS + 2 * ROW - GAP + LEFT, TOP + ROW + LEFT)


def test_a_faint_line_stands_between_two_rows(make_sweep: Callable[..., Any], drawn: Drawn) -> None:
    sweep = make_sweep()
    for i in range(3):
        trial(sweep, f"000{i}", [1.0 + i])
    sheet = contact_sheet(sweep.records)
    assert {line.color for line in drawn.lines} == {LINE}
    assert {line.box for line in drawn.lines} == {
        (LEFT, TOP + i * ROW - GAP / 2, sheet.width - LEFT, TOP + i * ROW - GAP / 2) for i in range(3)
    }


def test_a_label_says_most_in_the_largest_letters(make_sweep: Callable[..., Any], drawn: Drawn) -> None:
    """Its place and name, its objective, how it ended in that end's colour, then faint names and their values."""
    sweep = make_sweep()
    trial(sweep, "0000", [1.0], lr=0.1, depth=1)
    trial(sweep, "0001", [2.0], "pruned", lr=0.25, depth=2)
    contact_sheet(sweep.records)
    name, ended = drawn.of("2.  0001"), drawn.of("pruned after epoch 1")
    value, two = (each for each in drawn.texts if each.text == "2")
    assert [each.at for each in (name, value, ended)] == [(LEFT + 14, TOP + ROW + y) for y in (0, 24, 52)]
    assert [each.color for each in (name, value, ended)] == [INK, INK, AMBER]
    assert value.size > name.size > ended.size > drawn.of("0.25").size
    names, values = drawn.starting("lr")[1], drawn.of("0.25")
    assert (names.color, values.color) == (FAINT, INK) and names.at == (LEFT + 14, TOP + ROW + 74)
    assert values.at[1] == names.at[1]
    depth = drawn.starting("depth")[1]
    assert values.at[0] == two.at[0] and 4 < two.at[0] - depth.box[2] < 12  # in a column, right of the longest name
    assert 12 < depth.at[1] - names.at[1] < 17
    bars = [area for area in drawn.areas if area.box[0] == LEFT]
    assert [area.color for area in bars] == [GREEN, AMBER]
    assert [area.box for area in bars] == [(LEFT, y, LEFT + 3, y + CELL - 1) for y in (TOP, TOP + ROW)]


def test_how_many_settings_more_there_are_stands_in_the_last_line(make_sweep: Callable[..., Any], drawn: Drawn) -> None:
    sweep = make_sweep()
    for i in range(2):
        trial(sweep, f"000{i}", [1.0 + i], **{f"s{k}": 10 * i + k for k in range(10)})
    contact_sheet(sweep.records)
    more = drawn.starting("and 3 more")[0]
    assert more.color == FAINT and more.at == (LEFT + 14, TOP + 74 + 7 * 14.5)


def test_values_beside_a_name_that_takes_the_label_are_cut(make_sweep: Callable[..., Any], drawn: Drawn) -> None:
    """Of a name and a value each has the room that the other leaves; neither passes the label's end."""
    sweep = make_sweep()
    for i in range(2):
        trial(sweep, f"000{i}", [1.0 + i], short="v" * 80, other=f"{i}" * 80)
    contact_sheet(sweep.records)
    for each in drawn.starting("0000"):
        assert each.text.endswith("…") and CELLS - 2.5 * GAP < each.box[2] <= CELLS - GAP
    names = drawn.starting("other")
    assert len(names) == 2 and names[0].text == "other"


def test_what_confirms_has_a_heading_of_its_own(make_sweep: Callable[..., Any], drawn: Drawn) -> None:
    sweep = make_sweep()
    trial(sweep, "0000", [1.0])
    trial(sweep, "confirm-0000", [2.0])
    sheet = contact_sheet(sweep.records)
    head = drawn.of("trained again on fresh seeds")
    assert head.color == INK and head.at == (LEFT, TOP + ROW + 15)
    assert abs((head.box[1] + head.box[3]) / 2 - head.at[1]) <= 3
    assert drawn.of("1.  confirm-0000").at == (LEFT + 14, TOP + ROW + 30)
    assert sheet.height == TOP + 2 * ROW + 30 + LEFT


def test_an_explanation_fills_its_cell_with_faint_words_in_the_middle(
    make_sweep: Callable[..., Any], drawn: Drawn
) -> None:
    contact_sheet(whole(make_sweep, True).records)
    notes = [area for area in drawn.areas if area.color == EMPTY]
    assert len(notes) == 3
    told = {}
    for area in notes:
        left, top, right, bottom = area.box
        assert (right - left, bottom - top) == (CELL - 1, CELL - 1) and (left - CELLS) % ROW == 0
        (text,) = [each for each in drawn.texts if each.at == (left + CELL / 2, top + CELL / 2)]
        told[text.text.partition(":")[0]] = text
        assert text.color == FAINT
        assert left < text.box[0] and text.box[2] <= right and top < text.box[1] and text.box[3] <= bottom
        assert (
            abs((text.box[0] + text.box[2]) / 2 - text.at[0]) <= 3 >= abs((text.box[1] + text.box[3]) / 2 - text.at[1])
        )
    assert set(told) == {"Failed", "Stopped early by the\nscheduler.", "Ended before this epoch."}
    assert told["Failed"].text.count("\n") == 5  # of more there is no room


def test_the_epoch_of_a_picture_in_a_later_column_is_flagged_within_it(
    make_sweep: Callable[..., Any], drawn: Drawn
) -> None:
    sweep = make_sweep()
    trial(sweep, "0000", [1.0] * 9)
    trial(sweep, "0001", [2.0] * 2, "pruned")
    contact_sheet(sweep.records)
    flag = drawn.of("epoch 2")
    (area,) = [area for area in drawn.areas if area.color == INK]
    left, top, right, bottom = area.box
    assert flag.color == WHITE
    assert left < flag.box[0] < flag.box[2] < right and top < flag.box[1] < flag.box[3] < bottom
    column = CELLS + ROW  # of epoch 3
    assert column <= left and right < column + CELL / 2 and TOP + ROW + CELL - 40 < top and bottom < TOP + ROW + CELL


def test_an_empty_sweep_says_so_below_its_head(make_sweep: Callable[..., Any], drawn: Drawn) -> None:
    sheet = contact_sheet(make_sweep().records)
    said = drawn.of("No trial has begun.")
    assert said.color == FAINT and said.at == (LEFT, TOP)
    assert_apart(drawn.texts, sheet.width, sheet.height)
    assert "0 trials, best first" in drawn.texts[1].text


def test_one_trial_is_no_trials(make_sweep: Callable[..., Any], drawn: Drawn) -> None:
    sweep = make_sweep()
    trial(sweep, "0000", [1.0])
    contact_sheet(sweep.records)
    assert "  ·  1 trial, best first  ·  " in drawn.texts[1].text


def test_a_name_of_other_letters_is_drawn_with_them(make_sweep: Callable[..., Any]) -> None:
    """Pillow's own letters have one box for each letter that they lack."""
    heads = []
    for sweep in ("ελλ", "Жжж"):
        made = make_sweep(sweep, metric=f"{sweep} m")
        made.trial("0000", **{"a": f"{sweep}"})
        sheet = np.asarray(contact_sheet(made.records))
        heads += [sheet[16:42, LEFT : LEFT + 40], sheet[48:64, LEFT : LEFT + 14]]
    assert (heads[0] != heads[2]).any() and (heads[1] != heads[3]).any()
