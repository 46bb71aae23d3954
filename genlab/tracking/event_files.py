"""The files that hold a sweep's events: batches, as they were committed, and segments, put together from those.

    events/00000017.json            event 17, and what was committed with it
    events/00000001-00001004.json   events 1 to 1004: their batches in one, so that many events are few files

One event a line, as JSON whose last field, `crc32`, is of the text before it. A file is made once and never changed: of
several drivers who commit the same number, one does. The batches that a segment stands for are deleted when the next
segment is there.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import psutil

from genlab.errors import CorruptFile
from genlab.sealed import seal, unseal
from genlab.tracking.events import AnyEvent
from genlab.tracking.schema import as_json, checked
from genlab.tracking.storage import Storage

LONGEST = 1 << 24  # bytes of an event: a long traceback has a hundredth of that
SPREAD = 8  # bytes of memory that a byte of an event's file takes while it is read, and more
SEGMENT = 1000  # events of a segment, or a few more
READERS = 16  # files that are read at once: a store takes its time for each
TRIES = 3  # to read what was listed, while a driver puts segments in the place of batches

_NAME = re.compile(r"(\d{8,})(?:-(\d{8,}))?\.json")


def batch_path(first: int) -> str:
    """The file of the batch that begins with event `first`, counted from 1."""
    return f"events/{first:08d}.json"


def segment_path(first: int, last: int) -> str:
    """The file of the segment of these events."""
    return f"events/{first:08d}-{last:08d}.json"


class Cut(NamedTuple):
    """The end of the last file, damaged: its events are taken as not written."""

    path: str
    whole: bytes  # what is before the damage


class EventFiles:
    """The event files of one sweep."""

    def __init__(self, folder: Storage) -> None:
        """`folder` is the sweep's own."""
        self.folder = folder
        self.last = 0  # the newest event that is known to be written
        self._newest = ""  # the file that holds it
        self._faults = folder.faults  # of the storage, up to which all written files were seen to be there
        self._batches: list[int] = []  # first events of the batches after the last segment
        self._spent: list[int] = []  # and of those before

    def read(self) -> tuple[list[AnyEvent], Cut | None]:
        """All events in their order; and the end of the last file, if it is damaged.

        Raises:
            CorruptFile: events are missing, or other ones are damaged.
        """
        names, contents = self._contents()
        events: list[AnyEvent] = []
        cut = None
        for name, data in contents.items():
            first = _range(name)[0]
            if first != len(events) + 1:
                gap = [*range(len(events) + 1, first)][:5]
                raise CorruptFile(f"{self.folder.where('events')} lacks the events {gap}: it is not a whole sweep")
            found, damage = self._parse(name, data, first)
            events += found
            if damage is not None:
                if name != [*contents][-1] or _range(name)[1]:  # a host that lost power may have cut its last batch
                    raise damage
                cut = Cut(f"events/{name}", b"".join(line + b"\n" for line in _split(data)[: len(found)]))
        self._note(names)
        self.last = len(events)
        return events, cut

    def _note(self, names: Sequence[str]) -> None:
        """Which files there are, of these names of all of them."""
        held = cover(names)
        ends = [last for first, last in map(_range, held) if last]
        batches = sorted(first for first, last in map(_range, names) if not last)
        self._batches = [first for first in batches if not ends or first > ends[-1]]
        self._spent = batches[: len(batches) - len(self._batches)]
        self._newest = held[-1] if held else ""

    def read_from(self, number: int) -> list[AnyEvent]:
        """Event `number`, and what follows it in the same file.

        Raises:
            FileNotFoundError: it has not been written yet.
            CorruptFile: it is damaged.
        """
        held = [name for name in cover(self.folder.names("events")) if _range(name)[0] <= number]
        lines: list[bytes] = []
        if held:
            name, first = held[-1], _range(held[-1])[0]
            lines = _split(self.folder.read(f"events/{name}"))[number - first :]
        if not lines:
            raise FileNotFoundError(f"{self.folder.where('events')} has no event {number} yet")
        events, damage = self._parse(name, b"\n".join(lines), number)
        if damage is not None and not events:
            raise damage
        return events

    def write(self, events: Sequence[AnyEvent]) -> None:
        """Commit these as one batch. They follow on the last ones.

        Raises:
            AlreadyThere: another driver has committed an event of that number.
            StorageError: they cannot be written.
        """
        first = events[0].n
        self.folder.write_new(batch_path(first), _lines(events))
        self._batches.append(first)
        self.last, self._newest = events[-1].n, posixpath.basename(batch_path(first))

    def restore(self, events: Sequence[AnyEvent]) -> int:
        """Write again what was written before and is gone, as where a mount came back as it was some time ago; how many
        events that were. It is looked for where the newest file is gone, and after a fault of the storage.

        Args:
            events: all of the sweep's.

        Raises:
            StorageError: they cannot be written.
            CorruptFile: what is there is damaged.
        """
        faults = self.folder.faults
        if not self._newest or (faults == self._faults and self.folder.exists(f"events/{self._newest}")):
            return 0
        names, contents = self._contents()
        there = {_range(name)[0]: len(_split(data)) for name, data in contents.items()}
        # no batch may reach beyond the end of a segment: once the segments before that are there again, it counts anew
        ends = [last + 1 for _, last in map(_range, names) if last]
        gone, n = 0, 1
        while n <= self.last:
            if n in there:
                n += there[n]
                continue
            end = min((first for first in (*there, *ends) if first > n), default=self.last + 1)
            self.folder.write_new(batch_path(n), _lines(events[n - 1 : end - 1]))
            gone, n = gone + end - n, end
        self._note(self.folder.names("events"))
        self._faults = faults
        return gone

    def put_together(self, events: Sequence[AnyEvent]) -> None:
        """Make a segment of the oldest batches, once there are enough, and delete those of the segment before.

        Args:
            events: all of the sweep's.

        Raises:
            StorageError: that cannot be done now. Nothing is lost.
        """
        first = self._batches[0]
        own = [number for number in self._batches if number < first + SEGMENT]
        if len(own) == len(self._batches):
            return
        after = self._batches[len(own)]
        self.folder.write_new(segment_path(first, after - 1), _lines(events[first - 1 : after - 1]))
        spent, self._spent, self._batches = self._spent, own, self._batches[len(own) :]
        with ThreadPoolExecutor(READERS) as deleting:
            list(deleting.map(self.folder.delete, map(batch_path, spent)))

    def mend(self, cut: Cut) -> None:
        """Take the damaged end away, so that its numbers are free again."""
        if cut.whole:
            self.folder.write(cut.path, cut.whole)
        else:
            self.folder.delete(cut.path)
            self._batches.pop()

    def _contents(self) -> tuple[list[str], dict[str, bytes]]:
        """The names of all files, and the bytes of those that hold all events, in their order."""
        for _ in range(TRIES):
            names = [name for name in self.folder.names("events") if _NAME.fullmatch(name)]
            needed = cover(names)
            self._check_size(needed)
            with ThreadPoolExecutor(READERS) as readers:
                found = [*readers.map(self._read_if_there, needed)]
            contents = {name: data for name, data in zip(needed, found, strict=True) if data is not None}
            if len(contents) == len(needed):
                return names, contents
        raise CorruptFile(f"{self.folder.where('events')} changes faster than it can be read")

    def _check_size(self, names: Sequence[str]) -> None:
        """
        Raises:
            CorruptFile: these files are more than memory holds.
        """
        sizes = self.folder.sizes("events")
        size, room = sum(sizes.get(name, 0) for name in names), psutil.virtual_memory().available // SPREAD
        if size > room:
            raise CorruptFile(
                f"the events in {self.folder.where('events')} have {size:,} bytes, and this machine's memory holds "
                f"{room:,} of them"
            )

    def _read_if_there(self, name: str) -> bytes | None:
        try:
            return self.folder.read(f"events/{name}")
        except FileNotFoundError:
            return None

    def _parse(self, name: str, data: bytes, number: int) -> tuple[list[AnyEvent], CorruptFile | None]:
        """The events of `data`, the first of which is `number`, up to the first damage, and that.

        Raises:
            CorruptFile: whole events follow on the damage, so it is not the end that was cut.
        """
        events: list[AnyEvent] = []
        damage: CorruptFile | None = None
        for i, line in enumerate(_split(data)):
            try:
                event = self._event(line, number + i)
            except ValueError as error:
                damage = damage or CorruptFile(
                    f"{self.folder.where(f'events/{name}')} is damaged: {error}. Put a copy of that file back, or "
                    "begin a new sweep: states in trials/ can still be used, by their own paths"
                )
                continue
            if damage is not None:  # it is not the end that was cut
                raise damage
            events.append(event)
        return events, damage

    def _event(self, line: bytes, number: int) -> AnyEvent:
        if len(line) > LONGEST:
            raise ValueError(f"event {number} has {len(line):,} bytes, and none has more than {LONGEST:,}")
        event: AnyEvent = checked(unseal(line), AnyEvent)
        if event.n != number:
            raise ValueError(f"it is not event {number}")
        return event


def cover(names: Sequence[str]) -> list[str]:
    """Of the files in `events`, those that hold every event once, in their order: segments as far as they reach."""
    ranges = sorted(_range(name) for name in names if _NAME.fullmatch(name))
    longest = {first: last for first, last in ranges if last}
    after, chosen = 1, []
    while after in longest:
        chosen.append(segment_path(after, longest[after]))
        after = longest[after] + 1
    chosen += [batch_path(first) for first, last in ranges if not last and first >= after]
    return [path.rpartition("/")[2] for path in chosen]


def _range(name: str) -> tuple[int, int]:
    """First and last event of a file; of a batch the last is 0."""
    match = _NAME.fullmatch(name)
    assert match is not None
    return int(match[1]), int(match[2] or 0)


def _split(data: bytes) -> list[bytes]:
    """Its lines; of an empty file one that is empty."""
    return data.removesuffix(b"\n").split(b"\n")


def _lines(events: Sequence[AnyEvent]) -> bytes:
    return "".join(f"{seal(json.dumps(as_json(event)))}\n" for event in events).encode()
