"""Surfaces of a few settings. How good each one is follows from chance alone, by the seed of the config: no search can
be clever on them, but one that tries a setting again has wasted a trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from surfaces.closed_form import EPOCHS, Known, falling
from surfaces.surface import Surface

from genlab.sweep import Sweep, choice, integer
from genlab.tasks import Config


@dataclass(frozen=True, kw_only=True)
class FiniteConfig(Config):
    """Fields of each kind."""

    decay: float = 0.9
    flag: bool = False
    block: Literal["plain", "residual", "attention"] = "plain"
    heads: int = 1
    depth: int = 2

    def reports(self) -> tuple[str, ...]:
        return ("error",)


class FiniteTask(Known):
    """Of a few settings."""

    Config = FiniteConfig


def finite(name: str, space: Mapping[str, Any], settings: Sequence[tuple[Any, ...]], **conditions: Any) -> Surface:
    """A surface with these settings: the values of the space's fields in their order, the default where a condition
    does not hold."""
    index = {values: i for i, values in enumerate(settings)}

    def curve(config: Mapping[str, Any]) -> list[float]:
        ranks = np.random.default_rng([config["seed"], len(index)]).permutation(len(index))
        return falling(ranks[index[tuple(config[field] for field in space)]] / (len(index) - 1), 2.0)

    sweep = Sweep(
        name="finite",
        task=FiniteTask,
        metric="error",
        settings={"epochs": EPOCHS},
        space=space,
        conditions=conditions,
    )
    return Surface(name=f"{len(index)}: {name}", sweep=sweep, curve=curve, optimum=0.0, typical=0.5)


BLOCKS = ("plain", "residual", "attention")
FINITE = [
    finite("a choice", {"decay": choice(0.9, 0.95)}, [(0.9,), (0.95,)]),
    finite("four values", {"heads": choice(1, 2, 4, 8)}, [(1,), (2,), (4,), (8,)]),
    finite(
        "bool and choice",
        {"flag": choice(False, True), "block": choice(*BLOCKS)},
        [(flag, block) for flag in (False, True) for block in BLOCKS],
    ),
    finite(
        "under a condition",
        {"block": choice(*BLOCKS), "heads": choice(1, 2, 4, 8)},
        [("plain", 1), ("residual", 1), *(("attention", heads) for heads in (1, 2, 4, 8))],
        heads={"block": ["attention"]},
    ),
    finite(
        "integers and choice",
        {"depth": integer(2, 8, step=2), "block": choice(*BLOCKS)},
        [(depth, block) for depth in (2, 4, 6, 8) for block in BLOCKS],
    ),
]
