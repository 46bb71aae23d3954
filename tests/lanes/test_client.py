"""What a trial asks of the lanes, and what it tells Tune of their answers."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import GetTimeoutError

from genlab.lanes import calls
from genlab.lanes.client import OBJECTIVE, Client

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

    def _ask(self, request: dict[str, Any]) -> Any:
        self.asked.append(request)
        if self.answers:
            return self.answers.pop(0)
        return trained({"kid": 1 / request["epoch"], "loss": 9.0}, request["epoch"])


def trained(metrics: dict[str, float], epoch: int = 1, diverged: bool = False) -> dict[str, Any]:
    state = [f"epoch_{epoch}.state", 10, "digest"]
    return {"kind": "ok", "value": {"metrics": metrics, "diverged": diverged, "report": ["r", 1, "d"], "state": state}}


@pytest.fixture
def lanes(monkeypatch: pytest.MonkeyPatch) -> Lanes:
    monkeypatch.setattr(calls.ray, "get", lambda answers, timeout: answers)
    return Lanes()


def begun(lanes: Lanes, **changes: Any) -> Client:
    """Without the actor around it."""
    made = Client.__new__(Client)
    made.setup({**BEGUN, **changes}, lanes)
    return made


def test_it_asks_for_one_epoch_after_the_other_from_the_state_of_the_last(lanes: Lanes) -> None:
    trial = begun(lanes)
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
    trial = begun(lanes, at=1, state=["before", 1, "d"], test=True)
    assert [trial.step()["done"], trial.step()["done"]] == [False, True]
    assert [(r["epoch"], r["test"]) for r in lanes.asked] == [(2, False), (3, True)]
    assert lanes.asked[0]["state"] == ["before", 1, "d"]


def test_a_session_is_named_by_what_its_results_follow_from(lanes: Lanes) -> None:
    """So the actor that takes over asks the very same question, and another beginning is another session."""
    name = begun(lanes).session
    assert begun(lanes, metric="loss", test=True).session == name
    assert begun(lanes, config={"epochs": 99, "lr": 0.1}).session == name
    others = [
        begun(lanes, **change).session
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


def test_a_checkpoint_is_where_the_last_state_lies(lanes: Lanes) -> None:
    trial = begun(lanes)
    trial.step()
    trial.step()
    kept = trial.save_checkpoint("")
    other = begun(lanes)
    other.load_checkpoint(kept)
    assert other.session == begun(lanes, at=2, state=["epoch_2.state", 10, "digest"]).session
    assert other.step()["epoch"] == 3 and lanes.asked[-1]["state"] == ["epoch_2.state", 10, "digest"]


def test_an_actor_that_is_used_again_is_the_new_trial(lanes: Lanes) -> None:
    trial = begun(lanes)
    trial.step()
    assert trial.reset_config({**BEGUN, "trial": "0008", "metric": "loss"}) is True
    assert trial.step()[OBJECTIVE] == 9.0
    last = lanes.asked[-1]
    assert (last["trial"], last["epoch"], last["state"]) == ("0008", 1, None) and last["session"].startswith("0008@")


@pytest.mark.parametrize("kind", ["error", "lost", "storage", "cut"])
def test_what_the_lanes_could_not_do_ends_the_trial_and_is_passed_on(lanes: Lanes, kind: str) -> None:
    trial = begun(lanes)
    trial.step()
    lanes.answers = [{"kind": kind, "value": "why"}]
    result = trial.step()
    assert (result["kind"], result["value"], result["epoch"], result["done"]) == (kind, "why", 2, True)
    assert math.isfinite(result[OBJECTIVE])  # Tune takes nothing else
    # nothing has happened: asked again, it is the same question
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
    result = begun(lanes).step()
    assert (result["kind"], result["done"]) == (kind, kind != "ok") and math.isfinite(result[OBJECTIVE])
    if kind == "error":
        assert result["value"] == "the task did not report kid, but fid, loss"
    else:
        assert result["value"] == answer["value"]


def test_a_trial_whose_mailbox_is_silent_is_cut_off_and_has_not_failed(
    lanes: Lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get(answers: Any, timeout: float) -> Any:
        raise GetTimeoutError

    trial = begun(lanes)
    monkeypatch.setattr(calls.ray, "get", get)
    result = trial.step()
    assert (result["kind"], result["done"]) == ("cut", True) and "has not answered" in result["value"]
