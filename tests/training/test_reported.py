"""What a task reports is checked and made ready for the records: numbers, images, curves, states."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from tiny_tasks import Tiny, TinyConfig
from torch import Tensor

from genlab.errors import GenlabError
from genlab.tasks import Config, Context, CustomTask, Pictures, Replica, Report, State, build
from genlab.tasks.images import to_uint8
from genlab.tracking.epoch_reports import EpochReport
from genlab.training import Trial


def reporting(report: Any, split: str = "validation") -> Trial:
    """A trial whose evaluation of a split returns `report`."""
    asked = split

    class Task(Tiny):
        def evaluate(self, networks: Any, split: str, epoch: int) -> Any:
            return report if split == asked else Report({"accuracy": 0.5})

    return Trial(Task, build(TinyConfig, {"epoch_steps": 1}), Context())


class Own(CustomTask):
    """A replica that answers as it was told."""

    Config = Config
    answers: Any = None

    def start(self) -> Any:
        return Answering(self.answers)


class Answering(Replica):
    """Returns what it was given."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers

    def advance(self, epoch: int) -> Any:
        return self.answers["advance"]

    def evaluate(self, split: str) -> Any:
        return self.answers["evaluate"]

    def save(self) -> Any:
        return self.answers["save"]

    def load(self, state: State) -> None:
        pass


def custom(**answers: Any) -> Trial:
    return Trial(type("Told", (Own,), {"answers": answers}), Config(), Context())


NUMBERS: list[tuple[Any, float]] = [
    (torch.tensor(0.5), 0.5),
    (torch.tensor(3), 3.0),
    (torch.tensor(True), 1.0),
    (torch.tensor(0.25, requires_grad=True), 0.25),
    (np.float32(0.5), 0.5),
    (np.int64(7), 7.0),
    (np.bool_(False), 0.0),
    (np.array(0.5), 0.5),
    (True, 1.0),
    (2, 2.0),
    (Fraction(1, 4), 0.25),
    (math.inf, math.inf),
]


@pytest.mark.parametrize(("given", "number"), NUMBERS)
def test_whatever_is_one_number_is_taken_as_one(given: Any, number: float) -> None:
    for trial in (reporting(Report({"value": given})), custom(advance=Report({"value": given}))):
        trial.advance()
        taken = EpochReport.decode(trial.epoch_report("0000", {}).encode(), "report").metrics()["value"]
        assert type(taken) is float and taken == number


GRID = np.zeros((2, 3, 8, 8, 1), np.uint8)
REFUSED: list[tuple[Any, str]] = [
    ({"accuracy": 0.5}, r"returned a dict: it must return a Report, as in `return Report\({\"accuracy\": accuracy}\)`"),
    (None, "returned None: it must return a Report"),
    (Report({"accuracy": torch.ones(8)}), r"a tensor float32 \[8\] as the metric 'accuracy': .* number, say .mean\(\)"),
    (Report({"accuracy": "0.5"}), "the str '0.5' as the metric 'accuracy': it must be a number"),
    (Report({"accuracy": None}), "None as the metric 'accuracy'"),  # type: ignore[dict-item]
    (Report({"accuracy": [0.5]}), "a list of 1 as the metric 'accuracy'"),  # type: ignore[dict-item]
    (Report({"accuracy": torch.tensor(1j)}), "complex64"),  # type: ignore[dict-item]
    (Report({"accuracy": 1j}), "a complex as the metric 'accuracy'"),  # type: ignore[dict-item]
    (Report({"accuracy": np.array("x")}), "as the metric 'accuracy'"),  # type: ignore[dict-item]
    (Report([0.5]), r"a list of 1 as metrics: they must be given by name, as in Report\(metrics={"),  # type: ignore[arg-type]
    (Report({"accuracy (%)": 0.5}), r"reports 'accuracy \(%\)': MLflow takes .*: call it 'accuracy ___'"),
    (Report({"accuracy/": 0.5}), "call it 'accuracy'"),
    (Report({4: 0.5}), "something by the int 4"),  # type: ignore[dict-item]
    (Report({"": 0.5}), "something by the str ''"),
    (Report(images=[np.zeros((2, 2, 1), np.uint8)]), "a list of 1 as images"),  # type: ignore[arg-type]
    (
        Report(images={"x": torch.zeros(2, 3, 8, 8)}),
        r"a tensor float32 \[2, 3, 8, 8\] as images 'x', .*to_uint8\(",
    ),  # type: ignore[dict-item]
    (Report(images={"x": np.zeros((2, 8, 8, 3))}), r"an array float64 \[2, 8, 8, 3\] as images 'x'.*to_uint8"),
    (Report(images={"x": np.zeros((2, 3, 8, 8), np.uint8)}), r"uint8 \[2, 3, 8, 8\] as images 'x'"),
    (Report(images={"x": None}), "None as images 'x'"),  # type: ignore[dict-item]
    (Report(images={0: np.zeros((2, 2, 1), np.uint8)}), "images by the int 0"),  # type: ignore[dict-item]
    (Report(images={"x": Pictures(np.zeros((2, 3, 8, 8)))}), "an array float64 .* as images 'x'"),
    (
        Report(images={"x": Pictures(GRID, rows=("a", "b", "c"))}),
        "images 'x' with 3 labels for 2 rows: there is one for each row, or none",
    ),
    (Report(images={"x": Pictures(GRID, columns=range(2))}), "images 'x' with 2 labels for 3 columns"),
    (Report(images={"x": Pictures(GRID[0], rows=("a",))}), r"labels go with images \[rows, columns, H, W, C\]"),
    (Report(images={"x": Pictures(GRID, rows="ab")}), r"the str 'ab' as rows: .* as in rows=\(\"first\", \"second\"\)"),
    (Report(images={"x": Pictures(GRID, rows={"a", "b"})}), "a set as rows: they must be texts or numbers"),  # type: ignore[arg-type]
    (Report(images={"x": Pictures(GRID, columns=None)}), "None as columns"),  # type: ignore[arg-type]
    (Report(images={"x": Pictures(GRID, rows=("a", None))}), "None among the rows"),  # type: ignore[arg-type]
    (Report(steps={"loss": [0.5]}), r"a list of 1 as the steps 'loss': they must be a numpy array \[steps\]"),  # type: ignore[dict-item]
    (Report(steps={"loss": np.zeros((2, 2))}), r"an array float64 \[2, 2\] as the steps 'loss'"),
]


@pytest.mark.parametrize(("report", "says"), REFUSED)
def test_what_no_record_could_keep_is_refused_by_name(report: Any, says: str) -> None:
    place = r"evaluate\(\) \(.*test_reported.py:\d+ .*Task.evaluate\) .*"
    with pytest.raises(GenlabError, match=place + says):
        reporting(report).advance()
    trial = reporting(report, "test")
    trial.advance()
    with pytest.raises(GenlabError, match=place + says):
        trial.test()
    with pytest.raises(GenlabError, match=r"advance\(\) \(.*test_reported.py:\d+ Answering.advance\) .*" + says):
        custom(advance=report).advance()
    with pytest.raises(GenlabError, match=r"evaluate\(\) \(.*Answering.evaluate\) .*" + says):
        custom(evaluate=report).test()


def test_a_figure_is_made_a_picture_first() -> None:
    from matplotlib.figure import Figure

    with pytest.raises(GenlabError, match=r"a Figure as images 'x', .*from_figure\(figure\) of genlab.tasks.images"):
        reporting(Report(images={"x": Figure()})).advance()  # type: ignore[dict-item]


def test_what_the_messages_advise_is_taken() -> None:
    images: Tensor = torch.rand(2, 3, 8, 8)
    trial = reporting(Report({"accuracy ___": 0.5}, {"x": to_uint8(images)}))
    assert trial.advance()[0].images["x"].shape == (2, 8, 8, 3)


LABELS: list[tuple[Any, tuple[str, ...]]] = [
    (("cat", "dög"), ("cat", "dög")),
    (["0", 1], ("0", "1")),
    ((0.0, 0.05), ("0", "0.05")),
    (np.array([8 / 255, 2.0]), ("0.03137", "2")),
    (torch.tensor([1, 2]), ("1", "2")),
    (range(5, 7), ("5", "6")),
    ((), ()),
]


@pytest.mark.parametrize(("given", "kept"), LABELS)
def test_labels_are_kept_with_their_images(given: Any, kept: tuple[str, ...]) -> None:
    """Also under the name of test data; images without any are kept as before."""
    images = {"x": Pictures(GRID, rows=given), "y": Pictures(GRID.swapaxes(0, 1), columns=given), "z": GRID}
    trial = custom(advance=Report(images=images), evaluate=Report(images=images))
    trial.advance()
    report = trial.epoch_report("0000", {}, trial.test())
    (taken,) = EpochReport.decode(report.encode(), "report").replicas
    for before in ("", "test/"):
        assert taken.labels[f"{before}x"] == (kept, ()) and taken.labels[f"{before}y"] == ((), kept)
        assert f"{before}z" not in taken.labels
        for key in "xyz":
            assert taken.images[f"{before}{key}"].shape == (GRID.swapaxes(0, 1) if key == "y" else GRID).shape


def test_the_rest_of_a_report_stays() -> None:
    told = Report({"value": 1.0}, steps={"loss": np.ones(3, np.float32)}, first_step=6, diverged=torch.tensor(True))  # type: ignore[arg-type]
    (taken,) = custom(advance=told).advance()
    assert taken.diverged is True and taken.first_step == 6 and taken.steps is told.steps
    assert dataclasses.replace(taken, diverged=told.diverged) == told


def test_a_task_of_its_own_starts_a_replica_and_saves_a_state() -> None:
    with pytest.raises(GenlabError, match=r"start\(\) \(.*test_reported.py:\d+ .*\) returned None: it must return"):
        Trial(type("Told", (Own,), {"start": lambda self: None}), Config(), Context())
    with pytest.raises(GenlabError, match=r"save\(\) \(.*Answering.save\) returned a dict: it must return State\("):
        custom(save={"x": torch.ones(1)}).checkpoint()
