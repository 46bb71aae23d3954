"""What goes wrong in a rank, what outlasts its deadline, and what a rank is sent."""

from __future__ import annotations

import faulthandler
import gc
import inspect
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import toys
from one_rank import Needs, preparation, rank, request

from genlab.errors import GenlabError, StorageError, last_line
from genlab.lanes import worker
from genlab.tasks import Report
from genlab.tracking.storage import PATIENT

ALIVE: weakref.WeakSet[toys.ToyReplica] = weakref.WeakSet()

ERRORS: dict[str, Exception] = {
    "own": ValueError("mine"),
    "device": torch.AcceleratorError("device-side assert"),
    "refused": GenlabError("images 'a' are float32"),
    "full": StorageError("the disk is full"),
    "its own server": ConnectionRefusedError("connection refused"),
    "shapes": RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
    "backend": dist.DistBackendError("the communicator was aborted"),
    "network": dist.DistNetworkError("the store does not answer"),
    "gloo": RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Read error [127.0.0.1]:4321"),
    "NCCL": RuntimeError("NCCL error: remote process exited"),
    "closed": RuntimeError("Connection closed by peer [10.0.0.2]:4321"),
    "reset": RuntimeError("Connection reset by peer"),
    "peer refused": RuntimeError("connect: Connection refused"),
    "timeout": RuntimeError("Socket Timeout"),
}


class Raises(toys.Toy):
    """Of the error named by `trace`."""

    def start(self) -> RaisesReplica:
        return RaisesReplica(self.config, self.context)


class RaisesReplica(toys.ToyReplica):
    def advance(self, epoch: int) -> Report:
        ALIVE.add(self)
        self.itself = self  # a cycle, as real tasks have
        error = ERRORS[self.config.trace]
        raise type(error)(*error.args)


class Lonely(toys.Toy):
    """Notes how many of its replicas there are when another one is made."""

    others: list[int]

    def start(self) -> toys.ToyReplica:
        self.others.append(len(ALIVE))
        replica = super().start()
        assert isinstance(replica, toys.ToyReplica)
        replica.itself = replica  # type: ignore[attr-defined]
        ALIVE.add(replica)
        return replica


SCRIPT = """
import sys, threading, torch
from genlab.lanes.loading import pickled
from genlab.tasks import Config, CustomTask

class Mine(CustomTask):
    def start(self):
        return torch.arange(len(self.data.classes)), torch.backends.cudnn.enabled, len(self.data.ops)

LOCK = threading.Lock()

class Locked(CustomTask):
    def start(self):
        return LOCK

sys.stdout.buffer.write(pickled(Config, Mine))
pickled(Config, Locked)
"""

READ = """
import pickle, sys
from types import SimpleNamespace

kind, task = pickle.load(sys.stdin.buffer)
made = task.start(SimpleNamespace(data=SimpleNamespace(classes=[1, 2], ops=[3])))
print(made[0].tolist())
"""


def test_a_scripts_task_that_names_torch_and_classes_is_sent(tmp_path: Path) -> None:
    """Ray's pickler alone would take `torch.classes` along, which cannot be pickled."""
    (tmp_path / "script.py").write_text(SCRIPT)
    sent = subprocess.run([sys.executable, str(tmp_path / "script.py")], capture_output=True)
    assert "GenlabError: Locked cannot be sent to the lanes" in sent.stderr.decode()
    read = subprocess.run([sys.executable, "-c", READ], input=sent.stdout, capture_output=True, check=True)
    assert read.stdout.strip() == b"[0, 1]"


@pytest.mark.parametrize("error", ["own", "its own server", "shapes"])
def test_a_tasks_own_error_is_told_with_its_traceback(tmp_path: Path, error: str) -> None:
    outcome = rank(tmp_path, Raises).serve(request(trace=error))
    assert (outcome["kind"], outcome["collateral"]) == ("error", False)
    assert outcome["value"].startswith("Traceback") and str(ERRORS[error]) in outcome["value"]
    lines, first = inspect.getsourcelines(RaisesReplica.advance)
    own = f"test_worker_errors.py:{first + len(lines) - 1}, in advance"
    assert last_line(outcome["value"]) == f"{own}: {type(ERRORS[error]).__name__}: {ERRORS[error]}"


def test_an_error_that_a_user_is_meant_to_read_is_told_without_one(tmp_path: Path) -> None:
    outcome = rank(tmp_path, Raises).serve(request(rtace="refused"))
    assert outcome["kind"] == "error" and outcome["value"].startswith("ToyConfig has no field 'rtace'")
    assert "\n" not in outcome["value"]


@pytest.mark.parametrize("error", ["backend", "network", "gloo", "NCCL", "closed", "reset", "peer refused", "timeout"])
def test_a_connection_that_was_lost_is_not_the_trials_own_error(tmp_path: Path, error: str) -> None:
    outcome = rank(tmp_path, Raises).serve(request(trace=error))
    assert (outcome["kind"], outcome["collateral"]) == ("error", True)


def test_storage_that_fails_is_nobodys_trials_error(tmp_path: Path) -> None:
    one = rank(tmp_path, Raises)
    assert one.serve(request(trace="full")) == {"kind": "storage", "value": "the disk is full"}
    assert one.session is None and one.trial is None


def test_what_a_failed_trial_held_is_free_at_once(tmp_path: Path) -> None:
    """Also what the frames of its traceback held."""
    ALIVE.clear()
    one = rank(tmp_path, Raises)
    outcome = one.serve(request(trace="own"))
    assert outcome["kind"] == "error" and "ValueError: mine" in outcome["value"]
    assert one.session is None and not ALIVE


def test_a_trial_is_gone_before_the_next_one_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ALIVE.clear()
    monkeypatch.setattr(Lonely, "others", [], raising=False)
    one = rank(tmp_path, Lonely)
    for trial in ("0000", "0001"):
        assert one.serve(request(trial=trial))["kind"] == "ok"
    one.trial = None
    gc.collect()
    assert Lonely.others == [0, 0]


def test_a_process_whose_device_failed_serves_no_more(tmp_path: Path) -> None:
    """CUDA answers every later call with the same error: its next trials would fail through no fault of theirs."""
    with pytest.raises(torch.AcceleratorError):
        rank(tmp_path, Raises).serve(request(trace="device"))


@pytest.fixture
def alarms(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """The deadlines that are set, in seconds; None where the last one is lifted."""
    found: list[float | None] = []
    monkeypatch.setattr(faulthandler, "dump_traceback_later", lambda seconds, **how: found.append(seconds))
    monkeypatch.setattr(faulthandler, "cancel_dump_traceback_later", lambda: found.append(None))
    return found


def test_each_epoch_has_the_whole_deadline_and_who_waits_has_none(tmp_path: Path, alarms: list[float | None]) -> None:
    one = rank(tmp_path)
    two = {**request(1, session="z"), "replicas": 2}  # as what confirms has more seeds than the search
    for asked, trained, fails in (
        (request(1), 1, False),
        (request(4), 3, False),
        (request(2, fail_at=2, session="y"), 2, True),
        (two, 2, False),
    ):
        one.serve(asked)
        # the data are read before, and report and state are written after, which a storage may keep waiting
        assert alarms == [900.0] + [60.0] * trained + [900.0] * (not fails) + [None]
        alarms.clear()
    assert sum(PATIENT) < worker.BUILDING / 2  # report and state


def test_what_is_prepared_may_take_longer_than_an_epoch(
    tmp_path: Path, alarms: list[float | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Needs, "roots", [], raising=False)
    rank(tmp_path, Needs).serve(preparation({}))
    assert len(alarms) == 2 and (alarms[0] or 0) >= 3600 and alarms[1] is None


HANGS = """
import sys
from pathlib import Path

from one_rank import rank, request

rank(Path(sys.argv[1]), epoch_deadline=0.5).serve(request(1, hang_at=1))
"""


def test_the_process_of_an_epoch_that_hangs_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HANGS, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 1
    assert "Timeout" in done.stderr and "in advance" in done.stderr  # where it hung
