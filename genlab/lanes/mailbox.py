"""Where trials and lanes meet: an actor that keeps no truth. Whatever it forgets is asked again.

A request says all that is needed to serve it, wherever and however often:

    {"id": "<session>/<epoch>", "session", "trial", "epoch", ...}   "be at `epoch` of this session, then answer"

A session is named by what its results follow from (trial, config, the state it began from), so a request that is
asked twice, by a trial whose actor died, gets the first one's answer. An answer is {"kind", "value"}: `ok`, `error`
(the task's own, with its traceback), `lost` (the lane died again and again), `storage`, or `cut` (the sweep stops).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

from genlab.errors import last_line

Request = dict[str, Any]
Answer = dict[str, Any]
RESTART = {"restart": True}  # sent to a worker whose group must be started again


class Lane:
    """What is known of one lane."""

    def __init__(self) -> None:
        self.attempt: str | None = None  # its present worker group
        self.past: set[str] = set()
        self.broken: set[str] = set()  # groups that must start again
        self.joined: str | None = None  # the group that said it is ready
        self.heard = 0.0  # when it last gave a sign of life
        self.world_size = 1
        self.session: str | None = None  # what its workers hold in memory
        self.used = 0.0
        self.request: Request | None = None
        self.taken: dict[str, set[str]] = {}  # request id -> the groups that began it
        self.outcomes: dict[str, dict[int, Answer]] = {}  # request id -> rank -> outcome
        self.last_error = ""
        self.told: set[str] = set()  # errors that were shown already
        self.group: Any = None  # the placement group, for whoever must remove it

    def give_up(self) -> None:
        """The present group, if there is one, must start again."""
        if self.attempt is not None:
            self.broken.add(self.attempt)


class Mailbox:
    """Requests in, answers out; lanes come for the next request when they are free."""

    def __init__(self, grace: float = 5.0, tries: int = 3, patience: float = 3.0, silence: float = 60.0) -> None:
        """
        Args:
            grace: seconds that the other ranks have to answer after one raised.
            tries: worker groups that may die in one epoch before its trial fails.
            patience: seconds after which a lane that another trial holds, but does not use, is taken from it.
            silence: seconds without a sign of life after which a lane's request goes to another lane.
        """
        self.grace, self.tries, self.patience, self.silence = grace, tries, patience, silence
        self.changed = asyncio.Condition()
        self.lanes: dict[int, Lane] = {}
        self.requests: dict[str, Request] = {}
        self.answers: dict[str, Answer] = {}
        self.prepared: dict[str, str] | None = None
        self.notes: list[str] = []
        self.failures: Counter[tuple[int, int, str]] = Counter()  # lane, rank, error: at starts that must fail alike
        self.closed = False
        self.cut_by: str | None = None

    # ---- the trial's side

    async def ask(self, request: Request) -> Answer:
        """The answer to `request`, once a lane has it."""
        rid = request["id"]
        async with self.changed:
            while rid not in self.answers:
                if self.cut_by is not None:
                    return {"kind": "cut", "value": self.cut_by}
                if rid not in self.requests:
                    self.requests[rid] = request
                self._take_from_the_silent()
                self._assign()
                await self._wait(1.0)
            return self.answers[rid]

    async def forget(self, trial: str) -> None:
        """The trial has ended: its answers are of no use, its lane is free."""
        async with self.changed:
            of_trial = {rid for rid, request in self.requests.items() if request["trial"] == trial}
            for lane in self.lanes.values():
                if lane.session is not None and lane.session.startswith(f"{trial}@"):
                    lane.session = None
            for rid in of_trial:
                if not any(lane.request and lane.request["id"] == rid for lane in self.lanes.values()):
                    del self.requests[rid]
                    self.answers.pop(rid, None)
            self.changed.notify_all()

    # ---- the driver's side

    async def go(self, prepared: dict[str, str]) -> None:
        """What must be prepared lies in these files, by the key of its source: serve trials."""
        async with self.changed:
            self.prepared = prepared
            self.changed.notify_all()

    async def cut(self, reason: str) -> None:
        """Answer every trial `cut`, from now on."""
        async with self.changed:
            self.cut_by = self.cut_by or reason
            self.changed.notify_all()

    async def close(self) -> None:
        """Send the lanes home."""
        async with self.changed:
            self.closed = True
            self.changed.notify_all()

    async def look(self) -> dict[str, Any]:
        """Which lanes are up, the last error of any, one that no start gets past, notes since the last look, and why
        the sweep was cut."""
        notes, self.notes = self.notes, []
        errors = [lane.last_error for lane in self.lanes.values() if lane.last_error]
        final = [error for (_, _, error), times in self.failures.items() if times > 1]
        return {
            "ready": self.prepared is not None,
            "cut": self.cut_by,
            "lanes": {n: lane.joined for n, lane in self.lanes.items() if self._is_up(lane)},
            "error": errors[-1] if errors else None,
            "final": final[0] if final else None,
            "notes": notes,
        }

    async def gone(self, number: int) -> Any:
        """The lane's run has ended: its placement group, if it left one behind."""
        async with self.changed:
            lane = self.lanes.setdefault(number, Lane())
            lane.give_up()
            group, lane.group = lane.group, None
            return group

    # ---- the worker's side

    async def join(self, number: int, attempt: str, world_size: int, group: Any) -> None:
        """Rank 0 of a new worker group says that it is there."""
        async with self.changed:
            lane = self._lane(number, attempt, world_size)
            lane.group, lane.joined = group, attempt

    async def beat(self, number: int, attempt: str) -> None:
        """Rank 0 lives."""
        lane = self.lanes.setdefault(number, Lane())
        if lane.attempt in (None, attempt):  # None: a mailbox that was started again while the lane is at work
            lane.joined, lane.heard = attempt, time.monotonic()

    async def failed(self, number: int, rank: int, error: str, final: bool) -> None:
        """A worker of the lane could not start, or is of no use any more. `final`: another one will fail alike."""
        async with self.changed:
            lane = self.lanes.setdefault(number, Lane())
            lane.last_error = error
            if final:
                self.failures[number, rank, error] += 1
            if error not in lane.told:  # a lane that starts again and again must not look like one that works
                lane.told.add(error)
                self.notes.append(f"lane {number} starts again: {last_line(error)}")
            lane.give_up()
            self.changed.notify_all()

    async def note(self, text: str) -> None:
        """Something that whoever watches the sweep should see."""
        self.notes.append(text)

    async def exchange(
        self,
        number: int,
        attempt: str,
        rank: int,
        world_size: int,
        session: str | None,
        last: str | None,
        outcome: Answer | None,
    ) -> Request | None:
        """Hand in the outcome of request `last`, wait for another one. None: the sweep is over.

        `session` is what the worker now holds in memory.
        """
        async with self.changed:
            lane = self._lane(number, attempt, world_size)
            if last is not None and outcome is not None and lane.attempt == attempt:
                lane.session, lane.used = session, time.monotonic()
                lane.outcomes.setdefault(last, {})[rank] = outcome
                if outcome["kind"] == "error":
                    lane.last_error = outcome["value"]
                self._settle(lane, attempt, last)
                if outcome["kind"] != "ok" and last not in self.answers:
                    await self._bear_with(lane, attempt, last, outcome)
            while not self.closed:
                if not self._holds(lane, attempt):
                    return RESTART
                request = lane.request
                if request is not None and request["id"] != last:
                    taken = lane.taken.setdefault(request["id"], set())
                    taken.add(attempt)
                    if len(taken) <= self.tries:
                        return {**request, "prepared": self.prepared}
                    why = (
                        f"its lane died {self.tries} times in this epoch: killed, out of memory, or at work for longer "
                        f"than epoch_deadline; the last error: {last_line(lane.last_error or 'none was reported')}"
                    )
                    self._answer(lane, request["id"], {"kind": "lost", "value": f"{lane.last_error}\n{why}".lstrip()})
                    continue
                self._assign()
                if lane.request is request:
                    await self._wait(10.0)
            return None

    def _lane(self, number: int, attempt: str, world_size: int) -> Lane:
        lane = self.lanes.setdefault(number, Lane())
        if attempt != lane.attempt and attempt not in lane.past:
            if lane.attempt is not None:
                lane.past.add(lane.attempt)
            lane.attempt, lane.world_size, lane.session, lane.outcomes = attempt, world_size, None, {}
            self.changed.notify_all()
        if attempt == lane.attempt:
            lane.heard = time.monotonic()
        return lane

    @staticmethod
    def _holds(lane: Lane, attempt: str) -> bool:
        """Whether that group is the lane's, and sound."""
        return lane.attempt == attempt and attempt not in lane.broken

    def _is_up(self, lane: Lane) -> bool:
        there = lane.joined is not None and lane.attempt in (None, lane.joined) and lane.joined not in lane.broken
        return there and time.monotonic() - lane.heard < self.silence

    def _take_from_the_silent(self) -> None:
        """A lane that does not come back, its node gone for good, must not keep what another one could do."""
        for lane in self.lanes.values():
            if (lane.request or lane.session) and time.monotonic() - lane.heard > self.silence:
                lane.give_up()
                lane.request = lane.session = None

    async def _bear_with(self, lane: Lane, attempt: str, rid: str, outcome: Answer) -> None:
        """One rank raised. The others end the epoch soon, or hang in a collective that will never come about."""
        end = time.monotonic() + self.grace
        while rid not in self.answers and self._holds(lane, attempt) and time.monotonic() < end:
            await self._wait(end - time.monotonic())
        if rid in self.answers or lane.attempt != attempt:
            return
        if not outcome.get("collateral"):  # the rank's own error: its trial fails, whatever the others would do
            self._answer(lane, rid, outcome)
        lane.broken.add(attempt)
        self.changed.notify_all()

    def _settle(self, lane: Lane, attempt: str, rid: str) -> None:
        """A request is settled when all ranks of one group have answered."""
        got = lane.outcomes.get(rid, {})
        if len(got) < lane.world_size:
            return
        errors = [o for o in got.values() if o["kind"] != "ok"]
        own = [o for o in errors if not o.get("collateral") or lane.world_size == 1]
        if errors and not own:  # they lost each other, by no fault of the trial: a new group tries again
            lane.broken.add(attempt)
            lane.outcomes.pop(rid)
            self.changed.notify_all()
            return
        if rid in self.answers:  # another lane was first
            self._free(lane, rid)
        else:
            self._answer(lane, rid, (own or [got[0]])[0])

    def _answer(self, lane: Lane, rid: str, outcome: Answer) -> None:
        self.answers[rid] = {"kind": outcome["kind"], "value": outcome["value"]}
        if outcome["kind"] == "storage":
            self.cut_by = self.cut_by or outcome["value"]
        if outcome["kind"] != "ok":
            lane.session = None
        self._free(lane, rid)

    def _free(self, lane: Lane, rid: str) -> None:
        """The lane is done with that request."""
        if lane.request is not None and lane.request["id"] == rid:
            lane.request = None
        lane.outcomes.pop(rid, None)
        lane.taken.pop(rid, None)
        self.changed.notify_all()

    def _assign(self) -> None:
        """Give waiting requests to free lanes."""
        served = {lane.request["id"] for lane in self.lanes.values() if lane.request is not None}
        for rid, request in self.requests.items():
            if rid in served or rid in self.answers or not (self.prepared is not None or request["trial"] == "prepare"):
                continue
            lane = self._free_lane(request["session"])
            if lane is not None:
                lane.request, lane.session = request, request["session"]
                self.changed.notify_all()

    def _free_lane(self, session: str) -> Lane | None:
        holding = [lane for lane in self.lanes.values() if lane.session == session]
        if holding:  # a session goes on where it is, also if that lane is about to come back
            return holding[0] if holding[0].request is None else None
        free = [
            lane for lane in self.lanes.values() if lane.request is None and lane.attempt not in (None, *lane.broken)
        ]
        now = time.monotonic()
        unheld = [lane for lane in free if lane.session is None or now - lane.used > self.patience]
        return min(unheld, key=lambda lane: (lane.session is not None, lane.used), default=None)

    async def _wait(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self.changed.wait(), seconds)
        except TimeoutError:
            return
