"""Code that trained a sweep's trials is part of what a resume must find unchanged."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from made_sweeps import kinds
from one_process import Machine, curve_sweep, machine

import genlab
from genlab.errors import GenlabError
from genlab.sweep import source
from genlab.tracking.events import Started

__all__ = ["machine"]

BESIDE = "STRENGTH = 3\n"
SCRIPT = '''"""What it is about."""

import beside_the_script

from genlab.sweep import Sweep
from genlab.tasks import Config, CustomTask
from genlab.tracking.events import Started


class Own(CustomTask):
    """A task."""

    def start(self):
        return beside_the_script.STRENGTH


SWEEP = Sweep(name="own", task=Own, metric="loss", trials=3)
'''


@pytest.fixture
def digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Of the script's task, after these edits (what, what instead), and of what it imports from beside it."""

    def load(name: str, text: str) -> ModuleType:
        file = tmp_path / f"{name}.py"
        file.write_text(text)
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        exec(compile(text, file, "exec"), vars(module))  # not from a cache of bytecode
        return module

    def made(*edits: tuple[str, str], beside: str = BESIDE) -> list[str]:
        text = SCRIPT
        for old, new in edits:
            assert old in text
            text = text.replace(old, new)
        load("beside_the_script", beside)
        found = source.digests(load("the_script", text).Own)
        assert found.keys() == {"genlab", "beside_the_script.py", "the_script.py"}
        return [found["beside_the_script.py"], found["the_script.py"]]

    return made


def test_what_a_task_does_counts_and_how_it_is_written_does_not(digests: Any) -> None:
    before = digests()
    same = [
        ('"""A task."""', '"""Another docstring."""\n\n    # and a comment'),
        ("trials=3", "trials=30, grace_epochs=2"),
        ('"""What it is about."""\n', ""),
    ]
    assert digests(*same) == before
    beside, script = digests(("STRENGTH", "STRENGTH + 1"))
    assert (beside == before[0]) and (script != before[1])
    beside, script = digests(beside="STRENGTH = 4\n")
    assert (beside != before[0]) and (script == before[1])


def test_each_file_of_the_author_counts_and_what_is_installed_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that a function alone leads to, and two of the same name."""

    def load(name: str, file: str, text: str) -> ModuleType:
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        module = ModuleType(name)
        module.__file__ = str(path)
        monkeypatch.setitem(sys.modules, name, module)
        exec(compile(text, path, "exec"), vars(module))
        return module

    def found(first: int, second: int, installed: int) -> dict[str, str]:
        load("helpers_of_one", "one/helpers.py", f"def one():\n    return {first}\n")
        load("helpers_of_two", "two/helpers.py", f"def two():\n    return {second}\n")
        load("from_a_wheel", "lib/site-packages/from_a_wheel.py", f"def three():\n    return {installed}\n")
        load("from_a_distribution", "lib/dist-packages/from_it.py", f"def four():\n    return {installed}\n")
        lines = ["from helpers_of_one import one", "from helpers_of_two import two", "from from_a_wheel import three"]
        lines += ["import json", "import from_a_distribution", "from genlab.tasks import CustomTask"]
        return source.digests(load("the_task", "the_task.py", "\n".join([*lines, "class Own(CustomTask): ..."])).Own)

    before = found(1, 1, 1)
    assert before.keys() == {"genlab", "the_task.py", "helpers.py"} and found(1, 1, 2) == before
    changed = [found(2, 1, 1), found(1, 2, 1), found(2, 2, 1)]
    assert len({one["helpers.py"] for one in [before, *changed]}) == 4
    assert all(source.changed(before, one) == ["helpers.py"] for one in changed)


def test_of_genlab_what_trains_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(genlab.__file__).parent
    for name in source.TRAINS:
        assert (root / name).exists()
    copy = tmp_path / "genlab"
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(genlab, "__file__", str(copy / "__init__.py"))
    before = source.digests(None)
    assert before.keys() == {"genlab"}
    for file in ("sweep/view.py", "tracking/drain.py"):
        with (copy / file).open("a") as text:
            text.write("# more\n")
    assert source.digests(None) == before
    trains = ["losses.py", "randomness.py", "data/sources/digits.py", "models/dcgan.py", "metrics/collapse.py"]
    for file in [*trains, "tasks/gan.py", "training/loop.py"]:
        with (copy / file).open("a") as text:
            text.write("# more\n")
        changed = source.digests(None)
        assert changed != before
        before = changed


def test_what_is_changed_is_named_also_where_it_is_new_or_gone() -> None:
    before, now = {"genlab": "a", "gone.py": "b", "own.py": "c"}, {"genlab": "a", "own.py": "d", "new.py": "e"}
    assert source.changed(before, now) == ["gone.py", "new.py", "own.py"] and source.changed(now, now) == []


def test_other_code_is_refused_on_resume_unless_it_is_accepted(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = {"genlab": "a", "own.py": "b"}
    monkeypatch.setattr("genlab.sweep.plan.digests", lambda task: dict(code))
    assert machine.run(curve_sweep(), grid=True) == 0
    assert machine.records.manifest.identity.code == code
    events = len(machine.records.events)
    code["own.py"] = "c"
    with pytest.raises(GenlabError, match=r"the code of own\.py is not that with .* --resume --accept-code"):
        machine.run(curve_sweep(), resume="latest")
    assert len(machine.records.events) == events
    capsys.readouterr()
    assert machine.run(curve_sweep(), resume="latest", accept_code=True) == 0
    start = machine.records.events[events]
    assert isinstance(start, Started) and (start.code, start.changed) == (code, ["own.py"])
    assert "own.py is another one than before" in capsys.readouterr().out
    events = len(machine.records.events)
    assert machine.run(curve_sweep(), resume="latest") == 0  # it is what was accepted
    assert machine.run(curve_sweep(), resume="latest", accept_code=True) == 0
    assert "start" not in kinds(machine.records.events[events:])
    code["genlab"] = "d"
    with pytest.raises(GenlabError, match="the code of genlab is not"):
        machine.run(curve_sweep(), resume="latest")


def test_options_and_code_of_one_resume_are_both_remembered(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    code = {"genlab": "a"}
    monkeypatch.setattr("genlab.sweep.plan.digests", lambda task: dict(code))
    assert machine.run(curve_sweep(), grid=True) == 0
    code["genlab"] = "b"
    assert machine.run(curve_sweep(), resume="latest", accept_code=True, cpus_per_worker=2) == 0
    assert machine.records.options()["cpus_per_worker"] == 2 and machine.records.code() == {"genlab": "b"}
