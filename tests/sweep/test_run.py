"""What a sweep's driver commits, keeps, hands on and tells; without Ray."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from made_sweeps import kinds, manifest
from one_process import Actor, CurveConfig, curve_sweep
from ray.exceptions import GetTimeoutError, RaySystemError

from genlab.errors import GenlabError, StorageError
from genlab.sweep import uniform
from genlab.sweep.driver import Driver
from genlab.sweep.plan import make
from genlab.sweep.run import Run
from genlab.sweep.search import Asha, Confirmation, Search
from genlab.tracking.events import KINDS, EpochDone
from genlab.tracking.events import kind as event_kind
from genlab.tracking.records import Records, TrialRecord
from genlab.tracking.storage import Storage

SEARCH = {"space": {"level": uniform(1.0, 40.0)}, "grid": (), "trials": 4}
RANGE = make(curve_sweep(**SEARCH), {}, None).identity().space


class Watcher:
    """Stands for the view, and for the drain: keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def advanced(self, record: TrialRecord) -> None:
        self.told.append(("advanced", record.name))

    def ended(self, record: TrialRecord) -> None:
        self.told.append(("ended", record.name))

    def say(self, text: str) -> None:
        self.told.append(text)

    def lanes_up(self, up: int, wanted: int, lost: Any) -> None:
        self.lanes = (up, wanted, lost)

    def notify(self, n: int) -> None:
        self.told.append(n)


def new_run(folder: Path, mode: str = "min", **options: Any) -> Any:
    """A run with one trial, `0000`, and with nothing behind it."""
    plan = make(curve_sweep(mode=mode, **SEARCH), options, __file__)
    storage = Storage(str(folder))
    records = Records.create(storage, manifest("curve"))
    run: Any = Run(plan, records, storage, Watcher(), Watcher())  # type: ignore[arg-type]
    run.pool = SimpleNamespace(mailbox=Actor(), problem=None, lanes=2)
    add(run, "0000")
    return run


def add(run: Any, name: str, level: float = 10.0, **config: Any) -> TrialRecord:
    """One more trial."""
    values = {"level": level, "epochs": 3, "seed": 7, **config}
    run.append("trial", trial=name, settings={"level": level}, config=values, distributions=RANGE)
    return run.records.trials[name]


def result(
    epoch: int, objective: float = 1.0, kind: str = "ok", done: bool = False, trial: str = "0000", **more: Any
) -> dict[str, Any]:
    """As a trial's client tells it."""
    stem = f"trials/{trial}/epoch_{epoch:04d}"
    value: Any = {
        "report": (f"{stem}.report", 1, "r"),
        "state": None if kind == "diverged" else (f"{stem}.state", 2, "s"),
    }
    done = done or kind != "ok" or epoch == 3
    return {"kind": kind, "value": value, "epoch": epoch, "epochs": 3, "objective": objective, "done": done, **more}


def deleted(run: Any) -> list[str]:
    """What is to be deleted."""
    return [run.doomed.get() for _ in range(run.doomed.qsize())]


@pytest.mark.parametrize(
    ("told", "ends", "objective"),
    [
        (result(1, 5.0), None, 5.0),
        (result(1, 5.0, done=True), "pruned", 5.0),
        (result(3, 5.0), "completed", 5.0),
        (result(3, 5.0, "diverged"), "diverged", None),
        (result(1, 0.0, "diverged"), "diverged", None),
    ],
)
def test_an_epoch_is_committed_with_the_end_that_was_decided(
    tmp_path: Path, told: dict[str, Any], ends: str | None, objective: float | None
) -> None:
    run = new_run(tmp_path)
    run.commit("0000", told)
    run.settle()
    event = Records.open(run.storage, run.records.name).events[-1]
    assert isinstance(event, EpochDone) and (event.trial, event.epoch) == ("0000", told["epoch"])
    assert (event.ends, event.objective) == (ends, objective)
    assert event.report == told["value"]["report"]
    assert event.state == (None if ends == "diverged" else told["value"]["state"])
    # its lane is free once it has ended, and not before; MLflow and the viewer hear of it
    assert run.pool.mailbox.told == ([("forget", "0000")] if ends else [])
    assert run.drain.told == [event.n]
    assert run.view.told == ([("ended", "0000")] if ends else [("advanced", "0000")])


@pytest.mark.parametrize("kind", ["error", "lost"])
def test_a_trial_whose_code_raised_or_whose_lane_died_has_failed(tmp_path: Path, kind: str) -> None:
    run = new_run(tmp_path)
    run.commit("0000", result(1))
    run.commit("0000", result(2, kind=kind, value="Traceback\nValueError: no gradient\n"))
    run.settle()
    record = Records.open(run.storage, run.records.name).trials["0000"]
    assert (record.ends, record.error, sorted(record.epochs)) == ("failed", "Traceback\nValueError: no gradient\n", [1])
    assert run.records.events[-1].epoch == 2 and run.drain.told[-1] == 3
    assert run.view.told[-1] == ("ended", "0000")
    assert run.pool.mailbox.told == [("forget", "0000")]


def told_of(line: int, message: str = "", package: bool = False) -> str:
    """As a rank tells of an error in that line of the author's, or of a package."""
    error = f"RuntimeError: {message}" if message else "RuntimeError"
    trace = f'Traceback\n  File "/a/x.py", line {line}, in loss\n{error}'
    return trace if package else f"{trace}\nx.py:{line}, in loss: {error}"


@pytest.mark.parametrize(
    ("kinds", "texts", "stops"),
    [
        (["error"] * 3, [told_of(7, "size 3"), told_of(7, "size 4"), told_of(7)], True),
        (["error"] * 3, [told_of(7, "size 3", True), told_of(7, "size 4", True), told_of(7, "", True)], True),
        (["lost"] * 3, ["its lane died 3 times"] * 3, True),
        (["error"] * 3, [told_of(7), told_of(8), told_of(7)], False),
        (["error"] * 3, ["a 2 x 2 kernel does not fit", "a 3 x 3 kernel does not fit", "no image 'a'"], False),
        (["error"] * 2, [told_of(7), told_of(7)], False),
        (["error"] * 4, [told_of(7), told_of(8), told_of(8), told_of(8)], True),  # repaired, but not well
        (["error", "error", "diverged", "error"], [told_of(7)] * 4, False),  # its epoch was trained
        (["ok", "error", "error", "error"], [told_of(7)] * 4, False),
    ],
)
def test_trials_that_all_fail_in_the_same_place_stop_the_sweep(
    tmp_path: Path, kinds: list[str], texts: list[str], stops: bool
) -> None:
    run = new_run(tmp_path, trials=9)
    for i, (kind, text) in enumerate(zip(kinds, texts, strict=True)):
        assert run.why is None
        name = f"{i:04d}"
        if i:
            add(run, name)
        told = result(1, kind=kind, trial=name)
        run.commit(name, {**told, "value": text} if kind in ("error", "lost") else told)
    assert (run.why is not None) is stops
    if stops:
        assert run.why.startswith("3 trials failed in the same place")
        assert run.pool.mailbox.told[-2][0] == "cut" and isinstance(run.records.events[-1], KINDS["error"])


def test_a_sweep_of_fewer_trials_stops_with_the_last_and_a_resumed_one_counts_on(tmp_path: Path) -> None:
    few = new_run(tmp_path / "few", trials=2)
    add(few, "0001")
    for name in ("0000", "0001"):
        assert few.why is None
        few.commit(name, result(1, kind="error", value=told_of(7)))
    assert few.why and few.why.startswith("2 trials")
    run = new_run(tmp_path / "more", trials=9)
    for i in (0, 1):
        record = add(run, f"{i:04d}")
        run.commit(record.name, result(1, kind="error", value=told_of(7)))
    run.settle()
    run.records = Records.open(run.storage, run.records.name)  # resumed
    add(run, "0002")
    run.commit("0002", result(1, kind="error", value=told_of(7)))
    assert run.why and run.why.startswith("3 trials")


def test_what_is_told_twice_has_happened_once(tmp_path: Path) -> None:
    """A trial whose actor died tells its epochs again, a driver hears late ones."""
    run = new_run(tmp_path)
    for told in (result(1), result(1), result(2), result(1), result(2, done=True), result(3), result(3)):
        run.commit("0000", told)
    for late in (result(4), result(4, kind="error", value="late"), result(2, kind="error", value="late")):
        run.commit("0000", late)
    told = run.records.events[1:]
    assert [(event_kind(e), getattr(e, "epoch", None)) for e in told] == [
        ("epoch", 1),
        ("epoch", 2),
        ("epoch", 3),
    ]
    assert run.records.trials["0000"].ends == "completed"
    assert run.view.told == [("advanced", "0000"), ("advanced", "0000"), ("ended", "0000")]


def test_a_trial_whose_actor_died_too_often_has_failed_whatever_it_had_done(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    run.commit("0000", result(1))
    run.commit("0000", {"kind": "error", "value": "the actor died", "epoch": None})
    assert run.records.trials["0000"].ends == "failed"


@pytest.mark.parametrize("kind", ["cut", "storage"])
def test_after_the_stop_nothing_is_committed(tmp_path: Path, kind: str) -> None:
    run = new_run(tmp_path)
    run.commit("0000", result(1, kind=kind, value="the disk is full"))
    assert run.why == "the disk is full" and run.stopped()
    for told in (result(1), result(1, kind="error", value="x"), result(1, kind="cut", value="a later reason")):
        run.commit("0000", told)
    run.append("end", summary={})
    assert run.why == "the disk is full"
    assert len(run.records.events) == 1 and run.drain.told == run.view.told == []
    assert run.pool.mailbox.told == []


def test_the_first_reason_to_stop_stays_and_the_lanes_hear_it(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    assert not run.stopped()
    run.stop("interrupted")
    run.stop("no lane came up")
    assert run.why == "interrupted" and run.pool.mailbox.told == [("cut", "interrupted")]


def test_a_sweep_that_stops_waits_no_longer_for_its_storage(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    assert not run.records.storage._hurry.is_set()
    run.stop("interrupted")
    assert run.records.storage._hurry.is_set()


def test_a_stop_before_there_are_lanes_is_told_to_them_later(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    run.pool = None
    run.stop("interrupted")
    assert run.stopped()
    assert watch(run, [look()]) == [("look",), ("cut", "interrupted")]


def test_storage_that_fails_stops_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = new_run(tmp_path)
    run.settle()

    def full(*_: Any, **__: Any) -> None:
        raise StorageError("no space is left")

    monkeypatch.setattr(run.records.storage, "write_new", full)
    run.append("start", options={})
    run.settle()
    assert run.why == "no space is left" and run.drain.told == []
    assert kinds(run.records.events) == ["trial"]  # what was not written has not happened
    assert run.pool.mailbox.told == [("cut", "no space is left")]


@pytest.mark.parametrize(
    ("mode", "curve", "kept"),
    [
        ("min", [3.0, 2.0, 1.0], [3]),
        ("min", [1.0, 3.0, 2.0], [1, 3]),
        ("min", [2.0, 1.0, 3.0], [2, 3]),
        ("max", [3.0, 2.0, 1.0], [1, 3]),
        ("max", [1.0, 3.0, 2.0], [2, 3]),
        ("max", [-3.0, -2.0, -1.0], [3]),
        ("min", [2.0, 1.0, None], [2]),  # it diverged, so it has no last state
    ],
)
def test_the_best_and_the_last_state_are_kept_and_no_other(
    tmp_path: Path, mode: str, curve: list[float | None], kept: list[int]
) -> None:
    run = new_run(tmp_path, mode)
    record = run.records.trials["0000"]
    for epoch, objective in enumerate(curve, 1):
        run.commit("0000", result(epoch, objective or 0.0, "ok" if objective is not None else "diverged"))
        assert objective is None or record.epochs[epoch].state is not None  # the last is there at any time
    assert [epoch for epoch, each in record.epochs.items() if each.state] == kept
    gone = {epoch for epoch, objective in enumerate(curve, 1) if objective is not None} - set(kept)
    run.settle()
    assert sorted(deleted(run)) == [f"trials/0000/epoch_{epoch:04d}.state" for epoch in sorted(gone)]


class Slow:
    """A storage that takes its time to write events, until it may go on."""

    def __init__(self, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.goes_on, self.asked = threading.Event(), threading.Event()
        self.write, self.files = run.records.storage.write_new, list[int]()
        monkeypatch.setattr(run.records.storage, "write_new", self)

    def __call__(self, path: str, data: bytes) -> Any:
        self.asked.set()
        assert self.goes_on.wait(60)
        self.files.append(data.count(b"\n"))
        return self.write(path, data)


def test_tune_waits_for_no_storage_and_what_comes_meanwhile_is_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run(tmp_path)
    run.settle()
    slow = Slow(run, monkeypatch)
    run.commit("0000", result(1, 2.0))
    assert slow.asked.wait(60)
    for name in ("0001", "0002"):
        add(run, name)
        for epoch in (1, 2, 3):
            run.commit(name, result(epoch, 4.0 - epoch, trial=name))
    run.commit("0000", result(2, 1.0))
    # here it counts, and elsewhere it has not happened: nothing is sent to MLflow, no state is given up
    assert run.records.trials["0002"].ends == "completed" and run.view.told[-1] == ("advanced", "0000")
    assert len(Records.open(run.storage, run.records.name).events) == 1
    assert run.drain.told == deleted(run) == []
    slow.goes_on.set()
    run.settle()
    assert slow.files == [1, 9] and run.drain.told == [2, 11]
    assert len(deleted(run)) == 5
    again = Records.open(run.storage, run.records.name)
    assert [event.n for event in again.events] == list(
        range(1, 12)
    ) and again.trials.keys() == run.records.trials.keys()


def test_of_what_could_not_be_written_nothing_counts_and_its_states_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run(tmp_path)
    run.commit("0000", result(1, 2.0))
    run.settle()
    slow = Slow(run, monkeypatch)
    run.commit("0000", result(2, 1.0))
    assert slow.asked.wait(60)
    add(run, "0001")

    def full(path: str, data: bytes) -> Any:
        raise StorageError("no space is left")

    slow.write = full
    slow.goes_on.set()
    run.settle()
    assert run.why == "no space is left" and deleted(run) == [] and run.drain.told == [2]
    assert run.records.trials == Records.open(run.storage, run.records.name).trials
    assert [*run.records.trials] == ["0000"] and run.records.trials["0000"].last.epoch == 1


def test_a_state_that_is_found_needless_after_all_is_committed_goes_with_the_end(tmp_path: Path) -> None:
    """The thread that commits may be quicker than Tune's, and no later event reminds it."""
    run = new_run(tmp_path)
    spare_states, run.spare_states = run.spare_states, lambda record: None
    for epoch in (1, 2):
        run.commit("0000", result(epoch, 3.0 - epoch))
    run.settle()
    spare_states(run.records.trials["0000"])
    assert deleted(run) == []
    run.settle()
    assert deleted(run) == ["trials/0000/epoch_0001.state"]


def test_states_that_nothing_needs_leave_the_storage(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    named = [run.records.storage.write(f"trials/0000/{name}", b"x").path for name in ("gone", "kept")]
    for path in ("trials/0000/never-there", named[0], None):
        run.doomed.put(path)
    Driver(run)._sweep_away()
    assert run.records.storage.names("trials/0000") == ["kept"]


def test_a_file_that_cannot_be_deleted_waits_for_a_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, tried = new_run(tmp_path), []

    def fail(path: str) -> None:
        tried.append(path)
        raise StorageError("the store does not answer")

    monkeypatch.setattr(run.records.storage, "delete", fail)
    for path in ("a", "b", None):
        run.doomed.put(path)
    Driver(run)._sweep_away()
    assert tried == ["a", "b"]


def test_a_trial_begins_at_its_last_committed_epoch(tmp_path: Path) -> None:
    run = new_run(tmp_path, seeds=2)
    record = add(run, "0001", 20.0, epochs=5)  # rows of a grid differ in length
    begun = run.begin(record)
    config = {"level": 20.0, "epochs": 5, "seed": 7}
    assert begun == {
        "trial": "0001",
        "config": config,
        "replicas": 2,
        "state": None,
        "at": 0,
        "epochs": 5,
        "metric": "loss",
        "test": False,
    }
    for epoch, objective in ((1, 1.0), (2, 3.0)):  # the first is the better one
        run.commit("0001", result(epoch, objective, trial="0001"))
    assert run.begin(record) == {**begun, "at": 2, "state": ["trials/0001/epoch_0002.state", 2, "s"]}


@pytest.mark.parametrize(("seeds", "replicas"), [(1, 3), (3, 3), (5, 5)])
def test_what_confirms_has_three_seeds_at_least_and_reads_the_test_data(
    tmp_path: Path, seeds: int, replicas: int
) -> None:
    run = new_run(tmp_path, seeds=seeds)
    begun = run.begin(add(run, "confirm-0000"))
    assert (begun["replicas"], begun["test"]) == (replicas, True)
    assert run.begin(run.records.trials["0000"])["replicas"] == seeds


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What Tune would be given: searcher, scheduler, count."""
    given: list[Any] = []
    monkeypatch.setattr("genlab.sweep.tuning.fit", lambda run, *rest: given.append(rest))
    return given


def test_tune_gets_what_was_cut_off_and_as_many_new_trials_as_are_missing(tmp_path: Path, fits: list[Any]) -> None:
    run = new_run(tmp_path, trials=6, scheduler="asha")
    ended = add(run, "0001")
    run.commit("0001", result(3, trial="0001"))
    cut = add(run, "confirm-0001")
    Driver(run)._fit(search=True)  # 0000 goes on, four are new
    Driver(run)._fit(search=False)
    (searcher, scheduler, count), (confirming, none, confirmations) = fits
    assert isinstance(searcher, Search) and count == 5 and searcher.unfinished == [run.records.trials["0000"]]
    assert isinstance(scheduler, Asha) and any("0001" in rung for rung in scheduler.rungs().values())
    assert isinstance(confirming, Confirmation) and none is None
    assert confirmations == 1 and confirming.trials == [cut]
    # what the search is given are this run's own
    assert json.loads(searcher.begin(ended)["begun"])["at"] == 3 and json.loads(confirming.begin(cut)["begun"])["test"]
    run.stop("interrupted")
    assert searcher.stopped() and confirming.stopped()


def test_where_nothing_is_left_to_do_tune_is_not_started(tmp_path: Path, fits: list[Any]) -> None:
    run = new_run(tmp_path, trials=1)
    run.commit("0000", result(3))
    add(run, "0001")
    run.commit("0001", result(3, trial="0001"))  # more than asked for now
    Driver(run)._fit(search=True)
    Driver(run)._fit(search=False)
    run.plan = make(curve_sweep(**SEARCH), {"trials": 9}, None)
    run.stop("interrupted")
    Driver(run)._fit(search=True)
    assert fits == []


@pytest.mark.parametrize(("mode", "best"), [("min", ["0003", "0001"]), ("max", ["0000", "0001"])])
def test_the_best_settings_that_trained_to_the_end_are_confirmed_on_fresh_seeds(
    tmp_path: Path, fits: list[Any], mode: str, best: list[str]
) -> None:
    run = new_run(tmp_path, mode, confirm=2, seeds=2, trials=6)
    extreme = {"min": 0.0, "max": 25.0}[mode]
    objectives = {"0000": 4.0, "0001": 3.0, "0002": extreme, "0003": 2.0, "0004": extreme, "0005": extreme}
    for name, objective in objectives.items():
        record = run.records.trials.get(name) or add(run, name, 10.0 + objective, curve="1.0:2.0:3.0")
        kind = {"0004": "error", "0005": "diverged"}.get(name, "ok")
        told = result(2 if name == "0002" else 3, objective, kind, done=True, trial=name)
        run.commit(record.name, told if kind != "error" else {**told, "value": "it broke"})
    Driver(run)._confirm()
    confirming = [trial for trial in run.records.trials.values() if trial.confirms]
    assert [trial.name for trial in confirming] == [f"confirm-{name}" for name in best]
    for trial, name in zip(confirming, best, strict=True):
        origin = run.records.trials[name]
        assert trial.settings == origin.settings and trial.distributions == origin.distributions
        assert trial.config == {**origin.config, "seed": 9}  # the search had 7 and 8
    Driver(run)._confirm()  # as after a resume
    assert [[trial.name for trial in searcher.trials] for searcher, _, _ in fits] == [[t.name for t in confirming]] * 2
    for trial in confirming:
        run.commit(trial.name, result(3, extreme, trial=trial.name))
    Driver(run)._confirm()
    assert len(run.records.trials) == 8 and len(fits) == 2


def test_nothing_is_confirmed_unasked_or_after_a_stop(tmp_path: Path, fits: list[Any]) -> None:
    for options, why in (({"confirm": 0}, None), ({"confirm": 1}, "interrupted")):
        run = new_run(tmp_path, "min", **options)
        run.commit("0000", result(3))
        run.why = why
        Driver(run)._confirm()
        assert len(run.records.trials) == 1 and fits == []


def test_a_driver_that_fails_while_an_event_is_noted_settles_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is prepared is noted by a thread of its own, and the thread that commits may just begin."""
    begins, goes_on = threading.Event(), threading.Event()

    class Slow(threading.Thread):
        def start(self) -> None:
            begins.set()
            goes_on.wait(10)
            super().start()

    run = new_run(tmp_path)
    run.settle()
    monkeypatch.setattr("genlab.sweep.run.threading.Thread", Slow)
    noting = threading.Timer(0, run.append, ["data"], {"description": {}, "prepared": {}})
    noting.start()
    assert begins.wait(10)
    threading.Timer(0.1, goes_on.set).start()
    run.settle()
    noting.join(10)
    assert run.records.committed == len(run.records.events) == 2 and run._committing is None


def look(**more: Any) -> dict[str, Any]:
    return {"notes": [], "cut": None, "ready": True, "lanes": {0: "a"}, "lost": {}, **more}


def watch(run: Any, looks: list[Any], files: Any = None) -> list[Any]:
    """What the mailbox is told while the driver sees these. `files` are what is prepared; None: not yet."""
    left = iter(looks)
    asked = []

    def see(timeout: float) -> Any:
        asked.append(("look",))
        seen = next(left)
        if isinstance(seen, Exception):
            raise seen
        return seen

    mailbox = run.pool.mailbox if run.pool else Actor()
    mailbox.told = asked
    run.pool = SimpleNamespace(look=see, mailbox=mailbox, problem=None, lanes=2)
    watching(run, rounds=len(looks), files=files)
    return asked


def watching(run: Any, rounds: int, files: Any = None) -> None:
    """The driver looks so often."""
    driver: Any = Driver(run)
    if files is not None:
        driver.files = files
        driver.prepared.set()
    left = iter([False] * rounds + [True])
    driver.ended = SimpleNamespace(wait=lambda seconds: next(left))
    driver._watch()


def test_a_mailbox_that_was_started_again_is_told_what_it_must_know(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    files = {"judge": "prepared/judge.safetensors"}
    assert watch(run, [look(ready=False)]) == [("look",)]  # nothing is prepared yet
    assert watch(run, [look(), look(ready=False)], files) == [("look",), ("look",), ("go", files)]
    run.why = "interrupted"
    seen = [look(cut="interrupted"), look(ready=False)]
    assert watch(run, seen, files) == [("look",), ("look",), ("cut", "interrupted")]


def test_what_lanes_say_is_shown_and_a_cut_that_they_made_stops_the_sweep(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    watch(run, [look(notes=["one", "two"]), look(cut="the disk is full"), look(cut="another")])
    assert run.view.told == ["one", "two"] and run.why == "the disk is full"


def test_a_lane_that_does_not_come_up_is_told_once_and_again_when_it_does(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    watch(run, [look(lost={1: "no GPU"}), look(lost={1: "no GPU"}), look(lanes={0: "a", 1: "b"})])
    assert run.view.told == [
        "lane 1 does not come up: no GPU; the others go on, and it is tried again",
        "lane 1 is up again",
    ]
    assert run.view.lanes == (2, 2, {})


def test_lanes_that_do_not_come_up_stop_the_sweep(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    mailbox = Actor()
    run.pool = SimpleNamespace(
        look=lambda timeout: look(), mailbox=mailbox, problem="no lane came up in 180 s", lanes=2
    )
    watching(run, rounds=1)
    assert run.why == "no lane came up in 180 s" and mailbox.told[0] == ("cut", run.why)


def test_a_mailbox_that_is_slow_is_asked_again_a_ray_that_is_gone_stops_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    run = new_run(tmp_path)
    watch(run, [GetTimeoutError("slow"), look(notes=["it is back"])])
    assert run.why is None and run.view.told == ["it is back"]
    assert watch(run, [RaySystemError("lost"), look()]) == [("look",)]
    assert run.why and "Ray is gone" in run.why
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    run = new_run(tmp_path)
    run.why = "interrupted"
    assert watch(run, [GetTimeoutError("gone"), look()]) == [("look",)] and run.why == "interrupted"


def test_whoever_hears_while_another_thread_does_waits_no_longer_than_it_was_told(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    run.pool = SimpleNamespace(look=lambda timeout: pytest.fail("it is heard twice at once"), lanes=2)
    driver = Driver(run)
    with driver.hearing, pytest.raises(TimeoutError, match="the mailbox has not answered for 0 s"):
        driver._hear(timeout=0.01)
    heard: list[float] = []
    run.pool.look = lambda timeout: heard.append(timeout) or look()
    for _ in range(2):  # each lets the next one hear
        driver._hear(timeout=7)
    assert heard == [7, 7]


def test_data_of_another_stream_or_one_less_are_others(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    train, test = [{"name": "digits", "digest": "a"}], [{"name": "digits", "digest": "b"}]
    driver = Driver(run)
    driver._check_data({"data": {"train": train}, "metrics": {}})
    for data, names in (({"train": train, "test": test}, "test"), ({}, "train"), ({"test": train}, "test, train")):
        with pytest.raises(GenlabError, match=rf"not those that the sweep began with \({names}\): .* now\. Resume"):
            driver._check_data({"data": data, "metrics": {}})
    driver._check_data({"data": {"train": train}, "metrics": {}})
    assert len(run.records.events) == 2  # they are noted once


def test_all_that_trials_need_is_prepared_before_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configs = [CurveConfig(level=1.0), CurveConfig(level=2.0)]
    monkeypatch.setattr("genlab.sweep.plan.to_prepare", lambda *_: configs)
    monkeypatch.setattr(ray, "get", lambda answer, timeout: answer)
    run = new_run(tmp_path)
    value = {
        "data": {"train": ["digits"]},
        "files": {"judge": "prepared/judge"},
        "metrics": {"judge": {"accuracy": 0.9}},
    }
    run.pool.mailbox = Actor(SimpleNamespace(ask=lambda request: {"kind": "ok", "value": value}))
    driver = Driver(run)
    driver._prepare()
    (_, request), *rest = run.pool.mailbox.told
    assert request["trial"] == "prepare"
    assert request["script"] == hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    assert [config["level"] for config in request["configs"]] == [1.0, 2.0]
    assert rest == [("go", {"judge": "prepared/judge"})]
    assert driver.files == value["files"] and driver.prepared.is_set()
    event = run.records.events[-1]
    assert isinstance(event, KINDS["data"])
    assert (event.description, event.prepared) == (value["data"], value["metrics"])
