"""A GAN of fully connected layers, after Goodfellow et al. 2014 (arXiv:1406.2661)."""

from __future__ import annotations

import math

from torch import Tensor, nn

from genlab.models.checks import check_images, check_noise
from genlab.models.conditioning import with_labels
from genlab.models.dcgan import activation, check_arguments, finish

FULLY_CONNECTED_NORMALIZATIONS = ("batch", "none")
"""What normalizes the discriminator's hidden layers: BatchNorm or nothing."""


class FullyConnectedGenerator(nn.Module):
    """Noise [N, nz] -> images [N, channels, image_size, image_size] in [-1, 1].

    Hidden layers of ngf, 2·ngf and 4·ngf units with LeakyReLU 0.2 and no normalization, Tanh at the end. With `classes`
    it takes labels, int64 [N], too: one-hot beside the noise.

    Raises ValueError for an unknown `image_size` or `init`, a width below 1, or noise or labels of another shape.
    """

    def __init__(
        self,
        *,
        nz: int,
        ngf: int,
        channels: int,
        image_size: int,
        spectral_norm: bool = False,
        init: str = "default",
        classes: int = 0,
    ) -> None:
        super().__init__()
        check_arguments(init, image_size, nz=nz, ngf=ngf, channels=channels)
        self.nz, self.classes = nz, classes
        shape = (channels, image_size, image_size)
        layers: list[nn.Module] = []
        width_in = nz + classes
        for width in (ngf, 2 * ngf, 4 * ngf):
            layers += [nn.Linear(width_in, width), nn.LeakyReLU(0.2, inplace=True)]
            width_in = width
        layers += [nn.Linear(width_in, math.prod(shape)), nn.Tanh(), nn.Unflatten(1, shape)]
        self.layers = finish(nn.Sequential(*layers), init, spectral_norm)

    def forward(self, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        check_noise(noise, self.nz)
        return self.layers(with_labels(noise, labels, self.classes))


class FullyConnectedDiscriminator(nn.Module):
    """Images [N, channels, image_size, image_size] in [-1, 1] -> logits [N], large where an image looks real.

    Hidden layers of 4·ndf, 2·ndf and ndf units with LeakyReLU 0.2, each but the first with BatchNorm if
    `normalization` is `batch`. In training the share `dropout` of hidden units is dropped (Srivastava et al. 2014).
    With `classes` it takes labels, int64 [N], too: one-hot beside the pixels.

    Raises ValueError for an unknown `image_size`, `init` or `normalization`, a width below 1, a `dropout` outside of
    [0, 1], or images or labels of another shape.
    """

    def __init__(
        self,
        *,
        ndf: int,
        channels: int,
        image_size: int,
        spectral_norm: bool = False,
        init: str = "default",
        normalization: str = "none",
        dropout: float = 0.0,
        classes: int = 0,
    ) -> None:
        super().__init__()
        check_arguments(init, image_size, ndf=ndf, channels=channels)
        if normalization not in FULLY_CONNECTED_NORMALIZATIONS:
            known = ", ".join(FULLY_CONNECTED_NORMALIZATIONS)
            raise ValueError(f"normalization is {normalization!r}; valid values of a fully connected network: {known}")
        self.image_shape, self.classes = (channels, image_size, image_size), classes
        layers: list[nn.Module] = []
        width_in = math.prod(self.image_shape) + classes
        for number, width in enumerate((4 * ndf, 2 * ndf, ndf)):
            layers += [nn.Linear(width_in, width)]
            if normalization == "batch" and number:
                layers += [nn.BatchNorm1d(width)]
            layers += activation(dropout)
            width_in = width
        layers += [nn.Linear(width_in, 1)]
        self.layers = finish(nn.Sequential(*layers), init, spectral_norm)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        check_images(images, self.image_shape, "discriminator")
        return self.layers(with_labels(images.flatten(1), labels, self.classes)).flatten()
