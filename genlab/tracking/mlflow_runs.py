"""What a sweep looks like in MLflow: one parent run a sweep folder, one child run a trial, found again by tag.

Everything goes through `MlflowClient` and run ids. Whatever stops it half way, sending the same events again leaves
nothing missing and nothing doubled: points carry the report's time (MLflow stores an equal point once), an epoch's tag
`genlab.sent_epoch` is written in the batch that completes it, and images are looked for before they are sent again.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from genlab.errors import CorruptFile, last_line
from genlab.grids import grid
from genlab.tracking.epoch_reports import EpochReport
from genlab.tracking.points import epoch_points, report_points
from genlab.tracking.records import CONFIRMS, CONTACT_SHEET, CURVES, Event
from genlab.tracking.runs import MISSING, PARAM, SENT, Run, Runs
from genlab.tracking.server import EventRefused, Refused, fault, page, shown
from genlab.tracking.storage import FileName, Storage

ENDS, ERROR = "genlab.ends", "genlab.error"
ACCEPTED = "genlab.accepted_code"  # of the sweep's run: the events by which a resume went on with other code
ENDED = "genlab.ended"  # of the parent: the time of the `end` event that was sent last
STATUS = {"completed": "FINISHED", "pruned": "FINISHED", "diverged": "FAILED"}
MLFLOW_TAGS = {"user": "mlflow.user", "git_commit": "mlflow.source.git.commit", "source": "mlflow.source.name"}


class Publisher:
    """Sends the events of one sweep to one tracking server. Connects when the first event comes."""

    def __init__(self, records_folder: Storage, name: str, manifest: Mapping[str, Any], tracking_uri: str) -> None:
        """
        Args:
            records_folder: the sweep's own folder.
            name: its name, the folder's.
            manifest: as in manifest.json; "sweep" names the experiment, "environment" is a flat dict of strings.
            tracking_uri: http(s)://… or a database such as sqlite:///….
        """
        self.folder, self.name, self.manifest, self.tracking_uri = records_folder, name, manifest, tracking_uri
        self.unsent: dict[tuple[str, Any], str] = {}  # (trial, epoch or kind of event) -> why it is not there
        self._environment = {key: str(value) for key, value in dict(manifest.get("environment") or {}).items()}
        self._handlers = {
            "start": self._start,
            "data": self._data,
            "trial": self._trial,
            "epoch": self._epoch,
            "repair": self._repair,
            "error": self._error,
            "end": self._end,
        }
        self._runs: Runs | None = None  # None: not connected
        self._unsure: set[str] = set()  # trials of events whose answer was lost; "" for the sweep's own
        self._parent = Run("", "")
        self._children: dict[str, Run] = {}
        self._passed: dict[str, int] = {}  # the last epoch of each trial that went by here, sent now or earlier

    def publish(self, event: Event) -> None:
        """Send one event, unless it is there already. Events come in the order of their numbers.

        What the server or a damaged report makes impossible for this one event is noted in `unsent`, and tried again
        whenever the event comes by again.

        Raises:
            Unreachable: no answer now; publish the same event again later.
            Refused: the server will take nothing of this sweep (no such service, no permission, experiment deleted).
        """
        kind, trial = event["event"], event.get("trial", "")
        key = (trial, event["epoch"] if kind in ("epoch", "repair") else kind)
        self.connect()
        try:
            with self._faults(trial):
                if kind in self._handlers:  # others are of a newer genlab
                    self._handlers[kind](event)
        except (CorruptFile, EventRefused) as error:
            self.unsent[key] = str(error)
            if kind == "epoch":
                with contextlib.suppress(EventRefused), self._faults(trial):
                    self._note_missing(event)
        else:
            if kind != "repair":
                self.unsent.pop(key, None)

    def finish(self, summary: Mapping[str, Any], time: float) -> None:
        """Close the parent run with what came out.

        Args:
            summary: "best" (a trial's name), "objective", "gain", "metric", "mode", "command", "checkpoint"; any may
                be None or absent.
            time: when the sweep ended, seconds since 1970.
        """
        parent = self._open_parent()
        metrics = {
            name: float(summary[key])
            for name, key in (("best_objective", "objective"), ("gain", "gain"))
            if summary.get(key) is not None
        }
        tags = {f"genlab.{key}": str(summary[key]) for key in ("best", "command", "checkpoint") if summary.get(key)}
        if summary.get("best") in self._children:
            tags["genlab.best_run_id"] = self._children[summary["best"]].id
        self.runs.text(parent, json.dumps(dict(summary), indent=1), "summary.json")
        for picture in (CONTACT_SHEET, CURVES):
            with contextlib.suppress(FileNotFoundError):
                self.runs.file(parent, self.folder.read(picture), picture)
        self.runs.set_status(parent, "FINISHED", time)  # before the tag that says that all is there
        tags |= {"mlflow.note.content": _note(self.name, summary), ENDED: repr(time)}
        self.runs.log(parent, epoch_points(metrics, time, 0), tags=tags)

    @property
    def page(self) -> str | None:
        """Where a browser shows what was sent; None before anything was."""
        asked = (str(self.manifest.get(key, "")) for key in ("metric", "mode"))
        return page(self.tracking_uri, self._runs.experiment, self.name, *asked) if self._runs else None

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
                runs = Runs(self.tracking_uri, str(self.manifest.get("sweep") or self.name), self.folder)
                found = list(runs.search(self.name))
                self._children = {run.tags["genlab.trial"]: run for run in found if "genlab.trial" in run.tags}
                parents = [run for run in found if "genlab.trial" not in run.tags]
                self._parent = parents[-1] if parents else self._create_parent(runs)
                if self._parent.sent < 0:
                    runs.text(self._parent, shown(json.dumps(dict(self.manifest), indent=1)), "manifest.json")
                    runs.log(self._parent, tags={SENT: "0"})
                self._runs = runs
                self._unsure.clear()
        except EventRefused as error:
            raise Refused(str(error)) from error

    def _look_again(self, runs: Runs) -> None:
        """The sweep's own run, and those of the trials that we are unsure of. Where they cannot be had, all are looked
        for anew."""
        try:
            with self._faults():
                parent = runs.read(self._parent.id)
                for trial in self._unsure - {""}:
                    self._children.pop(trial, None)
                    for run in runs.search(self.name, trial):
                        self._children[trial] = run
        except EventRefused:
            parent = None
        if parent is None:
            self._runs = None
        else:
            self._parent = parent
            self._unsure.clear()

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

    def _start(self, event: Event) -> None:
        """Only a resume that accepted other code, or tries again what failed, has something to say."""
        for name in event.get("retry", ()):
            if (run := self._children.get(name)) is not None and run.tags.get(ENDS) == "failed":
                self._open(run)
        before, mark = self._parent.tags.get(ACCEPTED, ""), f"event {event['n']}: "
        if event.get("code") and mark not in before:
            told = f"{mark}{', '.join(event['changed'])}"
            self.runs.log(self._open_parent(), tags={ACCEPTED: f"{before}; {told}" if before else told})

    def _data(self, event: Event) -> None:
        if "genlab.data" not in self._parent.tags:
            parent, text = self._open_parent(), json.dumps(event["description"], indent=1)
            self.runs.text(parent, text, "data.json")
            if event.get("prepared"):
                self.runs.text(parent, json.dumps(event["prepared"], indent=1), "prepared.json")
            self.runs.log(parent, tags={"genlab.data": json.dumps(event["description"])})

    def _trial(self, event: Event) -> None:
        run = self._children.get(event["trial"])
        if run is not None and run.sent >= 0:
            return
        if run is None:
            tags = {"genlab.trial": event["trial"], "mlflow.parentRunId": self._open_parent().id}
            if event["trial"].startswith(CONFIRMS):
                tags["genlab.confirms"] = "true"
            if "seed" in event["config"]:
                tags["genlab.env.seed"] = str(event["config"]["seed"])
            run = self.runs.create(event["trial"], event["time"], self._tags() | tags)
            self._children[event["trial"]] = run
        self.runs.text(run, json.dumps(event["config"], indent=1), "config.json")
        settings = {key: str(value) for key, value in event["settings"].items()}
        if any(len(value) > PARAM for value in settings.values()):
            self.runs.text(run, json.dumps(event["settings"], indent=1), "settings.json")
        self.runs.log(run, params=settings, tags={SENT: "0"})

    def _epoch(self, event: Event) -> None:
        run, epoch = self._child(event), event["epoch"]
        if epoch in run.missing:
            self._send_report(run, event)
        elif epoch > run.sent:
            self._open(run)
            self._send_report(run, event)
            run.clean = True
        self._passed[event["trial"]] = max(epoch, self._passed.get(event["trial"], 0))
        self._settle(run, event)

    def _repair(self, event: Event) -> None:
        run = self._child(event)
        if event["epoch"] in run.missing:
            self._send_report(run, event)
            self.unsent.pop((event["trial"], event["epoch"]), None)

    def _error(self, event: Event) -> None:
        run = self._child(event)
        if run.tags.get(ENDS) == "failed" and run.status == "FAILED":
            return
        if run.sent > self._passed.get(event["trial"], 0):
            return  # the trial went on after this error, and that is there already
        trace = str(event["traceback"])
        self.runs.text(run, trace, "traceback.txt")
        self.runs.log(run, tags={ERROR: last_line(trace), ENDS: "failed"})
        self.runs.set_status(run, "FAILED", event["time"])

    def _end(self, event: Event) -> None:
        if event["time"] > float(self._parent.tags.get(ENDED, 0.0)):
            self.finish(event["summary"], event["time"])

    # What an epoch consists of.

    def _send_report(self, run: Run, event: Event) -> None:
        """Images first, then all points; the tag that says so rides in the last batch."""
        name = FileName(*event["report"])
        report = EpochReport.decode(self.folder.read_named(name), self.folder.where(name.path))
        epoch = event["epoch"]
        look = not run.clean or epoch in run.missing
        for i, replica in enumerate(report.replicas):
            for key, images in replica.images.items():
                if images.size:
                    suffix = f"/seed_{report.seeds[i]}" if i else ""  # replica 0 keeps the key that all runs share
                    self.runs.image(run, grid(images), f"{key}{suffix}", epoch, report.time, look)
        tags = {f"genlab.{key}": str(value) for key, value in report.host.items()}
        if epoch in run.missing:
            tags[MISSING] = ",".join(str(other) for other in sorted(run.missing - {epoch}))
        if event.get("ends"):
            tags[ENDS] = event["ends"]
        tags[SENT] = str(max(epoch, run.sent))
        self.runs.log(
            run, report_points(report), tags={key: value for key, value in tags.items() if run.tags.get(key) != value}
        )

    def _note_missing(self, event: Event) -> None:
        """The epoch cannot be sent, but those after it can, and its trial may have ended with it."""
        run, epoch = self._child(event), event["epoch"]
        run.clean = False
        if epoch not in run.missing:
            tags = {MISSING: ",".join(str(other) for other in sorted({*run.missing, epoch}))}
            tags |= {SENT: str(max(epoch, run.sent))} | ({ENDS: event["ends"]} if event.get("ends") else {})
            self.runs.log(run, tags=tags)
        self._settle(run, event)

    # Runs: found, made, opened and closed.

    def _create_parent(self, runs: Runs) -> Run:
        asked = {f"genlab.{key}": str(self.manifest[key]) for key in ("metric", "mode", "task") if key in self.manifest}
        return runs.create(self.name, float(self.manifest.get("created", 0.0)), self._tags() | asked)

    def _tags(self) -> dict[str, str]:
        """Of every run of this sweep."""
        tags = {"genlab.sweep": self.name, "mlflow.source.type": "LOCAL"}
        tags |= {f"genlab.env.{key}": value for key, value in self._environment.items()}
        return tags | {MLFLOW_TAGS[key]: value for key, value in self._environment.items() if key in MLFLOW_TAGS}

    def _child(self, event: Event) -> Run:
        try:
            return self._children[event["trial"]]
        except KeyError:
            raise EventRefused(f"trial {event['trial']} has no run: its first event could not be sent") from None

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

    def _settle(self, run: Run, event: Event) -> None:
        """Close the run if its trial ended with this epoch."""
        status = STATUS.get(event.get("ends") or "")
        if status and run.sent == event["epoch"] and run.status != status:
            self.runs.set_status(run, status, event["time"])


def _note(name: str, summary: Mapping[str, Any]) -> str:
    """What the UI shows as the run's description."""
    best, objective, gain = summary.get("best"), summary.get("objective"), summary.get("gain")
    lines = [f"Sweep **{name}**"]
    if best and objective is not None:
        lines.append(f"Best: **{best}**, {summary.get('metric', 'objective')} = {objective:.6g}")
    if gain is not None:
        lines.append(f"Gain over the default setting: {gain:.6g}")
    if summary.get("checkpoint"):
        lines.append(f"Checkpoint: `{summary['checkpoint']}`")
    if summary.get("command"):
        lines.append(f"Command: `{summary['command']}`")
    return "\n\n".join(lines)
