"""What a sweep says at its end: the best trial, what it gained, where everything lies, what is still to be done."""

from __future__ import annotations

import contextlib
import io
import shlex
from collections import Counter
from typing import Any

from genlab.errors import GenlabError
from genlab.report.contact_sheet import contact_sheet
from genlab.sweep.environment import calling
from genlab.sweep.plan import Plan
from genlab.sweep.view import View, last_line, show
from genlab.tracking.drain import Drain
from genlab.tracking.epoch_reports import EpochReport
from genlab.tracking.records import CONFIRMS, Records, TrialRecord, rank
from genlab.tracking.server import is_http, shown
from genlab.tracking.storage import Storage

SHEET = "contact_sheet.png"


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
    trials = list(records.trials.values())
    searched = [trial for trial in trials if not trial.confirms]
    completed = [trial for trial in rank(searched, plan.sweep.mode) if trial.ends == "completed"]
    confirmed = [trial for trial in rank(trials, plan.sweep.mode) if trial.confirms and trial.ends == "completed"]
    problem = _draw_sheet(records)
    again = f"{script} --storage {shlex.quote(storage.url)}"
    summary = _summary(plan, records, searched, completed, confirmed, again)
    if stopped is None:
        with contextlib.suppress(GenlabError):
            drain.notify(records.append("end", summary=summary)["n"])
    view.say("")
    _tell(plan, records, view, searched, summary, problem)
    left = drain.close()
    if left:
        why = f" ({drain.problem})" if drain.problem else ""
        view.say(
            f"MLflow at {shown(tracking_uri)} has not taken {left} events{why}. The records keep them; send them by"
        )
        view.say(f"  {calling()}genlab replay {shlex.quote(storage.url)} --sweep {records.name}")
    elif is_http(tracking_uri):
        view.say(f"review: {drain.page or shown(tracking_uri)}")
    else:
        view.say(f"review: {calling()}mlflow ui --backend-store-uri {shlex.quote(tracking_uri)}")
        if drain.page:  # none was sent if it was stopped before its first epoch
            view.say(f"then open: {drain.page}")
    if stopped is not None:
        view.say(f"stopped: {stopped}")
        view.say(f"go on with: {again} --resume {records.name}")
        return 130 if stopped == "interrupted" else 1
    return 0 if completed else 1


def _summary(
    plan: Plan,
    records: Records,
    searched: list[TrialRecord],
    completed: list[TrialRecord],
    confirmed: list[TrialRecord],
    again: str,
) -> dict[str, Any]:
    summary: dict[str, Any] = {
        "metric": plan.sweep.metric,
        "mode": plan.sweep.mode,
        "trials": len(searched),
        "ends": dict(sorted(Counter(trial.ends or "cut" for trial in searched).items())),
        "best": None,
        "objective": None,
        "gain": None,
        "command": "",
        "checkpoint": "",
        "confirmed": [
            {"trial": trial.name, "objective": trial.objective, "test": _test_metric(plan, records, trial)}
            for trial in confirmed
        ],
    }
    if not completed:
        return summary
    # what was confirmed best is best, whatever the search thought
    best = records.trials[confirmed[0].name.removeprefix(CONFIRMS)] if confirmed else completed[0]
    default = next((trial for trial in completed if trial.name == searched[0].name), None)
    summary |= {"best": best.name, "objective": best.objective}
    summary["command"] = f"{again} {_options_of(plan, best)}"
    if best.last and best.last.state:
        summary["checkpoint"] = records.storage.where(best.last.state.path)
    if default is not None and default.objective is not None and best.objective is not None:
        sign = 1 if plan.sweep.mode == "max" else -1
        summary["gain"] = sign * (best.objective - default.objective)
        summary["default_objective"] = default.objective
    return summary


def _test_metric(plan: Plan, records: Records, trial: TrialRecord) -> float | None:
    """The sweep's metric on the test data, which only a confirming trial reads."""
    with contextlib.suppress(GenlabError):
        if trial.last is not None:
            name = trial.last.report
            return (
                EpochReport.decode(records.storage.read_named(name), name.path)
                .metrics()
                .get(f"test/{plan.sweep.metric}")
            )
    return None


def _draw_sheet(records: Records) -> str | None:
    """Write the contact sheet; why not, if it cannot be."""
    try:
        sheet = io.BytesIO()
        contact_sheet(records).save(sheet, "PNG")
        records.storage.write(SHEET, sheet.getvalue())
    except Exception as error:  # a picture is no reason to lose the rest of the summary
        return f"could not be drawn: {error}"
    return None


def _options_of(plan: Plan, trial: TrialRecord) -> str:
    """The options that train `trial`'s setting alone: what was fixed for all trials, and what was found for it."""
    words = ["--scheduler fifo"] if plan.scheduler == "fifo" else []  # fewer epochs than ASHA's first rung are allowed
    for name in ("dataset", "data_root", "epochs", "seed", "seeds", "workers"):
        if name in plan.options and name not in trial.settings:
            words += [f"--{name.replace('_', '-')}", shlex.quote(str(plan.options[name]))]
    fixed = [word for word in plan.options.get("set", ()) if word.partition("=")[0] not in trial.settings]
    fixed += [f"{name}={value}" for name, value in trial.settings.items()]
    return " ".join([*words, "--trials 1", *(["--set", *map(shlex.quote, fixed)] if fixed else [])])


def _tell(
    plan: Plan,
    records: Records,
    view: View,
    searched: list[TrialRecord],
    summary: dict[str, Any],
    problem: str | None,
) -> None:
    ends = ", ".join(f"{count} {kind}" for kind, count in summary["ends"].items())
    view.say(f"{records.name}: {len(searched)} trials ({ends})")
    for trial in searched:
        if trial.ends == "failed" and trial.error:
            view.say(f"trial {trial.name} failed: {last_line(trial.error)}")
    metric = plan.sweep.metric
    if summary["best"] is None:
        view.say(f"no trial ran to the end: there is no best {metric}")
        return
    view.say(f"best: trial {summary['best']}, {metric} {show(summary['objective'])}")
    if summary["best"] == searched[0].name:
        view.say("no setting that was tried beat the default one")
    elif summary["gain"] is not None:
        default = summary["default_objective"]
        share = f" ({100 * summary['gain'] / abs(default):.0f} %)" if default else ""
        view.say(
            f"gain over the default setting, trained as long: {show(summary['gain'])}{share}, from {show(default)}"
        )
    for trial in summary["confirmed"]:
        name, test = trial["trial"].removeprefix(CONFIRMS), trial["test"]
        on_test = "" if test is None else f", on the test data {show(test)}"
        view.say(f"on fresh seeds: trial {name}, {metric} {show(trial['objective'])}{on_test}")
    view.say(f"train it again: {summary['command']}")
    view.say(f"checkpoint: {summary['checkpoint']}")
    view.say(f"contact sheet: {problem or records.storage.where(SHEET)}")
