"""The GAN task: a DCGAN against its discriminator, judged by a classifier's features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from genlab.data import ImageSet
from genlab.errors import DataError
from genlab.losses import ADVERSARIAL
from genlab.metrics import Reference, class_coverage, frechet_distance, kernel_distance, prdc
from genlab.models import Discriminator, Generator, sample_latent
from genlab.randomness import generator as seeded
from genlab.tasks.base import Inputs, Phase, PhasedTask, Report, Reuse, Stream
from genlab.tasks.context import Context
from genlab.tasks.gan_config import GANConfig
from genlab.tasks.images import quantize, to_signed, to_uint8, to_unit
from genlab.tasks.optimizers import Adam

if TYPE_CHECKING:
    from genlab.tasks.base import Networks

SHOWN = 64  # images kept an epoch
FEWEST = 6  # the nearest five neighbours of an image must be other ones


class GAN(PhasedTask):
    """Networks `generator` and `discriminator` (Radford et al. 2016): images in [-1, 1] inside, [0, 1] outside."""

    Config = GANConfig
    config: GANConfig

    def __init__(self, config: GANConfig, context: Context) -> None:
        super().__init__(config, context)
        self._references: dict[str, tuple[Tensor, Reference]] = {}

    def _load(self, split: str) -> ImageSet:
        return self.context.load(self.config.dataset, split, self.config.image_size)

    def streams(self) -> Mapping[str, Stream]:
        for split in ("validation", "test"):
            if (few := len(self._load(split))) < FEWEST:
                raise DataError(
                    f"{self.config.dataset} has {few} {split} images: generated ones cannot be compared with fewer "
                    f"than {FEWEST}"
                )
        return {"real": Stream(self._load("train"), self.config.augment)}

    def networks(self) -> Mapping[str, Callable[[], nn.Module]]:
        c = self.config
        common: dict[str, Any] = {"channels": self.data["real"].channels, "image_size": c.image_size, "init": c.init}
        on_d = {"spectral_norm": c.spectral_norm != "none", "normalization": c.normalization}
        return {
            "generator": partial(Generator, nz=c.nz, ngf=c.ngf, spectral_norm=c.spectral_norm == "both", **common),
            "discriminator": partial(Discriminator, ndf=c.ndf, **on_d, **common),
        }

    def given(self) -> Mapping[str, nn.Module]:
        return {"judge": self.context.prepared["judge"].networks["classifier"]}

    def sample(self, name: str, count: int, generator: torch.Generator) -> Tensor:
        """Latent noise [count, nz]."""
        return sample_latent(count, self.config.nz, self.config.noise, generator=generator, device=generator.device)

    def phases(self) -> list[Phase]:
        c = self.config
        drawn_by_generator: dict[str, Any] = {"draws": ("latent",)}
        if c.reuse_fakes:
            drawn_by_generator = {"reuse": Reuse("discriminator", fakes)}
        return [
            Phase(
                "discriminator",
                {"discriminator": Adam(c.lr_discriminator, c.beta1, c.beta2)},
                discriminator_loss,
                draws=("real", "latent"),
                repeats=c.discriminator_steps,
            ),
            Phase(
                "generator", {"generator": Adam(c.lr_generator, c.beta1, c.beta2)}, generator_loss, **drawn_by_generator
            ),
        ]

    def evaluate(self, networks: Networks, split: str, epoch: int) -> Report:
        """How far `evaluation_samples` generated images are from real ones of `split`, by the judge's features.

        The kernel distance (KID) is unbiased and takes all generated and as many real images at most. The Fréchet
        distance, precision, recall, density and coverage depend on how many images a set has: they compare the first
        `sizes/compared` of both, as many as the smaller set has. Between two data sets they can be compared where that
        number and the judge are the same.

        Also which classes the judge sees in the generated images, and the discriminator's mean verdict D(x) and
        D(G(z)) on both sets, as `evaluation/score/…`.
        """
        judge, generator, discriminator = networks["judge"], networks["generator"], networks["discriminator"]
        c, context = self.config, self.context
        latent = self.sample("latent", c.evaluation_samples, seeded(c.seed, "evaluation", device=context.device))
        chosen, reference = self._real(judge, split)
        real = self._load(split)

        def verdict_on_real(items: Tensor) -> Tensor:
            return discriminator(to_signed(real.select(chosen[items], context.device)))

        def seen_in_fakes(items: Tensor) -> Tensor:
            images = generator(latent[items.to(latent.device)])
            return torch.column_stack((judge.features(quantize(to_unit(images))), discriminator(images)))

        on_real = context.map_shards(len(chosen), verdict_on_real)
        features, on_fake = context.map_shards(len(latent), seen_in_fakes).tensor_split([-1], dim=1)
        compared = min(len(chosen), len(features))
        metrics = {
            "frechet_distance": frechet_distance(reference.first(compared), features[:compared]),
            "kid": kernel_distance(reference, features),
            **prdc(reference.first(compared), features[:compared])._asdict(),
            "evaluation/score/real": score(on_real, c.loss),
            "evaluation/score/fake": score(on_fake, c.loss),
            "sizes/real": len(chosen),
            "sizes/generated": len(features),
            "sizes/compared": compared,
            "sizes/features": features.shape[1],
        }
        classes = len(self.data["real"].classes)
        if classes > 1 and judge.head[-1].out_features == classes:  # not a judge of other classes
            covered, entropy = class_coverage(judge.head(features).argmax(1), classes)
            metrics |= {"classes_covered": covered, "class_entropy": entropy}
        samples = to_uint8(to_unit(generator(latent[:SHOWN])))
        return Report({name: float(value) for name, value in metrics.items()}, {"samples": samples})

    def _real(self, judge: Any, split: str) -> tuple[Tensor, Reference]:
        """Which images of `split` generated ones are compared with, and the judge's features of them: computed once,
        the same in every epoch."""
        if split not in self._references:
            images, context = self._load(split), self.context
            shuffled = torch.randperm(len(images), generator=seeded(0, "reference"))
            chosen = shuffled[: self.config.evaluation_samples]
            features = context.map_shards(
                len(chosen), lambda items: judge.features(images.select(chosen[items], context.device))
            )
            self._references[split] = chosen, Reference(features)
        return self._references[split]


def discriminator_loss(networks: Networks, inputs: Inputs, config: GANConfig) -> tuple[Tensor, dict[str, Tensor]]:
    """The discriminator's loss on real images and on fakes; `score/real` is the mean of D(x), a probability."""
    on_real = networks["discriminator"](to_signed(inputs["real"].images))
    on_fake = networks["discriminator"](_fake(networks, inputs))
    loss = ADVERSARIAL[config.loss].discriminator(on_real, on_fake)
    return loss, {"score/real": score(on_real, config.loss)}


def generator_loss(networks: Networks, inputs: Inputs, config: GANConfig) -> tuple[Tensor, dict[str, Tensor]]:
    """The generator's loss; `score/fake` is the mean of D(G(z))."""
    on_fake = networks["discriminator"](_fake(networks, inputs))
    return ADVERSARIAL[config.loss].generator(on_fake), {"score/fake": score(on_fake, config.loss)}


def score(logits: Tensor, loss: str) -> Tensor:
    """The discriminator's mean verdict: a probability for the losses that are defined on one, else its raw output."""
    logits = logits.detach()
    return (logits.sigmoid() if loss in ("non_saturating", "saturating") else logits).mean()


def fakes(networks: Networks, inputs: Inputs) -> dict[str, Tensor]:
    """Generated images in [-1, 1], for both phases."""
    return {"fake": networks["generator"](inputs["latent"])}


def _fake(networks: Networks, inputs: Inputs) -> Tensor:
    return inputs["fake"] if "fake" in inputs else fakes(networks, inputs)["fake"]
