"""Every random number of a trial, and the split of every data set, follows from these numbers."""

from __future__ import annotations

import hashlib
import itertools

import pytest
import torch

from genlab.randomness import derive, generator


@pytest.mark.parametrize(
    ("seed", "purpose", "numbers", "text"),
    [
        (3, "noise", (), "3/noise"),
        (0, "shuffle/real", (2,), "0/shuffle/real/2"),
        (7, "network", (1, 10), "7/network/1/10"),
    ],
)
def test_a_seed_is_63_bits_of_sha256_for_ever(seed: int, purpose: str, numbers: tuple[int, ...], text: str) -> None:
    """Another rule would give another split of every data set, and a resumed trial other batches."""
    bits = "".join(f"{byte:08b}" for byte in hashlib.sha256(text.encode()).digest())
    assert derive(seed, purpose, *numbers) == int(bits[:63], 2)


def test_other_seeds_purposes_and_numbers_give_other_seeds() -> None:
    """Also where they are written with the same digits."""
    asked = [(1, "x", 1, 12), (1, "x", 11, 2), (1, "x", 112), (11, "x", 12), (1, "1x", 12), (1, "x"), (1, "x", 0)]
    for one, other in itertools.combinations(asked, 2):
        assert derive(*one) != derive(*other), (one, other)


def test_a_generator_begins_at_its_derived_seed() -> None:
    drawn = torch.rand(8, generator=generator(5, "latent", 3))
    assert torch.equal(drawn, torch.rand(8, generator=generator(5, "latent", 3)))
    assert torch.equal(drawn, torch.rand(8, generator=torch.Generator().manual_seed(derive(5, "latent", 3))))
    for other in ((6, "latent", 3), (5, "labels", 3), (5, "latent", 4)):
        assert not torch.equal(drawn, torch.rand(8, generator=generator(*other)))
