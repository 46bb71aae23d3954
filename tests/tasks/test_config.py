from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlab.errors import GenlabError
from genlab.tasks import CONFIGS, ClassifierConfig, GANConfig, build, config_class
from genlab.tasks.config import as_dict, check_value, parse_value


@pytest.mark.parametrize("kind", CONFIGS.values())
def test_defaults_are_valid_and_survive_json(kind: type) -> None:
    config = build(kind, {})
    assert build(kind, as_dict(config)) == config


@pytest.mark.parametrize("kind", CONFIGS.values())
def test_metric_names_are_legal_in_mlflow(kind: type) -> None:
    for name in kind().reports():
        assert re.fullmatch(r"[\w\-.:/ ]+", name)


def test_an_unknown_field_is_refused_with_the_nearest() -> None:
    with pytest.raises(GenlabError, match="lr_generator"):
        build(GANConfig, {"lr_generater": 1e-3})


@pytest.mark.parametrize(
    ("name", "value"),
    [("ngf", 32.0), ("ngf", "32"), ("ngf", True), ("loss", "wgan"), ("reuse_fakes", 1), ("image_size", 48)],
)
def test_an_ill_typed_value_is_refused(name: str, value: object) -> None:
    with pytest.raises(GenlabError, match=name):
        build(GANConfig, {name: value})


@pytest.mark.parametrize(
    "settings",
    [{"beta1": 1.0}, {"lr_generator": 0.0}, {"batch_size": 1}, {"epochs": 0}, {"dataset": "minst"}, {"nz": 0}],
)
def test_values_out_of_range_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(GenlabError, match=next(iter(settings)) if "dataset" not in settings else "mnist"):
        build(GANConfig, settings)


def test_an_int_is_taken_for_a_float() -> None:
    assert build(GANConfig, {"beta1": 0}) == build(GANConfig, {"beta1": 0.0})
    assert isinstance(check_value(GANConfig, "beta1", 0), float)


@given(st.sampled_from([field.name for field in dataclasses.fields(GANConfig)]))
def test_what_is_printed_is_what_is_parsed(name: str) -> None:
    value = getattr(GANConfig(), name)
    assert parse_value(GANConfig, name, str(value)) == value


@pytest.mark.parametrize("text", ["", "one", "1.5"])
def test_text_of_another_type_is_refused(text: str) -> None:
    with pytest.raises(GenlabError, match="ngf"):
        parse_value(GANConfig, "ngf", text)


def test_unknown_tasks_are_refused() -> None:
    with pytest.raises(GenlabError, match="gan"):
        config_class("gann")


def test_the_judge_follows_from_fixed_fields_alone() -> None:
    """What is prepared once may not differ between trials: changing any field that can be swept leaves it alone."""
    before = GANConfig().prepare()
    for field in dataclasses.fields(GANConfig):
        if field.name in GANConfig.fixed:
            continue
        value = getattr(GANConfig(), field.name)
        other = value + 1 if isinstance(value, (int, float)) and not isinstance(value, bool) else value
        assert GANConfig(**{field.name: other}).prepare() == before
    assert GANConfig(dataset="mnist").prepare() != before
    assert isinstance(before["judge"], ClassifierConfig)
