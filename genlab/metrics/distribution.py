"""How far apart two sets of feature vectors are: one row a sample, any features. Nothing here trains or samples.

Every function computes in float64 on the device of `real`, without gradients, and returns 0-dimensional float64
tensors. Features that hold a NaN or an infinity give NaN: a generator that diverged has no distance, and a comparison
with NaN would count as a plain miss. ValueError for sets that are no matrices, differ in dimension or are too small.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

_CHUNK_ELEMENTS = 2**23
"""Numbers in one block of a distance or kernel matrix: 64 MiB, where 10,000 × 10,000 whole would take 800."""


class PrecisionRecall(NamedTuple):
    precision: Tensor
    recall: Tensor


class DensityCoverage(NamedTuple):
    density: Tensor
    coverage: Tensor


class PRDC(NamedTuple):
    precision: Tensor
    recall: Tensor
    density: Tensor
    coverage: Tensor


def _pair(real: Tensor, fake: Tensor, least: int, why: str) -> tuple[Tensor, Tensor]:
    """Both sets in float64 on one device, or ValueError."""
    for name, features in (("real", real), ("fake", fake)):
        if features.ndim != 2 or features.shape[1] == 0:
            raise ValueError(f"{name} features have shape {list(features.shape)}; [samples, features] is needed")
        if len(features) < least:
            raise ValueError(f"{name} has {len(features)} samples; {why} needs at least {least}")
    if real.shape[1] != fake.shape[1]:
        raise ValueError(f"real has {real.shape[1]} features and fake {fake.shape[1]}; they must be the same features")
    return real.detach().double(), fake.detach().to(real.device).double()


def _finite(*sets: Tensor) -> bool:
    return all(bool(features.isfinite().all()) for features in sets)


def _nan(like: Tensor) -> Tensor:
    return like.new_full((), math.nan)


def _blocks(rows: int, columns: int) -> Iterator[slice]:
    step = max(1, _CHUNK_ELEMENTS // columns)
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


@torch.no_grad()
def frechet_distance(real: Tensor, fake: Tensor) -> Tensor:
    """Squared Fréchet distance between Gaussians fitted to real [N, D] and fake [M, D]; >= 0, 0 for equal moments.

    |μ1 - μ2|² + tr(Σ1 + Σ2 - 2·(Σ1·Σ2)^½), covariances with N - 1: Heusel et al. 2017 (arXiv:1706.08500), eq. 6. It is
    the FID only with the Inception features of that paper. Biased upwards by small sets: compare equal N and M.
    At least two samples a set.
    """
    real, fake = _pair(real, fake, 2, "a covariance")
    if not _finite(real, fake):
        return _nan(real)
    mean_real, mean_fake = real.mean(dim=0), fake.mean(dim=0)
    # With QR factors of the centred sets, Σ = RᵀR and the eigenvalues of Σ1·Σ2 are the squared singular values of
    # R1·R2ᵀ. No covariance is formed, so singular ones (N <= D, dead features) lose no digits in the root.
    factor_real = torch.linalg.qr((real - mean_real) / math.sqrt(len(real) - 1), mode="r").R
    factor_fake = torch.linalg.qr((fake - mean_fake) / math.sqrt(len(fake) - 1), mode="r").R
    trace_of_root = torch.linalg.svdvals(factor_real @ factor_fake.T).sum()
    traces = factor_real.square().sum() + factor_fake.square().sum()
    return ((mean_real - mean_fake).square().sum() + traces - 2 * trace_of_root).clamp(min=0)


def _kernel_sum(left: Tensor, right: Tensor, degree: int, gamma: float, coef0: float) -> Tensor:
    total = left.new_zeros(())
    for rows in _blocks(len(left), len(right)):
        total += (left[rows] @ right.T).mul_(gamma).add_(coef0).pow_(degree).sum()
    return total


@torch.no_grad()
def kernel_distance(
    real: Tensor, fake: Tensor, degree: int = 3, gamma: float | None = None, coef0: float = 1.0
) -> Tensor:
    """Squared MMD of real [N, D] and fake [M, D] under the kernel (gamma·x·y + coef0)^degree; gamma is 1/D by default.

    The kernel of Bińkowski et al. 2018 (arXiv:1801.01401), section 4, in the unbiased estimator of Gretton et al. 2012
    (JMLR 13), Lemma 6, over the whole sets: no random subsets, so no sampling noise of its own. It is the KID only
    with Inception features. Its mean is 0 for equal distributions, so it may be negative. At least two samples a set;
    ValueError for a degree below 1 or a gamma not above 0.
    """
    if degree < 1:
        raise ValueError(f"degree is {degree}; it must be at least 1")
    if gamma is not None and not gamma > 0:
        raise ValueError(f"gamma is {gamma}; it must be above 0")
    real, fake = _pair(real, fake, 2, "the unbiased estimator")
    if not _finite(real, fake):
        return _nan(real)
    scale = 1 / real.shape[1] if gamma is None else gamma

    def within(features: Tensor) -> Tensor:
        with_itself = (features.square().sum(dim=1) * scale + coef0).pow(degree).sum()
        count = len(features)
        return (_kernel_sum(features, features, degree, scale, coef0) - with_itself) / (count * (count - 1))

    across = _kernel_sum(real, fake, degree, scale, coef0) / (len(real) * len(fake))
    return within(real) + within(fake) - 2 * across


def _distances(left: Tensor, right: Tensor) -> Tensor:
    # Differences, not |x|² + |y|² - 2·x·y: copies are at distance 0 and ties are ties, whatever block they fall in.
    return torch.cdist(left, right, compute_mode="donot_use_mm_for_euclid_dist")


def _radii(features: Tensor, neighbours: Sequence[int]) -> list[Tensor]:
    """For each k the distance of every sample to its k-th nearest other sample, [N]."""
    furthest = max(neighbours)
    found = torch.cat(
        [  # its nearest is the sample itself, at 0
            _distances(features[rows], features).topk(furthest + 1, largest=False, sorted=True).values
            for rows in _blocks(len(features), len(features))
        ]
    )
    return [found[:, k] for k in neighbours]


@torch.no_grad()
def prdc(real: Tensor, fake: Tensor, k_manifold: int = 3, k_density: int = 5) -> PRDC:
    """`precision_recall` with `k_manifold` and `density_coverage` with `k_density` of real [N, D] and fake [M, D].

    Three passes over the distances for all four: 10,000 × 10,000 samples of 64 features take some 25 s on one core.
    ValueError unless both k are at least 1 and both sets exceed them.
    """
    most, least = max(k_manifold, k_density), min(k_manifold, k_density)
    if least < 1:
        raise ValueError(f"k is {least}; it must be at least 1")
    real, fake = _pair(real, fake, most + 1, f"k = {most}")
    if not _finite(real, fake):
        return PRDC(*[_nan(real)] * 4)
    radii_manifold, radii_density = _radii(real, [k_manifold, k_density])
    (radii_fake,) = _radii(fake, [k_manifold])
    precise, inside = real.new_zeros(()), real.new_zeros(())
    recalled = torch.zeros(len(real), dtype=torch.bool, device=real.device)
    covered = torch.zeros_like(recalled)
    for rows in _blocks(len(fake), len(real)):
        distances = _distances(fake[rows], real)
        precise += (distances <= radii_manifold).any(dim=1).sum()
        recalled |= (distances <= radii_fake[rows, None]).any(dim=0)
        held = distances <= radii_density
        inside += held.sum()
        covered |= held.any(dim=0)
    return PRDC(
        precise / len(fake),
        recalled.double().mean(),
        inside / (k_density * len(fake)),
        covered.double().mean(),
    )


def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> PrecisionRecall:
    """Improved precision and recall of real [N, D] and fake [M, D], both in [0, 1].

    Precision: the share of fakes within the k-th-neighbour ball of some real sample; recall: with the sets exchanged.
    Kynkäänniemi et al. 2019 (arXiv:1904.06991), eqs. 1 and 2. ValueError unless k >= 1 and both sets exceed k. Where
    density and coverage are wanted too, `prdc` gives all four at the same cost.
    """
    measured = prdc(real, fake, k, k)
    return PrecisionRecall(measured.precision, measured.recall)


def density_coverage(real: Tensor, fake: Tensor, k: int = 5) -> DensityCoverage:
    """Density (>= 0, may exceed 1) and coverage (in [0, 1]) of real [N, D] by fake [M, D].

    Density: in how many real k-th-neighbour balls a fake lies, on average, over k; coverage: the share of real balls
    that hold a fake. Naeem et al. 2020 (arXiv:2002.09797), section 3; balls are closed, as in precision and recall.
    ValueError unless k >= 1 and both sets exceed k.
    """
    measured = prdc(real, fake, k, k)
    return DensityCoverage(measured.density, measured.coverage)
