"""How a rank serves requests; here in this process, without a lane."""

from __future__ import annotations

import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
import toys

from genlab.sweep.worker import LaneSettings, Rank
from genlab.tasks import Report

ALIVE: weakref.WeakSet[toys.ToyReplica] = weakref.WeakSet()


class Raises(toys.Toy):
    """Of the error named by `trace`."""

    def start(self) -> RaisesReplica:
        return RaisesReplica(self.config, self.context)


class RaisesReplica(toys.ToyReplica):
    def advance(self, epoch: int) -> Report:
        ALIVE.add(self)
        self.itself = self  # a cycle, as real tasks have
        raise {"own": ValueError("mine"), "device": torch.AcceleratorError("device-side assert")}[self.config.trace]


def rank(folder: Path, task: type[toys.Toy]) -> Rank:
    paths: dict[str, Any] = {"storage": str(folder), "folder": "sweep", "data_root": None, "environment": {}}
    settings = LaneSettings(lane=0, mailbox=None, code=b"", script=None, threads=1, epoch_deadline=60.0, **paths)
    return Rank(settings, toys.ToyConfig, task, 0, 1, "cpu", "a")


def request(epoch: int = 1, **config: Any) -> dict[str, Any]:
    session = {"session": "0000@x", "trial": "0000", "state": None, "prepared": {}, "replicas": 1, "test": False}
    return {**session, "config": config, "epoch": epoch}


SCRIPT = """
import sys, threading, torch
from genlab.sweep.worker import pickled
from genlab.tasks import Config, CustomTask

class Mine(CustomTask):
    def start(self):
        return torch.arange(len(self.data.classes)), torch.backends.cudnn.enabled, len(self.data.ops)

LOCK = threading.Lock()

class Locked(CustomTask):
    def start(self):
        return LOCK

sys.stdout.buffer.write(pickled(Config, {"mine": Mine, "locked": Locked}[sys.argv[1]]))
"""


def test_a_scripts_task_that_names_torch_and_classes_is_sent(tmp_path: Path) -> None:
    """Ray's pickler alone would take `torch.classes` along, which cannot be pickled."""
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "script.py")]
    code = subprocess.run([*command, "mine"], capture_output=True, check=True).stdout
    read = (
        "import pickle, sys, types; kind, task = pickle.load(sys.stdin.buffer); print(task.start(types.SimpleNamespace("
    )
    read += "data=types.SimpleNamespace(classes=[1, 2], ops=[3])))[0].tolist())"
    assert subprocess.run([sys.executable, "-c", read], input=code, capture_output=True).stdout.split() == [
        b"[0,",
        b"1]",
    ]
    refused = subprocess.run([*command, "locked"], capture_output=True, text=True).stderr
    assert "GenlabError: Locked cannot be sent to the lanes" in refused


def test_it_goes_on_with_the_session_that_it_holds(tmp_path: Path) -> None:
    one = rank(tmp_path, toys.Toy)
    first, second = one.serve(request(1)), one.serve(request(2))
    assert (first["kind"], second["kind"]) == ("ok", "ok")
    assert one.session == "0000@x" and one.trial.epoch == 2
    assert second["value"]["metrics"]["loss"] < first["value"]["metrics"]["loss"]


def test_what_a_failed_trial_held_is_free_at_once(tmp_path: Path) -> None:
    """Also what the frames of its traceback held."""
    one = rank(tmp_path, Raises)
    outcome = one.serve(request(trace="own"))
    assert outcome["kind"] == "error" and "ValueError: mine" in outcome["value"]
    assert one.session is None and not ALIVE


def test_a_process_whose_device_failed_serves_no_more(tmp_path: Path) -> None:
    """CUDA answers every later call with the same error: its next trials would fail through no fault of theirs."""
    with pytest.raises(torch.AcceleratorError):
        rank(tmp_path, Raises).serve(request(trace="device"))
