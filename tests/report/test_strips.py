"""A contact sheet without images: the curve of each trial among the others, its metrics, and why it has no more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from matplotlib.axes import Axes

from genlab.report.contact_sheet import GAP, HEAD, LABEL, MARGIN, contact_sheet
from genlab.report.strips import PLOT
from genlab.tracking.epoch_reports import ReplicaReport


class Line(NamedTuple):
    """What was drawn in a plot."""

    x: list[float]
    y: list[float]
    own: bool
    axes: Axes


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[Line]:
    """Everything that is plotted, in the order of the rows."""
    found: list[Line] = []
    real = Axes.plot

    def plot(self: Any, x: Any, y: Any, *rest: Any, **more: Any) -> Any:
        drawn = real(self, x, y, *rest, **more)
        found.append(Line([*x], [*y], drawn[0].get_color() not in ("#c4c8ce", "#70767f"), self))
        return drawn

    monkeypatch.setattr(Axes, "plot", plot)
    return found


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float, float]]:
    """Everything that is written on sheets, and where."""
    from PIL import ImageDraw

    written: list[tuple[str, float, float]] = []
    real = ImageDraw.ImageDraw.text

    def write(self: Any, at: Any, text: str, *rest: Any, **more: Any) -> Any:
        written.append((text, *at))
        return real(self, at, text, *rest, **more)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", write)
    return written


def told(
    sweep: Any, name: str, objectives: Sequence[float], ends: str | None = "completed", lr: float = 0.1, **more: float
) -> None:
    """A trial without images, with these objectives; `more` are metrics of its last epoch, of others half of them."""
    sweep.trial(name, lr=lr)
    for epoch, objective in enumerate(objectives, 1):
        last = epoch == len(objectives)
        metrics = {name.replace("__", "/"): value / (1 if last else 2) for name, value in more.items()}
        speeds = {"epoch_seconds": objective, "images_per_second": 1 / (1 + abs(objective))}
        own = ReplicaReport({"frechet_distance": objective, **speeds, **metrics})
        report = replace(sweep.report(name, epoch), replicas=[own])
        sweep.epoch(name, epoch, ends if last else None, report)


def test_each_row_has_its_curve_among_those_of_the_others(
    make_sweep: Callable[..., Any], lines: list[Line], texts: list[tuple[str, float, float]]
) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [9.0, 5.0, 4.0])
    told(sweep, "0001", [8.0, 3.0, 1.0])
    told(sweep, "0002", [9.5], "pruned")
    sheet = contact_sheet(sweep.records)
    curves = [[9.0, 5.0, 4.0], [8.0, 3.0, 1.0], [9.5]]
    own = [line for line in lines if line.own]
    assert [line.y for line in own] == [curves[1], curves[0], curves[2]]  # best first
    assert [line.x for line in own] == [[1, 2, 3], [1, 2, 3], [1]]
    for row, mine in enumerate((1, 0, 2)):
        others = [line.y for line in lines[3 * row : 3 * row + 3] if not line.own]
        assert sorted(others) == sorted(curve for i, curve in enumerate(curves) if i != mine)
    words = [text for text, _, _ in texts]
    assert words[1] == "frechet_distance, lower is better  ·  3 trials, best first  ·  no images"
    assert "frechet_distance by epoch" in words
    pixels = np.asarray(sheet)[:, MARGIN + LABEL : MARGIN + LABEL + PLOT].reshape(-1, 3)
    assert not (pixels == (243, 244, 247)).all(1).any()  # no empty boxes
    assert sheet.tobytes() == contact_sheet(sweep.records).tobytes()


def test_where_every_trial_has_one_epoch_its_place_among_the_others_is_shown(
    make_sweep: Callable[..., Any], lines: list[Line], texts: list[tuple[str, float, float]]
) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [9.0])
    told(sweep, "0001", [2.0])
    contact_sheet(sweep.records)
    assert [(line.x, line.own) for line in lines] == [([9.0], False), ([2.0], True), ([2.0], False), ([9.0], True)]
    assert "frechet_distance" in [text for text, _, _ in texts]


def test_beside_the_curve_stand_the_other_metrics_that_differ(
    make_sweep: Callable[..., Any], texts: list[tuple[str, float, float]]
) -> None:
    """Of the last epoch; not what all trials have alike, and no speeds."""
    sweep = make_sweep()
    told(sweep, "0000", [5.0, 4.0], kid=0.123456, recall=0.5, sizes__real=300.0)
    told(sweep, "0001", [3.0, 1.0], kid=0.25, recall=0.75, sizes__real=300.0)
    contact_sheet(sweep.records)
    right = [(text, y) for text, x, y in texts if x > MARGIN + LABEL + PLOT and y > HEAD]
    assert [text for text, _ in right] == [
        "other metrics of the last epoch",
        *("kid", "0.25", "recall", "0.75"),
        *("kid", "0.1235", "recall", "0.5"),
    ]
    assert right[1][1] == right[2][1] < right[3][1] == right[4][1] < right[5][1]


def test_metrics_that_have_no_room_are_counted(
    make_sweep: Callable[..., Any], texts: list[tuple[str, float, float]]
) -> None:
    sweep = make_sweep()
    for i in range(2):
        told(sweep, f"000{i}", [1.0 + i], lr=i, **{f"m{k:02}": float(i + k) for k in range(40)})
    sheet = contact_sheet(sweep.records)
    named = [text for text, x, y in texts if text.startswith("m") and x > MARGIN + LABEL + PLOT]
    (more,) = {text for text, _, _ in texts if text.endswith(" more")}
    assert len(named) / 2 + int(more.split()[1]) == 40 and len(named) > 20
    places = [(x, y) for text, x, y in texts if x > MARGIN + LABEL + PLOT]
    assert len(set(places)) == len(places)  # none upon another
    ends = sorted({round(y) for text, x, y in texts if x > MARGIN + LABEL + PLOT and y > HEAD + 30})
    assert ends[-1] + 14 <= sheet.height - MARGIN
    for text, x, y in texts:
        if text.startswith("m"):
            assert x < sheet.width and y < sheet.height, text


def test_of_a_trial_that_confirms_test_data_come_first(
    make_sweep: Callable[..., Any], texts: list[tuple[str, float, float]]
) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [2.0, 1.0], kid=1.0)
    told(sweep, "confirm-0000", [2.0, 1.5], kid=2.0, test__kid=3.0)
    contact_sheet(sweep.records)
    right = [text for text, x, y in texts if x > MARGIN + LABEL + PLOT and y > HEAD]
    assert right[-4:] == ["test/kid", "3", "kid", "2"]


def test_why_a_trial_has_no_more_epochs_is_said(
    make_sweep: Callable[..., Any], texts: list[tuple[str, float, float]]
) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [3.0, 2.0, 1.0])
    told(sweep, "0001", [4.0, 3.0], "pruned")
    told(sweep, "0002", [5.0], None)
    told(sweep, "0003", [6.0], None)
    sweep.error("0003", 2)
    told(sweep, "0004", [7.0], "diverged")
    sweep.trial("0005")
    sweep.error("0005", 1)
    sweep.trial("0006")
    contact_sheet(sweep.records)
    said = [text for text, x, y in texts if x >= MARGIN + LABEL and y > HEAD + 30 and " " in text]
    failed = "Failed: ValueError: the loss has no gradient"
    assert sorted(said) == sorted(
        [
            "Stopped early by the scheduler.",
            failed,
            failed,
            "Diverged: a loss was no longer finite.",
            "Not trained yet.",
        ]
    )


def test_the_metrics_of_a_trial_without_a_curve_stand_below_those_of_the_others(
    make_sweep: Callable[..., Any], texts: list[tuple[str, float, float]]
) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [3.0, 2.0], kid=1.0)
    told(sweep, "0001", [4.0], "diverged", kid=2.0)
    contact_sheet(sweep.records)
    (first, second) = [x for text, x, _ in texts if text == "kid"]
    assert first == second
    (why,) = [x for text, x, _ in texts if text.startswith("Diverged: ")]
    assert why < first


def test_a_damaged_report_costs_its_metrics_alone(
    make_sweep: Callable[..., Any], lines: list[Line], texts: list[tuple[str, float, float]]
) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [3.0, 2.0], kid=1.0)
    told(sweep, "0001", [4.0, 3.0], kid=2.0)
    told(sweep, "0002", [5.0, 4.0], kid=3.0)
    path = sweep.records.trials["0001"].epochs[2].report.path
    Path(sweep.records.storage.root, path).write_bytes(b"junk")
    contact_sheet(sweep.records)
    assert [line.y for line in lines if line.own] == [[3.0, 2.0], [4.0, 3.0], [5.0, 4.0]]
    words = [text for text, _, _ in texts]
    assert words.count("The report of the last epoch is damaged or missing.") == 1 and words.count("kid") == 2


def test_of_several_seeds_the_mean_under_its_own_name(
    make_sweep: Callable[..., Any], texts: list[tuple[str, float, float]]
) -> None:
    sweep = make_sweep(seeds=(4, 5))
    for name, kid in (("0000", 1.0), ("0001", 2.0)):
        sweep.trial(name, lr=kid)
        replicas = [ReplicaReport({"frechet_distance": kid, "kid": kid + i, "a/std": kid}) for i in range(2)]
        sweep.epoch(name, 1, "completed", replace(sweep.report(name, 1), replicas=replicas))
    contact_sheet(sweep.records)
    right = [text for text, x, y in texts if x > MARGIN + LABEL + PLOT and y > HEAD]
    assert right[1:] == ["kid", "1.5", "a/std", "1", "kid", "2.5", "a/std", "2"]


def test_rows_are_as_high_as_their_labels(make_sweep: Callable[..., Any]) -> None:
    heights = {}
    for count in (1, 8):
        sweep = make_sweep()
        for i in range(2):
            sweep.trial(f"000{i}", **{f"s{k}": k + i for k in range(count)})
            own = ReplicaReport({"frechet_distance": 1.0 + i})
            sweep.epoch(f"000{i}", 1, "completed", replace(sweep.report(f"000{i}", 1), replicas=[own]))
        heights[count] = contact_sheet(sweep.records).height
    assert heights[8] - heights[1] == 2 * (190 - 130) and GAP == 10


def test_the_best_trial_may_have_fewer_epochs_than_others(make_sweep: Callable[..., Any], lines: list[Line]) -> None:
    """The rows of a grid may differ in their epochs."""
    sweep = make_sweep()
    told(sweep, "0000", [1.0])
    told(sweep, "0001", [5.0, 4.0, 3.0])
    contact_sheet(sweep.records)
    assert {line.axes.get_xlim() for line in lines} == {(0.5, 3.5)}


@pytest.mark.parametrize("epochs", [1, 2])
def test_the_axis_shows_the_objectives_of_all_trials_and_little_else(
    epochs: int, make_sweep: Callable[..., Any], lines: list[Line]
) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [400.0] * epochs)
    told(sweep, "0001", [410.0] * epochs)
    told(sweep, "0002", [300.0] * (epochs - 1) + [-1e9], "diverged")
    contact_sheet(sweep.records)
    drawn = [400.0, 410.0] if epochs == 1 else [300.0, 410.0]
    for line in lines:
        low, high = line.axes.get_xlim() if epochs == 1 else line.axes.get_ylim()
        assert low < drawn[0] and drawn[1] < high and high - low < 1.3 * (drawn[1] - drawn[0])
    diverged = [line for line in lines if line.own][2:]
    assert [line.y for line in diverged] == ([] if epochs == 1 else [[300.0]])


@pytest.mark.parametrize("epochs", [1, 2])
def test_objectives_of_many_decades_have_a_logarithmic_axis(
    epochs: int, make_sweep: Callable[..., Any], lines: list[Line]
) -> None:
    sweep = make_sweep()
    for i, objective in enumerate((0.001, 1.0, 1000.0)):
        told(sweep, f"000{i}", [objective] * epochs)
    contact_sheet(sweep.records)
    for line in lines:
        which, (low, high) = (
            (line.axes.get_xscale(), line.axes.get_xlim())
            if epochs == 1
            else (line.axes.get_yscale(), line.axes.get_ylim())
        )
        assert which == "log" and 1e-4 < low < 0.001 and 1000 < high < 1e4


def test_a_trial_alone_has_its_metrics_beside_its_curve(
    make_sweep: Callable[..., Any], texts: list[tuple[str, float, float]]
) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [3.0, 2.0], kid=1.5, sizes__real=300.0)
    contact_sheet(sweep.records)
    right = [text for text, x, y in texts if x > MARGIN + LABEL + PLOT and y > HEAD]
    assert right[1:] == ["kid", "1.5", "sizes/real", "300"]


def test_a_long_message_stays_on_the_sheet(make_sweep: Callable[..., Any]) -> None:
    for epochs in (0, 2):
        sweep = make_sweep()
        told(sweep, "0000", [3.0, 2.0, 1.0])
        told(sweep, "0001", [3.0] * epochs, None)
        sweep.records.append("error", trial="0001", epoch=epochs + 1, traceback="ValueError: " + "a long word " * 40)
        sheet = np.asarray(contact_sheet(sweep.records))
        assert (sheet[HEAD:, -MARGIN + 4 :] == 255).all() and (sheet[-MARGIN + 2 :] == 255).all()


def test_metrics_that_came_with_the_last_epoch_are_told(
    make_sweep: Callable[..., Any], texts: list[tuple[str, float, float]]
) -> None:
    sweep = make_sweep()
    for i in range(2):
        sweep.trial(f"000{i}", lr=i)
        for epoch in (1, 2):
            metrics = {"frechet_distance": 1.0 + i} | ({"late": 5.0 + i} if epoch == 2 else {"early": 7.0 + i})
            report = replace(sweep.report(f"000{i}", epoch), replicas=[ReplicaReport(metrics)])
            sweep.epoch(f"000{i}", epoch, "completed" if epoch == 2 else None, report)
    contact_sheet(sweep.records)
    right = [text for text, x, y in texts if x > MARGIN + LABEL + PLOT and y > HEAD]
    assert right[1:] == ["late", "5", "late", "6"]


@pytest.mark.parametrize("objectives", [[1e-6, 1.0], [-5.0, 5000.0], [3.0, 3.0], [0.0, 0.0]])
def test_any_objectives_can_be_drawn(objectives: list[float], make_sweep: Callable[..., Any]) -> None:
    for epochs in (1, 2):
        sweep = make_sweep()
        for i, objective in enumerate(objectives):
            told(sweep, f"000{i}", [objective] * epochs)
        assert contact_sheet(sweep.records).width > PLOT


def test_an_objective_of_0_has_its_place(make_sweep: Callable[..., Any], lines: list[Line]) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [1.0, 0.0])
    contact_sheet(sweep.records)
    assert [(line.x, line.y) for line in lines] == [([1, 2], [1.0, 0.0])]
