"""Which Ray a sweep joins, with which switches, and what it sees there; Ray itself is played."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from made_sweeps import free_port
from ray._common.usage import usage_lib
from ray._private import ray_constants, services
from ray._private.node import Node
from ray._private.state import state
from ray._private.utils import validate_socket_filepath

from genlab.errors import GenlabError
from genlab.lanes import cluster
from genlab.lanes.group import LOOPBACK
from genlab.lanes.ray_parts import names

UV_RUN = "RAY_ENABLE_UV_RUN_RUNTIME_ENV"


@pytest.fixture
def environment(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """This process's, without a word of Ray, and with an empty home; whatever is set in it is gone afterwards."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "TUNE_"))}
    kept["HOME"] = str(tmp_path_factory.mktemp("home"))
    monkeypatch.setattr(os, "environ", kept)
    monkeypatch.setattr(ray_constants, UV_RUN, None)
    return kept


class Joins:
    """What was done to have a Ray."""

    def __init__(self) -> None:
        self.noted: str | None = None  # by `ray start --head`
        self.done: list[Any] = []
        self.error: Exception | None = None

    def init(self, **options: Any) -> None:
        if self.error is not None:
            raise self.error
        self.done.append(options)


@pytest.fixture
def joins(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Joins:
    made = Joins()
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", made.init)
    monkeypatch.setattr("ray._private.utils.read_ray_address", lambda: made.noted)
    monkeypatch.setattr("ray._private.utils.get_ray_address_file", lambda _: environment["HOME"])
    token = "ray._private.authentication.authentication_token_setup.maybe_enable_token_auth_if_token_available"
    monkeypatch.setattr(token, lambda warn_if_disabled: made.done.append("token") if not warn_if_disabled else None)
    monkeypatch.setattr(cluster, "start", lambda: made.done.append("started"))
    monkeypatch.setattr(cluster, "_import_ahead", lambda: (time.sleep(0.05), made.done.append("imported")))
    return made


@pytest.fixture
def heads() -> Iterator[list[str]]:
    """Addresses where something listens."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    yield [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()


def test_a_named_ray_comes_before_the_environments_and_that_before_the_one_here(
    joins: Joins, heads: list[str], environment: dict[str, str]
) -> None:
    def joined(address: str | None) -> str:
        joins.done.clear()
        assert cluster.connect(address) is True
        assert joins.done.count("imported") == 1  # in a thread, so at any time
        token, options = (one for one in joins.done if one != "imported")
        assert token == "token" and options["log_to_driver"] is False
        return options["address"]

    joins.noted = heads[0]
    assert joined(None) == heads[0]
    assert joined("auto") == heads[0]
    environment["RAY_ADDRESS"] = heads[1]
    assert joined(None) == heads[1]
    assert joined(heads[2]) == heads[2]


def test_ray_is_as_quiet_when_it_is_joined_as_before(
    joins: Joins, heads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray itself lets its logger speak of everything when it is joined."""
    logger = logging.getLogger("ray")
    monkeypatch.setattr(logger, "level", logging.NOTSET)
    monkeypatch.setattr(ray, "init", lambda **_: logger.setLevel(logging.INFO))
    cluster.connect(heads[0])
    assert logger.level == logging.ERROR


def test_the_token_of_a_ray_that_is_joined_is_closed_to_others(
    joins: Joins, heads: list[str], environment: dict[str, str]
) -> None:
    """`ray get-auth-token --generate` makes one that all can read."""
    token = Path(environment["HOME"], ".ray", "auth_token")
    token.parent.mkdir()
    token.write_text("token")
    token.chmod(0o644)
    cluster.connect(heads[0])
    assert token.stat().st_mode & 0o777 == 0o600


def test_a_ray_on_the_loopback_is_joined_there(joins: Joins, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray itself would look for it at another address of this machine."""
    met: dict[str, bool] = {}
    monkeypatch.setattr(ray, "init", lambda address, **_: met.update({address: ray_constants.ENABLE_RAY_CLUSTER}))
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: socket.socket())
    for address in ("127.0.0.1:1", "localhost:1", "[::1]:1", "10.0.0.8:1", "auto"):
        joins.noted = address
        cluster.connect(None)
    assert [address for address, reachable in met.items() if not reachable] == ["127.0.0.1:1", "localhost:1", "[::1]:1"]
    assert ray_constants.ENABLE_RAY_CLUSTER is True


def test_what_is_loaded_ahead_loads_no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes seconds, and Tune would only ask whether it is there."""
    monkeypatch.delitem(sys.modules, "mlflow", raising=False)
    seen: dict[str, Any] = {}

    def load(name: str) -> None:
        seen[name] = sys.modules.get("mlflow", "may be loaded")

    monkeypatch.setattr(cluster, "importlib", SimpleNamespace(import_module=load))
    cluster._import_ahead()
    assert seen["ray.air.integrations.mlflow"] is None and "genlab.lanes.trainer" in seen
    assert "mlflow" not in sys.modules  # who needs it later gets it


def test_without_one_a_sweep_starts_its_own(joins: Joins, heads: list[str]) -> None:
    for noted, address in ((None, None), (heads[0], "local"), (f"127.0.0.1:{free_port()}", None)):
        joins.noted = noted  # the last one is gone
        joins.done.clear()
        assert cluster.connect(address) is True
        assert sorted(joins.done) == ["imported", "started"]


def test_an_ipv6_address_is_joined(joins: Joins) -> None:
    try:
        head = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"no IPv6: {error}")
    with head:
        address = f"[::1]:{head.getsockname()[1]}"
        cluster.connect(address)
        assert {"address": address, **cluster.CALM} in joins.done


def test_a_ray_that_another_account_noted_is_not_joined(
    joins: Joins, heads: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Anybody may write the note, and a Ray that is joined learns the token. By its address it is joined."""
    joins.noted = heads[0]
    note = tmp_path / "ray_current_cluster"
    note.write_text(heads[0])
    monkeypatch.setattr("ray._private.utils.get_ray_address_file", lambda _: str(note))
    account = os.geteuid() or 4711  # a file of root's is root's for everybody
    if os.geteuid() == 0:
        os.chown(note, account, -1)
    for me, done in ((account, "token"), (account + 1, "started")):
        monkeypatch.setattr(os, "geteuid", lambda me=me: me)
        joins.done.clear()
        caplog.clear()
        cluster.connect(None)
        assert done in joins.done and len(joins.done) == (2 if done == "started" else 3)
        assert (f"--address {heads[0]} joins it" in caplog.text) is (done == "started")
    joins.done.clear()
    cluster.connect(heads[0])
    assert {"address": heads[0], **cluster.CALM} in joins.done


def test_a_ray_that_does_not_start_is_one_line(environment: dict[str, str]) -> None:
    """Ray itself, which is told to put its files where there can be no folder."""
    for name in ("TMPDIR", "RAY_TMPDIR"):
        with tempfile.NamedTemporaryFile(dir="/tmp") as file:
            environment[name] = file.name
            done = subprocess.run(
                [sys.executable, "-c", "from genlab.lanes import cluster; cluster.start()"],
                env=environment, capture_output=True, text=True, timeout=120,
            )  # fmt: skip
            last = done.stderr.strip().splitlines()[-1]
            assert done.returncode == 1 and last.startswith("genlab.errors.GenlabError: Ray does not start here (")
            assert f"{file.name}/ray/session_latest/logs" in last
            assert "RAY_TMPDIR names another place for its files" in last


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Ray that has none of the names that are not its interface."""
    monkeypatch.setattr(names, "named", lambda path: None)


def test_where_rays_own_names_are_not_there_it_is_joined_by_what_it_documents(
    joins: Joins, heads: list[str], hidden: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    joins.noted = heads[0]  # which nobody reads
    assert cluster.connect(None) is True
    assert [one for one in joins.done if one != "imported"] == [{"address": "auto", **cluster.CALM}]
    joins.done.clear()
    assert cluster.connect(heads[1]) is True
    assert [one for one in joins.done if one != "imported"] == [{"address": heads[1], **cluster.CALM}]
    joins.done.clear()
    joins.error = ConnectionError("Could not find any running Ray instance")
    assert cluster.connect(None) is True
    assert sorted(joins.done) == ["imported", "started"]
    with pytest.raises(GenlabError, match="cannot be joined"):
        cluster.connect(heads[1])


def test_where_rays_own_names_are_not_there_one_is_started_and_seen_by_what_it_documents(
    environment: dict[str, str], hidden: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(ray, "init", lambda **options: seen.append(options))
    cluster.settle()
    cluster.start(num_cpus=2)
    assert seen == [{"address": "local", "include_dashboard": False, "num_cpus": 2, **cluster.CALM}]
    nodes = [{"Alive": True, "Resources": {"CPU": 4.0}, "NodeManagerAddress": "a"}]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    assert cluster.room(1, 10, None, 2, None) == (2, {"CPU": 2}, 180.0)
    cluster.check_storage("./results")


def test_names_that_are_not_there_are_none() -> None:
    assert names.named("json:decoder.JSONDecoder.decode") is json.JSONDecoder.decode
    assert names.named("ray._private.no_such_module:name") is None
    assert names.named("json:decoder.NoDecoder") is None


def test_a_ray_that_this_process_has_is_used_and_stays(joins: Joins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    assert cluster.connect("127.0.0.1:9") is False
    assert joins.done == []


def test_a_ray_that_cannot_be_joined_is_refused_in_one_line(joins: Joins, heads: list[str]) -> None:
    joins.error = RuntimeError("version mismatch\nand much more")
    with pytest.raises(
        GenlabError, match=r"cannot be joined \(version mismatch\): if it asks for a token, .*RAY_AUTH_TOKEN"
    ):
        cluster.connect(heads[0])
    with pytest.raises(GenlabError, match="no Ray answers at"):
        cluster.connect(f"127.0.0.1:{free_port()}")
    assert "started" not in joins.done


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("ray://host:10001", "a Ray client's address: run the script on the cluster, as `ray submit` does"),
        (
            "http://127.0.0.1:8265",
            "where a dashboard or jobs are: a sweep joins the Ray itself, by HOST:PORT as `ray start`",
        ),
        ("https://head/ray", "where a dashboard or jobs are"),
        ("head", "which is no address: write HOST:PORT, such as 127.0.0.1:6379; or name another, or --address local"),
        ("head:", "which is no address"),
        ("head:ray", "which is no address"),
        ("head:0", "which is no address"),
        ("127.0.0.1:99999", "which is no address"),
        ("127.0.0.1:65536", "which is no address"),
        ("redis://head:6379", "which is no address"),
        ("a b:6379", "which is no address"),
    ],
)
def test_what_is_no_address_is_refused_by_what_named_it(
    address: str, why: str, joins: Joins, environment: dict[str, str]
) -> None:
    with pytest.raises(GenlabError) as refused:
        cluster.connect(address)
    assert str(refused.value).startswith(f"--address is {address}, {why}")
    environment["RAY_ADDRESS"] = address
    with pytest.raises(GenlabError) as refused:
        cluster.connect(None)
    assert str(refused.value).startswith(f"RAY_ADDRESS is {address}, {why}")
    assert [one for one in joins.done if one != "imported"] == []


def test_a_ray_that_does_not_answer_is_refused_by_what_named_it(joins: Joins, environment: dict[str, str]) -> None:
    other = "name another, or --address local for a Ray of the sweep's own"
    for dead in (f"127.0.0.1:{free_port()}", f"[::1]:{free_port()}"):
        environment.pop("RAY_ADDRESS", None)
        with pytest.raises(
            GenlabError, match=rf"^no Ray answers at {re.escape(dead)} \(.*\), which --address names: {other}$"
        ):
            cluster.connect(dead)
        environment["RAY_ADDRESS"] = dead
        with pytest.raises(GenlabError, match=rf"^no Ray answers at .* \(.*\), which RAY_ADDRESS names: {other}$"):
            cluster.connect(None)


def test_a_temporary_folder_that_is_too_long_for_a_socket_is_refused_before_ray_starts(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exactly where Ray itself would refuse it, which names its sockets as this test does."""
    started: list[Any] = []
    monkeypatch.setattr(ray, "init", lambda **options: started.append(options))
    socket_of = f"ray/session_{datetime.now():%Y-%m-%d_%H-%M-%S_%f}_{os.getpid()}/sockets/plasma_store"
    longest = "/" + "x" * (107 - len(f"//{socket_of}"))
    validate_socket_filepath(f"{longest}/{socket_of}")
    with pytest.raises(OSError, match="cannot exceed"):
        validate_socket_filepath(f"{longest}x/{socket_of}")
    for name in ("TMPDIR", "RAY_TMPDIR"):
        environment[name] = longest
        cluster.start()
        assert len(started) == 1
        started.clear()
        environment[name] = f"{longest}x"
        size = len(longest)
        with pytest.raises(
            GenlabError, match=rf"^{name} is {longest}x, {size + 1} bytes long: .* 107 bytes, .* {size} for"
        ):
            cluster.start()
        environment[name] = f"{longest[:-1]}é"  # two bytes
        with pytest.raises(GenlabError, match="bytes long"):
            cluster.start()
        assert started == []
    environment["RAY_TMPDIR"] = "/tmp"  # Ray takes that one first
    cluster.start()
    assert len(started) == 1


def test_rays_switches_are_set_where_the_user_did_not(environment: dict[str, str]) -> None:
    environment["TUNE_WARN_THRESHOLD_S"] = "99"
    cluster.settle()
    assert environment["TUNE_WARN_THRESHOLD_S"] == "99"
    assert environment["TUNE_DISABLE_SIGINT_HANDLER"] == "1"  # Ctrl-C is the sweep's
    assert environment["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] == "1"
    assert not usage_lib.usage_stats_enabled()  # nobody is told of a sweep
    assert float(environment["TUNE_GLOBAL_CHECKPOINT_S"]) == math.inf  # its state grows with each trial
    assert ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV is False
    environment[UV_RUN] = "1"
    cluster.settle()
    assert ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV is True and environment[UV_RUN] == "1"


@pytest.mark.parametrize("error", [None, RuntimeError("it does not start"), Exception("it does not start")])
def test_a_ray_of_ones_own_has_no_dashboard_and_leaves_rays_code_as_it_was(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    unused = ("start_api_server", "start_monitor", "start_log_monitor")  # each is a process
    methods = {name: getattr(Node, name) for name in unused}
    seen: list[Any] = []
    monkeypatch.setattr(services, "ConsolePopen", lambda *_, **how: how)

    token = Path(environment["HOME"], ".ray", "auth_token")

    def init(**options: Any) -> None:
        own = [getattr(Node, name)(None, "anything", a=1) for name in unused]
        assert services.ConsolePopen("raylet") == {"process_group": 0}  # out of reach of what ends the driver's group
        seen.append((options, own, sys.modules["ray.dashboard.optional_deps"]))
        assert token.stat().st_mode & 0o777 == 0o600
        assert ray.util.get_node_ip_address() in LOOPBACK
        if error is not None:
            raise error

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.delitem(sys.modules, "ray.dashboard.optional_deps", raising=False)
    with contextlib.nullcontext() if error is None else pytest.raises(GenlabError, match="it does not start"):
        cluster.start(num_cpus=2)
    ((options, own, module),) = seen
    assert options == {"address": "local", "include_dashboard": False, "num_cpus": 2, **cluster.CALM}
    assert own == [None, None, None] and module is None
    assert {name: getattr(Node, name) for name in unused} == methods and services.ConsolePopen("raylet") == {}
    assert "ray.dashboard.optional_deps" not in sys.modules
    assert ray_constants.ENABLE_RAY_CLUSTER is True


@pytest.mark.parametrize(("address", "said"), [("127.0.0.1", 0), ("::1", 0), ("10.0.0.8", 1)])
def test_a_ray_of_ones_own_that_others_reach_says_so(
    environment: dict[str, str],
    hidden: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    address: str,
    said: int,
) -> None:
    """As one of a later Ray might, which has other names."""
    monkeypatch.setattr(ray, "init", lambda **options: None)
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: address)
    cluster.start(num_cpus=2)
    assert len(caplog.records) == said
    assert all(f"listens on all interfaces, and its address is {address}" in one.message for one in caplog.records)


def test_a_module_that_is_there_already_stays_there() -> None:
    with names.absent("json"):
        assert sys.modules["json"] is not None
    with names.absent("not_there"):
        assert sys.modules["not_there"] is None
    assert sys.modules["json"] is not None and "not_there" not in sys.modules


def test_what_lives_and_what_may_be_added_is_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def node(cpus: float, alive: bool = True) -> dict[str, Any]:
        return {"Alive": alive, "Resources": {"CPU": cpus, "memory": 1e9}}

    def group(cpus: int, most: int) -> Any:
        return SimpleNamespace(resources={"CPU": cpus}, max_count=most)

    monkeypatch.setattr(ray, "nodes", lambda: [node(4), node(2), node(64, alive=False)])
    monkeypatch.setattr(state, "get_cluster_config", lambda: None)
    assert cluster.room(1, 10, None, 2, None) == (3, {"CPU": 2}, 180.0)
    assert cluster.room(2, 10, None, None, 0.0) == (3, {"CPU": 1}, 180.0)
    assert cluster.room(1, 2, None, None, None) == (2, {"CPU": 2}, 180.0)
    with pytest.raises(GenlabError, match="room for 1 such workers"):
        cluster.room(1, 10, 2, 4, None)
    groups = [group(8, 3), group(2, 0)]
    monkeypatch.setattr(state, "get_cluster_config", lambda: SimpleNamespace(node_group_configs=groups))
    assert cluster.room(1, 10, None, 8, None) == (3, {"CPU": 8}, 1800.0)
    assert cluster.room(1, 99, None, 2, None) == (12, {"CPU": 2}, 180.0)  # and of the other kind none is added
    groups[0] = group(8, -1)  # as many as are asked for
    assert cluster.room(1, 10, None, 8, None) == (10, {"CPU": 8}, 1800.0)
    assert cluster.room(1, 3, None, None, None) == (3, {"CPU": 8}, 1800.0)
