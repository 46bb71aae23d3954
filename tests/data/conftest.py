"""Every test has an empty cache of its own; only tests marked `data` see the real data sets."""

from __future__ import annotations

import os
import struct
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from genlab.data import memory


@pytest.fixture(autouse=True)
def cache(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty folder that GENLAB_CACHE names; GENLAB_DATA is left set for tests marked `data` alone."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("GENLAB_CACHE", str(folder))
    if request.node.get_closest_marker("data") is None:
        monkeypatch.delenv("GENLAB_DATA", raising=False)
    elif "GENLAB_DATA" not in os.environ:
        pytest.skip("GENLAB_DATA is not set")
    return folder


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No download succeeds, on a machine with a network too."""

    def refuse(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network in this test")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


@pytest.fixture
def cached_files(cache: Path) -> Callable[[], list[str]]:
    """Lists what the cache holds besides lock files."""

    def names() -> list[str]:
        return sorted(path.name for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock")

    return names


@pytest.fixture
def mnist_test_files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A data root with unpacked MNIST test files of made-up pixels: root, image file, label file."""
    random = np.random.default_rng(0)
    raw = tmp_path / "root" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    images, labels = raw / "t10k-images-idx3-ubyte", raw / "t10k-labels-idx1-ubyte"
    images.write_bytes(struct.pack(">4I", 0x803, 10_000, 28, 28) + random.bytes(10_000 * 28 * 28))
    labels.write_bytes(struct.pack(">2I", 0x801, 10_000) + bytes(i % 10 for i in range(10_000)))
    return tmp_path / "root", images, labels


@pytest.fixture
def no_memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Once called, no set of more than 100 bytes may be kept in memory, on any device."""
    return lambda: monkeypatch.setattr(memory, "budget", lambda device: 100)
