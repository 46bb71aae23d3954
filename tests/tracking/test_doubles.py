"""A sweep's runs are on a server once, whatever its folder is called now, and whoever else lies beside it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_sweeps import MadeSweep, Seen, assert_complete

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
    for name in ("better", sweep.before, "last"):  # as often as one likes
        former = sweep.records.name
        renamed(sweep, name)
        (result,) = replay(sweep.storage.url, tracking_uri=database)
        assert (result.left, result.notes) == (0, [f"the folder {name} was called {former}: so were its 4 runs"])
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
        patched.setattr("genlab.tracking.replay.PAUSES", ())
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


@pytest.mark.parametrize("tagged", [True, False])
def test_a_renamed_copy_in_another_storage_takes_no_run_away(
    tagged: bool, make_sweep: Any, database: str, tmp_path: Path
) -> None:
    """Whether what it was copied from is still there cannot be seen from where it lies now."""
    sweep = sent(make_sweep, database)
    if not tagged:
        seen = Seen(sweep, database)
        seen.client.delete_tag(seen.parent.info.run_id, "genlab.storage")
    shutil.copytree(sweep.records.storage.root, tmp_path / "elsewhere" / "copy")
    (result,) = replay(str(tmp_path / "elsewhere"), tracking_uri=database)
    assert result.left == sweep.n and f"Call it {sweep.records.name} again" in str(result.problem)
    assert [(one.left, one.notes) for one in replay(sweep.storage.url, tracking_uri=database)] == [(0, [])]
    assert_complete(sweep, database)
    Path(tmp_path / "elsewhere" / "copy").rename(tmp_path / "elsewhere" / sweep.records.name)
    (result,) = replay(str(tmp_path / "elsewhere"), tracking_uri=database)
    assert (result.left, result.notes) == (0, [])
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


def test_a_sweep_whose_reports_name_another_ones_tags_changes_nothing_of_that(make_sweep: Any, database: str) -> None:
    sweep, other = sent(make_sweep, database), make_sweep()
    other.trial("00007")
    report = replace(other.report("00007", 50), host={"sweep": sweep.records.name, "trial": "00000"})
    other.epoch("00007", 50, "completed", report=report)
    result = replay(sweep.storage.url, other.records.name, tracking_uri=database)[0]
    assert result.left == 1 and "host" in str(result.problem)
    assert (replay(sweep.storage.url, sweep.records.name, tracking_uri=database)[0]).notes == []
    assert_complete(sweep, database)


def test_who_sends_to_the_same_server_by_another_name_leaves_no_double(
    make_sweep: Any, mlflow_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Addresses that cannot be known to be one place have a sender each. The one that ends last mends it."""
    sweep = make_sweep("twice")
    for trial in range(2):
        sweep.whole_trial(f"{trial:05d}", 2)
    sweep.end()
    uri, other = mlflow_server.uri, mlflow_server.uri.replace("127.0.0.1", "localhost")
    create, others = Runs.create, list[Any]()
    monkeypatch.setattr("genlab.tracking.address._host", lambda name: name)

    def meanwhile(self: Runs, name: str, *about: Any) -> Any:
        if name == "00000" and not others:
            monkeypatch.setattr(Runs, "create", create)
            others.extend(replay(sweep.storage.url, tracking_uri=other))
        return create(self, name, *about)

    monkeypatch.setattr(Runs, "create", meanwhile)
    (result,) = replay(sweep.storage.url, tracking_uri=uri)
    monkeypatch.undo()
    assert [(one.left, one.problem) for one in (result, *others)] == [(0, None)] * 2
    assert result.notes == [f"{uri} had 2 of the runs of {sweep.records.name} twice: one of each is kept"]
    assert_complete(sweep, uri)


def test_another_sweep_of_the_same_name_is_refused_and_not_mixed(
    make_sweep: Any, database: str, tmp_path: Path
) -> None:
    """Begun in one second on two machines. With another name for its folder it is sent."""
    sweep, other = sent(make_sweep, database), MadeSweep(tmp_path / "elsewhere", metric="kid")
    other.whole_trial("00000", 1)
    folder = Path(other.storage.root)
    (folder / other.records.name).rename(folder / sweep.records.name)
    (result,) = replay(other.storage.url, tracking_uri=database)
    assert result.left == other.n and f"has another sweep called {sweep.records.name}" in str(result.problem)
    assert_complete(sweep, database)
    (folder / sweep.records.name).rename(folder / "other")
    assert replay(other.storage.url, tracking_uri=database)[0].left == 0
    other.records = Records.open(other.storage, "other")
    assert_complete(other, database)
    assert_complete(sweep, database)
