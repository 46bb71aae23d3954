"""Made-up sweeps with real reports, and MLflow databases and servers: the conftest of a folder takes what it needs."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from genlab.tracking.epoch_reports import EpochReport, ReplicaReport
from genlab.tracking.events import AnyEvent, Summary, kind
from genlab.tracking.manifest import FORMAT, Asha, Identity, Manifest
from genlab.tracking.points import report_points
from genlab.tracking.records import Records
from genlab.tracking.server import quiet_mlflow
from genlab.tracking.storage import Storage

START = 1_760_000_000.0  # seconds since 1970, when made-up sweeps begin


def kinds(events: Iterable[AnyEvent]) -> list[str]:
    """What kind each event is of, as its file says it."""
    return [kind(event) for event in events]


def manifest(sweep: str = "made", **changes: Any) -> Manifest:
    """What a made-up sweep was asked for."""
    metric, mode = changes.get("metric", "frechet_distance"), changes.get("mode", "min")
    identity = Identity(
        task="GANConfig",
        metric=metric,
        mode=mode,
        settings={"seed": 0, "epochs": 3},
        space={},
        conditions={},
        grid=None,
        workers=1,
        seeds=1,
        asha=Asha(grace_epochs=1, reduction_factor=3),
        code={"genlab": "0123456789abcdef"},
    )
    known = {
        "format": FORMAT,
        "name": "",
        "created": 0.0,
        "sweep": sweep,
        "task": "gan",
        "metric": metric,
        "mode": mode,
        "epochs": 3,
        "images": None,
        "script": None,
        "options": {},
        "identity": identity,
        "environment": {"git_commit": "0123abcd", "user": "someone", "source": "sweeps/made.py"},
    }
    return Manifest(**known | changes)


class MadeSweep:
    """A sweep's records as a driver writes them, epoch by epoch, without training anything."""

    def __init__(self, folder: Path, sweep: str = "made", seeds: tuple[int, ...] = (0,), **changes: Any) -> None:
        self.storage = Storage(str(folder))
        self.storage.make()
        self.records = Records.create(self.storage, manifest(sweep, **changes))
        self.seeds = seeds

    @property
    def n(self) -> int:
        """The number of the newest event."""
        return len(self.records.events)

    def report(
        self, trial: str, epoch: int, steps: int = 12, images: np.ndarray | dict[str, np.ndarray] | None = None
    ) -> EpochReport:
        """A report whose numbers follow from trial, epoch and seed.

        Args:
            trial, epoch: whose.
            steps: of an epoch.
            images: by key, or of the key `samples`; None makes some up.
        """
        replicas = []
        for seed in self.seeds:
            rng = np.random.default_rng([*trial.encode(), epoch, seed])
            own = rng.integers(0, 256, (16, 8, 8, 1), dtype=np.uint8) if images is None else images
            metrics = {"frechet_distance": 100 / epoch + float(rng.random()), "kid": float(rng.random()), "lambda": 0.5}
            curves = {name: rng.random(steps).astype(np.float32) for name in ("loss/generator", "score/real")}
            replicas.append(ReplicaReport(metrics, curves, own if isinstance(own, dict) else {"samples": own}))
        host = {"host": "node-a", "device": "cpu", "lane": 0}
        return EpochReport(trial, epoch, START + epoch, (epoch - 1) * steps, self.seeds, replicas, host=host)

    def trial(self, name: str, **settings: Any) -> None:
        config = {"lr": 0.1, "ngf": 8, "epochs": 3, "seed": 0, **settings}
        self.records.append("trial", trial=name, settings=settings, config=config, distributions={})

    def epoch(
        self, trial: str, epoch: int, ends: str | None = None, report: EpochReport | None = None, **more: Any
    ) -> None:
        report = report or self.report(trial, epoch, **more)
        path = f"trials/{trial}/epoch_{epoch:04d}-a.report.safetensors"
        name = self.records.storage.write(path, report.encode())
        objective = None if ends == "diverged" else report.metrics()["frechet_distance"]
        self.records.append("epoch", trial=trial, epoch=epoch, report=name, state=None, objective=objective, ends=ends)

    def whole_trial(self, name: str, epochs: int = 3, ends: str = "completed", **settings: Any) -> None:
        self.trial(name, **settings)
        for epoch in range(1, epochs + 1):
            self.epoch(name, epoch, ends if epoch == epochs else None)

    def error(self, trial: str, epoch: int) -> None:
        trace = 'Traceback (most recent call last):\n  File "task.py", line 3\nValueError: the loss has no gradient\n'
        self.records.append("error", trial=trial, epoch=epoch, traceback=trace)

    def end(self, **summary: Any) -> None:
        known = {"best": "00000", "objective": 33.4, "gain": 1.5, "metric": "frechet_distance", "mode": "min"}
        known |= {"command": "uv run sweeps/made.py", "checkpoint": "trials/00000/epoch_0003-a.state.safetensors"}
        known |= {"trials": 1, "ends": {"completed": 1}, "ahead": None, "confirmed": []}
        self.records.append("end", summary=Summary(**known | summary))


@pytest.fixture
def make_sweep(tmp_path: Path) -> Callable[..., MadeSweep]:
    """Makes a MadeSweep in `<tmp_path>/results`; keywords go to its manifest."""
    return lambda *args, **keywords: MadeSweep(tmp_path / "results", *args, **keywords)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database. Making one takes seconds; copying it takes nothing."""
    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    quiet_mlflow().MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def database(migrated: Path, tmp_path: Path) -> str:
    """The URI of a fresh database at the place where a storage `<tmp_path>/results` has its own."""
    (tmp_path / "results").mkdir(exist_ok=True)
    shutil.copy(migrated, tmp_path / "results" / "mlflow.db")
    return f"sqlite:///{tmp_path}/results/mlflow.db"


def processes(name: str) -> list[psutil.Process]:
    """Those below this one, its Ray's too, with `name` in their titles."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if name in " ".join(process.cmdline()):
                found.append(process)
    return found


def wait_for(condition: Callable[[], Any], seconds: float = 90.0) -> None:
    """Until it is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def is_gone(process: psutil.Process) -> bool:
    """Whether it has ended, reaped or not; it may end between any two looks at it."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class MlflowServer:
    """A real tracking server that can go down and come up again."""

    def __init__(self, folder: Path, migrated: Path) -> None:
        self.port = free_port()
        self.uri, self.folder = f"http://127.0.0.1:{self.port}", folder
        shutil.copy(migrated, folder / "server.db")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self.folder}/server.db", "--workers", "1"]
        command += ["--artifacts-destination", str(self.folder / "artifacts"), "--serve-artifacts"]
        environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with open(self.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 100
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=10)
                return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError((self.folder / "server.log").read_text()[-2000:])

    def stop(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, 9)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="session")
def mlflow_server(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """One server for all tests; a test that stops it starts it again."""
    server = MlflowServer(tmp_path_factory.mktemp("server"), migrated)
    try:
        server.start()
        yield server
    finally:
        server.stop()


class Seen:
    """What is on the server."""

    def __init__(self, sweep: Any, uri: str) -> None:
        self.client = quiet_mlflow().MlflowClient(tracking_uri=uri)
        experiment = self.client.get_experiment_by_name(sweep.records.manifest.sweep)
        runs = self.client.search_runs([experiment.experiment_id], f"tags.`genlab.sweep` = '{sweep.records.name}'")
        self.parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
        children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
        self.children = {run.data.tags["genlab.trial"]: run for run in children}
        assert len(self.parents) == 1 and len(self.children) == len(children)
        self.parent = self.parents[0]

    def images(self, trial: str) -> list[tuple[str, int]]:
        """Key and step of each image, sorted; both files of each must be there once."""
        files = [info.path for info in self.client.list_artifacts(self.children[trial].info.run_id, "images")]
        found = []
        for ending in (r"\.png", r"\+compressed\.webp"):
            matches = [
                re.fullmatch(rf"images/(.+)\+step\+(\d+)\+timestamp\+\d+\+[0-9a-f-]{{36}}{ending}", f) for f in files
            ]
            found.append(sorted((m[1].replace("~", "/"), int(m[2])) for m in matches if m))
        assert found[0] == found[1] and len(files) == 2 * len(found[0])
        return found[0]

    def image(self, trial: str, key: str, step: int) -> np.ndarray:
        """The pixels of one image, uint8 [H, W, 3], from its PNG file as MLflow hands it out."""
        run = self.children[trial].info.run_id
        start = f"images/{key.replace('/', '~')}+step+{step}+"
        paths = [info.path for info in self.client.list_artifacts(run, "images")]
        (path,) = [path for path in paths if path.startswith(start) and path.endswith(".png")]
        with Image.open(self.client.download_artifacts(run, path)) as image:
            return np.asarray(image)

    def points(self, trial: str) -> Counter[tuple[str, float, int, int]]:
        run = self.children[trial]
        histories = [self.client.get_metric_history(run.info.run_id, key) for key in run.data.metrics]
        return Counter((m.key, m.value, m.timestamp, m.step) for history in histories for m in history)


def assert_complete(sweep: Any, uri: str, repaired: tuple[str, ...] = ()) -> Seen:
    """Every committed epoch of every trial is there once, with all its points and images. Of trials with `repaired`
    epochs the server has the first tellings: the same points and images, at other times."""
    seen = Seen(sweep, uri)
    assert set(seen.children) == set(sweep.records.trials)
    for name, trial in sweep.records.trials.items():
        files = [epoch.report for epoch in trial.epochs.values()]
        reports = [EpochReport.read(sweep.records.storage, file) for file in files]
        points, expected = seen.points(name), Counter(point for one in reports for point in report_points(one))
        if name in repaired:
            points, expected = (
                Counter((key, step) for key, _, _, step in all_.elements()) for all_ in (points, expected)
            )
        assert points == expected
        keys = [
            (f"{key}/seed_{seed}" if i else key, one.epoch)
            for one in reports
            for i, (seed, replica) in enumerate(zip(one.seeds, one.replicas, strict=True))
            for key, images in replica.images.items()
            if images.size
        ]
        assert seen.images(name) == sorted(keys)
    return seen
