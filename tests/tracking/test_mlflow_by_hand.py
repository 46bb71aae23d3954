"""What a small sweep is in MLflow: every point, time, status, tag, file and pixel written here by hand."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_sweeps import manifest
from PIL import Image

from genlab.tracking.epoch_reports import EpochReport, ReplicaReport
from genlab.tracking.events import KINDS, AnyEvent, Summary
from genlab.tracking.mlflow_runs import Publisher
from genlab.tracking.runs import Runs
from genlab.tracking.schema import as_json
from genlab.tracking.server import Unreachable, quiet_mlflow
from genlab.tracking.storage import Storage

MADE = 1_760_000_000.5  # seconds since 1970
TRACE = 'Traceback (most recent call last):\n  File "task.py", line 3\nValueError: no gradient\n  \n'
SUMMARY: dict[str, Any] = {
    "metric": "kid",
    "mode": "min",
    "trials": 6,
    "ends": {"completed": 1},
    "best": "0000",
    "objective": 0.125,
    "gain": 2.5,
    "command": "uv run sweeps/hand.py --set lr=0.1",
    "checkpoint": "trials/0000/epoch_0002.state.safetensors",
    "ahead": None,
    "confirmed": [],
    "default_objective": None,
}
PNG = b"\x89PNG\r\n\x1a\n"
NOTE = """Sweep **hand-1**

Best: **0000**, kid = 0.125

Gain over the default setting: 2.5

Checkpoint: `trials/0000/epoch_0002.state.safetensors`

Command: `uv run sweeps/hand.py --set lr=0.1`"""


class Hand:
    """The events of a sweep, made one by one; event n has the time MADE + n."""

    def __init__(self, folder: Path, name: str = "hand-1") -> None:
        self.storage, self.name, self.events = Storage(str(folder / "results" / name)), name, list[AnyEvent]()
        self.storage.make()
        environment = {"git_commit": "0123abcd", "user": "someone", "source": "sweeps/hand.py", "torch": "2.5"}
        options = {"tracking_uri": "https://me:secret@host/x"}
        self.manifest = manifest(
            "hand", name=name, created=MADE, metric="kid", options=options, environment=environment
        )

    def event(self, kind: str, **content: Any) -> AnyEvent:
        n = len(self.events) + 1
        self.events.append(KINDS[kind](n=n, time=MADE + n, **content))
        return self.events[-1]

    def trial(self, name: str, seed: int = 7, **settings: Any) -> AnyEvent:
        config = {"seed": seed, "epochs": 2, **settings}
        return self.event("trial", trial=name, settings=settings, config=config, distributions={})

    def file(self, report: EpochReport, attempt: str) -> Any:
        path = f"trials/{report.trial}/epoch_{report.epoch:04d}-{attempt}.report.safetensors"
        return self.storage.write(path, report.encode())

    def epoch(self, report: EpochReport, ends: str | None = None, damaged: bool = False) -> AnyEvent:
        name = self.file(report, "a")
        if damaged:
            self.storage.write(name.path, b"cut")
        common = {"trial": report.trial, "epoch": report.epoch, "report": name, "state": None}
        return self.event("epoch", **common, objective=None, ends=ends)

    def repair(self, report: EpochReport) -> AnyEvent:
        return self.event("repair", trial=report.trial, epoch=report.epoch, report=self.file(report, "b"), state=None)

    def publisher(self, uri: str) -> Publisher:
        return Publisher(self.storage, self.name, self.manifest, uri)

    def send(self, uri: str) -> Publisher:
        sender = self.publisher(uri)
        for event in self.events:
            sender.publish(event)
        return sender


class There:
    """What the server has of one sweep."""

    def __init__(self, uri: str, sweep: str = "hand-1") -> None:
        self.client = quiet_mlflow().MlflowClient(tracking_uri=uri)
        (self.experiment,) = [one for one in self.client.search_experiments() if one.name == "hand"]
        runs = self.client.search_runs([self.experiment.experiment_id], f"tags.`genlab.sweep` = '{sweep}'")
        self.runs = {run.info.run_name: run for run in runs}
        assert len(self.runs) == len(runs)

    def __getitem__(self, name: str) -> Any:
        return self.runs[name]

    def ends(self) -> dict[str, tuple[str, int | None]]:
        """Status and time of the end of each run."""
        return {name: (run.info.status, run.info.end_time) for name, run in self.runs.items()}

    def points(self, name: str) -> Counter[tuple[str, float, int, int]]:
        run = self.runs[name]
        histories = [self.client.get_metric_history(run.info.run_id, key) for key in run.data.metrics]
        return Counter((one.key, one.value, one.timestamp, one.step) for history in histories for one in history)

    def files(self, name: str, folder: str | None = None) -> list[str]:
        return sorted(one.path for one in self.client.list_artifacts(self.runs[name].info.run_id, folder))

    def bytes(self, name: str, path: str) -> bytes:
        return Path(self.client.download_artifacts(self.runs[name].info.run_id, path)).read_bytes()

    def text(self, name: str, path: str) -> str:
        return self.bytes(name, path).decode()

    def pictures(self, name: str) -> dict[str, list[Any]]:
        """Each picture's colour by its name up to the part that is drawn at random; all are of one colour."""
        run, found = self.runs[name].info.run_id, {}
        for path in self.files(name, "images"):
            if path.endswith(".png"):
                with Image.open(self.client.download_artifacts(run, path)) as image:
                    pixels = np.asarray(image).reshape(-1, 3)
                assert (pixels == pixels[0]).all()
                key = path.removeprefix("images/").rpartition("+")[0]
                assert key not in found and path.replace(".png", "+compressed.webp") in self.files(name, "images")
                found[key] = pixels[0].tolist()
        return found


def one(trial: str, epoch: int, value: float = 1.0, time: float | None = None, **host: Any) -> EpochReport:
    """A report of one replica with one metric, one step and one picture, all of `value`."""
    picture = np.full((3, 4, 3), value, np.uint8)
    replica = ReplicaReport({"kid": value}, {"loss": np.array([value], np.float32)}, {"samples": picture})
    return EpochReport(trial, epoch, time or MADE + 100 + epoch, epoch - 1, (7,), [replica], host=host)


def two(trial: str, epoch: int, kid: tuple[float, float], losses: Any, colours: Any, host: str) -> EpochReport:
    """A report of the seeds 7 and 11, of three steps an epoch."""
    replicas = [
        ReplicaReport(
            {"kid": kid[i], "fid": math.nan if i else 5.0},
            {"loss": np.array(losses[i], np.float32)},
            {"samples": np.full((3, 4, 3), colours[i], np.uint8), "none": np.zeros((0, 4, 4, 3), np.uint8)},
        )
        for i in range(2)
    ]
    about = {"host": host, "device": "cpu", "lane": 1, "workers": 2}
    return EpochReport(trial, epoch, 1_760_000_010.125 * epoch, 3 * (epoch - 1), (7, 11), replicas, host=about)


def test_points_and_pictures_of_two_replicas_over_two_epochs(database: str, tmp_path: Path) -> None:
    sweep = Hand(tmp_path)
    sweep.trial("0000", lr=0.1)
    sweep.epoch(two("0000", 1, (1.0, 3.0), ([0.5, math.nan, 2.0], [4.0, -1.0, 8.0]), ([1] * 3, [2] * 3), "node-a"))
    sweep.epoch(
        two("0000", 2, (0.5, 0.5), ([6.0, 7.0, 9.0], [3.0, 3.0, 3.0]), ([5, 6, 7], [8, 9, 0]), "node-b"), "completed"
    )
    sweep.send(database)
    for _ in range(2):
        there = There(database)
        first, second = 1_760_000_010_125, 3_520_000_020_250
        assert there.points("0000") == Counter(
            [
                ("kid", 2.0, first, 1),
                ("kid/std", math.sqrt(2), first, 1),
                ("kid/seed_7", 1.0, first, 1),
                ("kid/seed_11", 3.0, first, 1),
                ("fid/seed_7", 5.0, first, 1),
                ("step/loss/seed_7", 0.5, first, 0),
                ("step/loss/seed_7", 2.0, first, 2),
                ("step/loss/seed_11", 4.0, first, 0),
                ("step/loss/seed_11", -1.0, first, 1),
                ("step/loss/seed_11", 8.0, first, 2),
                ("kid", 0.5, second, 2),
                ("kid/std", 0.0, second, 2),
                ("kid/seed_7", 0.5, second, 2),
                ("kid/seed_11", 0.5, second, 2),
                ("fid/seed_7", 5.0, second, 2),
                ("step/loss/seed_7", 6.0, second, 3),
                ("step/loss/seed_7", 7.0, second, 4),
                ("step/loss/seed_7", 9.0, second, 5),
                ("step/loss/seed_11", 3.0, second, 3),
                ("step/loss/seed_11", 3.0, second, 4),
                ("step/loss/seed_11", 3.0, second, 5),
            ]
        )
        assert there.pictures("0000") == {
            f"samples+step+1+timestamp+{first}": [1, 1, 1],
            f"samples~seed_11+step+1+timestamp+{first}": [2, 2, 2],
            f"samples+step+2+timestamp+{second}": [5, 6, 7],
            f"samples~seed_11+step+2+timestamp+{second}": [8, 9, 0],
        }
        assert there["0000"].data.tags["genlab.host"] == "node-b"  # where it was last
        there.client.set_tag(there["0000"].info.run_id, "genlab.sent_epoch", "1")  # as if cut off in epoch 2
        sweep.send(database)


def test_runs_begin_and_end_as_their_trials_do(database: str, tmp_path: Path) -> None:
    sweep = Hand(tmp_path)
    sweep.event("data", description={"mnist": [{"n": 60}]}, prepared={"judge": {"accuracy": 0.75}})
    sweep.trial("0000", lr=0.1, loss="hinge", sizes=(1, 2), flip=True, none=None)
    sweep.trial("0001", seed=9)
    sweep.trial("0002")
    sweep.trial("0003")
    sweep.trial("0004")
    sweep.trial("confirm-0000-0")
    for name, ends in (("0000", "completed"), ("0001", "pruned"), ("0002", "diverged"), ("confirm-0000-0", None)):
        sweep.epoch(one(name, 1, host="node-a", device="cuda:1", lane=0, workers=2), ends)  # events 8 to 11
    sweep.event("error", trial="0003", epoch=1, traceback=TRACE)
    sender = sweep.send(database)
    assert not sender.unsent
    going = {"0004": ("RUNNING", None), "confirm-0000-0": ("RUNNING", None), "hand-1": ("RUNNING", None)}
    ended = {
        "0000": ("FINISHED", 1_760_000_008_500),
        "0001": ("FINISHED", 1_760_000_009_500),
        "0002": ("FAILED", 1_760_000_010_500),
        "0003": ("FAILED", 1_760_000_012_500),
    }
    assert There(database).ends() == ended | going
    sender.interrupted(MADE + 50)
    assert There(database).ends() == ended | dict.fromkeys(going, ("KILLED", 1_760_000_050_500))
    sender.publish(sweep.trial("0005"))
    assert There(database)["hand-1"].info.status == "RUNNING"
    sweep.epoch(one("confirm-0000-0", 2), "completed")
    sender = sweep.send(database)
    back = There(database).ends()
    words = [back[name][0] for name in ("0004", "0005", "confirm-0000-0", "hand-1")]
    assert words == ["KILLED", "RUNNING", "FINISHED", "RUNNING"]
    sweep.storage.write("contact_sheet.png", PNG + b"the page")
    sweep.storage.write("curves.png", PNG + b"the curves")
    sender.publish(sweep.event("end", summary=Summary(**SUMMARY)))
    there = There(database)
    assert there.ends()["hand-1"] == ("FINISHED", 1_760_000_015_500)

    # Where each run came from, and what was asked for.
    starts = {name: run.info.start_time for name, run in there.runs.items()}
    assert [starts[f"000{i}"] for i in range(5)] == [1_760_000_002_500 + 1000 * i for i in range(5)]
    assert starts["hand-1"] == 1_760_000_000_500
    every = {
        "genlab.sweep": "hand-1",
        "genlab.env.git_commit": "0123abcd",
        "genlab.env.user": "someone",
        "genlab.env.source": "sweeps/hand.py",
        "genlab.env.torch": "2.5",
        "mlflow.user": "someone",
        "mlflow.source.git.commit": "0123abcd",
        "mlflow.source.name": "sweeps/hand.py",
        "mlflow.source.type": "LOCAL",
    }
    about = {"genlab.host": "node-a", "genlab.device": "cuda:1", "genlab.lane": "0", "genlab.workers": "2"}
    parent = there["hand-1"]
    child = {"mlflow.parentRunId": parent.info.run_id, "genlab.sent_epoch": "1", "mlflow.loggedImages": "True"}
    asked = {
        "0000": about | child | {"genlab.trial": "0000", "genlab.env.seed": "7", "genlab.ends": "completed"},
        "0001": about | child | {"genlab.trial": "0001", "genlab.env.seed": "9", "genlab.ends": "pruned"},
        "0002": about | child | {"genlab.trial": "0002", "genlab.env.seed": "7", "genlab.ends": "diverged"},
        "confirm-0000-0": about
        | child
        | {"genlab.trial": "confirm-0000-0", "genlab.env.seed": "7", "genlab.confirms": "true"}
        | {"genlab.sent_epoch": "2", "genlab.ends": "completed"},
        "hand-1": {"genlab.metric": "kid", "genlab.mode": "min", "genlab.task": "gan", "genlab.sent_epoch": "0"}
        | {"genlab.origin": "hand-1", "genlab.storage": sweep.storage.url.rpartition("/")[0]}
        | {"genlab.data": '{"mnist": [{"n": 60}]}', "genlab.best": "0000", "genlab.ended": "1760000015.5"}
        | {"genlab.best_run_id": there["0000"].info.run_id, "mlflow.note.content": NOTE}
        | {f"genlab.{key}": SUMMARY[key] for key in ("command", "checkpoint")},
    }
    for name, tags in asked.items():
        assert there[name].data.tags == every | tags | {"mlflow.runName": name}
    assert there["0003"].data.tags["genlab.error"] == "ValueError: no gradient"
    assert there["0003"].data.tags["genlab.ends"] == "failed"
    assert there.experiment.tags["mlflow.experimentKind"] == "custom_model_development"

    # Params, metrics and files.
    settings = {"lr": "0.1", "loss": "hinge", "sizes": "(1, 2)", "flip": "True", "none": "None"}
    assert there["0000"].data.params == settings and there["0001"].data.params == parent.data.params == {}
    assert parent.data.metrics == {"best_objective": 0.125, "gain": 2.5}
    assert there.files("0003") == ["config.json", "traceback.txt"] and there.text("0003", "traceback.txt") == TRACE
    config = {"seed": 7, "epochs": 2, "lr": 0.1, "loss": "hinge", "sizes": [1, 2], "flip": True, "none": None}
    assert json.loads(there.text("0000", "config.json")) == config
    names = ["contact_sheet.png", "curves.png", "data.json", "manifest.json", "prepared.json", "summary.json"]
    assert there.files("hand-1") == names
    assert there.bytes("hand-1", "contact_sheet.png") == PNG + b"the page"
    assert there.bytes("hand-1", "curves.png") == PNG + b"the curves"
    assert json.loads(there.text("hand-1", "data.json")) == {"mnist": [{"n": 60}]}
    assert json.loads(there.text("hand-1", "prepared.json")) == {"judge": {"accuracy": 0.75}}
    assert json.loads(there.text("hand-1", "summary.json")) == SUMMARY
    kept = json.loads(there.text("hand-1", "manifest.json"))
    assert kept == as_json(sweep.manifest) | {"options": {"tracking_uri": "https://host/x"}}  # all but the password
    assert {step for _, _, _, step in there.points("hand-1")} == {15}  # of the event by which it ended
    assert sender.page is not None and "kid" in sender.page and "orderByAsc=true" in sender.page


def test_damaged_epochs_are_remembered_one_by_one_until_they_are_repaired(database: str, tmp_path: Path) -> None:
    sweep = Hand(tmp_path)
    sweep.trial("0000")
    for epoch in (1, 2, 21, 22):
        sweep.epoch(one("0000", epoch, 10 * epoch), "completed" if epoch == 22 else None, damaged=epoch != 21)
    sender = sweep.send(database)
    assert set(sender.unsent) == {("0000", 1), ("0000", 2), ("0000", 22)}
    there = There(database)
    kept = ("genlab.sent_epoch", "genlab.missing_epochs", "genlab.ends")
    assert [there["0000"].data.tags[tag] for tag in kept] == ["22", "1,2,22", "completed"]
    assert there.ends()["0000"] == ("FINISHED", 1_760_000_005_500)  # it ended, though its last epoch cannot be read
    assert there.pictures("0000") == {"samples+step+21+timestamp+1760000121500": [210, 210, 210]}
    sender.publish(sweep.repair(one("0000", 2, 24, time=MADE + 200)))
    assert set(sender.unsent) == {("0000", 1), ("0000", 22)}
    assert [There(database)["0000"].data.tags[tag] for tag in kept] == ["22", "1,22", "completed"]
    sender.publish(sweep.repair(one("0000", 21, 99, time=MADE + 300)))  # of which the first telling is there
    for _ in range(2):  # the second time the records are sent anew
        there = There(database)
        assert there.points("0000") == Counter(
            [
                ("kid", 210.0, 1_760_000_121_500, 21),
                ("step/loss", 210.0, 1_760_000_121_500, 20),
                ("kid", 24.0, 1_760_000_200_500, 2),
                ("step/loss", 24.0, 1_760_000_200_500, 1),
            ]
        )
        assert there.pictures("0000") == {
            "samples+step+2+timestamp+1760000200500": [24, 24, 24],
            "samples+step+21+timestamp+1760000121500": [210, 210, 210],
        }
        assert there.ends()["0000"] == ("FINISHED", 1_760_000_005_500)
        assert set(sweep.send(database).unsent) == {("0000", 1), ("0000", 22)}


def test_a_picture_that_was_sent_before_the_answer_was_lost_stays_single(
    database: str, tmp_path: Path, monkeypatch: Any
) -> None:
    """Keys that are alike are told apart; the picture is written over, and its epoch completed."""
    sweep = Hand(tmp_path)
    sweep.trial("0000")
    sweep.epoch(one("0000", 11, 11))
    keys = ("b/samples", "samples", "samples/b", "a:b", "a.b")
    images = {key: np.full((3, 4, 3), i, np.uint8) for i, key in enumerate(keys)}
    sweep.epoch(EpochReport("0000", 12, MADE + 112, 11, (7,), [ReplicaReport({"kid": 12.0}, {}, images)]))
    for event in sweep.events[:2]:
        sweep.publisher(database).publish(event)

    def lost(*_: Any, **__: Any) -> None:
        raise ConnectionError("cut off")

    with monkeypatch.context() as patched, pytest.raises(Unreachable):
        patched.setattr(Runs, "log", lost)
        sweep.publisher(database).publish(sweep.events[2])
    there = There(database)
    before, run = there.files("0000", "images"), there["0000"].info.run_id
    there.client.delete_tag(run, "mlflow.loggedImages")  # MLflow sets it last
    torn = list((tmp_path / "results" / "mlartifacts").rglob("*+step+12+*"))
    for file in torn:
        file.write_bytes(b"torn")
    sweep.send(database)
    there = There(database)
    assert there.files("0000", "images") == before and there["0000"].data.tags["mlflow.loggedImages"] == "True"
    assert len(torn) == 10 and not any(file.read_bytes() == b"torn" for file in torn)
    pictures = there.pictures("0000")
    assert list(pictures.values()) == [[4] * 3, [3] * 3, [0] * 3, [11] * 3, [1] * 3, [2] * 3]
    assert [key.partition("+timestamp")[0] for key in pictures] == [
        "a.b+step+12",
        "a_b+step+12",
        "b~samples+step+12",
        "samples+step+11",
        "samples+step+12",
        "samples~b+step+12",
    ]


def test_two_folders_of_one_sweep_share_an_experiment_and_nothing_else(database: str, tmp_path: Path) -> None:
    first, second = Hand(tmp_path), Hand(tmp_path, "hand-2")
    for i, sweep in enumerate((first, second)):
        sweep.trial("0000", lr=i)
        sweep.epoch(one("0000", 1, i + 1.0), "completed")
        sweep.send(database)
    first.send(database)
    for i, name in enumerate(("hand-1", "hand-2")):
        there = There(database, name)
        assert set(there.runs) == {name, "0000"} and there["0000"].data.params == {"lr": str(i)}
        assert there["0000"].data.tags["mlflow.parentRunId"] == there[name].info.run_id
        assert {value for _, value, _, _ in there.points("0000")} == {i + 1.0}


def test_of_a_run_that_is_there_twice_the_one_that_holds_most_goes_on_alone(database: str, tmp_path: Path) -> None:
    """Two senders that did not know of each other made it so. What was deleted can be restored in MLflow."""
    sweep = Hand(tmp_path)
    sweep.trial("0000")
    sweep.epoch(one("0000", 1, 8.0))
    sender = sweep.send(database)
    parent, child = sender._parent.id, sender._children["0000"].id
    client = sender.runs._client
    doubles = []
    for tags, sent in (({}, "-1"), ({"genlab.trial": "0000"}, "0")):
        tags |= {"genlab.sweep": "hand-1", "genlab.sent_epoch": sent}
        doubles.append(client.create_run(sender.runs.experiment, 1_760_000_000_500, tags).info.run_id)
    sweep.epoch(one("0000", 2, 9.0))
    none = SUMMARY | {"best": None, "objective": None, "gain": 0.0}
    sweep.event("end", summary=Summary(**none))
    again = sweep.send(database)
    assert again.notes == [f"{database} had 2 of the runs of hand-1 twice: one of each is kept"]
    assert {client.get_run(run).info.lifecycle_stage for run in doubles} == {"deleted"}
    assert client.get_run(child).data.metrics["kid"] == 9.0
    ended = client.get_run(parent)
    assert ended.info.status == "FINISHED" and ended.data.metrics == {"gain": 0.0}
    assert sweep.send(database).notes == [] and len(There(database).runs) == 2


def test_a_sweep_that_was_extended_has_a_point_for_each_of_its_ends(database: str, tmp_path: Path) -> None:
    sweep = Hand(tmp_path)
    sweep.trial("0000")
    for gain in (1.0, 2.0):
        sweep.epoch(one("0000", int(gain), gain))
        sweep.event("end", summary=Summary(**SUMMARY | {"gain": gain}))
        for _ in range(2):
            sweep.send(database)
    there = There(database)
    gains = sorted((step, value) for key, value, _, step in there.points("hand-1") if key == "gain")
    assert gains == [(3, 1.0), (5, 2.0)]


def test_runs_beyond_the_first_page_are_found_again(database: str, tmp_path: Path, monkeypatch: Any) -> None:
    """MLflow hands runs out page by page, here two a page."""
    client = quiet_mlflow().MlflowClient
    real = client.search_runs
    monkeypatch.setattr(client, "search_runs", lambda *args, **words: real(*args, **words | {"max_results": 2}))
    sweep = Hand(tmp_path)
    for i in range(4):
        sweep.trial(f"000{i}")
    sweep.send(database)
    sweep.send(database)
    monkeypatch.undo()
    assert len(There(database).runs) == 5  # one name each
