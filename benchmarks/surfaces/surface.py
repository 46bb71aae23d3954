"""What a search is tried on: a sweep whose curves are known without training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from genlab.sweep import Sweep


@dataclass(frozen=True)
class Surface:
    """A sweep and what its trials would report.

    Attributes:
        curve: objectives of a trial's epochs, by its whole config; shorter than its epochs where it diverges.
        optimum: the best objective that any setting ends with.
        typical: the mean over settings drawn at random, by which regret is measured.
    """

    name: str
    sweep: Sweep
    curve: Callable[[Mapping[str, Any]], list[float]]
    optimum: float
    typical: float

    @property
    def epochs(self) -> int:
        """Of a trial that nothing ends earlier."""
        return int(self.sweep.settings["epochs"])

    def regret(self, objective: float | None) -> float:
        """0 at the optimum, 1 at what a random setting ends with; 1 where no trial has ended."""
        if objective is None:
            return 1.0
        regret = (objective - self.optimum) / (self.typical - self.optimum)
        assert math.isfinite(regret) and regret > -1e-9, (self.name, objective)
        return max(0.0, regret)
