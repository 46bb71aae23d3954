"""How a rank serves requests; here in this process, without a lane."""

from __future__ import annotations

import dataclasses
import math
import socket
from pathlib import Path

import pytest
import torch
import toys
from one_rank import Needs, epochs, numbers, preparation, rank, request, start_of

from genlab.tasks import Context
from genlab.tracking.epoch_reports import EpochReport
from genlab.tracking.storage import FileName
from genlab.training import Checkpoint


class OneDiverges(toys.Toy):
    """The replica of seed 1, in epoch 2."""

    def start(self) -> toys.ToyReplica:
        config = dataclasses.replace(self.config, nan_at=2 if self.config.seed == 1 else 0)
        return toys.ToyReplica(config, self.context)


def test_it_goes_on_with_the_session_that_it_holds(tmp_path: Path) -> None:
    one, trace = rank(tmp_path), tmp_path / "trace"
    first, second = (one.serve(request(epoch, trace=str(trace))) for epoch in (1, 2))
    assert (first["kind"], second["kind"]) == ("ok", "ok")
    assert one.session == "0000@x" and epochs(trace) == [1, 2]
    assert second["value"]["metrics"]["loss"] < first["value"]["metrics"]["loss"]


def test_an_epoch_is_written_and_named_before_it_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = rank(tmp_path, attempt="b2")
    written: list[FileName] = []
    write = one.records.write
    monkeypatch.setattr(one.records, "write", lambda path, data: written.append(write(path, data)) or written[-1])
    value = one.serve({**request(1, lr=0.5, seed=4), "replicas": 2})["value"]
    assert written == [value["report"], value["state"]]
    stem = "trials/0000/epoch_0001-b2"
    assert [file.path for file in written] == [f"{stem}.report.safetensors", f"{stem}.state.safetensors"]
    assert (tmp_path / "sweep" / value["state"].path).stat().st_size == value["state"].bytes
    report = EpochReport.decode(one.records.read_named(value["report"]), "report")
    assert (report.trial, report.epoch, list(report.seeds)) == ("0000", 1, [4, 5])
    host = {"host": socket.gethostname(), "device": f"cpu, {torch.get_num_threads()} threads"}
    assert report.host == {**host, "lane": 3, "workers": 1}
    state = Checkpoint.decode(one.records.read_named(value["state"]), "state")
    assert (state.epoch, list(state.seeds), state.script, state.config["lr"]) == (1, [4, 5], "mine.py", 0.5)
    own = torch.stack([start_of(seed) / 2 for seed in (4, 5)])
    for replica, expected in enumerate(own):
        torch.testing.assert_close(numbers(one, value, replica), expected)
    assert math.isclose(value["metrics"]["loss"], float(own.sum()) / 2, rel_tol=1e-6)
    assert (value["epoch"], value["diverged"]) == (1, False)


def test_rank_0_alone_writes_and_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Context, "all_reduce_mean", lambda self, tensor: tensor)  # the other one's is the same
    other = rank(tmp_path, number=1, world_size=2)
    assert other.serve({**request(), "test": True}) == {"kind": "ok", "value": None}
    assert other.trial.epoch == 1 and other.trial.tasks[0].context == Context(1, 2, "cpu", "/data")
    assert rank(tmp_path, Needs, number=1, world_size=2).serve(preparation({})) == {"kind": "ok", "value": None}
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_session_begins_where_its_state_stood_on_any_lane(tmp_path: Path) -> None:
    one, other, trace = rank(tmp_path), rank(tmp_path, attempt="b"), tmp_path / "trace"
    config = {"trace": str(trace), "lr": 0.5}
    second = [one.serve(request(epoch, **config))["value"] for epoch in (1, 2)][1]
    assert epochs(trace) == [1, 2]
    third = one.serve(request(3, **config))["value"]
    assert epochs(trace) == [3]
    elsewhere = other.serve({**request(3, session="y", **config), "state": list(second["state"])})["value"]
    assert epochs(trace) == [3] and torch.equal(numbers(other, elsewhere), numbers(one, third))
    fresh = other.serve({**request(3, session="z", **config)})["value"]  # all from the session's start
    assert epochs(trace) == [1, 2, 3] and torch.equal(numbers(other, fresh), numbers(one, third))
    torch.testing.assert_close(numbers(one, third), start_of(0) / 8)


def test_an_epoch_that_is_asked_for_again_is_trained_again_and_is_the_same(tmp_path: Path) -> None:
    """Also where the lane is past it."""
    one, trace = rank(tmp_path), tmp_path / "trace"
    values = {epoch: one.serve(request(epoch, trace=str(trace)))["value"] for epoch in (1, 2, 3)}
    first, third = (numbers(one, values[epoch]) for epoch in (1, 3))
    epochs(trace)
    again = one.serve(request(3, trace=str(trace)))["value"]
    assert epochs(trace) == [1, 2, 3] and torch.equal(numbers(one, again), third)
    again = one.serve(request(1, trace=str(trace)))["value"]
    assert epochs(trace) == [1] and again["epoch"] == 1 and torch.equal(numbers(one, again), first)


@pytest.mark.parametrize("damage", ["missing", "cut", "altered"])
def test_a_damaged_state_is_not_gone_on_from(tmp_path: Path, damage: str) -> None:
    one, trace = rank(tmp_path), tmp_path / "trace"
    second = [one.serve(request(epoch, lr=0.5))["value"] for epoch in (1, 2)][1]
    file = tmp_path / "sweep" / second["state"].path
    whole = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(whole[:-1] + (b"" if damage == "cut" else bytes([whole[-1] ^ 1])))
    asked = request(3, session="y", lr=0.5, trace=str(trace))
    value = one.serve({**asked, "state": list(second["state"])})["value"]
    assert epochs(trace) == [1, 2, 3]
    torch.testing.assert_close(numbers(one, value), start_of(0) / 8)


@pytest.mark.parametrize("mine", [1.0, 0.0])
def test_ranks_go_on_from_one_state_or_all_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mine: float
) -> None:
    """One of two cannot read it: the other one, or this one."""
    one, trace = rank(tmp_path), tmp_path / "trace"
    second = [one.serve(request(epoch))["value"] for epoch in (1, 2)][1]
    if not mine:
        (tmp_path / "sweep" / second["state"].path).unlink()
    told = []

    def mean(context: Context, tensor: torch.Tensor) -> torch.Tensor:
        told.append(tensor)
        return (tensor + 1 - mine) / 2

    monkeypatch.setattr(Context, "all_reduce_mean", mean)
    one.serve({**request(3, session="y", trace=str(trace)), "state": list(second["state"])})
    assert float(told[0]) == mine and epochs(trace) == [1, 2, 3]


def test_a_trial_one_of_whose_replicas_diverges_ends_there(tmp_path: Path) -> None:
    one, trace = rank(tmp_path, OneDiverges), tmp_path / "trace"
    outcome = one.serve({**request(3, trace=str(trace)), "replicas": 3, "test": True})
    value = outcome["value"]
    assert (outcome["kind"], value["epoch"], value["diverged"], value["state"]) == ("ok", 2, True, None)
    assert epochs(trace) == [1, 1, 1, 2, 2, 2]
    assert EpochReport.decode(one.records.read_named(value["report"]), "report").diverged
    assert not any(name.startswith("test/") for name in value["metrics"])


@pytest.mark.parametrize("test", [True, False])
def test_the_test_data_are_read_where_that_is_asked_for(tmp_path: Path, test: bool) -> None:
    metrics = rank(tmp_path).serve({**request(2, lr=0.5), "test": test})["value"]["metrics"]
    read = {name: value for name, value in metrics.items() if name.startswith("test/")}
    assert read == ({"test/loss": pytest.approx(100 + float(start_of(0).sum()) / 4)} if test else {})


def test_what_is_prepared_lies_beside_the_sweeps_and_is_found_by_each_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Needs, "roots", [], raising=False)
    one = rank(tmp_path, Needs)
    value = one.serve(preparation({"batch": 1}, {"batch": 3}))["value"]
    assert set(value) == {"files", "data", "metrics"}
    assert {path.parent for path in tmp_path.rglob("*.safetensors")} == {tmp_path / "prepared"}
    assert Needs.roots == ["/data", "/data"] and one.session is None
    for batch in (1, 3):
        asked = {**request(session=f"{batch}", batch=batch, lr=0.0), "prepared": value["files"]}
        loss = one.serve(asked)["value"]["metrics"]["loss"]
        assert math.isclose(loss, float(start_of(0).sum()) / 2**batch, rel_tol=1e-6)
    edited = one.serve(preparation({"batch": 1}, script="another"))["value"]["files"]
    assert set(edited) < set(value["files"]) and not set(edited.values()) & set(value["files"].values())


def test_a_storage_that_does_not_answer_for_a_while_costs_no_trial(tmp_path: Path) -> None:
    """It is waited for, where records lie as where prepared files do."""
    one = rank(tmp_path)
    assert one.storage.patient and one.records.patient


def test_on_a_gpu_a_report_names_it_and_memory_goes_back_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others may share the device; on a CPU there is none to speak to."""
    emptied: list[str] = []
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"GPU {number}")
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append("emptied"))
    one = rank(tmp_path)
    one._reclaim()
    assert not emptied
    one.device = "cuda:0"
    one._reclaim()
    assert emptied == ["emptied"] and one._host()["device"] == "GPU 0"
