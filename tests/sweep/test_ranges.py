"""What `choice`, `uniform`, `log_uniform` and `integer` may be told. What cannot be searched is refused in a sentence
by `main`, not where a script calls them. Numbers of numpy are Python's own."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import toys
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from toys import ToyConfig, toy_sweep

from genlab.errors import GenlabError
from genlab.sweep import choice, integer, log_uniform, uniform
from genlab.sweep.plan import Plan, make
from genlab.tasks import build
from genlab.tracking.schema import as_json

NAN, INF = math.nan, math.inf


@dataclasses.dataclass(frozen=True, kw_only=True)
class EveryConfig(ToyConfig):
    """A field of each kind."""

    rate: float = 0.5
    size: int = 16
    heads: Literal[1, 2, 4] = 1
    mode: Literal["none", "flip"] = "none"
    flag: bool = False
    name: str = "a"
    widths: tuple[int, ...] = (8,)
    depth: int | None = None

    def check(self) -> None:
        super().check()
        if self.size % 8:
            raise GenlabError(f"size={self.size} must be a multiple of 8")


class Every(toys.Toy):
    Config = EveryConfig


def plan(space: Any, options: Any = None, **changes: Any) -> Plan:
    return make(toy_sweep(task=Every, space=space, **changes), options or {}, None)


WRONG_WAY = "its bounds stand the wrong way round: write"


@pytest.mark.parametrize(
    ("field", "call", "arguments", "says"),
    [
        ("rate", log_uniform, (0, 0.1), "log_uniform(0, 0.1): a logarithmic range begins above 0: write"),
        ("rate", log_uniform, (0, 0.1), "write log_uniform(0.0001, 0.1) or uniform(0, 0.1)"),
        ("rate", log_uniform, (-2, -1), "a logarithmic range begins above 0: write uniform(-2, -1)"),
        ("rate", log_uniform, (1e-200, 1), "a logarithmic range begins above 0: write log_uniform(0.001, 1)"),
        ("rate", log_uniform, (1, 0.1), f"log_uniform(1, 0.1): {WRONG_WAY} log_uniform(0.1, 1)"),
        ("rate", uniform, (1, 0), f"uniform(1, 0): {WRONG_WAY} uniform(0, 1)"),
        ("rate", uniform, ("a", 1), "uniform('a', 1): 'a' is no number: write two, as in uniform(0.001, 0.1)"),
        ("rate", uniform, (0, "1"), "'1' is no number"),
        ("rate", uniform, (None, 1), "None is no number"),
        ("rate", log_uniform, ([0.1, 1], 2), "[0.1, 1] is no number: write two, as in log_uniform("),
        ("rate", uniform, (True, 2), "True is no number"),
        ("rate", uniform, (np.bool_(False), 2), "False is no number"),
        ("rate", uniform, (NAN, 1), "uniform(nan, 1): nan is no bound: write numbers up to 1e+150"),
        ("rate", uniform, (0, INF), "inf is no bound"),
        ("rate", uniform, (-INF, 0), "-inf is no bound"),
        ("rate", uniform, (0, 10**400), "... is no bound"),
        ("rate", uniform, (-1e308, 1e308), "-1e+308 is no bound"),  # what lies between would be infinite
        ("rate", choice, (), "choice(): it has no values: write them, as in choice(16, 32)"),
        ("rate", choice, ([0.1, 0.2],), "[0.1, 0.2] is a list: write choice(0.1, 0.2) for its elements, or choice("),
        ("rate", choice, (np.array([1, 2]),), "choice(array([1, 2])): array([1, 2]) is no value of a field: write the"),
        ("size", choice, (range(3),), "range(0, 3) is no value of a field: write the values one by one, as in"),
        ("size", choice, ({16},), "{16} is no value of a field"),
        ("size", choice, ({"a": 1},), "{'a': 1} is no value of a field"),
        ("name", choice, ("a", len), "<built-in function len> is no value of a field"),
        ("rate", choice, (0.5, NAN), "nan is no value of a field"),
        ("widths", choice, ((8, NAN),), "(8, nan) is no value of a field"),
        ("size", integer, (100.5, 500), "integer(100.5, 500): 100.5 is no whole number: write whole ones, as in"),
        ("size", integer, (100.5, 500), "write whole ones, as in integer(100, 500)"),
        ("size", integer, (0, 10, 2.5), "2.5 is no whole number"),
        ("size", integer, ("1", 2), "'1' is no whole number: write whole ones, as in integer(16, 64)"),
        ("size", integer, (True, 5), "True is no whole number"),
        ("size", integer, (None, 5), "None is no whole number"),
        ("size", integer, (NAN, 5), "nan is no bound: write whole numbers up to 9007199254740992"),
        ("size", integer, (0, INF), "inf is no bound"),
        ("size", integer, (0, 2**53 + 1), "9007199254740993 is no bound"),
        ("size", integer, (64, 16), f"integer(64, 16): {WRONG_WAY} integer(16, 64)"),
        ("size", integer, (0, 16, 0), "integer(0, 16, step=0): its step must be 1 at least"),
        ("size", integer, (0, 16, -8), "its step must be 1 at least"),
        ("size", integer, (16, 32, 17), "its step is longer than the range, so that 16 would be its only value"),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_is_refused_with_what_was_written(
    field: str, call: Any, arguments: Any, says: str
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of Optuna's
        space = {field: call(*arguments)}  # while a script is imported: nothing is raised
        with pytest.raises(GenlabError) as refused:
            plan(space)
    assert str(refused.value).startswith(f"the space's {field} is {call.__name__}(") and says in str(refused.value)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    ("field", "values", "says"),
    [
        ("rate", choice(0.5, 1, 1.0), "the choice of rate has the value 1.0 twice: name each value once"),
        ("rate", choice(0.5, 0.5), "the choice of rate has the value 0.5 twice"),
        ("rate", choice(1, 1.0, True), "rate=True is ill-typed: rate is a float"),
        ("rate", choice(0.5, "0.5"), "rate='0.5' is ill-typed"),
        ("rate", choice("0.1,0.5"), "rate is a float: write the values one by one, as in choice(16, 32)"),
        ("widths", choice((8,), "8"), "the choice of widths has the value 8 twice"),
        ("widths", choice((8, 16), (8, 16)), "the choice of widths has the value 8:16 twice"),
        ("flag", choice(0, 1), "flag=0 is ill-typed: flag is true or false"),
        ("mode", choice("none, flip"), "mode is none or flip: write the values one by one"),
        ("mode", uniform(0, 1), "mode=0.0 is ill-typed: mode is none or flip"),
        ("size", uniform(16, 64), "size=16.0 is ill-typed: size is an int: write integer(16, 64)"),
        ("depth", uniform(1, 4), "depth is none or an int: write integer(1, 4)"),
        ("size", choice(16, 16.5), "size=16.5 is ill-typed: size is an int"),
        ("heads", integer(1, 4), "heads=3 is ill-typed: heads is 1 or 2 or 4"),  # also between the ends
        ("size", integer(16, 32), "size=17 must be a multiple of 8"),
        ("name", choice("abc"), "the default name='a' lies outside of what is searched, abc"),
    ],
)
def test_what_does_not_suit_its_field_is_refused(field: str, values: Any, says: str) -> None:
    with pytest.raises(GenlabError) as refused:
        plan({field: values})
    assert says in str(refused.value)
    several = isinstance(values, CategoricalDistribution) and len(values.choices) > 1
    assert not several or "one by one" not in str(refused.value)


def test_a_long_call_is_said_with_its_first_eight_values() -> None:
    values = [*range(1, 8), [9], "x" * 99]
    for count, said in (
        (8, "choice(1, 2, 3, 4, 5, 6, 7, [9]): [9]"),
        (9, "choice(1, 2, 3, 4, 5, 6, 7, [9], ...): [9]"),
    ):
        with pytest.raises(GenlabError) as refused:
            plan({"size": choice(*values[:count])})
        assert str(refused.value).startswith(f"the space's size is {said} is a list: write choice(9)")
    for length, said in ((58, f"'{'x' * 58}'"), (59, f"'{'x' * 56}...")):  # with quotes 60 characters at most
        with pytest.raises(GenlabError) as refused:
            plan({"size": uniform(0, "x" * length)})  # type: ignore[arg-type]
        assert str(refused.value).startswith(f"the space's size is uniform(0, {said}): {said} is no number")


def test_ranges_of_one_value_and_steps_that_do_not_fit_are_taken() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert integer(1, 10, step=4) == IntDistribution(1, 9, step=4)  # up to 10
        assert integer(16, 16) == IntDistribution(16, 16) and integer(1e1, 1e3) == IntDistribution(10, 1000)
        assert integer(0, 16, 16) == IntDistribution(0, 16, step=16)
        assert plan({"rate": uniform(0.5, 0.5), "size": integer(16, 16), "name": choice("a")}).trials == 1
        assert log_uniform(1e-150, 1e150) == FloatDistribution(1e-150, 1e150, log=True)
        assert integer(-(2**53), 2**53) == IntDistribution(-(2**53), 2**53)


def test_numbers_of_numpy_are_pythons_own() -> None:
    ranges = [
        (uniform(np.float32(0.25), np.int64(2)), FloatDistribution(0.25, 2.0)),
        (log_uniform(np.float64(0.25), np.array(2.0)), FloatDistribution(0.25, 2.0, log=True)),
        (integer(np.int64(16), np.int32(64), np.uint8(8)), IntDistribution(16, 64, step=8)),
    ]
    for made, expected in ranges:
        assert made == expected and type(made.low) is type(expected.low) and type(made.high) is type(expected.high)
    values = choice(np.int64(3), np.float32(0.5), np.bool_(True), np.str_("x"), (np.int64(8), 16), None).choices
    assert values == (3, 0.5, True, "x", "8:16", None)
    assert [type(value) for value in values] == [int, float, bool, str, str, type(None)]


def test_settings_grids_conditions_and_counts_may_be_numpys() -> None:
    settings = {"rate": np.float64(0.25), "size": np.int64(8), "flag": np.bool_(True), "name": np.str_("b")}
    made = plan({}, settings=settings | {"widths": (np.int64(4), 8), "lr": np.array(0.5)})
    expected = {"rate": 0.25, "size": 8, "flag": True, "name": "b", "widths": (4, 8), "lr": 0.5}
    assert {name: made.base[name] for name in expected} == expected
    assert [type(made.base[name]) for name in expected] == [float, int, bool, str, tuple, float]
    rows = [{"size": np.int64(32), "rate": np.float32(0.25)}, {"size": np.int16(8), "rate": 1}]
    grid = plan({}, {"grid": True}, grid=rows).grid
    assert grid == [{"size": 16, "rate": 0.5}, {"size": 32, "rate": 0.25}, {"size": 8, "rate": 1.0}]
    conditions: Any = {"rate": {"size": {np.int64(8), np.int64(16)}}, "flag": {"size": frozenset({np.int64(16)})}}
    space = {"size": choice(np.int64(8), 16, 32), "rate": uniform(0, 1), "flag": choice(False, True)}
    searched = plan(space, conditions=conditions, trials=np.int64(7), reduction_factor=np.int64(2))
    assert searched.trials == 7 and searched.default == {"size": 16, "rate": 0.5, "flag": False}
    json.dumps([as_json(searched.identity()), grid, as_json(made.identity())])  # of Python's own numbers alone
    as_lists = {"rate": {"size": [16, 8]}, "flag": {"size": [16]}}
    assert searched.identity().conditions == as_lists == plan(space, conditions=as_lists).identity().conditions


def test_a_default_of_the_class_may_be_numpys() -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class NumpyConfig(ToyConfig):
        rate: float = np.float32(0.5)  # type: ignore[assignment]
        size: int = np.int64(16)  # type: ignore[assignment]

    class Numpy(toys.Toy):
        Config = NumpyConfig

    made = make(toy_sweep(task=Numpy, space={"rate": uniform(0, 1), "size": choice(16, 32)}), {}, None)
    assert made.default == {"rate": 0.5, "size": 16}
    assert [type(value) for value in made.default.values()] == [float, int]
    assert json.loads(json.dumps(dataclasses.asdict(made.first())))["size"] == 16


def test_what_is_no_number_of_numpys_is_refused_as_before() -> None:
    for settings, says in (
        ({"size": np.float64(16)}, "size=16.0 is ill-typed: size is an int"),
        ({"rate": np.array([0.5])}, r"rate=array\(\[0.5\]\) is ill-typed"),
        ({"rate": np.bool_(True)}, "rate=True is ill-typed"),
        ({"rate": np.float64(NAN)}, "rate=nan is ill-typed: rate is a float, and nan is no number"),
        ({"rate": 10**400}, "is ill-typed: rate is a float"),
        ({"flag": np.int64(1)}, "flag=1 is ill-typed: flag is true or false"),
    ):
        with pytest.raises(GenlabError, match=says):
            plan({}, settings=settings)
    with pytest.raises(GenlabError, match="rate=nan is ill-typed"):
        build(EveryConfig, {"rate": NAN})


# ---- the command line


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("flag=yes", "flag=yes is ill-typed: flag is true or false"),
        ("flag=1", "flag=1 is ill-typed: flag is true or false"),
        ("flag=true,no", "flag=no is ill-typed"),
        ("flag=", "--set flag=: write it as KEY=VALUE or KEY=VALUE,VALUE, without spaces"),
        ("rate=1,1.0", "--set rate=1,1.0 has the value 1.0 twice: name each value once"),
        ("size=8,08", "--set size=8,08 has the value 8 twice"),
        ("widths=8:16,8:16", "has the value 8:16 twice"),
        ("rate=nan", "rate=nan is ill-typed: rate is a float, and nan is no number"),
        ("rate=0.5,NaN", "rate=NaN is ill-typed"),
        ("size=16,", "--set size=16,: write it as KEY=VALUE or KEY=VALUE,VALUE, without spaces"),  # before `32`
        ("32", "--set 32: write it as KEY=VALUE or KEY=VALUE,VALUE, without spaces"),
        ("name=a,", "--set name=a,: write it as"),  # no text is no value here: a comma too much
        ("size=8.0", "size=8.0 is ill-typed: size is an int"),
        ("heads=3", "heads=3 is ill-typed: heads is 1 or 2 or 4"),
    ],
)
def test_what_set_cannot_mean_is_refused(words: str, says: str) -> None:
    with pytest.raises(GenlabError) as refused:
        plan({}, {"set": (words,)})
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("flag=true, False", (True, False)),
        ("size=16, 32", (16, 32)),
        ("mode=flip, none", ("flip", "none")),
        ("heads= 1, 4", (1, 4)),
        ("name=a, b", ("a", "b")),
        ("depth=none,2", (None, 2)),
        ("widths=8, 16:32", ("8", "16:32")),
        ("rate=0,1", (0.0, 1.0)),
    ],
)
def test_set_makes_a_choice_whatever_stands_after_a_comma(words: str, values: tuple[Any, ...]) -> None:
    made = plan({}, {"set": (words,)})
    (distribution,) = made.space.values()
    assert distribution.choices == values and made.trials == len(values)  # type: ignore[attr-defined]


def test_what_is_empty_can_be_set_as_a_summary_writes_it() -> None:
    """The command that trains a trial again names all of its settings."""
    made = plan({}, {"set": ("name=", "widths=", "depth=None")})
    assert (made.base["name"], made.base["widths"], made.base["depth"]) == ("", (), None)


def test_a_grid_has_each_setting_once() -> None:
    rows = [{"size": 32}, {"size": 8}, {"size": 32}]
    with pytest.raises(GenlabError, match=r"the grid of 'toy' has \{'size': 32\} twice: name each setting once"):
        plan({}, {"grid": True}, grid=rows)
    with pytest.raises(GenlabError, match=r"the grid of 'toy' has \{'size': 32, 'rate': 0.5\} twice"):
        plan({}, {"grid": True}, grid=[{"size": 32}, {"size": 32, "rate": 0.5}])
    assert len(plan({}, {"grid": True}, grid=[{"size": 16}, {"size": 32}]).grid or ()) == 2  # the default may be named


# ---- a script


SCRIPT = """
from genlab.sweep import Sweep, log_uniform, main
SWEEP = Sweep(name="digits", task="classifier", metric="accuracy/clean", space={{"lr": log_uniform({bounds})}})
if __name__ == "__main__":
    main(SWEEP)
"""


@pytest.mark.parametrize("arguments", [(), ("--dry-run",), ("--debug",), ("--grid", "--set", "width=16,32")])
def test_a_script_says_it_in_a_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "digits.py").write_text(SCRIPT.format(bounds="0, 0.1"))
    command = [sys.executable, "digits.py", *arguments, "--storage", "here"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    line = "digits: the space's lr is log_uniform(0, 0.1): a logarithmic range begins above 0: write "
    assert done.returncode == 2 and not done.stdout and not (tmp_path / "here").exists()
    assert done.stderr == f"{line}log_uniform(0.0001, 0.1) or uniform(0, 0.1)\n"
