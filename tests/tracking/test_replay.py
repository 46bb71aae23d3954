"""A server that lost or never saw a sweep gets it from the records."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from made_sweeps import assert_complete

from genlab.errors import GenlabError
from genlab.tracking.records import Heartbeat
from genlab.tracking.replay import replay
from genlab.tracking.server import artifact_location, default_tracking_uri, shown
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


def test_the_manifest_names_the_server(make_sweep: Any, migrated: Path, tmp_path: Path) -> None:
    shutil.copy(migrated, tmp_path / "named.db")
    sweep = make_sweep(options={"tracking_uri": f"sqlite:///{tmp_path}/named.db"})
    sweep.whole_trial("00000", 1)
    (result,) = replay(str(tmp_path / "results"), sweep.records.name)
    assert result.tracking_uri == f"sqlite:///{tmp_path}/named.db"
    assert_complete(sweep, result.tracking_uri)
    assert (tmp_path / "mlartifacts").is_dir()


def test_a_running_sweep_is_left_to_its_driver(make_sweep: Any, database: str, tmp_path: Path) -> None:
    sweep = make_sweep()
    sweep.whole_trial("00000", 1)
    heartbeat = Heartbeat(sweep.records.storage)
    (result,) = replay(str(tmp_path / "results"))
    heartbeat.stop()
    assert result.left == 0 and result.problem is not None and "running" in result.problem
    sweep.records.storage.write(  # a driver that was killed just now
        "driver.json", json.dumps({**Heartbeat.myself(), "pid": 2**22 + 1, "time": time.time()}).encode()
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
    old.records.storage.write("manifest.json", json.dumps({**old.records.manifest, "format": 1}).encode())
    results = {r.sweep: r for r in replay(str(tmp_path / "results"))}
    assert "is of format 1" in (results[old.records.name].problem or "")
    assert results[old.records.name].left == 1 and results[new.records.name].left == 0
    assert_complete(new, database)
    with pytest.raises(GenlabError, match="is of format 1"):  # asked for by name it is refused
        replay(str(tmp_path / "results"), old.records.name)


def test_default_databases_and_where_artifacts_go(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    local = Storage(str(tmp_path / "results"))
    assert default_tracking_uri(local) == f"sqlite:///{tmp_path}/results/mlflow.db"
    remote = Storage("memory://bucket/results")
    assert default_tracking_uri(remote) == f"sqlite:///{tmp_path}/results/mlflow.db"
    sweep = remote.below("lsgan-1")
    assert artifact_location(default_tracking_uri(remote), sweep) == f"{tmp_path}/results/mlartifacts"
    assert artifact_location("http://host:5000", sweep) is None
    assert artifact_location("postgresql://me@host/db", sweep) == f"{remote.url}/mlartifacts"
    assert shown("https://me:secret@host/x") == "https://host/x"
