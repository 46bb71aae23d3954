"""Joining a Ray, starting one, and what it may grow to."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import Iterator

from genlab.lanes.ray_parts import names

log = logging.getLogger(__name__)

UNUSED_PROCESSES = ("start_api_server", "start_monitor", "start_log_monitor")


def heed_switches() -> None:
    """Take in a switch that Ray reads when it is imported, which a sweep's script may have done before us: under
    `uv run` each of Ray's processes would make itself an environment, and the first trial come 40 s later.

    Otherwise: as Ray's import found the switch, so a script should import genlab first.
    """
    constants, read = names.named("ray._private:ray_constants"), names.named("ray._common.utils:env_bool")
    name = "RAY_ENABLE_UV_RUN_RUNTIME_ENV"
    if read is not None and hasattr(constants, name):
        setattr(constants, name, read(name, False))


def noted_address() -> str | None:
    """The address that `ray start` noted on this machine; None if there is none. Ray's own "auto" would also join the
    private Ray of another sweep. What another account noted is passed over with a warning, unless it is root: anybody
    may write where Ray notes it, and who is joined learns the token.

    Otherwise: that "auto".
    """
    utils = "ray._private.utils"
    read, note = names.named(f"{utils}:read_ray_address"), names.named(f"{utils}:get_ray_address_file")
    if read is None:
        return "auto"
    if (address := read()) and note is not None:
        with contextlib.suppress(FileNotFoundError):
            if os.stat(file := note(None)).st_uid not in (0, os.geteuid()):
                log.warning("another account noted a Ray at %s in %s: --address %s joins it", address, file, address)
                return None
    return address


def take_token() -> None:
    """Use the token that `ray start` took, also for an address that was named. Otherwise: as RAY_AUTH_MODE says."""
    take = names.named(
        "ray._private.authentication.authentication_token_setup:maybe_enable_token_auth_if_token_available"
    )
    if take is not None:
        take(warn_if_disabled=False)


def kinds_of_nodes() -> list[tuple[dict[str, float], int]]:
    """What the cluster's autoscaler may have in all: kinds of nodes by their resources, and how many of each (-1: any
    number). Otherwise: none, so that only machines that are there count."""
    read = names.named("ray._private.state:state.get_cluster_config")
    config = read() if read is not None else None
    groups = config.node_group_configs if config is not None else ()
    return [({name: float(n) for name, n in group.resources.items()}, group.max_count) for group in groups]


@contextlib.contextmanager
def for_this_machine() -> Iterator[None]:
    """Meanwhile a Ray starts, or is joined, as Ray has it on Windows and macOS: its address is 127.0.0.1, and no
    process of it listens anywhere else. By itself it listens on all interfaces of a Linux machine, also where no other
    machine ever joins, and wherever a caller names the loopback it takes another of the machine's addresses.

    It costs no time: the first trial came 0.15 s later, and the sweep ended 2.6 s sooner, both within what differs from
    run to run (`benchmarks/ray_parts.py`).

    Otherwise: it listens on all interfaces, and is joined by the address that it has there.
    """
    constants = names.named("ray._private:ray_constants")
    with contextlib.ExitStack() as stack:
        if hasattr(constants, "ENABLE_RAY_CLUSTER"):
            stack.enter_context(names.replaced(constants, "ENABLE_RAY_CLUSTER", False))
        yield


@contextlib.contextmanager
def lean_start() -> Iterator[None]:
    """Meanwhile a Ray starts without what only others could use: a dashboard, an autoscaler, a reader of logs. They are
    three processes of 128 MiB together; with the dashboard the first trial came 1.5 s later, with the autoscaler 2.3,
    with the reader 0.8, and 0.8 where the dashboard's packages were looked for (`benchmarks/ray_parts.py`).

    Its processes are in groups of their own: what `timeout` and a terminal send to the driver's group would end them
    before the driver could end the sweep. They still die with it.

    Otherwise: they are started; after SIGTERM to the whole group a sweep must be resumed.
    """
    node, services = names.named("ray._private.node:Node"), names.named("ray._private:services")
    with contextlib.ExitStack() as stack:
        stack.enter_context(names.absent("ray.dashboard.optional_deps"))
        for name in UNUSED_PROCESSES:
            if hasattr(node, name):
                stack.enter_context(names.replaced(node, name, lambda *_, **__: None))
        if plain := getattr(services, "ConsolePopen", None):
            stack.enter_context(names.replaced(services, "ConsolePopen", functools.partial(plain, process_group=0)))
        yield
