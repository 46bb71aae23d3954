"""A damaged sweep: a cell is missing in a table, and who asks for it by name is told; no other value stands there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import genlab
from genlab.errors import CorruptFile, GenlabError


def damage(path: Path, how: str) -> None:
    """A file that is missing, cut, empty, of other bytes, or another epoch's."""
    data = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "another":
        path.write_bytes(path.with_name(path.name.replace("0002", "0003")).read_bytes())
    else:
        changed = data[:40] + bytes([data[40] ^ 1]) + data[41:]
        path.write_bytes({"cut": data[:-9], "empty": b"", "changed": changed}[how])


@pytest.mark.parametrize("how", ["missing", "cut", "empty", "changed", "another"])
def test_a_damaged_report_is_a_missing_cell(how: str, make_sweep: Any) -> None:
    sweep = make_sweep()
    sweep.whole_trial("0000", 3, lr=1)
    sweep.whole_trial("0001", 2, "pruned", lr=2)
    whole = genlab.open(sweep.records.storage.url)
    table, curves, steps = whole.trials(), whole.curves(), whole.trial("0000").steps()
    damaged = Path(sweep.records.storage.root, sweep.records.trials["0000"].epochs[2].report.path)
    damage(damaged, how)
    results = genlab.open(sweep.records.storage.url)
    found = results.curves()
    assert found.loc[("0000", 2)].isna().all() and found.index.equals(curves.index)
    pd.testing.assert_frame_equal(found.drop(index=("0000", 2)), curves.drop(index=("0000", 2)))
    trial = results.trial("0000")
    pd.testing.assert_frame_equal(trial.steps(), steps[steps.epoch != 2])
    for ask in (trial.report, lambda epoch: trial.images("samples", epoch)):
        with pytest.raises(CorruptFile, match=damaged.name):
            ask(2)
    pd.testing.assert_frame_equal(results.trials(), table)  # of last epochs alone
    last = Path(sweep.records.storage.root, sweep.records.trials["0001"].epochs[2].report.path)
    last.write_bytes(b"junk")
    row = genlab.open(sweep.records.storage.url).trials().loc["0001"]
    assert row[["kid", "lambda"]].isna().all() and row["objective"] == table.loc["0001", "objective"]  # by its event
    with pytest.raises(CorruptFile, match=last.name):
        _ = genlab.open(sweep.records.storage.url).trial("0001").metrics


def test_a_sweep_whose_every_report_is_damaged(make_sweep: Any) -> None:
    sweep = make_sweep()
    sweep.whole_trial("0000", 2, lr=1)
    for epoch in sweep.records.trials["0000"].epochs.values():
        Path(sweep.records.storage.root, epoch.report.path).unlink()
    results = genlab.open(sweep.records.storage.url)
    assert list(results.curves().index) == [("0000", 1), ("0000", 2)]
    assert list(results.trials().columns) == ["lr", "objective", "ends", "epoch", "failure"]
    assert results.trial("0000").steps().empty and results.trial("0000").curves().shape == (2, 0)


def test_damaged_records_are_refused_but_for_a_cut_last_event(make_sweep: Any) -> None:
    sweep = make_sweep()
    sweep.whole_trial("0000", 3)
    events = [Path(sweep.records.storage.root, "events", f"{n:08d}.json") for n in range(1, sweep.n + 1)]
    events[-1].write_bytes(events[-1].read_bytes()[:-9])  # as a host leaves it that lost power
    results = genlab.open(sweep.records.storage.url)
    assert results.trial("0000").epoch == 2 and list(results.trials().ends) == ["unfinished"]
    kept = events[1].read_bytes()
    events[1].write_bytes(b"{")
    with pytest.raises(CorruptFile, match=events[1].name):
        genlab.open(sweep.records.storage.url)
    events[1].unlink()
    with pytest.raises(CorruptFile, match="lacks the events"):
        genlab.open(sweep.records.storage.url)
    events[1].write_bytes(kept)
    sweep.records.storage.write("manifest.json", b'{"format": 1}')
    with pytest.raises(GenlabError, match="is of format 1"):
        genlab.open(sweep.records.storage.url)
