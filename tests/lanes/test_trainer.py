"""What lanes and their mailbox ask of Ray; without Ray."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.train.v2._internal.execution.controller import TrainController

from genlab.lanes import pool, trainer
from genlab.lanes.worker import LaneSettings

WHERE: dict[str, Any] = {"storage": "s", "folder": "f", "data_root": None, "environment": {}}
SETTINGS = LaneSettings(lane=9, mailbox=None, code=b"", script=None, threads=1, epoch_deadline=1.0, **WHERE)


def test_the_mailbox_takes_no_cpu_comes_back_and_lets_all_wait_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    actor = SimpleNamespace(options=lambda **options: (asked.update(options), SimpleNamespace(remote=lambda: None))[1])
    context = SimpleNamespace(get_node_id=lambda: "ab" * 28)
    stand_in = SimpleNamespace(remote=lambda kind: actor, get_runtime_context=lambda: context)
    monkeypatch.setattr(pool, "ray", stand_in)
    pool.LanePool(0, 1, {"CPU": 1}, SETTINGS, 180.0).close()
    assert asked.pop("max_concurrency") >= 1000  # each rank and each trial asks by a call that waits
    where = asked.pop("scheduling_strategy")
    assert (where.node_id, where.soft) == ("ab" * 28, False)  # the driver's: other nodes may be taken away
    assert asked == {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}


def test_the_controller_finds_its_settings_and_leaves_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray Train reads them while its controller is made; workers must not inherit them."""
    names = list(trainer.SETTINGS)
    for name in names:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(names[0], "77")
    read: list[Any] = []

    def init(self: Any, *args: Any, **parts: Any) -> None:
        read.append(({name: os.environ.get(name) for name in names}, args, parts))

    monkeypatch.setattr(TrainController, "__init__", init)
    controller: Any = trainer.Controller
    controller(1, policy=2)
    assert read == [({**trainer.SETTINGS, names[0]: "77"}, (1,), {"policy": 2})]
    assert os.environ[names[0]] == "77" and not any(name in os.environ for name in names[1:])


def test_a_run_is_killed_by_its_controller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[Any] = []
    monkeypatch.setattr(trainer.ray, "kill", killed.append)
    made: Any = trainer.LaneTrainer("lane-0-1", SETTINGS, 1, {"CPU": 1}, str(tmp_path))
    made.kill()  # it has not begun
    made.controller = "controller"
    made.kill()
    assert killed == ["controller"]


@pytest.mark.parametrize(("resources", "gpu"), [({"CPU": 2}, False), ({"CPU": 2, "GPU": 0.5}, True)])
def test_a_lane_asks_for_its_workers_and_for_gpus_where_it_has_some(
    tmp_path: Path, resources: dict[str, float], gpu: bool
) -> None:
    made: Any = trainer.LaneTrainer("lane-0-1", SETTINGS, 3, resources, str(tmp_path))
    scaling, run = made.scaling_config, made.run_config
    assert (scaling.num_workers, scaling.use_gpu, scaling.resources_per_worker) == (3, gpu, resources)
    assert (run.name, run.failure_config.max_failures) == ("lane-0-1", 3)  # then it is the pool's turn
