"""The command that a sweep says at its end: typed into a shell, it trains the best setting again."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from test_summary import WIDE, Ended, Wide, WideConfig, said

from genlab.sweep import Sweep, choice
from genlab.sweep.options import parse
from genlab.sweep.plan import make

EXACT = 0.012345678901234567


@dataclass(frozen=True, kw_only=True)
class CalledConfig(WideConfig):
    """A field that is called as an option, which says something else."""

    workers: int = 3
    seeds: int = 4


class Called(Wide):
    Config = CalledConfig


CALLED = replace(WIDE, task=Called, space={"workers": choice(1, 3), "seeds": choice(2, 4)}, conditions={}, grid=())


@pytest.mark.parametrize(
    ("sweep", "command", "settings"),
    [
        (WIDE, "", {"lr": EXACT, "flip": True, "ngf": 16}),
        (WIDE, "", {"lr": EXACT, "flip": False}),  # ngf was not searched there
        (WIDE, "--epochs 7 --seed 3 --seeds 2 --workers 2 --lanes 3 --confirm 1", {"lr": 0.03, "flip": False}),
        (WIDE, "--seed 0 --dataset \"image_folder:/it's here\" --data-root '/a b'", {"lr": 0.03, "flip": False}),
        (WIDE, "--set seed=5 ngf=4,16 'note=two words; $HOME'", {"lr": 0.03, "flip": True, "ngf": 4}),
        (WIDE, "--set lr=0.5 widths=8:100:8,4:2 flip=true", {"widths": "8:100:8", "ngf": 16}),
        (WIDE, "--set lr=0.5 flip=true ngf=8 note=none widths=2:100:2", {}),
        (WIDE, "--grid --set flip=true", {"epochs": 1, "lr": 0.05, "note": "-"}),
        (WIDE, "--grid --seeds 2", {"epochs": 9, "lr": 0.02, "note": None}),
        (replace(WIDE, grace_epochs=3), "--epochs 2 --scheduler fifo", {"lr": 0.03, "flip": True, "ngf": 8}),
        (replace(WIDE, grace_epochs=3), "--grid", {"epochs": 1, "lr": 0.05, "note": "-"}),
        (replace(WIDE, space={}, conditions={}), "--epochs 2", {}),
        (CALLED, "--workers 2 --seeds 3", {"workers": 1, "seeds": 2}),
        (WIDE, "--cpus-per-worker 2", {"lr": 0.03, "flip": False}),  # its threads, from which the last bits follow
    ],
)
def test_it_trains_exactly_the_best_setting(
    sweep: Sweep, command: str, settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = Ended(tmp_path / "it's mine", sweep, parse("x", shlex.split(command)).given())
    ended.trial("0000", 0.9, settings=ended.plan.default)
    ended.trial("0001", 0.5, settings=settings)
    words = shlex.split(said(ended.end(capsys, script="python 'my sweeps/wide.py'")[1], "train it again: "))
    assert words[:2] == ["python", "my sweeps/wide.py"]
    options = parse("x", words[2:])
    again = make(sweep, options.given(), "wide.py")
    assert options.storage == f"{tmp_path}/it's mine" and options.resume is None
    assert again.trials == 1 and again.config(again.default) == ended.plan.config(settings)
    for name in ("workers", "seeds"):
        assert getattr(again, name) == getattr(ended.plan, name)
    for name in ("data_root", "cpus_per_worker"):
        assert again.options.get(name) == ended.plan.options.get(name)
    assert again.confirm == 0 and not options.grid
