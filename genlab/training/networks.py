"""A task's networks as the loop uses them: made by name, seen by losses, switched between modes, averaged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from genlab.errors import GenlabError
from genlab.randomness import derive
from genlab.tasks import Context, Phase, PhasedTask, Reuse
from genlab.tasks.optimizers import Optimizer, problem
from genlab.tasks.returned import described, mapping, method, where


def make(task: PhasedTask) -> dict[str, nn.Module]:
    """The networks that are trained, each with the first weights that follow from the seed and its own name.

    Raises:
        GenlabError: `networks()` names no functions, or what one makes is no network.
    """
    return {name: to_device(network, task.context.device) for name, network in built(task).items()}


def outlines(task: PhasedTask) -> dict[str, nn.Module]:
    """The same networks on the device "meta", where a tensor has a shape and takes no memory."""
    with torch.device("meta"):
        return built(task)


def built(task: PhasedTask) -> dict[str, nn.Module]:
    """The same networks on the device where the task makes them; errors are those of `make`."""
    made = {}
    wanted = 'functions that make a network, by name, as in {"classifier": lambda: Net()}'
    for name, build in mapping(task.networks(), task, "networks", wanted).items():
        torch.manual_seed(derive(task.config.seed, f"init/{name}"))
        if isinstance(build, nn.Module) or not callable(build):
            kind = "a network" if isinstance(build, nn.Module) else described(build)
            raise GenlabError(
                f"{method(task, 'networks')}: {name} is {kind}: write a function that makes it, as in lambda: Net()"
            )
        network = build()
        if not isinstance(network, nn.Module):
            raise GenlabError(f"networks(): {where(build)} made {described(network)} as {name}: it must be a network")
        made[name] = network
    return made


def given(task: PhasedTask) -> dict[str, nn.Module]:
    """The networks that are not trained.

    Raises:
        GenlabError: `given()` returned something else.
    """
    wanted = 'networks by name, as in {"judge": self.context.prepared["judge"].networks["classifier"]}'
    found = dict(mapping(task.given(), task, "given", wanted))
    for name, network in found.items():
        if not isinstance(network, nn.Module):
            raise GenlabError(f"{method(task, 'given')}: {name} is {described(network)}: it must be a network")
    return found


def phases(task: PhasedTask) -> list[Phase]:
    """What a step does.

    Raises:
        GenlabError: `phases()` returned something else than phases, or one is made of what a phase cannot be made of.
    """
    found = task.phases()
    if not isinstance(found, (list, tuple)) or not found:
        raise GenlabError(f"{method(task, 'phases')} returned {described(found)}: it must return a list, [Phase(...)]")
    for phase in found:
        if not isinstance(phase, Phase):
            raise GenlabError(f"{method(task, 'phases')} returned {described(phase)} in its list: write Phase(...)")
        if not isinstance(phase.name, str):
            raise GenlabError(f"{method(task, 'phases')}: a phase's name is {described(phase.name)}: write a text")
        the_phase = f"the phase {phase.name}"
        if not isinstance(phase.updates, Mapping) or not phase.updates:
            raise GenlabError(
                f"{the_phase} updates {described(phase.updates)}: write the networks that it trains, each with its "
                'optimizer, as in {"classifier": Adam(1e-3)}'
            )
        for name, optimizer in phase.updates.items():
            if not isinstance(optimizer, Optimizer):
                raise GenlabError(f"{the_phase} updates {name} by {described(optimizer)}: write Adam(...) or SGD(...)")
            if (wrong := problem(optimizer)) is not None:
                kind = type(optimizer).__name__
                raise GenlabError(f"{method(task, 'phases')}: {the_phase} updates {name} by {kind}(...), {wrong}")
        for part in ("loss", "transform"):
            if not callable(value := getattr(phase, part)) and (part == "loss" or value is not None):
                raise GenlabError(f"the {part} of {the_phase} is {described(value)}: it must be a function")
        if not isinstance(phase.draws, (list, tuple)):
            raise GenlabError(f"{the_phase} draws {described(phase.draws)}: write a tuple of names, as in ('real',)")
        if phase.reuse is not None and not isinstance(phase.reuse, Reuse):
            raise GenlabError(f"{the_phase} reuses {described(phase.reuse)}: write Reuse(phase, compute)")
    return list(found)


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
            f"{method(task, 'networks')}: no phase updates the network {', '.join(sorted(untrained))}. If it is to be "
            "trained, name it in a phase's updates. If not, such as an average of another network's weights, build it "
            "in given(): the loop leaves it alone, and the state does not hold it, so that it begins anew when a trial "
            "is resumed"
        )
    for number, phase in enumerate(phases):
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


_SETTING = "use a setting of Adam or SGD, such as weight_decay, or let forward return what is computed of the weights"
_MODE = "leave it to the loop: losses see training mode, transforms and evaluate() evaluation mode"
OF_MODULES = {  # what a loss may want of any module, and what to do instead
    **dict.fromkeys(("parameters", "named_parameters", "state_dict", "weight", "bias"), _SETTING),
    **dict.fromkeys(("train", "eval", "training"), _MODE),
    **dict.fromkeys(("requires_grad_", "zero_grad"), "leave it to the loop: only what the phase updates has gradients"),
    **dict.fromkeys(("to", "cpu", "cuda", "device"), "leave it to the loop; tensors of the inputs say their device"),
    **dict.fromkeys(("module",), "write nothing: the network is the same on one worker and on several"),
}


class OnlyForward(GenlabError, AttributeError):
    """A loss asked for something of a network that is not its forward; to `hasattr` it is not there."""


class View:
    """A network as a loss sees it: a function, and the same one on one worker as on several."""

    __slots__ = ("_name", "_network")

    def __init__(self, name: str, network: Any) -> None:
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_network", network)

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        return self._network(*inputs, **named)

    def _refuse(self, asked: str, instead: str) -> OnlyForward:
        return OnlyForward(
            f"a loss calls the network {self._name} as a function, networks[{self._name!r}](...), and has nothing else "
            f"of it: under DDP gradients are averaged in its forward alone. In place of {self._name}{asked} {instead}"
        )

    def __getattr__(self, name: str) -> Any:
        if name in OF_MODULES:
            raise self._refuse(f".{name}", OF_MODULES[name])
        again = f"networks[{self._name!r}](x, part={name!r})"
        raise self._refuse(f".{name}", f"let forward return it beside the rest, or take an argument: {again}")

    def __setattr__(self, name: str, value: Any) -> None:
        raise self._refuse(f".{name} = ...", "set it where networks() makes the network, or hand it to forward")

    def __getitem__(self, index: Any) -> Any:
        raise self._refuse(f"[{index!r}]", "let forward return what that part gives, beside the rest")

    def __len__(self) -> int:
        raise self._refuse("'s length", "use what is known where networks() makes it, such as a field of the config")

    def __iter__(self) -> Any:
        raise self._refuse("'s parts", "let forward return what they give, beside the rest")

    def __bool__(self) -> bool:
        return True


class Withheld(View):
    """In place of a network that a `Reuse` may not call."""

    __slots__ = ()

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
