"""A checkpoint: the state of all replicas of a trial in one safetensors file. Loading one executes nothing."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import msgspec
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from genlab.data import SetDescription
from genlab.errors import CorruptFile, GenlabError
from genlab.tasks import Context, PhasedTask, State, Task, build, configs, implementation, task_name
from genlab.tasks.returned import Named
from genlab.tensorfile import metadata, read_header
from genlab.tracking.schema import Count, Integer, Record, Settings, checked
from genlab.tracking.storage import read_file
from genlab.training import networks as nets
from genlab.training.loop import below

FORMAT = 4
LARGEST = 1 << 40  # bytes that a file may have; it must fit into memory, too


class About(Record, frozen=True, forbid_unknown_fields=False):
    """What the header of any of genlab's files says."""

    kind: str
    format: Count


class Header(Record, frozen=True):
    """The header of a state's file; `Checkpoint` documents its fields."""

    format: Literal[4]
    kind: Literal["state"]
    task: str
    script: str | None
    config: Settings
    data: dict[str, Any]
    epoch: Count
    seeds: list[Integer]
    metrics: list[dict[str, float]]
    scalars: list[dict[str, Any]]
    tensors_crc32: str


@dataclass(frozen=True)
class Checkpoint:
    """What a trial was, and where each of its replicas stood after `epoch`: what a state file of any task holds.

    Attributes:
        task: name of the task.
        script: file that defines it, for a task that a sweep script defines; else None.
        config: every field of its config, by name; tuples are lists.
        data: what the data sets were (`SetDescription` as JSON), by stream.
        epoch: counted from 1.
        seeds: of each replica.
        states: of each replica its `tensors`, on the CPU, and its `scalars`, JSON values, both by name. Of a task that
            trains networks these are `networks/<network>/<parameter>`, `optimizers/…` and `streams/…`, and
            `steps_done`, `epoch` and `streams`; of a `CustomTask` what its replica's `save()` returned.
        metrics: of each replica what its last epoch reported, its speed aside.
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
        header = Header(
            format=FORMAT,
            kind="state",
            task=self.task,
            script=self.script,
            config=dict(self.config),
            data=dict(self.data),
            epoch=self.epoch,
            seeds=list(self.seeds),
            metrics=[dict(metrics) for metrics in self.metrics],
            scalars=[state.scalars for state in self.states],
            tensors_crc32=_checksum(tensors),
        )
        return safetensors.torch.save(tensors, metadata=metadata(msgspec.structs.asdict(header)))

    @staticmethod
    def decode(data: bytes, name: str) -> Checkpoint:
        """The checkpoint in a file that `encode` made; `name` is what an error calls it.

        Raises:
            CorruptFile: cut short, altered, or no state of a format that is known here.
        """
        try:
            tensors = safetensors.torch.load(data)
            about = checked(found := read_header(data), About)
            if (about.kind, about.format) != ("state", FORMAT):
                raise ValueError(f"it is of kind {about.kind!r} and format {about.format}, not of {FORMAT}")
            header = checked(found, Header)
            if header.tensors_crc32 != _checksum(tensors):
                raise ValueError("its checksum is that of other tensors")
            by_replica: list[dict[str, Tensor]] = [{} for _ in header.seeds]
            for path, tensor in tensors.items():
                replica, _, rest = path.partition("/")
                by_replica[int(replica.removeprefix("replica_"))][rest] = tensor
            states = [State(own, scalars) for own, scalars in zip(by_replica, header.scalars, strict=True)]
        except (safetensors.SafetensorError, ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
            raise CorruptFile(f"{name} is damaged, or no state (*.state.safetensors) of genlab's: {error}") from error
        return Checkpoint(
            task=header.task,
            script=header.script,
            config=header.config,
            data=header.data,
            epoch=header.epoch,
            seeds=header.seeds,
            states=states,
            metrics=header.metrics,
        )

    @staticmethod
    def read(path: str | os.PathLike[str]) -> Checkpoint:
        """The checkpoint in a file, given by a path or a URL.

        Raises:
            GenlabError: there is no such file.
            CorruptFile: it is cut short, altered, or no state of a format that is known here.
        """
        try:
            return Checkpoint.decode(read_file(path, LARGEST), str(path))
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
        raise GenlabError(
            f"{task.__name__} trains no networks: read its tensors by genlab.Checkpoint.read(path).states"
        )
    if not 0 <= replica < len(checkpoint.states):
        raise GenlabError(f"the checkpoint has {len(checkpoint.states)} replicas: there is no number {replica}")
    _check_sizes(checkpoint, _of(checkpoint, task, replica, "meta"), replica)
    made = _of(checkpoint, task, replica, device)
    networks = nets.make(made)
    for name, network in networks.items():
        network.load_state_dict(below(checkpoint.states[replica].tensors, f"networks/{name}/"))
        network.eval()
    return Restored(made, Named("no network", networks))


def _of(checkpoint: Checkpoint, task: type[PhasedTask], replica: int, device: str) -> PhasedTask:
    """The task of a checkpoint. It knows what its data were."""
    config = build(task.Config, {**checkpoint.config, "seed": checkpoint.seeds[replica]})
    made = task(config, Context(device=device))
    made.data = Named("no stream", {name: SetDescription.from_json(seen) for name, seen in checkpoint.data.items()})
    return made


def _check_sizes(checkpoint: Checkpoint, made: PhasedTask, replica: int) -> None:
    """Refuse a config that asks for other networks than the file holds, before memory is taken for them: who wrote the
    file wrote the config, and `ngf` may ask for more than any machine has.

    Networks of a caller's own task may have no outline, as where they compute with what they make: then they are made
    unseen.

    Raises:
        GenlabError: naming the first tensor that differs.
    """
    kind = checkpoint.task
    try:
        outlines = nets.outlines(made)
    except Exception as error:
        if kind in configs():
            raise GenlabError(f"the task {kind} makes no networks of the checkpoint's config: {error}") from error
        return
    for name, outline in outlines.items():
        wanted = {path: tuple(tensor.shape) for path, tensor in outline.state_dict().items()}
        tensors = below(checkpoint.states[replica].tensors, f"networks/{name}/")
        found = {path: tuple(tensor.shape) for path, tensor in tensors.items()}
        for path in sorted(wanted.keys() | found.keys()):
            if found.get(path) != wanted.get(path):
                raise GenlabError(
                    f"the checkpoint does not hold the networks that {kind} makes of its config: {name}/{path} is "
                    f"{_in_words(found.get(path))} in the file, and {_in_words(wanted.get(path))} by the config. The "
                    "task has changed since, or the file was altered"
                )


def _in_words(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else f"of shape {shape}"
