"""The command line that every sweep has."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro

from genlab.tracking.schema import checked

LATEST = "latest"
SCHEDULER = "default: asha, but fifo for few trials"


def _arg(metavar: str, default: str) -> Any:
    """How `--help` shows an option that may be left out."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=f"({default})" if default else "")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Run a sweep: search its space with Optuna, many trials at once, on this machine or on a Ray cluster."""

    trials: Annotated[int | None, _arg("N", "default: the sweep's own number")] = None
    """How many settings to try, the default setting among them. May grow on --resume."""
    epochs: Annotated[int | None, _arg("N", "default: the setting's own number")] = None
    """How many epochs a trial trains, if nothing ends it earlier."""
    set: Annotated[tuple[str, ...], _arg("KEY=VALUE[,VALUE]", "one or more, or each with its own --set")] = ()
    """Fix a field of the config (nz=100) or make it a choice (ngf=32,64)."""
    grid: Annotated[bool, _arg("", "")] = False
    """Run the sweep's own list of settings instead of a search; with choices of --set, all their combinations."""
    dataset: Annotated[str | None, _arg("NAME", "default: the setting's own")] = None
    """digits, mnist, fashion_mnist, cifar10, celeba, image_folder or image_folder:FOLDER."""
    lanes: Annotated[int | None, _arg("N", "default: as many as there is room for")] = None
    """Trials that train at once."""
    workers: Annotated[int | None, _arg("N", "default: 1")] = None
    """DDP workers a trial."""
    cpus_per_worker: Annotated[int | None, _arg("N", "default: what there is, shared out")] = None
    """CPUs a worker, which are its threads."""
    gpus_per_worker: Annotated[float | None, _arg("X", "default: 1 where there are GPUs")] = None
    """GPUs a worker; a fraction lets several share one."""
    data_root: Annotated[str | None, _arg("FOLDER", "default: GENLAB_DATA, else the user's cache")] = None
    """Folder with the data sets, as torchvision lays them out."""
    storage: Annotated[str, _arg("FOLDER|URL", "default: ./results")] = "./results"
    """Where records, checkpoints and MLflow's database go."""
    tracking_uri: Annotated[str | None, _arg("URI", "default: a database in the storage")] = None
    """An MLflow server. A password in it is not kept: name it again when resuming."""
    address: Annotated[str | None, _arg("ADDRESS", "default: RAY_ADDRESS, one on this machine, or one of its own")] = (
        None
    )
    """A running Ray."""
    scheduler: Annotated[Literal["asha", "fifo"] | None, _arg("asha|fifo", SCHEDULER)] = None
    """asha ends unpromising trials early, fifo lets all train to the end."""
    seed: Annotated[int | None, _arg("N", "default: the setting's own")] = None
    """Seed of the first replica of every trial."""
    seeds: Annotated[int | None, _arg("N", "default: 1")] = None
    """Train each setting on so many seeds, judged by their mean."""
    confirm: Annotated[int | None, _arg("N", "default: 0")] = None
    """Train the best so many settings again on fresh seeds, and read the test data, at the end."""
    resume: Annotated[str | None, _arg("[SWEEP]", "without a name: the latest")] = None
    """Go on with a sweep."""
    accept_code: Annotated[bool, _arg("", "")] = False
    """On --resume: go on though the task's code, or genlab's, has changed; the records say so."""
    retry_failed: Annotated[bool, _arg("", "")] = False
    """On --resume: take up the trials that failed, too, each at its last epoch."""
    dry_run: Annotated[bool, _arg("", "")] = False
    """Check everything, with one step of the first trial on a few samples, say what would run, and stop."""
    debug: Annotated[bool, _arg("", "")] = False
    """Train the first trial in this process: breakpoints, print and tracebacks as in any script; no Ray, no records."""

    def __post_init__(self) -> None:
        for name in ("trials", "epochs", "lanes", "workers", "cpus_per_worker", "seeds"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--{name.replace('_', '-')} {value}: it must be at least 1")
        for name in ("confirm", "gpus_per_worker", "seed"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"--{name.replace('_', '-')} {value}: it must not be negative")
        if self.accept_code and self.resume is None:
            raise ValueError("--accept-code goes with --resume: a new sweep begins with the code as it is")
        if self.retry_failed and self.resume is None:
            raise ValueError("--retry-failed goes with --resume: in a new sweep none has failed")
        if self.debug and (self.resume is not None or self.dry_run):
            raise ValueError("--debug trains the first setting and keeps no records: leave --resume and --dry-run out")
        if self.gpus_per_worker is not None and self.gpus_per_worker > 1 and self.gpus_per_worker % 1:
            raise ValueError(f"--gpus-per-worker {self.gpus_per_worker}: above 1 it must be a whole number")

    def given(self) -> dict[str, Any]:
        """The options that were named, of those that records keep (`KEPT`)."""
        given = {name: getattr(self, name) for name in KEPT}
        given = {name: value for name, value in given.items() if not (value is None or value is False or value == ())}
        if "data_root" in given:  # Ray moves its workers elsewhere
            given["data_root"] = os.path.abspath(os.path.expanduser(given["data_root"]))
        return given


# what a sweep is, and so what its records keep; the other options say where it runs, and whether
KEPT = tuple(
    field.name
    for field in dataclasses.fields(Options)
    if field.name not in ("storage", "resume", "accept_code", "retry_failed", "dry_run", "debug", "address")
)


def parse(description: str, arguments: Sequence[str] | None = None) -> Options:
    """Options from a command line; exits with 2 and a message where one is wrong. A bare `--resume` is the latest."""
    words = _joined(sys.argv[1:] if arguments is None else arguments)
    for i, word in enumerate(words):
        if word == "--resume" and (i + 1 == len(words) or words[i + 1].startswith("--")):
            words[i] = f"--resume={LATEST}"
    return tyro.cli(Options, description=description, args=words, config=(tyro.conf.FlagCreatePairsOff,))


def recorded(options: Mapping[str, Any]) -> dict[str, Any]:
    """What a sweep's records say of the options that were given, as `Options.given` says it.

    Raises:
        ValueError: no command line says that.
    """
    if other := options.keys() - KEPT:
        raise ValueError(f"there is no option {min(other)!r}")
    return checked(options, Options).given()


def _joined(words: Sequence[str]) -> list[str]:
    """`--set a=1 --set b=2` as `--set a=1 b=2`."""
    values: list[str] = []
    rest: list[str] = []
    setting = False
    for word in words:
        setting = word == "--set" if word.startswith("-") else setting
        if word != "--set":
            (values if setting else rest).append(word)
    return [*rest, "--set", *values] if "--set" in words else rest
