"""Vectors as points of the plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEGEND = 20  # classes that a legend can name and colours can tell apart
PERPLEXITY = 30.0  # of t-SNE: how many points each takes for its neighbours


def embedding(vectors: np.ndarray, labels: np.ndarray | None = None, classes: Sequence[str] = ()) -> Figure:
    """A figure of vectors in the plane: their first two principal components, and beside them t-SNE (van der Maaten &
    Hinton 2008); vectors of two numbers as they are.

    The same vectors give the same figure. t-SNE keeps neighbours together; its distances between groups mean little.
    A thousand vectors take it seconds.

    Args:
        vectors: float [N, D], D at least 2, N at least 2.
        labels: int [N], numbers of `classes`, which choose the colours; None for one colour.
        classes: their names, for the legend.

    Raises:
        ValueError: fewer than two vectors, or vectors of fewer than two numbers.
    """
    from matplotlib.figure import Figure

    if vectors.ndim != 2 or min(vectors.shape) < 2:
        raise ValueError(f"vectors are {list(vectors.shape)}; they must be [N, D], with two of both at least")
    planes = [("", vectors)] if vectors.shape[1] == 2 else _projected(vectors)
    figure = Figure(figsize=(4.6 * len(planes) + 1.4, 4.6), layout="constrained")
    for axes, (title, points) in zip(figure.subplots(1, len(planes), squeeze=False)[0], planes, strict=True):
        _scatter(axes, points, labels, classes)
        axes.set_title(title)
        if title != "t-SNE":  # its axes have no meaning
            axes.set_xlabel("first component" if title else "first latent")
            axes.set_ylabel("second component" if title else "second latent")
        else:
            axes.set(xticks=[], yticks=[])
    if labels is not None and 1 < len(classes) <= LEGEND:
        handles, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside right upper", frameon=False, markerscale=2)
    return figure


def _projected(vectors: np.ndarray) -> list[tuple[str, np.ndarray]]:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    with np.errstate(invalid="ignore"):  # of vectors that are all the same: 0 / 0
        pca = PCA(2, svd_solver="full").fit(vectors)
    share = pca.explained_variance_ratio_.sum()
    perplexity = min(PERPLEXITY, (len(vectors) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="random", random_state=0).fit_transform(vectors)
    title = f"PCA, {share:.0%} of the variance" if share >= 0 else "PCA: all vectors are the same"
    return [(title, pca.transform(vectors)), ("t-SNE", tsne)]


def _scatter(axes: Axes, points: np.ndarray, labels: np.ndarray | None, classes: Sequence[str]) -> None:
    from matplotlib import colormaps

    if labels is None:
        axes.scatter(*points.T, s=8)
        return
    colours = colormaps["tab10" if len(classes) <= 10 else "tab20" if len(classes) <= LEGEND else "turbo"]
    for number, name in enumerate(classes):
        colour = colours(number if len(classes) <= LEGEND else number / (len(classes) - 1))
        axes.scatter(*points[labels == number].T, s=8, color=colour, label=name)
