"""The GAN task where it is told classes, in what it shows, and in how it is judged at another size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from genlab.data.resize import resize
from genlab.errors import DataError, GenlabError
from genlab.models import linear_path, spherical_path
from genlab.randomness import generator as seeded
from genlab.tasks import Context, GANConfig, Report, build
from genlab.tasks.gan import GAN
from genlab.tasks.images import to_signed
from genlab.training import Loop

SMALL: dict[str, Any] = {"ngf": 4, "ndf": 4, "nz": 4, "batch_size": 20, "epoch_steps": 1, "evaluation_samples": 130}


class Brightest(nn.Module):
    """A judge whose ten classes are which of ten columns is the brightest; its features are the columns' means."""

    head = nn.Sequential(nn.Linear(10, 10))

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        with torch.no_grad():
            self.head[0].weight.copy_(torch.eye(10))
            self.head[0].bias.zero_()

    def features(self, images: Tensor) -> Tensor:
        self.sizes.append(images.shape[-1])
        columns = nn.functional.interpolate(images[:, :1], (1, 10), mode="nearest")[:, 0, 0]
        return columns + 1e-3 * images.flatten(1)[:, :10]


class Judged(GAN):
    def given(self) -> Mapping[str, nn.Module]:
        return {"judge": Brightest()}


class Columns(nn.Module):
    """Draws a bright column where its class says, of a brightness that its latent says; shifted by `shift` classes."""

    def __init__(self, shift: int = 0) -> None:
        super().__init__()
        self.shift = shift

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        images = torch.full((len(latents), 1, 32, 32), -1.0)
        for i, label in enumerate((labels + self.shift) % 10):
            left = int(label) * 32 // 10
            images[i, :, :, left : left + 4] = 0.5 + latents[i, 0].tanh() / 4
        return images


class Verdicts(nn.Module):
    """Notes what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Tensor, Tensor | None]] = []

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        self.seen.append((images, labels))
        return images.mean((1, 2, 3))


def task(**settings: Any) -> Judged:
    return Judged(build(GANConfig, SMALL | {"conditional": "both"} | settings), Context())


def evaluated(made: Judged, epoch: int = 2, **networks: Any) -> Report:
    every = {"discriminator": Verdicts(), "judge": Brightest(), **networks}
    with torch.no_grad():
        return made.evaluate(every, "validation", epoch)


@pytest.mark.parametrize(("shift", "accuracy"), [(0, 1.0), (3, 0.0)])
def test_the_share_of_images_of_the_class_that_was_asked_for(shift: int, accuracy: float) -> None:
    metrics = evaluated(task(), generator=Columns(shift)).metrics
    assert metrics["accuracy/conditional"] == accuracy
    assert metrics["classes_covered"] == 10


def test_a_latent_a_column_and_a_class_a_row() -> None:
    made = task()
    pictures: Any = evaluated(made, generator=Columns()).images["by_class"]
    shown = pictures.images
    assert tuple(pictures.rows) == tuple("0123456789") and not pictures.columns
    assert shown.shape == (10, 8, 32, 32, 1)
    for row in range(10):
        assert (shown[row].mean((1, 3)).argmax(-1) == row * 32 // 10).all()  # where the bright column begins
    brightness = shown.max((2, 3, 4)).astype(int)
    assert (brightness.max(0) - brightness.min(0) <= 1).all() and len(np.unique(brightness[0])) > 5


@pytest.mark.parametrize("conditional", ["both", "generator"])
def test_the_discriminator_is_told_the_truth_of_real_images_and_the_wish_of_fakes(conditional: str) -> None:
    made, verdicts = task(conditional=conditional), Verdicts()
    evaluated(made, generator=Columns(), discriminator=verdicts)
    if conditional == "generator":
        assert all(labels is None for _, labels in verdicts.seen)
        return
    digits = made._load("validation")
    chosen = torch.randperm(len(digits), generator=seeded(0, "reference"))[: SMALL["evaluation_samples"]]
    assert digits.labels is not None
    (real, truth), (fakes, wish) = verdicts.seen
    torch.testing.assert_close(real, to_signed(digits.select(chosen)))
    assert truth is not None and torch.equal(truth, digits.labels[chosen])
    assert wish is not None and torch.equal(wish, torch.arange(130) % 10)
    assert float(fakes[3].mean()) > -1


@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize("conditional", ["none", "generator", "both"])
def test_what_a_step_tells_the_networks(conditional: str, reuse: bool) -> None:
    """Real images go with their labels; generated ones with those that the generator was asked for, in both phases."""
    loop = Loop(task(conditional=conditional, reuse_fakes=reuse, batch_size=200))
    told: dict[str, list[tuple[Tensor, Tensor | None]]] = {"generator": [], "discriminator": []}
    for name, calls in told.items():
        loop.networks[name].register_forward_pre_hook(
            lambda module, inputs, calls=calls: calls.append((inputs[0].detach(), inputs[1] if inputs[1:] else None))
        )
    loop._train(1)
    drawn, judged = told["generator"], told["discriminator"]
    assert len(drawn) == (1 if reuse else 2) and len(judged) == 3
    wishes = [labels for _, labels in drawn]
    if conditional == "none":
        assert all(labels is None for _, labels in drawn + judged)
        return
    assert all(wish is not None and set(wish.tolist()) == set(range(10)) for wish in wishes)
    if conditional == "generator":
        assert all(labels is None for _, labels in judged)
        return
    (_, truth), (_, of_fakes), (_, of_later_fakes) = judged
    assert of_fakes is wishes[0] and of_later_fakes is wishes[-1]
    batch = loop.batches["real"].batch(0)
    assert torch.equal(truth, batch.labels) and not torch.equal(truth, wishes[0])  # type: ignore[arg-type]


def test_a_blind_discriminator_has_no_planes() -> None:
    channels = {
        told: next(
            m for m in task(conditional=told).networks()["discriminator"]().modules() if isinstance(m, nn.Conv2d)
        )
        for told in ("none", "generator", "both")
    }
    assert {told: first.in_channels for told, first in channels.items()} == {"none": 1, "generator": 1, "both": 11}


def painted(folder: Path, count: int) -> str:
    folder.mkdir()
    for i in range(count):
        Image.new("RGB", (40, 40), (i, 2 * i, 255 - i)).save(folder / f"{i:03d}.png")
    return f"image_folder:{folder}"


def test_images_without_classes_cannot_be_asked_for(tmp_path: Path) -> None:
    painted(tmp_path / "flat", 80)
    (tmp_path / "one").mkdir()
    painted(tmp_path / "one" / "class", 80)
    for name in ("flat", "one"):
        with pytest.raises(DataError, match="no classes to draw: use conditional=none"):
            Loop(task(dataset=f"image_folder:{tmp_path / name}"))


def test_of_many_classes_the_first_twenty_are_shown() -> None:
    class Many(Judged):
        drawn_classes = tuple(f"class {i}" for i in range(23))

    made = Many(build(GANConfig, SMALL | {"conditional": "generator"}), Context())
    pictures: Any = evaluated(made, generator=Columns()).images["by_class"]
    assert tuple(pictures.rows) == Many.drawn_classes[:20] and pictures.images.shape[:2] == (20, 8)


@pytest.mark.parametrize("normalization", ["instance", "batch_after_first"])
def test_normalizations_for_convolutions_are_refused_in_fully_connected_networks(normalization: str) -> None:
    with pytest.raises(GenlabError, match=f"{normalization} is .*: fully connected networks take batch or none"):
        build(GANConfig, {"architecture": "fully_connected", "normalization": normalization})


@pytest.mark.parametrize("size", [32, 64])
def test_images_are_judged_at_the_size_asked_for(size: int) -> None:
    """Those of the data come at that size; generated ones are brought to it, and to 256 levels."""
    judge = Brightest()
    made = task(image_size=64, judge_image_size=size, conditional="none")
    assert made.config.prepare()["judge"].config.image_size == size  # type: ignore[union-attr]
    seen: list[Tensor] = []
    features = judge.features
    judge.features = lambda images: seen.append(images) or features(images)  # type: ignore[method-assign]

    class Noise(nn.Module):
        def forward(self, latents: Tensor) -> Tensor:
            chance = torch.Generator().manual_seed(1)
            return torch.randint(256, (len(latents), 1, 64, 64), generator=chance) / 127.5 - 1

    report = evaluated(made, judge=judge, generator=Noise())
    assert {images.shape[-1] for images in seen} == {size}
    for images in seen:
        assert float((images * 255 - (images * 255).round()).abs().max()) < 1e-3
    assert report.images["samples"].shape == (64, 64, 64, 1)
    drawn = ((Noise()(torch.zeros(130, 4)) + 1) * 127.5).round().to(torch.uint8)
    as_data_are = drawn if size == 64 else resize(drawn, 32)
    assert float((seen[0] * 255 - as_data_are.float()).abs().max()) <= 1.001  # a half may be rounded either way
    assert float((seen[0] * 255 - as_data_are.float()).abs().mean()) < 0.01


def test_the_worst_batch_is_the_one_of_copies() -> None:
    made = task(conditional="none")
    whole = made.latents(130, seeded(0, "evaluation"))

    class Half(nn.Module):
        """Noise that its latent names; 64 to 127 are copies."""

        def forward(self, latents: Tensor) -> Tensor:
            noise = torch.rand(130, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
            noise[64:128] = noise[64]
            at = (latents[:, None] == whole).all(2)
            return noise[at.long().argmax(1)]

    images = evaluated(made, generator=Half()).images
    assert images["worst_batch"].shape == (64, 32, 32, 1)
    assert (images["worst_batch"] == images["worst_batch"][0]).all()
    assert not (images["samples"] == images["samples"][0]).all()


def test_interpolation_at_the_first_the_middle_and_the_last_epoch() -> None:
    made = task(epochs=7)
    calls: list[tuple[Tensor, Tensor]] = []

    class Seen(Columns):
        def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
            calls.append((latents, labels))
            return super().forward(latents, labels)

    shown = {epoch: made.interpolation({"generator": Seen()}, epoch) for epoch in range(1, 8)}
    assert [epoch for epoch, images in shown.items() if images] == [1, 4, 7]
    assert shown[4]["interpolation"].images.shape == (6, 8, 32, 32, 1)
    assert shown[4]["interpolation"].rows == ("linear", "spherical") * 3
    latents, labels = calls[0]
    assert torch.equal(latents, calls[1][0])  # the same in every epoch
    rows = latents.view(3, 2, 8, 4)
    for pair in range(3):
        start, end = rows[pair, 0, 0], rows[pair, 0, -1]
        torch.testing.assert_close(rows[pair, 0], linear_path(start, end, 8))
        torch.testing.assert_close(rows[pair, 1], spherical_path(start, end, 8))
    assert labels.view(3, 16).tolist() == [[pair] * 16 for pair in range(3)]


def test_one_epoch_is_first_middle_and_last() -> None:
    assert task(epochs=1).interpolation({"generator": Columns()}, 1)
    assert [e for e in (1, 2) if task(epochs=2).interpolation({"generator": Columns()}, e)] == [1, 2]
