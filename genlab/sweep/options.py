"""The command line that every sweep has."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro

LATEST = "latest"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Run a sweep: search its space with Optuna, many trials at once, on this machine or on a Ray cluster."""

    trials: int | None = None
    """How many settings to try, the default setting among them. May grow on --resume."""
    epochs: int | None = None
    """How many epochs a trial trains, if nothing ends it earlier."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE[,VALUE]")] = ()
    """Fix a field of the config (nz=100) or make it a choice (ngf=32,64)."""
    grid: bool = False
    """Run the sweep's own list of settings instead of a search."""
    dataset: str | None = None
    """digits, mnist, fashion_mnist, cifar10, image_folder or image_folder:FOLDER."""
    lanes: int | None = None
    """Trials that train at once. As many as there is room for."""
    workers: int | None = None
    """DDP workers a trial. 1."""
    cpus_per_worker: int | None = None
    """CPUs a worker; its threads. What there is, shared out."""
    gpus_per_worker: float | None = None
    """GPUs a worker; a fraction lets several share one. 1 where there are GPUs."""
    data_root: str | None = None
    """Folder with the data sets, as torchvision lays them out."""
    storage: str = "./results"
    """Folder or URL for records, checkpoints and MLflow's database."""
    tracking_uri: str | None = None
    """An MLflow server. A database in the storage folder."""
    address: str | None = None
    """A running Ray. RAY_ADDRESS, one started on this machine, or one of its own."""
    scheduler: Literal["asha", "fifo"] | None = None
    """asha stops unpromising trials early, fifo none. asha."""
    seed: int | None = None
    """Seed of the first replica of every trial."""
    seeds: int | None = None
    """Train each setting on so many seeds, judged by their mean. 1."""
    confirm: int | None = None
    """Train the best so many settings again on fresh seeds, and read the test data, at the end. 0."""
    resume: Annotated[str | None, tyro.conf.arg(metavar="[SWEEP]")] = None
    """Go on with the latest sweep of this name, or with a named one."""
    dry_run: bool = False
    """Check everything, say what would run, and stop."""

    def __post_init__(self) -> None:
        for name in ("trials", "epochs", "lanes", "workers", "cpus_per_worker", "seeds"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--{name.replace('_', '-')} {value}: it must be at least 1")
        for name in ("confirm", "gpus_per_worker", "seed"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"--{name.replace('_', '-')} {value}: it must not be negative")
        if self.gpus_per_worker is not None and self.gpus_per_worker > 1 and self.gpus_per_worker % 1:
            raise ValueError(f"--gpus-per-worker {self.gpus_per_worker}: above 1 it must be a whole number")

    def given(self) -> dict[str, Any]:
        """The options that were named, those aside that say where and whether rather than what."""
        own = {"storage", "resume", "dry_run", "address"}
        given = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in own}
        given = {name: value for name, value in given.items() if not (value is None or value is False or value == ())}
        if "data_root" in given:  # Ray moves its workers elsewhere
            given["data_root"] = os.path.abspath(os.path.expanduser(given["data_root"]))
        return given


def parse(description: str, arguments: Sequence[str] | None = None) -> Options:
    """Options from a command line; exits with 2 and a message where one is wrong. A bare `--resume` is the latest."""
    words = _joined(sys.argv[1:] if arguments is None else arguments)
    for i, word in enumerate(words):
        if word == "--resume" and (i + 1 == len(words) or words[i + 1].startswith("--")):
            words[i] = f"--resume={LATEST}"
    return tyro.cli(Options, description=description, args=words, config=(tyro.conf.FlagCreatePairsOff,))


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
