"""What the trials of a sweep need prepared, whatever settings they will have. Free of torch."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

from genlab.errors import GenlabError
from genlab.sweep.scope import Scope, listed, samples
from genlab.tasks import Config, FromTask
from genlab.tasks.declared import check_class
from genlab.tasks.prepared import Source, problem
from genlab.tasks.returned import described, mapping

Settings = Mapping[str, Any]


def to_prepare(scope: Scope) -> list[Config]:
    """Configs that together need prepared all that any trial of a search needs. `prepare()` is asked about settings
    that trials can have, and no others.

    Raises:
        GenlabError: `prepare()` follows from a range of floats, or names what cannot be prepared.
    """
    values = scope.values()
    deciding = {other for name in scope.space for other in scope.conditions.get(name, {}) if other in scope.space}
    varied = {other: _deciding(scope, other, values[other]) for other in sorted(deciding)}
    followed: set[str] = set()  # fields of which prepare() takes notice
    while True:
        combined = [{**values, **dict(zip(varied, each, strict=True))} for each in itertools.product(*varied.values())]
        more = [
            name
            for name in scope.space
            if name not in followed and any(_follows(scope, each, name) for each in combined)
        ]
        if not more:
            return different([config for each in combined if (config := _config(scope, each)) is not None])
        varied |= {name: _values(scope, name) for name in more}
        followed.update(more)


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
        if (wrong := problem(source)) is not None:
            raise GenlabError(f"{where} {wrong}")
        if isinstance(source, FromTask) and source.task is not None:
            check_class(type(source.config))
        keys[name] = source.key()
    return keys


def different(configs: list[Config]) -> list[Config]:
    """One config of each kind of needs, data and image size among them where the config says them."""
    found: dict[str, Config] = {}
    for config in configs:
        data = [getattr(config, name, None) for name in ("dataset", "image_size")]
        found.setdefault(json.dumps([_needs(config), data]), config)
    return list(found.values())


def _follows(scope: Scope, values: Settings, name: str) -> bool:
    """Whether what a trial needs prepared changes with a field, the others having these values and being searched as
    they are then."""
    if name not in (searched := scope.settings(values)):
        return False
    others = [{**values, name: value} for value in samples(scope.space[name])]
    alike = [each for each in others if scope.settings(each).keys() == searched.keys()]
    needs = [_needs(config) for each in (values, *alike) if (config := _config(scope, each)) is not None]
    return any(each != needs[0] for each in needs)


def _config(scope: Scope, values: Settings) -> Config | None:
    """None where these values make no trial."""
    try:
        return scope.config(values)
    except GenlabError:
        return None


def _values(scope: Scope, name: str) -> list[Any]:
    """All values of a field."""
    if (values := listed(scope.space[name])) is None:
        raise GenlabError(
            f"what {scope.kind.__name__} needs prepared follows from {name}, whose values {scope.space[name]} are too "
            "many to prepare for: make it a choice, or leave it out of prepare()"
        )
    return values


def _deciding(scope: Scope, other: str, default: Any) -> list[Any]:
    """Values of a field that conditions name: the default, and one for each way in which these may hold."""
    wanted = [scope.conditions[name][other] for name in scope.space if other in scope.conditions.get(name, {})]
    named = [value for each in wanted for value in scope.allowed(other, each)]
    found: dict[tuple[bool, ...], Any] = {}
    for value in (default, *samples(scope.space[other]), *named):
        found.setdefault(tuple(scope.holds(other, value, each) for each in wanted), value)
    return list(found.values())
