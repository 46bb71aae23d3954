"""A server that lost or never saw a sweep gets it from the records."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, ClassVar

import pytest
from made_sweeps import assert_complete

from genlab.errors import GenlabError
from genlab.sealed import seal
from genlab.tracking import replay as module
from genlab.tracking.address import artifact_location, own_database, shown
from genlab.tracking.claims import Heartbeat, myself
from genlab.tracking.replay import replay
from genlab.tracking.schema import as_json
from genlab.tracking.server import Unreachable, quiet_mlflow
from genlab.tracking.storage import Storage


def test_all_sweeps_of_a_storage_into_its_own_database(make_sweep: Any, database: str, tmp_path: Path) -> None:
    first, second = make_sweep("lsgan"), make_sweep("vae")
    for sweep in (first, second):
        sweep.whole_trial("00000", 2)
        sweep.end()
    calls: list[tuple[str, int, int]] = []
    results = replay(str(tmp_path / "results"), progress=lambda *call: calls.append(call))
    assert {r.sweep for r in results} == {first.records.name, second.records.name}
    assert all(r.left == 0 and r.problem is None and r.tracking_uri == database for r in results)
    assert calls[-1][1:] == (4, 4) and len(calls) == 8
    for sweep in (first, second):
        assert_complete(sweep, database)
    replay(str(tmp_path / "results"))
    assert_complete(first, database)


def test_what_the_records_name_is_sent_to_only_if_this_start_names_it_too(
    make_sweep: Any, migrated: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    """They may come from anybody; so may the place to which they would have images and passwords sent."""
    for name in ("named.db", "other.db"):
        shutil.copy(migrated, tmp_path / name)
    named = f"sqlite:///{tmp_path}/named.db"
    sweep = make_sweep(options={"tracking_uri": named})
    sweep.whole_trial("00000", 1)
    for environment in ("", f"sqlite:///{tmp_path}/other.db"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", environment)
        (refused,) = replay(str(tmp_path / "results"))
        assert refused.left == refused.events == 2 and refused.problem == (
            f"its records name {named}, and nothing is sent to an address that this start does not name: name it, or "
            "another one, by --tracking-uri"
        )
    assert not quiet_mlflow().MlflowClient(tracking_uri=named).get_experiment_by_name("made")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/./named.db")  # the same, written otherwise
    (result,) = replay(str(tmp_path / "results"), sweep.records.name)
    assert (result.left, result.problem) == (0, None)
    assert_complete(sweep, named)
    assert (tmp_path / "mlartifacts").is_dir()


def test_a_running_sweep_is_left_to_its_driver(make_sweep: Any, database: str, tmp_path: Path) -> None:
    sweep = make_sweep()
    sweep.whole_trial("00000", 1)
    heartbeat = Heartbeat(sweep.records.storage)
    (result,) = replay(str(tmp_path / "results"))
    heartbeat.stop()
    assert result.left == 0 and result.problem is not None and "running" in result.problem
    sweep.records.storage.write(  # a driver that was killed just now
        "drivers/00000001.json", seal(json.dumps({**as_json(myself()), "pid": 2**22 + 1})).encode()
    )
    (result,) = replay(str(tmp_path / "results"))
    assert result.problem is None
    seen = assert_complete(sweep, database)
    assert seen.parent.info.status == "KILLED"  # nobody is at work on it, and it came to no end


def test_an_unreachable_server_is_tried_once(make_sweep: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("genlab.tracking.replay.PAUSES", (0.01,))
    for name in ("lsgan", "vae"):
        make_sweep(name).whole_trial("00000", 1)
    results = replay(str(tmp_path / "results"), tracking_uri="http://127.0.0.1:9")
    assert [(r.left, r.unreachable) for r in results] == [(2, True), (2, True)]


def test_a_sweep_that_was_resumed_with_another_server_goes_there(
    make_sweep: Any, migrated: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    for name in ("first.db", "second.db", "asked.db"):
        shutil.copy(migrated, tmp_path / name)
    first, second, asked = (f"sqlite:///{tmp_path}/{name}.db" for name in ("first", "second", "asked"))
    sweep = make_sweep(options={"tracking_uri": first})
    sweep.whole_trial("00000", 1)
    sweep.records.append("start", options={"tracking_uri": second})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", second)
    (result,) = replay(str(tmp_path / "results"))
    assert (result.tracking_uri, result.events, result.left) == (second, 3, 0)
    (result,) = replay(str(tmp_path / "results"), tracking_uri=asked)  # what is asked for now comes first
    assert (result.tracking_uri, result.left) == (asked, 0)
    for uri in (second, asked):
        assert_complete(sweep, uri)
    assert not quiet_mlflow().MlflowClient(tracking_uri=first).get_experiment_by_name("made")


def test_only_the_named_sweep_is_sent(make_sweep: Any, database: str, tmp_path: Path) -> None:
    first, second = make_sweep("lsgan"), make_sweep("vae")
    for sweep in (first, second):
        sweep.whole_trial("00000", 1)
    results = replay(str(tmp_path / "results"), second.records.name)
    assert [result.sweep for result in results] == [second.records.name]
    client = quiet_mlflow().MlflowClient(tracking_uri=database)
    assert client.get_experiment_by_name("vae") and not client.get_experiment_by_name("lsgan")


def test_a_running_sweep_may_be_sent_elsewhere_and_is_not_called_dead_there(
    make_sweep: Any, database: str, migrated: Path, tmp_path: Path
) -> None:
    shutil.copy(migrated, tmp_path / "elsewhere.db")
    sweep = make_sweep()
    sweep.trial("00000")
    sweep.epoch("00000", 1)
    heartbeat = Heartbeat(sweep.records.storage)
    try:
        (result,) = replay(str(tmp_path / "results"), tracking_uri=f"sqlite:///{tmp_path}/elsewhere.db")
    finally:
        heartbeat.stop()
    assert (result.left, result.problem) == (0, None)
    seen = assert_complete(sweep, result.tracking_uri)
    assert seen.parent.info.status == seen.children["00000"].info.status == "RUNNING"


def test_a_sweep_that_ended_stays_so(make_sweep: Any, database: str, tmp_path: Path) -> None:
    sweep = make_sweep()
    sweep.trial("00000")  # some process died before its first epoch, and the sweep ended without it
    sweep.end(best=None, objective=None)
    replay(str(tmp_path / "results"))
    seen = assert_complete(sweep, database)
    assert seen.parent.info.status == "FINISHED" and seen.children["00000"].info.status == "RUNNING"


class Made:
    """Stands where events are sent to. `away` says how often the server does not answer to which event."""

    away: ClassVar[dict[tuple[str, int], int]] = {}
    damaged: ClassVar[dict[Any, str]] = {}
    sent: ClassVar[list[tuple[str, int]]] = []

    def __init__(self, _: Any, name: str, manifest: Any, tracking_uri: str, look: bool) -> None:
        self.name, self.unsent, self.restored, self.notes = name, dict(self.damaged), 0, []

    def publish(self, event: Any) -> None:
        key = (self.name, event.n)
        if self.away.get(key, 0):
            self.away[key] -= 1
            raise Unreachable(f"no answer to {event.n}")
        self.sent.append(key)

    def look_for_doubles(self) -> None:
        pass

    def interrupted(self, time: float) -> None:
        pass


@pytest.fixture
def made(monkeypatch: Any) -> type[Made]:
    """Publishers as Made, and no time passes between tries."""
    Made.away, Made.damaged, Made.sent = {}, {}, []
    monkeypatch.setattr(module, "Publisher", Made)
    monkeypatch.setattr(module, "PAUSES", (0.0, 0.0))
    return Made


def test_an_event_is_tried_three_times(make_sweep: Any, made: Any, tmp_path: Path) -> None:
    sweep = make_sweep()
    sweep.whole_trial("00000", 3)
    name = sweep.records.name
    made.away = {(name, 2): 2, (name, 4): 3}
    (result,) = replay(str(tmp_path / "results"))
    assert made.sent == [(name, 1), (name, 2), (name, 3)]
    assert (result.events, result.left, result.problem, result.unreachable) == (4, 1, "no answer to 4", True)


@pytest.mark.parametrize(("uri", "second"), [("http://host:5000", []), ("sqlite:////host.db", [1, 2])])
def test_a_server_that_is_away_is_asked_for_no_further_sweep_but_a_database_is(
    uri: str, second: list[int], make_sweep: Any, made: Any, tmp_path: Path
) -> None:
    sweeps = [make_sweep(name) for name in ("lsgan", "vae")]
    for sweep in sweeps:
        sweep.whole_trial("00000", 1)
    names = [sweep.records.name for sweep in sweeps]
    made.away = {(names[0], 1): 9}
    first, last = replay(str(tmp_path / "results"), tracking_uri=uri)
    assert (first.sweep, first.events, first.left, first.problem) == (names[0], 2, 2, "no answer to 1")
    assert made.sent == [(names[1], n) for n in second]
    assert (last.left, last.unreachable) == ((0, False) if second else (2, True))


def test_what_could_not_be_sent_of_an_event_is_left(make_sweep: Any, made: Any, tmp_path: Path) -> None:
    make_sweep().whole_trial("00000", 2)
    made.damaged = {("00000", 1): "it is damaged", ("00000", 2): "it is, too"}
    (result,) = replay(str(tmp_path / "results"))
    assert (result.events, result.left, result.problem, result.unreachable) == (3, 2, "it is damaged", False)


def test_unknown_names_and_empty_storages(make_sweep: Any, tmp_path: Path) -> None:
    with pytest.raises(GenlabError, match="holds no sweeps"):
        replay(str(tmp_path))
    name = make_sweep("lsgan").records.name
    with pytest.raises(GenlabError, match=f"did you mean {name}"):
        replay(str(tmp_path / "results"), f"{name}x")


def test_a_damaged_sweep_does_not_keep_the_others_back(make_sweep: Any, database: str, tmp_path: Path) -> None:
    broken, sound = make_sweep("broken"), make_sweep("sound")
    sound.whole_trial("00000", 1)
    broken.storage.write(f"{broken.records.name}/manifest.json", b"cos\nsystem\n(S'false'\ntR.")
    results = {r.sweep: r for r in replay(str(tmp_path / "results"))}
    assert "manifest.json" in (results[broken.records.name].problem or "")
    assert results[sound.records.name].left == 0
    assert_complete(sound, database)


def test_a_sweep_of_another_format_does_not_keep_the_others_back(
    make_sweep: Any, database: str, tmp_path: Path
) -> None:
    old, new = make_sweep("old"), make_sweep("new")
    new.whole_trial("00000", 1)
    old.records.storage.write("manifest.json", json.dumps({"format": 1}).encode())
    results = {r.sweep: r for r in replay(str(tmp_path / "results"))}
    assert "is of format 1" in (results[old.records.name].problem or "")
    assert results[old.records.name].left == 1 and results[new.records.name].left == 0
    assert_complete(new, database)
    with pytest.raises(GenlabError, match="is of format 1"):  # asked for by name it is refused
        replay(str(tmp_path / "results"), old.records.name)


def test_default_databases_and_where_artifacts_go(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    local = Storage(str(tmp_path / "results"))
    assert own_database(local) == f"sqlite:///{tmp_path}/results/mlflow.db"
    remote = Storage("memory://bucket/results")
    assert own_database(remote) == f"sqlite:///{tmp_path}/results/mlflow.db"
    sweep = remote.below("lsgan-1")
    assert artifact_location(own_database(remote), sweep) == f"{tmp_path}/results/mlartifacts"
    assert artifact_location("http://host:5000", sweep) is None
    assert artifact_location("postgresql://me@host/db", sweep) == f"{remote.url}/mlartifacts"
    assert shown("https://me:secret@host/x") == "https://host/x"
