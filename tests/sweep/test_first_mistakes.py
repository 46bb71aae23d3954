"""An author's first mistakes in a whole sweep: what is wrong is named, and what is only unusual is taken."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import tiny_tasks
import torch
from one_process import Machine, machine
from tiny_tasks import Tiny, TinyConfig
from torch import nn

from genlab.sweep import Sweep, log_uniform
from genlab.tasks import Adam, Phase, Report, Stream

__all__ = ["machine"]


class LeftOut(Tiny):
    """Its phase is to train a second network, which its loss leaves out."""

    def networks(self) -> Any:
        return {**super().networks(), "domain": lambda: nn.Linear(64, 1)}

    def phases(self) -> list[Phase]:
        (label,) = super().phases()
        return [dataclasses.replace(label, updates={"classifier": Adam(0.1), "domain": Adam(0.1)})]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LargeBatches(TinyConfig):
    """Of a set that is smaller than a batch."""

    batch_size: int = 64


class Tensors(Tiny):
    """Reports a tensor, of few images."""

    Config = LargeBatches

    def streams(self) -> Any:
        return {"first": Stream(tiny_tasks.noise_images("few", 50))}

    def evaluate(self, networks: Any, split: str, epoch: int) -> Report:
        return Report({"accuracy": torch.tensor(0.25) * epoch})  # type: ignore[dict-item]


def sweep(task: type[Tiny]) -> Sweep:
    space = {"lr": log_uniform(1e-3, 0.1)}
    return Sweep(name="mistaken", task=task, metric="accuracy", mode="max", space=space, settings={"epochs": 2})


def test_a_network_that_a_loss_leaves_out_fails_every_trial_by_name(machine: Machine) -> None:
    assert machine.run(sweep(LeftOut), trials=2) == 1
    trials = list(machine.records.trials.values())
    assert trials and {trial.ends for trial in trials} == {"failed"}
    for trial in trials:
        assert trial.last is None  # nothing was trained
        assert "the phase label updates the network domain, but its loss (" in str(trial.error)


def test_a_metric_that_is_a_tensor_and_a_set_smaller_than_a_batch(
    machine: Machine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genlab.data.batches._said", set())
    assert machine.run(sweep(Tensors), trials=2) == 0
    assert machine.records.trials["0000"].epochs[2].objective == 0.5
    said = "the stream first has 50 images, fewer than batch_size=64: each batch is all 50 of them"
    assert caplog.messages.count(said) == 1
