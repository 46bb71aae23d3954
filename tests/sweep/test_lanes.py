"""Sweeps on real lanes, on the shared Ray."""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import toys
from one_rank import preparation, rank, request
from toys import Runner, toy_sweep

from genlab.errors import GenlabError
from genlab.tasks.gan import GAN
from genlab.tracking.epoch_reports import EpochReport
from genlab.tracking.records import EpochRecord, Records, TrialRecord
from genlab.tracking.storage import Storage
from genlab.training import Checkpoint

pytestmark = pytest.mark.usefixtures("untracked")


def report(records: Records, epoch: EpochRecord | None) -> EpochReport:
    assert epoch is not None
    return EpochReport.read(records.storage, epoch.report)


def searched(records: Records) -> list[TrialRecord]:
    return [trial for trial in records.trials.values() if not trial.confirms]


def test_a_sweep_from_its_first_trial_to_its_confirmation(run_sweep: Runner) -> None:
    code, records = run_sweep(toy_sweep(trials=6), lanes=2, scheduler="fifo", seeds=3, seed=5, confirm=2)
    assert code == 0
    trials = searched(records)
    assert len(trials) == 6 and {trial.ends for trial in records.trials.values()} == {"completed"}
    assert trials[0].settings == {"lr": 1e-2}
    for trial in trials:
        assert sorted(trial.epochs) == [1, 2, 3]
        # replicas are judged by their mean
        metrics = report(records, trial.last).metrics()
        alone = [metrics[f"loss/seed_{seed}"] for seed in (5, 6, 7)]
        assert metrics["loss"] == trial.objective and metrics["loss/std"] > 0
        assert math.isclose(metrics["loss"], sum(alone) / 3)
        last = trial.last
        assert last is not None and last.state is not None
        state = Checkpoint.decode(records.storage.read_named(last.state), "state")
        assert state.epoch == 3 and state.config["lr"] == trial.settings["lr"] and state.seeds == [5, 6, 7]
        assert math.isclose(float(state.states[1].tensors["x"].sum()), alone[1], rel_tol=1e-6)
        # the loss falls, so best and last are one, and no other state is left
        left = [name for name in records.storage.names(f"trials/{trial.name}") if ".state." in name]
        assert left == [last.state.path.rpartition("/")[2]]
        assert not any(name.startswith("test") for e in trial.epochs.values() for name in report(records, e).metrics())
    confirmed = [trial for trial in records.trials.values() if trial.confirms]
    best = sorted(trials, key=lambda trial: trial.objective or 0.0)
    assert [trial.name for trial in confirmed] == [f"confirm-{trial.name}" for trial in best[:2]]
    for trial in confirmed:
        assert list(report(records, trial.last).seeds) == [8, 9, 10]
        assert report(records, trial.last).metrics()["test/loss"] > 100
        assert not any("test" in name for name in report(records, trial.epochs[1]).metrics())
    summary = records.events[-1].summary
    assert all(one.test > 100 for one in summary.confirmed)
    assert summary.best == best[0].name and summary.gain >= 0
    command = summary.command
    assert command.endswith(f"--seed 5 --seeds 3 --cpus-per-worker 1 --trials 1 --set lr={best[0].settings['lr']}")
    assert "contact_sheet.png" in records.storage.names()


def test_a_lane_outlives_whatever_its_trials_do(run_sweep: Runner, tmp_path: Path) -> None:
    """Trials that raise and diverge end alone; one process serves fifty trials of mixed sizes, and stays flat."""
    trace = str(tmp_path / "trace")
    bad = [{"lr": 0.03, "fail_at": 2}, {"lr": 0.04, "nan_at": 2}]
    mixed = [{"megabytes": 1 + 7 * (i % 3), "lr": 1e-3 * (i + 1)} for i in range(50)]
    sweep = toy_sweep(grid=[*bad, *mixed], settings={"epochs": 2, "trace": trace})
    code, records = run_sweep(sweep, grid=True, lanes=1)
    assert code == 0
    default, failed, diverged, *rest = records.trials.values()
    assert (default.ends, failed.ends, diverged.ends) == ("completed", "failed", "diverged")
    assert len(rest) == 50 and {trial.ends for trial in rest} == {"completed"}
    assert "ZeroDivisionError: the toy breaks" in (failed.error or "") and sorted(failed.epochs) == [1]
    assert diverged.objective is None and report(records, diverged.last).diverged
    assert len({line["pid"] for line in toys.read_trace(trace)}) == 1  # the lane never started anew
    sizes = [report(records, trial.last).replicas[0].metrics["rss"] for trial in rest]
    assert statistics.median(sizes[-15:]) < statistics.median(sizes[:15]) + 20e6


@pytest.mark.slow
def test_an_epoch_that_hangs_ends_its_trial_alone(run_sweep: Runner) -> None:
    grid = [{"lr": 0.02, "hang_at": 1}, {"lr": 0.03}]
    sweep = toy_sweep(grid=grid, epoch_deadline=1.0, settings={"epochs": 1})
    code, records = run_sweep(sweep, grid=True, lanes=1)
    assert code == 0
    assert [trial.ends for trial in records.trials.values()] == ["completed", "failed", "completed"]
    assert "died 3 times" in (records.trials["0001"].error or "")


FRESH = """
import sys
from pathlib import Path

from test_lanes import OTHERS, TWIN, WILD, digests

print(*digests(Path(sys.argv[1]), [TWIN, *OTHERS, TWIN, WILD, TWIN]))
"""
SMALL = {
    "ngf": 4,
    "ndf": 4,
    "nz": 8,
    "batch_size": 16,
    "epoch_steps": 2,
    "epochs": 1,
    "judge_steps": 5,
    "evaluation_samples": 64,
}
TWIN = {"ndf": 5}
WILD = {"lr_generator": 1e30, "lr_discriminator": 1e30}
OTHERS = [{"ngf": 5 + i % 3, "spectral_norm": "both", "beta2": 0.9 + i / 1000} for i in range(19)]


def digests(folder: Path, settings: list[dict[str, Any]]) -> list[str]:
    """Of the states that one rank leaves of these trials, one after the other; `none` where there is none."""
    one = rank(folder, GAN)
    prepared = one.serve(preparation(SMALL))["value"]["files"]
    left = []
    for number, own in enumerate(settings):
        outcome = one.serve(request(trial=f"{number:04d}", **{**SMALL, **own}) | {"prepared": prepared})
        state = outcome["value"]["state"]
        left.append(state.sha256 if state else "none")
    return left


def test_a_lane_leaks_nothing_from_trial_to_trial(tmp_path: Path) -> None:
    """Bitwise the same weights first in a fresh process, after nineteen other trials, and after a diverged one."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", FRESH, str(tmp_path)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, *others, second, wild, third = done.stdout.split()
    assert len(first) == 64 and first == second == third and first not in others and wild == "none"


@pytest.mark.slow
def test_what_cannot_be_prepared_is_refused(run_sweep: Runner) -> None:
    with pytest.raises(GenlabError, match=r"nowhere.*anything\.gz"):
        run_sweep(toy_sweep(task=toys.Unprepared))


@pytest.mark.parametrize("options", [{"lanes": 99}, {"workers": 99}, {"gpus_per_worker": 99.0}])
def test_more_than_there_is_is_refused(run_sweep: Runner, results: Path, options: dict[str, Any]) -> None:
    with pytest.raises(GenlabError, match="room for"):
        run_sweep(toy_sweep(), **options)
    assert not Records.sweeps(Storage(str(results)))
