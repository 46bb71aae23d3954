"""Named arrays with a JSON header in one safetensors file: opening one executes nothing, and a cut one is noticed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from genlab.errors import CorruptFile
from genlab.sealed import seal, unseal


def pack(arrays: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> bytes:
    """One safetensors file as bytes. `header` is any JSON value by name; non-finite floats are allowed in it."""
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return safetensors.numpy.save(whole, metadata=metadata(header))


def metadata(header: Mapping[str, Any]) -> dict[str, str]:
    """The header of a safetensors file of genlab's, as the format keeps it."""
    return {"genlab": seal(json.dumps(dict(header)))}


def read_header(data: bytes) -> dict[str, Any]:
    """The header that `metadata` made of a safetensors file.

    Raises:
        ValueError, KeyError, TypeError: there is none, or it is not what was written.
    """
    length = int.from_bytes(data[:8], "little")
    return unseal(json.loads(data[8 : 8 + length])["__metadata__"]["genlab"].encode())


def unpack(data: bytes, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and header of a file that `pack` made; `name` is what an error calls it.

    Raises:
        CorruptFile: it is cut short, or was not made by `pack`.
    """
    try:
        arrays = safetensors.numpy.load(data)
        header = read_header(data)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptFile(f"{name} is damaged or was not written by genlab ({error})") from error
    return arrays, header
