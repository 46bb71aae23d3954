"""The drain: a process beside the driver that sends what events name to MLflow, and slows nothing down.

The driver tells it numbers of events, one a line; the drain reads the events themselves from the records. It keeps no
state: started anew, it passes by what is there already. It ends with its driver, whatever it is doing, since another
driver, or `genlab replay`, may send the same events as soon as this one is gone. While it sends it holds a claim to the
pair of sweep and server, so that nobody else sends meanwhile.

    driver → drain   an Order, then `<n>` for each event, at last `close <n>`
    drain → driver   LastWords at the end, nothing before
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

import msgspec

from genlab.errors import CorruptFile, StorageError
from genlab.tracking.address import is_http, shown
from genlab.tracking.claims import Heartbeat
from genlab.tracking.event_files import EventFiles
from genlab.tracking.events import AnyEvent, SweepEnded
from genlab.tracking.manifest import read_manifest
from genlab.tracking.records import Records
from genlab.tracking.schema import Record
from genlab.tracking.sender import Busy, claim
from genlab.tracking.server import Refused, Unreachable, quiet_mlflow
from genlab.tracking.storage import MANIFEST, Storage

PAUSES = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)  # seconds between tries while a server is unreachable; the last one stays
GRACE = 120.0  # seconds after `close` in which a backlog may go on being sent, on a machine that has other work, too
PATIENCE = 8.0  # seconds after `close` without any progress; making a new SQLite database takes longer, and has GRACE
RELEASE = 2.0  # seconds at the end in which the claim is given back, on a storage that may hang
RESTART = 5.0  # seconds at least between two starts of a drain that dies


class Order(Record, frozen=True):
    """What a drain is told once: whose events it sends, where to, for whom, and how long it may take at the end."""

    folder: str
    tracking_uri: str
    driver: int
    grace: float
    patience: float


class LastWords(Record, frozen=True):
    """What a drain says at its end: how many events are left and why, where a browser shows what was sent, and what was
    done to the server beside sending."""

    left: int
    problem: str | None
    page: str | None
    notes: list[str]


class Drain:
    """The driver's side. No method but `close` ever waits, and none raises because of a server."""

    def __init__(self, records: Records, tracking_uri: str, grace: float = GRACE, patience: float = PATIENCE) -> None:
        """Starts nothing yet.

        Args:
            records: the sweep's.
            tracking_uri: http(s)://… or a database such as sqlite:///….
            grace: seconds that `close` gives a backlog at most.
            patience: seconds that `close` waits for any progress.
        """
        self.problem: str | None = None  # after `close`: why not all was sent
        self.page: str | None = None  # after `close`: where a browser shows it
        self.notes: list[str] = []  # after `close`: what was done to the server beside sending
        self._records, self._uri, self._grace, self._patience = records, tracking_uri, grace, patience
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._started = 0.0
        self._newest = 0

    @property
    def pid(self) -> int | None:
        """The process that sends, if one has been started."""
        return self._process.pid if self._process else None

    def notify(self, n: int) -> None:
        """Events up to number `n` are committed: send them."""
        self._newest = max(self._newest, n)
        if self._alive() or self._process is None or time.monotonic() - self._started > RESTART:
            self._tell(str(self._newest))

    def close(self) -> int:
        """Send what is left, as long as the server takes it, and end. Returns how many events could not be sent."""
        if not self._newest:
            return 0
        left = self._newest
        for _ in range(3):  # a drain that is killed in its last seconds is started again
            self._tell(f"close {self._newest}")
            outcome = self._last_words() if self._process else None
            if outcome is not None:
                left, self.problem, self.page, self.notes = outcome.left, outcome.problem, outcome.page, outcome.notes
                break
        self._release()
        self._process = None
        self._newest = self._newest if left else 0
        return left

    def _alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _tell(self, line: str) -> None:
        try:
            if not self._alive():
                self._start()
            assert self._process is not None and self._process.stdin is not None
            os.write(self._process.stdin.fileno(), f"{line}\n".encode())  # whole or not at all: shorter than PIPE_BUF
        except OSError as error:  # it sleeps or has just died, or cannot be started: a later line says more than this
            self.problem = f"the drain cannot be told: {error}"

    def _start(self) -> None:
        self._release()
        self._started = time.monotonic()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the process)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "genlab.tracking.drain"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,  # Ctrl-C is the driver's: it says `close`
        )
        assert self._process.stdin is not None
        # not in argv, since a password may be in it
        order = Order(
            folder=self._records.storage.url,
            tracking_uri=self._uri,
            driver=os.getpid(),
            grace=self._grace,
            patience=self._patience,
        )
        os.write(self._process.stdin.fileno(), msgspec.json.encode(order) + b"\n")
        os.set_blocking(self._process.stdin.fileno(), False)

    def _last_words(self) -> LastWords | None:
        """What the drain says at its end; None if it was killed."""
        assert self._process is not None and self._errors is not None
        try:
            said, _ = self._process.communicate(timeout=self._grace + self._patience + 10)
        except subprocess.TimeoutExpired:  # its own watch should have ended it
            self._process.kill()
            said, _ = self._process.communicate()
        try:
            return msgspec.json.decode(said.splitlines()[-1], type=LastWords)
        except (IndexError, msgspec.DecodeError):
            self._errors.seek(0)
            told = self._errors.read().decode(errors="replace").strip().splitlines()
            self.problem = f"the drain ended with code {self._process.returncode}: {told[-1] if told else 'no message'}"
            return None

    def _release(self) -> None:
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout, self._errors):
                if pipe is not None:
                    pipe.close()


class _Worker:
    """The process's side: one thread listens, one watches the clock, the main one sends."""

    def __init__(self, lines: Iterable[str], answer: IO[str]) -> None:
        self.lines, self.answer = iter(lines), answer
        order = msgspec.json.decode(next(self.lines), type=Order)
        self.folder, self.tracking_uri = Storage(order.folder, marker=MANIFEST), order.tracking_uri
        self.driver, self.grace, self.patience = order.driver, order.grace, order.patience
        self.newest = self.done = self.unsent = 0
        self.problem: str | None = None
        self.page: str | None = None
        self.notes: list[str] = []
        self.claim: Heartbeat | None = None  # while it sends
        self.closing: float | None = None  # when `close` came
        self.progress = time.monotonic()
        self.opened = is_http(self.tracking_uri)
        self.news = threading.Condition()
        self.last = threading.Lock()

    def listen(self) -> None:
        """Lines from the driver. Always read, so that its pipe never fills."""
        for line in self.lines:
            word, _, number = line.strip().rpartition(" ")
            with self.news:
                self.newest = max(self.newest, int(number))
                if word == "close":
                    self.closing = time.monotonic()
                self.news.notify_all()
        if self.closing is None:
            self.die()

    def watch(self) -> None:
        """End with the driver; and give up when time is over, even if a request hangs."""
        while True:
            time.sleep(0.1)
            if os.getppid() != self.driver:
                self.die()
            if self.closing is None:
                continue
            now = time.monotonic()
            if now > self.closing + self.grace:
                self.end(f"{shown(self.tracking_uri)} did not take everything within {self.grace:.0f} s")
            # until it was opened once without a fault, a new database may be being made, which takes longer
            elif (self.opened or self.problem) and now > max(self.closing, self.progress) + self.patience:
                self.end(f"{shown(self.tracking_uri)} does not answer")

    def die(self) -> None:
        """The driver is gone, and nobody listens. What is cut off is sent by whoever comes next."""
        os._exit(1)

    def end(self, otherwise: str | None = None) -> None:
        """Say what is left and stop. Sending again leaves nothing doubled, so this may cut off anything."""
        with self.last:  # never left: the process ends in it
            left = self.newest - self.done + self.unsent
            problem = (self.problem or otherwise) if left else None
            words = LastWords(left=left, problem=problem, page=self.page, notes=self.notes)
            with contextlib.suppress(OSError):  # the driver may be gone
                self.answer.write(f"{msgspec.json.encode(words).decode()}\n")
                self.answer.flush()
            if self.claim is not None:
                giving = threading.Thread(target=self.claim.stop, daemon=True)
                giving.start()
                giving.join(RELEASE)
            os._exit(0)

    def send(self) -> None:
        """All events in their order, as they come, until `close`."""
        quiet_mlflow()
        from genlab.tracking.mlflow_runs import Publisher

        publisher, event, tries = None, None, 0
        read: deque[AnyEvent] = deque()  # and not yet sent
        while self._wait_for_news():
            try:
                if self.claim is not None and self.claim.lapsed:  # another process may have sent meanwhile
                    self.claim.stop()
                    self.claim = publisher = None
                    self.done = 0
                    read.clear()
                if publisher is None:
                    self.claim = self.claim or claim(self.folder, self.tracking_uri)
                    manifest = read_manifest(self.folder)
                    files = EventFiles(self.folder)
                    name = self.folder.url.rpartition("/")[2]
                    publisher = Publisher(self.folder, name, manifest, self.tracking_uri)
                try:
                    if not read:
                        read.extend(files.read_from(self.done + 1))
                    publisher.publish(read[0])
                    event = read.popleft()
                except CorruptFile as error:
                    publisher.unsent["", self.done + 1] = str(error)
            except (Unreachable, StorageError, FileNotFoundError, Busy) as error:
                self.problem = str(error)
                self._pause(PAUSES[min(tries, len(PAUSES) - 1)])
                tries += 1
                continue
            self.done, self.opened, tries, self.progress = self.done + 1, True, 0, time.monotonic()
            self.unsent, self.problem = len(publisher.unsent), next(iter(publisher.unsent.values()), None)
            self.page, self.notes = publisher.page, publisher.notes
        if publisher is not None:
            publisher.look_for_doubles()
            self.notes = publisher.notes
            if not isinstance(event, SweepEnded):
                publisher.interrupted(time.time())

    def run(self) -> None:
        """Until the driver is gone, all is sent after `close`, or its grace is over."""
        for work in (self.listen, self.watch):
            threading.Thread(target=self._surely, args=(work,), daemon=True).start()
        try:
            self.send()
        except Exception as error:  # refused for good, or a fault of ours: said at `close`, never tried in a loop
            self.problem = (
                str(error) if isinstance(error, Refused | Unreachable) else f"{type(error).__name__}: {error}"
            )
            with self.news:
                self.news.wait_for(lambda: self.closing is not None)
        self.end()

    def _surely(self, work: Callable[[], None]) -> None:
        """What must not end while the process lives: without it nobody would end this."""
        try:
            work()
        except Exception:
            traceback.print_exc()
            self.die()

    def _wait_for_news(self) -> bool:
        """False when `close` has come and all is sent, while the claim was held."""
        with self.news:
            self.news.wait_for(lambda: self.newest > self.done or self.closing is not None)
            return self.newest > self.done or (self.claim is not None and self.claim.lapsed)

    def _pause(self, seconds: float) -> None:
        """Wait, but when `close` comes try at once, and then every second."""
        with self.news:
            closing = self.closing is not None
            self.news.wait_for(
                lambda: self.closing is not None and not closing, min(seconds, 1.0 if closing else seconds)
            )


def _step_back() -> None:
    """The lanes come first. Where Linux shares the CPU out among sessions, as it often does, niceness counts only among
    the processes of one, and this one has its own: a tenth of a lane's share, for somebody may be watching."""
    os.nice(19)
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):
            Path("/proc/self/autogroup").write_text("10")


def main() -> None:
    """The process. Its standard output is for its last line alone, so what libraries print goes to the errors."""
    _step_back()
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _Worker(sys.stdin, answer).run()


if __name__ == "__main__":
    main()
