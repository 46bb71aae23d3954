"""Trials of one epoch: the metric of all of them over each field that was searched, the best and the default marked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from figures import METRIC, assert_readable, axes_of, curve, figure_of, texts_of, told
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)


def searched(sweep: Any, space: Mapping[str, BaseDistribution], *trials: tuple[float | None, Mapping[str, Any]]) -> Any:
    """Trials of one epoch, with their objectives (None: diverged) and settings from a space."""
    for i, (objective, settings) in enumerate(trials):
        own = {name: json.loads(distribution_to_json(space[name])) for name in settings if name in space}
        metrics = {METRIC: 7.0 if objective is None else objective}
        ends = "diverged" if objective is None else "completed"
        told(sweep, f"{i:04d}", [metrics], ends, settings, distributions=own)
    return sweep


def points(axes: Any) -> list[tuple[float, float]]:
    """The dots of the trials that are not marked, sorted."""
    return sorted(zip(*curve(axes.lines[0]), strict=True))


def marked(axes: Any) -> list[tuple[float, float]]:
    """Of the default setting, then of the best."""
    return [(x[0], y[0]) for x, y in map(curve, axes.lines[1:-1])]


def crosses(axes: Any) -> list[float]:
    return curve(axes.lines[-1])[0]


def test_all_trials_are_dots_over_each_field_and_two_are_marked(make_sweep: Callable[..., Any]) -> None:
    space = {
        "lr": FloatDistribution(1e-4, 1e-1, log=True),
        "dropout": FloatDistribution(0.0, 0.5),
        "width": CategoricalDistribution([16, 64, 32]),
        "loss": CategoricalDistribution(["hinge", "least_squares", "none"]),
        "depth": IntDistribution(1, 8),
    }
    settings = [
        {"lr": 1e-3, "dropout": 0.0, "width": 64, "loss": "hinge", "depth": 4},
        {"lr": 1e-2, "dropout": 0.25, "width": 16, "loss": "none", "depth": 1},
        {"lr": 1e-4, "dropout": 0.5, "width": 32, "loss": "none", "depth": 8},
        {"lr": 2e-4, "dropout": 0.1, "width": 32, "loss": "hinge", "depth": 7},
    ]
    objectives = [5.0, 9.0, 2.0, None]
    sweep = searched(make_sweep(), space, *zip(objectives, settings, strict=True))
    axes = axes_of(sweep)
    assert list(axes) == ["lr", "dropout", "width", "loss", "depth"]
    ticks = {"width": ["16", "64", "32"], "loss": ["hinge", "least…quares", "none"]}
    for name, own in axes.items():
        at = [float(ticks[name].index(str(s[name]))) if name in ticks else float(s[name]) for s in settings]
        assert points(own) == [(at[1], 9.0)]
        assert marked(own) == [(at[0], 5.0), (at[2], 2.0)] and crosses(own) == [at[3]]
        assert own.get_xscale() == ("log" if name == "lr" else "linear") and own.get_yscale() == "linear"
        low, high = own.get_ylim()
        assert low < 2 and high > 9 and own.get_ylim() == axes["lr"].get_ylim()
        labels = [label.get_text() for label in own.get_xticklabels()]
        if name in ticks:
            assert labels == ticks[name]
    default, best = axes["lr"].lines[1:-1]
    assert best.get_color() != default.get_color() and best.get_markersize() > axes["lr"].lines[0].get_markersize()
    title = f"{METRIC} by setting: 3 trials, 1 without {METRIC}, as a cross below"
    assert title in texts_of(sweep)
    assert any(text.startswith("trial 0002, best: ") for text in texts_of(sweep))
    assert_readable(figure_of(sweep))


def test_a_trial_that_is_asked_for_is_marked_alone(make_sweep: Callable[..., Any]) -> None:
    space = {"dropout": FloatDistribution(0.0, 0.5)}
    sweep = searched(make_sweep(), space, *[(float(9 - i), {"dropout": 0.1 * i}) for i in range(4)])
    axes = axes_of(sweep, "0001")["dropout"]
    assert marked(axes) == [(0.1, 8.0)] and len(points(axes)) == 3


def test_a_trial_that_confirms_stands_among_those_of_the_search(make_sweep: Callable[..., Any]) -> None:
    space = {"loss": CategoricalDistribution(["a", "b"]), "lr": FloatDistribution(1e-4, 1e-1, log=True)}
    sweep = searched(make_sweep(), space, (2.0, {"loss": "a", "lr": 0.1}), (3.0, {"loss": "b", "lr": 0.01}))
    told(sweep, "confirm-0001", [{METRIC: 2.5}], settings={"loss": "b", "lr": 0.01})
    axes = axes_of(sweep, "confirm-0001")
    assert marked(axes["loss"]) == [(1.0, 2.5)] and points(axes["loss"]) == [(0.0, 2.0), (1.0, 3.0)]


def test_without_a_distribution_few_numbers_are_ticks_and_many_an_axis(make_sweep: Callable[..., Any]) -> None:
    """Rows of a grid were drawn from none."""
    sweep = make_sweep()
    for i in range(9):
        width = (64, 16, 32)[i % 3]
        settings = {"width": width, "lr": 10.0 ** (i - 9), "steps": 100 + i, "flip": i % 2 == 0}
        told(sweep, f"{i:04d}", [{METRIC: float(i)}], settings=settings)
    axes = axes_of(sweep)
    labels = {name: [label.get_text() for label in own.get_xticklabels()] for name, own in axes.items()}
    assert labels["width"] == ["16", "32", "64"] and labels["flip"] == ["True", "False"]
    assert (axes["lr"].get_xscale(), axes["steps"].get_xscale()) == ("log", "linear")
    assert (3 - 0.0, 3.0) not in points(axes["width"]) and (0.0, 1.0) in points(axes["width"])
    assert_readable(figure_of(sweep))


def test_a_field_that_only_some_trials_searched_says_so(make_sweep: Callable[..., Any]) -> None:
    space = {"noise": CategoricalDistribution(["normal", "uniform"]), "nz": IntDistribution(2, 100)}
    rows = [("normal", 10), ("uniform", None), ("normal", 90), ("uniform", None)]
    trials = [(5.0 + i, {"noise": noise} | ({} if nz is None else {"nz": nz})) for i, (noise, nz) in enumerate(rows)]
    axes = axes_of(searched(make_sweep(), space, *trials))
    assert list(axes) == ["noise", "nz (searched in 2 of 4 trials)"]
    assert points(axes["nz (searched in 2 of 4 trials)"]) == [(90.0, 7.0)]


def test_a_field_that_a_trial_did_not_search_has_no_place_though_its_config_has_a_value(
    make_sweep: Callable[..., Any],
) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [{METRIC: 3.0}], settings={"noise": "normal"}, config={"nz": 100})
    told(sweep, "0001", [{METRIC: 2.0}], settings={"noise": "uniform", "nz": 10}, config={"nz": 100})
    axes = axes_of(sweep)["nz (searched in 1 of 2 trials)"]
    assert [curve(line) for line in axes.lines[1:-1]] == [([0.0], [2.0])] and not points(axes)
    assert ticks(axes) == ["10"]


def test_what_is_the_same_in_all_trials_has_no_panel(make_sweep: Callable[..., Any]) -> None:
    space = {"lr": FloatDistribution(0.1, 0.2), "loss": CategoricalDistribution(["a", "b"])}
    sweep = searched(make_sweep(), space, (1.0, {"lr": 0.1, "loss": "a"}), (2.0, {"lr": 0.15, "loss": "a"}))
    assert list(axes_of(sweep)) == ["lr"]


def test_trials_far_from_all_others_are_counted_and_do_not_flatten_them(make_sweep: Callable[..., Any]) -> None:
    space = {"dropout": FloatDistribution(0.0, 0.5)}
    trials = [(-400.0 - i, {"dropout": 0.01 * i}) for i in range(20)] + [(-1e9, {"dropout": 0.4})]
    sweep = searched(make_sweep(mode="max"), space, *trials)
    low, high = axes_of(sweep)["dropout"].get_ylim()
    assert -450 < low < -419 and -400 < high < -390
    assert f"{METRIC} by setting: 21 trials, 1 beyond the axis" in texts_of(sweep)
    low, _ = axes_of(sweep, "0020")["dropout"].get_ylim()
    assert low < -1e9  # who asks for it sees it


def test_objectives_of_many_decades_have_a_logarithmic_axis(make_sweep: Callable[..., Any]) -> None:
    space = {"dropout": FloatDistribution(0.0, 0.5)}
    trials: list[Any] = [(10.0**i, {"dropout": 0.1 * i}) for i in range(4)] + [(None, {"dropout": 0.5})]
    axes = axes_of(searched(make_sweep(), space, *trials))["dropout"]
    low, high = axes.get_ylim()
    assert axes.get_yscale() == "log" and 0.05 < low < 1 and 1000 < high < 10_000


def test_an_objective_of_0_is_one(make_sweep: Callable[..., Any]) -> None:
    space = {"dropout": FloatDistribution(-0.5, 0.5)}
    axes = axes_of(searched(make_sweep(), space, *[(float(n), {"dropout": 0.1 * n}) for n in range(-1, 3)]))
    assert (0.0, 0.0) in points(axes["dropout"]) and not crosses(axes["dropout"])


def test_what_was_confirmed_far_from_the_search_is_on_the_axis(make_sweep: Callable[..., Any]) -> None:
    space = {"dropout": FloatDistribution(0.0, 0.5)}
    sweep = searched(make_sweep(), space, (1.0, {"dropout": 0.1}), (200.0, {"dropout": 0.2}))
    told(sweep, "confirm-0000", [{METRIC: 4000.0}], settings={"dropout": 0.1})
    assert axes_of(sweep, "confirm-0000")["dropout"].get_ylim()[1] > 4000


def test_where_any_trial_has_more_epochs_there_is_no_such_panel(make_sweep: Callable[..., Any]) -> None:
    """Trials that were ended early stand at other epochs than the rest."""
    space = {"lr": FloatDistribution(0.1, 0.5)}
    sweep = searched(make_sweep(), space, (1.0, {"lr": 0.1}), (2.0, {"lr": 0.2}))
    assert "lr" in axes_of(sweep)
    told(sweep, "0002", [{METRIC: 3.0}, {METRIC: 2.5}], "pruned", {"lr": 0.3})
    assert "lr" not in axes_of(sweep) and "lr" not in axes_of(sweep, "0001")


def test_a_single_trial_has_nothing_to_be_compared_with(make_sweep: Callable[..., Any]) -> None:
    space = {"lr": FloatDistribution(0.1, 0.5)}
    assert not figure_of(searched(make_sweep(), space, (1.0, {"lr": 0.1}))).axes
    sweep = searched(make_sweep(), space, (1.0, {"lr": 0.1}), (None, {"lr": 0.2}))
    assert not figure_of(sweep).axes


def test_of_many_values_some_are_named(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    for i in range(50):
        told(sweep, f"{i:04d}", [{METRIC: 9.0 + i}], settings={"dataset": f"image_folder:{i}", "lr": 0.1 * (i % 3)})
    axes = axes_of(sweep)["dataset"]
    assert len(points(axes)) == 49 and 8 <= len(axes.get_xticklabels()) <= 12
    assert_readable(figure_of(sweep))


def test_many_fields_wrap_and_stay_readable(make_sweep: Callable[..., Any]) -> None:
    choices = ["a rather long value", "b", "none", "another quite long value"]
    space = {f"field {i}": CategoricalDistribution(choices) for i in range(9)}
    trials = [(float(i), {name: choices[(i + k) % 4] for k, name in enumerate(space)}) for i in range(8)]
    sweep = searched(make_sweep(), space, *trials)
    axes = axes_of(sweep)
    assert len(axes) == 9 and len({round(own.get_position().y0, 3) for own in axes.values()}) == 3
    assert_readable(figure_of(sweep))


def ticks(axes: Any) -> list[str]:
    return [label.get_text() for label in axes.get_xticklabels()]


def test_up_to_six_numbers_that_nobody_drew_are_ticks(make_sweep: Callable[..., Any]) -> None:
    for count in (6, 7):
        sweep = make_sweep()
        for i in range(count):
            told(sweep, f"{i:04d}", [{METRIC: float(i)}], settings={"a": 7.25 * (i + 1)})
        expected = ["7.25", "14.5", "21.75", "29", "36.25", "43.5"] if count == 6 else None
        assert (ticks(axes_of(sweep)["a"]) == expected) == (count == 6)


def test_names_of_values_have_twelve_letters_and_there_are_twelve_of_them(make_sweep: Callable[..., Any]) -> None:
    for count, every in ((12, 1), (13, 2), (25, 3)):
        sweep = make_sweep()
        values = [f"{i:02}" + "-" * (10 + i % 2) for i in range(count)]
        for i, value in enumerate(values):
            told(sweep, f"{i:04d}", [{METRIC: float(i)}], settings={"a": value})
        axes = axes_of(sweep)["a"]
        assert list(axes.get_xticks()) == [*range(0, count, every)]
        assert ticks(axes) == [v if len(v) == 12 else f"{v[:5]}…{v[-6:]}" for v in values[::every]]
        assert {len(text) for text in ticks(axes)} == {12}


def test_a_value_that_is_none_of_the_choices_stands_after_them(make_sweep: Callable[..., Any]) -> None:
    """As a default that lies outside of what is searched."""
    space = {"width": CategoricalDistribution([64, 16])}
    sweep = make_sweep()
    told(sweep, "0000", [{METRIC: 3.0}], settings={"width": 8})
    drawn = {"width": json.loads(distribution_to_json(space["width"]))}
    for name, width in (("0001", 16), ("0002", 64)):
        told(sweep, name, [{METRIC: 1.0 + int(name)}], settings={"width": width}, distributions=drawn)
    axes = axes_of(sweep)["width"]
    assert (
        ticks(axes) == ["64", "16", "8"] and points(axes) == [(0.0, 3.0)] and marked(axes) == [(2.0, 3.0), (1.0, 2.0)]
    )


def test_the_best_trial_lies_over_the_default_one_and_is_marked_by_itself(make_sweep: Callable[..., Any]) -> None:
    space = {"dropout": FloatDistribution(0.0, 0.5)}
    axes = axes_of(searched(make_sweep(), space, (1.0, {"dropout": 0.2}), (3.0, {"dropout": 0.3})))["dropout"]
    (best,) = axes.lines[1:-1]
    assert curve(best) == ([0.2], [1.0]) and best.get_color() == "#1f5fbf" and points(axes) == [(0.3, 3.0)]
