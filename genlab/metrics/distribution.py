"""How far apart two sets of feature vectors are: one row a sample, any features. Nothing here trains or samples.

Every function computes in float64 on the device of `real`, without gradients, and returns 0-dimensional float64
tensors. Features that hold a NaN or an infinity give NaN: a generator that diverged has no distance, and a comparison
with NaN would count as a plain miss. ValueError for sets that are no matrices, differ in dimension or are too small.

`real` is a tensor or, where it is compared more than once, a `Reference`, with the same result to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
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


def _check_matrix(name: str, features: Tensor) -> None:
    if features.ndim != 2 or features.shape[1] == 0:
        raise ValueError(f"{name} features have shape {list(features.shape)}; [samples, features] is needed")


def _finite(features: Tensor) -> bool:
    return bool(features.isfinite().all())


def _nan(like: Tensor) -> Tensor:
    return like.new_full((), math.nan)


def _blocks(rows: int, columns: int) -> Iterator[slice]:
    step = max(1, _CHUNK_ELEMENTS // columns)
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [D], and a factor R [min(N, D), D] of the covariance with N - 1: Σ = RᵀR."""
    mean = features.mean(dim=0)
    # By QR of the centred set. No covariance is formed, so singular ones (N <= D, dead features) lose no digits.
    return mean, torch.linalg.qr((features - mean) / math.sqrt(len(features) - 1), mode="r").R


def _kernel_sum(left: Tensor, right: Tensor, degree: int, gamma: float, coef0: float) -> Tensor:
    total = left.new_zeros(())
    for rows in _blocks(len(left), len(right)):
        total += (left[rows] @ right.T).mul_(gamma).add_(coef0).pow_(degree).sum()
    return total


def _kernel_within(features: Tensor, degree: int, gamma: float, coef0: float) -> Tensor:
    """The kernel's mean over all pairs of different samples of one set."""
    with_itself = (features.square().sum(dim=1) * gamma + coef0).pow(degree).sum()
    count = len(features)
    return (_kernel_sum(features, features, degree, gamma, coef0) - with_itself) / (count * (count - 1))


def _distances(left: Tensor, right: Tensor) -> Tensor:
    # Differences, not |x|² + |y|² - 2·x·y: copies are at distance 0 and ties are ties, whatever block they fall in.
    return torch.cdist(left, right, compute_mode="donot_use_mm_for_euclid_dist")


def _radii(features: Tensor, neighbours: Sequence[int]) -> list[Tensor]:
    """For each k the distance of every sample to its k-th nearest other sample, [N]."""
    furthest = max(neighbours)
    nearest = torch.cat(
        [  # the first is the sample itself, at 0
            _distances(features[rows], features).topk(furthest + 1, largest=False, sorted=True).values
            for rows in _blocks(len(features), len(features))
        ]
    )
    return [nearest[:, k] for k in neighbours]


class Reference:
    """A set of real features [N, D] that fakes are compared with many times: what depends on it alone is kept.

    Each part is computed when a measure first needs it: the moments of the Fréchet distance, the kernel distance's sum
    for each kernel, the neighbours' radii for each k. `features` are those given, in float64 on their device, without
    a copy where they are float64 already: do not change them afterwards.

    Raises ValueError for features that are no matrix or have no columns.
    """

    def __init__(self, features: Tensor) -> None:
        _check_matrix("real", features)
        self.features = features.detach().double()
        self._within: dict[tuple[int, float, float], Tensor] = {}
        self._radii: dict[int, Tensor] = {}
        self._first: dict[int, Reference] = {}

    def __len__(self) -> int:
        return len(self.features)

    def first(self, n: int) -> Reference:
        """The first `n` features, as a reference that is kept, too: for measures that compare sets of equal size.

        Raises ValueError unless 1 <= n <= N.
        """
        if not 1 <= n <= len(self):
            raise ValueError(f"the first {n} of {len(self)} features; n must be from 1 to {len(self)}")
        if n == len(self):
            return self
        if n not in self._first:
            self._first[n] = Reference(self.features[:n])
        return self._first[n]

    @cached_property
    def finite(self) -> bool:
        """Whether no feature is NaN or infinite."""
        return _finite(self.features)

    @cached_property
    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean [D] and a factor R [min(N, D), D] of the covariance, RᵀR. Of two samples or more."""
        return _moments(self.features)

    def kernel_within(self, degree: int, gamma: float, coef0: float) -> Tensor:
        """The mean of (gamma·x·y + coef0)^degree over all pairs of different features. Of two samples or more."""
        kernel = (degree, gamma, coef0)
        if kernel not in self._within:
            self._within[kernel] = _kernel_within(self.features, *kernel)
        return self._within[kernel]

    def radii(self, neighbours: Sequence[int]) -> list[Tensor]:
        """For each k the distance of every feature to its k-th nearest other one, [N]. Of more than k samples."""
        missing = [k for k in neighbours if k not in self._radii]
        if missing:  # all in one pass over the distances
            self._radii.update(zip(missing, _radii(self.features, missing), strict=True))
        return [self._radii[k] for k in neighbours]


def _pair(real: Tensor | Reference, fake: Tensor, least: int, why: str) -> tuple[Reference, Tensor]:
    """Both sets in float64 on one device, of at least `least` samples, or ValueError."""
    real = real if isinstance(real, Reference) else Reference(real)
    _check_matrix("fake", fake)
    for name, count in (("real", len(real)), ("fake", len(fake))):
        if count < least:
            raise ValueError(f"{name} has {count} samples; {why} needs at least {least}")
    dimension = real.features.shape[1]
    if dimension != fake.shape[1]:
        raise ValueError(f"real has {dimension} features and fake {fake.shape[1]}; they must be the same features")
    return real, fake.detach().to(real.features.device).double()


@torch.no_grad()
def frechet_distance(real: Tensor | Reference, fake: Tensor) -> Tensor:
    """Squared Fréchet distance between Gaussians fitted to real [N, D] and fake [M, D]; >= 0, 0 for equal moments.

    |μ1 - μ2|² + tr(Σ1 + Σ2 - 2·(Σ1·Σ2)^½), covariances with N - 1: Heusel et al. 2017 (arXiv:1706.08500), eq. 6. It is
    the FID only with the Inception features of that paper. Biased upwards by small sets: compare equal N and M.
    At least two samples a set.
    """
    real, fake = _pair(real, fake, 2, "a covariance")
    if not (real.finite and _finite(fake)):
        return _nan(fake)
    mean_real, factor_real = real.moments
    mean_fake, factor_fake = _moments(fake)
    # The eigenvalues of Σ1·Σ2 are the squared singular values of R1·R2ᵀ.
    trace_of_root = torch.linalg.svdvals(factor_real @ factor_fake.T).sum()
    traces = factor_real.square().sum() + factor_fake.square().sum()
    return ((mean_real - mean_fake).square().sum() + traces - 2 * trace_of_root).clamp(min=0)


@torch.no_grad()
def kernel_distance(
    real: Tensor | Reference, fake: Tensor, degree: int = 3, gamma: float | None = None, coef0: float = 1.0
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
    if not (real.finite and _finite(fake)):
        return _nan(fake)
    scale = 1 / fake.shape[1] if gamma is None else gamma
    across = _kernel_sum(real.features, fake, degree, scale, coef0) / (len(real) * len(fake))
    return real.kernel_within(degree, scale, coef0) + _kernel_within(fake, degree, scale, coef0) - 2 * across


@torch.no_grad()
def prdc(real: Tensor | Reference, fake: Tensor, k_manifold: int = 3, k_density: int = 5) -> PRDC:
    """`precision_recall` with `k_manifold` and `density_coverage` with `k_density` of real [N, D] and fake [M, D].

    Three passes over the distances for all four, two where a `Reference` knows its radii: 10,000 × 10,000 samples of
    64 features take some 25 s on one core without.
    ValueError unless both k are at least 1 and both sets exceed them.
    """
    most, least = max(k_manifold, k_density), min(k_manifold, k_density)
    if least < 1:
        raise ValueError(f"k is {least}; it must be at least 1")
    real, fake = _pair(real, fake, most + 1, f"k = {most}")
    if not (real.finite and _finite(fake)):
        return PRDC(*[_nan(fake)] * 4)
    radii_manifold, radii_density = real.radii([k_manifold, k_density])
    (radii_fake,) = _radii(fake, [k_manifold])
    precise, inside = fake.new_zeros(()), fake.new_zeros(())
    recalled = torch.zeros(len(real), dtype=torch.bool, device=fake.device)
    covered = torch.zeros_like(recalled)
    for rows in _blocks(len(fake), len(real)):
        distances = _distances(fake[rows], real.features)
        precise += (distances <= radii_manifold).any(dim=1).sum()
        recalled |= (distances <= radii_fake[rows, None]).any(dim=0)
        in_ball = distances <= radii_density
        inside += in_ball.sum()
        covered |= in_ball.any(dim=0)
    return PRDC(
        precise / len(fake),
        recalled.double().mean(),
        inside / (k_density * len(fake)),
        covered.double().mean(),
    )


def precision_recall(real: Tensor | Reference, fake: Tensor, k: int = 3) -> PrecisionRecall:
    """Improved precision and recall of real [N, D] and fake [M, D], both in [0, 1].

    Precision: the share of fakes within the k-th-neighbour ball of some real sample; recall: with the sets exchanged.
    Kynkäänniemi et al. 2019 (arXiv:1904.06991), eqs. 1 and 2. ValueError unless k >= 1 and both sets exceed k. Where
    density and coverage are wanted too, `prdc` gives all four at the same cost.
    """
    measured = prdc(real, fake, k, k)
    return PrecisionRecall(measured.precision, measured.recall)


def density_coverage(real: Tensor | Reference, fake: Tensor, k: int = 5) -> DensityCoverage:
    """Density (>= 0, may exceed 1) and coverage (in [0, 1]) of real [N, D] by fake [M, D].

    Density: in how many real k-th-neighbour balls a fake lies, on average, over k; coverage: the share of real balls
    that hold a fake. Naeem et al. 2020 (arXiv:2002.09797), section 3; balls are closed, as in precision and recall.
    ValueError unless k >= 1 and both sets exceed k.
    """
    measured = prdc(real, fake, k, k)
    return DensityCoverage(measured.density, measured.coverage)
