"""What must exist once before a trial: where it comes from, and what a task finds of it. Free of torch."""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import fsspec

from genlab.tasks.config import Config
from genlab.tasks.fields import as_dict
from genlab.tasks.registry import task_name
from genlab.tasks.returned import described

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


def problem(source: Source) -> str | None:
    """What is wrong with a source, wherever it is read: the end of a sentence that begins with what names it. None
    where nothing is. A file that is not there is looked for by the lanes alone."""
    task: Any = None if isinstance(source, FromWeights) else source.task
    if task is not None and not isinstance(task, type):
        return f"has {described(task)} as its task: give the class"
    if not isinstance(source, FromTask):
        return _problem_of_path(source.path)
    if not isinstance(source.config, Config):
        return f"is made of {described(source.config)}: write FromTask(TheConfig(...))"
    own = type(source.config).__name__
    if task is None and not source.config.implementation:
        return f"names no task: write FromTask(config, TheTask) for {own}"
    wanted: Any = getattr(task, "Config", Config)
    if task is not None and not isinstance(source.config, wanted):
        return f"has the task {task.__name__}, whose config is {wanted.__name__}, and is made of {own}(...)"
    return None


def _problem_of_path(path: Any) -> str | None:
    if not isinstance(path, str):
        return f"is made of {described(path)}: write a text, an absolute path or a URL"
    if not path.strip():
        return "has an empty path: name a file, or leave it out of what prepare() returns where there is none"
    if "://" in path:
        scheme = path.partition("://")[0].rpartition("::")[2]
        try:
            fsspec.get_filesystem_class(scheme or ":")
        except (ValueError, ImportError) as error:
            return f"is {path!r}, and {scheme}:// cannot be read ({error}): write an absolute path, or another URL"
        return None
    if not os.path.isabs(path):
        return f"is {path!r}: write {os.path.abspath(os.path.expanduser(path))!r}, lanes run elsewhere"
    if os.path.isdir(path):
        of_a_trial = (os.path.join(glob.escape(path), *between) for between in ((), ("trials", "*")))
        inside = [found for one in of_a_trial for found in sorted(glob.glob(os.path.join(one, "*.state.safetensors")))]
        such = f", such as {inside[-1]!r}" if inside else ""
        return f"is {path!r}, which is a folder: name a file in it{such}"
    return None


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
