"""What `genlab.open` gives of sweeps that really ran: settings, objectives, states that were kept, networks."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from one_process import Machine, curve_sweep
from one_process import machine as machine
from toys import Pair, PairConfig

import genlab
from genlab.cli import show
from genlab.errors import CorruptFile, GenlabError
from genlab.sweep import Sweep, log_uniform
from genlab.tasks import Report
from genlab.training import Checkpoint

README = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class HillConfig(PairConfig):
    """A loss that falls, or rises, with the epochs."""

    epochs: int = 4
    slope: float = -1.0

    def reports(self) -> tuple[str, ...]:
        return ("height",)


class Hill(Pair):
    """Trains networks, and is judged by a straight line."""

    Config = HillConfig

    def evaluate(self, networks: Any, split: str, epoch: int) -> Report:
        metrics = {"height": 10.0 + self.config.slope * epoch + 1000 * self.config.lr}
        return Report(metrics, {"first": np.zeros((2, 2, 1), "u1"), "drawn": np.full((3, 3, 1), epoch, "u1")})


HILL = Sweep(name="hill", task=Hill, metric="height", space={"lr": log_uniform(1e-3, 1e-1)}, trials=3)


def shown(path: str, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """What `genlab show` says in its lines, by the word that each begins with."""
    capsys.readouterr()
    assert show.run(path) == 0
    return dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines() if ": " in line)


def test_what_show_prints_loads_what_a_task_without_networks_left(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert machine.run(curve_sweep(), grid=True, seed=5) == 0
    told = shown(f"{machine.records.storage.url}/trials/0000", capsys)
    assert eval(told["tensors"])["seen"].tolist() == [5.0, 3.0]
    assert "networks" not in told and "scalars" not in told


def test_what_show_prints_loads_networks(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert machine.run(HILL, scheduler="fifo", trials=1) == 0
    call, _, where = shown(f"{machine.records.storage.url}/trials/0000", capsys)["networks"].partition(", with ")
    assert eval(call).keys() == {"features", "label", "domain"} and where == "Hill of one_process.py"


def test_the_checkpoint_of_the_readme(machine: Machine) -> None:
    """Its lines on `genlab.Checkpoint`, on a state of a task that trains networks."""
    assert machine.run(HILL, scheduler="fifo", trials=1, seed=7) == 0
    path = genlab.open(machine.records.storage.url).best().checkpoint
    (block,) = [code for code in BLOCK.findall(README.read_text()) if "genlab.Checkpoint" in code]
    first, *others = re.sub(r'"results/.*?"', repr(path), block).splitlines()
    names: dict[str, Any] = {"genlab": genlab}
    exec(first, names)
    (task, epoch, lr), (seed, metrics), tensors, scalars = (eval(line, names) for line in others)
    assert (task, epoch, lr, seed) == ("HillConfig", 4, 0.01, 7) and metrics["height"] == pytest.approx(10 - 4 + 10)
    assert any(name.startswith("networks/features/") for name in tensors) and scalars["epoch"] == 4


def test_networks_are_those_of_the_state_of_the_best_and_the_last_epoch(machine: Machine) -> None:
    assert machine.run(HILL, scheduler="fifo", trials=1, set=("slope=1",)) == 0
    results = genlab.open(machine.records.storage.url)
    trial = results.best()
    assert trial.name == "0000" and trial.objective == pytest.approx(10 + 4 + 10)
    for epoch in (None, 4, 1):  # the last, and the best
        state = trial.record.epochs[epoch or 4].state
        expected = Checkpoint.read(machine.records.storage.where(state.path)).states[0].tensors
        networks = trial.load(task=Hill, epoch=epoch)
        assert networks.keys() == {"features", "label", "domain"}
        for name, network in networks.items():
            assert not network.training
            for key, value in network.state_dict().items():
                torch.testing.assert_close(value, expected[f"networks/{name}/{key}"], rtol=0, atol=0)
    assert trial.checkpoint == machine.records.storage.where(trial.record.epochs[4].state.path)
    same = genlab.load(trial.checkpoint, task=Hill)["features"].weight
    torch.testing.assert_close(trial.load(task=Hill)["features"].weight, same, rtol=0, atol=0)
    with pytest.raises(GenlabError, match=r"epoch 2 of trial 0000 were not kept; those of these epochs are: 1, 4"):
        trial.load(task=Hill, epoch=2)
    with pytest.raises(GenlabError, match="import that task's class and pass it, as"):
        trial.load()
    with pytest.raises(GenlabError, match="there is no number 1"):
        trial.load(task=Hill, replica=1)
    path = machine.records.storage.where(trial.record.epochs[4].state.path)
    with open(path, "r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))  # one bit of a weight
    with pytest.raises(CorruptFile, match="its digest differs"):
        trial.load(task=Hill)


def test_the_table_of_a_search_that_was_confirmed(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert machine.run(HILL, scheduler="fifo", confirm=2) == 0
    said = capsys.readouterr().out
    results = genlab.open(machine.records.storage.url)
    table, confirming = results.trials(), results.trials(confirming=True)
    assert len(table) == 3 and list(table.ends) == ["completed"] * 3 and list(table.epoch) == [4] * 3
    assert list(table.objective) == sorted(table.objective)
    for name, row in table.iterrows():
        assert row["objective"] == row["height"] == pytest.approx(6 + 1000 * row["lr"])
        assert row["lr"] == machine.records.trials[str(name)].settings["lr"]
    assert list(confirming.confirms) == list(table.index[:2])
    assert (confirming["test/height"] == confirming["height"]).all() and "test/height" not in table.columns
    assert f"best: trial {results.best().name}, height {results.best().objective:.4g}" in said
    assert results.state == "ended" and results.summary["best"] == results.best().name


def test_the_images_that_the_sweep_names(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    for named, expected in (("drawn", (3, 3, 1)), (None, (2, 2, 1))):
        assert machine.run(replace(HILL, images=named), scheduler="fifo", trials=1) == 0
        assert machine.records.manifest.images == named
        assert "contact_sheet.png\n" in capsys.readouterr().out
        assert genlab.open(machine.records.storage.url).best().images().shape == expected


def test_trials_that_diverged_or_failed(machine: Machine) -> None:
    grid = [{"nan_at": 2}, {"fail_at": 2}, {"fail_at": 1}]
    assert machine.run(curve_sweep(grid=grid), grid=True) == 0
    results = genlab.open(machine.records.storage.url)
    table = results.trials()
    assert dict(table.ends) == {"0000": "completed", "0001": "diverged", "0002": "failed", "0003": "failed"}
    assert dict(table.epoch) == {"0000": 3, "0001": 2, "0002": 1, "0003": 0}
    assert table.objective.isna().to_list() == [False, True, True, True]
    assert all("ZeroDivisionError: the curve breaks" in told for told in table.failure[["0002", "0003"]])
    assert results.trial("0002").error.startswith("Traceback")
    diverged = results.trial("0001")
    assert diverged.checkpoint is None
    with pytest.raises(GenlabError, match=r"epoch 2 of trial 0001 were not kept; those of these epochs are: 1"):
        diverged.load()


def test_of_a_sweep_that_has_gone_on_the_networks_are_not_another_epochs(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was opened is as it was then; a state that is gone by now is said."""
    assert machine.run(HILL, scheduler="fifo", trials=1) == 0
    now, then = (genlab.open(machine.records.storage.url).trial("0000") for _ in range(2))
    for epoch in (3, 4):
        del then.record.epochs[epoch]
    then.epoch = 2
    with pytest.raises(CorruptFile, match="is missing"):
        then.load(task=Hill)
    monkeypatch.setattr("genlab.results.live_driver", lambda folder: {"pid": 1})
    with pytest.raises(GenlabError, match="trial 0000 has gone on since: open the sweep again"):
        then.load(task=Hill)
    assert now.load(task=Hill, epoch=4).keys() == {"features", "label", "domain"}
