"""A sweep for tests of faults: its task notes which rank trained which epoch on which host, when.

Files beside the notes say what happens in it:

- while `<notes>.hold` is there, no epoch that is a trial's last one ends;
- `<notes>.raise` is taken away by a rank that is not the first, which then raises: the others wait for it;
- where `<notes>.lane-N` is there, lane N lacks what the file names: `data` or `memory`.
"""

import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from genlab.sweep import Sweep, log_uniform, main
from genlab.tasks import Config, CustomTask, Replica, Report, State


@dataclass(frozen=True, kw_only=True)
class NotedConfig(Config):
    lr: float = 1e-2
    seconds: float = 1.0
    notes: str = ""

    def reports(self):
        return ("loss",)


class Noted(CustomTask):
    """Trains nothing by gradient; each rank appends a line to the file `notes` before it trains an epoch."""

    Config = NotedConfig

    def start(self):
        return NotedReplica(self.config, self.context)


class NotedReplica(Replica):
    """Three numbers that decay."""

    def __init__(self, config, context):
        self.config, self.context = config, context
        if self.lacks("data"):
            raise FileNotFoundError(2, "No such file or directory", "faces.npy")
        self.x = torch.rand(3, generator=torch.Generator().manual_seed(config.seed))

    def advance(self, epoch):
        rank = self.context.rank
        line = {"lr": self.config.lr, "epoch": epoch, "rank": rank, "host": socket.gethostname(), "time": time.time()}
        with open(Path(self.config.notes), "a") as file:
            file.write(json.dumps(line | {"pid": os.getpid()}) + "\n")
        if self.lacks("memory"):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        time.sleep(self.config.seconds)
        while epoch == self.config.epochs and os.path.exists(f"{self.config.notes}.hold"):
            time.sleep(0.1)
        if rank and self.told_to_raise():
            raise ZeroDivisionError("this rank alone breaks")
        self.x = self.context.all_reduce_mean(self.x) * (1 - self.config.lr)
        steps = {"loss/noted": self.x.repeat(4).numpy()}
        return Report({"loss": float(self.x.sum())}, self.images(), steps, first_step=12 * (epoch - 1))

    def lacks(self, what):
        """Whether this process is of a lane that a file beside the notes names."""
        for file in Path(self.config.notes).parent.glob(f"{Path(self.config.notes).name}.lane-*"):
            import ray.train

            lane = ray.train.get_context().get_experiment_name().split("-")[1]  # of a run of Ray Train: lane-N-M
            if file.name.endswith(f".lane-{lane}") and file.read_text() == what:
                return True
        return False

    def told_to_raise(self):
        """Once: whoever takes the file away raises."""
        try:
            os.unlink(f"{self.config.notes}.raise")
        except FileNotFoundError:
            return False
        return True

    def images(self):
        return {"samples": (self.x[:, None, None, None] * torch.ones(3, 4, 4, 1) * 255).to(torch.uint8).numpy()}

    def evaluate(self, split):
        return Report({"loss": float(self.x.sum())}, self.images())

    def save(self):
        return State({"x": self.x}, {})

    def load(self, state):
        self.x = state.tensors["x"]


SWEEP = Sweep(
    name="noted",
    task=Noted,
    metric="loss",
    space={"lr": log_uniform(1e-4, 1e-1)},
    settings={"epochs": 6},
    trials=6,
)

if __name__ == "__main__":
    main(SWEEP)
