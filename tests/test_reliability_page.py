"""What tests tell of a fault is on the page, with nothing that is of this machine; rows that were not run stay."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import reliability_page
from outcomes import Outcome
from reliability_page import ROOT, page, tell

SAID = """connecting to 10.77.0.2
noted-20261122-080000: 6 trials of 6 epochs on 2 lanes of 1 x 1 CPU, records in /tmp/some/results
      1/6  trial 0000  completed  epoch 6/6  loss 1.4  lr=0.01  about 0:10 left
/tmp/some/results/noted-20261122-080000/a cannot be written: no space; trying again for 240 s
best: trial 0003, loss 0.8
"""
FULL = "the storage is full until the screen says so"
DOWN = "the server is down from the start, and back after the sweep"
CLEAN = {"points": 468, "points missing": 0, "points too many": 0, "images": 36, "images missing": 0}
OUTCOME = Outcome(6, {"completed": 5, "failed": 1}, [], [], 1, 12.4, CLEAN | {"images too many": 2}, SAID)


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page of this test's own."""
    monkeypatch.setattr(reliability_page, "KEPT", tmp_path / "reliability.json")
    monkeypatch.setattr(reliability_page, "PAGE", tmp_path / "RELIABILITY.md")
    monkeypatch.setattr(reliability_page, "TOLD", {})
    monkeypatch.setattr(reliability_page, "commit", lambda: "0123abc")
    return tmp_path


def test_a_row_says_what_the_sweep_came_through_with() -> None:
    tell("The storage", FULL, OUTCOME, did="made room", hide={"/tmp/some/results": "STORAGE"})
    (row,) = [line for line in page(reliability_page.TOLD).splitlines() if line.startswith(f"| {FULL}")]
    cells = row.strip("| ").split(" | ")
    assert cells[:7] == [
        FULL, "5 of 6 (1 failed)", "12", "1", "0", "0 of 468 points, 2 of 36 images", "made room",
    ]  # fmt: skip
    assert cells[7] == "`STORAGE/SWEEP/a cannot be written: no space; trying again for 240 s`"


def test_a_sweep_that_says_what_every_sweep_says_told_of_nothing() -> None:
    usual = "\n".join(line for line in SAID.splitlines() if "cannot" not in line)
    usual += "\n2026-11-22 14:11:36,681\tVINFO updater.py:557 -- rsynced tests/noted.py (local) to ~/noted.py (remote)"
    usual += "\n2026-11-22 15:34:10,269\tINFO command_runner.py:234 -- Fetched IP: 10.77.0.2"
    usual += "\n2026-11-22 14:38:44,605\tWARN docker.py:20 -- File Mount: (~/a/b.toml) refers to a file."
    usual += "\n  To ensure this mount updates properly, please use a directory."
    outcome = dataclasses.replace(OUTCOME, said=usual)
    tell("A process of the sweep", "nothing", outcome)
    assert not outcome.unusual() and reliability_page.TOLD["nothing"]["saw"] == "nothing"


def test_rows_that_were_not_run_stay(kept: Path) -> None:
    tell("MLflow", DOWN, OUTCOME)
    tell("The storage", FULL, OUTCOME)
    reliability_page.write()
    reliability_page.TOLD.clear()
    tell("MLflow", DOWN, dataclasses.replace(OUTCOME, trained_twice=7))
    reliability_page.write()
    rows = json.loads((kept / "reliability.json").read_text())
    assert [(fault, row["trained_twice"]) for fault, row in rows.items()] == [
        (DOWN, 7),
        (FULL, 1),
    ]
    assert (kept / "RELIABILITY.md").read_text() == page(rows)


def test_the_page_names_what_was_not_tried() -> None:
    tell("What a lane lacks", "a node without the data", OUTCOME)
    written = page(reliability_page.TOLD)
    assert "\n\nNot tried yet: a GPU that refuses memory.\n" in written
    assert "## A process of the sweep\n\nNot tried yet: nothing; a lane's worker killed;" in written
    every = [fault for faults in reliability_page.FAULTS.values() for fault in faults]
    everything = dict.fromkeys(every, reliability_page.TOLD["a node without the data"])
    assert "Not tried" not in page(everything)


def test_only_a_commit_is_written_of(monkeypatch: pytest.MonkeyPatch) -> None:
    reliability_page.check()
    monkeypatch.setattr(reliability_page, "commit", lambda: "0123abc+")
    with pytest.raises(pytest.UsageError, match="commit what was changed before"):
        reliability_page.check()


def test_the_page_is_the_one_of_the_kept_rows() -> None:
    kept_rows = ROOT / "docs" / "reliability.json"
    assert (ROOT / "docs" / "RELIABILITY.md").read_text() == page(json.loads(kept_rows.read_text()))
