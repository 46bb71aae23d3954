"""What all tests share: a cache of their own, and one Ray."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import reliability_page
from hypothesis import HealthCheck, settings

from genlab.lanes.bytecode import keep_bytecode

# tests start hundreds of processes
keep_bytecode()
# before torch is imported, here and in whatever the tests start: layers this small lose more to threads that wait for
# each other, on a busy machine, than they gain from a second core
os.environ.setdefault("OMP_NUM_THREADS", "1")
# a process of several has no script; without one, `main` takes itself to be in a notebook
if not hasattr(sys.modules["__main__"], "__file__"):
    sys.modules["__main__"].__file__ = __file__
# on a busy machine examples may take long
settings.register_profile("genlab", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("genlab")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-reliability", action="store_true", help="write docs/RELIABILITY.md from what these tests find"
    )


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes for the whole suite. What is asked for by name has this one, and so have slow tests: a sweep of
    theirs takes all cores."""
    is_whole = config.args_source is not pytest.Config.ArgsSource.ARGS and "not slow" in config.option.markexpr
    return 2 if is_whole else 0


class WritesReliability:
    """After each test, so that a run that is cut off leaves what it found."""

    def pytest_runtest_logfinish(self) -> None:
        reliability_page.write()


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--write-reliability"):
        reliability_page.check()  # what is loaded now, and is named in each row
        config.pluginmanager.register(WritesReliability())


@pytest.fixture(scope="session", autouse=True)
def genlab_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cached sets go to a folder of this session; set before Ray starts, so that its workers see it, too."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["GENLAB_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def shared_ray(genlab_cache: Path) -> Iterator[str]:
    """The address of the one Ray that all tests share; this process is connected to it."""
    from genlab.lanes.cluster import settle, start

    os.environ.update({"RAY_AUTH_MODE": "disabled", "RAY_ADDRESS": "local"})
    settle()
    import ray

    start(num_cpus=2, num_gpus=0)
    os.environ.pop("RAY_ADDRESS")
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()
