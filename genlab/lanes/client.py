"""A trial as Tune sees it: it holds settings, an epoch and where the last state lies. A lane does the rest."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

from ray import tune

from genlab.lanes.calls import MailboxSilent, ask

OBJECTIVE = "objective"
PLACEHOLDER = 0.0  # Tune wants a number in every result; where `kind` is not `ok`, nobody reads it


class Client(tune.Trainable):
    """Stateless: when its actor dies, another one asks the same questions and gets the same answers."""

    def setup(self, config: dict[str, Any], mailbox: Any) -> None:
        self.mailbox = mailbox
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        self.trial = config
        self.state, self.epoch = config["state"], config["at"]
        self._name_session()

    def _name_session(self) -> None:
        origin = [self.trial["config"], self.trial["replicas"], self.state, self.epoch]
        digest = hashlib.sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()[:12]
        self.session = f"{self.trial['trial']}@{digest}"

    def step(self) -> dict[str, Any]:
        """Bring the trial to its next epoch."""
        epoch, epochs = self.epoch + 1, self.trial["epochs"]
        request = {
            "id": f"{self.session}/{epoch}",
            "session": self.session,
            "trial": self.trial["trial"],
            "config": self.trial["config"],
            "replicas": self.trial["replicas"],
            "state": self.state,
            "epoch": epoch,
            "test": self.trial["test"] and epoch == epochs,
        }
        kind, value = self._answer(request)
        result = {"kind": kind, "value": value, "epoch": epoch, "epochs": epochs, OBJECTIVE: PLACEHOLDER, "done": True}
        if kind != "ok":
            return result
        objective = value["metrics"].get(self.trial["metric"], math.nan)
        if value["diverged"]:
            return {**result, "kind": "diverged"}
        if self.trial["metric"] not in value["metrics"]:
            reported = ", ".join(sorted(value["metrics"]))
            return {
                **result,
                "kind": "error",
                "value": f"the task did not report {self.trial['metric']}, but {reported}",
            }
        if not math.isfinite(objective):
            return {**result, "kind": "diverged"}
        self.epoch, self.state = epoch, value["state"]
        return {**result, OBJECTIVE: objective, "done": epoch >= epochs}

    def _answer(self, request: dict[str, Any]) -> tuple[str, Any]:
        """Kind and value. Where nobody answers, the trial is not to blame: it is cut off, as the sweep is."""
        try:
            (answer,) = ask(self.mailbox, [request])
        except MailboxSilent as silent:
            return "cut", str(silent)
        return answer["kind"], answer["value"]

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Where the last state lies; a new session may begin there."""
        return {"state": self.state, "epoch": self.epoch}

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.state, self.epoch = checkpoint["state"], checkpoint["epoch"]
        self._name_session()
