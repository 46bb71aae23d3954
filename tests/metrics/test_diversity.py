"""How much a generator's images differ: from copies to real ones."""

from __future__ import annotations

import pytest
import torch

from genlab.metrics import Reference, diversity, least_diverse


def nearest_by_hand(features: torch.Tensor) -> float:
    rows = features.tolist()
    nearest = [
        min(sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5 for j, other in enumerate(rows) if j != i)
        for i, one in enumerate(rows)
    ]
    return sum(nearest) / len(nearest)


def test_it_is_the_mean_distance_to_the_nearest_other_over_that_of_real_ones() -> None:
    torch.manual_seed(0)
    real, fake = torch.randn(30, 4), torch.randn(30, 4) * 0.3
    expected = nearest_by_hand(fake) / nearest_by_hand(real)
    assert float(diversity(real, fake)) == pytest.approx(expected, rel=1e-5)
    assert float(diversity(Reference(real), fake)) == pytest.approx(expected, rel=1e-5)


def test_copies_have_none_and_real_images_have_that_of_real_images() -> None:
    torch.manual_seed(0)
    real = torch.randn(500, 8)
    assert float(diversity(real, real[:1].expand(500, 8))) == 0
    assert float(diversity(real, real[:250].repeat(2, 1))) == 0  # each drawn twice
    assert float(diversity(real, torch.randn(500, 8))) == pytest.approx(1, abs=0.05)
    assert float(diversity(real, real / 2)) == pytest.approx(0.5, rel=1e-6)


@pytest.mark.parametrize(
    ("real", "fake", "says"), [((9, 3), (8, 3), "shape"), ((9, 3), (9, 2), "shape"), ((1, 3), (1, 3), "at least 2")]
)
def test_sets_that_cannot_be_compared_are_refused(real: tuple[int, int], fake: tuple[int, int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        diversity(torch.randn(*real), torch.randn(*fake))


def test_the_least_diverse_batch_is_the_one_of_near_copies() -> None:
    torch.manual_seed(0)
    features = torch.randn(5 * 8 + 3, 6)
    features[16:24] = features[16] + 0.01 * torch.randn(8, 6)
    features[-3:] = 0  # in no whole batch
    assert least_diverse(features, 8).tolist() == list(range(16, 24))
    assert least_diverse(features[:8], 8).tolist() == list(range(8))
    features[1] = features[0]  # one pair of copies is less than a batch of near ones
    assert least_diverse(features, 8).tolist() == list(range(16, 24))


@pytest.mark.parametrize("batch", [1, 9])
def test_a_batch_that_is_none_is_refused(batch: int) -> None:
    with pytest.raises(ValueError, match=f"a batch of {batch}"):
        least_diverse(torch.randn(8, 2), batch)
