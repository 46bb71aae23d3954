"""Image sets and the batches drawn from them.

Importing this package does not import torch: a driver may check a name without waiting for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from genlab.data.description import SetDescription
from genlab.data.names import NAMES, SPLITS, check_name, kind_of

if TYPE_CHECKING:
    from genlab.data.batches import Batch, Batches, shard
    from genlab.data.image_set import ImageSet, load

__all__ = [
    "NAMES",
    "SPLITS",
    "Batch",
    "Batches",
    "ImageSet",
    "SetDescription",
    "check_name",
    "kind_of",
    "load",
    "shard",
]

_LAZY = {"ImageSet": "image_set", "load": "image_set", "Batch": "batches", "Batches": "batches", "shard": "batches"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return __all__  # what `pydoc genlab.data` lists
