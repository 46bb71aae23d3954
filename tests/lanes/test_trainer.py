"""What lanes and their mailbox ask of Ray; without Ray."""

from __future__ import annotations

import gc
import importlib
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.train.torch import TorchTrainer
from ray.train.v2._internal import constants as ray_train_constants
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
from ray.train.v2._internal.execution.worker_group.worker import RayTrainWorker

from genlab.lanes import calls, pool, trainer
from genlab.lanes.ray_parts import train
from genlab.lanes.worker import LaneSettings

WHERE: dict[str, Any] = {"storage": "s", "folder": "f", "data_root": None, "environment": {}}
SETTINGS = LaneSettings(lane=9, mailbox=None, code=b"", script=None, threads=1, epoch_deadline=1.0, **WHERE)


def test_the_mailbox_takes_no_cpu_comes_back_and_lets_all_wait_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    actor = SimpleNamespace(
        options=lambda **options: (asked.update(options), SimpleNamespace(remote=lambda *_: None))[1]
    )
    context = SimpleNamespace(get_node_id=lambda: "ab" * 28)
    stand_in = SimpleNamespace(remote=lambda kind: actor, get_runtime_context=lambda: context)
    monkeypatch.setattr(calls, "ray", stand_in)
    monkeypatch.setattr(pool, "ray", stand_in)
    pool.LanePool(0, 1, {"CPU": 1}, SETTINGS, 180.0).close()
    assert asked.pop("max_concurrency") >= 1000  # each rank and each trial asks by a call that waits
    where = asked.pop("scheduling_strategy")
    assert (where.node_id, where.soft) == ("ab" * 28, False)  # the driver's: other nodes may be taken away
    assert asked == {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}


def made(tmp_path: Path, workers: int = 1, resources: dict[str, float] | None = None) -> Any:
    return trainer.lane_run("lane-0-1", SETTINGS, workers, resources or {"CPU": 1}, str(tmp_path), "where")


class Started:
    """In Ray's place: what actors were asked for, and what was killed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.options: list[dict[str, Any]] = []
        self.kinds: list[Any] = []
        self.killed: list[Any] = []
        monkeypatch.setattr(ray, "remote", self.remote)
        monkeypatch.setattr(ray, "get", lambda answer: answer)
        monkeypatch.setattr(ray, "kill", self.killed.append)
        self.parts: dict[str, Any] = {}
        self.actor = SimpleNamespace(
            run=SimpleNamespace(remote=lambda: None), get_result=SimpleNamespace(remote=lambda: "result")
        )

    def remote(self, **options: Any) -> Any:
        self.options.append(options)
        return lambda kind: (self.kinds.append(kind), SimpleNamespace(remote=self.make))[1]

    def make(self, **parts: Any) -> Any:
        self.parts = parts
        return self.actor

    def run(self, lane: Any, callbacks: Any = ()) -> Any:
        return lane._initialize_and_run_controller(callbacks=[*callbacks], scaling_policy="Ray Train's")


def test_the_controller_finds_its_settings_and_leaves_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray Train reads them while its controller is made; workers must not inherit them."""
    names = list(train.SETTINGS)
    for name in names:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(names[0], "77")
    read: list[Any] = []

    def init(self: Any, *args: Any, **parts: Any) -> None:
        read.append(({name: os.environ.get(name) for name in names}, args, parts))

    monkeypatch.setattr(TrainController, "__init__", init)
    started = Started(monkeypatch)
    assert started.run(made(tmp_path)) == "result"
    (controller,) = started.kinds
    controller(1, policy=2)
    assert read == [({**train.SETTINGS, names[0]: "77"}, (1,), {"policy": 2})]
    assert os.environ[names[0]] == "77" and not any(name in os.environ for name in names[1:])
    (options,) = started.options
    assert (options["num_cpus"], options["scheduling_strategy"]) == (0, "where")


@pytest.mark.parametrize(("lanes", "gigabytes", "spread"), [(8, 8.0, False), (9, 8.0, True), (200, 186.0, False)])
def test_controllers_sit_beside_the_driver_while_there_is_room(
    lanes: int, gigabytes: float, spread: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lane dies with its controller, so it should depend on no other node than its own and the driver's."""
    nodes = [{"NodeID": "other", "Resources": {}}, {"NodeID": "ab" * 28, "Resources": {"memory": gigabytes * 1e9}}]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(get_node_id=lambda: "ab" * 28))
    where = trainer.controllers_place(lanes)
    assert where == "SPREAD" if spread else (where.node_id, where.soft) == ("ab" * 28, False)


def test_a_run_is_killed_by_its_controller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = Started(monkeypatch)
    lane = made(tmp_path)
    lane.kill()  # it has not begun
    assert started.killed == []
    started.run(lane)
    lane.kill()
    assert started.killed == [started.actor]


def test_a_run_has_none_of_the_actors_that_a_lane_has_no_use_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the user set for Ray Train goes along, and callbacks of other kinds stay."""
    unused = [
        importlib.import_module(f"ray.train.v2._internal.{where}").__dict__[name]
        for where, name in (
            ("callbacks.datasets", "DatasetsCallback"),
            ("callbacks.placement_group_callback", "PlacementGroupCleanerCallback"),
        )
    ]
    callbacks = [SimpleNamespace(), *(kind.__new__(kind) for kind in unused)]
    started = Started(monkeypatch)
    started.run(made(tmp_path, 3), callbacks)
    assert started.parts["callbacks"] == callbacks[:1]
    policy: Any = started.parts["scaling_policy"]
    assert isinstance(policy, FixedScalingPolicy) and policy.scaling_config.num_workers == 3
    monkeypatch.setattr(ray, "get_actor", lambda *_, **__: pytest.fail("it asked a coordinator"))
    policy.after_controller_start(None)
    policy._maybe_send_resource_request()
    monkeypatch.setattr(ray_train_constants, "get_env_vars_to_propagate", lambda: {"RAY_TRAIN_X": "1"})
    train._lean_run.cache_clear()
    started.run(made(tmp_path))
    train._lean_run.cache_clear()
    assert started.options[-1]["runtime_env"] == {"env_vars": {"RAY_TRAIN_X": "1"}}


def test_a_worker_loads_torch_at_once_and_collects_no_garbage_until_it_is_warm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = Started(monkeypatch)
    started.run(made(tmp_path))
    worker = started.kinds[0].worker_group_cls._worker_cls
    seen: list[Any] = []
    monkeypatch.setattr(RayTrainWorker, "__init__", lambda self: seen.append(gc.isenabled()))
    monkeypatch.setattr(train, "importlib", SimpleNamespace(import_module=seen.append))
    try:
        worker()
    finally:
        gc.enable()
    assert seen == [False, "torch"]


PRIVATE = [
    "ray.train.v2._internal.constants.get_env_vars_to_propagate",
    "ray.train.v2._internal.execution.controller.TrainController.worker_group_cls",
    "ray.train.v2._internal.execution.scaling_policy.FixedScalingPolicy",
    "ray.train.v2._internal.execution.worker_group.WorkerGroup._worker_cls",
    "ray.train.v2._internal.execution.worker_group.worker.RayTrainWorker",
    "ray.train.v2.api.data_parallel_trainer.DataParallelTrainer._initialize_and_run_controller",
]


@pytest.mark.parametrize("name", PRIVATE)
def test_where_a_name_of_rays_own_is_not_there_the_run_is_the_documented_one(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not isinstance(made(tmp_path), TorchTrainer)
    lane = None
    with monkeypatch.context() as patch:
        patch.delattr(name)
        lane = trainer.lean_run()
    assert lane is None
    monkeypatch.setattr(trainer, "lean_run", lambda: None)
    plain = made(tmp_path, workers=3)
    assert isinstance(plain, TorchTrainer) and plain.scaling_config.num_workers == 3
    plain.kill()


@pytest.mark.parametrize(("resources", "gpu"), [({"CPU": 2}, False), ({"CPU": 2, "GPU": 0.5}, True)])
def test_a_lane_asks_for_its_workers_and_for_gpus_where_it_has_some(
    tmp_path: Path, resources: dict[str, float], gpu: bool
) -> None:
    lane = made(tmp_path, 3, resources)
    scaling, run = lane.scaling_config, lane.run_config
    assert (scaling.num_workers, scaling.use_gpu, scaling.resources_per_worker) == (3, gpu, resources)
    assert (run.name, run.failure_config.max_failures) == ("lane-0-1", 3)  # then it is the pool's turn
