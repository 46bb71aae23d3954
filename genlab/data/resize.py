"""Whole image sets brought to one square size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_CHUNK = 4096


def resize(images: Tensor, size: int, mode: str = "bilinear") -> Tensor:
    """uint8 [N,C,H,W] to uint8 [N,C,size,size], antialiased; `mode` is "bilinear" or "bicubic".

    In chunks: a whole set in float32 would take four times its memory, twice.
    """
    if images.shape[2:] == (size, size):
        return images
    resized = torch.empty(*images.shape[:2], size, size, dtype=torch.uint8)
    for start in range(0, len(images), _CHUNK):
        part = images[start : start + _CHUNK].to(torch.float32)
        part = F.interpolate(part, (size, size), mode=mode, antialias=True, align_corners=False)
        resized[start : start + _CHUNK] = part.round_().clamp_(0, 255)
    return resized


def pad_to_32(images: Tensor) -> Tensor:
    """uint8 [N,C,28,28] to uint8 [N,C,32,32] by two pixels of zeros (black) on every side."""
    return F.pad(images, (2, 2, 2, 2))
