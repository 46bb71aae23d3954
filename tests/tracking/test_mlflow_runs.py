"""What arrives in MLflow: found by tag, complete, once, whatever cut the sending off."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from made_sweeps import Seen, assert_complete
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from genlab.grids import Labels, labelled
from genlab.tracking.epoch_reports import EpochReport, ReplicaReport
from genlab.tracking.mlflow_runs import Publisher
from genlab.tracking.points import legal, thin
from genlab.tracking.runs import Runs
from genlab.tracking.server import Refused, Unreachable, quiet_mlflow
from genlab.tracking.storage import Storage


def publisher(sweep: Any, uri: str) -> Publisher:
    return Publisher(sweep.records.storage, sweep.records.name, sweep.records.manifest, uri)


def send(sweep: Any, uri: str, first: int = 1) -> Publisher:
    sender = publisher(sweep, uri)
    for event in sweep.records.events[first - 1 :]:
        sender.publish(event)
    return sender


def test_a_sweep_becomes_a_parent_and_children(
    make_sweep: Any, database: str, tmp_path: Path, monkeypatch: Any
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    sweep = make_sweep("lsgan")
    sweep.records.append("data", description={"mnist": {"n": 60000}})
    sweep.whole_trial("00000", lr=0.1)
    sweep.whole_trial("00001", 2, "pruned", lr=0.2)
    sweep.whole_trial("00002", 1, "diverged", lr=0.3)
    sweep.trial("00003", lr=0.4)
    sweep.epoch("00003", 1)
    sweep.error("00003", 2)
    sweep.whole_trial("confirm-00000-0", lr=0.1)
    sweep.records.storage.write("contact_sheet.png", b"\x89PNG\r\n\x1a\n made up")
    sweep.end()
    assert not send(sweep, database).unsent
    seen = assert_complete(sweep, database)
    assert {name: run.info.status for name, run in seen.children.items()} == {
        "00000": "FINISHED",
        "00001": "FINISHED",
        "00002": "FAILED",
        "00003": "FAILED",
        "confirm-00000-0": "FINISHED",
    }
    ends = {name: run.data.tags["genlab.ends"] for name, run in seen.children.items()}
    assert ends["00001"] == "pruned" and ends["00002"] == "diverged" and ends["00003"] == "failed"
    child = seen.children["00000"]
    assert child.data.params == {"lr": "0.1"}  # only what is swept
    tags = {"genlab.host": "node-a", "genlab.env.git_commit": "0123abcd", "mlflow.user": "someone"}
    tags |= {"mlflow.source.git.commit": "0123abcd", "mlflow.parentRunId": seen.parent.info.run_id}
    assert tags.items() <= child.data.tags.items()
    assert child.info.start_time == int(sweep.records.trials["00000"].time * 1000)
    assert child.info.run_name == "00000" and "genlab.confirms" not in child.data.tags
    assert seen.children["confirm-00000-0"].data.tags["genlab.confirms"] == "true"
    config = Path(seen.client.download_artifacts(child.info.run_id, "config.json", str(tmp_path))).read_text()
    assert json.loads(config)["epochs"] == 3
    failed = seen.children["00003"]
    assert failed.data.tags["genlab.error"] == "ValueError: the loss has no gradient"
    assert {info.path for info in seen.client.list_artifacts(failed.info.run_id)} >= {"traceback.txt", "config.json"}
    parent = seen.parent
    assert parent.info.status == "FINISHED" and parent.info.start_time == int(sweep.records.manifest.created * 1000)
    assert parent.info.end_time == int(sweep.records.events[-1].time * 1000)
    assert parent.data.metrics == {"best_objective": 33.4, "gain": 1.5}
    assert parent.data.tags["genlab.best_run_id"] == child.info.run_id
    assert {"manifest.json", "summary.json", "contact_sheet.png", "data.json"} == {
        info.path for info in seen.client.list_artifacts(parent.info.run_id)
    }
    assert (tmp_path / "results" / "mlartifacts").is_dir() and os.listdir() == []  # no mlruns here


def test_code_that_a_resume_accepted_is_told(make_sweep: Any, database: str) -> None:
    sweep = make_sweep()
    sweep.whole_trial("00000")
    sweep.records.append("start", options={"trials": 3})
    numbers = [
        sweep.records.append("start", options={}, code={"vae.py": "b"}, changed=changed).n
        for changed in (["vae.py"], ["genlab", "vae.py"])
    ]
    sweep.end()
    for _ in range(2):
        send(sweep, database)
    tags = assert_complete(sweep, database).parent.data.tags
    assert tags["genlab.accepted_code"] == f"event {numbers[0]}: vae.py; event {numbers[1]}: genlab, vae.py"


def test_sending_again_changes_nothing(make_sweep: Any, database: str, monkeypatch: Any) -> None:
    sweep = make_sweep(seeds=(3, 4))
    sweep.whole_trial("00000")
    sweep.end()
    send(sweep, database)
    monkeypatch.setattr(type(sweep.storage), "read_named", lambda *_: pytest.fail("a sent report was read again"))
    send(sweep, database)
    monkeypatch.undo()
    seen = assert_complete(sweep, database)
    assert seen.parent.info.status == "FINISHED"
    assert "step/score/real/seed_4" in seen.children["00000"].data.metrics


@pytest.mark.parametrize(("call", "after"), [*((i, True) for i in range(2, 19)), (6, False), (11, False), (13, False)])
def test_cut_off_at_any_call_then_sent_again(
    call: int, after: bool, make_sweep: Any, database: str, monkeypatch: Any
) -> None:
    """The answer to one call is lost, after the server did what was asked or before."""
    import mlflow

    sweep = make_sweep()
    sweep.whole_trial("00000", 2)
    sweep.end()
    count = 0
    names = ("create_experiment", "create_run", "log_batch", "set_terminated")

    def breaking(real: Any) -> Any:
        def method(self: Any, *args: Any, **keywords: Any) -> Any:
            nonlocal count
            count += 1
            if count == call and not after:
                raise ConnectionError("cut off before")
            result = real(self, *args, **keywords)
            if count == call:
                raise ConnectionError("cut off after")
            return result

        return method

    with monkeypatch.context() as patched:
        for name in names:
            patched.setattr(mlflow.MlflowClient, name, breaking(getattr(mlflow.MlflowClient, name)))
        patched.setattr(LocalArtifactRepository, "log_artifact", breaking(LocalArtifactRepository.log_artifact))
        with pytest.raises(Unreachable):
            send(sweep, database)
    send(sweep, database)
    seen = assert_complete(sweep, database)
    assert seen.parent.info.status == "FINISHED" and seen.children["00000"].info.status == "FINISHED"
    assert "manifest.json" in {info.path for info in seen.client.list_artifacts(seen.parent.info.run_id)}


def test_a_torn_image_is_written_over(make_sweep: Any, database: str, tmp_path: Path) -> None:
    sweep = make_sweep()
    sweep.whole_trial("00000", 1)
    send(sweep, database)
    (image,) = (tmp_path / "results" / "mlartifacts").rglob("*.png")
    (small,) = (tmp_path / "results" / "mlartifacts").rglob("*.webp")
    whole = image.read_bytes()
    image.write_bytes(whole[:100])
    small.unlink()
    client, run = Seen(sweep, database).client, Seen(sweep, database).children["00000"]
    client.set_tag(run.info.run_id, "genlab.sent_epoch", "0")  # as if it had been cut off there
    send(sweep, database)
    assert_complete(sweep, database)
    assert image.read_bytes() == whole and small.stat().st_size > 100


def test_a_damaged_report_is_told_and_sent_once_repaired(make_sweep: Any, database: str) -> None:
    sweep = make_sweep()
    sweep.whole_trial("00000")
    name = sweep.records.trials["00000"].epochs[2].report
    sweep.records.storage.write(name.path, b"\x80\x04cos\nsystem\n(S'false'\ntR.")
    sender = send(sweep, database)
    assert list(sender.unsent) == [("00000", 2)]
    assert name.path in sender.unsent["00000", 2]
    seen = Seen(sweep, database)
    assert [step for _, step in seen.images("00000")] == [1, 3]
    assert seen.children["00000"].info.status == "FINISHED"
    path = "trials/00000/epoch_0002-b.report.safetensors"
    file = sweep.records.storage.write(path, sweep.report("00000", 2).encode())
    sweep.records.append("repair", trial="00000", epoch=2, report=file, state=None)
    sender.publish(sweep.records.events[-1])
    assert not sender.unsent
    assert assert_complete(sweep, database).children["00000"].info.status == "FINISHED"
    assert not send(sweep, database).unsent  # the first, damaged report is not asked for any more
    assert_complete(sweep, database)


def test_a_trial_that_goes_on_is_running_again(make_sweep: Any, database: str) -> None:
    sweep = make_sweep()
    sweep.trial("00000", lr=0.1)
    sweep.epoch("00000", 1)
    sweep.error("00000", 2)
    sender = send(sweep, database)
    sender.interrupted(1_760_000_100.0)
    assert Seen(sweep, database).parent.info.status == "KILLED"
    sweep.epoch("00000", 2)
    send(sweep, database)
    seen = Seen(sweep, database)
    assert seen.parent.info.status == seen.children["00000"].info.status == "RUNNING"
    assert not {"genlab.ends", "genlab.error"} & set(seen.children["00000"].data.tags)
    sweep.epoch("00000", 3, "completed")
    sweep.end()
    send(sweep, database)
    send(sweep, database)  # the error is in the past
    seen = Seen(sweep, database)
    assert seen.parent.info.status == seen.children["00000"].info.status == "FINISHED"
    sweep.whole_trial("00001")
    send(sweep, database)
    assert Seen(sweep, database).parent.info.status == "RUNNING"
    sweep.end(best="00001", objective=12.0)
    send(sweep, database)
    parent = Seen(sweep, database).parent
    assert (parent.info.status, parent.data.metrics["best_objective"]) == ("FINISHED", 12.0)


def test_a_sweep_that_ends_again_with_nothing_new_gets_no_second_point(make_sweep: Any, database: str) -> None:
    """As one that was resumed with --lanes alone. Who sends it later sees all ends at once."""
    sweep = make_sweep()
    sweep.whole_trial("00000", 1)
    ends = []
    for objective, gain in ((12.0, 1.0), (12.0, 1.0), (11.0, 1.0), (11.0, 1.0)):
        sweep.records.append("start", options={"lanes": len(ends) + 1})
        sweep.end(objective=objective, gain=gain, command=f"--cpus-per-worker {len(ends) + 1}")  # these follow from it
        ends.append(sweep.n)
        send(sweep, database)
    other = f"{database}.other"
    send(sweep, other)
    for uri in (database, other):
        seen = Seen(sweep, uri)
        run = seen.parent.info.run_id
        points = [(point.step, point.value) for point in seen.client.get_metric_history(run, "best_objective")]
        assert points == [(ends[0], 12.0), (ends[2], 11.0)]
        assert seen.parent.info.status == "FINISHED"


def test_pictures_arrive_as_they_are(make_sweep: Any, database: str) -> None:
    """A single picture, a set and rows of columns, each as one image, and images of test data under their own key."""
    rng = np.random.default_rng(0)
    figure = rng.integers(0, 256, (70, 301, 3), dtype=np.uint8)
    gray = rng.integers(0, 256, (9, 5, 1), dtype=np.uint8)
    classes = np.arange(6, dtype=np.uint8).reshape(2, 3, 1, 1, 1) * np.ones((1, 1, 4, 5, 1), np.uint8)
    samples = np.full((3, 4, 4, 3), 7, np.uint8)
    images = {"figure": figure, "test/gray": gray, "test/by_class": classes, "a/b/samples": samples}
    sweep = make_sweep(seeds=(0, 1))
    sweep.trial("00000")
    sweep.epoch("00000", 1, images=images)
    sweep.epoch("00000", 2, "completed", images=images)
    assert not send(sweep, database).unsent
    seen = assert_complete(sweep, database)
    assert len(seen.images("00000")) == 4 * 2 * 2  # keys, epochs, replicas
    for step in (1, 2):
        for suffix in ("", "/seed_1"):
            np.testing.assert_array_equal(seen.image("00000", f"figure{suffix}", step), figure)
            np.testing.assert_array_equal(seen.image("00000", f"test/gray{suffix}", step), gray.repeat(3, 2))
    whole = seen.image("00000", "test/by_class", 1)
    assert whole.shape == (2 + 2 * (4 + 2), 2 + 3 * (5 + 2), 3)  # two rows of three, 2 pixels between and around them
    for value in range(6):
        top, left = 2 + value // 3 * 6, 2 + value % 3 * 7
        assert (whole[top : top + 4, left : left + 5] == value).all()
    assert (whole >= 6).sum() == whole.size - 6 * 4 * 5 * 3  # all else is white
    assert seen.image("00000", "a/b/samples", 1).shape == (2 * 6 + 2, 2 * 6 + 2, 3)


def test_rows_and_columns_arrive_with_their_labels(make_sweep: Any, database: str) -> None:
    images = np.full((2, 3, 8, 8, 1), 90, np.uint8)
    own = ReplicaReport({"frechet_distance": 1.0}, {}, {"by_class": images}, {"by_class": Labels(("cat", "dog"))})
    sweep = make_sweep()
    sweep.trial("00000")
    sweep.epoch("00000", 1, "completed", replace(sweep.report("00000", 1), replicas=[own]))
    assert not send(sweep, database).unsent
    sent = assert_complete(sweep, database).image("00000", "by_class", 1)
    np.testing.assert_array_equal(sent, labelled(images, ("cat", "dog")))


@pytest.mark.parametrize("shape", [(1, 900), (3000, 2), (49, 49 * 256), (1, 256), (1, 1)])
def test_a_picture_of_any_shape_is_taken(shape: tuple[int, int], make_sweep: Any, database: str) -> None:
    """MLflow makes a small copy of each image, and fails where an edge of it has no pixel."""
    picture = np.full((*shape, 3), 80, np.uint8)
    sweep = make_sweep()
    sweep.trial("00000")
    sweep.epoch("00000", 1, "completed", images={"strip": picture})
    assert not send(sweep, database).unsent
    sent = assert_complete(sweep, database).image("00000", "strip", 1)
    np.testing.assert_array_equal(sent[: shape[0], : shape[1]], picture)
    assert (sent[shape[0] :] == 255).all() and (sent[:, shape[1] :] == 255).all()
    assert sent.shape[0] - shape[0] + sent.shape[1] - shape[1] <= max(shape) // 256


def test_limits_of_mlflow(make_sweep: Any, database: str) -> None:
    sweep = make_sweep(environment={f"package_{i}": "1.0" for i in range(150)} | {"long": "x" * 9000})
    settings = {f"setting_{i}": i for i in range(120)} | {"long": "y" * 9000}
    sweep.trial("00000", **settings)
    metrics = {"accuracy/pgd/eps_0.03": 0.5, "odd=name(%)": 1.0, "nan": float("nan"), "inf": float("inf")}
    curves = {f"curve_{i}": np.linspace(0, 1, 500, dtype=np.float32) for i in range(12)}
    replica = ReplicaReport({"frechet_distance": 1.0, **metrics}, curves, {"samples": np.zeros((2, 4, 4, 3), np.uint8)})
    sweep.epoch("00000", 1, "completed", EpochReport("00000", 1, 1_760_000_000.0, 0, (0,), [replica]))
    assert not send(sweep, database).unsent
    seen = assert_complete(sweep, database)
    run = seen.children["00000"]
    assert len(run.data.params) == 121 and len(run.data.params["long"]) == 6000
    assert "settings.json" in {info.path for info in seen.client.list_artifacts(run.info.run_id)}
    assert run.data.tags["genlab.env.package_149"] == "1.0"
    assert len([key for key in run.data.metrics if key.startswith("step/")]) == 12
    assert "odd_name___" in run.data.metrics and not {"nan", "inf"} & set(run.data.metrics)


@pytest.mark.parametrize("by_uv", [False, True])
def test_a_deleted_experiment_is_refused_with_the_remedy(
    by_uv: bool, make_sweep: Any, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command that is printed restores it, typed in another folder."""
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)
    if by_uv:
        monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    sweep = make_sweep()
    sweep.whole_trial("00000", 1)
    (tmp_path / "a b").mkdir()
    database = shutil.copy(database.removeprefix("sqlite:///"), tmp_path / "a b" / "mlflow.db")
    database = f"sqlite:///{database}"
    send(sweep, database)
    client = quiet_mlflow().MlflowClient(tracking_uri=database)
    client.delete_experiment(client.get_experiment_by_name("made").experiment_id)
    with pytest.raises(Refused, match="the experiment 'made' was deleted on sqlite:///") as refused:
        send(sweep, database)
    command = str(refused.value).partition("restore it there: ")[2]
    typed = f"MLFLOW_TRACKING_URI='{database}' {'uv run ' * by_uv}mlflow experiments restore -x "
    assert command.startswith(typed)
    if not by_uv:
        here = command.replace(" mlflow ", f" {shlex.quote(sys.executable)} -m mlflow ")
        subprocess.run(here, shell=True, check=True, cwd="/", capture_output=True)
        assert not send(sweep, database).unsent


def test_how_an_experiment_is_restored_holds_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    deleted = SimpleNamespace(lifecycle_stage="deleted", experiment_id="7")
    client = SimpleNamespace(get_experiment_by_name=lambda name: deleted)
    monkeypatch.setattr("genlab.tracking.runs.quiet_mlflow", lambda: SimpleNamespace(MlflowClient=lambda **_: client))
    with pytest.raises(Refused, match=r"MLFLOW_TRACKING_URI=http://host:5000 .*restore -x 7$") as refused:
        Runs("http://me:secret@host:5000", "made", Storage("/nowhere"))
    assert "secret" not in str(refused.value)


def test_over_http(make_sweep: Any, mlflow_server: Any) -> None:
    sweep = make_sweep("over_http")
    sweep.whole_trial("00000", 2)
    sweep.end()
    send(sweep, mlflow_server.uri)
    assert assert_complete(sweep, mlflow_server.uri).parent.info.status == "FINISHED"


def test_an_unreachable_server_is_said_at_once(make_sweep: Any) -> None:
    sweep = make_sweep()
    sweep.trial("00000")
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
        send(sweep, "http://127.0.0.1:9")


def test_thin_keeps_every_spike() -> None:
    curve = np.sin(np.arange(5000) / 300).astype(np.float32)
    curve[[17, 2503]], curve[4000] = [40.0, -40.0], np.nan
    chosen = thin(curve)
    assert len(chosen) <= 100 and {17, 2503} <= set(chosen) and 4000 not in chosen
    assert (np.diff(chosen) > 0).all()
    assert list(thin(np.array([1.0, np.inf, 2.0]))) == [0, 2]


@pytest.mark.parametrize("name", ["a=b", "/x//y/", "../z", "", "é", "a" * 400, "accuracy/pgd/eps_0.3", "x:y z"])
def test_legal_names_are_taken_by_mlflow(name: str) -> None:
    quiet_mlflow()
    from mlflow.utils.validation import _validate_metric_name, _validate_param_name

    _validate_metric_name(legal(name))
    _validate_param_name(legal(name))


def test_a_trial_that_is_tried_again_is_running_and_may_fail_again(make_sweep: Any, database: str) -> None:
    sweep = make_sweep()
    sweep.trial("00000", lr=0.1)
    sweep.epoch("00000", 1)
    for expected in ("FAILED", "RUNNING", "FAILED", "RUNNING"):
        if expected == "FAILED":
            sweep.error("00000", 2)
        else:
            sweep.records.append("start", options={}, retry=["00000"])
        send(sweep, database)
        run = Seen(sweep, database).children["00000"]
        assert run.info.status == expected and run.data.tags.get("genlab.ends") == (
            "failed" if expected == "FAILED" else None
        )
    sweep.epoch("00000", 2, "completed")
    sweep.end()
    send(sweep, database)
    send(sweep, database)
    assert assert_complete(sweep, database).children["00000"].info.status == "FINISHED"
