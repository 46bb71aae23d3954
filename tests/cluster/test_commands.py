"""The README's commands bring up a cluster of two hosts, and a sweep trains on both."""

from __future__ import annotations

import os
import re
import subprocess
from typing import Any

import pytest
from hosts import Host
from ray_cluster import TOKEN, RayCluster

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


def typed(host: Host, command: str, **environment: str) -> Any:
    """What came of a command that a person typed on a host."""
    process = host.popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    with process:
        said, _ = process.communicate(timeout=120)
    return process.returncode, said


def test_only_who_has_the_token_may_use_the_cluster(whole: RayCluster) -> None:
    hosts = whole.hosts
    tokens = {host.name: host.home / TOKEN.removeprefix("~/") for host in hosts.all}
    assert len({token.read_text() for token in tokens.values()}) == 1
    for name, token in tokens.items():
        assert token.stat().st_mode & 0o777 == 0o600, name
    for host in (hosts.head, hosts.worker):
        assert "disabled" not in (host.home / ".bashrc").read_text(), "later sweeps of this account would be open"
    # a shell as `ray submit` and `ray attach` open one
    code, said = typed(hosts.head, "bash --login -i -c 'source ~/.bashrc; ray status'")
    active = said.partition("Active:")[2].partition("Pending:")[0]
    assert code == 0 and sum(int(count) for count in re.findall(r"^ (\d+) \S", active, re.M)) == 2, said
    join = 'genlab-env/bin/python -c \'import ray; ray.init(address="auto", logging_level="ERROR")\''
    assert typed(hosts.head, join, RAY_AUTH_MODE="token")[0] == 0
    assert typed(hosts.head, join, RAY_AUTH_MODE="disabled")[0] != 0
    assert typed(hosts.head, join, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="0" * 64)[0] != 0
