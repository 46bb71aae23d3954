"""A rank of a lane in this process, what it is asked, and what it leaves."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import toys

from genlab.lanes.worker import LaneSettings, Rank
from genlab.tasks import FromTask, Task
from genlab.tracking.storage import MANIFEST
from genlab.training import Checkpoint


@dataclasses.dataclass(frozen=True, kw_only=True)
class NeedsConfig(toys.ToyConfig):
    """Each `batch` needs something of its own."""

    def prepare(self) -> Mapping[str, Any]:
        return {"numbers": FromTask(toys.ToyConfig(epochs=self.batch, lr=0.5), toys.Toy)}


class Needs(toys.Toy):
    """Reports what it found."""

    Config = NeedsConfig
    roots: list[str | None]

    @property
    def data(self) -> dict[str, Any]:
        self.roots.append(self.context.data_root)
        return {}

    def start(self) -> toys.ToyReplica:
        replica = toys.ToyReplica(self.config, self.context)
        replica.x = self.context.prepared["numbers"].tensors["x"]
        return replica


def rank(
    folder: Path,
    task: type[Task] = toys.Toy,
    number: int = 0,
    world_size: int = 1,
    attempt: str = "a",
    epoch_deadline: float = 60.0,
) -> Rank:
    (folder / "sweep").mkdir(parents=True, exist_ok=True)
    (folder / "sweep" / MANIFEST).touch()
    settings = LaneSettings(
        lane=3,
        mailbox=None,
        code=b"",
        script="mine.py",
        storage=str(folder),
        folder="sweep",
        data_root="/data",
        environment={},
        threads=1,
        epoch_deadline=epoch_deadline,
        working_folder=str(Path(__file__).parent),
    )
    return Rank(settings, task.Config, task, number, world_size, "cpu", attempt)


def request(epoch: int = 1, trial: str = "0000", session: str = "x", **config: Any) -> dict[str, Any]:
    named = {"session": f"{trial}@{session}", "trial": trial, "epoch": epoch, "config": config}
    return {**named, "state": None, "prepared": {}, "replicas": 1, "test": False}


def preparation(*configs: dict[str, Any], script: str = "digest") -> dict[str, Any]:
    return {"session": "prepare@", "trial": "prepare", "epoch": 0, "script": script, "configs": configs}


def start_of(seed: int) -> Any:
    """A toy's numbers before its first epoch, each of which takes a part `lr` from them."""
    return torch.rand(3, generator=torch.Generator().manual_seed(seed))


def epochs(trace: Path) -> list[int]:
    """Those that were really trained, since this was last asked."""
    lines = trace.read_text().splitlines() if trace.exists() else []
    trace.unlink(missing_ok=True)
    return [json.loads(line)["epoch"] for line in lines]


def numbers(one: Rank, value: dict[str, Any], replica: int = 0) -> Any:
    """What the toy's state holds."""
    return Checkpoint.decode(one.records.read_named(value["state"]), "state").states[replica].tensors["x"]
