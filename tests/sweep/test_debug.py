"""`--debug`: the first trial in this process, with nothing between its author and it."""

from __future__ import annotations

import io
import logging
import os
import pdb
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from one_process import Curve, CurveConfig, CurveReplica, Machine, curve_sweep, machine
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from genlab.errors import GenlabError
from genlab.grids import labelled
from genlab.sweep import debug as debugging
from genlab.sweep.options import Options
from genlab.tasks import ClassifierConfig, FromTask, Pictures, Report

__all__ = ["machine"]


@dataclass(frozen=True, kw_only=True)
class ShowingConfig(CurveConfig):
    wrong: str = ""  # what is wrong with the report
    by_seed: bool = False  # whether the images are brighter by the seed, too


class Showing(Curve):
    """Each epoch shows three gray images, brighter from epoch to epoch."""

    Config = ShowingConfig

    def start(self) -> Any:
        return ShowingReplica(self.config, self.context)


class ShowingReplica(CurveReplica):
    def advance(self, epoch: int) -> Report:
        report = super().advance(epoch)
        brighter = 100 * self.config.seed if self.config.by_seed else 0
        report.images = {"some/samples": np.full((3, 4, 4, 1), 10 * epoch + brighter, np.uint8)}
        report.images["rows"] = Pictures(np.full((2, 1, 8, 8, 1), 90, np.uint8), rows=("cat", "dog"))
        if self.config.wrong == "metric":
            del report.metrics["loss"]
        if self.config.wrong in ("nan", "inf"):
            report.metrics["loss"] = float(self.config.wrong)
        if self.config.wrong == "images":
            report.images["floats"] = np.zeros((3, 4, 4, 1))
        return report


def test_it_trains_the_first_setting_here_and_keeps_its_images_alone(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = curve_sweep(task=Showing, settings={"level": 7.0})
    folder = Path(machine.storage.url) / "debug" / "curve"
    folder.mkdir(parents=True)
    (folder / "epoch_0009_some_samples.png").write_text("of the last time")
    assert machine.run(sweep, debug=True, set=("level=8,9",)) == 0
    said = capsys.readouterr().out
    assert [line.split("  ")[0] for line in said.splitlines() if line.startswith("epoch")] == [
        f"epoch {n}/3" for n in (1, 2, 3)
    ]
    assert "loss 11" in said and "loss 9" in said  # 8 and 3, 8 and 1
    assert sorted(os.listdir(folder)) == [
        f"epoch_000{n}_{key}.png" for n in (1, 2, 3) for key in ("rows", "some_samples")
    ]
    labelled_rows = labelled(np.full((2, 1, 8, 8, 1), 90, np.uint8), ("cat", "dog"))
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "epoch_0002_rows.png")), labelled_rows)
    assert np.asarray(Image.open(folder / "epoch_0002_some_samples.png"))[3, 3].tolist() == [20, 20, 20]
    assert machine.storage.names() == ["debug"] and machine.joined == [] and machine.pools == []
    (tried,) = machine.tried
    assert not tried.order["step"] and tried.stopped


@pytest.mark.parametrize(("gpus", "device"), [(0.0, "cpu"), (None, "cuda:0"), (0.5, "cuda:0")])
def test_it_trains_where_lanes_would(
    gpus: float | None, device: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str | None]] = []

    def start(task: Any) -> Any:
        seen.append((task.context.device, task.context.data_root))
        return ShowingReplica(task.config, task.context)

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr(Showing, "start", start)
    assert machine.run(curve_sweep(task=Showing), debug=True, gpus_per_worker=gpus, data_root="/data") == 0
    assert seen == [(device, "/data")]


def test_what_the_task_raises_comes_as_it_is(machine: Machine) -> None:
    with pytest.raises(ZeroDivisionError, match="the curve breaks") as raised:
        machine.run(curve_sweep(settings={"fail_at": 2}), debug=True)
    assert raised.traceback[-1].name == "advance"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("metric", "did not report loss, but seen"),
        ("images", "float64 [3, 4, 4, 1] as image"),
        ("nan", "loss is nan in epoch 1"),
        ("inf", "loss is inf in epoch 1"),
    ],
)
def test_what_the_contract_forbids_is_refused(
    machine: Machine, wrong: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert machine.run(curve_sweep(task=Showing, settings={"wrong": wrong}), debug=True) == 2
    assert why in capsys.readouterr().err


def test_one_that_diverges_ends(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert machine.run(curve_sweep(settings={"nan_at": 2}), debug=True) == 2
    seen = capsys.readouterr()
    assert "epoch 2/3" in seen.out and "epoch 3/3" not in seen.out and "diverged in epoch 2" in seen.err


def test_one_that_diverges_need_not_report_what_judges_it(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """It was not evaluated."""
    sweep = curve_sweep(task=Showing, settings={"nan_at": 1, "wrong": "metric"})
    assert machine.run(sweep, debug=True) == 2
    assert capsys.readouterr().err == "curve: it diverged in epoch 1: a loss, a score or a weight was not finite\n"


def test_images_are_those_of_the_first_seed(machine: Machine) -> None:
    sweep = curve_sweep(task=Showing, settings={"by_seed": True})
    assert machine.run(sweep, debug=True, seeds=2) == 0
    picture = Image.open(Path(machine.storage.url) / "debug" / "curve" / "epoch_0001_some_samples.png")
    assert np.asarray(picture)[3, 3].tolist() == [10, 10, 10]


def test_a_task_that_no_lane_could_load_trains_here_and_that_is_said(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(self: Any) -> None:
        raise GenlabError("a lane cannot load the task")

    monkeypatch.setattr("one_process.Elsewhere.answer", refuse)
    assert machine.run(curve_sweep(), debug=True) == 2
    seen = capsys.readouterr()
    lines = seen.out.splitlines()
    assert lines.index("here it trains, but a lane cannot load the task") == 1 and lines[-1].startswith("epoch 3/3")
    assert seen.err == "curve: a lane cannot load the task\n"


def test_ctrl_c_ends_it(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Any, epoch: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(CurveReplica, "advance", interrupted)
    assert machine.run(curve_sweep(), debug=True) == 130


@dataclass(frozen=True, kw_only=True)
class JudgedConfig(CurveConfig):
    def prepare(self) -> Any:
        return {"judge": FromTask(ClassifierConfig(epochs=1, epoch_steps=2, width=8))}


class Judged(Curve):
    Config = JudgedConfig

    def start(self) -> Any:
        assert set(self.context.prepared["judge"].networks) == {"classifier"}
        return super().start()


def test_it_prepares_what_the_trial_needs_and_says_so(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    handlers = logging.getLogger("genlab").handlers[:]
    assert machine.run(curve_sweep(task=Judged), debug=True) == 0
    assert logging.getLogger("genlab").handlers == handlers  # a notebook would have each line twice the next time
    assert capsys.readouterr().out.startswith("preparing what trials need once: judge (classifier)\nepoch 1/3")
    assert len(machine.storage.names("prepared")) == 1


class First(Curve):
    @property
    def data(self) -> Any:
        return {}


@dataclass(frozen=True, kw_only=True)
class SecondConfig(CurveConfig):
    def prepare(self) -> Any:
        return {"first": FromTask(CurveConfig(epochs=1), First)}


class Second(Curve):
    Config = SecondConfig


def test_what_it_prepared_by_a_task_of_the_script_is_there_for_the_sweep(machine: Machine) -> None:
    assert machine.run(curve_sweep(task=Second), debug=True) == 0
    (made,) = machine.storage.names("prepared")
    assert machine.run(curve_sweep(task=Second), grid=True) == 0
    assert machine.storage.names("prepared") == [made]


def test_the_bar_follows_every_step(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[tuple[int, str]] = []

    def count(steps: int, bar: Progress, title: str) -> Any:
        counted.append((steps, title))
        return range(steps)

    monkeypatch.setattr(debugging, "_counted", count)
    settings = {"epochs": 2, "epoch_steps": 3, "width": 8}
    sweep = curve_sweep(task="classifier", metric="accuracy/clean", mode="max", settings=settings, grid=())
    assert machine.run(sweep, debug=True, seeds=2) == 0
    assert counted == [(3, "epoch 1"), (3, "epoch 1"), (3, "epoch 2"), (3, "epoch 2")]


def test_the_bar_counts_to_the_last_step() -> None:
    with Progress(console=Console(file=io.StringIO()), auto_refresh=False) as bar:
        steps = [(step, bar.tasks[0].completed) for step in debugging._counted(4, bar, "epoch 1")]
    assert [step for step, _ in steps] == [0, 1, 2, 3] and all(seen <= step for step, seen in steps)


def test_a_breakpoint_takes_the_bar_away_and_stops_at_its_own_line(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[str] = []

    class Debugger:
        def set_trace(self, frame: Any) -> None:
            stopped.append(frame.f_code.co_name)

    monkeypatch.setattr(pdb, "Pdb", Debugger)
    monkeypatch.delenv("PYTHONBREAKPOINT", raising=False)
    monkeypatch.setattr(sys, "breakpointhook", sys.__breakpointhook__)
    bar = Progress(disable=True)
    monkeypatch.setattr(bar, "stop", lambda: stopped.append("bar"))
    with debugging._breakpoints(bar):
        breakpoint()
        assert stopped == ["bar", "test_a_breakpoint_takes_the_bar_away_and_stops_at_its_own_line"]
        monkeypatch.setenv("PYTHONBREAKPOINT", "0")  # as everywhere: none
        breakpoint()
    assert stopped[2:] == ["bar"] and sys.breakpointhook is sys.__breakpointhook__


@pytest.mark.parametrize("other", [{"resume": "latest"}, {"dry_run": True}])
def test_it_goes_alone(other: Any) -> None:
    with pytest.raises(ValueError, match="--debug trains the first setting"):
        Options(debug=True, **other)


def test_accepting_code_needs_a_resume() -> None:
    with pytest.raises(ValueError, match="--accept-code goes with --resume"):
        Options(accept_code=True)
    with pytest.raises(ValueError, match="--retry-failed goes with --resume"):
        Options(retry_failed=True)
