"""How a network is updated. Plain settings, free of torch: the loop makes optimizers of them."""

from __future__ import annotations

import dataclasses
import inspect
import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from genlab.tasks.returned import described, where

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
ASKED = (0.0, 0.25, 0.5, 0.75)  # at what progress a rate is tried before it is used


def problem(optimizer: Optimizer) -> str | None:
    """What is wrong with an optimizer's settings: the end of a sentence that begins with the optimizer. None where
    nothing is."""
    for field in dataclasses.fields(optimizer):
        value = getattr(optimizer, field.name)
        if field.name == "rate":
            wrong = None if value is None else _problem_of_rate(value)
        elif field.name == "nesterov":
            wrong = None if isinstance(value, bool) else f"is {described(value)}: write True or False"
        elif not _is_number(value) or value < 0:
            wrong = f"is {described(value)}: write a number, 0 at least"
        else:
            wrong = f"is {value}: it must be below 1" if field.name.startswith("beta") and value >= 1 else None
        if wrong is not None:
            return f"whose {field.name} {wrong}"
    if isinstance(optimizer, SGD) and optimizer.nesterov and not optimizer.momentum:
        return "with nesterov=True and no momentum: give it one, such as momentum=0.9"
    return None


def _problem_of_rate(rate: Any) -> str | None:
    """A rate is tried at some progress: what it cannot do there it could not do in a step."""
    example = "a function of progress in [0, 1) that returns a factor of lr, such as `lambda p: 1 - p`"
    if not callable(rate):
        return f"is {described(rate)}: write {example}"
    own = f"({where(rate)})"
    try:
        inspect.signature(rate).bind(0.0)
    except TypeError as error:
        return f"{own} cannot be called with progress alone ({error}): write {example}"
    except ValueError:  # a builtin that does not say what it takes
        pass
    for progress in ASKED:
        try:
            factor: Any = rate(progress)
        except Exception as error:  # whatever the author's code raises
            return f"{own} raises {type(error).__name__} at progress {progress:g}: {error}"
        if not _is_number(factor) or factor < 0:
            instead = "a float, by `math` in place of `torch`" if hasattr(factor, "dtype") else "a number, 0 at least"
            return f"{own} returned {described(factor)} at progress {progress:g}: it must return {instead}"
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
