"""One of two lanes lacks what trials need: they are trained on the other one, and no trial fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from local_sweep import TRIALS, LocalSweep

pytestmark = [pytest.mark.reliability, pytest.mark.timeout(900)]
GROUP = "What a lane lacks"


@pytest.mark.parametrize(
    ("fault", "lacks", "simulated"),
    [
        ("a node without the data", "data", "one lane's task raises FileNotFoundError"),
        ("a GPU that refuses memory", "memory", "one lane's task raises torch.OutOfMemoryError"),
    ],
)
def test_a_lane_lacks_something(make_local: Callable[..., LocalSweep], fault: str, lacks: str, simulated: str) -> None:
    sweep = make_local()
    sweep.notes.beside("lane-1").write_text(lacks)
    sweep.start()
    sweep.finish()
    note = f"Simulated: {simulated} in every epoch that it is asked for."
    outcome = sweep.tell(GROUP, fault, note=note)
    outcome.assert_whole(TRIALS)
