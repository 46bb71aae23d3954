"""The mailbox by itself: whoever dies, is asked again; nobody waits for ever."""

from __future__ import annotations

from typing import Any

import pytest
from mailboxes import BOOM, OK, PEER_GONE, after, answer, ask, at_once, request, run, started, take, taking

from genlab.lanes.mailbox import RESTART, Mailbox


def test_a_request_is_served_and_answered() -> None:
    async def scenario() -> None:
        box = await started()
        asked = ask(box)
        taken = await take(box)
        assert taken == {**request(), "prepared": {"judge": "file"}}
        waiting = answer(box, taken)
        assert await at_once(asked) == OK
        await box.close()
        assert await at_once(waiting) is None
        assert await take(box, number=1) is None  # also whoever comes later

    run(scenario())


def test_trials_wait_for_what_is_prepared() -> None:
    async def scenario() -> None:
        box = Mailbox()
        ask(box)
        waiting = taking(box)
        await after(50)
        assert not waiting.done() and not (await box.look())["ready"]
        preparing = ask(box, "prepare", 0)
        taken = await at_once(waiting)
        assert taken["trial"] == "prepare"
        waiting = answer(box, {**taken, "session": None})  # a worker holds no session of that
        assert await at_once(preparing) == OK
        await after(0.5)
        assert not waiting.done()
        await box.go({})
        assert (await at_once(waiting))["trial"] == "0000" and (await box.look())["ready"]

    run(scenario())


def test_requests_are_served_in_their_order() -> None:
    async def scenario() -> None:
        box = await started()
        names = ["0002", "0000", "0001"]
        for name in names:
            ask(box, name)
            await after(0.5)
        served = [await take(box)]
        for _ in names[1:]:
            waiting = answer(box, served[-1])
            await after(0.5)
            await box.forget(served[-1]["trial"])
            served.append(await at_once(waiting))
        assert [one["trial"] for one in served] == names

    run(scenario())


def test_asking_twice_gets_one_answer() -> None:
    """A trial whose actor died asks again: during the work it waits for it, afterwards it gets the answer at once."""

    async def scenario() -> None:
        box = await started()
        first = ask(box)
        taken = await take(box)
        second = ask(box)
        waiting = answer(box, taken)
        assert await first == await second == OK
        await after(50)
        assert await at_once(box.ask(request())) == await at_once(box.ask(request())) == OK
        assert not waiting.done()  # nothing is trained for it

    run(scenario())


def test_the_first_answer_stays_and_who_came_second_is_free() -> None:
    """A lane that was taken for dead comes back with its epoch, which another one is at work on."""

    async def scenario() -> None:
        box = await started()
        asked = ask(box)
        slow = await take(box, number=0)
        await after(65)
        second = await take(box, number=1)
        answer(box, slow, {"kind": "ok", "value": "first"}, number=0)
        assert (await at_once(asked))["value"] == "first"
        waiting = answer(box, second, {"kind": "ok", "value": "second"}, number=1)
        await after(0.5)
        assert (await at_once(box.ask(request())))["value"] == "first"
        await box.forget("0000")
        ask(box, "0001")
        assert (await at_once(waiting))["trial"] == "0001"

    run(scenario())


def test_a_new_worker_group_takes_the_request_over() -> None:
    async def scenario() -> None:
        box = await started()
        asked = ask(box)
        dead = await take(box, attempt="a")
        alive = await take(box, attempt="b")
        assert dead == alive
        answer(box, alive, attempt="b")
        assert await asked == OK
        assert await take(box, attempt="a") == RESTART

    run(scenario())


def test_a_lane_that_dies_in_every_try_fails_the_trial_alone() -> None:
    async def scenario() -> None:
        box = await started()
        asked = ask(box)
        for attempt in "abc":
            assert (await take(box, attempt=attempt))["id"] == request()["id"]
            await box.failed(0, 0, f"Traceback\n{attempt} has no memory left", False)
        last = taking(box, attempt="d")
        got = await at_once(asked)
        assert got["kind"] == "lost" and got["value"].startswith("Traceback\n")
        last_line = got["value"].splitlines()[-1]
        assert "died 3 times" in last_line and last_line.endswith("the last error: c has no memory left")
        ask(box, "0001")
        assert (await at_once(last))["trial"] == "0001"

    run(scenario())


def test_tries_are_counted_by_epoch_and_by_group() -> None:
    """Two groups of two ranks die in each of three epochs: none of them three times."""

    async def scenario() -> None:
        box = await started()
        group = 0
        for epoch in (1, 2, 3):
            asked = ask(box, epoch=epoch)
            for _ in range(3):
                group += 1
                both = [await take(box, attempt=f"{group}", rank=rank, world_size=2) for rank in (0, 1)]
                assert [one["epoch"] for one in both] == [epoch, epoch]
            for rank in (0, 1):
                answer(box, both[rank], attempt=f"{group}", rank=rank, world_size=2)
            assert await at_once(asked) == OK

    run(scenario())


def test_all_ranks_must_answer_and_rank_0s_answer_counts() -> None:
    async def scenario() -> None:
        box = await started()
        asked = ask(box)
        both = [await take(box, rank=rank, world_size=2) for rank in (0, 1)]
        early = answer(box, both[1], {"kind": "ok", "value": None}, rank=1, world_size=2)
        await after(50)
        assert not asked.done() and not early.done()
        answer(box, both[0], {"kind": "ok", "value": "rank 0's"}, rank=0, world_size=2)
        assert await at_once(asked) == {"kind": "ok", "value": "rank 0's"}
        ask(box, epoch=2)
        assert (await at_once(early))["epoch"] == 2

    run(scenario())


def test_answers_of_two_groups_are_not_taken_together() -> None:
    """Nor is one counted that came too late."""

    async def scenario() -> None:
        box = await started()
        asked = ask(box)
        old = [await take(box, rank=rank, world_size=2) for rank in (0, 1)]
        answer(box, old[1], rank=1, world_size=2)
        new = [await take(box, attempt="b", rank=rank, world_size=2) for rank in (0, 1)]
        answer(box, new[1], attempt="b", rank=1, world_size=2)
        late = answer(box, old[0], {"kind": "ok", "value": "of a"}, rank=0, world_size=2)
        assert await at_once(late) == RESTART
        await after(5)
        assert not asked.done()
        answer(box, new[0], {"kind": "ok", "value": "of b"}, attempt="b", rank=0, world_size=2)
        assert (await at_once(asked))["value"] == "of b"

    run(scenario())


def test_a_former_groups_rank_does_not_answer_for_the_next() -> None:
    async def scenario() -> None:
        box = await started()
        asked = ask(box)
        old = [await take(box, rank=rank, world_size=2) for rank in (0, 1)]
        answer(box, old[1], rank=1, world_size=2)
        new = await take(box, attempt="b", rank=0, world_size=2)
        answer(box, new, attempt="b", rank=0, world_size=2)
        await after(5)
        assert not asked.done()

    run(scenario())


def test_a_rank_that_lost_its_peer_blames_nobody() -> None:
    """The request stays open, for the group that comes next."""

    async def scenario() -> None:
        box = await started()
        asked = ask(box)
        taken = await take(box, rank=0, world_size=2)
        assert await answer(box, taken, PEER_GONE, world_size=2) == RESTART
        await after(5)
        assert not asked.done()
        for rank in (0, 1):
            answer(box, await take(box, attempt="b", rank=rank, world_size=2), attempt="b", rank=rank, world_size=2)
        assert await at_once(asked) == OK

    run(scenario())


def test_ranks_that_lost_each_other_try_again_in_a_new_group() -> None:
    async def scenario() -> None:
        box = await started()
        asked = ask(box)
        both = [await take(box, rank=rank, world_size=2) for rank in (0, 1)]
        tasks = [answer(box, both[rank], PEER_GONE, rank=rank, world_size=2) for rank in (0, 1)]
        assert [await at_once(task) for task in tasks] == [RESTART, RESTART]
        await after(5)
        assert not asked.done()
        for rank in (0, 1):
            answer(box, await take(box, attempt="b", rank=rank, world_size=2), attempt="b", rank=rank, world_size=2)
        assert await at_once(asked) == OK

    run(scenario())


def test_a_worker_that_is_alone_has_no_peer_to_lose() -> None:
    """A connection that is closed to it is one that its task opened."""

    async def scenario() -> None:
        box = await started()
        asked = ask(box)
        waiting = answer(box, await take(box), PEER_GONE)
        assert await at_once(asked) == {"kind": "error", "value": PEER_GONE["value"]}
        assert (await box.look())["error"] == PEER_GONE["value"]
        ask(box, "0001")
        assert (await at_once(waiting))["trial"] == "0001"  # in the same group

    run(scenario())


def test_a_failed_trial_holds_no_lane() -> None:
    """One rank raised, the other one did not notice."""

    async def scenario() -> None:
        box = await started()
        asked = ask(box)
        both = [await take(box, rank=rank, world_size=2) for rank in (0, 1)]
        waiting = [answer(box, both[1], BOOM, rank=1, world_size=2)]
        await after(0.5)
        waiting.append(answer(box, both[0], rank=0, world_size=2))
        assert (await at_once(asked)) == {"kind": "error", "value": "boom"}
        ask(box, "0001")
        assert [(await at_once(one))["trial"] for one in waiting] == ["0001", "0001"]

    run(scenario())


def test_a_mailbox_that_was_started_again_hears_an_outcome_before_the_question() -> None:
    async def scenario() -> None:
        box = await started()
        waiting = answer(box, request())
        await after(5)
        assert await at_once(box.ask(request())) == OK
        await after(50)
        assert not waiting.done()

    run(scenario())


def test_forgotten_trials_free_their_lanes_and_leave_nothing() -> None:
    async def scenario() -> None:
        box = await started(patience=1000)
        waiting = {}
        for number, name in enumerate(["0000", "confirm-0000"]):
            ask(box, name)
            waiting[name] = answer(box, await take(box, number=number), number=number)
        await after(0.5)
        asked = ask(box, "0001")
        await after(0.5)
        assert not waiting["0000"].done()
        await after(0.5)
        await box.forget("0000")
        assert (await at_once(waiting["0000"]))["trial"] == "0001"
        assert list(box.answers) == [request("confirm-0000")["id"]] and len(box.requests) == 2
        ask(box, "0002")
        await after(50)
        assert not asked.done() and not waiting["confirm-0000"].done()  # another trial, which goes on

    run(scenario())


def test_a_cut_answers_everybody_from_now_on_with_its_first_reason() -> None:
    async def scenario() -> None:
        box = await started()
        done, at_work, waiting = ask(box, "0000"), ask(box, "0001"), ask(box, "0002")
        answer(box, await take(box))
        assert await at_once(done) == OK
        await take(box, number=1)
        await after(0.5)
        await box.cut("interrupted")
        await box.cut("another reason")
        cut = {"kind": "cut", "value": "interrupted"}
        assert await at_once(at_work) == await at_once(waiting) == await at_once(box.ask(request("0003"))) == cut
        assert (await box.look())["cut"] == "interrupted"
        assert await at_once(box.ask(request("0000"))) == OK  # what was trained before

    run(scenario())


@pytest.mark.parametrize("world_size", [1, 2])
def test_storage_that_fails_stops_the_sweep_and_blames_no_trial(world_size: int) -> None:
    """Also where another rank hangs."""

    async def scenario() -> None:
        box = await started()
        asked = ask(box)
        taken = [await take(box, rank=rank, world_size=world_size) for rank in range(world_size)]
        answer(box, taken[-1], {"kind": "storage", "value": "disk full"}, rank=world_size - 1, world_size=world_size)
        assert await asked == {"kind": "storage", "value": "disk full"}
        assert await at_once(box.ask(request("0001"))) == {"kind": "cut", "value": "disk full"}
        assert (await box.look())["cut"] == "disk full"

    run(scenario())


def test_a_lane_is_up_once_it_says_so_and_why_not_is_known() -> None:
    async def scenario() -> None:
        box = await started()
        waiting = taking(box, rank=1, world_size=2)
        await after(0.5)
        assert (await box.look())["lanes"] == {}
        await box.failed(0, 1, "no memory left on the GPU", False)
        assert await at_once(waiting) == RESTART
        await box.note("downloading")
        seen = await box.look()
        assert seen["error"] == "no memory left on the GPU"
        assert seen["notes"] == ["lane 0 starts again: no memory left on the GPU", "downloading"]
        assert (await box.look())["notes"] == []
        await box.join(0, "b", 2, None)
        assert (await box.look())["lanes"] == {0: "b"}
        taking(box, attempt="c", rank=1, world_size=2)
        await after(0.5)
        assert (await box.look())["lanes"] == {}  # b is no more, c not there yet
        await box.join(0, "c", 2, None)
        await box.beat(0, "a")  # on its way when its group died
        assert (await box.look())["lanes"] == {0: "c"}

    run(scenario())


def test_an_error_at_every_start_is_said_once_and_known_as_final_if_it_must_come_again() -> None:
    async def scenario() -> None:
        box = await started()
        for failed, final in (
            ((0, 0, "Traceback\nOSError: no route", False), None),
            ((0, 0, "no module 'mine'", True), None),
            ((0, 1, "no module 'mine'", True), None),  # of the same start
            ((1, 0, "no module 'mine'", True), None),
            ((0, 0, "Traceback\nOSError: no route", False), None),  # that may pass
            ((0, 1, "no module 'yours'", True), None),
            ((0, 1, "no module 'mine'", True), "no module 'mine'"),
        ):
            await box.failed(*failed)
            assert (await box.look())["final"] == final
        for _ in range(2):
            await box.failed(0, 0, "Traceback\nMemoryError", False)
        assert (await box.look())["notes"] == ["lane 0 starts again: MemoryError"]

    run(scenario())


def test_a_run_that_ended_leaves_its_placement_group_once_and_its_request_to_the_next() -> None:
    async def scenario() -> None:
        box = await started()
        asked = ask(box)
        await box.join(0, "a", 1, ["placement group"])
        await take(box)
        other: Any = taking(box, number=1, attempt="c")
        assert await box.gone(0) == ["placement group"]
        assert (await box.look())["lanes"] == {}
        assert await box.gone(0) is None  # the run after it did not come up
        answer(box, await take(box, attempt="b"), attempt="b")
        assert await at_once(asked) == OK and not other.done()

    run(scenario())
