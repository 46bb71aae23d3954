"""Built image sets on disk: one safetensors file each, mapped by every process that reads it."""

from __future__ import annotations

import json
import os
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from genlab.data.places import locked
from genlab.errors import StorageError


class Pixels(NamedTuple):
    """What an image set holds: images uint8 [N,C,S,S], labels int64 [N] in 0..len(classes)-1, or None."""

    images: Tensor
    labels: Tensor | None
    classes: tuple[str, ...]


def cached(path: Path, build: Callable[[], Pixels]) -> Pixels:
    """The pixels stored at `path`, mapped rather than copied; where absent or damaged, `build` makes them first.

    Of several processes that ask at once one builds and the others wait for it. An error in `build` stores nothing.
    Raises DataError where the folder cannot be written, StorageError where the file cannot be.
    """
    if (pixels := _mapped(path)) is not None:
        return pixels
    with locked(_lock(path)):
        if (pixels := _mapped(path)) is None:
            _write(path, build())
            pixels = _mapped(path)
    if pixels is None:
        raise StorageError(f"{path} was written but does not read back as written: check the disk")
    return pixels


def _lock(path: Path) -> Path:
    return path.with_suffix(".lock")


def _checksum(images: Tensor, labels: Tensor | None) -> str:
    value = zlib.crc32(images.numpy().data)
    return f"{value if labels is None else zlib.crc32(labels.numpy().data, value):08x}"


def _mapped(path: Path) -> Pixels | None:
    """The pixels at `path`; None where there is no such file or it is not what `_write` wrote."""
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            described = file.metadata()
            images = file.get_tensor("images")
            labels = file.get_tensor("labels") if "labels" in file.keys() else None  # noqa: SIM118 (not a mapping)
        classes = tuple(json.loads(described["classes"]))
        if images.dtype != torch.uint8 or images.ndim != 4 or described["crc32"] != _checksum(images, labels):
            return None
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None
    return Pixels(images, labels, classes)


def _write(path: Path, pixels: Pixels) -> None:
    pattern = f".{path.name}.*.tmp"
    temporary = path.with_name(pattern.replace("*", uuid.uuid4().hex))
    tensors = {"images": pixels.images.contiguous()}
    if pixels.labels is not None:
        tensors["labels"] = pixels.labels.contiguous()
    metadata = {"classes": json.dumps(pixels.classes), "crc32": _checksum(tensors["images"], tensors.get("labels"))}
    try:
        for left_by_a_killed_process in path.parent.glob(pattern):
            left_by_a_killed_process.unlink(missing_ok=True)
        save_file(tensors, str(temporary), metadata)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())  # otherwise a power cut may leave the name with half of its bytes
        temporary.chmod(_lock(path).stat().st_mode)  # what the umask gives; safetensors shuts other users out
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        raise StorageError(f"cannot write {path}: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
