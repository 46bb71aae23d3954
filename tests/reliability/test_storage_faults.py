"""The storage is full, read-only or slow for a while: the sweep says so, waits, and goes on."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from local_sweep import ROOT, TRIALS, LocalSweep

sys.path.insert(0, str(ROOT / "benchmarks"))

from sides import slow_files

pytestmark = [pytest.mark.reliability, pytest.mark.timeout(900)]
GROUP = "The storage"
WORD = "trying again"  # on the screen, while it cannot be written


class Disk:
    """A small disk of its own, whose folder is the storage of a LocalSweep."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.mounts, self.ballast = folder, 0, folder / "ballast"

    def mount(self, *words: str) -> None:
        subprocess.run(["mount", *words, str(self.folder)], check=True, capture_output=True)
        self.mounts += "remount" not in " ".join(words)

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)
        self.mounts -= 1

    def fill(self) -> None:
        """To the last byte; what is deleted meanwhile makes room again."""
        with open(self.ballast, "ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                try:
                    while file.write(bytes(size)) == size:
                        continue
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("a disk of a test's own needs Linux, and root")
    folder = tmp_path / "results"
    folder.mkdir()
    made = Disk(folder)
    try:
        made.mount("-t", "tmpfs", "-o", "size=48m", "own")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"mounts are forbidden here: {error.stderr.decode().strip()}")
    try:
        yield made
    finally:
        while made.mounts:
            made.unmount()


def test_a_storage_that_is_full_for_a_while(make_local: Callable[..., LocalSweep], disk: Disk) -> None:
    sweep = make_local()
    sweep.start()
    sweep.until_all_train()
    sweep.notes.hold.unlink()

    def full() -> bool:
        disk.fill()
        return WORD in sweep.said()

    sweep.until("the screen says that it is full", full)
    disk.ballast.unlink()
    _ends_well(sweep, "the storage is full until the screen says so")


def test_a_storage_that_is_read_only_for_a_while(make_local: Callable[..., LocalSweep], disk: Disk) -> None:
    sweep = make_local()
    sweep.start()
    sweep.until_all_train()
    disk.mount("--bind", str(disk.folder))  # over itself: what is open there stays so
    disk.mount("-o", "remount,ro,bind")
    sweep.notes.hold.unlink()
    sweep.until_said(WORD)
    disk.unmount()
    _ends_well(sweep, "the storage is read-only until the screen says so")


def test_ctrl_c_while_the_storage_is_full_and_mlflow_has_no_database_yet(
    make_local: Callable[..., LocalSweep], disk: Disk
) -> None:
    """It ends within a minute, and what is there can be resumed."""
    sweep = make_local()
    (disk.folder / "mlflow.db").unlink()
    sweep.start()
    sweep.until("there is something to resume", sweep.records)

    def full() -> bool:
        disk.fill()
        return WORD in sweep.said()

    sweep.notes.hold.unlink()
    sweep.until("the screen says that it is full", full)
    assert sweep.process is not None
    sweep.process.send_signal(signal.SIGINT)
    assert sweep.process.wait(60) in (1, 130), sweep.said()
    assert "go on with: " in sweep.said()
    disk.ballast.unlink()
    sweep.start("--resume")
    _ends_well(sweep, "the storage is full until Ctrl-C, before MLflow has a database", did="Ctrl-C, `--resume`")


def test_a_mount_that_is_away_for_a_while(make_local: Callable[..., LocalSweep], disk: Disk) -> None:
    """What is seen in its place is an empty folder, in which nothing is made."""
    sweep = make_local()
    sweep.start()
    sweep.until_all_train()
    disk.mount("-t", "tmpfs", "-o", "size=1m", "empty")
    sweep.notes.hold.unlink()
    sweep.until_said(WORD)
    assert not [*disk.folder.iterdir()]
    disk.unmount()
    _ends_well(sweep, "the storage's mount is away until the screen says so")


def _ends_well(sweep: LocalSweep, fault: str, did: str = "made it well again") -> None:
    assert sweep.finish() == 0, sweep.said()
    left = "has not taken" in sweep.said()
    assert not left or sweep.replay() == 0, sweep.said()
    did += ", `genlab replay`" if left else ""
    note = "MLflow's database lies in the same storage."
    outcome = sweep.tell(GROUP, fault, saw=WORD, did=did, note=note)
    outcome.assert_whole(TRIALS)
    assert outcome.trained_twice == 0


def test_a_storage_that_is_slow(make_local: Callable[..., LocalSweep], tmp_path: Path) -> None:
    records = tmp_path / "records"
    environment = slow_files.install(tmp_path / "slow", seconds=0.5)
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment["PYTHONPATH"]])
    sweep = make_local(storage=f"slow://{records}", looked_at=str(records), environment=environment)
    sweep.start()
    sweep.until_all_train()
    sweep.finish()
    note = "It is slow from first to last, so that the median wait has it, too."
    outcome = sweep.tell(GROUP, "the storage takes 0.5 s for each call", note=note)
    outcome.assert_whole(TRIALS)
    assert outcome.trained_twice == 0
