"""The driver's lanes: how their runs are watched, and what is made of what the mailbox says. Ray is stood in for."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from made_sweeps import wait_for

from genlab.lanes import calls
from genlab.lanes import pool as module
from genlab.lanes.pool import LanePool
from genlab.lanes.worker import LaneSettings

NO_NODE = RuntimeError("the run failed\nthe node is gone")
FEW = {"CPU": 2.0}


def looked(lanes: dict[int, Any], **more: Any) -> dict[str, Any]:
    """What the mailbox says."""
    return {"lanes": lanes, "serving": [], "error": None, "final": None} | more


class Cluster:
    """In Ray's and the clock's place. Each run of a lane ends by an error, and the mailbox then knows of a placement
    group, if the lane had come up, and whether it served anything."""

    def __init__(self, *runs: Any) -> None:
        self.runs = list(runs)
        self.now = 5000.0
        self.happened: list[Any] = []
        self.seen = looked({})
        self.gone: Any = (None, False)
        self.util = SimpleNamespace(remove_placement_group=lambda group: self.happened.append(("removed", group)))
        self.mailbox = SimpleNamespace(
            gone=SimpleNamespace(remote=lambda lane: self.gone),
            look=SimpleNamespace(remote=lambda: self.seen),
            close=SimpleNamespace(remote=lambda: self.happened.append("closed")),
        )

    def remote(self, kind: Any) -> Any:
        def make(*arguments: Any) -> Any:
            self.made_with = arguments
            return self.mailbox

        return SimpleNamespace(options=lambda **options: SimpleNamespace(remote=make))

    def get(self, answered: Any, timeout: float) -> Any:
        assert timeout >= 1  # no actor answers at once
        if isinstance(answered, Exception):
            raise answered
        return answered

    def kill(self, actor: Any) -> None:
        assert actor is self.mailbox
        self.happened.append("killed")

    def available_resources(self) -> dict[str, float]:
        return {"CPU": 1.0}

    def monotonic(self) -> float:
        return self.now

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(get_node_id=lambda: "ab" * 28)

    def train(self, pool: LanePool, lane: int) -> None:
        """One run; after the last one the sweep is over."""
        if not self.runs:
            pool.closing.set()
            return
        self.gone = self.runs.pop(0)
        raise NO_NODE


Made = Callable[..., LanePool]


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Made:
    def make(cluster: Cluster, count: int = 1, train: Any = None) -> LanePool:
        monkeypatch.setattr(module, "ray", cluster)
        monkeypatch.setattr(calls, "ray", cluster)
        monkeypatch.setattr(module, "time", cluster)
        monkeypatch.setattr(module, "PAUSES", (0.0, 0.0))
        if train is not False:
            monkeypatch.setattr(LanePool, "_train", train or (lambda self, lane: cluster.train(self, lane)))
        return LanePool(count, 2, FEW, lane_settings(), deadline=180.0)

    return make


def lane_settings() -> LaneSettings:
    paths: dict[str, Any] = {"storage": "", "folder": "", "data_root": None, "script": None, "environment": {}}
    return LaneSettings(lane=-1, mailbox=None, code=b"", threads=1, epoch_deadline=60.0, **paths)


def ended(pool: LanePool) -> None:
    for thread in pool.threads:
        thread.join(60)
        assert not thread.is_alive()


NOTHING, SERVED = (None, False), (None, True)


def test_a_lane_whose_runs_serve_nothing_four_times_in_a_row_is_lost_but_tried_on(pool: Made) -> None:
    cluster = Cluster(*[NOTHING] * 6)
    made = pool(cluster)
    ended(made)
    assert made.lost == {0: "the node is gone"} and cluster.runs == []
    made.look()
    assert made.problem == "the node is gone: the lane does not come up"
    made.close()


def test_a_lost_lane_is_nothing_to_the_others_until_all_are_lost(pool: Made) -> None:
    cluster = Cluster()
    made = pool(cluster, count=0)
    made.lanes, made.lost = 2, {1: "no GPU"}
    assert made.look()["lost"] == {1: "no GPU"} and made.problem is None  # the other one is on its way
    made.lost = {1: "no GPU", 0: "no memory"}
    cluster.seen = looked({0: "a"})
    assert made.look()["lanes"] == {0: "a"} and made.problem is None  # it has just come up, for the fifth time
    assert set(made.lost) == {0, 1}  # until it has served
    cluster.seen = looked({0: "a"}, serving=[0])
    assert made.look()["lost"] == {1: "no GPU"}
    made.lost[0] = "no memory"
    cluster.seen = looked({})
    made.look()
    assert made.problem == "no memory: all 2 lanes do not come up"
    made.close()


@pytest.mark.parametrize("between", [(["group"], True), ([None], True), SERVED], ids=["its group", "none", "unknown"])
def test_failures_are_counted_in_a_row(pool: Made, between: Any) -> None:
    cluster = Cluster(*[NOTHING] * 3, between, *[NOTHING] * 3)
    made = pool(cluster)
    ended(made)
    assert made.lost == {} and not cluster.runs
    # what a dead controller left is removed, once
    assert cluster.happened == ([("removed", "group")] if between[0] == ["group"] else [])
    made.close()


def test_a_lane_that_comes_up_and_dies_before_it_served_anything_has_not_come_up(pool: Made) -> None:
    made = pool(Cluster(*[(["group"], False)] * 4))
    ended(made)
    assert made.lost == {0: "the node is gone"}


def test_runs_that_fail_are_started_ever_more_slowly() -> None:
    assert [module.pause_after(failures) for failures in range(5)] == [0.0, 0.5, 1.0, 2.0, 4.0]
    assert module.pause_after(50) == 60.0


def test_a_mailbox_that_does_not_answer_keeps_no_lane_down(pool: Made) -> None:
    cluster = Cluster(TimeoutError(), NOTHING)
    made = pool(cluster)
    ended(made)
    assert made.problem is None and not cluster.runs
    made.close()


def test_each_run_has_a_name_of_its_own_and_knows_its_lane(pool: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[Any] = []
    enough = threading.Event()

    class Trainer:
        def __init__(
            self, name: str, settings: LaneSettings, workers: int, resources: Any, scratch: str, where: Any
        ) -> None:
            assert (workers, resources, where) == (2, FEW, "of 3") and Path(scratch).is_dir()
            runs.append((name, settings.lane, settings.mailbox))

        def fit(self) -> None:
            if len(runs) >= 5 and {lane for _, lane, _ in runs} == {0, 1, 2}:
                enough.set()

    stand_in = SimpleNamespace(lane_run=Trainer, controllers_place=lambda lanes: f"of {lanes}")
    monkeypatch.setitem(sys.modules, "genlab.lanes.trainer", stand_in)
    cluster = Cluster()
    cluster.gone = (["group"], True)
    made = pool(cluster, count=3, train=False)
    assert enough.wait(60) and cluster.made_with == (3,)  # the mailbox waits for so many
    made.close()
    names, numbers, mailboxes = zip(*runs, strict=True)
    assert len(set(names)) == len(names) and set(numbers) == {0, 1, 2}
    assert all(mailbox is cluster.mailbox for mailbox in mailboxes)


def test_no_lane_up_for_the_deadline_is_a_problem_that_stays(pool: Made) -> None:
    cluster = Cluster()
    made = pool(cluster, count=0)
    for seconds, seen in ((175.0, {}), (10.0, {0: None, 1: "a"}), (175.0, {})):  # up in between
        cluster.now += seconds
        cluster.seen = looked(seen)
        assert made.look() == {**cluster.seen, "lost": {}} and made.problem is None
    cluster.now += 10.0
    cluster.seen = looked({}, error="Traceback\nMemoryError: none left")
    made.look()
    problem = made.problem or ""
    needed = "no lane came up in 180 s: each needs 2 x {'CPU': 2.0}; free are {'CPU': 1.0}"
    assert problem == f"MemoryError: none left; {needed}"
    cluster.seen = looked({}, error="another one", final="a third one")
    made.look()
    assert made.problem == problem
    made.close()


def test_an_error_that_no_start_gets_past_is_a_problem_at_once_unless_another_lane_works(pool: Made) -> None:
    cluster = Cluster()
    made = pool(cluster, count=0)
    cannot = {"error": "its GPU is gone", "final": "a lane cannot load the task: NameError: x"}
    cluster.seen = looked({1: None}, **cannot)
    made.look()
    assert made.problem == "a lane cannot load the task: NameError: x; no lane came up"
    made.close()


def test_an_error_that_no_start_gets_past_now_may_pass_where_a_lane_was_up(pool: Made) -> None:
    """As where the storage is away from all machines for a while, and lanes start again meanwhile."""
    cluster = Cluster()
    made = pool(cluster, count=0)
    cannot = {"error": "node-a does not see the sweep's folder", "final": "node-a does not see the sweep's folder"}
    cluster.seen = looked({1: "a"}, **cannot)
    made.look()
    assert made.problem is None
    cluster.seen = looked({1: None}, **cannot)
    cluster.now += 175.0
    made.look()
    assert made.problem is None
    cluster.now += 10.0
    made.look()
    assert (made.problem or "").startswith("node-a does not see the sweep's folder; no lane came up in 180 s")
    made.close()


def test_closing_sends_the_lanes_home_waits_for_them_and_leaves_nothing(pool: Made) -> None:
    cluster = Cluster()
    at_work, home = threading.Event(), threading.Event()

    def train(self: LanePool, lane: int) -> None:
        at_work.set()
        assert home.wait(60)
        cluster.happened.append("ended")

    def close() -> None:
        cluster.happened.append("closed")
        home.set()

    cluster.mailbox.close = SimpleNamespace(remote=close)
    made = pool(cluster, train=train)
    assert at_work.wait(60)
    made.close(timeout=60)
    ended(made)
    assert cluster.happened == ["closed", "ended", "killed"]
    assert not Path(made.scratch.name).exists()


def test_closing_ends_a_lane_that_is_in_the_middle_of_an_epoch(pool: Made) -> None:
    """Who talks to a Ray that has been shut down, as its thread would, ends the whole process."""
    cluster = Cluster()
    at_work, killed = threading.Event(), threading.Event()

    def train(self: LanePool, lane: int) -> None:
        self.trainers[lane] = SimpleNamespace(kill=killed.set)
        at_work.set()
        assert killed.wait(60)
        cluster.happened.append("ended")
        raise NO_NODE

    made = pool(cluster, train=train)
    assert at_work.wait(60)
    made.close(timeout=0.1)
    assert cluster.happened == ["closed", "ended", "killed"] and not made.threads[0].is_alive()


def test_closing_waits_for_no_lane_that_does_not_end_nor_for_a_mailbox_that_is_gone(
    pool: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "END", 0.1)
    cluster = Cluster()
    home = threading.Event()
    cluster.mailbox.close = SimpleNamespace(remote=lambda: TimeoutError())
    made = pool(cluster, train=lambda self, lane: home.wait(60))
    made.close(timeout=0.1)
    assert made.threads[0].is_alive() and cluster.happened == ["killed"]
    assert not Path(made.scratch.name).exists()
    home.set()
    ended(made)


def test_a_mailbox_that_dies_is_started_again_and_asked_again(shared_ray: str) -> None:
    """On a real Ray. What it knew is lost; who waited for an answer still does."""
    import ray

    made = LanePool(0, 1, FEW, lane_settings(), deadline=180.0)
    try:
        ray.get(made.mailbox.go.remote({}))
        assert made.look()["ready"]
        asked = made.mailbox.ask.remote({"id": "0000@x/1", "session": "0000@x", "trial": "0000", "epoch": 1})
        ray.kill(made.mailbox, no_restart=False)
        wait_for(lambda: not made.look()["ready"])
        ray.get(made.mailbox.cut.remote("interrupted"))
        assert ray.get(asked, timeout=60) == {"kind": "cut", "value": "interrupted"}
    finally:
        made.close()
