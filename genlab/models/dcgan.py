"""DCGAN (Radford et al. 2016, arXiv:1511.06434), its depth set by the image's size.

One intended departure from the paper: with `normalization="batch"`, as in the reports' table for 32 pixels, the
discriminator's first layer is normalized, too; `batch_after_first` is the paper's.
"""

from __future__ import annotations

from torch import Tensor, nn

from genlab.models.checks import check_image_size, check_images, check_noise, check_positive
from genlab.models.conditioning import with_labels
from genlab.models.spectral_norm import spectral_norm as spectrally_normalize

INITS = ("dcgan", "default")
"""`dcgan`: N(0, 0.02), see `initialize`; `default`: what torch gives each layer."""

NORMALIZATIONS = ("batch", "batch_after_first", "none", "instance")
"""What normalizes the discriminator's hidden layers: BatchNorm in all or in all but the first, nothing, or InstanceNorm
with weights and biases."""


LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
"""Whose weights are initialized, and spectrally normalized: those with a kernel or a matrix."""


def check_arguments(init: str, image_size: int, **positive: int) -> None:
    """Raises ValueError for an unknown `init` or `image_size`, and for a number of `positive` below 1."""
    check_image_size(image_size)
    if init not in INITS:
        raise ValueError(f"init is {init!r}; valid values: {', '.join(INITS)}")
    check_positive(**positive)


def _widths(narrowest: int, image_size: int) -> list[int]:
    """Widths from the image inwards: 32 pixels have three hidden layers, each doubling of the side one more."""
    return [narrowest * 2**level for level in range(image_size.bit_length() - 3)]


def initialize(network: nn.Module) -> None:
    """Kernels, and matrices of fully connected layers, N(0, 0.02), the paper's section 4; weights of BatchNorm and
    InstanceNorm N(1, 0.02), its authors' code.

    All biases become 0. Samples from torch's global generator alone. Call it before a parametrization hides the
    weights.
    """
    for module in network.modules():
        if isinstance(module, LAYERS):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.InstanceNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def finish(layers: nn.Sequential, init: str, spectral_norm: bool) -> nn.Sequential:
    """The layers with their first weights and, if wanted, spectrally normalized kernels and matrices."""
    if init == "dcgan":
        initialize(layers)
    if spectral_norm:  # last: the power iteration starts from the weights it finds
        for module in layers:
            if isinstance(module, LAYERS):
                spectrally_normalize(module)
    return layers


def activation(dropout: float) -> list[nn.Module]:
    """What follows a discriminator's hidden layer: LeakyReLU 0.2 and, in training, dropout of this share of units."""
    return [nn.LeakyReLU(0.2, inplace=True), *([nn.Dropout(dropout)] if dropout else [])]


def _normalization(name: str, width: int, first: bool) -> list[nn.Module]:
    """What follows a hidden convolution of a discriminator: nothing, or one layer."""
    if name == "instance":
        return [nn.InstanceNorm2d(width, affine=True)]
    return [nn.BatchNorm2d(width)] if name == "batch" or (name == "batch_after_first" and not first) else []


class Generator(nn.Module):
    """Noise [N, nz] -> images [N, channels, image_size, image_size] in [-1, 1].

    At 32 pixels: transposed convolutions to 4·ngf, 2·ngf, ngf and `channels`, kernel 4, without biases; BatchNorm and
    ReLU between them, Tanh at the end. Each doubling of the side puts one layer of twice the width in front.

    `spectral_norm` divides every convolution's kernel, seen as a matrix with one row per output channel, by its largest
    singular value (Miyato et al. 2018, arXiv:1802.05957; `genlab.models.spectral_norm`). BatchNorm stays, as in the
    reports' networks, and takes the scale of the layer before it out again. So in the hidden layers spectral
    normalization does next to nothing to what the network computes; only the scale of the last layer changes.

    With `classes` it takes labels, int64 [N], too: one-hot behind the noise.

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
        init: str = "dcgan",
        classes: int = 0,
    ) -> None:
        super().__init__()
        check_arguments(init, image_size, nz=nz, ngf=ngf, channels=channels)
        self.nz, self.classes = nz, classes
        layers: list[nn.Module] = []
        # the first layer takes 1 × 1 to 4 × 4, the others double the side
        width_in, stride, padding = nz + classes, 1, 0
        for width in reversed(_widths(ngf, image_size)):
            layers += [
                nn.ConvTranspose2d(width_in, width, 4, stride, padding, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            width_in, stride, padding = width, 2, 1
        layers += [nn.ConvTranspose2d(width_in, channels, 4, 2, 1, bias=False), nn.Tanh()]
        self.layers = finish(nn.Sequential(*layers), init, spectral_norm)

    def forward(self, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        check_noise(noise, self.nz)
        return self.layers(with_labels(noise, labels, self.classes)[:, :, None, None])


class Discriminator(nn.Module):
    """Images [N, channels, image_size, image_size] in [-1, 1] -> logits [N], large where an image looks real.

    At 32 pixels: convolutions to ndf, 2·ndf, 4·ndf and 1, kernel 4, without biases; in every hidden layer a
    normalization and LeakyReLU 0.2. Each doubling of the side adds one layer of twice the width.

    `normalization` is one of `NORMALIZATIONS`: `batch`, the first layer included, that of the reports' table for 32
    pixels; `batch_after_first`, the paper's, from which a generator of 64 pixels learns far sooner; `instance`, with a
    weight and a bias per channel; or `none`. A hidden convolution that no normalization follows has biases instead,
    since nothing else shifts it.

    `spectral_norm` divides every kernel as in the generator. With `batch` (or `instance`) it does next to nothing: the
    normalization takes the scale of the layer before it out again. With the same weights the logits with and without
    it correlate 0.999999 with `batch`; only the scale of the last layer changes. With `batch_after_first` the first
    layer's output changes relative to its biases, too. Miyato et al. 2018 have no BatchNorm in the discriminator:
    `none` is their setting, and only there the slope is bounded. In a hidden convolution four places of the kernel
    cover a pixel, so it multiplies distances by √4 = 2 at most; in the last, one place, by 1.
    With singular values that have converged, |D(x) - D(y)| <= 8·|x - y| at 32 pixels, 16 at 64 and 32 at 128.

    In training the share `dropout` of hidden units is dropped (Srivastava et al. 2014).

    With `classes` it takes labels, int64 [N], too: a plane a class behind the image's channels.

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
        init: str = "dcgan",
        normalization: str = "batch",
        dropout: float = 0.0,
        classes: int = 0,
    ) -> None:
        super().__init__()
        check_arguments(init, image_size, ndf=ndf, channels=channels)
        if normalization not in NORMALIZATIONS:
            raise ValueError(f"normalization is {normalization!r}; valid values: {', '.join(NORMALIZATIONS)}")
        self.image_shape, self.classes = (channels, image_size, image_size), classes
        layers: list[nn.Module] = []
        width_in = channels + classes
        for number, width in enumerate(_widths(ndf, image_size)):
            normalized = _normalization(normalization, width, first=not number)
            layers += [nn.Conv2d(width_in, width, 4, 2, 1, bias=not normalized), *normalized, *activation(dropout)]
            width_in = width
        layers += [nn.Conv2d(width_in, 1, 4, 1, 0, bias=False)]
        self.layers = finish(nn.Sequential(*layers), init, spectral_norm)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        check_images(images, self.image_shape, "discriminator")
        return self.layers(with_labels(images, labels, self.classes)).flatten()
