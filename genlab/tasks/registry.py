"""The tasks that have a name. Free of torch: a task itself is imported where it trains."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from genlab.errors import GenlabError, nearest

if TYPE_CHECKING:
    from genlab.tasks.base import Task
    from genlab.tasks.config import Config

MODULES = {
    "gan": "gan_config:GANConfig",
    "vae": "vae_config:VAEConfig",
    "dae": "dae_config:DAEConfig",
    "classifier": "classifier_config:ClassifierConfig",
}


@cache
def configs() -> Mapping[str, type[Config]]:
    """The config of every task that has a name."""
    found = {}
    for name, where in MODULES.items():
        module, _, kind = where.partition(":")
        found[name] = getattr(importlib.import_module(f"genlab.tasks.{module}"), kind)
    return found


def config_class(name: str) -> type[Config]:
    """The config of the task `name`.

    Raises:
        GenlabError: there is no such task.
    """
    if name not in MODULES:
        raise GenlabError(f"there is no task {name!r}: {nearest(name, MODULES)}")
    return configs()[name]


def task_name(kind: type[Config]) -> str:
    """The name under which a config is registered, or else the name of its class."""
    return next((name for name, config in configs().items() if config is kind), kind.__name__)


def implementation(kind: type[Config]) -> type[Task]:
    """The task that a config names as its own.

    Raises:
        GenlabError: it names none.
    """
    module, colon, name = kind.implementation.partition(":")
    if not colon:
        raise GenlabError(f"{kind.__name__} names no task: say which one runs it, as in FromTask(config, TheTask)")
    return getattr(importlib.import_module(module), name)
