"""The VAE's task on real digits: what it reports, against the terms computed by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_gan_task import painted

import genlab
from genlab.models import VAE
from genlab.randomness import generator as seeded
from genlab.tasks import Context, Report, VAEConfig, build
from genlab.tasks.images import to_uint8
from genlab.tasks.vae import VAETask
from genlab.training import Loop, Trial

SMALL: dict[str, Any] = {"width": 16, "nz": 4, "epoch_steps": 2}


def task(**settings: Any) -> VAETask:
    return VAETask(build(VAEConfig, SMALL | settings), Context())


def untrained(one: VAETask) -> dict[str, Any]:
    return {name: build().eval() for name, build in one.networks().items()}


@pytest.mark.parametrize(("architecture", "width"), [("fully_connected", None), ("convolutional", 12)])
def test_two_epochs_on_digits_raise_the_elbo(architecture: str, width: int | None) -> None:
    loop = Loop(task(architecture=architecture, width=width, lr=2e-3, epoch_steps=None))
    start = loop.evaluate("validation").metrics
    first, second = loop.advance(1), loop.advance(2)
    assert start["elbo"] + 50 < first.metrics["elbo"] < second.metrics["elbo"]
    assert second.metrics["loss/vae"] < first.metrics["loss/vae"]
    assert set(loop.config.reports()) == second.metrics.keys()


def test_an_epochs_terms_are_those_of_all_images_of_the_split() -> None:
    """By torch.distributions, with the fixed noise of an evaluation: 300 images, more than a chunk."""
    one = task()
    networks: dict[str, Any] = untrained(one)
    for split in ("validation", "test"):
        with torch.no_grad():
            found = one.evaluate(networks, split, 1).metrics
            again = one.evaluate(networks, split, 2).metrics
            images = Context().load("digits", split).select(torch.arange(300))
            noise = torch.randn(300, 4, generator=seeded(0, "evaluation"))
            mean, log_variance = networks["vae"].encode(images)
            q = torch.distributions.Normal(mean, (log_variance / 2).exp())
            logits = networks["vae"].decode(mean + noise * q.stddev)
            pixels = torch.distributions.Bernoulli(logits=logits, validate_args=False)
            reconstruction = pixels.log_prob(images).sum((1, 2, 3)).mean().item()
            kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0, 1)).sum(1).mean().item()
        assert found == again
        assert found["reconstruction"] == pytest.approx(reconstruction, rel=1e-5)
        assert found["kl"] == pytest.approx(kl, rel=1e-4) and kl > 0.001
        assert found["elbo"] == pytest.approx(reconstruction - kl, rel=1e-5)


def test_the_loss_of_a_step_is_the_negative_elbo_of_its_batch() -> None:
    loop = Loop(task(lr=0.05))  # at the first step the divergence is nearly nothing, at the second it counts
    vae: Any = loop.networks["vae"]
    seen: list[Any] = []
    vae.register_forward_hook(lambda module, given, made: seen.append((*given, *made)) if module.training else None)
    report = loop.advance(1)
    assert report.steps["loss/vae"].shape == (2,)
    for step, (images, noise, logits, mean, log_variance) in enumerate(seen):
        assert images.shape == (64, 1, 32, 32) and noise.shape == (64, 4)
        q = torch.distributions.Normal(mean, (log_variance / 2).exp())
        kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0, 1)).sum(1).mean()
        bce = torch.nn.functional.binary_cross_entropy(logits.sigmoid(), images, reduction="sum") / 64
        assert report.steps["loss/vae"][step] == pytest.approx((bce + kl).item(), rel=1e-4)
        assert report.steps["score/kl"][step] == pytest.approx(kl.item(), rel=1e-4)
    assert report.steps["score/kl"][1] > 1
    assert not torch.equal(seen[0][1], seen[1][1])  # each step has noise of its own


def test_gradients_reach_every_parameter_also_with_three_channels(tmp_path: Path) -> None:
    painted(tmp_path / "faces", 40)
    for architecture in ("fully_connected", "convolutional"):
        loop = Loop(task(dataset=f"image_folder:{tmp_path}/faces", architecture=architecture, epochs=1))
        report = loop.advance(1)
        gradients = [parameter.grad for parameter in loop.parameters["vae"]]
        assert all(gradient is not None and gradient.abs().max() > 0 for gradient in gradients)
        assert report.images["samples"].shape == (64, 32, 32, 3)
        assert report.images["embedding"].shape[2] == 3  # of four images, too


def test_what_an_epoch_shows() -> None:
    loop = Loop(task(epochs=4))
    reports = {epoch: loop.advance(epoch) for epoch in range(1, 5)}
    always = {"samples", "reconstructions"}
    assert [report.images.keys() - always for report in reports.values()] == [
        {"interpolation"},
        {"interpolation"},
        set(),
        {"interpolation", "embedding"},
    ]
    shown, networks = reports[4].images, {name: each.eval() for name, each in loop.networks.items()}
    vae: Any = networks["vae"]
    images = Context().load("digits", "validation").select(torch.arange(8))
    with torch.no_grad():
        again = vae.decode(vae.encode(images)[0]).sigmoid()
        drawn = vae.decode(torch.randn(64, 4, generator=seeded(0, "samples"))).sigmoid()
    last: dict[str, Any] = {key: getattr(own, "images", own) for key, own in shown.items()}
    rows = {key: getattr(own, "rows", ()) for key, own in shown.items()}
    assert rows["reconstructions"] == ("image", "reconstruction") and not rows["samples"]
    assert rows["interpolation"] == ("linear", "spherical") * 3
    assert last["reconstructions"].shape == (2, 8, 32, 32, 1)
    np.testing.assert_array_equal(last["reconstructions"][0], to_uint8(images))
    assert abs(last["reconstructions"][1].astype(int) - to_uint8(again)).max() <= 1
    assert abs(last["samples"].astype(int) - to_uint8(drawn)).max() <= 1
    assert last["interpolation"].shape == (6, 8, 32, 32, 1)
    assert last["embedding"].ndim == 3 and last["embedding"].std() > 5


def test_the_embedding_shows_each_images_mean_in_the_colour_of_its_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more images than it shows some, with their own labels."""
    seen: list[Any] = []

    def spy(*given: Any) -> Any:
        seen.append(given)
        raise KeyboardInterrupt

    monkeypatch.setattr("genlab.tasks.vae.embedding", spy)
    one = task(epochs=1)
    networks = untrained(one)
    for split, count in (("validation", 300), ("train", 1000)):
        with torch.no_grad(), pytest.raises(KeyboardInterrupt):
            one.evaluate(networks, split, 1)
        means, labels, classes = seen.pop()
        images = Context().load("digits", split)
        assert classes == images.classes and means.shape == (count, 4)
        with torch.no_grad():
            every = networks["vae"].encode(images.select(torch.arange(len(images))))[0]
        nearest = torch.cdist(torch.from_numpy(means).double(), every.double())
        assert images.labels is not None and nearest.min(1).values.max() < 1e-6
        assert images.labels[nearest.argmin(1)].tolist() == labels.tolist()


def test_the_config_reaches_the_network_and_the_optimizer() -> None:
    one = task(
        architecture="convolutional", width=6, nz=9, lr=3e-3, beta1=0.7, beta2=0.8, image_size=64, augment="flip"
    )
    vae: Any = untrained(one)["vae"]
    assert [m.out_channels for m in vae.encoder if isinstance(m, torch.nn.Conv2d)] == [6, 12, 24, 48]
    assert vae.nz == 9 and one.streams()["images"].augment == "flip"
    (phase,) = one.phases()
    adam: Any = phase.updates["vae"]
    assert (adam.lr, adam.beta1, adam.beta2) == (3e-3, 0.7, 0.8)
    for architecture, first in (("fully_connected", 400), ("convolutional", 32)):  # where no width is given
        vae = untrained(task(architecture=architecture, width=None))["vae"]
        assert next(p for p in vae.parameters() if p.ndim > 1).shape[0] == first


def test_a_loaded_network_draws_the_same_images(tmp_path: Path) -> None:
    trial = Trial(VAETask, build(VAEConfig, SMALL), Context())
    trial.advance()
    (tmp_path / "state.safetensors").write_bytes(trial.checkpoint().encode())
    loaded = genlab.load(str(tmp_path / "state.safetensors"))
    assert isinstance(loaded["vae"], VAE)
    one, trained = trial.replicas[0].task, trial.replicas[0].networks  # type: ignore[attr-defined]
    latents = one.latents(5, torch.Generator().manual_seed(3))
    with torch.no_grad():
        images = one.generate(loaded, latents)
        assert torch.equal(images, one.generate(trained, latents))
    assert images.shape == (5, 1, 32, 32) and 0 <= images.min() < images.max() <= 1


def test_a_single_image_to_validate_on_has_no_place_among_others(tmp_path: Path) -> None:
    loop = Loop(task(dataset=painted(tmp_path / "few", 10), epochs=1, batch_size=4))
    report = loop.advance(1)
    assert report.images.keys() == {"samples", "reconstructions", "interpolation"}
    reconstructions: Any = report.images["reconstructions"]
    assert reconstructions.images.shape[:2] == (2, 1)


@pytest.mark.parametrize(("setting", "told"), [({"nz": 1}, "nz=1"), ({"width": 0}, "width=0"), ({"lr": 0.0}, "lr=0.0")])
def test_refusals(setting: dict[str, Any], told: str) -> None:
    with pytest.raises(genlab.errors.GenlabError, match=told):
        build(VAEConfig, setting)


def test_a_report_is_one_of_plain_numbers() -> None:
    one = task(epochs=1, nz=2)
    with torch.no_grad():
        report = one.evaluate(untrained(one), "validation", 1)
    assert isinstance(report, Report) and all(type(value) is float for value in report.metrics.values())
