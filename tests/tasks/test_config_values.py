"""What the tasks may be told: the first value that is refused, and the last that is not."""

from __future__ import annotations

import math
from typing import Any

import pytest
from tiny_tasks import Tiny, TinyConfig

from genlab.errors import GenlabError
from genlab.tasks import (
    SGD,
    Adam,
    ClassifierConfig,
    Config,
    DAEConfig,
    FromCheckpoint,
    FromTask,
    FromWeights,
    GANConfig,
    VAEConfig,
    build,
    configs,
)
from genlab.tasks.fields import check_value, parse_value

EVERY: dict[str, tuple[list[Any], list[Any]]] = {
    "epochs": ([0], [1]),
    "seed": ([-1], [0]),
    "batch_size": ([1], [2]),
    "epoch_steps": ([0], [1, None]),
    "beta1": ([-0.1, 1.0, math.nan], [0.0, 0.99]),
    "beta2": ([-0.1, 1.0, math.nan], [0.0, 0.99]),
    "dataset": (["digit", "mnist:folder", "image_folder:"], ["cifar10", "image_folder", "image_folder:faces"]),
}
RATE: tuple[list[Any], list[Any]] = ([0.0, -1e-3, math.inf, math.nan], [1e-9, 10.0])
FROM_1: tuple[list[Any], list[Any]] = ([0], [1])
LIMITS: list[tuple[type[Config], dict[str, tuple[list[Any], list[Any]]]]] = [
    (
        GANConfig,
        EVERY
        | {"lr_generator": RATE, "lr_discriminator": RATE, "evaluation_samples": ([63], [64])}
        | {"dropout": ([-0.1, 1.0, math.nan], [0.0, 0.99])}
        | dict.fromkeys(("nz", "ngf", "ndf", "discriminator_steps", "judge_steps"), FROM_1),
    ),
    (ClassifierConfig, EVERY | {"lr": RATE, "width": ([1], [2]), "features": FROM_1}),
    (VAEConfig, EVERY | {"lr": RATE, "width": ([0], [1, None]), "nz": ([1], [2])}),
    (DAEConfig, EVERY | {"lr": RATE, "noise_std": RATE, "width": FROM_1, "nz": FROM_1}),
]


@pytest.mark.parametrize(
    ("kind", "name", "limits"),
    [(kind, name, each) for kind, fields in LIMITS for name, each in fields.items()],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", ""),
)
def test_values_are_refused_up_to_the_limit_and_taken_beyond_it(
    kind: type[Config], name: str, limits: tuple[list[Any], list[Any]]
) -> None:
    refused, taken = limits
    for value in refused:
        with pytest.raises(GenlabError, match="data set" if name == "dataset" else f"^{name}="):
            build(kind, {name: value})
    for value in taken:
        assert getattr(build(kind, {name: value}), name) == value


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"epochs": 0}, "epochs=0 is too small: it must be at least 1"),
        ({"batch_size": 1}, "batch_size=1 is too small: it must be at least 2"),
        ({"dropout": 1.5}, "dropout=1.5 is out of range: it must be in [0.0, 1.0)"),
        ({"lr_generator": math.inf}, "lr_generator=inf must be positive and finite"),
    ],
)
def test_a_refusal_says_what_would_be_taken(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(GenlabError) as refused:
        build(GANConfig, settings)
    assert str(refused.value) == says


def test_the_default_setting_is_the_dcgan_of_the_paper() -> None:
    """Radford et al. 2016, section 4; what genlab adds to it is off. Trial 0000 trains it."""
    c = GANConfig()
    assert (c.loss, c.nz, c.init, c.normalization) == ("non_saturating", 100, "dcgan", "batch")
    assert (c.lr_generator, c.lr_discriminator, c.beta1, c.beta2) == (2e-4, 2e-4, 0.5, 0.999)
    assert (c.noise, c.augment, c.spectral_norm) == ("normal", "none", "none")
    assert (c.discriminator_steps, c.reuse_fakes, c.judge) == (1, False, "")
    assert (c.architecture, c.conditional, c.dropout) == ("dcgan", "none", 0.0)


def test_the_default_settings_of_the_autoencoders_are_those_of_the_reports() -> None:
    vae, dae = VAEConfig(), DAEConfig()
    assert (vae.epochs, vae.batch_size, vae.nz, vae.width, vae.architecture) == (10, 64, 20, None, "fully_connected")
    assert (dae.epochs, dae.batch_size, dae.nz, dae.width, dae.noise_std) == (10, 64, 64, 400, 0.5)
    assert (vae.lr, vae.beta1, vae.beta2) == (5e-4, 0.9, 0.999)
    assert (dae.lr, dae.beta1, dae.beta2) == (1e-3, 0.9, 0.999)


@pytest.mark.parametrize("kind", configs().values())
def test_a_sweep_without_a_word_on_its_data_trains_on_all_digits_as_they_are(kind: Any) -> None:
    """Which need no download: small enough for a first sweep on a CPU."""
    c = kind()
    assert (c.dataset, c.image_size, c.augment) == ("digits", 32, "none")
    assert (c.seed, c.epoch_steps, c.batch_size) == (0, None, 64)


def test_the_default_sizes_are_those_of_which_the_findings_speak() -> None:
    """Who compares a sweep with `docs/RESULTS.md` need name none of them."""
    c = GANConfig()
    assert (c.epochs, c.ngf, c.ndf) == (8, 32, 32)
    assert (c.evaluation_samples, c.judge_steps, c.judge_image_size) == (1000, 400, None)
    judge = ClassifierConfig()
    assert (judge.width, judge.features) == (32, 64)


def test_an_optimizer_of_which_a_task_says_only_the_rate_is_the_usual_one() -> None:
    """Kingma & Ba 2015, algorithm 1; plain gradient descent."""
    adam, sgd = Adam(0.1), SGD(0.1)
    assert (adam.beta1, adam.beta2, adam.weight_decay, adam.rate) == (0.9, 0.999, 0.0, None)
    assert (sgd.momentum, sgd.weight_decay, sgd.nesterov, sgd.rate) == (0.0, 0.0, False, None)
    c = ClassifierConfig()
    assert (c.lr, c.beta1, c.beta2, c.augment, c.target) == (1e-3, 0.9, 0.999, "none", "auto")


def test_a_choice_is_of_its_own_type() -> None:
    for value in (64.0, True, "64"):
        with pytest.raises(GenlabError, match="image_size"):
            check_value(GANConfig, "image_size", value)
    assert check_value(GANConfig, "image_size", 64) == 64


@pytest.mark.parametrize(("text", "value"), [("true", True), ("True", True), ("FALSE", False), ("false", False)])
def test_a_yes_or_no_is_read_in_any_case(text: str, value: bool) -> None:
    assert parse_value(GANConfig, "reuse_fakes", text) is value


@pytest.mark.parametrize("text", ["yes", "no", "on", "1", "0", "t", "truee", " true", "none"])
def test_another_word_is_neither_yes_nor_no(text: str) -> None:
    """A word that was taken for false would train another setting than the one that was meant."""
    with pytest.raises(GenlabError, match=f"reuse_fakes={text} is ill-typed"):
        parse_value(GANConfig, "reuse_fakes", text)


def test_the_ranks_share_a_batch_where_there_is_one() -> None:
    assert build(GANConfig, {"batch_size": 48}).global_batch() == 48
    assert Config().global_batch() is None


class One:
    class Task(Tiny):
        """Called as the next one."""


class Other:
    class Task(Tiny):
        pass


def test_sources_of_one_path_have_keys_of_their_own() -> None:
    """A file may be read as a checkpoint by one setting and as weights by another."""
    keys = {source("/a/x.safetensors").key() for source in (FromCheckpoint, FromWeights)}
    assert len(keys) == 2
    assert FromCheckpoint("/a").key() != FromCheckpoint("/b").key()
    assert FromWeights("/a").key() != FromWeights("/b").key()
    assert FromTask(TinyConfig(seed=1)).key() != FromTask(TinyConfig()).key() == FromTask(TinyConfig()).key()
    assert FromTask(TinyConfig(), One.Task).key() != FromTask(TinyConfig(), Other.Task).key()


def test_the_gans_judge_is_expected_to_know_its_images() -> None:
    """A warning is shown where it is right on fewer than six of ten."""
    for image_size in (32, 64):
        judge = build(GANConfig, {"image_size": image_size, "judge_steps": 30}).prepare()["judge"]
        assert isinstance(judge, FromTask) and judge.expected == {"accuracy/clean": 0.6}
        own = judge.config
        assert isinstance(own, ClassifierConfig)
        assert (own.image_size, own.epochs, own.epoch_steps, own.seed) == (image_size, 1, 30, 0)
