"""Artifacts go where they belong: into no folder that a server or a foreign database names, and with a database that
was moved."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_sweeps import Seen, assert_complete
from mlflow.tracking._tracking_service.client import TrackingServiceClient
from test_mlflow_runs import send

from genlab.tracking.artifacts import mend, misplaced
from genlab.tracking.mlflow_runs import Publisher
from genlab.tracking.replay import replay
from genlab.tracking.runs import Runs
from genlab.tracking.server import Refused, quiet_mlflow

SERVER = "http://host:5000"


@pytest.fixture(autouse=True)
def unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network is asked what a name resolves to."""
    monkeypatch.setattr("genlab.tracking.address._resolved", lambda name: frozenset([name]))


@pytest.mark.parametrize(
    ("uri", "artifacts", "said"),
    [
        (SERVER, "mlflow-artifacts:/1/abc/artifacts", None),
        (SERVER, "s3://bucket/1", None),
        (SERVER, "file:///home/me/.ssh", "wants files written to the folder /home/me/.ssh of this machine"),
        (SERVER, "/home/me/.ssh", "wants files written to the folder /home/me/.ssh"),
        (SERVER, "file:/home/me", "wants files written"),
        (SERVER, "somewhere/here", "wants files written"),
        ("sqlite:///{here}/mlflow.db", "{here}/mlartifacts", None),
        ("sqlite:///{here}/mlflow.db", "{here}/mlartifacts/run/artifacts", None),
        ("sqlite:///{here}/mlflow.db", "file://{here}/mlartifacts/run", None),
        ("sqlite:///{here}/mlflow.db", "s3://bucket/x", "keeps its artifacts in s3://bucket/x"),
        ("sqlite:///{here}/mlflow.db", "http://host/x", "keeps its artifacts in http://host/x"),
        ("sqlite:///{here}/mlflow.db", "mlflow-artifacts:/x", "keeps its artifacts in mlflow-artifacts:/x"),
        ("sqlite:///{here}/mlflow.db", "/elsewhere/mlartifacts", "keeps its artifacts in /elsewhere/mlartifacts"),
        ("sqlite:///{here}/mlflow.db", "{here}/mlartifacts/../x", "keeps its artifacts in"),
        ("sqlite:///{here}/mlflow.db", "{here}/mlartifacts-other", "keeps its artifacts in"),
        ("postgresql://host/db", "/nfs/results/mlartifacts", None),
        ("postgresql://host/db", "s3://bucket/x", None),
        ("postgresql://host/db", "http://host/x", "wants files sent to http://host/x"),
        (SERVER, "mlflow-artifacts://host:5000/1", None),
        (SERVER, "http://HOST:5000/api/2.0/mlflow-artifacts/artifacts/1", None),
        ("http://me:secret@host:5000/under/", "mlflow-artifacts:/1", None),
        ("https://host", "mlflow-artifacts://host:443/1", None),
        (SERVER, "mlflow-artifacts://other:5000/1", "wants files sent to mlflow-artifacts://other:5000/1"),
        (SERVER, "http://host:5001/1", "wants files sent to http://host:5001/1"),
        (SERVER, "https://host:5000/1", "wants files sent to https://host:5000/1"),
        (SERVER, "http://other:5000/1", "wants files sent"),
        (SERVER, "http://other\\@host:5000/1", "wants files sent"),
        (SERVER, "http:///1", "wants files sent"),
        (SERVER, "runs:/abc/1", "wants files sent"),
    ],
)
def test_where_nothing_is_written(uri: str, artifacts: str, said: str | None, tmp_path: Path) -> None:
    found = misplaced(uri.format(here=tmp_path), artifacts.format(here=tmp_path))
    assert found is None if said is None else found is not None and said in found


@pytest.mark.parametrize("link", ["mlartifacts", "mlartifacts/run", "mlartifacts/run/artifacts/images"])
def test_nothing_is_written_through_a_link(link: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "run" / "artifacts" / "images").mkdir(parents=True)
    path = tmp_path / link
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(tmp_path / "mlartifacts-really")
    (tmp_path / "mlartifacts-really").mkdir()
    found = misplaced(f"sqlite:///{tmp_path}/mlflow.db", f"{tmp_path}/mlartifacts/run/artifacts", "images")
    assert found is not None and ("is a link" in found or "not beside it" in found)


def test_a_link_in_the_place_of_an_artifact_is_not_written_through(
    make_sweep: Any, database: str, tmp_path: Path
) -> None:
    sweep = make_sweep()
    sweep.whole_trial("00000", 1)
    send(sweep, database)
    victim = tmp_path / "victim"
    victim.write_text("mine")
    run = Seen(sweep, database).parent.info.run_id
    (tmp_path / "results" / "mlartifacts" / run / "artifacts" / "summary.json").symlink_to(victim)
    sweep.end()
    with pytest.raises(Refused, match="is a link"):
        send(sweep, database)
    assert victim.read_text() == "mine"


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> None:
    """The database plays a server."""
    monkeypatch.setattr("genlab.tracking.artifacts.is_http", lambda uri: True)
    monkeypatch.setattr("genlab.tracking.artifacts.sqlite_file", lambda uri: None)


def test_a_server_that_names_a_folder_of_this_machine_gets_nothing(
    make_sweep: Any, database: str, tmp_path: Path, played: None
) -> None:
    sweep = make_sweep()
    sweep.whole_trial("00000", 1)
    with pytest.raises(Refused, match="wants files written to the folder"):
        send(sweep, database)
    assert not (tmp_path / "results" / "mlartifacts").exists()


@pytest.mark.parametrize("look", [False, True])
def test_a_server_that_names_a_folder_for_a_run_alone_gets_nothing(
    look: bool, make_sweep: Any, database: str, tmp_path: Path, played: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the experiment's artifacts lie may be written to. Nor is anything looked for in such a folder."""
    sweep = make_sweep()
    sweep.whole_trial("00000", 1)
    real = Runs._find
    with monkeypatch.context() as patched:
        patched.setattr("genlab.tracking.runs.misplaced", lambda *_: None)
        if look:
            send(sweep, database)
            shutil.rmtree(tmp_path / "results" / "mlartifacts")
    monkeypatch.setattr(Runs, "_find", lambda self, *about: trusting(real, self, *about))
    sender = Publisher(sweep.records.storage, sweep.records.name, sweep.records.manifest, database, look=look)
    with pytest.raises(Refused, match="wants files written to the folder"):
        for event in sweep.records.events:
            sender.publish(event)
    assert not (tmp_path / "results" / "mlartifacts").exists()


def trusting(find: Any, *about: Any) -> Any:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("genlab.tracking.runs.misplaced", lambda *_: None)
        return find(*about)


def test_what_was_checked_is_where_files_are_written(
    make_sweep: Any, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is asked once more, by MLflow itself, names another folder."""
    sweep = make_sweep()
    sweep.whole_trial("00000", 2)
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "config.json").write_text("mine")
    real = TrackingServiceClient.get_run

    def lying(self: Any, run_id: str) -> Any:
        run = real(self, run_id)
        run.info._artifact_uri = f"file://{victim}"
        return run

    with monkeypatch.context() as patched:
        patched.setattr(TrackingServiceClient, "get_run", lying)
        send(sweep, database)
    assert {path.name: path.read_text() for path in victim.iterdir()} == {"config.json": "mine"}
    assert_complete(sweep, database)


def moved(make_sweep: Any, database: str, tmp_path: Path, how: Any) -> tuple[Any, str, Path]:
    """A sweep that was sent, its storage moved or copied, and its new database."""
    sweep = make_sweep()
    sweep.whole_trial("00000", 2)
    send(sweep, database)
    new = tmp_path / "new" / "place"
    new.parent.mkdir()
    how(tmp_path / "results", new)
    return sweep, f"sqlite:///{new}/mlflow.db", new


@pytest.mark.parametrize("how", [shutil.move, shutil.copytree])
def test_a_storage_that_was_moved_keeps_its_images_and_gets_the_new_ones(
    how: Any, make_sweep: Any, database: str, tmp_path: Path
) -> None:
    sweep, uri, new = moved(make_sweep, database, tmp_path, how)
    before = sorted(str(path.relative_to(tmp_path / "results")) for path in (tmp_path / "results").rglob("*.png"))
    (result,) = replay(str(new))
    assert (result.left, result.problem, result.restored) == (0, None, 0)
    assert [note.partition(":")[0] for note in result.notes] == [f"the database {new}/mlflow.db was moved"]
    seen = Seen(sweep, uri)
    assert seen.images("00000") == [("samples", 1), ("samples", 2)]
    assert seen.image("00000", "samples", 1).any()
    assert {run.info.artifact_uri.startswith(f"{new}/mlartifacts/") for run in seen.children.values()} == {True}
    after = sorted(str(path.relative_to(tmp_path / "results")) for path in (tmp_path / "results").rglob("*.png"))
    assert after == before  # the old place is left as it was: gone, or a copy
    assert mend(f"{new}/mlflow.db") is None and replay(str(new))[0].notes == []


def test_a_database_that_was_moved_alone_says_where_its_images_belong(
    make_sweep: Any, database: str, tmp_path: Path
) -> None:
    def alone(old: Path, new: Path) -> None:
        shutil.copytree(old, new, ignore=shutil.ignore_patterns("mlartifacts"))

    _, _, new = moved(make_sweep, database, tmp_path, alone)
    (result,) = replay(str(new))
    assert result.left == result.events and result.problem == (
        f"the database {new}/mlflow.db keeps its artifacts in {tmp_path}/results/mlartifacts, which is not beside it: "
        f"move them to {new}/mlartifacts, or name another database or a server by --tracking-uri"
    )


def test_what_was_lost_is_looked_for_and_restored(make_sweep: Any, database: str, tmp_path: Path) -> None:
    """All artifacts, those of one run, one image's small copy: whatever is gone is there again, and it is said."""
    sweep = make_sweep(seeds=(3, 4))
    sweep.records.append("data", description={"train": [1]}, prepared={"judge": {"accuracy": 0.5}})
    sweep.whole_trial("00000", 2)
    sweep.trial("00001")
    sweep.error("00001", 1)
    sweep.records.storage.write("contact_sheet.png", b"\x89PNG\r\n\x1a\n made up")
    sweep.end()
    results = tmp_path / "results"
    (first,) = replay(str(results))
    assert (first.left, first.restored) == (0, 0)
    kept = {path.relative_to(results) for path in (results / "mlartifacts").rglob("*") if path.is_file()}
    before = assert_complete(sweep, database)

    def there() -> set[Path]:
        return {path.relative_to(results) for path in (results / "mlartifacts").rglob("*") if path.is_file()}

    shutil.rmtree(results / "mlartifacts")
    (again,) = replay(str(results))
    texts = {"manifest.json", "data.json", "prepared.json", "summary.json", "contact_sheet.png"}
    assert (again.left, again.restored) == (0, 4 + len(texts) + len({"two configs"}) + 1 + len({"a traceback"}))
    assert {path.name for path in there() if "step" not in path.name} == {
        path.name for path in kept if "step" not in path.name
    }
    after = assert_complete(sweep, database)
    assert after.parent.data.metrics == before.parent.data.metrics
    ends = {name: (run.info.status, run.info.end_time) for name, run in before.children.items()}
    assert {name: (run.info.status, run.info.end_time) for name, run in after.children.items()} == ends
    for pattern in ("*compressed.webp", "*+step+2+*.png", "config.json"):
        next((results / "mlartifacts").rglob(pattern)).unlink()
        (again,) = replay(str(results))
        assert again.restored == 1, pattern
        assert_complete(sweep, database)
    assert replay(str(results))[0].restored == 0
    assert not quiet_mlflow().MlflowClient(tracking_uri=database).search_runs(["0"])


def test_another_programs_experiment_keeps_its_artifacts(make_sweep: Any, tmp_path: Path) -> None:
    """In a database that a person shares with genlab; one of them has a run, the other one none yet."""
    other = tmp_path / "project" / "mlartifacts"
    other.mkdir(parents=True)
    (tmp_path / "shared").mkdir()
    uri = f"sqlite:///{tmp_path}/shared/mlflow.db"
    client = quiet_mlflow().MlflowClient(uri)
    mine, empty = (client.create_experiment(name, f"{other}/{name}/mlartifacts") for name in ("mine", "empty"))
    for name in ("mine", "empty"):
        (other / name / "mlartifacts").mkdir(parents=True)
    run = client.create_run(mine).info.run_id
    client.log_text(run, "1", "kept.txt")
    sweep = make_sweep()
    sweep.whole_trial("00000", 1)
    for _ in range(2):
        (result,) = replay(sweep.storage.url, tracking_uri=uri)
        assert (result.left, result.notes) == (0, [])
    assert [info.path for info in client.list_artifacts(run)] == ["kept.txt"]
    assert client.get_experiment(empty).artifact_location == f"{other}/empty/mlartifacts"
    shutil.rmtree(other / "mine")
    assert mend(f"{tmp_path}/shared/mlflow.db") is None


@pytest.mark.parametrize("torn", ["empty", "folder"])
def test_what_is_there_by_name_alone_is_sent_again(torn: str, make_sweep: Any, database: str, tmp_path: Path) -> None:
    """As a full disk leaves it, or a power cut. Where a folder has the name of a file, that is told."""
    sweep = make_sweep()
    sweep.whole_trial("00000", 1)
    sweep.end()
    assert replay(sweep.storage.url, tracking_uri=database)[0].left == 0
    found = (tmp_path / "results" / "mlartifacts").rglob("*")
    files = [path for path in found if path.suffix in (".png", ".webp") or path.name in ("config.json", "summary.json")]
    assert len(files) == 4
    for path in files:
        path.unlink()
        if torn == "empty":
            path.touch()
        elif path.name != "summary.json":
            path.mkdir()
    (result,) = replay(sweep.storage.url, tracking_uri=database)
    if torn == "empty":
        assert (result.left, result.restored) == (0, 3) and all(path.stat().st_size for path in files)
    else:
        assert not result.unreachable and result.left and "IsADirectory" in str(result.problem)


def test_an_image_of_a_long_name_arrives(make_sweep: Any, database: str) -> None:
    """A file's name may have 255 letters, of which MLflow takes 90. Two that begin alike stay two."""
    sweep = make_sweep()
    sweep.trial("00000")
    images = {f"{'k' * 400}{i}": np.full((1, 8, 8, 1), i, np.uint8) for i in range(2)} | {"samples": None}
    images["samples"] = images[f"{'k' * 400}0"]
    sweep.epoch("00000", 1, "completed", images=images)
    for _ in range(2):
        (result,) = replay(sweep.storage.url, tracking_uri=database)
        assert (result.left, result.restored, result.problem) == (0, 0, None)
    seen = Seen(sweep, database)
    names = [info.path for info in seen.client.list_artifacts(seen.children["00000"].info.run_id, "images")]
    assert len(names) == 6 and len({name.partition("+step+")[0] for name in names}) == 3
