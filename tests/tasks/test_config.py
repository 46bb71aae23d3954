from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlab.errors import GenlabError
from genlab.tasks import (
    ClassifierConfig,
    Config,
    FromCheckpoint,
    FromTask,
    GANConfig,
    build,
    config_class,
    configs,
    implementation,
    task_name,
)
from genlab.tasks.fields import as_dict, as_text, check_value, parse_value


@pytest.mark.parametrize("kind", configs().values())
def test_defaults_are_valid_and_survive_json(kind: type) -> None:
    config = build(kind, {})
    assert build(kind, as_dict(config)) == config


@pytest.mark.parametrize("kind", configs().values())
def test_metric_names_are_legal_in_mlflow(kind: type) -> None:
    for name in kind().reports():
        assert re.fullmatch(r"[\w\-.:/ ]+", name)


def test_an_unknown_field_is_refused_with_the_nearest() -> None:
    with pytest.raises(GenlabError, match=r"^GANConfig has no field 'lr_generater': did you mean lr_generator or "):
        build(GANConfig, {"lr_generater": 1e-3})
    with pytest.raises(GenlabError, match="GANConfig has no field 'implementation'"):  # of the class, not of a trial
        build(GANConfig, {"implementation": "mine:Task"})

    class Untyped(GANConfig):
        width = 32

    with pytest.raises(GenlabError, match=r"Untyped has no field 'width': write its type, as in width: int = 32$"):
        build(Untyped, {"width": 16})


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


def test_a_bool_is_no_number() -> None:
    for name in ("beta1", "ngf"):
        with pytest.raises(GenlabError, match=name):
            build(GANConfig, {name: False})


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


def test_unknown_tasks_are_refused_with_the_nearest() -> None:
    with pytest.raises(GenlabError, match=r"^there is no task 'gann': did you mean gan\?$"):
        config_class("gann")
    with pytest.raises(GenlabError, match=r"valid names: classifier, dae, gan, vae$"):
        config_class("xyz")


def test_a_task_that_has_a_name_is_found_by_it_and_by_its_config() -> None:
    for name, kind in configs().items():
        assert config_class(name) is kind and task_name(kind) == name
        assert implementation(kind).Config is kind
    assert task_name(Tuples) == "Tuples"  # one of a script, which has none
    with pytest.raises(GenlabError, match=r"^Tuples names no task: say which one runs it, as in FromTask\(config, "):
        implementation(Tuples)


def test_the_judge_follows_from_the_data_alone() -> None:
    """It is the same for settings that differ in anything else, so that they are compared by the same features."""
    judged_by = {"dataset", "image_size", "judge_steps"}
    before = GANConfig().prepare()["judge"]
    for field in dataclasses.fields(GANConfig):
        value = getattr(GANConfig(), field.name)
        other = {"dataset": "mnist", "image_size": 64}.get(field.name)
        if other is None:
            other = value + 1 if isinstance(value, (int, float)) and not isinstance(value, bool) else value
        changed = GANConfig(**{field.name: other}).prepare()["judge"]
        assert (changed.key() != before.key()) == (field.name in judged_by), field.name
    assert GANConfig(judge="/a/state.safetensors").prepare()["judge"] == FromCheckpoint("/a/state.safetensors")
    assert isinstance(before, FromTask) and isinstance(before.config, ClassifierConfig)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tuples(Config):
    epsilons: tuple[float, ...] = (0.0, 0.1)
    widths: tuple[int, int] = (16, 32)
    names: tuple[str, ...] | None = None


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("epsilons", "0:0.01:0.03", (0.0, 0.01, 0.03)),
        ("epsilons", "0.5", (0.5,)),
        ("widths", "8:64", (8, 64)),
        ("names", "a:b", ("a", "b")),
        ("names", "none", None),
        ("epsilons", "", ()),
    ],
)
def test_tuples_are_written_with_colons(name: str, text: str, value: tuple[object, ...] | None) -> None:
    assert parse_value(Tuples, name, text) == value
    assert parse_value(Tuples, name, as_text(value)) == value
    if value is None:
        return
    assert check_value(Tuples, name, text) == value  # as a choice of a search holds it
    assert check_value(Tuples, name, list(value)) == value  # as JSON gives it back
    assert as_text(list(value)) == as_text(value)
    assert all(type(a) is type(b) for a, b in zip(parse_value(Tuples, name, text), value, strict=True))


@pytest.mark.parametrize(
    ("name", "text"),
    [("epsilons", "0:x"), ("epsilons", ":"), ("widths", "8"), ("widths", "8:9:10"), ("widths", "8:9.5")],
)
def test_tuples_of_another_type_or_length_are_refused(name: str, text: str) -> None:
    with pytest.raises(GenlabError, match=f"{name}=.* is ill-typed: {name} is a tuple, written (float|int):"):
        parse_value(Tuples, name, text)
    with pytest.raises(GenlabError, match="ill-typed"):
        check_value(Tuples, name, text)


def test_a_tuples_elements_are_checked() -> None:
    assert build(Tuples, {"epsilons": (0, 1)}).epsilons == (0.0, 1.0)
    with pytest.raises(GenlabError, match="names"):
        build(Tuples, {"names": ("a:b",)})  # it could not be written
    for bad in (("0.1",), (None,), 0.1, {0.1}):
        with pytest.raises(GenlabError, match="epsilons"):
            build(Tuples, {"epsilons": bad})
