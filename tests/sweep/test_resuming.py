"""What a resume remembers, what it refuses, and whom it respects; a refusal changes nothing; without Ray."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from made_sweeps import kinds, wait_for
from one_process import DATA, Machine, at, curve_sweep, machine

from genlab.errors import CorruptFile, GenlabError
from genlab.sealed import seal
from genlab.sweep import uniform
from genlab.sweep.driver import Driver
from genlab.tracking.claims import STALE
from genlab.tracking.events import KINDS
from genlab.tracking.records import Records

__all__ = ["machine"]


def files(folder: Path) -> dict[str, bytes]:
    """All that lies there."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def damaged(machine: Machine) -> Records:
    """A sweep with two trials done, one cut short, a file that nobody names and one that is damaged."""
    machine.before = at("0002", 2, lambda: {"kind": "cut", "value": "for this test"})
    assert machine.run(curve_sweep(), grid=True, seeds=2) == 1
    machine.before = lambda request: None
    machine.records.storage.write("trials/0001/orphan", b"x")
    Path(machine.records.storage.where(machine.records.trials["0001"].epochs[1].report.path)).write_bytes(b"x")
    return machine.records


@pytest.mark.parametrize("options", [{}, {"data_root": "/other", "lanes": 1}])
def test_changed_data_are_refused_on_resume_and_nothing_has_changed(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, options: Any
) -> None:
    damaged(machine)
    before = files(Path(machine.storage.url))
    monkeypatch.setitem(DATA, "train", "other digits")
    waiting, wait = threading.Event(), Driver.wait_until_prepared
    monkeypatch.setattr(Driver, "wait_until_prepared", lambda self: (waiting.set(), wait(self)))
    # it takes until somebody waits for it: who did not wait would be ahead
    machine.before = at("prepare", 0, lambda: None if waiting.wait(60) else {"kind": "error", "value": "nobody waits"})
    with pytest.raises(GenlabError, match=r"not those that the sweep began with \(train\).*other digits"):
        machine.run(curve_sweep(), resume="latest", **options)
    assert files(Path(machine.storage.url)) == before and machine.trained() == []
    machine.before = at("prepare", 0, lambda: {"kind": "error", "value": "/typo lacks digits.gz"})
    with pytest.raises(GenlabError, match=r"/typo lacks digits\.gz"):
        machine.run(curve_sweep(), resume="latest", data_root="/typo")
    assert files(Path(machine.storage.url)) == before  # no option is remembered, no file is cleared away
    machine.before = lambda request: None
    monkeypatch.setitem(DATA, "train", "digits")
    assert machine.run(curve_sweep(), resume="latest") == 0
    assert machine.pools[-1].settings.data_root is None


@pytest.mark.parametrize(
    ("changes", "options", "names"),
    [
        ({}, {"seeds": 3}, "seeds: it began with 2, now it is 3"),
        ({}, {"workers": 2}, "workers"),
        ({}, {"epochs": 2}, "settings: epochs was 3, now it is 2. What"),
        ({}, {"seed": 1}, "settings"),
        ({"mode": "max"}, {}, "mode"),
        ({"settings": {"curve": (9.0, 9.0, 9.0)}}, {}, "settings"),
        ({"grid": [{"level": 30.0}, {"level": 21.0}]}, {}, "grid"),
    ],
)
def test_what_results_follow_from_cannot_change_on_resume(
    machine: Machine, changes: Any, options: Any, names: str
) -> None:
    damaged(machine)
    before, joined = files(Path(machine.storage.url)), len(machine.joined)
    with pytest.raises(GenlabError, match=f"cannot be resumed with another {names}"):
        machine.run(curve_sweep(**changes), resume="latest", **options)
    assert files(Path(machine.storage.url)) == before and len(machine.joined) == joined


def test_choices_of_the_command_line_cannot_change_on_resume(machine: Machine) -> None:
    assert machine.run(curve_sweep(), set=("level=10,20",), trials=2) == 0
    with pytest.raises(GenlabError, match="cannot be resumed with another space"):
        machine.run(curve_sweep(), resume="latest", set=("level=10,30",), trials=4)
    assert machine.run(curve_sweep(), resume="latest", trials=4) == 0
    assert {trial.settings["level"] for trial in machine.records.trials.values()} <= {10.0, 20.0}


def search(**changes: Any) -> Any:
    return curve_sweep(grid=(), space={"level": uniform(1.0, 40.0)}, **changes)


def test_a_search_may_grow_but_not_shrink(machine: Machine) -> None:
    assert machine.run(search(), trials=3, confirm=1, scheduler="fifo") == 0
    assert len(machine.records.trials) == 4  # one of them confirms
    with pytest.raises(GenlabError, match="has 3 trials already: --trials 2"):
        machine.run(search(), resume="latest", trials=2)
    assert machine.run(search(), resume="latest", trials=3) == 0 and machine.trained() == []
    assert machine.run(search(), resume="latest", trials=5) == 0
    assert len([trial for trial in machine.records.trials.values() if not trial.confirms]) == 5


def test_what_failed_is_taken_up_at_its_last_epoch_where_that_is_asked_for(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.before = at("0001", 2, lambda: {"kind": "error", "value": "OSError: the node lacks the data"})
    assert machine.run(curve_sweep(), grid=True) == 0
    assert machine.records.trials["0001"].ends == "failed"
    machine.before = lambda request: None
    assert machine.run(curve_sweep(), resume="latest") == 0
    assert machine.trained() == [] and machine.records.trials["0001"].ends == "failed"
    assert machine.run(curve_sweep(), resume="latest", retry_failed=True) == 0
    assert machine.trained() == [("0001", 2), ("0001", 3)]
    records = machine.records
    assert records.trials["0001"].ends == "completed" and records.trials["0001"].error is None
    assert [event.retry for event in records.events if isinstance(event, KINDS["start"]) and event.retry] == [["0001"]]
    assert "retry_failed" not in records.options()
    capsys.readouterr()
    events = len(machine.records.events)
    assert machine.run(curve_sweep(), resume="latest", retry_failed=True) == 0  # nothing is left to take up
    assert machine.trained() == [] and len(machine.records.events) == events
    assert "--retry-failed: no trial has failed" in capsys.readouterr().out


def test_a_bare_resume_says_which_of_several_it_takes(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """A best trial that was trained again has the sweep's own name, and is the latest."""
    assert machine.run(search(), trials=2) == 0
    first = machine.records.name
    capsys.readouterr()
    assert machine.run(search(), resume="latest", trials=3) == 0
    assert f"resuming {first}, 2 trials so far\n" in capsys.readouterr().out
    assert machine.run(search(), trials=1, set=("level=3.5",)) == 0  # as its summary says
    again = machine.records.name
    assert again != first
    with pytest.raises(GenlabError, match="--trials 6 would do nothing") as refused:
        machine.run(search(), resume="latest", trials=6)
    assert f"This is of {again}, the latest of 2 sweeps of this name: --resume NAME" in str(refused.value)
    with pytest.raises(GenlabError, match=f"{again}.*cannot be resumed with another seeds.*the latest of 2 sweeps"):
        machine.run(search(), resume="latest", seeds=2)
    with pytest.raises(GenlabError, match="cannot be resumed with another seeds") as refused:
        machine.run(search(), resume=first, seeds=2)
    assert "--resume NAME" not in str(refused.value)
    capsys.readouterr()
    assert machine.run(search(), resume="latest") == 0
    assert f"resuming {again}, 1 trials so far; 1 more of this name are in" in capsys.readouterr().out
    assert machine.run(search(), resume=first, trials=6) == 0
    assert len(Records.open(machine.storage, first).trials) == 6


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"trials": "x"}, "trials: Expected"),
        ({"lanes": [1]}, "lanes: Expected"),
        ({"set": [[1]]}, r"set\[0\]: Expected"),
        ({"cpus_per_worker": "2"}, "cpus_per_worker: Expected"),
        ({"trials": 0}, "--trials 0: it must be at least 1"),
        ({"scheduler": "other"}, "scheduler: Invalid"),
        ({"storage": "/elsewhere"}, "there is no option 'storage'"),
        ({"resume": "another"}, "there is no option 'resume'"),
    ],
)
def test_options_on_record_that_no_command_line_gives_are_refused(machine: Machine, options: Any, says: str) -> None:
    assert machine.run(search(), trials=2) == 0
    records, joined = machine.records, len(machine.joined)
    changed = msgspec.structs.replace(records.manifest, options=options)
    records.storage.write("manifest.json", changed.encode())
    with pytest.raises(CorruptFile, match=f"options in the records of .* are damaged: {says}"):
        machine.run(search(), resume="latest", trials=3)
    assert len(machine.joined) == joined


def test_trials_drawn_from_what_the_sweep_has_not_are_refused(machine: Machine) -> None:
    assert machine.run(search(), trials=2) == 0
    records, joined = machine.records, len(machine.joined)
    last = [event for event in records.events if isinstance(event, KINDS["trial"])][-1]
    (drawn,) = last.distributions.values()
    other = msgspec.structs.replace(drawn, attributes={**drawn.attributes, "high": 50.0})
    records.append("trial", trial="0002", settings=last.settings, config=last.config, distributions={"level": other})
    with pytest.raises(CorruptFile, match="level of trial 0002 was drawn from no distribution of the sweep"):
        machine.run(search(), resume="latest", trials=5)
    assert len(machine.joined) == joined


def test_an_option_that_is_on_record_already_is_no_news(machine: Machine) -> None:
    assert machine.run(search(), trials=2, scheduler="fifo") == 0
    events = machine.records.events
    assert machine.run(search(), resume="latest", trials=2, scheduler="fifo") == 0
    assert machine.records.events == events
    assert machine.run(search(), resume="latest", lanes=1) == 0
    assert machine.records.options() == {"trials": 2, "scheduler": "fifo", "lanes": 1}


def test_a_dry_run_of_a_resume_says_which_sweep_it_looks_at(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert machine.run(search(), trials=2) == 0
    name = machine.records.name
    capsys.readouterr()
    assert machine.run(search(), resume="latest", dry_run=True) == 0
    assert f"resuming {name}, 2 trials so far" in capsys.readouterr().out


def test_a_sweep_that_had_ended_and_has_nothing_to_do_ends_once(machine: Machine) -> None:
    assert machine.run(search(), trials=2) == 0
    events = machine.records.events
    for _ in range(2):
        assert machine.run(search(), resume="latest") == 0
        assert machine.records.events == events
    assert machine.run(search(), resume="latest", trials=3) == 0
    assert kinds(machine.records.events).count("end") == 2


def test_options_of_earlier_starts_are_remembered_and_later_ones_win(machine: Machine) -> None:
    given = {"seeds": 2, "seed": 5, "lanes": 1, "cpus_per_worker": 2, "scheduler": "fifo", "data_root": "/data"}
    assert machine.run(search(), trials=2, set=("curve=3:1:2",), address="here:1", **given) == 0
    assert machine.run(search(), resume="latest", address="there:2") == 0
    assert kinds(machine.records.events).count("start") == 0
    assert machine.run(search(), resume="latest", trials=3, lanes=4, gpus_per_worker=0.5) == 0
    assert machine.run(search(), resume="latest", cpus_per_worker=7) == 0
    starts = [e.options for e in machine.records.events if isinstance(e, KINDS["start"])]
    assert starts == [{"trials": 3, "lanes": 4, "gpus_per_worker": 0.5}, {"cpus_per_worker": 7}]
    assert machine.asked_room == [(1, 2, 1, 2, None), (1, 2, 1, 2, None), (1, 3, 4, 2, 0.5), (1, 3, 4, 7, 0.5)]
    assert machine.joined == ["here:1", "there:2", None, None]
    pool = machine.pools[-1]
    assert (pool.lanes, pool.workers) == (2, 1)  # what there was room for
    assert (pool.resources, pool.deadline) == ({"CPU": 3}, 77.0)
    assert pool.settings.data_root == "/data"
    third = machine.records.trials["0002"]
    assert third.config["seed"] == 5 and third.config["curve"] == [3.0, 1.0, 2.0]
    assert {one["replicas"] for one in machine.pools[2].asked if one["trial"] == "0002"} == {2}


def test_options_of_a_resume_that_was_interrupted_at_once_are_remembered(machine: Machine) -> None:
    assert machine.run(search(), trials=2) == 0
    machine.before = at("prepare", 0, lambda: {"kind": "cut", "value": "interrupted"})
    assert machine.run(search(), resume="latest", trials=4) == 130
    assert machine.records.options()["trials"] == 4


def sign_of(machine: Machine) -> Path:
    return Path(machine.records.storage.where("drivers/00000001.json"))


def test_the_heartbeat_is_renewed_all_the_time_and_keeps_a_second_driver_away(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genlab.tracking.claims.HEARTBEAT", 0.02)

    def see() -> None:
        beats: set[float] = set()
        wait_for(lambda: beats.add(json.loads(sign_of(machine).read_text())["time"]) or len(beats) >= 4)
        assert json.loads(sign_of(machine).read_text())["pid"] == os.getpid()
        events = Path(machine.records.storage.where("events"))
        before = files(events)
        with pytest.raises(GenlabError, match="has a driver already"):
            machine.run(curve_sweep(), resume="latest", lanes=1)
        assert files(events) == before and sign_of(machine).exists()
        monkeypatch.setattr("genlab.tracking.claims.HEARTBEAT", 5.0)  # and so long its end is waited for
        seen.append(True)

    seen: list[bool] = []
    machine.before = at("0001", 2, see)
    assert machine.run(curve_sweep(), grid=True) == 0
    assert seen == [True] and not sign_of(machine).exists()


def test_a_driver_elsewhere_is_respected_until_its_heartbeat_is_stale(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genlab.tracking.claims.LISTEN", 0.1)
    records = damaged(machine)
    other = {"host": "another", "processes": "", "pid": 1, "started": 0.0}
    sign_of(machine).parent.mkdir(exist_ok=True)
    sign_of(machine).write_text(seal(json.dumps({**other, "time": time.time()})))
    before = files(Path(machine.storage.url))
    with pytest.raises(GenlabError, match="process 1 on another"):
        machine.run(curve_sweep(), resume="latest")
    assert files(Path(machine.storage.url)) == before  # its sign, too
    sign_of(machine).write_text(seal(json.dumps({**other, "time": time.time() - STALE - 1})))
    assert machine.run(curve_sweep(), resume="latest") == 0
    assert machine.records.trials["0002"].ends == "completed"
    assert machine.records.storage.names("drivers") == ["00000001.json"]  # the other's is its own
    assert len(machine.records.events) > len(records.events)


def test_what_another_driver_did_until_just_now_is_known(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may end between this one's first look and its own heartbeat."""
    assert machine.run(search(), trials=2, scheduler="fifo") == 0
    room = machine.room

    def meanwhile(trials: int) -> Any:
        def act(*asked: Any) -> Any:
            monkeypatch.setattr("genlab.lanes.cluster.room", room)
            assert machine.run(search(), resume="latest", trials=trials) == 0
            return room(*asked)

        return act

    monkeypatch.setattr("genlab.lanes.cluster.room", meanwhile(3))
    assert machine.run(search(), resume="latest", trials=4) == 0
    assert [e.n for e in machine.records.events] == list(range(1, len(machine.records.events) + 1))
    assert len(machine.records.trials) == 4
    monkeypatch.setattr("genlab.lanes.cluster.room", meanwhile(6))
    with pytest.raises(GenlabError, match="has 6 trials already"):
        machine.run(search(), resume="latest", trials=5)
    assert not sign_of(machine).exists() and len(machine.records.trials) == 6
