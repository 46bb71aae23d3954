"""The contract between a task and whoever trains it. A task knows nothing of Ray, DDP or MLflow."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from genlab.tasks.config import Config, PhasedConfig

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor, nn

    from genlab.data import Batch, ImageSet

    Networks = Mapping[str, nn.Module]
    Loss = Callable[[Networks, "Draw", Any], tuple[Tensor, Mapping[str, Tensor]]]


@dataclass(frozen=True)
class Place:
    """Where one replica runs: which of how many ranks, on which device, with what at hand.

    Attributes:
        data_root: folder with the data sets; None for the usual places.
        prepared: the trained networks that the config's `prepare()` asked for, by its names.
    """

    rank: int = 0
    world: int = 1
    device: str = "cpu"
    data_root: str | None = None
    prepared: Mapping[str, Networks] = field(default_factory=dict)

    def gather(self, tensor: Tensor) -> Tensor:
        """The tensors [n, ...] of all ranks, equal in shape, as one [world · n, ...] in rank order, on every rank."""
        if self.world == 1:
            return tensor
        import torch
        import torch.distributed as dist

        parts = [torch.empty_like(tensor) for _ in range(self.world)]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    def load(self, name: str, split: str, image_size: int = 32) -> ImageSet:
        """A data set as `genlab.data.load` has it, from where this place has its data."""
        from genlab.data import load

        return load(name, split, image_size=image_size, data_root=self.data_root)

    def over(self, count: int, compute: Callable[[Tensor], Tensor], chunk: int = 250) -> Tensor:
        """What `compute` makes of the items 0..count-1: each rank its share, `chunk` at a time, and all of them
        [count, ...] in order on every rank. `compute` gets indices int64 [n] and returns [n, ...] on the device."""
        import torch

        from genlab.data import shard

        mine, mask = shard(count, self.rank, self.world)
        own = torch.cat([compute(part) for part in mine.split(chunk)])
        return self.gather(own)[self.gather(mask.to(own.device))]

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean of the ranks' tensors, on every rank."""
        if self.world == 1:
            return tensor
        import torch.distributed as dist

        total = tensor.clone()
        dist.all_reduce(total)
        return total / self.world


@dataclass
class Report:
    """What an epoch showed.

    Attributes:
        metrics: numbers by name.
        images: uint8 [N, H, W, C] by key.
        steps: float32 [steps] by name: the losses and scores of every step, means over a phase's repetitions.
        first_step: the first of them, counted from the start of training.
        diverged: a loss or score was not finite; nothing was evaluated.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    images: dict[str, np.ndarray] = field(default_factory=dict)
    steps: dict[str, np.ndarray] = field(default_factory=dict)
    first_step: int = 0
    diverged: bool = False


class State(NamedTuple):
    """All that one replica needs to go on: tensors by path, and the numbers beside them (JSON)."""

    tensors: dict[str, Tensor]
    numbers: dict[str, Any]


class Contract:
    """What every task has: a config, a place, and a word on its data."""

    Config: ClassVar[type[Config]] = Config

    def __init__(self, config: Any, place: Place) -> None:
        """
        Args:
            config: an instance of `Config` whose seed is the replica's own.
        """
        self.config, self.place = config, place

    def data(self) -> dict[str, Any]:
        """What the data sets are: a JSON description by name."""
        return {}


class Task(Contract, abc.ABC):
    """One replica of one trial on one rank: started by `__init__`, then advanced epoch by epoch.

    A task that trains nothing by gradient implements this; for a `PhasedTask` `training.Loop` does.
    """

    @abc.abstractmethod
    def advance(self, epoch: int) -> Report:
        """Do epoch `epoch`, counted from 1, and say what it showed. Called on every rank."""

    @abc.abstractmethod
    def save(self) -> State:
        """The state after the last epoch."""

    @abc.abstractmethod
    def load(self, state: State) -> None:
        """Be as `save` found it."""

    def judge(self, split: str) -> dict[str, float]:
        """Metrics on another split (`test`), read once for a row that was fixed beforehand."""
        return {}


class Draw(NamedTuple):
    """What a phase draws for one step.

    Attributes:
        batch: the streams' batches, by name.
        noise: what the task's `noise` drew, this rank's share of it; None if the phase draws none.
        shared: what the phases that use this draw computed from it once, by name.
    """

    batch: Mapping[str, Batch]
    noise: Tensor | None
    shared: Mapping[str, Tensor]


@dataclass(frozen=True)
class AdamSettings:
    """Adam's hyperparameters for one network."""

    lr: float
    beta1: float = 0.9
    beta2: float = 0.999


@dataclass(frozen=True)
class Phase:
    """One part of a training step: networks that are updated together from one loss.

    Attributes:
        updates: the networks, each with its optimizer settings.
        loss: pure: `loss(networks, draw, config) -> (scalar, scores by name)`, averaged over samples. It calls the
            networks that it is given, as they come.
        draws: names of the streams, and `noise`, that it draws afresh in every repetition.
        repeats: how many times a step.
        reuses: name of an earlier phase whose last draw it takes instead of drawing.
        shares: with `reuses`: `shares(networks, batch, noise) -> tensors by name`, computed once, when that draw is
            made, with the gradients of this phase's networks; the earlier phase finds them detached in
            `draw.shared`, this one with their graph. For one repetition of each.
    """

    name: str
    updates: Mapping[str, AdamSettings]
    loss: Loss
    draws: tuple[str, ...] = ()
    repeats: int = 1
    reuses: str | None = None
    shares: Callable[[Networks, Mapping[str, Batch], Tensor | None], Mapping[str, Tensor]] | None = None


class PhasedTask(Contract, abc.ABC):
    """A task that trains networks in phases: what to train, by which losses, judged how. `training.Loop` drives it."""

    Config: ClassVar[type[Config]] = PhasedConfig

    @abc.abstractmethod
    def networks(self) -> dict[str, nn.Module]:
        """The named networks, newly initialized from torch's global generator."""

    @abc.abstractmethod
    def streams(self) -> dict[str, ImageSet]:
        """The named image sets a batch draws from. An epoch is one pass over the first, or `epoch_steps` steps."""

    @abc.abstractmethod
    def phases(self) -> list[Phase]:
        """What one step does, in order."""

    @abc.abstractmethod
    def evaluate(self, networks: Networks, split: str) -> Report:
        """Metrics and images of the networks (in evaluation mode), on fixed noise and fixed data of `split`,
        sharded over the ranks."""

    def noise(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` samples of noise from `generator`, on its device. Drawn alike on every rank, which takes its part."""
        raise TypeError(f"{type(self).__name__} has a phase that draws noise, but no noise()")
