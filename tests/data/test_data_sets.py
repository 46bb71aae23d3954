from __future__ import annotations

import gzip
import hashlib
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.datasets

from genlab.data import SPLITS, ImageSet, load
from genlab.data.sources import cifar10, digits
from genlab.data.sources.cifar10 import unpickle_arrays
from genlab.errors import DataError, GenlabError

CachedFiles = Callable[[], list[str]]
MnistFiles = tuple[Path, Path, Path]


# digits


def test_digits_splits_hold_1797_images_and_are_stratified() -> None:
    counts = []
    for split, size in zip(SPLITS, [1197, 300, 300], strict=True):
        image_set = load("digits", split, image_size=8)
        assert len(image_set) == size
        assert image_set.labels is not None
        counts.append(image_set.labels.bincount())
    whole = torch.stack(counts).sum(0)
    assert whole.sum() == 1797
    for own in counts:
        assert ((own - whole * own.sum() / 1797).abs() < 2).all()


@pytest.mark.parametrize("size", [8, 32, 33, 64])
def test_digits_are_described_at_every_size(size: int) -> None:
    image_set = load("digits", "test", image_size=size)
    assert image_set.images.dtype == torch.uint8
    assert image_set.images.shape == (300, 1, size, size)
    assert (image_set.channels, image_set.image_size) == (1, size)
    described = image_set.describe()
    assert (described.name, described.split, described.shape) == ("digits", "test", (300, 1, size, size))
    assert described.classes == tuple("0123456789")
    images, labels = image_set.images.clone(), image_set.labels
    assert labels is not None
    by_hand = hashlib.sha256(images.numpy().tobytes() + labels.numpy().tobytes()).hexdigest()[:16]
    assert described.digest == image_set.digest == by_hand
    images[150, 0, 3, 3] += 1
    for changed in ((images, labels), (image_set.images, labels.roll(1)), (image_set.images, None)):
        assert ImageSet("digits", "test", *changed, image_set.classes).digest != by_hand
    assert load("digits", "test", image_size=size) is image_set  # a process maps it once


@pytest.mark.parametrize("cut", [0, 1, 5, 1000, 50_000, -1])
def test_truncated_digits_are_refused(
    cut: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cached_files: CachedFiles
) -> None:
    file = tmp_path / "digits.csv.gz"
    file.write_bytes(digits._file().read_bytes()[:cut])
    monkeypatch.setattr(digits, "_file", lambda: file)
    with pytest.raises(DataError, match=r"digits\.csv\.gz"):
        load("digits", "train")
    assert cached_files() == []


@pytest.mark.parametrize("change", ["a row less", "a grey of 17", "a grey below 0", "a class of 10"])
def test_altered_digits_are_refused(change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "digits.csv.gz"
    rows = [row.split(b",") for row in gzip.decompress(digits._file().read_bytes()).splitlines()]
    if change == "a row less":
        rows = rows[:-1]
    else:
        position = 64 if change == "a class of 10" else 5
        rows[7][position] = {"a grey of 17": b"17", "a grey below 0": b"-1", "a class of 10": b"10"}[change]
    file.write_bytes(gzip.compress(b"\n".join(b",".join(row) for row in rows)))
    monkeypatch.setattr(digits, "_file", lambda: file)
    with pytest.raises(DataError, match=r"digits\.csv\.gz is altered: not 1797"):
        load("digits", "train")


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(GenlabError, match="did you mean validation"):
        load("digits", "valid")
    with pytest.raises(GenlabError, match="8 or more"):
        load("digits", "train", image_size=4)
    with pytest.raises(GenlabError, match="did you mean digits"):
        load("digit", "train")


# MNIST, unpacked: structure and counts


def test_unpacked_mnist_is_padded_to_32(mnist_test_files: MnistFiles) -> None:
    root, images, _ = mnist_test_files
    raw = torch.frombuffer(bytearray(images.read_bytes()[16:]), dtype=torch.uint8).view(-1, 1, 28, 28)
    image_set = load("mnist", "test", data_root=root)
    assert torch.equal(image_set.images[:, :, 2:-2, 2:-2], raw)
    border = image_set.images.clone()
    border[:, :, 2:-2, 2:-2] = 0
    assert not border.any()
    assert image_set.labels is not None and image_set.labels.tolist() == [i % 10 for i in range(10_000)]
    assert torch.equal(load("mnist", "test", image_size=28, data_root=root).images, raw)


@pytest.mark.parametrize("cut", [0, 3, 4, 15, 16, 17, 4_000_000, -1])
def test_truncated_idx_images_are_refused(cut: int, mnist_test_files: MnistFiles, cached_files: CachedFiles) -> None:
    root, images, _ = mnist_test_files
    images.write_bytes(images.read_bytes()[:cut])
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte"):
        load("mnist", "test", data_root=root)
    assert cached_files() == []


@pytest.mark.parametrize(("position", "value"), [(0, 1), (2, 9), (3, 3), (4, 1), (7, 0), (8, 10), (5000, 255)])
def test_altered_idx_labels_are_refused(
    position: int, value: int, mnist_test_files: MnistFiles, cached_files: CachedFiles
) -> None:
    root, _, labels = mnist_test_files
    data = bytearray(labels.read_bytes())
    data[position] = value
    labels.write_bytes(data)
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte"):
        load("mnist", "test", data_root=root)
    assert cached_files() == []


def test_labels_that_lack_a_class_are_refused(mnist_test_files: MnistFiles) -> None:
    root, _, labels = mnist_test_files
    data = labels.read_bytes()
    labels.write_bytes(data[:8] + data[8:].replace(b"\x09", b"\x04"))
    with pytest.raises(DataError, match="not the ten classes"):
        load("mnist", "test", data_root=root)


def test_fashion_mnist_has_classes_of_its_own(mnist_test_files: MnistFiles) -> None:
    root, *_ = mnist_test_files
    assert load("mnist", "test", data_root=root).classes == tuple("0123456789")
    (root / "MNIST").rename(root / "FashionMNIST")
    classes = load("fashion_mnist", "test", data_root=root).classes
    assert len(classes) == 10 and (classes[0], classes[5], classes[9]) == ("T-shirt/top", "Sandal", "Ankle boot")


def test_each_set_cuts_its_own_5000_from_the_60000_training_images(tmp_path: Path) -> None:
    """The same for every run, and no hint of one set in the other: files of equal contents are cut differently."""
    images = np.zeros((60_000, 28, 28), np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.arange(60_000) % 256, np.arange(60_000) // 256
    cut: list[set[int]] = []
    for name, folder in (("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")):
        raw = tmp_path / folder / "raw"
        raw.mkdir(parents=True)
        header = struct.pack(">4I", 0x803, 60_000, 28, 28), struct.pack(">2I", 0x801, 60_000)
        (raw / "train-images-idx3-ubyte").write_bytes(header[0] + images.tobytes())
        (raw / "train-labels-idx1-ubyte").write_bytes(header[1] + bytes(i % 10 for i in range(60_000)))
        found = load(name, "validation", image_size=28, data_root=tmp_path)
        corner = found.images[:, 0, 0, :2].int()
        numbers = corner[:, 0] + 256 * corner[:, 1]
        assert found.labels is not None and torch.equal(found.labels, numbers.long() % 10)
        assert found.labels.bincount().tolist() == [500] * 10
        cut.append(set(numbers.tolist()))
    assert len(cut[0]) == len(cut[1]) == 5000 and len(cut[0] & cut[1]) < 1000  # by chance a twelfth


def test_a_file_with_something_appended_is_refused(mnist_test_files: MnistFiles) -> None:
    root, images, _ = mnist_test_files
    images.write_bytes(images.read_bytes() + b"\0")
    with pytest.raises(DataError, match="t10k-images"):
        load("mnist", "test", data_root=root)


def test_a_packed_file_that_is_not_the_official_one_is_refused(
    mnist_test_files: MnistFiles, cached_files: CachedFiles
) -> None:
    root, images, _ = mnist_test_files
    packed = images.with_name(f"{images.name}.gz")
    packed.write_bytes(gzip.compress(images.read_bytes(), compresslevel=1))
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz is truncated or altered.*9fb629c4189551a2d0"):
        load("mnist", "test", data_root=root)
    assert cached_files() == []


def test_a_source_altered_after_it_was_cached_is_checked_anew(mnist_test_files: MnistFiles) -> None:
    root, images, labels = mnist_test_files
    before = load("mnist", "test", image_size=28, data_root=root)
    data = bytearray(images.read_bytes())
    data[16] ^= 255
    images.write_bytes(data)
    after = load("mnist", "test", image_size=28, data_root=root)
    assert int((before.images != after.images).sum()) == 1
    labels.write_bytes(labels.read_bytes()[:-1])
    with pytest.raises(DataError, match="t10k-labels"):
        load("mnist", "test", image_size=28, data_root=root)


def test_later_roots_are_searched(
    mnist_test_files: MnistFiles, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, *_ = mnist_test_files
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setenv("GENLAB_DATA", str(root))
    assert len(load("mnist", "test", data_root=empty)) == 10_000
    monkeypatch.delenv("GENLAB_DATA")
    shutil.move(root / "MNIST", cache / "data" / "MNIST")
    assert len(load("mnist", "test", data_root=empty)) == 10_000
    assert not list(empty.iterdir())


# downloads


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mnist", "MNIST/raw/train-labels-idx1-ubyte.gz"),
        ("fashion_mnist", "FashionMNIST/raw/train-images-idx3-ubyte.gz"),
        ("cifar10", "cifar-10-batches-py/data_batch_5"),
    ],
)
def test_offline_the_error_names_the_folder_and_the_files(
    name: str, file: str, tmp_path: Path, cached_files: CachedFiles
) -> None:
    root = tmp_path / "wanted"
    with pytest.raises(DataError, match=f"{file}.* into the folder {root}.*no network in this test"):
        load(name, "train", data_root=root)
    assert not root.exists()
    assert cached_files() == []
    with pytest.raises(DataError, match=name):
        load(name, "train")


class _FakeMNIST:
    """Writes what torchvision's MNIST would, of made-up pixels; `cut` files fail half-way."""

    contents: dict[str, bytes]
    resources: list[tuple[str, str]]
    downloads = 0
    cut = False

    def __init__(self, root: str, download: bool) -> None:
        assert download
        type(self).downloads += 1
        raw = Path(root) / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for name, data in self.contents.items():
            (raw / name).write_bytes(data)
            if self.cut:
                raise ConnectionResetError("the line went dead")


@pytest.fixture
def fake_mnist(mnist_test_files: MnistFiles, monkeypatch: pytest.MonkeyPatch) -> type[_FakeMNIST]:
    _, images, labels = mnist_test_files

    class Fake(_FakeMNIST):
        contents = {f"{file.name}.gz": gzip.compress(file.read_bytes(), 1) for file in (images, labels)}  # noqa: RUF012
        contents |= {name.replace("t10k", "train"): data for name, data in contents.items()}
        resources = [(name, hashlib.md5(data).hexdigest()) for name, data in contents.items()]  # noqa: RUF012

    monkeypatch.setattr(torchvision.datasets, "MNIST", Fake)
    return Fake


def test_what_is_absent_is_downloaded_once(
    fake_mnist: type[_FakeMNIST], tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "genlab"):
        assert len(load("mnist", "test")) == 10_000
    assert caplog.messages == [f"downloading MNIST into {cache / 'data'}"]
    assert len(load("mnist", "test", image_size=28)) == 10_000
    assert fake_mnist.downloads == 1
    assert len(list((cache / "data" / "MNIST" / "raw").iterdir())) == 4
    load("mnist", "test", data_root=tmp_path / "given")
    assert fake_mnist.downloads == 1  # the cache is searched before the network


def test_a_cut_download_leaves_nothing_behind(fake_mnist: type[_FakeMNIST], cache: Path) -> None:
    fake_mnist.cut = True
    with pytest.raises(DataError, match="the line went dead"):
        load("mnist", "test")
    assert not (cache / "data").exists()
    fake_mnist.cut = False
    assert len(load("mnist", "test")) == 10_000


# CIFAR-10


@pytest.fixture(scope="module")
def cifar_files() -> dict[str, bytes]:
    """A CIFAR-10 test batch of made-up pixels and its class names."""
    pixels = np.arange(10_000 * 3072, dtype=np.uint32).astype(np.uint8).reshape(10_000, 3072)
    batch = {"data": pixels, "labels": [i % 10 for i in range(10_000)]}
    return {
        "test_batch": pickle.dumps(batch, protocol=3),
        "batches.meta": pickle.dumps({"label_names": list("abcdefghij")}, protocol=3),
    }


@pytest.fixture
def cifar_root(cifar_files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with those files, whose md5 torchvision is made to list."""
    folder = tmp_path / "root" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name, data in cifar_files.items():
        (folder / name).write_bytes(data)
    md5 = {name: hashlib.md5(data).hexdigest() for name, data in cifar_files.items()}
    listed = torchvision.datasets.CIFAR10
    monkeypatch.setattr(listed, "test_list", [["test_batch", md5["test_batch"]]])
    monkeypatch.setattr(listed, "meta", {**listed.meta, "md5": md5["batches.meta"]})
    return tmp_path / "root"


def test_cifar10_is_read_from_its_batches(cifar_root: Path) -> None:
    image_set = load("cifar10", "test", data_root=cifar_root)
    assert image_set.images.shape == (10_000, 3, 32, 32)
    assert image_set.classes == tuple("abcdefghij")
    assert torch.equal(image_set.images[0].flatten(), torch.arange(3072).to(torch.uint8))


def test_cifar10s_validation_images_are_training_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On files of 100 images in place of 10,000, each of one colour that tells its number and its file."""
    monkeypatch.setattr(cifar10, "_A_BATCH", 100)
    monkeypatch.setattr(cifar10, "_VALIDATION", 50)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    for number, name in enumerate(names):
        pixels = np.zeros((100, 3, 1024), np.uint8)
        pixels[:, 0], pixels[:, 1] = np.arange(100)[:, None], number
        batch = {"data": pixels.reshape(100, 3072), "labels": [i % 10 for i in range(100)]}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=3))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}, protocol=3))
    md5 = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    listed = torchvision.datasets.CIFAR10
    monkeypatch.setattr(listed, "train_list", [[name, md5[name]] for name in names[:5]])
    monkeypatch.setattr(listed, "test_list", [["test_batch", md5["test_batch"]]])
    monkeypatch.setattr(listed, "meta", {**listed.meta, "md5": md5["batches.meta"]})
    found: dict[str, list[tuple[int, int]]] = {}
    for split in SPLITS:
        image_set = load("cifar10", split, image_size=16, data_root=tmp_path)
        assert image_set.shape == (len(image_set), 3, 16, 16) and image_set.labels is not None
        found[split] = [(int(file), int(image)) for image, file in image_set.images[:, :2, 8, 8]]
        assert image_set.labels.tolist() == [image % 10 for _, image in found[split]]
    assert [len(found[split]) for split in SPLITS] == [450, 50, 100]
    assert sorted(found["train"] + found["validation"]) == [(file, i) for file in range(5) for i in range(100)]
    assert found["test"] == [(5, i) for i in range(100)]


@pytest.mark.parametrize("file", ["test_batch", "batches.meta"])
@pytest.mark.parametrize("change", ["empty", "cut", "flip", "append"])
def test_an_altered_cifar10_file_is_never_unpickled(
    file: str, change: str, cifar_root: Path, monkeypatch: pytest.MonkeyPatch, cached_files: CachedFiles
) -> None:
    path = cifar_root / "cifar-10-batches-py" / file
    data = path.read_bytes()
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    path.write_bytes({"empty": b"", "cut": data[:-1], "flip": flipped, "append": data + b"\0"}[change])

    unpickled = []
    monkeypatch.setattr(
        "genlab.data.sources.cifar10.unpickle_arrays",
        lambda data, path: unpickled.append(path.name) or unpickle_arrays(data, path),
    )
    with pytest.raises(DataError, match=f"{file} is truncated or altered"):
        load("cifar10", "test", data_root=cifar_root)
    assert file not in unpickled
    assert cached_files() == []


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (eval, ("(_ for _ in ()).throw(SystemExit)",))


@pytest.mark.parametrize("content", [_Bomb(), {"labels": _Bomb()}, Path("x"), np.save])
def test_unpickling_calls_nothing_but_numpys_array(content: object) -> None:
    with pytest.raises(DataError, match=r"some/file is altered: .*refers to"):
        unpickle_arrays(pickle.dumps(content), Path("some/file"))


def test_unpickling_gives_arrays_and_plain_values() -> None:
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    for protocol in (3, 4):
        loaded = unpickle_arrays(pickle.dumps({"data": array, "labels": [1, 2]}, protocol), Path("x"))
        assert np.array_equal(loaded["data"], array)
        assert loaded["labels"] == [1, 2]
    with pytest.raises(DataError):
        unpickle_arrays(pickle.dumps(array, 3)[:-3], Path("x"))
