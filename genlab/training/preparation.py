"""What must exist once before a trial: made once, stored by the hash of what it comes from, found by every trial."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from genlab.data import kind_of
from genlab.errors import CorruptFile, GenlabError, StorageError
from genlab.tasks import (
    Config,
    Context,
    FromCheckpoint,
    FromTask,
    FromWeights,
    PhasedTask,
    Prepared,
    State,
    Task,
    implementation,
    task_name,
)
from genlab.tasks.fields import as_dict
from genlab.tasks.prepared import Source
from genlab.tasks.returned import Named
from genlab.tracking.local import NotRegular
from genlab.tracking.storage import Storage, read_file
from genlab.training.checkpoints import LARGEST, Checkpoint, load
from genlab.training.trial import Trial

logger = logging.getLogger(__name__)
RECIPE = 3  # raise it when the same config makes other networks: what was prepared before is then not used

Files = Mapping[str, str]
"""Where what was prepared lies in the storage, by the key of its source."""


@dataclass(frozen=True)
class Preparation:
    """What `prepare` made.

    Attributes:
        files: for `prepared`.
        data: what the trials' own data sets are, by stream, and the files that were copied, by path: all different
            descriptions (JSON).
        metrics: what was reported of each thing that was prepared, by its file.
    """

    files: dict[str, str]
    data: dict[str, list[Any]]
    metrics: dict[str, dict[str, float]]


def prepare(
    kind: type[Task], configs: Iterable[Config], context: Context, storage: Storage, script: str = ""
) -> Preparation:
    """Make what the configs' `prepare()` name and `storage` does not hold yet.

    Runs on one rank, whatever the number of workers, so what it makes does not depend on that. For a rehearsal
    (`context.rehearsal`) a phased task is trained for one step.

    Args:
        kind: the task of the trials.
        configs: all that differ in what they need prepared.
        script: digest of the sweep script: what a task that it defines prepared before another edit is not used.

    Raises:
        GenlabError: something to be prepared diverged, or a file is absent or damaged.
    """
    made = Preparation({}, {}, {})
    for config in configs:
        for name, source in config.prepare().items():
            _make(name, source, context, storage, made, script)
        found = prepared(config, made.files, context, storage)  # streams() may need it
        for stream, seen in kind(config, dataclasses.replace(context, prepared=found)).data.items():
            if (description := seen.as_json()) not in made.data.setdefault(stream, []):
                made.data[stream].append(description)
    return made


def prepared(config: Config, files: Files, context: Context, storage: Storage) -> dict[str, Prepared]:
    """What `config.prepare()` names, from the files that `prepare` returned.

    Raises:
        GenlabError: it was not prepared.
    """
    found = {}
    for name, source in config.prepare().items():
        if source.key() not in files:
            raise GenlabError(
                f"{name} was not prepared for {config}: prepare() of {type(config).__name__} depends on swept fields "
                "in a way that trying their values one after the other did not show"
            )
        found[name] = _read(files[source.key()], _task(source), context.device, storage.url)
    return found


def _task(source: Source) -> type[Task] | None:
    if isinstance(source, FromTask):
        return source.task or implementation(type(source.config))
    return source.task if isinstance(source, FromCheckpoint) else None


def _make(name: str, source: Source, context: Context, storage: Storage, made: Preparation, script: str) -> None:
    """Store what `source` stands for, and note it in `made`."""
    if source.key() in made.files:
        return
    if isinstance(source, FromTask):
        path = _from_task(name, source, context, storage, made, script)
    else:
        path, digest = _copy(source, storage)
        made.data[source.path] = [{"sha256": digest}]
    made.files[source.key()] = path
    checkpoint = Checkpoint.decode(storage.read(path, LARGEST), path)
    made.metrics[path] = dict(checkpoint.metrics[0]) if checkpoint.metrics else {}
    if isinstance(source, FromTask) and not context.rehearsal:
        _tell(name, source, made.metrics[path])


def _tell(name: str, source: FromTask, metrics: Mapping[str, float]) -> None:
    """How good what was prepared is, and a warning where that is less than expected."""
    for metric, least in source.expected.items():
        value = metrics.get(metric)
        if value is None or value < least:
            shown = "is not reported" if value is None else f"is {value:.3g}"
            logger.warning("%s: %s %s, below %g: what is judged by it means little", name, metric, shown, least)
        else:
            logger.info("%s: %s %.3g", name, metric, value)


def _from_task(name: str, source: FromTask, context: Context, storage: Storage, made: Preparation, script: str) -> str:
    """Run the task to its last epoch, unless that was done before; the file."""
    needs = source.config.prepare()
    for nested, needed in needs.items():
        _make(nested, needed, context, storage, made, script)
    own = prepared(source.config, made.files, context, storage)
    kind, task = task_name(type(source.config)), _task(source)
    assert task is not None
    epochs = source.config.epochs
    one_step = context.rehearsal and issubclass(task, PhasedTask)  # of another task nobody knows what its epochs do
    if one_step:
        settings: Any = {"epoch_steps": 1}
        source, epochs = dataclasses.replace(source, config=dataclasses.replace(source.config, **settings)), 1
    context = Context(device=context.device, data_root=context.data_root, prepared=own, rehearsal=context.rehearsal)
    made_from = {
        **({"rehearsal": True} if context.rehearsal else {}),  # never taken for what has trained to its end
        "recipe": RECIPE,
        "script": "" if source.config.implementation else script,
        "task": [kind, task.__qualname__],
        "config": _without_places(as_dict(source.config)),
        "data": {s: _without_places(seen.as_json()) for s, seen in task(source.config, context).data.items()},
        "prepared": {nested: made.files[needed.key()] for nested, needed in needs.items()},
    }
    path = _path(kind, json.dumps(made_from, sort_keys=True).encode())
    if not _whole(path, storage):
        logger.info("preparing what trials need once%s: %s (%s)", ", in one step" if one_step else "", name, kind)
        trial = Trial(task, source.config, context)
        while trial.epoch < epochs:
            if trial.advance()[0].diverged:
                raise GenlabError(
                    f"{name} ({kind}) diverged in epoch {trial.epoch} and was not stored: a loss or a weight was not "
                    f"finite with {source.config}"
                )
        storage.write(path, trial.checkpoint().encode())
    return path


def _without_places(values: Mapping[str, Any]) -> dict[str, Any]:
    """These values, but for the folders that names of data sets hold: what is made of a set does not follow from where
    it lies."""
    return {name: kind_of(value) if isinstance(value, str) else value for name, value in values.items()}


def _copy(source: FromCheckpoint | FromWeights, storage: Storage) -> tuple[str, str]:
    """A copy of the file in the storage, where every node finds it, and the file's digest."""
    try:
        content = read_file(source.path, LARGEST)
    except FileNotFoundError:
        raise GenlabError(f"there is no file {source.path}, which prepare() names") from None
    except (StorageError, NotRegular) as error:  # not the sweep's storage: nothing of it is at fault
        raise GenlabError(f"{source.path}, which prepare() names, cannot be read: {error}") from None
    if isinstance(source, FromCheckpoint):
        checkpoint = Checkpoint.decode(content, source.path)
    else:
        checkpoint = Checkpoint("weights", None, {}, {}, 0, [0], [State(_weights(content, source.path), {})])
    path = _path("copied", content)
    if not _whole(path, storage):
        storage.write(path, checkpoint.encode())
    return path, hashlib.sha256(content).hexdigest()


def _weights(content: bytes, path: str) -> dict[str, Tensor]:
    """The tensors in a weights file."""
    try:
        if path.endswith(".safetensors"):
            found: Any = safetensors.torch.load(content)
        else:
            found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            found = found.get("state_dict", found)
        tensors = {name.removeprefix("module."): each for name, each in found.items() if isinstance(each, Tensor)}
    except Exception as error:  # whatever torch's and safetensors' readers raise
        raise CorruptFile(f"{path} is no weights file, or is damaged ({error})") from error
    if not tensors:
        raise CorruptFile(f"{path} holds no tensors")
    return tensors


def _path(kind: str, made_from: bytes) -> str:
    return f"prepared/{kind}-{hashlib.sha256(made_from).hexdigest()[:16]}.safetensors"


def _whole(path: str, storage: Storage) -> bool:
    try:
        Checkpoint.decode(storage.read(path, LARGEST), path)
    except (FileNotFoundError, CorruptFile):
        return False
    return True


@functools.lru_cache(maxsize=8)  # every trial of a lane asks for the same ones
def _read(path: str, task: type[Task] | None, device: str, url: str) -> Prepared:
    checkpoint = Checkpoint.decode(Storage(url).read(path, LARGEST), path)
    metrics = checkpoint.metrics[0] if checkpoint.metrics else {}
    if checkpoint.task != "weights" and (task is None or issubclass(task, PhasedTask)):
        networks = load(checkpoint, task=task, device=device)
        for network in networks.values():
            network.requires_grad_(False)
        return Prepared(Named("no network", networks), {}, {}, metrics)
    state = checkpoint.states[0]
    return Prepared({}, Named("no tensor", state.tensors), state.scalars, metrics)
