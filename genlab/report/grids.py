"""Many small images as one: what MLflow shows for an epoch, and the cells of a contact sheet."""

from __future__ import annotations

import math

import numpy as np

PAD = 2  # pixels between two images, and around them


def can_be_shown(images: np.ndarray) -> bool:
    """Whether they are what `grid` takes."""
    return images.dtype == np.uint8 and images.ndim == 4 and images.shape[-1] in (1, 3, 4)


def grid(images: np.ndarray, columns: int | None = None, background: int = 255) -> np.ndarray:
    """Images side by side, row by row, 2 pixels apart.

    Args:
        images: uint8 [N, H, W, C]; C = 1 is gray, 3 is RGB, 4 is RGBA (its alpha is dropped). N may be 0.
        columns: how many side by side; None makes the grid as square as it gets.
        background: gray level of the gaps and of cells left over.

    Returns:
        uint8 [H', W', 3].

    Raises:
        ValueError: the shape or the type is another.
    """
    if not can_be_shown(images):
        raise ValueError(f"a grid takes uint8 [N, H, W, 1, 3 or 4], got {images.dtype} {list(images.shape)}")
    count, height, width, channels = images.shape
    columns = max(1, columns or math.ceil(math.sqrt(count)))
    rows = max(1, math.ceil(count / columns))
    colored = np.repeat(images, 3, axis=-1) if channels == 1 else images[..., :3]
    canvas = np.full((rows * (height + PAD) + PAD, columns * (width + PAD) + PAD, 3), background, np.uint8)
    for i, image in enumerate(colored):
        top, left = PAD + i // columns * (height + PAD), PAD + i % columns * (width + PAD)
        canvas[top : top + height, left : left + width] = image
    return canvas
