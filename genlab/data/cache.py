"""Built image sets on disk: one safetensors file each, which every process that uses the set maps or reads."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from torch import Tensor

from genlab.data.brightness import Brightness
from genlab.data.images import FileImages
from genlab.data.paths import locked
from genlab.data.rows import Rows, in_order
from genlab.errors import StorageError

_CHUNK = 1 << 20
_LONGEST_HEADER = 100_000_000  # safetensors' own limit
_DIGITS = 16


class Pixels(NamedTuple):
    """What an image set holds: images uint8 [N,C,S,S], labels int64 [N] in 0..len(classes)-1, or None."""

    images: Tensor | Rows
    labels: Tensor | None
    classes: tuple[str, ...]


class Stored(NamedTuple):
    """A set that lies in a file. `labels` is in memory; `digest` is of images and labels (`digest_of`)."""

    images: FileImages
    labels: Tensor | None
    classes: tuple[str, ...]
    digest: str
    brightness: Brightness


def digest_of(*tensors: Tensor | None, prefix: str = "") -> str:
    """16 hexadecimal digits: sha256 of the prefix and the bytes of the tensors; of a whole set, images then labels."""
    seen = hashlib.sha256(prefix.encode())
    for tensor in tensors:
        if tensor is not None:
            seen.update(tensor.contiguous().numpy().data)
    return seen.hexdigest()[:_DIGITS]


def cached(path: Path, build: Callable[[], Pixels], check: Callable[[], None]) -> Stored:
    """The set stored at `path`; where absent or damaged it is stored first, from what `build` gives.

    `check` is called when all rows have been read. An error in `build`, in a row or in `check` stores nothing. Of
    several processes that ask at once one builds and the others wait for it. `Rows` are stored as they are made, so
    that memory does not grow with the set. A file within the host's budget is compared with its digest; of a larger
    one only the header and the length are looked at.

    Raises DataError where the folder cannot be written, StorageError where the file cannot be.
    """
    if (stored := _opened(path)) is not None:
        return stored
    with locked(path.with_suffix(".lock")):
        if (stored := _opened(path)) is None:
            _store(path, build, check)
            stored = _opened(path)
    if stored is None:
        raise StorageError(f"{path} was written but does not read back as written: check the disk")
    return stored


def _opened(path: Path) -> Stored | None:
    """The set at `path`; None where there is no such file or it is not what `_store` wrote."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if length > min(size, _LONGEST_HEADER):
                return None
            header = json.loads(file.read(length))
            described = header.pop("__metadata__")
            shape = tuple(header["images"]["shape"])
            classes, digest = tuple(json.loads(described["classes"])), described["digest"]
            brightness = Brightness.from_text(described["brightness"])
            if header != _tensors(shape, "labels" in header) or len(bytes.fromhex(digest)) != _DIGITS // 2:
                return None
            labels = file.read(8 * shape[0] if "labels" in header else 0)
            images = FileImages(path, file.tell(), shape)
            if file.tell() + int(np.prod(shape)) != size:
                return None
            if images.fits(torch.device("cpu")) and digest != _digest_of_rest(file, labels):
                return None
    except (OSError, KeyError, TypeError, ValueError, AttributeError):
        return None
    values = torch.from_numpy(np.frombuffer(labels, "<i8").astype(np.int64)) if labels else None
    return Stored(images, values, classes, digest, brightness)


def _digest_of_rest(file: BinaryIO, labels: bytes) -> str:
    """The set's digest, of the images from here to the end of the file and of these labels."""
    seen = hashlib.sha256()
    while part := file.read(_CHUNK):
        seen.update(part)
    seen.update(labels)
    return seen.hexdigest()[:_DIGITS]


def _tensors(shape: tuple[int, ...], labelled: bool) -> dict[str, dict[str, object]]:
    """Safetensors' description of the tensors, in the order in which they lie in the file: labels before images, so
    that both are aligned."""
    if len(shape) != 4 or min(shape) < 1:
        raise ValueError(f"{shape} is no shape of images")
    start = 8 * shape[0] if labelled else 0
    images = {"dtype": "U8", "shape": list(shape), "data_offsets": [start, start + int(np.prod(shape))]}
    if not labelled:
        return {"images": images}
    return {"labels": {"dtype": "I64", "shape": [shape[0]], "data_offsets": [0, start]}, "images": images}


def _header(pixels: Pixels, digest: str, brightness: Brightness) -> bytes:
    """The start of the safetensors file, up to the tensors: as long for every digest and brightness."""
    metadata = {"classes": json.dumps(pixels.classes), "digest": digest, "brightness": brightness.as_text()}
    tensors = _tensors(tuple(pixels.images.shape), pixels.labels is not None)
    header = json.dumps({"__metadata__": metadata, **tensors}).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header


def _store(path: Path, build: Callable[[], Pixels], check: Callable[[], None]) -> None:
    pattern = f".{path.name}.*.tmp"
    temporary = path.with_name(pattern.replace("*", uuid.uuid4().hex))
    pixels = build()
    try:
        for left_by_a_killed_process in path.parent.glob(pattern):
            left_by_a_killed_process.unlink(missing_ok=True)
        with temporary.open("wb") as file:
            _write(file, pixels)
            check()
            file.flush()
            os.fsync(file.fileno())  # otherwise a power cut may leave the name with half of its bytes
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _write(file: BinaryIO, pixels: Pixels) -> None:
    """The digest and the brightness are known last, and the header that holds them comes first."""
    brightness = Brightness()
    file.write(_header(pixels, "0" * _DIGITS, brightness))
    labels = b"" if pixels.labels is None else pixels.labels.numpy().astype("<i8").tobytes()
    file.write(labels)
    seen = hashlib.sha256()
    rows = [pixels.images] if isinstance(pixels.images, Tensor) else in_order(pixels.images)
    for row in rows:
        brightness.add(row if row.ndim == 4 else row[None])
        data = np.ascontiguousarray(row.numpy()).data
        seen.update(data)
        file.write(data)
    seen.update(labels)
    file.seek(0)
    file.write(_header(pixels, seen.hexdigest()[:_DIGITS], brightness))
