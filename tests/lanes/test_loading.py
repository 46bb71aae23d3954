"""How a task gets to the lanes: what cannot be sent or loaded is told with its line, before any lane starts."""

from __future__ import annotations

import dataclasses
import importlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import ray.cloudpickle
import torch
from one_process import Machine, curve_sweep, machine
from tiny_tasks import Tiny, TinyConfig

from genlab.errors import GenlabError
from genlab.lanes import loading, rehearsal
from genlab.tasks import ClassifierConfig

__all__ = ["machine"]

HEAD = """
import sys, threading
from dataclasses import dataclass
from functools import lru_cache

from genlab.sweep import Sweep, main
from genlab.tasks import Config, CustomTask, Replica, Report, State


@dataclass(frozen=True, kw_only=True)
class OwnConfig(Config):
    def reports(self):
        return ("height",)


class Own(Replica):
    def advance(self, epoch):
        return Report({"height": height(epoch)})

    def save(self):
        return State({}, {})

    def load(self, state):
        pass


class Task(CustomTask):
    Config = OwnConfig

    def start(self):
        return Own()


SWEEP = Sweep(name="own", task=Task, metric="height", settings={"epochs": 1})
"""
CACHED = """
@lru_cache
def height(epoch):
    return float(epoch)
"""
LOCKED = """
LOCK = threading.Lock()

def height(epoch):
    with LOCK:
        return float(epoch)
"""
PLAIN = """
def height(epoch):
    print("high", file=sys.stderr)
    return float(epoch)
"""
TAIL = """
if __name__ == "__main__":
    main(SWEEP)
"""


def run(folder: Path, body: str, *words: str) -> Any:
    script = folder / "own.py"
    script.write_text(HEAD + body + TAIL)
    command = [sys.executable, script.name, "--storage", str(folder / "results"), *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


def test_a_decorated_function_of_the_script_is_refused_with_its_line(tmp_path: Path) -> None:
    done = run(tmp_path, CACHED, "--address", "local")
    line = (HEAD + CACHED).splitlines().index("@lru_cache") + 1
    assert done.returncode == 2 and done.stdout == ""
    (said,) = done.stderr.splitlines()
    assert said.startswith(f"own: a lane cannot load the task: height (own.py:{line}) stands in the script alone")
    assert not (tmp_path / "results").exists() or list((tmp_path / "results").iterdir()) == []


def test_what_cannot_be_pickled_is_refused_with_its_line_and_without_ray(tmp_path: Path) -> None:
    done = run(tmp_path, LOCKED, "--debug")
    line = (HEAD + LOCKED).splitlines().index("LOCK = threading.Lock()") + 1
    assert done.returncode == 2
    assert f"Task cannot be sent to the lanes, since LOCK (own.py:{line}), to which it refers, cannot" in done.stderr


def test_a_dry_run_does_one_step_elsewhere_and_leaves_nothing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("genlab.sweep.command.Elsewhere", loading.Elsewhere)
    sweep = curve_sweep(settings={"level": 5.0})
    assert machine.run(sweep, dry_run=True, seeds=2) == 0
    assert (
        "passed, on one worker and a few samples: loss 8" in capfd.readouterr().out
    )  # the level, and 3 of the first epoch's own
    assert machine.storage.names() == [] and machine.pools == []


class Here(loading.Elsewhere):
    """Does in this process what another one would do, without the seconds of its start."""

    def __init__(self, code: bytes, order: Any) -> None:
        said = json.dumps(rehearsal._found(json.loads(json.dumps(order)), code))
        self.process: Any = SimpleNamespace(stdout=io.BytesIO(said.encode()), wait=lambda: 0, kill=lambda: None)


@pytest.fixture
def rehearsing(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Tries tasks as a sweep does; Ray and the other process alone are played."""
    monkeypatch.setattr("genlab.sweep.command.Elsewhere", Here)
    return machine


def test_a_first_step_that_fails_is_told_and_leaves_nothing(rehearsing: Machine) -> None:
    with pytest.raises(GenlabError, match=r"(?s)trial 0 failed in its first step: .*ZeroDivisionError: the curve br"):
        rehearsing.run(curve_sweep(settings={"fail_at": 1}), dry_run=True)
    assert rehearsing.storage.names() == []


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"dataset": "nosuch"}, "no data set 'nosuch'"),
        ({"dataset": "image_folder:/absent"}, "/absent"),
    ],
)
def test_a_dry_run_reads_the_data(rehearsing: Machine, options: dict[str, Any], why: str) -> None:
    sweep = curve_sweep(task="classifier", metric=ClassifierConfig().reports()[0], grid=())
    with pytest.raises(GenlabError, match=why):
        rehearsing.run(sweep, dry_run=True, **options)


class Once(Tiny):
    """Draws noise, which it makes once in a process."""

    made: ClassVar[int] = 0

    def phases(self) -> Any:
        (phase,) = super().phases()
        return [dataclasses.replace(phase, draws=("first", "noise"))]

    def sample(self, name: str, count: int, generator: torch.Generator) -> torch.Tensor:
        Once.made += 1
        if Once.made > 1:
            raise RuntimeError("a second step")
        return torch.zeros(count)


def test_one_step_is_one(rehearsing: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Once, "made", 0)
    sweep = curve_sweep(task=Once, metric="accuracy", mode="max", grid=())
    assert rehearsing.run(sweep, dry_run=True) == 0
    with pytest.raises(GenlabError, match="did not report precision, but accuracy, "):
        rehearsing.run(dataclasses.replace(sweep, task=Imprecise, metric="precision"), dry_run=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImpreciseConfig(TinyConfig):
    def reports(self) -> tuple[str, ...]:
        return ("precision",)


class Imprecise(Tiny):
    """Promises what it does not report."""

    Config = ImpreciseConfig


def test_a_process_that_dies_says_so(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(GenlabError, match="which ended with code 1"):
        loading.Elsewhere(b"", {"step": False}).answer()


def test_a_name_has_its_line_where_the_script_binds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import math\n\nA = B = 3\nfor i in range(3):\n    C = A\n\n\nclass D:\n    E = 1\n\n    def a(self): ...\n"
    )
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(script), raising=False)
    monkeypatch.chdir(tmp_path)
    assert {name: loading.place(name) for name in ("A", "B", "C", "D", "E", "range", "nothing")} == {
        "A": "A (script.py:3)",
        "B": "B (script.py:3)",
        "C": "C (script.py:4)",
        "D": "D (script.py:8)",
        "E": "E",
        "range": "range",
        "nothing": "nothing",
    }
    monkeypatch.chdir(tmp_path.parent)
    assert loading.place("A") == f"A ({tmp_path.name}/script.py:3)"
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(tmp_path / "gone.py"))
    assert loading.place("A") == "A"


LOCK = threading.Lock()


class Base:
    """Refers to what cannot be sent."""

    def start(self) -> Any:
        return LOCK


class Derived(Base):
    pass


def test_what_a_base_class_refers_to_is_named_as_well() -> None:
    assert loading._culprit(Derived) == "LOCK"


def holder(how: str) -> Any:
    """A class that cannot be sent, since `lock` cannot: what its method refers to, or something behind that."""
    lock = threading.Lock()

    def behind() -> Any:
        return lock

    def helper() -> Any:
        return behind()

    class Holder(Tiny):
        if how == "itself":
            kept = lock

        if how == "directly":

            def given(self) -> Any:
                return lock

        if how == "in a function inside":

            def given(self) -> Any:
                def inside() -> Any:
                    return LOCK

                return inside

        if how == "by way of others":

            def given(self) -> Any:
                return helper()

    return Holder


@pytest.mark.parametrize(
    ("how", "named"),
    [
        ("directly", "lock, to which it refers,"),
        ("in a function inside", "LOCK, to which it refers,"),
        ("by way of others", "lock, to which it refers,"),
        ("itself", "what it refers to"),
    ],
)
def test_what_keeps_a_task_from_being_sent_is_named_however_far_it_is(
    how: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the helper that refers to it in its turn: that one may stay as it is."""
    cloudpickle: Any = ray.cloudpickle
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # as what a script defines
    try:
        with pytest.raises(GenlabError, match=rf"^Holder cannot be .*, since {named} cannot be .* a module that"):
            loading.pickled(TinyConfig, holder(how))
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def test_what_keeps_a_config_from_being_sent_is_named_as_well() -> None:
    lock = threading.Lock()

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Locked(TinyConfig):
        def check(self) -> None:
            with lock:
                super().check()

    with pytest.raises(GenlabError, match=r"^Tiny cannot be sent to the lanes, since lock, to which"):
        loading.pickled(Locked, Tiny)
    with pytest.raises(GenlabError, match=r"^Locked cannot be sent to the lanes, since lock, to which"):
        loading.pickled(Locked, None)


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (AttributeError("Can't get attribute 'height' on <module '__main__' (built-in)>"), "height"),
        (AttributeError("Can't get attribute 'Own.Part.f' on <module 'genlab.lanes.rehearsal' from 'x.py'>"), "Own"),
        (AttributeError("Can't get attribute 'height' on <module 'installed' from 'x.py'>"), None),
        (RuntimeError("Can't get attribute 'height' on <module '__main__' (built-in)>"), None),  # of the author's own
        (AttributeError("'NoneType' object has no attribute 'height'"), None),
    ],
)
def test_a_name_that_only_the_script_has_is_known_by_pickles_words(error: Exception, name: str | None) -> None:
    assert loading.missing(error) == name


@pytest.fixture
def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> loading.Elsewhere:
    """One whose process reads nothing, says nothing, and does not end by itself."""
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\ntrap '' TERM\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    return loading.Elsewhere(b"", {"step": False})


def test_a_process_that_tries_a_task_is_out_of_the_terminals_reach_and_ends_when_it_is_told_to(
    other: loading.Elsewhere,
) -> None:
    """Ctrl-C is the driver's, which ends it whatever it does."""
    assert os.getsid(other.process.pid) != os.getsid(0)
    assert other.process.poll() is None
    other.stop()
    assert other.process.returncode == -signal.SIGKILL
    assert other.process.stdout is not None and other.process.stdout.closed
    other.stop()  # as who is interrupted does once more


def test_who_is_interrupted_while_a_task_is_tried_leaves_no_process(
    other: loading.Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: Any) -> bytes:
        raise KeyboardInterrupt

    stdout = other.process.stdout
    assert stdout is not None
    monkeypatch.setattr(other.process, "stdout", SimpleNamespace(read=read, close=stdout.close))
    with pytest.raises(KeyboardInterrupt):
        other.answer()
    assert other.process.returncode == -signal.SIGKILL and stdout.closed


def test_a_process_that_tries_a_task_ends_with_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    parents, ended = iter([7, 7, 1]), list[int]()
    monkeypatch.setattr(rehearsal, "time", SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.setattr(rehearsal, "os", SimpleNamespace(getppid=lambda: next(parents), _exit=ended.append))
    rehearsal._end_with(7)
    assert ended == [1] and not list(parents)


BESIDE = """
import logging, sys
from genlab.tasks import ClassifierConfig

print("imported")
print("on the side", file=sys.stderr)
logging.getLogger("genlab.data").info("12 images")

class BesideConfig(ClassifierConfig):
    pass
"""


def test_a_module_beside_the_script_is_found_and_may_print(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Wherever the sweep is started; what it prints is not taken for the answer."""
    (tmp_path / "beside_the_script.py").write_text(BESIDE)
    monkeypatch.syspath_prepend(tmp_path)
    kind = importlib.import_module("beside_the_script").BesideConfig
    capfd.readouterr()
    order = {"step": False, "config": {}}
    assert loading.Elsewhere(loading.pickled(kind, None), order).answer() == {}
    assert capfd.readouterr().err.splitlines() == ["imported", "on the side", "12 images"]
