"""What a person sees while a sweep runs: lines where they are read later, a table on a terminal."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from made_sweeps import manifest

from genlab.sweep import Sweep, log_uniform
from genlab.sweep import view as module
from genlab.sweep.plan import make
from genlab.sweep.view import View, last_line, show
from genlab.tracking.records import Records
from genlab.tracking.storage import FileName, Storage


class Watched:
    """A sweep whose trials are told by hand, and the view of it."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        values: dict[str, Any] = {"metric": "loss/label", "space": {"lr": log_uniform(1e-4, 1e-1)}}
        self.plan = make(Sweep(name="toy", task="classifier", **values | changes), {}, None)
        self.records = Records.create(Storage(str(folder)), manifest("toy"))
        self.view = View(self.plan, self.records)

    def begin(self, name: str, epochs: int = 3, **settings: Any) -> None:
        config = {"epochs": epochs, "seed": 0, "sleep": 0.0, **settings}
        self.records.append("trial", trial=name, settings=settings, config=config, distributions={})

    def epochs(self, name: str, *objectives: float | None, ends: str | None = None) -> None:
        """Its next epochs; the last one ends it if `ends` says how."""
        trial = self.records.trials[name]
        for i, objective in enumerate(objectives, 1):
            end = ends if i == len(objectives) else None
            content = {"report": FileName(f"trials/{name}/x", 1, "0"), "state": None, "objective": objective}
            self.records.append("epoch", trial=name, epoch=len(trial.epochs) + 1, ends=end, **content)
            self.view.ended(trial) if end else self.view.advanced(trial)

    def fail(self, name: str, traceback: str) -> None:
        self.records.append("error", trial=name, epoch=len(self.records.trials[name].epochs) + 1, traceback=traceback)
        self.view.ended(self.records.trials[name])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds: its one item."""
    now = [1000.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard output is taken for a terminal of 100 columns and 50 lines."""
    monkeypatch.delenv("TTY_COMPATIBLE", raising=False)
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "100", "LINES": "50"}.items():
        monkeypatch.setenv(name, value)


def test_elsewhere_a_line_a_trial_that_ended_none_for_an_epoch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):  # either would make it a terminal
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "40")  # a file has lines of any length
    watched = Watched(tmp_path, trials=5, mode="max")
    with watched.view:
        watched.begin("0000", lr=0.01)
        watched.epochs("0000", 0.9, 0.123456)
        assert capsys.readouterr().out == ""
        watched.epochs("0000", 0.25, ends="completed")
        watched.begin("0001", epochs=7, lr=0.0012345678, widths="8:100:8", note="[red]x[/red]")
        watched.epochs("0001", 0.5, ends="pruned")
        watched.begin("0002", lr=0.02)
        watched.fail("0002", "Traceback\n  File 3\nx.py:3, in loss: ZeroDivisionError: [1] by zero\n\n")
        watched.begin("0003", lr=0.03)
        watched.epochs("0003", 0.7, None, ends="diverged")
        watched.begin("confirm-0000", lr=0.01)
        watched.epochs("confirm-0000", 0.75, ends="completed")
    lines = [re.split(" {2,}", line.strip()) for line in capsys.readouterr().out.splitlines()]
    assert lines.pop(2) == ["3/5", "trial 0002 failed: x.py:3, in loss: ZeroDivisionError: [1] by zero"]
    assert [line[:-1] for line in lines] == [
        ["1/5", "trial 0000", "completed", "epoch 3/3", "loss/label 0.25", "lr=0.01"],
        ["2/5", "trial 0001", "pruned", "epoch 1/7", "loss/label 0.5", "lr=0.001235 widths=8:100:8 note=[red]x[/red]"],
        ["4/5", "trial 0003", "diverged", "epoch 2/3", "loss/label -", "lr=0.03"],
        ["4/5", "trial confirm-0000", "completed", "epoch 1/3", "loss/label 0.75", "lr=0.01"],
    ]
    assert {line[-1] for line in lines} == {"about 0:00 left"}  # the clock stood still


def test_the_time_left_is_a_guess_from_the_epochs_since_the_first_one(tmp_path: Path, clock: list[float]) -> None:
    watched = Watched(tmp_path, trials=4)
    line, trials = watched.view.line, watched.records.trials
    for name in ("0000", "0001", "0002"):
        watched.begin(name)
    watched.epochs("0000", 0.5)  # the lanes came up until then: that time says nothing
    clock[0] += 1
    watched.epochs("0000", 0.4, 0.3, ends="completed")
    watched.epochs("0001", 0.5, ends="pruned")
    watched.epochs("0002", 0.5)
    clock[0] += 83
    # 84 s for the four epochs after the first one; trials have two on average: 0003 will, 0002 has one of them
    told = line(trials["0002"])
    assert told.endswith("  about 1:03 left") and "  running    epoch 1/3  loss/label 0.5  " in told
    watched.epochs("0002", 0.4, 0.3)
    clock[0] += 42
    assert line(trials["0002"]).endswith("  about 1:03 left")  # 126 s for six; 0002 goes on beyond, one epoch at least
    watched.epochs("0002", 0.2, ends="completed")
    watched.begin("0003")
    watched.epochs("0003", 0.2, 0.1, ends="completed")
    assert "left" not in line(trials["0003"])
    watched.begin("confirm-0000")
    watched.epochs("confirm-0000", 0.2)
    assert "left" not in line(trials["0003"])  # only what the search has to come is known


def test_no_time_is_guessed_before_a_trial_has_ended_and_an_epoch_was_seen(tmp_path: Path, clock: list[float]) -> None:
    watched = Watched(tmp_path, trials=3)
    watched.begin("0000")
    watched.begin("0001")
    watched.epochs("0000", 0.5, 0.4)
    clock[0] += 10
    assert "left" not in watched.view.line(watched.records.trials["0000"])
    resumed = View(watched.plan, watched.records)
    watched.view = resumed
    watched.fail("0001", "ValueError: at once")
    clock[0] += 10
    assert "left" not in resumed.line(watched.records.trials["0000"])  # two epochs, but none in this life
    watched.epochs("0000", 0.3)
    # one epoch took 10 s; a trial that failed at once counts as one epoch: one for 0000, one for 0002
    assert resumed.line(watched.records.trials["0000"]).endswith("  about 0:20 left")


@pytest.mark.parametrize(("mode", "order"), [("min", ["0003", "0000", "0001"]), ("max", ["0001", "0000", "0003"])])
def test_the_table_shows_what_runs_and_then_the_best_first(
    mode: str, order: list[str], tmp_path: Path, terminal: None, capsys: pytest.CaptureFixture[str]
) -> None:
    watched = Watched(tmp_path, mode=mode, trials=9)
    with watched.view:
        watched.view.say("lanes are up [lane 1] :100:")
        for name, objective in (("0000", -0.25), ("0001", 0.5), ("0003", -0.75)):
            watched.begin(name, lr=0.1)
            watched.epochs(name, 0.0, objective, ends="completed")
        watched.begin("0002", epochs=8, lr=0.03, widths="8:100:8", note="[red]x")
        watched.epochs("0002", 0.125)
        watched.begin("0004", lr=0.2)
        watched.fail("0004", "ValueError: no")
        watched.begin("0005", lr=0.3)
    written = capsys.readouterr().out
    assert written.rindex("\x1b[2K") > written.rindex("settings")  # at the end the table is taken away
    watched.view.say("after")
    assert capsys.readouterr().out == "after\n"  # and nothing draws it again
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", written).replace("\r", "")
    lines = [line.strip() for line in plain.splitlines()]
    assert "lanes are up [lane 1] :100:" in lines
    # none for trials that ended: the table has them, but for why one failed
    assert re.findall(r"\S+  trial 000.*", plain) == ["4/9  trial 0004 failed: ValueError: no"]
    last = max(i for i, line in enumerate(lines) if "settings" in line)
    assert "4/9 trials" in " ".join(lines[:last])
    rows = [[word.strip() for word in line.split("│")[1:-1]] for line in lines[last:] if line.startswith("│")]
    assert rows[:2] == [
        ["0002", "1/8", "0.125", "running", "lr=0.03 widths=8:100:8 note=[red]x"],
        ["0005", "0/3", "-", "running", "lr=0.3"],
    ]
    assert [row[0] for row in rows[2:]] == [*order, "0004"]
    told = {row[0]: row[1:] for row in rows}
    assert told["0000"] == ["2/3", "-0.25", "completed", "lr=0.1"]
    assert told["0004"] == ["0/3", "-", "failed", "lr=0.2"]


def test_of_many_trials_the_table_has_the_first_fifteen(
    tmp_path: Path, terminal: None, capsys: pytest.CaptureFixture[str]
) -> None:
    watched = Watched(tmp_path, trials=20)
    with watched.view:
        for i in range(18):
            watched.begin(f"{i:04d}", lr=0.1)
            watched.epochs(f"{i:04d}", float(i), ends="completed")
        watched.begin("0018", lr=0.1)
    lines = capsys.readouterr().out.splitlines()
    last = max(i for i, line in enumerate(lines) if "settings" in line)
    names = re.findall(r"│ (\d{4}) ", "\n".join(lines[last:]))
    assert names == ["0018", *(f"{i:04d}" for i in range(14))]


def test_values_and_messages_in_few_characters() -> None:
    shown = [show(value) for value in (0.0, -0.00012345678, 123456.0, None, 12345678, "a b", True)]
    assert shown == ["0", "-0.0001235", "1.235e+05", "-", "12345678", "a b", "True"]
    assert last_line("Traceback:\n  File 1\n  ValueError: no \n \n") == "ValueError: no"
    assert last_line("") == last_line(" \n") == "no message"


def test_how_many_lanes_are_up_and_what_genlab_logs_meanwhile_is_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    watched = Watched(tmp_path)
    watched.view.lanes_up(2, 3, {2: "no GPU", 1: "the node is gone"})
    title = str(watched.view._table().title)
    assert "2/3 lanes (lane 1: the node is gone; lane 2: no GPU)" in title
    watched.view.lanes_up(3, 3, {})
    assert "3/3 lanes  " in str(watched.view._table().title)
    log = logging.getLogger("genlab.tracking.storage")
    caplog.set_level(logging.INFO, "genlab")  # as --debug leaves it in a notebook
    with watched.view.logs():
        with watched.view:
            log.warning("/results cannot be written: %s", "no space")
            log.info("nothing of interest")
        log.warning("%s answers again", "/results")  # as where the end waits for a storage that is away
    log.warning("afterwards")
    assert capsys.readouterr().out == "/results cannot be written: no space\n/results answers again\n"
