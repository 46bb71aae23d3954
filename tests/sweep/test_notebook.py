"""A sweep in a notebook, or any session without a script: no command line, no exit, and a failure is one.

`python -c` is such a session: its `__main__` has no file, and whatever follows are its arguments, as a kernel's are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest
import rich.console
from one_process import Machine, at, curve_sweep
from one_process import machine as machine

from genlab.errors import GenlabError
from genlab.screen import Screen
from genlab.sweep import command

CELLS = """
from dataclasses import dataclass
from genlab.sweep import Sweep, choice, main
from genlab.tasks import Config, CustomTask, Replica, Report, State

@dataclass(frozen=True, kw_only=True)
class OwnConfig(Config):
    high: float = 1.0
    def reports(self):
        return ("height",)

class Own(Replica):
    def __init__(self, config):
        self.config = config
    def advance(self, epoch):
        return Report({"height": self.config.high * epoch})
    def save(self):
        return State({}, {"high": self.config.high})
    def load(self, state):
        pass

class Task(CustomTask):
    Config = OwnConfig
    def start(self):
        return Own(self.config)

SPACE = {"high": choice(1.0, 2.0)}
SWEEP = Sweep(name="own", task=Task, metric="height", mode="max", space=SPACE, settings={"epochs": 1}, trials=2)
"""


@pytest.fixture
def notebook(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """This process as a kernel; Ray alone is played."""
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher.py", "-f", "kernel.json"])
    monkeypatch.chdir(Path(machine.storage.root).parent)
    return machine


def test_it_runs_as_its_own_arguments_say_and_returns(
    notebook: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert command.main(curve_sweep(), ["--grid", "--storage", notebook.storage.url, "--seed", 3]) is None  # type: ignore[list-item]
    assert [trial.config["seed"] for trial in notebook.records.trials.values()] == [3, 3, 3]
    assert "train it again: main(SWEEP) with --storage " in capsys.readouterr().out
    assert notebook.records.manifest.environment["command"] == "main(SWEEP)"
    assert signal.getsignal(signal.SIGTERM) is before


def test_without_arguments_it_has_none(notebook: Machine) -> None:
    """Not those of the kernel."""
    command.main(curve_sweep(trials=2, space={}))
    assert Path("results").is_dir() and list(notebook.records.trials) == ["0000"]


@pytest.mark.parametrize("wrong", [["-f", "kernel.json"], ["--trials", "nine"], ["--trials", "0"]])
def test_arguments_that_are_none_are_an_error(
    wrong: list[str], notebook: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(GenlabError, match="are no arguments of a sweep: the lines above say why"):
        command.main(curve_sweep(), wrong)
    assert wrong[0] in capsys.readouterr().err


def test_a_text_is_told_how_to_be_written(notebook: Machine) -> None:
    with pytest.raises(GenlabError, match=r"write the arguments as words: main\(SWEEP, \['--trials', '4'\]\)"):
        command.main(curve_sweep(), "--trials 4")


def test_help_is_no_error(notebook: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    command.main(curve_sweep(trials=7), ["--help"])
    said = capsys.readouterr().out
    assert "--trials N" in said and "The sweep 'curve': loss, min, best of 7 trials." in said


def test_what_fails_is_an_error(notebook: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    storage = ["--storage", notebook.storage.url]
    with pytest.raises(GenlabError, match="has no field 'levle'"):
        command.main(curve_sweep(), ["--set", "levle=3", *storage])
    notebook.before = lambda request: {"kind": "error", "value": "it broke"} if request["trial"] != "prepare" else None
    with pytest.raises(GenlabError, match=r"^the sweep 'curve' failed: the lines above say why$"):
        command.main(curve_sweep(), ["--grid", *storage])
    notebook.before = at("0001", 2, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(GenlabError, match=r"^the sweep 'curve' was interrupted: the lines above say why$"):
        command.main(curve_sweep(), ["--grid", *storage])
    assert f"go on with: main(SWEEP) with --storage {notebook.storage.url} --resume" in capsys.readouterr().out


def test_a_script_may_name_its_arguments_too(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["curve.py", "--trials", "nine"])
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as end:
        command.main(curve_sweep(), ["--grid", "--storage", machine.storage.url])
    signal.signal(signal.SIGTERM, before)
    assert end.value.code == 0 and len(machine.records.trials) == 3


def test_lines_are_plain_whatever_the_notebook_says_of_colours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table that is drawn over itself would be there again and again."""
    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    made = Screen()
    made.print("a [b] :100:", style="bold")
    assert (made.is_terminal, made.is_jupyter) == (False, False) and capsys.readouterr().out == "a [b] :100:\n"


def session(folder: Path, *lines: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What an interpreter says to the cells and these lines; its arguments are a kernel's."""
    command = [sys.executable, "-c", "\n".join([CELLS, *lines]), "-f", "kernel.json"]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env={**os.environ, **environment})


def test_a_task_of_a_notebook_is_tried_in_another_process(tmp_path: Path) -> None:
    done = session(tmp_path, "main(SWEEP, ['--debug'])", "print('it goes on')", "main(SWEEP, ['--lanes', '0'])")
    assert done.stdout.splitlines()[0].startswith("epoch 1/1") and "it goes on" in done.stdout
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith(
        "genlab.errors.GenlabError: ['--lanes', '0']"
    )


@pytest.mark.slow
def test_a_sweep_of_a_notebook_on_a_ray_of_its_own_and_another_after_it(tmp_path: Path) -> None:
    again = "main(SWEEP, ['--resume', '--set', 'high=2.0,1.0'])"
    done = session(
        tmp_path, "main(SWEEP)", "print('it goes on')", "main(SWEEP, ['--resume'])", again, RAY_AUTH_MODE="disabled"
    )
    first, _, second = done.stdout.partition("it goes on\n")
    assert "best: trial 0001, height 2" in first and "best: trial 0001, height 2" in second
    assert "cannot be resumed with another" in done.stderr and done.returncode == 1
