"""The mailbox by itself: whoever dies, is asked again; nobody waits for ever."""

from __future__ import annotations

from typing import Any

import pytest
from mailboxes import BOOM, OK, PEER_GONE, after, answer, ask, at_once, beats, request, run, started, take, taking

from genlab.lanes.mailbox import RESTART, Mailbox


def test_a_request_is_served_and_answered() -> None:
    async def scenario() -> None:
        box = await started()
        asked = ask(box)
        taken = await take(box)
        assert taken == {**request(), "prepared": {"judge": "file"}, "ticket": taken["ticket"]}
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


@pytest.mark.parametrize("begun", [True, False])
def test_a_late_answer_wedges_no_lane(begun: bool) -> None:
    """A lane is silent, its request goes to another, which has begun it or not; then the first one does answer."""

    async def scenario() -> None:
        box = await started()
        asked = ask(box)
        slow = await take(box, number=0)
        other: Any = taking(box, number=1)
        await after(0.5)
        if not begun:  # it is between two calls when it is given the request
            other.cancel()
        await beats(box, 65, lane_1="a")
        second = await at_once(other) if begun else None
        answer(box, slow, {"kind": "ok", "value": "late"}, number=0)
        assert (await at_once(asked))["value"] == "late"
        await box.forget("0000")
        ask(box, "0001")
        waiting = answer(box, second, number=1) if begun else taking(box, number=1)
        assert (await at_once(waiting))["trial"] == "0001"

    run(scenario())


def test_a_new_worker_group_takes_the_request_over() -> None:
    async def scenario() -> None:
        box = await started()
        asked = ask(box)
        dead = await take(box, attempt="a")
        alive = await take(box, attempt="b")
        assert {**dead, "ticket": ""} == {**alive, "ticket": ""} and dead["ticket"] != alive["ticket"]
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


def test_a_trial_that_a_lane_finishes_ends_its_row_of_failures() -> None:
    async def scenario() -> None:
        box = await started()
        for number in (0, 1):
            await box.join(number, "a", 1, None, f"host-{number}")
        sound = taking(box, number=1)
        bad = taking(box, number=0)
        for name in ("0000", "0001", "fine", "0002"):
            asked = ask(box, name)
            taken = await at_once(bad)
            assert taken["trial"] == name
            if name == "fine":
                bad = answer(box, taken, number=0)
            else:
                bad = answer(box, taken, {**BOOM, "value": "Traceback\nOSError: no such folder"}, number=0)
                sound = answer(box, await at_once(sound), number=1)
            assert await at_once(asked) == OK
            await box.forget(name)
        notes = (await box.look())["notes"]
        assert len(notes) == 3 and not any("set aside" in note for note in notes)

    run(scenario())


def test_what_raised_is_tried_once_more_on_another_lane() -> None:
    """It fails only there: its trial goes on, and a lane to which that happens three times in a row is set aside."""

    async def scenario() -> None:
        box = await started()
        for number in (0, 1):
            await box.join(number, "a", 1, None, f"host-{number}")
        sound = taking(box, number=1)
        bad: Any = None
        for name in ("0000", "0001", "0002"):
            asked = ask(box, name)
            bad = await at_once(bad) if bad is not None else await take(box, number=0)
            if name == "0000":
                assert not sound.done()
            bad = answer(box, bad, {**BOOM, "value": "Traceback\nOSError: no such folder"}, number=0)
            sound = answer(box, await at_once(sound), number=1)
            assert await at_once(asked) == OK
            await box.forget(name)
        notes = (await box.look())["notes"]
        told = "failed on lane 0 on host-0 and went on elsewhere: OSError: no such folder"
        assert notes[:3] == [f"trial {name} {told}" for name in ("0000", "0001", "0002")]
        assert notes[3] == "lane 0 on host-0 is set aside: 3 trials in a row failed only there"
        ask(box, "0003")
        assert (await at_once(sound))["trial"] == "0003"
        later = ask(box, "0004")
        await after(50)
        assert not bad.done() and not later.done()  # it waits for the lane that can
        await box.join(0, "a", 1, None, "host-2")  # another machine
        assert (await at_once(bad))["trial"] == "0004"

    run(scenario())


def test_beside_a_lane_that_was_set_aside_the_other_one_judges_alone() -> None:
    """What raises there is not trained once more."""

    async def scenario() -> None:
        box = await started(strikes=1)
        for number in (0, 1):
            await box.join(number, "a", 1, None, f"host-{number}")
        sound, asked = taking(box, number=1), ask(box, "0000")
        answer(box, await take(box, number=0), BOOM, number=0)
        sound = answer(box, await at_once(sound), number=1)
        assert await at_once(asked) == OK
        await box.forget("0000")
        assert "lane 0 on host-0 is set aside" in (await box.look())["notes"][-1]
        asked = ask(box, "0001")
        answer(box, await at_once(sound), BOOM, number=1)
        assert await at_once(asked) == {"kind": "error", "value": "boom"}

    run(scenario())


def test_what_raises_on_the_first_lane_that_is_up_waits_for_the_next_one() -> None:
    """Its machine may lack the data; were it believed, three trials in a row would end the sweep."""

    async def scenario() -> None:
        box = await started(expected=2)
        await box.join(0, "a", 1, None, "host-0")
        asked = {name: ask(box, name) for name in ("0000", "0001", "0002")}
        bad = await take(box, number=0)
        for name in ("0001", "0002"):
            bad = await at_once(answer(box, bad, BOOM, number=0))
            assert bad["trial"] == name
        last = answer(box, bad, BOOM, number=0)
        await after(8)
        assert not last.done() and not any(one.done() for one in asked.values())
        await box.join(1, "a", 1, None, "host-1")
        sound = taking(box, number=1)
        for name, one in asked.items():
            good = await at_once(sound)
            assert good["trial"] == name
            sound = answer(box, good, number=1)
            assert await at_once(one) == OK
            await box.forget(name)
        assert "lane 0 on host-0 is set aside" in (await box.look())["notes"][-1]

    run(scenario())


def test_a_lane_that_stays_alone_judges_alone_after_a_while() -> None:
    async def scenario() -> None:
        box = await started(expected=2, coming=32)
        asked = ask(box)
        again = answer(box, await take(box), BOOM)
        await after(31)
        assert not again.done() and not asked.done()
        await after(2)
        answer(box, await at_once(again), BOOM)
        assert (await at_once(asked))["value"] == "boom"

    run(scenario())


def test_a_lane_that_others_share_the_error_with_is_a_sound_one() -> None:
    """The trial's own error comes on the second lane as well, and is told then."""

    async def scenario() -> None:
        box = await started()
        lanes: list[Any] = [taking(box, number=0), taking(box, number=1)]
        for name in ("0000", "0001", "0002", "0003"):
            asked = ask(box, name)
            for _ in range(2):
                await after(0.5)
                (number,) = [n for n in (0, 1) if lanes[n].done()]
                outcome = {**BOOM, "value": f"boom of {number}"}
                lanes[number] = answer(box, lanes[number].result(), outcome, number=number)
            assert (await at_once(asked)) == {"kind": "error", "value": f"boom of {number}"}
        assert (await box.look())["notes"] == []
        assert [lane.aside for lane in box.lanes.values()] == [None, None]

    run(scenario())


def test_a_lane_that_is_alone_judges_alone() -> None:
    async def scenario() -> None:
        box = await started()
        taking(box, number=1).cancel()
        await box.failed(1, 0, "could not start", False)
        asked = ask(box)
        answer(box, await take(box), BOOM)
        assert await at_once(asked) == {"kind": "error", "value": "boom"}

    run(scenario())


def test_a_lane_gets_no_fourth_trial_while_three_that_failed_there_are_tried_elsewhere() -> None:
    """The other lane is busy for long. What failed there is taken up nonetheless."""

    async def scenario() -> None:
        box = await started()
        busy = taking(box, number=1)
        await after(0.5)
        ask(box, "long")
        await at_once(busy)
        waiting = taking(box, number=0)
        for i in range(4):
            ask(box, f"{i:04d}")
        for i in range(3):
            taken = await at_once(waiting)
            assert taken["trial"] == f"{i:04d}"
            waiting = answer(box, taken, BOOM, number=0)
        await beats(box, 50, lane_1="a")
        assert not waiting.done()
        served = answer(box, busy.result(), number=1)
        await after(0.125)
        await box.forget("long")
        taken = await at_once(served)
        assert taken["trial"] == "0000"  # in their order
        answer(box, taken, BOOM, number=1)
        assert (await at_once(waiting))["trial"] == "0003"

    run(scenario())


def test_an_epoch_that_kills_whoever_trains_it_visits_three_groups_wherever_they_are() -> None:
    async def scenario() -> None:
        box = await started()
        asked = ask(box)
        for number in range(3):
            assert (await take(box, number=number))["trial"] == "0000"
            await box.failed(number, 0, f"Traceback\nlane {number} was killed", False)
        spared = taking(box, number=3)
        got = await at_once(asked)
        assert got["kind"] == "lost" and got["value"].endswith("the last error: lane 2 was killed")
        await after(50)
        assert not spared.done()

    run(scenario())


def test_lanes_that_owe_each_other_a_judgement_give_it() -> None:
    async def scenario() -> None:
        box = await started(strikes=1)
        names, lanes = ("0000", "0001"), [taking(box, number=0), taking(box, number=1)]
        asked = [ask(box, name) for name in names]
        for tried in (names, names[::-1]):
            taken = [await at_once(lane) for lane in lanes]
            assert tuple(one["trial"] for one in taken) == tried
            lanes = [answer(box, one, BOOM, number=number) for number, one in enumerate(taken)]
        assert [(await at_once(one))["kind"] for one in asked] == ["error", "error"]

    run(scenario())


def test_an_outcome_that_is_handed_in_again_and_again_changes_nothing() -> None:
    """Its lane stays the one that holds the session, beside one that was never used."""

    async def scenario() -> None:
        box = await started()
        ask(box)
        waiting = answer(box, await take(box, number=1), number=1)
        taking(box, number=0)
        await after(50)
        ask(box, epoch=2)
        assert (await at_once(waiting))["epoch"] == 2

    run(scenario())


def test_what_a_former_group_hands_in_late_does_not_hold_the_lane() -> None:
    async def scenario() -> None:
        box = await started()
        ask(box)
        former = [await take(box, attempt="a", rank=rank, world_size=2) for rank in (0, 1)]
        ranks = [await take(box, attempt="b", rank=rank, world_size=2) for rank in (0, 1)]
        waiting = [answer(box, one, attempt="b", rank=rank, world_size=2) for rank, one in enumerate(ranks)]
        await after(0.5)
        await box.forget("0000")
        answer(box, former[1], attempt="a", rank=1, world_size=2)
        await after(0.5)
        ask(box, "0001")
        assert [(await at_once(one))["trial"] for one in waiting] == ["0001", "0001"]

    run(scenario())


def test_a_part_of_what_a_former_mailbox_gave_holds_no_lane() -> None:
    """Rank 0 was between two requests when the mailbox died, rank 1 still at work on the one before."""

    async def scenario() -> None:
        box = await started()
        ask(box, "0001")
        ranks = [await take(box, rank=0, world_size=2)]
        ranks.append(await at_once(answer(box, request("0000"), rank=1, world_size=2)))
        assert [one["trial"] for one in ranks] == ["0001", "0001"]
        waiting = [answer(box, one, rank=rank, world_size=2) for rank, one in enumerate(ranks)]
        await after(0.5)
        await box.forget("0001")
        ask(box, "0002")
        assert [(await at_once(one))["trial"] for one in waiting] == ["0002", "0002"]

    run(scenario())


def test_a_mailbox_that_was_started_again_hears_of_a_placement_group_by_a_sign_of_life() -> None:
    async def scenario() -> None:
        box = await started()
        await box.beat(0, "a", ["placement group"])
        assert await box.gone(0) == (["placement group"], False)

    run(scenario())


def test_ranks_of_which_some_were_answered_by_a_mailbox_before_this_one_end_together_or_start_again() -> None:
    async def scenario() -> None:
        box = await started()
        idle = taking(box, rank=0, world_size=2)  # it never heard of the request that rank 1 did
        await after(0.5)
        done = answer(box, request("0007"), rank=1, world_size=2)
        assert [await at_once(one) for one in (idle, done)] == [RESTART, RESTART]
        asked = ask(box)  # which the next mailbox gives to rank 0, where rank 1 has it from the last
        taken = await take(box, attempt="b", rank=0, world_size=2)
        former = answer(box, request(), attempt="b", rank=1, world_size=2)
        await after(5)
        assert not former.done() and not asked.done()
        answer(box, taken, attempt="b", rank=0, world_size=2)
        assert await at_once(asked) == OK

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


def test_an_error_that_a_former_mailbox_would_have_heard_of_is_tried_again() -> None:
    """Nobody here knows on which lanes it raised before."""

    async def scenario() -> None:
        box = await started()
        waiting = answer(box, request(), BOOM)
        await after(5)
        asked = ask(box)
        answer(box, await at_once(waiting))
        assert await at_once(asked) == OK

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
        assert list(box.answers) == [request("confirm-0000")["id"]] and list(box.open) == [request("0001")["id"]]
        assert set(box.of_trial) == {"confirm-0000", "0001"}
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
        for text in ("12 images", "12 images", "13 images", "12 images"):  # of lanes that read two sets
            await box.note(text, once=True)
        seen = await box.look()
        assert seen["error"] == "no memory left on the GPU"
        assert seen["notes"] == [
            "lane 0 starts again: no memory left on the GPU",
            "downloading",
            "12 images",
            "13 images",
        ]
        await box.note("13 images", once=True)
        assert (await box.look())["notes"] == []
        await box.join(0, "b", 2, None, "host")
        assert (await box.look())["lanes"] == {0: "b"}
        taking(box, attempt="c", rank=1, world_size=2)
        await after(0.5)
        assert (await box.look())["lanes"] == {}  # b is no more, c not there yet
        await box.join(0, "c", 2, None, "host")
        await box.beat(0, "a", None)  # on its way when its group died
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


def test_a_run_that_ended_leaves_its_placement_group_once_and_its_request_to_any_lane() -> None:
    async def scenario() -> None:
        box = await started()
        asked = ask(box)
        await box.join(0, "a", 1, ["placement group"], "host")
        await take(box)
        other: Any = taking(box, number=1, attempt="c")
        assert await box.gone(0) == (["placement group"], False)
        assert (await box.look())["lanes"] == {}
        answer(box, await at_once(other), number=1, attempt="c")  # whoever is there takes it up
        assert await at_once(asked) == OK
        assert await box.gone(0) == (None, False)  # the run after it did not come up
        assert await box.gone(1) == (None, True)
        assert await box.gone(1) == (None, False)
        await box.join(0, "d", 1, ["its third"], "host")
        await box.join(0, "a", 1, ["placement group"], "host")  # on its way when its group died
        assert await box.gone(0) == (["its third"], False)

    run(scenario())
