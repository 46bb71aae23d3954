"""A task's networks as the loop uses them: made by name, seen by losses, switched between modes, averaged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from genlab.errors import GenlabError
from genlab.randomness import derive
from genlab.tasks import Context, Phase, PhasedTask


def make(task: PhasedTask) -> dict[str, nn.Module]:
    """The networks that are trained, each with the first weights that follow from the seed and its own name."""
    made = {}
    for name, build in task.networks().items():
        torch.manual_seed(derive(task.config.seed, f"init/{name}"))
        if isinstance(build, nn.Module):
            raise GenlabError(f"networks(): {name} is a network: write a function that makes it, as in lambda: Net()")
        made[name] = to_device(build(), task.context.device)
    return made


def to_device(network: nn.Module, device: str) -> nn.Module:
    """On the device, its convolutions in channels last: on a CPU they run a fifth faster (a GPU was not measured)."""
    if any(tensor.ndim == 5 for tensor in (*network.parameters(), *network.buffers())):  # torch would refuse these
        return network.to(device)
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def check(
    task: PhasedTask, phases: list[Phase], trained: Mapping[str, nn.Module], given: Mapping[str, nn.Module]
) -> None:
    """Refuse phases, networks and streams that do not fit together.

    Raises:
        GenlabError: naming the phase or the network, and what to do.
    """
    streams, names = task.initial_streams, [phase.name for phase in phases]
    if twice := {name for name in names if names.count(name) > 1}:
        raise GenlabError(f"two phases are named {', '.join(sorted(twice))}")
    for name in [*trained, *given, *streams, *names]:
        if "/" in name:
            raise GenlabError(f"{name!r} cannot name a network, stream or phase: a state divides its paths by /")
    if both := given.keys() & trained.keys():
        raise GenlabError(f"networks() and given() both name {', '.join(sorted(both))}")
    updated = {name for phase in phases for name in phase.updates}
    if unknown := updated - trained.keys():
        raise GenlabError(f"a phase updates {', '.join(sorted(unknown))}, which networks() does not name")
    if untrained := trained.keys() - updated:
        raise GenlabError(
            f"no phase updates the network {', '.join(sorted(untrained))}: name it in a phase's updates, or return it "
            "from given() if it is not to be trained"
        )
    for number, phase in enumerate(phases):
        if isinstance(phase.draws, str):
            raise GenlabError(f"the phase {phase.name} draws a text, {phase.draws!r}: write a tuple, as in ('real',)")
        if phase.repeats < 1:
            raise GenlabError(f"the phase {phase.name} has {phase.repeats} repeats: it must have one at least")
        samples = phase.draws and type(task).sample is not PhasedTask.sample
        if unknown := [name for name in phase.draws if name not in streams and not samples]:
            raise GenlabError(
                f"the phase {phase.name} draws {', '.join(unknown)}: neither streams() nor sample() makes that"
            )
        if phase.reuse is not None:
            earlier = [other for other in phases[:number] if other.name == phase.reuse.phase]
            if not earlier or phase.draws or phase.repeats > 1:
                raise GenlabError(
                    f"the phase {phase.name} reuses inputs of {phase.reuse.phase!r}: that must be an earlier phase, "
                    "and the reusing one draws nothing and has one repetition"
                )
            if any(phase.reuse.phase == other.reuse.phase for other in phases[:number] if other.reuse):
                raise GenlabError(f"two phases reuse the inputs of {phase.reuse.phase}: one may")
    owners: dict[int, str] = {}
    for name, network in trained.items():
        if not any(parameter.requires_grad for parameter in network.parameters()):
            raise GenlabError(f"the network {name} has no parameter to train: return it from given()")
    for name, network in {**trained, **given}.items():
        for parameter in network.parameters():
            if owners.setdefault(id(parameter), name) != name:
                raise GenlabError(
                    f"the networks {owners[id(parameter)]} and {name} have a parameter in common: make them one"
                )


def distribute(network: nn.Module, context: Context) -> nn.Module:
    """The network with its gradients averaged over the ranks."""
    # buffers are not broadcast at every forward (that breaks two forwards before a backward): see average_buffers
    if context.world_size == 1:
        return network
    return DistributedDataParallel(network, broadcast_buffers=False, gradient_as_bucket_view=True)


class View:
    """A network as a loss sees it: a function, and the same one on one worker as on several."""

    def __init__(self, name: str, network: nn.Module) -> None:
        self._name, self._network = name, network

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        return self._network(*inputs, **named)

    def __getattr__(self, attribute: str) -> Any:
        raise AttributeError(
            f"a loss calls the network as a function, {self._name}(...), and nothing else of it: under DDP gradients "
            f"are averaged in its forward alone. What {self._name}.{attribute} does, let forward do or return"
        )


class Withheld:
    """In place of a network that a `Reuse` may not call."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        raise GenlabError(
            f"compute() of a Reuse may not call {self._name}, which is updated before its gradients are computed: call "
            "it in each of the losses"
        )


def frozen_modules(module: nn.Module) -> list[nn.Module]:
    """The largest modules inside, such as a BatchNorm or a whole body, that have parameters and train none of them."""
    parameters = list(module.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        return [module]
    return [frozen for child in module.children() for frozen in frozen_modules(child)]


@torch.no_grad()
def average_buffers(networks: Iterable[nn.Module], context: Context) -> None:
    """Running statistics become the ranks' mean; counters, which are integers, are the same on all of them anyway."""
    buffers = [b for network in networks for b in network.buffers() if b.is_floating_point()]
    if context.world_size == 1 or not buffers:
        return
    mean = context.all_reduce_mean(torch.cat([buffer.flatten() for buffer in buffers]))
    for buffer, values in zip(buffers, mean.split([buffer.numel() for buffer in buffers]), strict=True):
        buffer.copy_(values.view_as(buffer))


def all_finite(parameters: Iterable[Tensor]) -> Tensor:
    """Whether every number in them is finite, a 0-d bool tensor on the device."""
    return torch.stack([torch.isfinite(parameter.detach().sum()) for parameter in parameters]).all()
