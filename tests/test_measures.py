"""The numbers that statements about curves and images rest on: each is what statements.toml says it is."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from evidence import measures


def test_measures_of_curves_say_what_the_page_says() -> None:
    steps = np.arange(3000.0)
    noise = np.random.default_rng(0).normal(size=3000)
    found = measures.of_curves({"loss/a": noise, "score/a": noise}, 100)
    assert {name.rpartition("/loss/")[0] for name in found} == set(measures.CURVES)  # of losses only
    assert found["deviation/loss/a"] == pytest.approx(1, rel=0.05)
    assert 0.001 < found["spikes/loss/a"] < 0.005  # the border in statements.toml is above what noise shows
    assert found["persistence/loss/a"] == pytest.approx(1, rel=0.1)
    spiky = noise + 50 * (steps % 100 == 7)
    assert measures.of_curves({"loss/a": spiky}, 100)["spikes/loss/a"] == pytest.approx(0.01, abs=0.004)
    level = measures.of_curves({"loss/a": 10 + spiky}, 100)  # spikes of 50 over a mean of 10.5, and few of noise
    assert level["spike_height/loss/a"] == pytest.approx(50 / 10.5, rel=0.3)
    falling = measures.of_curves({"loss/a": 5 - steps / 3000}, 100)
    assert falling["reversal/loss/a"] == pytest.approx(0, abs=1e-9)
    assert falling["rise/first/loss/a"] == pytest.approx(-1 / 3, rel=1e-2)
    bump = measures.of_curves({"loss/a": np.minimum(steps, 3000 - steps)}, 100)
    assert bump["rise/first/loss/a"] == pytest.approx(999) and bump["rise/last/loss/a"] == pytest.approx(-999)
    assert bump["reversal/loss/a"] > 0.99
    fading = measures.of_curves({"loss/a": noise * (1 - steps / 3000)}, 100)
    assert fading["persistence/loss/a"] == pytest.approx(1 / 3, rel=0.15)


def test_losses_that_mirror_each_other_are_opposed() -> None:
    wave = np.sin(np.arange(600) / 20)
    curves = {"loss/discriminator": wave, "loss/generator": 3 - 2 * wave}
    assert measures.of_curves(curves, 100)["opposition/loss"] == pytest.approx(-1)
    assert measures.of_curves({**curves, "loss/generator": wave}, 100)["opposition/loss"] == pytest.approx(1)
    assert "deviation/loss/generator" not in measures.of_curves({"loss/generator": wave[:300]}, 100)  # too short


def test_measures_of_images_say_what_the_page_says() -> None:
    rng = np.random.default_rng(0)
    flat = np.broadcast_to(np.array([0, 150, 50, 100], np.uint8).reshape(4, 1, 1, 1), (4, 16, 16, 1))
    noisy = flat.copy()
    noisy[:, 4::5, 4::5] += 100  # single pixels, three in each direction
    assert measures.speckle(flat) == 0
    assert measures.speckle(noisy) == pytest.approx(9 / 256 * 100 / 255)
    ramp = np.broadcast_to(np.arange(8, dtype=np.uint8).reshape(1, 8, 1, 1, 1) * 10, (2, 8, 4, 4, 1))
    assert measures.jump(ramp) == pytest.approx(1)
    step = (ramp >= 40).astype(np.uint8) * 255
    assert measures.jump(step) == pytest.approx(7)
    columns = rng.normal(size=(1, 400)) + rng.normal(size=(10, 1)) * 5
    assert measures.of_columns(np.broadcast_to(columns, (10, 400))) == pytest.approx(1)
    assert measures.of_columns(columns + rng.normal(size=(10, 400))) == pytest.approx(0.5, abs=0.06)
    assert measures.of_columns(rng.normal(size=(10, 400))) == pytest.approx(0, abs=0.03)
    upright, leaning = np.zeros((9, 9, 1), np.uint8), np.zeros((9, 9, 1), np.uint8)
    upright[:, 4], leaning[range(9), range(9)] = 255, 255
    assert measures.slant(upright) == 0 and measures.slant(leaning) == pytest.approx(1)
    found = measures.of_images(
        {"samples": noisy, "interpolation": ramp, "by_class": rng.integers(0, 255, (3, 4, 8, 8, 1))}
    )
    assert {*found, "images/class_changed"} == set(measures.IMAGES)
    assert measures.class_changed([1, 2, 3, 4], [1, 2, 4, 3]) == 0.5
