"""MLflow is down, slow, or answers with errors: the sweep does not wait for it, and nothing is missing in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from local_sweep import TRIALS, LocalSweep
from made_sweeps import MlflowServer
from proxy import Proxy

pytestmark = [pytest.mark.reliability, pytest.mark.timeout(900)]
GROUP = "MLflow"
NOT_ALL = "has not taken"  # on the screen, at the end
REPLAYED = "`genlab replay`, as the screen says"


@pytest.fixture
def proxy(mlflow_server: MlflowServer) -> Iterator[Proxy]:
    made = Proxy(mlflow_server.port)
    yield made
    made.close()


def test_a_server_that_is_down_from_the_start(
    make_local: Callable[..., LocalSweep], mlflow_server: MlflowServer
) -> None:
    mlflow_server.stop()
    try:
        sweep = make_local(tracking_uri=mlflow_server.uri)
        sweep.start()
        sweep.until_all_train()
        code = sweep.finish()
    finally:
        mlflow_server.start()
    assert code == 0 and sweep.replay() == 0, sweep.said()
    hide = {str(mlflow_server.port): "PORT"}
    fault = "the server is down from the start, and back after the sweep"
    outcome = sweep.tell(GROUP, fault, saw=NOT_ALL, did=REPLAYED, hide=hide)
    outcome.assert_whole(TRIALS)
    assert outcome.trained_twice == 0


def test_a_server_that_goes_down_and_comes_back(
    make_local: Callable[..., LocalSweep], mlflow_server: MlflowServer
) -> None:
    sweep = make_local(tracking_uri=mlflow_server.uri)
    sweep.start()
    sweep.until_all_train()
    mlflow_server.stop()
    try:
        sweep.until_all_train(epochs=6)  # as far as they get while no trial may end
    finally:
        mlflow_server.start()
    assert sweep.finish() == 0, sweep.said()
    left = NOT_ALL in sweep.said()  # it came back too late for the sweep's own end
    assert not left or sweep.replay() == 0, sweep.said()
    hide = {str(mlflow_server.port): "PORT"}
    did = REPLAYED if left else "nothing"
    outcome = sweep.tell(GROUP, "the server goes down in the middle, and comes back", did=did, hide=hide)
    outcome.assert_whole(TRIALS)
    assert outcome.trained_twice == 0


@pytest.mark.parametrize(
    ("fault", "seconds", "broken"),
    [("the server takes 5 s for each answer", 5.0, False), ("the server answers 500 to everything", 0.0, True)],
)
def test_a_server_that_is_of_no_use_until_the_sweep_has_ended(
    make_local: Callable[..., LocalSweep],
    proxy: Proxy,
    mlflow_server: MlflowServer,
    fault: str,
    seconds: float,
    broken: bool,
) -> None:
    proxy.seconds, proxy.broken = seconds, broken
    sweep = make_local(tracking_uri=proxy.uri, seen_at=mlflow_server.uri)
    sweep.start()
    sweep.until_all_train()
    assert sweep.finish() == 0, sweep.said()
    proxy.seconds, proxy.broken = 0.0, False
    assert sweep.replay() == 0, sweep.said()
    hide = {proxy.uri.rpartition(":")[2]: "PORT"}
    note = "It is well again after the sweep, when the rest is sent."
    outcome = sweep.tell(GROUP, fault, saw=NOT_ALL, did=REPLAYED, hide=hide, note=note)
    outcome.assert_whole(TRIALS)
    assert outcome.trained_twice == 0
