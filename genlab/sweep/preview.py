"""What a dry run says: the settings, what is searched, where trials would run, and that one step of trial 0 passed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from genlab.screen import Screen
from genlab.sweep.plan import Plan, as_json, describe_resources
from genlab.sweep.sweep import in_words
from genlab.sweep.view import show
from genlab.tasks.fields import as_dict
from genlab.tracking.storage import Storage


def describe(plan: Plan, storage: Storage, space: Any, found: Mapping[str, Any]) -> None:
    """Print the plan.

    Args:
        space: lanes and the resources of a worker.
        found: of one step of trial 0 the `metrics`, whether it `diverged`, and whether it saw a `few` samples alone.
    """
    console = Screen()
    console.print(f"{plan.sweep.name}: {plan.trials} trials of at most {plan.epochs_in_words()} epochs")
    if fewer := plan.fewer_in_words():
        console.print(fewer, soft_wrap=True)
    table = Table()
    for column in ("field", "default setting", "searched over"):
        table.add_column(column)
    for name, value in as_json(as_dict(plan.first())).items():
        table.add_row(name, str(value), in_words(plan.space[name]) if name in plan.space else "")
    console.print(table)
    for number, row in enumerate(plan.grid or []):
        console.print(f"trial {number}: {row}")
    metric, how = plan.sweep.metric, f"{space.lanes} lanes of {plan.workers} x {describe_resources(space.resources)}"
    say = f"judged by {metric} ({plan.sweep.mode}), {plan.scheduler}, on {how}, records in {storage.url}"
    console.print(say, soft_wrap=True)
    after = "it diverged" if found["diverged"] else f"{metric} {show(found['metrics'][metric])}"
    on = "on one worker and a few samples" if found["few"] else "on one worker"
    console.print(f"one step of trial 0 and its evaluation passed, {on}: {after}", soft_wrap=True)
