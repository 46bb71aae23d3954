"""`genlab curves` as a user types it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from genlab import cli
from genlab.report.curves import curves


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., str]:
    """Runs `genlab curves` in an empty folder; what was said, after the exit code was found to be this one."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def draw(*words: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["genlab", "curves", *words])
        with pytest.raises(SystemExit) as exit:
            cli.main()
        said = capsys.readouterr()
        assert exit.value.code == code
        return said.err if code else said.out

    return draw


def test_of_a_sweep_and_of_a_trial(run: Any, make_sweep: Any) -> None:
    sweep = make_sweep()
    sweep.whole_trial("0000", 1)
    sweep.trial("0001")
    sweep.epoch("0001", 1, "pruned")
    folder = sweep.records.storage.url
    assert run(folder) == "curves.png\n"
    np.testing.assert_array_equal(np.asarray(Image.open("curves.png")), np.asarray(curves(sweep.records)))
    Path("below").mkdir()
    assert run(f"{folder}/trials/0001", "--out", "below/one.png") == "below/one.png\n"
    np.testing.assert_array_equal(np.asarray(Image.open("below/one.png")), np.asarray(curves(sweep.records, "0001")))


def test_what_cannot_be_drawn_is_refused(run: Any, make_sweep: Any, tmp_path: Path) -> None:
    folder = make_sweep().records.storage.url
    for words, why in (
        ((str(tmp_path / "nowhere"),), "there is no folder"),
        ((f"{folder}/trials/0000",), "has no trial '0000': none has begun"),
        ((folder, "--out", "x.pgn"), "did you mean .png"),
        ((folder, "--out", "no/x.png"), "there is no folder no"),
    ):
        said = run(*words, code=2)
        assert said.startswith("genlab: ") and said.count("\n") == 1 and why in said
    assert not list(Path().iterdir())


def test_an_ending_may_be_written_in_capitals(run: Any, make_sweep: Any) -> None:
    sweep = make_sweep()
    sweep.whole_trial("0000", 1)
    assert run(sweep.records.storage.url, "--out", "X.PNG") == "X.PNG\n"
    assert Image.open("X.PNG").format == "PNG"


def test_what_cannot_be_written_is_said_in_a_line(run: Any, make_sweep: Any) -> None:
    sweep = make_sweep()
    sweep.whole_trial("0000", 1)
    folder = sweep.records.storage.url
    Path("folder.png").mkdir()
    Path("dangling.png").symlink_to("nowhere/x.png")
    for out, why in (
        ("folder.png", "--out folder.png is a folder: name a file in it"),
        ("dangling.png", "--out dangling.png cannot be written: "),
        ("x", "--out x: no picture can be written with no ending: write x.png"),
    ):
        said = run(folder, "--out", out, code=2)
        assert said.startswith(f"genlab: {why}") and said.count("\n") == 1
