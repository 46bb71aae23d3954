"""Class coverage: counts and entropies that can be worked out by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genlab.metrics import class_coverage


def of_counts(*counts):
    return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))


def test_even_classes():
    covered, entropy = class_coverage(of_counts(*[100] * 10), 10)
    assert covered == 10
    assert entropy == pytest.approx(math.log(10), rel=1e-12)


def test_one_class():
    assert class_coverage(of_counts(0, 0, 500), 10) == (1, 0.0)
    assert math.copysign(1, class_coverage(of_counts(5), 1).class_entropy) == 1


def test_entropy_by_hand():
    covered, entropy = class_coverage(of_counts(2, 1, 1, 0), 4)
    assert covered == 3
    assert entropy == pytest.approx(1.5 * math.log(2), rel=1e-12)


def test_the_share_that_covers_a_class():
    # 1,000 samples, 10 classes: the uniform share is 100 samples, a tenth of it 10.
    predictions = of_counts(971, 10, 9, 10)
    assert class_coverage(predictions, 10).classes_covered == 3
    assert class_coverage(predictions, 10, minimum=0.09).classes_covered == 4
    assert class_coverage(predictions, 10, minimum=1).classes_covered == 1
    # a tenth of 250 samples' share of 25 is 2.5: two are fewer than that
    assert class_coverage(of_counts(245, 3, 2), 10).classes_covered == 2


def test_the_share_is_not_lost_to_rounding():
    # 0.07 · 100 is above 7 in floating point: 7 of 100 samples must still cover a class of one.
    assert class_coverage(of_counts(93, 7), 2, minimum=0.14).classes_covered == 2
    assert class_coverage(of_counts(7), 1, minimum=0.07).classes_covered == 1


def test_a_class_without_samples_is_never_covered():
    assert class_coverage(of_counts(1, 1), 1000, minimum=0.001).classes_covered == 2


@given(
    counts=st.lists(st.integers(0, 50), min_size=1, max_size=12).filter(any),
    minimum=st.floats(0, 1, exclude_min=True),
)
def test_bounds_and_order(counts, minimum):
    predictions = of_counts(*counts)
    found = class_coverage(predictions, len(counts), minimum)
    assert 1 <= found.classes_covered <= sum(count > 0 for count in counts)
    assert 0 <= found.class_entropy <= math.log(len(counts)) + 1e-12
    assert class_coverage(predictions.flip(0).int(), len(counts), minimum) == found


@pytest.mark.parametrize(
    ("predictions", "classes", "minimum", "message"),
    [
        (torch.tensor([0, 10]), 10, 0.1, "0 to 9"),
        (torch.tensor([-1, 3]), 10, 0.1, "from -1 to 3"),
        (torch.tensor([], dtype=torch.int64), 10, 0.1, "empty"),
        (torch.tensor([0.0, 1.0]), 10, 0.1, "float32"),
        (torch.zeros(4, 10, dtype=torch.int64), 10, 0.1, r"\[4, 10\]"),
        (torch.tensor([0]), 0, 0.1, "classes is 0"),
        (torch.tensor([0]), 10, 0.0, "minimum is 0"),
        (torch.tensor([0]), 10, 1.1, "minimum is 1.1"),
    ],
)
def test_refusals(predictions, classes, minimum, message):
    with pytest.raises(ValueError, match=message):
        class_coverage(predictions, classes, minimum)
