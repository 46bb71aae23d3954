"""Whether the code that a trial's result follows from is still the same: digests of its sources."""

from __future__ import annotations

import ast
import hashlib
import sys
import sysconfig
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import genlab
from genlab.sweep.sweep import Sweep
from genlab.tasks import Task

TRAINS = ("data", "models", "metrics", "tasks", "training", "losses.py", "randomness.py")  # of genlab


def digests(task: type[Task] | None) -> dict[str, str]:
    """What a resume must find unchanged, by name: `genlab`, and each of the author's files that the task is made of.

    Of a file comments, docstrings and layout do not count, nor does its `Sweep(...)`, which is compared in parts. An
    author's file is one that is neither installed nor Python's own.

    Args:
        task: of the script, if it defines one; a task with a name is part of genlab.
    """
    return {"genlab": _genlab(), **({} if task is None else _authors(task))}


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The names of what is not as it was."""
    return sorted(name for name in {*before, *now} if before.get(name) != now.get(name))


def _genlab() -> str:
    root = Path(genlab.__file__).parent
    files = [file for name in TRAINS for file in ((root / name).rglob("*.py") if "." not in name else [root / name])]
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _authors(task: type[Task]) -> dict[str, str]:
    """The files of the author's modules that the task's own refers to, and those to which these refer."""
    found: dict[str, str] = {}
    waiting = [sys.modules[one.__module__] for owner in (task, task.Config) for one in owner.__mro__]
    seen: set[str] = set()
    while waiting:
        module = waiting.pop()
        if module.__name__ in seen or (file := _file(module)) is None:
            continue
        seen.add(module.__name__)
        found[file.name] = hashlib.sha256(f"{found.get(file.name, '')}{_code(module, file)}".encode()).hexdigest()[:16]
        for value in list(vars(module).values()):
            other = value if isinstance(value, types.ModuleType) else sys.modules.get(_home(value))
            if other is not None:
                waiting.append(other)
    return found


def _home(value: Any) -> str:
    """The name of the module that made it, if it says one."""
    name = getattr(value, "__module__", None)
    return name if isinstance(name, str) else ""


def _file(module: types.ModuleType) -> Path | None:
    """Its source, if it is the author's."""
    name = getattr(module, "__file__", None)
    if not isinstance(name, str) or not name.endswith(".py"):
        return None
    file = Path(name).resolve()
    ours = [Path(genlab.__file__).parent.resolve(), Path(sysconfig.get_path("stdlib")).resolve()]
    installed = {"site-packages", "dist-packages"} & {*file.parts}
    return None if installed or any(file.is_relative_to(folder) for folder in ours) else file


def _code(module: types.ModuleType, file: Path) -> str:
    """What a module does, without what does not count."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if not _declares_sweep(module, node)]
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            text = body[0].value
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                body[:1] = []
    return ast.dump(tree)


def _declares_sweep(module: types.ModuleType, node: ast.stmt) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else []
    return any(isinstance(vars(module).get(each.id), Sweep) for each in targets if isinstance(each, ast.Name))
