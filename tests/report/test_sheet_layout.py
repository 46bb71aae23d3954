"""What stands where on a contact sheet, in which colour and how large."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
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
            left >= CELLS and left + width <= sheet.width - LEFT and top >= TOP and top + height <= sheet.height - LEFT
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
    sheet = np.asarray(contact_sheet(whole(make_sweep, True).records))
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
    left, top, right, bottom = (round(edge) for edge in told["Stopped early by the\nscheduler."].box)
    second = np.flatnonzero((sheet[(top + bottom) // 2 + 3 : bottom, left:right] < 200).any((0, 2)))
    assert second[0] > 10 and abs(second[0] - (right - left - 1 - second[-1])) <= 3  # each line in the middle


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
    assert column <= left and right < column + CELL / 2 and top > TOP + ROW + CELL - 40 and bottom < TOP + ROW + CELL


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
        made.trial("0000", a=f"{sweep}")
        sheet = np.asarray(contact_sheet(made.records))
        heads += [sheet[16:42, LEFT : LEFT + 40], sheet[48:64, LEFT : LEFT + 14]]
    assert (heads[0] != heads[2]).any() and (heads[1] != heads[3]).any()


def rows_without_images(make_sweep: Callable[..., Any]) -> Any:
    sweep = make_sweep()
    for i, ends in enumerate(("completed", "pruned", "diverged")):
        sweep.trial(f"000{i}", lr=i)
        for epoch in (1, 2):
            metrics = {"frechet_distance": 1.0 + i + 1 / epoch} | {f"m{k:02}": 10.0 * k + i for k in range(9)}
            report = replace(sweep.report(f"000{i}", epoch), replicas=[ReplicaReport(metrics)])
            sweep.epoch(f"000{i}", epoch, ends if epoch == 2 else None, report)
    return sweep


def test_a_row_without_images_is_a_plot_and_two_columns_of_metrics(
    make_sweep: Callable[..., Any], drawn: Drawn
) -> None:
    sheet = contact_sheet(rows_without_images(make_sweep).records)
    height = 130
    assert sheet.size == (CELLS + 430 + 24 + 2 * 190 + LEFT, TOP + 3 * (height + GAP) + LEFT)
    assert drawn.pasted == [(CELLS, TOP + i * (height + GAP), 430, height) for i in range(3)]
    curve, table = drawn.of("frechet_distance by epoch"), drawn.of("other metrics of the last epoch")
    assert [curve.at, table.at] == [(CELLS + 215, 64 + 15), (CELLS + 454 + 190, 64 + 15)]
    assert (curve.color, table.color) == (INK, INK)
    left = CELLS + 430 + 24
    names = [each for each in drawn.starting("m0") if each.at[1] < TOP + height]
    assert [each.text for each in names] == [f"m0{k}" for k in range(9)]
    assert [each.at for each in names] == [
        (left + k // 8 * 190, TOP + k % 8 * 14.5)
        for k in range(9)  # of a row 130 pixels high
    ]
    values = [drawn.of(f"{10 * k + 1 if k else 1}") for k in (2, 8)]  # of the second trial
    assert {each.color for each in names} == {FAINT} and {each.color for each in values} == {INK}
    assert all(abs(each.box[2] - (left + (k // 8 + 1) * 190 - 10)) <= 1 for each, k in zip(values, (2, 8), strict=True))


def test_why_a_trial_has_no_more_stands_above_its_metrics_in_its_colour(
    make_sweep: Callable[..., Any], drawn: Drawn
) -> None:
    contact_sheet(rows_without_images(make_sweep).records)
    why = drawn.of("Stopped early by the scheduler.")
    top, left = TOP + 130 + GAP, CELLS + 430 + 24
    assert (why.at, why.color) == ((left, top), AMBER)
    below = [each for each in drawn.starting("m0") if top <= each.at[1] < top + 130]
    assert below[0].at == (left, top + 17 + 4) and below[0].box[1] > why.box[3]
    diverged = drawn.starting("Diverged")[0]
    assert diverged.color == RED


def test_a_trial_without_a_curve_has_its_reason_in_its_place(make_sweep: Callable[..., Any], drawn: Drawn) -> None:
    sweep = rows_without_images(make_sweep)
    sweep.trial("0003", lr=3)
    sweep.records.append("error", trial="0003", epoch=1, traceback="ValueError: " + "many words of why " * 30)
    contact_sheet(sweep.records)
    lines = [each for each in drawn.texts if each.at[0] == CELLS and each.at[1] >= TOP + 3 * (130 + GAP)]
    assert len(lines) == 3 and lines[0].text.startswith("Failed: ") and lines[-1].text.endswith(" …")
    assert [each.at[1] - lines[0].at[1] for each in lines] == [0, 17, 34] and {each.color for each in lines} == {RED}


def test_a_damaged_report_is_said_where_its_metrics_would_be(make_sweep: Callable[..., Any], drawn: Drawn) -> None:
    sweep = rows_without_images(make_sweep)
    path = sweep.records.trials["0000"].epochs[2].report.path
    Path(sweep.records.storage.root, path).write_bytes(b"junk")
    contact_sheet(sweep.records)
    said = drawn.of("The report of the last epoch is damaged or missing.")
    assert (said.at, said.color) == ((CELLS + 430 + 24, TOP), FAINT)


def test_metrics_that_have_no_room_are_counted_in_the_last_place(make_sweep: Callable[..., Any], drawn: Drawn) -> None:
    """Two columns of eight lines have room for sixteen."""
    for count, more in ((16, None), (17, "and 2 more")):
        drawn.texts.clear()
        sweep = make_sweep()
        for i in range(2):
            sweep.trial(f"000{i}", lr=i)
            metrics = {"frechet_distance": 1.0 + i} | {f"m{k:02}": 1.0 * k + i for k in range(count)}
            report = replace(sweep.report(f"000{i}", 1), replicas=[ReplicaReport(metrics)])
            sweep.epoch(f"000{i}", 1, "completed", report)
        contact_sheet(sweep.records)
        named = [each for each in (*drawn.starting("m0"), *drawn.starting("m1")) if each.at[1] < TOP + 130]
        assert len(named) == (16 if more is None else 15)
        told = drawn.starting("and ")
        assert [each.text for each in told[:1]] == ([] if more is None else [more])
        if more:
            assert (told[0].at, told[0].color) == ((CELLS + 454 + 190, TOP + 7 * 14.5), FAINT)


class Plotted:
    """The axes of plots, in the order of the rows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.figures: list[Any] = []
        real = Figure.add_axes

        def add(figure: Any, *words: Any, **more: Any) -> Any:
            self.figures.append(figure)
            return real(figure, *words, **more)

        monkeypatch.setattr(Figure, "add_axes", add)


def test_a_plot_has_its_trial_in_its_ends_colour_over_the_others_in_gray(
    make_sweep: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plotted = Plotted(monkeypatch)
    contact_sheet(rows_without_images(make_sweep).records)
    for figure, color in zip(plotted.figures, ("#168048", "#b07000", "#be2828"), strict=True):
        assert figure.get_size_inches() == pytest.approx((4.3, 1.3))
        (axes,) = figure.axes
        *others, own = axes.lines
        assert (to_hex(own.get_color()), own.get_marker(), own.get_markersize()) == (color, "o", 3)
        assert {to_hex(line.get_color()) for line in others} == {"#c4c8ce"} and len(others) == 2
        assert all(line.get_linewidth() < own.get_linewidth() for line in others)
        box = axes.get_window_extent()
        assert (round(box.x0), round(430 - box.x1), round(box.y0), round(130 - box.y1)) == (56, 10, 20, 8)
        assert not axes.spines["top"].get_visible() and axes.get_xlim() == (0.5, 2.5)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        numbers = [text for text in (*axes.get_xticklabels(), *axes.get_yticklabels()) if text.get_text()]
        assert {text.get_fontsize() for text in numbers} == {8} and len(axes.get_yticks()) <= 6
        assert all(float(tick).is_integer() for tick in axes.get_xticks())
        low, high = axes.get_ylim()
        assert (low, high) == pytest.approx((1.5 - 0.08 * 2.5, 4.0 + 0.08 * 2.5))  # the diverged one's last has none


def test_a_place_among_the_others_is_a_dot_among_rings(
    make_sweep: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plotted = Plotted(monkeypatch)
    sweep = make_sweep()
    for i, ends in enumerate(("completed", "pruned", None)):
        trial(sweep, f"000{i}", [1.0 + i], ends, shown=False)
    contact_sheet(sweep.records)
    for figure, color, at in zip(plotted.figures, ("#168048", "#b07000", "#3c64aa"), (1, 2, 3), strict=True):
        (axes,) = figure.axes
        rings, dot = axes.lines
        assert sorted(rings.get_xdata()) == sorted({1, 2, 3} - {at}) and list(dot.get_xdata()) == [at]
        assert not any(rings.get_ydata()) and not any(dot.get_ydata())
        assert rings.get_markerfacecolor() == "none" and to_hex(rings.get_markeredgecolor()) == "#70767f"
        assert to_hex(dot.get_color()) == color and dot.get_markersize() > rings.get_markersize()
        assert {rings.get_linestyle(), dot.get_linestyle()} == {"None"} and {rings.get_marker(), dot.get_marker()} == {
            "o"
        }
        assert list(axes.get_yticks()) == [] and not axes.spines["left"].get_visible()
        low, high = axes.get_ylim()
        assert low < 0 < high and low == -high  # in the middle


def test_the_room_of_a_row_without_images_grows_with_its_label(make_sweep: Callable[..., Any]) -> None:
    for settings, expected in ((1, 130), (4, 132), (8, 190), (20, 190)):
        sweep = make_sweep()
        for i in range(2):
            trial(sweep, f"000{i}", [1.0 + i], shown=False, **{f"s{k}": k + i for k in range(settings)})
        assert contact_sheet(sweep.records).height == TOP + 2 * (expected + GAP) + LEFT


def test_without_any_objective_there_is_no_plot_and_no_heading_for_it(
    make_sweep: Callable[..., Any], drawn: Drawn
) -> None:
    sweep = make_sweep()
    trial(sweep, "0000", [1.0], "diverged", shown=False)
    contact_sheet(sweep.records)
    assert not drawn.pasted and not drawn.starting("frechet_distance by")
    assert [each.text for each in drawn.texts if 64 < each.at[1] < TOP] == ["other metrics of the last epoch"]


def test_a_long_name_of_a_metric_is_cut_before_its_value(make_sweep: Callable[..., Any], drawn: Drawn) -> None:
    sweep = make_sweep()
    for i in range(2):
        sweep.trial(f"000{i}", lr=i)
        metrics = {"frechet_distance": 1.0 + i, "n" * 60: 0.125 + i, "ok": 3.0 + i}
        report = replace(sweep.report(f"000{i}", 1), replicas=[ReplicaReport(metrics)])
        sweep.epoch(f"000{i}", 1, "completed", report)
    contact_sheet(sweep.records)
    name, value = drawn.starting("nnn")[0], drawn.of("0.125")
    assert name.text.endswith("…") and 2 <= value.box[0] - name.box[2] < 20 and drawn.starting("ok")
