"""What a lane would do, in a process that begins as a lane's does: load the task and, for a dry run, train one step."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import sys
import tempfile
import threading
import time
from typing import Any

from genlab.errors import told
from genlab.lanes.loading import loaded, missing
from genlab.tasks import build


def main() -> None:
    """The process. Its standard output is for its answer alone: what the task prints goes beside it."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    order = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with, args=(order["driver"],), daemon=True).start()
    sys.path[:] = order["path"]
    logging.basicConfig(format="%(message)s")  # beside, too
    logging.getLogger("genlab").setLevel(logging.INFO)
    answer.write(json.dumps(_found(order, sys.stdin.buffer.read())))
    answer.flush()
    os._exit(0)  # nothing here is worth a tidy end


def _end_with(driver: int) -> None:
    while os.getppid() == driver:
        time.sleep(0.5)
    os._exit(1)


def _found(order: dict[str, Any], code: bytes) -> dict[str, Any]:
    """`{}`, or what one step gave, as `genlab.sweep.preview.describe` takes it; else `{"missing"}`, a name of the
    script, or `{"problem"}`."""
    try:
        kind, task = loaded(code)
        build(kind, order["config"])
    except Exception as error:  # whatever the author's code raises
        name = missing(error)
        return {"missing": name} if name else {"problem": f"a lane cannot load the task: {_in_short(error)}"}
    return _one_step(order, kind, task) if order["step"] else {}


def _in_short(error: BaseException) -> str:
    return told(error).rstrip().rpartition("\n")[2]


def _one_step(order: dict[str, Any], kind: Any, task: Any) -> dict[str, Any]:
    """The first step of a trial and its evaluation, on a few samples, so that a wide network takes seconds, too.

    What fails on a few may pass on all, such as a measure that needs two classes. So it is then tried on all.
    """
    in_short = _try(order, kind, task, rehearsal=True)
    problem = in_short.get("problem") or _unsound(in_short, order["metric"])
    if problem is None:
        return in_short
    last = problem.rstrip().rpartition("\n")[2]
    logging.getLogger("genlab").warning("on a few samples, %s; now on as many as a trial has", last)
    return _try(order, kind, task, rehearsal=False)


def _unsound(found: dict[str, Any], metric: str) -> str | None:
    """What a trial that reported this would be ended for."""
    if found["diverged"]:
        return "trial 0 diverged in its first step"
    value = found["metrics"][metric]
    return None if math.isfinite(value) else f"trial 0 reported {metric} {value}"


def _try(order: dict[str, Any], kind: Any, task: Any, rehearsal: bool) -> dict[str, Any]:
    """A rank of a lane is asked for the first epoch of a trial, cut to one step; its records go to a folder that is
    removed, as does what is prepared for a `rehearsal`. Otherwise that stays, for the sweep."""
    import torch

    from genlab.lanes.worker import LaneSettings, Rank
    from genlab.tracking.storage import Storage

    device = "cuda:0" if order["gpus"] != 0 and torch.cuda.is_available() else "cpu"
    config = {**order["config"], **({"epoch_steps": 1} if "epoch_steps" in order["config"] else {})}
    request = {"trial": "0000", "config": config, "replicas": order["replicas"], "state": None, "epoch": 1}
    with tempfile.TemporaryDirectory(prefix="genlab-") as scratch:
        settings = LaneSettings(
            lane=0,
            mailbox=None,
            code=b"",
            script=order["script"],
            storage=scratch if rehearsal else order["storage"],
            folder="",
            data_root=order["data_root"],
            environment={},
            threads=1,
            epoch_deadline=order["epoch_deadline"],
            rehearsal=rehearsal,
        )
        rank = Rank(settings, kind, task, 0, 1, device, "rehearsal")
        rank.records = Storage(scratch)
        prepare = {"trial": "prepare", "configs": [order["config"]], "script": order["script_digest"]}
        prepared = rank.serve(prepare)
        if prepared["kind"] != "ok":
            return {"problem": f"what trial 0 needs could not be prepared: {prepared['value']}"}
        done = rank.serve({**request, "session": "rehearsal", "test": False, "prepared": prepared["value"]["files"]})
    if done["kind"] != "ok":
        return {"problem": f"trial 0 failed in its first step: {done['value']}"}
    metrics, diverged = done["value"]["metrics"], done["value"]["diverged"]
    if order["metric"] not in metrics and not diverged:
        return {"problem": f"the task did not report {order['metric']}, but {', '.join(sorted(metrics))}"}
    return {"metrics": metrics, "diverged": diverged, "few": rehearsal}


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
