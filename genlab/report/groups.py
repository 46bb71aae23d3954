"""Which metrics share a panel: those that belong together by their names, and are of one scale."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

LINES = 6  # metrics in a panel at most
SERIES = 4  # names that differ in one number alone are a series from so many on
SCALE = 25.0  # the largest values of a panel's metrics differ by no more: a smaller one would be a flat line
TOGETHER = (("precision", "recall", "density", "coverage"),)  # of one comparison, though their names do not say so
NUMBER = re.compile(r"(.*?)((?:(?<=[_/: ])[-+])?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)")  # in eps-0.1 the - is no sign


class Group(NamedTuple):
    """Metrics of one panel.

    Attributes:
        title: what their names have in common.
        names: of the metrics.
        labels: what tells them apart, one for each.
        numbers: of a series, such as `accuracy/pgd/eps_0.01` to `accuracy/pgd/eps_0.3`, that of each, rising; else ().
        of: what a series' numbers are, such as `eps`.
    """

    title: str
    names: tuple[str, ...]
    labels: tuple[str, ...]
    numbers: tuple[float, ...] = ()
    of: str = ""


def related(names: Sequence[str], largest: Mapping[str, float]) -> list[Group]:
    """Panels for metrics, in the order of the first one of each: those whose names begin alike, up to the `/`, if their
    scales are alike, or all of them are at most 1.

    Args:
        names: of the metrics, each once.
        largest: their largest absolute values.
    """
    by_part: dict[str, list[str]] = {}
    for name in names:
        together = next((", ".join(own) for own in TOGETHER if name in own), None)
        by_part.setdefault(together or name.partition("/")[0], []).append(name)
    groups = []
    for own in by_part.values():
        parts = []
        for part in _parts(own, 1):
            are_shares = max(largest[name] for name in part) <= 1
            parts += [part] if are_shares else scales(part, largest)
        titles = [_title(part) for part in parts]
        for i, (part, title) in enumerate(zip(parts, titles, strict=True)):
            again = f" ({titles[:i].count(title) + 1} of {titles.count(title)})" if titles.count(title) > 1 else ""
            short = [name.removeprefix(f"{title}/") for name in part]
            groups.append(Group(title + again, tuple(part), tuple(short)))
    place = {name: i for i, name in enumerate(names)}
    return sorted(groups, key=lambda group: place[group.names[0]])


def series(names: Sequence[str]) -> list[Group]:
    """Metrics whose names differ in the number at their end alone: as a curve over that number."""
    stems: dict[str, dict[str, str]] = {}
    for name in names:
        if (found := NUMBER.fullmatch(name)) is not None:
            stems.setdefault(found[1], {})[name] = found[2]
    groups = []
    for stem, own in stems.items():
        rising = sorted(own, key=lambda name: float(own[name]))
        if len({float(text) for text in own.values()}) >= SERIES:
            of = stem.rpartition("/")[2].strip("_-.: ")
            labels, numbers = tuple(own[name] for name in rising), tuple(float(own[name]) for name in rising)
            groups.append(Group(f"{stem}…", tuple(rising), labels, numbers, of))
    return groups


def _parts(names: list[str], depth: int) -> list[list[str]]:
    """At most LINES in each: told apart by the next part of their names, and where that does not help, in order."""
    if len(names) <= LINES:
        return [names]
    by_part: dict[str, list[str]] = {}
    for name in names:
        by_part.setdefault("/".join(name.split("/")[: depth + 1]), []).append(name)
    alone = [own[0] for own in by_part.values() if len(own) == 1]
    parts = [alone[i : i + LINES] for i in range(0, len(alone), LINES)]
    for own in by_part.values():
        if len(own) > 1:
            parts += _parts(own, depth + 1)
    return parts


def scales(names: Sequence[str], largest: Mapping[str, float]) -> list[list[str]]:
    """Split where one would be a flat line beside another; metrics that are 0 throughout stay with the smallest."""
    rising = sorted(names, key=lambda name: largest[name])
    found: list[list[str]] = []
    base = 0.0
    for name in rising:
        if not found or (base > 0 and largest[name] > SCALE * base):
            found.append([])
            base = largest[name]
        base = base or largest[name]
        found[-1].append(name)
    place = {name: i for i, name in enumerate(names)}
    for own in found:
        own.sort(key=lambda name: place[name])
    return sorted(found, key=lambda own: place[own[0]])


def _title(names: Sequence[str]) -> str:
    """What the parts of the names have in common; all of them where that is nothing."""
    split = [name.split("/") for name in names]
    common: list[str] = []
    for parts in zip(*split, strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    return "/".join(common) or ", ".join(names)
