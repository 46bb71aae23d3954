"""Mode collapse: which classes a generator still draws and how evenly, and how much its images differ."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from genlab.metrics.distribution import Reference


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


@torch.no_grad()
def diversity(real: Tensor | Reference, fake: Tensor) -> Tensor:
    """How far a fake is from its nearest other fake, on average, over the same of real samples; 0-d float64, >= 0.

    0 where all fakes are copies, 1 where they lie as far apart as real ones. The distance to the nearest one depends on
    how many there are: compare sets of equal size, N of real [N, D] and fake [N, D].

    Raises ValueError for sets that are no matrices, differ in shape, or have fewer than two samples.
    """
    real = real if isinstance(real, Reference) else Reference(real)
    if fake.shape != real.features.shape:
        raise ValueError(f"fake features have shape {list(fake.shape)}, real ones {list(real.features.shape)}")
    if len(fake) < 2:
        raise ValueError(f"there are {len(fake)} samples; a nearest other one needs at least 2")
    among_fakes, among_real = (each.radii([1])[0].mean() for each in (Reference(fake.to(real.features.device)), real))
    return among_fakes / among_real


@torch.no_grad()
def least_diverse(features: Tensor, batch: int) -> Tensor:
    """The batch of consecutive samples [N, D] that are nearest to one another: its items, int64 [batch], on the CPU.

    Compared are whole batches, by the mean distance of a sample to its nearest other one in its batch.

    Raises ValueError for a batch of fewer than two samples, or of more than there are.
    """
    if not 2 <= batch <= len(features):
        raise ValueError(f"a batch of {batch} of {len(features)} samples; from 2 to {len(features)} are possible")
    batches = features[: len(features) // batch * batch].double().view(-1, batch, features.shape[1])
    distances = torch.cdist(batches, batches, compute_mode="donot_use_mm_for_euclid_dist")
    distances.diagonal(dim1=1, dim2=2).fill_(math.inf)
    worst = int(distances.amin(2).mean(1).argmin())
    return torch.arange(worst * batch, (worst + 1) * batch)
