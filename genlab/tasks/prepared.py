"""What must exist once before a trial: where it comes from, and what a task finds of it. Free of torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from genlab.tasks.config import Config
from genlab.tasks.fields import as_dict
from genlab.tasks.registry import task_name

if TYPE_CHECKING:
    from torch import Tensor, nn

    from genlab.tasks.base import Task


@dataclass(frozen=True)
class FromTask:
    """What a task leaves after its last epoch: the networks of a `PhasedTask`, the tensors of a `CustomTask`.

    It runs on one rank, once, and is stored by what it was made from. One that diverges is refused.

    Attributes:
        config: its settings; what it needs prepared itself is prepared before it.
        task: its class where `config` names no implementation, as in a sweep script.
        expected: the least value of some of its metrics; a warning is shown below.
    """

    config: Config
    task: type[Task] | None = None
    expected: Mapping[str, float] = field(default_factory=dict)

    def key(self) -> str:
        """The same in every process for the same config, and another for any other."""
        task = "" if self.task is None else self.task.__qualname__
        made_from = [task_name(type(self.config)), task, as_dict(self.config)]
        return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class FromCheckpoint:
    """The networks of a checkpoint that a trial wrote.

    Attributes:
        path: an absolute path or a URL.
        task: the task's class, for a task that a sweep script defines.
    """

    path: str
    task: type[Task] | None = None

    def key(self) -> str:
        """The same in every process for the same path, and another for any other."""
        return f"checkpoint {self.path}"


@dataclass(frozen=True)
class FromWeights:
    """The tensors of a weights file: safetensors, or a state dict that `torch.save` wrote (read as data, not as code).

    Of `{"state_dict": {...}}` the state dict is taken; a prefix `module.`, which data parallel training leaves, goes.

    Attributes:
        path: an absolute path or a URL.
    """

    path: str

    def key(self) -> str:
        """The same in every process for the same path, and another for any other."""
        return f"weights {self.path}"


Source = FromTask | FromCheckpoint | FromWeights


class Prepared(NamedTuple):
    """What a task finds under a name of its config's `prepare()`.

    Attributes:
        networks: of a phased task or a checkpoint: in evaluation mode, on the context's device, without gradients to
            their parameters. Other trials of this process use the same ones: do not change them.
        tensors, scalars: of a custom task its state; of a weights file its tensors. On the CPU.
        metrics: what its last epoch reported.
    """

    networks: Mapping[str, nn.Module]
    tensors: Mapping[str, Tensor]
    scalars: Mapping[str, Any]
    metrics: Mapping[str, float]
