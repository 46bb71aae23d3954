"""The settings of the classifier task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from genlab.data.names import check_name
from genlab.tasks.config import Augmentation, ImageSize, PhasedConfig


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(PhasedConfig):
    """A small convolutional classifier, the network `classifier`.

    Attributes:
        dataset: see `genlab.data.NAMES`; brought to `image_size` pixels a side.
        augment: what is done to training images on the device: `none`, `flip` or `crop_flip`.
        target: `labels`, or which of four `rotation`s an image was given (Gidaris et al. 2018), for sets without
            labels; `auto` takes labels where there are some, of more than one class.
        lr, beta1, beta2: of Adam.
        width, features: channels of the first layer, length of the feature vector before the last.
    """

    implementation: ClassVar[str] = "genlab.tasks.classifier:ClassifierTask"

    dataset: str = "digits"
    image_size: ImageSize = 32
    augment: Augmentation = "none"
    target: Literal["auto", "labels", "rotation"] = "auto"
    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    width: int = 32
    features: int = 64

    def check(self) -> None:
        super().check()
        check_name(self.dataset)
        self._at_least(2, "width")
        self._at_least(1, "features")
        self._positive("lr")
        self._within(0.0, 1.0, "beta1", "beta2")

    def reports(self) -> tuple[str, ...]:
        return "loss/label", "accuracy/clean", "images_per_second", "epoch_seconds"
