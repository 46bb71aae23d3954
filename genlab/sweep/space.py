"""A search space as numbers: settings as rows, for what must compare them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from genlab.sweep.plan import Plan
from genlab.tasks.fields import as_dict, check_value

Rows = np.ndarray
"""Settings [n, fields]: a number's place in its range, in [0, 1]; the index of a category; nan where not searched."""


class Space:
    """The fields of a plan's space, in its order: what a field's conditions name comes before it.

    Attributes:
        choices: how many values each field may have that is a category; 0 for numbers.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.names = list(plan.space)
        self.distributions = list(plan.space.values())
        self.choices = np.array([len(d.choices) if isinstance(d, CategoricalDistribution) else 0 for d in self])
        self.defaults = as_dict(plan.config({}))

    def __iter__(self) -> Any:
        return iter(self.distributions)

    def __len__(self) -> int:
        return len(self.distributions)

    def encode(self, settings: Mapping[str, Any]) -> Rows:
        """One row [fields]."""
        return np.array(
            [
                place(d, settings[name]) if name in settings else math.nan
                for name, d in zip(self.names, self, strict=True)
            ]
        )

    def decode(self, row: Rows) -> dict[str, Any]:
        """The settings of one row [fields]."""
        searched = [(n, d, where) for n, d, where in zip(self.names, self, row, strict=True) if not math.isnan(where)]
        return {name: values(distribution, np.array([where]))[0] for name, distribution, where in searched}

    def random(self, count: int, chance: np.random.Generator) -> Rows:
        """So many rows, every field drawn, also where its conditions do not hold."""
        drawn = chance.random((count, len(self)))
        return np.where(self.choices, np.floor(drawn * self.choices), drawn)

    def settle(self, rows: Rows) -> Rows:
        """The same as `encode` would give it: numbers that have steps in the middle of theirs, nan where a field's
        conditions do not hold."""
        rows = rows.copy()
        for column, distribution in enumerate(self):
            if isinstance(distribution, (FloatDistribution, IntDistribution)) and distribution.step is not None:
                found, which = np.unique(values(distribution, rows[:, column]), return_inverse=True)
                rows[:, column] = np.array([place(distribution, value) for value in found])[which]
        for column, name in enumerate(self.names):
            for other, wanted in self.plan.sweep.conditions.get(name, {}).items():
                rows[~self._holds(rows, other, wanted), column] = math.nan
        return rows

    def _holds(self, rows: Rows, other: str, wanted: Any) -> np.ndarray:
        """Where field `other` has one of the values `wanted`; one that is not searched has its default."""

        def held(value: Any) -> Any:  # a tuple may be written as text
            return check_value(self.plan.kind, other, value)

        allowed = [held(value) for value in wanted]
        by_default = held(self.defaults[other]) in allowed
        if other not in self.names:
            return np.full(len(rows), by_default)
        column = self.names.index(other)
        searched, distribution = ~np.isnan(rows[:, column]), self.distributions[column]
        places, which = np.unique(rows[searched, column], return_inverse=True)
        result = np.full(len(rows), by_default)
        result[searched] = np.array([held(value) in allowed for value in values(distribution, places)], bool)[which]
        return result


def values(distribution: BaseDistribution, places: np.ndarray) -> list[Any]:
    """The values at `places` [n]."""
    if isinstance(distribution, CategoricalDistribution):
        return [distribution.choices[int(index)] for index in places]
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    low, high, step = distribution.low, distribution.high, distribution.step
    if isinstance(distribution, IntDistribution) and distribution.log:
        start, end = math.log(low - 0.5), math.log(high + 0.5)
        found = np.clip(np.round(np.exp(start + places * (end - start))), low, high)
    elif step is not None:
        count = _levels(distribution)
        found = low + np.minimum(np.floor(places * count), count - 1) * step
    elif distribution.log:
        found = np.clip(np.exp(math.log(low) + places * math.log(high / low)), low, high)
    else:
        found = np.clip(low + places * (high - low), low, high)
    kind = int if isinstance(distribution, IntDistribution) else float
    return [kind(value) for value in found]


def place(distribution: BaseDistribution, value: Any) -> float:
    """Where `values` finds `value`; the middle of its part of the range where that has steps."""
    if isinstance(distribution, CategoricalDistribution):
        return float(distribution.choices.index(value))
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    low, high, step = distribution.low, distribution.high, distribution.step
    if isinstance(distribution, IntDistribution) and distribution.log:
        start, end = math.log(low - 0.5), math.log(high + 0.5)
        return (math.log(value) - start) / (end - start)
    if step is not None:
        return (round((value - low) / step) + 0.5) / _levels(distribution)
    if low == high:
        return 0.5
    return math.log(value / low) / math.log(high / low) if distribution.log else (value - low) / (high - low)


def _levels(distribution: Any) -> int:
    """How many values a range with steps has."""
    return round((distribution.high - distribution.low) / distribution.step) + 1
