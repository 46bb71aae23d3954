"""A sweep on two hosts to which something happens."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import reliability_page
from outcomes import Notes, Outcome, outcome
from ray_cluster import STORAGE, RayCluster, Submitted

SCRIPT = "tests/noted.py"


class Noted(Notes):
    """Notes in the folder that all hosts share."""

    def __init__(self, cluster: RayCluster) -> None:
        name = f"notes-{cluster.submitted}.jsonl"
        super().__init__(cluster.hosts.shared / name)
        self.path_on_hosts = f"/nfs/{name}"


def through(
    cluster: RayCluster,
    what: str,
    fault: Callable[[Submitted, Noted], None],
    trials: int = 6,
    options: str = "",
) -> Outcome:
    """Run a sweep on two lanes, one on each host, and have something happen to it once both lanes train. No trial ends
    before that has happened.

    Args:
        what: happens, in words for whoever reads what the tests tell.
        fault: does it.

    Returns:
        What is left of the sweep, which must have ended in good order.
    """
    noted = Noted(cluster)
    noted.hold.touch()
    command = f"--lanes 2 --scheduler fifo --trials {trials} {options} --set notes={noted.path_on_hosts}"
    lanes = (cluster.hosts.head.name, cluster.hosts.worker.name)  # a worker takes all CPUs of a host
    with cluster.timed(f"a sweep, {what}"), cluster.sweep(command, SCRIPT) as sweep:
        sweep.until("both hosts have trained two epochs", lambda: all(len(noted.on(host)) > 1 for host in lanes))
        fault(sweep, noted)
        noted.hold.unlink()
        code, records = sweep.finish()
    assert code == 0, sweep.said()
    found = outcome(records, noted, in_mlflow(cluster, records.name), sweep.said())
    cluster.told.append(f"{what}: {found}")
    reliability_page.tell("A host, or its network", what, found)
    return found


def in_mlflow(cluster: RayCluster, sweep: str) -> dict[str, int]:
    """Points and images that MLflow lacks of a sweep, or has too many of; asked on a host, where its files have the
    paths by which MLflow knows them."""
    command = f"PYTHONPATH=.:tests uv run tests/mlflow_counts.py {STORAGE} {sweep}"
    with cluster.person(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as asked:
        said, errors = asked.communicate()
    assert asked.returncode == 0, errors
    return json.loads(said.splitlines()[-1])
