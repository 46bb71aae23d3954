"""Storage: what is written appears whole, and a file that is not what an event names is noticed."""

from __future__ import annotations

import os
import pickle
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genlab.errors import CorruptFile, GenlabError, StorageError
from genlab.tracking import storage as module
from genlab.tracking.storage import AlreadyThere, FileName, Storage

MINE = "3fd30542fe3f61b14bd4a4b2dc0b6fb30fa6f63ebce52dd1778aaa8c4dc02cff"  # sha256 of "mine"
TWO = "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35"  # of "2"


@pytest.fixture(params=["local", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """A folder, and a store that only knows whole objects."""
    made = Storage(str(tmp_path / "here") if request.param == "local" else f"memory://{tmp_path.name}/results")
    made.make()
    return made


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


def test_what_lies_where(storage: Storage) -> None:
    for path, data in (("s/b", b"12"), ("s/a", b"1"), ("s/c/d", b"123"), ("other", b"")):
        storage.write(path, data)
    assert storage.names() == ["other", "s"] and storage.names("s") == storage.names("s/") == ["a", "b", "c"]
    assert storage.sizes("s") == {"a": 1, "b": 2} and storage.sizes("nothing") == {}
    assert storage.where("s/a") == f"{storage.url}/s/a" and storage.below("s").where("a") == f"{storage.url}/s/a"
    assert storage.exists("s") and storage.exists("s/c/d") and not storage.exists("s/d")
    storage.clear("s")
    storage.clear("s")
    assert not storage.exists("s/a") and not storage.exists("s/c/d") and storage.names() == ["other"]


def test_a_new_file_replaces_nobody_elses(storage: Storage) -> None:
    assert storage.write_new("events/1", b"mine") == FileName("events/1", 4, MINE)
    with pytest.raises(StorageError, match=r"/events/1 is there already"):
        storage.write_new("events/1", b"yours")
    assert storage.read("events/1") == b"mine"


def test_a_named_file_of_another_length_or_content_is_told_apart(storage: Storage) -> None:
    storage.write("a", b"mine")
    assert storage.read_named(FileName("a", 4, MINE)) == b"mine"
    with pytest.raises(CorruptFile, match=r"/a holds 4 bytes where 5 were written"):
        storage.read_named(FileName("a", 5, MINE))
    with pytest.raises(CorruptFile, match=r"/a is not what was written"):
        storage.read_named(FileName("a", 4, MINE.replace("f", "e")))


@pytest.mark.parametrize(
    ("url", "known"),
    [
        ("{folder}/results/", "{folder}/results"),
        ("{folder}/a/../results//", "{folder}/results"),
        ("file://{folder}/results/", "{folder}/results"),
        ("~/results", "{folder}/results"),
        ("memory://{name}/results/", "memory:///{name}/results"),
    ],
)
def test_one_place_has_one_url(url: str, known: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    words = {"folder": tmp_path, "name": tmp_path.name}
    storage = Storage(url.format(**words))
    known = known.format(**words)
    assert storage.url == known and storage.where("a/b") == f"{known}/a/b" and storage.below("a").url == f"{known}/a"
    assert storage.local == (not url.startswith("memory"))
    storage.make()
    storage.write("a/b", b"1")
    assert Storage(known).names("a") == ["b"]


class Remembering(MemoryFileSystem):
    """A client that remembers what it has listed, as those of object stores do, until it is told to forget."""

    protocol = "remembering"
    cachable = False
    store: ClassVar[dict[str, Any]] = {}

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        path = self._strip_protocol(path)
        if path not in self.dircache:
            self.dircache[path] = super().ls(path, detail=True)
        return [dict(entry) if detail else entry["name"] for entry in self.dircache[path]]

    def exists(self, path: str, **_: Any) -> bool:
        path = self._strip_protocol(path)
        try:
            return path in self.ls(path.rpartition("/")[0], detail=False)
        except FileNotFoundError:
            return False

    def invalidate_cache(self, path: str | None = None) -> None:
        self.dircache.pop(self._strip_protocol(path or ""), None)


def test_what_another_process_wrote_is_seen(tmp_path: Path) -> None:
    fsspec.register_implementation("remembering", Remembering, clobber=True)
    mine, other = (Storage(f"remembering://{tmp_path.name}") for _ in range(2))
    looks: list[Callable[[], Any]] = [lambda: mine.names("s"), lambda: mine.sizes("s"), lambda: mine.exists("s/d")]
    seen = []
    other.write("s/a", b"1")
    for path, look in zip(("s/b", "s/c", "s/d"), looks, strict=True):
        look()
        other.write(path, b"1")
        seen.append(look())
    assert seen == [["a", "b"], {"a": 1, "b": 1, "c": 1}, True]


def test_it_travels_to_another_process(storage: Storage) -> None:
    storage.write("a", b"1")
    other = pickle.loads(pickle.dumps(storage))
    assert other.url == storage.url and other.read("a") == b"1"


def test_a_relative_folder_is_made_absolute(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    storage = Storage("./results")
    monkeypatch.chdir("/")
    storage.make()
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

    def replace(source: str, target: str, **folders: int) -> None:
        tries.append(target)
        if len(tries) < 3:
            raise OSError(28, "No space left on device")
        real(source, target, **folders)

    monkeypatch.setattr(os, "replace", replace)
    storage.write("a", b"1")
    assert len(tries) == 3 and os.listdir(tmp_path) == ["a"]
    monkeypatch.setattr(os, "replace", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StorageError, match=r"b cannot be written: .*No space left"):
        storage.write("b", b"1")
    assert os.listdir(tmp_path) == ["a"]


def test_two_writers_at_once_disturb_neither(tmp_path: Path, monkeypatch: Any) -> None:
    storage, real, calls = Storage(str(tmp_path)), os.replace, list[str]()

    def replace(source: str, target: str, **folders: int) -> None:
        calls.append(source)
        if len(calls) == 1:  # just then the other one writes
            storage.write("a", b"of another process")
        real(source, target, **folders)

    monkeypatch.setattr(os, "replace", replace)
    outer = storage.write("a", b"mine")
    assert storage.read_named(outer) == b"mine" and os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("write", ["write", "write_new"])
def test_what_is_written_is_on_the_disk_before_it_has_its_name_and_its_name_before_anything_else(
    write: str, tmp_path: Path, monkeypatch: Any
) -> None:
    storage, steps = Storage(str(tmp_path)), list[str]()
    real_sync = os.fsync

    def sync(file: int) -> None:
        about = os.fstat(file)
        if stat.S_ISREG(about.st_mode):
            assert about.st_size == 4  # nothing is left in a buffer of this process
            steps.append("content")
        else:
            steps.append(os.path.relpath(os.readlink(f"/proc/self/fd/{file}"), tmp_path))
        real_sync(file)

    monkeypatch.setattr(os, "fsync", sync)
    for name in ("replace", "link"):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *paths, real=real, **folders: (steps.append("named"), real(*paths, **folders))
        )
    getattr(storage, write)("trials/0000/part", b"mine")
    assert steps == [".", "trials", "content", "named", "trials/0000"]  # new folders first
    steps.clear()
    getattr(storage, write)("trials/0000/other", b"more")
    assert steps == ["content", "named", "trials/0000"]
    assert sorted(os.listdir(tmp_path / "trials" / "0000")) == ["other", "part"]


def test_of_many_who_write_one_new_file_at_once_one_does(tmp_path: Path) -> None:
    """On a disk; for an object store it is the store's own rule."""
    storage = Storage(str(tmp_path))
    results: list[Any] = []
    ready = threading.Barrier(8)

    def write(content: bytes) -> None:
        ready.wait()
        try:
            results.append(storage.write_new("taken", content))
        except AlreadyThere:
            results.append(None)

    writers = [threading.Thread(target=write, args=(f"{i}".encode(),)) for i in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    (won,) = [one for one in results if one is not None]
    assert storage.read_named(won) and storage.names() == ["taken"] and len(results) == 8


def test_a_new_file_whose_answer_was_lost_is_ours(storage: Storage) -> None:
    assert storage.write_new("taken", b"mine") == storage.write_new("taken", b"mine")


def test_a_disk_without_hard_links_writes_new_files_all_the_same(tmp_path: Path, monkeypatch: Any) -> None:
    def link(*paths: str, **folders: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    storage = Storage(str(tmp_path))
    storage.write_new("taken", b"mine")
    with pytest.raises(AlreadyThere):
        storage.write_new("taken", b"yours")
    assert os.listdir(tmp_path) == ["taken"] and storage.read("taken") == b"mine"


@pytest.mark.parametrize("action", ["write", "write_new", "read", "names", "sizes", "exists", "delete", "clear"])
def test_a_store_that_fails_is_asked_again_after_longer_and_longer_pauses(
    action: str, tmp_path: Path, monkeypatch: Any
) -> None:
    """Twice it does not answer, and then it does; and one that never does is told with its file."""
    slept: list[float] = []
    storage = Storage(f"memory://{tmp_path.name}/{action}")
    hurry = SimpleNamespace(wait=slept.append, is_set=lambda: False, set=lambda: None)
    monkeypatch.setattr(storage, "_hurry", hurry)
    storage.write("s/a", b"1")
    tries: list[str] = []
    for name in ("pipe_file", "cat_file", "ls", "rm_file", "rm", "exists"):
        real = getattr(storage.files.filesystem, name)

        def fails(*args: Any, real: Any = real, **words: Any) -> Any:
            tries.append("")
            if len(tries) in (1, 2) or len(tries) > 10:
                raise OSError(5, "no answer")
            return real(*args, **words)

        monkeypatch.setattr(storage.files.filesystem, name, fails)
    words = {"write": ("s/b", b"2"), "write_new": ("s/b", b"2"), "names": ("s",), "sizes": ("s",), "clear": ("s",)}
    answers = {"read": b"1", "names": ["a"], "sizes": {"a": 1}, "exists": True, "delete": None, "clear": None}
    given = words.get(action, ("s/a",))
    said = getattr(storage, action)(*given)
    assert slept == [0.2, 1.0] and said == answers.get(action, FileName("s/b", 1, TWO))
    tries[:] = [""] * 10
    slept.clear()
    with pytest.raises(StorageError, match=f"{action}.*: .*no answer") as raised:
        getattr(storage, action)(*given)
    assert slept == [0.2, 1.0, 3.0] and len(tries) == 14
    assert f"/{tmp_path.name}/{action}{''.join(f'/{word}' for word in given[:1])} cannot" in str(raised.value)


def test_a_patient_storage_tries_for_minutes_says_so_and_can_be_hurried(
    tmp_path: Path, monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    storage = Storage(f"memory://{tmp_path.name}", patient=True)
    below = pickle.loads(pickle.dumps(storage)).below("sweep")
    assert below.patient and not Storage(storage.url).patient
    slept: list[float] = []
    hurried, gave_up = [False], list[bool]()
    hurry = SimpleNamespace(wait=slept.append, is_set=lambda: hurried[0], set=lambda: gave_up.append(True))
    monkeypatch.setattr(below, "_hurry", hurry)
    tries, fails, real = list[str](), 6, below.files.filesystem.pipe_file

    def put(*args: Any, **words: Any) -> Any:
        tries.append("")
        if len(tries) <= fails:
            raise OSError(28, "No space left")
        return real(*args, **words)

    monkeypatch.setattr(below.files.filesystem, "pipe_file", put)
    below.write("a", b"1")
    assert slept == [0.2, 1.0, 3.0, 10.0, 20.0, 30.0]
    first, last = [record.getMessage() for record in caplog.records]
    assert first.endswith("/sweep/a cannot be written: [Errno 28] No space left; trying again for 240 s")
    assert last == f"the storage {below.url} answers again"
    fails = 1000
    with pytest.raises(StorageError):
        below.write("a", b"1")
    assert sum(slept[6:]) == sum(module.PATIENT) > 200 and gave_up  # what follows need not wait as long again
    slept.clear()
    hurried[0] = True  # a sweep that is stopped
    with pytest.raises(StorageError):
        below.write("a", b"1")
    assert slept == list(module.PAUSES)
    storage.hurry()
    assert storage.below("x")._hurry.is_set()


def test_what_cannot_be_written_or_is_unknown_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(GenlabError, match="--storage"):
        Storage(str(tmp_path / "file")).check_writable()
    Storage(str(tmp_path / "new" / "folder")).check_writable()
    assert os.listdir(tmp_path / "new" / "folder") == []
    with pytest.raises(GenlabError, match="nosuch"):
        Storage("nosuch://bucket/results")
