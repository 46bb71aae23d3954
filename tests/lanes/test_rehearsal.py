"""What a dry run tries: one step and its evaluation on a few samples, and on all of them what fails on a few."""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import ray.cloudpickle
import toys
from one_process import Machine, curve_sweep, machine
from one_rank import Needs, NeedsConfig, preparation, rank
from test_loading import Here
from tiny_tasks import Tiny, TinyConfig
from torch import Tensor

from genlab.errors import GenlabError
from genlab.lanes import rehearsal
from genlab.lanes.loading import pickled
from genlab.tasks import Adam, Context, FromTask, Phase, Report
from genlab.tasks.context import FEW
from genlab.tracking.storage import Storage
from genlab.training import prepare

__all__ = ["machine"]

IMAGES = 600  # of an evaluation


@dataclass(frozen=True, kw_only=True)
class NeedyConfig(TinyConfig):
    """`at_least` images are needed in a batch or in an evaluation; a judge is trained on the way."""

    batch_size: int = 24
    in_batch: int = 0
    in_evaluation: int = 0
    breaks: bool = False

    def prepare(self) -> Mapping[str, Any]:
        return {"judge": FromTask(TinyConfig(epochs=2, epoch_steps=5), Judge, {"accuracy": 1.1})}


class Noting(Tiny):
    """Notes what it was asked for."""

    batches: ClassVar[list[int]] = []
    evaluated: ClassVar[list[int]] = []

    def phases(self) -> list[Phase]:
        def loss(networks: Any, inputs: Any, config: Any) -> Any:
            self.batches.append(len(inputs["first"].images))
            if self.batches[-1] < getattr(config, "in_batch", 0):
                raise ValueError(f"only {self.batches[-1]} images")
            return networks["classifier"](inputs["first"].images).square().mean(), {}

        return [Phase("label", {"classifier": Adam(0.01)}, loss, ("first",))]

    def evaluate(self, networks: Any, split: str, epoch: int) -> Report:
        def item(items: Tensor) -> Tensor:
            self.evaluated.append(len(items))
            return items

        different = len(self.context.map_shards(IMAGES, item).unique())
        if getattr(self.config, "breaks", False):
            raise NameError("a slip")
        if different < getattr(self.config, "in_evaluation", 0):
            raise ValueError(f"only {different} different images")
        return Report({"accuracy": 0.5 if different == IMAGES else 0.25})


class Judge(Noting):
    """What is prepared: trained for ten steps, and always below what is expected of it."""


class Needy(Noting):
    Config = NeedyConfig


@pytest.fixture
def rehearsing(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Tries tasks as a sweep does; Ray and the other process alone are played."""
    monkeypatch.setattr("genlab.sweep.command.Elsewhere", Here)
    monkeypatch.setattr(Noting, "batches", [])
    monkeypatch.setattr(Noting, "evaluated", [])
    monkeypatch.setattr(ray.cloudpickle, "loads", lambda code: (NeedyConfig, Needy))  # a copy would note elsewhere
    return machine


def needy(**settings: Any) -> Any:
    return curve_sweep(task=Needy, metric="accuracy", mode="max", grid=(), settings={"epochs": 3, **settings})


def test_a_few_samples_are_seen_and_nothing_stays(
    rehearsing: Machine,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level("INFO", "genlab")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    assert rehearsing.run(needy(), dry_run=True) == 0
    assert Noting.batches == [FEW, FEW] and Noting.evaluated == [FEW, FEW]  # of the judge, then of the trial
    assert "passed, on one worker and a few samples: accuracy 0.25\n" in capsys.readouterr().out
    # without a word on how good the judge is
    assert caplog.messages == ["preparing what trials need once, in one step: judge (TinyConfig)"]
    assert rehearsing.storage.names() == [] and not list(temporary.glob("genlab-*"))


@pytest.mark.parametrize("need", [{"in_batch": 20}, {"in_evaluation": 9}])
def test_what_fails_on_a_few_is_tried_on_all(
    rehearsing: Machine, need: dict[str, int], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert rehearsing.run(needy(**need), dry_run=True) == 0
    assert max(Noting.batches) == 24 and sum(Noting.evaluated) >= IMAGES
    assert "passed, on one worker: accuracy 0.5\n" in capsys.readouterr().out
    (said,) = [text for text in caplog.messages if text.startswith("on a few samples")]
    why = r".*test_rehearsal\.py:\d+, in \w+: ValueError: only 8 .*"
    assert re.fullmatch(rf"on a few samples, {why}; now on as many as a trial has", said)
    (judge,) = rehearsing.storage.names("prepared")  # the real one, which the sweep will find
    assert Noting.batches.count(8) == 2 + 10 and judge.startswith("TinyConfig-")  # ten steps at its own batch of 8


def test_what_fails_on_all_is_told(rehearsing: Machine) -> None:
    with pytest.raises(GenlabError, match=r"(?s)trial 0 failed in its first step: .*NameError: a slip"):
        rehearsing.run(needy(breaks=True), dry_run=True)


def test_a_number_that_is_none_on_a_few_is_looked_for_on_all(
    rehearsing: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def evaluate(self: Any, networks: Any, split: str, epoch: int) -> Report:
        items = self.context.map_shards(IMAGES, lambda items: items)
        return Report({"accuracy": math.nan if len(items.unique()) < IMAGES else 0.75})

    monkeypatch.setattr(Noting, "evaluate", evaluate)
    assert rehearsing.run(needy(), dry_run=True) == 0
    assert "passed, on one worker: accuracy 0.75\n" in capsys.readouterr().out


@dataclass(frozen=True, kw_only=True)
class OneStepConfig(TinyConfig):
    """Needs what trains for one step of one epoch anyway."""

    def prepare(self) -> Mapping[str, Any]:
        return {"network": FromTask(TinyConfig(epochs=1, epoch_steps=1), Tiny)}


def test_what_was_prepared_for_a_rehearsal_is_never_taken_for_the_real_one(tmp_path: Path) -> None:
    storage, contexts = Storage(str(tmp_path)), [Context(rehearsal=rehearsal) for rehearsal in (True, False)]
    in_short, whole = (prepare(Tiny, [OneStepConfig()], context, storage).files for context in contexts)
    assert in_short.keys() == whole.keys() and not {*in_short.values()} & {*whole.values()}


def found(folder: Path, kind: Any, task: Any, **changes: Any) -> dict[str, Any]:
    """What the process finds that is given this order."""
    (folder / "results").mkdir()  # the driver has made it
    order = {
        "step": True,
        "config": {},
        "metric": "loss",
        "replicas": 1,
        "storage": str(folder / "results"),
        "script": "mine.py",
        "script_digest": "digest",
        "data_root": "/of/the/driver",
        "gpus": 0,
        "epoch_deadline": 60.0,
    }
    return rehearsal._found({**order, **changes}, pickled(kind, task))


def test_a_first_step_that_diverges_on_all_has_no_metric_and_is_no_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a sweep, where the trial ends so and the others go on."""
    seen = found(tmp_path, toys.ToyConfig, toys.Toy, config={"nan_at": 1, "epochs": 3}, metric="height")
    assert (seen["diverged"], seen["few"]) == (True, False)
    assert caplog.messages == ["on a few samples, trial 0 diverged in its first step; now on as many as a trial has"]


def test_one_step_of_each_seed_is_of_the_settings_and_the_data_of_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Needs, "roots", [], raising=False)
    trace = tmp_path / "trace"
    config = {"lr": 0.25, "epochs": 3, "seed": 5, "trace": str(trace), "batch": 2}
    seen = found(tmp_path, NeedsConfig, Needs, config=config, replicas=2)
    lines = [(line["seed"], line["epoch"], line["lr"]) for line in toys.read_trace(str(trace))]
    assert lines == [(5, 1, 0.25), (6, 1, 0.25)] and seen["few"]
    assert set(Needs.roots) == {"/of/the/driver"}


def test_what_was_prepared_for_all_samples_is_what_the_sweep_will_look_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A judge takes minutes to train: not twice."""
    monkeypatch.setattr(Needs, "roots", [], raising=False)
    config = {"nan_at": 1, "batch": 2}
    assert not found(tmp_path, NeedsConfig, Needs, config=config)["few"]
    prepared = tmp_path / "results" / "prepared"
    before = {file.name: file.stat().st_mtime_ns for file in prepared.iterdir()}
    assert rank(tmp_path / "results", Needs).serve(preparation(config, script="digest"))["kind"] == "ok"
    assert before and before == {file.name: file.stat().st_mtime_ns for file in prepared.iterdir()}


def test_what_cannot_be_prepared_is_told_as_such(tmp_path: Path) -> None:
    seen = found(tmp_path, NeedsUnpreparedConfig, NeedsUnprepared)
    assert seen["problem"].startswith("what trial 0 needs could not be prepared: ")
    assert seen["problem"].endswith("the folder 'nowhere' lacks the file 'anything.gz'")


@dataclass(frozen=True, kw_only=True)
class NeedsUnpreparedConfig(toys.ToyConfig):
    def prepare(self) -> Mapping[str, Any]:
        return {"numbers": FromTask(toys.UnpreparedConfig(), toys.Unprepared)}


class NeedsUnprepared(toys.Toy):
    Config = NeedsUnpreparedConfig
