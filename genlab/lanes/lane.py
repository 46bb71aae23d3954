"""What the mailbox knows of a lane, and of a request that has no answer yet."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

Request = dict[str, Any]
Answer = dict[str, Any]


@dataclass
class Open:
    """A request that has no answer yet."""

    number: int  # in the order of asking
    request: Request
    answer: asyncio.Future[Answer]
    lane: Lane | None = None  # which serves it
    groups: dict[tuple[int, str], None] = field(default_factory=dict)  # lanes and groups that began it, in their order
    failed: dict[int, Answer] = field(default_factory=dict)  # lanes on which it raised


class Lane:
    """What is known of one lane."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.attempt: str | None = None  # its present worker group
        self.past: set[str] = set()
        self.broken: set[str] = set()  # groups that must start again
        self.joined: str | None = None  # the group that said it is ready
        self.host: str | None = None
        self.heard = 0.0  # when it last gave a sign of life
        self.world_size = 1
        self.session: str | None = None  # what its workers hold in memory
        self.used = 0.0
        self.request: Request | None = None
        self.ticket: str | None = None  # of that request on this lane
        self.outcomes: dict[str, dict[int, Answer]] = {}  # ticket -> rank -> outcome
        self.settled: str | None = None  # the last ticket for which all ranks answered
        self.served = False  # a request, since its run began
        self.suspects: set[str] = set()  # requests that raised here, while another lane tries them
        self.strikes = 0  # of them in a row that another lane then served
        self.aside: str | None = None  # why it gets nothing more
        self.last_error = ""
        self.told: set[str] = set()  # errors that were shown already
        self.group: Any = None  # the placement group, for whoever must remove it
        self._signal: asyncio.Future[None] | None = None

    def give_up(self) -> None:
        """The present group, if there is one, must start again."""
        if self.attempt is not None:
            self.broken.add(self.attempt)
        self.wake()

    def holds(self, attempt: str) -> bool:
        """Whether that group is the lane's, and sound."""
        return self.attempt == attempt and attempt not in self.broken

    def wake(self) -> None:
        """Let its workers look again."""
        if self._signal is not None:
            self._signal.set_result(None)
        self._signal = None

    async def wait(self, seconds: float) -> None:
        """Until `wake`, or for so long."""
        if self._signal is None:
            self._signal = asyncio.get_running_loop().create_future()
        await asyncio.wait({self._signal}, timeout=seconds)
