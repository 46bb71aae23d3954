"""Records: only what an event names has happened, the order tells the rest, and one driver writes."""

from __future__ import annotations

import itertools
import json
import pickle
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_sweeps import manifest
from test_epoch_reports import Bomb

from genlab.errors import CorruptFile, GenlabError, StorageError
from genlab.sealed import seal
from genlab.tracking import records as module
from genlab.tracking.event_files import EventFiles, batch_path
from genlab.tracking.records import (
    EpochRecord,
    Records,
    TrialRecord,
    fold,
    rank,
)
from genlab.tracking.schema import as_json
from genlab.tracking.storage import FileName, Storage


def test_events_fold_into_trials(make_sweep: Any) -> None:
    sweep = make_sweep()
    sweep.records.append("data", description={"mnist": [1]})
    sweep.whole_trial("00000", 3, lr=0.1)
    sweep.trial("00001", lr=0.2)
    sweep.epoch("00001", 1)
    sweep.trial("00002", lr=0.3)
    sweep.epoch("00002", 1)
    sweep.error("00002", 2)
    sweep.whole_trial("confirm-00000-0", 1)
    file = FileName("trials/00001/epoch_0001-b.report.safetensors", 5, "f" * 64)
    sweep.records.append("repair", trial="00001", epoch=1, report=file, state=file)
    sweep.end()
    again = Records.open(sweep.storage, sweep.records.name)
    assert again.trials == sweep.records.trials == fold(again.events)
    sweep.records.append("data", description={"mnist": [2]})
    assert again.data() == sweep.records.data() == {"mnist": [1]} and again.manifest.sweep == "made"
    assert {name: trial.ends for name, trial in again.trials.items()} == {
        "00000": "completed",
        "00001": None,
        "00002": "failed",
        "confirm-00000-0": "completed",
    }
    assert again.trials["00001"].epochs[1].report == again.trials["00001"].epochs[1].state == file
    assert again.trials["00002"].objective is None and "no gradient" in (again.trials["00002"].error or "")
    assert [trial.confirms for trial in again.trials.values()] == [False, False, False, True]
    assert [event.n for event in again.events] == list(range(1, len(again.events) + 1))
    best = again.trials["00000"].best("min")
    assert best is not None and best.epoch == 3


def trial(name: str, objective: float | None, ends: str | None) -> TrialRecord:
    """A trial of one epoch."""
    record = TrialRecord(name, {}, {}, {}, 0.0, error="no" if ends == "failed" else None)
    record.epochs[1] = EpochRecord(1, FileName("p", 1, "0"), None, objective, None if ends == "failed" else ends)
    return record


@pytest.mark.parametrize(
    ("objectives", "least", "most"),
    [
        ([3.0, -5.0, 2.0], 2, 1),
        ([-1.0, 0.0, 4.0, None], 1, 3),
        ([0.0, 1.0, 0.5], 1, 2),
        ([-1.0, -2.0, 0.0], 2, 3),
        ([None], None, None),
        ([], None, None),
    ],
)
def test_a_trial_is_judged_by_its_last_epoch_and_keeps_its_best(
    objectives: list[float | None], least: int | None, most: int | None
) -> None:
    record = TrialRecord("00000", {}, {}, {}, 0.0)
    assert record.ends is None and record.last is None and record.objective is None
    for epoch, objective in enumerate(objectives, 1):
        record.epochs[epoch] = EpochRecord(epoch, FileName("p", 1, "0"), None, objective, None)
    for mode, expected in (("min", least), ("max", most)):
        best = record.best(mode)
        assert (best and best.epoch) == expected
    assert record.objective == (objectives[-1] if objectives else None)
    record.error = "no"
    assert record.ends == "failed" and record.objective is None
    assert (record.last.epoch if record.last else 0) == len(objectives)


def test_among_equals_the_earlier_trial_is_first() -> None:
    trials = [trial(name, 1.0, "completed") for name in ("c", "a", "b")]
    for mode in ("min", "max"):
        assert [one.name for one in rank(trials, mode)] == ["c", "a", "b"]


TRIALS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.floats(-10, 10)),
        st.sampled_from(["completed", "pruned", "diverged", "failed", None]),
    ),
    max_size=8,
)


@settings(max_examples=200)
@given(TRIALS, st.sampled_from(["min", "max"]))
def test_rank_puts_the_best_of_those_that_ran_to_the_end_first(found: list[Any], mode: str) -> None:
    ranked = rank([trial(str(i), *item) for i, item in enumerate(found)], mode)
    assert len(ranked) == len(found)
    for above, below in itertools.pairwise(ranked):
        assert (above.ends == "completed") >= (below.ends == "completed")
        if (above.ends == "completed") == (below.ends == "completed"):
            assert (above.objective is not None) >= (below.objective is not None)
            if above.objective is not None and below.objective is not None:
                assert above.objective <= below.objective if mode == "min" else above.objective >= below.objective


def test_a_cut_last_event_has_not_happened_any_other_is_an_error(make_sweep: Any) -> None:
    sweep = make_sweep()
    sweep.whole_trial("00000", 3)
    folder = sweep.records.storage
    whole = folder.read(batch_path(4))
    for length in range(len(whole) - 1):  # the line's end alone is not missed
        folder.write(batch_path(4), whole[:length])
        assert len(Records.open(sweep.storage, sweep.records.name).events) == 3
    again = Records.open(sweep.storage, sweep.records.name)
    assert again.append("error", trial="00000", epoch=3, traceback="x").n == 4  # its number is free
    folder.write(batch_path(2), whole[:10])
    with pytest.raises(CorruptFile, match=r"00000002\.json"):
        Records.open(sweep.storage, sweep.records.name)
    for number in (2, 1):
        folder.delete(batch_path(number))
        folder.write(f"{batch_path(number)}.0123abcd.tmp", b"what a cut-off write leaves")
        with pytest.raises(CorruptFile, match=rf"lacks the events \[{'2' if number == 2 else '1, 2'}\]"):
            Records.open(sweep.storage, sweep.records.name)


def test_no_driver_writes_over_an_event_of_another(make_sweep: Any) -> None:
    sweep = make_sweep()
    late = Records.open(sweep.storage, sweep.records.name)
    sweep.records.append("start", options={"trials": 3})
    with pytest.raises(StorageError, match=r"0000\d\.json is there already"):
        late.append("start", options={"trials": 4})
    assert Records.open(sweep.storage, sweep.records.name).options()["trials"] == 3


def test_report_and_state_of_an_epoch_are_two_files_and_both_are_made_again(make_sweep: Any) -> None:
    sweep = make_sweep()
    sweep.trial("00000")
    files = [FileName(f"trials/00000/{name}", i, f"{i}" * 64) for i, name in enumerate("abcd")]
    common = {"trial": "00000", "epoch": 1}
    sweep.records.append("epoch", **common, report=files[0], state=files[1], objective=0.5, ends=None)
    epoch = sweep.records.trials["00000"].epochs[1]
    assert (epoch.report, epoch.state, epoch.objective) == (files[0], files[1], 0.5)
    sweep.records.append("repair", **common, report=files[2], state=files[3])
    for records in (sweep.records, Records.open(sweep.storage, sweep.records.name)):
        epoch = records.trials["00000"].epochs[1]
        assert (epoch.report, epoch.state, epoch.objective) == (files[2], files[3], 0.5)


def test_what_could_not_be_written_has_not_happened(make_sweep: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = make_sweep()
    sweep.trial("00000")

    def fails(path: str, data: bytes) -> Any:
        raise StorageError("full")

    with monkeypatch.context() as patch:
        patch.setattr(sweep.records.storage, "write_new", fails)
        with pytest.raises(StorageError):
            sweep.error("00000", 1)
    assert sweep.n == 1 and sweep.records.trials["00000"].ends is None
    before = time.time()
    sweep.error("00000", 1)
    event = EventFiles(sweep.records.storage).read_from(2)[0]  # the number is free
    assert event == sweep.records.events[-1] and before <= event.time <= time.time()
    assert sweep.records.trials["00000"].ends == "failed"


def test_events_of_several_threads_have_numbers_of_their_own(make_sweep: Any) -> None:
    sweep = make_sweep()
    records = sweep.records

    def work(own: int) -> None:
        for i in range(5):
            records.append("start", options={f"{own}-{i}": own})

    threads = [threading.Thread(target=work, args=(own,)) for own in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [event.n for event in records.events] == list(range(1, 31))
    again = Records.open(sweep.storage, records.name)
    assert again.events == records.events and len(again.options()) == 30


def test_later_options_take_the_place_of_earlier_ones(make_sweep: Any) -> None:
    records = make_sweep(options={"seed": 1, "trials": 2, "lanes": 1}).records
    assert records.options() == {"seed": 1, "trials": 2, "lanes": 1}
    for options in ({"trials": 9, "lanes": 3}, {"trials": 30}):
        records.append("start", options=options)
    assert records.options() == {"seed": 1, "trials": 30, "lanes": 3}
    assert make_sweep().records.options() == {}


def test_an_event_under_a_wrong_number_is_noticed(make_sweep: Any) -> None:
    sweep = make_sweep()
    sweep.whole_trial("00000", 2)
    folder = sweep.records.storage
    folder.write(batch_path(1), folder.read(batch_path(2)))
    folder.write(batch_path(2), seal('{"n": 2}').encode())
    for number, problem in ((1, "is not event 1"), (2, "missing required field `event`")):
        with pytest.raises(CorruptFile, match=problem):
            EventFiles(folder).read_from(number)
    with pytest.raises(FileNotFoundError):
        EventFiles(folder).read_from(9)


@pytest.mark.parametrize("path", ["manifest.json", batch_path(1)])
@pytest.mark.parametrize("junk", [b"", b"[1]", b"\xff\xfe", b"{", b"12", pickle.dumps({"format": 1})])
def test_junk_is_refused_by_name(make_sweep: Any, path: str, junk: bytes) -> None:
    sweep = make_sweep()
    sweep.whole_trial("00000", 2)
    sweep.records.storage.write(path, junk)
    with pytest.raises(CorruptFile, match=path):
        Records.open(sweep.storage, sweep.records.name)


def test_a_pickle_is_not_run_wherever_it_lies(make_sweep: Any, tmp_path: Path) -> None:
    sweep = make_sweep()
    sweep.whole_trial("00000", 2)
    for path in ("manifest.json", batch_path(1)):
        before = sweep.records.storage.read(path)
        sweep.records.storage.write(path, pickle.dumps(Bomb(tmp_path / "ran")))
        with pytest.raises(CorruptFile):
            Records.open(sweep.storage, sweep.records.name)
        sweep.records.storage.write(path, before)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("found", [1, 3, 5])
@pytest.mark.parametrize("sealed", [True, False])
def test_a_sweep_of_another_format_is_refused_in_one_sentence(make_sweep: Any, found: int, sealed: bool) -> None:
    sweep = make_sweep("lsgan")
    assert sweep.records.manifest.format == 4
    other = json.dumps({"format": found, "sweep": "lsgan", "what": "only that format has"})
    sweep.records.storage.write("manifest.json", (seal(other) if sealed else other).encode())
    sweep.records.storage.write(batch_path(1), b"{}")
    with pytest.raises(GenlabError) as refused:
        Records.open(sweep.storage, sweep.records.name)
    said = str(refused.value)
    for word in (sweep.records.name, f"of format {found}", "knows format 4 only"):
        assert word in said
    assert "\n" not in said and not isinstance(refused.value, CorruptFile)  # nothing of it is damaged


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mode": "least"}, "mode"),
        ({"options": []}, "options"),
        ({"options": {"trials": 10**400}}, "options"),
        ({"epochs": 0}, "epochs"),
        ({"environment": {"host": 1}}, "environment"),
        ({"sweep": "../up"}, "sweep"),
        ({"created": "now"}, "created"),
        ({"more": 1}, "more"),
        ({"metric": None}, "metric"),
    ],
)
def test_a_manifest_that_is_not_as_it_must_be_is_refused_by_its_field(
    change: dict[str, Any], said: str, make_sweep: Any
) -> None:
    sweep = make_sweep()
    changed = {**as_json(sweep.records.manifest), **change}
    sweep.records.storage.write("manifest.json", seal(json.dumps(changed)).encode())
    with pytest.raises(CorruptFile, match=rf"manifest\.json is damaged: .*{said}"):
        Records.open(sweep.storage, sweep.records.name)


def test_a_folder_without_a_sweep_is_refused(make_sweep: Any) -> None:
    sweep = make_sweep()
    with pytest.raises(GenlabError, match="holds no sweep"):
        Records.open(sweep.storage, "nothing")


def test_sweeps_are_listed_oldest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(str(tmp_path))
    names = ["b-20250101-000000", "a-20250102-000000", "a-20250102-000000-2", "a-20250102-000000-10"]
    renamed = ["best one", "z"]
    for name in [*renamed, *reversed(names), "mlartifacts", "not-a-sweep", "a-20250103-000000"]:
        storage.write(f"{name}/{'manifest.json' if name in (*names, *renamed) else 'other'}", b"{}")
    assert Records.sweeps(storage) == [*names, *renamed]
    one_second = SimpleNamespace(strftime=lambda form: "20260101-000000", time=time.time)
    monkeypatch.setattr(module, "time", one_second)
    before = time.time()
    made = [Records.create(storage, manifest("x", mode="max")) for _ in range(3)]
    assert [records.name for records in made] == [f"x-20260101-000000{again}" for again in ("", "-2", "-3")]
    assert Records.sweeps(storage)[-5:-2] == [records.name for records in made]
    for records in made:
        written = Records.open(storage, records.name).manifest
        assert written == records.manifest and (written.name, written.mode) == (records.name, "max")
        assert before <= written.created <= time.time()
