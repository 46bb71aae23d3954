"""What can happen to a sweep: the kinds of its events, and what is needed to begin one.

Events are written by the driver alone, in the order in which the scheduler decided. Only what an event names has
happened. A sweep's folder may come from anybody: no path in an event leads out of it.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from msgspec import Meta, field

from genlab.tracking.schema import (
    Count,
    Finite,
    Integer,
    Number,
    Record,
    Setting,
    Settings,
    Time,
    TrialName,
    checked,
)
from genlab.tracking.storage import FileName

REPORT = 1 << 31  # bytes that a report may have

Digests = dict[str, str]
"""Of the code that trains: a digest by the name of a file, or of `genlab`."""


class Event(Record, frozen=True, tag_field="event"):
    """Anything that happened.

    Attributes:
        n: its number, counted from 1 without gaps.
        time: when it was noted, seconds since 1970.
    """

    n: Number
    time: Time


class Started(Event, frozen=True, tag="start"):
    """The sweep was resumed.

    Attributes:
        options: those that were given anew.
        code, changed: digests of the code, where other code was accepted, and what differs of it.
        retry: trials that had failed and are tried again.
    """

    options: dict[str, Setting]
    code: Digests = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    retry: list[TrialName] = field(default_factory=list)


class DataSeen(Event, frozen=True, tag="data"):
    """What the data sets were, and how good what was prepared is: metrics by file."""

    description: dict[str, list[Any]]
    prepared: dict[str, dict[str, float]] = field(default_factory=dict)


class _Floats(Record, frozen=True):
    low: Finite
    high: Finite
    log: bool
    step: Finite | None


class _Integers(Record, frozen=True):
    low: Integer
    high: Integer
    log: bool
    step: Number


class _Choices(Record, frozen=True):
    choices: Annotated[list[Setting], Meta(min_length=1)]


_ATTRIBUTES = {"FloatDistribution": _Floats, "IntDistribution": _Integers, "CategoricalDistribution": _Choices}


class Distribution(Record, frozen=True):
    """What a setting was drawn from, as Optuna writes it."""

    name: Literal["FloatDistribution", "IntDistribution", "CategoricalDistribution"]
    attributes: Settings

    def __post_init__(self) -> None:
        found = checked(self.attributes, _ATTRIBUTES[self.name])
        if isinstance(found, _Choices):
            return
        if found.low > found.high or (found.log and found.low <= 0) or (found.step is not None and found.step <= 0):
            raise ValueError(f"no {self.name} goes from {found.low} to {found.high}, log {found.log}")

    def could_give(self, value: Setting) -> bool:
        """Whether a setting may have been drawn from this."""
        found = checked(self.attributes, _ATTRIBUTES[self.name])
        if isinstance(found, _Choices):
            return value in found.choices
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        rounding = 1e-9 * (abs(found.low) + abs(found.high))
        return found.low - rounding <= value <= found.high + rounding


class TrialBegan(Event, frozen=True, tag="trial"):
    """A trial began.

    Attributes:
        settings: what was searched, by field; distributions: what each was drawn from; none of a grid's.
        config: every field of its config, `epochs` and `seed` among them.
    """

    trial: TrialName
    settings: Settings
    config: Settings
    distributions: dict[str, Distribution]

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("seed", 0)):
            value = self.config.get(name)
            if type(value) is not int or value < least:
                raise ValueError(f"its config has no {name} of {least} or more")
        for name, distribution in self.distributions.items():
            if name not in self.settings or not distribution.could_give(self.settings[name]):
                raise ValueError(f"its setting {name[:80]!r} is not from the distribution on record")


class EpochDone(Event, frozen=True, tag="epoch"):
    """A trial ended an epoch.

    Attributes:
        state: None where it diverged.
        objective: the value of the sweep's metric; None where it diverged.
        ends: how the trial ended with this epoch; None if it goes on.
    """

    trial: TrialName
    epoch: Number
    report: FileName
    state: FileName | None
    objective: Finite | None
    ends: Literal["completed", "pruned", "diverged"] | None

    def __post_init__(self) -> None:
        _check_files(self.trial, self.report, self.state)


class Repaired(Event, frozen=True, tag="repair"):
    """A damaged epoch was trained again: its files are now these."""

    trial: TrialName
    epoch: Number
    report: FileName
    state: FileName | None

    def __post_init__(self) -> None:
        _check_files(self.trial, self.report, self.state)


class TrialFailed(Event, frozen=True, tag="error"):
    """A trial failed in this epoch; None where it had not begun one."""

    trial: TrialName
    epoch: Number | None
    traceback: str


class Ahead(Record, frozen=True):
    """A trial that was pruned while it was ahead of the best one, and the command that trains it to its end."""

    trial: TrialName
    epoch: Number
    objective: Finite | None
    command: str


class Confirmed(Record, frozen=True):
    """A confirming trial, by its own name; `test` is the sweep's metric on the test data, if it was read."""

    trial: TrialName
    objective: Finite | None
    test: float | None


class Summary(Record, frozen=True):
    """What a sweep says at its end.

    Attributes:
        trials, ends: how many, and how many of them ended in each way; without those that confirm.
        best: the best trial, with its `objective`, its `gain` over the default setting, the `command` that trains it
            again, and where its `checkpoint` lies.
        default_objective: of trial 0, if it ran to its end.
    """

    metric: str
    mode: Literal["min", "max"]
    trials: Count
    ends: dict[str, Count]
    best: TrialName | None
    objective: Finite | None
    gain: Finite | None
    command: str
    checkpoint: str
    ahead: Ahead | None
    confirmed: list[Confirmed]
    default_objective: Finite | None = None


class SweepEnded(Event, frozen=True, tag="end"):
    """The sweep is done. It may be extended."""

    summary: Summary


AnyEvent = Started | DataSeen | TrialBegan | EpochDone | Repaired | TrialFailed | SweepEnded
KINDS: dict[str, type[AnyEvent]] = {
    "start": Started,
    "data": DataSeen,
    "trial": TrialBegan,
    "epoch": EpochDone,
    "repair": Repaired,
    "error": TrialFailed,
    "end": SweepEnded,
}


def kind(event: AnyEvent) -> str:
    """The word for what happened, as its file has it: a key of `KINDS`."""
    return str(type(event).__struct_config__.tag)


def _check_files(trial: str, *files: FileName | None) -> None:
    """Raises ValueError for a file that is not in the trial's own folder."""
    for file in files:
        if file is None:
            continue
        if not re.fullmatch(rf"trials/{re.escape(trial)}/[A-Za-z0-9_][A-Za-z0-9_.-]*", file.path):
            raise ValueError(f"its file {file.path[:80]!r} is not in the trial's folder")
        if ".report." in file.path and file.bytes > REPORT:
            raise ValueError(f"its file {file.path} cannot have {file.bytes} bytes")
