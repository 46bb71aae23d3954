"""What a task is: what to train, on what, by which losses, judged how. It knows nothing of Ray, DDP or MLflow."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from genlab.tasks.config import Config, PhasedConfig
from genlab.tasks.context import Context
from genlab.tasks.optimizers import Optimizer

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor, nn

    from genlab.data import ImageSet, SetDescription

    Networks = Mapping[str, Any]
    """By name. In a loss each is a function of its inputs, `networks["generator"](z)`; elsewhere an `nn.Module`."""
    Loss = Callable[[Networks, "Inputs", Any], tuple[Tensor, Mapping[str, Tensor]]]
    Transform = Callable[[Networks, "Inputs", Any], "Inputs"]


@dataclass
class Report:
    """What an epoch, or an evaluation, showed.

    Attributes:
        metrics: numbers by name.
        images: by key, uint8 with C of 1, 3 or 4 channels: many images [N, H, W, C], images in rows and columns
            [rows, columns, H, W, C], or a single picture of any size [H, W, C].
        steps: float32 [steps] by name: the losses and scores of every step.
        first_step: the first of these steps, counted from the start of training.
        diverged: a loss, a score or a weight was not finite; nothing was evaluated.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    images: dict[str, np.ndarray] = field(default_factory=dict)
    steps: dict[str, np.ndarray] = field(default_factory=dict)
    first_step: int = 0
    diverged: bool = False


class State(NamedTuple):
    """All that one replica needs to go on: tensors by path, and scalars (JSON) by name."""

    tensors: dict[str, Tensor]
    scalars: dict[str, Any]


class Task:
    """What one trial does. Either a `PhasedTask`, or a `CustomTask` where nothing is trained by gradient."""

    Config: ClassVar[type[Config]] = Config

    def __init__(self, config: Any, context: Context) -> None:
        """
        Args:
            config: an instance of `Config` whose seed is the replica's own.
            context: where the replica runs.
        """
        self.config, self.context = config, context

    @cached_property
    def data(self) -> Mapping[str, SetDescription]:
        """What the data sets are, by name. Of a checkpoint these are read from its file, without the data."""
        return {}


class Replica(abc.ABC):
    """A running replica of a trial on one rank: advanced epoch by epoch, by one process or by all ranks together."""

    @abc.abstractmethod
    def advance(self, epoch: int) -> Report:
        """Do epoch `epoch`, counted from 1, and evaluate on validation data. Called on every rank."""

    def evaluate(self, split: str) -> Report:
        """Metrics and images on another split (`test`) after the last epoch. Called on every rank."""
        return Report()

    @abc.abstractmethod
    def save(self) -> State:
        """The state after the last epoch."""

    @abc.abstractmethod
    def load(self, state: State) -> None:
        """Restore what `save()` returned."""


class CustomTask(Task, abc.ABC):
    """A task that trains nothing by gradient, or in a way of its own."""

    @abc.abstractmethod
    def start(self) -> Replica:
        """A replica before its first epoch."""


@dataclass(frozen=True)
class Stream:
    """Images that batches are drawn from, in an order that is shuffled anew in every pass.

    Attributes:
        augment: what is done to them on the device: `none`, `flip` (half of them, horizontally) or `crop_flip` (also
            shifted by up to 4 pixels each way).
    """

    images: ImageSet
    augment: str = "none"


@dataclass(frozen=True)
class Inputs:
    """What the loss of a phase is given in one step: `inputs["real"].images`, `inputs["latent"]`.

    Attributes:
        values: by name: of a stream a `Batch` (images float [B, C, S, S] in [0, 1], labels int64 [B] or None), of
            everything else the tensor [B, ...] that `sample()` made. B is this rank's share of the batch.
        progress: the share of the training that is done, a 0-d tensor on the device: 0 in the first step, and
            rising by 1 / (all steps of all epochs) in each.
    """

    values: Mapping[str, Any]
    progress: Tensor

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def replace(self, **values: Any) -> Inputs:
        """These inputs with some of the values changed or added."""
        return dataclasses.replace(self, values={**self.values, **values})


@dataclass(frozen=True)
class Share:
    """One computation for two phases, such as G(z), which both the discriminator's and the generator's loss need.

    `compute` is called once a step with the last inputs of the earlier phase `phase` and with gradients for the
    networks of the phase that has this `Share`. Both phases find its tensors in their inputs, the earlier one
    without their graph. The later phase gets the earlier one's inputs and draws none of its own.

    Attributes:
        phase: name of the earlier phase.
        compute: `compute(networks, inputs) -> tensors by name`.
    """

    phase: str
    compute: Callable[[Networks, Inputs], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Phase:
    """One part of a training step: networks that are updated together from one loss.

    Attributes:
        updates: the networks, each with its optimizer.
        loss: pure: `loss(networks, inputs, config) -> (scalar, scores by name)`, both averaged over samples. It calls
            the networks it is given as functions, which is their `forward`; their methods and attributes are out of
            reach. The loss is reported as `loss/<phase's name>`, the scores by their own names.
        draws: names of streams and of what `sample()` makes, drawn afresh in every repetition.
        repeats: how many times a step; losses and scores are reported as means over them.
        transform: changes the inputs before the loss: `transform(networks, inputs, config) -> inputs`. It is called
            with gradients switched on, but not for parameters, and gets the networks as modules in evaluation mode
            (running statistics are then this rank's own until the epoch ends).
        share: instead of `draws`: the inputs of an earlier phase, and what is computed from them for both.
    """

    name: str
    updates: Mapping[str, Optimizer]
    loss: Loss
    draws: tuple[str, ...] = ()
    repeats: int = 1
    transform: Transform | None = None
    share: Share | None = None


class PhasedTask(Task, abc.ABC):
    """A task that trains networks in phases. `training.Loop` is its replica, on one process or under DDP.

    Ranks share a batch: each draws the same whole batch, and the same whole sample, and takes its slice. A network's
    own randomness, such as dropout, is the one thing that differs from rank to rank.
    """

    Config: ClassVar[type[Config]] = PhasedConfig

    @cached_property
    def first_streams(self) -> Mapping[str, Stream]:
        """What `streams()` returned, asked once."""
        return self.streams()

    @cached_property
    def data(self) -> Mapping[str, SetDescription]:
        """What the streams' images are, by name: shape [N, C, S, S], classes, channels, image_size, digest."""
        return {name: stream.images.describe() for name, stream in self.first_streams.items()}

    @abc.abstractmethod
    def networks(self) -> Mapping[str, Callable[[], nn.Module]]:
        """The networks that are trained: by name, a function that makes it from `self.config` and `self.data` alone.

        Each is made with torch's global generator seeded by the config's seed and the network's name: the first
        weights of one do not depend on the others.
        """

    def given(self) -> Mapping[str, nn.Module]:
        """Networks that no phase trains: in evaluation mode, without gradients to their parameters, not in the state.

        They come from `self.context.prepared`, or are built here.
        """
        return {}

    @abc.abstractmethod
    def streams(self) -> Mapping[str, Stream]:
        """What batches are drawn from. An epoch is one pass over the first, or `config.epoch_steps` steps."""

    @abc.abstractmethod
    def phases(self) -> list[Phase]:
        """What one step does, in order."""

    def sample(self, name: str, count: int, generator: torch.Generator) -> Tensor:
        """`count` samples [count, ...] of what the phases draw as `name`, from `generator`, on its device."""
        raise TypeError(f"{type(self).__name__} draws {name!r}, but its sample() makes none")

    def next_streams(self, epoch: int, networks: Networks) -> Mapping[str, Stream]:
        """Streams that take the place of those of the same name after epoch `epoch`; none by default.

        Their images are subsets (`ImageSet.subset`) of what `streams()` returned, which is how the state keeps them.
        Called on every rank with the networks in evaluation mode, without gradients; all ranks return the same. The
        number of steps an epoch stays.
        """
        return {}

    @abc.abstractmethod
    def evaluate(self, networks: Networks, split: str, epoch: int) -> Report:
        """Metrics and images after epoch `epoch`, on fixed samples and on fixed data of `split`.

        Args:
            networks: those of `networks()` and `given()`, as modules in evaluation mode; gradients are off.
            split: `validation` after every epoch; `test` once at the end, for settings that were fixed before.
            epoch: counted from 1; the last one is `self.config.epochs`.

        Every rank calls it and returns the same: `self.context.map_shards` shares the work out.
        """
