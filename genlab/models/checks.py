"""What networks refuse: arguments and tensors that they are not made for. All raise ValueError."""

from __future__ import annotations

from torch import Tensor

IMAGE_SIZES = (32, 64, 128)
"""Sides, in pixels, that the networks are made for."""


def check_image_size(image_size: int) -> None:
    """Refuse a size that is not one of `IMAGE_SIZES`, naming those."""
    if image_size not in IMAGE_SIZES:
        raise ValueError(f"image_size is {image_size!r}; valid values: {', '.join(map(str, IMAGE_SIZES))}")


def check_positive(**values: int) -> None:
    """Refuse a number below 1, by its name."""
    for name, value in values.items():
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")


def check_images(images: Tensor, shape: tuple[int, ...], network: str) -> None:
    """Refuse images that are not [N, *shape]; `network` is what the message calls the network."""
    # A larger image would give a map of logits, and flattening would take it for a larger batch.
    if images.ndim != 4 or images.shape[1:] != shape:
        expected = ", ".join(map(str, shape))
        raise ValueError(f"images have shape {list(images.shape)}; this {network} takes [N, {expected}]")


def check_noise(noise: Tensor, nz: int) -> None:
    """Refuse noise of a generator that is not [N, nz]."""
    if noise.ndim != 2 or noise.shape[1] != nz:
        raise ValueError(f"noise has shape {list(noise.shape)}; this generator takes [N, {nz}]")
