"""One trial on one rank: its replicas advance together, so that what stops it sees their mean."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from genlab.errors import CorruptFile, GenlabError
from genlab.tasks import Config, Context, CustomTask, PhasedTask, Pictures, Replica, Report, Task, task_name
from genlab.tasks.fields import as_dict
from genlab.tasks.returned import described, method
from genlab.tracking.epoch_reports import EpochReport, ReplicaReport, Where
from genlab.training import contract
from genlab.training.checkpoints import Checkpoint
from genlab.training.loop import SPEED, Loop


def start(task: Task) -> Replica:
    """A replica of the task before its first epoch."""
    if isinstance(task, PhasedTask):
        return Loop(task)
    assert isinstance(task, CustomTask)
    replica = task.start()
    if not isinstance(replica, Replica):
        raise GenlabError(f"{method(task, 'start')} returned {described(replica)}: it must return a Replica")
    return replica


class Trial:
    """All replicas of one setting: replica i has seed `config.seed + i`.

    Attributes:
        epoch: how many epochs were done.
        reports: of the last epoch, one a replica.
    """

    def __init__(
        self, kind: type[Task], config: Config, context: Context, *, replicas: int = 1, script: str | None = None
    ) -> None:
        """
        Args:
            script: file that defines the task, for one that a sweep script defines.
        """
        self.config, self.context, self.script = config, context, script
        self.seeds = [config.seed + i for i in range(replicas)]
        self.tasks = [kind(dataclasses.replace(config, seed=seed), context) for seed in self.seeds]
        self.replicas = [start(task) for task in self.tasks]
        self.epoch = 0
        self.reports: list[Report] = []

    def advance(self, next_replica: Callable[[], None] = lambda: None) -> list[Report]:
        """Train one epoch more; a report a replica. `next_replica` is called before each one's epoch.

        Raises:
            GenlabError: what the task returned is not what it must.
        """
        self.epoch += 1
        self.reports = []
        for each in self.replicas:
            next_replica()
            self.reports.append(contract.report(each.advance(self.epoch), each, "advance"))
        return self.reports

    def test(self) -> list[Report]:
        """Evaluate on the test data; a report a replica."""
        return [contract.report(each.evaluate("test"), each, "evaluate") for each in self.replicas]

    def epoch_report(self, name: str, host: Mapping[Where, Any], tested: Sequence[Report] = ()) -> EpochReport:
        """The last epoch as the records keep it.

        Args:
            name: of the trial.
            host: what it ran on, by name.
            tested: what `test()` returned; its metrics and images are kept under `test/<name>`.
        """
        replicas = []
        for i, report in enumerate(self.reports):
            metrics, images = dict(report.metrics), dict(report.images)
            if tested:
                metrics |= {f"test/{key}": value for key, value in tested[i].metrics.items()}
                images |= {f"test/{key}": value for key, value in tested[i].images.items()}
            arrays = {key: own.images if isinstance(own, Pictures) else own for key, own in images.items()}
            labels = {key: contract.labels(own) for key, own in images.items() if isinstance(own, Pictures)}
            replicas.append(ReplicaReport(metrics, report.steps, arrays, labels))
        return EpochReport(
            trial=name,
            epoch=self.epoch,
            time=time.time(),
            first_step=self.reports[0].first_step,
            seeds=self.seeds,
            replicas=replicas,
            diverged=any(report.diverged for report in self.reports),
            host=host,
        )

    def checkpoint(self) -> Checkpoint:
        """Where all replicas stand."""
        return Checkpoint(
            task=task_name(type(self.config)),
            script=self.script,
            config=as_dict(self.config),
            data={name: seen.as_json() for name, seen in self.tasks[0].data.items()},
            epoch=self.epoch,
            seeds=self.seeds,
            metrics=[{k: v for k, v in report.metrics.items() if k not in SPEED} for report in self.reports],
            states=[contract.state(replica.save(), replica) for replica in self.replicas],
        )

    def load(self, checkpoint: Checkpoint) -> None:
        """Go on where `checkpoint` stood. The config may be another one, as long as its networks are the same.

        Raises:
            CorruptFile: it is of another number of replicas.
        """
        if len(checkpoint.states) != len(self.replicas):
            raise CorruptFile(
                f"the state holds {len(checkpoint.states)} replicas where {len(self.replicas)} are wanted"
            )
        for replica, state in zip(self.replicas, checkpoint.states, strict=True):
            replica.load(state)
        self.epoch = checkpoint.epoch
