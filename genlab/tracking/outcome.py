"""What came out of a sweep's trials: which is best, what it gained, which might have been better, why some failed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from genlab.errors import last_line, place
from genlab.tracking.records import CONFIRMS, TrialRecord, rank


@dataclass(frozen=True)
class Outcome:
    """What came out, by one rule for the closing lines, `genlab show` and `genlab.open`.

    Attributes:
        mode: `min` or `max`.
        searched: all trials but those that confirm, in the order in which they began.
        completed: of these the ones that trained to the end, best first.
        confirmed: the confirming trials that trained to the end, best first.
        best: of what was confirmed the best, whatever the search thought; else the best of `completed`; or None.
        default: trial 0, if it trained to the end.
    """

    mode: str
    searched: list[TrialRecord]
    completed: list[TrialRecord]
    confirmed: list[TrialRecord]
    best: TrialRecord | None
    default: TrialRecord | None

    @property
    def gain(self) -> float | None:
        """By how much the best is better than the default setting, trained as long; None if either is missing."""
        if self.best is None or self.default is None:
            return None
        return self.better_by(self.best.objective, self.default.objective)

    def better_by(self, value: float | None, other: float | None) -> float | None:
        """How much better `value` is than `other`: negative where it is worse, None where one is missing."""
        if value is None or other is None:
            return None
        return value - other if self.mode == "max" else other - value

    def ahead(self) -> TrialRecord | None:
        """Of the trials that were pruned while ahead of the best one, which had then trained as long, the one with the
        greatest lead; None if there is none."""
        leads = []
        for trial in self.searched:
            if self.best is not None and trial.ends == "pruned" and trial.last is not None:
                then = self.best.epochs.get(trial.last.epoch)
                lead = self.better_by(trial.objective, then.objective) if then else None
                if lead is not None and lead > 0:
                    leads.append((lead, trial))
        return max(leads, key=lambda each: each[0])[1] if leads else None


def outcome(trials: Iterable[TrialRecord], mode: str) -> Outcome:
    """What came out of `trials`, those that confirm among them; `mode` is `min` or `max`."""
    by_name = {trial.name: trial for trial in trials}
    searched = [trial for trial in by_name.values() if not trial.confirms]
    ended = [trial for trial in rank(by_name.values(), mode) if trial.ends == "completed"]
    completed = [trial for trial in ended if not trial.confirms]
    confirmed = [trial for trial in ended if trial.confirms]
    best = next(iter([*confirmed, *completed]), None)
    if confirmed:  # records that somebody wrote may lack the trial that it confirms
        best = by_name.get(confirmed[0].name.removeprefix(CONFIRMS), confirmed[0])
    default = next((trial for trial in completed if trial is searched[0]), None)
    return Outcome(mode, searched, completed, confirmed, best, default)


class Failure(NamedTuple):
    """Trials that failed in the same place: what was raised there, in one line, and their names. `message` is the
    first one's; `alike` says that the others have the same."""

    message: str
    trials: list[str]
    alike: bool


def failures(trials: Iterable[TrialRecord]) -> list[Failure]:
    """The failed ones by the place where they failed, the largest group first."""
    groups: dict[str, list[TrialRecord]] = {}
    for trial in trials:
        if trial.error is not None:
            groups.setdefault(place(trial.error), []).append(trial)
    found = []
    for group in groups.values():
        messages = [last_line(trial.error or "") for trial in group]
        found.append(Failure(messages[0], [trial.name for trial in group], len({*messages}) == 1))
    return sorted(found, key=lambda failure: -len(failure.trials))
