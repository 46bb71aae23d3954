"""A driver with a Ray of its own, and signals to its whole process group: what `timeout` and a terminal send."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import toy_script
from made_sweeps import is_gone, wait_for
from toys import gate, read_trace

from genlab.tracking.records import Records
from genlab.tracking.storage import Storage

PATIENCE = 120.0  # seconds for a driver to start its lanes, and to end: a busy machine takes its time


@contextlib.contextmanager
def training(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A driver in a session of its own, whose trials train two epochs and cannot end."""
    trace = str(folder / "trace")
    for default in (True, False):
        gate(trace, default).write_text("3")
    command = [sys.executable, toy_script.__file__, trace, "--storage", "results", "--address", "local"]
    with subprocess.Popen(
        [*command, "--lanes", "1"], cwd=folder, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as driver:
        try:
            yield driver
        finally:
            driver.kill()


Driver = tuple[subprocess.Popen[str], Path]


@pytest.fixture(scope="module")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Driver]]:
    """One for each test, in a folder of its own. They start side by side: each waits much."""
    folders = [tmp_path_factory.mktemp("driver") for _ in range(2)]
    with training(folders[0]) as first, training(folders[1]) as second:
        yield [(first, folders[0]), (second, folders[1])]


def wait_for_two_epochs(folder: Path) -> None:
    wait_for(lambda: any(line["epoch"] == 3 for line in read_trace(str(folder / "trace"))), PATIENCE)


def below(driver: subprocess.Popen[str]) -> dict[psutil.Process, str]:
    """Every process that it started, by name; those that end meanwhile are left out."""
    found: dict[psutil.Process, str] = {}
    for process in psutil.Process(driver.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            found[process] = process.name()
    assert {"gcs_server", "raylet"} <= set(found.values()) and len(found) > 4
    return found


def all_gone(processes: list[psutil.Process]) -> bool:
    return all(is_gone(process) for process in processes)


def check_that_it_ends_in_good_order(driver: subprocess.Popen[str], folder: Path, number: int) -> None:
    wait_for_two_epochs(folder)
    children = list(below(driver))
    os.killpg(driver.pid, number)
    driver.send_signal(number)  # `uv run` passes on what it got itself
    told, _ = driver.communicate(timeout=PATIENCE)
    assert driver.returncode == 130
    storage = Storage(str(folder / "results"))
    records = Records.open(storage, Records.sweeps(storage)[-1])
    assert f"{records.name}: 1 trials (1 cut)" in told and "stopped: interrupted" in told
    assert f"--resume {records.name}" in told
    assert sorted(records.trials["0000"].epochs) == [1, 2] and records.storage.names("drivers") == []
    wait_for(lambda: all_gone(children), 60)


@pytest.mark.slow
def test_a_signal_to_the_whole_group_ends_a_sweep_in_good_order(drivers: list[Driver]) -> None:
    check_that_it_ends_in_good_order(*drivers[0], signal.SIGTERM)


@pytest.mark.slow
def test_ctrl_c_in_a_terminal_does_the_same(tmp_path: Path) -> None:
    with training(tmp_path) as driver:
        check_that_it_ends_in_good_order(driver, tmp_path, signal.SIGINT)


def test_a_driver_that_is_killed_leaves_no_process_behind(drivers: list[Driver]) -> None:
    """Though they are not in its process group. Ray's agents alone stay a minute, to tell a GCS that is gone."""
    driver, folder = drivers[1]
    wait_for_two_epochs(folder)
    children = [process for process, name in below(driver).items() if not name.endswith("Agent")]
    driver.kill()
    wait_for(lambda: all_gone(children), 60)
