"""The Ray Train run of one lane, without the processes and the seconds that a lane has no use for.

What is overridden here is Ray Train's own, not its interface: the reason why Ray is bounded below 2.61.
"""

from __future__ import annotations

import gc
import importlib
import os
from typing import Any

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2._internal.constants import get_env_vars_to_propagate
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
from ray.train.v2._internal.execution.worker_group import WorkerGroup
from ray.train.v2._internal.execution.worker_group.worker import RayTrainWorker
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from genlab.lanes.worker import LaneSettings, lane_loop

# Ray Data's actors, and an actor that removes a placement group as the pool's supervisor does: processes for each lane
UNUSED = {"DatasetsCallback", "PlacementGroupCleanerCallback"}
RESTARTS = 3  # of a lane's workers in one run, at once; after those the pool starts another run, ever more slowly
SETTINGS = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5", "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"}


class Policy(FixedScalingPolicy):
    """A fixed number of workers, which their placement group asks for. Ray Train would ask a coordinator, too: a
    detached actor that shares a cluster out among Ray Data's jobs, and takes two seconds to start."""

    def after_controller_start(self, train_run_context: Any) -> None:
        pass

    def _maybe_send_resource_request(self) -> None:
        pass


class Worker(RayTrainWorker):
    """Loads torch at once, not after all ranks have come up."""

    def __init__(self) -> None:
        gc.disable()  # until the lane is warm: what is imported lives for ever
        super().__init__()
        importlib.import_module("torch")


class Workers(WorkerGroup):
    """A group of them."""

    _worker_cls = Worker


class Controller(TrainController):
    """Ray Train's controller. It finds its settings in its own process, not in a runtime environment: that would go on
    to the workers, and a process with one starts twice as slowly and is never one that Ray holds ready."""

    worker_group_cls = Workers

    def __init__(self, *args: Any, **parts: Any) -> None:
        own = {name: value for name, value in SETTINGS.items() if name not in os.environ}
        os.environ.update(own)
        super().__init__(*args, **parts)
        for name in own:
            del os.environ[name]


class LaneTrainer(DataParallelTrainer):
    """Not TorchTrainer: the workers join a process group of their own, which saves its back end's start."""

    def __init__(self, name: str, settings: LaneSettings, workers: int, resources: dict[str, float], scratch: str):
        self.controller: Any = None
        super().__init__(
            lane_loop,
            train_loop_config={"settings": settings},
            scaling_config=ScalingConfig(
                num_workers=workers, resources_per_worker=resources, use_gpu=resources.get("GPU", 0) > 0
            ),
            run_config=RunConfig(name=name, storage_path=scratch, failure_config=FailureConfig(max_failures=RESTARTS)),
        )

    def _initialize_and_run_controller(self, **parts: Any) -> Any:
        parts["scaling_policy"] = Policy(scaling_config=self.scaling_config)
        parts["callbacks"] = [one for one in parts["callbacks"] if type(one).__name__ not in UNUSED]
        here: Any = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        own = {"env_vars": get_env_vars_to_propagate()}  # what the user set, if anything
        actor: Any = ray.remote(num_cpus=0, scheduling_strategy=here, runtime_env=own)(Controller)
        self.controller = actor.remote(**parts)
        ray.get(self.controller.run.remote())
        return ray.get(self.controller.get_result.remote())

    def kill(self) -> None:
        """End the run at once, whatever its workers do: they die with their controller."""
        if self.controller is not None:
            ray.kill(self.controller)
