"""A config's class before any config is made of it: what no sweep could search, record or send to a lane. Free of
torch."""

from __future__ import annotations

import ast
import builtins
import dataclasses
import functools
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from genlab.errors import GenlabError
from genlab.tasks.config import Config
from genlab.tasks.fields import check_value, hints, options
from genlab.tasks.returned import described, near

PLAIN = (int, float, bool, str)
KINDS = "an int, float, bool, str, a Literal, one of these or None, or a tuple such as tuple[int, ...]"


@functools.cache
def check_class(kind: type[Config]) -> None:
    """Refuse a class that is not what a config must be.

    Raises:
        GenlabError: naming the class, the field, its line and what to write: fields that a forgotten `@dataclass` or a
            forgotten annotation leaves without effect, annotations that a lane could not look up, a type that no field
            may have, or a default that is not of its field's type.
    """
    own = [one for one in kind.__mro__ if issubclass(one, Config)]
    for one in own:
        _check_decorated(one)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for one in own:
        for name in vars(one):
            if name in fields and name not in vars(one).get("__annotations__", {}):
                raise GenlabError(
                    f"{_place(one, name)} has no type, and so does not change the default of the field {name}: write "
                    f"`{name}: {_written(hints(kind)[name])} = {vars(one)[name]!r}`"
                )
        if one.__module__ == "__main__":
            _check_texts(one)
    try:
        types_of = hints(kind)
    except Exception as error:  # whatever an annotation's names and operators raise
        raise GenlabError(f"the annotations of {_place(kind)} cannot be looked up: {error}") from error
    for name, field in fields.items():
        owner = next(one for one in own if name in vars(one).get("__annotations__", {}))
        _check_type(_place(owner, name), name, types_of[name], field)
        _check_default(kind, _place(owner, name), name, field)


def _check_decorated(kind: type[Config]) -> None:
    """Without `@dataclass` the fields of the class itself are none."""
    annotations: Mapping[str, Any] = vars(kind).get("__annotations__", {})
    names = [name for name, hint in annotations.items() if not _is_of_class(hint)]
    if names and "__dataclass_fields__" not in vars(kind):
        raise GenlabError(
            f"{_place(kind)} is no dataclass, so that {', '.join(names)} would have no effect: write "
            "@dataclass(frozen=True, kw_only=True) above it"
        )


def _is_of_class(hint: Any) -> bool:
    if isinstance(hint, str):
        return hint.removeprefix("typing.").startswith("ClassVar")
    return hint is ClassVar or typing.get_origin(hint) is ClassVar


def _check_texts(kind: type[Config]) -> None:
    """Annotations that are kept as text are looked up on a lane, too, where there is no script."""
    for name, text in vars(kind).get("__annotations__", {}).items():
        if not isinstance(text, str):
            continue
        used = {node.id for node in ast.walk(ast.parse(text, mode="eval")) if isinstance(node, ast.Name)}
        if absent := sorted(used - vars(builtins).keys()):
            raise GenlabError(
                f"{_place(kind, name)} is annotated by {text}, which lanes cannot look up: they get the class without "
                f"the script, and `from __future__ import annotations` keeps {', '.join(absent)} as text. Take that "
                "import out of the script, or move the config to a module that is installed"
            )


def _check_type(place: str, name: str, hint: Any, field: dataclasses.Field[Any]) -> None:
    """Refuse a type of which no command line and no file could hold a value."""
    for option in options(hint):
        if option is types.NoneType or _may_be(option):
            continue
        origin = typing.get_origin(option) or option
        if not (isinstance(origin, type) and issubclass(origin, typing.Collection)) or issubclass(origin, Mapping):
            raise GenlabError(f"{place} is of the type {_written(option)}, but a field is {KINDS}")
        default = _default(field)
        values = list(default) if isinstance(default, typing.Collection) else []
        kinds = [one for one in typing.get_args(option) if one is not Ellipsis]
        inner = kinds[0] if kinds else next(iter({type(value) for value in values}), float)
        instead = f"tuple[{_written(inner)}, ...]"
        rest = "".join(f" | {_written(one)}" for one in options(hint) if one is not option)
        shown = f" = {tuple(values)!r}" if _default(field) is not dataclasses.MISSING and default is not None else ""
        raise GenlabError(
            f"{place} is of the type {_written(option)}, but a field is {KINDS}: write `{name}: {instead}{rest}{shown}`"
        )


def _may_be(option: Any, inside: bool = False) -> bool:
    """Whether a field may be of this type, or the elements of a tuple."""
    if typing.get_origin(option) is Literal:
        return all(value is None or type(value) in PLAIN for value in typing.get_args(option))
    if typing.get_origin(option) is tuple:
        kinds = [one for one in typing.get_args(option) if one is not Ellipsis]
        return bool(kinds) and all(_may_be(one, inside=True) for one in kinds)
    return option in PLAIN


def _check_default(kind: type[Config], place: str, name: str, field: dataclasses.Field[Any]) -> None:
    if not field.init:
        raise GenlabError(f"{place} has init=False, so that no setting could be its value: make it a property")
    default = _default(field)
    if default is dataclasses.MISSING:
        return
    try:
        value = check_value(kind, name, default)
    except GenlabError as error:
        raise GenlabError(f"the default of {place}: {error}") from None
    if isinstance(value, tuple) and not isinstance(default, tuple):
        raise GenlabError(f"the default of {place} is {described(default)}: write the tuple {value!r}")


def _default(field: dataclasses.Field[Any]) -> Any:
    """MISSING where it has none."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _written(hint: Any) -> str:
    """A type as it is written in a class."""
    if typing.get_origin(hint) is None and isinstance(hint, type):
        return "None" if hint is types.NoneType else hint.__name__
    return str(hint).replace("typing.", "")


def _place(kind: type, field: str | None = None) -> str:
    """`VAEConfig.width (sweeps/vae.py:20)`; without file and line where they are not known."""
    name = f"{kind.__name__}.{field}" if field else kind.__name__
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    try:
        with open(file or "", encoding="utf-8") as source:
            tree = ast.parse(source.read())
    except (OSError, SyntaxError, ValueError):
        return name
    line = next(_lines(tree, kind.__name__, field), None)
    return f"{name} ({near(str(file))}:{line})" if line else name


def _lines(tree: ast.Module, kind: str, field: str | None) -> Iterator[int]:
    """Lines of the class, or of the field in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == kind:
            if field is None:
                yield node.lineno
            for part in node.body:
                targets = part.targets if isinstance(part, ast.Assign) else [getattr(part, "target", None)]
                if field in [target.id for target in targets if isinstance(target, ast.Name)]:
                    yield part.lineno
