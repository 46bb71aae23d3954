"""What a sweep came through a fault with, in numbers: from its records, the notes of its task, and MLflow."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ray_cluster import STORAGE, RayCluster, Submitted

from genlab.tracking.records import Records

SCRIPT = "tests/cluster/noted.py"


@dataclass(frozen=True)
class Outcome:
    """What is left of a sweep after a fault, and what it cost."""

    trials: int
    ended: dict[str, int]  # trials by how they ended; those that did not are under "unfinished"
    recorded_twice: list[tuple[str, int]]  # trials' epochs of which more than one event tells
    gaps: list[str]  # trials whose epochs are not 1, 2, 3, …
    trained_twice: int  # epochs that rank 0 began more than once
    seconds_lost: float  # the longest that a trial waited for its next epoch, less what is usual
    mlflow: dict[str, int]  # points and images: how many, how many are missing, how many are too many
    said: str  # what the person saw

    def __str__(self) -> str:
        ended = ", ".join(f"{count} {how}" for how, count in sorted(self.ended.items()))
        mlflow = ", ".join(f"{count} {what}" for what, count in self.mlflow.items())
        return (
            f"{self.trials} trials ({ended}); {self.seconds_lost:.0f} s lost; epochs trained twice: "
            f"{self.trained_twice}, recorded twice: {len(self.recorded_twice)}; in MLflow {mlflow}"
        )

    def assert_whole(self, trials: int) -> None:
        """Every trial ended well, and everything is recorded once."""
        assert self.trials == trials and set(self.ended) <= {"completed", "pruned"}, self
        assert not self.recorded_twice and not self.gaps, self
        assert self.mlflow["points"] and self.mlflow["images"], self
        assert not any(count for what, count in self.mlflow.items() if " " in what), self


class Noted:
    """The file in which the ranks of `noted.py` note what they train."""

    def __init__(self, cluster: RayCluster) -> None:
        name = f"notes-{cluster.submitted}.jsonl"
        self.path, self.path_on_hosts = cluster.hosts.shared / name, f"/nfs/{name}"
        self.hold = cluster.hosts.shared / f"{name}.hold"  # while it is there, no trial ends

    def lines(self) -> list[dict[str, Any]]:
        """What was noted, in order."""
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def on(self, host: str) -> list[dict[str, Any]]:
        """The lines of one host."""
        return [line for line in self.lines() if line["host"] == host]


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
    found = outcome(cluster, records, noted, sweep.said())
    cluster.told.append(f"{what}: {found}")
    return found


def outcome(cluster: RayCluster, records: Records, noted: Noted, said: str) -> Outcome:
    """What came out of a sweep that has ended."""
    began = Counter((line["lr"], line["epoch"]) for line in noted.lines() if line["rank"] == 0)
    epochs = [event for event in records.events if event["event"] == "epoch"]
    told = Counter((event["trial"], event["epoch"]) for event in epochs)
    times = {name: [event["time"] for event in epochs if event["trial"] == name] for name in records.trials}
    pauses = sorted(after - before for own in times.values() for before, after in pairwise(own))
    return Outcome(
        trials=len(records.trials),
        ended=dict(Counter(trial.ends or "unfinished" for trial in records.trials.values())),
        recorded_twice=[one for one, times_told in told.items() if times_told > 1],
        gaps=[t.name for t in records.trials.values() if sorted(t.epochs) != list(range(1, len(t.epochs) + 1))],
        trained_twice=sum(times_begun - 1 for times_begun in began.values()),
        seconds_lost=pauses[-1] - pauses[len(pauses) // 2],
        mlflow=in_mlflow(cluster, records.name),
        said=said,
    )


def in_mlflow(cluster: RayCluster, sweep: str) -> dict[str, int]:
    """Points and images that MLflow lacks of a sweep, or has too many of; asked on a host, where its files have the
    paths by which MLflow knows them."""
    command = f"PYTHONPATH=.:tests uv run tests/cluster/mlflow_counts.py {STORAGE} {sweep}"
    with cluster.person(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as asked:
        said, errors = asked.communicate()
    assert asked.returncode == 0, errors
    return json.loads(said.splitlines()[-1])
