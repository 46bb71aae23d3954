"""A trial as Tune sees it: settings, an epoch, and where the last state lies. A lane does the rest.

A client holds nothing but what it is given with each call, so whichever process serves it may die: another one asks the
same question and gets the same answer. What goes to Tune and comes back from it is flat and small, since Tune keeps
statistics of every number that it sees and copies every setting several times.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from genlab.lanes.calls import MailboxSilent, answer_to

OBJECTIVE = "objective"
PLACEHOLDER = 0.0  # Tune wants a number in every result; where `kind` is not `ok`, nobody reads it

Result = dict[str, Any]


def packed(begun: Mapping[str, Any]) -> dict[str, Any]:
    """What Tune takes for a trial's config: its name, and all that its client needs as one text.

    Args:
        begun: `trial` (its name), `config`, `replicas`, `state` and `at` (file and epoch that it goes on from, or None
            and 0), `epochs`, `metric`, and `test` (whether its last epoch reads the test data).
    """
    return {"trial": begun["trial"], "begun": json.dumps(begun)}


def unpacked(result: Mapping[str, Any]) -> Result:
    """A client's result as the driver reads it: `value` holds `report` and `state`, or is an error's text."""
    return {**result, "value": json.loads(result["value"])}


async def next_result(mailbox: Any, begun: str, last: Result | None) -> Result:
    """Bring a trial to its next epoch; what Tune hears of it. However long that takes.

    Args:
        begun: of its `packed` config.
        last: the result of its epoch before; None in the first one of a session.

    Raises:
        ray.exceptions.ActorDiedError: the driver has ended the mailbox.
    """
    client = Client(begun, last)
    try:
        answer = await answer_to(mailbox, client.request())
    except MailboxSilent as silent:  # the trial is not to blame: it is cut off, as the sweep is
        answer = {"kind": "cut", "value": str(silent)}
    return client.result(answer)


class Client:
    """One epoch of a trial: what is asked for it, and what Tune is told of the answer."""

    def __init__(self, begun: str, last: Result | None = None) -> None:
        self.trial = trial = json.loads(begun)
        origin = [trial["config"], trial["replicas"], trial["state"], trial["at"]]
        digest = hashlib.sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()[:12]
        self.session = f"{trial['trial']}@{digest}"
        self.state, self.epoch = trial["state"], trial["at"] + 1
        if last is not None:
            self.state, self.epoch = json.loads(last["value"])["state"], last["epoch"] + 1

    def request(self) -> dict[str, Any]:
        """What the mailbox is asked."""
        trial = self.trial
        return {
            "id": f"{self.session}/{self.epoch}",
            "session": self.session,
            "trial": trial["trial"],
            "config": trial["config"],
            "replicas": trial["replicas"],
            "state": self.state,
            "epoch": self.epoch,
            "test": trial["test"] and self.epoch == trial["epochs"],
        }

    def result(self, answer: Mapping[str, Any]) -> Result:
        """What Tune is told: `kind` (of the answer, or `diverged`), `epoch` of `epochs`, the objective, whether the
        trial is `done`, and `value`, a text that `unpacked` reads."""
        kind, value = answer["kind"], answer["value"]
        if kind != "ok":
            return self._ended(kind, value)
        metrics, metric = value["metrics"], self.trial["metric"]
        files = {"report": value["report"], "state": value["state"]}
        if value["diverged"]:
            return self._ended("diverged", files)
        if metric not in metrics:
            return self._ended("error", f"the task did not report {metric}, but {', '.join(sorted(metrics))}")
        if not math.isfinite(metrics[metric]):
            return self._ended("diverged", files)
        done = self.epoch >= self.trial["epochs"]
        return {**self._ended("ok", files), OBJECTIVE: metrics[metric], "done": done}

    def _ended(self, kind: str, value: Any) -> Result:
        return {
            "kind": kind,
            "value": json.dumps(value),
            "epoch": self.epoch,
            "epochs": self.trial["epochs"],
            OBJECTIVE: PLACEHOLDER,
            "done": True,
        }
