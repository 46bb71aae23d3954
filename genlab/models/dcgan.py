"""DCGAN (Radford et al. 2016, arXiv:1511.06434), its depth set by the image's size.

One departure from the paper, and on purpose: the discriminator's first layer has BatchNorm too.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

IMAGE_SIZES = (32, 64, 128)
"""Sides, in pixels, that the networks are made for."""

INITS = ("dcgan", "default")
"""`dcgan`: N(0, 0.02), see `initialize`; `default`: what torch gives each layer."""

NOISES = ("normal", "uniform")
"""Kinds of latent noise: N(0, 1), or uniform on [-1, 1)."""


def check_image_size(image_size: int) -> None:
    """Raises ValueError, naming the valid sizes, unless `image_size` is one of `IMAGE_SIZES`."""
    if image_size not in IMAGE_SIZES:
        raise ValueError(f"image_size is {image_size!r}; valid values: {', '.join(map(str, IMAGE_SIZES))}")


def _check(init: str, image_size: int, **positive: int) -> None:
    check_image_size(image_size)
    if init not in INITS:
        raise ValueError(f"init is {init!r}; valid values: {', '.join(INITS)}")
    for name, value in positive.items():
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")


def _widths(narrowest: int, image_size: int) -> list[int]:
    """Widths from the image inwards: 32 pixels have three hidden layers, each doubling of the side one more."""
    return [narrowest * 2**level for level in range(image_size.bit_length() - 3)]


def initialize(network: nn.Module) -> None:
    """Convolutions N(0, 0.02), the paper's section 4; BatchNorm weights N(1, 0.02) and biases 0, its authors' code.

    Draws from torch's global generator alone. Call it before a parametrization hides the weights.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)


def _finish(layers: nn.Sequential, init: str, spectral_norm: bool) -> nn.Sequential:
    if init == "dcgan":
        initialize(layers)
    if spectral_norm:  # last: the power iteration starts from the weights it finds
        for module in layers:
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                parametrizations.spectral_norm(module)
    return layers


class Generator(nn.Module):
    """Noise [N, nz] -> images [N, channels, image_size, image_size] in [-1, 1].

    At 32 pixels: transposed convolutions to 4·ngf, 2·ngf, ngf and `channels`, kernel 4, without biases; BatchNorm and
    ReLU between them, Tanh at the end. Each doubling of the side puts one layer of twice the width in front.

    `spectral_norm` divides every convolution's kernel, seen as a matrix with one row per output channel, by its largest
    singular value (Miyato et al. 2018, arXiv:1802.05957). BatchNorm stays, so the network is not 1-Lipschitz; neither
    is a single convolution, whose operator norm may exceed that of its matrix.

    Raises ValueError for an unknown `image_size` or `init`, a width below 1, or noise of another shape.
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
    ) -> None:
        super().__init__()
        _check(init, image_size, nz=nz, ngf=ngf, channels=channels)
        self.nz = nz
        layers: list[nn.Module] = []
        width_in, stride, padding = nz, 1, 0  # the first layer takes 1 × 1 to 4 × 4, the others double the side
        for width in reversed(_widths(ngf, image_size)):
            layers += [
                nn.ConvTranspose2d(width_in, width, 4, stride, padding, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            width_in, stride, padding = width, 2, 1
        layers += [nn.ConvTranspose2d(width_in, channels, 4, 2, 1, bias=False), nn.Tanh()]
        self.layers = _finish(nn.Sequential(*layers), init, spectral_norm)

    def forward(self, noise: Tensor) -> Tensor:
        if noise.ndim != 2 or noise.shape[1] != self.nz:
            raise ValueError(f"noise has shape {list(noise.shape)}; this generator takes [N, {self.nz}]")
        return self.layers(noise[:, :, None, None])


class Discriminator(nn.Module):
    """Images [N, channels, image_size, image_size] in [-1, 1] -> logits [N], large where an image looks real.

    At 32 pixels: convolutions to ndf, 2·ndf, 4·ndf and 1, kernel 4, without biases; BatchNorm in every hidden layer,
    the first included, and LeakyReLU 0.2. Each doubling of the side adds one layer of twice the width.

    `spectral_norm` is the generator's: every convolution has it, and BatchNorm stays.

    Raises ValueError for an unknown `image_size` or `init`, a width below 1, or images of another shape.
    """

    def __init__(
        self,
        *,
        ndf: int,
        channels: int,
        image_size: int,
        spectral_norm: bool = False,
        init: str = "dcgan",
    ) -> None:
        super().__init__()
        _check(init, image_size, ndf=ndf, channels=channels)
        self.image_shape = (channels, image_size, image_size)
        layers: list[nn.Module] = []
        width_in = channels
        for width in _widths(ndf, image_size):
            layers += [
                nn.Conv2d(width_in, width, 4, 2, 1, bias=False),
                nn.BatchNorm2d(width),
                nn.LeakyReLU(0.2, inplace=True),
            ]
            width_in = width
        layers += [nn.Conv2d(width_in, 1, 4, 1, 0, bias=False)]
        self.layers = _finish(nn.Sequential(*layers), init, spectral_norm)

    def forward(self, images: Tensor) -> Tensor:
        # A larger image would give a map of logits, and flattening would take it for a larger batch.
        if images.ndim != 4 or images.shape[1:] != self.image_shape:
            expected = ", ".join(map(str, self.image_shape))
            raise ValueError(f"images have shape {list(images.shape)}; this discriminator takes [N, {expected}]")
        return self.layers(images).flatten()


def noise(
    shape: int | Sequence[int],
    nz: int,
    kind: str = "normal",
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Latent noise of `shape` + [nz]: N(0, 1) for kind `normal`, uniform on [-1, 1) for `uniform`; float32.

    With a generator the numbers are drawn where it lives and then moved, so a CPU generator gives every device the
    same noise. Raises ValueError for an unknown kind.
    """
    if kind not in NOISES:
        raise ValueError(f"noise is {kind!r}; valid values: {', '.join(NOISES)}")
    target = torch.device(device) if device is not None else None
    drawn_on = generator.device if generator is not None else target
    leading = (shape,) if isinstance(shape, int) else tuple(shape)
    draw = torch.randn if kind == "normal" else torch.rand
    drawn = draw((*leading, nz), generator=generator, device=drawn_on)
    if kind == "uniform":
        drawn = drawn * 2 - 1
    return drawn if target is None else drawn.to(target)
