"""Losses as pure functions: adversarial ones, and the two terms of a VAE's lower bound, the ELBO.

Adversarial losses are functions of discriminator logits, each a mean over samples that is to be minimised. D(x) is the
discriminator's logit, σ the logistic function and E a mean; σ(D) is the probability "real". Real and fake logits are
averaged on their own, so their numbers may differ. All of them stay finite, and their gradients too, at any finite
logit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid


class AdversarialLoss(NamedTuple):
    """The two sides of one game."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    """(logits of real samples, logits of fake samples) -> scalar."""
    generator: Callable[[Tensor], Tensor]
    """(logits of fake samples) -> scalar."""


def minimax_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """-E log σ(D(real)) - E log(1 - σ(D(fake))): Goodfellow et al. 2014 (arXiv:1406.2661), eq. 1, negated.

    2·log 2 at logits of 0; the best discriminator of equal distributions cannot go below that.
    """
    # 1 - σ(x) = σ(-x); torch's softplus would be off by 2e-9 at 20, where it turns into the identity.
    return -logsigmoid(real_logits).mean() - logsigmoid(-fake_logits).mean()


def saturating_generator(fake_logits: Tensor) -> Tensor:
    """E log(1 - σ(D(fake))): the generator's share of eq. 1; its gradient vanishes where D is sure of a fake."""
    return logsigmoid(-fake_logits).mean()


def non_saturating_generator(fake_logits: Tensor) -> Tensor:
    """-E log σ(D(fake)): Goodfellow et al. 2014, end of section 3; the gradient stays where D is sure of a fake."""
    return -logsigmoid(fake_logits).mean()


def least_squares_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """½·E (D(real) - 1)² + ½·E D(fake)²: Mao et al. 2017 (arXiv:1611.04076), eq. 2 with a = 0, b = 1."""
    return ((real_logits - 1).square().mean() + fake_logits.square().mean()) / 2


def least_squares_generator(fake_logits: Tensor) -> Tensor:
    """½·E (D(fake) - 1)²: Mao et al. 2017, eq. 2 with c = 1."""
    return (fake_logits - 1).square().mean() / 2


def hinge_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """E max(0, 1 - D(real)) + E max(0, 1 + D(fake)): Lim & Ye 2017 (arXiv:1705.02894); Miyato et al. 2018
    (arXiv:1802.05957), eq. 16, negated."""
    return (1 - real_logits).relu().mean() + (1 + fake_logits).relu().mean()


def hinge_generator(fake_logits: Tensor) -> Tensor:
    """-E D(fake): Miyato et al. 2018, eq. 17."""
    return -fake_logits.mean()


non_saturating = AdversarialLoss(minimax_discriminator, non_saturating_generator)
saturating = AdversarialLoss(minimax_discriminator, saturating_generator)
least_squares = AdversarialLoss(least_squares_discriminator, least_squares_generator)
hinge = AdversarialLoss(hinge_discriminator, hinge_generator)

ADVERSARIAL: dict[str, AdversarialLoss] = {
    "non_saturating": non_saturating,
    "saturating": saturating,
    "least_squares": least_squares,
    "hinge": hinge,
}
"""The losses by the names that settings use."""


def bernoulli_log_likelihood(logits: Tensor, images: Tensor) -> Tensor:
    """Σ x·log σ(l) + (1 - x)·log(1 - σ(l)) over the pixels of each image, in nats, [N]: the ELBO's reconstruction term
    (Kingma & Welling 2014, arXiv:1312.6114, appendix C.1), the negative of binary cross-entropy.

    A pixel between 0 and 1 counts as the chance that a black-and-white one is white: the result is the mean
    log-likelihood of images that are drawn so. Its largest value, at σ(l) = x, is minus the entropy of the pixels.

    Args:
        logits: [N, ...], of p(x|z).
        images: [N, ...] in [0, 1].
    """
    return -binary_cross_entropy_with_logits(logits, images, reduction="none").flatten(1).sum(1)


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) ‖ N(0, I)) = ½ Σ (mean² + exp(log_variance) - 1 - log_variance), in nats, [N].

    Kingma & Welling 2014, appendix B, where its negative stands: the ELBO is the reconstruction term minus this. Never
    below 0, and 0 at mean 0 and log variance 0 alone. Both arguments are [N, nz].
    """
    return (mean.square() + log_variance.expm1() - log_variance).sum(1) / 2
