"""The mailbox and the clock: what is told at once, what waits how long, and who is taken for dead when."""

from __future__ import annotations

import asyncio

import pytest
from mailboxes import (
    BOOM,
    CALL,
    OK,
    PEER_GONE,
    after,
    answer,
    ask,
    at_once,
    beats,
    request,
    run,
    started,
    take,
    taking,
)

from genlab.lanes.mailbox import AGAIN, ASK_AGAIN, RESTART


def test_no_call_waits_longer_than_twenty_seconds() -> None:
    """Also one that was woken for nothing: who hears nothing for minutes takes the mailbox for dead."""

    async def scenario() -> None:
        box = await started()
        asked = asyncio.create_task(box.ask(request()), name=CALL)
        idle = asyncio.create_task(box.exchange(0, "a", 0, 2, None, None, None), name=CALL)
        assert (await at_once(idle))["trial"] == "0000"
        idle = asyncio.create_task(box.exchange(1, "a", 0, 2, None, None, None), name=CALL)
        await after(15)
        box.lanes[1].wake()
        await after(4.75)
        assert not asked.done() and not idle.done()
        await after(0.5)
        assert asked.result() == ASK_AGAIN and idle.result() == AGAIN

    run(scenario())


# ---- at once


def test_a_lane_that_waits_gets_a_question_at_once_and_one_that_comes_finds_it() -> None:
    async def scenario() -> None:
        box = await started()
        waiting = taking(box)
        await after(0.5)
        ask(box, "0000")
        assert (await at_once(waiting))["trial"] == "0000"
        ask(box, "0001")
        await after(0.5)
        assert (await take(box, number=1))["trial"] == "0001"

    run(scenario())


def test_when_the_sweep_ends_all_lanes_go_home_at_once() -> None:
    async def scenario() -> None:
        box = await started()
        waiting = [taking(box, number=number) for number in (0, 1)]
        await after(0.5)
        await box.close()
        assert [await at_once(one) for one in waiting] == [None, None]

    run(scenario())


def test_when_the_sweep_ends_lanes_go_home_also_while_one_is_asked() -> None:
    async def scenario() -> None:
        box = await started()
        ask(box, "0000")
        assert (await take(box, number=1))["trial"] == "0000"
        waiting = taking(box, number=0)
        await after(0.5)
        await box.close()
        assert await at_once(waiting) is None

    run(scenario())


def test_what_is_left_of_a_former_group_starts_again_at_once() -> None:
    async def scenario() -> None:
        box = await started()
        left = taking(box, rank=1, world_size=2)
        await after(0.5)
        taking(box, attempt="b", rank=0, world_size=2)
        assert await at_once(left) == RESTART

    run(scenario())


# ---- the other ranks' grace


def test_what_all_ranks_raise_within_seconds_ends_the_trial_but_not_the_group() -> None:
    async def scenario() -> None:
        box = await started()
        asked = ask(box)
        both = [await take(box, rank=rank, world_size=2) for rank in (0, 1)]
        first = answer(box, both[1], BOOM, rank=1, world_size=2)
        await after(4.5)
        assert not asked.done()
        second = answer(box, both[0], {**BOOM, "value": "boom, too"}, rank=0, world_size=2)
        assert (await at_once(asked))["value"] == "boom"
        ask(box, "0001")
        assert (await at_once(first))["trial"] == (await at_once(second))["trial"] == "0001"

    run(scenario())


def test_one_rank_that_raises_fails_its_trial_and_restarts_its_group_after_seconds() -> None:
    async def scenario() -> None:
        box = await started()
        asked = ask(box)
        both = [await take(box, rank=rank, world_size=2) for rank in (0, 1)]
        raised = answer(box, both[1], BOOM, rank=1, world_size=2)
        await after(2)
        await box.forget("0007")  # whatever else happens does not end it
        await after(2.5)
        assert not asked.done() and not raised.done()
        await after(0.625)
        assert asked.result() == {"kind": "error", "value": "boom"} and raised.result() == RESTART

    run(scenario())


def test_a_ranks_own_error_outweighs_what_others_saw_of_it_before() -> None:
    async def scenario() -> None:
        box = await started()
        asked = ask(box)
        both = [await take(box, rank=rank, world_size=2) for rank in (0, 1)]
        answer(box, both[0], PEER_GONE, rank=0, world_size=2)
        await after(4.5)
        waiting = answer(box, both[1], BOOM, rank=1, world_size=2)
        assert (await at_once(asked))["value"] == "boom"
        ask(box, "0001")
        assert (await at_once(waiting))["trial"] == "0001"  # they all came back: the group is sound

    run(scenario())


def test_after_the_grace_those_who_were_done_start_again_as_well() -> None:
    """Rank 2 hangs; rank 0 waits for what comes next."""

    async def scenario() -> None:
        box = await started()
        ask(box)
        all_ranks = [await take(box, rank=rank, world_size=3) for rank in (0, 1, 2)]
        done = answer(box, all_ranks[0], rank=0, world_size=3)
        await after(0.5)
        raised = answer(box, all_ranks[1], PEER_GONE, rank=1, world_size=3)
        await after(4.5)
        assert not done.done() and not raised.done()
        await after(0.625)
        assert done.done() and done.result() == raised.result() == RESTART

    run(scenario())


# ---- patience: a lane that a trial holds


def test_a_trial_goes_on_in_the_lane_that_holds_it() -> None:
    async def scenario() -> None:
        box = await started()
        waiting = {}
        for number, name in enumerate(["0000", "0001"]):
            ask(box, name)
            waiting[name] = answer(box, await take(box, number=number), number=number)
        await after(0.5)
        ask(box, "0001", 2)
        assert (await at_once(waiting["0001"]))["epoch"] == 2
        await after(10)
        assert not waiting["0000"].done()
        ask(box, "0000", 2)
        assert (await at_once(waiting["0000"]))["trial"] == "0000"

    run(scenario())


def test_a_lane_is_left_to_its_trial_for_three_seconds_from_its_latest_answer() -> None:
    async def scenario() -> None:
        box = await started()
        ask(box)
        waiting = answer(box, await take(box))
        await after(0.5)
        ask(box, "0001")
        await after(2)
        ask(box, epoch=2)
        taken = await at_once(waiting)
        assert taken["epoch"] == 2  # its own trial comes first, though it asked later
        await after(20)
        waiting = answer(box, taken)
        await after(2.5)
        assert not waiting.done()
        await after(2)
        assert waiting.done() and waiting.result()["trial"] == "0001"

    run(scenario())


def test_a_trial_that_finds_its_lane_taken_goes_on_in_another() -> None:
    async def scenario() -> None:
        box = await started()
        ask(box)
        waiting = answer(box, await take(box))
        ask(box, "0001")
        await after(5)
        assert waiting.result()["trial"] == "0001"
        again = ask(box, epoch=2)
        taken = await take(box, number=1)
        assert (taken["trial"], taken["epoch"]) == ("0000", 2)
        answer(box, taken, number=1)
        assert await at_once(again) == OK

    run(scenario())


def test_a_lane_that_holds_nothing_comes_first_then_the_one_that_was_unused_longest() -> None:
    async def scenario() -> None:
        box = await started()
        waiting = []
        for number, name in enumerate(["0000", "0001", "0002"]):
            ask(box, name)
            waiting.append(answer(box, await take(box, number=number), number=number))
            await after(1)
        await box.forget("0002")
        await after(10)
        for name, number in (("0003", 2), ("0004", 0), ("0005", 1)):
            ask(box, name)
            assert (await at_once(waiting[number]))["trial"] == name

    run(scenario())


def test_a_lane_that_must_start_again_or_never_did_gets_no_new_trial() -> None:
    async def scenario() -> None:
        box = await started()
        await box.failed(0, 0, "could not start", False)
        taking(box, number=1)
        await after(0.5)
        await box.failed(1, 0, "its GPU is gone", False)
        sound = taking(box, number=2)
        await after(0.5)
        ask(box)
        assert (await at_once(sound))["trial"] == "0000"

    run(scenario())


def test_a_session_does_not_wait_for_its_lane_beside_a_free_one() -> None:
    async def scenario() -> None:
        box = await started()
        ask(box)
        answer(box, await take(box, number=0), number=0)
        other = taking(box, number=1)
        await after(0.5)
        await box.failed(0, 0, "killed", False)
        ask(box, epoch=2)
        assert (await at_once(other))["epoch"] == 2
        back = taking(box, number=0, attempt="b")
        await after(20)
        assert not back.done()

    run(scenario())


# ---- silence: a lane that does not come back


def test_what_a_silent_lane_works_on_goes_to_another_after_a_minute() -> None:
    async def scenario() -> None:
        box = await started()
        asked = ask(box)
        dead = await take(box, number=0, attempt="a")
        await box.join(0, "a", 1, None, "host")
        other = taking(box, number=1, attempt="b")
        await beats(box, 55, lane_1="b")
        await after(4.5)
        assert not other.done() and set((await box.look())["lanes"]) == {0, 1}
        await after(2)
        assert other.done() and other.result()["id"] == dead["id"]
        assert (await box.look())["lanes"] == {1: "b"}
        answer(box, other.result(), number=1, attempt="b")
        assert await at_once(asked) == OK
        assert await take(box, number=0, attempt="a") == RESTART  # it was alive after all, and begins anew

    run(scenario())


def test_a_lane_that_gives_signs_of_life_may_work_as_long_as_it_takes() -> None:
    async def scenario() -> None:
        box = await started()
        asked = ask(box)
        taken = await take(box, number=0)
        await box.join(0, "a", 1, None, "host")
        other = taking(box, number=1)
        await beats(box, 1000, lane_0="a")
        assert 0 in (await box.look())["lanes"] and not other.done()
        waiting = answer(box, taken)
        assert await at_once(asked) == OK
        await beats(box, 1000, lane_0="a")  # nor need it work
        ask(box, epoch=2)
        assert (await at_once(waiting))["epoch"] == 2

    run(scenario())


def test_a_trial_whose_lane_fell_silent_between_epochs_goes_on_in_another() -> None:
    async def scenario() -> None:
        box = await started()
        ask(box)
        taken = await take(box, number=0)
        silent = answer(box, taken, number=0)
        other = taking(box, number=1)
        await after(0.5)
        silent.cancel()
        await after(61)
        ask(box, epoch=2)
        assert (await at_once(other))["epoch"] == 2
        assert await take(box, number=0) == RESTART  # should it be there after all

    run(scenario())


def test_a_lane_that_fell_silent_gets_nothing_more() -> None:
    async def scenario() -> None:
        box = await started()
        silent = taking(box, number=0)
        await after(0.5)
        silent.cancel()
        await after(65)
        sound = taking(box, number=1)
        await after(0.5)
        ask(box)
        assert (await at_once(sound))["trial"] == "0000"

    run(scenario())


@pytest.mark.parametrize("attempt", ["a", "b"])
def test_a_lane_is_silent_though_its_former_group_is_heard(attempt: str) -> None:
    """Its latest group is `b`."""

    async def scenario() -> None:
        box = await started()
        ask(box)
        await take(box, attempt="a")
        await take(box, attempt="b")
        other = taking(box, number=1)
        await beats(box, 100, lane_0=attempt)
        assert other.done() == (attempt == "a")

    run(scenario())


def test_a_call_of_a_former_group_is_no_sign_of_life_of_the_latest() -> None:
    async def scenario() -> None:
        box = await started()
        ask(box)
        await take(box, attempt="a")
        await take(box, attempt="b")
        other = taking(box, number=1)
        for _ in range(20):
            await after(5)
            assert await take(box, attempt="a") == RESTART
        assert other.done()

    run(scenario())


def test_a_mailbox_that_was_started_again_knows_lanes_by_their_signs_of_life() -> None:
    """Their epoch may take longer than the driver bears with lanes that are not up."""

    async def scenario() -> None:
        box = await started()
        await box.beat(0, "a", None)
        assert (await box.look())["lanes"] == {0: "a"}
        waiting = answer(box, request(), rank=1, world_size=2)
        await box.beat(0, "a", None)
        assert (await box.look())["lanes"] == {0: "a"}
        await after(5)
        asked = ask(box)
        answer(box, request(), {"kind": "ok", "value": "rank 0's"}, rank=0, world_size=2)
        assert (await at_once(asked))["value"] == "rank 0's" and not waiting.done()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            if task.get_name() == CALL:
                task.cancel()
        await after(61)
        assert (await box.look())["lanes"] == {}

    run(scenario())


def test_a_mailbox_that_was_started_again_gives_a_lane_at_work_nothing_more() -> None:
    """Another one, which waits, is free."""

    async def scenario() -> None:
        box = await started()
        await box.beat(0, "a", None)
        ask(box)
        await after(5)
        assert (await take(box, number=1))["trial"] == "0000"

    run(scenario())
