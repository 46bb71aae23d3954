"""Whatever interrupts a training, it goes on as if nothing had happened: to the last bit."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import pytest
import tiny_tasks
import torch
from test_loop import SMALL, Unjudged, watch_phases
from tiny_tasks import Attacked, Conditional, PseudoLabels, Semi, Tiny, TinyConfig, TwoDomains

from genlab.tasks import SGD, Config, Context, GANConfig, PhasedTask, State, Stream, build
from genlab.training import Checkpoint, Loop, Trial
from genlab.training.loop import SPEED

CUDA = pytest.param(
    "cuda:0", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]
)


class Scheduled(Tiny):
    """With momentum, a falling rate, and dropout."""

    optimizer = SGD(0.1, momentum=0.9, rate=lambda p: 1 - p)


class Reaugmented(Semi):
    """Keeps its images, a subset, and flips them."""

    def next_streams(self, epoch: int, networks: Any) -> Any:
        return {"first": Stream(self.initial_streams["first"].image_set, augment="flip")}


class Swapped(TwoDomains):
    """Each stream goes on with images of the other one."""

    def next_streams(self, epoch: int, networks: Any) -> Any:
        first, second = (self.initial_streams[name].image_set for name in ("first", "second"))
        return {"first": Stream(second.subset(torch.arange(16, 40)), "flip"), "second": Stream(first, "flip")}


def gan_config(**settings: Any) -> GANConfig:
    return build(GANConfig, SMALL | {"epochs": 3} | settings)


CASES: dict[str, tuple[type[PhasedTask], Config]] = {
    "gan": (Unjudged, gan_config()),
    "spectral": (Unjudged, gan_config(spectral_norm="both", normalization="none")),
    "instance": (Unjudged, gan_config(normalization="instance", augment="crop_flip")),
    "steps": (Unjudged, gan_config(discriminator_steps=2)),
    "share": (Unjudged, gan_config(reuse_fakes=True)),
    "dropout": (Scheduled, build(TinyConfig, {"dropout": 0.5})),
    "transform": (Attacked, build(TinyConfig, {})),
    "conditional": (Conditional, build(TinyConfig, {"epoch_steps": 5})),
    "two streams": (TwoDomains, build(TinyConfig, {"epoch_steps": 4})),
    "pseudo-labels": (PseudoLabels, build(TinyConfig, {})),
    "subset of a subset": (Semi, build(TinyConfig, {"epoch_steps": 4})),
    "swapped": (Swapped, build(TinyConfig, {"epoch_steps": 3})),
    "other augmentation": (Reaugmented, build(TinyConfig, {"epoch_steps": 4})),
}


def start(case: str, device: str = "cpu", **changes: Any) -> Loop:
    kind, config = CASES[case]
    return Loop(kind(dataclasses.replace(config, **changes), Context(device=device)))


def through_a_file(loop: Loop) -> State:
    encoded = Checkpoint("gan", None, {}, {}, loop.epoch, [0], [loop.save()]).encode()
    return Checkpoint.decode(encoded, "state").states[0]


def same(one: State, other: State) -> bool:
    equal = all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)
    return one.tensors.keys() == other.tensors.keys() and equal and one.scalars == other.scalars


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("case", CASES)
def test_resumed_training_is_uninterrupted_training(case: str, device: str) -> None:
    whole = start(case, device)
    reports = [whole.advance(epoch) for epoch in (1, 2, 3)]
    first = start(case, device)
    first.advance(1)
    again = start(case, device)
    again.load(through_a_file(first))
    torch.rand(7)  # what happens to the global generator meanwhile does not matter
    for epoch in (2, 3):
        report = again.advance(epoch)
        expected = reports[epoch - 1]
        assert report.first_step == expected.first_step
        for name, curve in expected.steps.items():
            assert report.steps[name].tolist() == curve.tolist()
    assert same(whole.save(), again.save())


@pytest.mark.parametrize("case", ["gan", "dropout", "pseudo-labels"])
def test_a_replay_gives_the_same_epoch(case: str) -> None:
    """Also in a loop that has gone on since."""
    one = start(case)
    one.advance(1)
    kept = through_a_file(one)
    second = one.advance(2)
    ended = through_a_file(one)
    one.advance(3)
    one.load(kept)
    assert one.epoch == 1
    again = one.advance(2)
    assert all(again.steps[name].tolist() == curve.tolist() for name, curve in second.steps.items())
    assert same(through_a_file(one), ended)


def test_a_state_of_before_the_first_replacement_brings_the_initial_streams_back() -> None:
    one = start("pseudo-labels")
    kept = through_a_file(one)
    first = one.advance(1).steps["loss/label"].tolist()
    one.load(kept)
    assert one.streams["first"] is one.task.initial_streams["first"]
    assert one.advance(1).steps["loss/label"].tolist() == first


def test_epochs_and_progress_are_counted_on_after_another_batch_size() -> None:
    """A config may be another one, as long as the networks are the same."""
    seen: list[tuple[int, float]] = []

    class Counted(Tiny):
        def evaluate(self, networks: Any, split: str, epoch: int) -> Any:
            seen.append((epoch, progress[0]))
            return super().evaluate(networks, split, epoch)

    progress: list[float] = []
    one, again = (Loop(Counted(build(TinyConfig, {"batch_size": size}), Context())) for size in (8, 16))
    for loop in (one, again):
        watch_phases(loop, lambda phase, n, inputs: progress.append(float(inputs.progress)))
    one.advance(1)
    again.load(one.save())
    progress.clear()
    again.advance(2)
    assert seen == [(1, 0.0), (2, pytest.approx(1 / 3))]


@pytest.mark.parametrize("case", ["pseudo-labels", "subset of a subset", "other augmentation", "swapped"])
def test_a_replaced_streams_images_and_labels_are_restored(case: str) -> None:
    one, again = start(case), start(case)
    one.advance(1)
    again.load(through_a_file(one))
    for name, kept in one.streams.items():
        restored = again.streams[name]
        assert kept is not one.task.initial_streams[name] and kept.augment == restored.augment == "flip"
        items = torch.arange(len(kept.image_set))
        assert torch.equal(kept.image_set.select(items), restored.image_set.select(items))
        assert torch.equal(torch.as_tensor(kept.image_set.labels), torch.as_tensor(restored.image_set.labels))


def test_every_epoch_draws_anew() -> None:
    """With rates of 0 the networks stay: what differs between two epochs is what was drawn."""
    one = start("gan", lr_generator=1e-30, lr_discriminator=1e-30, epoch_steps=9)  # 9 steps are half a pass
    curves = [one.advance(epoch).steps["loss/generator"].tolist() for epoch in (1, 2, 3)]
    assert curves[0] != curves[1] != curves[2]


def test_replicas_are_seeds_in_a_row() -> None:
    config = gan_config()
    trial = Trial(Unjudged, config, Context(), replicas=2)
    alone = Trial(Unjudged, dataclasses.replace(config, seed=1), Context())
    trial.advance()
    alone.advance()
    assert trial.seeds == [0, 1]
    assert same(trial.replicas[1].save(), alone.replicas[0].save())
    assert not same(trial.replicas[0].save(), alone.replicas[0].save())


def test_a_trial_goes_on_from_its_checkpoint() -> None:
    config = gan_config()
    trial, again = (Trial(Unjudged, config, Context(), replicas=2) for _ in range(2))
    trial.advance()
    checkpoint = Checkpoint.decode(trial.checkpoint().encode(), "state")
    for kept, report in zip(checkpoint.metrics, trial.reports, strict=True):
        assert {**kept, **{name: report.metrics[name] for name in SPEED}} == report.metrics
    assert checkpoint.data["real"]["shape"] == [1197, 1, 32, 32]
    again.load(checkpoint)
    assert again.replicas[0].save().tensors.keys() == trial.replicas[0].save().tensors.keys()
    once_more = Trial(Unjudged, config, Context(), replicas=2)
    once_more.advance()
    assert once_more.checkpoint().encode() == trial.checkpoint().encode()  # the same state is the same bytes
    trial.advance()
    again.advance()
    assert again.epoch == 2
    for one, other in zip(trial.replicas, again.replicas, strict=True):
        assert same(one.save(), other.save())


def test_another_trials_work_in_between_changes_nothing() -> None:
    alone, between = start("dropout"), start("dropout")
    alone.advance(1)
    between.advance(1)
    alone.advance(2)
    Loop(tiny_tasks.Tiny(build(TinyConfig, {"seed": 5}), Context())).advance(1)
    between.advance(2)
    assert same(alone.save(), between.save())


def test_what_a_trial_says_of_itself() -> None:
    config = build(TinyConfig, {"epoch_steps": 2, "seed": 4, "lr": 0.07})
    trial = Trial(Tiny, config, Context(), replicas=2, script="mine.py")
    before = time.time()
    trial.advance()
    trial.advance()
    report = trial.epoch_report("0007", {"lane": 3}, trial.test())
    assert (report.trial, report.epoch, report.first_step, list(report.seeds)) == ("0007", 2, 2, [4, 5])
    assert report.host == {"lane": 3} and before <= report.time <= time.time()
    for replica, own in zip(report.replicas, trial.reports, strict=True):
        assert {name: replica.metrics[name] for name in own.metrics} == own.metrics
        assert replica.metrics["test/accuracy"] == own.metrics["accuracy"]  # it judges by the same images
        assert replica.steps["loss/label"].tolist() == own.steps["loss/label"].tolist()
    checkpoint = trial.checkpoint()
    assert (checkpoint.task, checkpoint.script, checkpoint.epoch, checkpoint.seeds) == (
        "TinyConfig",
        "mine.py",
        2,
        [4, 5],
    )
    assert checkpoint.config == {"epochs": 3, "seed": 4, "batch_size": 8, "epoch_steps": 2, "lr": 0.07, "dropout": 0.0}


def test_one_replica_that_diverged_makes_the_trial_diverged() -> None:
    trial = Trial(Tiny, build(TinyConfig, {"epoch_steps": 1}), Context(), replicas=2)
    trial.advance()
    assert not trial.epoch_report("t", {}).diverged
    trial.reports[1].diverged = True
    assert trial.epoch_report("t", {}).diverged
