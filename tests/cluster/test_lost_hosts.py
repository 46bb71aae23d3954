"""A sweep goes on while one of its two hosts is lost or out of reach: nothing is missing, nothing is there twice."""

from __future__ import annotations

import time

import pytest
from faults import Noted, through
from ray_cluster import RayCluster, Submitted

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]


def test_a_network_that_is_cut_for_twenty_seconds_costs_an_epoch_at_most(whole: RayCluster) -> None:
    """Ray may or may not have taken the lane's worker for dead by then."""

    def cut_for_a_while(sweep: Submitted, noted: Noted) -> None:
        whole.hosts.cut(whole.hosts.worker)
        time.sleep(20)
        whole.hosts.mend(whole.hosts.worker)

    outcome = through(whole, "the network cut for 20 s", cut_for_a_while)
    outcome.assert_whole(trials=6)
    assert outcome.trained_twice <= 1


def test_a_host_that_was_lost_comes_back_and_trains_again(whole: RayCluster) -> None:
    """Ray's autoscaler starts Ray on it, the sweep starts its lane."""
    worker = whole.hosts.worker

    def lose_and_start_again(sweep: Submitted, noted: Noted) -> None:
        whole.hosts.lose(worker)
        before = len(noted.on(worker.name))
        whole.hosts.start(worker)
        sweep.until("it trains again", lambda: len(noted.on(worker.name)) > before, 600)

    outcome = through(whole, "a host lost, and back", lose_and_start_again)
    outcome.assert_whole(trials=6)
    assert outcome.trained_twice <= 1  # the epoch in progress


def test_a_sweep_ends_without_a_host_that_is_out_of_reach(whole: RayCluster) -> None:
    """The host trains on meanwhile, and writes what no event will name."""
    outcome = through(whole, "the network cut for good", lambda *_: whole.hosts.cut(whole.hosts.worker))
    outcome.assert_whole(trials=6)
    assert outcome.trained_twice <= 1  # the epoch in progress


def test_a_sweep_ends_without_a_host_that_is_lost(whole: RayCluster) -> None:
    outcome = through(whole, "a host lost for good", lambda *_: whole.hosts.lose(whole.hosts.worker))
    outcome.assert_whole(trials=6)
    assert outcome.trained_twice <= 1  # the epoch in progress
