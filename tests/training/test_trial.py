"""What a trial reports and keeps of each replica, and how its speed is measured."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import tiny_tasks
import torch
from test_loop import SMALL, Unjudged
from tiny_tasks import Tiny, TinyConfig

import genlab
from genlab.errors import CorruptFile
from genlab.tasks import Config, Context, CustomTask, GANConfig, Phase, Replica, Report, State, build
from genlab.training import Checkpoint, Loop, Trial
from genlab.training import loop as loop_module
from genlab.training.loop import SPEED


class Numbered(CustomTask):
    """Trains nothing: whatever it reports or keeps is its seed, and tells where it comes from."""

    def start(self) -> Replica:
        return NumberedReplica(self.config.seed)


class NumberedReplica(Replica):
    def __init__(self, seed: int) -> None:
        self.seed, self.epoch, self.loaded = seed, 0, None

    def advance(self, epoch: int) -> Report:
        self.epoch = epoch
        speed = dict.fromkeys(SPEED, 1.0)
        curve = np.array([self.seed, epoch], np.float32)
        return Report({"value": self.seed + epoch / 8, **speed}, self._images(0), {"curve": curve}, 2 * (epoch - 1))

    def evaluate(self, split: str) -> Report:
        assert split == "test"
        return Report({"value": -self.seed}, self._images(100))

    def _images(self, more: int) -> dict[str, np.ndarray]:
        return {"image": np.full((2, 2, 1), self.seed + more, np.uint8)}

    def save(self) -> State:
        return State({"seed": torch.tensor([self.seed])}, {"seed": self.seed})

    def load(self, state: State) -> None:
        self.loaded = int(state.tensors["seed"]), state.scalars["seed"]


def numbered(seed: int = 4) -> Trial:
    return Trial(Numbered, Config(seed=seed), Context(), replicas=3)


def test_each_replica_reports_its_own() -> None:
    """Metrics, curves and images, of the epoch and of the test data beside them."""
    trial = numbered()
    trial.advance()
    trial.advance()
    assert not trial.epoch_report("0000", {}).replicas[0].metrics.keys() & {"test/value"}
    report = trial.epoch_report("0000", {}, trial.test())
    assert report.first_step == 2 and not report.diverged
    for seed, replica in zip((4, 5, 6), report.replicas, strict=True):
        assert replica.metrics == {"value": seed + 0.25, "test/value": -seed, **dict.fromkeys(SPEED, 1.0)}
        assert {name: int(image[0, 0, 0]) for name, image in replica.images.items()} == {
            "image": seed,
            "test/image": 100 + seed,
        }
        assert replica.steps["curve"].tolist() == [seed, 2]


def test_each_replica_is_kept_and_restored_as_it_was() -> None:
    """Its tensors, scalars and metrics; of the metrics not the speed, which differs from run to run."""
    trial, again = numbered(), numbered(seed=0)
    trial.advance()
    kept = Checkpoint.decode(trial.checkpoint().encode(), "state")
    assert list(kept.seeds) == [4, 5, 6] and kept.epoch == 1
    assert kept.metrics == [{"value": seed + 0.125} for seed in (4, 5, 6)]
    again.load(kept)
    assert [replica.loaded for replica in again.replicas] == [(seed, seed) for seed in (4, 5, 6)]  # type: ignore[attr-defined]
    again.advance()
    assert [replica.epoch for replica in again.replicas] == [2, 2, 2]  # type: ignore[attr-defined]
    with pytest.raises(CorruptFile, match="3 replicas where 2 are wanted"):
        Trial(Numbered, Config(), Context(), replicas=2).load(kept)


def test_a_state_is_told_from_a_report_and_from_another_format() -> None:
    trial = numbered()
    trial.advance()
    with pytest.raises(CorruptFile, match=r"epoch_0001 .* no state"):
        Checkpoint.decode(trial.epoch_report("0000", {}).encode(), "epoch_0001")
    weights = {"weight": torch.ones(2)}
    for foreign in (None, {"genlab": "{}"}, {"genlab": json.dumps({"kind": "state", "format": 4})}):
        with pytest.raises(CorruptFile, match=r"mine .* no state"):
            Checkpoint.decode(safetensors.torch.save(weights, foreign), "mine")


@pytest.mark.filterwarnings("ignore:.*meta parameter")
def test_networks_are_loaded_onto_the_device_that_is_asked_for() -> None:
    checkpoint = Trial(Tiny, build(TinyConfig, {}), Context()).checkpoint()
    for device in ("cpu", "meta"):  # a device that every machine has
        (network,) = genlab.load(checkpoint, task=Tiny, device=device).values()
        assert {each.device.type for each in network.state_dict().values()} == {device}


def test_speed_is_the_images_of_all_updates_over_the_seconds_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that only an update and an evaluation move. An epoch's seconds are all of its seconds."""
    now = [100.0]
    monkeypatch.setattr(loop_module, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    class Clocked(Tiny):
        def phases(self) -> list[Phase]:
            (first,) = super().phases()

            def loss(*arguments: Any) -> Any:
                now[0] += 0.5
                return tiny_tasks.label_loss(*arguments)

            return [dataclasses.replace(first, loss=loss, repeats=3)]

        def evaluate(self, networks: Any, split: str, epoch: int) -> Report:
            now[0] += 4
            return Report()

    metrics = Loop(Clocked(build(TinyConfig, {"epoch_steps": 2, "batch_size": 12}), Context())).advance(1).metrics
    assert metrics["images_per_second"] == pytest.approx(2 * 3 * 12 / (2 * 3 * 0.5))
    assert metrics["epoch_seconds"] == pytest.approx(2 * 3 * 0.5 + 4)


@pytest.mark.parametrize("reuse", [False, True])
def test_the_gans_config_reaches_both_optimizers(reuse: bool) -> None:
    settings = {"lr_generator": 3e-4, "lr_discriminator": 7e-4, "beta1": 0.25, "beta2": 0.875, "reuse_fakes": reuse}
    loop = Loop(Unjudged(build(GANConfig, SMALL | settings), Context()))
    found = {
        (phase, name): updater.optimizer.param_groups[0] | {"params": None}
        for phase, updaters in loop.updaters.items()
        for name, updater in updaters.items()
    }
    assert found.keys() == {("generator", "generator"), ("discriminator", "discriminator")}
    for (name, _), group in found.items():
        assert group["lr"] == settings[f"lr_{name}"] and group["weight_decay"] == 0
        assert tuple(group["betas"]) == (0.25, 0.875)
