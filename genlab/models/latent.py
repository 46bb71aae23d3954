"""Latent noise, and paths between two points of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

NOISES = ("normal", "uniform")
"""Kinds of latent noise: N(0, 1), or uniform on [-1, 1)."""


def sample_latent(
    shape: int | Sequence[int],
    nz: int,
    kind: str = "normal",
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Latent noise of `shape` + [nz]: N(0, 1) for kind `normal`, uniform on [-1, 1) for `uniform`; float32.

    With a generator the numbers are sampled on its device and then moved, so a CPU generator gives every device the
    same noise. Raises ValueError for an unknown kind.
    """
    if kind not in NOISES:
        raise ValueError(f"noise is {kind!r}; valid values: {', '.join(NOISES)}")
    target = torch.device(device) if device is not None else None
    source = generator.device if generator is not None else target
    leading = (shape,) if isinstance(shape, int) else tuple(shape)
    sample = torch.randn if kind == "normal" else torch.rand
    latent = sample((*leading, nz), generator=generator, device=source)
    if kind == "uniform":
        latent = latent * 2 - 1
    return latent if target is None else latent.to(target)


def linear_path(start: Tensor, end: Tensor, count: int) -> Tensor:
    """Points [count, ..., nz] at equal distances on the straight lines from `start` to `end`, [..., nz] each.

    Between two Gaussian points the middle is nearer to 0 than nearly any other point: its length is smaller by √2.
    """
    share = _shares(start, count)
    return (1 - share) * start + share * end


def spherical_path(start: Tensor, end: Tensor, count: int) -> Tensor:
    """Points [count, ..., nz] at equal angles on the arcs from `start` to `end`, [..., nz] each (Shoemake 1985; White
    2016, arXiv:1609.04468): (sin((1 - s)θ) start + sin(sθ) end) / sin θ, with θ the angle between the two.

    Where they point the same way, or exactly against each other, the straight line.
    """
    share = _shares(start, count)
    cosine = torch.nn.functional.cosine_similarity(start, end, dim=-1)[..., None]
    angle = cosine.clamp(-1, 1).acos()
    sine = angle.sin()
    arc = (((1 - share) * angle).sin() * start + (share * angle).sin() * end) / sine
    # an angle near 0 or π is known to 3.5e-4 in float32
    return torch.where(sine.abs() < 1e-3, linear_path(start, end, count), arc)


def _shares(start: Tensor, count: int) -> Tensor:
    """0 to 1, [count, 1, ..., 1]."""
    if count < 2:
        raise ValueError(f"a path of {count} points: it has two ends")
    return torch.linspace(0, 1, count, device=start.device).view(-1, *[1] * start.ndim)
