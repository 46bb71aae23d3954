"""The classifier task: labels, or rotations where a set has none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from genlab.data import ImageSet
from genlab.errors import DataError
from genlab.models import Classifier
from genlab.randomness import generator as seeded
from genlab.tasks.base import Inputs, Phase, PhasedTask, Report, Stream
from genlab.tasks.classifier_config import ClassifierConfig
from genlab.tasks.images import to_uint8
from genlab.tasks.optimizers import Adam

if TYPE_CHECKING:
    from genlab.tasks.base import Networks

HARDEST = 16  # images in a report


class ClassifierTask(PhasedTask):
    """Network `classifier`, on labels or, without any, on which of four rotations each image was given."""

    Config = ClassifierConfig
    config: ClassifierConfig

    def _load(self, split: str) -> ImageSet:
        return self.context.load(self.config.dataset, split, self.config.image_size)

    def streams(self) -> Mapping[str, Stream]:
        images = self._load("train")
        if self.config.target == "labels" and len(images.classes) < 2:
            raise DataError(f"{self.config.dataset} has no classes to tell apart: use target=rotation")
        return {"labelled": Stream(images, self.config.augment)}

    @property
    def rotates(self) -> bool:
        """Whether rotations are told apart rather than labels."""
        return self.config.target == "rotation" or len(self.data["labelled"].classes) < 2

    def networks(self) -> Mapping[str, Callable[[], nn.Module]]:
        c, images = self.config, self.data["labelled"]
        return {
            "classifier": partial(
                Classifier,
                classes=4 if self.rotates else len(images.classes),
                channels=images.channels,
                image_size=images.image_size,
                width=c.width,
                features=c.features,
            )
        }

    def sample(self, name: str, count: int, generator: torch.Generator) -> Tensor:
        """Quarter turns in {0, 1, 2, 3}, int64 [count]."""
        return torch.randint(4, (count,), generator=generator, device=generator.device)

    def phases(self) -> list[Phase]:
        c = self.config
        loss, draws = (rotation_loss, ("labelled", "turns")) if self.rotates else (label_loss, ("labelled",))
        return [Phase("label", {"classifier": Adam(c.lr, c.beta1, c.beta2)}, loss, draws)]

    def evaluate(self, networks: Networks, split: str, epoch: int) -> Report:
        """Accuracy on all images of `split`, and the 16 of which the truth is least likely to the network, worst first.
        Each is given one rotation, the same in every epoch."""
        images, device = self._load(split), self.context.device
        truth = images.labels
        if self.rotates:
            truth = self.sample("turns", len(images), seeded(self.config.seed, "evaluation"))
        assert truth is not None

        def as_given(items: Tensor) -> tuple[Tensor, Tensor]:
            shown, expected = images.select(items, device), truth[items].to(device)
            if self.rotates:
                shown = rotate(shown, expected)
            return shown, expected

        def verdicts(items: Tensor) -> Tensor:
            shown, expected = as_given(items)
            chances = networks["classifier"](shown).softmax(1)
            return torch.stack((chances.argmax(1) == expected, chances.gather(1, expected[:, None])[:, 0]), 1)

        right, chance = self.context.map_shards(len(images), verdicts).unbind(1)
        hardest, _ = as_given(chance.argsort(stable=True)[:HARDEST].cpu())
        return Report({"accuracy/clean": float(right.mean())}, {"hardest": to_uint8(hardest)})


def label_loss(networks: Networks, inputs: Inputs, config: ClassifierConfig) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy of the labels."""
    images, labels = inputs["labelled"]
    return cross_entropy(networks["classifier"](images), labels), {}


def rotation_loss(networks: Networks, inputs: Inputs, config: ClassifierConfig) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy of the quarter turns that each image was given."""
    turns = inputs["turns"]
    return cross_entropy(networks["classifier"](rotate(inputs["labelled"].images, turns)), turns), {}


def rotate(images: Tensor, turns: Tensor) -> Tensor:
    """Image i of [N, C, S, S] turned by turns[i] · 90°, turns in {0, 1, 2, 3}."""
    every = torch.stack([images.rot90(k, (2, 3)) for k in range(4)])
    return every[turns, torch.arange(len(images), device=images.device)]
