"""The GAN task: a DCGAN against its discriminator, judged by a classifier's features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from genlab.data import Batch, ImageSet
from genlab.errors import DataError
from genlab.losses import ADVERSARIAL
from genlab.metrics import class_coverage, frechet_distance, kernel_distance, prdc
from genlab.models import Discriminator, Generator
from genlab.models import noise as draw_noise
from genlab.randomness import generator as seeded
from genlab.tasks.base import AdamSettings, Draw, Phase, PhasedTask, Place, Report
from genlab.tasks.config import GANConfig

if TYPE_CHECKING:
    from genlab.tasks.base import Networks

SHOWN = 64  # images kept an epoch
REFERENCE = 2000  # real images at most that drawn ones are compared with: neighbours cost the square
FEWEST = 6  # the nearest five neighbours of an image must be other ones


class GAN(PhasedTask):
    """Images in [-1, 1] inside, [0, 1] outside. Radford et al. 2016; losses in `genlab.losses`."""

    Config = GANConfig
    config: GANConfig

    def __init__(self, config: GANConfig, place: Place) -> None:
        super().__init__(config, place)
        self.train = self._load("train")
        for split in ("validation", "test"):
            if (few := len(self._load(split))) < FEWEST:
                raise DataError(
                    f"{config.dataset} has {few} {split} images: drawn ones cannot be compared with fewer than {FEWEST}"
                )
        self._images: dict[str, Tensor] = {}  # of each split that was judged against, and the judge's features of them
        self._real: dict[str, Tensor] = {}

    def _load(self, split: str) -> ImageSet:
        return self.place.load(self.config.dataset, split, self.config.image_size)

    def data(self) -> dict[str, Any]:
        return {"real": self.train.describe()}

    def networks(self) -> dict[str, torch.nn.Module]:
        c = self.config
        common: dict[str, Any] = {"channels": self.train.channels, "image_size": c.image_size, "init": c.init}
        return {
            "generator": Generator(nz=c.nz, ngf=c.ngf, spectral_norm=c.spectral_norm == "both", **common),
            "discriminator": Discriminator(ndf=c.ndf, spectral_norm=c.spectral_norm != "none", **common),
        }

    def streams(self) -> dict[str, ImageSet]:
        return {"real": self.train}

    def noise(self, count: int, generator: torch.Generator) -> Tensor:
        return draw_noise(count, self.config.nz, self.config.noise, generator=generator, device=generator.device)

    def phases(self) -> list[Phase]:
        c = self.config
        fresh: dict[str, Any] = {"draws": ("noise",)}
        reused: dict[str, Any] = {"reuses": "discriminator", "shares": _fakes}
        return [
            Phase(
                "discriminator",
                {"discriminator": AdamSettings(c.lr_discriminator, c.beta1, c.beta2)},
                discriminator_loss,
                draws=("real", "noise"),
                repeats=c.discriminator_steps,
            ),
            Phase(
                "generator",
                {"generator": AdamSettings(c.lr_generator, c.beta1, c.beta2)},
                generator_loss,
                **(reused if c.reuse_fakes else fresh),
            ),
        ]

    def evaluate(self, networks: Networks, split: str) -> Report:
        """Fréchet distance, KID, precision, recall, density and coverage between the judge's features of images
        of `split` (2,000 at most) and of `evaluation_samples` drawn ones, which classes the judge sees in these, and
        the discriminator's mean verdict D(x) and D(G(z)) on both, as `evaluation/score/…`."""
        judge: Any = self.place.prepared["judge"]["classifier"]
        generator, discriminator = networks["generator"], networks["discriminator"]
        c, place = self.config, self.place
        noise = self.noise(c.evaluation_samples, seeded(c.seed, "evaluation", device=place.device))
        held = self._held(split)

        def see_real(items: Tensor) -> Tensor:
            return judge.features(held[items].to(place.device).float() / 255)

        def verdict_on_real(items: Tensor) -> Tensor:
            return discriminator(held[items].to(place.device).float() / 255 * 2 - 1)

        def see_fake(items: Tensor) -> Tensor:
            images = generator(noise[items.to(noise.device)])
            return torch.column_stack((judge.features(to_unit(images)), discriminator(images)))

        if split not in self._real:  # the same in every epoch
            self._real[split] = place.over(len(held), see_real)
        real, on_real = self._real[split], place.over(len(held), verdict_on_real)
        fake, on_fake = place.over(len(noise), see_fake).tensor_split([real.shape[1]], dim=1)
        metrics = {
            "frechet_distance": frechet_distance(real, fake),
            "kid": kernel_distance(real, fake),
            **prdc(real, fake)._asdict(),
            "evaluation/score/real": score(on_real, c.loss),
            "evaluation/score/fake": score(on_fake, c.loss),
            "sizes/real": len(real),
            "sizes/generated": len(fake),
            "sizes/features": real.shape[1],
        }
        if self.train.labels is not None and len(self.train.classes) > 1:
            covered, entropy = class_coverage(judge.head(fake).argmax(1), len(self.train.classes))
            metrics |= {"classes_covered": covered, "class_entropy": entropy}
        samples = to_uint8(generator(noise[:SHOWN]))
        return Report({name: float(value) for name, value in metrics.items()}, {"samples": samples})

    def _held(self, split: str) -> Tensor:
        """The images of `split` that drawn ones are compared with: uint8 [N, C, S, S]."""
        if split not in self._images:
            images = self._load(split).images
            if len(images) > REFERENCE:
                images = images[torch.randperm(len(images), generator=seeded(0, "reference"))[:REFERENCE]]
            self._images[split] = images
        return self._images[split]


def discriminator_loss(networks: Networks, draw: Draw, config: GANConfig) -> tuple[Tensor, dict[str, Tensor]]:
    """The discriminator's loss on real images and on fakes; `score/real` is the mean of D(x), a probability."""
    fake = draw.shared["fake"] if draw.shared else _fakes(networks, draw.batch, draw.noise)["fake"]
    on_real = networks["discriminator"](draw.batch["real"].images * 2 - 1)
    on_fake = networks["discriminator"](fake)
    loss = ADVERSARIAL[config.loss].discriminator(on_real, on_fake)
    return loss, {"score/real": score(on_real, config.loss)}


def generator_loss(networks: Networks, draw: Draw, config: GANConfig) -> tuple[Tensor, dict[str, Tensor]]:
    """The generator's loss; `score/fake` is the mean of D(G(z))."""
    fake = draw.shared["fake"] if draw.shared else _fakes(networks, draw.batch, draw.noise)["fake"]
    on_fake = networks["discriminator"](fake)
    return ADVERSARIAL[config.loss].generator(on_fake), {"score/fake": score(on_fake, config.loss)}


def score(logits: Tensor, loss: str) -> Tensor:
    """The discriminator's mean verdict: a probability for the losses that are defined on one, else its raw output."""
    logits = logits.detach()
    return (logits.sigmoid() if loss in ("non_saturating", "saturating") else logits).mean()


def _fakes(networks: Networks, batch: Mapping[str, Batch], noise: Tensor | None) -> dict[str, Tensor]:
    return {"fake": networks["generator"](noise)}


def to_unit(images: Tensor) -> Tensor:
    """From [-1, 1] to [0, 1]."""
    return ((images + 1) / 2).clamp(0, 1)


def to_uint8(images: Tensor) -> Any:
    """Images [N, C, H, W] in [-1, 1] as a uint8 array [N, H, W, C]."""
    return (to_unit(images) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
