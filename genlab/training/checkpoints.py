"""A checkpoint: the state of all replicas of a trial in one safetensors file. Loading one executes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from genlab.errors import CorruptFile
from genlab.tasks import State
from genlab.tensorfile import read_header

FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """What a trial was, and where each of its replicas stood after `epoch`.

    Attributes:
        task: name of the task.
        script: file that defines it, for a task that a sweep script defines; else None.
        config: every field of its config.
        data: what the data sets were (name, shape, classes), by stream.
        seeds, states: of each replica.
    """

    task: str
    script: str | None
    config: Mapping[str, Any]
    data: Mapping[str, Any]
    epoch: int
    seeds: Sequence[int]
    states: Sequence[State]

    def encode(self) -> bytes:
        """The checkpoint as one file."""
        tensors = {
            f"replica_{i}/{name}": tensor.detach().cpu().contiguous()
            for i, state in enumerate(self.states)
            for name, tensor in state.tensors.items()
        }
        header = {
            "format": FORMAT,
            "kind": "state",
            "task": self.task,
            "script": self.script,
            "config": dict(self.config),
            "data": dict(self.data),
            "epoch": self.epoch,
            "seeds": list(self.seeds),
            "numbers": [state.numbers for state in self.states],
        }
        return safetensors.torch.save(tensors, metadata={"genlab": json.dumps(header)})

    @staticmethod
    def decode(data: bytes, name: str) -> Checkpoint:
        """The checkpoint in a file that `encode` made; `name` is what an error calls it.

        Raises:
            CorruptFile: cut short, or no state of a format that is known here.
        """
        try:
            tensors = safetensors.torch.load(data)
            header = read_header(data)
            if header["kind"] != "state" or header["format"] != FORMAT:
                raise ValueError(f"kind {header['kind']}, format {header['format']}")
            by_replica: list[dict[str, Tensor]] = [{} for _ in header["seeds"]]
            for path, tensor in tensors.items():
                replica, _, rest = path.partition("/")
                by_replica[int(replica.removeprefix("replica_"))][rest] = tensor
            return Checkpoint(
                task=header["task"],
                script=header["script"],
                config=header["config"],
                data=header["data"],
                epoch=header["epoch"],
                seeds=header["seeds"],
                states=[State(own, numbers) for own, numbers in zip(by_replica, header["numbers"], strict=True)],
            )
        except (safetensors.SafetensorError, ValueError, KeyError, IndexError, TypeError) as error:
            raise CorruptFile(f"{name} is no state of format {FORMAT}, or is damaged ({error})") from error
