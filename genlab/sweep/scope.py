"""What is searched, and where: a field with conditions is searched only where other fields have certain values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from genlab.errors import GenlabError
from genlab.tasks import Config, build
from genlab.tasks.fields import check_value, written

FEW_VALUES = 64  # of a range of integers: so many are looked at one by one

Settings = dict[str, Any]
Conditions = Mapping[str, Mapping[str, Sequence[Any]]]
"""Values of other fields by field, as in `Sweep.conditions`."""


def ordered(space: Mapping[str, BaseDistribution], conditions: Conditions, sweep: str) -> dict[str, BaseDistribution]:
    """The same with each field after those that its conditions name; in their given order those without any.

    Raises:
        GenlabError: conditions that go in a circle; `sweep` names whose.
    """
    without_first = sorted(space, key=lambda name: name in conditions)
    sorter = TopologicalSorter({name: conditions.get(name, {}) for name in without_first})
    try:
        return {name: space[name] for name in sorter.static_order() if name in space}
    except CycleError as error:
        circle = " needs ".join(reversed(error.args[1]))
        raise GenlabError(f"the conditions of {sweep!r} go in a circle: {circle}") from None


def contains(distribution: BaseDistribution, value: Any) -> bool:
    """Whether a search over `distribution` may come to `value`."""
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    if not isinstance(value, (int, float)):
        return False
    low, high, step = (getattr(distribution, name) for name in ("low", "high", "step"))
    steps = (value - low) / step if step else 0.0
    return low <= value <= high and abs(steps - round(steps)) < 1e-8  # 0.3 is two steps of 0.1 from 0.1, nearly


def listed(distribution: BaseDistribution) -> list[Any] | None:
    """All values of a choice, or of a range of integers that has few; else None."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if isinstance(distribution, IntDistribution):
        values = range(distribution.low, distribution.high + 1, distribution.step)
        return list(values) if len(values) <= FEW_VALUES else None
    return None


def samples(distribution: BaseDistribution) -> list[Any]:
    """All values where they are listed, else the ends of the range: what the config must accept of it."""
    ends = [getattr(distribution, name, None) for name in ("low", "high")]
    return listed(distribution) or ends


@dataclass(frozen=True)
class Scope:
    """What is searched, and where.

    Attributes:
        kind: config class of the task.
        base: the value of each field where it is not searched.
        space: distributions of the searched fields; those that a field's conditions name come before it.
        conditions: where a field is searched that is not searched everywhere.
    """

    kind: type[Config]
    base: Mapping[str, Any]
    space: Mapping[str, BaseDistribution]
    conditions: Conditions

    def holds(self, other: str, value: Any, wanted: Sequence[Any]) -> bool:
        """Whether `value` of field `other` is one of those `wanted`, however a tuple is written. Of a float with steps
        it is enough to be nearly there."""
        value = check_value(self.kind, other, value)
        for one in (check_value(self.kind, other, one) for one in wanted):
            if value == one or (type(value) is type(one) is float and math.isclose(value, one)):
                return True
        return False

    def applies(self, name: str, settings: Mapping[str, Any]) -> bool:
        """Whether field `name` is searched where these fields before it are searched and have these values."""
        known = {**self.base, **settings}
        needs = self.conditions.get(name, {})
        return all(other in known and self.holds(other, known[other], wanted) for other, wanted in needs.items())

    def settings(self, values: Mapping[str, Any]) -> Settings:
        """Of `values`, one for each field of the space, those that are searched where the others are as they are."""
        settings: Settings = {}
        for name in self.space:
            if self.applies(name, settings):
                settings[name] = values[name]
        return settings

    def values(self) -> Settings:
        """A value for each field of the space: its default, or its first one where the default is none of them."""
        values: Settings = {}
        for name, distribution in self.space.items():
            default = [written(self.base[name])] if name in self.base else []
            values[name] = next(value for value in (*default, *samples(distribution)) if contains(distribution, value))
        return values

    def config(self, values: Mapping[str, Any]) -> Config:
        """The config of a trial with these values of the space's fields.

        Raises:
            GenlabError: the config refuses them.
        """
        return build(self.kind, {**self.base, **self.settings(values)})

    def allowed(self, other: str, wanted: Sequence[Any]) -> list[Any]:
        """Of the values `wanted` of field `other` those that a search may come to; none where it is not searched."""
        distribution = self.space.get(other)
        if isinstance(distribution, CategoricalDistribution):
            return [value for value in distribution.choices if self.holds(other, value, wanted)]
        found = [check_value(self.kind, other, value) for value in wanted] if distribution is not None else []
        return [value for value in found if distribution is not None and contains(distribution, value)]

    def searching(self, name: str, values: Mapping[str, Any]) -> Settings | None:
        """`values`, one for each field of the space, changed so that field `name` is searched; None where no setting
        searches it."""
        changed: Settings = dict(values)
        for other, wanted in self.conditions.get(name, {}).items():
            known = {**self.base, **self.settings(changed)}
            if other in known and self.holds(other, known[other], wanted):
                continue
            allowed, there = self.allowed(other, wanted), self.searching(other, changed)
            if not allowed or there is None:
                return None
            changed = {**there, other: allowed[0]}
        return changed if self.applies(name, self.settings(changed)) else None
