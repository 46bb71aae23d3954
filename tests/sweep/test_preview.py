"""What a dry run says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from one_process import curve_sweep

from genlab.sweep import choice, integer, log_uniform, uniform
from genlab.sweep.plan import make
from genlab.sweep.preview import describe
from genlab.sweep.sweep import in_words
from genlab.tracking.storage import Storage


@pytest.mark.parametrize(
    ("searched", "words"),
    [
        (choice("batch", "none"), "batch, none"),
        (choice((16, 32), (64,)), "16:32, 64"),
        (uniform(0.3, 0.7), "0.3 to 0.7"),
        (log_uniform(2e-4, 2e-3), "0.0002 to 0.002, logarithmic"),
        (integer(8, 64), "8 to 64"),
        (integer(8, 64, 8), "8 to 64 by 8"),
    ],
)
def test_a_range_is_said_as_it_was_meant(searched: Any, words: str) -> None:
    assert in_words(searched) == words


def test_the_default_setting_is_that_of_trial_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Which is not the config's where that is none of the choices, nor where a grid begins with another row."""
    space, found = (
        SimpleNamespace(lanes=1, resources={"CPU": 1}),
        {"metrics": {"loss": 1.0}, "diverged": False, "few": True},
    )
    for options in ({"set": ("level=7,8",)}, {"set": ("level=7,8",), "grid": True}):
        describe(make(curve_sweep(), options, None), Storage(str(tmp_path)), space, found)
        (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│ level")]
        assert row.split("│")[2].strip() == "7.0"


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ({"metrics": {}, "diverged": True, "few": False}, "on one worker: it diverged"),
        ({"metrics": {"loss": 0.5}, "diverged": False, "few": False}, "on one worker: loss 0.5"),
        ({"metrics": {"loss": 0.5}, "diverged": False, "few": True}, "on one worker and a few samples: loss 0.5"),
    ],
)
def test_how_the_step_went_is_said(
    found: dict[str, Any], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = make(curve_sweep(), {}, None)
    space = SimpleNamespace(lanes=1, resources={"CPU": 1})
    describe(plan, Storage(str(tmp_path)), space, found)
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"its evaluation passed, {says}")
