"""`genlab show`: a sweep or one of its trials, in the terminal."""

from __future__ import annotations

from typing import Annotated

import tyro

from genlab.report.contact_sheet import differences, spread
from genlab.results import UNFINISHED, SweepResults, TrialResults, locate
from genlab.results import open as open_sweep
from genlab.screen import Screen, one_line
from genlab.tasks.registry import MODULES
from genlab.tracking.events import Started, TrialBegan
from genlab.tracking.records import CONTACT_SHEET, CURVES
from genlab.tracking.state_files import held

WIDE = 200  # characters of a line where no terminal says how many it has
EPOCHS = 8  # columns of a trial's metrics


def run(path: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="PATH")]) -> int:
    """Show what a sweep found, or one of its trials, with its whole traceback if it failed.

    Args:
        path: of a sweep (results/lsgan-20260102-030405) or of a trial in it (…/trials/0003), a folder or a URL.
    """
    url, trial = locate(path)
    sweep = open_sweep(url)
    if trial is None:
        _show_sweep(sweep, wide_console())
    else:
        _show_trial(sweep.trial(trial), wide_console())
    return 0


def wide_console() -> Screen:
    """What is printed to; into a file or a pipe lines are as long as a wide terminal's."""
    console = Screen()
    if not console.is_terminal:
        console.width = WIDE
    return console


def _show_sweep(sweep: SweepResults, console: Screen) -> None:
    from rich.table import Table

    from genlab.sweep.closing import ahead_line, best_lines, failed_lines, show_command
    from genlab.sweep.view import show

    found, metric, ended = sweep.outcome, sweep.metric, sweep.summary
    better = "lower" if sweep.mode == "min" else "higher"
    lines = [f"{sweep.name}: {sweep.state}, {sweep.ends()}, judged by {metric} ({better} is better)"]
    lines += failed_lines(sweep.records.trials.values(), sweep.url)
    lines += _accepted(sweep)
    lines += best_lines(found, metric)
    if found.best is not None and found.best.name == ended.get("best"):  # the search may have gone on since
        lines.append(f"train it again: {ended['command']}")
    if (ahead := ahead_line(found, metric)) is not None:
        lines.append(ahead)
    if found.best is not None:
        lines.append(f"all of the best: {show_command(sweep.url, found.best.name)}")
    for picture, name in (("contact sheet", CONTACT_SHEET), ("curves", CURVES)):
        if sweep.records.storage.exists(name):
            lines.append(f"{picture}: {sweep.records.storage.where(name)}")
    for line in lines:
        console.print(one_line(line), soft_wrap=True)
    confirming = sweep.ranked(confirming=True)
    for title, trials in (("best first", sweep.ranked()), ("trained again on fresh seeds", confirming)):
        if not trials:
            continue
        table = Table(title=title, title_justify="left")
        test = f"test/{metric}"
        for column in ("trial", metric, *([test] if trials is confirming else []), "", "epoch", "settings"):
            table.add_column(column, overflow="fold")
        names = differences([trial.record for trial in trials]) if trials is not confirming else None
        for trial in trials:
            told = {name: value for name, value in trial.settings.items() if names is None or name in names}
            values = [show(trial.objective)]
            if trials is confirming:
                values.append(show(trial.metrics_by_epoch().get(trial.epoch, {}).get(test)))
            settings = " ".join(f"{name}={show(value)}" for name, value in told.items())
            row = (trial.name, *values, _ends(trial), f"{trial.epoch}/{trial.config['epochs']}", settings)
            table.add_row(*map(one_line, row))
        console.print(table)


def _show_trial(trial: TrialResults, console: Screen) -> None:
    from rich.table import Table

    from genlab.sweep.view import show

    sweep, storage = trial.sweep, trial.sweep.records.storage
    value = "no objective" if trial.objective is None else f"{sweep.metric} {show(trial.objective)}"
    epoch = f"{trial.epoch} of {trial.config['epochs']}"
    lines = [f"trial {trial.name} of {sweep.name}: {_ends(trial)} after epoch {epoch}, {value}"]
    if trial.confirms is not None:
        lines.append(f"trains the setting of trial {trial.confirms} again on fresh seeds")
    if trial.record.epochs:
        lines.append(f"reports and states: {storage.where(f'trials/{trial.name}')}")
    lines += _loading(trial)
    for line in lines:
        console.print(one_line(line), soft_wrap=True)
    table = Table(title="config", title_justify="left")
    for column in ("field", "value", ""):
        table.add_column(column, overflow="fold")
    for name, value in trial.config.items():
        searched = "searched" if name in trial.settings else ""
        table.add_row(one_line(name), one_line(str(trial.settings.get(name, value))), searched)
    console.print(table)
    by_epoch = trial.metrics_by_epoch()
    if by_epoch:
        epochs = [list(by_epoch)[i - 1] for i in spread(len(by_epoch), EPOCHS)]
        left_out = f", {len(by_epoch) - len(epochs)} epochs left out" if len(epochs) < len(by_epoch) else ""
        table = Table(title=f"metrics by epoch{left_out}", title_justify="left")
        for column in ("", *map(str, epochs)):
            table.add_column(column, overflow="fold", justify="right" if column else "left")
        for name in dict.fromkeys(name for metrics in by_epoch.values() for name in metrics):
            table.add_row(one_line(name), *(show(by_epoch[epoch].get(name)) for epoch in epochs))
        console.print(table)
    for epoch, metrics in by_epoch.items():
        if not metrics:
            console.print(f"the report of epoch {epoch} is damaged or missing", soft_wrap=True)
    if trial.error is not None:
        console.print(trial.error.rstrip("\n"), soft_wrap=True)


def _accepted(sweep: SweepResults) -> list[str]:
    """What a resume by `--accept-code` went on with."""
    lines = []
    for event in sweep.records.events:
        if isinstance(event, Started) and event.changed:
            before = [one.trial for one in sweep.records.events[: event.n] if isinstance(one, TrialBegan)]
            after = f"after trial {before[-1]} had begun" if before else "before any trial"
            lines.append(f"resumed with another {', '.join(event.changed)} (--accept-code), {after}")
    return lines


def _ends(trial: TrialResults) -> str:
    return "running" if trial.ends == UNFINISHED and trial.sweep.state == "running" else trial.ends


def _loading(trial: TrialResults) -> list[str]:
    """Where its last state lies, and what reads it in Python; nothing where a state holds nothing."""
    sweep, last = trial.sweep, trial.record.last
    if last is None or last.state is None:
        return []
    found = held(sweep.records.storage, last.state.path)
    lies = f"checkpoint: {trial.checkpoint}"
    if found is None:
        return [f"{lies} (missing or damaged)"]
    opened = f"genlab.open({sweep.url!r}).trial({trial.name!r})"
    task, script = sweep.manifest.task, sweep.manifest.script or "the sweep's script"
    if found.networks:
        named, where = ("", "") if task in MODULES else (f"task={task}", f", with {task} of {script}")
        return [lies, f"networks: {opened}.load({named}){where}"]
    parts = [name for name in ("tensors", "scalars") if getattr(found, name)]
    read = f"genlab.Checkpoint.read({trial.checkpoint!r}).states[0]"
    return [lies, *(f"{name}: {read}.{name}" for name in parts)] if parts else []
