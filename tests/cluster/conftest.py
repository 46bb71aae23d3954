"""Two hosts with Ray on them, for all tests of a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hosts import hosts_in, lacking
from ray_cluster import RayCluster

TOLD: list[str] = []  # what was done, how long it took, and what came of it


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    """Two hosts that `ray up` made a cluster of."""
    if why := lacking():
        pytest.skip(why)
    with hosts_in(tmp_path_factory.mktemp("cluster") / "hosts") as hosts:
        made = RayCluster(hosts)
        try:
            made.launch()
            yield made
        finally:
            TOLD.extend(made.told)


@pytest.fixture
def whole(cluster: RayCluster) -> RayCluster:
    """The cluster with both of its hosts, whatever the last test did to it."""
    cluster.make_whole()
    return cluster


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for line in TOLD:
        terminalreporter.write_line(line)
