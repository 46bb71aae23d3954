"""The trivial trial of `many_trials.py`: nothing is trained, so that what is left is what a trial costs beside it.

uv run benchmarks/sides/many.py --trials 1000 --scheduler fifo
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from genlab.sweep import Sweep, log_uniform, main
from genlab.tasks import Config, CustomTask, Replica, Report, State


@dataclass(frozen=True, kw_only=True)
class NothingConfig(Config):
    """One setting, one epoch."""

    epochs: int = 1
    lr: float = 1e-2

    def reports(self) -> tuple[str, ...]:
        return ("loss",)


class Nothing(CustomTask):
    """Reports its setting as its loss."""

    Config = NothingConfig

    def start(self) -> Replica:
        return NothingReplica(self.config)


class NothingReplica(Replica):
    """Its state is one number. Torch is imported where it trains: the sweep's driver needs none."""

    def __init__(self, config: Any) -> None:
        self.loss = config.lr

    def advance(self, epoch: int) -> Report:
        return Report({"loss": self.loss})

    def evaluate(self, split: str) -> Report:
        return Report({"loss": self.loss})

    def save(self) -> State:
        import torch

        return State({"loss": torch.tensor([self.loss])}, {})

    def load(self, state: State) -> None:
        self.loss = float(state.tensors["loss"])


SWEEP = Sweep(name="many", task=Nothing, metric="loss", space={"lr": log_uniform(1e-4, 1e-1)}, trials=1000)

if __name__ == "__main__":
    from sides.memory import peak_mib

    try:
        main(SWEEP)
    finally:
        print(json.dumps({"peak_mib": peak_mib()}))
