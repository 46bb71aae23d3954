"""The one loop that drives every phased task, in one process or under DDP. Nothing in a step waits for the device."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import parametrize

from genlab.data import Batches, ImageSet
from genlab.errors import GenlabError
from genlab.randomness import derive, generator
from genlab.tasks import Inputs, Phase, PhasedTask, Replica, Report, State, Stream
from genlab.tasks.base import check_streams
from genlab.tasks.returned import Named
from genlab.training import contract
from genlab.training import networks as nets
from genlab.training.optimizers import Updater

SPEED = ("images_per_second", "epoch_seconds")  # metrics that differ from run to run, unlike everything else


class Loop(Replica):
    """One replica of a phased task: its networks, optimizers and streams, trained epoch by epoch.

    Attributes:
        networks: those that are trained, as modules, by name.
        given: those that are not; modules: both, as a task's methods and transforms see them.
        steps_done, epoch: how many steps, and how many epochs, were trained.
        steps_per_epoch: the same in every epoch.
        streams, batches: what batches are drawn from now, by name.
        draws_per_step: how many batches of a stream a step takes; drawn_before: how many of them earlier phases take,
            by phase and stream.
        views: the networks as each phase's loss sees them; updaters: what updates them.
        later_phase: the phase that reuses the inputs of another, by that other's name.
        with_gradients: the networks whose parameters have gradients switched on now.
        unchecked: whether what the task's functions return is still to be checked, as in the first step.
        count: yields an epoch's steps, given how many there are; a progress bar counts along.
    """

    def __init__(self, task: PhasedTask) -> None:
        """
        Raises:
            GenlabError: networks, phases and streams do not fit together, or a batch is too small for the ranks.
        """
        self.task, self.config, self.context = task, task.config, task.context
        self.phases = nets.phases(task)
        self.networks = nets.make(task)
        self.given = nets.given(task)
        nets.check(task, self.phases, self.networks, self.given)
        for name, network in self.given.items():
            self.given[name] = nets.to_device(network, self.context.device).eval().requires_grad_(False)
        self.modules = Named("no network", {**self.networks, **self.given})
        self.streams: dict[str, Stream] = dict(task.initial_streams)
        self.batches = {name: self._batches(name, stream) for name, stream in self.streams.items()}
        first = next(iter(self.batches))
        self.draws_per_step = dict.fromkeys(self.batches, 0)
        self.drawn_before: dict[tuple[str, str], int] = {}  # in a step, by earlier phases
        for phase in self.phases:
            for name in self.batches.keys() & set(phase.draws):
                self.drawn_before[phase.name, name] = self.draws_per_step[name]
                self.draws_per_step[name] += phase.repeats
        steps_per_pass = self.batches[first].steps_per_pass // max(1, self.draws_per_step[first])
        self.steps_per_epoch = self.config.epoch_steps or max(1, steps_per_pass)
        self.steps_done = self.epoch = 0
        self.count: Callable[[int], Iterable[int]] = range
        # gradients that the task switched off stay off
        self.parameters = {
            name: [parameter for parameter in network.parameters() if parameter.requires_grad]
            for name, network in self.networks.items()
        }
        self.frozen = [module for network in self.networks.values() for module in nets.frozen_modules(network)]
        distributed = {name: nets.distribute(network, self.context) for name, network in self.networks.items()}
        self.views = {phase.name: self._views(phase, distributed) for phase in self.phases}
        self.updaters = {
            phase.name: {name: Updater(how, self.parameters[name]) for name, how in phase.updates.items()}
            for phase in self.phases
        }
        self.later_phase = {phase.reuse.phase: phase for phase in self.phases if phase.reuse}
        self.with_gradients = frozenset(self.networks)
        self.unchecked = True

    @property
    def batch_size(self) -> int:
        """Images in a batch of the stream that is listed first, over all ranks, and samples in a batch."""
        return self.batches[next(iter(self.batches))].global_batch

    def _batches(self, name: str, stream: Stream) -> Batches:
        context = self.context
        batches = Batches(
            stream.image_set,
            batch_size=self.context.few(self.config.batch_size),
            seed=self.config.seed,
            rank=context.rank,
            world_size=context.world_size,
            device=context.device,
            augment=stream.augment,
            name=name,
        )
        if batches.global_batch < 2 * context.world_size:
            raise GenlabError(
                f"a batch of {name} has {batches.global_batch} images for {context.world_size} workers: each needs two "
                "at least, as BatchNorm would. Raise batch_size, or use fewer workers"
            )
        return batches

    def _views(self, phase: Phase, distributed: Mapping[str, torch.nn.Module]) -> dict[str, nets.View]:
        """The networks as this phase's loss sees them: gradients are averaged for those that it updates."""
        seen = {**self.networks, **{name: distributed[name] for name in phase.updates}, **self.given}
        return Named("no network", {name: nets.View(name, network) for name, network in seen.items()})

    def advance(self, epoch: int) -> Report:
        began = time.perf_counter()
        with _deterministic():
            report = self._train(epoch)
            if report.diverged:
                return report
            trained = time.perf_counter() - began
            nets.average_buffers(self.networks.values(), self.context)
            evaluated = self.evaluate("validation")
            if epoch < self.config.epochs:
                self._replace_streams(epoch)
        first = next(iter(self.batches))
        images_per_step = self.batch_size * max(1, self.draws_per_step[first])
        report.images = evaluated.images
        if twice := evaluated.metrics.keys() & {*report.metrics, *SPEED}:
            raise GenlabError(f"evaluate() reports {', '.join(sorted(twice))}, which the training reports already")
        report.metrics |= {
            **evaluated.metrics,
            "images_per_second": self.steps_per_epoch * images_per_step / trained,
            "epoch_seconds": time.perf_counter() - began,
        }
        return report

    def evaluate(self, split: str) -> Report:
        with self._evaluating():
            report = self.task.evaluate(self.modules, split, self.epoch)
            return contract.report(report, self.task, "evaluate")

    def _train(self, epoch: int) -> Report:
        """One epoch of steps. Metrics are their means or, if a loss was not finite, each curve's last finite value."""
        seed, context = self.config.seed, self.context
        # a network's own randomness (dropout) is the one thing that differs by rank
        torch.manual_seed(derive(seed, "network", epoch, context.rank))
        samplers = {
            (phase.name, name): generator(seed, f"sample/{phase.name}/{name}", epoch, device=context.device)
            for phase in self.phases
            for name in phase.draws
            if name not in self.batches
        }
        total = self.steps_per_epoch * self.config.epochs
        progress_floats = [((epoch - 1) * self.steps_per_epoch + i) / total for i in range(self.steps_per_epoch)]
        progress = torch.tensor(progress_floats, device=context.device)
        self._training_mode()
        first_step = self.steps_done
        names: list[str] = []
        table = torch.empty(0)
        for i in self.count(self.steps_per_epoch):
            reported = self._train_step(samplers, progress[i], progress_floats[i])
            if not names:
                names = list(reported)
                table = torch.empty(self.steps_per_epoch, len(names), device=context.device)
            if list(reported) != names:
                raise GenlabError(f"the losses report {list(reported)} in one step and {names} in another")
            torch.stack([reported[name] for name in names], out=table[i])
            self.steps_done += 1
        self.epoch = epoch
        table = context.all_reduce_mean(table)
        weights = [parameter for own in self.parameters.values() for parameter in own]
        # the first read of the device in this epoch: it waits until all steps are done
        finite = bool(torch.isfinite(table).all() & nets.all_finite(weights))
        curves = {name: column.numpy() for name, column in zip(names, table.cpu().T.contiguous(), strict=True)}
        if finite:
            metrics = {name: float(curve.mean()) for name, curve in curves.items()}
        else:
            finite_parts = {name: curve[np.isfinite(curve)] for name, curve in curves.items()}
            metrics = {name: float(some[-1]) for name, some in finite_parts.items() if len(some)}
        return Report(metrics, steps=curves, first_step=first_step, diverged=not finite)

    def _train_step(
        self, samplers: Mapping[tuple[str, str], torch.Generator], progress: Tensor, progress_float: float
    ) -> dict[str, Tensor]:
        """One step of every phase. Losses and scores, means over a phase's repetitions, stay on the device."""
        reported: dict[str, Tensor] = {}
        for_later: dict[str, Inputs] = {}  # by the name of the phase that drew them
        for phase in self.phases:
            repetitions: list[dict[str, Tensor]] = []
            for repeat in range(phase.repeats):
                if phase.reuse is not None:
                    inputs = for_later[phase.reuse.phase]
                else:
                    inputs = self._draw(phase, repeat, samplers, progress)
                if phase.name in self.later_phase and repeat == phase.repeats - 1:
                    computed = self._compute_for_both(self.later_phase[phase.name], inputs)
                    for_later[phase.name] = inputs.replace(**computed)
                    inputs = inputs.replace(**{name: tensor.detach() for name, tensor in computed.items()})
                repetitions.append(self._update(phase, inputs, progress_float))
            for name in repetitions[0]:
                if name in reported:
                    raise GenlabError(f"the phase {phase.name} reports {name}, which an earlier one reports already")
                values = [each[name] for each in repetitions]
                reported[name] = values[0] if len(values) == 1 else torch.stack(values).mean(0)
        self.unchecked = False
        return reported

    def _update(self, phase: Phase, inputs: Inputs, progress: float) -> dict[str, Tensor]:
        """One update of the phase's networks; its loss and scores."""
        if phase.transform is not None:
            with self._evaluating(gradients=True):
                inputs = phase.transform(self.modules, inputs, self.config)
            if self.unchecked:
                contract.check_transformed(phase, inputs)
            self._training_mode()
        self._enable_gradients(frozenset(phase.updates))
        with parametrize.cached():  # spectral normalization: one power iteration per loss, not per forward
            returned = phase.loss(self.views[phase.name], inputs, self.config)
        if self.unchecked:
            contract.check_loss(phase, returned)
        loss, scores = returned
        updaters = self.updaters[phase.name].values()
        for updater in updaters:
            updater.zero_grad()
        loss.backward()
        if self.unchecked:
            contract.check_gradients(phase, self.networks, self.parameters)
        for updater in updaters:
            updater.step(progress)
        if f"loss/{phase.name}" in scores:
            raise GenlabError(f"the phase {phase.name} reports a score of its loss's own name, loss/{phase.name}")
        return {name: value.detach() for name, value in {f"loss/{phase.name}": loss, **scores}.items()}

    def _draw(
        self, phase: Phase, repeat: int, samplers: Mapping[tuple[str, str], torch.Generator], progress: Tensor
    ) -> Inputs:
        """This rank's slice of what a repetition of the phase draws."""
        values: dict[str, Any] = {}
        length, rank = self.batch_size // self.context.world_size, self.context.rank
        for name in phase.draws:
            if name in self.batches:
                before = self.steps_done * self.draws_per_step[name] + self.drawn_before[phase.name, name]
                values[name] = self.batches[name].batch(before + repeat)
            else:
                whole = self.task.sample(name, self.batch_size, samplers[phase.name, name])
                if self.unchecked:
                    contract.check_sample(self.task, name, self.batch_size, whole)
                values[name] = whole[rank * length : (rank + 1) * length]
        return Inputs(values, progress)

    def _compute_for_both(self, later: Phase, inputs: Inputs) -> Mapping[str, Tensor]:
        """What the `later` phase computes from an earlier one's inputs, with gradients for its own networks.

        Networks that are updated before the later phase's backward are withheld: it would use their new weights with
        what the old ones computed.
        """
        assert later.reuse is not None
        names = [phase.name for phase in self.phases]
        between = self.phases[names.index(later.reuse.phase) : names.index(later.name)]
        updated = {name for phase in between for name in phase.updates}
        views = {n: nets.Withheld(n, None) if n in updated else view for n, view in self.views[later.name].items()}
        self._enable_gradients(frozenset(later.updates))
        with parametrize.cached():
            computed = later.reuse.compute(Named("no network", views), inputs)
        if self.unchecked:
            contract.check_computed(later, computed)
        return computed

    def _enable_gradients(self, wanted: frozenset[str]) -> None:
        """Gradients on for the parameters of these networks only."""
        for name in wanted ^ self.with_gradients:  # those that change
            for parameter in self.parameters[name]:
                parameter.requires_grad_(name in wanted)
        self.with_gradients = wanted

    def _training_mode(self) -> None:
        for network in self.networks.values():
            network.train()
        for module in self.frozen:
            module.eval()

    @contextlib.contextmanager
    def _evaluating(self, gradients: bool = False) -> Iterator[None]:
        """Inside the block every network is in evaluation mode, without gradients to its parameters; with `gradients`
        other tensors may have them. Parametrized weights are computed once per block."""
        self._enable_gradients(frozenset())
        for network in self.networks.values():
            network.eval()
        with _deterministic(), torch.set_grad_enabled(gradients), parametrize.cached():
            yield

    def _replace_streams(self, epoch: int) -> None:
        """Take over what the task's `next_streams()` returns."""
        with self._evaluating():
            replaced = check_streams(self.task.next_streams(epoch, self.modules), self.task, "next_streams")
        for name, stream in replaced.items():
            if name not in self.streams:
                raise GenlabError(f"next_streams() names {name}: streams() names {', '.join(self.streams)}")
            self._origin(name, stream)  # refuses what no state could keep
            self.streams[name] = stream
            self.batches[name] = self._batches(name, stream)

    def _origin(self, name: str, stream: Stream) -> str:
        """The initial stream whose whole set this one's images come from."""
        for origin, initial in self.task.initial_streams.items():
            if _whole(initial.image_set) is _whole(stream.image_set):
                return origin
        raise GenlabError(
            f"next_streams(): the images of {name} come from no set that streams() returned: write "
            f'self.initial_streams["{name}"].image_set.subset(indices, labels)'
        )

    def save(self) -> State:
        tensors = {
            f"networks/{name}/{key}": tensor
            for name, network in self.networks.items()
            for key, tensor in network.state_dict().items()
        }
        for phase, updaters in self.updaters.items():
            for name, updater in updaters.items():
                tensors |= {f"optimizers/{phase}/{name}/{path}": tensor for path, tensor in updater.save().items()}
        replaced = {}
        for name, stream in self.streams.items():
            if stream is not self.task.initial_streams[name]:
                replaced[name] = {"origin": self._origin(name, stream), "augment": stream.augment}
                chosen = {"indices": stream.image_set.indices, "labels": stream.image_set.labels}  # of the whole set
                tensors |= {f"streams/{name}/{key}": tensor for key, tensor in chosen.items() if tensor is not None}
        return State(tensors, {"steps_done": self.steps_done, "epoch": self.epoch, "streams": replaced})

    def load(self, state: State) -> None:
        for name, network in self.networks.items():
            network.load_state_dict(below(state.tensors, f"networks/{name}/"))
        for phase, updaters in self.updaters.items():
            for name, updater in updaters.items():
                updater.load(below(state.tensors, f"optimizers/{phase}/{name}/"))
        self.streams = dict(self.task.initial_streams)
        for name, kept in state.scalars["streams"].items():
            own = below(state.tensors, f"streams/{name}/")
            image_set = _whole(self.task.initial_streams[kept["origin"]].image_set)
            if "indices" in own:
                image_set = image_set.subset(own["indices"], own.get("labels"))
            self.streams[name] = Stream(image_set, kept["augment"])
        self.batches = {name: self._batches(name, stream) for name, stream in self.streams.items()}
        self.steps_done, self.epoch = state.scalars["steps_done"], state.scalars["epoch"]


def _whole(image_set: ImageSet) -> ImageSet:
    """The set that a subset was taken from; a whole set itself."""
    return image_set if image_set.base is None else image_set.base


def below(tensors: Mapping[str, Tensor], root: str) -> dict[str, Tensor]:
    """The tensors whose paths begin with `root`, by the rest of their paths."""
    return {path.removeprefix(root): tensor for path, tensor in tensors.items() if path.startswith(root)}


@contextlib.contextmanager
def _deterministic() -> Iterator[None]:
    """cuDNN chooses algorithms that give the same numbers each time, so that an epoch trained again is the same."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before
