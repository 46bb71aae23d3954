"""Which field is searched where, and what its values may be."""

from __future__ import annotations

from typing import Any

import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from test_needs import NeedyConfig

from genlab.errors import GenlabError
from genlab.sweep import choice, integer, log_uniform, uniform
from genlab.sweep.scope import Scope, contains, listed, ordered, samples
from genlab.tasks.fields import complete


def scope(space: Any, conditions: Any, **settings: Any) -> Scope:
    return Scope(NeedyConfig, complete(NeedyConfig, settings), ordered(space, conditions, "toy"), conditions)


CHAIN = scope(
    {"layer": choice(0, 1), "network": choice("flat", "deep"), "fail_at": choice(0, 7)},
    {"network": {"fail_at": [7]}, "layer": {"network": ["deep"]}},
    network="flat",
)


def test_what_a_condition_names_comes_before_the_field_and_the_rest_stays_in_order() -> None:
    assert list(CHAIN.space) == ["fail_at", "network", "layer"]
    space = {name: choice(0, 1) for name in ("lr", "batch", "nan_at", "sleep")}
    assert list(ordered(space, {"lr": {"nan_at": [0]}}, "toy")) == ["batch", "nan_at", "sleep", "lr"]
    with pytest.raises(GenlabError, match="the conditions of 'toy' go in a circle: "):
        ordered(space, {"lr": {"nan_at": [0]}, "nan_at": {"lr": [0]}}, "toy")


def test_a_field_is_searched_where_those_that_it_hangs_on_are_and_have_such_a_value() -> None:
    values = {"fail_at": 0, "network": "deep", "layer": 1}
    assert CHAIN.settings(values) == {"fail_at": 0}
    assert CHAIN.settings({**values, "fail_at": 7}) == {"fail_at": 7, "network": "deep", "layer": 1}
    assert CHAIN.settings({**values, "fail_at": 7, "network": "flat"}) == {"fail_at": 7, "network": "flat"}
    config: Any = CHAIN.config(values)  # what is not searched has its default
    assert (config.network, config.layer) == ("flat", 0)
    with pytest.raises(GenlabError, match="a flat network has one layer"):
        scope({"layer": choice(0, 1)}, {}, network="flat").config({"layer": 1})


def test_values_change_until_a_field_is_searched() -> None:
    values = {"fail_at": 0, "network": "flat", "layer": 0}
    assert CHAIN.searching("layer", values) == {"fail_at": 7, "network": "deep", "layer": 0}
    assert CHAIN.searching("network", values) == {"fail_at": 7, "network": "flat", "layer": 0}
    assert CHAIN.searching("fail_at", values) == values
    known = {"fail_at": 7, "network": "deep", "layer": 1}
    assert CHAIN.searching("layer", known) == known
    never = scope({"layer": choice(0, 1)}, {"layer": {"network": ["deep"]}}, network="flat")
    assert never.searching("layer", {"layer": 0}) is None and never.settings({"layer": 0}) == {}
    by_default = scope({"layer": choice(0, 1)}, {"layer": {"network": ["deep"]}}, network="deep")
    assert by_default.searching("layer", {"layer": 0}) == {"layer": 0}
    out_of_reach = scope({"layer": choice(0, 1), "lr": uniform(0.0, 1.0)}, {"layer": {"lr": [2.0]}})
    assert out_of_reach.searching("layer", {"layer": 0, "lr": 0.01}) is None
    # a network has its default where it is not searched, whatever its value would be if it were
    unsearched = {"fail_at": 0, "network": "deep", "layer": 1}
    assert CHAIN.searching("layer", unsearched) == {"fail_at": 7, "network": "deep", "layer": 1}


def test_no_values_search_a_field_whose_conditions_cannot_all_hold() -> None:
    space = {"layer": choice(0, 1), "network": choice("flat", "deep"), "fail_at": choice(0, 7)}
    against_each_other = {"network": {"fail_at": [7]}, "layer": {"fail_at": [0], "network": ["deep"]}}
    beyond_reach = {"network": {"fail_at": [9]}, "layer": {"network": ["deep"]}}
    for conditions in (against_each_other, beyond_reach):
        made = scope(space, conditions, network="flat")
        for fail_at in (0, 7):
            assert made.searching("layer", {"fail_at": fail_at, "network": "flat", "layer": 0}) is None


def test_each_field_has_its_default_or_else_its_first_value() -> None:
    space = {
        "widths": choice((8,), (1,)),
        "lr": log_uniform(1e-3, 1e-1),
        "megabytes": integer(3, 7),
        "batch": choice(4, 6),
    }
    assert scope(space, {}).values() == {"widths": "1", "lr": 0.01, "megabytes": 3, "batch": 4}
    assert scope(space, {}, batch=6, megabytes=5).values()["batch"] == 6


@pytest.mark.parametrize(
    ("distribution", "wanted", "allowed"),
    [
        (choice(0.1, 0.2), [0.2, 0.3], [0.2]),
        (uniform(0.0, 1.0), [0.5, 1.5, 1], [0.5, 1.0]),
        (FloatDistribution(0.1, 0.5, step=0.1), [0.3, 0.35], [0.3]),
    ],
)
def test_of_what_a_condition_wants_a_search_may_come_to_some(distribution: Any, wanted: Any, allowed: Any) -> None:
    space = {"sleep": distribution, "layer": choice(0, 1)}
    made = scope(space, {"layer": {"sleep": wanted}})
    assert made.allowed("sleep", wanted) == allowed and made.allowed("lr", wanted) == []


def test_a_value_with_steps_is_nearly_there() -> None:
    made = scope({"sleep": FloatDistribution(0.1, 0.5, step=0.1), "layer": choice(0, 1)}, {"layer": {"sleep": [0.3]}})
    assert 0.1 + 2 * 0.1 != 0.3
    assert made.settings({"sleep": 0.1 + 2 * 0.1, "layer": 1}) == {"sleep": 0.1 + 2 * 0.1, "layer": 1}
    assert made.settings({"sleep": 0.2, "layer": 1}) == {"sleep": 0.2}
    tuples = scope({"widths": choice((1,), (16, 32)), "layer": choice(0, 1)}, {"layer": {"widths": [(16, 32)]}})
    assert "layer" in tuples.settings({"widths": "16:32", "layer": 1})


def test_values_that_are_few_are_listed() -> None:
    assert listed(choice("a", None)) == ["a", None] and listed(integer(2, 10, step=4)) == [2, 6, 10]
    assert listed(IntDistribution(1, 4, log=True)) == [1, 2, 3, 4] == samples(IntDistribution(1, 4, log=True))
    assert listed(integer(1, 64)) == [*range(1, 65)] and listed(integer(0, 64)) is None
    assert samples(integer(0, 64)) == [0, 64] and samples(uniform(0.1, 0.2)) == [0.1, 0.2]
    assert [contains(integer(0, 64, 8), value) for value in (0, 8, 9, 64, 72, "8", None)] == [1, 1, 0, 1, 0, 0, 0]
