"""What a state file holds, read from its start: without torch, and without the weights."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from genlab.errors import CorruptFile, StorageError
from genlab.tensorfile import read_header
from genlab.tracking.schema import Record, checked
from genlab.tracking.storage import Storage

LONGEST = 100_000_000  # bytes of a header, by the definition of safetensors


class Stood(Record, frozen=True, forbid_unknown_fields=False):
    """Of a state's header what is asked for here."""

    scalars: list[dict[str, Any]]


class Held(NamedTuple):
    """What a trial's state holds: networks that `genlab.load` gives back, tensors of any kind, values by name."""

    networks: bool
    tensors: bool
    scalars: bool


def is_of_use(storage: Storage, path: str) -> bool:
    """Whether the state file at `path` holds anything; what cannot be read may."""
    found = held(storage, path)
    return found is None or any(found)


def held(storage: Storage, path: str) -> Held | None:
    """What the state file at `path` holds; None if it cannot be read."""
    try:
        length = int.from_bytes(storage.read_start(path, 8), "little")
        if length > LONGEST:
            return None
        start = storage.read_start(path, 8 + length)
        scalars = checked(read_header(start), Stood).scalars
        names = json.loads(start[8:]).keys() - {"__metadata__"}
    except (StorageError, CorruptFile, FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return None
    networks = any(name.partition("/")[2].startswith("networks/") for name in names)
    return Held(networks and all("steps_done" in one for one in scalars), bool(names), any(scalars))
