"""A sweep's own Ray, as other people on the machine and in its network find it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
import toy_script

# of each kind of Ray's servers, what any of them would do for whoever may ask
CALLS = (
    "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo",
    "/ray.rpc.NodeManagerService/GetNodeStats",
    "/ray.rpc.CoreWorkerService/GetCoreWorkerStats",
)
OTHERS = (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNAVAILABLE)  # another kind of Ray's; not a server of gRPC


def listening(process: psutil.Process) -> set[tuple[str, str, int]]:
    """Title, address and port of each socket on which this process or one below it listens."""
    found = set()
    for one in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            sockets = one.net_connections("inet")
            title = " ".join(one.cmdline()[:2])
            found |= {(title, *socket.laddr) for socket in sockets if socket.status == psutil.CONN_LISTEN}
    return found


def is_loopback(address: str) -> bool:
    """Whether nobody reaches it from another machine; IPv6 sockets may name addresses of IPv4."""
    found = ip_address(address)
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return (mapped or found).is_loopback


def answer(port: int, call: str, token: str | None) -> str | None:
    """What a server says to a call: `OK`, or why not; None if the call is for servers of another kind."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        sent = () if token is None else (("authorization", f"Bearer {token}"),)
        try:
            channel.unary_unary(call)(b"", timeout=5, metadata=sent)
        except grpc.RpcError as error:
            code = error.code()  # type: ignore[attr-defined]
            return None if code in OTHERS else code.name
    return "OK"


@pytest.mark.slow
def test_no_other_machine_reaches_a_sweep_and_nobody_without_its_token(tmp_path: Path) -> None:
    """Seen again and again from its start to its end, with two workers that train as one."""
    home = tmp_path / "home"
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment["HOME"] = str(home)
    options = ["--trials", "2", "--workers", "2", "--lanes", "1", "--storage", "results", "--set", "sleep=0.1"]
    command = [sys.executable, toy_script.__file__, str(tmp_path / "trace"), *options]
    output: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    sweep = subprocess.Popen(command, cwd=tmp_path, env=environment, **output)
    process, found = psutil.Process(sweep.pid), set()
    answers: dict[str, list[tuple[str | None, ...]]] = {}
    while sweep.poll() is None:
        time.sleep(0.1)
        with contextlib.suppress(psutil.Error):
            now = listening(process)
            found |= now
        if (tmp_path / "trace").exists() and not answers:  # a trial has begun
            tokens = (None, "0" * 64, (home / ".ray" / "auth_token").read_text())
            ports = [port for title, _, port in now if "ray::Worker" not in title]  # a rank has gloo's sockets, too
            answers = {call: [tuple(answer(port, call, one) for one in tokens) for port in ports] for call in CALLS}
    said, _ = sweep.communicate()
    assert sweep.returncode == 0, said
    titles = " ".join(title for title, *_ in found)
    assert "gcs_server" in titles and "raylet" in titles and "ray::" in titles
    assert {one for one in found if not is_loopback(one[1])} == set()
    for of_one in answers.values():
        assert set(of_one) - {(None, None, None)} == {("UNAUTHENTICATED", "UNAUTHENTICATED", "OK")}
    assert (home / ".ray" / "auth_token").stat().st_mode & 0o777 == 0o600
