"""What is told of metrics in words and tables: what never changes, what was reported once, speeds, test data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from genlab.report.groups import Group, series
from genlab.report.page import LEFT, LINE_HEIGHT, RIGHT, WIDTH, Section, wrapped, write
from genlab.report.style import FAINT, SPEEDS, TEST, told
from genlab.report.trials import Trained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLOCKS, LONGEST = 3, 34  # names and values side by side in a table; letters of a name


class Kinds(NamedTuple):
    """Names of all metrics that are not shown by step, each once.

    Attributes:
        changing: those with a curve by epoch.
        series: those whose names differ in a number alone, test data among them.
        once: those that each trial reported in one epoch at most.
        test: those of test data.
        constant: those that are the same in every epoch of a trial.
        never: those without any finite value.
        speeds: the loop's own.
    """

    changing: list[str]
    series: list[Group]
    once: list[str]
    test: list[str]
    constant: list[str]
    never: list[str]
    speeds: list[str]


def kinds(shown: Sequence[Trained], metric: str) -> Kinds:
    """How each metric of the trials is shown; `metric` is the sweep's own, which is `changing` even if it does not."""
    by_step = {name for one in shown for name in one.steps} - {metric}
    names = dict.fromkeys(name for one in shown for own in one.metrics.values() for name in own if name not in by_step)
    found = Kinds([], [], [], [], [], [], [])
    for name in names:
        finite = [[*one.finite(name).values()] for one in shown]
        if not any(finite):
            found.never.append(name)
        elif name in SPEEDS and name != metric:
            found.speeds.append(name)
        elif name.startswith(TEST):
            found.test.append(name)
        elif max(map(len, finite)) == 1:
            found.once.append(name)
        elif name != metric and all(len(set(values)) <= 1 for values in finite):
            found.constant.append(name)
        else:
            found.changing.append(name)
    drawn = [name for name in names if name not in {*found.never, *found.speeds}]
    alive = [group for group in series(drawn) if not set(group.names) <= set(found.constant)]
    taken = {name for group in alive for name in group.names}
    first = [metric] if metric in found.changing else []  # also where it is one of a series
    return found._replace(
        changing=first + [name for name in found.changing if name not in taken and name != metric],
        series=alive,
        once=[name for name in found.once if name not in taken],
        test=[name for name in found.test if name not in taken],
        constant=[name for name in found.constant if name not in taken],
    )


def sections(shown: Sequence[Trained], metric: str, found: Kinds) -> list[Section]:
    """Tables of what has one value, then a line for each other thing that is not drawn."""
    sections = []
    several = any(len(one.metrics) > 1 for one in shown)
    for title, names in (("reported once" if several else "other metrics", found.once), ("on test data", found.test)):
        if others := [name for name in names if name != metric]:  # the sweep's own is above
            lines = math.ceil(len(others) / BLOCKS) + 1
            sections.append(Section(lines * LINE_HEIGHT + 0.2, partial(_table, shown, others), title))
    notes = [line for note in _notes(shown, found) for line in wrapped(note, 100)]
    if notes:
        sections.append(Section(len(notes) * LINE_HEIGHT + 0.2, partial(_lines, notes)))
    return sections


def value_of(one: Trained, name: str) -> str:
    """A metric's last finite value, with its spread over several seeds; "" if there is none."""
    finite = one.finite(name)
    if not finite:
        return ""
    epoch = max(finite)
    spread = one.spreads[epoch].get(name)
    return told(finite[epoch]) + (f" ± {spread:.2g}" if spread is not None else "")


def _table(shown: Sequence[Trained], names: Sequence[str], figure: Figure, top: float) -> None:
    """Names, and a column of values for each trial, in blocks side by side."""
    block = (WIDTH - LEFT - RIGHT) / BLOCKS
    lines = math.ceil(len(names) / BLOCKS)
    for i, name in enumerate(names):
        left, at = LEFT + i // lines * block, top + (i % lines + 1.8) * LINE_HEIGHT
        rights = [left + block - 0.3 - 0.95 * (len(shown) - 1 - k) for k in range(len(shown))]
        letters = LONGEST - 9 * (len(shown) - 1)
        write(figure, left, at, name if len(name) <= letters else name[: letters - 1] + "…", FAINT, va="baseline")
        for right, one in zip(rights, shown, strict=True):
            write(figure, right, at, value_of(one, name), ha="right", va="baseline")
            if i % lines == 0:
                write(figure, right, at - LINE_HEIGHT, one.role or one.called, FAINT, 8, ha="right", va="baseline")


def _lines(notes: Sequence[str], figure: Figure, top: float) -> None:
    for i, note in enumerate(notes):
        write(figure, LEFT, top + i * LINE_HEIGHT, note, FAINT)


def _notes(shown: Sequence[Trained], found: Kinds) -> Iterable[str]:
    if found.constant:
        alike = {name: {one.last(name) for one in shown} for name in found.constant}
        words = [
            f"{name} {told(shown[0].last(name))}" if len(values) == 1 else f"{name} {_each(shown, name, Trained.last)}"
            for name, values in alike.items()
        ]
        yield f"the same in every epoch: {' · '.join(words)}"
    if found.speeds:
        words = [f"{name} {_each(shown, name, _median)}" for name in found.speeds]
        yield f"median of the epochs: {' · '.join(words)}"
    if found.never:
        yield f"never finite: {', '.join(found.never)}"
    yield from _gaps(shown, found)
    if of_some := dict.fromkeys(name for one in shown for name in one.of_some):
        yield f"not reported by every seed, so without a mean: {', '.join(of_some)}"
    for one in shown:
        if one.damaged:
            yield f"left out, since damaged or missing: {_epochs(one.damaged)} of trial {one.trial.name}"


def _gaps(shown: Sequence[Trained], found: Kinds) -> Iterable[str]:
    drawn = [*found.changing, *(name for group in found.series for name in group.names)]
    for one in shown:
        missing: dict[str, list[str]] = {}
        for name in drawn:
            epochs = [n for n, own in one.metrics.items() if name in own and not np.isfinite(own[name])]
            if epochs:
                missing.setdefault(_epochs(epochs), []).append(name)
        for epochs, names in missing.items():
            yield f"not finite in {epochs} of trial {one.trial.name}: {', '.join(names)}"


def _each(shown: Sequence[Trained], name: str, of: Callable[[Trained, str], float | None]) -> str:
    """What `of` says of each trial that has the metric."""
    values = [(of(one, name), one.role if len(shown) > 1 else "") for one in shown]
    return ", ".join(told(value) + (f" ({role})" if role else "") for value, role in values if value is not None)


def _median(one: Trained, name: str) -> float | None:
    values = [*one.finite(name).values()]
    return float(np.median(values)) if values else None


def _epochs(epochs: Sequence[int]) -> str:
    return f"epoch{'s' * (len(epochs) > 1)} {', '.join(map(str, epochs))}"
