"""Two surfaces in closed form, with categories that interact, conditions, and curves that cross."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from surfaces.surface import Surface

from genlab.sweep import Sweep, choice, integer, log_uniform, uniform
from genlab.tasks import Config, CustomTask, Replica

EPOCHS = 9


def bowl(distance: float) -> float:
    """Quadratic near 0, 1 far away."""
    return 1 - math.exp(-(distance**2) / 2)


def falling(floor: float, speed: float) -> list[float]:
    """From 1 towards `floor`, which the last epoch reaches; the faster, the earlier most of it is done."""
    done = [1 - math.exp(-speed * epoch / EPOCHS) for epoch in range(1, EPOCHS + 1)]
    return [1 - (1 - floor) * part / done[-1] for part in done]


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig(Config):
    """An optimizer, and what only it has."""

    optimizer: Literal["sgd", "adam", "rmsprop"] = "adam"
    lr: float = 1e-3
    momentum: float = 0.5
    beta2: float = 0.99
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: int = 0
    weight_decay: float = 1e-5

    def reports(self) -> tuple[str, ...]:
        return ("error",)


class Known(CustomTask):
    """Is never trained."""

    def start(self) -> Replica:
        raise NotImplementedError("its curves are known")


class OptimizerTask(Known):
    """Of an optimizer."""

    Config = OptimizerConfig


def optimizer_error(config: Mapping[str, Any]) -> list[float]:
    """Each optimizer has a learning rate of its own (SGD's falls with its momentum). High ones lead at first."""
    lr = math.log10(config["lr"])
    if config["optimizer"] == "sgd":
        off = lr - math.log10(1 - config["momentum"]) + 0.5
        own = 0.15 * bowl((config["momentum"] - 0.9) / 0.15)
    elif config["optimizer"] == "adam":
        off, own = lr + 2.7, 0.05 + 0.05 * bowl((config["beta2"] - 0.95) / 0.05)
    else:
        off, own = lr + 3.2, 0.12
    error = 0.05 + own + 0.6 * bowl(off / 0.5) + 0.05 * bowl((math.log10(config["weight_decay"]) + 3.5) / 0.7)
    error += 0.06 * bowl((config["warmup"] - 3) / 2) if config["schedule"] == "cosine" else 0.05
    return falling(error, 2.0 + 1.5 * math.tanh(off))


OPTIMIZER = Surface(
    name="optimizer",
    sweep=Sweep(
        name="optimizer",
        task=OptimizerTask,
        metric="error",
        settings={"epochs": EPOCHS},
        space={
            "optimizer": choice("sgd", "adam", "rmsprop"),
            "lr": log_uniform(1e-5, 1.0),
            "momentum": uniform(0.0, 0.99),
            "beta2": uniform(0.9, 0.999),
            "schedule": choice("constant", "cosine"),
            "warmup": integer(0, 5),
            "weight_decay": log_uniform(1e-6, 1e-2),
        },
        conditions={
            "momentum": {"optimizer": ["sgd"]},
            "beta2": {"optimizer": ["adam"]},
            "warmup": {"schedule": ["cosine"]},
        },
    ),
    curve=optimizer_error,
    optimum=0.05,
    typical=0.665,
)


@dataclass(frozen=True, kw_only=True)
class NetworkConfig(Config):
    """An architecture."""

    block: Literal["plain", "residual", "attention"] = "plain"
    activation: Literal["relu", "gelu", "tanh"] = "relu"
    normalization: Literal["none", "batch", "layer"] = "batch"
    depth: int = 2
    width: int = 32
    heads: Literal[1, 2, 4, 8] = 1
    dropout: float = 0.0
    lr: float = 3e-4

    def reports(self) -> tuple[str, ...]:
        return ("error",)


class NetworkTask(Known):
    """Of a network."""

    Config = NetworkConfig


FITS = {  # error of a normalization (none, batch, layer) under a block
    "plain": (0.10, 0.04, 0.08),
    "residual": (0.12, 0.00, 0.06),
    "attention": (0.20, 0.12, 0.00),
}
SMOOTH = {"plain": (0.02, 0.03, 0.00), "residual": (0.00, 0.02, 0.08), "attention": (0.03, 0.00, 0.05)}
DEEP = {"plain": 3, "residual": 7, "attention": 5}
WIDE = {"plain": 5.0, "residual": 6.0, "attention": 7.0}  # of the width, its logarithm to base 2


def network_error(config: Mapping[str, Any]) -> list[float]:
    """What suits one block does not suit another; the deeper, the lower the learning rate and the slower the start."""
    block, depth = config["block"], config["depth"]
    error = 0.05 + FITS[block][("none", "batch", "layer").index(config["normalization"])]
    error += SMOOTH[block][("relu", "gelu", "tanh").index(config["activation"])]
    error += 0.25 * bowl((depth - DEEP[block]) / 2) + 0.2 * bowl((math.log2(config["width"]) - WIDE[block]) / 1.2)
    off = math.log10(config["lr"]) + 2.2 + 0.15 * depth
    error += 0.4 * bowl(off / 0.6) + 0.06 * bowl((config["dropout"] - 0.2) / 0.15)
    if block == "attention":
        error += (0.09, 0.04, -0.02, 0.03)[(1, 2, 4, 8).index(config["heads"])]
    return falling(error, 3.0 - 0.3 * depth + math.tanh(off))


NETWORK = Surface(
    name="network",
    sweep=Sweep(
        name="network",
        task=NetworkTask,
        metric="error",
        settings={"epochs": EPOCHS},
        space={
            "block": choice("plain", "residual", "attention"),
            "activation": choice("relu", "gelu", "tanh"),
            "normalization": choice("none", "batch", "layer"),
            "depth": integer(1, 8),
            "width": choice(8, 16, 32, 64, 128, 256),
            "heads": choice(1, 2, 4, 8),
            "dropout": uniform(0.0, 0.6),
            "lr": log_uniform(1e-5, 1e-1),
        },
        conditions={"heads": {"block": ["attention"]}},
    ),
    curve=network_error,
    optimum=0.03,
    typical=0.662,
)
