"""Adversarial losses against their formulas, their derivatives, and the theory they come from."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import grad, vmap

from genlab.losses import ADVERSARIAL

NAMES = sorted(ADVERSARIAL)
LOGITS = st.lists(st.floats(-30, 30, width=64), min_size=1, max_size=8)


def f64(values):
    return torch.tensor(values, dtype=torch.float64)


def log_sigmoid(x):
    """In plain Python, from the definition, and exact where exp would overflow."""
    return -math.log1p(math.exp(-x)) if x > -700 else x


def mean(values):
    return math.fsum(values) / len(values)


def minimax(real, fake):
    return -mean([log_sigmoid(x) for x in real]) - mean([log_sigmoid(-x) for x in fake])


FORMULAS = {
    "non_saturating": (minimax, lambda fake: -mean([log_sigmoid(x) for x in fake])),
    "saturating": (minimax, lambda fake: mean([log_sigmoid(-x) for x in fake])),
    "least_squares": (
        lambda real, fake: (mean([(x - 1) ** 2 for x in real]) + mean([x**2 for x in fake])) / 2,
        lambda fake: mean([(x - 1) ** 2 for x in fake]) / 2,
    ),
    "hinge": (
        lambda real, fake: mean([max(0, 1 - x) for x in real]) + mean([max(0, 1 + x) for x in fake]),
        lambda fake: -mean(fake),
    ),
}


def test_the_formulas_here_cover_every_loss():
    assert set(FORMULAS) == set(ADVERSARIAL) == {"non_saturating", "saturating", "least_squares", "hinge"}


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=50)
@given(real=LOGITS, fake=LOGITS)
def test_formula(name, real, fake):
    discriminator, generator = FORMULAS[name]
    assert ADVERSARIAL[name].discriminator(f64(real), f64(fake)).item() == pytest.approx(
        discriminator(real, fake), rel=1e-12, abs=1e-12
    )
    assert ADVERSARIAL[name].generator(f64(fake)).item() == pytest.approx(generator(fake), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "discriminator", "generator"),
    [
        ("non_saturating", 2 * math.log(2), math.log(2)),
        ("saturating", 2 * math.log(2), -math.log(2)),
        ("least_squares", 0.5, 0.5),
        ("hinge", 2, 0),
    ],
)
def test_values_by_hand_at_zero(name, discriminator, generator):
    zeros = f64([0, 0, 0])
    assert ADVERSARIAL[name].discriminator(zeros, zeros[:2]).item() == pytest.approx(discriminator)
    assert ADVERSARIAL[name].generator(zeros).item() == pytest.approx(generator)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("name", "right", "wrong", "caught", "fooling"),
    [  # D right: real 1000, fake -1000; D wrong: exchanged. G caught: fake -1000; G fooling: fake 1000.
        ("non_saturating", 0, 2000, 1000, 0),
        ("saturating", 0, 2000, 0, -1000),
        ("least_squares", (999**2 + 1000**2) / 2, (1001**2 + 1000**2) / 2, 1001**2 / 2, 999**2 / 2),
        ("hinge", 0, 2002, 1000, -1000),
    ],
)
def test_extreme_logits(name, right, wrong, caught, fooling, dtype):
    loss = ADVERSARIAL[name]
    high, low = (torch.tensor([x], dtype=dtype, requires_grad=True) for x in (1000.0, -1000.0))
    values = [loss.discriminator(high, low), loss.discriminator(low, high), loss.generator(low), loss.generator(high)]
    assert [value.item() for value in values] == pytest.approx([right, wrong, caught, fooling])
    sum(values).backward()
    assert high.grad.isfinite().all()
    assert low.grad.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_by_finite_differences(name):
    torch.manual_seed(0)
    real = torch.randn(5, dtype=torch.float64).mul(3).requires_grad_()  # no value near the hinge's kinks
    fake = torch.randn(7, dtype=torch.float64).mul(3).requires_grad_()
    loss = ADVERSARIAL[name]
    assert min((1 - real).abs().min(), (1 + fake).abs().min()) > 1e-3
    assert torch.autograd.gradcheck(loss.discriminator, (real, fake))
    assert torch.autograd.gradcheck(loss.generator, (fake,))
    if name != "hinge":
        assert torch.autograd.gradgradcheck(loss.discriminator, (real, fake))


@pytest.mark.parametrize("name", NAMES)
def test_a_stack_under_vmap_equals_one_after_the_other(name):
    torch.manual_seed(0)
    real, fake = torch.randn(3, 6, dtype=torch.float64), torch.randn(3, 6, dtype=torch.float64)
    loss = ADVERSARIAL[name]
    stacked = vmap(grad(loss.discriminator, argnums=(0, 1)))(real, fake)
    singly = [grad(loss.discriminator, argnums=(0, 1))(r, f) for r, f in zip(real, fake, strict=True)]
    for side in (0, 1):
        torch.testing.assert_close(stacked[side], torch.stack([pair[side] for pair in singly]))
    torch.testing.assert_close(vmap(loss.generator)(fake), torch.stack([loss.generator(f) for f in fake]))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=50)
@given(real=LOGITS, fake=LOGITS)
def test_a_mean_over_samples_in_any_order(name, real, fake):
    loss = ADVERSARIAL[name]
    once = loss.discriminator(f64(real), f64(fake))
    torch.testing.assert_close(loss.discriminator(f64(real[::-1] * 2), f64(fake[::-1] * 3)), once)


@settings(max_examples=50)
@given(weights=st.lists(st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)), min_size=2, max_size=6))
def test_the_best_discriminator_has_the_jensen_shannon_divergence(weights):
    """Goodfellow et al. 2014, theorem 1: at D* = p / (p + q) the loss is log 4 - 2·JS(p, q), and it is a minimum."""
    p, q = f64([w[0] for w in weights]), f64([w[1] for w in weights])
    p, q = p / p.sum(), q / q.sum()

    def loss(logits):  # the expectation over a finite space, one call a point
        each = [ADVERSARIAL["saturating"].discriminator(x[None], y[None]) for x, y in zip(*logits, strict=True)]
        return torch.stack(each)

    best = (p / q).log()
    # The loss adds a real and a fake term: 1000 is a sure "right answer" that leaves the other term alone.
    sure = torch.full_like(best, 1000)
    value = (p * loss((best, -sure)) + q * loss((sure, best))).sum()
    mixture = (p + q) / 2
    divergence = ((p * (p / mixture).log()).sum() + (q * (q / mixture).log()).sum()) / 2
    torch.testing.assert_close(value, math.log(4) - 2 * divergence)
    for step in (-0.1, 0.1):
        assert (p * loss((best + step, -sure)) + q * loss((sure, best + step))).sum() > value


def test_only_the_saturating_generator_stops_learning_where_it_is_caught():
    caught = f64([-40.0])
    assert abs(grad(ADVERSARIAL["saturating"].generator)(caught).item()) < 1e-15
    assert grad(ADVERSARIAL["non_saturating"].generator)(caught).item() == pytest.approx(-1)


@settings(max_examples=50)
@given(logit=st.floats(-30, 30))
def test_every_generator_wants_higher_logits(logit):
    for name in ("saturating", "non_saturating", "hinge"):
        assert grad(ADVERSARIAL[name].generator)(f64([logit])).item() < 0
    assert grad(ADVERSARIAL["least_squares"].generator)(f64([logit])).item() == pytest.approx(logit - 1)
