"""Every random number of a trial follows from (seed, purpose, numbers): a state needs no generator in it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive(seed: int, purpose: str, *numbers: int) -> int:
    """A 63-bit seed for one purpose ("shuffle", "noise", ...) and, say, one epoch: equal on every rank and machine."""
    text = "/".join([str(seed), purpose, *map(str, numbers)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, purpose: str, *numbers: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator on `device`, seeded by `derive(seed, purpose, *numbers)`."""
    import torch

    made = torch.Generator(device)
    made.manual_seed(derive(seed, purpose, *numbers))
    return made
