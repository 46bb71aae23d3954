"""The heartbeat that keeps a second driver away while the first one lives, and no longer."""

from __future__ import annotations

import json
import os
import socket
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from made_sweeps import wait_for

from genlab.errors import GenlabError, StorageError
from genlab.tracking import records as module
from genlab.tracking.records import Heartbeat, live_driver, read_json
from genlab.tracking.storage import Storage

NOW = 1_760_000_000.0
OWN = {"host": socket.gethostname(), "pid": os.getpid(), "started": psutil.Process().create_time(), "time": NOW}
OTHER = {"host": "another", "pid": 1, "started": 0.0, "time": NOW}


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path))


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
        (OWN | {"time": NOW - 31}, False),
        (OWN | {"started": OWN["started"] - 100}, False),  # its number was given to another process
        (OWN | {"pid": 2**22 + 1}, False),  # above what Linux gives
        (OWN | {"pid": "x"}, False),
        (OWN | {"pid": -1}, False),
        ({"host": OWN["host"], "time": NOW}, False),
        ({}, False),
    ],
)
def test_a_driver_lives_while_its_beat_is_fresh_and_its_process_is_there(
    driver: dict[str, Any], lives: bool, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: NOW))
    storage.write("driver.json", json.dumps(driver).encode())
    assert live_driver(storage) == (driver if lives else None)
    if not lives:
        Heartbeat(storage).stop()
        return
    with pytest.raises(GenlabError, match=f"process {driver['pid']} on {driver['host']}, heard") as refused:
        Heartbeat(storage)
    assert f"heard {NOW - driver['time']:.0f} s ago" in str(refused.value)
    assert read_json(storage, "driver.json") == driver  # whoever was refused leaves it


def test_the_heart_beats_until_it_is_stopped_whatever_the_storage_does(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 3 * module.HEARTBEAT <= module.STALE  # a late beat is no death
    monkeypatch.setattr(module, "HEARTBEAT", 0.01)
    clock = [NOW]
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: clock[0]))
    heartbeat = Heartbeat(storage)
    try:
        assert read_json(storage, "driver.json") == OWN  # before anything else happens
        for later in (20.0, 40.0, 60.0):
            clock[0] = NOW + later
            wait_for(lambda: read_json(storage, "driver.json")["time"] == clock[0])
        tries: list[str] = []

        def fails(path: str, data: bytes) -> Any:
            tries.append(path)
            raise StorageError("full")

        with monkeypatch.context() as patch:
            patch.setattr(heartbeat.folder, "write", fails)
            wait_for(lambda: len(tries) >= 3)
        clock[0] = NOW + 80
        wait_for(lambda: read_json(storage, "driver.json")["time"] == clock[0])
    finally:
        monkeypatch.setattr(module, "HEARTBEAT", 60.0)  # how long `stop` waits for a beat that is being written
        heartbeat.stop()
    assert not any(thread.name == "heartbeat" for thread in threading.enumerate())
    assert storage.names() == []
