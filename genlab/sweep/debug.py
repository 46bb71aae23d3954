"""`--debug`: trial 0 in this process, by the loop that lanes run, with its images in a folder and nothing else kept."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import math
import os
import pdb
import sys
import time
from collections.abc import Iterator
from typing import Any

from PIL import Image
from rich.console import Console
from rich.progress import Progress

from genlab.errors import GenlabError, told
from genlab.lanes.loading import Elsewhere
from genlab.screen import Screen
from genlab.sweep.plan import Plan
from genlab.sweep.view import show
from genlab.tracking.storage import Storage

REFRESH = 0.1  # seconds between two looks of the bar


def debug(plan: Plan, storage: Storage, elsewhere: Elsewhere | None) -> int:
    """Train and evaluate the first setting, epoch by epoch; the exit code.

    What the task raises comes through as it is, so that a debugger finds it. Images go to `debug/<sweep>` in the
    storage, in place of those of the last time; what has to be prepared stays there for the sweep.

    Args:
        elsewhere: a process that loads the task as a lane will; what it finds is told after the first epoch.
    """
    console, problem = Screen(), None
    folder = f"debug/{plan.sweep.name}"
    storage.clear(folder)
    try:
        with _logged(console):
            trial = _begin(plan, storage)
            while trial.epoch < trial.config.epochs:
                _advance(trial, plan.sweep.metric, console, storage, folder)
                if elsewhere is not None:
                    try:
                        elsewhere.answer()
                    except GenlabError as error:
                        problem = str(error)
                        console.print(f"here it trains, but {problem}", soft_wrap=True)
                    elsewhere = None
    except GenlabError as error:
        print(f"{plan.sweep.name}: {told(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        console.print("interrupted")
        return 130
    if problem is None:
        return 0
    print(f"{plan.sweep.name}: {problem}", file=sys.stderr)
    return 2


@contextlib.contextmanager
def _logged(console: Console) -> Iterator[None]:
    """What genlab logs is seen, as what a lane logs is."""
    handler = logging.StreamHandler(console.file)
    logger = logging.getLogger("genlab")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _begin(plan: Plan, storage: Storage) -> Any:
    """The first trial before its first epoch, on one rank."""
    import torch

    from genlab.tasks import Context, implementation
    from genlab.training import Trial, prepare, prepared

    device = "cuda:0" if plan.options.get("gpus_per_worker") != 0 and torch.cuda.is_available() else "cpu"
    kind, config = plan.task or implementation(plan.kind), plan.first()
    context = Context(device=device, data_root=plan.options.get("data_root"))
    files = prepare(kind, [config], context, storage, plan.script_digest()).files
    context = dataclasses.replace(context, prepared=prepared(config, files, context, storage))
    return Trial(kind, config, context, replicas=plan.seeds)


def _advance(trial: Any, metric: str, console: Console, storage: Storage, folder: str) -> None:
    """One epoch: a bar while it trains, then its metrics on a line and its images as files in `folder`.

    Raises:
        GenlabError: the sweep's metric is not reported.
    """
    from genlab.training import Loop

    began, epoch = time.perf_counter(), trial.epoch + 1
    bar = Progress(console=console, auto_refresh=False, transient=True, disable=not console.is_terminal)
    with bar, _breakpoints(bar):
        for replica in trial.replicas:
            if isinstance(replica, Loop):
                replica.count = lambda steps: _counted(steps, bar, f"epoch {epoch}")
        trial.advance()
    report = trial.epoch_report("0000", {})
    metrics = report.metrics()
    if metric not in metrics and not report.diverged:
        raise GenlabError(f"the task did not report {metric}, but {', '.join(sorted(metrics))}")
    shown = {name: metrics[name] for name in (metric, *metrics) if name in metrics}
    words = [f"epoch {epoch}/{trial.config.epochs}", f"{time.perf_counter() - began:.1f} s"]
    console.print("  ".join([*words, *(f"{name} {show(value)}" for name, value in shown.items())]), soft_wrap=True)
    if report.diverged:
        raise GenlabError(f"it diverged in epoch {epoch}: a loss, a score or a weight was not finite")
    if not math.isfinite(metrics[metric]):
        raise GenlabError(f"{metric} is {metrics[metric]} in epoch {epoch}: in a sweep such a trial ends as diverged")
    for key in report.replicas[0].images:
        picture = io.BytesIO()
        Image.fromarray(report.replicas[0].picture(key)).save(picture, "PNG")
        path = f"{folder}/epoch_{epoch:04d}_{key.replace('/', '_')}.png"
        storage.write(path, picture.getvalue())
        console.print(f"  {key}: {storage.where(path)}", soft_wrap=True)


@contextlib.contextmanager
def _breakpoints(bar: Progress) -> Iterator[None]:
    """The bar would write over a debugger's prompt: it goes for the rest of the epoch."""

    def stop(*arguments: Any, **named: Any) -> None:
        bar.stop()
        if "PYTHONBREAKPOINT" in os.environ:
            sys.__breakpointhook__(*arguments, **named)
        else:
            pdb.Pdb().set_trace(sys._getframe(1))  # the author's line, not this one

    sys.breakpointhook = stop
    try:
        yield
    finally:
        sys.breakpointhook = sys.__breakpointhook__


def _counted(steps: int, bar: Progress, title: str) -> Iterator[int]:
    """0 to steps - 1, while the bar follows."""
    task, drawn = bar.add_task(title, total=steps), 0.0
    for step in range(steps):
        if time.monotonic() > drawn + REFRESH:
            drawn = time.monotonic()
            bar.update(task, completed=step, refresh=True)
        yield step
