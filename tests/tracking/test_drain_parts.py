"""The two ends of the drain by themselves: the driver's with a made-up process, the process's with a made-up clock."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from made_sweeps import wait_for

from genlab.tracking import drain as module
from genlab.tracking import mlflow_runs
from genlab.tracking.drain import Drain, _Worker
from genlab.tracking.server import Refused, Unreachable

URI = "http://me:Secret@host:5000/mlflow/"


# The driver's side.


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: Any) -> Callable[[str], Path]:
    """Puts a shell script in the place of the process; returns the file where it may note what it heard."""
    script, heard = tmp_path / "python", tmp_path / "heard"
    heard.write_text("")

    def make(body: str) -> Path:
        script.write_text(f'#!/bin/sh\nheard="{heard}"\n{body}\n')
        script.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(script))
        return heard

    return make


ANSWERS = r"""
echo "$*" >> "$heard"
while read -r line; do
    echo "$line" >> "$heard"
    case "$line" in close*)
        echo '{"left": 2, "problem": "it is full", "page": "http://page", "notes": ["moved"]}'; exit 0;;
    esac
done
"""


def test_what_the_process_is_told(make_sweep: Any, stand_in: Any) -> None:
    sweep = make_sweep()
    heard = stand_in(ANSWERS)
    drain = Drain(sweep.records, URI, grace=31.0, patience=9.0)
    for n in (1, 4, 3, 5):
        drain.notify(n)
    assert drain.pid is not None and os.getsid(drain.pid) == drain.pid  # Ctrl-C does not reach it
    assert (drain.close(), drain.problem, drain.page) == (2, "it is full", "http://page")
    assert drain.notes == ["moved"]
    argv, order, *lines = heard.read_text().splitlines()
    assert argv == "-m genlab.tracking.drain"  # without the password, which every user of the machine could read there
    assert json.loads(order) == {
        "folder": sweep.records.storage.url,
        "tracking_uri": URI,
        "driver": os.getpid(),
        "grace": 31.0,
        "patience": 9.0,
    }
    assert lines == ["1", "4", "4", "5", "close 5"]  # never back to an earlier event
    assert drain.close() == 2  # some are left, so another one tries
    assert heard.read_text().splitlines()[-1] == "close 5" and heard.read_text().count("genlab.tracking.drain") == 2


def test_a_process_that_dies_at_once_is_not_started_in_a_loop(make_sweep: Any, stand_in: Any, monkeypatch: Any) -> None:
    heard = stand_in('echo start >> "$heard"; echo first >&2; echo "no such module" >&2; exit 3')
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    drain = Drain(make_sweep().records, URI)
    drain.notify(1)
    wait_for(lambda: not drain._alive())
    for clock.now in (101.0, 104.9):
        drain.notify(2)
    assert heard.read_text() == "start\n"
    clock.now = 105.1
    drain.notify(3)
    wait_for(lambda: heard.read_text() == "start\n" * 2)
    assert drain.close() == 3
    assert drain.problem is not None and drain.problem.endswith("ended with code 3: no such module")


def test_a_process_that_is_killed_in_its_last_seconds_is_started_again(make_sweep: Any, stand_in: Any) -> None:
    body = 'echo start >> "$heard"; while read -r line; do case "$line" in close*) break;; esac; done\n'
    body += 'if [ "$(wc -l < "$heard")" -lt 3 ]; then kill -9 $$; fi\n'
    heard = stand_in(f'{body}echo noise; echo \'{{"left": 0, "problem": null, "page": null, "notes": []}}\'')
    drain = Drain(make_sweep().records, URI)
    drain.notify(7)
    assert drain.close() == 0 and heard.read_text() == "start\n" * 3
    assert drain.problem is None and drain.pid is None


def test_a_process_that_hangs_at_its_end_is_killed(make_sweep: Any, stand_in: Any) -> None:
    stand_in("trap '' TERM; exec sleep 20")
    drain = Drain(make_sweep().records, URI, grace=-9.9, patience=0.0)  # 0.1 s in all
    drain.notify(4)
    assert drain.close() == 4 and drain.problem is not None and "code -9" in drain.problem


def test_a_process_that_cannot_be_started_stops_no_driver(make_sweep: Any, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
    drain = Drain(make_sweep().records, URI)
    drain.notify(4)
    assert drain.close() == 4 and drain.problem is not None and "cannot be told" in drain.problem


# The process's side.


class Ended(BaseException):
    """What stands for the end of the process."""

    def __init__(self, code: int) -> None:
        self.code = code


@pytest.fixture
def clock(monkeypatch: Any) -> Any:
    """The drain's time, which passes while it sleeps; `at` says what happens at each moment, at 1000 s all ends."""
    clock = SimpleNamespace(now=0.0, at=lambda _: None, parent=os.getpid())

    def sleep(seconds: float) -> None:
        clock.now += seconds
        if clock.now > 1000:
            raise TimeoutError("nothing ended it")
        clock.at(clock.now)

    def end(code: int) -> None:
        raise Ended(code)

    times = SimpleNamespace(monotonic=lambda: clock.now, time=lambda: 1_760_000_000.0 + clock.now, sleep=sleep)
    monkeypatch.setattr(module, "time", times)
    monkeypatch.setattr(
        module, "os", SimpleNamespace(_exit=end, getppid=lambda: clock.parent, path=os.path, getpid=os.getpid)
    )
    return clock


def worker(sweep: Any, lines: list[str] | None = None, uri: str = URI) -> _Worker:
    order = {"folder": sweep.records.storage.url, "tracking_uri": uri}
    order |= {"driver": os.getpid(), "grace": 30.0, "patience": 8.0}
    return _Worker([json.dumps(order), *(lines or [])], io.StringIO())


def last_words(one: _Worker) -> dict[str, Any]:
    assert isinstance(one.answer, io.StringIO)
    return json.loads(one.answer.getvalue())


def test_it_hears_numbers_then_close_and_dies_with_a_driver_that_said_no_close(make_sweep: Any, clock: Any) -> None:
    sweep = make_sweep()
    closed = worker(sweep, ["3\n", "5\n", "close 4\n"])
    clock.now = 12.0
    closed.listen()
    assert (closed.newest, closed.closing) == (5, 12.0)
    alone = worker(sweep, ["3\n"])
    with pytest.raises(Ended) as ended:
        alone.listen()
    assert ended.value.code == 1 and alone.newest == 3


@pytest.mark.parametrize(
    ("uri", "answers", "until", "why"),
    [
        (URI, 0.0, 18.0, "does not answer"),  # patience after `close`, which comes at 10 s
        (URI, 16.0, 24.0, "does not answer"),  # patience after the last that was taken
        (URI, 999.0, 40.0, "did not take everything within 30 s"),  # all the time something is taken: grace
        ("sqlite:////a.db", 0.0, 40.0, "did not take everything within 30 s"),  # a database may have to be made first
        ("sqlite:////full.db", 0.0, 18.0, "no space is left"),  # it was tried, and cannot be
    ],
)
def test_how_long_it_tries_after_close(
    uri: str, answers: float, until: float, why: str, make_sweep: Any, clock: Any
) -> None:
    """`answers`: until when the server takes one event after the other."""
    one = worker(make_sweep(), uri=uri)
    one.newest, one.done, one.unsent = 9, 4, 1
    one.problem = why if "full" in uri else None

    def at(now: float) -> None:
        if one.closing is None and now > 10:
            one.closing = 10.0
        if now <= answers:
            one.progress = now

    clock.at = at
    with pytest.raises(Ended) as ended:
        one.watch()
    assert ended.value.code == 0 and until - 0.2 < clock.now < until + 0.3
    told = last_words(one)
    assert told["left"] == 6 and why in told["problem"] and "Secret" not in told["problem"]


@pytest.mark.parametrize("closing", [None, 499.0])
def test_it_lasts_as_long_as_its_driver(closing: float | None, make_sweep: Any, clock: Any) -> None:
    """Also while it sends the rest: the driver may be ended by a second Ctrl-C, as it advises itself."""
    one = worker(make_sweep())
    with pytest.raises(TimeoutError):
        one.watch()
    one.closing = closing
    clock.now, clock.at = 0.0, lambda now: setattr(clock, "parent", 1 if now > 500 else os.getpid())
    with pytest.raises(Ended) as ended:  # although another process may hold the pipe open
        one.watch()
    assert ended.value.code == 1 and 500 < clock.now < 501 and one.answer.getvalue() == ""  # type: ignore[attr-defined]


class Broken(io.StringIO):
    """A pipe that nobody reads any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_it_ends_whatever_the_pipe_does(make_sweep: Any, clock: Any) -> None:
    one = worker(make_sweep())
    one.answer, one.closing = Broken(), 0.0
    with pytest.raises(Ended) as ended:
        one.watch()
    assert ended.value.code == 0 and clock.now < 9


def test_without_the_thread_that_would_end_it_it_ends(make_sweep: Any, clock: Any) -> None:
    one = worker(make_sweep(), ["no number\n"])
    with pytest.raises(Ended) as ended:
        one._surely(one.listen)
    assert ended.value.code == 1


class Heard(threading.Condition):
    """Notes what is waited for, whether that is so already and for how long, and waits for nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[tuple[bool, float | None]] = []

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        self.waits.append((bool(predicate()), timeout))
        return self.waits[-1][0]


class MadePublisher:
    """Stands where events are sent to: notes them, and raises what it is told to."""

    def __init__(self, *about: Any) -> None:
        MadePublisher.about = about
        self.unsent, self.page, self.notes = MadePublisher.unsent, "http://page", ["moved"]

    sent: list[int]
    stopped: list[float]
    faults: list[Exception | None]
    unsent: dict[Any, str]
    about: tuple[Any, ...]

    def publish(self, event: Any) -> None:
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            raise fault
        self.sent.append(event.n)

    def look_for_doubles(self) -> None:
        self.notes.append(f"looked after {len(self.sent)}")

    def interrupted(self, time: float) -> None:
        self.stopped.append(time)


@pytest.fixture
def made(monkeypatch: Any, clock: Any) -> type[MadePublisher]:
    MadePublisher.sent, MadePublisher.stopped, MadePublisher.faults, MadePublisher.unsent = [], [], [], {}
    monkeypatch.setattr(mlflow_runs, "Publisher", MadePublisher)
    return MadePublisher


def closing(sweep: Any, **state: Any) -> _Worker:
    one = worker(sweep)
    one.newest, one.closing = sweep.n, 0.0
    one.__dict__ |= state
    return one


def test_tries_grow_rarer_while_a_server_is_away_and_begin_anew_after_it_came_back(
    make_sweep: Any, made: Any, clock: Any, monkeypatch: Any
) -> None:
    sweep = make_sweep()
    sweep.whole_trial("00000", 1)
    sweep.end()
    one, pauses = closing(sweep), list[float]()

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        clock.now += seconds

    monkeypatch.setattr(one, "_pause", pause)
    made.faults = [*[Unreachable("away")] * 8, None, *[Unreachable("away")] * 2, None, None]
    one.send()
    assert pauses == [1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 30.0, 30.0, 1.0, 2.0]
    assert made.sent == [1, 2, 3] and made.stopped == []  # each once; the last one is the sweep's own end
    assert (one.done, one.unsent, one.problem, one.page, one.opened) == (3, 0, None, "http://page", True)
    assert one.progress == 131.0  # when the last one was taken, from which on `close` is patient
    assert made.about == (one.folder, sweep.records.name, sweep.records.manifest, URI)


def test_an_interrupted_sweep_is_marked_as_such(make_sweep: Any, made: Any) -> None:
    sweep = make_sweep()
    sweep.whole_trial("00000", 1)
    one = closing(sweep)
    one.send()
    assert made.sent == [1, 2] and made.stopped == [1_760_000_000.0]
    assert one.notes == ["moved", "looked after 2"]


def test_a_damaged_event_is_passed_by_and_told(make_sweep: Any, made: Any) -> None:
    sweep = make_sweep()
    sweep.whole_trial("00000", 3)
    sweep.records.storage.write("events/00000002.json", b"{")
    one = closing(sweep)
    one.send()
    with pytest.raises(Ended):
        one.end("because it ended")
    assert made.sent == [1, 3, 4]
    told = last_words(one)
    assert told["left"] == 1 and "events/00000002.json" in told["problem"] and told["page"] == "http://page"


@pytest.mark.parametrize("at", [1, 3])
def test_a_drain_that_was_suspended_goes_through_all_again(at: int, make_sweep: Any, made: Any) -> None:
    """Another process may have sent meanwhile: also while the last event was being sent."""
    sweep = make_sweep()
    sweep.whole_trial("00000", 1)
    sweep.end()
    one, publish, claims = closing(sweep), made.publish, list[Any]()

    class Suspended(made):
        def publish(self, event: Any) -> None:
            publish(self, event)
            if event.n == at and not claims:
                claims.append(one.claim)
                claims[0]._lapsed = True

    mlflow_runs.Publisher = Suspended  # type: ignore[misc]
    one.send()
    assert made.sent == [*range(1, at + 1), 1, 2, 3]
    assert one.claim is not None and one.claim is not claims[0] and (one.done, one.unsent) == (3, 0)


def test_an_event_that_cannot_be_read_yet_is_waited_for(make_sweep: Any, made: Any, monkeypatch: Any) -> None:
    """A store may show a file some time after it was written."""
    sweep = make_sweep()
    sweep.whole_trial("00000", 1)
    one = closing(sweep, newest=3)
    monkeypatch.setattr(one, "_pause", lambda _: sweep.end())
    one.send()
    assert made.sent == [1, 2, 3]


@pytest.mark.parametrize(
    ("fault", "problem"),
    [(Refused("no permission"), "no permission"), (KeyError("a fault of ours"), "KeyError: 'a fault of ours'")],
)
def test_what_is_refused_for_good_is_told_at_close_with_all_that_is_left(
    fault: Exception, problem: str, make_sweep: Any, made: Any, monkeypatch: Any
) -> None:
    sweep = make_sweep()
    sweep.whole_trial("00000", 4)
    made.faults = [None, None, fault]
    one = worker(sweep)
    one.newest, one.news = sweep.n, Heard()
    monkeypatch.setattr(
        module,
        "threading",
        SimpleNamespace(Thread=lambda **_: Idle()),
    )
    with pytest.raises(Ended) as ended:
        one.run()
    assert one.news.waits[-1] == (False, None)  # `close` has not come, and is waited for
    assert ended.value.code == 0 and made.sent == [1, 2]
    assert last_words(one) == {"left": 3, "problem": problem, "page": "http://page", "notes": ["moved"]}


class Idle:
    """In the place of a thread."""

    def start(self) -> None:
        pass

    def join(self, seconds: float) -> None:
        pass


def test_it_waits_for_news_or_for_close(make_sweep: Any) -> None:
    one = worker(make_sweep())
    one.news = news = Heard()
    one.newest = one.done = 3
    assert not one._wait_for_news() and news.waits.pop() == (False, None)
    one.newest = 4
    assert one._wait_for_news() and news.waits.pop() == (True, None)
    one.closing = 1.0
    assert one._wait_for_news() and news.waits.pop() == (True, None)  # what is left is sent
    one.done = 4
    assert not one._wait_for_news() and news.waits.pop() == (True, None)


def test_after_close_tries_are_a_second_apart(make_sweep: Any) -> None:
    one = worker(make_sweep())
    one.news = news = Heard()
    one._pause(20.0)
    one.closing = 1.0
    for seconds in (20.0, 0.5):
        one._pause(seconds)
    assert news.waits == [(False, 20.0), (False, 1.0), (False, 0.5)]


def test_a_pause_ends_when_close_comes(make_sweep: Any) -> None:
    entered = threading.Event()

    class Entered(threading.Condition):
        def wait(self, timeout: float | None = None) -> bool:
            entered.set()  # the lock is still held, and is free once it waits
            return super().wait(timeout)

    one = worker(make_sweep())
    one.news = Entered()
    waiting = threading.Thread(target=one._pause, args=(600.0,), daemon=True)
    waiting.start()
    assert entered.wait(60)
    with one.news:
        one.closing = 1.0
        one.news.notify_all()
    waiting.join(60)
    assert not waiting.is_alive()
