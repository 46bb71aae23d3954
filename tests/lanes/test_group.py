"""Where the ranks of a lane meet, and on which interface they talk."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import ray
import ray.train.collective
import torch.distributed as dist

from genlab.lanes import group


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is set in it is gone afterwards."""
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_SOCKET_IFNAME")}
    monkeypatch.setattr(os, "environ", kept)


def broadcast() -> Callable[[Any], Any]:
    """Gives every rank what the first one to call brought, which must be rank 0."""
    brought: list[Any] = []

    def call(mine: Any) -> Any:
        brought.append(mine)
        return brought[0]

    return call


def listening() -> set[tuple[str, int]]:
    """Address and port of each socket on which this process listens."""
    sockets = psutil.Process().net_connections("inet")
    return {tuple(one.laddr) for one in sockets if one.status == psutil.CONN_LISTEN}  # type: ignore[misc]


@pytest.mark.parametrize(
    ("device", "share", "backend"),
    [("cpu", 0.0, "gloo"), ("cuda:0", 0.5, "gloo"), ("cuda:0", 1.0, "cpu:gloo,cuda:nccl")],
)
def test_ranks_meet_at_rank_0s_store_under_one_name(
    monkeypatch: pytest.MonkeyPatch, device: str, share: float, backend: str
) -> None:
    """NCCL refuses two ranks on one GPU."""
    joined: dict[int, Any] = {}

    def init(backend: str, *, rank: int, **how: Any) -> None:
        joined[rank] = SimpleNamespace(backend=backend, **how)

    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "127.0.0.1")
    monkeypatch.setattr(
        ray, "get_runtime_context", lambda: SimpleNamespace(get_assigned_resources=lambda: {"GPU": share})
    )
    monkeypatch.setattr(ray.train.collective, "broadcast_from_rank_zero", broadcast())
    monkeypatch.setattr(dist, "init_process_group", init)
    before = listening()
    names = [group.join_group(rank, 2, device) for rank in (0, 1)]
    assert names[0] == names[1] and set(joined) == {0, 1}
    joined[0].store.set("from", "rank 0")
    assert joined[1].store.get("from") == b"rank 0"
    for one in joined.values():
        assert (one.backend, one.world_size) == (backend, 2)
        assert one.timeout.total_seconds() >= 1800  # one rank may prepare its data while others wait
    (own,) = listening() - before
    assert own[0] == "127.0.0.1", "the store asks nobody for a token: no other machine may reach it"
    assert os.environ["GLOO_SOCKET_IFNAME"] == os.environ["NCCL_SOCKET_IFNAME"] == "lo"


def test_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        os.environ[name] = "ib0"
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "127.0.0.1")
    monkeypatch.setattr(ray.train.collective, "broadcast_from_rank_zero", broadcast())
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **how: None)
    group.join_group(0, 2, "cpu")
    assert os.environ["GLOO_SOCKET_IFNAME"] == os.environ["NCCL_SOCKET_IFNAME"] == "ib0"


def test_ranks_on_other_nodes_go_to_rank_0s(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which listens for them, and lets NCCL choose among the machine's networks."""
    opened: list[Any] = []

    def store(host: str, port: int, *, is_master: bool, master_listen_fd: int | None = None, **how: Any) -> Any:
        assert master_listen_fd is None
        opened.append((host, port, is_master))
        return SimpleNamespace(port=4242)

    monkeypatch.setattr(dist, "TCPStore", store)
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **how: None)
    monkeypatch.setattr(ray.train.collective, "broadcast_from_rank_zero", broadcast())
    for rank, address in enumerate(("10.0.0.8", "10.0.0.9")):
        monkeypatch.setattr(ray.util, "get_node_ip_address", lambda address=address: address)
        group.join_group(rank, 2, "cpu")
    assert opened == [("10.0.0.8", 0, True), ("10.0.0.8", 4242, False)]
    assert "NCCL_SOCKET_IFNAME" not in os.environ


def test_gloo_is_told_the_interface_with_the_nodes_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def has(address: str, family: Any = socket.AF_INET) -> list[Any]:
        return [SimpleNamespace(family=family, address=address)]

    found = {
        "lo": has("127.0.0.1"),
        "docker0": has("10.0.0.9", socket.AF_PACKET),
        "eth0": has("10.0.0.8"),
        "eth1": has("10.0.0.9"),
    }
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: found)
    assert group._interface("10.0.0.9") == "eth1" and group._interface("10.0.0.7") == "lo"


@pytest.mark.parametrize("address", group.LOOPBACK)
def test_rank_0_listens_on_the_loopback_of_either_family(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        socket.create_server((address, 0), family=family).close()
    except OSError:
        pytest.skip(f"this machine has no {address}")
    with socket.socket(fileno=group._listening(address)) as made:
        assert made.getsockname()[0] == address and made.getsockname()[1] > 0 and made.family == family


def test_the_group_that_ray_train_made_is_left_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has another interface and another timeout; torch refuses a second one beside it."""
    done: list[str] = []
    monkeypatch.setattr(dist, "is_initialized", lambda: "left" not in done)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: done.append("left"))
    assert len({group.join_group(0, 1, "cpu"), group.join_group(0, 1, "cpu")}) == 2  # groups are told apart
    assert done == ["left"]
