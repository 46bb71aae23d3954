"""How generated images are compared with real ones: by the features of a classifier, the judge."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from genlab.data import ImageSet
from genlab.errors import DataError
from genlab.metrics import Reference, class_coverage, diversity, frechet_distance, kernel_distance, prdc
from genlab.randomness import generator as seeded
from genlab.tasks.context import Context
from genlab.tasks.images import quantize

FEWEST = 6  # the nearest five neighbours of an image must be other ones


class Judging:
    """Compares generated images with real ones of one data set."""

    def __init__(self, context: Context, dataset: str, image_size: int, most: int) -> None:
        """
        Args:
            image_size: what the judge reads; generated images of another size are brought to it.
            most: real images at most that generated ones are compared with.
        """
        self._context, self._dataset, self._size, self._most = context, dataset, image_size, most
        self._references: dict[str, Reference] = {}

    def check(self) -> None:
        """Raises DataError where there are too few real images to compare with."""
        for split in ("validation", "test"):
            if (few := len(self._load(split))) < FEWEST:
                raise DataError(
                    f"{self._dataset} has {few} {split} images: generated ones cannot be compared with fewer than "
                    f"{FEWEST}"
                )

    def _load(self, split: str) -> ImageSet:
        return self._context.load(self._dataset, split, self._size)

    def features(self, judge: Any, images: Tensor) -> Tensor:
        """The judge's features [N, D] of generated images [N, C, S, S] in [0, 1], with the 256 levels of real ones."""
        if images.shape[-1] != self._size:
            images = interpolate(images, (self._size, self._size), mode="bilinear", antialias=True, align_corners=False)
        return judge.features(quantize(images))

    def chosen(self, split: str) -> Tensor:
        """Numbers of the real images of `split` that are compared, int64 [n]: the same in every epoch."""
        return torch.randperm(len(self._load(split)), generator=seeded(0, "reference"))[: self._most]

    def compare(self, judge: Any, features: Tensor, split: str, asked: Tensor | None = None) -> dict[str, Any]:
        """How far generated images, given by their `features` [N, D], are from real ones of `split`.

        The kernel distance (KID) is unbiased and takes all generated and as many real images at most. The Fréchet
        distance, precision, recall, density, coverage and diversity depend on how many images a set has: they compare
        the first `sizes/compared` of both, as many as the smaller set has. Between two data sets they can be compared
        where that number and the judge are the same. Where the judge tells the data's classes apart, also which of them
        it sees, and how evenly, and how many images are of the class in `asked`, int64 [N].
        """
        real = self._real(judge, split)
        compared = min(len(real), len(features))
        first, own = real.first(compared), features[:compared]
        metrics = {
            "frechet_distance": frechet_distance(first, own),
            "kid": kernel_distance(real, features),
            **prdc(first, own)._asdict(),
            "diversity": diversity(first, own),
            "sizes/real": len(real),
            "sizes/generated": len(features),
            "sizes/compared": compared,
            "sizes/features": features.shape[1],
        }
        classes = len(self._load(split).classes)
        if judge.head[-1].out_features == classes:  # not a judge of other classes
            seen = judge.head(features).argmax(1)
            covered, entropy = class_coverage(seen, classes)
            metrics |= {"classes_covered": covered, "class_entropy": entropy}
            if asked is not None:
                metrics["accuracy/conditional"] = (seen == asked).float().mean()
        return metrics

    def _real(self, judge: Any, split: str) -> Reference:
        """The judge's features of real images: computed once."""
        if split not in self._references:
            images, chosen, device = self._load(split), self.chosen(split), self._context.device
            features = self._context.map_shards(
                len(chosen), lambda items: judge.features(images.select(chosen[items], device))
            )
            self._references[split] = Reference(features)
        return self._references[split]
