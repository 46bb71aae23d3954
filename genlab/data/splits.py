"""Stratified splits that depend on each item's key alone, never on the order in which items were listed."""

from __future__ import annotations

from collections.abc import Sequence


def _quotas(sizes: Sequence[int], total: int) -> list[int]:
    """Share `total` out in proportion to `sizes`: whole numbers that add up to it (largest remainders)."""
    everything = sum(sizes)
    quotas = [size * total // everything for size in sizes]
    by_remainder = sorted(range(len(sizes)), key=lambda i: (-(sizes[i] * total % everything), i))
    for i in by_remainder[: total - sum(quotas)]:
        quotas[i] += 1
    return quotas


def stratified(labels: Sequence[int], keys: Sequence[int], sizes: Sequence[int]) -> list[list[int]]:
    """Cut the items into parts of exactly `sizes` items, and a last part of the rest, each stratified by label.

    `labels` and `keys` have one entry an item; within a class the smallest keys go to the first part, and so on.
    Returns one ascending list of item numbers a part. The sizes must not add up to more than the items.
    """
    classes = sorted(set(labels))
    members: dict[int, list[int]] = {label: [] for label in classes}
    for item in sorted(range(len(labels)), key=lambda item: (keys[item], item)):
        members[labels[item]].append(item)
    parts: list[list[int]] = []
    for size in sizes:
        part: list[int] = []
        for label, quota in zip(classes, _quotas([len(members[label]) for label in classes], size), strict=True):
            part += members[label][:quota]
            del members[label][:quota]
        parts.append(sorted(part))
    parts.append(sorted(item for left in members.values() for item in left))
    return parts
