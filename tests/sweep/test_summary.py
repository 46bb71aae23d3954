"""What a sweep says at its end, as a person reads it, and what it exits with."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from made_sweeps import manifest
from PIL import Image

from genlab.errors import StorageError
from genlab.report.contact_sheet import contact_sheet
from genlab.report.curves import curves
from genlab.sweep import Sweep, choice, log_uniform
from genlab.sweep import summary as module
from genlab.sweep.plan import Plan, make
from genlab.sweep.summary import summarize
from genlab.sweep.view import View
from genlab.tasks import Config, CustomTask, Replica, State
from genlab.tracking.epoch_reports import EpochReport, ReplicaReport
from genlab.tracking.events import KINDS
from genlab.tracking.records import Records, TrialRecord
from genlab.tracking.storage import FileName, Storage
from genlab.training import Checkpoint

DATABASE = "sqlite:////somewhere/mlflow.db"
TRACE = "Traceback (most recent call last):\n  File 3\nValueError: the toy breaks\n\n"


@dataclass(frozen=True, kw_only=True)
class WideConfig(Config):
    """A field of every kind."""

    lr: float = 0.01
    dataset: str = "digits"
    widths: tuple[int, ...] = (4,)
    note: str | None = "-"
    flip: bool = False
    ngf: int = 8

    def reports(self) -> tuple[str, ...]:
        return ("loss",)


class Wide(CustomTask):
    """What is not trained here."""

    Config = WideConfig

    def start(self) -> Replica:
        raise NotImplementedError


WIDE = Sweep(
    name="wide",
    task=Wide,
    metric="loss",
    settings={"epochs": 4, "lr": 0.02},
    space={"lr": log_uniform(1e-4, 1e-1), "flip": choice(False, True), "ngf": choice(8, 16)},
    conditions={"ngf": {"flip": [True]}},
    grid=[{"epochs": 1, "lr": 0.05}, {"epochs": 9, "note": None}],
)


class Ended:
    """A sweep whose trials are told by hand, and its end."""

    def __init__(
        self, folder: Path, sweep: Sweep = WIDE, options: Mapping[str, Any] | None = None, mode: str = "min"
    ) -> None:
        self.plan: Plan = make(replace(sweep, mode=mode), options or {}, "toy.py")
        self.storage = Storage(str(folder))
        asked = manifest("toy", metric=self.plan.sweep.metric, mode=self.plan.sweep.mode)
        self.records = Records.create(self.storage, asked)
        self.notified: list[int] = []
        self.drain: Any = SimpleNamespace(
            notify=self.notified.append, close=lambda: 0, problem=None, page=None, notes=[]
        )

    def trial(
        self,
        name: str,
        *objectives: float | None,
        ends: str | None = "completed",
        test: float | None = None,
        settings: Mapping[str, Any] | None = None,
        error: str = TRACE,
        images: Mapping[str, np.ndarray] | None = None,
    ) -> TrialRecord:
        """A trial with these objectives, one an epoch; `test` is read at the last one."""
        settings = {"lr": 0.01} if settings is None else settings
        config = {"epochs": max(1, len(objectives)), "seed": 0, **settings}
        self.records.append("trial", trial=name, settings=settings, config=config, distributions={})
        for epoch, objective in enumerate(objectives, 1):
            last = epoch == len(objectives)
            metrics = {"loss": 7.0 if objective is None else objective}
            metrics |= {"test/loss": test} if last and test is not None else {}
            report = EpochReport(name, epoch, 0.0, 0, (0,), [ReplicaReport(metrics, images=images or {})])
            path = f"trials/{name}/epoch_{epoch:04d}-a"
            content: dict[str, Any] = {"objective": objective, "state": FileName(f"{path}.state.safetensors", 1, "0")}
            content["report"] = self.records.storage.write(f"{path}.report.safetensors", report.encode())
            content["ends"] = ends if last and ends != "failed" else None
            self.records.append("epoch", trial=name, epoch=epoch, **content)
        if ends == "failed":
            self.records.append("error", trial=name, epoch=len(objectives) + 1, traceback=error)
        return self.records.trials[name]

    def end(
        self,
        capsys: pytest.CaptureFixture[str],
        stopped: str | None = None,
        uri: str = DATABASE,
        script: str = "python sweeps/toy.py",
    ) -> tuple[int, list[str]]:
        """The exit code, and the lines that are said."""
        capsys.readouterr()
        view = View(self.plan, self.records)
        code = summarize(self.plan, self.records, self.storage, self.drain, view, stopped, uri, script)
        return code, capsys.readouterr().out.splitlines()

    @property
    def summary(self) -> dict[str, Any]:
        """What the end event holds."""
        assert isinstance(self.records.events[-1], KINDS["end"])
        return msgspec.to_builtins(self.records.events[-1].summary)


@pytest.fixture(autouse=True)
def typed_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `uv run`, into a narrow window: commands are not broken into lines."""
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)
    monkeypatch.setenv("COLUMNS", "40")


def said(lines: list[str], start: str) -> str:
    """What follows `start`, with which one line begins."""
    (line,) = [line for line in lines if line.startswith(start)]
    return line.removeprefix(start)


def test_the_page_at_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A trial that did not train to its end is never best, nor is an epoch other than the last one."""
    ended = Ended(tmp_path / "my results")
    ended.trial("0000", 0.9, 0.8)
    ended.trial("0001", 0.9, 1.1, settings={"lr": 0.02})
    ended.trial("0002", 0.1, 0.6, settings={"lr": 0.0123456789012345})
    ended.trial("0003", 0.05, ends="pruned", settings={"lr": 0.03})
    ended.trial("0004", 0.3, ends="failed", settings={"lr": 0.04})
    ended.trial("0005", 0.3, None, ends="diverged", settings={"lr": 0.05})
    ended.trial("0006", 0.4, ends=None, settings={"lr": 0.06})
    there: list[bool] = []
    pictures = {"contact_sheet.png", "curves.png"}
    ended.drain.notify = lambda n: there.append(pictures <= {*ended.records.storage.names()})
    code, lines = ended.end(capsys)
    assert there == [True]  # MLflow gets it with the end
    name, storage = ended.records.name, f"{tmp_path}/my results"
    command = f"python sweeps/toy.py --storage '{storage}' --trials 1 --set lr=0.0123456789012345"
    checkpoint = f"{storage}/{name}/trials/0002/epoch_0002-a.state.safetensors"
    assert code == 0
    assert lines == [
        "",
        f"{name}: 7 trials (3 completed, 1 cut, 1 diverged, 1 failed, 1 pruned)",
        "1 trial failed: 0004",
        "  ValueError: the toy breaks",
        f"  the whole traceback: genlab show '{storage}/{name}/trials/0004'",
        "best: trial 0002, loss 0.6",
        "gain over the default setting, after as many epochs: 0.2 (25 %), from 0.8",
        f"train it again: {command}",
        f"checkpoint: {checkpoint}",
        "pruned while it was ahead of the best: trial 0003, loss 0.05 at epoch 1, against 0.1",
        f"train it to its end: python sweeps/toy.py --storage '{storage}' --trials 1 --set lr=0.03",
        f"contact sheet: {storage}/{name}/contact_sheet.png",
        f"curves: {storage}/{name}/curves.png",
        f"review: mlflow ui --backend-store-uri {DATABASE}",
    ]
    assert ended.summary == {
        "metric": "loss",
        "mode": "min",
        "trials": 7,
        "ends": {"completed": 3, "cut": 1, "diverged": 1, "failed": 1, "pruned": 1},
        "best": "0002",
        "objective": 0.6,
        "gain": pytest.approx(0.2),
        "default_objective": 0.8,
        "command": command,
        "checkpoint": checkpoint,
        "ahead": {
            "trial": "0003",
            "epoch": 1,
            "objective": 0.05,
            "command": f"python sweeps/toy.py --storage '{storage}' --trials 1 --set lr=0.03",
        },
        "confirmed": [],
    }
    drawn = Image.open(f"{storage}/{name}/contact_sheet.png")
    assert drawn.format == "PNG"
    np.testing.assert_array_equal(np.asarray(drawn), np.asarray(contact_sheet(ended.records)))
    drawn = Image.open(f"{storage}/{name}/curves.png")
    np.testing.assert_array_equal(np.asarray(drawn), np.asarray(curves(ended.records)))


@pytest.mark.parametrize(
    ("mode", "default", "best", "gain"),
    [
        ("min", 0.8, 0.6, "0.2 (25 %), from 0.8"),
        ("max", 0.8, 1.0, "0.2 (25 %), from 0.8"),
        ("min", -0.8, -1.0, "0.2 (25 %), from -0.8"),
        ("max", -0.8, -0.6, "0.2 (25 %), from -0.8"),
        ("min", 0.8, 0.7984, "0.0016 (0.2 %), from 0.8"),
        ("min", 0.0, -0.5, "0.5, from 0"),
        ("max", 0.0, 12345678.0, "1.235e+07, from 0"),
        ("min", 0.5, 0.0, "0.5 (100 %), from 0.5"),
        ("max", 0.1, 1.09, "0.99 (990 %), from 0.1"),
        ("max", 0.1, 1.2, "1.1, from 0.1"),  # so near to zero that a share says nothing
        ("max", -0.8, 0.1, "0.9, from -0.8"),  # a quantity that can be negative has no shares across zero
        ("min", 0.02, -0.001, "0.021, from 0.02"),
    ],
)
def test_a_gain_is_positive_whatever_is_better(
    mode: str, default: float, best: float, gain: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worse = default + (0.5 if mode == "min" else -0.5)
    ended = Ended(tmp_path, mode=mode)
    ended.trial("0000", worse, default)
    ended.trial("0001", worse, best, settings={"lr": 0.02})
    ended.trial("0002", best, worse, settings={"lr": 0.03})  # it was as good once
    code, lines = ended.end(capsys)
    assert code == 0 and said(lines, "gain over the default setting, after as many epochs: ") == gain
    assert said(lines, "best: ") == f"trial 0001, loss {best:.4g}"
    assert said(lines, "train it again: ").endswith("--set lr=0.02")
    assert said(lines, "checkpoint: ").endswith("/trials/0001/epoch_0002-a.state.safetensors")


@pytest.mark.parametrize("sign", [1, -1])
def test_no_setting_beat_the_default(sign: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended = Ended(tmp_path, mode="min" if sign == 1 else "max")
    ended.trial("0000", sign * 0.5)
    ended.trial("0001", sign * 0.7, settings={"lr": 0.02})
    ended.trial("0002", sign * 0.5, settings={"lr": 0.03})  # the same is not better
    code, lines = ended.end(capsys)
    assert code == 0 and "no setting that was tried beat the default one" in lines
    assert said(lines, "best: ").startswith("trial 0000") and not any(line.startswith("gain") for line in lines)
    assert ended.summary["gain"] == 0


@pytest.mark.parametrize("ends", ["failed", "pruned", None])
def test_without_a_default_that_ran_to_its_end_no_gain_is_said(
    ends: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = Ended(tmp_path)
    ended.trial("0000", 0.1, ends=ends)
    ended.trial("0001", 0.7, settings={"lr": 0.02})
    ended.trial("0002", 0.9, settings={"lr": 0.03})
    code, lines = ended.end(capsys)
    assert code == 0 and said(lines, "best: ").startswith("trial 0001")
    assert ("1 trial failed: 0000" in lines) == (ends == "failed")
    assert not any(line.startswith(("gain", "no setting")) for line in lines) and ended.summary["gain"] is None


@pytest.mark.parametrize("sign", [1, -1])
def test_fresh_seeds_decide_against_the_search(sign: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended = Ended(tmp_path, mode="min" if sign == 1 else "max")
    ended.trial("0000", sign * 0.8)
    ended.trial("0001", sign * 0.4, settings={"lr": 0.02})  # best, thinks the search
    ended.trial("0002", sign * 0.5, settings={"lr": 0.03})
    ended.trial("0003", sign * 0.6, settings={"lr": 0.04})
    ended.trial("confirm-0000", sign * 0.95, test=sign * 0.2)
    ended.trial("confirm-0001", sign * 0.9, test=sign * 0.125, settings={"lr": 0.02})  # the test data decide nothing
    ended.trial("confirm-0002", sign * 0.2, None, ends="diverged", test=sign * 0.1, settings={"lr": 0.03})
    ended.trial("confirm-0003", sign * 0.7, test=sign * 0.75, settings={"lr": 0.04})
    damaged = ended.records.trials["confirm-0000"].epochs[1].report.path
    ended.records.storage.write(damaged, b"junk")
    code, lines = ended.end(capsys)
    minus = "" if sign == 1 else "-"
    assert code == 0 and lines[1].endswith(": 4 trials (4 completed)")
    assert said(lines, "best: ") == f"trial 0003, loss {minus}0.6"
    assert said(lines, "gain over the default setting: ") == f"0.2 (25 %), from {minus}0.8"  # an epoch each
    assert [line for line in lines if line.startswith("on fresh seeds")] == [
        f"on fresh seeds: trial 0003, loss {minus}0.7, on the test data {minus}0.75",
        f"on fresh seeds: trial 0001, loss {minus}0.9, on the test data {minus}0.125",
        f"on fresh seeds: trial 0000, loss {minus}0.95",
    ]
    assert said(lines, "train it again: ").endswith("--set lr=0.04")
    assert said(lines, "checkpoint: ").endswith("/trials/0003/epoch_0001-a.state.safetensors")
    confirmed = [(one["trial"], one["objective"], one["test"]) for one in ended.summary["confirmed"]]
    assert confirmed[0] == ("confirm-0003", sign * 0.7, sign * 0.75) and confirmed[2][2] is None


@pytest.mark.parametrize("sign", [1, -1])
def test_a_setting_that_fresh_seeds_prefer_may_have_lost_in_the_search(
    sign: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = Ended(tmp_path, mode="min" if sign == 1 else "max")
    ended.trial("0000", sign * 0.8)
    ended.trial("0001", sign * 1.0, settings={"lr": 0.02})
    ended.trial("confirm-0001", sign * 0.3, settings={"lr": 0.02})
    assert said(ended.end(capsys)[1], "gain over the default setting: ").startswith("-0.2 (-25 %)")


def test_how_long_both_were_trained_is_said_where_it_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = Ended(tmp_path)
    ended.trial("0000", 0.9, 0.8)
    ended.trial("0001", 0.7, 0.6, 0.4, settings={"lr": 0.02})
    gain = said(ended.end(capsys)[1], "gain over the default setting, after 3 epochs against 2: ")
    assert gain == "0.4 (50 %), from 0.8"
    ended.trial("0002", 0.2, settings={"lr": 0.03})
    assert said(ended.end(capsys)[1], "gain over the default setting, after 1 epoch against 2: ").startswith("0.6")


def test_of_a_single_trial_no_gain_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As after `--resume` of a sweep of one."""
    ended = Ended(tmp_path)
    ended.trial("0000", 0.9, 0.8)
    lines = ended.end(capsys)[1]
    assert said(lines, "best: ") == "trial 0000, loss 0.8"
    assert not any(line.startswith(("gain", "no setting")) for line in lines)


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (State({}, {}), False),  # of a task that trains nothing
        (State({}, {"nearest": 3}), True),
        (State({"means": torch.zeros(2)}, {}), True),
    ],
)
def test_a_checkpoint_that_holds_nothing_is_not_named(
    state: State, told: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = Ended(tmp_path)
    last = ended.trial("0000", 0.9).last
    assert last is not None and last.state is not None
    checkpoint = Checkpoint("WideConfig", None, {}, {}, 1, [0], [state])
    ended.records.storage.write(last.state.path, checkpoint.encode())
    lines = ended.end(capsys)[1]
    assert [line for line in lines if line.startswith("checkpoint")] == [
        f"checkpoint: {ended.records.storage.where(last.state.path)}"
    ] * told
    assert bool(ended.summary["checkpoint"]) is told and any(line.startswith("train it again") for line in lines)


@pytest.mark.parametrize("kinds", [[], ["failed"], ["pruned", "diverged", None]])
def test_without_a_trial_that_ran_to_its_end_there_is_no_best(
    kinds: list[str | None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = Ended(tmp_path)
    for i, kind in enumerate(kinds):
        ended.trial(f"{i:04d}", 0.5, None if kind == "diverged" else 0.5, ends=kind)
    code, lines = ended.end(capsys)
    assert code == 1 and lines[-2] == "no trial ran to the end: there is no best loss"
    assert not any(line.startswith(("best", "train", "checkpoint", "gain")) for line in lines)
    found = ended.summary
    assert (found["trials"], found["best"], found["objective"], found["command"]) == (len(kinds), None, None, "")


@pytest.mark.parametrize(("why", "expected"), [("interrupted", 130), ("the disk is full", 1)])
def test_stopped_before_its_time_it_can_go_on(
    why: str, expected: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = Ended(tmp_path / "my results")
    ended.trial("0000", 0.5)
    code, lines = ended.end(capsys, stopped=why)
    resume = f"python sweeps/toy.py --storage '{tmp_path}/my results' --resume {ended.records.name}"
    assert code == expected and lines[-2:] == [f"stopped: {why}", f"go on with: {resume}"]
    assert said(lines, "best: ") == "trial 0000, loss 0.5"  # so far
    assert isinstance(ended.records.events[-1], KINDS["epoch"]) and ended.notified == []
    first = Image.open(ended.records.storage.where("contact_sheet.png"))
    curve = ended.records.storage.read("curves.png")
    ended.trial("0001", 0.4, settings={"lr": 0.02})
    assert said(ended.end(capsys)[1], "best: ") == "trial 0001, loss 0.4" and ended.summary["trials"] == 2
    assert Image.open(ended.records.storage.where("contact_sheet.png")).height > first.height  # drawn anew
    assert ended.records.storage.read("curves.png") != curve


def test_a_sheet_that_cannot_be_drawn_and_an_end_that_cannot_be_written_cost_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*anything: Any, **more: Any) -> Any:
        raise StorageError("no space") if anything and anything[0] == "end" else ValueError("no font")

    ended = Ended(tmp_path)
    ended.trial("0000", 0.5)
    for picture, file, draw in (
        ("curves", "curves.png", "curves"),
        ("contact sheet", "contact_sheet.png", "contact_sheet"),
    ):
        monkeypatch.setattr(module, draw, fails)
        ended.records.storage.delete(file)
        code, lines = ended.end(capsys)
        assert code == 0 and said(lines, f"{picture}: ") == "could not be drawn: no font"
        assert file not in ended.records.storage.names()
        ended.notified[:-1] = []
    assert said(lines, "best: ") == "trial 0000, loss 0.5" and ended.summary["best"] == "0000"
    assert ended.notified == [len(ended.records.events)]
    monkeypatch.setattr(ended.records, "append", fails)
    ended.notified.clear()
    assert ended.end(capsys) == (0, lines) and ended.notified == []  # it has said just that before
    monkeypatch.undo()
    ended.trial("0001", 0.4, settings={"lr": 0.02})
    monkeypatch.setattr(ended.records, "append", fails)
    code, lines = ended.end(capsys)
    assert code == 1 and said(lines, "best: ") == "trial 0001, loss 0.4" and said(lines, "stopped: ") == "no space"
    assert lines[-1].endswith(f"--resume {ended.records.name}") and ended.notified == []


def test_what_the_drain_noted_is_said_once_all_is_sent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended = Ended(tmp_path)
    ended.trial("0000", 0.5)

    def close() -> int:
        ended.drain.notes += ["one thing", "another"]
        return 0

    ended.drain.close = close
    lines = ended.end(capsys)[1]
    assert lines[-3:-1] == ["one thing", "another"]


PAGE = "http://127.0.0.1:5000/#/experiments/1/runs"


@pytest.mark.parametrize(
    ("uri", "left", "problem", "page", "expected"),
    [
        (DATABASE, 0, None, PAGE, [f"review: mlflow ui --backend-store-uri {DATABASE}", f"then open: {PAGE}"]),
        (DATABASE, 0, None, None, [f"review: mlflow ui --backend-store-uri {DATABASE}"]),
        ("sqlite:////a b.db", 0, None, None, ["review: mlflow ui --backend-store-uri 'sqlite:////a b.db'"]),
        ("http://me:secret@host:5000", 0, None, "http://host:5000/#/x", ["review: http://host:5000/#/x"]),
        ("https://me:secret@host", 0, None, None, ["review: https://host"]),
        (
            "http://me:secret@host",
            3,
            "no answer",
            PAGE,
            [
                "MLflow at http://host has not taken 3 events (no answer). The records keep them; send them by",
                "  genlab replay '{}' --sweep {}",
                f"review: {PAGE}",
            ],
        ),
        (
            DATABASE,
            1,
            None,
            None,
            [
                f"MLflow at {DATABASE} has not taken 1 events. The records keep them; send them by",
                "  genlab replay '{}' --sweep {}",
            ],
        ),
    ],
)
def test_where_mlflow_shows_it_or_how_it_gets_the_rest(
    uri: str,
    left: int,
    problem: str | None,
    page: str | None,
    expected: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended = Ended(tmp_path / "my results")
    ended.trial("0000", 0.5)

    def close() -> int:
        """What the drain says is known from then on alone."""
        ended.drain.problem, ended.drain.page = problem, page
        return left

    ended.drain.close = close
    told = [line.format(ended.storage.url, ended.records.name) for line in expected]
    code, lines = ended.end(capsys, uri=uri)
    assert code == 0 and lines[lines.index(next(line for line in lines if line.startswith("curves"))) + 1 :] == told
    monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")  # as a user of `uv run` would type it
    by_uv = [line.replace("mlflow ui", "uv run mlflow ui").replace("  genlab", "  uv run genlab") for line in told]
    assert ended.end(capsys, uri=uri)[1][-len(told) :] == by_uv


def test_whoever_waits_for_mlflow_is_told_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, told = Ended(tmp_path), threading.Event()
    ended.trial("0000", 0.5)
    say = View.say

    def heard(view: View, line: str) -> None:
        say(view, line)
        if line.startswith("sending the rest to MLflow, for 120 s at most"):
            told.set()

    monkeypatch.setattr(View, "say", heard)
    monkeypatch.setattr(module, "LONG", 0.01)
    ended.drain.close = lambda: int(not told.wait(60))
    _, lines = ended.end(capsys)
    assert told.is_set() and not any("has not taken" in line for line in lines)
    told.clear()
    monkeypatch.setattr(module, "LONG", 60.0)
    ended.drain.close = lambda: 0
    ended.end(capsys)
    timers = [one for one in threading.enumerate() if isinstance(one, threading.Timer)]
    assert not told.is_set() and all(timer.finished.is_set() for timer in timers)
