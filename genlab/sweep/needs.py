"""What the trials of a sweep need prepared, whatever settings they will have. Free of torch."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from genlab.errors import GenlabError
from genlab.tasks import Config, FromTask, build
from genlab.tasks.declared import check_class
from genlab.tasks.fields import as_dict
from genlab.tasks.prepared import Source
from genlab.tasks.returned import described, mapping

Settings = Mapping[str, Any]
MOST_VALUES = 64  # of a range of integers that prepare() may follow from


def to_prepare(
    kind: type[Config], base: Settings, space: Mapping[str, BaseDistribution], grid: Sequence[Settings] | None
) -> list[Config]:
    """Configs that together need prepared all that any trial of a sweep needs.

    Args:
        base: settings that all trials have in common.
        space: what is searched; values of its fields are tried one after the other, also in combination.
        grid: settings of every trial, instead of a search.

    Raises:
        GenlabError: `prepare()` follows from a range of floats, or names what cannot be prepared.
    """
    if grid is not None:
        return _different([build(kind, {**base, **row}) for row in grid])
    varied: dict[str, list[Any]] = {}
    while True:
        combinations = itertools.product(*varied.values())
        configs = [
            c for values in combinations if (c := _config(kind, {**base, **dict(zip(varied, values, strict=True))}))
        ]
        more = {
            name: distribution
            for name, distribution in space.items()
            if name not in varied and any(_follows(config, name, distribution) for config in configs)
        }
        if not more:
            return _different(configs)
        for name, distribution in more.items():
            varied[name] = _values(kind, name, distribution)


def _needs(config: Config) -> dict[str, str]:
    """The keys of what a config needs prepared."""
    keys = {}
    wanted = 'what there must be before a trial, by name, as in {"judge": FromTask(ClassifierConfig())}'
    for name, source in mapping(config.prepare(), config, "prepare", wanted).items():
        where = f"prepare() of {type(config).__name__}: {name}"
        if not isinstance(source, Source):
            raise GenlabError(
                f"{where} is {described(source)}: write FromTask(config), FromCheckpoint(path) or FromWeights(path)"
            )
        if not isinstance(source, FromTask):
            if "://" not in source.path and not os.path.isabs(source.path):
                raise GenlabError(
                    f"{where} is {source.path!r}: write {os.path.abspath(source.path)!r}, lanes run elsewhere"
                )
        elif not isinstance(source.config, Config):
            raise GenlabError(f"{where} is made of {described(source.config)}: write FromTask(TheConfig(...))")
        elif source.task is None and not source.config.implementation:
            raise GenlabError(
                f"{where} names no task: write FromTask(config, TheTask) for {type(source.config).__name__}"
            )
        elif source.task is not None:
            check_class(type(source.config))
        keys[name] = source.key()
    return keys


def _different(configs: list[Config]) -> list[Config]:
    """One config of each kind of needs, data and image size among them where the config says them."""
    found: dict[str, Config] = {}
    for config in configs:
        data = [getattr(config, name, None) for name in ("dataset", "image_size")]
        found.setdefault(json.dumps([_needs(config), data]), config)
    return list(found.values())


def _follows(config: Config, name: str, distribution: BaseDistribution) -> bool:
    """Whether what `config` needs prepared changes with a field."""
    needs = _needs(config)
    for value in samples(distribution):
        other = _config(type(config), {**as_dict(config), name: value})
        if other is not None and _needs(other) != needs:
            return True
    return False


def _config(kind: type[Config], settings: Settings) -> Config | None:
    """None where the settings make no trial."""
    try:
        return build(kind, settings)
    except GenlabError:
        return None


def _values(kind: type[Config], name: str, distribution: BaseDistribution) -> list[Any]:
    """All values of a field."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if isinstance(distribution, IntDistribution) and not distribution.log:
        values = range(distribution.low, distribution.high + 1, distribution.step)
        if len(values) <= MOST_VALUES:
            return list(values)
    raise GenlabError(
        f"what {kind.__name__} needs prepared follows from {name}, whose values {distribution} are too many to prepare "
        f"for: make it a choice, or leave it out of prepare()"
    )


def samples(distribution: BaseDistribution) -> list[Any]:
    """The ends of a range, or every choice: what the config must accept of it."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    return [getattr(distribution, "low"), getattr(distribution, "high")]  # noqa: B009 - of both kinds of range
