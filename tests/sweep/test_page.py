"""The scripts of docs/tasks.md, taken out of the page: alone, resumed, over seeds, confirmed, one on two workers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from one_process import Machine, machine
from page_scripts import SCRIPTS, module
from PIL import Image
from toys import Runner

import genlab
from genlab.tasks import Context, build
from genlab.tracking.epoch_reports import EpochReport
from genlab.tracking.records import Records
from genlab.tracking.storage import Storage
from genlab.training import Trial

__all__ = ["machine"]

IMAGES = {"vae": "samples", "dann": "domains", "robust": "adversarial"}  # what the contact sheet shows
BY_NAME = pytest.mark.parametrize("name", IMAGES)


def check_sheet(records: Records) -> None:
    """The cell of the first trial's first epoch shows images, in more shades than a sentence has."""
    sheet = np.asarray(Image.open(records.storage.where("contact_sheet.png")).convert("L"))
    cell = sheet[100:260, 290:440]
    assert len(np.unique(cell)) > 20 and float((cell < 100).mean()) > 0.05


def reports(records: Records) -> list[EpochReport]:
    last = [trial.last for trial in records.trials.values()]
    return [EpochReport.decode(records.storage.read_named(e.report), "report") for e in last if e is not None]


@BY_NAME
def test_it_is_short(name: str) -> None:
    assert set(SCRIPTS) == set(IMAGES)
    assert len(SCRIPTS[name].splitlines()) <= 90


@BY_NAME
def test_it_learns(name: str, tmp_path: Path) -> None:
    """On one process, to its last epoch, and its networks are loaded from the checkpoint alone."""
    sweep = module(name, tmp_path).SWEEP
    config = build(sweep.task.Config, dict(sweep.settings))
    trial = Trial(sweep.task, config, Context())
    untrained = trial.replicas[0].evaluate("validation").metrics
    while trial.epoch < config.epochs:
        trial.advance()
    last = trial.reports[0].metrics
    assert set(config.reports()) <= last.keys()
    assert last[sweep.metric] > untrained[sweep.metric]
    least = {"vae": ("elbo", -400.0), "dann": ("accuracy/source", 0.85), "robust": ("accuracy/fgsm/eps_0.1", 0.5)}[name]
    assert last[least[0]] > least[1]
    loaded = genlab.load(trial.checkpoint(), task=sweep.task)
    assert loaded.keys() == trial.replicas[0].networks.keys()  # type: ignore[attr-defined]


@BY_NAME
def test_over_seeds_resumed_and_confirmed(machine: Machine, name: str, tmp_path: Path) -> None:
    """In this process; below, as commands."""
    sweep = module(name, tmp_path).SWEEP
    assert machine.run(sweep, seeds=2, confirm=1, scheduler="fifo", epochs=2, trials=1) == 0
    assert list(machine.records.trials) == ["0000", "confirm-0000"]
    assert machine.run(sweep, resume=machine.records.name, trials=2) == 0
    assert len(machine.records.trials) >= 3
    check(machine.records, name)


@pytest.mark.usefixtures("untracked")
def test_a_lane_of_two_workers_does_what_one_process_does(run_sweep: Runner, tmp_path: Path) -> None:
    """A script without BatchNorm, for which ranks would have batches of their own. The lane is sent it whole."""
    import ray.cloudpickle

    page: Any = module("vae", tmp_path)
    ray.cloudpickle.register_pickle_by_value(page)
    code, records = run_sweep(page.SWEEP, workers=2, seeds=2, confirm=1, epochs=2, trials=1)
    assert code == 0
    check(records, "vae")
    alone = Trial(page.VAETask, build(page.VAEConfig, {"epochs": 2}), Context(), replicas=2)
    alone.advance()
    alone.advance()
    (there,) = [report for report in reports(records) if not report.trial.startswith("confirm-")]
    for one, two in zip(alone.reports, there.replicas, strict=True):
        for name in ("elbo", "reconstruction", "kl"):
            assert two.metrics[name] == pytest.approx(one.metrics[name], rel=1e-4)


def check(records: Records, name: str) -> None:
    """Every trial trained to its end, on all of its seeds; test data was read by what confirms alone."""
    assert {trial.ends for trial in records.trials.values()} == {"completed"}
    assert all(len(trial.epochs) == 2 for trial in records.trials.values())
    for report in reports(records):
        confirms = report.trial.startswith("confirm-")
        assert len(report.replicas) == (3 if confirms else 2)
        assert any(metric.startswith("test/") for metric in report.metrics()) == confirms
        assert IMAGES[name] in report.replicas[0].images
    check_sheet(records)


@BY_NAME
@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_as_commands(name: str, workers: str, tmp_path: Path) -> None:
    """As a reader would type them, with a Ray of their own: over two seeds, resumed with one trial more, confirmed."""
    module(name, tmp_path)
    command = [sys.executable, f"{name}.py", "--storage", "results", "--trials"]
    first = ["2", "--epochs", "2", "--seeds", "2", "--workers", workers, "--scheduler", "fifo"]
    told = []
    for words in (first, ["3", "--resume", "--confirm", "1"]):
        done = subprocess.run([*command, *words], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        told.append(done.stdout)
    assert "on fresh seeds: trial" in told[1]
    storage = Storage(str(tmp_path / "results"))
    records = Records.open(storage, Records.sweeps(storage)[-1])
    assert len([trial for trial in records.trials.values() if not trial.confirms]) == 3
    check(records, name)
