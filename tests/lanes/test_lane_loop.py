"""How a lane's worker starts and goes about its requests, with stand-ins for what Ray tells it and for its mailbox."""

from __future__ import annotations

import dataclasses
import gc
import logging
import os
import pickle
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
import ray.train
import torch
import toys
from ray.exceptions import ActorDiedError, GetTimeoutError

from genlab.errors import GenlabError, StorageError
from genlab.lanes import worker
from genlab.lanes.calls import MailboxSilent
from genlab.lanes.loading import pickled
from genlab.lanes.mailbox import AGAIN, RESTART, Mailbox
from genlab.lanes.worker import LaneSettings
from genlab.tasks import ClassifierConfig, implementation

STORAGE = Path(tempfile.gettempdir(), f"genlab-lane-loop-{os.getpid()}")


@pytest.fixture(autouse=True, scope="module")
def sweep_folder() -> Iterator[None]:
    """As the driver makes it before any lane starts."""
    (STORAGE / "sweep").mkdir(parents=True)
    (STORAGE / "sweep" / "manifest.json").write_text("{}")
    yield
    shutil.rmtree(STORAGE)


class Told:
    """In the mailbox's place: keeps what it is told, and hands out these requests."""

    def __init__(self, *requests: Any) -> None:
        self.requests = list(requests)
        self.told: list[tuple[Any, ...]] = []

    def __getattr__(self, method: str) -> Any:
        def remote(*arguments: Any) -> Any:
            self.told.append((method, *arguments))
            return self.requests.pop(0) if method == "exchange" else None

        return SimpleNamespace(remote=remote)


class Serves:
    """In a rank's place."""

    attempt = "a"

    def __init__(self) -> None:
        self.session: str | None = None

    def serve(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["id"] == "breaks":
            raise torch.AcceleratorError("device-side assert")
        self.session = f"session of {request['id']}"
        return {"kind": "ok", "value": request["id"]}


def settings(mailbox: Any = None, code: bytes = b"", storage: str | None = None) -> LaneSettings:
    paths: dict[str, Any] = {"storage": storage or str(STORAGE), "folder": "sweep", "data_root": None, "script": None}
    environment = {"GENLAB_DATA": "/of/the/driver"}
    return LaneSettings(
        lane=3, mailbox=mailbox, code=code, threads=7, epoch_deadline=60.0, environment=environment, **paths
    )


def loop(monkeypatch: pytest.MonkeyPatch, mailbox: Told, rank: int = 0, start: Any = None) -> list[str]:
    """Run rank `rank` of two; returns the worker groups for which beats were begun."""
    begun: list[str] = []
    beating = threading.Event()

    def beat(settings: LaneSettings, attempt: str, group: Any) -> None:
        begun.append(attempt)
        beating.set()

    told = SimpleNamespace(get_world_rank=lambda: rank, get_world_size=lambda: 2)
    monkeypatch.setattr(ray, "get", lambda answered, timeout: answered)
    monkeypatch.setattr(ray.train, "get_context", lambda: told)
    monkeypatch.setattr(ray.util, "get_current_placement_group", lambda: "placement group")
    monkeypatch.setattr(worker, "_beat", beat)
    monkeypatch.setattr(worker, "_start", start or (lambda *arguments: Serves()))
    try:
        worker.lane_loop({"settings": settings(mailbox)})
    finally:
        if any(told[0] == "join" for told in mailbox.told):
            assert beating.wait(60)
    return begun


def test_rank_0_joins_beats_and_hands_in_each_outcome_with_what_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Again and again, until there is something else to do: a mailbox may have died with it."""
    mailbox = Told({"id": "first", "ticket": "t1"}, AGAIN, {"id": "second", "ticket": "t2"}, None)
    assert loop(monkeypatch, mailbox) == ["a"]
    who = ("exchange", 3, "a", 0, 2)
    first = (*who, "session of first", ("first", "t1"), {"kind": "ok", "value": "first"})
    assert mailbox.told == [
        ("join", 3, "a", 2, ["placement group"], socket.gethostname()),
        (*who, None, None, None),
        first,
        first,
        (*who, "session of second", ("second", "t2"), {"kind": "ok", "value": "second"}),
    ]


def test_other_ranks_serve_without_joining(monkeypatch: pytest.MonkeyPatch) -> None:
    mailbox = Told({"id": "first", "ticket": "t1"}, None)
    assert loop(monkeypatch, mailbox, rank=1) == []
    assert [told[:5] for told in mailbox.told] == [("exchange", 3, "a", 1, 2)] * 2


def test_a_group_that_must_start_again_ends_by_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray Train starts again what failed; what ends by itself it would not."""
    mailbox = Told(RESTART)
    with pytest.raises(RuntimeError, match="starting again"):
        loop(monkeypatch, mailbox, rank=1)
    assert [told[0] for told in mailbox.told] == ["exchange"]


def test_a_lane_whose_mailbox_was_ended_ends_and_one_whose_mailbox_is_silent_starts_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a process that had Ray before, the sweep's driver ends the mailbox and leaves the rest to it."""
    for raised, ends in ((ActorDiedError(), None), (GetTimeoutError(), MailboxSilent)):

        def get(answered: Any, timeout: float, raised: Exception = raised) -> Any:
            raise raised

        mailbox = Told({"id": "first", "ticket": "t1"})
        monkeypatch.setattr(worker, "_start", lambda *arguments: Serves())
        told = SimpleNamespace(get_world_rank=lambda: 1, get_world_size=lambda: 2)
        monkeypatch.setattr(ray.train, "get_context", lambda told=told: told)
        monkeypatch.setattr(ray, "get", get)
        if ends is None:
            worker.lane_loop({"settings": settings(mailbox)})
        else:
            with pytest.raises(ends, match="has not answered for 300 s"):
                worker.lane_loop({"settings": settings(mailbox)})
        assert [one[0] for one in mailbox.told] == ["exchange"]


def test_the_mailbox_hears_why_a_worker_could_not_start_or_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*arguments: Any) -> Any:
        raise ImportError("no module named mine")

    starts, serves = Told(), Told({"id": "breaks", "ticket": "t1"})
    with pytest.raises(ImportError):
        loop(monkeypatch, starts, start=start)
    with pytest.raises(torch.AcceleratorError):
        loop(monkeypatch, serves, rank=1)
    told = ((starts, 0, "ImportError: no module named mine"), (serves, 1, "AcceleratorError: device-side assert"))
    for mailbox, of, why in told:
        method, lane, rank, error, final = mailbox.told[-1]
        assert (method, lane, rank, final) == ("failed", 3, of, False)
        assert error.startswith("Traceback") and error.endswith(why)


def test_files_are_named_from_where_the_sweep_was_started(
    monkeypatch: pytest.MonkeyPatch, process: SimpleNamespace
) -> None:
    """Not from the folder in which Ray has its workers; in what a start fails of, and in what a task cannot load of."""
    here = Path(__file__)

    def start(*arguments: Any) -> Any:
        raise OSError("no route")

    def broken(code: bytes) -> Any:
        raise NameError("x")

    monkeypatch.chdir("/")
    monkeypatch.setattr(ray, "get", lambda answered, timeout: answered)
    mailbox, settings_here = Told(), dataclasses.replace(settings(), working_folder=str(here.parent))
    with pytest.raises(OSError, match="no route"), worker._told(dataclasses.replace(settings_here, mailbox=mailbox), 0):
        start()
    said = mailbox.told[-1][3].splitlines()[-1]
    assert said.startswith(f"{here.name}:") and said.endswith("in start: OSError: no route")
    monkeypatch.setattr(worker, "loaded", broken)
    with pytest.raises(GenlabError, match=rf"cannot load the task: {here.name}:\d+, in broken: NameError: x$"):
        worker._load(settings_here)


@pytest.mark.parametrize(
    ("error", "final"), [(GenlabError("x is absent"), True), (StorageError("x is full"), False), (OSError("x"), False)]
)
def test_what_a_person_must_put_right_will_fail_alike(
    monkeypatch: pytest.MonkeyPatch, error: Exception, final: bool
) -> None:
    def start(*arguments: Any) -> Any:
        raise error

    mailbox = Told()
    with pytest.raises(type(error)):
        loop(monkeypatch, mailbox, start=start)
    assert mailbox.told[-1][-1] is final


def test_a_task_that_cannot_be_loaded_is_told_in_a_sentence_with_the_cause(process: SimpleNamespace) -> None:
    """As of a function with a decorator such as lru_cache, which goes by its name in a script that is not here."""
    code = pickle.dumps((toys.ToyConfig, toys.Toy)).replace(b"ToyConfig", b"ToyKonfig")
    with pytest.raises(GenlabError, match=r"cannot load the task: AttributeError: .*'ToyKonfig'") as caught:
        worker._start(settings(Told(), code), 0, 1)
    assert "\n" not in str(caught.value) and socket.gethostname() in str(caught.value)


def test_a_lane_gives_signs_of_life_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several in the time after which it is taken for dead."""
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) > 4:
            raise InterruptedError

    monkeypatch.setattr(worker, "time", SimpleNamespace(sleep=sleep))
    mailbox = Told()
    with pytest.raises(InterruptedError):
        worker._beat(settings(mailbox), "a", ["group"])
    assert mailbox.told == [("beat", 3, "a", ["group"])] * 4
    assert 0 < max(pauses) <= Mailbox().silence / 6


# ---- the start


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """This process as a worker's: what is changed of it for good elsewhere is changed for one test here."""
    for name in ("GENLAB_DATA", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "before")
    logger = logging.getLogger("genlab")
    handlers, level = list(logger.handlers), logger.level
    found = SimpleNamespace(threads=[], gpus=[], devices=[])
    monkeypatch.setattr(torch, "set_num_threads", found.threads.append)
    monkeypatch.setattr(torch.cuda, "set_device", found.devices.append)
    monkeypatch.setattr(ray, "get_gpu_ids", lambda: found.gpus)
    monkeypatch.setattr(gc, "freeze", lambda: None)
    gc.disable()  # as `Worker` does until it is warm
    yield found
    gc.enable()
    logger.handlers[:] = handlers
    logger.setLevel(level)


def test_a_worker_takes_over_what_the_driver_set_and_keeps_off_gpus(process: SimpleNamespace) -> None:
    code = pickled(toys.ToyConfig, toys.Toy)
    first, second = (worker._start(settings(Told(), code), 0, 1) for _ in range(2))
    assert (first.kind, first.task, first.device) == (toys.ToyConfig, toys.Toy, "cpu")
    assert (first.rank, first.world_size) == (0, 1)
    assert os.environ["GENLAB_DATA"] == "/of/the/driver" and os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert process.threads == [7, 7] and gc.isenabled()
    assert first.attempt != second.attempt  # a group is known by it, and so are the files that it writes


def test_a_machine_that_does_not_see_the_sweeps_folder_says_so(process: SimpleNamespace, tmp_path: Path) -> None:
    code = pickled(toys.ToyConfig, toys.Toy)
    with pytest.raises(GenlabError, match=r"does not see the sweep's folder .*/sweep: --storage must be") as caught:
        worker._start(settings(Told(), code, str(tmp_path)), 0, 1)
    assert str(tmp_path) in str(caught.value) and socket.gethostname() in str(caught.value)
    assert not isinstance(caught.value, StorageError)  # which may pass: this a person must put right


def test_a_task_with_a_name_is_found_by_it(process: SimpleNamespace) -> None:
    one = worker._start(settings(Told(), pickled(ClassifierConfig, None)), 0, 1)
    assert (one.kind, one.task) == (ClassifierConfig, implementation(ClassifierConfig))


def test_what_rank_0_logs_is_noted_for_the_driver(process: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "join_group", lambda *arguments: "a")
    code = pickled(toys.ToyConfig, toys.Toy)
    mailboxes = [Told(), Told()]
    for rank in (1, 0):
        worker._start(settings(mailboxes[rank], code), rank, 2)
    logging.getLogger("genlab.training").info("preparing %s", "the judge")
    logging.getLogger("genlab.data.sources").info("12 images")  # said once, of however many lanes that read them
    told = [("note", "preparing the judge", False), ("note", "12 images", True)]
    assert [mailbox.told for mailbox in mailboxes] == [told, []]


@pytest.mark.parametrize("sees", [True, False])
def test_a_gpu_that_ray_gave_is_used_or_the_worker_says_why_not(
    process: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, sees: bool
) -> None:
    process.gpus.append(5)  # the first that this process sees, whatever its number on the machine
    monkeypatch.setattr(torch.cuda, "is_available", lambda: sees)
    monkeypatch.setattr(worker, "_warm_up", lambda device: None)
    start = settings(Told(), pickled(toys.ToyConfig, toys.Toy))
    if sees:
        assert worker._start(start, 0, 1).device == "cuda:0" and process.devices == [0]
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "before"
    else:
        with pytest.raises(RuntimeError, match=r"\[5\].*--gpus-per-worker 0"):
            worker._start(start, 0, 1)
