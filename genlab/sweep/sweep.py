"""What a sweep script says: what is swept, over what, judged by what. Free of torch and Ray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from genlab.tasks import Task
from genlab.tasks.fields import as_text


def uniform(low: float, high: float) -> FloatDistribution:
    """Any float in [low, high]."""
    return FloatDistribution(low, high)


def log_uniform(low: float, high: float) -> FloatDistribution:
    """Any float in [low, high], each decade as likely as the next."""
    return FloatDistribution(low, high, log=True)


def integer(low: int, high: int, step: int = 1) -> IntDistribution:
    """low, low + step, ... up to high."""
    return IntDistribution(low, high, step=step)


def choice(*values: Any) -> CategoricalDistribution:
    """One of `values`. A tuple is searched, shown and recorded as it is written, such as `16:32`."""
    return CategoricalDistribution([as_text(value) if isinstance(value, tuple) else value for value in values])


def in_words(distribution: BaseDistribution) -> str:
    """What a field is searched over: `16, 32`, `0.0002 to 0.002, logarithmic`, `8 to 64 by 8`."""
    if isinstance(distribution, CategoricalDistribution):
        return ", ".join(str(value) for value in distribution.choices)
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    step = f" by {distribution.step}" if distribution.step not in (None, 1) else ""
    return f"{distribution.low} to {distribution.high}{step}" + ", logarithmic" * distribution.log


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Many trials of one task.

    Attributes:
        name: what its folders and its MLflow experiment are called.
        task: name of a task, or the class of one that the script defines.
        metric, mode: what judges a trial (its last epoch counts), and whether `min` or `max` is best.
        space: distributions by config field.
        settings: what all trials have in common where that is not the config's default.
        conditions: `{"ngf": {"spectral_norm": ["none", "both"]}}` searches ngf only where spectral_norm is one of
            these, and leaves it at its default elsewhere.
        grid: partial settings that `--grid` runs instead of a search; rows may differ in any field, also in epochs.
        trials: how many, unless `--trials` says otherwise.
        images: key of the reports' images that the contact sheet shows; None shows `samples`, or else the first.
        grace_epochs, reduction_factor: of ASHA (Li et al. 2020): the first rung, and the share 1/factor that goes on.
        epoch_deadline: seconds after which an epoch of one seed is taken to hang; its lane is started again.
    """

    name: str
    task: str | type[Task]
    metric: str
    mode: str = "min"
    space: Mapping[str, BaseDistribution] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    conditions: Mapping[str, Mapping[str, Sequence[Any]]] = field(default_factory=dict)
    grid: Sequence[Mapping[str, Any]] = ()
    trials: int = 12
    images: str | None = None
    grace_epochs: int = 1
    reduction_factor: int = 3
    epoch_deadline: float = 3600.0
