"""Any interleaving of trials and lanes that die, fall silent, answer late or twice, and of mailboxes that are started
again: every request is answered once, and no lane is idle while a request waits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from mailboxes import request, run

from genlab.lanes.mailbox import AGAIN, ASK_AGAIN, RESTART, Mailbox

IDLE = 6.0  # seconds that a lane may be free while a request waits: longer than a lane is left to its trial
BAD = "0002"  # the trial that raises wherever it is trained


class World:
    """Lanes of one or two ranks, trials, and the mailbox where they meet, until all trials have ended.

    What befalls them is drawn from a list of numbers below 1000; once it is used up, everybody behaves.
    """

    def __init__(
        self, draws: Sequence[int], sizes: Sequence[int], trials: int, epochs: int, faulty: int | None
    ) -> None:
        self.draws, self.sizes, self.trials = list(reversed(draws)), sizes, [f"{i:04d}" for i in range(trials)]
        self.epochs, self.faulty = epochs, faulty  # a lane on which each trial raises
        self.box, self.restarted = Mailbox(), asyncio.Event()
        self.told: dict[tuple[int, str], Any] = {}  # mailbox and request -> answer
        self.polling: dict[int, int] = {}  # lane -> its ranks that wait for a request
        self.ends: dict[str, str] = {}
        self.boxes = 0

    def happens(self, chance: float) -> bool:
        return bool(self.draws) and self.draws.pop() >= 1000 * (1 - chance)

    async def pause(self, most: float) -> None:
        """In eighths of seconds, which are exact."""
        share = self.draws.pop() / 1000 if self.draws else 0.5
        await asyncio.sleep(int(share * most * 8) / 8)

    async def call(self, method: str, *arguments: Any) -> Any:
        """As Ray does: what a mailbox that died did not answer the next one is asked."""
        while True:
            restarted = asyncio.ensure_future(self.restarted.wait())
            calling = asyncio.ensure_future(getattr(self.box, method)(*arguments))
            try:
                await asyncio.wait({calling, restarted}, return_when=asyncio.FIRST_COMPLETED)
                if calling.done():
                    return calling.result()
            finally:
                calling.cancel()
                restarted.cancel()
            await asyncio.sleep(0)

    # ---- who takes part

    async def mailbox(self) -> None:
        """It dies now and then; the driver tells the next one what is prepared."""
        await self.box.go({})
        while self.draws:
            await self.pause(200)
            if self.happens(0.5):
                self.box, self.boxes = Mailbox(), self.boxes + 1
                self.restarted.set()
                self.restarted = asyncio.Event()
                await self.pause(2)
                await self.box.go({})
        await asyncio.Event().wait()

    async def trial(self, name: str) -> None:
        """Asks for one epoch after the other; its actor dies now and then and asks again."""
        for epoch in range(1, self.epochs + 1):
            while True:
                mine, asked = self.boxes, request(name, epoch)
                answer = await self.call("ask", asked)
                if answer == ASK_AGAIN:
                    continue
                if mine == self.boxes:
                    assert self.told.setdefault((mine, asked["id"]), answer) == answer, "two answers to one request"
                if not self.happens(0.2):
                    break
            if answer["kind"] != "ok":
                self.ends[name] = answer["kind"]
                break
            assert answer["value"].startswith(asked["id"])
            await self.pause(1)
        self.ends.setdefault(name, "completed")
        await self.call("forget", name)

    async def lane(self, number: int) -> None:
        """One worker group after the other."""
        for attempt in range(10_000):
            ranks = [
                asyncio.ensure_future(self.rank(number, f"{number}-{attempt}", rank))
                for rank in range(self.sizes[number])
            ]
            await asyncio.wait(ranks, return_when=asyncio.FIRST_COMPLETED)
            for rank in ranks:
                rank.cancel()
            self.polling[number] = 0
            for done in await asyncio.gather(*ranks, return_exceptions=True):
                if isinstance(done, BaseException) and not isinstance(done, asyncio.CancelledError):
                    raise done
            if self.happens(0.3):
                await self.call("failed", number, 0, "it broke", False)
            elif self.happens(0.5):
                await self.call("gone", number)
            await self.pause(20)

    async def rank(self, number: int, attempt: str, rank: int) -> None:
        me = (number, attempt, rank, self.sizes[number])
        beating = None
        if rank == 0:
            await self.call("join", number, attempt, self.sizes[number], [attempt], f"host {number}")
            beating = asyncio.ensure_future(self.beat(number, attempt))
        session = done = outcome = None
        try:
            while True:
                self.polling[number] = self.polling.get(number, 0) + 1
                got = await self.call("exchange", *me, session, done, outcome)
                self.polling[number] -= 1
                if got == AGAIN:
                    continue
                if got == RESTART or self.happens(0.1):
                    return
                if self.happens(0.1):  # it hangs, or its network does
                    if beating is not None:
                        beating.cancel()
                    await self.pause(150)
                    beating = asyncio.ensure_future(self.beat(number, attempt)) if rank == 0 else None
                await self.pause(40)
                raises = got["trial"] == BAD or number == self.faulty
                if raises or self.happens(0.05):
                    own = raises or self.happens(0.5)
                    session, outcome = None, {"kind": "error", "value": "boom", "collateral": not own}
                else:
                    session, outcome = got["session"], {"kind": "ok", "value": f"{got['id']} by {attempt}"}
                done = (got["id"], got["ticket"])
        finally:
            if beating is not None:
                beating.cancel()

    async def beat(self, number: int, attempt: str) -> None:
        while True:
            await asyncio.sleep(5)
            await self.call("beat", number, attempt, [attempt])

    async def observer(self) -> None:
        """No lane is idle while a request waits that it may serve."""
        since: dict[tuple[int, int, str], float] = {}
        while True:
            await asyncio.sleep(0.5)
            now, found = asyncio.get_running_loop().time(), set[tuple[int, int, str]]()
            for rid, one in self.box.open.items() if self.box.prepared is not None else ():
                for lane in self.box.lanes.values():
                    free = lane.request is None and self.polling.get(lane.number) == lane.world_size
                    trusted = lane.aside is None and not lane.suspects and not one.failed
                    if one.lane is None and free and trusted and lane.holds(lane.attempt or ""):
                        found.add((self.boxes, lane.number, rid))
            since = {key: since.get(key, now) for key in found}
            late = [key for key, began in since.items() if now - began > IDLE]
            assert not late, f"lane {late[0][1]} is idle while {late[0][2]} waits"

    async def live(self) -> None:
        trials = [asyncio.ensure_future(self.trial(name)) for name in self.trials]
        others = [self.mailbox(), self.observer(), *(self.lane(number) for number in range(len(self.sizes)))]
        rest = [asyncio.ensure_future(one) for one in others]
        ended = asyncio.ensure_future(asyncio.wait(trials))
        await asyncio.wait({ended, *rest}, return_when=asyncio.FIRST_COMPLETED, timeout=9000)
        for one in (*trials, *rest):
            if one.done() and not one.cancelled():
                one.result()


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, 999), max_size=150),
    st.lists(st.sampled_from((1, 2)), min_size=1, max_size=3),
    st.integers(1, 5),
    st.integers(1, 3),
    st.sampled_from((None, 0)),
)
def test_every_request_is_answered_once_and_no_lane_is_idle_while_one_waits(
    draws: list[int], sizes: list[int], trials: int, epochs: int, faulty: int | None
) -> None:
    async def scenario() -> None:
        world = World(draws, sizes, trials, epochs, faulty if len(sizes) > 1 else None)
        await world.live()
        assert set(world.ends) == set(world.trials), f"unanswered: {list(world.box.open)}"
        assert world.box.open == {}
        if not world.boxes:  # else a lane may bring what was asked of the mailbox before, of a trial that has ended
            assert world.box.answers == world.box.of_trial == {}
        assert all(not lane.suspects for lane in world.box.lanes.values())
        assert all(end in ("completed", "error", "lost") for end in world.ends.values())
        assert world.ends.get(BAD) in (None, "error", "lost")

    run(scenario())
