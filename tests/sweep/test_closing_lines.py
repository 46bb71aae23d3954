"""What a sweep says at its end of trials that failed, of one that was ended too early, of images that are not there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_summary import WIDE, Ended, said, typed_by_hand

from genlab.report.contact_sheet import contact_sheet
from genlab.sweep.plan import make

__all__ = ["typed_by_hand"]  # a fixture


@pytest.mark.parametrize("sign", [1, -1])
def test_the_trial_that_was_pruned_with_the_greatest_lead_is_named(
    sign: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Compared at its own last epoch with what the best had then, which here is the default."""
    ended = Ended(tmp_path, mode="min" if sign == 1 else "max")
    ended.trial("0000", sign * 0.9, sign * 0.8, sign * 0.3)
    ended.trial("0001", sign * 0.5, sign * 0.5, sign * 0.4, settings={"lr": 0.02})
    ended.trial("0002", sign * 0.7, ends="pruned", settings={"lr": 0.03})  # 0.2 ahead
    ended.trial("0003", sign * 0.95, sign * 0.5, ends="pruned", settings={"lr": 0.04})  # 0.3 ahead
    ended.trial("0004", sign * 0.1, sign * 0.79, ends="pruned", settings={"lr": 0.05})  # 0.01, once 0.8
    ended.trial("0005", sign * 0.1, ends="failed", settings={"lr": 0.06})
    ended.trial("0006", sign * 0.1, ends=None, settings={"lr": 0.07})
    lines = ended.end(capsys)[1]
    minus = "" if sign == 1 else "-"
    assert "no setting that was tried beat the default one" in lines
    assert (
        said(lines, "pruned while it was ahead of the best: ")
        == f"trial 0003, loss {minus}0.5 at epoch 2, against {minus}0.8"
    )
    assert said(lines, "train it to its end: ").endswith("--trials 1 --set lr=0.04")


def test_a_pruned_trial_that_was_not_ahead_is_not_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended = Ended(tmp_path)
    ended.trial("0000", 0.5, 0.4)
    ended.trial("0001", 0.5, ends="pruned", settings={"lr": 0.02})  # the same is not ahead
    ended.trial("0002", 0.45, 0.42, 0.1, ends="pruned", settings={"lr": 0.03})  # the best never trained as long
    lines = ended.end(capsys)[1]
    assert not any(line.startswith(("pruned", "train it to its end")) for line in lines)
    assert ended.summary["ahead"] is None


def test_trials_that_failed_alike_are_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def raised(line: int, message: str) -> str:
        return f"Traceback (most recent call last):\n  ...\nsweeps/toy.py:{line}, in my_loss: {message}\n"

    ended = Ended(tmp_path / "my results")
    ended.trial("0000", 0.5)
    ended.trial("0001", ends="failed", error="the data set 'x' is absent")
    for number in range(2, 12):
        ended.trial(f"{number:04d}", ends="failed", error=raised(41, "ValueError: a: b, in c:3"))
    for number in (12, 13):
        ended.trial(f"{number:04d}", ends="failed", error=raised(42, f"KeyError: {number}"))
    lines = ended.end(capsys)[1]
    folder = f"{tmp_path}/my results/{ended.records.name}/trials"
    names = ", ".join(f"{number:04d}" for number in range(2, 10))
    assert lines[2 : lines.index("best: trial 0000, loss 0.5")] == [
        f"10 trials failed: {names} and 2 more",
        "  sweeps/toy.py:41, in my_loss: ValueError: a: b, in c:3",
        f"  the whole traceback: genlab show '{folder}/0002'",
        "2 trials failed: 0012, 0013",
        "  sweeps/toy.py:42, in my_loss: KeyError: 12 (trial 0012)",
        f"  the whole traceback: genlab show '{folder}/0012'",
        "1 trial failed: 0001",
        "  the data set 'x' is absent",
        f"  the whole traceback: genlab show '{folder}/0001'",
    ]


@pytest.mark.parametrize(("failed", "more"), [(8, ""), (9, " and 1 more")])
def test_eight_that_failed_are_named(
    failed: int, more: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = Ended(tmp_path)
    names = [f"{number:04d}" for number in range(failed)]
    for name in names:
        ended.trial(name, ends="failed")
    assert said(ended.end(capsys)[1], f"{failed} trials failed: ") == ", ".join(names[:8]) + more


def test_images_that_no_report_has_are_said_and_others_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = Ended(tmp_path, replace(WIDE, images="smaples"))
    ended.trial("0000", 0.5, images={"figure": np.full((9, 9, 1), 9, np.uint8), "samples": np.zeros((9, 9, 1), "u1")})
    where = ended.records.storage.where("contact_sheet.png")
    told = said(ended.end(capsys)[1], "contact sheet: ")
    assert told == f"{where} (no report has the images 'smaples': did you mean samples?)"
    np.testing.assert_array_equal(np.asarray(Image.open(where)), np.asarray(contact_sheet(ended.records)))
    ended.plan = make(replace(WIDE, images="figure"), {}, "toy.py")
    assert said(ended.end(capsys)[1], "contact sheet: ") == where
    drawn = np.asarray(Image.open(where))
    np.testing.assert_array_equal(drawn, np.asarray(contact_sheet(ended.records, "figure")))
    assert (drawn != np.asarray(contact_sheet(ended.records))).any()
