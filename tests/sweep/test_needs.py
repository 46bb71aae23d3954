"""What must be prepared for whatever settings a search will try: the union, found before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import toys
from toys import ToyConfig, toy_sweep

from genlab.errors import GenlabError
from genlab.sweep import Sweep, choice, integer, log_uniform, uniform
from genlab.sweep.plan import Plan, make
from genlab.tasks import ClassifierConfig, Config, FromCheckpoint, FromTask, FromWeights


@dataclass(frozen=True, kw_only=True)
class NeedyConfig(ToyConfig):
    """Needs features of a layer, but of only one of two networks."""

    network: str = "raw"
    layer: int = 0
    share: float = 0.5
    widths: tuple[int, ...] = (1,)
    source: str = ""

    def check(self) -> None:
        super().check()
        if self.network == "flat" and self.layer:
            raise GenlabError("a flat network has one layer")

    def prepare(self) -> Mapping[str, Any]:
        if self.source:
            kind, _, path = self.source.partition(":")
            return {"given": {"ck": FromCheckpoint, "w": FromWeights}[kind](path)}
        features = ClassifierConfig(width=8 + self.layer * (self.network == "deep"), lr=self.share)
        return {"features": FromTask(features)} if self.network == "deep" else {}


class Needy(toys.Toy):
    Config = NeedyConfig


def plan(space: Mapping[str, Any], **changes: Any) -> Plan:
    options = changes.pop("options", {})
    return make(toy_sweep(task=Needy, space=space, **changes), options, "script.py")


def widths(made: Plan) -> list[int]:
    """Of the features that are prepared."""
    found = []
    for config in made.to_prepare():
        for source in config.prepare().values():
            assert isinstance(source, FromTask) and isinstance(source.config, ClassifierConfig)
            found.append(source.config.width)
    return sorted(found)


def test_the_union_over_categorical_values_each_once() -> None:
    """The layer matters for one of the networks alone, which is not the default one."""
    made = plan({"network": choice("raw", "deep"), "layer": choice(0, 1, 2), "lr": log_uniform(1e-4, 1e-1)})
    assert widths(made) == [8, 9, 10]
    assert widths(plan({"lr": log_uniform(1e-4, 1e-1)})) == []
    assert widths(plan({"layer": integer(0, 3)}, settings={"network": "deep"})) == [8, 9, 10, 11]


def test_a_range_without_end_of_values_is_refused() -> None:
    with pytest.raises(GenlabError, match="follows from share"):
        plan({"share": uniform(0.1, 0.9)}, settings={"network": "deep"})
    plan({"share": uniform(0.1, 0.9)})  # of no consequence for what this network needs
    with pytest.raises(GenlabError, match="follows from layer"):
        plan({"layer": integer(0, 64)}, settings={"network": "deep"})
    assert widths(plan({"layer": integer(0, 63)}, settings={"network": "deep"})) == list(range(8, 72))
    assert widths(plan({"layer": integer(0, 6, step=3)}, settings={"network": "deep"})) == [8, 11, 14]


def test_settings_that_make_no_trial_need_nothing() -> None:
    space = {"network": choice("raw", "deep", "flat"), "layer": choice(0, 1)}
    made = plan(space, conditions={"layer": {"network": ["raw", "deep"]}})
    assert widths(made) == [8, 9]


def test_the_rows_of_a_grid() -> None:
    rows = [{"network": "deep", "layer": layer} for layer in (0, 3)] + [{"network": "raw"}]
    assert widths(plan({}, grid=rows, options={"grid": True})) == [8, 11]


def test_rows_of_other_data_are_told_apart_though_they_need_the_same() -> None:
    """So that the data of each are there, and known, before a trial begins."""
    rows = [{"dataset": "mnist"}, {"image_size": 64}, {"nz": 3}]
    sweep = Sweep(name="gan", task="gan", metric="kid", settings={"judge": "/judge.safetensors"}, grid=rows)
    configs: list[Any] = make(sweep, {"grid": True}, "script.py").to_prepare()
    assert [(c.dataset, c.image_size) for c in configs] == [("digits", 32), ("mnist", 32), ("digits", 64)]


def test_a_search_over_data_sets_prepares_a_judge_for_each() -> None:
    sweep = Sweep(
        name="gan", task="gan", metric="kid", space={"dataset": choice("digits", "mnist"), "ngf": choice(8, 32)}
    )
    made = make(sweep, {}, "script.py")
    judges = [config.prepare()["judge"] for config in made.to_prepare()]
    assert sorted(judge.config.dataset for judge in judges if isinstance(judge, FromTask)) == ["digits", "mnist"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["ck", "w"])
def test_relative_paths_are_refused_with_the_absolute_one(kind: str) -> None:
    with pytest.raises(GenlabError, match=r"write '/.*/judge\.pth', lanes run elsewhere"):
        plan({"source": choice("", f"{kind}:judge.pth")})
    plan({"source": choice("", f"{kind}:/judge.pth", f"{kind}:s3://bucket/judge.pth")})


def test_a_config_without_a_task_is_refused_before_anything_starts() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Orphan(ToyConfig):
        def prepare(self) -> Mapping[str, Any]:
            return {"toy": FromTask(ToyConfig())}

    class Task(toys.Toy):
        Config: Any = Orphan

    with pytest.raises(GenlabError, match=r"toy names no task: write FromTask\(config, TheTask\) for ToyConfig"):
        make(toy_sweep(task=Task), {}, "script.py")


def test_tuples_are_searched_as_they_are_written() -> None:
    made: Any = plan({"widths": choice((1,), (16, 32))}, grid=[{"widths": (4, 5)}])
    assert made.space["widths"].choices == ("1", "16:32") and made.default == {"widths": "1"}
    config: Any = made.config({"widths": "16:32"})
    assert config.widths == (16, 32)
    assert plan({}, options={"set": ("widths=7:8",)}).base["widths"] == (7, 8)
    made = plan({}, options={"set": ("widths=1,7:8",)})
    assert made.space["widths"].choices == ("1", "7:8")
    grid = plan({}, grid=[{"widths": (4, 5)}, {"widths": (1,)}], options={"grid": True})
    assert grid.grid == [{"widths": "1"}, {"widths": "4:5"}]


def test_rows_of_a_grid_may_differ_in_anything() -> None:
    sweep = Sweep(
        name="gan",
        task="gan",
        metric="kid",
        settings={"epochs": 5},
        grid=[{"epochs": 10}, {"epochs": 30}, {"image_size": 64}, {"seed": 3}],
    )
    made = make(sweep, {"grid": True}, "script.py")
    assert made.grid is not None and made.epochs_in_words() == "5 to 30"
    configs: list[Any] = [made.config(row) for row in made.grid]
    assert [c.epochs for c in configs] == [5, 10, 30, 5, 5] and [c.image_size for c in configs] == [32, 32, 32, 64, 32]
    sizes = [config.prepare()["judge"].config.image_size for config in made.to_prepare()]  # type: ignore[union-attr]
    assert sorted(sizes) == [32, 64]


def test_nothing_to_prepare_is_one_config() -> None:
    made = make(toy_sweep(), {}, "script.py")
    (config,) = made.to_prepare()
    assert isinstance(config, Config) and not config.prepare()
