"""The runs of one experiment: found, made and written to within MLflow's limits. What it all means is the publisher's.

Only `MlflowClient` and run ids: the fluent calls keep a run in a thread and write into the working folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import posixpath
import re
import shlex
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import numpy as np

from genlab.errors import calling
from genlab.tracking.address import artifact_location, shown, sqlite_file
from genlab.tracking.artifacts import SWEEP, mend, misplaced
from genlab.tracking.local import WITHOUT_LINKS
from genlab.tracking.points import Point, legal
from genlab.tracking.server import Refused, Unreachable, of_sweep, quiet_mlflow
from genlab.tracking.storage import Storage

METRICS, FIELDS = 800, 100  # a call takes 1000 entities in all, of these 100 params and 100 tags
KEY = 150  # letters of an image's key: MLflow puts 90 more behind it, and a file's name has 255 at most
PARAM, TAG = 6000, 5000  # characters that a value may have
KIND = "custom_model_development"  # the UI then opens on runs and charts, not on traces of language models
LEFT = 600.0  # seconds after which what a process left that was making a database is removed
THUMBNAIL = 256  # pixels along the longer edge of the copy that MLflow makes of an image
SENT, MISSING = "genlab.sent_epoch", "genlab.missing_epochs"
# of the sweep's own run: the name of the sweep's folder when it began, and the folder or URL that it lies in
ORIGIN, STORAGE = "genlab.origin", "genlab.storage"
TRIAL = "genlab.trial"  # a trial's name; the sweep's own run has none
LOGGED = "mlflow.loggedImages"  # by this tag the UI knows that a run has images


@dataclass
class Run:
    """A run as it stands on the server. `clean` says that nothing half sent can be in it."""

    id: str
    status: str
    artifacts: str = ""  # where they lie, as MLflow knows it
    tags: dict[str, str] = field(default_factory=dict)
    clean: bool = False
    began: int = 0  # milliseconds since 1970

    @property
    def sent(self) -> int:
        """The last epoch that is wholly there; 0 once params and config are, -1 before."""
        return int(self.tags.get(SENT, -1))

    @property
    def missing(self) -> set[int]:
        """Earlier epochs that could not be sent."""
        return {int(epoch) for epoch in self.tags.get(MISSING, "").split(",") if epoch}


def _seen(run: Any) -> Run:
    """MLflow's run as ours."""
    return Run(run.info.run_id, run.info.status, run.info.artifact_uri, dict(run.data.tags), began=run.info.start_time)


class Runs:
    """One experiment on one tracking server. Every method may raise whatever MLflow, requests or SQLAlchemy raise."""

    def __init__(self, tracking_uri: str, experiment: str, folder: Storage) -> None:
        """
        Args:
            tracking_uri: http(s)://… or a database such as sqlite:///….
            experiment: its name; made if it is not there.
            folder: the sweep's own, beside which the artifacts go if the database is no SQLite file.

        Raises:
            Refused: the experiment was deleted on the server, or its artifacts lie where nothing may be written.
        """
        self.notes: list[str] = []  # what was done to the server beside sending
        self._places: dict[str, Any] = {}  # where artifacts lie, by URI
        # names of artifacts, by run and folder, and whether each is a file with something in it
        self._names: dict[tuple[str, str | None], dict[str, bool]] = {}
        if database := sqlite_file(tracking_uri):
            _make_database(database)
            if (done := mend(database)) is not None:
                self.notes.append(done)
        self.tracking_uri = tracking_uri
        self._client = quiet_mlflow().MlflowClient(tracking_uri=tracking_uri)
        self.experiment = self._find(experiment, folder)  # its id

    def search(self, sweep: str, trial: str | None = None) -> Iterator[Run]:
        """The runs of this sweep, or those of one trial of it, that were not deleted, newest first."""
        return self._found(of_sweep(sweep) + (f" and tags.`{TRIAL}` = '{trial}'" if trial else ""))

    def search_origin(self, name: str) -> Iterator[Run]:
        """The own runs of sweeps whose folder had this name when they began."""
        return self._found(f"tags.`{ORIGIN}` = '{name}'")

    def _found(self, condition: str) -> Iterator[Run]:
        token = None
        while True:
            page = self._client.search_runs(
                [self.experiment],
                condition,
                max_results=1000,
                order_by=["attributes.start_time DESC"],
                page_token=token,
            )
            yield from map(_seen, page)
            token = page.token
            if not token:
                return

    def read(self, run_id: str) -> Run | None:
        """A run as it stands now; None if it was deleted."""
        run = self._client.get_run(run_id)
        return _seen(run) if run.info.lifecycle_stage == "active" else None

    def create(self, name: str, time: float, tags: Mapping[str, str]) -> Run:
        """A new run, RUNNING since `time` (seconds since 1970)."""
        tags = {legal(key): value[:TAG] for key, value in tags.items()}
        run = self._client.create_run(self.experiment, int(time * 1000), tags, run_name=name)
        return Run(run.info.run_id, "RUNNING", run.info.artifact_uri, dict(tags), clean=True, began=int(time * 1000))

    def delete(self, run: Run) -> None:
        """Delete a run. MLflow can restore it."""
        self._client.delete_run(run.id)

    def move(self, run: Run, sweep: str) -> None:
        """Have a run belong to the sweep of this name, and be called so if it is the sweep's own."""
        if TRIAL not in run.tags:
            self._client.update_run(run.id, name=sweep)
        self.log(run, tags={SWEEP: sweep})

    def set_status(self, run: Run, status: str, time: float | None = None) -> None:
        """FINISHED, FAILED or KILLED at `time` (seconds since 1970), or RUNNING again."""
        if time is None:
            self._client.update_run(run.id, status=status)
        else:
            self._client.set_terminated(run.id, status, int(time * 1000))
        run.status = status

    def delete_tag(self, run: Run, tag: str) -> None:
        """Remove a tag, if it is there."""
        if tag in run.tags:
            self._client.delete_tag(run.id, tag)
            del run.tags[tag]

    def log(
        self,
        run: Run,
        metrics: list[Point] | None = None,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Points (name, value, milliseconds, step), params and tags in as few calls as the limits allow, tags last."""
        from mlflow.entities import Metric, Param, RunTag

        every = {legal(key): value[:TAG] for key, value in (tags or {}).items()}
        settings = [Param(legal(key), value[:PARAM]) for key, value in (params or {}).items()]
        calls = [
            {"metrics": list(some or []), "params": list(others or [])}
            for some, others in zip_longest(
                _batched([Metric(*point) for point in metrics or []], METRICS), _batched(settings, FIELDS)
            )
        ] or [{}]
        noted = _batched([RunTag(key, value) for key, value in every.items()], FIELDS)
        calls[-1]["tags"] = next(noted, [])
        calls += [{"tags": some} for some in noted]
        for call in calls:
            self._client.log_batch(run.id, **call)
        run.tags |= every

    def file(self, run: Run, data: bytes, name: str, folder: str | None = None) -> None:
        """One artifact; written again it replaces what is there.

        Raises:
            Refused: its place is not to be trusted.
        """
        self._check_place(run, posixpath.join(folder or "", name))
        self._check_there()
        known = self._names.get((run.id, folder), {})  # what is looked up later knows what was tried here
        known[name] = False
        with tempfile.TemporaryDirectory() as temporary:
            path = os.path.join(temporary, name)
            with open(path, "wb") as file:
                file.write(data)
            self._place(run).log_artifact(path, folder)
        known[name] = True

    def image(self, run: Run, image: np.ndarray, key: str, step: int, time: float, look: bool) -> None:
        """An image under the UI's step slider: the files and the tag of MLflow's `log_image`.

        Args:
            run: where.
            image: uint8 [H, W, 3]; where one edge is 256 times the other or more, a white margin is added.
            key: its name, the same for all steps.
            step: an epoch.
            time: of the epoch, seconds since 1970.
            look: whether an earlier, cut-off try may have sent it: then it is looked for, and written over in place.
        """
        from mlflow.tracking.multimedia import compress_image_size
        from PIL import Image

        key, image = _image_key(key), _thick(image)
        new = f"{key.replace('/', '~')}+step+{step}+timestamp+{int(time * 1000)}+{uuid.uuid4()}", "+"
        stem, sep = (self._image_there(run, key, step) if look else None) or new
        whole = Image.fromarray(image)
        # of an earlier try either file may be torn or absent
        for picture, name in ((whole, f"{stem}.png"), (compress_image_size(whole), f"{stem}{sep}compressed.webp")):
            buffer = io.BytesIO()
            picture.save(buffer, name.rpartition(".")[2])
            self.file(run, buffer.getvalue(), name, "images")
        if LOGGED not in run.tags:
            self.log(run, tags={LOGGED: "True"})

    def _image_there(self, run: Run, key: str, step: int) -> tuple[str, str] | None:
        """Name without its end, and separator, of the image of `key` at `step`, if there is one.

        Names are `images/<key with ~ for />+step+<n>+timestamp+<ms>+<uuid>.png`; before MLflow 3.11 # and % for ~
        and +.
        """
        pattern = re.compile(
            re.escape(key).replace("/", "[~#]") + rf"(?P<sep>[+%])step(?P=sep){step}(?P=sep)timestamp(?P=sep)[^.]*"
        )
        for name in self._listed(run, "images"):
            if match := pattern.match(name):
                return re.sub(r"[+%]compressed$", "", name.rpartition(".")[0]), match["sep"]
        return None

    def _listed(self, run: Run, folder: str | None = None) -> dict[str, bool]:
        """Names of a run's artifacts in a folder, and whether each is a file with something in it: asked for once,
        since nobody else sends meanwhile, and what is sent here is noted."""
        if (run.id, folder) not in self._names:
            self._check_place(run, folder or "")
            found = self._place(run).list_artifacts(folder)
            whole = {info.path.rpartition("/")[2]: not info.is_dir and info.file_size != 0 for info in found}
            self._names[run.id, folder] = whole
        return self._names[run.id, folder]

    def has(self, run: Run, name: str) -> bool:
        """Whether the run has an artifact of this name, with something in it."""
        return self._listed(run).get(name, False)

    def has_image(self, run: Run, key: str, step: int) -> bool:
        """Whether both files of an image are there that `image` sends."""
        there = self._image_there(run, _image_key(key), step)
        names = self._listed(run, "images")
        return there is not None and all(
            names.get(name) for name in (f"{there[0]}.png", f"{there[0]}{there[1]}compressed.webp")
        )

    def _place(self, run: Run) -> Any:
        """MLflow's access to where the artifacts of a run lie, as it was checked: `MlflowClient` would ask the server
        again, which may then give another answer."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        if run.artifacts not in self._places:
            self._places[run.artifacts] = get_artifact_repository(run.artifacts, tracking_uri=self.tracking_uri)
        return self._places[run.artifacts]

    def _check_place(self, run: Run, name: str) -> None:
        """
        Raises:
            Refused: nothing is written there.
        """
        if problem := misplaced(self.tracking_uri, run.artifacts, name):
            raise Refused(problem)

    def _check_there(self) -> None:
        """
        Raises:
            Unreachable: the database is away, with its folder or its mount. MLflow would make the folder anew.
        """
        if (database := sqlite_file(self.tracking_uri)) and not os.path.exists(database):
            raise Unreachable(f"{database} is not there")

    def _find(self, name: str, folder: Storage) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                where = artifact_location(self.tracking_uri, folder)
                made = self._client.create_experiment(name, where, tags={"mlflow.experimentKind": KIND})
                found = self._client.get_experiment(made)
            except Exception:  # two sweeps of one name started together: the other one made it
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        if found.lifecycle_stage != "active":
            uri = shown(self.tracking_uri)
            restore = f"{calling()}mlflow experiments restore -x {found.experiment_id}"
            raise Refused(
                f"the experiment {name!r} was deleted on {uri}: name another server by --tracking-uri, or restore it "
                f"there: MLFLOW_TRACKING_URI={shlex.quote(uri)} {restore}"
            )
        if problem := misplaced(self.tracking_uri, found.artifact_location):
            raise Refused(problem)
        return found.experiment_id


def _make_database(path: str) -> None:
    """An empty SQLite database of MLflow's, if none is there. It is made elsewhere: MLflow takes seconds for it, makes
    its folder anew if that has gone away meanwhile, and what is left of a process that is killed could be neither used
    nor mended."""
    if os.path.exists(path):
        return
    folder, prefix = os.path.dirname(path), f".{os.path.basename(path)}-"
    for left in os.scandir(folder):
        if left.name.startswith(prefix) and time.time() - left.stat().st_mtime > LEFT:
            os.unlink(left.path)
    copy = os.path.join(folder, f"{prefix}{uuid.uuid4().hex[:8]}")
    with tempfile.TemporaryDirectory() as own:
        made = os.path.join(own, "new.db")
        quiet_mlflow().MlflowClient(tracking_uri=f"sqlite:///{made}").search_experiments(max_results=1)
        try:
            shutil.copyfile(made, copy)
            os.link(copy, path)
        except FileExistsError:  # two drivers at once: either's will do
            pass
        except OSError as error:
            if error.errno not in WITHOUT_LINKS:
                raise
            os.rename(copy, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(copy)


def _image_key(key: str) -> str:
    """The key of an image as MLflow takes it, and a file's name can hold it."""
    made = legal(key).replace(":", "_")
    return made if len(made) <= KEY else f"{made[: KEY - 9]}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def _thick(image: np.ndarray) -> np.ndarray:
    """`image` [H, W, 3], with white below or at the right where MLflow's copy of 256 pixels would have an edge of 0."""
    height, width = image.shape[:2]
    least = max(height, width) // THUMBNAIL + 1
    below, right = max(0, least - height), max(0, least - width)
    return np.pad(image, ((0, below), (0, right), (0, 0)), constant_values=255)


def _batched(items: list[Any], size: int) -> Iterator[list[Any]]:
    return (items[i : i + size] for i in range(0, len(items), size))
