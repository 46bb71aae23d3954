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


def test_what_only_the_default_needs_is_noticed() -> None:
    """Between the ends of a range, which need nothing."""

    @dataclass(frozen=True, kw_only=True)
    class Middle(ToyConfig):
        share: float = 0.5

        def prepare(self) -> Mapping[str, Any]:
            return {"features": FromTask(ClassifierConfig())} if 0.4 < self.share < 0.6 else {}

    class Task(toys.Toy):
        Config: Any = Middle

    with pytest.raises(GenlabError, match="what Middle needs prepared follows from share"):
        make(toy_sweep(task=Task, space={"share": uniform(0.0, 1.0)}), {}, "script.py")


def test_settings_that_make_no_trial_need_nothing() -> None:
    space = {"network": choice("raw", "deep", "flat"), "layer": choice(0, 1)}
    made = plan(space, conditions={"layer": {"network": ["raw", "deep"]}})
    assert widths(made) == [8, 9]


def test_values_that_the_config_refuses_beside_each_other_need_nothing() -> None:
    """Each is taken by itself: a flat network, and a second layer."""
    assert widths(plan({"network": choice("raw", "deep", "flat"), "layer": choice(0, 1)})) == [8, 9]


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
    plan({"source": choice("", f"{kind}:/judge.pth", f"{kind}:memory://bucket/judge.pth")})


def test_a_config_without_a_task_is_refused_before_anything_starts() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Orphan(ToyConfig):
        def prepare(self) -> Mapping[str, Any]:
            return {"toy": FromTask(ToyConfig())}

    class Task(toys.Toy):
        Config: Any = Orphan

    with pytest.raises(GenlabError, match=r"toy names no task: write FromTask\(config, TheTask\) for ToyConfig"):
        make(toy_sweep(task=Task), {}, "script.py")


def test_the_config_of_what_is_trained_before_is_checked_as_that_of_a_trial() -> None:
    class Judging(ToyConfig):
        width: int = 4

    @dataclass(frozen=True, kw_only=True)
    class Judged(ToyConfig):
        def prepare(self) -> Mapping[str, Any]:
            return {"judge": FromTask(Judging(), toys.Toy)}

    class Task(toys.Toy):
        Config: Any = Judged

    with pytest.raises(GenlabError, match=r"Judging \(.*\) is no dataclass, so that width would have no effect"):
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


@dataclass(frozen=True, kw_only=True)
class ResumingConfig(ToyConfig):
    """Begins with a checkpoint that somebody must name; what happens where nobody does is `without`."""

    begin: str = "checkpoint"
    checkpoint: str = ""
    without: str = "raise"

    def check(self) -> None:
        super().check()
        if self.without == "refuse" and self.begin == "checkpoint" and not self.checkpoint:
            raise GenlabError("checkpoint='' names no file")

    def prepare(self) -> Mapping[str, Any]:
        if self.begin == "fresh":
            return {}
        if not self.checkpoint and self.without == "raise":
            raise RuntimeError("there is no checkpoint")
        return {"first": FromCheckpoint(self.checkpoint) if self.checkpoint else None}


class Resuming(toys.Toy):
    Config = ResumingConfig


def resuming(without: str, options: Mapping[str, Any] | None = None, **changes: Any) -> Plan:
    settings = {"without": without, **changes.pop("settings", {})}
    return make(toy_sweep(task=Resuming, **{"space": {}, "settings": settings, **changes}), options or {}, "script.py")


def checkpoints(made: Plan) -> list[str]:
    """Those that are prepared, "" for trials that need none."""
    return sorted(getattr(config, "checkpoint") if config.prepare() else "" for config in made.to_prepare())  # noqa: B009


WITHOUT = pytest.mark.parametrize("without", ["raise", "return None", "refuse"])
TWO = {"set": ("checkpoint=/a,/b",)}


@WITHOUT
def test_a_default_that_no_trial_has_is_not_asked_about(without: str) -> None:
    made = resuming(without, TWO)
    assert made.default == {"checkpoint": "/a"} and checkpoints(made) == ["/a", "/b"] and made.trials == 2
    assert [getattr(config, "checkpoint") for config in (made.first(), made.config(made.default))] == ["/a"] * 2  # noqa: B009
    grid = resuming(without, {**TWO, "grid": True})
    assert grid.grid == [{"checkpoint": "/a"}, {"checkpoint": "/b"}] and checkpoints(grid) == ["/a", "/b"]
    fixed = resuming(without, {"set": ("checkpoint=/a",)}, space={"checkpoint": choice("/b", "/c")})
    assert checkpoints(fixed) == ["/a"]
    named = resuming(without, space={"checkpoint": choice("/a", "/b")}, settings={"checkpoint": "/b"})
    assert named.default == {"checkpoint": "/b"} and checkpoints(named) == ["/a", "/b"]
    listed = resuming(without, {"grid": True}, grid=[{"checkpoint": "/b"}], settings={"checkpoint": "/a"})
    assert checkpoints(listed) == ["/a", "/b"]


@WITHOUT
def test_a_default_that_trial_0_has_is_refused(without: str) -> None:
    with pytest.raises(
        GenlabError, match="the default checkpoint='' lies outside of what is searched, /a, /b: trial 0"
    ):
        resuming(without, space={"checkpoint": choice("/a", "/b")})
    refused = {"raise": "there is no checkpoint", "return None": "first is None: write", "refuse": "names no file"}
    for options, changes in (({"grid": True}, {"grid": [{"checkpoint": "/a"}]}), ({"set": ("checkpoint=,/a",)}, {})):
        with pytest.raises((GenlabError, RuntimeError), match=refused[without] if changes else "write it as KEY=VALUE"):
            resuming(without, options, **changes)


@WITHOUT
@pytest.mark.parametrize("by_set", [True, False])
def test_a_field_that_is_not_searched_under_a_condition_has_its_default(without: str, by_set: bool) -> None:
    """So trials that begin afresh have it, and no others: neither trial 0 nor what is prepared names it elsewhere."""
    space: dict[str, Any] = {"begin": choice("fresh", "checkpoint"), "checkpoint": choice("/a", "/b")}
    changes = {"space": space, "conditions": {"checkpoint": {"begin": ["checkpoint"]}}}
    if by_set:
        del space["checkpoint"]
    options = TWO if by_set else {}
    made = resuming(without, options, **changes, settings={"begin": "fresh"})
    assert made.default == {"begin": "fresh"} and made.first().checkpoint == ""  # type: ignore[attr-defined]
    assert made.trials == 3 and checkpoints(made) == ["", "/a", "/b"]
    if by_set:
        begun = resuming(without, options, **changes)
        assert begun.default == {"begin": "checkpoint", "checkpoint": "/a"} and checkpoints(begun) == ["", "/a", "/b"]
    else:
        with pytest.raises(GenlabError, match="the default checkpoint='' lies outside"):
            resuming(without, options, **changes)


def test_a_field_without_default_may_be_given_by_set() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Bare(ToyConfig):
        depth: int

    class Task(toys.Toy):
        Config: Any = Bare

    made = make(toy_sweep(task=Task, space={}), {"set": ("depth=2,3",)}, None)
    assert made.default == {"depth": 2} and made.trials == 2
    rows = make(toy_sweep(task=Task, space={}), {"set": ("depth=2,3",), "grid": True}, None)
    assert rows.grid == [{"depth": 2}, {"depth": 3}]
    for changes in ({"space": {"depth": choice(2, 3)}}, {"space": {}}, {"grid": [{"depth": 2}]}):
        with pytest.raises(GenlabError, match="Bare has no value for depth: give the field a default"):
            make(toy_sweep(task=Task, **changes), {"grid": True} if "grid" in changes else {}, None)


def test_what_is_searched_under_a_condition_alone_is_prepared_too() -> None:
    """Also where the condition itself hangs on another, and none of them changes by itself what is needed."""
    space = {"fail_at": choice(0, 7), "trace": choice("", "x"), "layer": choice(0, 1, 2)}
    chain = {"trace": {"fail_at": [7]}, "layer": {"trace": ["x"]}}
    made = plan(space, conditions=chain, settings={"network": "deep"}, trials=9)
    assert made.default == {"fail_at": 0} and widths(made) == [8, 9, 10]
    assert made.trials == 2 + 3  # neither fails nor traces, fails alone, or with each of the layers
    numbers = {"sleep": uniform(0.0, 1.0), "layer": choice(0, 1, 2)}
    made = plan(numbers, conditions={"layer": {"sleep": [0.5]}}, settings={"network": "deep"})
    assert widths(made) == [8, 9, 10]
    never = plan(space, conditions=chain, settings={"network": "deep"}, options={"set": ("trace=y",)})
    assert widths(never) == [8]


def test_values_are_checked_where_their_conditions_hold() -> None:
    """A layer is no value of a flat network, which is the default; under its condition no trial has it there."""
    space = {"network": choice("flat", "deep"), "layer": choice(0, 1)}
    made = plan(space, conditions={"layer": {"network": ["deep"]}}, settings={"network": "flat"})
    assert made.default == {"network": "flat"} and made.trials == 3 and widths(made) == [8, 9]
    with pytest.raises(GenlabError, match="the space of 'toy': a flat network has one layer"):
        plan(space, settings={"network": "flat"})


def test_nothing_to_prepare_is_one_config() -> None:
    made = make(toy_sweep(), {}, "script.py")
    (config,) = made.to_prepare()
    assert isinstance(config, Config) and not config.prepare()
