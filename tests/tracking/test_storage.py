"""Storage: what is written appears whole, and a file that is not what an event names is noticed."""

from __future__ import annotations

import os
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genlab.errors import CorruptFile, GenlabError, StorageError
from genlab.tracking.storage import FileName, Storage


@pytest.fixture(params=["local", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """A folder, and a store that only knows whole objects."""
    return Storage(str(tmp_path) if request.param == "local" else f"memory://{tmp_path.name}/results")


def test_write_read_list_delete(storage: Storage) -> None:
    name = storage.write("sweep/events/00000001.json", b"{}")
    assert name == FileName("sweep/events/00000001.json", 2, name.sha256)
    assert storage.read(name.path) == storage.read_named(name) == b"{}"
    assert storage.names("sweep") == ["events"] and storage.names("sweep/events") == ["00000001.json"]
    assert storage.names("nothing/here") == [] and not storage.exists("nothing")
    below = storage.below("sweep")
    assert below.read("events/00000001.json") == b"{}" and below.exists("events/00000001.json")
    storage.write(name.path, b"[]")  # written again it is replaced
    assert storage.read(name.path) == b"[]"
    storage.delete(name.path)
    storage.delete(name.path)
    with pytest.raises(FileNotFoundError):
        storage.read(name.path)


def test_it_travels_to_another_process(storage: Storage) -> None:
    storage.write("a", b"1")
    other = pickle.loads(pickle.dumps(storage))
    assert other.url == storage.url and other.read("a") == b"1"


def test_a_relative_folder_is_made_absolute(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    storage = Storage("./results")
    monkeypatch.chdir("/")
    storage.write("a", b"1")
    assert storage.url == str(tmp_path / "results") and (tmp_path / "results" / "a").read_bytes() == b"1"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_named_file_that_was_cut_or_altered_is_noticed(data: st.DataObject, tmp_path: Path) -> None:
    storage, content = Storage(str(tmp_path)), data.draw(st.binary(min_size=1, max_size=300))
    name = storage.write("report", content)
    if data.draw(st.booleans()):
        wrong = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        at = data.draw(st.integers(0, len(content) - 1))
        wrong = content[:at] + bytes([content[at] ^ data.draw(st.integers(1, 255))]) + content[at + 1 :]
    (tmp_path / "report").write_bytes(wrong)
    with pytest.raises(CorruptFile, match="report"):
        storage.read_named(name)


def test_a_missing_named_file_is_corrupt(storage: Storage) -> None:
    with pytest.raises(CorruptFile, match="gone is missing"):
        storage.read_named(FileName("gone", 1, "0"))


def test_readers_never_see_half_a_file(tmp_path: Path) -> None:
    storage, seen = Storage(str(tmp_path)), set()
    storage.write("state", bytes([0]) * 200_000)
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            data = storage.read("state")
            seen.add((len(data), len(set(data))))

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(1, 60):
        storage.write("state", bytes([i]) * 200_000)
    done.set()
    reader.join()
    assert seen == {(200_000, 1)}
    assert storage.names() == ["state"]  # no temporary is left


def test_a_write_that_fails_is_tried_again_and_leaves_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("genlab.tracking.storage.PAUSES", (0.0, 0.0))
    storage, tries, real = Storage(str(tmp_path)), [], os.replace

    def replace(source: str, target: str) -> None:
        tries.append(target)
        if len(tries) < 3:
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    storage.write("a", b"1")
    assert len(tries) == 3 and os.listdir(tmp_path) == ["a"]
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StorageError, match=r"b cannot be written: .*No space left"):
        storage.write("b", b"1")
    assert os.listdir(tmp_path) == ["a"]


def test_what_cannot_be_written_or_is_unknown_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(GenlabError, match="--storage"):
        Storage(str(tmp_path / "file")).check_writable()
    Storage(str(tmp_path / "new" / "folder")).check_writable()
    assert os.listdir(tmp_path / "new" / "folder") == []
    with pytest.raises(GenlabError, match="nosuch"):
        Storage("nosuch://bucket/results")
