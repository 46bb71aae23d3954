"""A process of the sweep is killed, or one rank raises: every trial ends well, and everything is recorded once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from local_sweep import TRIALS, LocalSweep

pytestmark = [pytest.mark.reliability, pytest.mark.timeout(900)]
GROUP = "A process of the sweep"


def test_nothing_happens(make_local: Callable[..., LocalSweep]) -> None:
    """What the other rows are compared with."""
    sweep = make_local()
    sweep.start()
    sweep.until_all_train()
    sweep.finish()
    outcome = sweep.tell(GROUP, "nothing")
    outcome.assert_whole(TRIALS)
    assert outcome.trained_twice == 0 and not outcome.unusual()


@pytest.mark.parametrize(
    ("fault", "title", "twice"),
    [
        ("a lane's worker killed", "ray::Worker", 1),
        ("the process of the trials' clients killed", "ray::ClientHost", 0),
        ("the mailbox killed", "ray::Mailbox", 0),
        ("a Ray Train controller killed", "ray::Controller", 1),
        ("the drain killed", "genlab.tracking.drain", 0),
    ],
)
def test_a_process_is_killed(make_local: Callable[..., LocalSweep], fault: str, title: str, twice: int) -> None:
    sweep = make_local()
    sweep.start()
    sweep.until_all_train()
    sweep.kill(title)
    sweep.goes_on()
    sweep.finish()
    outcome = sweep.tell(GROUP, fault)
    outcome.assert_whole(TRIALS)
    assert outcome.trained_twice <= twice  # the epoch in progress


def test_one_rank_raises_while_the_other_waits_for_it(make_local: Callable[..., LocalSweep]) -> None:
    """There is no other lane to try it on, so that one trial fails."""
    sweep = make_local(options="--lanes 1 --workers 2")
    sweep.start()
    sweep.until_all_train()
    sweep.notes.beside("raise").touch()
    sweep.until("a rank raises", lambda: not sweep.notes.beside("raise").exists())
    sweep.finish()
    note = "The trial in which it raised has failed, as it would on its own: there is no second lane to try it on."
    outcome = sweep.tell(GROUP, "one of two ranks raises while the other waits in an all-reduce", note=note)
    outcome.assert_whole(TRIALS, failed=1)
