from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from genlab.data.splits import stratified


@given(st.data(), st.lists(st.integers(0, 4), min_size=1, max_size=200))
def test_parts_are_exact_disjoint_and_stratified(data: st.DataObject, labels: list[int]) -> None:
    sizes = [data.draw(st.integers(0, len(labels) // 2)), data.draw(st.integers(0, len(labels) // 2))]
    keys = data.draw(st.permutations(range(len(labels))))
    parts = stratified(labels, keys, sizes)
    assert [len(part) for part in parts[:2]] == sizes
    assert sorted(item for part in parts for item in part) == list(range(len(labels)))
    whole = Counter(labels)
    first = Counter(labels[item] for item in parts[0])
    for label, count in whole.items():
        assert abs(first[label] - count * sizes[0] / len(labels)) < 1


@given(
    st.data(), st.lists(st.tuples(st.integers(0, 3), st.integers()), min_size=3, max_size=60, unique_by=lambda x: x[1])
)
def test_parts_do_not_depend_on_the_order_of_the_items(data: st.DataObject, items: list[tuple[int, int]]) -> None:
    shuffled = data.draw(st.permutations(items))

    def keys_of(order: list[tuple[int, int]]) -> list[set[int]]:
        labels, keys = zip(*order, strict=True)
        size = len(order) // 3
        return [{keys[item] for item in part} for part in stratified(labels, keys, [size, size])]

    assert keys_of(items) == keys_of(shuffled)
