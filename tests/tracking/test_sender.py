"""Two processes that send one sweep to one place at once: one of them does, and no trial has two runs."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from made_sweeps import assert_complete, wait_for

from genlab.errors import StorageError
from genlab.tracking import claims
from genlab.tracking.claims import Heartbeat
from genlab.tracking.drain import Drain
from genlab.tracking.replay import Replayed, replay
from genlab.tracking.runs import Runs
from genlab.tracking.sender import Busy, claim

WAITS = "import time, sys\nfrom genlab.tracking.sender import claim\nfrom genlab.tracking.storage import Storage\n"


def spellings(uri: str) -> list[str]:
    """Other ways to write the address of a database, or of a server of this machine."""
    if path := uri.removeprefix("sqlite:///") if uri.startswith("sqlite") else None:
        folder, name = path.rsplit("/", 1)
        return [uri, f"sqlite:///{folder}/./{name}", f"sqlite:////{folder}//{name}", f"sqlite+pysqlite:///{path}"]
    port = uri.rpartition(":")[2]
    return [uri, f"{uri}/", f"http://ann:secret@127.0.0.1:{port}", f"HTTP://localhost:{port}/"]


def typed(sweep: Any, uri: str) -> subprocess.Popen[str]:
    """A `genlab replay` that runs."""
    command = [sys.executable, "-c", "from genlab.cli import main; main()", "replay", sweep.storage.url]
    pipe = subprocess.PIPE
    return subprocess.Popen([*command, "--tracking-uri", uri], text=True, stdout=pipe, stderr=pipe)


@pytest.mark.parametrize("where", ["database", "server"])
def test_of_replays_at_once_one_sends_however_each_writes_the_address(
    where: str, make_sweep: Any, database: str, request: pytest.FixtureRequest
) -> None:
    uri = database if where == "database" else request.getfixturevalue("mlflow_server").uri
    sweep = make_sweep(f"at_once_{where}")
    for trial in range(4):
        sweep.whole_trial(f"{trial:05d}", 3)
    sweep.end()
    ways = spellings(uri)
    running = [typed(sweep, ways[0]), typed(sweep, ways[2])]
    said = [process.communicate(timeout=120) for process in running]
    codes = [process.returncode for process in running]
    if codes != [0, 0]:  # else one was over before the other began
        assert sorted(codes) == [0, 1]
        loser = said[codes.index(1)][0]
        assert "sends it to" in loser and "secret" not in "".join(said[codes.index(1)])
    assert_complete(sweep, uri)
    for way in (ways[1], ways[3]):
        (result,) = replay(sweep.storage.url, tracking_uri=way)
        assert (result.left, result.restored, result.notes) == (0, 0, [])
    assert_complete(sweep, uri)


@pytest.mark.parametrize("way", [0, 1, 2, 3])
def test_a_replay_leaves_to_a_drain_what_it_sends(way: int, make_sweep: Any, database: str) -> None:
    sweep = make_sweep()
    sweep.whole_trial("00000", 6)
    drain = Drain(sweep.records, database, grace=60, patience=60)
    drain.notify(sweep.n)
    wait_for(lambda: [*Path(sweep.records.storage.where("senders")).glob("*/*.json")], 60)
    (result,) = replay(sweep.storage.url, tracking_uri=spellings(database)[way])
    assert result.left == sweep.n and f"process {drain.pid} on" in str(result.problem)
    sweep.end()
    drain.notify(sweep.n)
    assert drain.close() == 0
    assert_complete(sweep, database)
    (result,) = replay(sweep.storage.url, tracking_uri=spellings(database)[way])
    assert (result.left, result.problem, result.restored) == (0, None, 0)
    (sender,) = sweep.records.storage.names("senders")
    assert sweep.records.storage.names(f"senders/{sender}") == []


def test_a_drain_waits_for_a_replay_and_sends_the_rest(make_sweep: Any, database: str) -> None:
    sweep = make_sweep()
    sweep.whole_trial("00000", 2)
    sweep.end()
    replaying = claim(sweep.records.storage, database)
    drain = Drain(sweep.records, database, grace=60, patience=60)
    drain.notify(sweep.n)
    wait_for(lambda: drain.pid is not None and psutil.Process(drain.pid).cpu_times().user > 0.5, 60)
    replaying.stop()
    assert drain.close() == 0 and drain.problem is None
    assert_complete(sweep, database)


def test_two_places_have_a_sender_each(make_sweep: Any, database: str, tmp_path: Path) -> None:
    folder = make_sweep().records.storage
    elsewhere = f"sqlite:///{tmp_path}/other.db"
    first = claim(folder, database)
    second = claim(folder, elsewhere)
    for uri in (database, elsewhere):
        with pytest.raises(Busy, match=r"process \d+ on .* sends it to sqlite"):
            claim(folder, uri)
    first.stop()
    claim(folder, database).stop()
    second.stop()


def test_a_sender_that_was_killed_keeps_nobody_away(make_sweep: Any, database: str) -> None:
    sweep = make_sweep()
    sweep.whole_trial("00000", 1)
    code = f"{WAITS}claim(Storage({sweep.records.storage.url!r}), {database!r})\nprint(1, flush=True)\ntime.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        with pytest.raises(Busy, match=f"process {process.pid} on"):
            claim(sweep.records.storage, database)
        process.kill()
    assert replay(sweep.storage.url, tracking_uri=database)[0].left == 0


def test_who_cannot_claim_sends_all_the_same_and_says_so(
    make_sweep: Any, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a sweep in a folder that may only be read."""
    sweep = make_sweep()
    sweep.whole_trial("00000", 1)
    sweep.end()

    def refuses(*_: Any) -> None:
        raise StorageError("read-only file system")

    monkeypatch.setattr("genlab.tracking.storage.Storage.write_new", refuses)
    (result,) = replay(sweep.storage.url, tracking_uri=database)
    assert result.left == 0
    assert result.notes == ["nobody is kept from sending it at the same time: read-only file system"]
    assert_complete(sweep, database)


def test_a_claim_is_given_back_whatever_happens(
    make_sweep: Any, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep()
    sweep.whole_trial("00000", 1)
    stopped: list[Any] = []
    stop = Heartbeat.stop
    monkeypatch.setattr(Heartbeat, "stop", lambda one: (stopped.append(one), stop(one)))
    monkeypatch.setattr("genlab.tracking.mlflow_runs.Publisher.publish", lambda *_: {}["a fault of ours"])
    (result,) = replay(sweep.storage.url, tracking_uri=database)
    assert result.left == sweep.n and "KeyError" in str(result.problem) and len(stopped) == 1
    monkeypatch.undo()
    assert replay(sweep.storage.url, tracking_uri=database)[0].left == 0


@pytest.fixture
def asleep(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Call it with seconds in which this process was suspended. No claim is renewed meanwhile, or after."""
    gone = [0.0]
    clock = SimpleNamespace(
        time=lambda: time.time() + gone[0], monotonic=lambda: time.monotonic() + gone[0], sleep=time.sleep
    )
    monkeypatch.setattr(claims, "time", clock)
    monkeypatch.setattr(claims, "HEARTBEAT", 60.0)
    return lambda seconds: gone.__setitem__(0, gone[0] + seconds)


def test_a_replay_that_was_suspended_goes_through_all_again(
    make_sweep: Any, database: str, asleep: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one took it for dead, and sent all, while this one was about to make the run of a trial."""
    sweep = make_sweep()
    for trial in range(3):
        sweep.whole_trial(f"{trial:05d}", 2)
    sweep.end()
    create, others = Runs.create, list[Replayed]()

    def suspended(self: Runs, name: str, *about: Any) -> Any:
        if name == "00001" and not others:
            monkeypatch.setattr(Runs, "create", create)
            asleep(40)
            others.extend(replay(sweep.storage.url, tracking_uri=database))
        return create(self, name, *about)

    monkeypatch.setattr(Runs, "create", suspended)
    (result,) = replay(sweep.storage.url, tracking_uri=database)
    assert [(one.left, one.problem) for one in (result, *others)] == [(0, None)] * 2
    assert_complete(sweep, database)
    (sender,) = sweep.records.storage.names("senders")
    assert sweep.records.storage.names(f"senders/{sender}") == []


def test_a_replay_that_was_suspended_leaves_to_another_one_what_it_sends_now(
    make_sweep: Any, database: str, asleep: Callable[[float], None]
) -> None:
    sweep = make_sweep()
    sweep.whole_trial("00000", 2)
    taken: list[Heartbeat] = []

    def progress(_: str, done: int, __: int) -> None:
        if done == 2:
            asleep(40)
            taken.append(claim(sweep.records.storage, database))

    (result,) = replay(sweep.storage.url, tracking_uri=database, progress=progress)
    assert "sends it to" in str(result.problem) and result.left == sweep.n - 2
    taken[0].stop()
    assert replay(sweep.storage.url, tracking_uri=database)[0].left == 0
