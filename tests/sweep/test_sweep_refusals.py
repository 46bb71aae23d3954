"""What a script's sweep may not be made of: refused by the driver at once, with what to write."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import toys
from tiny_tasks import Tiny
from toys import Pair, PairConfig, Toy, ToyConfig, toy_sweep

import genlab
from genlab.errors import GenlabError
from genlab.sweep import Sweep, choice, log_uniform
from genlab.sweep.plan import make
from genlab.tasks import Config, CustomTask, FromTask, PhasedTask, Report, Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class TupleConfig(ToyConfig):
    """With a field that is a tuple, and one without default."""

    layers: tuple[int, ...] = (16, 32)


def of(config: type[Config], task: type[Task] = Toy) -> type[Task]:
    return type("Changed", (task,), {"Config": config})


def saying(**methods: Any) -> type[Task]:
    """The toy with a config whose methods answer this."""
    answers = {name: (lambda self, answer=answer: answer) for name, answer in methods.items()}
    return of(dataclasses.dataclass(frozen=True, kw_only=True)(type("Saying", (ToyConfig,), answers)))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"space": {"lr": [0.1, 0.01]}},
            r"the space's lr is \[0.1, 0.01\]: write choice\(0.1, 0.01\), or a range by unif",
        ),
        ({"space": {"lr": (0.1, 0.01)}}, r"the space's lr is \(0.1, 0.01\): write choice\(0.1, 0.01\)"),
        ({"space": {"lr": {0.01}}}, r"write choice\(0.01\)"),
        ({"space": {"lr": frozenset({0.01})}}, r"write choice\(0.01\)"),
        ({"space": {"lr": {"low": 0.1, "high": 1}}}, r"the space's lr is a dict: write choice\(\.\.\.\), uniform\(low"),
        ({"space": {"lr": 0.1}}, r"lr is the float 0.1: write choice.*, or name it in the sweep's settings"),
        ({"space": {"lr": "0.1"}}, "lr is the str '0.1': write choice"),
        ({"space": {"lr": None}}, "lr is None: write choice"),
        ({"space": {"lr": log_uniform}}, "lr is a function: write choice"),
        ({"space": {"batch": range(1, 4)}}, "batch is a range: write choice"),
        (
            {"space": {"batch": choice([2, 4])}},
            r"batch is choice\(\[2, 4\]\): \[2, 4\] is a list: write choice\(2, 4\) for its",
        ),
        ({"space": [("lr", choice(1))]}, "the sweep's space is a list of 1: write values by the name of their field"),
        ({"space": {1: choice(1)}}, "the sweep's space is a dict: write values by the name"),
        ({"settings": [("lr", 0.1)]}, "the sweep's settings are a list of 1"),
        ({"settings": None}, "the sweep's settings are None"),
        ({"settings": {"lr": [0.1]}}, r"lr=\[0.1\] is ill-typed: lr is a float"),
        ({"conditions": [("lr", {})]}, "the sweep's conditions are a list of 1"),
        ({"conditions": {"lr": ["batch"]}}, "the sweep's condition of lr is a list of 1"),
        ({"conditions": {"lr": {"trace": "x"}}}, r"condition of lr has the str 'x' for trace: write a list, \['x'\]"),
        ({"conditions": {"lr": {"batch": 2}}}, r"condition of lr has the int 2 for batch: write a list, \[2\]"),
        ({"grid": {"lr": [0.1, 0.2]}}, "the sweep's grid is a dict: write a list of settings, one a trial"),
        ({"grid": "lr"}, "the sweep's grid is the str 'lr'"),
        ({"grid": None}, "the sweep's grid is None"),
        ({"grid": ["lr"]}, "a row of the sweep's grid is the str 'lr'"),
        ({"trials": "4"}, "the sweep's trials is the str '4': write a whole number, 1 at least"),
        ({"trials": 4.0}, "the sweep's trials is the float 4.0"),
        ({"trials": 0}, "the sweep's trials is the int 0"),
        ({"trials": True}, "the sweep's trials is the bool True"),
        ({"grace_epochs": 0}, "the sweep's grace_epochs is the int 0"),
        ({"reduction_factor": 1}, "the sweep's reduction_factor is the int 1: write a whole number, 2 at least"),
        ({"epoch_deadline": "60"}, "the sweep's epoch_deadline is the str '60': write seconds"),
        ({"epoch_deadline": 0}, "the sweep's epoch_deadline is the int 0"),
        ({"mode": None}, "the sweep's mode is None: write a text"),
        ({"mode": "maximum"}, "the sweep's mode is 'maximum': it must be min or max"),
        ({"metric": ("loss",)}, "the sweep's metric is a tuple of 1: write a text"),
        ({"name": 3}, "the sweep's name is the int 3"),
        ({"images": ["samples"]}, "the sweep's images is a list of 1"),
        ({"task": ToyConfig}, "the sweep's task is the config ToyConfig: give the class of the task that has it"),
        ({"task": ToyConfig()}, "the sweep's task is a ToyConfig: give the class, ToyConfig, without"),
        ({"task": Toy(ToyConfig(), None)}, r"the sweep's task is a Toy: give the class, Toy, without \(\)"),  # type: ignore[arg-type]
        ({"task": None}, "the sweep's task is None: name a task or give a class of one"),
        ({"task": dict}, "the sweep's task is the class dict: give the name of a task, or a class derived from Phased"),
        ({"task": Task}, "the sweep's task is the class Task: give the name of a task, or a class derived from Phased"),
        ({"task": type("Bare", (CustomTask,), {})}, r"Bare lacks start\(\): a task must have it"),
        ({"task": type("Bare", (PhasedTask,), {})}, r"Bare lacks evaluate\(\), networks\(\), phases\(\), streams\(\)"),
        (
            {"task": of(dict)},
            "Config of Changed is the class dict: write `Config = TheConfig`, a class",
        ),  # type: ignore[arg-type]
        ({"task": of(ToyConfig())}, "Config of Changed is a ToyConfig"),  # type: ignore[arg-type]
        ({"task": of(ToyConfig, Pair)}, "Config of Changed is the class ToyConfig: .* derived from PhasedConfig"),
        ({"task": of(type("Bare", (ToyConfig,), {"__annotations__": {"x": int}, "x": 1}))}, "Bare is no dataclass"),
        (
            {"task": saying(reports="loss")},
            r"reports\(\) \(.*\) returned the str 'loss': .* as in `return 'loss',`",
        ),
        ({"task": saying(reports=None)}, r"reports\(\) \(.*\) returned None: it must return a tuple"),
        ({"task": saying(reports=("loss", 3))}, r"reports\(\) \(.*\) returned a tuple of 2: it must return a tuple"),
        ({"task": saying(prepare=None)}, r"prepare\(\) \(.*\) returned None: it must return what there must be before"),
        ({"task": saying(prepare=[1])}, r"prepare\(\) \(.*\) returned a list of 1"),
        (
            {"task": saying(prepare={"judge": ToyConfig()})},
            r"prepare\(\) of Saying: judge is a ToyConfig: write FromTask\(config\), FromCheckpoint",
        ),
        ({"task": saying(prepare={"judge": FromTask(ToyConfig, Toy)})}, "judge is made of the class ToyConfig: write"),  # type: ignore[arg-type]
    ],
)
def test_a_sweep_that_is_made_of_something_else_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(GenlabError, match=says):
        make(toy_sweep(**changes), {}, "script.py")


def test_what_is_advised_is_taken() -> None:
    task = of(TupleConfig)
    space: dict[str, Any] = {"layers": choice((16, 32), (8,)), "lr": choice(0.1, 0.01), "batch": choice(2, 4)}
    made = make(toy_sweep(task=task, space=space, conditions={"lr": {"batch": [2]}}), {}, "script.py")
    assert made.default == {"layers": "16:32", "batch": 2, "lr": 0.01}
    fixed = make(toy_sweep(task=task, settings={"layers": (8, 4)}), {"set": ("layers=16:32",)}, "script.py")
    assert fixed.config({}).layers == (16, 32)
    as_list = make(toy_sweep(task=task, settings={"layers": [8, 4]}), {}, "script.py")
    assert as_list.config({}).layers == (8, 4)
    assert make(toy_sweep(task=saying(reports=["loss"])), {}, "script.py").kind.__name__ == "Saying"
    assert make(toy_sweep(task=Pair, metric="loss/all", space={}), {}, "script.py").kind is PairConfig


def test_a_list_is_no_value_of_the_command_line_but_a_tuple_is() -> None:
    with pytest.raises(GenlabError, match=r"layers=\[16 is ill-typed: layers is a tuple, written int:\.\.\."):
        make(toy_sweep(task=of(TupleConfig)), {"set": ("layers=[16,32]",)}, "script.py")


# ---- scripts


SCRIPT = """\
{first}
from dataclasses import dataclass, field
from typing import Literal

from genlab.sweep import Sweep, choice, main
from genlab.tasks import Config, CustomTask, Replica, Report, State


@dataclass(frozen=True, kw_only=True)
class OwnConfig(Config):
    lr: float = 0.1
    layers: tuple[int, ...] = (16, 32)
    width: int | None = None
    {field}

    def reports(self):
        return ("loss",)


class Own(CustomTask):
    Config = OwnConfig

    def start(self):
        raise NotImplementedError


SWEEP = Sweep(name="own", task=Own, metric="loss", space={{"lr": {space}}})

if __name__ == "__main__":
    {last}
"""
FUTURE = "from __future__ import annotations"
SEND = """
    import sys
    from genlab.sweep import plan
    from genlab.lanes.loading import pickled
    made = plan.make(SWEEP, {}, __file__)
    sys.stdout.buffer.write(pickled(made.kind, made.task))
"""


def run(folder: Path, *, first: str = "", field: str = "", space: str = "choice(0.1, 0.2)", last: str = "main(SWEEP)"):
    """The script with these parts, as a person starts it."""
    script = folder / "own.py"
    script.write_text(SCRIPT.format(first=first, field=field, space=space, last=last))
    return subprocess.run([sys.executable, str(script), "--storage", "here"], cwd=folder, capture_output=True)


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        (
            {"first": FUTURE, "field": "loss: Literal['a', 'b'] = 'a'"},
            "OwnConfig.loss (own.py:14) is annotated by Literal['a', 'b'], which lanes cannot look up: they get the "
            "class without the script, and `from __future__ import annotations` keeps Literal as text. Take that "
            "import out of the script, or move the config to a module that is installed",
        ),
        ({"space": "[0.1, 0.2]"}, "the space's lr is [0.1, 0.2]: write choice(0.1, 0.2)"),
        ({"field": "nz: int"}, "OwnConfig has no value for nz: give the field a default in the class"),
        (
            {"field": "sizes: list[int] = field(default_factory=lambda: [1])"},
            "OwnConfig.sizes (own.py:14) is of the type list[int], but a field is",
        ),
    ],
)
def test_a_script_is_refused_before_anything_starts(tmp_path: Path, parts: dict[str, str], says: str) -> None:
    done = run(tmp_path, **parts)
    assert done.returncode == 2 and done.stderr.decode().startswith("own: ") and says in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode() and not done.stdout
    assert not (tmp_path / "here").exists()


LOAD = """
import sys, typing
import ray.cloudpickle
from genlab.tasks import build
kind, task = ray.cloudpickle.loads(sys.stdin.buffer.read())
print(kind.__module__, typing.get_type_hints(kind)["layers"], build(kind, {"lr": 1, "layers": [1, 2]}))
"""


@pytest.mark.parametrize(
    "parts", [{"first": FUTURE, "field": "deep: tuple[float, str] = (0.1, 'x')"}, {"field": "loss: Literal['a'] = 'a'"}]
)
def test_a_lane_can_look_up_what_is_not_refused(tmp_path: Path, parts: dict[str, str]) -> None:
    """Pickled by the script's own process, loaded by one that has no script."""
    sent = run(tmp_path, **parts, last=SEND)
    assert sent.returncode == 0, sent.stderr
    (tmp_path / "own.py").unlink()
    loaded = subprocess.run([sys.executable, "-c", LOAD], input=sent.stdout, capture_output=True, cwd=tmp_path)
    assert loaded.returncode == 0, loaded.stderr
    said = loaded.stdout.decode()
    assert said.startswith("__main__ tuple[int, ...] OwnConfig(") and "lr=1.0, layers=(1, 2)" in said


def test_a_module_that_a_lane_imports_may_annotate_as_it_likes() -> None:
    assert Path(toys.__file__).read_text().count(FUTURE) == 1  # the toys' configs are of such a module
    make(toy_sweep(), {}, "script.py")
    assert FUTURE in (Path(genlab.__file__).parent / "tasks/gan_config.py").read_text()


class Forgetful(Tiny):
    def evaluate(self, networks: Any, split: str) -> Report:  # type: ignore[override]
        return Report()


class Unconfigured(PhasedTask):
    def networks(self) -> Any: ...

    def streams(self) -> Any: ...

    def phases(self) -> Any: ...

    def evaluate(self, networks: Any, split: str, epoch: int) -> Any: ...


def test_a_method_that_takes_other_arguments_is_refused_with_its_line() -> None:
    line = inspect.getsourcelines(Forgetful.evaluate)[1]
    with pytest.raises(
        GenlabError, match=rf"evaluate\(\) of Forgetful \(.*test_sweep_refusals.py:{line} .*split, epoch"
    ):
        make(Sweep(name="forgetful", task=Forgetful, metric="accuracy"), {}, None)


def test_a_task_without_a_config_of_its_own_says_so() -> None:
    sweep = Sweep(name="own", task=Unconfigured, metric="accuracy", space={"lr": log_uniform(1e-3, 1e-1)})
    with pytest.raises(
        GenlabError, match="Unconfigured has no config of its own, and so no field lr: write `Config = "
    ):
        make(sweep, {}, None)
