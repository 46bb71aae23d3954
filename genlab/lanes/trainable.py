"""A trial's client in a process of its own, by what Tune documents alone."""

from __future__ import annotations

import asyncio
from typing import Any

from ray import tune

from genlab.lanes.client import Result, next_result


class ClientTrainable(tune.Trainable):
    """Where clients cannot share a process: see `ray_parts.tune`."""

    def setup(self, config: dict[str, Any], mailbox: Any) -> None:
        self.mailbox = mailbox
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.begun: str = new_config["begun"]
        self.last: Result | None = None
        return True

    def step(self) -> Result:
        self.last = asyncio.run(next_result(self.mailbox, self.begun, self.last))
        return self.last
