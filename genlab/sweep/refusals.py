"""What a script's sweep must be made of: checked by the driver, before anything starts. Free of torch and Ray."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from optuna.distributions import BaseDistribution

from genlab.errors import GenlabError
from genlab.sweep.sweep import NoRange, Sweep
from genlab.tasks import Config, CustomTask, PhasedConfig, PhasedTask, Task, config_class, misspelled
from genlab.tasks.declared import check_class
from genlab.tasks.returned import described, method, where

CALLED = {  # what is called with arguments, and with which
    "evaluate": ("networks", "split", "epoch"),
    "sample": ("name", "count", "generator"),
    "next_streams": ("epoch", "networks"),
}
WAYS = "choice(...), uniform(low, high), log_uniform(low, high) or integer(low, high)"


def check(sweep: Sweep) -> None:
    """Refuse a sweep whose parts are of the wrong kind.

    Raises:
        GenlabError: naming the part, what it is, and what to write.
    """
    for name in ("name", "metric", "mode"):
        if not isinstance(getattr(sweep, name), str):
            raise GenlabError(f"the sweep's {name} is {described(getattr(sweep, name))}: write a text")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", sweep.name):
        raise GenlabError(f"the sweep's name {sweep.name!r} names folders and runs: use letters, digits, _ - . alone")
    if sweep.mode not in ("min", "max"):
        raise GenlabError(f"the sweep's mode is {sweep.mode!r}: it must be min or max")
    for name, least in (("trials", 1), ("grace_epochs", 1), ("reduction_factor", 2)):
        value = getattr(sweep, name)
        if type(value) is not int or value < least:
            raise GenlabError(f"the sweep's {name} is {described(value)}: write a whole number, {least} at least")
    if type(sweep.epoch_deadline) not in (int, float) or not sweep.epoch_deadline > 0:
        raise GenlabError(f"the sweep's epoch_deadline is {described(sweep.epoch_deadline)}: write seconds, such as 60")
    if sweep.images is not None and not isinstance(sweep.images, str):
        raise GenlabError(f"the sweep's images is {described(sweep.images)}: write the key of a report's images")
    _by_name(sweep.settings, "the sweep's settings are", '{"epochs": 5}')
    for name, distribution in _by_name(sweep.space, "the sweep's space is", '{"lr": log_uniform(1e-4, 1e-2)}').items():
        _check_range(name, distribution)
    _check_conditions(sweep)
    if isinstance(sweep.grid, (str, Mapping)) or not isinstance(sweep.grid, Sequence):
        raise GenlabError(
            f"the sweep's grid is {described(sweep.grid)}: write a list of settings, one a trial, as in "
            '[{"width": 16}, {"width": 32}]'
        )
    for row in sweep.grid:
        _by_name(row, "a row of the sweep's grid is", '{"width": 16}')


def kinds(sweep: Sweep) -> tuple[type[Config], type[Task] | None]:
    """The class of the sweep's configs and, where the sweep names a class, that of its task.

    Raises:
        GenlabError: no task, a task that lacks something, or a config's class that is not what it must be.
    """
    task: Any = sweep.task
    if isinstance(task, str):
        return config_class(task), None
    if not isinstance(task, type):
        again = f": give the class, {type(task).__name__}, without ()" if isinstance(task, (Task, Config)) else ""
        raise GenlabError(f"the sweep's task is {described(task)}{again or ': name a task or give a class of one'}")
    if issubclass(task, Config):
        raise GenlabError(f"the sweep's task is the config {task.__name__}: give the class of the task that has it")
    if not issubclass(task, (PhasedTask, CustomTask)):
        raise GenlabError(
            f"the sweep's task is {described(task)}: give the name of a task, or a class derived from PhasedTask or "
            "CustomTask"
        )
    misspelled.warn(task, *([task.Config] if isinstance(task.Config, type) else []))
    if lacking := sorted(task.__abstractmethods__):
        raise GenlabError(f"{task.__name__} lacks {', '.join(f'{name}()' for name in lacking)}: a task must have it")
    least = PhasedConfig if issubclass(task, PhasedTask) else Config
    kind: Any = task.Config
    if not isinstance(kind, type) or not issubclass(kind, least):
        raise GenlabError(
            f"Config of {task.__name__} is {described(kind)}: write `Config = TheConfig`, a class derived from "
            f"{least.__name__}"
        )
    check_class(kind)
    for name, arguments in CALLED.items():
        if (function := getattr(task, name, None)) is not None:
            try:
                inspect.signature(function).bind(None, *arguments)
            except TypeError:
                raise GenlabError(
                    f"{name}() of {task.__name__} ({where(function)}) cannot be called as it is: it takes "
                    f"({', '.join(('self', *arguments))})"
                ) from None
    if kind is least and (names := {*sweep.settings, *sweep.space} - {field.name for field in fields(kind)}):
        raise GenlabError(
            f"{task.__name__} has no config of its own, and so no field {', '.join(sorted(names))}: write "
            "`Config = TheConfig` in the class"
        )
    return kind, task


def reported(config: Config) -> tuple[str, ...]:
    """Names of the metrics that a task says it reports.

    Raises:
        GenlabError: `reports()` returned something else.
    """
    names: Any = config.reports()
    if isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names):
        return tuple(names)
    instead = f"as in `return {names!r},`" if isinstance(names, str) else 'as in `return "loss/vae", "elbo"`'
    raise GenlabError(f"{method(config, 'reports')} returned {described(names)}: it must return a tuple, {instead}")


def _by_name(value: Any, what: str, instead: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise GenlabError(f"{what} {described(value)}: write values by the name of their field, as in {instead}")
    return value


def _check_range(name: str, values: Any) -> None:
    """Refuse what says of a field no range to search."""
    if isinstance(values, NoRange):
        raise GenlabError(f"the space's {name} is {values.written}: {values.problem}")
    if isinstance(values, BaseDistribution):
        return
    if isinstance(values, (list, tuple, set, frozenset)):
        spread = ", ".join(map(repr, values))
        raise GenlabError(
            f"the space's {name} is {values!r}: write choice({spread}), or a range by uniform(low, high), "
            "log_uniform(low, high) or integer(low, high)"
        )
    single = ", or name it in the sweep's settings if it is the same in all trials"
    simple = isinstance(values, (bool, int, float, str)) or values is None
    raise GenlabError(f"the space's {name} is {described(values)}: write {WAYS}{single if simple else ''}")


def _check_conditions(sweep: Sweep) -> None:
    example = '{"nz": {"noise": ["normal"]}}'
    for name, needs in _by_name(sweep.conditions, "the sweep's conditions are", example).items():
        for other, values in _by_name(needs, f"the sweep's condition of {name} is", example).items():
            if isinstance(values, str) or not isinstance(values, (Sequence, set, frozenset)):
                raise GenlabError(
                    f"the sweep's condition of {name} has {described(values)} for {other}: write a list, [{values!r}]"
                )
