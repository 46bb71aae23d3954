"""A whole sweep by what Ray documents alone: none of its own names is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import toy_script

from genlab.tracking.records import Records
from genlab.tracking.storage import Storage

HIDING = """
import os, runpy, sys
from genlab.lanes.ray_parts import names

names.named = lambda path: None
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
def test_a_sweep_of_two_workers_trains_to_its_end(tmp_path: Path) -> None:
    options = ["--trials", "3", "--workers", "2", "--lanes", "1", "--address", "local", "--storage", "results"]
    command = [sys.executable, "-c", HIDING, toy_script.__file__, str(tmp_path / "trace"), *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    storage = Storage(str(tmp_path / "results"))
    trials = Records.open(storage, Records.sweeps(storage)[0]).trials
    assert len(trials) == 3 and {trial.ends for trial in trials.values()} <= {"completed", "pruned"}
