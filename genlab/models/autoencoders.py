"""Autoencoders: a variational one (Kingma & Welling 2014, arXiv:1312.6114), and a denoising one (Vincent et al. 2008).

The reports give no widths. A VAE's fully connected one is that of the widespread example, 400 hidden units (the paper
has 500 for MNIST); all others are ours.
"""

from __future__ import annotations

import itertools
import math

from torch import Tensor, nn

from genlab.models.checks import check_image_size, check_images, check_positive

ARCHITECTURES = ("fully_connected", "convolutional")
"""Of a VAE's encoder and decoder."""


class VAE(nn.Module):
    """Images [N, C, S, S] in [0, 1] and noise [N, nz] -> logits of the images [N, C, S, S], mean and log variance of
    the latents, [N, nz] each.

    `fully_connected`: one hidden layer of `width` units with ReLU, in the encoder and in the decoder (the paper's
    appendix C). `convolutional`: convolutions of kernel 4 and stride 2 with ReLU take the image down to 4 × 4, `width`
    channels next to the image and twice as many at each step inwards; a linear layer gives the latents' mean and
    log variance, and the decoder mirrors it with transposed convolutions. There is no normalization.

    Raises ValueError for an unknown `architecture` or `image_size`, a width below 1, or images or noise of another
    shape.
    """

    def __init__(self, *, architecture: str, channels: int, image_size: int, width: int, nz: int) -> None:
        super().__init__()
        if architecture not in ARCHITECTURES:
            raise ValueError(f"architecture is {architecture!r}; valid values: {', '.join(ARCHITECTURES)}")
        check_image_size(image_size)
        check_positive(channels=channels, width=width, nz=nz)
        self.image_shape, self.nz = (channels, image_size, image_size), nz
        if architecture == "fully_connected":
            pixels = math.prod(self.image_shape)
            self.encoder = nn.Sequential(nn.Flatten(), *_linear(pixels, width, 2 * nz))
            self.decoder = nn.Sequential(*_linear(nz, width, pixels), nn.Unflatten(1, self.image_shape))
        else:
            widths = [channels, *(width * 2**level for level in range(image_size.bit_length() - 3))]
            smallest = (widths[-1], 4, 4)
            down: list[nn.Module] = []
            up: list[nn.Module] = []
            for outer, inner in itertools.pairwise(widths):
                down += [nn.Conv2d(outer, inner, 4, 2, 1), nn.ReLU()]
                up = [nn.ReLU(), nn.ConvTranspose2d(inner, outer, 4, 2, 1), *up]
            self.encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(math.prod(smallest), 2 * nz))
            self.decoder = nn.Sequential(nn.Linear(nz, math.prod(smallest)), nn.Unflatten(1, smallest), *up)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z|x), [N, nz] each."""
        check_images(images, self.image_shape, "autoencoder")
        mean, log_variance = self.encoder(images).chunk(2, 1)
        return mean, log_variance

    def decode(self, latents: Tensor) -> Tensor:
        """Logits of the images' pixels, [N, C, S, S], of latents [N, nz]; σ of them is the mean of p(x|z)."""
        if latents.ndim != 2 or latents.shape[1] != self.nz:
            raise ValueError(f"latents have shape {list(latents.shape)}; this VAE takes [N, {self.nz}]")
        return self.decoder(latents)

    def forward(self, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.encode(images)
        return self.decode(reparameterize(mean, log_variance, noise)), mean, log_variance


def reparameterize(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """Samples of N(mean, exp(log_variance)), made of noise from N(0, 1), through which gradients reach both parameters
    (Kingma & Welling 2014, section 2.4). All [N, nz]; raises ValueError for noise of another shape."""
    if noise.shape != mean.shape:  # of one row, or one column, it would be the same for all
        raise ValueError(f"noise has shape {list(noise.shape)}; that of the latents is {list(mean.shape)}")
    return mean + noise * (log_variance / 2).exp()


class DenoisingAutoencoder(nn.Module):
    """Noisy images [N, C, S, S] in [0, 1] -> logits of the clean ones; σ of them are images in [0, 1].

    Fully connected, with ReLU: `width` hidden units, a code of `nz`, `width` hidden units.

    Raises ValueError for an unknown `image_size`, a width below 1, or images of another shape.
    """

    def __init__(self, *, channels: int, image_size: int, width: int, nz: int) -> None:
        super().__init__()
        check_image_size(image_size)
        check_positive(channels=channels, width=width, nz=nz)
        self.image_shape = (channels, image_size, image_size)
        pixels = math.prod(self.image_shape)
        self.encoder = nn.Sequential(nn.Flatten(), *_linear(pixels, width, nz), nn.ReLU())
        self.decoder = nn.Sequential(*_linear(nz, width, pixels), nn.Unflatten(1, self.image_shape))

    def forward(self, images: Tensor) -> Tensor:
        check_images(images, self.image_shape, "autoencoder")
        return self.decoder(self.encoder(images))


def _linear(inputs: int, hidden: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs)
