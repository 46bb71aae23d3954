"""The SQLite database that a sweep makes for itself: whole, or not there."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alembic.operations import Operations

from genlab.tracking import runs
from genlab.tracking.runs import Runs
from genlab.tracking.server import Unreachable, quiet_mlflow
from genlab.tracking.storage import Storage

KILLED = """
import os, sys
from alembic.operations import Operations
from genlab.tracking.runs import Runs
from genlab.tracking.storage import Storage
# in the middle of a migration, as by kill -9
Operations.batch_alter_table = lambda *_, **__: os._exit(9)
Runs(sys.argv[1], "x", Storage(sys.argv[2]))
"""


def test_a_driver_that_is_killed_while_it_makes_the_database_leaves_none(tmp_path: Path) -> None:
    uri, folder = f"sqlite:///{tmp_path}/mlflow.db", Storage(str(tmp_path / "x"))
    done = subprocess.run([sys.executable, "-c", KILLED, uri, folder.url], capture_output=True, text=True)
    assert done.returncode == 9, done.stderr
    assert os.listdir(tmp_path) == []
    for name, age in ((".mlflow.db-cut", 10_000), (".mlflow.db-young", 0), (".other-old", 10_000)):
        (tmp_path / name).write_bytes(b"half of a copy")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    made = Runs(uri, "x", folder)
    assert quiet_mlflow().MlflowClient(uri).get_experiment(made.experiment).name == "x"
    assert sorted(os.listdir(tmp_path)) == [".mlflow.db-young", ".other-old", "mlflow.db"]


def test_a_folder_that_goes_away_meanwhile_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow makes the folder of a SQLite database itself, and that of artifacts."""
    results = tmp_path / "results"
    results.mkdir()
    uri, folder = f"sqlite:///{results}/mlflow.db", Storage(str(results / "x"))
    create = Operations.create_table

    def moved(self: Operations, *about: Any, **more: Any) -> Any:
        if results.exists():
            results.rename(tmp_path / "moved")
        return create(self, *about, **more)

    with monkeypatch.context() as patched:
        patched.setattr(Operations, "create_table", moved)
        with pytest.raises(FileNotFoundError):
            Runs(uri, "x", folder)
    assert os.listdir(tmp_path) == ["moved"]
    (tmp_path / "moved").rename(results)
    made = Runs(uri, "x", folder)
    run = made.create("x", 1.0, {})
    made.file(run, b"1", "config.json")
    results.rename(tmp_path / "moved")
    with pytest.raises(Unreachable, match=r"results/mlflow\.db is not there"):
        made.file(run, b"2", "config.json")
    with pytest.raises(Unreachable, match=r"results/mlflow\.db is not there"):
        made.image(run, np.zeros((8, 8, 3), np.uint8), "samples", 1, 1.0, look=False)
    assert os.listdir(tmp_path) == ["moved"]


def test_of_two_that_make_the_database_at_once_one_does_and_nothing_of_it_is_lost(
    tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, real = tmp_path / "mlflow.db", os.link

    def link(made: str, path: str) -> None:
        database.write_bytes(b"another driver's, with runs in it")
        real(made, path)

    class Client:
        """Makes one at once."""

        def __init__(self, tracking_uri: str) -> None:
            Path(tracking_uri.removeprefix("sqlite:///")).write_bytes(migrated.read_bytes())

        def search_experiments(self, max_results: int) -> list[object]:
            return []

    monkeypatch.setattr(runs, "quiet_mlflow", lambda: type("", (), {"MlflowClient": Client}))
    monkeypatch.setattr(os, "link", link)
    runs._make_database(str(database))
    assert database.read_bytes() == b"another driver's, with runs in it" and os.listdir(tmp_path) == ["mlflow.db"]
    database.unlink()

    def no_links(*paths: str) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    runs._make_database(str(database))
    assert database.read_bytes() == migrated.read_bytes()
