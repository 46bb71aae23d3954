from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from genlab.data import Batches, ImageSet
from genlab.errors import GenlabError

COUNT = 40
PIXELS = torch.randint(256, (COUNT, 3, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(COUNT) % 4
WHOLE = ImageSet("noise", "train", PIXELS, LABELS, ("a", "b", "c", "d"))
PICKED = torch.tensor([7, 3, 3, 39, 0])


def copied(indices: Tensor, labels: Tensor | None = None) -> ImageSet:
    """The set that a subset is to be like, its pixels copied."""
    return ImageSet("noise", "train", PIXELS[indices], LABELS[indices] if labels is None else labels, WHOLE.classes)


def same(a: ImageSet, b: ImageSet) -> bool:
    assert a.labels is not None and b.labels is not None
    equal = torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels)
    return equal and (len(a), a.shape, a.classes, a.channels) == (len(b), b.shape, b.classes, b.channels)


def test_a_subset_has_the_images_at_its_indices_with_their_labels_or_new_ones() -> None:
    labels = torch.tensor([3, 3, 2, 1, 0])
    assert same(WHOLE.subset(PICKED), copied(PICKED))
    assert same(WHOLE.subset(PICKED, labels), copied(PICKED, labels))
    assert WHOLE.subset(PICKED).describe().shape == (5, 3, 12, 12)


def test_a_subset_knows_its_base_and_shares_its_pixels() -> None:
    assert WHOLE.base is None and WHOLE.indices is None
    subset = WHOLE.subset(PICKED)
    assert subset.base is WHOLE and subset.indices is not None and torch.equal(subset.indices, PICKED)
    kept = Batches(subset, batch_size=5, seed=0)._kept
    assert kept is not None and kept.data_ptr() == PIXELS.data_ptr()


def test_a_subset_of_a_subset_is_one_of_the_whole_set() -> None:
    labels = torch.tensor([3, 3, 2, 1, 0])
    again = WHOLE.subset(PICKED, labels).subset(torch.tensor([4, 1]))
    assert again.base is WHOLE and again.indices is not None and again.indices.tolist() == [0, 3]
    assert same(again, copied(torch.tensor([0, 3]), torch.tensor([0, 3])))


def test_a_subset_is_not_changed_by_its_makers_tensors() -> None:
    indices, labels = PICKED.clone(), torch.tensor([3, 3, 2, 1, 0])
    subset = WHOLE.subset(indices, labels)
    indices.zero_()
    labels.zero_()
    assert same(subset, copied(PICKED, torch.tensor([3, 3, 2, 1, 0])))


@given(st.lists(st.integers(0, COUNT - 1), min_size=1, max_size=60), st.integers(0, 30), st.booleans())
def test_batches_of_a_subset_are_those_of_a_copy(indices: list[int], step: int, relabelled: bool) -> None:
    picked = torch.tensor(indices)
    labels = torch.randint(4, (len(indices),)) if relabelled else None
    for augment in ("none", "flip", "crop_flip"):
        pair = [
            Batches(each, batch_size=6, seed=1, augment=augment).batch(step)
            for each in (WHOLE.subset(picked, labels), copied(picked, labels))
        ]
        assert torch.equal(pair[0].images, pair[1].images)
        assert pair[0].labels is not None and pair[1].labels is not None
        assert torch.equal(pair[0].labels, pair[1].labels)


@given(st.lists(st.integers(0, 4), max_size=9))
def test_selected_images_are_the_images_divided_by_255(items: list[int]) -> None:
    chosen = torch.tensor(items, dtype=torch.int64)
    selected = WHOLE.subset(PICKED).select(chosen)
    assert selected.dtype == torch.float32
    assert torch.equal(selected, PIXELS[PICKED[chosen]].float() / 255)
    assert torch.equal(WHOLE.select(chosen), PIXELS[chosen].float() / 255)


def test_every_subset_has_a_digest_of_its_own() -> None:
    def digest(indices: Tensor = PICKED, labels: Tensor | None = None, base: ImageSet = WHOLE) -> str:
        return base.subset(indices, labels).digest

    other = ImageSet("noise", "train", PIXELS.flip(0), LABELS, WHOLE.classes)
    digests = [digest(), digest(PICKED.flip(0)), digest(labels=LABELS[:5]), digest(base=other), WHOLE.digest]
    assert len(set(digests)) == 5
    assert {len(each) for each in digests} == {16}
    assert digest() == digest(labels=LABELS[PICKED]) == WHOLE.subset(torch.arange(COUNT)).subset(PICKED).digest


def test_a_subset_goes_to_a_device_with_its_labels() -> None:
    images, labels = WHOLE.subset(PICKED).on("cpu")
    assert torch.equal(images, PIXELS[PICKED]) and labels is not None and torch.equal(labels, LABELS[PICKED])


def test_a_subset_of_a_set_without_classes_has_none() -> None:
    subset = ImageSet("noise", "train", PIXELS, None, ()).subset(PICKED)
    assert (subset.labels, subset.classes) == (None, ())
    assert Batches(subset, batch_size=2, seed=0).batch(0).labels is None
    with pytest.raises(GenlabError, match="labels must lie in"):
        ImageSet("noise", "train", PIXELS, None, ()).subset(PICKED, LABELS[:5])


@pytest.mark.parametrize(
    ("indices", "labels", "message"),
    [
        ([], None, "at least one index"),
        ([0, COUNT], None, r"indices of noise must lie in 0\.\.39, not 0\.\.40"),
        ([-1], None, "must lie in"),
        ([[0]], None, "must be int64"),
        ([0.0], None, "must be int64"),
        ([True], None, "must be int64"),
        ([0, 1], [0], "2 indices and 1 labels"),
        ([0, 1], [0, 4], r"labels must lie in 0\.\.3"),
        ([0, 1], [-1, 0], "labels must lie in"),
        ([0, 1], [0.0, 1.0], "labels must be int64"),
    ],
)
def test_a_subset_that_makes_no_sense_is_refused(indices: list, labels: list | None, message: str) -> None:
    chosen = torch.tensor(indices) if indices else torch.empty(0, dtype=torch.int64)
    with pytest.raises(GenlabError, match=message):
        WHOLE.subset(chosen, None if labels is None else torch.tensor(labels))


@pytest.mark.parametrize("items", [[5], [-1], [0.5]])
def test_items_that_do_not_exist_are_not_selected(items: list) -> None:
    with pytest.raises(GenlabError, match="items of noise must"):
        WHOLE.subset(PICKED).select(torch.tensor(items))
