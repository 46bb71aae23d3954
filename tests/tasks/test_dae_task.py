"""The denoising autoencoder's task on real digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_gan_task import painted
from torch import Tensor, nn

import genlab
from genlab.randomness import generator as seeded
from genlab.tasks import Context, DAEConfig, build
from genlab.tasks.dae import DAETask, add_noise
from genlab.tasks.images import to_uint8
from genlab.training import Loop, Trial

SMALL: dict[str, Any] = {"width": 16, "nz": 8, "epoch_steps": 2}


def task(**settings: Any) -> DAETask:
    return DAETask(build(DAEConfig, SMALL | settings), Context())


def test_two_epochs_on_digits_take_noise_off() -> None:
    loop = Loop(task(width=400, nz=64, epoch_steps=None))
    start = loop.evaluate("validation").metrics
    first, second = loop.advance(1), loop.advance(2)
    assert start["error/denoised"] > first.metrics["error/denoised"] > second.metrics["error/denoised"]
    assert second.metrics["error/denoised"] < 0.6 * second.metrics["error/noisy"]
    assert second.metrics["error/noisy"] == start["error/noisy"]  # the noise stays the same
    assert second.metrics["loss/dae"] < first.metrics["loss/dae"]
    assert set(loop.config.reports()) == second.metrics.keys()


class Watching(nn.Module):
    """Answers with the logits of what it was given, or of one grey."""

    def __init__(self, answer: float | None = None) -> None:
        super().__init__()
        self.answer, self.seen = answer, []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images)
        return (images if self.answer is None else torch.full_like(images, self.answer)).logit(eps=1e-7)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_errors_are_those_of_all_images_of_the_split(split: str) -> None:
    one, network = task(noise_std=0.3), Watching(0.25)
    report = one.evaluate({"dae": network}, split, 1)
    *noisy, shown = network.seen
    noisy, clean = torch.cat(noisy), Context().load("digits", split).select(torch.arange(300))
    assert noisy.shape == clean.shape and 0 == noisy.min() < noisy.max() == 1
    noise = one.sample("noise", 256, seeded(0, "evaluation"))[torch.arange(300) % 256]  # each image has its own
    torch.testing.assert_close(noisy, (clean + 0.3 * noise).clamp(0, 1))
    assert report.metrics["error/noisy"] == pytest.approx((noisy - clean).square().mean().item(), rel=1e-5)
    assert report.metrics["error/denoised"] == pytest.approx((clean - 0.25).square().mean().item(), rel=1e-5)
    pictures: Any = report.images["denoised"]
    assert pictures.images.shape == (2, 5, 32, 32, 1) and pictures.rows == ("noisy", "denoised")
    np.testing.assert_array_equal(pictures.images[0], to_uint8(noisy[:5]))
    assert (pictures.images[1] == 64).all() and torch.equal(shown, noisy[:5])
    again = one.evaluate({"dae": Watching()}, split, 2).metrics
    assert again["error/noisy"] == report.metrics["error/noisy"]
    assert again["error/denoised"] == pytest.approx(again["error/noisy"], rel=1e-4)  # of what changes nothing


@pytest.mark.parametrize("std", [0.1, 0.7])
def test_the_noise_is_gaussian_of_the_deviation_asked_for_and_clipped(std: float) -> None:
    one = task(noise_std=std)
    noise = one.sample("noise", 50, torch.Generator().manual_seed(0))
    assert noise.shape == (50, 1, 32, 32)
    grey = torch.full_like(noise, 0.5)
    noisy = add_noise(grey, noise, std)
    # the share that is clipped on either side is that of a normal distribution beyond 0.5 / std deviations
    beyond = torch.distributions.Normal(0.0, 1.0).cdf(torch.tensor(-0.5 / std)).item()
    for value in (0.0, 1.0):
        assert (noisy == value).float().mean().item() == pytest.approx(beyond, abs=0.005)
    inside = noise.abs() * std < 0.5
    torch.testing.assert_close((noisy - grey)[inside].std(), (std * noise)[inside].std(), rtol=1e-4, atol=0)
    assert noise.std().item() == pytest.approx(1, abs=0.01)


def test_the_loss_of_a_step_is_the_cross_entropy_of_clean_images_from_noisy_ones() -> None:
    one = task(noise_std=0.4)
    loop = Loop(one)
    seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def watched(networks: Any, inputs: Any, config: Any) -> Any:
        def network(noisy: Tensor) -> Tensor:
            logits = networks["dae"](noisy)
            seen.append((inputs["images"].images, noisy, logits))
            return logits

        return loss({"dae": network}, inputs, config)

    (phase,) = loop.phases
    loss = phase.loss
    object.__setattr__(phase, "loss", watched)
    report = loop.advance(1)
    for step, (clean, noisy, logits) in enumerate(seen):
        expected = nn.functional.binary_cross_entropy(logits.sigmoid(), clean).item()
        assert report.steps["loss/dae"][step] == pytest.approx(expected, rel=1e-4)
        assert 0.05 < (noisy - clean).square().mean().item() < 0.4**2
    assert not torch.equal(seen[0][1] - seen[0][0], seen[1][1] - seen[1][0])


def test_gradients_reach_every_parameter_also_with_three_channels(tmp_path: Path) -> None:
    painted(tmp_path / "faces", 40)
    loop = Loop(task(dataset=f"image_folder:{tmp_path}/faces", image_size=64))
    report = loop.advance(1)
    gradients = [parameter.grad for parameter in loop.parameters["dae"]]
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in gradients)
    pictures: Any = report.images["denoised"]
    assert pictures.images.shape[2:] == (64, 64, 3)


def test_the_config_reaches_the_network_and_the_optimizer() -> None:
    one = task(width=6, nz=5, lr=3e-3, beta1=0.7, beta2=0.8, augment="flip")
    network = one.networks()["dae"]()
    assert [m.out_features for m in network.modules() if isinstance(m, nn.Linear)] == [6, 5, 6, 1024]
    (phase,) = one.phases()
    adam: Any = phase.updates["dae"]
    assert (adam.lr, adam.beta1, adam.beta2) == (3e-3, 0.7, 0.8)
    assert one.streams()["images"].augment == "flip"


def test_a_loaded_network_denoises_alike(tmp_path: Path) -> None:
    trial = Trial(DAETask, build(DAEConfig, SMALL), Context())
    trial.advance()
    (tmp_path / "state.safetensors").write_bytes(trial.checkpoint().encode())
    loaded, noisy = genlab.load(str(tmp_path / "state.safetensors"))["dae"], torch.rand(3, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded(noisy), trial.replicas[0].networks["dae"](noisy))  # type: ignore[attr-defined]


@pytest.mark.parametrize(("setting", "told"), [({"noise_std": 0.0}, "noise_std=0.0"), ({"nz": 0}, "nz=0")])
def test_refusals(setting: dict[str, Any], told: str) -> None:
    with pytest.raises(genlab.errors.GenlabError, match=told):
        build(DAEConfig, setting)
