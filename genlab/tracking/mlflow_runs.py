"""What a sweep looks like in MLflow: one parent run a sweep folder, one child run a trial, found again by tag.

Everything goes through `MlflowClient` and run ids. Whatever stops it half way, sending the same events again leaves
nothing missing and nothing doubled: points carry the report's time (MLflow stores an equal point once), an epoch's tag
`genlab.sent_epoch` is written in the batch that completes it, and images are looked for before they are sent again.
"""

from __future__ import annotations

import contextlib
import json
import posixpath
from collections.abc import Iterator, Mapping

from genlab.errors import CorruptFile, last_line
from genlab.tracking.address import shown
from genlab.tracking.artifacts import SWEEP
from genlab.tracking.doubles import find, without_doubles
from genlab.tracking.epoch_reports import EpochReport, ReplicaReport
from genlab.tracking.events import (
    AnyEvent,
    DataSeen,
    EpochDone,
    Repaired,
    Started,
    Summary,
    SweepEnded,
    TrialBegan,
    TrialFailed,
    kind,
)
from genlab.tracking.manifest import Manifest
from genlab.tracking.points import epoch_points, report_points
from genlab.tracking.records import CONFIRMS, CONTACT_SHEET, CURVES
from genlab.tracking.runs import MISSING, ORIGIN, PARAM, SENT, STORAGE, TRIAL, Run, Runs
from genlab.tracking.schema import as_json
from genlab.tracking.server import EventRefused, Refused, fault, page
from genlab.tracking.storage import MANIFEST, Storage

ENDS, ERROR = "genlab.ends", "genlab.error"
ACCEPTED = "genlab.accepted_code"  # of the sweep's run: the events by which a resume went on with other code
ENDED = "genlab.ended"  # of the parent: the time of the `end` event that was sent last
PNG = b"\x89PNG\r\n\x1a\n"  # what each such file begins with
STATUS = {"completed": "FINISHED", "pruned": "FINISHED", "diverged": "FAILED"}
MLFLOW_TAGS = {"user": "mlflow.user", "git_commit": "mlflow.source.git.commit", "source": "mlflow.source.name"}


class Publisher:
    """Sends the events of one sweep to one tracking server. Connects when the first event comes.

    Attributes:
        unsent: why an event is not there, by trial and epoch, or the kind of event.
        notes: what was done to the server beside sending, in lines.
        restored: files that had been sent, were not there any more, and were sent again.
    """

    def __init__(
        self, records_folder: Storage, name: str, manifest: Manifest, tracking_uri: str, look: bool = False
    ) -> None:
        """
        Args:
            records_folder: the sweep's own folder.
            name: its name, the folder's.
            manifest: the sweep's; `sweep` names the experiment.
            tracking_uri: http(s)://… or a database such as sqlite:///….
            look: whether files that were sent before are looked for, and sent again where they are gone.
        """
        self.folder, self.name, self.manifest, self.tracking_uri = records_folder, name, manifest, tracking_uri
        self.look, self.restored = look, 0
        self.unsent: dict[tuple[str, int | str], str] = {}
        self.notes: list[str] = []
        self._runs: Runs | None = None  # None: not connected
        self._unsure: set[str] = set()  # trials of events whose answer was lost; "" for the sweep's own
        self._parent = Run("", "")
        self._children: dict[str, Run] = {}
        self._said: tuple[str | float | None, ...] | None = None  # what the end said that went by here last
        self._passed: dict[str, int] = {}  # the last epoch of each trial that went by here, sent now or earlier

    def publish(self, event: AnyEvent) -> None:
        """Send one event, unless it is there already. Events come in the order of their numbers.

        What the server or a damaged report makes impossible for this one event is noted in `unsent`, and tried again
        whenever the event comes by again.

        Raises:
            Unreachable: no answer now; publish the same event again later.
            Refused: the server will take nothing of this sweep (no such service, no permission, experiment deleted).
        """
        trial = getattr(event, "trial", "")
        key = (trial, event.epoch if isinstance(event, EpochDone | Repaired) else kind(event))
        self.connect()
        try:
            with self._faults(trial):
                self._send(event)
        except (CorruptFile, EventRefused) as error:
            self.unsent[key] = str(error)
            if isinstance(event, EpochDone):
                with contextlib.suppress(EventRefused), self._faults(trial):
                    self._note_missing(event)
        else:
            if not isinstance(event, Repaired):
                self.unsent.pop(key, None)

    def _send(self, event: AnyEvent) -> None:
        match event:
            case Started():
                self._start(event)
            case DataSeen():
                self._data(event)
            case TrialBegan():
                self._trial(event)
            case EpochDone():
                self._epoch(event)
            case Repaired():
                self._repair(event)
            case TrialFailed():
                self._error(event)
            case SweepEnded():
                self._end(event)

    @property
    def page(self) -> str | None:
        """Where a browser shows what was sent; None before anything was."""
        asked = (self.manifest.metric, self.manifest.mode)
        return page(self.tracking_uri, self._runs.experiment, self.name, *asked) if self._runs else None

    def look_for_doubles(self) -> None:
        """At the end: a sender that calls the server by another name may have sent the same meanwhile.

        Raises:
            Unreachable, Refused: as `publish`.
        """
        if self._runs is not None:
            with self._faults():
                without_doubles(self._runs, self.name, self._runs.search(self.name), self._note)

    def interrupted(self, time: float) -> None:
        """Mark the runs that nobody is working on as KILLED; the next event of theirs sets them RUNNING again.

        Args:
            time: when the driver stopped, seconds since 1970.
        """
        if self._runs is not None:
            with self._faults():
                for run in (*self._children.values(), self._parent):
                    if run.status == "RUNNING":
                        self.runs.set_status(run, "KILLED", time)

    def connect(self) -> None:
        """Find or make the experiment and the parent run, and learn what is there; after a lost answer, what has become
        of that event's run.

        Raises:
            Unreachable, Refused: as `publish`.
        """
        if self._runs is not None and self._unsure:
            self._look_again(self._runs)
        if self._runs is not None:
            return
        try:
            with self._faults():
                self._runs = runs = Runs(self.tracking_uri, self.manifest.sweep, self.folder)
                for note in runs.notes:
                    self._note(note)
                self._children = find(runs, self.folder, self.name, self.manifest, self._note)
                self._parent = self._children.pop("", None) or self._create_parent(runs)
                manifest = shown(json.dumps(as_json(self.manifest), indent=1))
                self._files(self._parent, {MANIFEST: manifest}, anew=self._parent.sent < 0)
                if self._parent.sent < 0:
                    runs.log(self._parent, tags={SENT: "0"})
                self._unsure.clear()
        except Exception as error:
            self._runs = None
            if isinstance(error, EventRefused):
                raise Refused(str(error)) from error
            raise

    def _look_again(self, runs: Runs) -> None:
        """The sweep's own run, and those of the trials that we are unsure of. Where they cannot be had, all are looked
        for anew."""
        try:
            with self._faults():
                parent = runs.read(self._parent.id)
                for trial in self._unsure - {""}:
                    self._children.pop(trial, None)
                    self._children |= without_doubles(runs, self.name, runs.search(self.name, trial), self._note)
        except EventRefused:
            parent = None
        if parent is None:
            self._runs = None
        else:
            self._parent = parent
            self._unsure.clear()

    def _note(self, line: str) -> None:
        if line not in self.notes:
            self.notes.append(line)

    @property
    def runs(self) -> Runs:
        """The connection, which `connect` made."""
        assert self._runs is not None
        return self._runs

    @contextlib.contextmanager
    def _faults(self, trial: str = "") -> Iterator[None]:
        """Every error as one of ours. Where an answer is lost, what is there must be looked at before anything else:
        the sweep's own run, and that of the trial in question."""
        try:
            yield
        except Exception as error:
            known = fault(error, self.tracking_uri)
            if not isinstance(known, EventRefused | CorruptFile):
                self._unsure.add(trial)
            if known is error:
                raise
            raise known from error

    # One method an event.

    def _start(self, event: Started) -> None:
        """Only a resume that accepted other code, or tries again what failed, has something to say."""
        for name in event.retry:
            if (run := self._children.get(name)) is not None and run.tags.get(ENDS) == "failed":
                self._open(run)
        before, mark = self._parent.tags.get(ACCEPTED, ""), f"event {event.n}: "
        if event.code and mark not in before:
            told = f"{mark}{', '.join(event.changed)}"
            self.runs.log(self._open_parent(), tags={ACCEPTED: f"{before}; {told}" if before else told})

    def _data(self, event: DataSeen) -> None:
        anew = "genlab.data" not in self._parent.tags
        parent = self._open_parent() if anew else self._parent
        files = {"data.json": json.dumps(event.description, indent=1)}
        if event.prepared:
            files["prepared.json"] = json.dumps(event.prepared, indent=1)
        self._files(parent, files, anew)
        if anew:
            self.runs.log(parent, tags={"genlab.data": json.dumps(event.description)})

    def _trial(self, event: TrialBegan) -> None:
        run = self._children.get(event.trial)
        anew = run is None or run.sent < 0
        if run is None:
            tags = {TRIAL: event.trial, "mlflow.parentRunId": self._open_parent().id}
            if event.trial.startswith(CONFIRMS):
                tags["genlab.confirms"] = "true"
            tags["genlab.env.seed"] = str(event.config["seed"])
            run = self.runs.create(event.trial, event.time, self._tags() | tags)
            self._children[event.trial] = run
        settings = {key: str(value) for key, value in event.settings.items()}
        files = {"config.json": json.dumps(event.config, indent=1)}
        if any(len(value) > PARAM for value in settings.values()):
            files["settings.json"] = json.dumps(event.settings, indent=1)
        self._files(run, files, anew)
        if anew:
            self.runs.log(run, params=settings, tags={SENT: "0"})

    def _epoch(self, event: EpochDone) -> None:
        run, epoch = self._child(event), event.epoch
        if epoch in run.missing:
            self._send_report(run, event)
        elif epoch > run.sent:
            self._open(run)
            self._send_report(run, event)
        elif self.look:
            self._restore_images(run, event)
        self._passed[event.trial] = max(epoch, self._passed.get(event.trial, 0))
        self._settle(run, event)

    def _repair(self, event: Repaired) -> None:
        run = self._child(event)
        if event.epoch in run.missing:
            self._send_report(run, event)
            self.unsent.pop((event.trial, event.epoch), None)

    def _error(self, event: TrialFailed) -> None:
        run = self._child(event)
        if run.sent > self._passed.get(event.trial, 0):
            return  # the trial went on after this error, and that is there already
        anew = run.tags.get(ENDS) != "failed" or run.status != "FAILED"
        self._files(run, {"traceback.txt": event.traceback}, anew)
        if anew:
            self.runs.log(run, tags={ERROR: last_line(event.traceback), ENDS: "failed"})
            self.runs.set_status(run, "FAILED", event.time)

    def _end(self, event: SweepEnded) -> None:
        """Close the parent run with what came out. Points are at the step of the event's number, so that each end of a
        sweep that was extended has one of its own. Where nothing new came out there is none."""
        ended = float(self._parent.tags.get(ENDED, 0.0))
        if event.time < ended:
            self._said = _found(event.summary)
            return
        anew, summary = event.time > ended, event.summary
        news, self._said = _found(summary) != self._said, _found(summary)
        parent = self._open_parent() if anew else self._parent
        self._files(parent, {"summary.json": json.dumps(as_json(summary), indent=1)}, anew)
        for picture in (CONTACT_SHEET, CURVES):
            self._picture(parent, picture, anew)
        if not anew:
            return
        known = {"best_objective": summary.objective, "gain": summary.gain}
        metrics = {name: value for name, value in known.items() if value is not None}
        tags = {"best": summary.best, "command": summary.command, "checkpoint": summary.checkpoint}
        tags = {f"genlab.{key}": value for key, value in tags.items() if value}
        if summary.best in self._children:
            tags["genlab.best_run_id"] = self._children[summary.best].id
        self.runs.set_status(parent, "FINISHED", event.time)  # before the tag that says that all is there
        tags |= {"mlflow.note.content": _note(self.name, summary), ENDED: repr(event.time)}
        self.runs.log(parent, epoch_points(metrics, event.time, event.n) if news else None, tags=tags)

    def _picture(self, parent: Run, name: str, anew: bool) -> None:
        """One that the sweep drew at its end, if it did. What else lies under its name is sent to nobody."""
        with contextlib.suppress(FileNotFoundError):
            try:
                data = self.folder.read(name)
                if not data.startswith(PNG):
                    raise CorruptFile(f"{self.folder.where(name)} is no PNG picture: it is not sent")
                self._files(parent, {name: data}, anew)
            except CorruptFile as error:
                self.unsent["", name] = str(error)

    # What an epoch consists of.

    def _send_report(self, run: Run, event: EpochDone | Repaired) -> None:
        """Images first, then all points; the tag that says so rides in the last batch."""
        report, epoch = EpochReport.read(self.folder, event.report), event.epoch
        look = not run.clean or epoch in run.missing
        for name, replica, key in _images(report):
            self.runs.image(run, replica.picture(key), name, epoch, report.time, look)
        tags = {f"genlab.{key}": str(value) for key, value in report.host.items()}
        if epoch in run.missing:
            tags[MISSING] = ",".join(str(other) for other in sorted(run.missing - {epoch}))
        if isinstance(event, EpochDone) and event.ends:
            tags[ENDS] = event.ends
        tags[SENT] = str(max(epoch, run.sent))
        self.runs.log(
            run, report_points(report), tags={key: value for key, value in tags.items() if run.tags.get(key) != value}
        )

    def _restore_images(self, run: Run, event: EpochDone) -> None:
        """Of an epoch that was sent, send again what is not there any more."""
        report = EpochReport.read(self.folder, event.report)
        for name, replica, key in _images(report):
            if not self.runs.has_image(run, name, event.epoch):
                self.runs.image(run, replica.picture(key), name, event.epoch, report.time, look=True)
                self.restored += 1

    def _note_missing(self, event: EpochDone) -> None:
        """The epoch cannot be sent, but those after it can, and its trial may have ended with it."""
        run, epoch = self._child(event), event.epoch
        if epoch <= run.sent and epoch not in run.missing:
            return  # it is there: its report has been damaged since
        run.clean = False
        if epoch not in run.missing:
            tags = {MISSING: ",".join(str(other) for other in sorted({*run.missing, epoch}))}
            tags |= {SENT: str(max(epoch, run.sent))} | ({ENDS: event.ends} if event.ends else {})
            self.runs.log(run, tags=tags)
        self._settle(run, event)

    def _files(self, run: Run, files: Mapping[str, str | bytes], anew: bool) -> None:
        """Send these files by name; unless `anew`, those that are gone."""
        for name, data in files.items():
            gone = not anew and self.look and not self.runs.has(run, name)
            if anew or gone:
                self.runs.file(run, data.encode() if isinstance(data, str) else data, name)
                self.restored += gone

    # Runs: found, made, opened and closed.

    def _create_parent(self, runs: Runs) -> Run:
        manifest = self.manifest
        asked = {
            ORIGIN: manifest.name,
            STORAGE: posixpath.dirname(self.folder.url),
            "genlab.metric": manifest.metric,
            "genlab.mode": manifest.mode,
            "genlab.task": manifest.task,
        }
        return runs.create(self.name, manifest.created, self._tags() | asked)

    def _tags(self) -> dict[str, str]:
        """Of every run of this sweep."""
        environment = self.manifest.environment
        tags = {SWEEP: self.name, "mlflow.source.type": "LOCAL"}
        tags |= {f"genlab.env.{key}": value for key, value in environment.items()}
        return tags | {MLFLOW_TAGS[key]: value for key, value in environment.items() if key in MLFLOW_TAGS}

    def _child(self, event: EpochDone | Repaired | TrialFailed) -> Run:
        try:
            return self._children[event.trial]
        except KeyError:
            raise EventRefused(f"trial {event.trial} has no run: its first event could not be sent") from None

    def _open_parent(self) -> Run:
        if self._parent.status != "RUNNING":
            self.runs.set_status(self._parent, "RUNNING")
        return self._parent

    def _open(self, run: Run) -> None:
        """A trial goes on: its run and the sweep's are RUNNING again, and how it ended before is forgotten."""
        self._open_parent()
        if run.status != "RUNNING":
            for tag in (ENDS, ERROR):
                self.runs.delete_tag(run, tag)
            self.runs.set_status(run, "RUNNING")

    def _settle(self, run: Run, event: EpochDone) -> None:
        """Close the run if its trial ended with this epoch."""
        status = STATUS.get(event.ends or "")
        if status and run.sent == event.epoch and run.status != status:
            self.runs.set_status(run, status, event.time)


def _images(report: EpochReport) -> Iterator[tuple[str, ReplicaReport, str]]:
    """The images of a report: their name in MLflow, replica and key. Replica 0 keeps the key that all runs share."""
    for i, replica in enumerate(report.replicas):
        for key, images in replica.images.items():
            if images.size:
                yield (f"{key}/seed_{report.seeds[i]}" if i else key), replica, key


def _found(summary: Summary) -> tuple[str | float | None, ...]:
    """What came out: what the commands are, and how many trials there were, makes no new point."""
    return summary.best, summary.objective, summary.gain


def _note(name: str, summary: Summary) -> str:
    """What the UI shows as the run's description."""
    lines = [f"Sweep **{name}**"]
    if summary.best and summary.objective is not None:
        lines.append(f"Best: **{summary.best}**, {summary.metric} = {summary.objective:.6g}")
    if summary.gain is not None:
        lines.append(f"Gain over the default setting: {summary.gain:.6g}")
    if summary.checkpoint:
        lines.append(f"Checkpoint: `{summary.checkpoint}`")
    if summary.command:
        lines.append(f"Command: `{summary.command}`")
    return "\n\n".join(lines)
