"""What the papers prove of the adversarial losses, held against the losses as they are written here.

Real and generated data are two known densities on a line, p and q, both positive everywhere. An expectation is an
integral on a grid, and the best discriminator a vector of outputs, one for each point of it. The rectangle rule is
exact to rounding for densities as smooth as these that vanish at both ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, Normal, kl_divergence

from genlab import losses

GRID = torch.linspace(-12, 12, 161, dtype=torch.float64)
STEP = float(GRID[1] - GRID[0])
Loss = Callable[[Tensor, Tensor], Tensor]


def density(weights: list[float], means: list[float], scales: list[float]) -> Tensor:
    """Of a mixture of Gaussians, on the grid, [points]."""
    parts = Normal(torch.tensor(means, dtype=torch.float64), torch.tensor(scales, dtype=torch.float64))
    mixture = MixtureSameFamily(Categorical(torch.tensor(weights, dtype=torch.float64)), parts)
    return mixture.log_prob(GRID).exp()


P = density([0.3, 0.7], [-2.0, 1.5], [0.8, 1.2])
Q = density([0.6, 0.4], [0.0, 3.0], [1.5, 1.0])
SEEN = P + Q > 1e-2  # where the data are; elsewhere the loss hardly depends on the output


def expected(loss: Loss, outputs: Tensor, p: Tensor = P, q: Tensor = Q) -> Tensor:
    """E of a discriminator's loss over a real point of density p and a generated one of density q, where it has
    `outputs` [points]: the double integral of loss(D(x), D(y)) p(x) q(y)."""
    of_pairs = torch.vmap(torch.vmap(loss, (None, 0)), (0, None))(outputs[:, None], outputs[:, None])
    return p @ of_pairs @ q * STEP**2


def expected_of_fakes(loss: Callable[[Tensor], Tensor], outputs: Tensor, weights: Tensor = Q) -> Tensor:
    """The integral of a generator's loss at each point, [points], times `weights`."""
    return torch.vmap(loss)(outputs[:, None]) @ weights * STEP


def best_outputs(loss: Loss, p: Tensor = P, q: Tensor = Q) -> Tensor:
    """The outputs [points] that minimise a discriminator's loss, found from 0 by Newton's method: no output touches
    another one's derivative, so the sum of a row of the Hessian is its diagonal."""
    outputs = torch.zeros_like(GRID, requires_grad=True)
    for _ in range(12):
        (slope,) = torch.autograd.grad(expected(loss, outputs, p, q), outputs, create_graph=True)
        (curvature,) = torch.autograd.grad(slope.sum(), outputs)
        outputs = (outputs - slope / curvature).detach().requires_grad_()
    return outputs.detach()


def jensen_shannon(p: Tensor, q: Tensor) -> float:
    """Of two densities on the grid, in nats: as that of two discrete distributions of the points."""
    mean = Categorical((p + q) / 2)
    return float(kl_divergence(Categorical(p), mean) + kl_divergence(Categorical(q), mean)) / 2


def test_the_densities_are_what_the_grid_can_integrate() -> None:
    assert float(P.sum() * STEP) == pytest.approx(1, rel=1e-9) == float(Q.sum() * STEP)


def test_the_best_discriminator_is_p_over_p_plus_q() -> None:
    """Goodfellow et al. 2014, proposition 1."""
    found = best_outputs(losses.minimax_discriminator).sigmoid()
    torch.testing.assert_close(found[SEEN], (P / (P + Q))[SEEN], rtol=1e-6, atol=0)


def test_its_loss_measures_the_jensen_shannon_divergence() -> None:
    """Goodfellow et al. 2014, theorem 1: C(G) = -log 4 + 2 JSD(p, q), what the discriminator maximises; ours is that
    negated, since losses are minimised."""
    best = expected(losses.minimax_discriminator, (P / Q).log())
    assert -float(best) == pytest.approx(-math.log(4) + 2 * jensen_shannon(P, Q), rel=1e-9)
    searched = expected(losses.minimax_discriminator, best_outputs(losses.minimax_discriminator))
    assert float(searched) == pytest.approx(float(best), rel=1e-6)


def test_equal_densities_leave_log_4() -> None:
    """The global minimum of C(G), -log 4, is where q is p: there the best discriminator says 1/2 everywhere."""
    assert float(expected(losses.minimax_discriminator, torch.zeros_like(GRID), P, P)) == pytest.approx(math.log(4))
    nearer = [w * P + (1 - w) * Q for w in (0.0, 0.5, 0.9, 1.0)]
    values = [-float(expected(losses.minimax_discriminator, (P / q).log(), P, q)) for q in nearer]
    assert values == sorted(values, reverse=True) and values[-1] == pytest.approx(-math.log(4))


def test_the_saturating_generator_minimises_the_same_value() -> None:
    """With the real term, on which it has no influence, its loss is C(G)."""
    best = (P / Q).log()
    value = expected_of_fakes(losses.saturating_generator, best)
    real = (torch.nn.functional.logsigmoid(best) * P).sum() * STEP
    assert float(value + real) == pytest.approx(-math.log(4) + 2 * jensen_shannon(P, Q), rel=1e-9)


@pytest.mark.parametrize(("a", "b"), [(0.0, 1.0), (-1.0, 1.0)])
def test_the_best_least_squares_discriminator_weighs_its_targets(a: float, b: float) -> None:
    """Mao et al. 2017, eq. 5: D = (b p + a q) / (p + q), with the targets a for fake and b for real. Ours have 0 and 1;
    others are those of the same loss on a line's image."""
    found = best_outputs(
        lambda real, fake: losses.least_squares_discriminator(*((x - a) / (b - a) for x in (real, fake)))
    )
    torch.testing.assert_close(found[SEEN], ((b * P + a * Q) / (P + Q))[SEEN], rtol=1e-6, atol=0)


def test_least_squares_measures_a_pearson_divergence() -> None:
    """Mao et al. 2017, theorem 1: for b - c = 1 and b - a = 2, 2 C(G) is the Pearson chi-squared divergence of p + q
    and 2 q, where C(G) is half of E (D - c)^2 over real and generated points. Here a = -1, b = 1, c = 0; our
    generator's target is 1, so it is asked about D + 1."""
    best = (P - Q) / (P + Q)
    value = expected_of_fakes(losses.least_squares_generator, best + 1, P + Q)
    chi_squared = ((2 * Q - (P + Q)) ** 2 / (P + Q)).sum() * STEP
    assert 2 * float(value) == pytest.approx(float(chi_squared), rel=1e-9)


def test_the_best_hinge_discriminator_measures_total_variation() -> None:
    """Lim & Ye 2017: the best output is the sign of p - q, and the loss there 2 (1 - TV), with TV half of the integral
    of |p - q|."""
    best = (P - Q).sign()
    value = float(expected(losses.hinge_discriminator, best))
    assert value == pytest.approx(2 * (1 - float((P - Q).abs().sum() * STEP) / 2), rel=1e-9)
    others = [best + 0.3 * torch.randn(len(GRID), generator=torch.Generator().manual_seed(i)) for i in range(5)]
    assert all(float(expected(losses.hinge_discriminator, other)) > value for other in others)
