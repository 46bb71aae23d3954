"""The files of events: whatever batches were committed, cut, altered or put together, what is read is what happened."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genlab.errors import CorruptFile, GenlabError, StorageError
from genlab.sealed import seal
from genlab.tracking import event_files
from genlab.tracking.event_files import EventFiles, batch_path, cover, segment_path
from genlab.tracking.events import AnyEvent, Started
from genlab.tracking.records import Records
from genlab.tracking.schema import as_json
from genlab.tracking.storage import AlreadyThere, Storage

SHARED = [HealthCheck.function_scoped_fixture]


def events(first: int, count: int) -> list[AnyEvent]:
    return [Started(n=n, time=n / 7, options={"text": 'é"}\n{'}) for n in range(first, first + count)]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of five events."""
    monkeypatch.setattr(event_files, "SEGMENT", 5)


@pytest.fixture
def new_folder(tmp_path: Path) -> Callable[[], Storage]:
    """Makes empty folders."""
    made: list[Storage] = []

    def make() -> Storage:
        made.append(Storage(str(tmp_path / str(len(made)))))
        made[-1].make()
        return made[-1]

    return make


def commit(files: EventFiles, known: list[AnyEvent], count: int) -> None:
    """As records do."""
    known += events(len(known) + 1, count)
    files.write(known[-count:])
    files.put_together(known)


@settings(max_examples=25, suppress_health_check=SHARED)
@given(st.lists(st.tuples(st.integers(1, 7), st.booleans()), max_size=9))
def test_whatever_the_batches_each_event_is_read_once_and_files_are_few(
    short: None, new_folder: Callable[[], Storage], batches: list[tuple[int, bool]]
) -> None:
    folder = new_folder()
    files, known = EventFiles(folder), []
    for count, resumed in batches:
        if resumed:
            files = EventFiles(folder)
            assert files.read() == (known, None) and files.last == len(known)
        commit(files, known, count)
        assert EventFiles(folder).read() == (known, None)
        for number in range(1, len(known) + 1):
            found = EventFiles(folder).read_from(number)
            assert found == known[number - 1 : number - 1 + len(found)] != []
        with pytest.raises(FileNotFoundError):
            files.read_from(len(known) + 1)
    names = folder.names("events")
    segments = [name for name in names if "-" in name]
    # those that no segment stands for, and those of the last one: each segment has at least its five events
    assert len(names) - len(segments) <= 5 + 5 + 1 and len(segments) <= len(known) // 5


def test_the_batches_of_a_segment_go_with_the_next_one_also_after_a_resume(
    short: None, new_folder: Callable[[], Storage]
) -> None:
    """Until then a driver that was taken for dead finds its numbers taken."""
    folder = new_folder()
    files, known = EventFiles(folder), []

    def batches() -> list[str]:
        return [name[:8] for name in folder.names("events") if "-" not in name]

    for _ in range(6):
        commit(files, known, 1)
    assert folder.exists(segment_path(1, 5)) and batches() == [f"{n:08d}" for n in range(1, 7)]
    files = EventFiles(folder)
    files.read()
    for _ in range(5):
        commit(files, known, 1)
    assert folder.exists(segment_path(6, 10)) and batches() == [f"{n:08d}" for n in range(6, 12)]
    assert EventFiles(folder).read() == (known, None)


def test_a_reader_is_not_led_astray_by_a_driver_that_puts_batches_together(
    short: None, new_folder: Callable[[], Storage], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = new_folder()
    files, known = EventFiles(folder), []
    for _ in range(10):
        commit(files, known, 1)
    real, left = folder.names, [15]

    def names(path: str) -> list[str]:
        listed = real(path)
        if left:
            for _ in range(left.pop()):  # the listed batches are deleted before they are read
                commit(files, known, 1)
            assert not folder.exists(batch_path(7))
        return listed

    late = EventFiles(folder)
    monkeypatch.setattr(folder, "names", names)
    assert late.read() == (known, None)


def test_of_two_who_commit_a_number_one_does_and_a_late_one_is_not_heard(
    short: None, new_folder: Callable[[], Storage]
) -> None:
    folder = new_folder()
    files, known = EventFiles(folder), []
    commit(files, known, 2)
    late = EventFiles(folder)
    late.read()
    commit(files, known, 2)
    with pytest.raises(AlreadyThere, match=r"00000003\.json is there already"):
        late.write([Started(n=3, time=0.0, options={})])
    for _ in range(12):
        commit(files, known, 1)
    assert not folder.exists(batch_path(3))
    late.write([Started(n=3, time=0.0, options={})])  # its number was put together with others
    assert EventFiles(folder).read() == (known, None)
    assert EventFiles(folder).read_from(3)[0] == known[2]


@pytest.fixture
def made(make_sweep: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A sweep of two segments, two batches of one event, and one of three."""
    monkeypatch.setattr(event_files, "SEGMENT", 3)
    sweep = make_sweep()
    for name in ("00000", "00001"):
        sweep.whole_trial(name, 3, lr=0.1)
    sweep.records.note("trial", trial="00002", settings={}, config={"epochs": 1, "seed": 0}, distributions={})
    sweep.records.note("start", options={"trials": 3})
    sweep.records.note("start", options={"trials": 4})
    sweep.records.commit()
    return sweep


@settings(max_examples=250, suppress_health_check=SHARED)
@given(
    st.integers(0, 5),
    st.floats(0, 1, exclude_max=True),
    st.integers(1, 255),
    st.sampled_from(["cut", "altered", "longer", "gone"]),
)
def test_files_that_are_cut_altered_or_gone_are_an_error_or_the_beginning_of_what_happened(
    made: Any, which: int, where: float, change: int, how: str
) -> None:
    name = made.records.name
    storage = Storage(tempfile.mkdtemp(dir=made.storage.root))
    shutil.copytree(made.records.storage.root, f"{storage.root}/{name}")
    folder, whole = storage.below(name), Records.open(storage, name)
    needed = [f"events/{one}" for one in cover(folder.names("events"))]
    assert len(needed) == 5 and "-" in needed[1] and "-" not in needed[2]
    path = ["manifest.json", *needed][which]
    before = folder.read(path)
    at = int(where * len(before))
    changed = bytes([(before[at] + change) % 256])
    now = {"cut": before[:at], "altered": before[:at] + changed + before[at + 1 :], "longer": before + changed}
    folder.write(path, now[how]) if how in now else folder.delete(path)
    try:
        found = Records.open(storage, name)
        assert found.manifest == whole.manifest
        assert found.events == whole.events[: len(found.events)]
        assert found.events == whole.events or path == needed[-1]
        found.append("start", options={})  # what is lost can be done again
        assert Records.open(storage, name).events == found.events
    except GenlabError as error:
        assert folder.url in str(error) and "\n" not in str(error)


def test_the_damaged_end_of_a_batch_gives_its_numbers_free_and_what_is_before_counts(make_sweep: Any) -> None:
    sweep = make_sweep()
    sweep.trial("00000")
    for trials in (3, 4, 5):
        sweep.records.note("start", options={"trials": trials})
    sweep.records.commit()
    folder = sweep.records.storage
    lines = folder.read(batch_path(2)).splitlines(keepends=True)
    assert len(lines) == 3
    folder.write(batch_path(2), lines[0] + lines[1][:20])
    found = Records.open(sweep.storage, sweep.records.name)
    assert found.options()["trials"] == 3 and folder.read(batch_path(2)) == lines[0] + lines[1][:20]  # until it goes on
    assert found.append("start", options={"trials": 9}).n == 3
    assert Records.open(sweep.storage, sweep.records.name).events == found.events
    folder.write(batch_path(2), lines[0][:30])
    with pytest.raises(CorruptFile, match=r"00000002\.json is damaged"):  # it is not the last any more
        Records.open(sweep.storage, sweep.records.name)


def test_damage_that_whole_events_follow_is_an_error_also_in_the_last_file(make_sweep: Any) -> None:
    sweep = make_sweep()
    for trials in (3, 4):
        sweep.records.note("start", options={"trials": trials})
    sweep.records.commit()
    folder = sweep.records.storage
    folder.write(batch_path(1), folder.read(batch_path(1)).replace(b'"trials": 3', b'"trials": 7'))
    with pytest.raises(CorruptFile, match=r"00000001\.json is damaged: its crc32 is that of another text"):
        Records.open(sweep.storage, sweep.records.name)


def test_what_has_no_seal_is_damaged(make_sweep: Any) -> None:
    sweep = make_sweep()
    sweep.trial("00000")
    folder, name = sweep.records.storage, sweep.records.name
    event = as_json(sweep.records.events[0])
    folder.write(batch_path(1), json.dumps(event).encode())
    assert Records.open(sweep.storage, name).events == []
    folder.write(batch_path(2), seal(json.dumps({**event, "n": 2})).encode())
    with pytest.raises(CorruptFile, match="it has no crc32"):
        Records.open(sweep.storage, name)
    folder.write("manifest.json", json.dumps(as_json(sweep.records.manifest)).encode())
    with pytest.raises(CorruptFile, match=r"manifest\.json is damaged: it has no crc32"):
        Records.open(sweep.storage, name)


@settings(max_examples=40, suppress_health_check=SHARED)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=8), st.data())
def test_what_was_written_and_is_gone_is_written_again(
    short: None, new_folder: Callable[[], Storage], batches: list[int], data: st.DataObject
) -> None:
    """A mount may come back as it was some time ago; whichever files are missing then, the driver has all events."""
    folder = new_folder()
    files, known = EventFiles(folder), list[AnyEvent]()
    for count in batches:
        commit(files, known, count)
    for name in data.draw(st.sets(st.sampled_from(folder.names("events")))):
        folder.delete(f"events/{name}")
    folder.faults += 1  # it was noticed
    files.restore(known)
    commit(files, known, 2)
    assert EventFiles(folder).read() == (known, None)
    for _ in range(12):  # and they are put together as ever
        commit(files, known, 1)
    assert EventFiles(folder).read() == (known, None) and len(folder.names("events")) <= 5 + 5 + len(known) // 5 + 1


def test_a_segment_beyond_what_is_gone_counts_again_with_those_before_it(
    short: None, new_folder: Callable[[], Storage]
) -> None:
    folder = new_folder()
    files, known = EventFiles(folder), list[AnyEvent]()
    for count in (1, 4, 1, 1, 3, 1):
        commit(files, known, count)
    for path in (segment_path(1, 5), batch_path(8), batch_path(11)):  # of 6 to 10 the segment stays, and two batches
        folder.delete(path)
    folder.faults += 1
    assert files.restore(known) == 9
    for _ in range(8):
        commit(files, known, 2)
        assert EventFiles(folder).read() == (known, None)


def test_it_is_noticed_that_the_newest_events_are_gone_and_what_is_there_stays(
    make_sweep: Any, caplog: pytest.LogCaptureFixture
) -> None:
    sweep = make_sweep()
    for trials in range(1, 5):
        sweep.records.append("start", options={"trials": trials})
    folder = sweep.records.storage
    first = folder.read(batch_path(1))
    for number in (2, 3, 4):
        folder.delete(batch_path(number))
    sweep.records.append("start", options={"trials": 9})
    again = Records.open(sweep.storage, sweep.records.name)
    assert again.events == sweep.records.events and folder.read(batch_path(1)) == first
    assert caplog.messages == [f"{folder.url} had lost 3 events: they are written again"]
    caplog.clear()
    sweep.records.append("start", options={"trials": 10})
    assert not caplog.messages


def test_a_store_that_fails_when_batches_are_put_together_loses_nothing(
    short: None, make_sweep: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep()
    folder, real = sweep.records._files.folder, sweep.records._files.folder.write_new

    def fails(path: str, data: bytes) -> Any:
        if path == segment_path(1, 5):
            raise StorageError("full")
        return real(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(folder, "write_new", fails)
        for trials in range(9):
            sweep.records.append("start", options={"trials": trials})
    assert Records.open(sweep.storage, sweep.records.name).events == sweep.records.events
    sweep.records.append("start", options={"trials": 9})
    assert folder.exists(segment_path(1, 5))
