"""The denoising autoencoder's task: images without the noise that was put on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from genlab.data import ImageSet
from genlab.models import DenoisingAutoencoder
from genlab.randomness import generator as seeded
from genlab.tasks.base import Inputs, Phase, PhasedTask, Pictures, Report, Stream
from genlab.tasks.dae_config import DAEConfig
from genlab.tasks.images import to_uint8
from genlab.tasks.optimizers import Adam

if TYPE_CHECKING:
    from genlab.tasks.base import Networks

SHOWN = 5
NOISES = 256  # in an evaluation image i gets noise i mod 256: noise for all of a large set would not fit into memory


class DAETask(PhasedTask):
    """Network `dae`: noisy images in [0, 1] -> logits of the clean ones."""

    Config = DAEConfig
    config: DAEConfig

    def _load(self, split: str) -> ImageSet:
        return self.context.load(self.config.dataset, split, self.config.image_size)

    def streams(self) -> Mapping[str, Stream]:
        return {"images": Stream(self._load("train"), self.config.augment)}

    def networks(self) -> Mapping[str, Callable[[], nn.Module]]:
        c, images = self.config, self.data["images"]
        sizes = {"channels": images.channels, "image_size": images.image_size, "width": c.width, "nz": c.nz}
        return {"dae": partial(DenoisingAutoencoder, **sizes)}

    def sample(self, name: str, count: int, generator: torch.Generator) -> Tensor:
        """Noise from N(0, 1), [count, C, S, S]."""
        return torch.randn((count, *self.data["images"].shape[1:]), generator=generator, device=generator.device)

    def phases(self) -> list[Phase]:
        c = self.config
        return [Phase("dae", {"dae": Adam(c.lr, c.beta1, c.beta2)}, dae_loss, draws=("images", "noise"))]

    def evaluate(self, networks: Networks, split: str, epoch: int) -> Report:
        """Mean squared errors per pixel on all images of `split`, with noise that stays the same.

        Metrics: `error/noisy` of the images with noise, `error/denoised` of what the network makes of them. Images:
        `denoised`, [2, 5]: with noise, and under it what the network makes of that.
        """
        images, device = self._load(split), self.context.device
        noise = self.sample("noise", min(len(images), NOISES), seeded(self.config.seed, "evaluation", device=device))

        def before_and_after(items: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            clean = images.select(items, device)
            noisy = add_noise(clean, noise[items.to(device) % len(noise)], self.config.noise_std)
            return clean, noisy, networks["dae"](noisy).sigmoid()

        def errors(items: Tensor) -> Tensor:
            clean, *others = before_and_after(items)
            return torch.stack([(other - clean).square().flatten(1).mean(1) for other in others], 1)

        before, after = self.context.map_shards(len(images), errors).double().mean(0).tolist()
        _, *shown = before_and_after(torch.arange(min(len(images), SHOWN)))
        pictures = Pictures(to_uint8(torch.stack(shown)), rows=("noisy", "denoised"))
        return Report({"error/noisy": before, "error/denoised": after}, {"denoised": pictures})


def dae_loss(networks: Networks, inputs: Inputs, config: DAEConfig) -> tuple[Tensor, dict[str, Tensor]]:
    """Binary cross-entropy of what the network makes of noisy images to the clean ones, the mean of all pixels."""
    clean = inputs["images"].images
    noisy = add_noise(clean, inputs["noise"], config.noise_std)
    return binary_cross_entropy_with_logits(networks["dae"](noisy), clean), {}


def add_noise(images: Tensor, noise: Tensor, std: float) -> Tensor:
    """Images in [0, 1] with noise from N(0, 1), scaled by `std`, on them, and clipped to [0, 1]."""
    return (images + std * noise).clamp(0, 1)
