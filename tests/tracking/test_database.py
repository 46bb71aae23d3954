"""The SQLite database that a sweep makes for itself: whole, or not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from genlab.tracking import runs
from genlab.tracking.runs import Runs
from genlab.tracking.server import quiet_mlflow
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
    (left,) = os.listdir(tmp_path)
    assert left.startswith(".mlflow.db-") and os.listdir(tmp_path / left) != []
    os.utime(tmp_path / left, (1, 1))  # long ago
    made = Runs(uri, "x", folder)
    assert quiet_mlflow().MlflowClient(uri).get_experiment(made.experiment).name == "x"
    assert os.listdir(tmp_path) == ["mlflow.db"]


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
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    runs._make_database(str(database))
    assert database.read_bytes() == migrated.read_bytes()
