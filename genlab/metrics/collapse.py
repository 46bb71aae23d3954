"""Mode collapse, seen through a classifier: which classes a generator still draws, and how evenly."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class ClassCoverage(NamedTuple):
    classes_covered: int
    """Classes that at least the stated share of samples fall in."""
    class_entropy: float
    """Entropy of the class frequencies in nats: log(classes) where all are equal, 0 where only one is drawn."""


def class_coverage(predictions: Tensor, classes: int, minimum: float = 0.1) -> ClassCoverage:
    """How many of `classes` the predicted classes [N] (integers in 0..classes-1) cover, and how evenly.

    A class is covered when at least `minimum` of its uniform share, N / classes, falls in it, and one sample at least:
    a single stray among thousands is no mode. Counting modes through a classifier follows Che et al. 2017
    (arXiv:1612.02136) and Srivastava et al. 2017 (arXiv:1705.07761). Both numbers take the classifier at its word:
    on images unlike its training data it still names a class.

    Raises ValueError for predictions that are no vector of integers, are empty or out of range, fewer than one class,
    or a `minimum` outside (0, 1].
    """
    if classes < 1:
        raise ValueError(f"classes is {classes}; it must be at least 1")
    if not 0 < minimum <= 1:
        raise ValueError(f"minimum is {minimum}; it must be above 0 and at most 1")
    if predictions.ndim != 1 or predictions.is_floating_point() or predictions.is_complex():
        raise ValueError(
            f"predictions are {predictions.dtype} of shape {list(predictions.shape)}; integers of shape [N] are needed"
        )
    if len(predictions) == 0:
        raise ValueError("predictions are empty")
    smallest, largest = int(predictions.min()), int(predictions.max())
    if smallest < 0 or largest >= classes:
        raise ValueError(f"predictions reach from {smallest} to {largest}; {classes} classes are 0 to {classes - 1}")
    counts = torch.bincount(predictions.long(), minlength=classes).cpu()
    # The margin keeps rounding from asking for one sample more: 0.07 · 100 is 7.000000000000001.
    needed = max(1, math.ceil(minimum * len(predictions) / classes - 1e-9))
    frequencies = counts.double() / len(predictions)
    entropy = -float(torch.xlogy(frequencies, frequencies).sum())
    return ClassCoverage(int((counts >= needed).sum()), max(0.0, entropy))  # 0 of one class, not -0
