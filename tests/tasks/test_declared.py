"""A config's class whose fields no sweep could search, record or send to a lane is refused, with what to write."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from genlab.errors import GenlabError
from genlab.tasks import Config, GANConfig, build
from genlab.tasks.declared import check_class
from genlab.tasks.fields import as_dict, as_text, check_value, parse_value

START = """\
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar, Literal, Optional, Sequence, Union
import typing
import torch
from genlab.tasks import Config, PhasedConfig

@dataclass(frozen=True, kw_only=True)
class C(PhasedConfig):
"""


@pytest.fixture
def module(tmp_path: Path) -> Iterator[Any]:
    """Makes a module of some lines and gives its class C; the lines begin at the fields of C."""
    name = "declared_here"

    def make(lines: str, start: str = START, as_main: bool = False) -> type[Config]:
        path = tmp_path / f"{name}.py"
        path.write_text(start + lines)
        made = types.ModuleType(name)
        made.__file__ = str(path)
        sys.modules[name] = made
        made.__dict__["__name__"] = name
        exec(compile(path.read_text(), str(path), "exec", dont_inherit=True), made.__dict__)
        kind = made.__dict__["C"]
        if as_main:
            kind.__module__ = "__main__"
        return kind

    yield make
    sys.modules.pop(name, None)


TAKEN = [
    "a: int = 1\n b: float = 1\n c: bool = True\n d: str = 'x'",
    "a: Literal['x', 'y', 3, None] = 'x'",
    "a: int | None = None\n b: Optional[float] = 0.5\n c: Union[int, str] = 'x'",
    "a: tuple[int, ...] = (1, 2)\n b: tuple[float, int] = (1, 2)\n c: tuple[Literal['x'], ...] = ()",
    "a: tuple[int, ...] | None = None\n b: tuple[tuple[int, int], ...] = ((1, 2),)",
    "a: tuple[int, ...] = field(default_factory=lambda: (1, 2))",
    "a: int",
    "a: ClassVar[list[int]] = [1]\n LIMITS = {'x': 3}",
    "a: int = field(default=3)",
    "batch_size: int = 32",
    "def check(self): super().check()",
]


@pytest.mark.parametrize("lines", TAKEN)
@pytest.mark.parametrize("future", [False, True])
def test_what_a_config_may_be_made_of(module: Any, lines: str, future: bool) -> None:
    start = "from __future__ import annotations\n" * future + START
    kind = module(f" {lines}\n", start)
    check_class(kind)
    given = {"a": 1} if lines == "a: int" else {}
    assert build(kind, as_dict(build(kind, given))) == build(kind, given)


REFUSED = [
    ("layers: list[int] = field(default_factory=lambda: [16, 32])", "write `layers: tuple[int, ...] = (16, 32)`"),
    (
        "layers: list = field(default_factory=lambda: [0.5])",
        "of the type list, .*: write `layers: tuple[float, ...] =",
    ),
    ("layers: list[int]", "is of the type list[int], .*: write `layers: tuple[int, ...]`$"),
    ("layers: list[int] | None = None", "write `layers: tuple[int, ...] | None`$"),
    ("layers: Sequence[int] = (16, 32)", "write `layers: tuple[int, ...] = (16, 32)`"),
    ("layers: typing.List[int] = field(default_factory=list)", "write `layers: tuple[int, ...] = ()`"),
    ("layers: tuple = (16, 32)", "write `layers: tuple[int, ...] = (16, 32)`"),
    ("layers: set[str] = field(default_factory=lambda: {'x'})", r"write `layers: tuple[str, ...] = ('x',)`"),
    ("layers: frozenset = frozenset()", r"write `layers: tuple[float, ...] = ()`"),
    (
        "layers: dict[str, int] = field(default_factory=dict)",
        "of the type dict[str, int], but a field is an int",
    ),
    ("layers: Any = 3", "C.layers (FILE:10) is of the type Any, but a field is an int"),
    ("layers: torch.device = torch.device('cpu')", "is of the type device, but a field is an int, float"),
    ("layers: object = None", "is of the type object"),
    ("layers: complex = 1j", "is of the type complex"),
    ("layers: tuple[int | None, ...] = ()", "is of the type tuple[int | None, ...]"),
    ("layers: tuple[list[int], ...] = ()", "is of the type tuple[list[int], ...]"),
    ("lr: float = '0.1'", "the default of C.lr (FILE:10): lr='0.1' is ill-typed: lr is a float"),
    ("steps: int = None", "the default of C.steps (FILE:10): steps=None is ill-typed: steps is an int"),
    ("steps: int = 0.5", "steps=0.5 is ill-typed"),
    ("mode: Literal['a', 'b'] = 'c'", "mode='c' is ill-typed: mode is a or b"),
    ("layers: tuple[int, ...] = 3", "layers=3 is ill-typed: layers is a tuple, written int:..."),
    (
        "layers: tuple[int, ...] = field(default_factory=lambda: [1, 2])",
        r"the default of C.layers (FILE:10) is a list of 2: write the tuple (1, 2)",
    ),
    ("layers: tuple[int, ...] = '1:2'", r"is the str '1:2': write the tuple (1, 2)"),
    ("a: int = field(default=3, init=False)", "C.a (FILE:10) has init=False, so that no setting could be its value"),
    ("a: int = 1\n batch_size = 32", "C.batch_size (FILE:11) has no type, .*: write `batch_size: int = 32`"),
    ("epoch_steps = 5", "write `epoch_steps: int | None = 5`"),
    ("a: 'Unknown' = 3", "the annotations of C (FILE:9) cannot be looked up: name 'Unknown' is not defined"),
]


@pytest.mark.parametrize(("lines", "says"), REFUSED)
def test_what_a_config_may_not_be_made_of(module: Any, lines: str, says: str, tmp_path: Path) -> None:
    says = says.replace("...", r"\.\.\.")
    words = re.sub(r"[\[\]()|]", lambda found: "\\" + found.group(), says)
    words = words.replace("FILE", ".*declared_here.py")
    with pytest.raises(GenlabError, match=words):
        check_class(module(f" {lines}\n"))


def test_what_is_advised_is_taken(module: Any) -> None:
    for _, says in REFUSED:
        for advised in re.findall(r"write `(.*)`", says):
            check_class(module(f" {advised}\n"))


@pytest.mark.parametrize(
    "lines", [" width: int = 4\n nz: int = 2\n LIMITS: ClassVar[int] = 3\n", " width: int\n nz: int\n"]
)
def test_a_forgotten_decorator_is_told(module: Any, lines: str) -> None:
    undecorated = START.replace("@dataclass(frozen=True, kw_only=True)\n", "")
    says = r"C \(.*declared_here.py:8\) is no dataclass, so that width, nz would have no effect: write @dataclass\("
    with pytest.raises(GenlabError, match=says):
        check_class(module(lines, undecorated))
    below = f"{undecorated}{lines}\n@dataclass(frozen=True, kw_only=True)\nclass D(C):\n x: int = 1\nC = D\n"
    with pytest.raises(GenlabError, match=r"C .* is no dataclass"):
        check_class(module("", below))


def test_a_class_without_fields_of_its_own_needs_no_decorator(module: Any) -> None:
    undecorated = START.replace("@dataclass(frozen=True, kw_only=True)\n", "")
    kind = module(" LIMIT: ClassVar[int] = 3\n def reports(self): return ('loss',)\n", undecorated)
    check_class(kind)
    assert build(kind, {"batch_size": 8}).reports() == ("loss",)


def test_fields_need_not_be_by_keyword_only(module: Any) -> None:
    kind = module(" a: int = 1\n", START.replace("frozen=True, kw_only=True", "frozen=True"))
    check_class(kind)
    assert build(kind, {"a": 2}).a == 2  # type: ignore[attr-defined]


def test_a_field_without_default_must_be_set(module: Any) -> None:
    kind = module(" width: int\n nz: int\n")
    with pytest.raises(GenlabError, match="C has no value for width, nz: give the field a default in the class"):
        build(kind, {})
    assert build(kind, {"width": 1, "nz": 2}).nz == 2  # type: ignore[attr-defined]


# ---- what a lane could not look up

FUTURE = "from __future__ import annotations\n" + START


@pytest.mark.parametrize(
    ("lines", "absent"),
    [
        (" mode: Literal['a', 'b'] = 'a'\n", "Literal"),
        (" a: int = 1\n width: Optional[int] = None\n", "Optional"),
        (" LIMIT: ClassVar[int] = 3\n", "ClassVar"),
        (" layers: tuple[Literal['x'], ...] = ()\n", "Literal"),
        (" steps: typing.Union[int, str] = 3\n", "typing"),
    ],
)
def test_text_that_a_lane_could_not_look_up_is_refused_in_a_script(module: Any, lines: str, absent: str) -> None:
    field = lines.strip().splitlines()[-1].strip().partition(":")[0]
    kind = module(lines, FUTURE, as_main=True)
    with pytest.raises(
        GenlabError, match=rf"C.{field} is annotated by .*, which lanes cannot .* keeps {absent} as text"
    ):
        check_class(kind)
    check_class(module(lines, FUTURE))  # a module that a lane imports
    check_class(module(lines, START, as_main=True))  # no text


def test_text_of_builtin_names_is_no_trouble(module: Any) -> None:
    check_class(
        module(" lr: float = 0.1\n layers: tuple[int, ...] = ()\n n: int | None = None\n", FUTURE, as_main=True)
    )


# ---- tuples as they are written and kept


@pytest.mark.parametrize(
    ("hint", "text", "value"),
    [
        ("tuple[int, ...]", "16:32", (16, 32)),
        ("tuple[int, ...]", "16", (16,)),
        ("tuple[int, ...]", "", ()),
        ("tuple[float, int]", "0.5:3", (0.5, 3)),
        ("tuple[Literal['x', 'y'], ...]", "x:y", ("x", "y")),
        ("tuple[int, ...] | None", "none", None),
        ("tuple[int, ...] | None", "1:2", (1, 2)),
    ],
)
def test_a_tuple_is_written_with_colons_and_survives(module: Any, hint: str, text: str, value: Any) -> None:
    kind = module(f" layers: {hint} = {value!r}\n")
    check_class(kind)
    assert parse_value(kind, "layers", text) == value
    assert check_value(kind, "layers", list(value) if value is not None else None) == value
    assert value is None or as_text(value) == text


def test_genlabs_own_configs_are_what_they_must_be() -> None:
    check_class(GANConfig)
    check_class(Config)


def test_a_class_variable_that_is_kept_as_text_is_no_field(monkeypatch: pytest.MonkeyPatch) -> None:
    text = """from __future__ import annotations
import typing
from typing import ClassVar
from genlab.tasks import PhasedConfig

class Limited(PhasedConfig):
    LIMIT: ClassVar[int] = 3
    OTHER: typing.ClassVar[int] = 4
"""
    module: Any = types.ModuleType("limited")
    monkeypatch.setitem(sys.modules, "limited", module)
    exec(text, vars(module))
    check_class(module.Limited)
