"""Where bytecode is kept: beside the sources, as Python does, or in genlab's cache where it may not be there."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = "from genlab.sweep import main"
COMMAND = "from genlab.cli import main; import sys; sys.argv = ['genlab', 'list', '.']; main()"
# a process that the driver starts
CHILD = "; import subprocess, sys; subprocess.run([sys.executable, '-c', 'import torch, other'], check=True)"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with two modules that are installed, and not compiled; one has the name of torch."""
    folder = tmp_path / "installed"
    (folder / "torch").mkdir(parents=True)
    (folder / "torch" / "__init__.py").write_text("")
    (folder / "other.py").write_text("")
    return folder


def run(code: str, installed: Path, **environment: str) -> set[str]:
    """Run it with `installed` first on the path; the names of those of its modules whose bytecode is in the cache."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    kept |= {"PYTHONPATH": f"{installed}:{ROOT}", "GENLAB_CACHE": str(installed.parent / "cache")} | environment
    subprocess.run([sys.executable, "-c", code], cwd=installed.parent, env=kept, check=True, capture_output=True)
    return {file.name.partition(".")[0] for file in (installed.parent / "cache" / "bytecode").rglob("*.pyc")}


def beside(installed: Path) -> set[str]:
    return {file.name.partition(".")[0] for file in installed.rglob("*.pyc")}


@pytest.mark.parametrize("begins", [SCRIPT, f"try: {COMMAND}\nexcept SystemExit: pass\nimport sys"])
def test_where_python_may_not_write_beside_the_sources_the_cache_has_it(begins: str, installed: Path) -> None:
    kept = run(begins + CHILD, installed, PYTHONDONTWRITEBYTECODE="1")
    assert {"__init__", "other", "records"} <= kept and not beside(installed)  # the driver's own, too


def test_where_it_may_it_does(installed: Path) -> None:
    assert run(SCRIPT + CHILD, installed) == set() and beside(installed) == {"__init__", "other"}


def test_what_was_compiled_is_used(installed: Path) -> None:
    """As by `uv sync --compile-bytecode`, or in the image of a container."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    subprocess.run([sys.executable, "-m", "compileall", "-q", installed / "torch"], check=True, env=plain)
    code = SCRIPT + "; import os; assert os.environ['PYTHONDONTWRITEBYTECODE'] == '1'" + CHILD
    assert run(code, installed, PYTHONDONTWRITEBYTECODE="1") == set() and beside(installed) == {"__init__"}


def test_another_place_that_the_user_named_stays(installed: Path) -> None:
    named = installed.parent / "named"
    code = SCRIPT + f"; import sys; assert sys.pycache_prefix == '{named}'" + CHILD
    assert run(code, installed, PYTHONDONTWRITEBYTECODE="1", PYTHONPYCACHEPREFIX=str(named)) == set()
    assert not named.exists(), "it was told not to write"


def test_uv_does_not_look_through_all_bytecode_at_each_command() -> None:
    """With `compile-bytecode` each `uv run` looks at 20,000 files, for a second."""
    assert "compile-bytecode" not in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]
