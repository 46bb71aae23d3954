"""The curves of a sweep: which trials, what is said of them, what stands where, and the same pixels each time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from figures import METRIC, assert_readable, axes_of, figure_of, texts_of, told
from PIL import Image

from genlab.errors import GenlabError
from genlab.report.curves import curves, curves_figure
from genlab.report.style import DPI

STEPS = {
    "loss/generator": np.linspace(2, 1, 30),
    "loss/discriminator": np.linspace(1, 0, 30),
    "score/real": np.ones(30),
}


def two_trials(make_sweep: Callable[..., Any], seeds: int = 1, **manifest: Any) -> Any:
    """Trial 0001 is best, 0002 a pruned one; each with everything that a page may hold."""
    sweep = make_sweep(seeds=tuple(range(seeds)), **manifest)

    def epochs(worse: float) -> list[dict[str, Any]]:
        return [
            {
                METRIC: [worse + 9.0 / n + i for i in range(seeds)],
                "kid": [0.1 / n + i for i in range(seeds)],
                "recall": [0.1 * n + i for i in range(seeds)],
                "precision": [0.2 * n + i for i in range(seeds)],
                "sizes/real": [300.0] * seeds,
                "epoch_seconds": [3.0 * n] * seeds,
                **{f"accuracy/eps_{e}": [0.5 * n / (1 + e) + i for i in range(seeds)] for e in range(5)},
            }
            for n in (1, 2, 3)
        ]

    told(sweep, "0000", epochs(50), settings={"lr": 0.1, "note": "x"}, steps=STEPS)
    told(sweep, "0001", epochs(0), settings={"lr": 0.25, "note": "$x$ _y"}, steps=STEPS)
    told(sweep, "0002", epochs(20)[:1], "pruned", settings={"lr": 0.3, "note": "x"}, steps=STEPS)
    return sweep


def test_the_best_trial_and_the_default_setting_with_what_came_of_them(make_sweep: Callable[..., Any]) -> None:
    sweep = two_trials(make_sweep)
    texts = texts_of(sweep)
    assert texts[0] == sweep.records.name
    assert texts[1] == f"{METRIC}, lower is better  ·  3 trials (2 completed, 1 pruned)"
    assert texts[2:6] == [
        f"trial 0001, best: {METRIC} 3, completed after epoch 3",
        "lr=0.25  note=$x$ _y",
        f"trial 0000, default setting: {METRIC} 53, completed after epoch 3",
        "lr=0.1  note=x",
    ]
    best, default = figure_of(sweep).artists  # beside these texts
    drawn = axes_of(sweep)["kid"].lines
    assert [best.get_color(), default.get_color()] == [line.get_color() for line in reversed(drawn)]
    assert best.get_ydata()[0] > default.get_ydata()[0]


def test_from_above_by_epoch_then_what_is_told_then_by_step(make_sweep: Callable[..., Any]) -> None:
    sweep = two_trials(make_sweep)
    figure = figure_of(sweep)
    places = {text.get_text(): text.get_position()[1] for text in figure.texts}
    told_at = next(y for text, y in places.items() if text.startswith("the same in every epoch"))
    assert places["by epoch"] > told_at > places["by step"]
    axes = axes_of(sweep)
    assert axes["kid"].get_position().y0 > told_at > axes["loss"].get_position().y1


@pytest.mark.parametrize("seeds", [1, 3])
def test_nothing_overlaps_or_leaves_the_picture(seeds: int, make_sweep: Callable[..., Any]) -> None:
    sweep = two_trials(make_sweep, seeds)
    for trial in (None, "0002"):
        assert_readable(figure_of(sweep, trial))
    figure = figure_of(sweep)
    assert not any(text.get_parse_math() for text in figure.texts)  # a setting may hold a $
    assert ("means of 3 seeds, and bands of one standard deviation" in texts_of(sweep)[1]) == (seeds == 3)


def test_a_trial_alone(make_sweep: Callable[..., Any]) -> None:
    sweep = two_trials(make_sweep)
    axes = axes_of(sweep, "0001")
    assert "loss 2" not in axes and len(axes["kid"].lines) == 1
    assert texts_of(sweep, "0001")[2] == f"trial 0001: {METRIC} 3, completed after epoch 3"
    pruned = texts_of(sweep, "0002")
    assert pruned[2] == f"trial 0002: {METRIC} 29, pruned after epoch 1" and "other metrics" in pruned
    with pytest.raises(GenlabError, match="has no trial '0009': did you mean"):
        curves_figure(sweep.records, "0009")


def test_the_default_setting_may_be_best_or_all_there_is(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    sweep.trial("0000", lr=0.5)
    assert not figure_of(sweep).axes
    assert texts_of(sweep)[2:] == [
        "trial 0000, default setting: no objective, unfinished; no epoch can be shown",
        "lr=0.5",
    ]
    sweep.epoch("0000", 1)
    assert texts_of(sweep)[2].startswith("trial 0000, default setting: ")
    sweep.epoch("0000", 2, "completed")
    assert texts_of(sweep)[2].startswith("trial 0000, best and default setting: ")
    assert "loss 2" not in axes_of(sweep)
    empty = make_sweep()
    assert not figure_of(empty).axes and texts_of(empty)[1].endswith("no trial has begun")


def test_what_was_confirmed_best_is_shown(make_sweep: Callable[..., Any]) -> None:
    sweep = two_trials(make_sweep)
    told(sweep, "0003", [{METRIC: 4.0}, {METRIC: 3.5}])
    for name, objective in (("confirm-0001", 9.0), ("confirm-0003", 5.0)):
        told(sweep, name, [{METRIC: objective}])
    assert texts_of(sweep)[2] == f"trial 0003, best: {METRIC} 3.5, completed after epoch 2"
    assert "5 trials" not in texts_of(sweep)[1] and "4 trials (3 completed, 1 pruned)" in texts_of(sweep)[1]


def test_a_best_trial_as_good_as_the_default_setting_is_another_one(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    for name in ("0000", "0001"):
        told(sweep, name, [{METRIC: 2.0, "kid": 1.0}, {METRIC: 1.0, "kid": 2.0}])
    told(sweep, "confirm-0001", [{METRIC: 1.0}])
    assert [text.partition(":")[0] for text in texts_of(sweep)[2:4]] == [
        "trial 0001, best",
        "trial 0000, default setting",
    ]
    assert len(axes_of(sweep)["kid"].lines) == 2


def test_the_spread_of_several_seeds_is_that_of_the_last_epoch(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep(seeds=(0, 1))
    told(sweep, "0000", [{METRIC: [1.0, 9.0]}, {METRIC: [3.0, 4.0]}])
    assert texts_of(sweep)[2] == f"trial 0000, best and default setting: {METRIC} 3.5 ± 0.71, completed after epoch 2"


def test_how_a_trial_ended_is_said_and_why(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [{METRIC: 2.0}, {METRIC: 1.0}], None)
    sweep.error("0000", 3)
    told(sweep, "0001", [{METRIC: 2.0}, {METRIC: 1.0}], "diverged")
    told(sweep, "0002", [{METRIC: 2.0}], None)
    assert texts_of(sweep)[1].endswith("  ·  3 trials (1 diverged, 1 failed, 1 unfinished)")
    failed = "trial 0000: no objective, failed after epoch 2: ValueError: the loss has no gradient"
    assert texts_of(sweep, "0000")[2] == failed
    assert texts_of(sweep, "0001")[2] == "trial 0001: no objective, diverged after epoch 2"
    assert len(figure_of(sweep, "0000").axes) == 1  # what it did before is drawn


def test_a_trial_whose_reports_are_all_damaged_says_so(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [{METRIC: 2.0, "kid": 1.0}, {METRIC: 1.5, "kid": 2.0}])
    told(sweep, "0001", [{METRIC: 1.0, "kid": 3.0}, {METRIC: 0.5, "kid": 4.0}])
    for epoch in sweep.records.trials["0000"].epochs.values():
        Path(sweep.records.storage.root, epoch.report.path).write_bytes(b"junk")
    said = f"trial 0000: {METRIC} 1.5, completed after epoch 2; its reports are damaged or missing"
    assert texts_of(sweep, "0000")[2] == said and not figure_of(sweep, "0000").axes
    assert len(axes_of(sweep)["kid"].lines) == 2  # the best one's, and none of the other's
    assert "left out, since damaged or missing: epochs 1, 2 of trial 0000" in texts_of(sweep)


def test_long_and_many_settings_stay_on_the_page(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    settings = {f"field_{i}": "v" * 30 for i in range(40)} | {"lines": "one\ntwo", "ä": "w" * 900}
    told(sweep, "0000", [{METRIC: 2.0}, {METRIC: 1.0}], settings=settings)
    sweep.records.append("error", trial="0000", epoch=3, traceback="ValueError: " + "m" * 900)
    assert_readable(figure_of(sweep))
    assert texts_of(sweep)[5].endswith("…")


def test_the_picture(make_sweep: Callable[..., Any]) -> None:
    """It needs no display, leaves no figure behind, and is the same each time."""
    sweep = two_trials(make_sweep)
    picture = curves(sweep.records)
    assert isinstance(picture, Image.Image) and picture.mode == "RGB" and picture.width == 13 * DPI
    assert picture.tobytes() == curves(sweep.records).tobytes() and not plt.get_fignums()
    pixels = np.asarray(picture).reshape(-1, 3)
    assert (pixels == (0x1F, 0x5F, 0xBF)).all(1).sum() > 100  # the best trial's blue


def test_one_trial_is_no_trials_and_the_most_seeds_are_said(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep(mode="max")
    told(sweep, "0000", [{METRIC: 1.0}])
    assert texts_of(sweep)[1] == f"{METRIC}, higher is better  ·  1 trial (1 completed)"
    told(sweep, "0001", [{METRIC: [2.0, 3.0, 4.0]}])
    assert texts_of(sweep)[1].endswith("  ·  means of 3 seeds, and bands of one standard deviation")


def test_an_objective_of_0_was_reached(make_sweep: Callable[..., Any]) -> None:
    sweep = make_sweep()
    told(sweep, "0000", [{METRIC: 2.0}, {METRIC: 0.0}])
    assert texts_of(sweep)[2] == f"trial 0000, best and default setting: {METRIC} 0, completed after epoch 2"
