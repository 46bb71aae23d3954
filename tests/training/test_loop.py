"""The loop against what it promises: phases, draws, resumption, and DDP's equality with one process."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from genlab.tasks import GANConfig, PhasedTask, Place, Report, build
from genlab.tasks.base import Draw
from genlab.tasks.gan import GAN
from genlab.training import Loop, Trial
from genlab.training.checkpoints import Checkpoint

SMALL: dict[str, Any] = {
    "ngf": 4,
    "ndf": 4,
    "nz": 8,
    "batch_size": 16,
    "epoch_steps": 3,
    "lr_generator": 1e-3,
    "lr_discriminator": 1e-3,
}


class Unjudged(GAN):
    """A GAN whose evaluation needs no judge."""

    def evaluate(self, networks: Any, split: str) -> Report:
        return Report({"kid": 0.0})


class Plain(Unjudged):
    """Without BatchNorm, so that a sample's gradient does not depend on the batch that it is in."""

    def networks(self) -> dict[str, nn.Module]:
        networks = super().networks()
        for network in networks.values():
            for owner in list(network.modules()):
                for name, child in owner.named_children():
                    if isinstance(child, nn.BatchNorm2d):
                        setattr(owner, name, nn.Identity())
        return networks


class Guided(Plain):
    """With a network that nobody trains, and a layer that is frozen."""

    def networks(self) -> dict[str, nn.Module]:
        networks = super().networks()
        next(iter(networks["discriminator"].parameters())).requires_grad_(False)
        return networks | {"teacher": nn.Linear(2, 2).requires_grad_(False)}


def loop(task: type[PhasedTask] = Unjudged, place: Place | None = None, **settings: Any) -> Loop:
    return Loop(task(build(GANConfig, SMALL | settings), place or Place()))


def weights(loop: Loop) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in loop.save().tensors.items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


CUDA = pytest.param(
    "cuda:0", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]
)


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("settings", [{}, {"spectral_norm": "both"}, {"discriminator_steps": 2}, {"reuse_fakes": True}])
def test_resumed_training_is_uninterrupted_training(
    settings: dict[str, Any], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    settings = {**settings, "place": Place(device=device)}
    whole = loop(**settings)
    for epoch in (1, 2, 3):
        whole.advance(epoch)
    first = loop(**settings)
    first.advance(1)
    encoded = Checkpoint("gan", None, {}, {}, 1, [0], [first.save()]).encode()
    second = loop(**settings)
    second.load(Checkpoint.decode(encoded, "state").states[0])
    for epoch in (2, 3):
        second.advance(epoch)
    assert same(weights(whole), weights(second))


def test_a_pass_that_epochs_cut_in_two_goes_on() -> None:
    """Four epochs of 3 steps draw what two of 6 do: shuffling goes by pass (of 9 steps), whatever an epoch is."""
    short, long = loop(batch_size=128, epoch_steps=3), loop(batch_size=128, epoch_steps=6)
    seen: list[list[float]] = [[], []]
    for i, (one, epochs) in enumerate(((short, 4), (long, 2))):
        stream, batch = one.streams["real"], one.streams["real"].batch
        stream.batch = lambda step, i=i, batch=batch: (seen[i].append(float(batch(step).images.sum())), batch(step))[1]  # type: ignore[method-assign]
        for epoch in range(1, epochs + 1):
            one.advance(epoch)
    assert seen[0] == seen[1]


def test_seeds_shift_replicas() -> None:
    config = build(GANConfig, SMALL)
    trial = Trial(Unjudged, config, Place(), replicas=2)
    alone = Trial(Unjudged, dataclasses.replace(config, seed=1), Place())
    trial.advance()
    alone.advance()
    replica, other = trial.replicas[1], alone.replicas[0]
    assert isinstance(replica, Loop) and isinstance(other, Loop)
    assert same(weights(replica), weights(other))
    first = trial.replicas[0]
    assert isinstance(first, Loop) and not same(weights(first), weights(other))


def test_only_the_networks_of_a_phase_learn_in_it() -> None:
    """A discriminator phase leaves the generator alone, and the other way round."""
    one = loop(discriminator_steps=2)
    learned: list[str] = []
    for name, optimizer in one.optimizers.items():
        step = optimizer.step

        def spy(*arguments: Any, name: str = name, step: Any = step) -> Any:
            on = {n for n, own in one.parameters.items() if all(p.requires_grad for p in own)}
            off = {n for n, own in one.parameters.items() if not any(p.requires_grad for p in own)}
            assert on == {name} and off == {"generator", "discriminator"} - {name}
            learned.append(name)
            return step(*arguments)

        optimizer.step = spy  # type: ignore[method-assign]
    one.advance(1)
    assert learned == ["discriminator", "discriminator", "generator"] * 3


def test_what_a_task_froze_stays_as_it_is() -> None:
    one = loop(Guided)
    before = weights(one)
    one.advance(1)
    changed = {n for n, tensor in weights(one).items() if n in before and not torch.equal(tensor, before[n])}
    names = {f"networks/discriminator/{n}" for n, _ in one.networks["discriminator"].named_parameters()}
    frozen = f"networks/discriminator/{next(one.networks['discriminator'].named_parameters())[0]}"
    assert names - changed == {frozen}
    assert not any(name.startswith("networks/teacher") for name in changed)


def test_a_step_shows_the_mean_of_its_repetitions() -> None:
    one = loop(discriminator_steps=3, epoch_steps=2)
    seen: list[float] = []
    first = one.phases[0]

    def spy(*arguments: Any) -> Any:
        loss, scores = first.loss(*arguments)
        seen.append(float(loss.detach()))
        return loss, scores

    one.phases[0] = dataclasses.replace(first, loss=spy)
    curve = one.advance(1).steps["loss/discriminator"]
    assert len(seen) == 6
    assert curve == pytest.approx([sum(seen[:3]) / 3, sum(seen[3:]) / 3], rel=1e-5)


@pytest.mark.parametrize("settings", [{"augment": "crop_flip"}, {"spectral_norm": "both"}, {"reuse_fakes": True}])
def test_a_step_never_asks_the_device_for_a_number(settings: dict[str, Any]) -> None:
    class Watch(TorchDispatchMode):
        """Hears every operation."""

        asked: ClassVar[list[str]] = []

        def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if any(word in str(op) for word in ("_local_scalar_dense", "nonzero", "unique", "masked_select")):
                self.asked.append(str(op))
            return op(*args, **(kwargs or {}))

    one = loop(**settings)
    noises = {phase.name: torch.Generator() for phase in one.phases}
    one._train_step(noises)
    with Watch() as watch:
        one.step = 1
        one._train_step(noises)
        assert not watch.asked
        torch.ones(1).item()
    assert watch.asked  # it does hear them


def test_every_repetition_draws_afresh() -> None:
    one = loop(discriminator_steps=2, epoch_steps=2)
    drawn: list[Draw] = []
    draw = one._draw

    def spy(*arguments: Any) -> Draw:
        drawn.append(draw(*arguments))
        return drawn[-1]

    one._draw = spy  # type: ignore[method-assign]
    one.advance(1)
    noises = [d.noise for d in drawn if d.noise is not None]
    assert len(noises) == 6
    assert not any(torch.equal(noises[i], noises[j]) for i in range(6) for j in range(i))
    batches = [d.batch["real"].images for d in drawn if d.batch]
    assert len(batches) == 4
    assert not any(torch.equal(batches[i], batches[j]) for i in range(4) for j in range(i))


def test_reused_fakes_are_the_fakes_of_the_same_noise() -> None:
    """Sharing G(z) between the phases gives the gradients that computing it in each from one noise does."""
    shared = loop(Plain, reuse_fakes=True, epoch_steps=1)
    shared.advance(1)
    apart = loop(Plain, epoch_steps=1)
    drawn: list[Draw] = []
    draw = apart._draw

    def same_noise(*arguments: Any) -> Draw:
        drawn.append(draw(*arguments))
        return drawn[-1]._replace(noise=drawn[0].noise)

    apart._draw = same_noise  # type: ignore[method-assign]
    apart.advance(1)
    for name, tensor in weights(shared).items():
        torch.testing.assert_close(tensor, weights(apart)[name], atol=1e-6, rtol=1e-5)


def test_divergence_is_reported_with_the_last_finite_values() -> None:
    one = loop(lr_generator=1e30, lr_discriminator=1e30, epoch_steps=20)
    report = one.advance(1)
    assert report.diverged
    assert report.metrics
    assert all(value == value and abs(value) != float("inf") for value in report.metrics.values())
    assert len(report.steps["loss/generator"]) == 20


def gradients(rank: int, world: int, folder: str) -> None:
    """One step on one rank; every gradient goes to a file."""
    torch.set_num_threads(1)
    if world > 1:
        store = dist.FileStore(os.path.join(folder, "store"), world)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=world)
    found = {}
    for reuse in (False, True):
        settings = {"epoch_steps": 1, "batch_size": 32, "discriminator_steps": 2, "reuse_fakes": reuse}
        one = loop(Guided, Place(rank=rank, world=world), **settings)
        one.advance(1)
        found |= {f"{reuse}/{n}/{i}": p.grad for n, own in one.parameters.items() for i, p in enumerate(own)}
    torch.save(found, os.path.join(folder, f"{world}-{rank}.pt"))
    if world > 1:
        dist.destroy_process_group()


def test_two_ranks_average_to_one_process_on_the_whole_batch(tmp_path: Path) -> None:
    gradients(0, 1, str(tmp_path))
    mp.spawn(gradients, (2, str(tmp_path)), nprocs=2)  # type: ignore[attr-defined]
    alone, *ranks = [torch.load(tmp_path / name) for name in ("1-0.pt", "2-0.pt", "2-1.pt")]
    assert alone
    for name, gradient in alone.items():
        assert gradient.abs().sum() > 0
        for rank in ranks:
            torch.testing.assert_close(rank[name], gradient, atol=1e-5, rtol=1e-5)
