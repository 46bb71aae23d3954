"""Settings of an optimizer that could not update anything: named before a step, with the author's line."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genlab.tasks import SGD, Adam
from genlab.tasks.optimizers import problem

HERE = Path(__file__).name


def two(progress: float, epochs: int) -> float:
    return progress / epochs


def breaks(progress: float) -> float:
    return math.log(progress - 0.3)


class Halves:
    """A function of progress with a state of its own."""

    def __call__(self, progress: float) -> float:
        return 1 - progress / 2


@pytest.mark.parametrize(
    ("rate", "why"),
    [
        (0.5, "whose rate is the float 0.5: write a function of progress in [0, 1) that returns a factor of lr, such"),
        ("cosine", "whose rate is the str 'cosine': write a function"),
        (two, f"whose rate ({HERE}:{two.__code__.co_firstlineno} two) cannot be called with progress alone (missing"),
        (lambda: 1.0, "cannot be called with progress alone (too many positional arguments): write a function"),
        (breaks, "breaks) raises ValueError at progress 0: math domain error"),
        (torch.cos, "raises TypeError at progress 0: "),
        (lambda p: None, "returned None at progress 0: it must return a number, 0 at least"),
        (
            lambda p: torch.tensor(1 - p),
            "returned a tensor float32 [] at progress 0: it must return a float, by `math`",
        ),
        (lambda p: torch.ones(3), "returned a tensor float32 [3] at progress 0"),
        (lambda p: np.ones(2), "returned an array float64 [2] at progress 0"),
        (lambda p: math.nan, "returned the float nan at progress 0"),
        (lambda p: math.inf if p > 0.4 else 1.0, "returned the float inf at progress 0.5"),
        (lambda p: 0.5 - p, "returned the float -0.25 at progress 0.75: it must return a number, 0 at least"),
        (lambda p: "1", "returned the str '1' at progress 0"),
        (lambda p: p < 1, "returned the bool True at progress 0"),
        (lambda p: (1.0,), "returned a tuple of 1 at progress 0"),
    ],
)
@pytest.mark.parametrize("kind", [Adam, SGD])
def test_a_rate_that_is_no_function_of_progress(
    kind: Any, rate: Any, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    assert why in (problem(kind(0.1, rate=rate)) or "")


@pytest.mark.parametrize(
    "rate",
    [
        None,
        math.cos,
        math.exp,
        Halves(),
        partial(two, epochs=2),
        lambda p: 1 - p,
        lambda p: np.float32(p),
        lambda p, k=2: 1,
    ],
)
def test_a_rate_that_is_one(rate: Any) -> None:
    assert problem(Adam(0.1, rate=rate)) is None and problem(SGD(0.1, rate=rate)) is None


@pytest.mark.parametrize(
    ("optimizer", "why"),
    [
        (Adam("0.1"), "whose lr is the str '0.1': write a number, 0 at least"),  # type: ignore[arg-type]
        (Adam(-0.1), "whose lr is the float -0.1: write a number, 0 at least"),
        (Adam(math.nan), "whose lr is the float nan: "),
        (Adam(torch.tensor(0.1)), "whose lr is a tensor float32 []: "),  # type: ignore[arg-type]
        (Adam(0.1, 0.9, 1.0), "whose beta2 is 1.0: it must be below 1"),
        (Adam(0.1, True), "whose beta1 is the bool True: "),
        (SGD(0.1, weight_decay=None), "whose weight_decay is None: "),  # type: ignore[arg-type]
        (SGD(0.1, momentum=0.9, nesterov=1), "whose nesterov is the int 1: write True or False"),  # type: ignore[arg-type]
        (SGD(0.1, nesterov=True), "with nesterov=True and no momentum: give it one, such as momentum=0.9"),
    ],
)
def test_a_setting_that_torch_would_refuse(optimizer: Any, why: str) -> None:
    assert (problem(optimizer) or "").startswith(why)


def test_settings_that_are_right() -> None:
    for optimizer in (Adam(0), Adam(1, 0.0, 0.999, 1e-4), SGD(1e3), SGD(0.1, 0.9, 1e-4, True)):
        assert problem(optimizer) is None
