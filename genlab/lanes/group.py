"""The process group of a lane's ranks: where they meet, and on which interface they talk."""

from __future__ import annotations

import datetime
import os
import socket
import uuid
from typing import Any

COLLECTIVE_TIMEOUT = datetime.timedelta(minutes=30)  # a stuck peer is noticed by the mailbox long before
LOOPBACK = ("127.0.0.1", "::1")  # a Ray whose node has such an address has no other machine


def join_group(rank: int, world_size: int, device: str) -> str:
    """Join the lane's process group; returns the name of this worker group, alike on all ranks.

    Ranks talk on the interface that has their node's address. On a Ray of this machine alone that is the loopback, and
    no other machine reaches what they listen on: neither gloo, nor NCCL, nor their store asks anybody for a token.
    """
    import torch.distributed as dist

    attempt = uuid.uuid4().hex[:8]
    if dist.is_initialized():  # of Ray Train, with its own timeout and interface
        dist.destroy_process_group()
    if world_size == 1:
        return attempt
    import ray
    from ray.train.collective import broadcast_from_rank_zero
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    address = ray.util.get_node_ip_address()
    store: Any = None
    if rank == 0:
        # by itself the store listens on all interfaces
        own = _listening(address) if address in LOOPBACK else None
        store = TCPStore(address, 0, is_master=True, wait_for_workers=False, master_listen_fd=own)
    attempt, host, port = broadcast_from_rank_zero((attempt, address, store.port if store else 0))
    store = store or TCPStore(host, port, is_master=False)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", _interface(address))
    if address in LOOPBACK:
        os.environ.setdefault("NCCL_SOCKET_IFNAME", _interface(address))  # by itself it takes any other interface
    backend = "gloo"
    if device != "cpu" and float(ray.get_runtime_context().get_assigned_resources().get("GPU", 0)) >= 1:
        backend = "cpu:gloo,cuda:nccl"  # NCCL refuses two ranks on one GPU, and knows no tensors of the CPU
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=COLLECTIVE_TIMEOUT)
    return attempt


def _listening(address: str) -> int:
    """The descriptor of a socket that listens on a free port of this address. Who is given it closes it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, 0), family=family).detach()


def _interface(address: str) -> str:
    """The network interface that has `address`: gloo would take the one that the host's name resolves to."""
    import psutil

    for name, addresses in psutil.net_if_addrs().items():
        if any(one.family == socket.AF_INET and one.address == address for one in addresses):
            return name
    return "lo"
