"""The classifier task: labels, or rotations where a set has none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from genlab.data import ImageSet
from genlab.errors import DataError
from genlab.models import Classifier
from genlab.randomness import generator as seeded
from genlab.tasks.base import AdamSettings, Draw, Phase, PhasedTask, Place, Report
from genlab.tasks.config import ClassifierConfig

if TYPE_CHECKING:
    from genlab.tasks.base import Networks


class ClassifierTask(PhasedTask):
    """Cross-entropy on labels or, without any, on which of four rotations each image was given."""

    Config = ClassifierConfig
    config: ClassifierConfig

    def __init__(self, config: ClassifierConfig, place: Place) -> None:
        super().__init__(config, place)
        self.train = self._load("train")
        labelled = self.train.labels is not None and len(self.train.classes) > 1
        if config.target == "labels" and not labelled:
            raise DataError(f"{config.dataset} has no classes to tell apart: use target=rotation")
        self.rotate = config.target == "rotation" or not labelled

    def _load(self, split: str) -> ImageSet:
        return self.place.load(self.config.dataset, split, self.config.image_size)

    def data(self) -> dict[str, Any]:
        return {"labelled": self.train.describe()}

    def networks(self) -> dict[str, torch.nn.Module]:
        classes = 4 if self.rotate else len(self.train.classes)
        c = self.config
        return {
            "classifier": Classifier(
                classes=classes,
                channels=self.train.channels,
                image_size=c.image_size,
                width=c.width,
                features=c.features,
            )
        }

    def streams(self) -> dict[str, ImageSet]:
        return {"labelled": self.train}

    def noise(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randint(4, (count,), generator=generator, device=generator.device)

    def phases(self) -> list[Phase]:
        c = self.config
        return [
            Phase(
                "label",
                {"classifier": AdamSettings(c.lr, c.beta1, c.beta2)},
                label_loss,
                draws=("labelled", "noise") if self.rotate else ("labelled",),
            )
        ]

    def evaluate(self, networks: Networks, split: str) -> Report:
        held, device = self._load(split), self.place.device
        labels = held.labels
        if self.rotate:
            labels = torch.randint(4, (len(held),), generator=seeded(self.config.seed, "evaluation"))
        assert labels is not None

        def is_right(items: Tensor) -> Tensor:
            images, truth = held.images[items].to(device).float() / 255, labels[items].to(device)
            if self.rotate:
                images = rotate(images, truth)
            return networks["classifier"](images).argmax(1) == truth

        return Report({"accuracy/clean": float(self.place.over(len(held), is_right).float().mean())})


def label_loss(networks: Networks, draw: Draw, config: ClassifierConfig) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy; noise, where there is some, says by how many quarter turns each image is rotated first."""
    images, labels = draw.batch["labelled"]
    if draw.noise is not None:
        images, labels = rotate(images, draw.noise), draw.noise
    assert labels is not None
    return cross_entropy(networks["classifier"](images), labels), {}


def rotate(images: Tensor, turns: Tensor) -> Tensor:
    """Image i of [N, C, S, S] turned by turns[i] · 90°, turns in {0, 1, 2, 3}."""
    every = torch.stack([images.rot90(k, (2, 3)) for k in range(4)])
    return every[turns, torch.arange(len(images), device=images.device)]
