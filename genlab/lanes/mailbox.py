"""Where trials and lanes meet: an actor that keeps no truth. Whatever it forgets is asked again.

A request says all that is needed to serve it, wherever and however often:

    {"id": "<session>/<epoch>", "session", "trial", "epoch", ...}   "be at `epoch` of this session, then answer"

A session is named by what its results follow from (trial, config, the state it began from), so a request that is
asked twice, by a trial whose actor died, gets the first one's answer. An answer is {"kind", "value"}: `ok`, `error`
(the task's own, with its traceback), `lost` (the lanes that trained it died again and again), `storage`, or `cut` (the
sweep stops). No call waits for longer than POLL: whoever is told `again` calls again, so that a call without an answer
is a sign.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from typing import Any

from genlab.errors import last_line
from genlab.lanes.lane import Answer, Lane, Open, Request

POLL = 20.0  # seconds that a call waits at most
LOOK = 1.0  # seconds between two looks for lanes that fell silent, or that their trials have left
RESTART = {"restart": True}  # sent to a worker whose group must be started again
AGAIN = {"again": True}  # sent to a worker for which there is nothing yet
ASK_AGAIN = {"kind": "again", "value": None}  # sent to a trial whose request is being served


class Mailbox:
    """Requests in, answers out; lanes come for the next request when they are free."""

    def __init__(
        self,
        expected: int = 1,
        grace: float = 5.0,
        tries: int = 3,
        patience: float = 3.0,
        silence: float = 60.0,
        strikes: int = 3,
        coming: float = 30.0,
    ) -> None:
        """
        Args:
            expected: lanes that are to come up.
            grace: seconds that the other ranks have to answer after one raised.
            tries: worker groups that may die in one epoch before its trial fails.
            patience: seconds after which a lane that another trial holds, but does not use, is taken from it.
            silence: seconds without a sign of life after which a lane's request goes to another lane.
            strikes: trials in a row that a lane may fail and others finish, before it is set aside; no more than so
                many that failed there wait for another lane's judgement.
            coming: seconds after the first lane in which others are waited for: what raises on a lane that is the first
                one up may be that lane's fault.
        """
        self.expected, self.coming = expected, coming
        self.first_heard: float | None = None  # when the first lane was
        self.grace, self.tries, self.patience, self.silence, self.strikes = grace, tries, patience, silence, strikes
        self.lanes: dict[int, Lane] = {}
        self.open: dict[str, Open] = {}
        self.answers: dict[str, Answer] = {}
        self.of_trial: dict[str, set[str]] = {}  # ids of what was asked
        self.asked = self.given = 0  # numbers of requests and of tickets
        self.name = uuid.uuid4().hex[:8]  # in its tickets, which those of a mailbox before it are known by
        self.prepared: dict[str, str] | None = None
        self.notes: list[str] = []
        self.said: set[str] = set()  # notes that are shown once
        self.failures: Counter[tuple[int, int, str]] = Counter()  # lane, rank, error: at starts that must fail alike
        self.closed = False
        self.cut_by: str | None = None
        self.looking: asyncio.Task[None] | None = None

    # ---- the trial's side

    async def ask(self, request: Request) -> Answer:
        """The answer to `request`, if a lane has it within POLL."""
        self._look_from_time_to_time()
        rid = request["id"]
        if rid in self.answers:
            return self.answers[rid]
        if self.cut_by is not None:
            return {"kind": "cut", "value": self.cut_by}
        if rid not in self.open:
            self.asked += 1
            self.open[rid] = Open(self.asked, request, asyncio.get_running_loop().create_future())
            self.of_trial.setdefault(request["trial"], set()).add(rid)
            self._assign()
        answer = self.open[rid].answer
        await asyncio.wait({answer}, timeout=POLL)
        return answer.result() if answer.done() else ASK_AGAIN

    async def forget(self, trial: str) -> None:
        """The trial has ended: its answers are of no use, its lane is free."""
        for rid in self.of_trial.pop(trial, ()):
            self.answers.pop(rid, None)
            self._drop(rid)
        for lane in self.lanes.values():
            if lane.session is not None and lane.session.startswith(f"{trial}@"):
                lane.session = None
        self._assign()

    # ---- the driver's side

    async def go(self, prepared: dict[str, str]) -> None:
        """What must be prepared lies in these files, by the key of its source: serve trials."""
        self.prepared = prepared
        self._assign()

    async def cut(self, reason: str) -> None:
        """Answer every trial `cut`, from now on."""
        self._cut(reason)

    def _cut(self, reason: str) -> None:
        self.cut_by = self.cut_by or reason
        for rid, one in list(self.open.items()):
            self._drop(rid)
            one.answer.set_result({"kind": "cut", "value": self.cut_by})

    async def close(self) -> None:
        """Send the lanes home."""
        self.closed = True
        for lane in self.lanes.values():
            lane.wake()

    async def look(self) -> dict[str, Any]:
        """Which lanes are up and which have served something, the last error of any, one that no start gets past, notes
        since the last look, and why the sweep was cut."""
        notes, self.notes = self.notes, []
        errors = [lane.last_error for lane in self.lanes.values() if lane.last_error]
        final = [error for (_, _, error), times in self.failures.items() if times > 1]
        return {
            "ready": self.prepared is not None,
            "cut": self.cut_by,
            "lanes": {n: lane.joined for n, lane in self.lanes.items() if self._is_up(lane)},
            "serving": [n for n, lane in self.lanes.items() if lane.served],
            "error": errors[-1] if errors else None,
            "final": final[0] if final else None,
            "notes": notes,
        }

    async def gone(self, number: int) -> tuple[Any, bool]:
        """The lane's run has ended: the placement group that it left behind, if it did, and whether it served a
        request."""
        lane = self._lane_of(number)
        self._give_up(lane)
        group, lane.group = lane.group, None
        served, lane.served = lane.served, False
        return group, served

    # ---- the worker's side

    async def join(self, number: int, attempt: str, world_size: int, group: Any, host: str) -> None:
        """Rank 0 of a new worker group says that it is there, and where."""
        lane = self._lane(number, attempt, world_size)
        if lane.attempt == attempt:  # else it comes late, from a group that is dead
            lane.group, lane.joined = group, attempt
            if lane.host != host:
                lane.host, lane.strikes, lane.aside = host, 0, None
        self._assign()

    async def beat(self, number: int, attempt: str, group: Any) -> None:
        """Rank 0 lives."""
        self._look_from_time_to_time()
        lane = self._lane_of(number)
        if lane.attempt in (None, attempt):  # None: a mailbox that was started again while the lane is at work
            lane.joined, lane.group, lane.heard = attempt, group, time.monotonic()

    async def failed(self, number: int, rank: int, error: str, final: bool) -> None:
        """A worker of the lane could not start, or is of no use any more. `final`: another one will fail alike."""
        lane = self._lane_of(number)
        lane.last_error = error
        if final:
            self.failures[number, rank, error] += 1
        if error not in lane.told:  # a lane that starts again and again must not look like one that works
            lane.told.add(error)
            self.notes.append(f"lane {number} starts again: {last_line(error)}")
        self._give_up(lane)

    async def note(self, text: str, once: bool = False) -> None:
        """Something that whoever watches the sweep should see. `once`: however many lanes say it."""
        if not (once and text in self.said):
            self.notes.append(text)
        if once:
            self.said.add(text)

    async def exchange(
        self,
        number: int,
        attempt: str,
        rank: int,
        world_size: int,
        session: str | None,
        done: tuple[str, str] | None,
        outcome: Answer | None,
    ) -> Request | None:
        """Hand in the outcome of a request, wait for another one. None: the sweep is over.

        Args:
            session: what the worker now holds in memory.
            done: id and ticket of the request that it did last.
            outcome: of that. It is handed in until another request comes, lest it be lost with a mailbox that dies.
        """
        self._look_from_time_to_time()
        lane = self._lane(number, attempt, world_size)
        rid, ticket = done or ("", None)
        if ticket is not None and self._is_foreign(ticket) and lane.request is not None and lane.request["id"] == rid:
            ticket = lane.ticket  # a mailbox before this one gave it to some ranks, this one to the others
        if ticket is not None and outcome is not None and lane.attempt == attempt and lane.settled != ticket:
            lane.session, lane.used = session, time.monotonic()
            lane.outcomes.setdefault(ticket, {})[rank] = outcome
            self._settle(lane, rid, ticket)
            lane.wake()
        self._assign()
        until = time.monotonic() + POLL
        while not self.closed:
            if lane.holds(attempt) and lane.outcomes and lane.request is None and ticket not in lane.outcomes:
                self._give_up(lane)  # others did what this rank will never hear of: the mailbox that gave it is gone
            if not lane.holds(attempt):
                return RESTART
            if lane.request is not None and lane.ticket != ticket:
                one = self.open.get(lane.request["id"])
                if one is None or self._begin(one, lane, attempt):
                    return {**lane.request, "ticket": lane.ticket, "prepared": self.prepared}
                continue
            if (left := until - time.monotonic()) <= 0:
                return AGAIN
            await lane.wait(left)
        return None

    # ---- lanes

    def _lane_of(self, number: int) -> Lane:
        return self.lanes.setdefault(number, Lane(number))

    def _lane(self, number: int, attempt: str, world_size: int) -> Lane:
        """The lane, after what a call of that group tells of it."""
        lane = self._lane_of(number)
        if attempt != lane.attempt and attempt not in lane.past:
            if lane.attempt is not None:
                lane.past.add(lane.attempt)
            self._take_back(lane)
            lane.attempt, lane.world_size, lane.outcomes = attempt, world_size, {}
            lane.wake()
        if attempt == lane.attempt:
            lane.heard = time.monotonic()
            self.first_heard = self.first_heard or lane.heard
        return lane

    def _give_up(self, lane: Lane) -> None:
        """Its group must start again; what it was at work on is anybody's."""
        lane.give_up()
        self._take_back(lane)
        self._assign()

    def _take_back(self, lane: Lane) -> None:
        if lane.request is not None and (one := self.open.get(lane.request["id"])) is not None:
            one.lane = None
        lane.request = lane.ticket = lane.session = None

    def _is_up(self, lane: Lane) -> bool:
        there = lane.joined is not None and lane.attempt in (None, lane.joined) and lane.joined not in lane.broken
        return there and time.monotonic() - lane.heard < self.silence

    def _is_sound(self, lane: Lane) -> bool:
        """Whether it serves requests, now or when it is free."""
        here = lane.attempt is not None and lane.attempt not in lane.broken
        return here and time.monotonic() - lane.heard <= self.silence

    def _look_from_time_to_time(self) -> None:
        if self.looking is None or self.looking.done():
            self.looking = asyncio.create_task(self._keep_looking())

    async def _keep_looking(self) -> None:
        """A lane that does not come back, its node gone for good, must not keep what another one could do."""
        while not self.closed:
            await asyncio.sleep(LOOK)
            for lane in self.lanes.values():
                if (lane.request or lane.session) and time.monotonic() - lane.heard > self.silence:
                    lane.give_up()
                    self._take_back(lane)
            self._assign()

    # ---- who serves what

    def _assign(self) -> None:
        """Give waiting requests to free lanes."""
        # with some ranks' outcomes the others are at work: on what a mailbox before this one gave them, perhaps
        free = [one for one in self.lanes.values() if not (one.request or one.outcomes) and self._is_sound(one)]
        if not free:
            return
        waiting = [one for one in self.open.values() if one.lane is None]
        for one in sorted(waiting, key=lambda one: one.number):
            if self.prepared is None and one.request["trial"] != "prepare":
                continue
            if (lane := self._lane_for(one, free)) is not None:
                free.remove(lane)
                one.lane, lane.request, lane.session = lane, one.request, one.request["session"]
                self.given += 1
                lane.ticket = f"{self.name}-{self.given}"
                lane.wake()

    def _lane_for(self, one: Open, free: list[Lane]) -> Lane | None:
        """The lane that holds the session, else one that nobody holds. Where there are other lanes, none on which it
        raised, and none that was set aside or is under suspicion."""
        trusted = [lane for lane in self.lanes.values() if self._is_sound(lane) and lane.aside is None]
        others = [lane for lane in trusted if lane.number not in one.failed]
        if one.failed and not others and self._more_come():
            return None
        able = [lane for lane in free if lane in (others or trusted or free)]
        if not one.failed:  # else it is a judgement that some other lane waits for
            able = [lane for lane in able if len(lane.suspects) < self.strikes]
        now, session = time.monotonic(), one.request["session"]
        unheld = [lane for lane in able if lane.session in (None, session) or now - lane.used > self.patience]
        order = {lane.number: (lane.session != session, lane.session is not None, lane.used) for lane in unheld}
        return min(unheld, key=lambda lane: order[lane.number], default=None)

    def _begin(self, one: Open, lane: Lane, attempt: str) -> bool:
        """This group begins the request; False if too many died of it before, which is then its answer."""
        one.groups[lane.number, attempt] = None
        if len(one.groups) <= self.tries:
            return True
        errors = [self.lanes[number].last_error for number, _ in one.groups if self.lanes[number].last_error]
        why = (
            f"the lanes that trained it died {self.tries} times in this epoch: killed, out of memory, or at work for "
            f"longer than epoch_deadline; the last error: {last_line(errors[-1] if errors else 'none was reported')}"
        )
        text = f"{errors[-1]}\n{why}" if errors else why
        self._take_back(lane)
        self._answer(one, lane, {"kind": "lost", "value": text})
        return False

    # ---- outcomes

    def _settle(self, lane: Lane, rid: str, ticket: str) -> None:
        """A request is settled when all ranks of one group have answered."""
        got = lane.outcomes[ticket]
        errors = [one for one in got.values() if one["kind"] != "ok"]
        if len(got) < lane.world_size:
            if len(errors) == 1:  # the others end the epoch soon, or hang in a collective that will never come about
                asyncio.get_running_loop().call_later(self.grace, self._end_grace, lane, rid, ticket)
            return
        own = [one for one in errors if not one.get("collateral") or lane.world_size == 1]
        if errors and not own:  # they lost each other, by no fault of the trial: a new group tries again
            self._give_up(lane)
        else:
            self._finish(lane, rid, ticket, (own or [got[0]])[0])

    def _end_grace(self, lane: Lane, rid: str, ticket: str) -> None:
        """One rank raised, and some others are not back: the group is of no use."""
        got = lane.outcomes.get(ticket)
        if got is None:
            return
        errors = [one for one in got.values() if one["kind"] != "ok"]
        if own := [one for one in errors if not one.get("collateral")]:  # its trial fails, whatever others would do
            self._finish(lane, rid, ticket, own[0])
        self._give_up(lane)

    def _finish(self, lane: Lane, rid: str, ticket: str, outcome: Answer) -> None:
        """The lane is done with that request. The first answer stays."""
        lane.outcomes = {}
        lane.settled = ticket
        if lane.request is not None and lane.ticket == ticket:
            lane.request = None  # its ticket stays: ranks tell by it what they did
        if outcome["kind"] == "ok":
            lane.served = True
        else:
            lane.last_error, lane.session = str(outcome["value"]), None
        one = self.open.get(rid)
        if one is None:
            if not self._is_foreign(ticket):
                lane.session = None  # its trial has ended, or goes on where it was answered first
            elif outcome["kind"] == "ok" and rid not in self.answers:
                self._keep(rid, rid.partition("@")[0], outcome)  # its trial may not have heard of it
            return
        if one.lane is lane:
            one.lane = None
        if outcome["kind"] == "error" and not one.failed and (self._others(lane) or self._more_come()):
            one.failed[lane.number] = outcome
            lane.suspects.add(rid)
        else:
            self._answer(one, lane, outcome)

    def _answer(self, one: Open, lane: Lane, outcome: Answer) -> None:
        """For good; the lane is who found it out."""
        rid = one.request["id"]
        if outcome["kind"] == "ok":
            lane.strikes = 0
            for number, before in one.failed.items():
                if number != lane.number:
                    self._strike(self.lanes[number], one.request["trial"], last_line(before["value"]))
        self._drop(rid)
        self._keep(rid, one.request["trial"], outcome)
        one.answer.set_result(self.answers[rid])
        if outcome["kind"] == "storage":
            self._cut(outcome["value"])

    def _is_foreign(self, ticket: str) -> bool:
        """Whether a mailbox before this one gave it."""
        return not ticket.startswith(self.name)

    def _keep(self, rid: str, trial: str, outcome: Answer) -> None:
        self.answers[rid] = {"kind": outcome["kind"], "value": outcome["value"]}
        self.of_trial.setdefault(trial, set()).add(rid)

    def _drop(self, rid: str) -> None:
        """It is open no more: who has not begun it need not, and nobody waits for a judgement by it."""
        one = self.open.pop(rid, None)
        if one is None:
            return
        for number in one.failed:
            self.lanes[number].suspects.discard(rid)
        if one.lane is not None and (one.lane.number, one.lane.attempt) not in one.groups:
            self._take_back(one.lane)

    def _others(self, lane: Lane) -> bool:
        """Whether another lane could try what raised here."""
        return any(self._is_sound(one) and one.aside is None for one in self.lanes.values() if one is not lane)

    def _more_come(self) -> bool:
        """Whether a lane that was not yet heard of is still waited for."""
        heard = sum(lane.attempt is not None for lane in self.lanes.values())
        late = self.first_heard is None or time.monotonic() - self.first_heard > self.coming
        return heard < self.expected and not late

    def _strike(self, lane: Lane, trial: str, why: str) -> None:
        """Another lane did what raised here."""
        lane.strikes += 1
        where = f"lane {lane.number} on {lane.host}"
        self.notes.append(f"trial {trial} failed on {where} and went on elsewhere: {why}")
        if lane.strikes >= self.strikes and lane.aside is None:
            lane.aside = why
            self.notes.append(f"{where} is set aside: {lane.strikes} trials in a row failed only there")
