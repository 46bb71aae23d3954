"""A sweep and a command line made into one checked plan: everything that can be refused is refused here."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from genlab.data.names import kind_of
from genlab.errors import GenlabError, nearest
from genlab.sweep import refusals
from genlab.sweep.needs import different, to_prepare
from genlab.sweep.scope import Scope, Settings, contains, ordered, samples
from genlab.sweep.source import digests
from genlab.sweep.space import Space
from genlab.sweep.sweep import Sweep, choice, in_words
from genlab.tasks import Config, Task, build
from genlab.tasks.fields import as_text, check_value, complete, hints, parse_value, plain, written
from genlab.tasks.fields import options as types_of
from genlab.tracking.events import Distribution
from genlab.tracking.manifest import Asha, Identity
from genlab.tracking.schema import checked

SAME_IN_A_SEARCH = ("epochs", "seed")  # ASHA compares trials at equal epochs; seeds are for --seeds
FEW = 10  # fewer trials than that are all trained to the end unless --scheduler says otherwise


@dataclass(frozen=True)
class Plan:
    """What will run.

    Attributes:
        kind: config class of the task.
        task: the task's class where the script defines it, else None (it is imported where it trains).
        base: the value of every field where it is not searched.
        space: distributions of the swept fields; those that a field's conditions name come before it.
        default: trial 0's values of the swept fields; none of a field that is not searched there.
        grid: settings of every trial in order, for `--grid`; None for a search.
        trials: how many will run.
        asked: how many were asked for; there may be fewer settings.
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
    asked: int
    scheduler: str
    workers: int
    seeds: int
    confirm: int
    options: Mapping[str, Any] = field(repr=False, default_factory=dict)

    @property
    def epochs(self) -> int:
        """How many epochs a trial of a search trains if nothing ends it earlier; rows of a grid may say otherwise."""
        return self.base["epochs"]

    @property
    def seed(self) -> int:
        """Of the search, and of the first replica of its trials."""
        return self.base["seed"]

    @property
    def scope(self) -> Scope:
        """What is searched, and where."""
        return Scope(self.kind, self.base, self.space, self.sweep.conditions)

    def epochs_in_words(self) -> str:
        """The epochs of a trial, in words: `5`, or `5 to 30` where rows of a grid differ."""
        epochs = {row.get("epochs", self.epochs) for row in self.grid or ({},)}
        return str(max(epochs)) if len(epochs) == 1 else f"{min(epochs)} to {max(epochs)}"

    def fewer_in_words(self) -> str:
        """Why fewer trials run than were asked for; empty where that is not so."""
        if self.trials == self.asked or not self.space:
            return ""
        there_are = f"there are only {self.trials} settings" if self.trials > 1 else "there is only 1 setting"
        return f"{there_are}, and none is tried twice: {self.trials} of the {self.asked} trials will run"

    def script_digest(self) -> str:
        """Of the script, where it defines the task; empty otherwise."""
        if self.script is None or not os.path.isfile(self.script):
            return ""
        with open(self.script, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()

    def to_prepare(self) -> list[Config]:
        """Configs that together need prepared all that any trial needs."""
        if self.grid is not None:
            return different([self.config(row) for row in self.grid])
        return to_prepare(self.scope)

    def config(self, settings: Mapping[str, Any]) -> Config:
        """The full config of one trial."""
        return build(self.kind, {**self.base, **settings})

    def first(self) -> Config:
        """The full config of trial 0: the default setting."""
        return self.config(self.default if self.grid is None else self.grid[0])

    def places(self, settings: Mapping[str, Any]) -> Settings:
        """The folders of images that all trials have in common, by field, as this start names them: they may have been
        moved since the sweep began. Those in `settings` are the trial's own."""
        return {
            name: value
            for name, value in self.base.items()
            if isinstance(value, str) and kind_of(value) == "image_folder" and name not in settings
        }

    def identity(self) -> Identity:
        """What may not change when the sweep is resumed, since a trial's result follows from it."""
        return Identity(
            task=self.kind.__name__,
            metric=self.sweep.metric,
            mode=self.sweep.mode,  # type: ignore[arg-type]
            settings=as_json(self.base),
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
    if options.get("grid") and options.get("scheduler") == "asha":
        raise GenlabError("--grid compares all of its settings at the end: --scheduler asha would stop some early")
    fixed, choices = _parse_set(kind, options)
    base = complete(kind, {**sweep.settings, **fixed})
    space = {**sweep.space, **choices}
    taken = {*fixed, *(choices if options.get("grid") else ())}  # a grid's choices are its rows
    space = {name: distribution for name, distribution in space.items() if name not in taken}
    _check_space(sweep, kind, space)
    if options.get("grid"):
        space = {}
    scope = Scope(kind, base, ordered(space, sweep.conditions, sweep.name), sweep.conditions)
    default = _default(scope, choices)
    grid = _grid(sweep, kind, base, fixed, choices, options) if options.get("grid") else None
    config = build(kind, {**base, **(default if grid is None else grid[0])})
    workers = options.get("workers", 1)
    _check_settings(sweep, scope)
    _check_batches(config, scope.space, workers)
    reported = refusals.reported(config)
    if sweep.metric not in reported:
        raise GenlabError(
            f"{kind.__name__} does not report the metric {sweep.metric!r}: {nearest(sweep.metric, reported)}"
        )
    for row in grid or ():
        _check_batches(build(kind, {**base, **row}), {}, workers)
    if grid is None and not space and options.get("trials", 1) > 1:
        raise GenlabError(
            f"--trials {options['trials']} would do nothing: no field is searched, so there is one setting. Name "
            "choices by --set KEY=VALUE,VALUE, or train it on more seeds by --seeds N"
        )
    asked = options.get("trials", sweep.trials) if grid is None else len(grid)
    trials = Space(scope).count(asked) if grid is None else asked
    few = grid is not None or trials < FEW
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
        space=scope.space,
        default=default,
        grid=grid,
        trials=trials,
        asked=asked,
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


def _check_space(sweep: Sweep, kind: type[Config], space: Mapping[str, BaseDistribution]) -> None:
    """Refuse fields that cannot be searched, values of another type, one value twice, and conditions on what is not
    there."""
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


def _check_settings(sweep: Sweep, scope: Scope) -> None:
    """Refuse a value of which the config makes no trial, the others being the default's; where a field is searched
    under conditions, those that its conditions name are as they must be."""
    values = scope.values()
    for name, distribution in scope.space.items():
        if (around := scope.searching(name, values)) is None:
            continue
        for value in samples(distribution):
            try:
                scope.config({**around, name: value})
            except GenlabError as error:
                raise GenlabError(f"the space of {sweep.name!r}: {error}") from None


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


def _default(scope: Scope, choices: Mapping[str, Any]) -> Settings:
    """Trial 0's values of the searched fields: the default, or the first of the `choices` of `--set`."""
    default = scope.settings(scope.values())
    for name in default:
        if name in choices:
            continue
        distribution = scope.space[name]
        if name not in scope.base:
            build(scope.kind, scope.base)  # refuses it: no value for name
        elif not contains(distribution, written(scope.base[name])):
            raise GenlabError(
                f"the default {name}={scope.base[name]!r} lies outside of what is searched, {in_words(distribution)}: "
                "trial 0 is the default setting, so widen the range or give the sweep another default in its settings"
            )
    return default


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
    if not choices:
        try:
            build(kind, base)
        except GenlabError as error:
            raise GenlabError(
                f"{error} (in the default setting, with which the grid of {sweep.name!r} begins)"
            ) from None
    swept = list(dict.fromkeys(name for settings in given for name in settings))
    rows = []
    for settings in given:
        for name in settings:
            if name in fixed:
                raise GenlabError(f"--set {name} contradicts the grid of {sweep.name!r}, which sets it")
        config = build(kind, {**base, **settings})
        row = {name: written(getattr(config, name)) for name in swept}
        if row in rows:
            raise GenlabError(f"the grid of {sweep.name!r} has {row} twice: name each setting once")
        rows.append(row)
    default = {name: written(base[name]) for name in swept if name in base}
    others = [row for row in rows if row != default]
    return [default, *others] if not choices or len(others) < len(rows) else rows


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
