"""The Ray Train run of one lane."""

from __future__ import annotations

from typing import Any

from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from genlab.lanes.ray_parts.train import lean_run
from genlab.lanes.worker import LaneSettings, lane_loop

RESTARTS = 3  # of a lane's workers in one run, at once; after those the pool starts another run, ever more slowly


class PlainRun(TorchTrainer):
    """By what Ray Train documents alone: it ends when its workers do, or with its Ray."""

    def kill(self) -> None:
        """Nothing."""


def lane_run(name: str, settings: LaneSettings, workers: int, resources: dict[str, float], scratch: str) -> Any:
    """What has `fit()`, which takes as long as the lane lives, and `kill()`, which ends it at once.

    Args:
        resources: of one worker, in Ray's names.
        scratch: a folder for what Ray Train writes; nobody reads it.
    """
    kind = lean_run() or PlainRun
    return kind(
        lane_loop,
        train_loop_config={"settings": settings},
        scaling_config=ScalingConfig(
            num_workers=workers, resources_per_worker=resources, use_gpu=resources.get("GPU", 0) > 0
        ),
        run_config=RunConfig(name=name, storage_path=scratch, failure_config=FailureConfig(max_failures=RESTARTS)),
    )
