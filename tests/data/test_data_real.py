"""The real sets under GENLAB_DATA."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.datasets

from genlab.data import SPLITS, load
from genlab.errors import DataError

pytestmark = pytest.mark.data

FILES = {
    "mnist": "MNIST/raw/t10k-images-idx3-ubyte.gz",
    "fashion_mnist": "FashionMNIST/raw/t10k-labels-idx1-ubyte.gz",
    "cifar10": "cifar-10-batches-py/test_batch",
}


def test_digits_are_scikit_learns() -> None:
    from sklearn.datasets import load_digits  # takes seconds, which is why this test is not in the default run

    pixels, targets = load_digits(return_X_y=True)
    expected = np.column_stack((np.round(pixels * 255 / 16), targets))
    sets = [load("digits", split, image_size=8) for split in SPLITS]
    loaded = np.concatenate([np.column_stack((each.images.flatten(1), each.labels)) for each in sets])
    assert np.array_equal(expected[np.lexsort(expected.T)], loaded[np.lexsort(loaded.T)])


@pytest.fixture(params=FILES)
def name(request: pytest.FixtureRequest) -> str:
    if not (Path(os.environ["GENLAB_DATA"]) / FILES[request.param]).exists():
        pytest.skip(f"no {FILES[request.param]} under GENLAB_DATA")
    return request.param


def test_the_splits_have_the_official_counts_and_are_stratified(name: str) -> None:
    train, validation, test = (load(name, split) for split in SPLITS)
    whole = 50_000 if name == "cifar10" else 60_000
    assert [len(train), len(validation), len(test)] == [whole - 5_000, 5_000, 10_000]
    assert train.labels is not None and validation.labels is not None
    share = validation.labels.bincount() / (train.labels.bincount() + validation.labels.bincount())
    assert ((share - 5_000 / whole).abs() < 2e-4).all()
    assert train.images.shape[1:] == ((3 if name == "cifar10" else 1), 32, 32)


def test_the_test_split_is_torchvisions(name: str, tmp_path: Path) -> None:
    image_set = load(name, "test")
    folder = FILES[name].split("/")[0]
    shutil.copytree(Path(os.environ["GENLAB_DATA"]) / folder, tmp_path / folder)  # torchvision unpacks beside the files
    set_class = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "cifar10": "CIFAR10"}[name]
    official = getattr(torchvision.datasets, set_class)(tmp_path, train=False, download=True)
    pixels = torch.as_tensor(official.data)
    pixels = pixels.permute(0, 3, 1, 2) if name == "cifar10" else pixels[:, None]
    ours = image_set.images if name == "cifar10" else image_set.images[:, :, 2:-2, 2:-2]
    assert torch.equal(ours, pixels)
    assert image_set.labels is not None
    assert image_set.labels.tolist() == torch.as_tensor(official.targets).tolist()
    if name != "mnist":
        assert list(image_set.classes) == official.classes


@pytest.mark.parametrize("change", ["cut", "first", "middle", "last"])
def test_a_changed_byte_is_noticed(name: str, change: str, tmp_path: Path, cached_files: Callable[[], list]) -> None:
    source, copy = (root / Path(FILES[name]).parent for root in (Path(os.environ["GENLAB_DATA"]), tmp_path / "copy"))
    shutil.copytree(source, copy)
    bad = tmp_path / "copy" / FILES[name]
    bad.parent.chmod(0o755)
    data = bytearray(bad.read_bytes())
    if change == "cut":
        del data[-1]
    else:
        data[{"first": 0, "middle": len(data) // 2, "last": -1}[change]] ^= 1
    bad.unlink()
    bad.write_bytes(data)
    with pytest.raises(DataError, match=f"{bad.name} is truncated or altered"):
        load(name, "test", data_root=tmp_path / "copy")
    assert cached_files() == []
