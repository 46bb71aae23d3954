"""CIFAR-10 from torchvision's `cifar-10-batches-py`: pickles, of which nothing is unpickled before its md5 is right."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genlab.data.cache import Pixels
from genlab.data.resize import resize
from genlab.data.sources.download import find_or_download
from genlab.data.sources.source import Source, check_md5, read_bytes, split_of
from genlab.errors import DataError

_FOLDER = "cifar-10-batches-py"
_TRAIN = tuple(f"data_batch_{i}" for i in range(1, 6))
_TEST = ("test_batch",)
_META = "batches.meta"
_A_BATCH = 10_000
_VALIDATION = 5_000


class _OnlyArrays(pickle.Unpickler):
    """Unpickles dicts, lists, strings, numbers and numpy arrays, and can call nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in {("numpy", "ndarray"), ("numpy", "dtype")}:
            return getattr(np, name)
        if name == "_reconstruct" and module in {"numpy.core.multiarray", "numpy._core.multiarray"}:
            # What numpy itself pickles an array by, wherever this version of numpy keeps it.
            return np.empty(0).__reduce__()[0]
        raise pickle.UnpicklingError(f"it refers to {module}.{name}")


def unpickle_arrays(data: bytes, path: Path) -> Any:
    """The object pickled in `data`; DataError, naming `path`, where it is broken or more than plain arrays."""
    try:
        return _OnlyArrays(io.BytesIO(data), encoding="latin1").load()
    except Exception as error:  # a broken pickle raises almost anything
        raise DataError(f"{path} is altered: it is not a pickle of plain arrays ({error})") from error


def find(split: str, image_size: int, data_root: str | os.PathLike[str] | None) -> Source:
    """45,000 train and 5,000 validation images from the five training batches, 10,000 test images; three channels."""
    names = (*(_TEST if split == "test" else _TRAIN), _META)

    def look(root: Path) -> tuple[Path, ...] | None:
        found = tuple(root / _FOLDER / name for name in names)
        return found if all(path.is_file() for path in found) else None

    wanted = [f"{_FOLDER}/{name}" for name in names]
    everything = [f"{_FOLDER}/{name}" for name in (*_TRAIN, *_TEST, _META)]
    files = find_or_download("cifar10", "CIFAR10", data_root, look, wanted, everything)

    def read() -> Pixels:
        from torchvision.datasets import CIFAR10

        md5 = {entry[0]: entry[1] for entry in CIFAR10.train_list + CIFAR10.test_list}
        md5[_META] = CIFAR10.meta["md5"]
        contents = []
        for path in files:
            data = read_bytes(path)
            check_md5(data, md5[path.name], path)  # of the very bytes that are unpickled
            contents.append(unpickle_arrays(data, path))
        *batches, meta = contents
        for path, batch in zip(files, batches, strict=False):
            if batch["data"].shape != (_A_BATCH, 3 * 32 * 32) or len(batch["labels"]) != _A_BATCH:
                raise DataError(f"{path} is altered: not {_A_BATCH} images of 3 x 32 x 32 with labels")
        images = torch.from_numpy(np.concatenate([batch["data"] for batch in batches])).view(-1, 3, 32, 32)
        labels = torch.tensor([label for batch in batches for label in batch["labels"]])
        if split != "test":
            chosen = split_of("cifar10", split, labels, {"validation": _VALIDATION})
            images, labels = images[chosen], labels[chosen]
        return Pixels(resize(images, image_size), labels, tuple(meta["label_names"]))

    return Source(files, read)
