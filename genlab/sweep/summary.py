"""What a sweep says at its end: the best trial, what it gained, where everything lies, what is still to be done."""

from __future__ import annotations

import contextlib
import io
import shlex
import threading
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from genlab.errors import GenlabError, StorageError, calling
from genlab.report.contact_sheet import contact_sheet
from genlab.report.curves import curves
from genlab.screen import one_line
from genlab.sweep.closing import ahead_line, best_lines, exhausted_line, failed_lines
from genlab.sweep.plan import Plan
from genlab.sweep.view import View, show
from genlab.tracking.address import is_http, shown
from genlab.tracking.drain import GRACE, Drain
from genlab.tracking.epoch_reports import EpochReport
from genlab.tracking.events import Ahead, Confirmed, Summary, SweepEnded
from genlab.tracking.outcome import Outcome, outcome
from genlab.tracking.records import CONFIRMS, CONTACT_SHEET, CURVES, Records, TrialRecord
from genlab.tracking.state_files import is_of_use
from genlab.tracking.storage import Storage

if TYPE_CHECKING:
    from PIL import Image

LONG = 3.0  # seconds of waiting for MLflow of which whoever waits is told why


def summarize(
    plan: Plan,
    records: Records,
    storage: Storage,
    drain: Drain,
    view: View,
    stopped: str | None,
    tracking_uri: str,
    script: str,
) -> int:
    """Commit and print the end of a run; the exit code. `stopped` says why it ended before its time, if it did."""
    found = outcome(records.trials.values(), plan.sweep.mode)
    sheet = _write(records, CONTACT_SHEET, lambda: _sheet(records, plan.sweep.images))
    figure = _write(records, CURVES, lambda: (curves(records), ""))
    pictures = {"contact sheet": sheet, "curves": figure}
    again = f"{script} --storage {shlex.quote(storage.url)}"
    summary = _summary(plan, records, found, again)
    if stopped is None and not _has_said(records, summary):
        try:
            drain.notify(records.append("end", summary=summary).n)
        except StorageError as error:
            stopped = str(error)
    view.say("")
    _tell(plan, records, view, found, summary, pictures, whole=stopped is None)
    left = _send_the_rest(drain, view)
    for note in drain.notes:
        view.say(note)
    if left:
        why = f" ({drain.problem})" if drain.problem else ""
        view.say(
            f"MLflow at {shown(tracking_uri)} has not taken {left} events{why}. The records keep them; send them by"
        )
        view.say(f"  {calling()}genlab replay {shlex.quote(storage.url)} --sweep {records.name}")
    if drain.page or not left:  # else it shows nothing yet
        for line in _review_lines(tracking_uri, drain.page):
            view.say(line)
    if stopped is not None:
        view.say(f"stopped: {stopped}")
        view.say(f"go on with: {again} --resume {records.name}")
        return 130 if stopped == "interrupted" else 1
    return 0 if found.completed else 1


def _review_lines(tracking_uri: str, page: str | None) -> list[str]:
    """Where MLflow shows it; no page where nothing was sent, as of a sweep that was stopped before its first epoch."""
    if is_http(tracking_uri):
        return [f"review: {page or shown(tracking_uri)}"]
    serving = f"review: {calling()}mlflow ui --backend-store-uri {shlex.quote(tracking_uri)}"
    return [serving, f"then open: {page}"] if page else [serving]


def _send_the_rest(drain: Drain, view: View) -> int:
    """Wait for the drain, and say so where that takes long; how many events it could not send."""
    said = f"sending the rest to MLflow, for {GRACE:.0f} s at most; Ctrl-C, twice, leaves it to `genlab replay`"
    saying = threading.Timer(LONG, view.say, [said])
    saying.daemon = True
    saying.start()
    try:
        return drain.close()
    finally:
        saying.cancel()


def _has_said(records: Records, summary: Summary) -> bool:
    """Whether the sweep has ended with just this before, and nothing has happened since."""
    last = records.events[-1] if records.events else None
    return isinstance(last, SweepEnded) and last.summary == summary


def _summary(plan: Plan, records: Records, found: Outcome, again: str) -> Summary:
    best, ahead = found.best, found.ahead()
    state = best.last.state if best is not None and best.last is not None else None
    return Summary(
        metric=plan.sweep.metric,
        mode=plan.sweep.mode,  # type: ignore[arg-type]
        trials=len(found.searched),
        ends=dict(sorted(Counter(trial.ends or "cut" for trial in found.searched).items())),
        best=best.name if best is not None else None,
        objective=best.objective if best is not None else None,
        gain=found.gain,
        command=f"{again} {_options_of(plan, best)}" if best is not None else "",
        checkpoint=records.storage.where(state.path) if state and is_of_use(records.storage, state.path) else "",
        ahead=_ahead(plan, ahead, again) if ahead is not None else None,
        confirmed=[
            Confirmed(trial=trial.name, objective=trial.objective, test=_test_metric(plan, records, trial))
            for trial in found.confirmed
        ],
        default_objective=found.default.objective if best is not None and found.default is not None else None,
    )


def _ahead(plan: Plan, trial: TrialRecord, again: str) -> Ahead:
    assert trial.last is not None
    command = f"{again} {_options_of(plan, trial)}"
    return Ahead(trial=trial.name, epoch=trial.last.epoch, objective=trial.objective, command=command)


def _test_metric(plan: Plan, records: Records, trial: TrialRecord) -> float | None:
    """The sweep's metric on the test data, which only a confirming trial reads."""
    with contextlib.suppress(GenlabError):
        if trial.last is not None:
            report = EpochReport.read(records.storage, trial.last.report)
            return report.metrics().get(f"test/{plan.sweep.metric}")
    return None


def _write(records: Records, name: str, draw: Callable[[], tuple[Image.Image, str]]) -> str:
    """Write the picture that `draw` makes; where it lies and what `draw` said of it, or why it cannot be drawn."""
    try:
        drawn, said = draw()
        picture = io.BytesIO()
        drawn.save(picture, "PNG")
        records.storage.write(name, picture.getvalue())
    except Exception as error:  # a picture is no reason to lose the rest of the summary
        return f"could not be drawn: {error}"
    return records.storage.where(name) + said


def _sheet(records: Records, key: str | None) -> tuple[Image.Image, str]:
    """The contact sheet. Images that no report has are said, and those that there are shown."""
    try:
        return contact_sheet(records, key), ""
    except GenlabError as error:
        return contact_sheet(records), f" ({error})"


def _options_of(plan: Plan, trial: TrialRecord) -> str:
    """The options that train `trial`'s setting alone: what was fixed for all trials, and what was found for it."""
    words: list[str] = []  # a single trial is trained to its end in any case
    for name in ("dataset", "data_root", "epochs", "seed", "seeds", "workers", "cpus_per_worker"):
        if name in plan.options:
            words += [f"--{name.replace('_', '-')}", shlex.quote(str(plan.options[name]))]
    fixed = [word for word in plan.options.get("set", ()) if word.partition("=")[0] not in trial.settings]
    fixed += [f"{name}={value}" for name, value in trial.settings.items()]
    return " ".join([*words, "--trials 1", *(["--set", *map(shlex.quote, fixed)] if fixed else [])])


def _tell(
    plan: Plan,
    records: Records,
    view: View,
    found: Outcome,
    summary: Summary,
    pictures: dict[str, str],
    whole: bool,
) -> None:
    metric = plan.sweep.metric
    ends = ", ".join(f"{count} {kind}" for kind, count in summary.ends.items())
    lines = [f"{records.name}: {len(found.searched)} trials ({ends})"]
    if whole and (exhausted := exhausted_line(plan, found)) is not None:
        lines.append(exhausted)
    lines += failed_lines(records.trials.values(), records.storage.url)
    lines += best_lines(found, metric)
    for trial in summary.confirmed:
        on_test = "" if trial.test is None else f", on the test data {show(trial.test)}"
        name = trial.trial.removeprefix(CONFIRMS)
        lines.append(f"on fresh seeds: trial {name}, {metric} {show(trial.objective)}{on_test}")
    if found.best is not None:
        lines.append(f"train it again: {summary.command}")
        if summary.checkpoint:
            lines.append(f"checkpoint: {summary.checkpoint}")
        if summary.ahead is not None and (ahead := ahead_line(found, metric)) is not None:
            lines += [ahead, f"train it to its end: {summary.ahead.command}"]
        lines += [f"{kind}: {where}" for kind, where in pictures.items()]
    for line in lines:
        view.say(one_line(line))
