"""The drain beside a driver: it slows nothing, survives its own death and the server's, and stops with the driver."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
from made_sweeps import Seen, assert_complete, is_gone, wait_for

from genlab.tracking.drain import Drain


def sent_epochs(sweep: Any, uri: str, trial: str = "00000") -> int:
    try:
        return int(Seen(sweep, uri).children[trial].data.tags.get("genlab.sent_epoch", 0))
    except (AttributeError, KeyError, AssertionError):
        return 0


def test_nothing_is_started_without_news(make_sweep: Any, database: str) -> None:
    drain = Drain(make_sweep().records, database)
    assert drain.pid is None and drain.close() == 0 and drain.pid is None


def test_killed_in_the_middle_and_started_anew(make_sweep: Any, database: str) -> None:
    sweep = make_sweep()
    drain = Drain(sweep.records, database, grace=60, patience=60)
    sweep.whole_trial("00000", 12)
    started = time.perf_counter()
    drain.notify(sweep.n)
    told = time.perf_counter() - started
    first = drain.pid
    assert first is not None
    wait_for(lambda: sent_epochs(sweep, database) >= 2, 60)
    assert told < (time.perf_counter() - started) / 2  # the driver went on long before anything was sent
    assert psutil.Process(first).nice() == 19  # the lanes come first
    switch = Path("/proc/sys/kernel/sched_autogroup_enabled")  # where it is off there is no group to read of
    if switch.exists() and switch.read_text() == "1\n":
        assert Path(f"/proc/{first}/autogroup").read_text().endswith(" nice 10\n")
    os.kill(first, signal.SIGKILL)
    assert sent_epochs(sweep, database) < 12
    sweep.whole_trial("00001", 2)
    sweep.end()
    drain.notify(sweep.n)
    assert drain.close() == 0 and drain.problem is None
    seen = assert_complete(sweep, database)
    assert seen.parent.info.status == "FINISHED"
    page = f"http://127.0.0.1:5000/#/experiments/{seen.parent.info.experiment_id}/runs?"
    assert drain.page is not None and drain.page.startswith(page) and quote(sweep.records.name) in drain.page
    assert drain.close() == 0  # once more does no harm


def test_the_server_goes_down_and_comes_up(make_sweep: Any, mlflow_server: Any) -> None:
    sweep = make_sweep("down_and_up")
    drain = Drain(sweep.records, mlflow_server.uri, grace=60, patience=60)
    sweep.whole_trial("00000", 6)
    drain.notify(sweep.n)
    wait_for(lambda: sent_epochs(sweep, mlflow_server.uri) >= 2, 60)
    mlflow_server.stop()
    try:
        sweep.whole_trial("00001", 2)
        sweep.end()
        for _ in range(10_000):  # did each wait for the server, this would outlast any patience
            drain.notify(sweep.n)
    finally:
        mlflow_server.start()
    assert drain.close() == 0 and drain.problem is None
    assert assert_complete(sweep, mlflow_server.uri).parent.info.status == "FINISHED"


def test_close_gives_up_on_a_server_that_is_not_there(make_sweep: Any) -> None:
    sweep = make_sweep()
    sweep.whole_trial("00000", 2)
    drain = Drain(sweep.records, "http://127.0.0.1:9", patience=1.0)
    drain.notify(1)
    drain.notify(sweep.n)
    assert drain.close() == sweep.n == 3
    assert drain.problem is not None and "127.0.0.1:9" in drain.problem


def test_what_cannot_be_sent_is_said_at_close_of_an_interrupted_sweep(make_sweep: Any, database: str) -> None:
    sweep = make_sweep()
    sweep.trial("00000")
    for epoch in (1, 2):
        sweep.epoch("00000", epoch)
    path = sweep.records.trials["00000"].epochs[1].report.path
    sweep.records.storage.write(path, b"cut")
    drain = Drain(sweep.records, database, grace=60, patience=60)
    drain.notify(sweep.n)
    assert drain.close() == 1
    assert drain.problem is not None and path in drain.problem
    seen = Seen(sweep, database)
    assert seen.images("00000") == [("samples", 2)]  # the epoch after it is there
    assert seen.parent.info.status == seen.children["00000"].info.status == "KILLED"  # nobody works on them


def test_a_dead_drivers_drain_stops_before_it_sends_more(make_sweep: Any, mlflow_server: Any) -> None:
    sweep = make_sweep("dead_driver")
    sweep.whole_trial("00000", 1)
    driver = f"""
import time
from genlab.tracking.drain import Drain
from genlab.tracking.records import Records
from genlab.tracking.storage import Storage
drain = Drain(Records.open(Storage({sweep.storage.url!r}), {sweep.records.name!r}), {mlflow_server.uri!r})
drain.notify(1)
print(drain.pid, flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", driver], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        drain = psutil.Process(int(process.stdout.readline()))
        process.kill()
    wait_for(lambda: is_gone(drain), 30)
    assert sent_epochs(sweep, mlflow_server.uri) == 0


def test_neither_ray_nor_torch_is_imported() -> None:
    code = (
        "import sys, genlab.tracking.drain, genlab.tracking.replay, genlab.tracking.mlflow_runs, genlab.cli.replay;"
        "import genlab.report.contact_sheet;"
        "assert not {'ray', 'torch', 'mlflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
