"""What the contract carries, by tasks and configs that a script defines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import tiny_tasks
from one_process import Machine, machine
from tiny_tasks import MeanConfig, Means, PseudoLabels, TinyConfig
from torch import nn
from toys import Runner

from genlab.sweep import Sweep, choice
from genlab.tasks import FromTask, Report
from genlab.tracking.epoch_reports import EpochReport
from genlab.tracking.records import Records
from genlab.training import Checkpoint

__all__ = ["machine"]


@dataclass(frozen=True, kw_only=True)
class EverythingConfig(TinyConfig):
    """Prepares features of a layer that is searched, which need a network prepared themselves."""

    layer: int = 0
    widths: tuple[int, ...] = (4,)

    def prepare(self) -> Mapping[str, Any]:
        return {"features": FromTask(MeanConfig(layer=self.layer), Means)}

    def reports(self) -> tuple[str, ...]:
        return "accuracy", "layer", "width"


class Everything(PseudoLabels):
    """Replaces its stream after every epoch, and shows images of all kinds, some at its last epoch alone."""

    Config = EverythingConfig

    def networks(self) -> Mapping[str, Callable[[], nn.Module]]:
        def build() -> nn.Module:
            layers: list[nn.Module] = [nn.Flatten()]
            width_in = 64
            for width in self.config.widths:
                layers += [nn.Linear(width_in, width), nn.ReLU()]
                width_in = width
            return nn.Sequential(*layers, nn.Linear(width_in, 2))

        return {"classifier": build}

    def evaluate(self, networks: Any, split: str, epoch: int) -> Report:
        report = super().evaluate(networks, split, epoch)
        features = self.context.prepared["features"]
        report.metrics |= {"layer": float(features.scalars["layer"]), "width": float(self.config.widths[-1])}
        report.images["strip"] = np.full((5, 40, 3), 10 * epoch, np.uint8)
        if epoch == self.config.epochs:
            report.images["rows"] = np.zeros((2, 3, 4, 4, 1), np.uint8)
        return report


def sweep(**changes: Any) -> Sweep:
    values: dict[str, Any] = {
        "name": "everything",
        "task": Everything,
        "metric": "accuracy",
        "mode": "max",
        "settings": {"epochs": 2, "epoch_steps": 2},
        "trials": 4,
    }
    return Sweep(**values | changes)


def reports(records: Records) -> dict[str, dict[int, EpochReport]]:
    """Every epoch's report by trial."""
    return {
        trial.name: {
            epoch: EpochReport.decode(records.storage.read_named(each.report), "report")
            for epoch, each in trial.epochs.items()
        }
        for trial in records.trials.values()
    }


@pytest.mark.usefixtures("untracked")
def test_a_grid_of_different_lengths_layers_and_tuples_on_two_workers(run_sweep: Runner) -> None:
    """Of a real lane."""
    import ray.cloudpickle
    import test_contract

    for module in (tiny_tasks, test_contract):
        ray.cloudpickle.register_pickle_by_value(module)
    rows = [{"epochs": 3, "layer": 1}, {"epochs": 1, "widths": (8, 6)}]
    code, records = run_sweep(sweep(grid=rows), grid=True, workers=2, confirm=1, lanes=1)
    assert code == 0
    found = reports(records)
    ended = {name: (trial.ends, sorted(trial.epochs)) for name, trial in records.trials.items()}
    assert ended["0000"] == ("completed", [1, 2])
    assert ended["0001"] == ("completed", [1, 2, 3])
    assert ended["0002"] == ("completed", [1])
    assert records.trials["0002"].settings["widths"] == "8:6"
    # each found what was prepared for it, and its own widths
    last = {name: own[max(own)].metrics() for name, own in found.items()}
    assert [last[name]["layer"] for name in ("0000", "0001", "0002")] == [0, 1, 0]
    assert [last[name]["width"] for name in ("0000", "0001", "0002")] == [4, 4, 6]
    for name in ("0000", "0001", "0002"):
        for epoch, report in found[name].items():
            images = report.replicas[0].images
            assert images["strip"].shape == (5, 40, 3) and int(images["strip"][0, 0, 0]) == 10 * epoch
            assert ("rows" in images) == (epoch == max(found[name]))
    # the test report is a whole one, read at the end of what confirms
    (confirmed,) = [name for name in found if name.startswith("confirm-")]
    own = found[confirmed]
    images = own[max(own)].replicas[0].images
    assert images["test/rows"].shape == (2, 3, 4, 4, 1) and images["test/strip"].shape == (5, 40, 3)
    assert not any(key.startswith("test/") for epoch in list(own)[:-1] for key in own[epoch].replicas[0].images)
    # the replaced stream is in the state
    state = Checkpoint.decode(records.storage.read_named(records.trials["0000"].last.state), "state").states[0]
    assert state.scalars["streams"]["first"]["origin"] == "first" and len(state.tensors["streams/first/indices"]) == 20


def test_a_search_over_what_is_prepared_and_over_tuples(machine: Machine) -> None:
    space = {"layer": choice(0, 1), "widths": choice((4,), (8, 6))}
    assert machine.run(sweep(space=space), trials=5, scheduler="fifo") == 0
    records = machine.records
    found = reports(records)
    assert len(found) == 4  # there are no others
    for name, own in found.items():
        settings, metrics = records.trials[name].settings, own[2].metrics()
        assert metrics["layer"] == settings["layer"]
        assert metrics["width"] == {"4": 4, "8:6": 6}[settings["widths"]]
    assert {trial.settings["layer"] for trial in records.trials.values()} == {0, 1}
    assert len(records.storage.below("..").names("prepared")) == 3  # two layers' features, one network
