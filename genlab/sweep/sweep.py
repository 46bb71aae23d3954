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
from genlab.tasks.fields import as_text, plain

MOST = 1e150  # a bound; what lies between two is finite, and so is their ratio
EXACT = 2**53  # up to here a float, by which a search reckons, holds every whole number


@dataclass(frozen=True)
class NoRange:
    """What `choice` and its kin return where nothing can be searched. They are called while a script is imported, where
    an exception would be a traceback: `main` refuses it instead, in a sentence with the name of its field.

    Attributes:
        written: the call, as `log_uniform(0, 0.1)`.
        problem: what is wrong with it, and what to write.
    """

    written: str
    problem: str


def uniform(low: float, high: float) -> FloatDistribution:
    """Any float in [low, high]. `main` refuses bounds that are no finite numbers or stand the wrong way round."""
    return _floats("uniform", low, high)


def log_uniform(low: float, high: float) -> FloatDistribution:
    """Any float in [low, high], each decade as likely as the next. As `uniform`, and `low` must be above 0."""
    return _floats("log_uniform", low, high)


def _floats(name: str, *bounds: Any) -> Any:
    low, high = map(plain, bounds)
    written = _called(name, low, high)
    for bound in (low, high):
        if type(bound) not in (int, float):
            return NoRange(written, f"{_short(bound)} is no number: write two, as in {name}(0.001, 0.1)")
        if not abs(bound) <= MOST:  # also nan
            return NoRange(written, f"{_short(bound)} is no bound: write numbers up to {MOST}")
    if low > high:
        return NoRange(written, f"its bounds stand the wrong way round: write {_called(name, high, low)}")
    if name == "log_uniform" and low < 1 / MOST:
        instead = f"{_called(name, float(f'{high / 1000:g}'), high)} or " if high > 0 else ""
        return NoRange(written, f"a logarithmic range begins above 0: write {instead}{_called('uniform', low, high)}")
    return FloatDistribution(low, high, log=name == "log_uniform")


def integer(low: int, high: int, step: int = 1) -> IntDistribution:
    """low, low + step, ... up to high. `main` refuses what are no whole numbers, bounds that stand the wrong way round,
    and a step below 1 or above the range."""
    given = [plain(value) for value in (low, high, step)]
    return _integers(given, _called("integer", *given[:2], **{"step": given[2]} if given[2] != 1 else {}))


def _integers(given: list[Any], written: str) -> Any:
    for value in given:
        if type(value) not in (int, float):
            return NoRange(written, f"{_short(value)} is no whole number: write whole ones, as in integer(16, 64)")
        if not abs(value) <= EXACT:  # also nan
            return NoRange(written, f"{_short(value)} is no bound: write whole numbers up to {EXACT}")
    low, high, step = (round(value) for value in given)
    for value in given:
        if value != round(value):
            return NoRange(written, f"{value} is no whole number: write whole ones, as in integer({low}, {high})")
    if low > high:
        return NoRange(written, f"its bounds stand the wrong way round: write integer({high}, {low})")
    if step < 1:
        return NoRange(written, "its step must be 1 at least")
    if step > max(high - low, 1):
        return NoRange(written, f"its step is longer than the range, so that {low} would be its only value")
    return IntDistribution(low, high - (high - low) % step, step=step)


def choice(*values: Any) -> CategoricalDistribution:
    """One of `values`: ints, floats, bools, texts, None or tuples of them. A tuple is searched, shown and recorded as
    it is written, such as `16:32`. `main` refuses a choice without values, and one of anything else."""
    return _choice([plain(value) for value in values])


def _choice(values: list[Any]) -> Any:
    written = _called("choice", *values)
    if not values:
        return NoRange(written, "it has no values: write them, as in choice(16, 32)")
    for value in values:
        if isinstance(value, list):
            elements = ", ".join(map(_short, value))
            return NoRange(
                written,
                f"{_short(value)} is a list: write choice({elements}) for its elements, or choice(({elements}), ...) "
                "where the field is a tuple",
            )
        if not _is_value(value):
            return NoRange(
                written,
                f"{_short(value)} is no value of a field: write the values one by one, as in choice(16, 32); each is "
                "an int, a float but not nan, a bool, a text, None or a tuple of these",
            )
    return CategoricalDistribution([as_text(value) if isinstance(value, tuple) else value for value in values])


def _is_value(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_value, value))
    return value is None or (isinstance(value, (bool, int, float, str)) and value == value)  # nan is not


def _called(name: str, *values: Any, **named: Any) -> str:
    """A call as it is written, shortened where it is long."""
    words = [_short(value) for value in values] + [f"{key}={_short(value)}" for key, value in named.items()]
    return f"{name}({', '.join(words[:8])}{', ...' * (len(words) > 8)})"


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


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

    def __post_init__(self) -> None:
        for name in ("trials", "grace_epochs", "reduction_factor", "epoch_deadline"):
            object.__setattr__(self, name, plain(getattr(self, name)))  # of numpy's numbers Python's own
