"""A sweep on this machine, in a process of its own, with a Ray of its own: all that is below the process is its own."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import reliability_page
from hosts import poll
from made_sweeps import is_gone
from mlflow_counts import counts
from outcomes import Notes, Outcome, outcome

from genlab.tracking.records import Records
from genlab.tracking.storage import Storage

ROOT = Path(__file__).parent.parent.parent
SCRIPT = ROOT / "tests" / "noted.py"
TRIALS = 6
PATIENCE = 240.0  # seconds for anything that must happen: a busy machine takes its time


class LocalSweep:
    """Six trials on two lanes; MLflow's database is in the storage, if no server is named."""

    def __init__(
        self,
        folder: Path,
        migrated: Path,
        storage: str | None = None,
        tracking_uri: str | None = None,
        seen_at: str | None = None,
        looked_at: str | None = None,
        options: str = "--lanes 2",
        address: str = "local",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """
        Args:
            folder: for all that it writes.
            migrated: an empty MLflow database.
            storage: a URL; None for a folder.
            looked_at: the folder that this is, if it is a URL.
            tracking_uri: where the sweep sends to; None for its storage's database.
            seen_at: where that can be looked at, if not there.
            environment: variables that its processes have more than this one.
        """
        self.folder, self.address, self.options = folder, address, options
        self.url = storage or str(folder / "results")
        self.storage = Storage(looked_at or self.url)
        own = folder / "results" / "mlflow.db"  # where a sweep has it, whatever its storage is
        if tracking_uri is None:
            own.parent.mkdir(exist_ok=True)
            shutil.copy(migrated, own)
        self.tracking_uri = tracking_uri
        self.seen_at = seen_at or tracking_uri or f"sqlite:///{own}"
        self.notes = Notes(folder / "notes.jsonl")
        self.notes.hold.touch()
        self.log = folder / "said.log"
        self.environment = dict(environment or {})
        self.process: psutil.Popen | None = None
        self.known: list[psutil.Process] = []  # whatever was seen below a driver

    def start(self, *more: str) -> None:
        """What a person types."""
        command = [sys.executable, str(SCRIPT), "--storage", self.url, "--address", self.address]
        command += ["--trials", str(TRIALS), "--scheduler", "fifo", "--cpus-per-worker", "1", *self.options.split()]
        command += ["--tracking-uri", self.tracking_uri] if self.tracking_uri else []
        command += [*more, "--set", f"notes={self.notes.path}", "--set", "seconds=0.5"]
        self._popen(command)

    def _popen(self, command: list[str]) -> None:
        own = {
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "RAY_AUTH_MODE": "disabled",
        }
        environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | own
        with open(self.log, "a") as log:
            self.process = psutil.Popen(
                command, cwd=self.folder, env=environment | self.environment, stdout=log, stderr=log
            )

    def said(self) -> str:
        """What the person has seen so far."""
        return self.log.read_text()

    def records(self) -> Records | None:
        """What it has recorded; None while there is nothing."""
        names = Records.sweeps(self.storage)
        return Records.open(self.storage, names[-1]) if names else None

    def until(self, what: str, condition: Any) -> Any:
        """The first true value of `condition()` while the sweep goes on."""

        def look() -> Any:
            value = condition()
            assert self.process is not None
            assert value or self.process.poll() is None, f"the sweep ended before this: {what}\n{self.said()}"
            return value

        try:
            return poll(what, look, PATIENCE, pause=0.1)
        except TimeoutError as late:
            raise TimeoutError(f"{late}\n{self.said()}") from None

    def until_all_train(self, epochs: int = 2, groups: int = 2) -> None:
        """Until each of so many lanes (or ranks) has begun so many epochs."""

        def look() -> bool:
            begun = [line["pid"] for line in self.notes.lines()]
            return sum(begun.count(pid) >= epochs for pid in set(begun)) >= groups

        self.until("all of them train", look)

    def until_said(self, words: str) -> None:
        self.until(f"the screen says {words!r}", lambda: words in self.said())

    def epochs(self) -> int:
        """How many are committed."""
        records = self.records()
        return sum(len(trial.epochs) for trial in records.trials.values()) if records else 0

    def goes_on(self, epochs: int = 2) -> None:
        """Until so many more epochs are committed. Trials may end from here on."""
        before = self.epochs()
        self.notes.hold.unlink(missing_ok=True)
        self.until("it goes on", lambda: self.epochs() >= min(before + epochs, 6 * TRIALS))

    def processes(self, title: str) -> list[psutil.Process]:
        """Those below the driver with this in their title."""
        found = []
        for process in self._below():
            with contextlib.suppress(psutil.NoSuchProcess):
                if title in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def kill(self, title: str, count: int = 1) -> None:
        """Kill a process of the sweep, once there are so many of this title."""
        alive = self.until(f"{count} x {title}", lambda: len(now := self.processes(title)) >= count and now)
        alive[0].kill()
        poll(f"{title} is gone", lambda: is_gone(alive[0]), 30)

    def _below(self) -> list[psutil.Process]:
        found = []
        with contextlib.suppress(psutil.NoSuchProcess):
            if self.process is not None:
                found = psutil.Process(self.process.pid).children(recursive=True)
        self.known = [*{*self.known, *found}]
        return found

    def kill_driver(self) -> None:
        """SIGKILL, and wait until nothing of it is left."""
        assert self.process is not None
        left = self._below()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        poll("nothing of the driver is left", lambda: all(is_gone(one) for one in left), 120)

    def finish(self) -> int:
        """Let all trials end, and wait; the exit code."""
        self.notes.hold.unlink(missing_ok=True)
        assert self.process is not None
        try:
            return self.process.wait(PATIENCE)
        except (subprocess.TimeoutExpired, psutil.TimeoutExpired):
            raise TimeoutError(f"the sweep has not ended\n{self.said()}") from None

    def replay(self) -> int:
        """The command that the screen says will send to MLflow what is left; its exit code."""
        (words,) = re.findall(r"^\s*(?:uv run )?genlab (replay .*)$", self.said(), re.MULTILINE)
        self._popen([sys.executable, "-c", "from genlab.cli import main; main()", *words.split()])
        return self.finish()

    def tell(self, group: str, fault: str, code: int = 0, **row: Any) -> Outcome:
        """The outcome of a sweep that has ended with this exit code, told to the page as well."""
        records = self.records()
        assert records is not None
        found = outcome(records, self.notes, counts(records, self.seen_at), self.said())
        print(f"{fault}: {found}")
        hide = {self.url: "STORAGE", str(self.folder): "FOLDER", **row.pop("hide", {})}
        reliability_page.tell(group, fault, found, hide=hide, **row)
        assert self.process is not None and self.process.returncode == code, self.said()
        return found

    def end(self) -> None:
        """Kill what is left."""
        self._below()
        for process in [*([self.process] if self.process else []), *self.known]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
