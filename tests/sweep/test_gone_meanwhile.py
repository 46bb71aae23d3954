"""What goes away while a sweep runs: its folder, who reads what it says, the driver while MLflow is being sent to."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import toy_script
from made_sweeps import Seen, is_gone, wait_for
from toys import gate, read_trace

from genlab.tracking.records import Records
from genlab.tracking.replay import replay
from genlab.tracking.storage import Storage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
PATIENCE = 180.0  # seconds for a driver to start its lanes, and to end: a busy machine takes its time


class Started:
    """A driver whose trials wait before their third epoch until `go` is called."""

    def __init__(self, folder: Path, *options: str, trials: int = 2, stdout: int | None = None) -> None:
        self.folder, self.trace = folder, str(folder / "trace")
        for default in (True, False):
            gate(self.trace, default).write_text("3")
        self.said, self.erred = folder / "said", folder / "erred"
        command = [sys.executable, toy_script.__file__, self.trace, "--storage", "results", "--address", "local"]
        command += ["--lanes", "1", "--trials", str(trials), *options]
        with open(self.said, "wb") as said, open(self.erred, "wb") as erred:
            self.process = subprocess.Popen(
                command, cwd=folder, stdout=said if stdout is None else stdout, stderr=erred, start_new_session=True
            )

    def wait_at_the_gate(self) -> None:
        wait_for(lambda: any(line["epoch"] == 3 for line in read_trace(self.trace)), PATIENCE)

    def go(self) -> None:
        for default in (True, False):
            gate(self.trace, default).unlink(missing_ok=True)

    def drain(self) -> psutil.Process | None:
        for process in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):
                if "genlab.tracking.drain" in " ".join(process.cmdline()):
                    return process
        return None

    @property
    def storage(self) -> Storage:
        return Storage(str(self.folder / "results"))

    @property
    def records(self) -> Records:
        return Records.open(self.storage, Records.sweeps(self.storage)[-1])


@contextlib.contextmanager
def started(folder: Path, *options: str, trials: int = 2, stdout: int | None = None) -> Iterator[Started]:
    driver = Started(folder, *options, trials=trials, stdout=stdout)
    try:
        yield driver
    finally:
        driver.process.kill()
        driver.process.wait()


def test_its_folder_is_away_and_comes_back(tmp_path: Path) -> None:
    with started(tmp_path) as driver:
        driver.wait_at_the_gate()
        folder = Path(driver.records.storage.url)
        aside = tmp_path / "aside"
        folder.rename(aside)
        driver.go()
        wait_for(lambda: "trying again" in driver.said.read_text(), PATIENCE)
        assert not folder.exists()  # nothing is made in its place
        aside.rename(folder)
        assert driver.process.wait(PATIENCE) == 0, driver.erred.read_text()
        assert "answers again" in driver.said.read_text()
        records = driver.records
        assert [trial.ends for trial in records.trials.values()] == ["completed"] * 2
        assert [event.n for event in records.events] == [*range(1, len(records.events) + 1)]
        for trial in records.trials.values():
            assert sorted(trial.epochs) == [*range(1, 10)]
            for epoch in trial.epochs.values():
                records.storage.read_named(epoch.report)
        (result,) = replay(str(driver.storage.url))
        assert result.left == 0 and len(Seen(driver, result.tracking_uri).children) == 2


@pytest.mark.parametrize("left", ["nothing", "an empty folder"])
def test_its_folder_stays_away_and_one_signal_ends_it(tmp_path: Path, left: str) -> None:
    """An empty folder is what a mount leaves."""
    with started(tmp_path) as driver:
        driver.wait_at_the_gate()
        folder = Path(driver.records.storage.url)
        folder.rename(tmp_path / "aside")
        if left == "an empty folder":
            folder.mkdir()
        driver.go()
        wait_for(lambda: "trying again" in driver.said.read_text(), PATIENCE)
        driver.process.send_signal(signal.SIGINT)
        assert driver.process.wait(60) in (1, 130)
        said = driver.said.read_text()
        assert "go on with: " in said and f"--resume {folder.name}" in said
        assert [*folder.iterdir()] == [] if left == "an empty folder" else not folder.exists()


def test_nobody_reads_what_it_says(tmp_path: Path) -> None:
    """As `sweep.py | head -1`."""
    read, write = os.pipe()
    with started(tmp_path, stdout=write) as driver:
        os.close(write)
        with open(read, "rb", buffering=0) as end:
            assert end.read(1)
        driver.go()
        assert driver.process.wait(PATIENCE) == 0
        said = driver.erred.read_text()
        assert "standard output cannot be written any more" in said and "the sweep goes on" in said
        assert "Traceback" not in said and "BrokenPipe" not in said
        assert [trial.ends for trial in driver.records.trials.values()] == ["completed"] * 2


class Silent:
    """A server that takes connections and never answers."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.uri = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.taken: list[socket.socket] = []
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.taken.append(self.socket.accept()[0])


def test_a_second_signal_while_mlflow_is_sent_to_leaves_no_sender(tmp_path: Path) -> None:
    """The screen advises it. The driver is gone at once, and so is its drain, though a request hangs."""
    server = Silent()
    with started(tmp_path, "--tracking-uri", server.uri) as driver:
        driver.wait_at_the_gate()
        wait_for(lambda: server.taken, PATIENCE)
        drain = driver.drain()
        assert drain is not None
        driver.process.send_signal(signal.SIGINT)
        time.sleep(1.5)
        assert driver.process.poll() is None  # it waits for its lane, or for the server
        driver.process.send_signal(signal.SIGINT)
        assert driver.process.wait(10) == 130
        wait_for(lambda: is_gone(drain), 10)
        # and nothing keeps the records from being sent elsewhere
        database = f"sqlite:///{tmp_path}/results/mlflow.db"
        (result,) = replay(str(driver.storage.url), tracking_uri=database)
        assert result.left == 0 and len(Seen(driver, database).children) == 1
