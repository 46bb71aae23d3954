"""The GAN task: a generator against its discriminator, judged by a classifier's features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from genlab.data import ImageSet
from genlab.errors import DataError
from genlab.losses import ADVERSARIAL
from genlab.metrics import least_diverse
from genlab.models import (
    Discriminator,
    FullyConnectedDiscriminator,
    FullyConnectedGenerator,
    Generator,
    sample_latent,
)
from genlab.randomness import generator as seeded
from genlab.tasks.base import Inputs, Phase, Pictures, Report, Reuse, Stream
from genlab.tasks.context import Context
from genlab.tasks.gan_config import GANConfig
from genlab.tasks.generative import GenerativeTask
from genlab.tasks.images import to_signed, to_uint8, to_unit
from genlab.tasks.judging import Judging
from genlab.tasks.optimizers import Adam

if TYPE_CHECKING:
    from genlab.tasks.base import Networks

SHOWN = 64  # images kept an epoch, and in the batch that is the least diverse
ROWS, COLUMNS = 20, 8  # of the grid of classes, at most
NETWORKS = {
    "dcgan": (Generator, Discriminator),
    "fully_connected": (FullyConnectedGenerator, FullyConnectedDiscriminator),
}


class GAN(GenerativeTask):
    """Networks `generator` and `discriminator`: images in [-1, 1] inside, [0, 1] outside."""

    Config = GANConfig
    config: GANConfig

    def __init__(self, config: GANConfig, context: Context) -> None:
        super().__init__(config, context)
        self._judging = Judging(context, config.dataset, config.judged_size, config.evaluation_samples)

    def _load(self, split: str) -> ImageSet:
        return self.context.load(self.config.dataset, split, self.config.image_size)

    def streams(self) -> Mapping[str, Stream]:
        self._judging.check()
        images = self._load("train")
        if self.config.conditional != "none" and len(images.classes) < 2:
            raise DataError(f"{self.config.dataset} has no classes to draw: use conditional=none")
        return {"real": Stream(images, self.config.augment)}

    @property
    def drawn_classes(self) -> tuple[str, ...]:
        return self.data["real"].classes if self.config.conditional != "none" else ()

    def networks(self) -> Mapping[str, Callable[[], nn.Module]]:
        c, classes = self.config, len(self.drawn_classes)
        make_generator, make_discriminator = NETWORKS[c.architecture]
        common: dict[str, Any] = {"channels": self.data["real"].channels, "image_size": c.image_size, "init": c.init}
        of_g = {"spectral_norm": c.spectral_norm == "both", "classes": classes}
        of_d: dict[str, Any] = {
            "spectral_norm": c.spectral_norm != "none",
            "normalization": c.normalization,
            "dropout": c.dropout,
            "classes": classes if c.conditional == "both" else 0,
        }
        return {
            "generator": partial(make_generator, nz=c.nz, ngf=c.ngf, **of_g, **common),
            "discriminator": partial(make_discriminator, ndf=c.ndf, **of_d, **common),
        }

    def given(self) -> Mapping[str, nn.Module]:
        return {"judge": self.context.prepared["judge"].networks["classifier"]}

    def sample(self, name: str, count: int, generator: torch.Generator) -> Tensor:
        """Latent noise [count, nz], or as `labels` classes to draw, int64 [count], each as likely as the next."""
        if name == "labels":
            return torch.randint(len(self.drawn_classes), (count,), generator=generator, device=generator.device)
        return self.latents(count, generator)

    def latents(self, count: int, generator: torch.Generator) -> Tensor:
        return sample_latent(count, self.config.nz, self.config.noise, generator=generator, device=generator.device)

    def generate(self, networks: Networks, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        return to_unit(_told(networks["generator"], latents, labels))

    def phases(self) -> list[Phase]:
        c = self.config
        of_fakes = ("latent",) if c.conditional == "none" else ("latent", "labels")
        drawn_by_generator: dict[str, Any] = {"draws": of_fakes}
        if c.reuse_fakes:
            drawn_by_generator = {"reuse": Reuse("discriminator", fakes)}
        return [
            Phase(
                "discriminator",
                {"discriminator": Adam(c.lr_discriminator, c.beta1, c.beta2)},
                discriminator_loss,
                draws=("real", *of_fakes),
                repeats=c.discriminator_steps,
            ),
            Phase(
                "generator", {"generator": Adam(c.lr_generator, c.beta1, c.beta2)}, generator_loss, **drawn_by_generator
            ),
        ]

    def evaluate(self, networks: Networks, split: str, epoch: int) -> Report:
        """How far `evaluation_samples` generated images are from real ones of `split`: see `Judging.compare`.

        Also the discriminator's mean verdict D(x) and D(G(z)) on both sets, as `evaluation/score/…`; of a conditional
        GAN, which draws all classes in turn here, the share of images in which the judge sees the class asked for, as
        `accuracy/conditional`.

        Images: `samples`; `worst_batch`, of the batches of 64 the one whose images are nearest to one another; of a
        conditional GAN `by_class`, a class a row, a latent a column; `interpolation` in three of the epochs.
        """
        c, device = self.config, self.context.device
        judge, judging = networks["judge"], self._judging
        latents = self.latents(c.evaluation_samples, seeded(c.seed, "evaluation", device=device))
        labels = self.labels_in_turn(len(latents), device)
        real, chosen = self._load(split), judging.chosen(split)

        def drawn(items: Tensor) -> tuple[Tensor, Tensor | None]:
            own = None if labels is None else labels[items.to(device)]
            return self.generate(networks, latents[items.to(device)], own), own

        def verdict_on_real(items: Tensor) -> Tensor:
            own = real.labels[chosen[items]].to(device) if real.labels is not None else None
            return _verdict(networks, to_signed(real.select(chosen[items], device)), own, c)

        def seen_in_fakes(items: Tensor) -> Tensor:
            images, own = drawn(items)
            return torch.column_stack((judging.features(judge, images), _verdict(networks, to_signed(images), own, c)))

        on_real = self.context.map_shards(len(chosen), verdict_on_real)
        features, on_fake = self.context.map_shards(len(latents), seen_in_fakes).tensor_split([-1], dim=1)
        metrics = {
            **judging.compare(judge, features, split, labels),
            "evaluation/score/real": score(on_real, c.loss),
            "evaluation/score/fake": score(on_fake, c.loss),
        }
        shown = {"samples": torch.arange(SHOWN), "worst_batch": least_diverse(features, SHOWN)}
        images: dict[str, np.ndarray | Pictures] = {
            key: to_uint8(self.generate_shared(networks, latents[own], None if labels is None else labels[own]))
            for key, own in shown.items()
        }
        images |= self._by_class(networks, latents[:COLUMNS]) | self.interpolation(networks, epoch)
        return Report({name: float(value) for name, value in metrics.items()}, images)

    def _by_class(self, networks: Networks, latents: Tensor) -> dict[str, Pictures]:
        """A class a row, a latent a column; {} where the generator is not told the class."""
        rows = min(ROWS, len(self.drawn_classes))
        if not rows:
            return {}
        labels = torch.arange(rows, device=latents.device).repeat_interleave(len(latents))
        images = self.generate_shared(networks, latents.repeat(rows, 1), labels)
        images = to_uint8(images.view(rows, len(latents), *images.shape[1:]))
        return {"by_class": Pictures(images, rows=self.drawn_classes[:rows])}


def discriminator_loss(networks: Networks, inputs: Inputs, config: GANConfig) -> tuple[Tensor, dict[str, Tensor]]:
    """The discriminator's loss on real images and on fakes; `score/real` is the mean of D(x), a probability."""
    real = inputs["real"]
    on_real = _verdict(networks, to_signed(real.images), real.labels, config)
    on_fake = _verdict(networks, _fake(networks, inputs), _labels(inputs), config)
    loss = ADVERSARIAL[config.loss].discriminator(on_real, on_fake)
    return loss, {"score/real": score(on_real, config.loss)}


def generator_loss(networks: Networks, inputs: Inputs, config: GANConfig) -> tuple[Tensor, dict[str, Tensor]]:
    """The generator's loss; `score/fake` is the mean of D(G(z))."""
    on_fake = _verdict(networks, _fake(networks, inputs), _labels(inputs), config)
    return ADVERSARIAL[config.loss].generator(on_fake), {"score/fake": score(on_fake, config.loss)}


def score(logits: Tensor, loss: str) -> Tensor:
    """The discriminator's mean verdict: a probability for the losses that are defined on one, else its raw output."""
    logits = logits.detach()
    return (logits.sigmoid() if loss in ("non_saturating", "saturating") else logits).mean()


def fakes(networks: Networks, inputs: Inputs) -> dict[str, Tensor]:
    """Generated images in [-1, 1], for both phases."""
    return {"fake": _told(networks["generator"], inputs["latent"], _labels(inputs))}


def _fake(networks: Networks, inputs: Inputs) -> Tensor:
    return inputs["fake"] if "fake" in inputs else fakes(networks, inputs)["fake"]


def _labels(inputs: Inputs) -> Tensor | None:
    """The classes that were asked for; None where the generator is not told any."""
    return inputs["labels"] if "labels" in inputs else None  # noqa: SIM401 - inputs are no dict


def _verdict(networks: Networks, images: Tensor, labels: Tensor | None, config: GANConfig) -> Tensor:
    """The discriminator's logits; it is told the labels unless it is blind to them."""
    return _told(networks["discriminator"], images, labels if config.conditional == "both" else None)


def _told(network: Any, values: Tensor, labels: Tensor | None) -> Tensor:
    """What a network makes of them; it is called with labels only where there are some."""
    return network(values) if labels is None else network(values, labels)
