"""Small tasks that show one thing of the contract each. Images are 8 x 8 pixels of noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, softplus

from genlab.data import ImageSet
from genlab.tasks import (
    SGD,
    Adam,
    Config,
    Context,
    CustomTask,
    FromTask,
    Inputs,
    Phase,
    PhasedConfig,
    PhasedTask,
    Replica,
    Report,
    State,
    Stream,
)
from genlab.tasks.optimizers import Optimizer


def noise_images(name: str, count: int, seed: int = 0) -> ImageSet:
    """`count` images of noise; whether one is brighter than the middle is its label."""
    pixels = torch.randint(256, (count, 1, 8, 8), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    pixels[::2] //= 2
    return ImageSet(name, "train", pixels, (pixels.float().mean((1, 2, 3)) > 96).long(), ("dark", "light"))


@dataclass(frozen=True, kw_only=True)
class TinyConfig(PhasedConfig):
    """One learning rate for all."""

    batch_size: int = 8
    epochs: int = 3
    lr: float = 0.05
    dropout: float = 0.0

    def reports(self) -> tuple[str, ...]:
        return ("accuracy",)


def small_network(dropout: float = 0.0) -> nn.Module:
    """With BatchNorm, and dropout after it."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, 2, 1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Flatten(),
        nn.Linear(64, 2),
    )


class Tiny(PhasedTask):
    """A classifier of `first` images; subclasses change what they are about."""

    Config = TinyConfig
    optimizer: Optimizer = Adam(0.05)

    def networks(self) -> Mapping[str, Callable[[], nn.Module]]:
        return {"classifier": lambda: small_network(self.config.dropout)}

    def streams(self) -> Mapping[str, Stream]:
        return {"first": Stream(noise_images("first", 48))}

    def phases(self) -> list[Phase]:
        return [Phase("label", {"classifier": self.optimizer}, label_loss, ("first",))]

    def evaluate(self, networks: Any, split: str, epoch: int) -> Report:
        images = noise_images("held out", 21, seed=1)
        labels = images.labels
        assert labels is not None

        def is_right(items: Tensor) -> Tensor:
            return networks["classifier"](images.select(items, self.context.device)).argmax(1).cpu() == labels[items]

        return Report({"accuracy": float(self.context.map_shards(21, is_right).float().mean())})


def label_loss(networks: Any, inputs: Inputs, config: Any) -> tuple[Tensor, dict[str, Tensor]]:
    images, labels = inputs["first"]
    return cross_entropy(networks["classifier"](images), labels), {}


class WithoutBatchNorm(Tiny):
    """A sample's gradient does not depend on the batch that it is in."""

    def networks(self) -> Mapping[str, Callable[[], nn.Module]]:
        return {"classifier": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 2))}


class Attacked(WithoutBatchNorm):
    """Trains on images that a gradient step on the loss made worse, from a random start."""

    def sample(self, name: str, count: int, generator: torch.Generator) -> Tensor:
        return torch.rand((count, 1, 8, 8), generator=generator, device=generator.device) * 0.1

    def phases(self) -> list[Phase]:
        draws = ("first", "start")
        return [Phase("label", {"classifier": self.optimizer}, label_loss, draws, transform=make_worse)]


def make_worse(networks: Any, inputs: Inputs, config: Any) -> Inputs:
    images, labels = inputs["first"]
    images = (images + inputs["start"]).requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(networks["classifier"](images), labels), images)
    return inputs.replace(first=inputs["first"]._replace(images=(images + 0.1 * gradient.sign()).detach()))


class Conditional(PhasedTask):
    """A conditional GAN of two linear layers: latents and labels are drawn by name."""

    Config = TinyConfig

    def networks(self) -> Mapping[str, Callable[[], nn.Module]]:
        return {"generator": lambda: nn.Linear(6 + 2, 64), "discriminator": lambda: nn.Linear(64 + 2, 1)}

    def streams(self) -> Mapping[str, Stream]:
        return {"first": Stream(noise_images("first", 48))}

    def sample(self, name: str, count: int, generator: torch.Generator) -> Tensor:
        if name == "label":
            return torch.randint(2, (count,), generator=generator, device=generator.device)
        return torch.randn((count, 6), generator=generator, device=generator.device)

    def phases(self) -> list[Phase]:
        lr = self.config.lr
        return [
            Phase("discriminator", {"discriminator": Adam(lr)}, conditional_d, ("first", "latent", "label"), repeats=2),
            Phase("generator", {"generator": SGD(lr, momentum=0.9)}, conditional_g, ("latent", "label")),
        ]

    def evaluate(self, networks: Any, split: str, epoch: int) -> Report:
        return Report({"accuracy": 0.0})


def conditional_fake(networks: Any, inputs: Inputs) -> tuple[Tensor, Tensor]:
    label = torch.eye(2)[inputs["label"]]
    return networks["generator"](torch.cat((inputs["latent"], label), 1)), label


def conditional_d(networks: Any, inputs: Inputs, config: Any) -> tuple[Tensor, dict[str, Tensor]]:
    fake, label = conditional_fake(networks, inputs)
    real = inputs["first"].images.flatten(1)
    of_real = torch.eye(2)[inputs["first"].labels]
    on_real = networks["discriminator"](torch.cat((real, of_real), 1))
    on_fake = networks["discriminator"](torch.cat((fake, label), 1))
    return softplus(-on_real).mean() + softplus(on_fake).mean(), {"score/real": on_real.mean()}


def conditional_g(networks: Any, inputs: Inputs, config: Any) -> tuple[Tensor, dict[str, Tensor]]:
    fake, label = conditional_fake(networks, inputs)
    return softplus(-networks["discriminator"](torch.cat((fake, label), 1))).mean(), {}


class TwoDomains(WithoutBatchNorm):
    """Two streams and two networks in one phase, weighed by training progress."""

    def networks(self) -> Mapping[str, Callable[[], nn.Module]]:
        return {**super().networks(), "domain": lambda: nn.Linear(64, 1)}

    def streams(self) -> Mapping[str, Stream]:
        return {
            "first": Stream(noise_images("first", 48)),
            "second": Stream(noise_images("second", 40, seed=2), augment="flip"),
        }

    def phases(self) -> list[Phase]:
        adam = Adam(self.config.lr)
        return [Phase("all", {"classifier": adam, "domain": adam}, both_losses, ("first", "second"))]


def both_losses(networks: Any, inputs: Inputs, config: Any) -> tuple[Tensor, dict[str, Tensor]]:
    on_label, _ = label_loss(networks, inputs, config)
    one, other = (networks["domain"](inputs[name].images.flatten(1)) for name in ("first", "second"))
    domain = softplus(-one).mean() + softplus(other).mean()
    return on_label + (0.5 + inputs.progress) * domain, {"loss/domain": domain.detach()}


class PseudoLabels(Tiny):
    """After each epoch it trains on those images of which it is sure, with the wrong label: a forgotten label shows."""

    def next_streams(self, epoch: int, networks: Any) -> Mapping[str, Stream]:
        images = self.initial_streams["first"].image_set

        def sure(items: Tensor) -> Tensor:
            return networks["classifier"](images.select(items, self.context.device)).softmax(1)

        confidence = self.context.map_shards(len(images), sure).max(1).values
        kept = confidence.argsort(descending=True)[:20].cpu()
        assert images.labels is not None
        return {"first": Stream(images.subset(kept, 1 - images.labels[kept]), augment="flip")}


class Semi(PseudoLabels):
    """Begins with a subset of a set, and replaces it by another subset of that subset."""

    def streams(self) -> Mapping[str, Stream]:
        return {"first": Stream(noise_images("first", 96).subset(torch.arange(95, 31, -1)))}


@dataclass(frozen=True, kw_only=True)
class MeanConfig(Config):
    """Features by a layer of a network that was prepared before."""

    epochs: int = 1
    layer: int = 0

    def prepare(self) -> Mapping[str, Any]:
        return {"network": FromTask(TinyConfig(epochs=1, epoch_steps=2), Tiny)}


class Means(CustomTask):
    """Prepares tensors that are no networks."""

    Config = MeanConfig

    def start(self) -> Replica:
        return MeansReplica(self.config, self.context)


class MeansReplica(Replica):
    def __init__(self, config: MeanConfig, context: Context) -> None:
        self.config, self.network = config, context.prepared["network"].networks["classifier"]
        self.means = torch.empty(0)

    def advance(self, epoch: int) -> Report:
        images = noise_images("x", 16)
        with torch.no_grad():
            self.means = self.network[: self.config.layer + 1](images.select(torch.arange(16))).mean((0, 2, 3))
        return Report({"features": float(len(self.means))})

    def save(self) -> State:
        return State({"means": self.means}, {"layer": self.config.layer})

    def load(self, state: State) -> None:
        self.means = state.tensors["means"]
