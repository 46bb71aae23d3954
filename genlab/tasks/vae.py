"""The VAE's task: a variational autoencoder, judged by its lower bound of the log-likelihood."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from genlab.data import ImageSet
from genlab.losses import bernoulli_log_likelihood, gaussian_kl
from genlab.models import VAE, sample_latent
from genlab.randomness import generator as seeded
from genlab.tasks.base import Inputs, Phase, Pictures, Report, Stream
from genlab.tasks.generative import GenerativeTask
from genlab.tasks.images import from_figure, to_uint8
from genlab.tasks.optimizers import Adam
from genlab.tasks.vae_config import WIDTHS, VAEConfig
from genlab.visualize import embedding

if TYPE_CHECKING:
    from genlab.tasks.base import Networks

SHOWN, RECONSTRUCTED = 64, 8  # images of a report
EMBEDDED = 1000  # t-SNE takes seconds for as many


class VAETask(GenerativeTask):
    """Network `vae`: encoder and decoder in one, with images in [0, 1]."""

    Config = VAEConfig
    config: VAEConfig

    def _load(self, split: str) -> ImageSet:
        return self.context.load(self.config.dataset, split, self.config.image_size)

    def streams(self) -> Mapping[str, Stream]:
        return {"images": Stream(self._load("train"), self.config.augment)}

    def networks(self) -> Mapping[str, Callable[[], nn.Module]]:
        c, images = self.config, self.data["images"]
        width = WIDTHS[c.architecture] if c.width is None else c.width
        sizes: dict[str, Any] = {"channels": images.channels, "image_size": images.image_size, "width": width}
        return {"vae": partial(VAE, architecture=c.architecture, nz=c.nz, **sizes)}

    def sample(self, name: str, count: int, generator: torch.Generator) -> Tensor:
        """Noise from N(0, 1), [count, nz]."""
        return self.latents(count, generator)

    def latents(self, count: int, generator: torch.Generator) -> Tensor:
        return sample_latent(count, self.config.nz, generator=generator)

    def generate(self, networks: Networks, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """The means of p(x|z), not samples of it."""
        return networks["vae"].decode(latents).sigmoid()

    def phases(self) -> list[Phase]:
        c = self.config
        return [Phase("vae", {"vae": Adam(c.lr, c.beta1, c.beta2)}, vae_loss, draws=("images", "noise"))]

    def evaluate(self, networks: Networks, split: str, epoch: int) -> Report:
        """The ELBO of all images of `split`, from one sample of the latents each, by noise that stays the same.

        Metrics, in nats an image: `reconstruction`, the log-likelihood of an image given its latents; `kl`, of the
        latents' distribution from N(0, I); `elbo`, the first less the second.

        Images: `samples`, of 64 latents; `reconstructions`, [2, 8], images over the reconstructions from their latents'
        means; `interpolation`; after the last epoch `embedding`, the latents' means of 1000 images at most, in the
        plane.
        """
        c, device, vae, images = self.config, self.context.device, networks["vae"], self._load(split)
        noise = self.latents(len(images), seeded(c.seed, "evaluation", device=device))

        def terms_and_means(items: Tensor) -> Tensor:
            seen = images.select(items, device)
            logits, mean, log_variance = vae(seen, noise[items.to(device)])
            return torch.column_stack((bernoulli_log_likelihood(logits, seen), gaussian_kl(mean, log_variance), mean))

        terms, means = self.context.map_shards(len(images), terms_and_means).tensor_split([2], dim=1)
        reconstruction, kl = terms.double().mean(0).tolist()
        given = images.select(torch.arange(min(len(images), RECONSTRUCTED)), device)
        again = self.generate(networks, means[: len(given)])
        pictures: dict[str, np.ndarray | Pictures] = {
            "samples": to_uint8(
                self.generate_shared(networks, self.latents(SHOWN, seeded(c.seed, "samples", device=device)))
            ),
            "reconstructions": Pictures(to_uint8(torch.stack((given, again))), rows=("image", "reconstruction")),
            **self.interpolation(networks, epoch),
        }
        if epoch == c.epochs and len(images) > 1:
            pictures["embedding"] = shown_in_the_plane(means, images)
        return Report({"elbo": reconstruction - kl, "reconstruction": reconstruction, "kl": kl}, pictures)


def vae_loss(networks: Networks, inputs: Inputs, config: VAEConfig) -> tuple[Tensor, dict[str, Tensor]]:
    """The negative ELBO, in nats an image: binary cross-entropy, summed over the pixels, and the KL divergence;
    `score/kl` is the latter. Examples that sum over the batch, too, train the same: Adam divides a factor out."""
    images = inputs["images"].images
    logits, mean, log_variance = networks["vae"](images, inputs["noise"])
    kl = gaussian_kl(mean, log_variance).mean()
    return kl - bernoulli_log_likelihood(logits, images).mean(), {"score/kl": kl}


def shown_in_the_plane(means: Tensor, images: ImageSet) -> np.ndarray:
    """The picture `embedding` of the latents' means [N, nz] of the images, or of 1000 of them, the same always."""
    chosen = torch.randperm(len(means), generator=seeded(0, "embedding"))[:EMBEDDED]
    labels = None if images.labels is None else images.labels[chosen].numpy()
    return from_figure(embedding(means[chosen.to(means.device)].cpu().numpy(), labels, images.classes))
