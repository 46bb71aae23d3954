"""What a trial can be told: config dataclasses whose field names are the hyperparameters of a sweep. Free of torch."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from genlab.data.names import check_name
from genlab.errors import GenlabError, nearest


@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of one trial; a task's own config adds its fields.

    Attributes:
        implementation: `module:Class` of the task that runs this config, imported where it trains.
        fixed: fields that `--set` and `--grid` may fix for a whole sweep but that may not differ between its trials,
            since what is prepared once, or the schedule of the sweep, follows from them.
        epochs: how many epochs a trial trains, if nothing ends it earlier.
        seed: seed of the first replica; replica i has seed + i.
    """

    implementation: ClassVar[str] = ""
    fixed: ClassVar[frozenset[str]] = frozenset({"epochs", "seed"})

    epochs: int = 8
    seed: int = 0

    def check(self) -> None:
        """Refuse values that no trial could be trained with (GenlabError, naming the field)."""
        self._at_least(1, "epochs")
        self._at_least(0, "seed")

    def reports(self) -> tuple[str, ...]:
        """Names of the metrics that every epoch reports."""
        return ()

    def prepare(self) -> Mapping[str, Config]:
        """What must be trained once before the first trial: configs by the name under which the task finds them."""
        return {}

    def global_batch(self) -> int | None:
        """The batch that all ranks share, which their number must divide; None where there is no such thing."""
        return None

    def _at_least(self, least: float, *names: str) -> None:
        for name in names:
            if getattr(self, name) < least:
                raise GenlabError(f"{name}={getattr(self, name)} is too small: it must be at least {least}")

    def _within(self, low: float, high: float, *names: str) -> None:
        """low ≤ value < high"""
        for name in names:
            if not low <= getattr(self, name) < high:
                raise GenlabError(f"{name}={getattr(self, name)} is out of range: it must be in [{low}, {high})")

    def _positive(self, *names: str) -> None:
        for name in names:
            if not 0 < getattr(self, name) < math.inf:
                raise GenlabError(f"{name}={getattr(self, name)} must be positive and finite")


@dataclass(frozen=True, kw_only=True)
class PhasedConfig(Config):
    """What every task that trains in phases can be told.

    Attributes:
        batch_size: images a step and stream, over all ranks together.
        epoch_steps: steps an epoch; None for one pass over the first stream.
        augment: what is done to images on the device: `none`, `flip` or `crop_flip`.
    """

    batch_size: int = 64
    epoch_steps: int | None = None
    augment: Literal["none", "flip", "crop_flip"] = "none"

    def check(self) -> None:
        super().check()
        self._at_least(2, "batch_size")  # BatchNorm has no variance of a single image
        if self.epoch_steps is not None:
            self._at_least(1, "epoch_steps")

    def global_batch(self) -> int:
        return self.batch_size


ImageSize = Literal[32, 64, 128]


@dataclass(frozen=True, kw_only=True)
class GANConfig(PhasedConfig):
    """A DCGAN: Radford et al. 2016, with the adversarial loss as a setting.

    Attributes:
        dataset: see `genlab.data.NAMES`; brought to `image_size` pixels a side.
        loss: a name in `genlab.losses.ADVERSARIAL`.
        nz, noise: length and distribution of the generator's input.
        ngf, ndf: width of the generator's and the discriminator's layer next to the image.
        lr_generator, lr_discriminator, beta1, beta2: of Adam.
        spectral_norm: networks whose convolutions are spectrally normalized.
        init: `dcgan` for N(0, 0.02), `default` for torch's own.
        discriminator_steps: discriminator steps before each generator step, on fresh batches.
        reuse_fakes: the generator's step judges the very images that the last discriminator step saw, drawn once.
        evaluation_samples: images drawn an epoch, from noise that stays the same, to be judged and shown.
        judge_steps: training steps of the classifier whose features judge the images.
    """

    implementation: ClassVar[str] = "genlab.tasks.gan:GAN"
    fixed: ClassVar[frozenset[str]] = Config.fixed | {"dataset", "image_size", "evaluation_samples", "judge_steps"}

    dataset: str = "digits"
    image_size: ImageSize = 32
    loss: Literal["non_saturating", "saturating", "least_squares", "hinge"] = "non_saturating"
    nz: int = 100
    noise: Literal["normal", "uniform"] = "normal"
    ngf: int = 32
    ndf: int = 32
    lr_generator: float = 2e-4
    lr_discriminator: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    spectral_norm: Literal["none", "discriminator", "both"] = "none"
    init: Literal["dcgan", "default"] = "dcgan"
    discriminator_steps: int = 1
    reuse_fakes: bool = False
    evaluation_samples: int = 1000
    judge_steps: int = 400

    def check(self) -> None:
        super().check()
        check_name(self.dataset)
        self._at_least(1, "nz", "ngf", "ndf", "discriminator_steps", "judge_steps")
        self._at_least(64, "evaluation_samples")
        self._positive("lr_generator", "lr_discriminator")
        self._within(0.0, 1.0, "beta1", "beta2")

    def reports(self) -> tuple[str, ...]:
        return (
            "loss/generator",
            "loss/discriminator",
            "score/real",
            "score/fake",
            "evaluation/score/real",
            "evaluation/score/fake",
            "frechet_distance",
            "kid",
            "precision",
            "recall",
            "density",
            "coverage",
            "classes_covered",
            "class_entropy",
            "images_per_second",
            "epoch_seconds",
        )

    def prepare(self) -> Mapping[str, Config]:
        return {
            "judge": ClassifierConfig(
                dataset=self.dataset, image_size=self.image_size, epochs=1, epoch_steps=self.judge_steps, seed=0
            )
        }


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(PhasedConfig):
    """A small convolutional classifier.

    Attributes:
        target: `labels`, or which of four `rotation`s an image was given (Gidaris et al. 2018), for sets without
            labels; `auto` takes labels where there are some, of more than one class.
        width, features: channels of the first layer, length of the feature vector before the last.
    """

    implementation: ClassVar[str] = "genlab.tasks.classifier:ClassifierTask"
    fixed: ClassVar[frozenset[str]] = Config.fixed | {"dataset", "image_size", "target"}

    dataset: str = "digits"
    image_size: ImageSize = 32
    target: Literal["auto", "labels", "rotation"] = "auto"
    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    width: int = 32
    features: int = 64

    def check(self) -> None:
        super().check()
        check_name(self.dataset)
        self._at_least(2, "width")
        self._at_least(1, "features")
        self._positive("lr")
        self._within(0.0, 1.0, "beta1", "beta2")

    def reports(self) -> tuple[str, ...]:
        return "loss/label", "accuracy/clean", "images_per_second", "epoch_seconds"


CONFIGS: Mapping[str, type[Config]] = {"gan": GANConfig, "classifier": ClassifierConfig}


def config_class(name: str) -> type[Config]:
    """The config of the task `name`.

    Raises:
        GenlabError: there is no such task.
    """
    if name not in CONFIGS:
        raise GenlabError(f"there is no task {name!r}: {nearest(name, CONFIGS)}")
    return CONFIGS[name]


@functools.cache
def _hints(kind: type[Config]) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(kind)}
    return {name: hint for name, hint in typing.get_type_hints(kind).items() if name in names}


def build(kind: type[Config], settings: Mapping[str, Any]) -> Config:
    """A checked config from some of its fields.

    Raises:
        GenlabError: a key that is no field (with the nearest ones), a value of another type, or out of range.
    """
    config = kind(**{name: check_value(kind, name, value) for name, value in settings.items()})
    config.check()
    return config


def check_value(kind: type[Config], name: str, value: Any) -> Any:
    """`value` as field `name` holds it: an int is taken for a float, nothing else is changed.

    Raises:
        GenlabError: no such field, or another type.
    """
    hints = _hints(kind)
    if name not in hints:
        raise GenlabError(f"{kind.__name__} has no field {name!r}: {nearest(name, hints)}")
    for option in _options(hints[name]):
        if typing.get_origin(option) is Literal:
            if any(value == valid and type(value) is type(valid) for valid in typing.get_args(option)):
                return value
        elif option is float and type(value) in (int, float):
            return float(value)
        elif type(value) is option:
            return value
    raise GenlabError(f"{name}={value!r} is ill-typed: {name} is {_describe(hints[name])}")


def parse_value(kind: type[Config], name: str, text: str) -> Any:
    """The value of field `name` that `text` writes on a command line.

    Raises:
        GenlabError: no such field, or no value of its type.
    """
    hints = _hints(kind)
    if name not in hints:
        raise GenlabError(f"{kind.__name__} has no field {name!r}: {nearest(name, hints)}")
    for option in _options(hints[name]):
        values = typing.get_args(option) if typing.get_origin(option) is Literal else ()
        for valid in values:
            if text == str(valid):
                return valid
        if option is types.NoneType and text.lower() == "none":
            return None
        if option is bool and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if option in (int, float, str):
            try:
                return option(text)
            except ValueError:
                continue
    raise GenlabError(f"{name}={text} is ill-typed: {name} is {_describe(hints[name])}")


def _options(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def _describe(hint: Any) -> str:
    words = []
    for option in _options(hint):
        if typing.get_origin(option) is Literal:
            words += [str(valid) for valid in typing.get_args(option)]
        else:
            words.append("none" if option is types.NoneType else f"a{'n' * (option is int)} {option.__name__}")
    return " or ".join(words)


def as_dict(config: Config) -> dict[str, Any]:
    """All fields, as JSON holds them."""
    return dataclasses.asdict(config)
