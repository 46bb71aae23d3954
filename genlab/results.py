"""What a sweep found, read from its records alone: tables, images and networks, without MLflow and without Ray.

Nothing is read before it is asked for, and metrics are read once. What is damaged is a missing cell in a table and an
error where it is asked for by name, never another value.
"""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from genlab.errors import CorruptFile, GenlabError, last_line, nearest
from genlab.report.contact_sheet import preferred
from genlab.tasks.fields import as_text
from genlab.tracking.claims import live_driver
from genlab.tracking.epoch_reports import EpochReport, ReplicaReport
from genlab.tracking.events import SweepEnded
from genlab.tracking.outcome import Outcome, outcome
from genlab.tracking.records import CONFIRMS, Records, TrialRecord, rank
from genlab.tracking.schema import as_json
from genlab.tracking.storage import MANIFEST, FileName, Storage

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from genlab.tasks import Task
    from genlab.training.checkpoints import Checkpoint

UNFINISHED = "unfinished"  # how a trial ended that has not
TRIALS = "/trials/"  # between a sweep's folder and a trial's


def open(folder: str | os.PathLike[str]) -> SweepResults:
    """What the sweep in `folder` has found until now. Of one that is still running, open it again to see more.

    Args:
        folder: of a sweep, such as `results/lsgan-20260102-030405`, or its URL.

    Raises:
        GenlabError: there is no sweep, or one of another format.
        CorruptFile: its manifest or an event is damaged.
    """
    url, trial = locate(folder)
    if trial is not None:
        raise GenlabError(f"{os.fspath(folder)} is a trial of a sweep: genlab.open({url!r}).trial({trial!r})")
    storage, name = posixpath.split(url)
    return SweepResults(Records.open(Storage(storage), name))


def locate(path: str | os.PathLike[str]) -> tuple[str, str | None]:
    """The sweep that `path` names, its absolute path or URL, and the trial in it, if it is one's folder or file. A
    trial's folder need not exist: one that failed in its first step has none.

    Raises:
        GenlabError: there is no sweep.
    """
    here = Storage(os.fspath(path))
    if here.exists(MANIFEST):
        return here.url, None
    sweep, between, rest = here.url.rpartition(TRIALS)
    if between and Storage(sweep).exists(MANIFEST):
        return sweep, rest.partition("/")[0]
    if sweeps := Records.sweeps(here):
        raise GenlabError(f"{here.url} holds {len(sweeps)} sweeps: name one of them, such as {here.where(sweeps[-1])}")
    if not here.exists(""):
        raise GenlabError(f"there is no folder {here.url}")
    raise GenlabError(f"{here.url} holds no sweep: it has no {MANIFEST}")


class SweepResults:
    """What a sweep found.

    Attributes:
        name: of its folder.
        url: of its folder, absolute.
        metric, mode: what judges a trial, and whether `min` or `max` is best.
        manifest: what was asked for, and on what it ran.
    """

    def __init__(self, records: Records) -> None:
        self.records = records
        self.name, self.url, self.manifest = records.name, records.storage.url, records.manifest
        self.metric, self.mode = self.manifest.metric, self.manifest.mode
        self._reports = _Reports(records)

    def __repr__(self) -> str:
        best = self.outcome.best
        found = f"best: trial {best.name}, {self.metric} {best.objective:.6g}" if best else "none ran to its end"
        return f"<{self.name}, {self.state}: {self.ends()}; {found}>"

    @property
    def state(self) -> str:
        """`running` while it has a driver that lives; `ended`, or `stopped` before its end."""
        if live_driver(self.records.storage) is not None:
            return "running"
        return "ended" if self.records.events and isinstance(self.records.events[-1], SweepEnded) else "stopped"

    @property
    def summary(self) -> Mapping[str, Any]:
        """What the sweep itself said when it last came to its end; empty before."""
        ended = [event.summary for event in self.records.events if isinstance(event, SweepEnded)]
        return as_json(ended[-1]) if ended else {}

    @cached_property
    def outcome(self) -> Outcome:
        """The trials, and which one is best, by the rule of the lines that a sweep prints at its end."""
        return outcome(self.records.trials.values(), self.mode)

    def ends(self) -> str:
        """In words how many trials there are, and how they ended; without those that confirm."""
        kinds = Counter(trial.ends or UNFINISHED for trial in self.outcome.searched)
        counted = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        return f"{kinds.total()} trial{'s' * (kinds.total() != 1)}" + (f" ({counted})" if counted else "")

    def ranked(self, confirming: bool = False) -> list[TrialResults]:
        """The trials, best first; those that confirm instead, if `confirming`."""
        chosen = [trial for trial in self.records.trials.values() if trial.confirms == confirming]
        return [self._trial(trial) for trial in rank(chosen, self.mode)]

    def trials(self, confirming: bool = False) -> pd.DataFrame:
        """A row a trial, best first: those that ran to their end, then the others.

        Args:
            confirming: the trials that trained a setting again on fresh seeds, instead of the search's; the column
                `confirms` names the trial whose setting it was.

        Returns:
            By name. Columns: the searched settings (of a field that a trial did not search, the value that it had),
            `objective`, `ends` (`completed`, `pruned`, `diverged`, `failed` or `unfinished`), `epoch` (its last one),
            the metrics of that epoch, and `failure`, what was raised and where. A metric that is called as a column
            before it has `metric/` before its name, a setting `setting/`. What is not there or damaged is NaN or None.
        """
        import pandas as pd

        own = self.ranked(confirming)
        swept = dict.fromkeys(name for trial in own for name in trial.settings)
        fixed = (["confirms"] if confirming else []) + ["objective", "ends", "epoch", "failure"]
        columns: dict[str, list[Any]] = {}
        for name in swept:
            columns[f"setting/{name}" if name in fixed else name] = [_as_written(trial, name) for trial in own]
        if confirming:
            columns["confirms"] = [trial.confirms for trial in own]
        columns["objective"] = [_float(trial.objective) for trial in own]
        columns["ends"] = [trial.ends for trial in own]
        columns["epoch"] = [trial.epoch for trial in own]
        metrics = [self._reports.metrics(trial.record, trial.epoch) for trial in own]
        for name in _names(metrics):
            taken = name in columns or name in fixed
            columns[f"metric/{name}" if taken else name] = [_float(one.get(name)) for one in metrics]
        columns["failure"] = [last_line(trial.error) if trial.error is not None else None for trial in own]
        return pd.DataFrame(columns, index=pd.Index([trial.name for trial in own], name="trial", dtype=object))

    def curves(self, confirming: bool = False) -> pd.DataFrame:
        """Every metric of every epoch, by trial and epoch; the trials in the order in which they began.

        Args:
            confirming: of the trials that confirm, instead of the search's.

        Returns:
            Floats; NaN where a report has no such metric, or is damaged. Of an epoch that diverged, the losses' last
            finite values. For single steps see `TrialResults.steps`.
        """
        import pandas as pd

        trials = [trial for trial in self.records.trials.values() if trial.confirms == confirming]
        keys = [(trial.name, epoch) for trial in trials for epoch in sorted(trial.epochs)]
        metrics = [self._reports.metrics(self.records.trials[name], epoch) for name, epoch in keys]
        columns = {name: [_float(one.get(name)) for one in metrics] for name in _names(metrics)}
        index = pd.MultiIndex.from_arrays([[name for name, _ in keys], [n for _, n in keys]], names=["trial", "epoch"])
        return pd.DataFrame(columns, index=index, dtype=float)

    def trial(self, name: str) -> TrialResults:
        """One trial by its name, such as `0003` or `confirm-0003`.

        Raises:
            GenlabError: there is no such trial.
        """
        if name not in self.records.trials:
            known = nearest(name, self.records.trials) if self.records.trials else "none has begun"
            raise GenlabError(f"the sweep {self.name} has no trial {name!r}: {known}")
        return self._trial(self.records.trials[name])

    def best(self) -> TrialResults:
        """The best trial of those that ran to their end; where settings were confirmed, the one that was confirmed
        best.

        Raises:
            GenlabError: none ran to its end.
        """
        if self.outcome.best is None:
            raise GenlabError(f"no trial of {self.name} ran to its end: there is no best one ({self.ends()})")
        return self._trial(self.outcome.best)

    def _trial(self, record: TrialRecord) -> TrialResults:
        return TrialResults(self, record, self._reports)


class TrialResults:
    """What one trial found.

    Attributes:
        name: such as `0003`.
        settings: what was searched, by field.
        config: every field of its config; tuples are lists.
        ends: `completed`, `pruned`, `diverged`, `failed` or `unfinished`.
        epoch: its last one, counted from 1; 0 before its first one's end.
        objective: of its last epoch; None if it has none.
        error: the whole traceback, of a trial that failed; else None.
        confirms: name of the trial whose setting this one trains again on fresh seeds; else None.
    """

    def __init__(self, sweep: SweepResults, record: TrialRecord, reports: _Reports) -> None:
        self.sweep, self.record, self._reports = sweep, record, reports
        self.name, self.objective, self.error = record.name, record.objective, record.error
        self.settings, self.config = dict(record.settings), dict(record.config)
        self.ends = record.ends or UNFINISHED
        self.epoch = record.last.epoch if record.last else 0
        self.confirms = record.name.removeprefix(CONFIRMS) if record.confirms else None

    def __repr__(self) -> str:
        value = "no objective" if self.objective is None else f"{self.sweep.metric} {self.objective:.6g}"
        return f"<trial {self.name} of {self.sweep.name}: {self.ends} after epoch {self.epoch}, {value}>"

    @property
    def metrics(self) -> dict[str, float]:
        """Of its last epoch, by name; of several seeds the mean, beside `<metric>/std` and `<metric>/seed_<seed>`.

        Raises:
            GenlabError: it has no epoch yet.
            CorruptFile: the report is damaged.
        """
        return self.report().metrics()

    def metrics_by_epoch(self) -> dict[int, Mapping[str, float]]:
        """The metrics of every epoch; empty where its report is damaged."""
        return {epoch: self._reports.metrics(self.record, epoch) for epoch in sorted(self.record.epochs)}

    def curves(self) -> pd.DataFrame:
        """Its metrics by epoch: its part of `SweepResults.curves`."""
        import pandas as pd

        found = self.metrics_by_epoch()
        columns = {name: [_float(one.get(name)) for one in found.values()] for name in _names(found.values())}
        return pd.DataFrame(columns, index=pd.Index(list(found), name="epoch", dtype=int), dtype=float)

    def steps(self) -> pd.DataFrame:
        """The losses and scores of every single step, of all of its epochs.

        Returns:
            By step, counted from 0 through all epochs; columns `epoch` and the curves by name, of several seeds
            `<name>/seed_<seed>`. The steps of an epoch whose report is damaged are missing.
        """
        import pandas as pd

        parts = []
        for epoch in sorted(self.record.epochs):
            try:
                report = self.report(epoch)
            except CorruptFile:
                continue
            curves = {}
            for seed, replica in zip(report.seeds, report.replicas, strict=True):
                for name, curve in replica.steps.items():
                    key = f"{name}/seed_{seed}" if len(report.replicas) > 1 else name
                    curves[key] = pd.Series(curve, range(report.first_step, report.first_step + len(curve)))
            if curves:
                part = pd.DataFrame(curves)
                part.insert(0, "epoch", epoch)
                parts.append(part)
        whole = pd.concat(parts) if parts else pd.DataFrame({"epoch": pd.Series(dtype=int)})
        return whole.rename_axis("step")

    def report(self, epoch: int | None = None) -> EpochReport:
        """All that an epoch reported, the last one if `epoch` is None.

        Raises:
            GenlabError: the trial has no such epoch.
            CorruptFile: the report is damaged.
        """
        return self._reports.read(self.record, self._epoch(epoch))

    def images(self, key: str | None = None, epoch: int | None = None, replica: int = 0) -> np.ndarray:
        """Images that an epoch reported.

        Args:
            key: such as `samples`; None takes what the sweep's contact sheet shows.
            epoch: None for the last one.
            replica: which one, of a trial with several seeds.

        Returns:
            uint8 [H, W, C], [N, H, W, C] or [rows, columns, H, W, C], as the task reported them.

        Raises:
            GenlabError: no such epoch, replica or images; the message names those that there are.
            CorruptFile: the report is damaged.
        """
        own, key = self._shown(key, epoch, replica)
        return own.images[key]

    def picture(self, key: str | None = None, epoch: int | None = None, replica: int = 0) -> np.ndarray:
        """`images(key, epoch, replica)` as one picture, uint8 [H, W, 3], with the labels of its rows and columns: what
        MLflow shows."""
        own, key = self._shown(key, epoch, replica)
        return own.picture(key)

    def _shown(self, key: str | None, epoch: int | None, replica: int) -> tuple[ReplicaReport, str]:
        """The replica's report and the key of its images."""
        report = self.report(epoch)
        if not 0 <= replica < len(report.replicas):
            raise GenlabError(f"trial {self.name} has {len(report.replicas)} replicas: there is no number {replica}")
        found = report.replicas[replica].images
        if key is None:
            asked = self.sweep.manifest.images
            key = asked if asked in found else preferred(found)
        if key is None or key not in found:
            known = nearest(key or "samples", found) if found else "it has none"
            raise GenlabError(
                f"the report of epoch {report.epoch} of trial {self.name} has no images {key or ''!r}: {known}"
            )
        return report.replicas[replica], key

    @property
    def checkpoint(self) -> str | None:
        """Path or URL of the state after its last epoch, for `genlab.load`; None if it has none (it diverged there)."""
        last = self.record.last
        return self.sweep.records.storage.where(last.state.path) if last and last.state else None

    def saved(self, epoch: int | None = None) -> Checkpoint:
        """The checkpoint of an epoch, the last one if `epoch` is None. Of a trial the best and the last one are kept.

        Raises:
            GenlabError: no such epoch, or a checkpoint that was not kept.
            CorruptFile: the file is damaged.
        """
        from genlab.training.checkpoints import Checkpoint

        record = self.record.epochs[self._epoch(epoch)]
        ends = (self.record.best(self.sweep.mode), self.record.last)
        kept = sorted({one.epoch for one in ends if one is not None and one.state is not None})
        if record.epoch not in kept or record.state is None:
            known = ", ".join(map(str, kept)) or "none"
            raise GenlabError(
                f"the networks of epoch {record.epoch} of trial {self.name} were not kept; those of these epochs are: "
                f"{known}"
            )
        storage = self.sweep.records.storage
        try:
            data = storage.read_named(record.state)
        except CorruptFile as error:
            if not storage.exists(record.state.path) and self.sweep.state == "running":
                raise GenlabError(f"trial {self.name} has gone on since: open the sweep again") from error
            raise
        return Checkpoint.decode(data, storage.where(record.state.path))

    def load(
        self, *, task: type[Task] | None = None, epoch: int | None = None, replica: int = 0, device: str = "cpu"
    ) -> dict[str, nn.Module]:
        """The networks of `saved(epoch)`: arguments, what is returned and errors as of `genlab.load`."""
        from genlab.training.checkpoints import load

        return load(self.saved(epoch), task=task, replica=replica, device=device)

    def _epoch(self, epoch: int | None) -> int:
        wanted = self.epoch if epoch is None else epoch
        if wanted not in self.record.epochs:
            known = f"it has {', '.join(map(str, sorted(self.record.epochs)))}" if self.epoch else "it has none yet"
            raise GenlabError(f"trial {self.name} has no epoch{'' if epoch is None else f' {epoch}'}: {known}")
        return wanted


class _Reports:
    """The reports of a sweep, of which the metrics are remembered: images would take much memory."""

    def __init__(self, records: Records) -> None:
        self._storage = records.storage
        self._metrics: dict[FileName, Mapping[str, float]] = {}

    def read(self, trial: TrialRecord, epoch: int) -> EpochReport:
        name = trial.epochs[epoch].report
        report = EpochReport.read(self._storage, name)
        self._metrics[name] = report.metrics()
        return report

    def metrics(self, trial: TrialRecord, epoch: int) -> Mapping[str, float]:
        """Empty if there is no such epoch, or its report is damaged."""
        if epoch not in trial.epochs:
            return {}
        name = trial.epochs[epoch].report
        if name not in self._metrics:
            try:
                self.read(trial, epoch)
            except CorruptFile:
                self._metrics[name] = {}
        return self._metrics[name]


def _names(metrics: Iterable[Mapping[str, float]]) -> list[str]:
    """Of all metrics, in the order in which they come."""
    return list(dict.fromkeys(name for one in metrics for name in one))


def _float(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _as_written(trial: TrialResults, name: str) -> Any:
    """The value that a trial trained with; a tuple as a command line writes it."""
    value = trial.settings.get(name, trial.config.get(name))
    return as_text(tuple(value)) if isinstance(value, list) else value
