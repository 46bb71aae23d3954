"""Where trials and lanes meet: an actor that keeps no truth. Whatever it forgets is asked again.

A request says all that is needed to serve it, wherever and however often:

    {"id": "<life>/<epoch>", "life", "trial", "epoch", ...}   "be at `epoch` of this life, then answer"

A life is named by what its results follow from (trial, config, the state it began from), so a request that is
asked twice, by a trial whose actor died, gets the first one's answer. An answer is {"kind", "value"}: `ok`, `error`
(the task's own, with its traceback), `lost` (the lane died again and again), `storage`, or `cut` (the sweep stops).
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

Request = dict[str, Any]
Answer = dict[str, Any]
RESTART = {"restart": True}  # sent to a worker whose group must be started again


class Line:
    """What is known of one lane."""

    def __init__(self) -> None:
        self.attempt: str | None = None  # its present worker group
        self.past: set[str] = set()
        self.broken: set[str] = set()  # groups that must start again
        self.joined: str | None = None  # the group that said it is ready
        self.heard = 0.0  # when it last gave a sign of life
        self.world = 1
        self.life: str | None = None  # what its workers hold in memory
        self.used = 0.0
        self.request: Request | None = None
        self.taken: dict[str, set[str]] = {}  # request id -> the groups that began it
        self.outcomes: dict[str, dict[int, Answer]] = {}  # request id -> rank -> outcome
        self.last_error = ""
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
        self.lines: dict[int, Line] = {}
        self.requests: dict[str, Request] = {}
        self.answers: dict[str, Answer] = {}
        self.prepared: dict[str, str] | None = None
        self.notes: list[str] = []
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
            for line in self.lines.values():
                if line.life is not None and line.life.startswith(f"{trial}@"):
                    line.life = None
            for rid in of_trial:
                if not any(line.request and line.request["id"] == rid for line in self.lines.values()):
                    del self.requests[rid]
                    self.answers.pop(rid, None)
            self.changed.notify_all()

    # ---- the driver's side

    async def go(self, prepared: dict[str, str]) -> None:
        """What must be prepared lies in these files, by name: serve trials."""
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
        """Which lanes are up, the last error of any, notes since the last look, and why the sweep was cut."""
        notes, self.notes = self.notes, []
        errors = [line.last_error for line in self.lines.values() if line.last_error]
        return {
            "ready": self.prepared is not None,
            "cut": self.cut_by,
            "lanes": {n: line.attempt for n, line in self.lines.items() if self._is_up(line)},
            "open": [rid for rid in self.requests if rid not in self.answers],
            "error": errors[-1] if errors else None,
            "notes": notes,
        }

    async def gone(self, lane: int) -> Any:
        """The lane's run has ended: its placement group, if it left one behind."""
        async with self.changed:
            line = self.lines.setdefault(lane, Line())
            line.give_up()
            group, line.group = line.group, None
            return group

    # ---- the worker's side

    async def join(self, lane: int, attempt: str, world: int, group: Any) -> None:
        """Rank 0 of a new worker group says that it is there."""
        async with self.changed:
            line = self._line(lane, attempt, world)
            line.group, line.joined = group, attempt

    async def beat(self, lane: int, attempt: str) -> None:
        """Rank 0 lives."""
        line = self.lines.get(lane)
        if line is not None and line.attempt == attempt:
            line.joined, line.heard = attempt, time.monotonic()  # a mailbox that was started again hears it so

    async def failed(self, lane: int, error: str) -> None:
        """A worker of the lane could not even start."""
        async with self.changed:
            line = self.lines.setdefault(lane, Line())
            line.last_error = error
            line.give_up()
            self.changed.notify_all()

    async def note(self, text: str) -> None:
        """Something that whoever watches the sweep should see."""
        self.notes.append(text)

    async def exchange(
        self, lane: int, attempt: str, rank: int, world: int, life: str | None, last: str | None, outcome: Answer | None
    ) -> Request | None:
        """Hand in the outcome of request `last`, wait for another one. None: the sweep is over.

        `life` is what the worker now holds in memory.
        """
        async with self.changed:
            line = self._line(lane, attempt, world)
            if last is not None and outcome is not None and line.attempt == attempt:
                line.life, line.used = life, time.monotonic()
                line.outcomes.setdefault(last, {})[rank] = outcome
                if outcome["kind"] == "error":
                    line.last_error = outcome["value"]
                self._settle(line, attempt, last)
                if outcome["kind"] != "ok" and last not in self.answers:
                    await self._bear_with(line, attempt, last, outcome)
            while not self.closed:
                if not self._holds(line, attempt):
                    return RESTART
                request = line.request
                if request is not None and request["id"] != last:
                    taken = line.taken.setdefault(request["id"], set())
                    taken.add(attempt)
                    if len(taken) <= self.tries:
                        return {**request, "prepared": self.prepared}
                    why = (
                        f"its lane died {self.tries} times in this epoch: killed, out of memory, or at work for longer "
                        f"than epoch_deadline; the last error: {line.last_error or 'none was reported'}"
                    )
                    self._answer(line, request["id"], {"kind": "lost", "value": why})
                    continue
                self._assign()
                if line.request is request:
                    await self._wait(10.0)
            return None

    def _line(self, lane: int, attempt: str, world: int) -> Line:
        line = self.lines.setdefault(lane, Line())
        if attempt != line.attempt and attempt not in line.past:
            if line.attempt is not None:
                line.past.add(line.attempt)
            line.attempt, line.world, line.life, line.outcomes = attempt, world, None, {}
            self.changed.notify_all()
        if attempt == line.attempt:
            line.heard = time.monotonic()
        return line

    @staticmethod
    def _holds(line: Line, attempt: str) -> bool:
        """Whether that group is the lane's, and sound."""
        return line.attempt == attempt and attempt not in line.broken

    def _is_up(self, line: Line) -> bool:
        there = line.joined is not None and self._holds(line, line.joined)
        return there and time.monotonic() - line.heard < self.silence

    def _take_from_the_silent(self) -> None:
        """A lane that does not come back, its node gone for good, must not keep what another one could do."""
        for line in self.lines.values():
            if (line.request or line.life) and time.monotonic() - line.heard > self.silence:
                line.give_up()
                line.request = line.life = None

    async def _bear_with(self, line: Line, attempt: str, rid: str, outcome: Answer) -> None:
        """One rank raised. The others end the epoch soon, or hang in a collective that will never come about."""
        end = time.monotonic() + self.grace
        while rid not in self.answers and self._holds(line, attempt) and time.monotonic() < end:
            await self._wait(end - time.monotonic())
        if rid in self.answers or line.attempt != attempt:
            return
        if not outcome.get("collateral"):  # the rank's own error: its trial fails, whatever the others would do
            self._answer(line, rid, outcome)
        line.broken.add(attempt)
        self.changed.notify_all()

    def _settle(self, line: Line, attempt: str, rid: str) -> None:
        """A request is settled when all ranks of one group have answered."""
        got = line.outcomes.get(rid, {})
        if len(got) < line.world or rid in self.answers:
            return
        errors = [o for o in got.values() if o["kind"] != "ok"]
        own = [o for o in errors if not o.get("collateral") or line.world == 1]
        if errors and not own:  # they lost each other, by no fault of the trial: a new group tries again
            line.broken.add(attempt)
            line.outcomes.pop(rid)
            self.changed.notify_all()
            return
        self._answer(line, rid, (own or [got[0]])[0])

    def _answer(self, line: Line, rid: str, outcome: Answer) -> None:
        self.answers[rid] = {"kind": outcome["kind"], "value": outcome["value"]}
        if outcome["kind"] == "storage":
            self.cut_by = self.cut_by or outcome["value"]
        if outcome["kind"] != "ok":
            line.life = None
        if line.request is not None and line.request["id"] == rid:
            line.request = None
        line.outcomes.pop(rid, None)
        line.taken.pop(rid, None)
        self.changed.notify_all()

    def _assign(self) -> None:
        """Give waiting requests to free lanes."""
        served = {line.request["id"] for line in self.lines.values() if line.request is not None}
        for rid, request in self.requests.items():
            if rid in served or rid in self.answers or not (self.prepared is not None or request["trial"] == "prepare"):
                continue
            line = self._free_line(request["life"])
            if line is not None:
                line.request, line.life = request, request["life"]
                self.changed.notify_all()

    def _free_line(self, life: str) -> Line | None:
        holding = [line for line in self.lines.values() if line.life == life]
        if holding:  # a life goes on where it is, also if that lane is about to come back
            return holding[0] if holding[0].request is None else None
        free = [ln for ln in self.lines.values() if ln.request is None and ln.attempt not in (None, *ln.broken)]
        now = time.monotonic()
        unheld = [line for line in free if line.life is None or now - line.used > self.patience]
        return min(unheld, key=lambda line: (line.life is not None, line.used), default=None)

    async def _wait(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self.changed.wait(), seconds)
        except TimeoutError:
            return
