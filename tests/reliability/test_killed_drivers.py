"""The driver is killed, or the Ray that it joined: `--resume` goes on where the records end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from hosts import poll
from local_sweep import PATIENCE, ROOT, TRIALS, LocalSweep
from made_sweeps import free_port, is_gone

pytestmark = [pytest.mark.reliability, pytest.mark.timeout(900)]
GROUP = "The driver, or Ray"
RESUMED = "`--resume`"


def test_a_driver_is_killed(make_local: Callable[..., LocalSweep]) -> None:
    sweep = make_local()
    sweep.start()
    sweep.until_all_train()
    sweep.kill_driver()
    sweep.start("--resume")
    sweep.goes_on()
    sweep.finish()
    outcome = sweep.tell(GROUP, "the driver killed (SIGKILL)", did=RESUMED)
    outcome.assert_whole(TRIALS)
    assert outcome.trained_twice <= 2  # the epochs in progress


def test_a_driver_is_killed_as_soon_as_there_is_anything_to_resume(make_local: Callable[..., LocalSweep]) -> None:
    """In its first seconds: the manifest is written, and no lane is up."""
    sweep = make_local()
    sweep.start()
    sweep.until("there is a manifest", sweep.records)
    assert not sweep.notes.lines()
    sweep.kill_driver()
    sweep.start("--resume")
    sweep.goes_on()
    sweep.finish()
    note = "No epoch had been trained, so that no trial waited for its next one."
    outcome = sweep.tell(GROUP, "the driver killed as soon as its manifest is written", did=RESUMED, note=note)
    outcome.assert_whole(TRIALS)
    assert outcome.trained_twice == 0


class Head:
    """A head node of Ray as `ray start --head` makes it, with all that it starts."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="head-"))  # short: the names of sockets have 107 characters at most
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.log = self.folder / "head.log"
        self.process: psutil.Popen | None = None

    def start(self) -> None:
        command = [Path(sys.prefix) / "bin" / "ray", "start", "--head", "--block", f"--port={self.port}"]
        command += ["--num-cpus=2", "--include-dashboard=false", f"--temp-dir={self.folder}/ray"]
        command += ["--node-ip-address=127.0.0.1", f"--ray-client-server-port={free_port()}"]
        environment = os.environ | {"RAY_TMPDIR": str(self.folder), "RAY_AUTH_MODE": "disabled"}
        environment |= {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        environment.pop("RAY_ADDRESS", None)
        with open(self.log, "a") as log:
            self.process = psutil.Popen([str(part) for part in command], env=environment, stdout=log, stderr=log)
        started = "Ray runtime started"
        before = self.log.read_text().count(started)
        poll("Ray has started", lambda: self.log.read_text().count(started) > before, PATIENCE)

    def kill(self) -> None:
        """SIGKILL to all of it."""
        if self.process is None:
            return
        whole = [self.process, *psutil.Process(self.process.pid).children(recursive=True)]
        for process in whole:
            if not is_gone(process):
                process.kill()
        self.process.wait()
        self.process = None
        poll("nothing of the head is left", lambda: all(is_gone(one) for one in whole), 30)


@pytest.fixture
def head() -> Iterator[Head]:
    made = Head()
    try:
        made.start()
        yield made
    except TimeoutError:
        raise RuntimeError(made.log.read_text()) from None
    finally:
        made.kill()
        shutil.rmtree(made.folder, ignore_errors=True)


@pytest.mark.skipif(not shutil.which("ray", path=str(Path(sys.prefix) / "bin")), reason="there is no `ray` here")
def test_the_head_is_killed_and_started_again(make_local: Callable[..., LocalSweep], head: Head) -> None:
    sweep = make_local(address=head.address)
    sweep.start()
    sweep.until_all_train()
    head.kill()
    assert sweep.process is not None
    try:
        code = sweep.process.wait(PATIENCE)
    except (subprocess.TimeoutExpired, psutil.TimeoutExpired):
        raise TimeoutError(f"the driver outlives its Ray\n{sweep.said()}") from None
    assert code, sweep.said()
    head.start()
    sweep.start("--resume")
    sweep.goes_on()
    sweep.finish()
    did = "`ray start --head`, `--resume`"
    outcome = sweep.tell(GROUP, "the head killed whole, and started again", did=did)
    outcome.assert_whole(TRIALS)
    assert outcome.trained_twice <= 2  # the epochs in progress
