"""The claim that keeps a second driver away while the first one lives, and no longer."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from made_sweeps import wait_for

from genlab.errors import CorruptFile, GenlabError, StorageError
from genlab.sealed import seal, unseal
from genlab.tracking import claims as module
from genlab.tracking.claims import Heartbeat, live_driver
from genlab.tracking.schema import as_json
from genlab.tracking.storage import Storage

NOW = 1_760_000_000.0
FIRST, SECOND = "drivers/00000001.json", "drivers/00000002.json"
OWN = {
    "host": socket.gethostname(),
    "processes": module.myself().processes,
    "pid": os.getpid(),
    "started": psutil.Process().create_time(),
    "time": NOW,
}
OTHER = {"host": "another", "processes": "", "pid": 1, "started": 0.0, "time": NOW}


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path))


def read_json(storage: Storage, path: str) -> dict[str, Any]:
    return unseal(storage.read(path))


class Clock:
    """In the module's place of `time`. `while_asleep` is called at each second."""

    def __init__(self) -> None:
        self.now, self.slept = NOW, 0.0
        self.while_asleep: Callable[[float], None] = lambda slept: None

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.slept

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self.while_asleep(self.slept)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


def claim(storage: Storage, path: str, driver: Any) -> None:
    storage.write(path, seal(json.dumps(driver)).encode() if driver else b"{}")


@pytest.mark.parametrize(
    ("driver", "lives"),
    [
        (OTHER, True),
        (OTHER | {"time": NOW - 29}, True),
        (OTHER | {"time": NOW - 31}, False),
        (OTHER | {"time": int(NOW)}, True),
        (OTHER | {"time": "soon"}, False),
        (OTHER | {"time": None}, False),
        (OWN, True),
        (OWN | {"time": NOW - 31}, False),  # it hangs
        (OWN | {"started": OWN["started"] - 100}, False),  # its number was given to another process
        (OWN | {"pid": 2**22 + 1}, False),  # above what Linux gives
        (OWN | {"pid": "x"}, False),
        (OWN | {"pid": -1}, False),
        (OWN | {"pid": 2**22 + 1, "processes": "those of a container"}, True),  # it cannot be seen from here
        (OWN | {"pid": 2**22 + 1, "processes": "those of a container", "time": NOW - 31}, False),
        (OWN | {"host": "another"}, True),
        ({"host": OWN["host"], "time": NOW}, False),
        ({name: OWN[name] for name in OWN if name != "processes"}, False),
        ({}, False),
    ],
)
def test_a_driver_lives_while_its_beat_is_fresh_and_its_process_is_there(
    driver: dict[str, Any], lives: bool, storage: Storage, clock: Clock
) -> None:
    claim(storage, FIRST, driver)
    found = live_driver(storage)
    assert (found and as_json(found)) == (driver if lives else None)
    if lives:
        with pytest.raises(GenlabError, match=f"process {driver['pid']} on {driver['host']}, heard") as refused:
            Heartbeat(storage)
        assert f"heard {NOW - driver['time']:.0f} s ago" in str(refused.value)
        assert storage.names("drivers") == ["00000001.json"]
    else:
        mine = Heartbeat(storage)
        found = live_driver(storage)
        assert found is not None and found.pid == os.getpid() and mine.number == 2
        mine.stop()
        assert storage.names("drivers") == ["00000001.json"]
    assert driver == {} or read_json(storage, FIRST) == driver  # nobody touches another's


def test_a_claim_that_is_junk_is_nobodys(storage: Storage) -> None:
    storage.write(FIRST, b"\x80\x04junk")
    Heartbeat(storage).stop()
    assert storage.read(FIRST) == b"\x80\x04junk"


@pytest.mark.parametrize("off", [-60.0, 60.0, -3600.0])
@pytest.mark.parametrize("beats", [True, False])
def test_a_clock_that_is_off_lets_no_second_driver_in(off: float, beats: bool, storage: Storage, clock: Clock) -> None:
    """Who does not beat is dead, whatever the time in its claim; who does is listened to, not looked up."""
    claim(storage, FIRST, OTHER | {"time": NOW + off})

    def beat(slept: float) -> None:
        if beats and slept % 5 == 0:
            claim(storage, FIRST, OTHER | {"time": NOW + off + slept})

    clock.while_asleep = beat
    if beats:
        with pytest.raises(GenlabError, match="process 1 on another, whose clock is another than this machine's"):
            Heartbeat(storage)
        assert clock.slept <= module.LISTEN
    else:
        Heartbeat(storage).stop()
        assert clock.slept >= 3 * module.HEARTBEAT


@pytest.mark.parametrize("sees", ["time", "monotonic"])
@pytest.mark.parametrize("beats", [True, False])
def test_a_claim_that_was_long_not_renewed_has_lapsed_for_good(
    sees: str, beats: bool, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever clock says so: one stands still while the machine sleeps, the other one may be set."""
    monkeypatch.setattr(module, "HEARTBEAT", 0.02 if beats else 60.0)
    now = {"time": NOW, "monotonic": 5.0}
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: now["time"], monotonic=lambda: now["monotonic"]))
    mine = Heartbeat(storage)
    now[sees] += module.LISTEN
    assert not mine.lapsed
    if beats:
        wait_for(lambda: mine._renewed == (now["time"], now["monotonic"]))
    now[sees] += module.LISTEN / 2 if beats else 0.1
    assert mine.lapsed is not beats
    now[sees] += module.LISTEN
    assert mine.lapsed
    if beats:  # and a beat does not mend it
        wait_for(lambda: mine._renewed == (now["time"], now["monotonic"]))
        assert mine.lapsed
    monkeypatch.setattr(module, "HEARTBEAT", 60.0)
    mine.stop()


def test_claims_are_seen_whatever_their_number(storage: Storage, clock: Clock) -> None:
    claim(storage, "drivers/99999999.json", OTHER | {"time": NOW - 60})
    first = Heartbeat(storage)
    assert storage.names("drivers") == ["100000000.json", "99999999.json"]
    with pytest.raises(GenlabError, match=f"process {os.getpid()} on"):
        Heartbeat(storage)
    first.stop()
    clock.now += 60
    claim(storage, f"drivers/{10**12 - 1}.json", OTHER)
    with pytest.raises(CorruptFile, match=r"drivers/999999999999\.json is no claim"):
        Heartbeat(storage)


@pytest.mark.skipif(not shutil.which("unshare") or os.geteuid() != 0, reason="needs root, and util-linux")
def test_a_container_of_the_same_name_leaves_a_live_claim_alone(storage: Storage) -> None:
    """It does not see the process that has it."""
    mine = Heartbeat(storage)
    code = (
        "import sys; from genlab.tracking.claims import Heartbeat;"
        "from genlab.tracking.storage import Storage; Heartbeat(Storage(sys.argv[1]))"
    )
    namespace = ["unshare", "--pid", "--fork", "--mount-proc"]
    done = subprocess.run([*namespace, sys.executable, "-c", code, storage.url], capture_output=True, text=True)
    if done.stderr.startswith("unshare:"):
        pytest.skip(done.stderr)
    assert done.returncode == 1 and f"has a driver already: process {os.getpid()} on" in done.stderr
    mine.stop()


def test_of_two_that_start_at_once_one_drives(storage: Storage) -> None:
    results: list[Any] = []
    ready = threading.Barrier(6)

    def start() -> None:
        ready.wait()
        try:
            results.append(Heartbeat(storage))
        except GenlabError as error:
            results.append(str(error))

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (won,) = [one for one in results if isinstance(one, Heartbeat)]
    assert all("has a driver already" in one for one in results if one is not won) and len(results) == 6
    won.stop()
    assert storage.names("drivers") == []


def test_a_driver_that_died_on_this_machine_is_forgotten_at_once(storage: Storage) -> None:
    code = (
        "import os, sys; from genlab.tracking.claims import Heartbeat;"
        "from genlab.tracking.storage import Storage; Heartbeat(Storage(sys.argv[1])); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, storage.url], check=False)
    assert storage.exists(FIRST) and live_driver(storage) is None
    Heartbeat(storage).stop()


def test_a_driver_that_was_taken_for_dead_hears_that_another_one_drives_and_says_no_more(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEARTBEAT", 0.02)
    heard: list[str] = []
    first = Heartbeat(storage)
    first.lost = heard.append
    claim(storage, SECOND, OTHER)
    wait_for(lambda: heard)
    assert heard[0].startswith("process 1 on another has taken the sweep over")
    told = read_json(storage, FIRST)
    wait_for(lambda: not first._thread.is_alive())
    assert read_json(storage, FIRST) == told and len(heard) == 1
    monkeypatch.setattr(module, "HEARTBEAT", 60.0)
    first.stop()
    assert read_json(storage, SECOND) == OTHER


def test_the_heart_beats_until_it_is_stopped_whatever_the_storage_does(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 3 * module.HEARTBEAT <= module.STALE  # a late beat is no death
    monkeypatch.setattr(module, "HEARTBEAT", 0.01)
    clock = [NOW]
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: clock[0], monotonic=lambda: clock[0]))
    heartbeat = Heartbeat(storage)
    try:
        assert read_json(storage, FIRST) == OWN  # before anything else happens
        for later in (20.0, 40.0, 60.0):
            clock[0] = NOW + later
            wait_for(lambda: read_json(storage, FIRST)["time"] == clock[0])
        tries: list[str] = []

        def fails(path: str, data: bytes) -> Any:
            tries.append(path)
            raise StorageError("full")

        with monkeypatch.context() as patch:
            patch.setattr(heartbeat.folder, "write", fails)
            wait_for(lambda: len(tries) >= 3)
        clock[0] = NOW + 80
        wait_for(lambda: read_json(storage, FIRST)["time"] == clock[0])
    finally:
        monkeypatch.setattr(module, "HEARTBEAT", 60.0)  # how long `stop` waits for a beat that is being written
        heartbeat.stop()
    assert not any(thread.name == "heartbeat" for thread in threading.enumerate())
    assert storage.names("drivers") == []
