"""Distances between feature sets: closed forms, other people's code, properties, and what they refuse."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from genlab import metrics
from genlab.metrics import (
    Reference,
    density_coverage,
    distribution,
    frechet_distance,
    kernel_distance,
    prdc,
    precision_recall,
)

SEEDS = st.integers(0, 2**31)
ALL = [frechet_distance, kernel_distance, precision_recall, density_coverage, prdc]


def draw(seed, *shape):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def with_moments(seed, samples, mean, covariance):
    """Samples whose mean and covariance are exactly these."""
    mean, covariance = (torch.as_tensor(value, dtype=torch.float64) for value in (mean, covariance))
    noise = draw(seed, samples, len(mean))
    white = torch.linalg.qr(noise - noise.mean(dim=0)).Q * math.sqrt(samples - 1)
    return white @ torch.linalg.cholesky(covariance).T + mean


class Identity(nn.Module):
    """A feature extractor for torchmetrics that leaves features alone."""

    def __init__(self, features):
        super().__init__()
        self.num_features = features

    def forward(self, x):
        return x


# --- Fréchet distance


def test_frechet_of_one_dimension():
    real, fake = with_moments(0, 40, [3.0], [[4.0]]), with_moments(1, 30, [-1.0], [[25.0]])
    assert frechet_distance(real, fake).item() == pytest.approx((3 + 1) ** 2 + (2 - 5) ** 2, rel=1e-12)


def test_frechet_of_covariances_that_commute():
    ours, theirs = [1.0, 4.0, 9.0], [16.0, 0.25, 9.0]
    real = with_moments(0, 50, [0.0, 1.0, 2.0], torch.diag(torch.tensor(ours)))
    fake = with_moments(1, 60, [1.0, 1.0, 0.0], torch.diag(torch.tensor(theirs)))
    expected = 1 + 4 + sum((math.sqrt(a) - math.sqrt(b)) ** 2 for a, b in zip(ours, theirs, strict=True))
    assert frechet_distance(real, fake).item() == pytest.approx(expected, rel=1e-12)


def test_frechet_of_covariances_that_do_not_commute():
    first, second = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[5.0, -2.0], [-2.0, 1.0]])
    assert not np.allclose(first @ second, second @ first)
    product = first @ second  # 2 × 2: tr √M = √(tr M + 2·√det M)
    root = math.sqrt(np.trace(product) + 2 * math.sqrt(np.linalg.det(product)))
    expected = 0.25 + np.trace(first) + np.trace(second) - 2 * root
    found = frechet_distance(with_moments(0, 20, [0.0, 0.5], first), with_moments(1, 30, [0.0, 0.0], second))
    assert found.item() == pytest.approx(expected, rel=1e-12)
    assert found.dtype == torch.float64
    assert found.shape == ()


@pytest.mark.parametrize(("samples", "features"), [(100, 8), (10, 40), (2, 3), (50, 1)])
def test_frechet_of_a_set_and_itself_is_zero_even_where_the_covariance_is_singular(samples, features):
    real = 100 * draw(0, samples, features)
    assert frechet_distance(real, real).item() == pytest.approx(0, abs=1e-9)
    assert frechet_distance(real, real.flip(0)).item() == pytest.approx(0, abs=1e-9)
    shift = draw(1, features)
    assert frechet_distance(real, real + shift).item() == pytest.approx(shift.square().sum().item(), rel=1e-9)


def test_frechet_is_never_below_zero():
    """Of equal sets rounding alone is left, which goes either way."""
    assert all(frechet_distance(10 * draw(seed, 50, 8), 10 * draw(seed, 50, 8)).item() >= 0 for seed in range(20))


def test_frechet_of_constant_sets_is_the_squared_distance_of_their_means():
    assert frechet_distance(torch.zeros(5, 3), torch.full((4, 3), 2.0)).item() == pytest.approx(12)


def test_frechet_of_far_fewer_samples_than_features_keeps_its_digits():
    """Ranks 1 and 1 along orthogonal axes: the covariances' product is 0, so the root of a rounding error shows."""
    real, fake = torch.zeros(2, 500), torch.zeros(2, 500)
    real[:, 0], fake[:, 1] = torch.tensor([1000.0, -1000.0]), torch.tensor([1000.0, -1000.0])
    assert frechet_distance(real, fake).item() == pytest.approx(4e6, rel=1e-14)


@pytest.mark.parametrize(("reals", "fakes", "features"), [(300, 200, 16), (64, 500, 48)])
def test_frechet_agrees_with_torchmetrics(reals, fakes, features):
    peer_class = pytest.importorskip("torchmetrics.image.fid").FrechetInceptionDistance
    real = draw(0, reals, features) @ draw(1, features, features) + 3
    fake = draw(2, fakes, features) @ draw(3, features, features)
    peer = peer_class(feature=Identity(features))
    peer.update(real, real=True)
    peer.update(fake, real=False)
    assert frechet_distance(real, fake).item() == pytest.approx(peer.compute().item(), rel=1e-6)


@settings(max_examples=40)
@given(seed=SEEDS, scale=st.floats(0.01, 100))
def test_frechet_is_symmetric_scales_with_the_square_and_ignores_rotation_and_order(seed, scale):
    real, fake = draw(seed, 12, 4) + 1, draw(seed + 1, 9, 4) * 2
    distance = frechet_distance(real, fake)
    rotation = torch.linalg.qr(draw(seed + 2, 4, 4)).Q
    assert distance > 0
    torch.testing.assert_close(frechet_distance(fake, real), distance)
    torch.testing.assert_close(frechet_distance(scale * real, scale * fake), scale**2 * distance)
    torch.testing.assert_close(frechet_distance(real @ rotation, fake @ rotation), distance)
    torch.testing.assert_close(frechet_distance(real.flip(0), fake[torch.randperm(9)]), distance)


# --- kernel distance


def naive_kernel_distance(real, fake, degree, gamma, coef0):
    def kernel(x, y):
        return (gamma * float(x @ y) + coef0) ** degree

    def within(points):
        n = len(points)
        total = sum(kernel(points[i], points[j]) for i in range(n) for j in range(n) if i != j)
        return total / (n * (n - 1))

    across = sum(kernel(x, y) for x in real for y in fake) / (len(real) * len(fake))
    return within(real) + within(fake) - 2 * across


@pytest.mark.parametrize(("degree", "gamma", "coef0"), [(3, None, 1.0), (1, 1.0, 0.0), (2, 0.5, 2.0), (4, 0.1, -1.0)])
def test_kernel_distance_by_its_definition(degree, gamma, coef0):
    real, fake = draw(0, 9, 5), draw(1, 7, 5) + 1
    expected = naive_kernel_distance(real, fake, degree, gamma or 1 / 5, coef0)
    found = kernel_distance(real, fake, degree=degree, gamma=gamma, coef0=coef0)
    assert found.item() == pytest.approx(expected, rel=1e-10)
    assert found.dtype == torch.float64
    assert found.shape == ()


def test_kernel_distance_agrees_with_torchmetrics():
    peer_class = pytest.importorskip("torchmetrics.image.kid").KernelInceptionDistance
    real, fake = draw(0, 60, 16), draw(1, 60, 16) * 1.5 + 0.2
    with pytest.warns(UserWarning, match="buffer"):
        peer = peer_class(feature=Identity(16), subsets=1, subset_size=60)  # one subset of all samples
    peer.update(real, real=True)
    peer.update(fake, real=False)
    assert kernel_distance(real, fake).item() == pytest.approx(peer.compute()[0].item(), rel=1e-5)


def test_linear_kernel_distance_is_the_unbiased_squared_distance_of_means():
    real, fake = draw(0, 30, 3), draw(1, 20, 3) + 2
    expected = (real.mean(0) - fake.mean(0)).square().sum()
    for points in (real, fake):  # |mean|² overshoots by tr Σ / N
        expected -= points.var(dim=0).sum() / len(points)
    torch.testing.assert_close(kernel_distance(real, fake, degree=1, gamma=1.0, coef0=0.0), expected)


def test_kernel_distance_is_zero_on_average_for_random_halves_of_one_set():
    points = draw(0, 40, 4).exp()  # skewed, so that a biased estimate would show
    values = []
    for seed in range(400):
        order = torch.randperm(40, generator=torch.Generator().manual_seed(seed))
        values.append(kernel_distance(points[order[:20]], points[order[20:]]).item())
    error = np.std(values) / math.sqrt(len(values))
    # Halves are drawn without replacement, which makes all pairs, within or across, equally likely: the mean is 0.
    assert abs(np.mean(values)) < 4 * error
    assert min(values) < 0


@settings(max_examples=40)
@given(seed=SEEDS)
def test_kernel_distance_is_symmetric_and_ignores_order_and_rotation(seed):
    real, fake = draw(seed, 11, 3), draw(seed + 1, 8, 3) + 1
    distance = kernel_distance(real, fake)
    rotation = torch.linalg.qr(draw(seed + 2, 3, 3)).Q
    torch.testing.assert_close(kernel_distance(fake, real), distance)
    torch.testing.assert_close(kernel_distance(real.flip(0), fake[torch.randperm(8)]), distance)
    torch.testing.assert_close(kernel_distance(real @ rotation, fake @ rotation), distance)


# --- precision, recall, density, coverage


def naive_prdc(real, fake, k_manifold, k_density):
    """Straight from the papers' definitions, one pair at a time."""

    def distance(x, y):
        return float(np.sqrt(((x - y) ** 2).sum()))

    def radius(points, i, k):
        return sorted(distance(points[i], points[j]) for j in range(len(points)) if j != i)[k - 1]

    def in_manifold(point, points):
        return any(distance(point, points[i]) <= radius(points, i, k_manifold) for i in range(len(points)))

    in_ball = [[distance(x, y) <= radius(real, i, k_density) for y in fake] for i, x in enumerate(real)]
    return (
        np.mean([in_manifold(y, real) for y in fake]),
        np.mean([in_manifold(x, fake) for x in real]),
        np.sum(in_ball) / (k_density * len(fake)),
        np.mean([any(row) for row in in_ball]),
    )


@pytest.mark.parametrize(("k_manifold", "k_density"), [(3, 5), (5, 3), (1, 1)])
@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0])
def test_prdc_by_its_definition(shift, k_manifold, k_density):
    real, fake = draw(0, 25, 3), draw(1, 18, 3) * 0.7 + shift
    expected = naive_prdc(real.numpy(), fake.numpy(), k_manifold, k_density)
    assert [x.item() for x in prdc(real, fake, k_manifold, k_density)] == pytest.approx(expected, rel=1e-12)
    assert [x.item() for x in precision_recall(real, fake, k_manifold)] == pytest.approx(expected[:2], rel=1e-12)
    assert [x.item() for x in density_coverage(real, fake, k_density)] == pytest.approx(expected[2:], rel=1e-12)


def test_prdc_of_a_set_and_itself():
    real = draw(0, 50, 4)
    found = prdc(real, real.clone())
    # Every ball holds its k neighbours, the last on its edge, and its own centre: k + 1 of them, over k.
    assert [x.item() for x in found] == pytest.approx([1, 1, 6 / 5, 1])


def test_prdc_of_sets_far_apart_is_zero():
    assert [x.item() for x in prdc(draw(0, 20, 3), draw(1, 20, 3) + 1000)] == [0, 0, 0, 0]


def test_a_dropped_mode_costs_recall_and_coverage_and_not_precision():
    left, right = draw(0, 200, 2), draw(1, 200, 2) + 1000
    found = prdc(torch.cat([left, right]), draw(2, 400, 2))
    assert found.precision > 0.9
    assert 0.4 < found.recall <= 0.5
    assert found.density > 0.8
    assert 0.4 < found.coverage <= 0.5


def test_a_generator_of_one_image_has_precision_and_nothing_else():
    real = draw(0, 100, 3)
    fake = real[:1].expand(100, 3)
    found = prdc(real, fake)
    assert found.precision == 1
    assert found.recall == pytest.approx(0.01)  # the one image that it copies
    assert found.coverage < 0.2


def test_an_outlier_among_the_reals_raises_precision_but_not_coverage():
    """Naeem et al. 2020, figure 2: the reason to report both pairs."""
    real, fake = draw(0, 100, 2), draw(1, 100, 2) + 50
    outlier = torch.tensor([[40.0, 40.0]], dtype=torch.float64)
    found = prdc(torch.cat([real, outlier]), fake)
    assert found.precision == 1
    assert found.coverage < 0.02
    assert found.density < 0.25


@settings(max_examples=40)
@given(seed=SEEDS, power=st.integers(-3, 3))
def test_prdc_ranges_order_and_scale(seed, power):
    real, fake = draw(seed, 14, 3), draw(seed + 1, 11, 3) * 1.2 + 0.3
    found = prdc(real, fake)
    assert all(0 <= value <= 1 for value in (found.precision, found.recall, found.coverage))
    assert 0 <= found.density <= len(real) / 5
    assert prdc(real.flip(0), fake[torch.randperm(11)]) == found
    assert prdc(real * 2.0**power, fake * 2.0**power) == found
    exchanged = precision_recall(fake, real)
    assert (exchanged.recall, exchanged.precision) == (found.precision, found.recall)


# --- a reference


def values(found):
    return tuple(found) if isinstance(found, tuple) else (found,)


@pytest.mark.parametrize("measure", ALL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_reference_gives_the_same_to_the_last_bit(measure, dtype):
    real = draw(0, 60, 7).to(dtype)
    reference = Reference(real)
    for seed in (1, 2):
        fake = draw(seed, 40, 7) * 0.8 + 0.3
        found, expected = measure(reference, fake), measure(real, fake)
        assert type(found) is type(expected)
        assert all(torch.equal(a, b) for a, b in zip(values(found), values(expected), strict=True))


def calls_for(monkeypatch, name, features):
    """How often `distribution.<name>` is called with these features first; a list that grows."""
    inner, calls = getattr(distribution, name), []

    def counted(first, *others):
        if first is features:
            calls.append(others)
        return inner(first, *others)

    monkeypatch.setattr(distribution, name, counted)
    return calls


def test_a_reference_computes_what_depends_on_it_alone_once(monkeypatch):
    reference, fakes = Reference(draw(0, 30, 4)), [draw(seed, 20, 4) for seed in (1, 2, 3)]
    counts = {
        name: calls_for(monkeypatch, name, reference.features)
        for name in ("_moments", "_kernel_within", "_radii", "_finite")
    }
    for fake in fakes:
        frechet_distance(reference, fake)
        kernel_distance(reference, fake)
        kernel_distance(reference, fake, degree=2, gamma=0.5, coef0=0.0)
        prdc(reference, fake)
        precision_recall(reference, fake, 3)
        density_coverage(reference, fake, 7)
    assert counts == {
        "_moments": [()],
        "_kernel_within": [(3, 0.25, 1.0), (2, 0.5, 0.0)],
        "_radii": [([3, 5],), ([7, 7],)],
        "_finite": [()],
    }


@pytest.mark.parametrize(
    "kernels", [[(3, 0.2, 1.0), (2, 0.2, 1.0)], [(3, 0.2, 1.0), (3, 0.1, 1.0)], [(3, 0.2, 1.0), (3, 0.2, 0.0)]]
)
def test_a_reference_keeps_kernels_and_neighbours_apart(kernels):
    real, fake = draw(0, 30, 5), draw(1, 20, 5)
    reference = Reference(real)
    for kernel in kernels:
        assert torch.equal(kernel_distance(reference, fake, *kernel), kernel_distance(real, fake, *kernel))
    for ks in ((3, 5), (5, 3), (2, 5), (5, 9)):
        assert prdc(reference, fake, *ks) == prdc(real, fake, *ks)


@pytest.mark.parametrize("measure", ALL)
def test_the_first_of_a_reference_are_a_reference_of_their_own(measure):
    real, fake = draw(0, 60, 4), draw(1, 25, 4)
    reference = Reference(real)
    measure(reference, fake)  # what is kept of all must not be taken for that of the first
    found, expected = measure(reference.first(25), fake), measure(real[:25], fake)
    assert all(torch.equal(a, b) for a, b in zip(values(found), values(expected), strict=True))
    assert reference.first(25) is reference.first(25)
    assert reference.first(26) is not reference.first(25)
    assert (len(reference), len(reference.first(25))) == (60, 25)
    assert reference.first(60) is reference
    for n in (0, 61):
        with pytest.raises(ValueError, match="from 1 to 60"):
            reference.first(n)


@pytest.mark.parametrize("measure", ALL)
def test_a_reference_is_checked_as_a_tensor_is(measure):
    with pytest.raises(ValueError, match=r"real features have shape \[20\]"):
        Reference(draw(0, 20))
    with pytest.raises(ValueError, match=r"real features have shape \[20, 0\]"):
        Reference(draw(0, 20, 0))
    with pytest.raises(ValueError, match="3 features and fake 4"):
        measure(Reference(draw(0, 20, 3)), draw(1, 20, 4))
    with pytest.raises(ValueError, match="real has 1 samples"):
        measure(Reference(draw(0, 20, 3)).first(1), draw(1, 20, 3))
    real = draw(0, 20, 3)
    real[15, 1] = math.nan
    reference = Reference(real)
    assert not reference.finite
    assert all(value.isnan() for value in values(measure(reference, draw(1, 20, 3))))
    assert all(value.isfinite() for value in values(measure(reference.first(10), draw(1, 20, 3))))


# --- all of them


def test_blocks_do_not_change_the_result(monkeypatch):
    real, fake = draw(0, 37, 4), draw(1, 23, 4) + 0.5
    whole = prdc(real, fake), kernel_distance(real, fake)
    monkeypatch.setattr(distribution, "_CHUNK_ELEMENTS", 100)
    assert prdc(real, fake) == whole[0]
    torch.testing.assert_close(kernel_distance(real, fake), whole[1])


@pytest.mark.parametrize("measure", ALL)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_features_of_a_diverged_generator_give_nan(measure, bad):
    fake = draw(0, 20, 3)
    fake[4, 1] = bad
    found = measure(draw(1, 20, 3), fake)
    assert all(value.isnan() for value in (found if isinstance(found, tuple) else (found,)))


@pytest.mark.parametrize("measure", ALL)
def test_refusals(measure):
    real = draw(0, 20, 3)
    with pytest.raises(ValueError, match="3 features and fake 4"):
        measure(real, draw(1, 20, 4))
    with pytest.raises(ValueError, match="fake has 1 samples"):
        measure(real, real[:1])
    with pytest.raises(ValueError, match=r"shape \[20\]"):
        measure(real[:, 0], real)
    with pytest.raises(ValueError, match=r"shape \[20, 0\]"):
        measure(real[:, :0], real[:, :0])


def test_neighbours_need_more_samples_than_there_are_neighbours():
    real = draw(0, 6, 3)
    density_coverage(real, real, k=5)
    with pytest.raises(ValueError, match="k = 6 needs at least 7"):
        density_coverage(real, real, k=6)
    with pytest.raises(ValueError, match="k is 0"):
        precision_recall(real, real, k=0)
    with pytest.raises(ValueError, match="degree is 0"):
        kernel_distance(real, real, degree=0)
    with pytest.raises(ValueError, match="gamma is -1"):
        kernel_distance(real, real, gamma=-1)


@pytest.mark.parametrize("measure", ALL)
def test_float32_features_are_measured_in_float64_without_a_graph(measure):
    real, fake = draw(0, 20, 3).float(), draw(1, 20, 3).float().requires_grad_()
    found, exact = measure(real, fake), measure(real.double(), fake.double())
    for value, expected in zip(*(x if isinstance(x, tuple) else (x,) for x in (found, exact)), strict=True):
        assert value.dtype == torch.float64
        assert not value.requires_grad
        assert value == expected
    assert not Reference(fake).features.requires_grad  # a graph kept for good would keep the network's activations


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("measure", ALL)
def test_devices_agree(measure):
    real, fake = draw(0, 500, 16), draw(1, 400, 16) + 0.3
    here, there = measure(real, fake), measure(real.cuda(), fake.cuda())
    for value, expected in zip(*(x if isinstance(x, tuple) else (x,) for x in (there, here)), strict=True):
        assert value.device.type == "cuda"
        torch.testing.assert_close(value.cpu(), expected, rtol=1e-9, atol=1e-9)


def test_everything_named_is_there():
    assert all(hasattr(metrics, name) for name in metrics.__all__)
