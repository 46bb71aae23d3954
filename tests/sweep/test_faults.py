"""Whatever dies, the sweep goes on: nothing is trained twice that an event names, nothing is lost or doubled."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import toy_script
from made_sweeps import assert_complete, processes, wait_for
from toys import Runner, ToyConfig, gate, read_trace

from genlab.sweep.plan import make
from genlab.tracking.epoch_reports import EpochReport
from genlab.tracking.events import KINDS
from genlab.tracking.records import Records
from genlab.tracking.storage import Storage
from genlab.training import Checkpoint

SCRIPT = Path(__file__).parent / "toy_script.py"
DEFAULT = ToyConfig.lr
PATIENCE = 120.0  # seconds for a driver to start its lanes, and to end: a busy machine takes its time


def check(
    records: Records, trace: Path, tracking_uri: str, repaired: tuple[str, ...] = (), failed: tuple[str, ...] = ()
) -> None:
    """All trials ended; no epoch was trained again after its event; rungs and MLflow hold everything once."""
    from genlab.sweep.search import Asha

    for trial in records.trials.values():
        assert trial.ends in (("failed",) if trial.name in failed else ("completed", "pruned"))
    epochs = [(e.trial, e.epoch) for e in records.events if isinstance(e, KINDS["epoch"])]
    assert len(epochs) == len(set(epochs))
    for trial in records.trials.values():
        assert sorted(trial.epochs) == list(range(1, len(trial.epochs) + 1))
    names = {trial.settings["lr"]: trial.name for trial in records.trials.values()}
    committed = {(e.trial, e.epoch): e.time for e in records.events if isinstance(e, KINDS["epoch"])}
    for line in read_trace(str(trace)):
        name = names[line["lr"]]
        assert name in repaired or line["time"] < committed.get((name, line["epoch"]), math.inf)
    plan = make(toy_script.sweep(str(trace)), {}, None)
    asha = Asha(plan)
    asha.feed(records)
    for epoch, held in asha.rungs().items():
        own = {t.name: t.epochs[epoch].objective for t in records.trials.values() if epoch in t.epochs}
        assert held == pytest.approx(own)
    assert_complete(SimpleNamespace(records=records), tracking_uri, repaired)


@contextlib.contextmanager
def running(command: list[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A driver, which is killed if it is still there at the end."""
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as driver:
        try:
            yield driver
        finally:
            driver.kill()


@pytest.mark.slow
def test_a_killed_worker_comes_back_and_one_that_raises_fails_its_trial_alone(
    run_sweep: Runner, results: Path, tmp_path: Path
) -> None:
    """Both times another rank waits in a collective; were it to wait for its deadline, pytest's would come first."""
    trace = tmp_path / "trace"
    sweep = dataclasses.replace(
        toy_script.sweep(str(trace)),
        settings={"epochs": 9, "trace": str(trace), "die_at": 4},
        grid=[{"lr": 0.02, "fail_at": 2, "fail_rank": 1}, {"lr": 0.03, "die_at": 0}],
    )
    code, records = run_sweep(sweep, grid=True, lanes=1, workers=2)
    assert code == 0
    default, failed, after = records.trials.values()
    assert (default.ends, failed.ends, after.ends) == ("completed", "failed", "completed")
    assert len({line["pid"] for line in read_trace(str(trace)) if line["lr"] == default.settings["lr"]}) == 2
    assert "ZeroDivisionError: the toy breaks" in (failed.error or "")
    check(records, trace, f"sqlite:///{results}/mlflow.db", failed=(failed.name,))


@pytest.mark.slow
@pytest.mark.timeout(600)  # two drivers and a third sweep, on a busy machine
def test_a_driver_may_die_be_stopped_be_resumed_and_extended(
    run_sweep: Runner, shared_ray: str, results: Path, tmp_path: Path
) -> None:
    trace, sweep = tmp_path / "trace", toy_script.sweep(str(tmp_path / "trace"))
    tracking_uri = f"sqlite:///{results}/mlflow.db"
    command = [sys.executable, str(SCRIPT), str(trace), "--storage", str(results), "--address", shared_ray]

    # killed, while no trial can end
    gates = [gate(str(trace), default) for default in (True, False)]
    for closed in gates:
        closed.write_text("6")
    with running([*command, "--lanes", "2"], tmp_path):
        wait_for(lambda: any(line["epoch"] == 6 and line["lr"] == DEFAULT for line in read_trace(str(trace))), PATIENCE)
    wait_for(lambda: not processes("ClientHost"))
    before = Records.open(Storage(str(results)), Records.sweeps(Storage(str(results)))[-1])
    assert any(trial.ends is None for trial in before.trials.values())
    orphan = before.storage.write("trials/0000/epoch_0099-orphan.report.safetensors", b"of a worker that was cut off")

    # resumed, and stopped by Ctrl-C, while no trial but the first can end
    gates[0].unlink()
    gates[1].write_text("1")
    with running([*command, "--resume", "--lanes", "1"], tmp_path) as driver:
        wait_for(lambda: Records.open(Storage(str(results)), before.name).trials["0000"].ends is not None, PATIENCE)
        driver.send_signal(signal.SIGINT)
        gates[1].unlink()
        told, _ = driver.communicate(timeout=PATIENCE)
    assert driver.returncode == 130
    assert f"--resume {before.name}" in told
    # of the driver that was killed nothing is changed, the other's claim is gone
    assert before.storage.names("drivers") == ["00000001.json"] and not before.storage.exists(orphan.path)

    records = Records.open(Storage(str(results)), before.name)
    assert records.events[: len(before.events)] == before.events

    # resumed with more trials, to its end, while the storage has lost a report, and cut another one and a state
    trial = records.trials["0000"]
    gone, cut, last = trial.epochs[2], trial.epochs[5], trial.epochs[9]
    assert last.state is not None
    contents = [records.storage.read(file.path) for file in (gone.report, cut.report, last.state)]
    Path(records.storage.where(gone.report.path)).unlink()
    Path(records.storage.where(cut.report.path)).write_bytes(contents[1][:-1])
    Path(records.storage.where(last.state.path)).write_bytes(contents[2][: len(contents[2]) // 2])
    code, records = run_sweep(sweep, resume=records.name, trials=6, lanes=1)
    assert code == 0 and len(records.trials) == 6
    trial = records.trials["0000"]
    for epoch, content in zip((2, 5), contents, strict=False):
        again = EpochReport.decode(records.storage.read_named(trial.epochs[epoch].report), "report")
        assert again.metrics()["loss"] == EpochReport.decode(content, "report").metrics()["loss"]
    mended = trial.epochs[9].state
    assert mended is not None
    now, then = (Checkpoint.decode(data, "state") for data in (records.storage.read_named(mended), contents[2]))
    assert now.epoch == then.epoch == 9 and torch.equal(now.states[0].tensors["x"], then.states[0].tensors["x"])
    check(records, trace, tracking_uri, repaired=("0000",))
