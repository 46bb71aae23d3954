"""The README's commands bring up a cluster of two hosts, and a sweep trains on both."""

from __future__ import annotations

import os

import pytest
from ray_cluster import RayCluster

from genlab.tracking.epoch_reports import EpochReport

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]


def test_the_commands_of_the_readme_train_a_trial_on_both_hosts(whole: RayCluster) -> None:
    cpus = whole.nodes()
    assert cpus == dict.fromkeys(("head", "worker"), float(os.cpu_count() or 1))
    workers = int(cpus["head"]) + 2  # more than one host has room for
    small = "--set ngf=8 --set ndf=8 --set epoch_steps=5"
    with whole.timed("a sweep"), whole.sweep(f"--workers {workers} --trials 1 --epochs 2 {small}") as sweep:
        seen = sweep.until("ranks on both hosts", lambda: sum((now := whole.ranks()).values()) >= workers and now)
        code, records = sweep.finish()
    assert code == 0, sweep.said()
    assert seen["head"] and seen["worker"] and seen["head"] + seen["worker"] == workers
    (trial,) = records.trials.values()
    assert trial.ends == "completed" and sorted(trial.epochs) == [1, 2]
    reports = [EpochReport.decode(records.storage.read_named(one.report), "report") for one in trial.epochs.values()]
    assert [report.host["workers"] for report in reports] == [workers, workers]
