"""What a task prints: on the driver's terminal line by line, by trial and rank, and never more than one can read."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import toys
from one_process import Curve, CurveReplica, Machine, at, curve_sweep, machine
from one_rank import preparation, rank, request
from test_lane_loop import Told

from genlab.lanes import output as module
from genlab.lanes.output import BURST, LONGEST, RATE, Output
from genlab.tasks import Report

__all__ = ["machine"]


class Clock:
    """Time that stands still, and timers that fire when they are told to."""

    def __init__(self) -> None:
        self.now, self.timers = 100.0, list[Any]()

    def monotonic(self) -> float:
        return self.now

    def Timer(self, seconds: float, act: Any) -> Any:
        timer = SimpleNamespace(start=lambda: self.timers.append((seconds, act)))
        timer.cancel = self.timers.clear
        return timer

    def go_on(self, seconds: float) -> None:
        self.now += seconds
        for _, act in list(self.timers):
            act()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    monkeypatch.setattr(module, "threading", SimpleNamespace(Timer=made.Timer, Lock=threading.Lock))
    return made


@contextlib.contextmanager
def worker() -> Iterator[io.StringIO]:
    """A worker's file, to which its standard output goes meanwhile."""
    with contextlib.redirect_stdout(io.StringIO()) as file:
        yield file


def test_lines_are_sent_while_the_request_is_served_and_the_rest_at_its_end(clock: Clock) -> None:
    sent: list[str] = []
    output = Output(sent.append)
    with worker() as file:
        with output.of("trial 0003, rank 0"):
            print("one", 2)
            print("begun, ", end="", flush=True)
            assert sent == [] and [seconds for seconds, _ in clock.timers] == [module.PAUSE]
            clock.go_on(0.5)
            assert sent == ["trial 0003, rank 0: one 2"] and not clock.timers
            print("ended\n\nand\rmore")
            clock.go_on(0.5)
            assert sent[1:] == ["\n".join(f"trial 0003, rank 0: {line}" for line in ("begun, ended", "and", "more"))]
            sys.stdout.write("without an end")
        assert sys.stdout is file and sent[2:] == ["trial 0003, rank 0: without an end"]
        print("nobody's")
        with output.of("trial 0004, rank 1"):
            print("another's")
    assert sent[3:] == ["trial 0004, rank 1: another's"] and not clock.timers
    assert file.getvalue() == "one 2\nbegun, ended\n\nand\rmore\nwithout an endnobody's\nanother's\n"


def test_what_is_printed_before_an_error_is_sent_and_standard_output_comes_back(
    clock: Clock,
) -> None:
    sent: list[str] = []
    with worker() as file:
        with pytest.raises(ZeroDivisionError), Output(sent.append).of("trial 0000, rank 0"):
            print("shape", (3, 4))
            raise ZeroDivisionError
        assert sent == ["trial 0000, rank 0: shape (3, 4)"] and sys.stdout is file


def test_of_a_flood_a_few_lines_a_second_are_sent_and_the_others_counted(clock: Clock) -> None:
    sent: list[str] = []
    output = Output(sent.append)
    printed, seconds = 0, 10
    for tenth in range(1, 101):  # requests of a tenth of a second each: a new one brings no new burst
        with worker() as file, output.of("trial 0000, rank 0"):
            for _ in range(1000):
                print("step", printed)
                printed += 1
            assert file.getvalue().count("\n") == 1000
        clock.now += 0.1
        if tenth % 5 == 0:
            clock.go_on(0)
    lines = "\n".join(sent).splitlines()
    shown = [line for line in lines if "step" in line]
    assert BURST <= len(shown) <= BURST + RATE * seconds and len(sent) <= 12 * seconds
    assert sum("more lines" in line for line in lines) <= 2 * seconds
    left_out = sum(int(line.split("(")[1].split()[0]) for line in lines if "more lines" in line)
    assert left_out + len(shown) == printed
    assert shown[:BURST] == [f"trial 0000, rank 0: step {i}" for i in range(BURST)]


def test_what_was_left_out_of_one_trial_is_not_told_of_another(clock: Clock) -> None:
    sent: list[str] = []
    output = Output(sent.append)
    for trial in ("trial 0000, rank 0", "trial 0001, rank 0"):
        with worker(), output.of(trial):
            for _ in range(BURST + 3):
                print("step")
    (seconds, act), *others = clock.timers
    act()
    assert seconds == module.PAUSE <= 1 and not others and not clock.timers  # who watches sees it soon
    told = [line for text in sent for line in text.splitlines() if "more lines" in line]
    where = "more lines, which are in the worker's file alone)"
    assert told == [f"trial 0000, rank 0: (3 {where}", f"trial 0001, rank 0: ({BURST + 3} {where}"]


def test_a_line_that_does_not_end_is_cut(clock: Clock) -> None:
    sent: list[str] = []
    with worker() as file, Output(sent.append).of("x"):
        print("a" * (LONGEST + 5))
        for _ in range(LONGEST + 5):
            print("b", end="")
    assert sent == [f"x: {'a' * LONGEST}…\nx: {'b' * LONGEST}…\nx: bbbb"]
    assert len(file.getvalue()) == 2 * (LONGEST + 5) + 1


def test_what_asks_standard_output_for_more_gets_the_workers(clock: Clock) -> None:
    sent: list[str] = []
    with worker() as file, Output(sent.append).of("x"):
        assert not sys.stdout.isatty() and sys.stdout.encoding is None  # as of a StringIO
        sys.stdout.writelines(["a\n", "b\n"])
        assert sys.stdout.write("") == 0 and sys.stdout.write("c\n") == 2  # as a file counts
        sys.stdout.flush()
    assert file.getvalue() == "a\nb\nc\n" and sent == ["x: a\nx: b\nx: c"]


class Prints(toys.Toy):
    """Prints in its constructor, in training, in evaluation and while it is prepared."""

    def start(self) -> PrintsReplica:
        print("constructed")
        return PrintsReplica(self.config, self.context)

    @property
    def data(self) -> dict[str, Any]:
        print("described")
        return {}


class PrintsReplica(toys.ToyReplica):
    def advance(self, epoch: int) -> Report:
        print("epoch", epoch)
        return super().advance(epoch)

    def evaluate(self, split: str) -> Report:
        print("on", split)
        return super().evaluate(split)


def test_a_rank_says_which_trial_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = rank(tmp_path, Prints, number=0)
    mailbox = Told()
    one.settings = dataclasses.replace(one.settings, mailbox=mailbox)
    one.serve({"trial": "prepare", **preparation({})})
    one.serve({**request(1, trial="0007"), "test": True})
    one.serve(request(2, trial="0007", session="y", fail_at=2))
    notes = [line for call, text in mailbox.told for line in text.splitlines() if call == "note"]
    assert notes == [
        "preparation, rank 0: described",
        *(f"trial 0007, rank 0: {text}" for text in ("constructed", "epoch 1", "on test", "described")),
        *(f"trial 0007, rank 0: {text}" for text in ("constructed", "epoch 1", "epoch 2")),
    ]
    other = rank(tmp_path, Prints, number=1)
    other.settings = dataclasses.replace(other.settings, mailbox=mailbox)
    other.serve(request(1, trial="0008"))
    assert mailbox.told[-1][1].startswith("trial 0008, rank 1: ")


class Loud(Curve):
    """Says each epoch."""

    def start(self) -> LoudReplica:
        return LoudReplica(self.config, self.context)


class LoudReplica(CurveReplica):
    def advance(self, epoch: int) -> Report:
        print(f"this is epoch {epoch} of {self.config.level}")
        return super().advance(epoch)


def test_all_that_was_printed_is_said_before_the_end(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where the sweep is over before the driver looks again."""
    assert machine.run(curve_sweep(task=Loud), grid=True) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if ", rank 0: " in line]
    levels = {"0000": 10.0, "0001": 30.0, "0002": 20.0}
    assert said == [
        f"trial {name}, rank 0: this is epoch {epoch} of {level}"
        for name, level in levels.items()
        for epoch in (1, 2, 3)
    ]
    machine.before = at("0001", 2, lambda: {"kind": "storage", "value": "the disk is full"})
    assert machine.run(curve_sweep(task=Loud), grid=True) == 1
    assert "trial 0001, rank 0: this is epoch 1 of 30.0" in capsys.readouterr().out
