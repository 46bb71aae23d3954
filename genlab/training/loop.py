"""The one loop that drives every phased task, in one process or under DDP. Nothing in it waits for the device."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from genlab.data import Batch, Stream
from genlab.randomness import derive, generator
from genlab.tasks import Draw, Phase, PhasedTask, Report, State, Task


class Loop(Task):
    """One replica of a phased task: its networks, optimizers and streams, trained epoch by epoch."""

    def __init__(self, task: PhasedTask) -> None:
        super().__init__(task.config, task.place)
        self.task = task
        config, place = task.config, task.place
        torch.manual_seed(derive(config.seed, "init"))
        # channels last: on a CPU convolutions run a fifth faster (not measured on a GPU, whose tensor cores want it)
        self.networks = {
            name: network.to(place.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            for name, network in task.networks().items()
        }
        self.phases = task.phases()
        self.streams = {
            name: Stream(
                images,
                batch_size=config.batch_size,
                seed=config.seed,
                rank=place.rank,
                world=place.world,
                device=place.device,
                augment=config.augment,
                name=name,
            )
            for name, images in task.streams().items()
        }
        first = next(iter(self.streams))
        self.batch_size = self.streams[first].global_batch
        self.draws_per_step = {name: sum(p.repeats for p in self.phases if name in p.draws) for name in self.streams}
        passing = self.streams[first].steps_per_pass // max(1, self.draws_per_step[first])
        self.steps = config.epoch_steps or max(1, passing)
        self.step = 0
        trained = {name for phase in self.phases for name in phase.updates}
        wrapped = {name: self._distribute(network) for name, network in self.networks.items() if name in trained}
        self.views = {
            phase.name: {n: wrapped[n] if n in phase.updates else bare for n, bare in self.networks.items()}
            for phase in self.phases
        }
        # what the task froze stays so
        self.parameters = {
            name: [parameter for parameter in network.parameters() if parameter.requires_grad]
            for name, network in self.networks.items()
        }
        self.optimizers = {phase.name: self._optimizer(phase) for phase in self.phases}
        self.reused_by = {phase.reuses: phase for phase in self.phases if phase.reuses}
        self.learning: frozenset[str] = frozenset(self.networks)

    def _distribute(self, network: nn.Module) -> nn.Module:
        # buffers are not broadcast at every forward (that breaks two forwards before a backward), but once an epoch
        if self.place.world == 1:
            return network
        return DistributedDataParallel(network, broadcast_buffers=False, gradient_as_bucket_view=True)

    def _optimizer(self, phase: Phase) -> torch.optim.Optimizer:
        groups = [
            {"params": self.parameters[name], "lr": adam.lr, "betas": (adam.beta1, adam.beta2)}
            for name, adam in phase.updates.items()
        ]
        return torch.optim.Adam(groups, fused=True)

    def data(self) -> dict[str, Any]:
        return self.task.data()

    def advance(self, epoch: int) -> Report:
        began = time.perf_counter()
        seed, place = self.config.seed, self.place
        # a network's own noise (dropout) is the one thing that differs by rank
        torch.manual_seed(derive(seed, "network", epoch, place.rank))
        noises = {p.name: generator(seed, f"noise/{p.name}", epoch, device=place.device) for p in self.phases}
        for network in self.networks.values():
            network.train()
        names: list[str] = []
        values: list[Tensor] = []
        first_step = self.step
        for _ in range(self.steps):
            observed = self._train_step(noises)
            names = names or list(observed)
            values += [observed[name] for name in names]
            self.step += 1
        table = place.mean(torch.stack(values).view(self.steps, len(names)))
        finite = self._finite(table)  # reads the device: from here on the epoch's training is done
        trained = time.perf_counter() - began
        steps = {name: column.numpy() for name, column in zip(names, table.float().cpu().T.contiguous(), strict=True)}
        report = Report(steps=steps, first_step=first_step, diverged=not finite)
        if not finite:
            finite_parts = {name: curve[np.isfinite(curve)] for name, curve in steps.items()}
            report.metrics = {name: float(curve[-1]) for name, curve in finite_parts.items() if len(curve)}
            return report
        self._agree_on_buffers()
        judged = self._evaluate("validation")
        first = next(iter(self.draws_per_step.values()))
        report.images = judged.images
        report.metrics = {
            **{name: float(curve.mean()) for name, curve in steps.items()},
            **judged.metrics,
            "images_per_second": self.steps * self.batch_size * first / trained,
            "epoch_seconds": time.perf_counter() - began,
        }
        return report

    def judge(self, split: str) -> dict[str, float]:
        return self._evaluate(split).metrics

    def _evaluate(self, split: str) -> Report:
        for network in self.networks.values():
            network.eval()
        with torch.no_grad():
            return self.task.evaluate(self.networks, split)

    def _train_step(self, noises: Mapping[str, torch.Generator]) -> dict[str, Tensor]:
        """One step of every phase; losses and scores, means over a phase's repetitions, stay on the device."""
        observed: dict[str, list[Tensor]] = {}
        draws: dict[str, Draw] = {}
        for phase in self.phases:
            for repeat in range(phase.repeats):
                draw = draws[phase.reuses] if phase.reuses else self._draw(phase, repeat, noises[phase.name])
                reuser = self.reused_by.get(phase.name)
                if reuser is not None and repeat == phase.repeats - 1:
                    draw = self._share(reuser, draw)
                    draws[phase.name] = draw
                    draw = draw._replace(shared={name: tensor.detach() for name, tensor in draw.shared.items()})
                self._learn(phase)
                optimizer = self.optimizers[phase.name]
                loss, scores = phase.loss(self.views[phase.name], draw, self.config)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                for name, value in {f"loss/{phase.name}": loss, **scores}.items():
                    observed.setdefault(name, []).append(value.detach())
        return {name: each[0] if len(each) == 1 else torch.stack(each).mean(0) for name, each in observed.items()}

    def _draw(self, phase: Phase, repeat: int, rng: torch.Generator) -> Draw:
        batch: dict[str, Batch] = {}
        noise = None
        for name in phase.draws:
            if name == "noise":
                share = self.batch_size // self.place.world
                whole = self.task.noise(self.batch_size, rng)
                noise = whole[self.place.rank * share : (self.place.rank + 1) * share]
            else:
                before = sum(p.repeats for p in self.phases[: self.phases.index(phase)] if name in p.draws)
                batch[name] = self.streams[name].batch(self.step * self.draws_per_step[name] + before + repeat)
        return Draw(batch, noise, {})

    def _share(self, reuser: Phase, draw: Draw) -> Draw:
        if reuser.shares is None:
            return draw
        self._learn(reuser)
        return draw._replace(shared=reuser.shares(self.views[reuser.name], draw.batch, draw.noise))

    def _learn(self, phase: Phase) -> None:
        """Gradients on for the phase's networks only."""
        wanted = frozenset(phase.updates)
        for name in wanted ^ self.learning:
            for parameter in self.parameters[name]:
                parameter.requires_grad_(name in wanted)
        self.learning = wanted

    def _finite(self, table: Tensor) -> bool:
        """Whether every loss and every weight is; alike on all ranks, since both are."""
        weights = torch.stack([p.detach().sum() for own in self.parameters.values() for p in own])
        return bool(torch.isfinite(table).all() & torch.isfinite(weights).all())

    def _agree_on_buffers(self) -> None:
        """Rank 0's running statistics are the trial's."""
        if self.place.world > 1:
            for network in self.networks.values():
                for buffer in network.buffers():
                    dist.broadcast(buffer, 0)

    def save(self) -> State:
        tensors = {
            f"networks/{name}/{key}": tensor
            for name, network in self.networks.items()
            for key, tensor in network.state_dict().items()
        }
        for phase, optimizer in self.optimizers.items():
            for i, own in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizers/{phase}/{i}/{key}": tensor for key, tensor in own.items()}
        return State(tensors, {"step": self.step})

    def load(self, state: State) -> None:
        networks, optimizers = _nest(state.tensors, "networks", 1), _nest(state.tensors, "optimizers", 2)
        for name, network in self.networks.items():
            network.load_state_dict({key: tensor for (of, key), tensor in networks.items() if of == name})
        for phase, optimizer in self.optimizers.items():
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            own: dict[int, dict[str, Tensor]] = {}
            for (of, i, key), tensor in optimizers.items():
                if of == phase:
                    like = parameters[int(i)]
                    # a fused optimizer walks memory: its state must lie as its parameters do
                    own.setdefault(int(i), {})[key] = torch.empty_like(like).copy_(tensor) if tensor.ndim else tensor
            optimizer.load_state_dict({"state": own, "param_groups": optimizer.state_dict()["param_groups"]})
        self.step = state.numbers["step"]


def _nest(tensors: Mapping[str, Tensor], root: str, depth: int) -> dict[tuple[str, ...], Tensor]:
    """The tensors below `root`, by the parts of their paths: the last part holds whatever is left."""
    return {
        tuple(path.split("/", depth + 1)[1:]): tensor for path, tensor in tensors.items() if path.startswith(f"{root}/")
    }
