"""A search space as numbers: settings as rows, for what must compare them."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from genlab.errors import GenlabError
from genlab.sweep.scope import Scope, Settings
from genlab.tasks import build

LOG = logging.getLogger(__name__)
REFUSED = 10_000  # settings that a config refuses, until no more are looked at
GOLDEN = (math.sqrt(5) - 1) / 2  # multiples of it, modulo 1, never come twice

Rows = np.ndarray
"""Settings [n, fields]: a number's place in its range, in [0, 1]; the index of a category; nan where not searched."""


class Space:
    """The fields of a scope's space, in its order: what a field's conditions name comes before it.

    Attributes:
        choices: how many values each field may have that is a category; 0 for numbers.
        levels: how many values each field may have; inf for numbers without steps.
    """

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.names = list(scope.space)
        self.distributions = list(scope.space.values())
        self.choices = np.array([len(d.choices) if isinstance(d, CategoricalDistribution) else 0 for d in self])
        self.levels = [_levels(d) for d in self]
        self.needs = [self._needs(name) for name in self.names]
        self.warned = False

    def _needs(self, name: str) -> list[tuple[int | None, list[float], bool]]:
        """Where a field is searched. Of each condition: the column of the field that it names, None if that is not
        searched; its places there; whether it holds where that field is not searched."""
        needs = []
        for other, wanted in self.scope.conditions.get(name, {}).items():
            by_default = other in self.scope.base and self.scope.holds(other, self.scope.base[other], wanted)
            column = self.names.index(other) if other in self.names else None
            allowed = self.scope.allowed(other, wanted)
            needs.append((column, [place(self.scope.space[other], value) for value in allowed], by_default))
        return needs

    def __iter__(self) -> Iterator[BaseDistribution]:
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

    def decode(self, row: Rows) -> Settings:
        """The settings of one row [fields]."""
        searched = [(n, d, where) for n, d, where in zip(self.names, self, row, strict=True) if not math.isnan(where)]
        return {name: values(distribution, np.array([where]))[0] for name, distribution, where in searched}

    def keys(self, rows: Rows) -> list[bytes]:
        """What tells each row [n, fields] from others: equal for rows of the same setting, as nan is not. Numbers
        without steps are the same if they differ by less than a billionth of their range."""
        rounded = np.where(np.isinf(self.levels), np.round(rows, 9), rows)
        return [row.tobytes() for row in np.nan_to_num(rounded, nan=-1.0)]

    def key(self, settings: Mapping[str, Any]) -> bytes:
        """What tells these settings from others."""
        return self.keys(self.encode(settings)[None])[0]

    def random(self, count: int, chance: np.random.Generator) -> Rows:
        """So many rows, every field drawn, also where its conditions do not hold."""
        drawn = chance.random((count, len(self)))
        return np.where(self.choices, np.floor(drawn * self.choices), drawn)

    def settle(self, rows: Rows) -> Rows:
        """The same as `encode` would give it: numbers that have steps in the middle of theirs, nan where a field's
        conditions do not hold."""
        rows = rows.copy()
        for column, distribution in enumerate(self):
            if not self.choices[column] and math.isfinite(self.levels[column]):
                found, which = np.unique(values(distribution, rows[:, column]), return_inverse=True)
                rows[:, column] = np.array([place(distribution, value) for value in found])[which]
        for column, needs in enumerate(self.needs):
            for other, allowed, by_default in needs:
                held = np.full(len(rows), by_default)
                if other is not None:
                    held = np.where(np.isnan(rows[:, other]), by_default, np.isin(rows[:, other], allowed))
                rows[~held, column] = math.nan
        return rows

    def all(self, begun: tuple[float, ...] = ()) -> Iterator[tuple[float, ...]]:
        """Each setting once, as a row; those that begin with the places `begun`. Without end where a number has no
        steps."""
        column = len(begun)
        if column == len(self):
            yield begun
            return
        places: Iterable[float] = (math.nan,)
        if all(
            by_default if other is None or math.isnan(begun[other]) else begun[other] in allowed
            for other, allowed, by_default in self.needs[column]
        ):
            places = _places(self.distributions[column])
        for one in places:
            yield from self.all((*begun, one))

    def count(self, most: int) -> int:
        """How many settings there are of which the config makes a trial; `most` where there are more, or so many that
        it refuses that they cannot be counted."""
        found = 0
        for looked, row in enumerate(self.all()):
            endless = any(math.isinf(n) and not math.isnan(one) for n, one in zip(self.levels, row, strict=True))
            if endless or found == most or looked - found == REFUSED:
                return most
            found += self._refusal(np.array(row)) is None
        return found

    def new(self, rows: Rows, tried: Collection[bytes]) -> Rows | None:
        """The first of these rows that was not tried, else the first of all settings; None where there is none left.
        What the config refuses makes no trial, and is passed over; the first time with a word."""
        for row, key in zip(rows, self.keys(rows), strict=True):
            if key not in tried and self.makes_trial(row):
                return row
        return next(self.untried(tried), None)

    def untried(self, tried: Collection[bytes]) -> Iterator[Rows]:
        """The settings that were not tried and of which the config makes a trial, each as a row, in the order of
        `all`."""
        for row in map(np.array, itertools.islice(self.all(), len(tried) + REFUSED)):
            if self.keys(row[None])[0] not in tried and self._refusal(row) is None:
                yield row

    def makes_trial(self, row: Rows) -> bool:
        """Whether the config takes this setting. The first one that it refuses is said."""
        refusal = self._refusal(row)
        if refusal is not None and not self.warned:
            self.warned = True
            LOG.warning("left out, as all settings that the config refuses: %s: %s", self.decode(row), refusal)
        return refusal is None

    def _refusal(self, row: Rows) -> str | None:
        """Why the config refuses a setting, if it does."""
        try:
            build(self.scope.kind, {**self.scope.base, **self.decode(row)})
        except GenlabError as error:
            return str(error)
        return None


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


def _levels(distribution: BaseDistribution) -> float:
    """How many values a field may have; inf for numbers without steps."""
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    low, high, step = distribution.low, distribution.high, distribution.step
    if low == high:
        return 1
    return math.inf if step is None else round((high - low) / step) + 1


def _places(distribution: BaseDistribution) -> Iterator[float]:
    """The place of each value; without end for numbers without steps."""
    if isinstance(distribution, CategoricalDistribution):
        return map(float, range(len(distribution.choices)))
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    levels, low, step = _levels(distribution), distribution.low, distribution.step
    if math.isinf(levels):
        return (turn * GOLDEN % 1 for turn in itertools.count(1))
    return (place(distribution, low + i * (step or 1)) for i in range(int(levels)))
