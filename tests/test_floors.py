"""Imports only go down the house, and the library pulls in neither Ray nor MLflow."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import genlab

ROOT = Path(genlab.__file__).parent
FLOORS = {
    **dict.fromkeys(("errors", "hidden", "sealed"), -1),
    **dict.fromkeys(("grids", "randomness", "screen", "tensorfile"), 0),
    **dict.fromkeys(("data", "models", "losses", "metrics"), 1),
    **dict.fromkeys(("attacks", "defenses", "adaptation", "visualize"), 2),
    "tasks": 3,
    "training": 4,
    **dict.fromkeys(("lanes", "results"), 5),
    **dict.fromkeys(("sweep", "sampling"), 6),
    "cli": 7,
}
BESIDE = ("tracking", "report")  # anyone above the tasks may use them; they know nothing of what trains, nor of Ray
FILES = sorted(ROOT.rglob("*.py"))


def room(path: Path) -> str:
    """The room that a file stands in."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Full names of all modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_every_room_has_a_floor() -> None:
    rooms = {room(path) for path in FILES} - {"__init__"}
    assert rooms <= {*FLOORS, *BESIDE}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    mine = room(path)
    for name in imports(path):
        if not name.startswith("genlab.") or mine == "__init__":
            continue
        other = name.split(".")[1]
        if other == mine:
            continue
        if mine in BESIDE:
            below = BESIDE[: BESIDE.index(mine)]  # reports are made from what is tracked, not the other way round
            assert other in below or FLOORS.get(other, 9) <= 0, f"{mine} imports {name}"
        elif other in BESIDE:
            assert FLOORS[mine] >= FLOORS["training"], f"{mine} imports {name}"
        else:
            assert FLOORS[other] < FLOORS[mine], f"{mine} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_ray_optuna_and_mlflow_have_their_rooms(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports(path)}
    if room(path) not in ("lanes", "sweep"):
        assert "ray" not in roots
    if room(path) != "sweep":
        assert "optuna" not in roots
    if room(path) != "tracking":
        assert "mlflow" not in roots


def loaded(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after `code`."""
    code += "\nimport sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_library_pulls_in_neither_ray_nor_mlflow() -> None:
    names = ("models", "losses", "data", "metrics", "tasks", "tasks.gan", "tasks.classifier", "training")
    code = "import " + ", ".join(f"genlab.{name}" for name in names)
    assert not {"ray", "mlflow"} & loaded(code)


def test_a_driver_pulls_in_no_torch() -> None:
    code = "from genlab.sweep import Sweep, main; import genlab.sweep.command, genlab.sweep.plan, genlab.tasks"
    assert not {"torch", "mlflow", "ray"} & loaded(code)
    driver = "import genlab.sweep.driver, genlab.sweep.tuning, genlab.sweep.search, genlab.sweep.summary"
    assert not {"torch", "mlflow"} & loaded(driver)
