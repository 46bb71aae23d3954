"""Running sweeps in this process, on the shared Ray."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import toys
from made_sweeps import migrated  # noqa: F401 - a fixture
from one_process import Drain, Elsewhere
from toys import Runner

from genlab.sweep import Sweep
from genlab.tracking.records import Records
from genlab.tracking.storage import Storage


@pytest.fixture
def results(migrated: Path, tmp_path: Path) -> Path:  # noqa: F811
    """A storage whose MLflow database is there already: making one takes seconds."""
    folder = tmp_path / "results"
    folder.mkdir()
    shutil.copy(migrated, folder / "mlflow.db")
    return folder


@pytest.fixture
def untracked(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow hears nothing: each sweep would wait for it to start, and to take everything."""
    monkeypatch.setattr("genlab.tracking.drain.Drain", Drain)


@pytest.fixture
def run_sweep(shared_ray: str, results: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    """Run a sweep with these options; returns its exit code and its records. Its task is not loaded in a process of
    its own first: no start of Ray would hide the seconds that this takes."""
    import ray.cloudpickle

    from genlab.sweep.command import execute
    from genlab.sweep.options import Options

    ray.cloudpickle.register_pickle_by_value(toys)
    monkeypatch.setattr("genlab.sweep.command.Elsewhere", partial(Elsewhere, SimpleNamespace(tried=[])))

    def run(sweep: Sweep, **options: Any) -> tuple[int, Records]:
        storage = Storage(str(results))
        code = execute(sweep, Options(storage=storage.url, **options), __file__)
        return code, Records.open(storage, Records.sweeps(storage)[-1])

    yield run
    # a class that is read back by value in this process would get fields of another making
    for name in ray.cloudpickle.list_registry_pickle_by_value():
        ray.cloudpickle.unregister_pickle_by_value(sys.modules[name])
