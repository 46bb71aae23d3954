"""Joining a Ray, or starting one, and how many lanes it has room for."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import re
import socket
import sys
import threading
from typing import Any, NamedTuple

from genlab.errors import GenlabError
from genlab.lanes.group import LOOPBACK
from genlab.lanes.ray_parts.names import absent
from genlab.lanes.ray_parts.start import (
    for_this_machine,
    heed_switches,
    kinds_of_nodes,
    lean_start,
    noted_address,
    take_token,
)
from genlab.lanes.token import close_token, make_token

log = logging.getLogger(__name__)

QUIET = {
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # the environment is on the nodes already
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_THRESHOLD_S": "10",
    "TUNE_GLOBAL_CHECKPOINT_S": "inf",  # Tune's own records are never read
}
CALM: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
TEMPORARY = ("RAY_TMPDIR", *(["TMPDIR"] if sys.platform.startswith("linux") else []))  # the first that is set
PRESENT, GROWING = 180.0, 1800.0  # seconds for a lane to come up: a process starts, or a machine is rented first


def connect(address: str | None) -> bool:
    """Join the Ray at `address`, at RAY_ADDRESS or on this machine, else start one. False: this process had one.

    Raises:
        GenlabError: an address was named, and no Ray answers there.
    """
    settle()
    import ray

    if ray.is_initialized():
        return False
    logging.getLogger("ray").setLevel(logging.ERROR)
    # while Ray's own processes start; joined before anybody else imports these: two threads would trip over each other
    imports = threading.Thread(target=_import_ahead, daemon=True, name="imports")
    imports.start()
    try:
        by = "--address" if address else "RAY_ADDRESS"
        _join_or_start(address or os.environ.get("RAY_ADDRESS"), by)
        close_token()
    finally:
        imports.join()
    logging.getLogger("ray").setLevel(logging.ERROR)  # ray.init has set it anew
    return True


def settle() -> None:
    """Ray's switches as a sweep wants them, where the environment does not say otherwise."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    heed_switches()


def _join_or_start(named: str | None, by: str) -> None:
    """`named` is an address, if there is one, and `by` what names it."""
    import ray
    from ray.exceptions import RayError

    if named == "auto":
        named = None
    address = named or noted_address()
    if not address or address == "local":
        start()
        return
    other = "name another, or --address local for a Ray of the sweep's own"
    if named:
        _check_address(named, by, other)
    try:
        host, colon, port = address.rpartition(":")
        if colon and port.isdigit():  # Ray itself would try for minutes
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except OSError as error:
        if named:
            raise GenlabError(f"no Ray answers at {named} ({error}), which {by} names: {other}") from None
        start()  # the one that was noted is gone
        return
    take_token()
    here = host.strip("[]") in (*LOOPBACK, "localhost")
    try:
        # else Ray takes another address of this machine in place of such a one
        with for_this_machine() if here else contextlib.nullcontext():
            ray.init(address=address, **CALM)
    except (OSError, ValueError, RuntimeError, RayError) as error:
        if address == "auto":  # nobody could say whether there is one
            start()
            return
        why = str(error).partition("\n")[0]
        which = f"the Ray at {address}, which {by} names," if named else f"the Ray at {address}"
        raise GenlabError(
            f"{which} cannot be joined ({why}): if it asks for a token, put that into RAY_AUTH_TOKEN or "
            f"~/.ray/auth_token; else {other}"
        ) from None


def _check_address(named: str, by: str, other: str) -> None:
    """Refuse what is not where a Ray could be joined.

    Raises:
        GenlabError: naming what named it, and what to write.
    """
    if named.startswith("ray://"):
        raise GenlabError(
            f"{by} is {named}, a Ray client's address: run the script on the cluster, as `ray submit` does"
        )
    if re.match(r"https?://", named):
        raise GenlabError(
            f"{by} is {named}, where a dashboard or jobs are: a sweep joins the Ray itself, by HOST:PORT as `ray "
            f"start` tells it, mostly port 6379; or {other}"
        )
    match = re.fullmatch(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):(\d{1,5})", named)
    if match is None or not 0 < int(match[1]) < 2**16:
        raise GenlabError(f"{by} is {named}, which is no address: write HOST:PORT, such as 127.0.0.1:6379; or {other}")


def start(**options: Any) -> None:
    """A Ray of one's own, without what only others could use, and out of their reach: it listens on the loopback, and
    who has not its token is refused. Who wants a dashboard, or other machines, types `ray start --head`.

    Raises:
        GenlabError: it does not come up.
    """
    import ray

    by, folder = _temporary_folder()
    _check_length(by, folder)
    make_token()
    try:
        with lean_start(), for_this_machine():
            ray.init(address="local", include_dashboard=False, **CALM, **options)
    except Exception as error:  # a bare one, where Ray itself says that its start took too long
        why = str(error).partition("\n")[0]
        raise GenlabError(
            f"Ray does not start here ({why}): its logs lie in {folder}/ray/session_latest/logs; RAY_TMPDIR names "
            "another place for its files; on a machine that is very busy, try again"
        ) from None
    address = ray.util.get_node_ip_address()
    if address not in LOOPBACK:
        log.warning("this Ray listens on all interfaces, and its address is %s: a firewall should close them", address)


def _temporary_folder() -> tuple[str, str]:
    """Where Ray keeps its files, and the variable that says so; `""` where none does."""
    by = next((name for name in TEMPORARY if name in os.environ), "")
    return by, os.environ[by] if by else "/tmp"


def _check_length(by: str, folder: str) -> None:
    """Refuse a folder in which no socket could lie: Ray would say so after seconds, of a path that nobody typed.

    Raises:
        GenlabError: naming the variable, the folder and the limit.
    """
    longest = 103 if sys.platform == "darwin" else 107  # bytes of a Unix socket's path
    # as Ray names it: the time to the microsecond, and the process
    own = f"/ray/session_2026-01-02_03-04-05_678901_{os.getpid()}/sockets/plasma_store"
    size, most = len(os.fsencode(folder)), longest - len(own)
    if size > most:
        raise GenlabError(
            f"{by or 'the temporary folder'} is {folder}, {size} bytes long: Ray keeps sockets below it, whose paths "
            f"may have {longest} bytes, which leaves {most} for the folder. Name a shorter one, such as RAY_TMPDIR=/tmp"
        )


def _import_ahead() -> None:
    """Load what lanes and Tune need."""
    importlib.import_module("genlab.lanes.trainer")
    with absent("mlflow"):
        importlib.import_module("ray.air.integrations.mlflow")  # Tune does, to count callbacks


class Room(NamedTuple):
    """Lanes that train at once, the resources of each worker in Ray's names, and how many seconds the first lane may
    take to come up."""

    lanes: int
    resources: dict[str, float]
    patience: float


def check_storage(given: str) -> None:
    """Several machines share a URL, or a folder by its full name.

    Raises:
        GenlabError: `given` is a folder below the one where the sweep was started, which the others do not have.
    """
    import ray

    present = {node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    most = len(present) + sum(count for _, count in _could_be_added())
    if most > 1 and "://" not in given and not os.path.isabs(os.path.expanduser(given)):
        raise GenlabError(
            f"this cluster may have several machines, and {given} is a folder of one: name a folder that all of them "
            "share by its full path (--storage /nfs/genlab), or a URL (--storage s3://bucket/genlab)"
        )


Node = dict[str, float]  # its resources, in Ray's names


def room(workers: int, trials: int, lanes: int | None, cpus: int | None, gpus: float | None) -> Room:
    """How the cluster is shared out. What is None follows from what there is.

    Raises:
        GenlabError: more than the cluster, or what its autoscaler may add, can ever give.
    """
    import ray

    present = [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]
    return share_out(present, _could_be_added(), workers, trials, lanes, cpus, gpus)


def share_out(
    present: list[Node],
    growing: list[tuple[Node, int]],
    workers: int,
    trials: int,
    lanes: int | None,
    cpus: int | None,
    gpus: float | None,
) -> Room:
    """`room` of these nodes; `growing` is what an autoscaler may have in all: kinds of nodes, and how many of each.

    A worker lies on one node, so nodes count one by one and not their sum.
    """
    grown = [node for node, most in growing for _ in range(min(most, workers * max(trials, lanes or 1)))]
    if gpus is None:
        gpus = 1.0 if any(node.get("GPU", 0.0) >= 1 for node in [*present, *grown]) else 0.0

    def workers_on(nodes: list[Node], cpus: int) -> int:
        """How many workers have room on these nodes."""
        return sum(_on_one(node, cpus, gpus or 0.0) for node in nodes)

    def most(cpus: int) -> int:
        return max(workers_on(present, cpus), workers_on(grown, cpus))

    if lanes is None:
        lanes = max(1, min(trials, most(cpus or 1) // workers))
    if most(cpus or 1) < lanes * workers:
        largest = max([*present, *grown], key=lambda node: (node.get("GPU", 0.0), node.get("CPU", 0.0)), default={})
        each = f"{cpus or 1} CPUs" + (f" and {gpus:g} GPUs" if gpus else "")
        raise GenlabError(
            f"{lanes} lanes x {workers} workers of {each} each: there is room for {most(cpus or 1)} such workers "
            f"(the largest node has {largest.get('CPU', 0.0):g} CPUs and {largest.get('GPU', 0.0):g} GPUs). "
            "Ask for fewer --lanes, --workers, --cpus-per-worker or --gpus-per-worker"
        )
    if cpus is None:
        widest = int(max(node.get("CPU", 0.0) for node in [*present, *grown]))
        cpus = next(c for c in range(widest, 0, -1) if c == 1 or most(c) >= lanes * workers)
    there = workers_on(present, cpus) >= workers
    return Room(lanes, {"CPU": cpus, **({"GPU": gpus} if gpus else {})}, PRESENT if there else GROWING)


def _on_one(node: Node, cpus: int, gpus: float) -> int:
    """How many workers have room on one node. One GPU serves several workers, several GPUs one, nothing between."""
    by_cpu = int(node.get("CPU", 0.0) // cpus)
    if not gpus:
        return by_cpu
    have = int(node.get("GPU", 0.0))
    return min(by_cpu, have * int(1 / gpus) if gpus < 1 else int(have // gpus))


def _could_be_added() -> list[tuple[Node, int]]:
    """What the cluster's autoscaler may have in all: kinds of nodes, and how many of each."""
    return [(node, count if count >= 0 else 1_000_000) for node, count in kinds_of_nodes()]
