"""Every script in sweeps/: short, its commands are plans, a dry run passes; and its tasks learn the digits."""

from __future__ import annotations

import importlib.util
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from one_process import Machine
from one_process import machine as machine
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from genlab.lanes import rehearsal
from genlab.sweep import Sweep
from genlab.sweep.options import parse
from genlab.sweep.plan import make
from genlab.tasks import Context, implementation
from genlab.tasks.context import FEW
from genlab.tracking.storage import Storage
from genlab.training import Loop, prepare, prepared

SCRIPTS = sorted((Path(__file__).parents[2] / "sweeps").glob("*.py"))
COMMAND = re.compile(r"^uv run (sweeps/\w+\.py.*)$", re.MULTILINE)
SMALL: dict[str, Any] = {
    "ngf": 16,
    "ndf": 16,
    "nz": 20,
    "init": "default",
    "lr_generator": 1e-3,
    "lr_discriminator": 1e-3,
    "batch_size": 32,
    "epoch_steps": 50,
    "evaluation_samples": 200,
    "judge_steps": 100,
    "reuse_fakes": True,
}
"""Of a GAN, so that two epochs take a second."""
LEARN: dict[str, dict[str, Any]] = {
    "lsgan": SMALL | {"normalization": "none"},  # with BatchNorm in every layer it learns so fast by luck only
    "fcgan": SMALL | {"ngf": 128, "ndf": 128, "epoch_steps": 100},
    "cdcgan": SMALL,
    "vae": {},
    "dae": {},
}
"""Scripts of different tasks or networks; what they are told beside their own setting."""


def sweep_of(path: Path) -> Sweep:
    spec = importlib.util.spec_from_file_location(f"sweep_script_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SWEEP


def test_there_is_one_for_each_system_of_the_reports() -> None:
    assert {path.stem for path in SCRIPTS} >= {"cdcgan", "dae", "dcgan", "faces", "fcgan", "lsgan", "vae"}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_it_is_short_and_each_of_its_commands_is_a_plan(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 60
    sweep = sweep_of(path)
    assert sweep.name == path.stem
    commands = COMMAND.findall(path.read_text())
    assert commands and commands[0] == f"sweeps/{path.name}"
    for command in commands:
        script, *words = shlex.split(command)
        assert script == f"sweeps/{path.name}"
        plan = make(sweep, parse("", words).given(), str(path))
        assert plan.trials > 0 and bool(plan.first().prepare()) == (sweep.task == "gan")  # it needs a judge
        if "--grid" in words:
            assert plan.grid and len({str(row) for row in plan.grid}) == len(plan.grid)


class Here:
    """Answers as the process does that loads the task and trains a step, in this one."""

    def __init__(self, code: bytes, order: dict[str, Any]) -> None:
        self.code, self.order = code, order

    def answer(self) -> dict[str, Any]:
        return rehearsal._found(self.order, self.code)

    def stop(self) -> None:
        pass


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_dry_run_passes(path: Path, machine: Machine, monkeypatch: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """At its own sizes, on a few images: no network is given more at once, and nothing of it is kept."""
    sweep, seen = sweep_of(path), set[int]()

    def look(module: nn.Module, inputs: Any) -> None:
        if isinstance(module, nn.Conv2d) or type(module).__module__.startswith("genlab.models"):
            seen.add(len(inputs[0]))

    monkeypatch.setattr("genlab.sweep.command.Elsewhere", Here)
    hook = register_module_forward_pre_hook(look)
    try:
        assert machine.run(sweep, dry_run=True) == 0
    finally:
        hook.remove()
    said = f"one step of trial 0 and its evaluation passed, on one worker and a few samples: {sweep.metric}"
    assert said in capsys.readouterr().out
    assert max(seen) == FEW and machine.storage.names() == []


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """In which what they need is prepared: the GANs have one judge."""
    return Storage(str(tmp_path_factory.mktemp("prepared")))


@pytest.mark.parametrize("name", LEARN)
def test_two_epochs_on_the_digits_are_better_than_none(name: str, storage: Storage) -> None:
    path = next(path for path in SCRIPTS if path.stem == name)
    sweep = sweep_of(path)
    plan = make(sweep, {"epochs": 2}, str(path))
    config: Any = replace(plan.first(), **LEARN[name])
    task = implementation(plan.kind)
    made = prepare(task, [config], Context(), storage)
    loop = Loop(task(config, Context(prepared=prepared(config, made.files, Context(), storage))))  # type: ignore[arg-type]
    before = loop.evaluate("validation").metrics[sweep.metric]
    loop.advance(1)
    after = loop.advance(2).metrics[sweep.metric]
    assert after < 0.85 * before if sweep.mode == "min" else after > before, (before, after)
