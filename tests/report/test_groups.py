"""Which metrics share a panel, by their names and scales."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlab.report.groups import LINES, related, scales, series


def panels(names: list[str], largest: dict[str, float] | None = None) -> list[tuple[str, tuple[str, ...]]]:
    """Titles and labels."""
    return [(g.title, g.labels) for g in related(names, dict.fromkeys(names, 0.5) | (largest or {}))]


def test_names_that_begin_alike_share_a_panel() -> None:
    assert panels(
        ["kid", "accuracy/clean", "elbo", "accuracy/target", "evaluation/score/real", "evaluation/score/fake"]
    ) == [
        ("kid", ("kid",)),
        ("accuracy", ("clean", "target")),
        ("elbo", ("elbo",)),
        ("evaluation/score", ("real", "fake")),
    ]


def test_names_without_a_part_before_a_slash_stand_alone_but_for_those_of_one_comparison() -> None:
    assert panels(["recall", "kid", "precision", "density", "coverage", "recalled"]) == [
        ("recall, precision, density, coverage", ("recall", "precision", "density", "coverage")),
        ("kid", ("kid",)),
        ("recalled", ("recalled",)),
    ]


def test_metrics_of_other_scales_have_panels_of_their_own() -> None:
    """Beside 5000 a curve from 0.1 to 0.3 is a flat line."""
    names = ["error/a", "error/b", "error/c", "error/d"]
    largest = {"error/a": 0.3, "error/b": 5000.0, "error/c": 2.0, "error/d": 0.0}
    assert panels(names, largest) == [("error", ("a", "c", "d")), ("error/b", ("error/b",))]
    shares = {"error/a": 1.0, "error/b": 0.001, "error/c": 0.01, "error/d": 0.0}
    assert panels(names, shares) == [("error", ("a", "b", "c", "d"))]  # shares are compared, the small ones, too


def test_scales_are_split_where_the_largest_is_25_times_the_smallest() -> None:
    assert scales(["a", "b", "c"], {"a": 1.0, "b": 25.0, "c": 25.1}) == [["a", "b"], ["c"]]
    assert scales(["c", "z", "a"], {"a": 1.0, "z": 0.0, "c": 30.0}) == [["c"], ["z", "a"]]
    assert scales(["z"], {"z": 0.0}) == [["z"]] and scales([], {}) == []


def test_more_than_a_panel_holds_are_told_apart_by_the_next_part_of_their_names() -> None:
    names = ["accuracy/clean", *(f"accuracy/{a}/{b}" for a in ("source", "target") for b in "vwxyz"), "accuracy/all"]
    assert panels(names) == [
        ("accuracy", ("clean", "all")),
        ("accuracy/source", tuple("vwxyz")),
        ("accuracy/target", tuple("vwxyz")),
    ]


def test_names_are_told_apart_as_far_as_it_takes() -> None:
    names = [f"e/a/b{i}/{letter}" for i in (1, 2) for letter in "stuvwx"] + ["e/a/c"]
    assert panels(names) == [
        ("e/a/b1", tuple("stuvwx")),
        ("e/a/b2", tuple("stuvwx")),
        ("e/a/c", ("e/a/c",)),
    ]


def test_many_that_nothing_tells_apart_are_counted_through() -> None:
    names = [f"accuracy/{letter}" for letter in "abcdefghijklmnopq"]
    found = panels(names)
    assert [title for title, _ in found] == [f"accuracy ({i} of 3)" for i in (1, 2, 3)]
    assert [label for _, labels in found for label in labels] == [*"abcdefghijklmnopq"]
    assert max(len(labels) for _, labels in found) == LINES


def test_panels_of_one_title_are_counted_apart_from_the_others() -> None:
    found = panels([f"e/{a}/{letter}" for a in "ab" for letter in "pqrstuvw"])
    assert [title for title, _ in found] == ["e/a (1 of 2)", "e/a (2 of 2)", "e/b (1 of 2)", "e/b (2 of 2)"]


def test_every_metric_has_one_panel() -> None:
    names = ["a", "a/b", "a/b/c", *(f"b/{i}x/{j}y" for i in range(9) for j in range(9)), "c/1x"]
    found = related(names, {name: 10.0 ** (i % 7) for i, name in enumerate(names)})
    assert sorted(name for group in found for name in group.names) == sorted(names)
    assert all(len(group.names) == len(group.labels) == len(set(group.labels)) <= LINES for group in found)
    assert len({group.title for group in found}) == len(found)


NAMES = st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join), unique=True)


@given(NAMES, st.data())
def test_whatever_the_names_are_each_has_one_place(names: list[str], data: st.DataObject) -> None:
    largest = {name: data.draw(st.sampled_from([0.0, 0.3, 30.0, 1e4])) for name in names}
    found = related(names, largest)
    assert sorted(name for group in found for name in group.names) == sorted(names)
    firsts = [names.index(group.names[0]) for group in found]
    assert firsts == sorted(firsts) and len({group.title for group in found}) == len(found)
    for group in found:
        assert len(group.names) <= LINES and len({name.partition("/")[0] for name in group.names}) == 1
        known = [largest[name] for name in group.names]
        assert max(known) <= 1 or max(known) <= 25 * min(value for value in known if value)


@pytest.mark.parametrize(
    ("names", "title", "of", "numbers"),
    [
        (["e/eps_0.3", "e/eps_0.01", "e/eps_0.1", "e/eps_1e-05"], "e/eps_…", "eps", (1e-5, 0.01, 0.1, 0.3)),
        (["top1", "top10", "top5", "top2"], "top…", "top", (1, 2, 5, 10)),
        (["r/-1", "r/+2", "r/0", "r/3.5"], "r/…", "", (-1, 0, 2, 3.5)),
        (["k-1", "k-2", "k-3", "k-4"], "k-…", "k", (1, 2, 3, 4)),  # a dash, no sign
        ([f"accuracy/class/{i:02}" for i in range(12)], "accuracy/class/…", "", tuple(range(12))),
    ],
)
def test_names_that_differ_in_a_number_are_a_series(
    names: list[str], title: str, of: str, numbers: tuple[float, ...]
) -> None:
    (found,) = series([*names, "kid", "accuracy/clean"])
    assert (found.title, found.of, found.numbers) == (title, of, numbers)
    assert sorted(found.names) == sorted(names)
    assert [float(label.lstrip("+")) for label in found.labels] == [*numbers]
    for name, label in zip(found.names, found.labels, strict=True):
        assert name.endswith(label)


def test_a_few_numbered_names_are_no_series() -> None:
    assert series(["top1", "top5", "top10", "a/1", "a/2", "b/1", "b/2"]) == []
    assert series(["a_1", "a_1.0", "a_01", "a_2"]) == []  # two numbers
    assert [group.title for group in series([f"{a}/{i}" for a in "ab" for i in range(4)])] == ["a/…", "b/…"]
