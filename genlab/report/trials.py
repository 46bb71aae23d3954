"""What the pictures of a sweep read of one trial."""

from __future__ import annotations

from genlab.errors import GenlabError, last_line
from genlab.tracking.epoch_reports import EpochReport
from genlab.tracking.records import Records, TrialRecord


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
