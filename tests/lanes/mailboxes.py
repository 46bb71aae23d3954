"""A mailbox by itself, on a clock that jumps to whatever is waited for: a minute costs nothing, and that nothing
happened in it is as sure as that something did."""

from __future__ import annotations

import asyncio
import contextlib
import selectors
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any
from unittest import mock

from genlab.lanes import mailbox
from genlab.lanes.mailbox import AGAIN, ASK_AGAIN, Mailbox

OK = {"kind": "ok", "value": 1}
PEER_GONE = {"kind": "error", "value": "connection closed by peer", "collateral": True}
BOOM = {"kind": "error", "value": "boom", "collateral": False}
CALL = "call"  # of the mailbox, by a trial or a worker


class Jumping(selectors.SelectSelector):
    """No input comes from outside, so each wait lasts as long as it may: the clock goes on by that much at once."""

    now = 1000.0
    turns = 0  # in a row that did not wait

    def select(self, timeout: float | None = None) -> list[Any]:
        self.turns = 0 if timeout else self.turns + 1
        if timeout is None or self.turns > 10_000:
            self.turns = 0
            raise AssertionError("all wait for one another" if timeout is None else "somebody turns without waiting")
        self.now += max(0.0, timeout)
        return super().select(0)


class Loop(asyncio.SelectorEventLoop):
    """An event loop on that clock. Times in tests are sums of powers of two: they must be exact."""

    def __init__(self) -> None:
        self.clock = Jumping()
        super().__init__(self.clock)

    def time(self) -> float:
        return self.clock.now


def run(scenario: Coroutine[Any, Any, None]) -> None:
    loop, broken = Loop(), list[Any]()
    loop.set_exception_handler(lambda loop, context: broken.append(context.get("exception")))
    with mock.patch.object(mailbox, "time", SimpleNamespace(monotonic=loop.time)), contextlib.closing(loop):
        try:
            loop.run_until_complete(asyncio.wait_for(scenario, 10_000))
        finally:
            while left := asyncio.all_tasks(loop):
                for task in left:  # one that was just woken passes a cancellation by
                    task.cancel()
                loop.run_until_complete(asyncio.wait(left, timeout=1))
    assert not any(broken), f"what the mailbox does later raised {broken}"


async def after(seconds: float) -> None:
    """Until all that is to happen within so many seconds has."""
    await asyncio.sleep(seconds)


async def at_once(awaited: Any) -> Any:
    """What comes of it without waiting for a clock: the mailbox looks by itself only every second."""
    return await asyncio.wait_for(awaited, 0.125)


async def started(**settings: float) -> Mailbox:
    box = Mailbox(**settings)  # type: ignore[arg-type]
    await box.go({"judge": "file"})
    return box


def request(trial: str = "0000", epoch: int = 1) -> dict[str, Any]:
    session = f"{trial}@x"
    return {"id": f"{session}/{epoch}", "session": session, "trial": trial, "epoch": epoch}


def ask(box: Mailbox, trial: str = "0000", epoch: int = 1) -> asyncio.Task[Any]:
    """A trial asks and waits."""

    async def asking() -> Any:
        while (got := await box.ask(request(trial, epoch))) == ASK_AGAIN:
            continue
        return got

    return asyncio.create_task(asking(), name=CALL)


async def exchanging(box: Mailbox, *me: Any, session: str | None, done: Any, outcome: Any) -> Any:
    """As a worker does: it calls again as long as there is nothing."""
    while (got := await box.exchange(*me, session, done, outcome)) == AGAIN:
        continue
    return got


def taking(box: Mailbox, number: int = 0, attempt: str = "a", rank: int = 0, world_size: int = 1) -> asyncio.Task[Any]:
    """A worker's first exchange, which waits for a request."""
    waiting = exchanging(box, number, attempt, rank, world_size, session=None, done=None, outcome=None)
    return asyncio.create_task(waiting, name=CALL)


async def take(box: Mailbox, number: int = 0, attempt: str = "a", rank: int = 0, world_size: int = 1) -> Any:
    """What comes of it, where there is a request already."""
    return await at_once(taking(box, number, attempt, rank, world_size))


def answer(box: Mailbox, taken: Any, outcome: Any = OK, **where: Any) -> asyncio.Task[Any]:
    """A worker hands in an outcome and waits for more."""
    me = ({"number": 0, "attempt": "a", "rank": 0, "world_size": 1} | where).values()
    session = taken["session"] if outcome["kind"] == "ok" else None  # what it holds then
    done = (taken["id"], taken.get("ticket", "of a former mailbox"))
    return asyncio.create_task(exchanging(box, *me, session=session, done=done, outcome=outcome), name=CALL)


async def beats(box: Mailbox, seconds: int, **lanes: str) -> None:
    """That long, these lanes (`lane_1="a"`) give a sign of life every five seconds."""
    for _ in range(seconds // 5):
        await after(5)
        for name, attempt in lanes.items():
            await box.beat(int(name.removeprefix("lane_")), attempt, None)
