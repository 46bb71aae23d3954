"""Which driver a sweep has.

Each driver makes a claim of its own, `drivers/00000001.json` and so on: a file that is made new, so that of several who
try at once one has it, and that its driver renews every few seconds. The highest number drives. A driver that was taken
for dead and finds a higher number than its own drives no more. Nobody writes or removes another's claim.
"""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil

from genlab.errors import CorruptFile, GenlabError
from genlab.tracking.records import read_json
from genlab.tracking.storage import AlreadyThere, Storage

HEARTBEAT = 5.0  # seconds between two beats
STALE = 30.0  # seconds after which a driver on another machine is taken for dead
LISTEN = 3 * HEARTBEAT  # seconds in which one whose clock is another must be heard


def live_driver(folder: Storage) -> dict[str, Any] | None:
    """What the driver of the sweep in `folder` says of itself, if it has one that lives. A clock that is off by more
    than half a minute makes it look dead; who would take its place listens to it first (`Heartbeat`)."""
    claim = _claim(folder, _last(folder))
    return claim if claim is not None and _is_fresh(claim) and _may_live(claim) else None


def _last(folder: Storage) -> int:
    """The number of the last claim; 0 without any."""
    return max((int(name[:-5]) for name in folder.names("drivers") if re.fullmatch(r"\d{8}\.json", name)), default=0)


def _path(number: int) -> str:
    return f"drivers/{number:08d}.json"


def _claim(folder: Storage, number: int) -> dict[str, Any] | None:
    """A claim; None if there is none or it is damaged."""
    try:
        claim = read_json(folder, _path(number))
    except (FileNotFoundError, CorruptFile):
        return None
    return claim if isinstance(claim.get("time"), (int, float)) else None


def _is_fresh(claim: dict[str, Any]) -> bool:
    return 0 <= time.time() - claim["time"] <= STALE


def _may_live(claim: dict[str, Any]) -> bool:
    """False where it was on this machine, and its process is gone."""
    if claim.get("host") != socket.gethostname():
        return True
    try:
        return psutil.Process(claim["pid"]).create_time() == claim["started"]
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False


class Heartbeat:
    """Claims a sweep for this driver, and renews the claim."""

    def __init__(self, folder: Storage) -> None:
        """
        Raises:
            GenlabError: another driver has it.
        """
        self.folder = folder
        self.lost: Callable[[str], None] = lambda why: None  # called when another driver has taken the sweep over
        before = _last(folder)
        other = _claim(folder, before)
        if other is not None and _may_live(other) and (_is_fresh(other) or self._is_heard(before, other)):
            age = time.time() - other["time"]
            heard = f"heard {age:.0f} s ago" if 0 <= age <= STALE else "whose clock is another than this machine's"
            raise GenlabError(
                f"{folder.url} has a driver already: process {other.get('pid')} on {other.get('host')}, {heard}. "
                f"Stop it first; a dead one is forgotten after {STALE:.0f} s."
            )
        self.number = before + 1
        try:
            folder.write_new(_path(self.number), self._sign())
        except AlreadyThere:
            raise GenlabError(f"{folder.url} has a driver already: it was started just now") from None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="heartbeat")
        self._thread.start()

    def _is_heard(self, number: int, before: dict[str, Any]) -> bool:
        """Whether it beats, whatever its clock says. One of this machine has this machine's clock."""
        if before.get("host") == socket.gethostname():
            return False
        end = time.monotonic() + LISTEN
        while time.monotonic() < end:
            time.sleep(HEARTBEAT / 5)
            if _claim(self.folder, number) != before:
                return True
        return False

    @staticmethod
    def myself() -> dict[str, Any]:
        """This process, such that another one on the same machine can tell whether it still lives."""
        return {"host": socket.gethostname(), "pid": os.getpid(), "started": psutil.Process().create_time()}

    def _sign(self) -> bytes:
        return json.dumps({**self.myself(), "time": time.time()}).encode()

    def _run(self) -> None:
        while not self._stop.wait(HEARTBEAT):
            try:
                if _last(self.folder) > self.number:
                    other = _claim(self.folder, _last(self.folder)) or {}
                    who = f"process {other.get('pid')} on {other.get('host')}"
                    self.lost(f"{who} has taken the sweep over, since this driver was not heard for a while")
                    return
                self.folder.write(_path(self.number), self._sign())
            except Exception:  # the driver's own writes will tell of a storage that fails
                continue

    def stop(self) -> None:
        """End the beat and take the claim back."""
        self._stop.set()
        self._thread.join(HEARTBEAT)
        self.folder.delete(_path(self.number))
