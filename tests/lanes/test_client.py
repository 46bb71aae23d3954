"""What a trial asks of the lanes, and what it tells Tune of their answers."""

from __future__ import annotations

import asyncio
import json
import math
from numbers import Number
from types import SimpleNamespace
from typing import Any

import pytest

from genlab.lanes import calls
from genlab.lanes.client import OBJECTIVE, Client, Result, next_result, packed, unpacked

BEGUN = {
    "trial": "0003",
    "config": {"lr": 0.1, "epochs": 99},
    "replicas": 2,
    "state": None,
    "at": 0,
    "epochs": 3,
    "metric": "kid",
    "test": False,
}


class Lanes:
    """Answers what is asked, as the mailbox does."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answers: list[Any] = []
        self.ask = SimpleNamespace(remote=self._ask)

    async def _ask(self, request: dict[str, Any]) -> Any:
        self.asked.append(request)
        if self.answers:
            return self.answers.pop(0)
        return trained({"kid": 1 / request["epoch"], "loss": 9.0}, request["epoch"])


def trained(metrics: dict[str, float], epoch: int = 1, diverged: bool = False) -> dict[str, Any]:
    state = [f"epoch_{epoch}.state", 10, "digest"]
    return {"kind": "ok", "value": {"metrics": metrics, "diverged": diverged, "report": ["r", 1, "d"], "state": state}}


FILES = {"report": ["r", 1, "d"], "state": ["epoch_1.state", 10, "digest"]}


@pytest.fixture
def lanes() -> Lanes:
    return Lanes()


class Trial:
    """A trial that Tune runs: it keeps the config and the last result."""

    def __init__(self, lanes: Lanes, **changes: Any) -> None:
        self.lanes, self.config = lanes, packed({**BEGUN, **changes})
        self.last: Result | None = None

    def step(self) -> Result:
        self.last = asyncio.run(next_result(self.lanes, self.config["begun"], self.last))
        return unpacked(self.last)


def session(**changes: Any) -> str:
    return Client(packed({**BEGUN, **changes})["begun"]).session


def test_it_asks_for_one_epoch_after_the_other_from_the_state_of_the_last(lanes: Lanes) -> None:
    trial = Trial(lanes)
    results = [trial.step() for _ in range(3)]
    assert [r["epoch"] for r in lanes.asked] == [1, 2, 3]
    states = [None, ["epoch_1.state", 10, "digest"], ["epoch_2.state", 10, "digest"]]
    assert [r["state"] for r in lanes.asked] == states
    (session,) = {r["session"] for r in lanes.asked}
    assert session.startswith("0003@") and [r["id"] for r in lanes.asked] == [f"{session}/{n}" for n in (1, 2, 3)]
    for request in lanes.asked:
        assert {n: request[n] for n in ("trial", "config", "replicas", "test")} == {
            "trial": "0003",
            "config": {"lr": 0.1, "epochs": 99},
            "replicas": 2,
            "test": False,
        }
    assert [result["kind"] for result in results] == ["ok"] * 3
    assert [result["epoch"] for result in results] == [1, 2, 3]
    assert [result[OBJECTIVE] for result in results] == [1.0, 1 / 2, 1 / 3]
    assert [result["done"] for result in results] == [False, False, True]
    assert results[1]["value"]["state"] == ["epoch_2.state", 10, "digest"] and results[1]["epochs"] == 3


def test_it_goes_on_where_it_was_and_reads_the_test_data_in_its_last_epoch_alone(lanes: Lanes) -> None:
    trial = Trial(lanes, at=1, state=["before", 1, "d"], test=True)
    assert [trial.step()["done"], trial.step()["done"]] == [False, True]
    assert [(r["epoch"], r["test"]) for r in lanes.asked] == [(2, False), (3, True)]
    assert lanes.asked[0]["state"] == ["before", 1, "d"]


def test_a_session_is_named_by_what_its_results_follow_from(lanes: Lanes) -> None:
    """So the actor that takes over asks the very same question, and another beginning is another session."""
    name = session()
    assert session(metric="loss", test=True) == name
    assert session(config={"epochs": 99, "lr": 0.1}) == name
    others = [
        session(**change)
        for change in (
            {"trial": "0004"},
            {"config": {"lr": 0.2, "epochs": 99}},
            {"replicas": 3},
            {"state": ["x", 1, "d"]},
            {"at": 1},
        )
    ]
    assert len({name, *others}) == 6
    assert all(other.startswith("0003@") for other in others[1:])


def test_what_tune_sees_of_a_trial_is_flat_and_small(lanes: Lanes) -> None:
    """It keeps statistics of every number, and copies of every setting."""
    config = packed({**BEGUN, "config": {f"field_{n}": float(n) for n in range(50)}})
    assert config["trial"] == "0003" and all(isinstance(value, str) for value in config.values())
    lanes.answers = [trained({"kid": 0.5, **{f"metric_{n}": float(n) for n in range(50)}})]
    result = asyncio.run(next_result(lanes, config["begun"], None))
    numbers = {name for name, value in result.items() if isinstance(value, Number)}
    assert numbers == {"epoch", "epochs", OBJECTIVE, "done"}
    assert all(isinstance(value, str) for name, value in result.items() if name not in numbers)
    assert len(json.dumps(result)) < 300


@pytest.mark.parametrize("kind", ["error", "lost", "storage", "cut"])
def test_what_the_lanes_could_not_do_ends_the_trial_and_is_passed_on(lanes: Lanes, kind: str) -> None:
    trial = Trial(lanes)
    trial.step()
    before = trial.last
    lanes.answers = [{"kind": kind, "value": "why"}]
    result = trial.step()
    assert (result["kind"], result["value"], result["epoch"], result["done"]) == (kind, "why", 2, True)
    assert math.isfinite(result[OBJECTIVE])  # Tune takes nothing else
    # another client that goes on from where this one did asks the same question
    trial.last = before
    trial.step()
    assert lanes.asked[-1] == lanes.asked[-2]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (trained({"kid": math.nan}), "diverged"),
        (trained({"kid": math.inf}), "diverged"),
        (trained({"kid": -math.inf}), "diverged"),
        (trained({"kid": 1.0}, diverged=True), "diverged"),
        (trained({}, diverged=True), "diverged"),
        (trained({"loss": 1.0, "fid": 2.0}), "error"),
        (trained({"kid": 1.0, "loss": math.nan}), "ok"),  # judged by its metric alone
    ],
)
def test_an_objective_that_is_no_number_is_a_divergence_and_one_that_is_not_there_an_error(
    lanes: Lanes, answer: Any, kind: str
) -> None:
    lanes.answers = [answer]
    result = Trial(lanes).step()
    assert (result["kind"], result["done"]) == (kind, kind != "ok") and math.isfinite(result[OBJECTIVE])
    if kind == "error":
        assert result["value"] == "the task did not report kid, but fid, loss"
    else:
        assert result["value"] == FILES


def test_a_trial_asks_again_as_long_as_it_is_told_to(lanes: Lanes) -> None:
    lanes.answers = [{"kind": "again", "value": None}] * 2
    assert Trial(lanes).step()["kind"] == "ok"
    assert len(lanes.asked) == 3 and lanes.asked[0] == lanes.asked[2]


def test_a_trial_whose_mailbox_is_silent_is_cut_off_and_has_not_failed(
    lanes: Lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask(request: dict[str, Any]) -> Any:
        await asyncio.sleep(5)

    assert calls.SILENT > 120  # a mailbox that died is started again meanwhile
    monkeypatch.setattr(calls, "SILENT", 0.01)
    lanes.ask.remote = ask
    result = Trial(lanes).step()
    assert (result["kind"], result["done"]) == ("cut", True) and "has not answered" in result["value"]
