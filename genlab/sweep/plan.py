"""A sweep and a command line made into one checked plan: everything that can be refused is refused here."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from itertools import product
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from genlab.data.names import kind_of
from genlab.errors import GenlabError, nearest
from genlab.sweep import refusals
from genlab.sweep.needs import samples, to_prepare
from genlab.sweep.source import digests
from genlab.sweep.sweep import Sweep, choice, in_words
from genlab.tasks import Config, Task, build
from genlab.tasks.fields import as_dict, as_text, check_value, hints, parse_value, plain
from genlab.tasks.fields import options as types_of
from genlab.tracking.events import Distribution
from genlab.tracking.manifest import Asha, Identity
from genlab.tracking.schema import checked

Settings = dict[str, Any]
SAME_IN_A_SEARCH = ("epochs", "seed")  # ASHA compares trials at equal epochs; seeds are for --seeds
FEW = 10  # fewer trials than that are all trained to the end unless --scheduler says otherwise


@dataclass(frozen=True)
class Plan:
    """What will run.

    Attributes:
        kind: config class of the task.
        task: the task's class where the script defines it, else None (it is imported where it trains).
        base: the settings that all trials have in common.
        space: distributions of the swept fields; those that a field's conditions name come before it.
        default: trial 0's values of the swept fields.
        grid: settings of every trial in order, for `--grid`; None for a search.
    """

    sweep: Sweep
    kind: type[Config]
    task: type[Task] | None
    script: str | None
    base: Settings
    space: Mapping[str, BaseDistribution]
    default: Settings
    grid: list[Settings] | None
    trials: int
    scheduler: str
    workers: int
    seeds: int
    confirm: int
    options: Mapping[str, Any] = field(repr=False, default_factory=dict)

    @property
    def epochs(self) -> int:
        """How many epochs a trial of a search trains if nothing ends it earlier; rows of a grid may say otherwise."""
        return build(self.kind, self.base).epochs

    def epochs_in_words(self) -> str:
        """The epochs of a trial, in words: `5`, or `5 to 30` where rows of a grid differ."""
        epochs = {self.config(row).epochs for row in self.grid or ({},)}
        return str(max(epochs)) if len(epochs) == 1 else f"{min(epochs)} to {max(epochs)}"

    def script_digest(self) -> str:
        """Of the script, where it defines the task; empty otherwise."""
        if self.script is None or not os.path.isfile(self.script):
            return ""
        with open(self.script, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()

    def to_prepare(self) -> list[Config]:
        """Configs that together need prepared all that any trial needs."""
        return to_prepare(self.kind, self.base, self.space, self.grid)

    def config(self, settings: Mapping[str, Any]) -> Config:
        """The full config of one trial."""
        return build(self.kind, {**self.base, **settings})

    def first(self) -> Config:
        """The full config of trial 0: the default setting."""
        return self.config(self.default if self.grid is None else self.grid[0])

    def places(self, settings: Mapping[str, Any]) -> Settings:
        """The folders of images that all trials have in common, by field, as this start names them: they may have been
        moved since the sweep began. Those in `settings` are the trial's own."""
        common = as_dict(build(self.kind, self.base))
        return {
            name: value
            for name, value in common.items()
            if isinstance(value, str) and kind_of(value) == "image_folder" and name not in settings
        }

    def identity(self) -> Identity:
        """What may not change when the sweep is resumed, since a trial's result follows from it."""
        return Identity(
            task=self.kind.__name__,
            metric=self.sweep.metric,
            mode=self.sweep.mode,  # type: ignore[arg-type]
            settings=as_json(as_dict(build(self.kind, self.base))),
            space={name: distribution_record(distribution) for name, distribution in self.space.items()},
            conditions=json.loads(json.dumps(self.sweep.conditions, default=_listed)),
            grid=as_json(self.grid),
            workers=self.workers,
            seeds=self.seeds,
            asha=Asha(grace_epochs=self.sweep.grace_epochs, reduction_factor=self.sweep.reduction_factor),
            code=digests(self.task),
        )


def make(sweep: Sweep, options: Mapping[str, Any], script: str | None) -> Plan:
    """The plan for `options` (those of the command line that were given, by name).

    Raises:
        GenlabError: a name, a type, a value or a combination that cannot be run, and what would be right.
    """
    refusals.check(sweep)
    kind, task = refusals.kinds(sweep)
    fixed, choices = _parse_set(kind, options)
    base = {**sweep.settings, **fixed}
    space = {**sweep.space, **choices}
    taken = {*fixed, *(choices if options.get("grid") else ())}  # a grid's choices are its rows
    space = _ordered({name: distribution for name, distribution in space.items() if name not in taken}, sweep)
    config = build(kind, base)
    if options.get("grid") and options.get("scheduler") == "asha":
        raise GenlabError("--grid compares all of its settings at the end: --scheduler asha would stop some early")
    _check_space(sweep, kind, config, space)
    workers = options.get("workers", 1)
    _check_batches(config, space, workers)
    reported = refusals.reported(config)
    if sweep.metric not in reported:
        raise GenlabError(
            f"{kind.__name__} does not report the metric {sweep.metric!r}: {nearest(sweep.metric, reported)}"
        )
    default = _default(config, space, choices)
    grid = _grid(sweep, kind, base, fixed, choices, options) if options.get("grid") else None
    for row in grid or ():
        _check_batches(build(kind, {**base, **row}), {}, workers)
    trials = len(grid) if grid is not None else options.get("trials", sweep.trials)
    if grid is None and not space:
        trials = 1
    few = options.get("grid") or trials < FEW
    scheduler = options.get("scheduler", "fifo" if few else "asha")
    if scheduler == "asha" and config.epochs < sweep.grace_epochs:
        raise GenlabError(
            f"{config.epochs} epochs are fewer than the {sweep.grace_epochs} that ASHA lets every trial train"
        )
    plan = Plan(
        sweep=sweep,
        kind=kind,
        task=task,
        script=script if task is not None else None,
        base=base,
        space={} if grid is not None else space,
        default=default if grid is None else {},
        grid=grid,
        trials=trials,
        scheduler=scheduler,
        workers=workers,
        seeds=options.get("seeds", 1),
        confirm=options.get("confirm", 0),
        options=dict(options),
    )
    plan.to_prepare()  # refuses what could not be prepared
    return plan


def _parse_set(kind: type[Config], options: Mapping[str, Any]) -> tuple[Settings, dict[str, CategoricalDistribution]]:
    """What --set and its kin fix, and what they make a choice."""
    fixed: Settings = {}
    choices: dict[str, CategoricalDistribution] = {}
    for word in options.get("set", ()):
        name, equals, text = word.partition("=")
        words = [one.strip() for one in text.split(",")] if "," in text else [text]
        shape = f"--set {word}: write it as KEY=VALUE or KEY=VALUE,VALUE, without spaces"
        if not equals or (len(words) > 1 and "" in words):
            raise GenlabError(shape)
        if name in fixed or name in choices:
            raise GenlabError(f"--set names {name} twice")
        try:
            values = [parse_value(kind, name, one) for one in words]
        except GenlabError:
            if "" in words:
                raise GenlabError(shape) from None
            raise
        if len(values) == 1:
            fixed[name] = values[0]
        else:
            choices[name] = choice(*values)
            _check_different(f"--set {word}", values)
    for name in ("dataset", "epochs", "seed"):
        if name in options:
            if name in fixed or name in choices:
                raise GenlabError(f"{name} is given twice: by --{name} and by --set")
            fixed[name] = check_value(kind, name, options[name])
    return fixed, choices


def _ordered(space: Mapping[str, BaseDistribution], sweep: Sweep) -> dict[str, BaseDistribution]:
    """The same with each field after those that its conditions name; in their given order those without any."""
    without_first = sorted(space, key=lambda name: name in sweep.conditions)
    sorter = TopologicalSorter({name: sweep.conditions.get(name, {}) for name in without_first})
    try:
        return {name: space[name] for name in sorter.static_order() if name in space}
    except CycleError as error:
        circle = " needs ".join(reversed(error.args[1]))
        raise GenlabError(f"the conditions of {sweep.name!r} go in a circle: {circle}") from None


def _check_space(sweep: Sweep, kind: type[Config], config: Config, space: Mapping[str, BaseDistribution]) -> None:
    for name, distribution in space.items():
        if name in SAME_IN_A_SEARCH:
            raise GenlabError(
                f"{name} cannot be searched: it must be the same in all trials (fix it: --set {name}=...)"
            )
        where = f"the space of {sweep.name!r}"
        try:
            values = [check_value(kind, name, value) for value in samples(distribution)]
        except GenlabError as error:
            raise GenlabError(f"{where}: {error}{_instead(kind, name, distribution)}") from None
        if isinstance(distribution, CategoricalDistribution):
            _check_different(f"{where}: the choice of {name}", values)
        for value in values:
            try:
                build(kind, {**as_dict(config), name: value})
            except GenlabError as error:
                raise GenlabError(f"{where}: {error}") from None
    for name, needs in sweep.conditions.items():
        for other, values in needs.items():
            for value in values:
                check_value(kind, other, value)
        unknown = {name, *needs} - {*sweep.space, *space}
        if unknown:
            raise GenlabError(f"the conditions of {sweep.name!r} name {sorted(unknown)}, which the space does not hold")


def _check_different(where: str, values: Sequence[Any]) -> None:
    """Refuse a choice that has a value twice: it would be tried twice."""
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise GenlabError(f"{where} has the value {as_text(twice[0])} twice: name each value once")


def _instead(kind: type[Config], name: str, distribution: BaseDistribution) -> str:
    """What else to write of a field that `distribution` does not suit; empty where nothing is at hand."""
    if isinstance(distribution, FloatDistribution) and int in types_of(hints(kind).get(name)):
        return f": write integer({round(distribution.low)}, {round(distribution.high)})"
    if isinstance(distribution, CategoricalDistribution) and len(distribution.choices) == 1:
        return ": write the values one by one, as in choice(16, 32)"
    return ""


def _check_batches(config: Config, space: Mapping[str, BaseDistribution], workers: int) -> None:
    batch = config.global_batch()
    if batch is None:
        return
    sizes: set[Any] = {batch}
    distribution = space.get("batch_size")
    if isinstance(distribution, CategoricalDistribution):
        sizes = set(distribution.choices)
    elif isinstance(distribution, IntDistribution):
        sizes = {distribution.low, distribution.low + distribution.step}
    for size in sorted(sizes):
        if size % workers:
            raise GenlabError(
                f"batch_size={size} cannot be shared by {workers} workers: make it a multiple of {workers}"
            )
        if size < 2 * workers:
            raise GenlabError(
                f"batch_size={size} leaves {size // workers} image to each of {workers} workers: BatchNorm needs two"
            )


def _default(config: Config, space: Mapping[str, BaseDistribution], choices: Mapping[str, Any]) -> Settings:
    default = {}
    for name, distribution in space.items():
        value = _plain(getattr(config, name))
        if not _holds(distribution, value):
            if name not in choices:
                raise GenlabError(
                    f"the default {name}={value!r} lies outside of what is searched, {in_words(distribution)}: trial 0 "
                    "is the default setting, so widen the range or give the sweep another default in its settings"
                )
            value = choices[name].choices[0]
        default[name] = value
    return default


def _holds(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    if not isinstance(value, (int, float)):
        return False
    low, high, step = (getattr(distribution, name) for name in ("low", "high", "step"))
    steps = (value - low) / step if step else 0.0
    return low <= value <= high and abs(steps - round(steps)) < 1e-8  # 0.3 is two steps of 0.1 from 0.1, nearly


def _grid(
    sweep: Sweep,
    kind: type[Config],
    base: Settings,
    fixed: Settings,
    choices: Mapping[str, CategoricalDistribution],
    options: Mapping[str, Any],
) -> list[Settings]:
    """The sweep's own list of settings, the default before them; or every combination of the choices of `--set`, the
    default first if it is one of them."""
    if "trials" in options:
        raise GenlabError("--grid runs a list of settings: --trials has no say in it")
    listed = [dict(zip(choices, values, strict=True)) for values in product(*(c.choices for c in choices.values()))]
    given = listed if choices else sweep.grid
    if not given:
        raise GenlabError(
            f"the sweep {sweep.name!r} has no grid: give it one, or name choices by --set KEY=VALUE,VALUE"
        )
    swept = list(dict.fromkeys(name for settings in given for name in settings))
    common = as_dict(build(kind, base))
    rows = []
    for settings in given:
        for name in settings:
            if name in fixed:
                raise GenlabError(f"--set {name} contradicts the grid of {sweep.name!r}, which sets it")
        build(kind, {**base, **settings})
        row = {name: _plain(check_value(kind, name, settings.get(name, common[name]))) for name in swept}
        if row in rows:
            raise GenlabError(f"the grid of {sweep.name!r} has {row} twice: name each setting once")
        rows.append(row)
    default = {name: _plain(common[name]) for name in swept}
    others = [row for row in rows if row != default]
    return [default, *others] if not choices or len(others) < len(rows) else rows


def _plain(value: Any) -> Any:
    """A tuple as it is written; everything else as it is."""
    return as_text(value) if isinstance(value, tuple) else value


def distribution_record(distribution: BaseDistribution) -> Distribution:
    """A distribution as the records keep it."""
    return checked(json.loads(optuna.distributions.distribution_to_json(distribution)), Distribution)


def _listed(value: Any) -> Any:
    """What JSON does not know of a script's conditions: a set as a list, a number of numpy's as Python's own."""
    return sorted(value, key=str) if isinstance(value, (set, frozenset)) else plain(value)


def as_json(value: Any) -> Any:
    """`value` as it comes back from a JSON file."""
    return json.loads(json.dumps(value))


def describe_resources(resources: Mapping[str, float]) -> str:
    """Say, `2 CPUs and 1 GPU`."""
    return " and ".join(f"{amount:g} {kind}{'s' * (amount != 1)}" for kind, amount in resources.items())
