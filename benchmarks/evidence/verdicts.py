"""From a statement and the records to a verdict, by one rule."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from scipy.stats import t as student

from genlab.errors import GenlabError

CONFIDENCE = 0.95
FEWEST = 3  # seeds that confirm or refute
COMPARISONS = ("value", "difference", "ratio")
REDUCTIONS = ("mean", "min", "max", "rising")
WINNER = "winner"
OF_A_SIDE = ("run", "where", "trial", "metric", "epochs", "take")
CONFIRMED, REFUTED, UNDECIDED = "confirmed", "refuted", "not decided"
SEEN_ONCE, INCOMPARABLE, NO_CASE, NOT_RUN = "seen once", "not comparable", "no case", "not run"
VERDICTS = (CONFIRMED, REFUTED, UNDECIDED, SEEN_ONCE, INCOMPARABLE, NO_CASE, NOT_RUN)
AS_STATED = "as stated"
RELATIVE = "relative/"  # before the name of a loss: its deviation over its mean


class Missing(Exception):
    """What a side needs is not in the records; the text says what."""


class NoValue(Missing):
    """The trial is there, but has no such number: it diverged before that epoch, or does not report it."""


class Interval(NamedTuple):
    """An estimate with its two-sided confidence interval."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Finding:
    """What became of a statement.

    Attributes:
        verdict: one of VERDICTS.
        detail: what else there is to say of it in a few words; may be empty.
        sides: by side, `a` and `b`, the value of each seed that both sides have.
        interval: of the quantity; None with fewer than two seeds.
        estimate: of the quantity; None without values.
    """

    verdict: str
    detail: str = ""
    sides: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    interval: Interval | None = None
    estimate: float | None = None


def judge_all(
    statements: Sequence[Mapping[str, Any]], runs: Mapping[str, Any], records: Mapping[str, Any]
) -> dict[str, Finding]:
    """The verdicts on all statements, by `id`. One whose `premise`, another's id, did not come out as stated is no
    case: what does not collapse cannot recover."""
    found = {one["id"]: judge(one, runs, records) for one in statements}
    return {one["id"]: _with_premise(found[one["id"]], found.get(one.get("premise", ""))) for one in statements}


def _with_premise(own: Finding, premise: Finding | None) -> Finding:
    if premise is None or own.verdict == NOT_RUN or premise.verdict == CONFIRMED or premise.detail == AS_STATED:
        return own
    return replace(own, verdict=NO_CASE, detail=f"what it presupposes is {premise.verdict}")


def judge(statement: Mapping[str, Any], runs: Mapping[str, Any], records: Mapping[str, Any]) -> Finding:
    """The verdict on one statement.

    Args:
        statement: an entry of `[[statements]]`.
        runs: `[runs]`, whose `base` says which trial a side is.
        records: by name; one that is absent was not run.

    Raises:
        GenlabError: two trials of a record fit a side, so that the statement does not say which one it means.
    """
    try:
        sides = {side: values(statement, side, runs, records) for side in ("a", "b") if side in statement}
    except Missing as missing:
        return Finding(UNDECIDED if isinstance(missing, NoValue) else NOT_RUN, str(missing))
    seeds = [seed for seed in sides["a"] if all(seed in side for side in sides.values())]
    common = {name: {seed: side[seed] for seed in seeds} for name, side in sides.items()}
    if not seeds:
        return Finding(UNDECIDED, "the sides have no seed in common", sides)
    if why := statement.get("not_comparable"):
        return Finding(INCOMPARABLE, why, common)
    try:
        found = interval_of(statement["compare"], *(list(side.values()) for side in common.values()))
    except ValueError as error:
        return Finding(UNDECIDED, str(error), common)
    verdict, detail = rule(found, statement["claim"], len(seeds))
    return Finding(verdict, detail, common, found if len(seeds) > 1 else None, found.estimate)


def rule(found: Interval, claim: Mapping[str, float], seeds: int) -> tuple[str, str]:
    """Confirmed or refuted where the whole interval lies in the claimed range or outside of it, and there are three
    seeds at least; with one seed it was seen once; else it is not decided."""
    above, below = claim.get("above", -math.inf), claim.get("below", math.inf)
    if seeds == 1:
        return SEEN_ONCE, AS_STATED if above < found.estimate < below else "the other way"
    if seeds < FEWEST:
        return UNDECIDED, f"{seeds} seeds"
    if above < found.low and found.high < below:
        return CONFIRMED, ""
    if found.high <= above or found.low >= below:
        return REFUTED, ""
    return UNDECIDED, "the interval reaches over the border"


def interval_of(compare: str, a: Sequence[float], b: Sequence[float] = ()) -> Interval:
    """Student's t interval of the mean over seeds of a, of a - b, or of a / b; that of a ratio in logarithms, so that
    its estimate is the geometric mean. Of one value both ends are infinite.

    Raises:
        ValueError: a ratio of values of which one is not positive.
    """
    if compare == "ratio":
        if min([*a, *b]) <= 0:
            raise ValueError("a ratio of values that are not all positive")
        inner = interval_of("difference", [math.log(x) for x in a], [math.log(x) for x in b])
        return Interval(*(math.exp(x) if x < math.inf else x for x in inner))
    each = list(a) if compare == "value" else [x - y for x, y in zip(a, b, strict=True)]
    mean = statistics.fmean(each)
    if len(each) < 2:
        return Interval(mean, -math.inf, math.inf)
    half = float(student.ppf((1 + CONFIDENCE) / 2, len(each) - 1)) * statistics.stdev(each) / math.sqrt(len(each))
    return Interval(mean, mean - half, mean + half)


def side_of(statement: Mapping[str, Any], side: str) -> dict[str, Any]:
    """All that says what a side is: what stands in it, and what both sides have in common."""
    return {key: statement[key] for key in OF_A_SIDE if key in statement} | dict(statement[side])


def values(
    statement: Mapping[str, Any], side: str, runs: Mapping[str, Any], records: Mapping[str, Any]
) -> dict[str, float]:
    """The number of one side for each seed.

    Raises:
        Missing: no record, or no such trial.
        NoValue: the trial has no such metric at this epoch.
        GenlabError: several trials fit.
    """
    own = side_of(statement, side)
    if own["run"] not in records:
        raise Missing(f"no record {own['run']}")
    found: dict[str, float] = {}
    trials = _trials(own, runs[own["run"]]["base"], records[own["run"]])
    for trial in trials:
        for seed, replica in trial["seeds"].items():
            if seed in found:
                raise GenlabError(f"{statement['id']}: several trials of {own['run']} fit side {side}")
            value = _value(replica, own)
            if value is not None and ("epochs" in own or trial["ends"] == "completed"):
                found[seed] = value
    if not found:
        ends = ", ".join(sorted({trial["ends"] for trial in trials}))
        raise NoValue(f"{own['run']} has no {own['metric']}{_in_words(own)}, its trial is {ends}")
    return found


def _trials(own: Mapping[str, Any], base: Mapping[str, Any], record: Mapping[str, Any]) -> list[Any]:
    wanted = {**base, **own.get("where", {})}
    if own.get("trial") == WINNER:
        found = [trial for trial in record["trials"] if trial["winner"]]
    else:
        configs = [(trial, {**record["config"], **trial["settings"]}) for trial in record["trials"]]
        found = [trial for trial, config in configs if all(config.get(key) == value for key, value in wanted.items())]
    if not found:
        what = (
            "winner" if own.get("trial") == WINNER else ", ".join(f"{k}={v}" for k, v in own.get("where", {}).items())
        )
        raise Missing(f"{own['run']} has no trial {what or 'of the base setting'}")
    return found


def _value(replica: Mapping[str, Any], own: Mapping[str, Any]) -> float | None:
    """The number of one seed; None where it is absent at an epoch that is asked for, or one epoch is asked to rise."""
    metric, epochs = own["metric"], own.get("epochs")
    if metric in replica["measures"]:
        return replica["measures"][metric]
    if metric.startswith(RELATIVE):
        loss = metric.removeprefix(RELATIVE)
        means = [value for value in _curve(replica["metrics"], loss) if value is not None]
        deviation = replica["measures"].get(f"deviation/{loss}")
        return deviation / abs(statistics.fmean(means)) if means and deviation is not None else None
    curve = _curve(replica["metrics"], metric)
    if not curve:
        return None
    first, last = (
        (len(curve), len(curve)) if epochs is None else (epochs, epochs) if isinstance(epochs, int) else epochs
    )
    chosen = [value for value in curve[first - 1 : last] if value is not None]
    if len(chosen) != last - first + 1 or (own.get("take") == "rising" and first == last):
        return None
    if own.get("take") == "rising":
        return statistics.fmean(float(y > x) for x, y in itertools.pairwise(chosen))
    return {"min": min, "max": max}.get(own.get("take", "mean"), statistics.fmean)(chosen)


def _curve(metrics: Mapping[str, Sequence[float | None]], name: str) -> list[float | None]:
    if name == "score/gap":
        pairs = zip(_curve(metrics, "score/real"), _curve(metrics, "score/fake"), strict=True)
        return [None if real is None or fake is None else real - fake for real, fake in pairs]
    return list(metrics.get(name, ()))


def _in_words(own: Mapping[str, Any]) -> str:
    epochs = own.get("epochs")
    if epochs is None:
        return ""
    return f" at epoch {epochs}" if isinstance(epochs, int) else f" at epochs {epochs[0]} to {epochs[1]}"
