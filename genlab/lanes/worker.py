"""One rank of a lane: a Ray Train worker that outlives trials. It asks the mailbox what to do, and does it."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import faulthandler
import gc
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from genlab.errors import CorruptFile, GenlabError, StorageError, last_line, told
from genlab.lanes.calls import call
from genlab.lanes.group import join_group
from genlab.lanes.loading import loaded
from genlab.lanes.output import Output
from genlab.tasks import Config, Task
from genlab.tracking.epoch_reports import Where
from genlab.tracking.storage import FileName, Storage

BEAT = 5.0  # seconds between two signs of life
PREPARING = 7200.0  # seconds that preparing may take: a download, a judge's training
BUILDING = 900.0  # seconds at least for what is neither: building and loading a trial, writing with patience
PEER_LOST = ("gloo", "nccl", "connection closed", "connection reset", "connection refused", "socket timeout")


@dataclasses.dataclass(frozen=True)
class LaneSettings:
    """What a lane's workers are told once.

    Attributes:
        code: config class of the task and, where a script defines it, the task's own (else None), pickled: what lies
            between driver and worker need not import torch to pass them on.
        storage, folder: where the records lie.
        environment: variables that a worker takes over from the driver.
        threads: of torch, on a CPU.
        epoch_deadline: seconds, for each seed's epoch.
        working_folder: the driver's, from which files are named in what it prints.
        rehearsal: whether trials are tried on a few samples alone (`Context.rehearsal`).
    """

    lane: int
    mailbox: Any
    code: bytes
    script: str | None
    storage: str
    folder: str
    data_root: str | None
    environment: dict[str, str]
    threads: int
    epoch_deadline: float
    working_folder: str = "."
    rehearsal: bool = False


def lane_loop(arguments: dict[str, Any]) -> None:
    """What Ray Train runs on every rank of a lane."""
    import ray
    import ray.train
    from ray.exceptions import ActorDiedError

    settings: LaneSettings = arguments["settings"]
    context = ray.train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    mailbox = settings.mailbox
    with _told(settings, rank):
        rank_worker = _start(settings, rank, world_size)
        if rank == 0:
            group = [ray.util.get_current_placement_group()]
            call(mailbox.join, settings.lane, rank_worker.attempt, world_size, group, socket.gethostname())
            beat = threading.Thread(target=_beat, args=(settings, rank_worker.attempt, group), daemon=True, name="beat")
            beat.start()
    me = (settings.lane, rank_worker.attempt, rank, world_size)
    done = outcome = None
    while True:
        try:
            request: Any = call(mailbox.exchange, *me, rank_worker.session, done, outcome)
        except ActorDiedError:  # the driver ended it: nobody will ask for anything again
            return
        if request is None:
            return
        if "again" in request:  # the outcome is handed in again: a mailbox that died may have taken it along
            continue
        if "restart" in request:
            raise RuntimeError(f"rank {rank} of lane {settings.lane}: the others did not end the epoch; starting again")
        with _told(settings, rank):
            done, outcome = (request["id"], request["ticket"]), rank_worker.serve(request)


@contextlib.contextmanager
def _told(settings: LaneSettings, rank: int) -> Iterator[None]:
    """The mailbox hears why this process ends."""
    try:
        yield
    except Exception as error:
        # what a person must put right fails alike in every group; anything else may pass
        final = isinstance(error, GenlabError) and not isinstance(error, StorageError)
        text = told(error, settings.working_folder)
        call(settings.mailbox.failed, settings.lane, rank, text, final)
        raise


def _beat(settings: LaneSettings, attempt: str, group: Any) -> None:
    """Tell the mailbox that the lane lives, also while it trains for long."""
    while True:
        time.sleep(BEAT)
        settings.mailbox.beat.remote(settings.lane, attempt, group)


def _start(settings: LaneSettings, rank: int, world_size: int) -> Rank:
    """All that a rank needs before its first request."""
    import ray
    import torch

    os.environ.update(settings.environment)
    _check_storage(settings)
    torch.set_num_threads(settings.threads)
    device = "cpu"
    if not ray.get_gpu_ids():
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # an optimizer's step would open a context on each
    elif torch.cuda.is_available():
        device = "cuda:0"
        torch.cuda.set_device(0)
    else:
        raise RuntimeError(
            f"Ray gave this worker GPUs ({ray.get_gpu_ids()}), but torch {torch.__version__} on "
            f"{socket.gethostname()} sees none: check the driver, or train on CPUs by --gpus-per-worker 0"
        )
    if rank == 0:
        logging.getLogger("genlab").setLevel(logging.INFO)
        logging.getLogger("genlab").addHandler(LogToDriver(settings.mailbox))
    kind, task = _load(settings)
    attempt = join_group(rank, world_size, device)
    rank_worker = Rank(settings, kind, task, rank, world_size, device, attempt)
    _warm_up(device)
    return rank_worker


def _check_storage(settings: LaneSettings) -> None:
    """The driver has written the manifest before any lane starts.

    Raises:
        GenlabError: this machine does not see it.
        StorageError: the storage does not answer.
    """
    folder = Storage(settings.storage).below(settings.folder)
    if not folder.exists("manifest.json"):
        raise GenlabError(
            f"{socket.gethostname()} does not see the sweep's folder {folder.url}: --storage must be one that all "
            "machines share"
        )


def _load(settings: LaneSettings) -> tuple[type[Config], type[Task]]:
    """The task's config and implementation.

    Raises:
        GenlabError: this process cannot load them.
    """
    try:
        return loaded(settings.code)
    except Exception as error:  # whatever the author's code raises
        why = last_line(told(error, settings.working_folder))
        raise GenlabError(f"a lane on {socket.gethostname()} cannot load the task: {why}") from None


def _warm_up(device: str) -> None:
    """One step of a throwaway network: the first trial must not pay for what is done once a process."""
    import torch
    import torch.distributed as dist

    network: torch.nn.Module = torch.nn.Conv2d(1, 1, 3).to(device)
    if dist.is_initialized():
        network = torch.nn.parallel.DistributedDataParallel(network)
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    network(torch.zeros(2, 1, 8, 8, device=device)).sum().backward()
    optimizer.step()
    gc.freeze()  # what was imported lives for ever: no collection need walk it
    gc.enable()


class LogToDriver(logging.Handler):
    """Hands what genlab logs to the driver, who has the terminal."""

    def __init__(self, mailbox: Any) -> None:
        super().__init__(logging.INFO)
        self.mailbox = mailbox

    def emit(self, record: logging.LogRecord) -> None:
        # every lane reads the same data, and has the same to say of them
        self.mailbox.note.remote(self.format(record), record.name.startswith("genlab.data."))


class Rank:
    """One rank: the trial that it holds, and how it serves requests."""

    def __init__(
        self,
        settings: LaneSettings,
        kind: type[Config],
        task: type[Task],
        rank: int,
        world_size: int,
        device: str,
        attempt: str,
    ) -> None:
        self.kind, self.task = kind, task
        self.settings, self.rank, self.world_size = settings, rank, world_size
        self.device, self.attempt = device, attempt
        self.storage = Storage(settings.storage, patient=True)
        self.records = self.storage.sweep(settings.folder)
        self.output = Output(self._note)
        self.trial: Any = None
        self.session: str | None = None

    def serve(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what is asked; whatever goes wrong is the outcome.

        Raises:
            torch.AcceleratorError: the device is of no use to this process any more.
        """
        import torch

        try:
            preparing = request["trial"] == "prepare"
            self._arm(PREPARING if preparing else max(BUILDING, self.settings.epoch_deadline))
            with self.output.of(f"{'preparation' if preparing else 'trial ' + request['trial']}, rank {self.rank}"):
                value = self._prepare(request) if preparing else self._advance(request)
            return {"kind": "ok", "value": value}
        except torch.AcceleratorError:
            raise
        except StorageError as error:
            self.trial = self.session = None
            return {"kind": "storage", "value": str(error)}
        except Exception as error:
            self.trial = self.session = None
            text = told(error, self.settings.working_folder)
            return {"kind": "error", "value": text, "collateral": _is_collateral(error)}
        finally:
            faulthandler.cancel_dump_traceback_later()
            if self.trial is None:  # and its error, whose frames hold it, is gone by now
                self._reclaim()

    def _advance(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """Bring the session to the epoch; rank 0 writes report and state before it answers."""
        if self.session != request["session"] or self.trial.epoch >= request["epoch"]:
            self._build(request)
        diverged = False
        while self.trial.epoch < request["epoch"] and not diverged:
            reports = self.trial.advance(lambda: self._arm(self.settings.epoch_deadline))
            diverged = any(report.diverged for report in reports)
        self._arm(max(BUILDING, self.settings.epoch_deadline))
        tested = self.trial.test() if request["test"] and not diverged else []
        report = self.trial.epoch_report(request["trial"], self._host(), tested)
        if self.rank > 0:
            return None
        stem = f"trials/{request['trial']}/epoch_{report.epoch:04d}-{self.attempt}"
        written = self.records.write(f"{stem}.report.safetensors", report.encode())
        state: FileName | None = None
        if not diverged:
            state = self.records.write(f"{stem}.state.safetensors", self.trial.checkpoint().encode())
        return {
            "epoch": report.epoch,
            "report": written,
            "state": state,
            "metrics": report.metrics(),
            "diverged": diverged,
        }

    def _build(self, request: dict[str, Any]) -> None:
        from genlab.tasks import build
        from genlab.training import Trial, prepared

        if self.trial is not None:
            self.trial = self.session = None
            self._reclaim()
        config = build(self.kind, request["config"])
        context = self._context()
        found = prepared(config, request["prepared"], context, self.storage)
        context = dataclasses.replace(context, prepared=found)

        def new() -> Trial:
            return Trial(self.task, config, context, replicas=request["replicas"], script=self.settings.script)

        trial = new()
        if request["state"] is not None and not self._load(trial, FileName(*request["state"])):
            trial = new()  # all epochs are trained again
        self.trial, self.session = trial, request["session"]

    def _load(self, trial: Any, state: FileName) -> bool:
        """Whether all ranks could read the state, which some may not see yet: they must go on from the same one."""
        import torch

        from genlab.training import Checkpoint

        mine = 1.0
        try:
            trial.load(Checkpoint.decode(self.records.read_named(state), self.records.where(state.path)))
        except CorruptFile:
            mine = 0.0
        return float(trial.context.all_reduce_mean(torch.tensor(mine, device=self.device))) == 1.0

    def _reclaim(self) -> None:
        """All memory that the last trial had, for the next one and for those who share the device."""
        gc.collect()
        if self.device != "cpu":
            import torch

            torch.cuda.empty_cache()
        with contextlib.suppress(OSError, AttributeError):  # not glibc
            ctypes.CDLL(None).malloc_trim(0)  # trials of other sizes would find only holes

    def _prepare(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """On one rank alone, so that what is prepared does not depend on the number of workers."""
        if self.rank > 0:
            return None
        from genlab.tasks import build
        from genlab.training import prepare

        context = dataclasses.replace(self._context(), world_size=1)
        configs = [build(self.kind, settings) for settings in request["configs"]]
        return dataclasses.asdict(prepare(self.task, configs, context, self.storage, request["script"]))

    def _context(self) -> Any:
        """What a task finds around it here, but for what is prepared."""
        from genlab.tasks import Context

        data_root, rehearsal = self.settings.data_root, self.settings.rehearsal
        return Context(self.rank, self.world_size, self.device, data_root, rehearsal=rehearsal)

    def _note(self, text: str) -> None:
        """Have the driver show it; where there is none what is printed shows by itself."""
        if self.settings.mailbox is not None:
            self.settings.mailbox.note.remote(text)

    def _host(self) -> dict[Where, Any]:
        import torch

        name = torch.cuda.get_device_name(0) if self.device != "cpu" else f"cpu, {torch.get_num_threads()} threads"
        return {"host": socket.gethostname(), "device": name, "lane": self.settings.lane, "workers": self.world_size}

    def _arm(self, seconds: float) -> None:
        """What hangs ends its process, also if it holds the interpreter's lock; the lane comes back."""
        faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__ or 2)


def _is_collateral(error: Exception) -> bool:
    """Whether a rank only noticed that another one is gone."""
    import torch.distributed as dist

    if isinstance(error, (dist.DistNetworkError, dist.DistBackendError)):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in PEER_LOST)
