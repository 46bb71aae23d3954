"""What a sweep was asked for, and on what it runs: its manifest, written once."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from msgspec import Meta

from genlab.errors import CorruptFile, GenlabError
from genlab.sealed import seal, unseal
from genlab.tracking.events import Digests, Distribution
from genlab.tracking.schema import Count, Number, Record, Setting, Settings, Time, as_json, checked
from genlab.tracking.storage import MANIFEST, Storage

FORMAT = 4
LONGEST = 1 << 22  # bytes that a manifest may have

SweepName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_.-]*\Z", max_length=200)]

FolderName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_.-]*\Z", max_length=230)]
"""A sweep's name, and when it began."""


class Asha(Record, frozen=True):
    """The settings of ASHA."""

    grace_epochs: Number
    reduction_factor: Number


class Identity(Record, frozen=True):
    """What may not change when the sweep is resumed, since a trial's result follows from it.

    Attributes:
        task: the name of the config's class.
        settings: every field of the config that all trials have in common.
        conditions: by field, and in these by the field that must have one of some values.
    """

    task: str
    metric: str
    mode: Literal["min", "max"]
    settings: Settings
    space: dict[str, Distribution]
    conditions: dict[str, dict[str, list[Setting]]]
    grid: list[Settings] | None
    workers: Number
    seeds: Number
    asha: Asha
    code: Digests


class Manifest(Record, frozen=True):
    """What a sweep was asked for.

    Attributes:
        name: its folder's when it began.
        created: seconds since 1970.
        sweep: its name in the script, which is that of its MLflow experiment.
        task: the name of a task, or of the class that the script defines.
        epochs: of a trial that nothing ends earlier.
        images: the key of the images that the contact sheet shows; None shows `samples`, or else the first.
        script: the base name of the script, where there is one.
        options: those of the command line, without a password.
        environment: versions, host, user, commit, command.
    """

    format: Literal[4]
    name: FolderName
    created: Time
    sweep: SweepName
    task: str
    metric: str
    mode: Literal["min", "max"]
    epochs: Number
    images: str | None
    script: str | None
    options: dict[str, Setting]
    identity: Identity
    environment: dict[str, str]

    def encode(self) -> bytes:
        """The file."""
        return seal(json.dumps(as_json(self), indent=1)).encode()


class _Format(Record, frozen=True, forbid_unknown_fields=False):
    """Of a manifest of any genlab."""

    format: Count


def read_manifest(folder: Storage) -> Manifest:
    """The manifest of the sweep in `folder`.

    Raises:
        GenlabError: there is none, or it is of another format.
        CorruptFile: it is damaged.
    """
    try:
        data = folder.read(MANIFEST, LONGEST)
    except FileNotFoundError:
        raise GenlabError(f"{folder.url} holds no sweep: it has no {MANIFEST}") from None
    try:
        found = _format(data)
        if found != FORMAT:
            raise GenlabError(
                f"the sweep {folder.url} is of format {found}, and this genlab knows format {FORMAT} only: open it "
                "with the genlab that made it, or begin a new sweep"
            )
        return checked(unseal(data), Manifest)
    except ValueError as error:
        raise CorruptFile(f"{folder.where(MANIFEST)} is damaged: {error}") from error


def _format(data: bytes) -> int:
    """Raises ValueError where it says none."""
    try:
        value: Any = json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return checked(value, _Format).format
