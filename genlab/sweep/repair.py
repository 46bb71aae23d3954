"""On resume: files that no event names go, and epochs whose files are damaged are trained again."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from genlab.errors import CorruptFile, last_line
from genlab.lanes.calls import ask, call
from genlab.sweep.run import Run
from genlab.tracking.records import EpochRecord, TrialRecord
from genlab.tracking.storage import FileName

# what a rank that was cut off may leave: its own kinds of files, and those under the names that they are written by
LEFT = re.compile(r"epoch_\d+-\w+\.(report|state)\.safetensors(\.\w+\.tmp)?")


def repair(run: Run) -> None:
    """The damaged epochs of a trial in one session from its start, the first one first; several trials at once. Rungs
    and objectives stay as they were."""
    if run.why:
        return
    damaged: dict[str, list[EpochRecord]] = {}
    for record, epoch in _inspect(run):
        damaged.setdefault(record.name, []).append(epoch)
    if not damaged:
        return
    run.view.say(f"{sum(map(len, damaged.values()))} epochs have damaged files: training them again")
    mailbox, left = run.pool.mailbox, {name: sorted(own, key=lambda one: one.epoch) for name, own in damaged.items()}
    while left:
        turn = [(run.records.trials[name], own.pop(0)) for name, own in left.items()]
        answers = ask(mailbox, [_request(run, record, epoch) for record, epoch in turn])
        for (record, epoch), answer in zip(turn, answers, strict=True):
            if answer["kind"] != "ok":
                why = last_line(str(answer["value"]))
                run.stop(f"epoch {epoch.epoch} of trial {record.name} could not be repaired: {why}")
                return
            value = answer["value"]
            report, state = (None if file is None else FileName(*file) for file in (value["report"], value["state"]))
            run.append("repair", trial=record.name, epoch=epoch.epoch, report=report, state=state)
            run.spare_states(record)
            if not left[record.name]:
                del left[record.name]
                call(mailbox.forget, record.name)


def _inspect(run: Run) -> Iterator[tuple[TrialRecord, EpochRecord]]:
    """The epochs whose files are missing or of another length. What a cut-off attempt left is deleted by the way."""
    folder = run.records.storage
    for name in folder.names("trials"):
        record = run.records.trials.get(name)
        if record is not None:
            run.spare_states(record)
        epochs = record.epochs.values() if record else ()
        named = {file.path.rpartition("/")[2] for e in epochs for file in (e.report, e.state) if file is not None}
        try:
            there = folder.sizes(f"trials/{name}")
        except CorruptFile as error:  # a link: what it leads to is not ours
            run.view.say(f"{error}; it is left as it is")
            continue
        for orphan in there.keys() - named:
            if LEFT.fullmatch(orphan):
                run.doomed.put(f"trials/{name}/{orphan}")
    for record in run.records.trials.values():
        sizes: Mapping[str, int] = {}
        with contextlib.suppress(CorruptFile):
            sizes = folder.sizes(f"trials/{record.name}") if record.epochs else {}
        for epoch in record.epochs.values():
            files = [file for file in (epoch.report, epoch.state) if file is not None]
            if any(sizes.get(file.path.rpartition("/")[2]) != file.bytes for file in files):
                yield record, epoch


def _request(run: Run, record: TrialRecord, epoch: EpochRecord) -> dict[str, Any]:
    begun = run.begin(record)
    session = f"{record.name}@repair"
    return {
        **begun,
        "id": f"{session}/{epoch.epoch}",
        "session": session,
        "state": None,
        "epoch": epoch.epoch,
        "test": begun["test"] and epoch.epoch == begun["epochs"],
    }
