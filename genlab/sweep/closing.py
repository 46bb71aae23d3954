"""Lines on what came out, for the end of a sweep and for `genlab show`."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from genlab.errors import calling
from genlab.sweep.plan import Plan
from genlab.sweep.space import Space
from genlab.sweep.view import show
from genlab.tracking.outcome import Outcome, failures
from genlab.tracking.records import TrialRecord

NAMES = 8  # of failed trials, in a line
MOST = 10  # times the default's value: a gain above is told without its share


def best_lines(found: Outcome, metric: str) -> list[str]:
    """Which trial is best, what it gained over the default setting, and which one might have been better."""
    if found.best is None:
        return [f"no trial ran to the end: there is no best {metric}"]
    lines = [f"best: trial {found.best.name}, {metric} {show(found.best.objective)}"]
    if found.best is found.default:
        if len(found.searched) > 1:
            lines.append("no setting that was tried beat the default one")
    elif found.gain is not None and found.default is not None:
        before, after = found.default.objective, found.best.objective
        gain = f"{show(found.gain)}{_share(found.gain, before, after)}, from {show(before)}"
        lines.append(f"gain over the default setting{_after(found.best, found.default)}: {gain}")
    return lines


def _share(gain: float, before: float | None, after: float | None) -> str:
    """The gain as a share of what there was before. Between values of two signs, or from nearly nothing, that would say
    nothing, and is left out."""
    if not before or after is None or (before < 0) != (after < 0) or abs(gain) > MOST * abs(before):
        return ""
    percent = 100 * gain / abs(before)
    return f" ({percent:.0f} %)" if abs(percent) >= 1 else f" ({percent:.2g} %)" if percent else ""


def _after(best: TrialRecord, default: TrialRecord) -> str:
    """For how long both were trained; rows of a grid may differ in that. Nothing where each did one epoch alone."""
    own, other = (trial.last.epoch if trial.last else 0 for trial in (best, default))
    if own != other:
        return f", after {own} epoch{'s' * (own != 1)} against {other}"
    return ", after as many epochs" if own > 1 else ""


def exhausted_line(plan: Plan, found: Outcome) -> str | None:
    """How many settings there are, where a search has tried them all."""
    space = Space(plan.scope)
    tried = {space.key(trial.settings) for trial in found.searched}
    if not plan.space or next(space.untried(tried), None) is not None:
        return None
    return f"the space is exhausted: it has {len(tried)} setting{'s' * (len(tried) != 1)}"


def ahead_line(found: Outcome, metric: str) -> str | None:
    """The pruned trial that was ahead of the best, if there is one."""
    ahead = found.ahead()
    if ahead is None or ahead.last is None or found.best is None:
        return None
    epoch = ahead.last.epoch
    values = f"{metric} {show(ahead.objective)} at epoch {epoch}, against {show(found.best.epochs[epoch].objective)}"
    return f"pruned while it was ahead of the best: trial {ahead.name}, {values}"


def failed_lines(trials: Iterable[TrialRecord], sweep: str) -> list[str]:
    """Each way to fail once: which trials, where, what was raised, and what shows the whole traceback. `sweep` is the
    path or URL of the sweep's folder."""
    lines = []
    for failure in failures(trials):
        count = len(failure.trials)
        names = ", ".join(failure.trials[:NAMES]) + (f" and {count - NAMES} more" if count > NAMES else "")
        lines.append(f"{count} trial{'s' * (count != 1)} failed: {names}")
        lines.append(f"  {failure.message}" + ("" if failure.alike else f" (trial {failure.trials[0]})"))
        lines.append(f"  the whole traceback: {show_command(sweep, failure.trials[0])}")
    return lines


def show_command(sweep: str, trial: str) -> str:
    """What shows a trial of the sweep at this path or URL."""
    path = f"{sweep}/trials/{trial}"
    return f"{calling()}genlab show {shlex.quote(path)}"
