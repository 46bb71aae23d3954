"""The figure of vectors in the plane."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from sklearn.neighbors import KNeighborsClassifier

from genlab.tasks.images import from_figure
from genlab.visualize import embedding


def groups(dimensions: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Three groups of 20 vectors, the second stretched along one direction."""
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    centres = 8 * np.eye(3, dimensions)
    return (centres[labels] + random.normal(size=(60, dimensions))).astype(np.float32), labels


def points(figure: Figure, panel: int) -> np.ndarray:
    return np.concatenate([np.asarray(each.get_offsets()) for each in figure.axes[panel].collections])


def test_principal_components_stand_beside_tsne() -> None:
    vectors, labels = groups()
    figure = embedding(vectors, labels, ("a", "b", "c"))
    assert figure.axes[1].get_title() == "t-SNE"
    centred = vectors - vectors.mean(0)
    _, values, directions = np.linalg.svd(centred, full_matrices=False)
    shown, expected = points(figure, 0), (centred @ directions[:2].T)[np.argsort(labels, kind="stable")]
    for axis in (0, 1):  # the sign of a component is free
        assert abs(np.corrcoef(shown[:, axis], expected[:, axis])[0, 1]) == pytest.approx(1, abs=1e-6)
        assert shown[:, axis].std() == pytest.approx(expected[:, axis].std(), rel=1e-4)
    share = (values[:2] ** 2).sum() / (values**2).sum()
    assert figure.axes[0].get_title() == f"PCA, {share:.0%} of the variance"
    near = KNeighborsClassifier(1).fit(points(figure, 1), np.sort(labels))
    assert near.score(points(figure, 1) + 1e-3, np.sort(labels)) == 1  # nothing lies on top of another group


def test_each_class_has_its_colour_and_its_name_in_the_legend() -> None:
    vectors, labels = groups(2)
    figure = embedding(vectors, labels, ("cat", "dog", "emu"))
    (axes,) = figure.axes  # of vectors of two numbers nothing need be projected
    colours = {to_hex(np.asarray(each.get_facecolor())[0]) for each in axes.collections}
    assert len(colours) == 3
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["cat", "dog", "emu"]
    for number, drawn in enumerate(axes.collections):
        np.testing.assert_allclose(np.asarray(drawn.get_offsets()), vectors[labels == number], rtol=1e-6)


def test_the_same_vectors_give_the_same_picture() -> None:
    vectors, labels = groups()
    first, again = (from_figure(embedding(vectors[:20], labels[:20], ("a", "b", "c"))) for _ in range(2))
    assert np.array_equal(first, again)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [(None, ()), (np.zeros(9, int), ("all",)), (np.arange(9), tuple(map(str, range(30))))],
    ids=["no labels", "one class", "more classes than a legend can name"],
)
def test_where_colours_say_nothing_there_is_no_legend(labels: Any, classes: tuple[str, ...]) -> None:
    figure = embedding(groups(2)[0][:9], labels, classes)
    assert not figure.legends and len(points(figure, 0)) == 9


def test_few_vectors_are_shown_and_fewer_refused() -> None:
    assert len(points(embedding(groups()[0][:2]), 1)) == 2
    for vectors in (groups()[0][:1], groups()[0][:, :1]):
        with pytest.raises(ValueError, match=r"\[N, D\]"):
            embedding(vectors)


def test_vectors_that_are_all_the_same_have_no_share_of_a_variance() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = embedding(np.ones((9, 3)))
    assert figure.axes[0].get_title() == "PCA: all vectors are the same"
