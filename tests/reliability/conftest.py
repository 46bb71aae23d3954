"""Sweeps of one machine, for tests that do something to them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from local_sweep import LocalSweep
from made_sweeps import migrated, mlflow_server  # noqa: F401 - fixtures


@pytest.fixture
def make_local(migrated: Path, tmp_path: Path) -> Iterator[Callable[..., LocalSweep]]:  # noqa: F811
    """Makes a LocalSweep; what it has left is killed at the end."""
    with contextlib.ExitStack() as stack:

        def make(**keywords: Any) -> LocalSweep:
            made = LocalSweep(tmp_path, migrated, **keywords)
            stack.callback(made.end)
            return made

        yield make
