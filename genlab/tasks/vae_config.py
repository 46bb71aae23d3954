"""The settings of the VAE task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from genlab.data.names import check_name
from genlab.tasks.config import Augmentation, ImageSize, PhasedConfig

WIDTHS = {"fully_connected": 400, "convolutional": 32}


@dataclass(frozen=True, kw_only=True)
class VAEConfig(PhasedConfig):
    """A variational autoencoder (Kingma & Welling 2014), the network `vae`, with pixels from Bernoulli distributions.

    The defaults are the reports' settings, which give no widths.

    Attributes:
        dataset: see `genlab.data.NAMES`; brought to `image_size` pixels a side.
        augment: what is done to training images on the device: `none`, `flip` or `crop_flip`.
        architecture: of encoder and decoder, see `genlab.models.VAE`.
        width: units of the hidden layer, or channels of the convolution next to the image; None for 400 units, or 32
            channels.
        nz: length of the latents, 2 at least. With 2 the `embedding` shows them as they are.
        lr, beta1, beta2: of Adam.
    """

    implementation: ClassVar[str] = "genlab.tasks.vae:VAETask"

    epochs: int = 10
    dataset: str = "digits"
    image_size: ImageSize = 32
    augment: Augmentation = "none"
    architecture: Literal["fully_connected", "convolutional"] = "fully_connected"
    width: int | None = None
    nz: int = 20
    lr: float = 5e-4
    beta1: float = 0.9
    beta2: float = 0.999

    def check(self) -> None:
        super().check()
        check_name(self.dataset)
        if self.width is not None:
            self._at_least(1, "width")
        self._at_least(2, "nz")
        self._positive("lr")
        self._within(0.0, 1.0, "beta1", "beta2")

    def reports(self) -> tuple[str, ...]:
        return "loss/vae", "score/kl", "elbo", "reconstruction", "kl", "images_per_second", "epoch_seconds"
