"""All names of Ray that are not its interface, in one file: what each is for, and what is done where it is not there.

Each function is a part that can be had alone. Where a later Ray has another name for what it needs, the part falls back
on what Ray documents, which costs the seconds or the memory that are named beside it, and nothing else.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import os
import sys
from collections.abc import Iterator
from typing import Any

# of a Ray that is started here: its parts find each other in a tenth of the time
OWN = {"RAY_raylet_client_connect_timeout_milliseconds": "100", "RAY_raylet_client_num_connect_attempts": "100"}
UNUSED_PROCESSES = ("start_api_server", "start_monitor", "start_log_monitor")
# Ray Data's actors, and an actor that removes a placement group as the pool's supervisor does: processes for each lane
UNUSED_CALLBACKS = {"DatasetsCallback", "PlacementGroupCleanerCallback"}
TRAIN = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5", "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"}


def named(path: str) -> Any:
    """What is called `module:name` or `module:name.attribute`; None where it is not there."""
    module, _, names = path.partition(":")
    try:
        return functools.reduce(getattr, names.split("."), importlib.import_module(module))
    except (ImportError, AttributeError):
        return None


# ---- joining and starting


def heed_switches() -> None:
    """Take in a switch that Ray reads when it is imported, which a sweep's script may have done before us: under
    `uv run` each of Ray's processes would make itself an environment, and the first trial come 40 s later.

    Otherwise: as Ray's import found the switch, so a script should import genlab first.
    """
    constants, read = named("ray._private:ray_constants"), named("ray._common.utils:env_bool")
    name = "RAY_ENABLE_UV_RUN_RUNTIME_ENV"
    if read is not None and hasattr(constants, name):
        setattr(constants, name, read(name, False))


def noted_address() -> str | None:
    """The address that `ray start` noted on this machine; None if there is none. Ray's own "auto" would also join the
    private Ray of another sweep.

    Otherwise: that "auto".
    """
    read = named("ray._private.utils:read_ray_address")
    return read() if read is not None else "auto"


def take_token() -> None:
    """Use the token that `ray start` took, also for an address that was named. Otherwise: as RAY_AUTH_MODE says."""
    take = named("ray._private.authentication.authentication_token_setup:maybe_enable_token_auth_if_token_available")
    if take is not None:
        take(warn_if_disabled=False)


def kinds_of_nodes() -> list[tuple[dict[str, float], int]]:
    """What the cluster's autoscaler may have in all: kinds of nodes by their resources, and how many of each (-1: any
    number). Otherwise: none, so that only machines that are there count."""
    read = named("ray._private.state:state.get_cluster_config")
    config = read() if read is not None else None
    groups = config.node_group_configs if config is not None else ()
    return [({name: float(n) for name, n in group.resources.items()}, group.max_count) for group in groups]


@contextlib.contextmanager
def lean_start() -> Iterator[None]:
    """Meanwhile a Ray starts without what only others could use: a dashboard, an autoscaler, a reader of logs. They are
    three processes, and waiting for the first takes a third of Ray's start.

    Its processes are in groups of their own: what `timeout` and a terminal send to the driver's group would end them
    before the driver could end the sweep. They still die with it.

    Otherwise: they are started; after SIGTERM to the whole group a sweep must be resumed.
    """
    os.environ.update(OWN)
    node, services = named("ray._private.node:Node"), named("ray._private:services")
    with contextlib.ExitStack() as stack:
        stack.enter_context(absent("ray.dashboard.optional_deps"))
        for name in UNUSED_PROCESSES:
            if hasattr(node, name):
                stack.enter_context(replaced(node, name, lambda *_, **__: None))
        if plain := getattr(services, "ConsolePopen", None):
            stack.enter_context(replaced(services, "ConsolePopen", functools.partial(plain, process_group=0)))
        yield


@contextlib.contextmanager
def absent(module: str) -> Iterator[None]:
    """Meanwhile `module` is not to be had, for those who would load it, use none of it, and can do without it."""
    here = module in sys.modules
    if not here:
        sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if not here:
            del sys.modules[module]


@contextlib.contextmanager
def replaced(owner: Any, name: str, other: Any) -> Iterator[None]:
    """Meanwhile this attribute is another one."""
    plain = getattr(owner, name)
    setattr(owner, name, other)
    try:
        yield
    finally:
        setattr(owner, name, plain)


# ---- the Ray Train run of a lane


def lean_run() -> Any:
    """A run of Ray Train without the processes and the seconds that a lane has no use for; it can be killed.

    - Its controller sits on any node (with an actor of its own through which ranks find each other, 220 MB in all):
      Ray Train would have all of them on the driver's.
    - It finds its settings in its own process, not in a runtime environment, which would go on to the workers: a
      process with one starts twice as slowly, and is never one that Ray holds ready.
    - It asks no coordinator for its resources: a detached actor that shares a cluster out among Ray Data's jobs, and
      takes two seconds to start.
    - Workers load torch at once, not after all ranks have come up.

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
    return _lean_run() if all(named(part) is not None for part in parts) else None


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
            own = {name: value for name, value in TRAIN.items() if name not in os.environ}
            os.environ.update(own)
            super().__init__(*args, **parts)
            for name in own:
                del os.environ[name]

    class LeanRun(DataParallelTrainer):
        """Not TorchTrainer: the workers join a process group of their own, which saves its back end's start."""

        controller: Any = None

        def _initialize_and_run_controller(self, **parts: Any) -> Any:
            parts["scaling_policy"] = Policy(scaling_config=self.scaling_config)
            parts["callbacks"] = [one for one in parts["callbacks"] if type(one).__name__ not in UNUSED_CALLBACKS]
            own = {"env_vars": get_env_vars_to_propagate()}  # what the user set, if anything
            actor: Any = ray.remote(num_cpus=0, scheduling_strategy="SPREAD", runtime_env=own)(Controller)
            self.controller = actor.remote(**parts)
            ray.get(self.controller.run.remote())
            return ray.get(self.controller.get_result.remote())

        def kill(self) -> None:
            """End the run at once, whatever its workers do: they die with their controller."""
            if self.controller is not None:
                ray.kill(self.controller)

    return LeanRun
