"""The terms of the ELBO against torch.distributions, and the ELBO against a likelihood that has a closed form."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Bernoulli, MultivariateNormal, Normal, kl_divergence

from genlab.losses import bernoulli_log_likelihood, gaussian_kl
from genlab.models import reparameterize

VALUES = st.lists(st.tuples(st.floats(-5, 5), st.floats(-8, 4)), min_size=1, max_size=6)


def f64(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@given(VALUES)
def test_the_kl_term_is_the_divergence_from_the_standard_normal(values: list[tuple[float, float]]) -> None:
    """With its sign: one report writes -KL as if it were KL."""
    mean, log_variance = f64(values).T[:, None]
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(f64(0.0), f64(1.0))).sum(1)
    found = gaussian_kl(mean, log_variance)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    assert found.shape == (1,) and found.item() >= -1e-12


def test_the_kl_term_vanishes_at_the_standard_normal_and_grows_every_way_from_it() -> None:
    at = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    assert gaussian_kl(at, at).tolist() == [0, 0]
    for offset in (-2.0, -0.1, 0.1, 2.0):
        moved = torch.zeros(1, 3, dtype=torch.float64)
        moved[0, 1] = offset
        assert gaussian_kl(moved, torch.zeros_like(moved)).item() == pytest.approx(offset**2 / 2)
        assert gaussian_kl(torch.zeros_like(moved), moved).item() > 0.002
    # near it the first two terms of a series are all there is; float32 would lose them in exp(l) - 1 - l
    small = torch.tensor([[1e-3]])
    assert gaussian_kl(torch.zeros(1, 1), small).item() == pytest.approx(1e-6 / 4, rel=1e-3)


def test_the_reconstruction_term_is_the_log_likelihood_of_bernoulli_pixels() -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 2, 4, 4, generator=random, dtype=torch.float64) * 4
    images = torch.rand(5, 2, 4, 4, generator=random, dtype=torch.float64).round()
    expected = Bernoulli(logits=logits).log_prob(images).sum((1, 2, 3))
    torch.testing.assert_close(bernoulli_log_likelihood(logits, images), expected, rtol=1e-12, atol=0)


def test_the_reconstruction_term_of_a_grey_pixel_is_the_mean_over_black_and_white_ones() -> None:
    logits, grey = f64([[0.7, -1.3]]), f64([[0.2, 0.9]])
    pixels = Bernoulli(logits=logits)
    expected = (grey * pixels.log_prob(torch.ones_like(grey)) + (1 - grey) * pixels.log_prob(0 * grey)).sum(1)
    torch.testing.assert_close(bernoulli_log_likelihood(logits, grey), expected)
    best = bernoulli_log_likelihood(grey.logit(), grey)
    torch.testing.assert_close(best, -Bernoulli(grey).entropy().sum(1))
    assert best.item() > bernoulli_log_likelihood(grey.logit() + 0.1, grey).item()


class LinearGaussian:
    """p(z) = N(0, I), p(x|z) = N(Wz + b, s²I): log p(x) and p(z|x) in closed form (Bishop 2006, eq. 2.115 and 2.116).

    The columns of W are orthogonal, so that the posterior's covariance is diagonal, as q's is.
    """

    def __init__(self) -> None:
        random = torch.Generator().manual_seed(1)
        directions, _ = torch.linalg.qr(torch.randn(6, 3, generator=random, dtype=torch.float64))
        self.weight = directions * f64([2.0, 1.0, 0.3])
        self.bias, self.std = torch.randn(6, generator=random, dtype=torch.float64), 0.4
        self.images = torch.randn(7, 6, generator=random, dtype=torch.float64) * 2

    def log_likelihood(self) -> Tensor:
        covariance = self.weight @ self.weight.T + self.std**2 * torch.eye(6, dtype=torch.float64)
        return MultivariateNormal(self.bias, covariance).log_prob(self.images)

    def posterior(self) -> tuple[Tensor, Tensor]:
        """Mean [7, 3] and log variance [7, 3]."""
        precision = 1 + self.weight.square().sum(0) / self.std**2
        mean = (self.images - self.bias) @ self.weight / self.std**2 / precision
        return mean, -precision.log().expand_as(mean)

    def elbo(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        """Exact: log p(x|z) is quadratic in the noise, and these six points have its mean and its covariance."""
        points = math.sqrt(3) * torch.cat((torch.eye(3), -torch.eye(3))).double()
        terms = [
            Normal(reparameterize(mean, log_variance, noise.expand_as(mean)) @ self.weight.T + self.bias, self.std)
            .log_prob(self.images)
            .sum(1)
            for noise in points
        ]
        return torch.stack(terms).mean(0) - gaussian_kl(mean, log_variance)


def test_the_elbo_is_the_log_likelihood_at_the_exact_posterior() -> None:
    model = LinearGaussian()
    torch.testing.assert_close(model.elbo(*model.posterior()), model.log_likelihood(), rtol=1e-10, atol=0)


def test_elsewhere_the_elbo_lies_below_the_log_likelihood_by_the_divergence_from_the_posterior() -> None:
    model, random = LinearGaussian(), torch.Generator().manual_seed(2)
    mean, log_variance = model.posterior()
    for scale in (0.01, 0.3, 2.0):
        moved = [
            each + scale * torch.randn(each.shape, generator=random, dtype=torch.float64)
            for each in (mean, log_variance)
        ]
        gap = model.log_likelihood() - model.elbo(*moved)
        assert (gap > 0).all()
        q, p = (Normal(m, (v / 2).exp()) for m, v in (moved, (mean, log_variance)))
        torch.testing.assert_close(gap, kl_divergence(q, p).sum(1), rtol=1e-6, atol=1e-9)
