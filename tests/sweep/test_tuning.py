"""Ray Tune itself, over lanes that answer at once: what the run hears of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from made_sweeps import manifest
from toys import toy_sweep

from genlab.lanes.client import packed
from genlab.sweep.plan import make
from genlab.sweep.run import Run
from genlab.sweep.search import Search, scheduler
from genlab.sweep.tuning import Notes, fit, next_trial
from genlab.tracking.records import Records, TrialRecord
from genlab.tracking.storage import Storage


def test_tune_runs_what_is_handed_out_and_the_run_hears_it_with_the_decision(
    shared_ray: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With two lanes a trial begins when another one has ended, however long the first two train. So the third one has
    an end at the first rung: it is worse than whoever was there. The fourth is better than all; its actor dies once, in
    its third epoch. None of Tune's own reports is made: that of a notebook takes away what was said before."""
    import ray

    monkeypatch.setattr("ray.tune.tune._detect_reporter", lambda **_: pytest.fail("Tune reports by itself"))
    levels = {"0000": 5.0, "0001": 6.0, "0002": 7.0, "0003": 1.0}

    class Answers:
        def __init__(self) -> None:
            self.asked: dict[str, int] = {}
            self.trained = asyncio.Event()

        async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
            asked = f"{request['trial']}/{request['epoch']}"
            self.asked[asked] = self.asked.get(asked, 0) + 1
            if asked == "0003/3" and self.asked[asked] == 1:
                raise ZeroDivisionError("as if the actor had died")
            if asked in ("0000/1", "0001/1"):
                await self.trained.wait()
            metrics, file = {"loss": levels[request["trial"]]}, [f"trials/{request['trial']}/part", 1, "0"]
            return {"kind": "ok", "value": {"metrics": metrics, "diverged": False, "report": file, "state": file}}

        async def train(self) -> None:
            self.trained.set()

        async def forget(self, trial: str) -> None:
            self.asked["forgotten"] = self.asked.get("forgotten", 0) + 1

        async def seen(self) -> dict[str, int]:
            return self.asked

    class TenTurns(Run):
        """Once two trials train, Tune gets ten turns to begin another one. At each it asks whether to stop."""

        turns = 0

        def stopped(self) -> bool:
            seen: Any = ray.get(self.pool.mailbox.seen.remote())
            self.turns += {"0000/1", "0001/1"} <= set(seen)
            if self.turns == 10:
                self.pool.mailbox.train.remote()
            return super().stopped()

    storage = Storage(str(tmp_path))
    records = Records.create(storage, manifest("toy"))
    plan = make(toy_sweep(settings={"epochs": 4}, trials=4, reduction_factor=2), {"scheduler": "asha"}, None)
    deaf: Any = SimpleNamespace(
        notify=lambda number: None, ended=lambda *told: None, advanced=lambda *told: None, say=lambda told: None
    )
    run = TenTurns(plan, records, storage, deaf, deaf)
    run.pool = SimpleNamespace(mailbox=ray.remote(Answers).options(num_cpus=0).remote(), lanes=2)
    at_once: list[int] = []

    def begin(record: TrialRecord) -> dict[str, Any]:
        at_once.append(len(searcher.asked))
        return packed(run.begin(record))

    searcher = Search(plan, records, [], begin, run.stopped, run.append)
    fit(run, searcher, scheduler(plan, records), 4)

    assert run.why is None and max(at_once) == 2
    trials = records.trials
    assert list(trials) == ["0000", "0001", "0002", "0003"]
    assert {name: trials[name].ends for name in trials if name != "0001"} == {
        "0000": "completed",
        "0002": "pruned",
        "0003": "completed",
    }
    assert sorted(trials["0000"].epochs) == sorted(trials["0003"].epochs) == [1, 2, 3, 4]
    assert sorted(trials["0002"].epochs) == [1]
    seen: Any = ray.get(run.pool.mailbox.seen.remote())
    assert seen["0003/3"] == 2 and seen["forgotten"] == 4
    assert [told.state.is_finished() for told in searcher.study.trials] == [True] * 4


def test_a_client_that_fails_too_often_fails_its_trial(tmp_path: Path) -> None:
    heard: list[Any] = []
    run: Any = SimpleNamespace(commit=lambda *told: heard.append(told))
    trial = SimpleNamespace(trial_id="tune-7", config={"trial": "0002"}, get_error=lambda: "killed")
    Notes(run).on_trial_error(1, [], trial)
    error = "the trial's client failed 4 times: killed"
    assert heard == [("0002", {"kind": "error", "value": error, "epoch": None})]


def test_of_a_trial_that_ended_tune_keeps_no_statistics() -> None:
    from ray.tune.experiment import Trial

    trial = Trial("any", stub=True)
    trial.update_last_result({"kind": "ok", "epoch": 3, "objective": 0.5})
    assert set(trial.metric_analysis) == set(trial.metric_n_steps) == {"epoch", "objective"}
    run: Any = SimpleNamespace()
    Notes(run).on_trial_complete(1, [trial], trial)
    assert not trial.metric_analysis and not trial.metric_n_steps


def test_the_next_trial_is_the_first_that_waits_of_those_that_have_not_ended() -> None:
    def trial(name: str, status: str) -> Any:
        return SimpleNamespace(config={"trial": name}, status=status)

    live = [trial("0004", "PENDING"), trial("0002", "RUNNING"), trial("0003", "PENDING")]
    controller = SimpleNamespace(get_live_trials=lambda: set())
    assert next_trial(controller) is None
    controller.get_live_trials = lambda: live
    assert next_trial(controller) is live[2]
