"""The mailbox by itself: whoever dies, is asked again; nobody waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from genlab.sweep.mailbox import RESTART, Mailbox

OK = {"kind": "ok", "value": 1}


def request(trial: str = "0000", epoch: int = 1) -> dict[str, Any]:
    session = f"{trial}@x"
    return {"id": f"{session}/{epoch}", "session": session, "trial": trial, "epoch": epoch}


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 20))


async def started(**settings: float) -> Mailbox:
    box = Mailbox(**settings)  # type: ignore[arg-type]
    await box.go({"judge": "file"})
    return box


async def take(box: Mailbox, number: int = 0, attempt: str = "a", rank: int = 0, world_size: int = 1) -> Any:
    """A worker's first exchange."""
    return await box.exchange(number, attempt, rank, world_size, None, None, None)


def answer(box: Mailbox, taken: Any, outcome: Any = OK, **where: Any) -> asyncio.Task[Any]:
    """A worker hands in an outcome and waits for more."""
    where_from = {"number": 0, "attempt": "a", "rank": 0, "world_size": 1} | where
    return asyncio.ensure_future(
        box.exchange(**where_from, session=taken["session"], last=taken["id"], outcome=outcome)
    )


def test_a_request_is_served_and_answered() -> None:
    async def scenario() -> None:
        box = await started()
        asked = asyncio.ensure_future(box.ask(request()))
        taken = await take(box)
        assert taken["id"] == request()["id"] and taken["prepared"] == {"judge": "file"}
        waiting = answer(box, taken)
        assert await asked == OK
        await box.close()
        assert await waiting is None

    run(scenario())


def test_trials_wait_for_what_is_prepared() -> None:
    async def scenario() -> None:
        box = Mailbox()
        asked = asyncio.ensure_future(box.ask(request()))
        waiting = asyncio.ensure_future(take(box))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        preparing = asyncio.ensure_future(
            box.ask({**request(), "id": "p/0", "session": "prepare@", "trial": "prepare"})
        )
        taken = await waiting
        assert taken["trial"] == "prepare"
        waiting = answer(box, taken)
        await preparing
        await box.go({})
        assert (await waiting)["trial"] == "0000"
        asked.cancel()

    run(scenario())


def test_asking_twice_gets_one_answer() -> None:
    """A trial whose actor died asks again: during the work it waits for it, afterwards it gets the answer at once."""

    async def scenario() -> None:
        box = await started()
        first = asyncio.ensure_future(box.ask(request()))
        taken = await take(box)
        second = asyncio.ensure_future(box.ask(request()))
        answer(box, taken)
        assert await first == await second == await box.ask(request()) == OK
        assert box.lanes[0].request is None

    run(scenario())


def test_a_new_worker_group_takes_the_request_over() -> None:
    async def scenario() -> None:
        box = await started()
        asked = asyncio.ensure_future(box.ask(request()))
        dead = await take(box, attempt="a")
        alive = await take(box, attempt="b")
        assert dead == alive
        answer(box, alive, attempt="b")
        assert await asked == OK
        assert await take(box, attempt="a") == RESTART

    run(scenario())


def test_a_lane_that_dies_in_every_try_fails_the_trial_alone() -> None:
    async def scenario() -> None:
        box = await started(tries=2)
        asked = asyncio.ensure_future(box.ask(request()))
        for attempt in "ab":
            assert (await take(box, attempt=attempt))["id"] == request()["id"]
        last = asyncio.ensure_future(take(box, attempt="c"))
        got = await asked
        assert got["kind"] == "lost" and "died 2 times" in got["value"]
        again = asyncio.ensure_future(box.ask(request("0001")))
        assert (await last)["trial"] == "0001"
        again.cancel()

    run(scenario())


def test_all_ranks_must_answer() -> None:
    async def scenario() -> None:
        box = await started()
        asked = asyncio.ensure_future(box.ask(request()))
        both = [await take(box, rank=rank, world_size=2) for rank in (0, 1)]
        answer(box, both[1], {"kind": "ok", "value": None}, rank=1, world_size=2)
        await asyncio.sleep(0.05)
        assert not asked.done()
        answer(box, both[0], {"kind": "ok", "value": "rank 0's"}, rank=0, world_size=2)
        assert await asked == {"kind": "ok", "value": "rank 0's"}

    run(scenario())


def test_one_rank_that_raises_fails_its_trial_and_restarts_its_group() -> None:
    async def scenario() -> None:
        box = await started(grace=0.1)
        asked = asyncio.ensure_future(box.ask(request()))
        both = [await take(box, rank=rank, world_size=2) for rank in (0, 1)]
        raised = answer(box, both[1], {"kind": "error", "value": "boom", "collateral": False}, rank=1, world_size=2)
        assert await asked == {"kind": "error", "value": "boom"}
        assert await raised == RESTART

    run(scenario())


def test_a_rank_that_lost_its_peer_blames_nobody() -> None:
    """The request stays open, for the group that comes next."""

    async def scenario() -> None:
        box = await started(grace=0.1)
        asked = asyncio.ensure_future(box.ask(request()))
        taken = await take(box, rank=0, world_size=2)
        raised = answer(box, taken, {"kind": "error", "value": "peer gone", "collateral": True}, world_size=2)
        assert await raised == RESTART
        assert not asked.done()
        for rank in (0, 1):
            answer(box, await take(box, attempt="b", rank=rank, world_size=2), attempt="b", rank=rank, world_size=2)
        assert await asked == OK

    run(scenario())


def test_the_ranks_own_error_outweighs_what_others_saw_of_it() -> None:
    async def scenario() -> None:
        box = await started()
        asked = asyncio.ensure_future(box.ask(request()))
        both = [await take(box, rank=rank, world_size=2) for rank in (0, 1)]
        answer(box, both[0], {"kind": "error", "value": "connection closed", "collateral": True}, rank=0, world_size=2)
        await asyncio.sleep(0.01)
        answer(box, both[1], {"kind": "error", "value": "boom", "collateral": False}, rank=1, world_size=2)
        assert (await asked)["value"] == "boom"

    run(scenario())


def test_a_mailbox_that_was_started_again_hears_an_outcome_before_the_question() -> None:
    async def scenario() -> None:
        box = await started()
        waiting = answer(box, request())
        await asyncio.sleep(0.05)
        assert await box.ask(request()) == OK
        assert not waiting.done()

    run(scenario())


def test_a_trial_goes_on_in_the_lane_that_holds_it() -> None:
    async def scenario() -> None:
        box = await started()
        lanes = [asyncio.ensure_future(take(box, number=n, attempt=str(n))) for n in (0, 1)]
        first, second = (asyncio.ensure_future(box.ask(request(name))) for name in ("0000", "0001"))
        where = {(await lanes[n])["trial"]: n for n in (0, 1)}
        held = {n: lanes[n].result() for n in (0, 1)}
        lanes = [answer(box, held[n], number=n, attempt=str(n)) for n in (0, 1)]
        await first, await second
        asked = asyncio.ensure_future(box.ask(request("0001", 2)))
        assert (await lanes[where["0001"]])["trial"] == "0001"
        assert not lanes[where["0000"]].done()
        asked.cancel()

    run(scenario())


def test_an_idle_lane_is_taken_over_after_a_while() -> None:
    async def scenario() -> None:
        box = await started(patience=0.3)
        asked = asyncio.ensure_future(box.ask(request()))
        taken = await take(box)
        waiting = answer(box, taken)
        await asked
        other = asyncio.ensure_future(box.ask(request("0001")))
        assert (await waiting)["trial"] == "0001"
        other.cancel()

    run(scenario())


def test_forgotten_trials_free_their_lanes_and_leave_nothing() -> None:
    async def scenario() -> None:
        box = await started(patience=1000)
        asked = asyncio.ensure_future(box.ask(request()))
        waiting = answer(box, await take(box))
        await asked
        await box.forget("0000")
        assert not box.answers and not box.requests
        other = asyncio.ensure_future(box.ask(request("0001")))
        assert (await waiting)["trial"] == "0001"
        other.cancel()

    run(scenario())


def test_a_cut_answers_everybody() -> None:
    async def scenario() -> None:
        box = await started()
        asked = asyncio.ensure_future(box.ask(request()))
        await take(box)
        await box.cut("interrupted")
        assert await asked == {"kind": "cut", "value": "interrupted"}
        assert (await box.look())["cut"] == "interrupted"

    run(scenario())


def test_storage_that_fails_cuts_the_sweep_and_blames_no_trial() -> None:
    async def scenario() -> None:
        box = await started()
        asked = asyncio.ensure_future(box.ask(request()))
        answer(box, await take(box), {"kind": "storage", "value": "disk full"})
        assert (await asked)["kind"] == "storage"
        assert (await box.ask(request("0001"))) == {"kind": "cut", "value": "disk full"}

    run(scenario())


def test_a_rank_without_its_storage_stops_the_sweep_though_others_hang() -> None:
    async def scenario() -> None:
        box = await started(grace=0.1)
        asked = asyncio.ensure_future(box.ask(request()))
        both = [await take(box, rank=rank, world_size=2) for rank in (0, 1)]
        answer(box, both[1], {"kind": "storage", "value": "disk full"}, rank=1, world_size=2)
        assert await asked == {"kind": "storage", "value": "disk full"}
        assert (await box.look())["cut"] == "disk full"

    run(scenario())


def test_ranks_that_lost_each_other_try_again_in_a_new_group() -> None:
    async def scenario() -> None:
        box = await started()
        asked = asyncio.ensure_future(box.ask(request()))
        both = [await take(box, rank=rank, world_size=2) for rank in (0, 1)]
        lost = {"kind": "error", "value": "connection closed by peer", "collateral": True}
        tasks = [answer(box, both[rank], lost, rank=rank, world_size=2) for rank in (0, 1)]
        assert [await task for task in tasks] == [RESTART, RESTART] and not asked.done()
        for rank in (0, 1):
            answer(box, await take(box, attempt="b", rank=rank, world_size=2), attempt="b", rank=rank, world_size=2)
        assert await asked == OK

    run(scenario())


def test_what_a_silent_lane_held_goes_to_another() -> None:
    async def scenario() -> None:
        box = await started(silence=0.3)
        asked = asyncio.ensure_future(box.ask(request()))
        dead = await take(box, number=0, attempt="a")
        await box.join(0, "a", 1, None)
        other = asyncio.ensure_future(take(box, number=1, attempt="b"))
        for _ in range(20):
            await asyncio.sleep(0.1)
            await box.beat(1, "b")
            if other.done():
                break
        taken = await other
        assert taken == dead
        assert set((await box.look())["lanes"]) == {1}
        answer(box, taken, number=1, attempt="b")
        assert await asked == OK
        assert await take(box, number=0, attempt="a") == RESTART  # it was alive after all, and begins anew

    run(scenario())


def test_a_lane_is_up_once_it_says_so_and_why_not_is_known() -> None:
    async def scenario() -> None:
        box = await started()
        waiting = asyncio.ensure_future(take(box, rank=1, world_size=2))
        await asyncio.sleep(0.01)
        assert (await box.look())["lanes"] == {}
        await box.failed(0, "no memory left on the GPU")
        assert (await waiting) == RESTART
        await box.note("downloading")
        seen = await box.look()
        assert seen["error"] == "no memory left on the GPU" and seen["notes"] == ["downloading"]
        assert (await box.look())["notes"] == []
        await box.join(0, "b", 2, None)
        assert (await box.look())["lanes"] == {0: "b"}

    run(scenario())
