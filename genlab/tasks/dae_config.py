"""The settings of the denoising autoencoder's task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from genlab.data.names import check_name
from genlab.tasks.config import Augmentation, ImageSize, PhasedConfig


@dataclass(frozen=True, kw_only=True)
class DAEConfig(PhasedConfig):
    """A denoising autoencoder (Vincent et al. 2008), the network `dae`, of fully connected layers.

    The defaults are the reports' settings, which give neither the widths nor the noise.

    Attributes:
        dataset: see `genlab.data.NAMES`; brought to `image_size` pixels a side.
        augment: what is done to training images on the device: `none`, `flip` or `crop_flip`.
        noise_std: standard deviation of the Gaussian noise, for pixels in [0, 1]; noisy ones are clipped to that.
        width, nz: units of the hidden layers, length of the code between them.
        lr, beta1, beta2: of Adam.
    """

    implementation: ClassVar[str] = "genlab.tasks.dae:DAETask"

    epochs: int = 10
    dataset: str = "digits"
    image_size: ImageSize = 32
    augment: Augmentation = "none"
    noise_std: float = 0.5
    width: int = 400
    nz: int = 64
    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999

    def check(self) -> None:
        super().check()
        check_name(self.dataset)
        self._at_least(1, "width", "nz")
        self._positive("noise_std", "lr")
        self._within(0.0, 1.0, "beta1", "beta2")

    def reports(self) -> tuple[str, ...]:
        return "loss/dae", "error/noisy", "error/denoised", "images_per_second", "epoch_seconds"
