"""What a sweep came through a fault with, in numbers: from its records, the notes of its task, and MLflow."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from genlab.tracking.events import KINDS
from genlab.tracking.records import Records

# what every sweep says: how it begins, its trials, its end
USUAL = re.compile(
    r"\s*$|\s*\d+/\d+  trial \d+  |\S+: \d+ trials |best: |no setting that was tried|gain over the default|"
    r"train it |checkpoint: |contact sheet: |curves: |review: |then open: |pruned while |Shared connection to |"
    r"[\d-]+ [\d:,]+\s+(VINFO|INFO|WARN) (updater|docker|command_runner)\.py:|\s*To ensure this mount "
)
COLOR = re.compile(r"\x1b\[[\d;]*m")
BEGUN = re.compile(r"\S+: \d+ trials of ")


@dataclass(frozen=True)
class Outcome:
    """What is left of a sweep after a fault, and what it cost."""

    trials: int
    ended: dict[str, int]  # trials by how they ended; those that did not are under "unfinished"
    recorded_twice: list[tuple[str, int]]  # trials' epochs of which more than one event tells
    gaps: list[str]  # trials whose epochs are not 1, 2, 3, …
    trained_twice: int  # epochs that rank 0 began more than once
    seconds_lost: float  # the longest that a trial waited for its next epoch, less what is usual
    mlflow: dict[str, int]  # points and images: how many, how many are missing, how many are too many
    said: str  # what the person saw

    def __str__(self) -> str:
        ended = ", ".join(f"{count} {how}" for how, count in sorted(self.ended.items()))
        mlflow = ", ".join(f"{count} {what}" for what, count in self.mlflow.items())
        return (
            f"{self.trials} trials ({ended}); {self.seconds_lost:.0f} s lost; epochs trained twice: "
            f"{self.trained_twice}, recorded twice: {len(self.recorded_twice)}; in MLflow {mlflow}"
        )

    def assert_whole(self, trials: int, failed: int = 0) -> None:
        """Every trial ended well, but for so many that failed, and everything is recorded once."""
        assert self.trials == trials and set(self.ended) <= {"completed", "pruned", "failed"}, self
        assert self.ended.get("failed", 0) == failed, self
        assert not self.recorded_twice and not self.gaps, self
        assert self.mlflow["points"] and self.mlflow["images"], self
        assert not any(count for what, count in self.mlflow.items() if " " in what), self

    def unusual(self) -> list[str]:
        """The lines on the screen that a sweep without a fault does not have, from its first line on: what comes before
        that is of whatever started it."""
        lines = itertools.dropwhile(lambda line: not BEGUN.match(line), COLOR.sub("", self.said).splitlines())
        return [line.strip() for line in lines if not USUAL.match(line)]


class Notes:
    """The file in which the ranks of `noted.py` note what they train, and those beside it that tell them things."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.hold = self.beside("hold")  # while it is there, no trial ends

    def beside(self, ending: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{ending}")

    def lines(self) -> list[dict[str, Any]]:
        """What was noted, in order."""
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def on(self, host: str) -> list[dict[str, Any]]:
        """The lines of one host."""
        return [line for line in self.lines() if line["host"] == host]


def outcome(records: Records, notes: Notes, mlflow: dict[str, int], said: str) -> Outcome:
    """What came out of a sweep that has ended."""
    began = Counter((line["lr"], line["epoch"]) for line in notes.lines() if line["rank"] == 0)
    epochs = [event for event in records.events if isinstance(event, KINDS["epoch"])]
    told = Counter((event.trial, event.epoch) for event in epochs)
    times = {name: [event.time for event in epochs if event.trial == name] for name in records.trials}
    for event in records.events:  # a trial begins when a lane is free; the first ones wait for lanes to come up
        if isinstance(event, KINDS["trial"]) and epochs and event.time > epochs[0].time:
            times[event.trial].insert(0, event.time)
    pauses = sorted(after - before for own in times.values() for before, after in pairwise(own))
    return Outcome(
        trials=len(records.trials),
        ended=dict(Counter(trial.ends or "unfinished" for trial in records.trials.values())),
        recorded_twice=[one for one, times_told in told.items() if times_told > 1],
        gaps=[t.name for t in records.trials.values() if sorted(t.epochs) != list(range(1, len(t.epochs) + 1))],
        trained_twice=sum(times_begun - 1 for times_begun in began.values()),
        seconds_lost=pauses[-1] - pauses[len(pauses) // 2] if pauses else 0.0,
        mlflow=mlflow,
        said=said,
    )
