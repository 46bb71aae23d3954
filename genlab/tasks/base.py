"""What a task is: what to train, on what, by which losses, judged how. It knows nothing of Ray, DDP or MLflow.

A sweep has trials, one for each setting. A trial trains one replica for each of its seeds, all of them side by side. A
replica runs in one process, or in several that train it together: its ranks.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from genlab.errors import GenlabError
from genlab.tasks.config import Config, PhasedConfig
from genlab.tasks.context import Context
from genlab.tasks.optimizers import Optimizer
from genlab.tasks.returned import Named, described, mapping, method

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor, nn

    from genlab.data import ImageSet, SetDescription

    Networks = Mapping[str, Any]
    """By name. In a loss each is a function of its inputs, `networks["generator"](z)`; elsewhere an `nn.Module`."""
    Loss = Callable[[Networks, "Inputs", Any], tuple[Tensor, Mapping[str, Tensor]]]
    Transform = Callable[[Networks, "Inputs", Any], "Inputs"]


@dataclass(frozen=True)
class Pictures:
    """Images in rows and columns that have labels, as `Report.images` takes them.

    Attributes:
        images: uint8 [rows, columns, H, W, C] with C of 1, 3 or 4 channels.
        rows: what stands beside each row, such as the names of classes: a text or a number for each row, or () for
            none.
        columns: what stands above each column.
    """

    images: np.ndarray
    rows: Sequence[str | float] = ()
    columns: Sequence[str | float] = ()


@dataclass
class Report:
    """What an epoch, or an evaluation, showed. A task's `evaluate()` sets metrics and images, the loop the rest.

    Attributes:
        metrics: numbers by name; 0-d tensors and numpy's numbers are taken as floats. A name is made of ASCII letters,
            digits, `_ - . : /` and spaces.
        images: by key, uint8 with C of 1, 3 or 4 channels: many images [N, H, W, C], images in rows and columns
            [rows, columns, H, W, C], or a single picture of any size [H, W, C]; `Pictures` of rows and columns that
            have labels.
        steps: float32 [steps] by name: the losses and scores of every step.
        first_step: the first of these steps, counted from the start of training.
        diverged: a loss, a score or a weight was not finite; nothing was evaluated.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    images: dict[str, np.ndarray | Pictures] = field(default_factory=dict)
    steps: dict[str, np.ndarray] = field(default_factory=dict)
    first_step: int = 0
    diverged: bool = False


class State(NamedTuple):
    """All that one replica needs to go on: tensors by key, such as `networks/generator/0.weight`, and what else there
    is, as JSON values by name."""

    tensors: dict[str, Tensor]
    scalars: dict[str, Any]


class Task:
    """What one trial does: a `PhasedTask`, which the loop trains, or a `CustomTask`, with a replica of its own."""

    Config: ClassVar[type[Config]] = Config

    def __init__(self, config: Any, context: Context) -> None:
        """
        Args:
            config: an instance of `Config` whose seed is the replica's own.
            context: where the replica runs: its rank, device, data, and what was prepared.
        """
        self.config, self.context = config, context

    @cached_property
    def data(self) -> Mapping[str, SetDescription]:
        """What the data sets are, by name. `genlab.load` reads it from a checkpoint, where there are no data."""
        return {}


class Replica(abc.ABC):
    """The training of a trial on one seed, as one rank sees it. Every rank calls the same methods in the same order."""

    @abc.abstractmethod
    def advance(self, epoch: int) -> Report:
        """Do epoch `epoch`, counted from 1, and evaluate on validation data."""

    def evaluate(self, split: str) -> Report:
        """Metrics and images on another split, `test`, after the latest epoch."""
        return Report()

    @abc.abstractmethod
    def save(self) -> State:
        """The state after the latest epoch. Its tensors may be those in use: copy what must outlive the next epoch."""

    @abc.abstractmethod
    def load(self, state: State) -> None:
        """Restore what `save()` returned."""


class CustomTask(Task, abc.ABC):
    """A task that brings its own replica: one that trains nothing by gradient, such as a support vector machine."""

    @abc.abstractmethod
    def start(self) -> Replica:
        """A replica before its first epoch."""


@dataclass(frozen=True)
class Stream:
    """Images that batches are drawn from, in an order of its own that is shuffled anew in every pass.

    Attributes:
        image_set: one of fewer images than `batch_size` gives batches of all of them, or of as many as the ranks can
            share equally, and a warning.
        augment: what is done to them on the device: `none`, `flip` (half of them, horizontally) or `crop_flip` (also
            shifted by up to 4 pixels each way).
    """

    image_set: ImageSet
    augment: str = "none"


@dataclass(frozen=True)
class Inputs:
    """What the loss of a phase is given in one step: `inputs["real"].images`, `inputs["latent"]`.

    Attributes:
        values: by name: of a stream a `Batch` (images float [B, C, S, S] in [0, 1], labels int64 [B] or None), of
            everything else the tensor [B, ...] that `sample()` made. B is this rank's slice of a batch, B of samples
            that of the stream listed first; of a stream with fewer images than a batch B is smaller.
        progress: how much of the training is done, a 0-d tensor on the device: 0 in the first step, then rising in
            every step by 1 / (steps of all epochs).
    """

    values: Mapping[str, Any]
    progress: Tensor

    def __getitem__(self, name: str) -> Any:
        if name not in self.values:
            raise GenlabError(f"the inputs have no {name!r}: the phase draws {', '.join(self.values) or 'nothing'}")
        return self.values[name]

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def replace(self, **values: Any) -> Inputs:
        """These inputs with some of the values changed or added."""
        return dataclasses.replace(self, values={**self.values, **values})


@dataclass(frozen=True)
class Reuse:
    """A phase that has this draws nothing: it gets the inputs that an earlier phase drew last in the same step.

    Something that both losses need, such as G(z), is computed from them once a step, by `compute`, before the earlier
    phase's last update and its transform. The later phase finds its tensors in its inputs, and its gradients flow
    through them to its own networks; the earlier phase finds them there, detached, in its last repetition alone. Either
    phase may have a transform. An earlier phase is reused by one later phase at most.

    Attributes:
        phase: name of the earlier phase.
        compute: `compute(networks, inputs) -> tensors by name`. It may not call networks that are updated before the
            later phase's gradients are computed, such as the discriminator.
    """

    phase: str
    compute: Callable[[Networks, Inputs], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Phase:
    """One part of a training step: networks that are updated together from one loss.

    Attributes:
        updates: the networks, each with the settings of its optimizer.
        loss: `loss(networks, inputs, config) -> (scalar, scores by name)`. Pure: what is random comes from `sample()`.
            Both are means over the samples of the rank's slice, so that the ranks' mean is that of the batch. It calls
            the networks it is given as functions, which is their `forward`; their methods and attributes are out of
            reach. Every parameter that the phase trains gets a gradient from it, in every step: what gets none in the
            first is refused by name. The loss is reported as `loss/<phase's name>`; scores, 0-d tensors, are other
            curves to report, by names that nothing else reports.
        draws: names of streams and of what `sample()` makes, drawn afresh for every phase and repetition.
        repeats: how many updates a step has; losses and scores are reported as means over them.
        transform: changes the inputs before the loss: `transform(networks, inputs, config) -> inputs`. It is called
            with gradients switched on, but not for parameters, and gets the networks as modules in evaluation mode.
            BatchNorm's statistics are averaged over the ranks only at the end of an epoch.
        reuse: the inputs of an earlier phase, in place of `draws`.
    """

    name: str
    updates: Mapping[str, Optimizer]
    loss: Loss
    draws: tuple[str, ...] = ()
    repeats: int = 1
    transform: Transform | None = None
    reuse: Reuse | None = None


def check_streams(returned: Any, task: Task, name: str) -> Mapping[str, Stream]:
    """What the method `name` of a task returned, if it is streams by name.

    Raises:
        GenlabError: it is something else.
    """
    from genlab.data import ImageSet

    wanted = 'streams by name, as in {"images": Stream(image_set)}'
    for stream_name, stream in mapping(returned, task, name, wanted).items():
        if not isinstance(stream, Stream):
            raise GenlabError(
                f"{method(task, name)}: {stream_name} is no Stream but {described(stream)}: write Stream(...) around it"
            )
        if not isinstance(stream.image_set, ImageSet):
            raise GenlabError(
                f"{method(task, name)}: the Stream {stream_name} holds {described(stream.image_set)}: it takes an "
                "ImageSet, such as self.context.load(...) finds or ImageSet(...) makes of a tensor"
            )
    return returned


class PhasedTask(Task, abc.ABC):
    """A task that trains networks in phases. `training.Loop` is its replica, on one process or under DDP.

    Ranks work on one batch: each draws the same whole batch, and the same whole samples, and takes its slice. Of what
    is random only a network's own part, such as dropout, differs from rank to rank.
    """

    Config: ClassVar[type[Config]] = PhasedConfig

    @cached_property
    def initial_streams(self) -> Mapping[str, Stream]:
        """What `streams()` returned, asked once.

        Raises:
            GenlabError: something else than streams, or none.
        """
        streams = check_streams(self.streams(), self, "streams")
        if not streams:
            raise GenlabError(f"{method(self, 'streams')} returned none: an epoch is a pass over the first of them")
        return Named("no stream", streams)

    @cached_property
    def data(self) -> Mapping[str, SetDescription]:
        """What the streams' images are, by name: shape [N, C, S, S], classes, channels, image_size, digest."""
        found = {name: stream.image_set.describe() for name, stream in self.initial_streams.items()}
        return Named("no stream", found)

    @abc.abstractmethod
    def networks(self) -> Mapping[str, Callable[[], nn.Module]]:
        """The networks that are trained: by name, a function that makes it from `self.config` and `self.data` alone.

        Each is made with torch's global generator seeded by the config's seed and the network's name: the initial
        weights of one do not depend on the others. Parameters and modules whose gradients are switched off here are
        not trained; a module that has parameters and trains none of them, such as a frozen BatchNorm, stays in
        evaluation mode.
        """

    def given(self) -> Mapping[str, nn.Module]:
        """Networks that no phase trains: in evaluation mode, without gradients to their parameters, not in the state.

        They come from `self.context.prepared`, as in `self.context.prepared["judge"].networks["classifier"]`, or are
        built here. One that changes during training, such as an average of another network's weights, begins anew
        when a trial is resumed.
        """
        return {}

    @abc.abstractmethod
    def streams(self) -> Mapping[str, Stream]:
        """What batches are drawn from; no phase need draw from all of them.

        An epoch is one pass over the stream that is listed first, however many phases draw from it, or
        `config.epoch_steps` steps.
        """

    @abc.abstractmethod
    def phases(self) -> list[Phase]:
        """What one step does, in order."""

    def sample(self, name: str, count: int, generator: torch.Generator) -> Tensor:
        """`count` samples [count, ...] of what the phases draw as `name`, from `generator`, on its device.

        Each phase that draws a name gets samples of its own.
        """
        raise TypeError(f"{type(self).__name__} draws {name!r}, but its sample() makes none")

    def next_streams(self, epoch: int, networks: Networks) -> Mapping[str, Stream]:
        """Streams that take the place of those of the same name after epoch `epoch`; none by default.

        Called after `evaluate()`, but not after the final epoch, on every rank, with the networks in evaluation mode,
        without gradients; all ranks return the same. The images are whole sets of `streams()`, or subsets of these
        (`ImageSet.subset`): the state keeps only indices and labels. The number of steps per epoch does not change.
        """
        return {}

    @abc.abstractmethod
    def evaluate(self, networks: Networks, split: str, epoch: int) -> Report:
        """Metrics and images after epoch `epoch`, on fixed samples and on fixed data of `split`.

        Args:
            networks: those of `networks()` and `given()`, as modules in evaluation mode; gradients are off.
            split: `validation` after every epoch; `test` once at the end, for the trials of `--confirm`.
            epoch: counted from 1; the final one is `self.config.epochs`.

        Every rank calls it and returns the same: `self.context.map_shards` shares the work out.
        """
