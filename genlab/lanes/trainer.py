"""The Ray Train run of one lane."""

from __future__ import annotations

from typing import Any

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from genlab.lanes.ray_parts.train import lean_run
from genlab.lanes.worker import LaneSettings, lane_loop

CONTROLLER = 230e6  # bytes that a lane's controller takes, and the actor through which its ranks find each other
SHARE = 0.25  # of the driver's node, in which all of them may sit
RESTARTS = 3  # of a lane's workers in one run, at once; after those the pool starts another run, ever more slowly


class PlainRun(TorchTrainer):
    """By what Ray Train documents alone: it ends when its workers do, or with its Ray."""

    where: Any = None  # Ray Train has its controller beside the driver

    def kill(self) -> None:
        """Nothing."""


def lane_run(
    name: str, settings: LaneSettings, workers: int, resources: dict[str, float], scratch: str, where: Any
) -> Any:
    """What has `fit()`, which takes as long as the lane lives, and `kill()`, which ends it at once.

    Args:
        resources: of one worker, in Ray's names.
        scratch: a folder for what Ray Train writes; nobody reads it.
        where: its controller sits, as Ray's scheduling strategy.
    """
    kind = lean_run() or PlainRun
    run = kind(
        lane_loop,
        train_loop_config={"settings": settings},
        scaling_config=ScalingConfig(
            num_workers=workers, resources_per_worker=resources, use_gpu=resources.get("GPU", 0) > 0
        ),
        run_config=RunConfig(name=name, storage_path=scratch, failure_config=FailureConfig(max_failures=RESTARTS)),
    )
    run.where = where
    return run


def controllers_place(lanes: int) -> Any:
    """Where the controllers of so many lanes sit, as Ray's scheduling strategy: beside the driver, since a lane dies
    with its controller, and one on any other node would double what each lost node takes along; or on all nodes, where
    the driver's has no room for them."""
    here = ray.get_runtime_context().get_node_id()
    memory = next(node["Resources"].get("memory", 0.0) for node in ray.nodes() if node["NodeID"] == here)
    if lanes * CONTROLLER > SHARE * memory:
        return "SPREAD"
    return NodeAffinitySchedulingStrategy(here, soft=False)
