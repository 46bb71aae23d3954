"""A checkpoint: the state of all replicas of a trial in one safetensors file. Loading one executes nothing."""

from __future__ import annotations

import json
import os
import posixpath
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from genlab.data import SetDescription
from genlab.errors import CorruptFile, GenlabError
from genlab.sealed import seal
from genlab.tasks import Context, PhasedTask, State, Task, build, configs, implementation, task_name
from genlab.tasks.returned import Named
from genlab.tensorfile import read_header
from genlab.tracking.storage import Storage
from genlab.training import networks as nets
from genlab.training.loop import below

FORMAT = 3
KNOWN = (2, FORMAT)  # 2: without checksums


@dataclass(frozen=True)
class Checkpoint:
    """What a trial was, and where each of its replicas stood after `epoch`.

    Attributes:
        task: name of the task.
        script: file that defines it, for a task that a sweep script defines; else None.
        config: every field of its config.
        data: what the data sets were (`SetDescription` as JSON), by stream.
        seeds, metrics, states: of each replica; `metrics` is what its last epoch reported, its speed aside.
    """

    task: str
    script: str | None
    config: Mapping[str, Any]
    data: Mapping[str, Any]
    epoch: int
    seeds: Sequence[int]
    states: Sequence[State]
    metrics: Sequence[Mapping[str, float]] = field(default_factory=list)

    def encode(self) -> bytes:
        """The checkpoint as one file."""
        tensors: dict[str, Tensor] = {}
        written: set[int] = set()
        for i, state in enumerate(self.states):
            for name, tensor in state.tensors.items():
                copied = tensor.detach().cpu().contiguous()
                if copied.data_ptr() in written:  # tied weights: the format refuses two names for one memory
                    copied = copied.clone()
                written.add(copied.data_ptr())
                tensors[f"replica_{i}/{name}"] = copied
        header = {
            "format": FORMAT,
            "kind": "state",
            "task": self.task,
            "script": self.script,
            "config": dict(self.config),
            "data": dict(self.data),
            "epoch": self.epoch,
            "seeds": list(self.seeds),
            "metrics": [dict(metrics) for metrics in self.metrics],
            "scalars": [state.scalars for state in self.states],
            "tensors_crc32": _checksum(tensors),
        }
        return safetensors.torch.save(tensors, metadata={"genlab": seal(json.dumps(header))})

    @staticmethod
    def decode(data: bytes, name: str) -> Checkpoint:
        """The checkpoint in a file that `encode` made; `name` is what an error calls it.

        Raises:
            CorruptFile: cut short, altered, or no state of a format that is known here.
        """
        try:
            tensors = safetensors.torch.load(data)
            header = read_header(data)
            if header["kind"] != "state" or header["format"] not in KNOWN:
                known = " and ".join(map(str, KNOWN))
                raise ValueError(f"it is of kind {header['kind']!r} and format {header['format']}, not of {known}")
            if header["format"] == FORMAT and ("crc32" not in header or header["tensors_crc32"] != _checksum(tensors)):
                raise ValueError("it is not what was written: a checksum is missing, or that of other tensors")
            by_replica: list[dict[str, Tensor]] = [{} for _ in header["seeds"]]
            for path, tensor in tensors.items():
                replica, _, rest = path.partition("/")
                by_replica[int(replica.removeprefix("replica_"))][rest] = tensor
            names = ("task", "script", "config", "data", "epoch", "seeds", "metrics")
            return Checkpoint(
                states=[State(own, scalars) for own, scalars in zip(by_replica, header["scalars"], strict=True)],
                **{name: header[name] for name in names},
            )
        except (safetensors.SafetensorError, ValueError, KeyError, IndexError, TypeError) as error:
            raise CorruptFile(f"{name} is damaged, or no state (*.state.safetensors) of genlab's: {error}") from error

    @staticmethod
    def read(path: str | os.PathLike[str]) -> Checkpoint:
        """The checkpoint in a file, given by a path or a URL.

        Raises:
            GenlabError: there is no such file.
            CorruptFile: it is cut short, altered, or no state of a format that is known here.
        """
        folder, name = posixpath.split(str(path))
        try:
            return Checkpoint.decode(Storage(folder or ".").read(name), str(path))
        except FileNotFoundError:
            raise GenlabError(f"there is no checkpoint {path}") from None


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """CRC-32 of what tensors on the CPU are called, of their types, shapes and values."""
    total = 0
    for name, tensor in sorted(tensors.items()):
        total = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), total)
        total = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, total)
    return f"{total:08x}"


def load(
    checkpoint: str | os.PathLike[str] | Checkpoint,
    *,
    task: type[Task] | None = None,
    replica: int = 0,
    device: str = "cpu",
) -> dict[str, nn.Module]:
    """The networks that a trial trained, from its checkpoint alone: no data set is read.

    Args:
        checkpoint: a state file (`trials/<trial>/epoch_….state.safetensors`), by path or URL, or what was read of it.
        task: the task's class, for a task that a sweep script defines.
        replica: which one, of a trial with several seeds.

    Returns:
        By name, on `device`, in evaluation mode. Networks that the task was given are not in a checkpoint.

    Raises:
        GenlabError: no such file, task or replica, or a task that has no networks.
        CorruptFile: it is damaged.
    """
    if not isinstance(checkpoint, Checkpoint):
        checkpoint = Checkpoint.read(checkpoint)
    return restore(checkpoint, task=task, replica=replica, device=device).networks


class Restored(NamedTuple):
    """What a checkpoint gives back: the task, which knows what its data were but has none, and its networks, by name,
    in evaluation mode."""

    task: PhasedTask
    networks: dict[str, nn.Module]


def restore(
    checkpoint: Checkpoint, *, task: type[Task] | None = None, replica: int = 0, device: str = "cpu"
) -> Restored:
    """The task of a checkpoint and the networks that it trained; arguments and errors are those of `load`."""
    if task is None:
        if checkpoint.task not in configs():
            where = f", which {checkpoint.script} defines" if checkpoint.script else ""
            raise GenlabError(
                f"the checkpoint is of the task {checkpoint.task}{where}: import that task's class and pass it, as in "
                "genlab.load(..., task=TheTask)"
            )
        task = implementation(configs()[checkpoint.task])
    if checkpoint.task != task_name(task.Config):
        raise GenlabError(f"the checkpoint is of the task {checkpoint.task}, not of {task_name(task.Config)}")
    if not issubclass(task, PhasedTask):
        raise GenlabError(f"{task.__name__} trains no networks: read its tensors by Checkpoint.read(path).states")
    if not 0 <= replica < len(checkpoint.states):
        raise GenlabError(f"the checkpoint has {len(checkpoint.states)} replicas: there is no number {replica}")
    config = build(task.Config, {**checkpoint.config, "seed": checkpoint.seeds[replica]})
    made = task(config, Context(device=device))
    made.data = Named("no stream", {name: SetDescription.from_json(seen) for name, seen in checkpoint.data.items()})
    networks = nets.make(made)
    for name, network in networks.items():
        network.load_state_dict(below(checkpoint.states[replica].tensors, f"networks/{name}/"))
        network.eval()
    return Restored(made, Named("no network", networks))
