"""A sweep for tests of a cluster: its task notes which rank trained which epoch on which host, when.

While the file `<notes>.hold` is there, no epoch that is a trial's last one ends.
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
        self.x = torch.rand(3, generator=torch.Generator().manual_seed(config.seed))

    def advance(self, epoch):
        rank = self.context.rank
        line = {"lr": self.config.lr, "epoch": epoch, "rank": rank, "host": socket.gethostname(), "time": time.time()}
        with open(Path(self.config.notes), "a") as file:
            file.write(json.dumps(line | {"pid": os.getpid()}) + "\n")
        time.sleep(self.config.seconds)
        while epoch == self.config.epochs and os.path.exists(f"{self.config.notes}.hold"):
            time.sleep(0.1)
        self.x = self.context.all_reduce_mean(self.x) * (1 - self.config.lr)
        steps = {"loss/noted": self.x.repeat(4).numpy()}
        return Report({"loss": float(self.x.sum())}, self.images(), steps, first_step=12 * (epoch - 1))

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
