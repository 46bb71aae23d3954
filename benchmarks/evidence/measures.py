"""Numbers that a statement needs and no report has: of the curves of single steps, and of images.

Those of curves are of a whole run. They are defined in words in `[metrics]` of statements.toml.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.ndimage import median_filter, uniform_filter1d

WINDOW = 101  # steps of a running mean or median
BLOCKS = 10  # an epoch, of curves that are made smooth by means
GAUSSIAN = 1.4826  # the standard deviation of Gaussian values is so many times their median absolute deviation
CURVES = ("deviation", "spikes", "spike_height", "persistence", "reversal", "rise/first", "rise/last")
"""What `of_curves` measures of each loss, as `<measure>/<curve>`; `opposition/loss` is of two."""
IMAGES = ("images/speckle", "images/jump", "images/class_changed", "images/style_ink", "images/style_slant")
"""What is measured of an epoch's images."""


def of_curves(curves: Mapping[str, np.ndarray], steps_per_epoch: int) -> dict[str, float]:
    """Every measure of every loss.

    Args:
        curves: values by step, [steps], finite; those whose names begin with `loss/` are measured.
        steps_per_epoch: of which a tenth is a block.

    Returns:
        By name. A run of less than three windows has only what blocks and slopes say; one of less than six blocks
        nothing.
    """
    losses = {name: np.asarray(curve, float) for name, curve in curves.items() if name.startswith("loss/")}
    found: dict[str, float] = {}
    blocks = {name: block_means(curve, max(1, steps_per_epoch // BLOCKS)) for name, curve in losses.items()}
    for name, curve in losses.items():
        if len(curve) >= 3 * WINDOW:
            found |= {f"{measure}/{name}": value for measure, value in _around_the_running_mean(curve).items()}
        if len(blocks[name]) >= 6:
            found[f"reversal/{name}"] = reversal(blocks[name])
            third = len(curve) // 3
            found[f"rise/first/{name}"], found[f"rise/last/{name}"] = rise(curve[:third]), rise(curve[-third:])
    pair = [blocks.get(f"loss/{side}", np.empty(0)) for side in ("discriminator", "generator")]
    if min(map(len, pair)) >= 6:
        found["opposition/loss"] = correlation(np.diff(pair[0]), np.diff(pair[1]))
    return found


def _around_the_running_mean(curve: np.ndarray) -> dict[str, float]:
    """How far single steps lie from the mean and the median of the steps around them."""
    apart = curve - uniform_filter1d(curve, WINDOW, mode="nearest")
    median = median_filter(curve, WINDOW, mode="nearest")
    height = curve - median
    spread = GAUSSIAN * median_filter(np.abs(height), WINDOW, mode="nearest")
    begun, third = len(curve) // 10, len(curve) // 3
    spikes = (height > 3 * spread)[begun:]
    mean = float(np.abs(curve[begun:].mean()))
    return {
        "deviation": float(apart[begun:].std()),
        "spikes": float(spikes.mean()),
        "spike_height": float(height[begun:][spikes].mean() / mean) if spikes.any() and mean else 0.0,
        "persistence": float(apart[-third:].std() / middle) if (middle := apart[third:-third].std()) else math.nan,
    }


def block_means(curve: np.ndarray, length: int) -> np.ndarray:
    """Means of successive blocks of `length` steps, [blocks]; steps that fill no block at the end are left out."""
    blocks = len(curve) // length
    return curve[: blocks * length].reshape(blocks, length).mean(1)


def reversal(values: np.ndarray) -> float:
    """1 - |net change| / way: 0 where all changes have one sign, 1 where the end is the beginning."""
    way = np.abs(np.diff(values)).sum()
    return float(1 - np.abs(values[-1] - values[0]) / way) if way else 0.0


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's; NaN where one of them does not change."""
    return float(np.corrcoef(a, b)[0, 1]) if a.std() and b.std() else math.nan


def rise(curve: np.ndarray) -> float:
    """The slope of the least-squares line through the values, times their number less one."""
    return float(np.polynomial.Polynomial.fit(np.arange(len(curve)), curve, 1).convert().coef[1] * (len(curve) - 1))


def of_images(images: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The measures of those that there are: `samples` [N, H, W, C], `interpolation` [ways, points, H, W, C] and
    `by_class` [classes, latents, H, W, C], all uint8."""
    found = {}
    if "samples" in images:
        found["images/speckle"] = speckle(images["samples"])
    if "interpolation" in images:
        found["images/jump"] = jump(images["interpolation"])
    if "by_class" in images and images["by_class"].ndim == 5:
        grid = images["by_class"]
        found["images/style_ink"] = of_columns(grid.mean((2, 3, 4)))
        found["images/style_slant"] = of_columns(np.array([[slant(image) for image in row] for row in grid]))
    return found


def speckle(images: np.ndarray) -> float:
    """Mean |pixel - median of the 3 x 3 pixels around it| of uint8 [N, H, W, C], in [0, 1]."""
    medians = median_filter(images, (1, 3, 3, 1), mode="nearest")
    return float(np.abs(images.astype(float) - medians).mean() / 255)


def jump(ways: np.ndarray) -> float:
    """The largest distance between neighbouring images relative to the mean one, averaged over ways of uint8
    [ways, points, H, W, C]; between 1 and points - 1. A way on which nothing changes counts as even."""
    apart = np.diff(ways.astype(float).reshape(*ways.shape[:2], -1), axis=1)
    steps = np.sqrt((apart**2).sum(-1))  # [ways, points - 1]
    means = steps.mean(1)
    return float(np.divide(steps.max(1), means, out=np.ones_like(means), where=means > 0).mean())


def of_columns(values: np.ndarray) -> float:
    """The intraclass correlation of the columns of `values` [rows, columns], without the rows' means: 0 in the mean
    where columns share nothing, 1 where a row's value is its own plus its column's. Shrout & Fleiss 1979, ICC(3, 1)."""
    rows, columns = values.shape
    centered = values - values.mean(1, keepdims=True)
    between = rows * (centered.mean(0) ** 2).sum() / (columns - 1)
    within = ((centered - centered.mean(0)) ** 2).sum() / ((rows - 1) * (columns - 1))
    total = between + (rows - 1) * within
    return float((between - within) / total) if total > 0 else 0.0


def slant(image: np.ndarray) -> float:
    """The shear of bright strokes: the covariance of x and y over the variance of y, weighted by brightness, of uint8
    [H, W, C]; 0 for upright strokes and for an empty image."""
    weights = image.astype(float).mean(-1)
    if not (total := weights.sum()):
        return 0.0
    y, x = np.indices(weights.shape)
    y, x = y - (weights * y).sum() / total, x - (weights * x).sum() / total
    variance = (weights * y * y).sum()
    return float((weights * x * y).sum() / variance) if variance else 0.0


def class_changed(classes: Any, before: Any) -> float:
    """The share of images, drawn from the same latents, whose class is another one than before."""
    return float(np.mean(np.asarray(classes) != np.asarray(before)))
