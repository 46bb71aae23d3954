"""A folder that may come from anybody: nothing in it leads out of it, and nothing keeps its reader waiting."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from genlab.errors import CorruptFile, StorageError
from genlab.tracking import storage as module
from genlab.tracking.local import NotRegular
from genlab.tracking.storage import FileName, Storage, read_file

ELSEWHERE = b"a file of somebody else"


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """With a folder, and beside it something that nobody may reach from there."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_bytes(ELSEWHERE)
    made = Storage(str(tmp_path / "here"))
    made.make()
    made.write("a/file", b"ours")
    return made


def link_to_folder(here: Path, elsewhere: Path) -> str:
    (here / "link").symlink_to(elsewhere)
    return "link/file"


def link_to_file(here: Path, elsewhere: Path) -> str:
    (here / "a" / "link").symlink_to(elsewhere / "file")
    return "a/link"


def link_upwards(here: Path, elsewhere: Path) -> str:
    (here / "a" / "up").symlink_to("../..")
    return "a/up/elsewhere/file"


def link_to_a_folder_of_ours(here: Path, elsewhere: Path) -> str:
    (here / "again").symlink_to("a")
    return "again/file"


def dots(here: Path, elsewhere: Path) -> str:
    return "a/../../elsewhere/file"


LINKS = pytest.mark.parametrize("make", [link_to_folder, link_to_file, link_upwards, link_to_a_folder_of_ours, dots])
Maker = Callable[[Path, Path], str]


@LINKS
def test_no_link_is_followed_whatever_is_asked(make: Maker, storage: Storage, tmp_path: Path) -> None:
    path = make(tmp_path / "here", tmp_path / "elsewhere")
    folder, _, name = path.rpartition("/")
    for read in (storage.read, lambda path: storage.read_start(path, 2)):
        with pytest.raises(NotRegular, match=r"is a link|leads out"):
            read(path)
    with pytest.raises(NotRegular):
        storage.read_named(FileName(path, len(ELSEWHERE), "0" * 64))
    assert not storage.exists(path)
    if make is link_to_file:  # the link itself is ours to replace and to remove
        storage.write(path, b"new")
        assert storage.read(path) == b"new"
    else:
        for write in (storage.write, storage.write_new):
            with pytest.raises(NotRegular):
                write(f"{folder}/new", b"new")
        for look in (storage.names, storage.sizes):
            with pytest.raises(NotRegular):
                look(folder)
        with pytest.raises(NotRegular):
            storage.delete(path)
    if "/" not in folder and make is not link_to_file:
        with pytest.raises(NotRegular):
            storage.clear(folder)
    assert [one.name for one in (tmp_path / "elsewhere").iterdir()] == ["file"]
    assert (tmp_path / "elsewhere" / "file").read_bytes() == ELSEWHERE
    assert name == "file" or make is link_to_file


def test_a_link_is_removed_and_not_what_it_leads_to(storage: Storage, tmp_path: Path) -> None:
    link = link_to_file(tmp_path / "here", tmp_path / "elsewhere")
    assert storage.sizes("a") == {"file": 4} and storage.names("a") == ["file", "link"]
    storage.delete(link)
    assert storage.names("a") == ["file"] and (tmp_path / "elsewhere" / "file").exists()
    (tmp_path / "here" / "b").mkdir()
    link_to_folder(tmp_path / "here" / "b", tmp_path / "elsewhere")
    storage.clear("b")
    assert storage.names() == ["a"] and (tmp_path / "elsewhere" / "file").exists()


def test_the_folder_itself_may_be_a_link(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "other").symlink_to("here")
    other = Storage(str(tmp_path / "other"))
    assert other.read("a/file") == b"ours" and other.names() == ["a"]
    other.write("b", b"1")
    assert storage.read("b") == b"1"


def fifo(path: Path) -> None:
    os.mkfifo(path)


def zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def bound(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("make", [fifo, zeros, bound, folder])
def test_what_is_no_file_keeps_nobody_waiting(
    make: Callable[[Path], None], storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path / "here")  # a socket's path is short
    make(Path("odd"))
    for read in (storage.read, lambda path: storage.read_start(path, 2)):
        with pytest.raises(CorruptFile, match=r"odd is (no regular file|a link)"):
            read("odd")
    with pytest.raises(CorruptFile, match=r"odd is (no regular file|a link)"):
        storage.read_named(FileName("odd", 4, "0" * 64))
    assert "odd" not in storage.sizes("")


def test_no_more_is_read_than_a_file_of_its_kind_may_have(storage: Storage, tmp_path: Path) -> None:
    assert storage.read("a/file", 4) == b"ours"
    assert storage.read_start("a/file", 2) == b"ou" and storage.read_start("a/file", 9) == b"ours"
    with pytest.raises(CorruptFile, match=r"a/file has 4 bytes, and one of its kind 3 at most"):
        storage.read("a/file", 3)
    with open(tmp_path / "here" / "sparse", "wb") as file:
        file.truncate(1 << 43)
    with pytest.raises(CorruptFile, match=r"sparse has 8,796,093,022,208 bytes"):
        storage.read("sparse")
    with pytest.raises(CorruptFile, match=r"which this machine's memory cannot hold"):
        storage.read_named(FileName("sparse", 1 << 43, "0" * 64))
    remote = Storage(f"memory://{tmp_path.name}")
    remote.write("file", b"theirs")
    assert remote.read("file", 6) == b"theirs"
    assert remote.read_start("file", 2) == b"th" and remote.read_start("file", 9) == b"theirs"
    with pytest.raises(CorruptFile, match="more than 5 bytes"):
        remote.read("file", 5)


def test_a_file_that_a_person_names_may_be_a_link(storage: Storage, tmp_path: Path) -> None:
    link = tmp_path / "here" / link_to_file(tmp_path / "here", tmp_path / "elsewhere")
    assert read_file(link, 1000) == ELSEWHERE
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(CorruptFile, match="no regular file"):
        read_file(tmp_path / "fifo", 1000)


class TestAFolderThatGoesAway:
    """As a mount does: nobody makes another one in its place, and whoever writes has patience."""

    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "PAUSES", (0.0, 0.0))

    @pytest.fixture
    def sweep(self, storage: Storage) -> Storage:
        made = storage.sweep("made-20260101-000000")
        made.make(new=True)
        made.write_new("manifest.json", b"{}")
        made.write("trials/0000/a", b"1")
        return made

    def acts(self, sweep: Storage) -> dict[str, Callable[[], Any]]:
        return {
            "write": lambda: sweep.write("trials/0000/b", b"2"),
            "write_new": lambda: sweep.write_new("events/00000001.json", b"2"),
            "read": lambda: sweep.read("trials/0000/a"),
            "read_named": lambda: sweep.read_named(FileName("trials/0000/a", 1, "0")),
            "names": lambda: sweep.names("trials"),
            "sizes": lambda: sweep.sizes("trials/0000"),
            "delete": lambda: sweep.delete("trials/0000/a"),
        }

    @pytest.mark.parametrize("left", ["nothing", "an empty folder"])
    def test_it_is_a_fault_and_not_an_answer(self, left: str, sweep: Storage, tmp_path: Path) -> None:
        here = Path(sweep.root)
        here.rename(tmp_path / "away")
        if left == "an empty folder":  # which is what lies under a mount
            here.mkdir()
        for name, act in self.acts(sweep).items():
            with pytest.raises(StorageError, match="is not there"):
                act()
            assert not here.exists() or not any(here.iterdir()), name
        if here.exists():
            here.rmdir()
        (tmp_path / "away").rename(here)
        assert sweep.read("trials/0000/a") == b"1"
        with pytest.raises(FileNotFoundError):  # now that is an answer
            sweep.read("trials/0000/b")
        assert sweep.names("nothing") == [] and sweep.sizes("nothing") == {}

    def test_who_waits_goes_on_when_it_is_back(
        self, sweep: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        here = Path(sweep.root)
        here.rename(tmp_path / "away")
        pauses = []

        def wait(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 2:
                (tmp_path / "away").rename(here)

        monkeypatch.setattr(sweep._hurry, "wait", wait)
        sweep.write("trials/0000/b", b"2")
        assert sweep.read("trials/0000/b") == b"2" and sweep.faults == 1 and len(pauses) == 2

    def test_a_storage_that_is_gone_is_not_made_again_by_who_writes(self, storage: Storage, tmp_path: Path) -> None:
        (tmp_path / "here").rename(tmp_path / "away")
        with pytest.raises(StorageError, match=r"the folder .*/here is not there"):
            storage.write("prepared/x", b"1")
        assert not (tmp_path / "here").exists()

    def test_a_new_folder_is_made_once(self, storage: Storage) -> None:
        new = storage.below("new")
        new.make(new=True)
        new.make()
        with pytest.raises(FileExistsError):
            new.make(new=True)


def test_a_file_that_is_deleted_while_sizes_are_read_hides_no_other(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by the thread that clears away what nobody names, while a resume looks for damaged epochs."""
    for name in ("a", "b", "c"):
        storage.write(f"own/{name}", b"four")
    scandir = os.scandir

    @contextlib.contextmanager
    def deleting(folder: int) -> Iterator[Any]:
        with scandir(folder) as entries:
            listed = list(entries)
            storage.delete("own/b")
            yield listed

    monkeypatch.setattr(os, "scandir", deleting)
    assert storage.sizes("own") == {"a": 4, "c": 4}
