"""A sweep's runs are on a server once, whatever its folder is called now, and whoever else lies beside it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from made_sweeps import Seen, assert_complete

from genlab.tracking.records import Records
from genlab.tracking.replay import replay
from genlab.tracking.runs import Runs
from genlab.tracking.storage import Storage


def sent(make_sweep: Any, database: str, trials: int = 2) -> Any:
    sweep = make_sweep()
    for trial in range(trials):
        sweep.whole_trial(f"{trial:05d}", 2)
    sweep.end()
    assert [(one.left, one.notes) for one in replay(sweep.storage.url, tracking_uri=database)] == [(0, [])]
    return sweep


def renamed(sweep: Any, name: str) -> None:
    """Give its folder another name."""
    folder = Path(sweep.records.storage.root)
    sweep.before = sweep.records.name
    folder.rename(folder.with_name(name))
    sweep.records = Records.open(sweep.storage, name)


def named(sweep: Any, name: str, database: str) -> list[str]:
    """The names of the runs that belong to the sweep of this name."""
    client = Seen(sweep, database).client
    experiments = [one.experiment_id for one in client.search_experiments()]
    return sorted(run.info.run_name for run in client.search_runs(experiments, f"tags.`genlab.sweep` = '{name}'"))


def test_a_folder_that_was_renamed_takes_its_runs_along(make_sweep: Any, database: str) -> None:
    sweep = sent(make_sweep, database)
    before = {run.info.run_id for run in Seen(sweep, database).children.values()}
    renamed(sweep, "good")
    (result,) = replay(sweep.storage.url, tracking_uri=database)
    assert (result.left, result.restored, result.problem) == (0, 0, None)
    assert result.notes == [f"the folder good was called {sweep.before}: so were its 3 runs"]
    assert named(sweep, sweep.before, database) == [] and named(sweep, "good", database) == ["00000", "00001", "good"]
    assert {run.info.run_id for run in assert_complete(sweep, database).children.values()} == before
    (result,) = replay(sweep.storage.url, tracking_uri=database)
    assert (result.left, result.notes) == (0, [])
    sweep.whole_trial("00002", 2)
    assert replay(sweep.storage.url, tracking_uri=database)[0].left == 0
    assert_complete(sweep, database)


@pytest.mark.parametrize("call", [1, 2, 3])
def test_who_is_cut_off_while_runs_are_renamed_goes_on(
    call: int, make_sweep: Any, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = sent(make_sweep, database)
    renamed(sweep, "good")
    move, calls = Runs.move, list[str]()

    def cut(self: Runs, run: Any, name: str) -> None:
        calls.append(run.id)
        if len(calls) >= call:
            raise ConnectionError("cut off")
        move(self, run, name)

    with monkeypatch.context() as patched:
        patched.setattr(Runs, "move", cut)
        (result,) = replay(sweep.storage.url, tracking_uri=database)
        assert result.unreachable and result.left == sweep.n
    assert replay(sweep.storage.url, tracking_uri=database)[0].left == 0
    assert_complete(sweep, database)
    assert len(named(sweep, "good", database)) == 3 and named(sweep, sweep.before, database) == []


@pytest.mark.parametrize("how", ["link", "copy"])
def test_a_copy_beside_it_or_a_link_to_it_is_not_sent_as_well(how: str, make_sweep: Any, database: str) -> None:
    sweep = sent(make_sweep, database)
    folder = Path(sweep.records.storage.root)
    other = folder.with_name("other")
    if how == "link":
        other.symlink_to(folder.name)
    else:
        shutil.copytree(folder, other)
    results = {one.sweep: one for one in replay(sweep.storage.url, tracking_uri=database)}
    assert (results[sweep.records.name].left, results[sweep.records.name].problem) == (0, None)
    assert results["other"].left == sweep.n and f"is a copy of {folder}, or a link" in str(results["other"].problem)
    assert named(sweep, "other", database) == []
    assert_complete(sweep, database)


def test_one_that_only_says_it_had_that_name_gets_no_run_of_it(make_sweep: Any, database: str) -> None:
    """A folder that comes from somebody else may say anything."""
    sweep, other = sent(make_sweep, database), make_sweep(metric="kid")
    other.whole_trial("00000", 1)
    folder = Path(other.records.storage.root)
    changed = other.records.manifest.__struct_fields__
    assert "name" in changed
    other.records.manifest = type(other.records.manifest)(
        **{field: getattr(other.records.manifest, field) for field in changed} | {"name": sweep.records.name}
    )
    (folder / "manifest.json").write_bytes(other.records.manifest.encode())
    assert [one.left for one in replay(sweep.storage.url, tracking_uri=database)] == [0, 0]
    assert_complete(sweep, database)
    assert_complete(other, database)


def test_where_its_old_name_is_another_sweeps_now_it_takes_its_own_runs_along(make_sweep: Any, database: str) -> None:
    sweep = sent(make_sweep, database)
    name = sweep.records.name
    renamed(sweep, "good")
    other = make_sweep()
    other.whole_trial("00000", 1)
    Path(other.records.storage.root).rename(Path(other.storage.root) / name)
    other.records = Records.open(Storage(other.storage.url), name)
    results = {one.sweep: one for one in replay(sweep.storage.url, "good", tracking_uri=database)}
    assert results["good"].left == 0 and len(results["good"].notes) == 1
    assert replay(sweep.storage.url, name, tracking_uri=database)[0].left == 0
    assert_complete(sweep, database)
    assert_complete(other, database)
