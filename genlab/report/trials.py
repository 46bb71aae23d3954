"""What the pictures of a sweep read of one trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genlab.errors import GenlabError, last_line
from genlab.tracking.epoch_reports import EpochReport
from genlab.tracking.records import Records, TrialRecord

FAR = 1_000_000  # steps that may be missing before an epoch, with ten times those that are known: more is no gap


class Reports:
    """The reports of one trial by epoch, read when asked for; a damaged one is its error."""

    def __init__(self, records: Records, trial: TrialRecord) -> None:
        self._storage, self._trial = records.storage, trial
        self._read: dict[int, EpochReport | GenlabError] = {}

    def __getitem__(self, epoch: int) -> EpochReport | GenlabError:
        if epoch not in self._read:
            name = self._trial.epochs[epoch].report
            try:
                self._read[epoch] = EpochReport.read(self._storage, name)
            except GenlabError as error:
                self._read[epoch] = error
        return self._read[epoch]

    def take(self, epoch: int) -> EpochReport | GenlabError:
        """The report of an epoch, which is not kept: those of all epochs of a trial, with their images, are many."""
        report = self[epoch]
        del self._read[epoch]
        return report


def own_metrics(report: EpochReport) -> dict[str, float]:
    """The metrics by the names that the task gave them: of several seeds the means, without their spread and without
    each seed's own."""
    merged = report.metrics()
    return {name: merged[name] for name in report.replicas[0].metrics if name in merged}


def why_no_more(trial: TrialRecord) -> str:
    """Why a trial has no more epochs."""
    if trial.error is not None:
        return f"Failed: {last_line(trial.error)}"
    texts = {"pruned": "Stopped early by the scheduler.", "diverged": "Diverged: a loss was no longer finite."}
    return texts.get(trial.ends or "", "Ended before this epoch." if trial.ends else "Not trained yet.")


@dataclass(frozen=True)
class Trained:
    """All that a trial reported.

    Attributes:
        trial, role: which one, and what it is here, such as `best`; "" for one that was asked for.
        metrics: by epoch and name, as `own_metrics` has them.
        spreads: standard deviations over the seeds, likewise; empty where there is one seed.
        steps: losses and scores by name, float [all steps] of the first seed; NaN where there is none.
        ends: by epoch, its last step, counted from 1.
        seeds: of the last report.
        damaged: epochs whose reports are damaged or missing.
        of_some: metrics that not every seed reported: they have no mean.
    """

    trial: TrialRecord
    role: str
    metrics: Mapping[int, Mapping[str, float]]
    spreads: Mapping[int, Mapping[str, float]]
    steps: Mapping[str, np.ndarray]
    ends: Mapping[int, int]
    seeds: Sequence[int]
    damaged: Sequence[int]
    of_some: Sequence[str]

    @property
    def called(self) -> str:
        """Such as `trial 0003, best`."""
        return f"trial {self.trial.name}" + (f", {self.role}" if self.role else "")

    def finite(self, name: str) -> dict[int, float]:
        """A metric by epoch, where it is finite."""
        return {n: own[name] for n, own in self.metrics.items() if np.isfinite(own.get(name, np.nan))}

    def last(self, name: str) -> float | None:
        """A metric's last finite value; None if there is none."""
        return next(reversed([*self.finite(name).values()]), None)


def trained(records: Records, trial: TrialRecord, role: str) -> Trained:
    """Read all reports of a trial."""
    reports, damaged = Reports(records, trial), []
    metrics: dict[int, Mapping[str, float]] = {}
    spreads: dict[int, Mapping[str, float]] = {}
    pieces: list[tuple[int, Mapping[str, np.ndarray]]] = []
    ends: dict[int, int] = {}
    seeds: Sequence[int] = ()
    of_some: dict[str, None] = {}
    known = 0  # steps so far
    for epoch in sorted(trial.epochs):
        report = reports.take(epoch)
        if isinstance(report, GenlabError):
            damaged.append(epoch)
            continue
        steps = report.replicas[0].steps
        count = max(map(len, steps.values()), default=0)
        known += count
        if report.first_step > FAR + 10 * known:
            damaged.append(epoch)
            continue
        own, merged = own_metrics(report), report.metrics()
        metrics[epoch], seeds = own, report.seeds
        spreads[epoch] = {name: merged[f"{name}/std"] for name in own} if len(seeds) > 1 else {}
        of_some |= dict.fromkeys(name for replica in report.replicas for name in replica.metrics if name not in own)
        pieces.append((report.first_step, steps))
        if steps:
            ends[epoch] = report.first_step + count
    whole = {name: np.full(max(ends.values()), np.nan) for _, steps in pieces for name in steps}
    for first, steps in pieces:
        for name, curve in steps.items():
            whole[name][first : first + len(curve)] = np.where(np.isfinite(curve), curve, np.nan)
    return Trained(trial, role, metrics, spreads, whole, ends, seeds, damaged, [*of_some])
