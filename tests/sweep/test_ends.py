"""How a sweep ends: exit codes, signals, what is left behind, and what is refused before it begins; without Ray."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import one_process
import pytest
from made_sweeps import kinds
from one_process import Curve, CurveConfig, CurveReplica, Machine, at, curve_sweep, machine

from genlab.errors import GenlabError
from genlab.sweep import command
from genlab.sweep.command import execute
from genlab.sweep.options import Options
from genlab.tasks import ClassifierConfig, FromTask
from genlab.tracking import storage as storage_module
from genlab.tracking.claims import Heartbeat
from genlab.tracking.epoch_reports import EpochReport
from genlab.tracking.events import KINDS
from genlab.tracking.local import LocalFolder
from genlab.tracking.records import Records
from genlab.tracking.storage import Storage

__all__ = ["machine"]


@dataclass(frozen=True, kw_only=True)
class NeedingConfig(CurveConfig):
    def prepare(self) -> Mapping[str, Any]:
        return {"judge": FromTask(ClassifierConfig(epochs=1, epoch_steps=1, width=2))}


class Needing(Curve):
    """A lane prepares something before it trains."""

    Config = NeedingConfig


def test_a_sweep_that_is_done_ends_with_0_and_leaves_no_sign_of_its_driver(machine: Machine) -> None:
    assert machine.run(curve_sweep(), grid=True) == 0
    records = machine.records
    assert isinstance(records.events[-1], KINDS["end"]) and records.events[-1].summary.best == "0000"
    assert records.storage.names("drivers") == []
    assert machine.drains[-1].closed and machine.drains[-1].told[-1] == len(records.events)
    assert machine.pools[-1].closed
    assert "contact_sheet.png" in records.storage.names()


def test_what_was_prepared_is_told_before_the_first_trial(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """Notes come by the mailbox, results by Tune: trials that take no time may not overtake what they waited for."""

    def note(request: dict[str, Any]) -> None:
        if request["trial"] == "prepare":
            machine.pools[-1].note("preparing what trials need once: judge (classifier)")

    machine.before = note
    assert machine.run(curve_sweep(), grid=True) == 0
    begun = [line.split()[:2] for line in capsys.readouterr().out.splitlines()[1:5]]
    assert begun == [["preparing", "what"], ["1/3", "trial"], ["2/3", "trial"], ["3/3", "trial"]]


@pytest.mark.parametrize(("bad", "ends"), [({"fail_at": 2}, "failed"), ({"nan_at": 3}, "diverged")])
def test_without_a_trial_that_trained_to_the_end_the_exit_code_is_1(machine: Machine, bad: Any, ends: str) -> None:
    assert machine.run(curve_sweep(settings=bad), grid=True) == 1
    assert [trial.ends for trial in machine.records.trials.values()] == [ends] * 3
    assert isinstance(machine.records.events[-1], KINDS["end"])


def test_one_replica_that_diverged_ends_the_trial_as_diverged(machine: Machine) -> None:
    row = {"level": 30.0, "nan_at": 2, "nan_seed": 6}
    assert machine.run(curve_sweep(grid=[row]), grid=True, seed=5, seeds=2, confirm=2) == 0
    good, bad, *confirming = machine.records.trials.values()
    assert (good.ends, bad.ends, sorted(bad.epochs)) == ("completed", "diverged", [1, 2])
    assert bad.objective is None and bad.last is not None and bad.last.state is None
    told = EpochReport.read(machine.records.storage, bad.last.report)
    assert told.diverged and told.seeds == (5, 6)
    assert [trial.name for trial in confirming] == ["confirm-0000"]  # two were asked for, one trained to the end


@pytest.fixture
def handler() -> Iterator[Any]:
    """What this process does on Ctrl-C and SIGTERM meanwhile: nothing."""

    def nothing(number: int, frame: object) -> None:
        pass

    before = {number: signal.signal(number, nothing) for number in (signal.SIGINT, signal.SIGTERM)}
    yield nothing
    for number, old in before.items():
        signal.signal(number, old)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_ends_with_130_and_goes_on_where_it_was(
    machine: Machine, number: int, handler: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.before = at("0001", 3, lambda: signal.raise_signal(number))
    assert machine.run(curve_sweep(), grid=True, confirm=1) == 130
    records = machine.records
    said = capsys.readouterr().out
    assert "stopped: interrupted" in said and f"--storage {machine.storage.url} --resume {records.name}" in said
    assert sorted(records.trials["0001"].epochs) == [1, 2] and "0002" not in records.trials
    assert kinds(records.events).count("end") == 0
    assert records.storage.names("drivers") == [] and machine.pools[-1].closed and machine.drains[-1].closed
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == [handler, handler]

    machine.before = lambda request: None
    assert machine.run(curve_sweep(), resume=records.name) == 0
    assert machine.trained()[0] == ("0001", 3) and len(machine.records.trials) == 4
    assert machine.records.events[: len(records.events)] == records.events
    last = machine.records.trials["0001"].last
    assert last is not None
    report = EpochReport.read(machine.records.storage, last.report)
    assert report.metrics()["seen"] == 3


def test_a_second_signal_ends_it_at_once(handler: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ended(BaseException):
        """Stands for the end of the process."""

    def end(code: int) -> None:
        raise Ended(code)

    now = [50.0]
    monkeypatch.setattr(command.os, "_exit", end)
    monkeypatch.setattr(command, "time", SimpleNamespace(monotonic=lambda: now[0]))
    for second in (signal.SIGINT, signal.SIGTERM):
        told: list[str] = []
        with command._signals(SimpleNamespace(stop=told.append)):
            signal.raise_signal(signal.SIGINT)
            now[0] += 0.9  # what `timeout` sends to the group, `uv run` passes on as well
            signal.raise_signal(second)
            assert set(told) == {"interrupted"}
            now[0] += 0.2
            with pytest.raises(Ended, match=f"^{128 + second}$"):
                signal.raise_signal(second)


def test_a_sweep_whose_first_trials_fail_in_the_same_place_stops_and_can_be_resumed(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = [{"level": float(level)} for level in range(20, 26)]
    broken: dict[str, Any] = {"fail_at": 1}
    assert machine.run(curve_sweep(grid=grid, settings=broken), grid=True) == 1
    said = capsys.readouterr().out
    records = machine.records
    assert [trial.ends for trial in records.trials.values()] == ["failed"] * 3
    line = CurveReplica.advance.__code__.co_firstlineno + 3
    where = f"one_process.py:{line}, in advance: ZeroDivisionError"
    assert f"stopped: 3 trials failed in the same place, and none has trained an epoch: {where}" in said.replace(
        os.path.relpath(os.path.dirname(__file__)) + os.sep, ""
    )
    assert f"--resume {records.name}" in said and said.count("trial 0002 failed: ") == 1
    assert machine.run(curve_sweep(grid=grid, settings=broken), resume="latest") == 1
    assert len(machine.records.trials) == 4  # the records know of three
    assert "stopped: 4 trials failed in the same place" in capsys.readouterr().out


def test_a_sweep_in_which_a_trial_trained_an_epoch_goes_on(machine: Machine) -> None:
    grid = [{"level": float(level), "fail_at": 1} for level in range(20, 26)]
    machine.before = at("0000", 2, lambda: {"kind": "error", "value": "it broke later"})
    assert machine.run(curve_sweep(grid=grid), grid=True) == 1
    assert [trial.ends for trial in machine.records.trials.values()] == ["failed"] * 7


def test_what_something_else_stopped_ends_with_1_though_trials_are_done(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.before = at("0001", 1, lambda: {"kind": "storage", "value": "no space is left"})
    assert machine.run(curve_sweep(), grid=True, confirm=1) == 1
    assert "stopped: no space is left" in capsys.readouterr().out
    assert machine.records.trials["0001"].ends is None and machine.records.trials["0001"].error is None
    assert len(machine.records.trials) == 2


@pytest.mark.parametrize("kind", ["error", "lost"])
def test_what_cannot_be_prepared_is_refused_and_leaves_nothing(machine: Machine, kind: str) -> None:
    machine.before = at("prepare", 0, lambda: {"kind": kind, "value": "digits.gz is absent"})
    with pytest.raises(GenlabError, match=r"could not be prepared: digits\.gz is absent"):
        machine.run(curve_sweep(), grid=True)
    assert machine.storage.names() == []  # --resume would take it for the latest
    assert machine.drains[-1].closed and machine.pools[-1].closed and machine.trained() == []


@pytest.mark.parametrize("kind", ["error", "lost"])
def test_a_resume_that_is_refused_before_it_prepared_anything_leaves_the_sweep(machine: Machine, kind: str) -> None:
    """It was stopped before its data were known, as a new one is that is refused."""
    machine.before = at("prepare", 0, lambda: {"kind": "cut", "value": "interrupted"})
    assert machine.run(curve_sweep(), grid=True) == 130
    machine.before = at("prepare", 0, lambda: {"kind": kind, "value": "digits.gz is absent"})
    with pytest.raises(GenlabError, match=r"digits\.gz is absent"):
        machine.run(curve_sweep(), resume="latest")
    machine.before = lambda request: None
    assert machine.run(curve_sweep(), resume="latest") == 0
    assert [trial.ends for trial in machine.records.trials.values()] == ["completed"] * 3


@pytest.mark.parametrize("of", ["events/", "trials/", "prepared/"])
def test_driver_and_lanes_wait_for_a_storage_that_is_away(
    of: str, machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """For minutes, where a command gives up after seconds: what the driver writes, and what a lane does."""
    for name in ("PAUSES", "PATIENT"):
        pauses = getattr(storage_module, name)
        monkeypatch.setattr(storage_module, name, (0.0,) * len(pauses))
    faults, real = [len(storage_module.PAUSES) + 2], LocalFolder.write

    def write(self: LocalFolder, path: str, data: bytes, new: bool) -> None:
        if f"{self.root}/{path}".startswith(f"{machine.storage.url}/") and f"/{of}" in f"{self.root}/{path}":
            faults[0] -= 1
            if faults[0] >= 0:
                raise OSError(5, "Input/output error")
        real(self, path, data, new)

    monkeypatch.setattr(LocalFolder, "write", write)
    assert machine.run(curve_sweep(task=Needing), grid=True) == 0
    assert faults[0] < 0 and "trying again" in capsys.readouterr().out
    assert {trial.ends for trial in machine.records.trials.values()} == {"completed"}


def test_a_sweep_that_trained_is_not_cleared_away_whatever_fails_at_its_end(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> int:
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr("genlab.sweep.summary.summarize", fails)
    with pytest.raises(ZeroDivisionError):
        machine.run(curve_sweep(), grid=True)
    assert {trial.ends for trial in machine.records.trials.values()} == {"completed"}
    assert machine.records.storage.names("drivers") == []


def test_the_storage_is_looked_at_as_it_was_named(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a relative one can be refused where there may be several machines."""
    seen: list[str] = []
    monkeypatch.chdir(Path(machine.storage.url).parent)
    monkeypatch.setattr("genlab.lanes.cluster.check_storage", seen.append)
    assert execute(curve_sweep(), Options(storage="results", grid=True), __file__) == 0 and seen == ["results"]


def test_a_driver_stops_once_another_one_has_taken_its_sweep_over(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    beating: list[Heartbeat] = []

    def beat(folder: Storage) -> Heartbeat:
        beating.append(Heartbeat(folder))
        return beating[-1]

    monkeypatch.setattr(command, "Heartbeat", beat)
    machine.before = at("0001", 2, lambda: beating[0].lost("process 7 on another has taken the sweep over"))
    assert machine.run(curve_sweep(), grid=True) == 1
    assert "stopped: process 7 on another has taken the sweep over\n" in capsys.readouterr().out
    assert machine.records.trials["0001"].ends is None


def test_storage_that_fails_while_preparing_stops_the_sweep(machine: Machine) -> None:
    machine.before = at("prepare", 0, lambda: {"kind": "storage", "value": "no space is left"})
    assert machine.run(curve_sweep(), grid=True) == 1
    machine.before = lambda request: None
    assert machine.run(curve_sweep(), resume="latest") == 0


def test_a_ray_that_dies_while_preparing_is_refused(machine: Machine) -> None:
    def die() -> None:
        raise ConnectionError("Ray is gone")

    machine.before = at("prepare", 0, die)
    with pytest.raises(GenlabError, match="could not be prepared: Ray is gone"):
        machine.run(curve_sweep(), grid=True)


def test_states_that_nothing_needs_are_gone_when_the_sweep_ends(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Storage.delete

    def slowly(self: Storage, path: str) -> None:
        time.sleep(0.2)
        real(self, path)

    monkeypatch.setattr(Storage, "delete", slowly)
    assert machine.run(curve_sweep(settings={"curve": (1.0, 3.0, 2.0)}), grid=True) == 0
    records = machine.records
    for name in records.trials:
        kept = [one for one in records.storage.names(f"trials/{name}") if ".state." in one]
        assert [one[:10] for one in kept] == ["epoch_0001", "epoch_0003"]  # best and last


def test_a_driver_that_fails_sums_up_and_closes_its_runs(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("genlab.sweep.tuning.fit", lambda *_: {}["a fault of ours"])
    assert machine.run(curve_sweep(), grid=True) == 1
    said = capsys.readouterr()
    assert "KeyError: 'a fault of ours'" in said.err and "Traceback" in said.err
    (why,) = [line for line in said.out.splitlines() if line.startswith("stopped: ")]
    assert why.startswith("stopped: the driver failed: ") and why.endswith("KeyError: 'a fault of ours'")
    assert f"--resume {machine.records.name}" in said.out
    assert machine.drains[-1].closed and machine.pools[-1].closed


def test_lanes_are_told_what_the_driver_was_told(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(machine.storage.url).parent)
    monkeypatch.setenv("GENLAB_DATA", "sets")
    monkeypatch.setenv("GENLAB_CACHE", "~/cache")
    assert machine.run(curve_sweep(epoch_deadline=12.5), grid=True, workers=2, tracking_uri="http://host:5000") == 0
    settings, records = machine.pools[-1].settings, machine.records
    assert (settings.storage, settings.folder) == (machine.storage.url, records.name)
    assert (settings.threads, settings.epoch_deadline, settings.data_root) == (3, 12.5, None)
    assert settings.environment == {"GENLAB_DATA": f"{Path.cwd()}/sets", "GENLAB_CACHE": os.path.expanduser("~/cache")}
    assert machine.pools[-1].workers == 2 and machine.pools[-1].rank.task is Curve
    assert settings.script and settings.script.endswith("one_process.py")
    assert machine.drains[-1].tracking_uri == "http://host:5000"
    monkeypatch.delenv("GENLAB_DATA")
    assert machine.run(curve_sweep(), resume="latest", tracking_uri="http://other:5000") == 0
    assert machine.drains[-1].tracking_uri == "http://other:5000"
    assert "GENLAB_DATA" not in machine.pools[-1].settings.environment


def test_no_password_stands_in_the_records(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "http://ann:geheim@host:5000"
    monkeypatch.setattr(sys, "argv", ["curve.py", "--tracking-uri", secret])
    assert machine.run(curve_sweep(), grid=True, tracking_uri=secret) == 0
    assert machine.drains[-1].tracking_uri == secret
    assert machine.run(curve_sweep(), resume="latest", tracking_uri=secret, lanes=1) == 0
    assert machine.records.options()["tracking_uri"] == "http://host:5000"
    written = [path.read_bytes() for path in Path(machine.storage.url).rglob("*.json")]
    assert len(written) > 3 and not any(b"geheim" in content for content in written)
    assert "geheim" not in "".join(capsys.readouterr())


def test_the_manifest_says_what_was_asked_for(machine: Machine) -> None:
    assert machine.run(curve_sweep(mode="max"), grid=True, seed=4, workers=1) == 0
    manifest = machine.records.manifest
    names = ("sweep", "task", "metric", "mode", "epochs", "script", "options")
    assert {name: getattr(manifest, name) for name in names} == {
        "sweep": "curve",
        "metric": "loss",
        "mode": "max",
        "task": "Curve",
        "epochs": 3,
        "script": "one_process.py",
        "options": {"grid": True, "seed": 4, "workers": 1},
    }
    assert manifest.identity.settings["seed"] == 4 and manifest.environment["seed"] == "4"
    assert machine.records.events[-1].summary.best == "0001"  # level 30


def test_a_dry_run_checks_all_and_starts_nothing(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert machine.run(curve_sweep(), grid=True, dry_run=True, address="here") == 0
    assert machine.storage.names() == [] and machine.joined == ["here"] and machine.pools == []
    (tried,) = machine.tried
    assert tried.order["step"] and tried.order["config"]["level"] == 10.0 and tried.stopped
    said = capsys.readouterr().out
    assert "3 trials of at most 3 epochs" in said and "trial 2: {'level': 20.0}" in said and "loss (min)" in said
    assert "2 lanes of 1 x 3 CPUs" in said and "on one worker and a few samples: loss 0.25" in said
    with pytest.raises(GenlabError, match="no sweep 'curve'"):
        machine.run(curve_sweep(), resume="latest", dry_run=True)
    lock = threading.Lock()

    class Locked(Curve):
        """Cannot be sent to a lane."""

        def start(self) -> Any:
            return lock

    with pytest.raises(GenlabError, match="Locked cannot be sent to the lanes, since lock, to which it refers"):
        machine.run(curve_sweep(task=Locked), grid=True, dry_run=True)


def test_whoever_tries_the_task_first_is_told_what_a_lane_would_be(machine: Machine) -> None:
    options: dict[str, Any] = {"seeds": 2, "data_root": "/data", "gpus_per_worker": 0.5, "set": ("level=7,8",)}
    for dry_run in (True, False):
        assert machine.run(curve_sweep(epoch_deadline=12.5), dry_run=dry_run, trials=2, **options) == 0
        order = dict(machine.tried[-1].order)
        assert order.pop("config")["level"] == 7.0  # trial 0's
        assert order.pop("script_digest") == hashlib.sha256(Path(one_process.__file__).read_bytes()).hexdigest()
        assert order == {
            "step": dry_run,
            "metric": "loss",
            "replicas": 2,
            "storage": machine.storage.url,
            "script": one_process.__file__,
            "data_root": "/data",
            "gpus": 0.5,
            "epoch_deadline": 12.5,
        }


def test_what_a_lane_could_not_load_is_refused_before_any_lane_starts(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Any) -> None:
        raise GenlabError("a lane cannot load the task")

    monkeypatch.setattr("one_process.Elsewhere.answer", refuse)
    for dry_run in (True, False):
        with pytest.raises(GenlabError, match="a lane cannot load the task"):
            machine.run(curve_sweep(), grid=True, dry_run=dry_run)
    assert machine.joined == [None, None] and machine.pools == [] and machine.storage.names() == []
    assert [one.stopped for one in machine.tried] == [True, True]


def test_a_storage_that_cannot_be_written_is_refused_before_ray_is_joined(machine: Machine) -> None:
    Path(machine.storage.url).write_text("a file")
    for dry_run in (True, False):
        with pytest.raises(GenlabError, match="cannot be written"):
            machine.run(curve_sweep(), grid=True, dry_run=dry_run)
    assert machine.joined == []


def test_a_sweep_leaves_a_ray_that_it_joined_and_no_other(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[str] = []
    monkeypatch.setattr("ray.shutdown", lambda: left.append("left"))
    assert machine.run(curve_sweep(), grid=True) == 0 and left == []
    monkeypatch.setattr("genlab.lanes.cluster.connect", lambda address: True)
    assert machine.run(curve_sweep(), grid=True) == 0 and left == ["left"]

    def no_room(*asked: Any) -> None:
        raise GenlabError("there is no room")

    monkeypatch.setattr("genlab.lanes.cluster.room", no_room)
    sweeps = Records.sweeps(machine.storage)
    with pytest.raises(GenlabError):
        machine.run(curve_sweep(), grid=True)
    assert left == ["left", "left"] and Records.sweeps(machine.storage) == sweeps

    def gone() -> None:
        raise ConnectionError("Ray is gone")

    monkeypatch.setattr("ray.shutdown", gone)
    with pytest.raises(GenlabError, match="there is no room"):  # and not what a Ray that is gone says
        machine.run(curve_sweep(), grid=True)


def typed(monkeypatch: pytest.MonkeyPatch, *words: str) -> Any:
    """The exit code of the script with these words; its handler of SIGTERM stays."""
    monkeypatch.setattr(sys, "argv", ["curve.py", *words])
    with pytest.raises(SystemExit) as end:
        command.main(curve_sweep())
    return end.value.code


def test_exit_codes_of_a_script(
    machine: Machine, handler: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = ("--storage", machine.storage.url)
    assert typed(monkeypatch, "--grid", *storage) == 0
    refused = {
        ("--set", "levle=3"): ("curve: ", "levle"),
        ("--trials", "0"): ("--trials", "at least 1"),
        ("--tirals", "2"): ("--tirals",),
        ("--set", "\x1b[2Jlevel"): ("--set \\x1b[2Jlevel: write it as KEY=VALUE",),  # it wipes no terminal
    }
    for wrong, says in refused.items():
        capsys.readouterr()
        assert typed(monkeypatch, *wrong, *storage) == 2
        said = capsys.readouterr()
        assert all(words in said.err for words in says) and said.out == ""
    machine.before = at("0000", 1, lambda: {"kind": "error", "value": "it broke"})
    assert typed(monkeypatch, "--trials", "1", *storage) == 1

    def interrupted(address: str | None) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr("genlab.lanes.cluster.connect", interrupted)
    assert typed(monkeypatch, *storage) == 130
    assert "interrupted before anything was trained" in capsys.readouterr().err


def test_sigterm_while_ray_starts_is_an_interruption_and_so_are_two(
    machine: Machine, handler: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def terminated(address: str | None) -> bool:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
        return False

    monkeypatch.setattr("genlab.lanes.cluster.connect", terminated)
    assert typed(monkeypatch, "--storage", machine.storage.url) == 130
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN  # also while the process ends
    assert "interrupted before anything was trained" in capsys.readouterr().err


def test_an_error_of_the_program_itself_is_not_taken_for_a_refusal(
    machine: Machine, handler: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(address: str | None) -> bool:
        raise ValueError("a fault of ours")

    monkeypatch.setattr("genlab.lanes.cluster.connect", broken)
    monkeypatch.setattr(sys, "argv", ["curve.py", "--storage", machine.storage.url])
    with pytest.raises(ValueError, match="a fault of ours"):
        command.main(curve_sweep())
