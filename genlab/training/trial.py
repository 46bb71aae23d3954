"""One trial on one rank: its replicas advance together, so that what stops it sees their mean."""

from __future__ import annotations

import dataclasses
import importlib
import time
from collections.abc import Mapping
from typing import Any

from genlab.errors import CorruptFile, GenlabError
from genlab.report.grids import can_be_shown
from genlab.tasks import CONFIGS, Config, Contract, PhasedTask, Place, Report, Task
from genlab.tasks.config import as_dict
from genlab.tracking.parts import Part, ReplicaPart
from genlab.training.checkpoints import Checkpoint
from genlab.training.loop import Loop


def implementation(config: type[Config]) -> type[Contract]:
    """The task that a config names as its own."""
    module, _, name = config.implementation.partition(":")
    return getattr(importlib.import_module(module), name)


def start(kind: type[Contract], config: Config, place: Place) -> Task:
    """One replica, ready for its first epoch."""
    task = kind(config, place)
    if isinstance(task, PhasedTask):
        return Loop(task)
    assert isinstance(task, Task)
    return task


def task_name(config: type[Config]) -> str:
    """The name under which a config is registered, or else its own."""
    return next((name for name, kind in CONFIGS.items() if kind is config), config.__name__)


class Trial:
    """All replicas of one setting: replica i has seed `config.seed + i`."""

    def __init__(
        self, kind: type[Contract], config: Config, place: Place, *, replicas: int = 1, script: str | None = None
    ) -> None:
        self.config, self.place, self.script = config, place, script
        self.seeds = [config.seed + i for i in range(replicas)]
        self.replicas = [start(kind, dataclasses.replace(config, seed=seed), place) for seed in self.seeds]
        self.epoch = 0

    def advance(self) -> list[Report]:
        """Train one epoch more; a report a replica."""
        self.epoch += 1
        return [replica.advance(self.epoch) for replica in self.replicas]

    def part(self, name: str, reports: list[Report], where: Mapping[str, Any], test: bool = False) -> Part:
        """What the epoch's reports say, as the records keep it. With `test`, test data is read, too."""
        diverged = any(report.diverged for report in reports)
        replicas = []
        for replica, report in zip(self.replicas, reports, strict=True):
            metrics = dict(report.metrics)
            if test and not diverged:
                metrics |= {f"test/{key}": value for key, value in replica.judge("test").items()}
            for key, images in report.images.items():
                if not can_be_shown(images):
                    raise GenlabError(
                        f"images {key!r} are {images.dtype} {list(images.shape)}, but a report takes uint8 [N, H, W, C]"
                    )
            replicas.append(ReplicaPart(metrics, report.steps, report.images))
        return Part(
            trial=name,
            epoch=self.epoch,
            time=time.time(),
            first_step=reports[0].first_step,
            seeds=self.seeds,
            replicas=replicas,
            diverged=diverged,
            place=where,
        )

    def checkpoint(self) -> Checkpoint:
        """Where all replicas stand."""
        return Checkpoint(
            task=task_name(type(self.config)),
            script=self.script,
            config=as_dict(self.config),
            data=self.replicas[0].data(),
            epoch=self.epoch,
            seeds=self.seeds,
            states=[replica.save() for replica in self.replicas],
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
