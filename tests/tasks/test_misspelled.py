"""A method that is nearly called as an optional one, and that nothing calls, is told; an author's helper is not."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
from page_scripts import SCRIPTS
from test_sweep_scripts import sweep_of

from genlab.errors import GenlabError
from genlab.sweep.plan import make
from genlab.tasks.misspelled import found

HEAD = """
from dataclasses import dataclass
from functools import cached_property
from genlab.sweep import Sweep
from genlab.tasks import Config, CustomTask, PhasedConfig, PhasedTask, Replica, Report, State


@dataclass(frozen=True, kw_only=True)
class OwnConfig(PhasedConfig):
    def reports(self):
        return ("height",)

    {config}


class Own(PhasedTask):
    Config = OwnConfig

    def networks(self):
        return {{}}

    def streams(self):
        return {{}}

    def phases(self):
        return []

    def evaluate(self, networks, split, epoch):
        return Report({{"height": 1.0}})

    {task}


class Other(Replica):
    def advance(self, epoch):
        return Report({{}})

    def save(self):
        return State({{}}, {{}})

    def load(self, state):
        pass

    {replica}


{script}
SWEEP = Sweep(name="own", task=Own, metric="height")
"""


def script(folder: Path, monkeypatch: pytest.MonkeyPatch, **parts: str) -> Any:
    """A module of a task with these methods more."""
    text = HEAD.format(**{name: parts.get(name, "") for name in ("config", "task", "replica", "script")})
    made = types.ModuleType("own_script")
    monkeypatch.setitem(sys.modules, "own_script", made)
    (folder / "own.py").write_text(text)
    monkeypatch.chdir(folder)
    exec(compile(text, str(folder / "own.py"), "exec"), vars(made))
    return made


@pytest.mark.parametrize(
    ("part", "name", "meant"),
    [
        ("task", "nextstreams", "next_streams"),
        ("task", "next_stream", "next_streams"),
        ("task", "nextStreams", "next_streams"),
        ("task", "sampel", "sample"),
        ("task", "Sample", "sample"),
        ("task", "samples", "sample"),
        ("task", "Given", "given"),
        ("task", "gives", "given"),
        ("config", "prepares", "prepare"),
        ("config", "prepared", "prepare"),
        ("config", "checks", "check"),
        ("config", "global_batches", "global_batch"),
        ("replica", "evalute", "evaluate"),
        ("replica", "evaluates", "evaluate"),
    ],
)
def test_it_is_told_with_its_line(
    part: str, name: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = script(tmp_path, monkeypatch, **{part: f"def {name}(self): ..."})
    line = (tmp_path / "own.py").read_text().split(f"def {name}(")[0].count("\n") + 1
    owner = {"task": "Own", "config": "OwnConfig", "replica": "Other"}[part]
    assert found(made.Own, made.OwnConfig) == [
        f"nothing calls {name}() (own.py:{line} {owner}.{name}): is it to be {meant}()?"
    ]


@pytest.mark.parametrize("kind", ["staticmethod", "classmethod", "property", "cached_property"])
def test_of_every_kind(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = script(tmp_path, monkeypatch, task=f"@{kind}\n    def sampel(self): ...")
    (told,) = found(made.Own)
    assert told.endswith("is it to be sample()?")


@pytest.mark.parametrize(
    "parts",
    [
        {"task": "def samples(self): ...\n    def given(self): return self.samples()"},
        {"task": "def samples(self): ...\n    def given(self): return [lambda: self.samples]"},
        {"task": "def samples(self): ...\n    def given(self): return getattr(self, 'samples')"},
        {"task": "def samples(self): ...", "script": "def loss(task): return task.samples()"},
        {"task": "def samples(self): ...", "replica": "def helper(self, task): return task.samples()"},
        {"task": "def stream(self): ...\n    def phase(self): ...\n    def network(self): ..."},  # those there are
        {"task": "def sample(self, name, count, generator): ...\n    def samples(self): ..."},
        {"task": "def _sampel(self): ...\n    def draw(self): ...\n    def loss(self): ..."},
        {"task": "samples = 5\n    sampel = (1, 2)"},
        {"config": "report: int = 3\n    prepares: bool = False"},
        {"script": "class Helper:\n    def sampel(self): ...\n    def nextstreams(self): ..."},  # no task
    ],
)
def test_what_is_none_is_not_told(parts: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = script(tmp_path, monkeypatch, **parts)
    assert found(made.Own, made.OwnConfig) == []


def test_a_helper_of_a_base_class_that_another_module_calls_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = script(tmp_path, monkeypatch, task="def samples(self): ...")
    base.Own.__module__ = "base_module"
    monkeypatch.setitem(sys.modules, "base_module", base)
    made = script(tmp_path, monkeypatch)
    made.Derived = type("Derived", (base.Own,), {"__module__": "own_script"})
    assert len(found(made.Derived)) == 1
    exec("def loss(task): return task.samples()", vars(made))
    assert found(made.Derived) == []


def test_a_plan_logs_it_also_where_what_was_meant_is_lacking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = script(tmp_path, monkeypatch, task="def sampel(self): ...")
    make(made.SWEEP, {}, None)
    assert [one.levelname for one in caplog.records] == ["WARNING"] and "sampel()" in caplog.messages[0]
    caplog.clear()
    made.Own.evalute = made.Own.evaluate
    del made.Own.evaluate
    made.Own.__abstractmethods__ = frozenset({"evaluate"})
    with pytest.raises(GenlabError, match=r"Own lacks evaluate\(\)"):
        make(made.SWEEP, {}, None)
    assert any("is it to be evaluate()?" in message for message in caplog.messages)


def test_nothing_is_told_of_the_pages_scripts(tmp_path: Path) -> None:
    for name, text in SCRIPTS.items():
        (tmp_path / f"{name}.py").write_text(text)
        task: Any = sweep_of(tmp_path / f"{name}.py").task
        assert found(task, task.Config) == []
