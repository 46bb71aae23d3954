"""How a network is updated. Plain settings, free of torch: the loop makes optimizers of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Rate = Callable[[float], float]
"""From training progress, a Python float in [0, 1), to a factor of the learning rate."""


@dataclass(frozen=True)
class Adam:
    """Settings of Adam (Kingma & Ba 2015), of which the loop makes a `torch.optim.Adam`.

    Attributes:
        weight_decay: added to the gradient as weight_decay · weight.
        rate: factor of `lr` by training progress, such as `lambda p: 1 - p`; None for a constant rate.
    """

    lr: float
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0
    rate: Rate | None = None


@dataclass(frozen=True)
class SGD:
    """Settings of stochastic gradient descent, of which the loop makes a `torch.optim.SGD`.

    Attributes:
        weight_decay: added to the gradient as weight_decay · weight.
        rate: factor of `lr` by training progress, such as `lambda p: (1 + math.cos(math.pi * p)) / 2`; None for a
            constant rate.
    """

    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False
    rate: Rate | None = None


Optimizer = Adam | SGD
