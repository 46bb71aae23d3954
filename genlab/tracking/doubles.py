"""The runs of a sweep on a server, each trial's once: also where two senders made one twice, and where the sweep's
folder was renamed."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable

from genlab.errors import GenlabError
from genlab.tracking.address import shown
from genlab.tracking.artifacts import SWEEP
from genlab.tracking.manifest import Manifest, read_manifest
from genlab.tracking.runs import STORAGE, TRIAL, Run, Runs
from genlab.tracking.server import Refused
from genlab.tracking.storage import Storage


def find(runs: Runs, folder: Storage, name: str, manifest: Manifest, note: Callable[[str], None]) -> dict[str, Run]:
    """The runs of the sweep in `folder` by their trials, "" for its own; none where it was not sent there yet.

    A folder that was renamed takes its runs along. A copy of a folder that is still there, or a link to it, gets none:
    all would be there twice.

    Args:
        name: the folder's.
        note: called with a line on what was done to the server.

    Raises:
        Refused: it is a copy or a link, or may be one; or another sweep of this name is there.
    """
    found = list(runs.search(name))
    if any(_is_parent(run) and run.began != _milliseconds(manifest) for run in found):
        raise Refused(
            f"{shown(runs.tracking_uri)} has another sweep called {name}, which began at another time: give the folder "
            f"{folder.url} another name, and send it again"
        )
    if not any(_is_parent(run) for run in found):
        found += _renamed(runs, folder, name, manifest, note)
    return without_doubles(runs, name, found, note)


def without_doubles(runs: Runs, name: str, found: Iterable[Run], note: Callable[[str], None]) -> dict[str, Run]:
    """Runs by their trials. Should two senders have made one twice, the one that holds most stays, and the other is
    deleted."""
    kept: dict[str, Run] = {}
    doubles = 0
    for run in sorted(found, key=lambda run: (-run.sent, run.id)):
        trial = run.tags.get(TRIAL, "")
        if trial in kept:
            runs.delete(run)
            doubles += 1
        else:
            kept[trial] = run
    if doubles:
        note(f"{shown(runs.tracking_uri)} had {doubles} of the runs of {name} twice: one of each is kept")
    return kept


def _renamed(runs: Runs, folder: Storage, name: str, manifest: Manifest, note: Callable[[str], None]) -> list[Run]:
    """Runs that were sent when the folder had another name; they are called by its new one now. The sweep's own run is
    the last, so that a sender that is cut off finds it under the old name again."""
    own = [run for run in runs.search_origin(manifest.name) if run.began == _milliseconds(manifest)]
    if not own:
        return []
    storage, before = posixpath.dirname(folder.url), own[0].tags[SWEEP]
    if own[0].tags.get(STORAGE) != storage:
        raise Refused(
            f"{folder.url} was sent to {shown(runs.tracking_uri)} from another storage, as {before}: all of it would "
            f"be there twice. Call it {before} again"
        )
    earlier = list(runs.search(before))
    beside = Storage(storage).below(before)
    if _began(beside) == manifest.created:
        raise Refused(
            f"{folder.url} is a copy of {beside.url}, or a link to it, which was sent before: all of it would be at "
            f"{shown(runs.tracking_uri)} twice"
        )
    for run in sorted(earlier, key=_is_parent):
        runs.move(run, name)
    note(f"the folder {name} was called {before}: so were its {len(earlier)} runs")
    return earlier


def _milliseconds(manifest: Manifest) -> int:
    """When the sweep was begun, as MLflow has it."""
    return int(manifest.created * 1000)


def _began(folder: Storage) -> float | None:
    """When the sweep in a folder was begun; None if it holds none that can be read."""
    try:
        return read_manifest(folder).created
    except GenlabError:
        return None


def _is_parent(run: Run) -> bool:
    return TRIAL not in run.tags
