"""A sweep goes on while one of two hosts is lost, or out of reach: nothing is missing, nothing is there twice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from faults import noted_sweep, outcome
from ray_cluster import RayCluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]
# a lane on each host: a worker takes all that a host has
TWO_LANES = "--lanes 2 --scheduler fifo"


@pytest.fixture
def whole(cluster: RayCluster) -> Iterator[RayCluster]:
    """The cluster with both of its hosts, whatever the last test did to it."""
    cluster.make_whole()
    yield cluster


def test_a_sweep_outlives_a_host_that_is_lost(whole: RayCluster) -> None:
    sweep, noted = noted_sweep(whole, f"{TWO_LANES} --trials 6")
    with whole.timed("a sweep of which a host was lost"), sweep:
        sweep.until("each host has trained two epochs", lambda: all(len(noted.on(h)) > 1 for h in ("head", "worker")))
        whole.hosts.lose(whole.hosts.worker)
        code, records = sweep.finish()
    assert code == 0, sweep.said()
    result = outcome(whole, records, noted, sweep.said())
    whole.told.append(f"a host was lost: {result}")
    result.assert_whole(trials=6)
