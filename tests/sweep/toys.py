"""Small tasks that tests put on real lanes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from genlab.data import ImageSet
from genlab.errors import GenlabError
from genlab.sweep import Sweep, log_uniform
from genlab.tasks import (
    Adam,
    Config,
    Context,
    CustomTask,
    Inputs,
    Phase,
    PhasedConfig,
    PhasedTask,
    Replica,
    Report,
    State,
    Stream,
)
from genlab.tracking.records import Records


def read_trace(trace: str) -> list[dict[str, Any]]:
    """A line for each epoch that was really worked on."""
    return [json.loads(line) for line in Path(trace).read_text().splitlines()] if os.path.exists(trace) else []


def gate(trace: str, default: bool) -> Path:
    """While this file is there, the default trial, or each other one, waits from the epoch on that it names."""
    return Path(f"{trace}.{'default' if default else 'others'}")


def wait_at_gate(path: Path, epoch: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        while epoch >= int(path.read_text()):
            time.sleep(0.02)


@dataclass(frozen=True, kw_only=True)
class ToyConfig(Config):
    """A quantity that decays, and the ways in which a trial can go wrong. At `die_at` its process is killed, once."""

    lr: float = 1e-2
    sleep: float = 0.0
    trace: str = ""
    megabytes: int = 0
    fail_at: int = 0
    fail_rank: int = -1
    nan_at: int = 0
    hang_at: int = 0
    die_at: int = 0
    batch: int = 2

    def reports(self) -> tuple[str, ...]:
        return ("loss",)


class Toy(CustomTask):
    """Trains nothing by gradient. Leaves a line in `trace` for each epoch that it really works on."""

    Config = ToyConfig

    def start(self) -> Replica:
        return ToyReplica(self.config, self.context)


class ToyReplica(Replica):
    """Three numbers that decay."""

    def __init__(self, config: Any, context: Context) -> None:
        self.config, self.context = config, context
        generator = torch.Generator().manual_seed(config.seed)
        self.x = torch.rand(3, generator=generator)
        self.ballast = torch.ones(config.megabytes * 250_000)

    def advance(self, epoch: int) -> Report:
        c = self.config
        if c.trace and self.context.rank == 0:
            line = {"lr": c.lr, "seed": c.seed, "epoch": epoch, "time": time.time(), "pid": os.getpid()}
            known = read_trace(c.trace)
            with open(c.trace, "a") as file:
                file.write(json.dumps(line) + "\n")
            if epoch == c.die_at and not any((one["lr"], one["epoch"]) == (c.lr, epoch) for one in known):
                os.kill(os.getpid(), signal.SIGKILL)
            wait_at_gate(gate(c.trace, c.lr == ToyConfig.lr), epoch)
        time.sleep(c.sleep)
        if epoch == c.hang_at:
            time.sleep(1000)
        if epoch == c.fail_at and c.fail_rank in (-1, self.context.rank):
            raise ZeroDivisionError("the toy breaks")
        self.context.all_reduce_mean(self.x)  # all ranks meet, as in any real training
        self.x = self.x * (1 - c.lr)
        steps = {"loss/toy": self.x.repeat(10).numpy()}
        if epoch == c.nan_at:
            return Report({"loss": 1.0}, steps=steps, first_step=30 * (epoch - 1), diverged=True)
        metrics = {
            "loss": float(self.x.sum()),
            "pid": float(os.getpid()),
            "rss": float(psutil.Process().memory_info().rss),
        }
        return Report(metrics, {"samples": self.image()}, steps, first_step=30 * (epoch - 1))

    def image(self) -> Any:
        return (self.x[:, None, None, None] * torch.ones(3, 4, 4, 1) * 255).to(torch.uint8).numpy()

    def evaluate(self, split: str) -> Report:
        loss = float(self.x.sum()) + (100 if split == "test" else 0)
        return Report({"loss": loss}, {"samples": self.image()})

    def save(self) -> State:
        return State({"x": self.x, "ballast": self.ballast}, {})

    def load(self, state: State) -> None:
        self.x, self.ballast = state.tensors["x"], state.tensors["ballast"]


@dataclass(frozen=True, kw_only=True)
class UnpreparedConfig(ToyConfig):
    """Of a task whose data are not there."""


class Unprepared(Toy):
    """Cannot be prepared."""

    Config = UnpreparedConfig

    @property
    def data(self) -> dict[str, Any]:
        raise GenlabError("the folder 'nowhere' lacks the file 'anything.gz'")


@dataclass(frozen=True, kw_only=True)
class PairConfig(PhasedConfig):
    """Two domains, as in domain adaptation (Ganin et al. 2016)."""

    batch_size: int = 8
    lr: float = 1e-2

    def reports(self) -> tuple[str, ...]:
        return ("loss/all",)


class Pair(PhasedTask):
    """Two streams and three networks in one phase."""

    Config = PairConfig

    def networks(self) -> dict[str, Any]:
        return {
            "features": lambda: nn.Linear(16, 4),
            "label": lambda: nn.Linear(4, 2),
            "domain": lambda: nn.Linear(4, 1),
        }

    def streams(self) -> dict[str, Stream]:
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(256, (64, 1, 4, 4), generator=generator, dtype=torch.uint8)
        labels = (pixels.float().mean((1, 2, 3)) > 127).long()
        return {
            "source": Stream(ImageSet("pair", "train", pixels[:32], labels[:32], ("dark", "light"))),
            "target": Stream(ImageSet("pair", "train", pixels[32:56], labels[32:56], ("dark", "light"))),
        }

    def phases(self) -> list[Phase]:
        adam = Adam(self.config.lr)
        return [Phase("all", dict.fromkeys(("features", "label", "domain"), adam), pair_loss, ("source", "target"))]

    def evaluate(self, networks: Any, split: str, epoch: int) -> Report:
        total = sum(parameter.double().sum() for network in networks.values() for parameter in network.parameters())
        return Report({"weights": float(total)})


def pair_loss(networks: Any, inputs: Inputs, config: PairConfig) -> tuple[Tensor, dict[str, Tensor]]:
    """Label loss on the source, domain loss on both."""
    source = networks["features"](inputs["source"].images.flatten(1))
    target = networks["features"](inputs["target"].images.flatten(1))
    on_label = nn.functional.cross_entropy(networks["label"](source), inputs["source"].labels)
    domain = nn.functional.softplus(networks["domain"](source)).mean()
    domain = domain + nn.functional.softplus(-networks["domain"](target)).mean()
    return on_label + domain, {"score/domain": domain.detach()}


Runner = Callable[..., tuple[int, Records]]  # the fixture run_sweep


def toy_sweep(**changes: Any) -> Sweep:
    """A sweep of the toy task."""
    values: dict[str, Any] = {
        "name": "toy",
        "task": Toy,
        "metric": "loss",
        "space": {"lr": log_uniform(1e-4, 1e-1)},
        "settings": {"epochs": 3},
        "trials": 4,
    }
    return Sweep(**values | changes)
