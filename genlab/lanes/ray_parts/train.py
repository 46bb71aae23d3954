"""The Ray Train run of a lane, without what a lane has no use for."""

from __future__ import annotations

import functools
import gc
import importlib
import os
from typing import Any

from genlab.lanes.ray_parts import names

# Ray Data's actors, and an actor that removes a placement group as the pool's supervisor does: processes for each lane
UNUSED_CALLBACKS = {"DatasetsCallback", "PlacementGroupCleanerCallback"}
SETTINGS = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5", "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"}


def lean_run() -> Any:
    """A run of Ray Train without the processes and the seconds that a lane has no use for; it can be killed.

    Without all of that the first trial of a lane of two workers came 8.0 s later, with four processes of 697 MiB more
    (`benchmarks/ray_parts.py`, on two cores, as what follows; single seconds differ by one or two from run to run).

    - Its controller, and the actor through which its ranks find each other, sit where they are told to: Ray Train would
      have those of all lanes on the driver's node.
    - It finds its settings in its own process, not in a runtime environment, which would go on to the workers: a
      process with one starts twice as slowly, and is never one that Ray holds ready. 2.1 s.
    - It asks no coordinator for its resources: a detached actor that shares a cluster out among Ray Data's jobs. 1.9 s
      and 109 MiB.
    - It has none of the callbacks that make an actor each, for Ray Data and for what the pool's supervisor does. 1.8 s
      and two processes of 220 MiB.
    - Workers load torch at once, not after all ranks have come up. 0.3 and 1.2 s in two runs, of the whole sweep 0.9
      and 1.6.

    Otherwise: None.
    """
    parts = {
        "ray.train.v2._internal.constants:get_env_vars_to_propagate",
        "ray.train.v2._internal.execution.controller:TrainController.worker_group_cls",
        "ray.train.v2._internal.execution.scaling_policy:FixedScalingPolicy._maybe_send_resource_request",
        "ray.train.v2._internal.execution.worker_group:WorkerGroup._worker_cls",
        "ray.train.v2._internal.execution.worker_group.worker:RayTrainWorker",
        "ray.train.v2.api.data_parallel_trainer:DataParallelTrainer._initialize_and_run_controller",
    }
    return _lean_run() if all(names.named(part) is not None for part in parts) else None


@functools.cache
def _lean_run() -> Any:
    import ray
    from ray.train.v2._internal.constants import get_env_vars_to_propagate
    from ray.train.v2._internal.execution.controller import TrainController
    from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
    from ray.train.v2._internal.execution.worker_group import WorkerGroup
    from ray.train.v2._internal.execution.worker_group.worker import RayTrainWorker
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    class Policy(FixedScalingPolicy):
        """A fixed number of workers, which their placement group asks for."""

        def after_controller_start(self, train_run_context: Any) -> None:
            pass

        def _maybe_send_resource_request(self) -> None:
            pass

    class Worker(RayTrainWorker):
        """Loads torch at once."""

        def __init__(self) -> None:
            gc.disable()  # until the lane is warm: what is imported lives for ever
            super().__init__()
            importlib.import_module("torch")

    class Workers(WorkerGroup):
        """A group of them."""

        _worker_cls = Worker

    class Controller(TrainController):
        """Ray Train's controller."""

        worker_group_cls = Workers

        def __init__(self, *args: Any, **parts: Any) -> None:
            own = {name: value for name, value in SETTINGS.items() if name not in os.environ}
            os.environ.update(own)
            super().__init__(*args, **parts)
            for name in own:
                del os.environ[name]

    class LeanRun(DataParallelTrainer):
        """Not TorchTrainer: the workers join a process group of their own, which saves its back end's start."""

        where: Any = None  # its controller's scheduling strategy
        controller: Any = None

        def _initialize_and_run_controller(self, **parts: Any) -> Any:
            parts["scaling_policy"] = Policy(scaling_config=self.scaling_config)
            parts["callbacks"] = [one for one in parts["callbacks"] if type(one).__name__ not in UNUSED_CALLBACKS]
            own = {"env_vars": get_env_vars_to_propagate()}  # what the user set, if anything
            actor: Any = ray.remote(num_cpus=0, scheduling_strategy=self.where, runtime_env=own)(Controller)
            self.controller = actor.remote(**parts)
            ray.get(self.controller.run.remote())
            return ray.get(self.controller.get_result.remote())

        def kill(self) -> None:
            """End the run at once, whatever its workers do: they die with their controller."""
            if self.controller is not None:
                ray.kill(self.controller)

    return LeanRun
