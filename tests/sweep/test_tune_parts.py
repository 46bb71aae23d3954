"""What of Ray Tune is replaced, under Tune itself: what trials notice of it, and what is left of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from made_sweeps import processes, wait_for

from genlab.lanes.client import packed
from genlab.lanes.ray_parts.tune import Handle, no_state, one_process
from genlab.lanes.trainable import ClientTrainable
from genlab.sweep.search import Confirmation
from genlab.sweep.tuning import CLIENT_FAILURES, fit, next_trial

ALONE = "ResourceTrainable"  # in the title of a process that has one client, as Tune names it
SHARED = "ClientHost"


@pytest.fixture
def answers(shared_ray: str) -> Iterator[Any]:
    """In the mailbox's place: answers at once, but for second epochs, which wait until they may be trained."""
    import ray

    class Answers:  # here, so that it goes to its process by value
        def __init__(self) -> None:
            self.asked: list[tuple[str, int]] = []
            self.gate = asyncio.Event()

        async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
            self.asked.append((request["trial"], request["epoch"]))
            if request["epoch"] == 2:
                await self.gate.wait()
            file = [f"{request['trial']}/{request['epoch']}", 1, "0"]
            metrics = {"loss": 1.0 / request["epoch"]}
            return {"kind": "ok", "value": {"metrics": metrics, "diverged": False, "report": file, "state": file}}

        async def waiting(self) -> list[str]:
            """The trials that have asked for their second epoch, once for each time."""
            return sorted(trial for trial, epoch in self.asked if epoch == 2)

        async def open(self) -> None:
            self.gate.set()

    made: Any = ray.remote(Answers).options(num_cpus=0, max_concurrency=100).remote()
    yield made
    ray.kill(made)


def tuned(answers: Any, names: list[str], meanwhile: Callable[[list[str]], None]) -> list[tuple[Any, ...]]:
    """What the run hears of trials of two epochs, all at once. `meanwhile` is called with them when all wait for their
    second epoch; then they get it."""
    import ray

    heard: list[tuple[Any, ...]] = []
    failed: list[BaseException] = []

    def commit(name: str, result: dict[str, Any]) -> None:
        files = result["value"]["report"] if result["kind"] == "ok" else result["value"]
        heard.append((name, result["epoch"], result["kind"], files))

    def act() -> None:
        try:
            wait_for(lambda: ray.get(answers.waiting.remote()) == names)
            meanwhile(names)
        except BaseException as error:
            failed.append(error)
        answers.open.remote()

    begun = {"config": {}, "replicas": 1, "state": None, "at": 0, "epochs": 2, "metric": "loss", "test": False}
    searcher = Confirmation(names, lambda name: packed({**begun, "trial": name}), lambda: False)  # type: ignore[arg-type]
    run: Any = SimpleNamespace(
        pool=SimpleNamespace(mailbox=answers, lanes=len(names)), commit=commit, stopped=lambda: False
    )
    acting = threading.Thread(target=act)
    acting.start()
    fit(run, searcher, None, len(names))
    acting.join()
    assert not failed, failed
    return sorted(heard)


def whole(names: list[str]) -> list[tuple[Any, ...]]:
    return [(name, epoch, "ok", [f"{name}/{epoch}", 1, "0"]) for name in names for epoch in (1, 2)]


def test_tune_looks_for_the_next_trial_among_those_that_live(answers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its own way each of its steps looks through all trials there were."""
    chosen: list[Any] = []

    def noted(controller: Any) -> Any:
        chosen.append(next_trial(controller))
        return chosen[-1]

    monkeypatch.setattr("genlab.sweep.tuning.next_trial", noted)
    names = ["0000", "0001"]
    assert tuned(answers, names, lambda _: None) == whole(names)
    # not both: Tune starts what waits beside its choice in the same step
    assert "0000" in {trial.config["trial"] for trial in chosen if trial is not None}


def test_all_clients_share_a_process_whose_deaths_no_trial_notices(answers: Any) -> None:
    """It dies more often than a trial's client may fail; each time the same questions are asked again."""
    import ray

    deaths = CLIENT_FAILURES + 2
    seen: list[int] = []

    def meanwhile(names: list[str]) -> None:
        assert not processes(ALONE)
        for death in range(1, deaths + 1):
            (host,) = processes(SHARED)
            seen.append(host.pid)
            host.kill()
            again = sorted(names * (death + 1))
            wait_for(lambda again=again: ray.get(answers.waiting.remote()) == again)

    names = ["0000", "0001", "0002"]
    assert tuned(answers, names, meanwhile) == whole(names)
    assert len(set(seen)) == deaths
    wait_for(lambda: not processes(SHARED))


def test_where_a_name_of_rays_is_gone_each_client_has_a_process(answers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray.tune.execution.tune_controller  # noqa: F401 - it has its own by now

    monkeypatch.delattr("ray.tune.execution.class_cache._ActorClassCache")

    def meanwhile(names: list[str]) -> None:
        assert not processes(SHARED) and len(processes(ALONE)) == len(names)

    names = ["0000", "0001"]
    assert tuned(answers, names, meanwhile) == whole(names)


def test_tune_may_kill_what_it_takes_for_an_actor(answers: Any) -> None:
    """As it does with one of hundreds, on a busy machine, that has not stopped in time. No other client is hurt."""
    import ray

    with one_process(answers):
        ray.kill(Handle(None, None, {"begun": "{}"}))  # type: ignore[arg-type]
        wait_for(lambda: len(processes(SHARED)) == 1)
        ray.kill(answers)  # an actor
        with pytest.raises(ray.exceptions.ActorDiedError):
            ray.get(answers.waiting.remote())
    with pytest.raises(ValueError, match="only supported for actors"):
        ray.kill(Handle(None, None, {"begun": "{}"}))  # type: ignore[arg-type]


def test_a_trials_place_that_is_given_to_another_trial_begins_with_that_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tune gives the actor of a trial that ended to the next one, by `reset`."""
    monkeypatch.setattr("ray.put", lambda value: value)
    asked: list[Any] = []
    host: Any = SimpleNamespace(train=SimpleNamespace(remote=lambda *given: asked.append(given) or f"after {given[1]}"))
    handle = Handle(host, "mailbox", {"begun": "first"})
    handle.train.remote()
    handle.train.remote()
    assert handle.reset.remote({"begun": "second"}, logger_creator=None) is True
    handle.train.remote()
    assert asked == [
        ("mailbox", "first", None),
        ("mailbox", "first", "after first"),
        ("mailbox", "second", None),
    ]

    async def answer(mailbox: Any, begun: str, last: Any) -> Any:
        asked.append((mailbox, begun, last))
        return f"after {begun}"

    monkeypatch.setattr("genlab.lanes.trainable.next_result", answer)
    alone = ClientTrainable.__new__(ClientTrainable)  # the same, where each client has a process
    alone.setup({"begun": "first"}, "mailbox")
    del asked[:]
    assert [alone.step(), alone.step(), alone.reset_config({"begun": "second"}), alone.step()] == [
        "after first",
        "after first",
        True,
        "after second",
    ]
    assert [last for _, _, last in asked] == [None, "after first", None]


def test_tune_writes_its_state_once_where_it_can_be_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.tune.execution.tune_controller import TuneController

    saved: list[Any] = []
    monkeypatch.setattr(TuneController, "save_to_dir", saved.append)
    plain, file = TuneController.save_to_dir, tmp_path / "state.json"
    controller: Any = SimpleNamespace(experiment_state_path=str(file))
    with no_state():
        TuneController.save_to_dir(controller)
        assert saved == [controller]  # Tune looks for it at its end
        file.touch()
        TuneController.save_to_dir(controller)
        assert saved == [controller]
    assert TuneController.save_to_dir is plain
    monkeypatch.delattr(TuneController, "experiment_state_path")
    with no_state():
        assert TuneController.save_to_dir is plain
