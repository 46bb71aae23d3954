"""How a cluster's nodes are shared out among lanes and workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import toy_script
from made_sweeps import free_port, wait_for

from genlab.errors import GenlabError
from genlab.lanes.cluster import GROWING, PRESENT, check_storage, connect, share_out


def cpus(*sizes: float) -> list[dict[str, float]]:
    return [{"CPU": size} for size in sizes]


def share(nodes: list[dict[str, float]], growing: Any = (), **asked: Any) -> Any:
    given = {"workers": 1, "trials": 100, "lanes": None, "cpus": None, "gpus": None} | asked
    return share_out(nodes, list(growing), **given)


@pytest.mark.parametrize(
    ("nodes", "asked", "lanes", "each"),
    [
        (cpus(2), {}, 2, 1),
        (cpus(2), {"workers": 2}, 1, 1),
        (cpus(16), {"trials": 1}, 1, 16),
        (cpus(16), {"trials": 3}, 3, 5),
        (cpus(4, 4), {"trials": 1}, 1, 4),  # a worker of 8 has no node
        (cpus(2, 2, 2), {"trials": 2}, 2, 2),
        (cpus(3, 3), {"workers": 2, "cpus": 2}, 1, 2),  # 6 CPUs, but only two workers of 2
        (cpus(1, 8), {"lanes": 2}, 2, 4),
        (cpus(8), {"lanes": 2, "cpus": 1}, 2, 1),
        (cpus(6), {"cpus": 2}, 3, 2),
        (cpus(3, 3), {"workers": 3}, 2, 1),  # workers of one lane lie on both nodes
        (cpus(1, 1, 1), {"workers": 2}, 1, 1),
        (cpus(8), {"lanes": 4, "trials": 2}, 4, 2),  # more than there are trials, if one asks for them
        (cpus(8), {"trials": 2, "workers": 2}, 2, 2),
    ],
)
def test_workers_fit_on_nodes(nodes: Any, asked: Any, lanes: int, each: int) -> None:
    made = share(nodes, **asked)
    assert (made.lanes, made.resources, made.patience) == (lanes, {"CPU": each}, PRESENT)


def test_gpus_are_taken_where_there_are_some() -> None:
    node = {"CPU": 16.0, "GPU": 4.0}
    assert share([node])[:2] == (4, {"CPU": 4, "GPU": 1.0})
    assert share([node], gpus=0.5)[:2] == (8, {"CPU": 2, "GPU": 0.5})
    assert share([node], gpus=0.4).lanes == 8  # two a GPU: no worker lies on two halves
    assert share([node], gpus=0.0)[:2] == (16, {"CPU": 1})
    assert share([node], workers=2, gpus=2.0)[:2] == (1, {"CPU": 8, "GPU": 2.0})
    assert share([node], gpus=3.0).lanes == 1  # and the fourth GPU serves nobody
    assert share([{"CPU": 16.0}, node], trials=8)[:2] == (4, {"CPU": 4, "GPU": 1.0})  # a node without one has no worker
    assert share([{"CPU": 2.0, "GPU": 4.0}]).lanes == 2  # each needs a CPU as well
    assert share(cpus(0), [(node, 2)])[:2] == (8, {"CPU": 4, "GPU": 1.0})


def test_what_an_autoscaler_may_add_is_waited_for() -> None:
    made = share(cpus(0), [({"CPU": 4.0}, 3)], workers=2)
    assert (made.lanes, made.resources, made.patience) == (6, {"CPU": 1}, GROWING)
    assert share(cpus(4), [({"CPU": 4.0}, 1_000_000)], lanes=50).patience == PRESENT
    assert share(cpus(1), [({"CPU": 1.0}, 99)], trials=1, lanes=4).lanes == 4
    assert share(cpus(1), [({"CPU": 1.0}, 99)], trials=3, workers=2).lanes == 3
    assert share(cpus(4), [({"CPU": 4.0}, 2)]).lanes == 8  # the node that is there is one of the two
    assert share(cpus(4), [({"CPU": 4.0}, 2)], workers=2, lanes=1, cpus=4).patience == GROWING
    assert share(cpus(1), [({"CPU": 4.0}, 9)], workers=2, lanes=1)[1:] == ({"CPU": 4}, GROWING)  # two lie nowhere yet
    assert share(cpus(2), [({"CPU": 2.0}, 9)], workers=2, lanes=1, cpus=1).patience == PRESENT
    assert share(cpus(2), [({"CPU": 1.0}, 1)], lanes=2)[1:] == ({"CPU": 1}, PRESENT)
    both = share([{"CPU": 4.0}], [({"CPU": 4.0, "GPU": 1.0}, 2), ({"CPU": 8.0}, 3)], trials=9)
    assert both == (2, {"CPU": 4, "GPU": 1.0}, GROWING)


@pytest.mark.parametrize(
    "asked", [{"lanes": 5}, {"workers": 9}, {"cpus": 5}, {"gpus": 1.0}, {"lanes": 2, "workers": 2, "cpus": 2}]
)
def test_what_never_fits_is_refused(asked: Any) -> None:
    with pytest.raises(GenlabError, match="room for"):
        share(cpus(4), **asked)


def test_a_refusal_says_what_was_asked_for_and_what_there_is() -> None:
    nodes = [{"CPU": 8.0}, {"CPU": 6.0, "GPU": 2.0}]
    told = []
    for asked in ({"lanes": 3, "workers": 2, "cpus": 4, "gpus": 0.0}, {"lanes": 2, "workers": 3, "gpus": 0.5}):
        with pytest.raises(GenlabError) as refused:
            share(nodes, **asked)
        told.append(str(refused.value).partition(". Ask for fewer")[0])
    largest = "(the largest node has 6 CPUs and 2 GPUs)"
    assert told == [
        f"3 lanes x 2 workers of 4 CPUs each: there is room for 3 such workers {largest}",
        f"2 lanes x 3 workers of 1 CPUs and 0.5 GPUs each: there is room for 4 such workers {largest}",
    ]


@pytest.mark.parametrize(
    ("addresses", "growing", "refused"),
    [(["a"], 0, False), (["a", "a"], 0, False), (["a", "b"], 0, True), (["a"], 3, True), (["a", "dead"], 0, False)],
)
def test_a_folder_of_one_machine_is_refused_where_there_may_be_several(
    addresses: list[str], growing: int, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [{"NodeManagerAddress": one, "Alive": one != "dead"} for one in addresses]
    monkeypatch.setattr("ray.nodes", lambda: nodes)
    monkeypatch.setattr("genlab.lanes.cluster._could_be_added", lambda: [({"CPU": 1.0}, growing)] * (growing > 0))
    for given in ("/nfs/genlab", "~/genlab", "s3://bucket/genlab"):
        check_storage(given)
    for given in ("./results", "results"):
        if refused:
            with pytest.raises(GenlabError, match=rf"{given} is a folder of one: .*--storage /nfs/genlab"):
                check_storage(given)
        else:
            check_storage(given)


@pytest.mark.parametrize(("address", "says"), [("ray://host:10001", "client"), ("127.0.0.1:9", "no Ray answers")])
def test_an_address_that_is_none_is_refused(address: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with pytest.raises(GenlabError, match=says):
        connect(address)


def test_lanes_run_in_the_environment_of_the_driver(shared_ray: str) -> None:
    """Under `uv run`, too, and though this file has imported Ray first: none is made for each of Ray's processes."""
    import ray

    assert not ray.get_runtime_context().runtime_env.get("py_executable")


@pytest.mark.slow
def test_a_sweep_joins_what_ray_start_started(tmp_path: Path) -> None:
    """By itself, and by name; with the token that Ray makes by itself."""
    from ray._private.utils import read_ray_address

    port = str(free_port())
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    ray = Path(sys.executable).with_name("ray")
    command = [str(ray), "start", "--head", "--block", "--num-cpus", "1", "--port", port, "--disable-usage-stats"]
    head = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_for(lambda: (read_ray_address() or "").endswith(f":{port}") or head.poll() is not None, 60)
        assert head.poll() is None
        script = [sys.executable, toy_script.__file__, str(tmp_path / "trace"), "--trials", "1", "--storage", "results"]
        for named in ([], ["--address", read_ray_address()]):
            done = subprocess.run([*script, *named], cwd=tmp_path, env=environment, capture_output=True, text=True)
            assert done.returncode == 0 and "on 1 lanes of 1 x 1 CPU" in done.stdout
    finally:
        head.send_signal(signal.SIGTERM)
        head.wait(90)
