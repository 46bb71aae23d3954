"""Joining a Ray, or starting one, and how many lanes it has room for."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

from genlab.errors import GenlabError

QUIET = {
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # the environment is on the nodes already
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_THRESHOLD_S": "10",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Tune's own records are never read
}
# of a Ray that is started here: its parts find each other in a tenth of the time
OWN = {"RAY_raylet_client_connect_timeout_milliseconds": "100", "RAY_raylet_client_num_connect_attempts": "100"}

PRESENT, GROWING = 180.0, 1800.0  # seconds for a lane to come up: a process starts, or a machine is rented first


def connect(address: str | None) -> bool:
    """Join the Ray at `address`, at RAY_ADDRESS or on this machine, else start one. False: this process had one.

    Raises:
        GenlabError: an address was named, and no Ray answers there.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        return False
    # while Ray's own processes start; joined before anybody else imports these: two threads would trip over each other
    imports = threading.Thread(target=_import_ahead, daemon=True, name="imports")
    imports.start()
    try:
        _join_or_start(address or os.environ.get("RAY_ADDRESS"))
    finally:
        imports.join()
    logging.getLogger("ray").setLevel(logging.ERROR)
    return True


def _join_or_start(named: str | None) -> None:
    import ray

    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if named != "local":
        try:
            host, colon, port = (named or "").rpartition(":")
            if colon and "/" not in host and port.isdigit():  # Ray itself would try for minutes
                socket.create_connection((host, int(port)), timeout=10).close()
            ray.init(address=named or "auto", **options)
            return
        except (OSError, ValueError, RuntimeError) as error:
            if named:
                why = str(error).splitlines()[0]
                raise GenlabError(f"no Ray answers at {named} ({why}): check --address") from None
    os.environ.update(OWN)
    with _absent("ray.dashboard.optional_deps"):  # whoever wants a dashboard types `ray start --head`
        ray.init(address="local", include_dashboard=False, **options)


def _import_ahead() -> None:
    """Load what lanes and Tune need."""
    import ray.tune.execution.class_cache as tune_actors

    importlib.import_module("genlab.sweep.trainer")
    tune_actors.DEFAULT_ENV_VARS.clear()  # a process with a runtime environment starts twice as slowly
    with _absent("mlflow"):
        importlib.import_module("ray.air.integrations.mlflow")  # Tune does, to count callbacks


@contextlib.contextmanager
def _absent(module: str) -> Iterator[None]:
    """Meanwhile `module` is not to be had, for those who would load it, use none of it, and can do without it."""
    here = module in sys.modules
    if not here:
        sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if not here:
            del sys.modules[module]


class Room(NamedTuple):
    """Lanes that train at once, the resources of each worker in Ray's names, and how many seconds the first lane may
    take to come up."""

    lanes: int
    resources: dict[str, float]
    patience: float


def room(workers: int, trials: int, lanes: int | None, cpus: int | None, gpus: float | None) -> Room:
    """How the cluster is shared out. What is None follows from what there is.

    Raises:
        GenlabError: more than the cluster, or what its autoscaler may add, can ever give.
    """
    import ray

    present: dict[str, float] = dict(ray.cluster_resources())
    most = _most(present)
    have_cpus, have_gpus = most.get("CPU", 0.0), most.get("GPU", 0.0)
    if gpus is None:
        gpus = 1.0 if have_gpus >= 1 else 0.0
    fit = have_cpus / (workers * (cpus or 1))
    if gpus:
        fit = min(fit, have_gpus / (workers * gpus))
    if lanes is None:
        lanes = max(1, min(trials, int(fit)))
    cpus = cpus or max(1, int(have_cpus // (lanes * workers)))
    wanted = {"CPU": lanes * workers * cpus, "GPU": lanes * workers * gpus}
    for kind, amount in wanted.items():
        if amount > most.get(kind, 0.0):
            raise GenlabError(
                f"{lanes} lanes x {workers} workers need {amount:g} {kind}s, but there are {most.get(kind, 0.0):g}: "
                f"ask for fewer --lanes, --workers or --{kind.lower()}s-per-worker"
            )
    of_one = {"CPU": cpus * workers, "GPU": gpus * workers}
    there = all(present.get(kind, 0.0) >= amount for kind, amount in of_one.items())
    return Room(lanes, {"CPU": cpus, **({"GPU": gpus} if gpus else {})}, PRESENT if there else GROWING)


def _most(present: dict[str, float]) -> dict[str, float]:
    """The most that the cluster, grown by its autoscaler, can ever give."""
    from ray._private.state import state

    grown = state.get_max_resources_from_cluster_config() or {}
    return {kind: max(present.get(kind, 0.0), float(grown.get(kind, 0.0))) for kind in ("CPU", "GPU")}
