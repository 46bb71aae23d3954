"""A resume trains epochs again whose files are damaged, and clears away what nobody names; without Ray."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from made_sweeps import wait_for
from one_process import Machine, at, curve_sweep, machine

from genlab.errors import CorruptFile, GenlabError
from genlab.tracking.epoch_reports import EpochReport
from genlab.tracking.events import KINDS, kind
from genlab.tracking.records import EpochRecord, Records, TrialRecord
from genlab.tracking.storage import Storage
from genlab.training import Checkpoint

__all__ = ["machine"]


def path(records: Records, file: Any) -> Path:
    return Path(records.storage.where(file.path))


def cut(records: Records, file: Any) -> None:
    """As a full disk or a lost machine leaves it."""
    whole = path(records, file).read_bytes()
    path(records, file).write_bytes(whole[:-1])


def report(records: Records, epoch: EpochRecord | None) -> EpochReport:
    assert epoch is not None
    return EpochReport.read(records.storage, epoch.report)


def metrics_of(records: Records, trial: TrialRecord) -> list[dict[str, float]]:
    return [report(records, epoch).metrics() for epoch in trial.epochs.values()]


def left(records: Records, trial: str) -> list[str]:
    return sorted(f"trials/{trial}/{name}" for name in records.storage.names(f"trials/{trial}"))


def named(records: Records, trial: str) -> list[str]:
    """Every report, and the states that are kept."""
    epochs = records.trials[trial].epochs
    reports = [epoch.report.path for epoch in epochs.values()]
    best, last = records.trials[trial].best("min"), records.trials[trial].last
    kept = {epoch.state.path for epoch in (best, last) if epoch and epoch.state}
    return sorted([*reports, *kept])


def test_a_damaged_confirmation_is_what_it_was(machine: Machine) -> None:
    """With its own seeds, as many of them, and with the test data at its end and nowhere else."""
    sweep = curve_sweep(settings={"curve": (3.0, 1.0, 2.0), "seed": 5})  # the best epoch is not the last one
    assert machine.run(sweep, grid=True, seeds=2, confirm=1) == 0
    before = machine.records
    confirmed = before.trials["confirm-0000"]
    then = {epoch: report(before, each) for epoch, each in confirmed.epochs.items()}
    assert [each.seeds for each in then.values()] == [(7, 8, 9)] * 3
    assert "test/loss" in then[3].metrics() and "test/loss" not in then[1].metrics() | then[2].metrics()
    path(before, confirmed.epochs[1].report).unlink()
    cut(before, confirmed.epochs[2].state)
    cut(before, confirmed.epochs[3].report)

    assert machine.run(sweep, resume="latest", grid=True) == 0
    after = machine.records
    assert machine.trained() == [("confirm-0000", 1), ("confirm-0000", 2), ("confirm-0000", 3)]
    # in one session, in which each epoch is trained once
    assert len({one["session"] for one in machine.pools[-1].asked if one["trial"] != "prepare"}) == 1
    assert [(kind(e), getattr(e, "epoch", None)) for e in after.events[len(before.events) :]] == [
        ("repair", 1),
        ("repair", 2),
        ("repair", 3),
        ("end", None),
    ]
    for epoch, each in after.trials["confirm-0000"].epochs.items():
        now = report(after, each)
        assert now.seeds == (7, 8, 9) and now.metrics() == then[epoch].metrics()
        assert (each.objective, each.ends) == (confirmed.epochs[epoch].objective, confirmed.epochs[epoch].ends)
    state = after.trials["confirm-0000"].epochs[2].state
    assert state is not None
    mended = Checkpoint.decode(after.storage.read_named(state), "state")
    assert mended.epoch == 2 and mended.seeds == [7, 8, 9]
    assert [one.tensors["seen"].tolist() for one in mended.states] == [[7, 2], [8, 2], [9, 2]]
    assert set(named(after, "confirm-0000")) <= set(left(after, "confirm-0000"))
    # the first epoch is neither the best nor the last one
    wait_for(lambda: not after.storage.exists("trials/confirm-0000/epoch_0001-a1.state.safetensors"))


def test_damaged_epochs_of_several_trials_each_get_their_own_again(machine: Machine) -> None:
    """Also of trials that were cut short; a file of a wrong length is damaged though it is longer."""
    sweep = curve_sweep(grid=[{"level": 30.0}, {"level": 20.0, "nan_at": 3}])
    assert machine.run(sweep, grid=True) == 0
    before = machine.records
    metrics = {trial.name: metrics_of(before, trial) for trial in before.trials.values()}
    cut(before, before.trials["0000"].epochs[2].report)
    last = before.trials["0001"].last
    assert last is not None and last.state is not None
    path(before, last.state).write_bytes(b"x" + path(before, last.state).read_bytes())
    path(before, before.trials["0002"].epochs[3].report).unlink()
    assert machine.run(sweep, resume=before.name) == 0
    after = machine.records
    assert machine.trained() == [("0000", 2), ("0001", 3), ("0002", 3)]
    sessions = [one["session"] for one in machine.pools[-1].asked if one["trial"] != "prepare"]
    assert len(set(sessions)) == 3
    assert {trial.name: metrics_of(after, trial) for trial in after.trials.values()} == metrics
    assert after.trials["0002"].ends == "diverged" and report(after, after.trials["0002"].last).diverged
    for one in ("0000", "0001", "0002"):
        assert set(named(after, one)) <= set(left(after, one))
        assert ("forget", one) in machine.pools[-1].mailbox.told


def test_an_unfinished_trial_goes_on_from_the_state_that_was_mended(machine: Machine) -> None:
    machine.before = at("0001", 3, lambda: {"kind": "cut", "value": "for this test"})
    assert machine.run(curve_sweep(), grid=True) == 1
    before = machine.records
    cut(before, before.trials["0001"].epochs[2].state)
    machine.before = lambda request: None
    assert machine.run(curve_sweep(), resume="latest") == 0
    assert machine.trained()[:2] == [("0001", 2), ("0001", 3)]
    repaired, last = (one for one in machine.pools[-1].asked if one["trial"] == "0001")
    assert repaired["state"] is None and "a1" in last["state"][0]
    assert report(machine.records, machine.records.trials["0001"].last).metrics()["seen"] == 3


@pytest.fixture
def broken_off(machine: Machine) -> tuple[Machine, Records]:
    """A sweep whose first trial is whole, whose second one has two of three epochs, and whose third has not begun."""
    machine.before = at("0001", 3, lambda: {"kind": "cut", "value": "for this test"})
    assert machine.run(curve_sweep(), grid=True) == 1
    machine.before = lambda request: None
    return machine, machine.records


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 7),
    st.floats(0, 1, exclude_max=True),
    st.integers(1, 255),
    st.sampled_from(["cut", "altered", "longer", "gone"]),
)
@example(6, 0.5, 1, "altered")  # the state that the unfinished trial goes on from
def test_reports_and_states_that_are_cut_altered_or_gone_lead_to_no_wrong_result(
    broken_off: tuple[Machine, Records], which: int, where: float, change: int, how: str
) -> None:
    """They are made again, or whoever reads them is told; what is trained after it is what it would have been."""
    machine, made = broken_off
    machine.storage = Storage(tempfile.mkdtemp(dir=made.storage.root))
    shutil.copytree(f"{made.storage.root}/trials", f"{machine.storage.root}/{made.name}/trials")
    for one in ("events", "drivers", "manifest.json"):
        copy = shutil.copytree if Path(made.storage.where(one)).is_dir() else shutil.copy2
        copy(made.storage.where(one), f"{machine.storage.root}/{made.name}/{one}")
    before = machine.records
    files = sorted(name for trial in before.trials for name in named(before, trial))
    path = Path(before.storage.where(files[which % len(files)]))
    whole = path.read_bytes()
    at_byte = int(where * len(whole))
    changed = bytes([(whole[at_byte] + change) % 256])
    now = {
        "cut": whole[:at_byte],
        "altered": whole[:at_byte] + changed + whole[at_byte + 1 :],
        "longer": whole + changed,
    }
    path.write_bytes(now[how]) if how in now else path.unlink()
    assert machine.run(curve_sweep(), resume="latest") == 0
    after = machine.records
    for trial, level in (("0000", 10.0), ("0001", 30.0), ("0002", 20.0)):
        for number, epoch in after.trials[trial].epochs.items():
            try:
                found = report(after, epoch).metrics()
            except CorruptFile as error:
                assert how == "altered" and path.name in str(error)
                continue
            assert (found["loss"], found["seen"]) == (level + 4 - number, number)
        assert len(after.trials[trial].epochs) == 3


def test_files_that_nobody_names_go_and_those_that_are_named_stay(machine: Machine) -> None:
    assert machine.run(curve_sweep(), grid=True) == 0
    records = machine.records
    whole = {name: named(records, name) for name in records.trials}
    orphans = (
        "0001/epoch_0003-cut.state.safetensors",
        "0001/epoch_0004-x.report.safetensors",
        "9999/epoch_0001-a0.state.safetensors",
        "9999/epoch_0001-a0.state.safetensors.5f3a.tmp",
    )
    for orphan in orphans:
        records.storage.write(f"trials/{orphan}", b"of a worker that was cut off")
    for own in ("0001/notes.txt", "9999/a.state", "9999/epoch_0001.report.safetensors"):  # no worker makes such a file
        records.storage.write(f"trials/{own}", b"somebody's own")
    assert machine.run(curve_sweep(), resume="latest") == 0
    assert machine.trained() == []  # nothing was damaged
    whole["0001"] = sorted([*whole["0001"], "trials/0001/notes.txt"])
    whole["9999"] = ["trials/9999/a.state", "trials/9999/epoch_0001.report.safetensors"]
    wait_for(lambda: {name: left(records, name) for name in whole} == whole)


@pytest.mark.parametrize("kind", ["error", "lost", "storage"])
def test_what_cannot_be_repaired_stops_the_sweep(
    machine: Machine, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert machine.run(curve_sweep(), grid=True) == 0
    records = machine.records
    for name in ("0001", "0002"):
        cut(records, records.trials[name].epochs[2].report)
    answer = {"kind": kind, "value": "Traceback\nit broke"}
    machine.before = lambda request: answer if request["trial"] == "0001" else None
    assert machine.run(curve_sweep(), resume="latest") == 1
    assert "stopped: epoch 2 of trial 0001 could not be repaired: it broke" in capsys.readouterr().out
    assert len(machine.records.events) == len(records.events)
    machine.before = lambda request: None
    assert machine.run(curve_sweep(), resume="latest") == 0
    assert [e.trial for e in machine.records.events if isinstance(e, KINDS["repair"])] == ["0001", "0002"]


@pytest.mark.parametrize("link", ["trials/9999", "trials/0001", "trials", "events", "drivers", "senders"])
def test_a_link_in_it_leads_no_resume_out_of_it(
    link: str, machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What lies behind is neither deleted, nor changed, nor added to; one line says that it is there."""
    assert machine.run(curve_sweep(), grid=True) == 0
    records = machine.records
    theirs = tmp_path / "theirs"
    there = Path(records.storage.where(link))
    if there.exists():
        shutil.copytree(there, theirs)
        shutil.rmtree(there)
    theirs.mkdir(exist_ok=True)
    for name in ("epoch_0001-a0.state.safetensors", "letter.txt", "00000009.json"):
        (theirs / name).write_text("somebody's own")
    there.symlink_to(theirs)
    before = {path: path.read_bytes() for path in theirs.rglob("*") if path.is_file()}
    capsys.readouterr()
    code: int | str
    try:
        code = machine.run(curve_sweep(), resume="latest")
    except GenlabError as error:
        code = str(error)
    assert {path: path.read_bytes() for path in theirs.rglob("*") if path.is_file()} == before
    assert there.is_symlink()
    if link == "trials/9999":
        assert code == 0 and f"{there} is a link" in capsys.readouterr().out
    elif code != 0:
        assert "is a link" in f"{code}{capsys.readouterr().out}"


def test_its_own_folder_may_be_a_link(machine: Machine, tmp_path: Path) -> None:
    machine.before = at("0001", 2, lambda: {"kind": "cut", "value": "interrupted"})
    assert machine.run(curve_sweep(), grid=True) == 130
    machine.before = lambda request: None
    folder = Path(machine.records.storage.url)
    folder.rename(tmp_path / "disk")
    folder.symlink_to(tmp_path / "disk")
    assert machine.run(curve_sweep(), resume="latest") == 0
    assert {trial.ends for trial in machine.records.trials.values()} == {"completed"}
