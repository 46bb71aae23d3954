"""What must be trained once before the first trial: ordinary checkpoints, stored by the hash of what they come from."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
from collections.abc import Mapping
from typing import Any

from torch import nn

from genlab.errors import CorruptFile
from genlab.tasks import CONFIGS, Config, Contract, Place, build
from genlab.tasks.config import as_dict
from genlab.tracking.storage import Storage
from genlab.training.checkpoints import Checkpoint
from genlab.training.loop import Loop
from genlab.training.trial import Trial, implementation, start, task_name

logger = logging.getLogger(__name__)
RECIPE = 1  # raise it when the same config makes other networks: what was prepared before is then not used


def prepare(
    kind: type[Contract], config: Config, place: Place, storage: Storage
) -> tuple[dict[str, str], dict[str, Any]]:
    """Train what `config.prepare()` names and `storage` does not hold yet.

    Runs on one rank, whatever the number of workers, so what it makes does not depend on that.

    Returns:
        The file of each by name, and what the task's own data sets are.
    """
    files = {}
    for name, needed in config.prepare().items():
        trial = Trial(implementation(type(needed)), needed, place)
        made_from = {
            "recipe": RECIPE,
            "task": task_name(type(needed)),
            "config": as_dict(needed),
            "data": trial.replicas[0].data(),
        }
        digest = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]
        path = f"prepared/{made_from['task']}-{digest}.safetensors"
        if not _whole(path, storage):
            logger.info("training what all trials need once: the %s (%s)", made_from["task"], name)
            while trial.epoch < needed.epochs:
                trial.advance()
            storage.write(path, trial.checkpoint().encode())
        files[name] = path
    return files, kind(config, place).data()


def _whole(path: str, storage: Storage) -> bool:
    try:
        Checkpoint.decode(storage.read(path), path)
    except (FileNotFoundError, CorruptFile):
        return False
    return True


def prepared_networks(files: Mapping[str, str], place: Place, storage: Storage) -> dict[str, Mapping[str, nn.Module]]:
    """The networks of prepared checkpoints, in evaluation mode on the place's device, by the names of `files`."""
    return {name: _load(path, place.device, place.data_root, storage.url) for name, path in files.items()}


@functools.lru_cache(maxsize=8)  # every trial of a lane asks for the same ones
def _load(path: str, device: str, data_root: str | None, url: str) -> Mapping[str, nn.Module]:
    checkpoint = Checkpoint.decode(Storage(url).read(path), path)
    kind = CONFIGS[checkpoint.task]
    settings: dict[str, Any] = dict(checkpoint.config)
    loop = start(implementation(kind), build(kind, settings), Place(device=device, data_root=data_root))
    assert isinstance(loop, Loop)
    loop.load(checkpoint.states[0])
    for network in loop.networks.values():
        network.eval().requires_grad_(False)
    return loop.networks
