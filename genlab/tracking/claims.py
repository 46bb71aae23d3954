"""Who is at work on a sweep: the one process that drives it, and the one that sends it to a server.

Each process makes a claim of its own, a numbered file such as `drivers/00000001.json`. The file is made new: of several
who try at once one has it. Its process renews it every few seconds. The highest number holds. A process that was taken
for dead and finds a higher number than its own holds nothing any more. Nobody writes or removes another's claim.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
import psutil
from msgspec import Meta

from genlab.errors import CorruptFile, GenlabError
from genlab.sealed import seal, unseal
from genlab.tracking.schema import Finite, Record, as_json, checked
from genlab.tracking.storage import AlreadyThere, Storage

HEARTBEAT = 5.0  # seconds between two beats
STALE = 30.0  # seconds after which a process on another machine is taken for dead
LISTEN = 3 * HEARTBEAT  # seconds in which one whose clock is another must be heard
DRIVERS = "drivers"
BOOT, NAMESPACE = "/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"
MOST = 10**12 - 1  # claims
LONGEST = 1 << 16  # bytes of a claim


class Claim(Record, frozen=True):
    """What a process says of itself: enough for another one on the same machine to tell whether it still lives.

    Attributes:
        host: the machine's name.
        processes: where its number counts: containers of one machine, which may share its name, number their own.
        pid, started: its number, and when it started, seconds since 1970.
        time: when the claim was renewed last, seconds since 1970.
    """

    host: Annotated[str, Meta(max_length=300)]
    processes: Annotated[str, Meta(max_length=300)]
    pid: Annotated[int, Meta(ge=1, le=2**31)]
    started: Finite
    time: Finite

    def is_fresh(self) -> bool:
        """Whether it was renewed within the last half minute."""
        return 0 <= time.time() - self.time <= STALE

    def may_live(self) -> bool:
        """False where it was on this machine, and its process is gone."""
        if not self.is_seen():
            return True
        try:
            return psutil.Process(self.pid).create_time() == self.started
        except psutil.Error:
            return False

    def is_seen(self) -> bool:
        """Whether its process, if it lives, can be seen from this one."""
        return (self.host, self.processes) == (socket.gethostname(), _processes())

    def is_of(self, other: Claim) -> bool:
        """Whether both are of the same process."""
        return msgspec.structs.replace(self, time=0.0) == msgspec.structs.replace(other, time=0.0)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def myself() -> Claim:
    """A claim of this process, made now."""
    started = psutil.Process().create_time()
    return Claim(host=socket.gethostname(), processes=_processes(), pid=os.getpid(), started=started, time=time.time())


@functools.cache
def _processes() -> str:
    """The PID namespace, where the system has such; Linux gives each start of a machine its own number, too."""
    found = ""
    for path, read in ((BOOT, lambda path: Path(path).read_text().strip()), (NAMESPACE, os.readlink)):
        with contextlib.suppress(OSError):
            found += read(path)
    return found


def live_driver(folder: Storage) -> Claim | None:
    """The driver of the sweep in `folder`, if it has one that lives. A clock that is off by more than half a minute
    makes it look dead; who would take its place listens to it first (`Heartbeat`)."""
    claim = _claim(folder, DRIVERS, _last(folder, DRIVERS))
    return claim if claim is not None and claim.is_fresh() and claim.may_live() else None


class Taken(GenlabError):
    """Another process that lives holds the claim; `claim` is what it says of itself, None if it began just now."""

    def __init__(self, message: str, claim: Claim | None) -> None:
        super().__init__(message)
        self.claim = claim


def _last(folder: Storage, of: str) -> int:
    """The number of the last claim; 0 without any."""
    return max((int(name[:-5]) for name in folder.names(of) if re.fullmatch(r"\d{8,12}\.json", name)), default=0)


def _now() -> tuple[float, float]:
    """The time on two clocks: one goes on while the machine sleeps, the other one cannot be set."""
    return time.time(), time.monotonic()


def _path(of: str, number: int) -> str:
    return f"{of}/{number:08d}.json"


def _claim(folder: Storage, of: str, number: int) -> Claim | None:
    """A claim; None if there is none or it is damaged."""
    try:
        return checked(unseal(folder.read(_path(of, number), LONGEST)), Claim)
    except (FileNotFoundError, CorruptFile, ValueError):
        return None


class Heartbeat:
    """Claims something for this process, and renews the claim until `stop`."""

    def __init__(self, folder: Storage, of: str = DRIVERS, what: str = "a driver") -> None:
        """
        Args:
            folder: the sweep's own.
            of: the folder in it where claims to the same thing lie.
            what: this process would be, as messages say it.

        Raises:
            Taken: another process has it.
            CorruptFile: no further claim can be numbered.
        """
        self.folder, self.of = folder, of
        self.lost: Callable[[str], None] = lambda why: None  # called when another process has taken it over
        before = _last(folder, of)
        other = _claim(folder, of, before)
        if other is not None and other.may_live() and (other.is_fresh() or self._is_heard(before, other)):
            age = time.time() - other.time
            heard = f"heard {age:.0f} s ago" if 0 <= age <= STALE else "whose clock is another than this machine's"
            raise Taken(
                f"{folder.url} has {what} already: {other}, {heard}. Stop it first; a dead one is forgotten after "
                f"{STALE:.0f} s.",
                other,
            )
        self.number = before + 1
        if self.number > MOST:
            raise CorruptFile(f"{folder.where(_path(of, before))} is no claim of genlab's: remove it")
        try:
            folder.write_new(_path(of, self.number), self._sign())
        except AlreadyThere:
            raise Taken(f"{folder.url} has {what} already: it was started just now", None) from None
        self._renewed, self._lapsed = _now(), False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="heartbeat")
        self._thread.start()

    def _is_heard(self, number: int, before: Claim) -> bool:
        """Whether it beats, whatever its clock says. One of this machine has this machine's clock."""
        if before.is_seen():
            return False
        end = time.monotonic() + LISTEN
        while time.monotonic() < end:
            time.sleep(HEARTBEAT / 5)
            if _claim(self.folder, self.of, number) != before:
                return True
        return False

    def _sign(self) -> bytes:
        return seal(json.dumps(as_json(myself()))).encode()

    def _run(self) -> None:
        while not self._stop.wait(HEARTBEAT):
            try:
                last = _last(self.folder, self.of)
                other = _claim(self.folder, self.of, last) if last else None
                if last > self.number or (last == self.number and other is not None and not other.is_of(myself())):
                    self._lapsed = True
                    self.lost(f"{other} has taken the sweep over, since this process was not heard for a while")
                    return
                self._lapsed = self.lapsed
                if last == self.number:
                    self.folder.write(_path(self.of, self.number), self._sign())
                else:  # it is gone: made new, so that it takes nothing from who came meanwhile
                    self.folder.write_new(_path(self.of, self.number), self._sign())
                self._renewed = _now()
            except Exception:  # what else this process writes will tell of a storage that fails
                continue

    @property
    def lapsed(self) -> bool:
        """Whether the claim was once not renewed for so long that another process may have held it meanwhile, as where
        this one was suspended, or its machine. What was known before must be looked at anew, under a new claim."""
        return self._lapsed or any(now - then > LISTEN for now, then in zip(_now(), self._renewed, strict=True))

    def stop(self) -> None:
        """End the beat and take the claim back."""
        self._stop.set()
        self._thread.join(HEARTBEAT)
        other = None
        with contextlib.suppress(GenlabError):
            other = _claim(self.folder, self.of, self.number)
        if other is not None and other.is_of(myself()):
            self.folder.delete(_path(self.of, self.number))
