"""docs/results.ipynb: its cells, run in order on a small sweep of the same script, do what they show."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from one_process import Machine
from one_process import machine as machine
from PIL import Image

from genlab.results import SweepResults, TrialResults
from genlab.sweep import Sweep

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "results.ipynb"
SMALL = ("epoch_steps=2", "batch_size=16", "evaluation_samples=64", "judge_steps=4")


def cells() -> list[dict[str, Any]]:
    return [cell for cell in json.loads(PAGE.read_text())["cells"] if cell["cell_type"] == "code"]


def lsgan() -> Sweep:
    spec = importlib.util.spec_from_file_location("lsgan_of_the_page", ROOT / "sweeps" / "lsgan.py")
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made.SWEEP


def run(source: str, space: dict[str, Any]) -> Any:
    """Execute a cell as a notebook does; the value of its last expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, str(PAGE), "exec"), space)
    return eval(compile(ast.Expression(last.value), str(PAGE), "eval"), space) if isinstance(last, ast.Expr) else None


def test_it_is_small_and_was_run_from_its_first_cell_to_its_last() -> None:
    assert PAGE.stat().st_size < 200_000
    assert [cell["execution_count"] for cell in cells()] == list(range(1, len(cells()) + 1))
    kinds = [kind for cell in cells() for output in cell["outputs"] for kind in output["data"]]
    assert kinds.count("text/html") >= 3 and kinds.count("image/png") >= 1
    assert not re.search(r'"/(home|root|tmp|work)/', PAGE.read_text())


def test_every_cell_runs_on_another_sweep(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib
    import matplotlib.pyplot as plt

    matplotlib.use("Agg")
    assert machine.run(lsgan(), set=SMALL, epochs=2, trials=3, scheduler="fifo") == 0
    first, *others = ["".join(cell["source"]) for cell in cells()]
    space: dict[str, Any] = {}
    run(first, space)
    assert [name for name in space if not name.startswith("__")] == ["SWEEP"]
    space["SWEEP"] = machine.records.storage.url
    values = [run(source, space) for source in others]
    plt.close("all")
    found = {kind: [each for each in values if isinstance(each, kind)] for kind in (pd.DataFrame, Image.Image)}
    assert not any(table.empty for table in found[pd.DataFrame]) and len(found[pd.DataFrame]) >= 4
    assert isinstance(space["sweep"], SweepResults) and isinstance(space["best"], TrialResults)
    assert len(space["trials"]) == 3 and space["by_epoch"].shape == (2, 3) and space["by_epoch"].notna().all(axis=None)
    assert any(isinstance(each, matplotlib.figure.Figure) for each in values)
    (drawn,) = found[Image.Image]
    assert drawn.size == (410, 70) and len(np.unique(np.asarray(drawn))) > 3  # gray, after four steps
