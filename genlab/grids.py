"""A report's images as one picture: what MLflow shows for an epoch, and the cells of a contact sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PAD = 2  # pixels between two images, and around them
MOST, LONGEST = 1 << 26, 1 << 16  # pixels of a picture, 200 MB in all; of its edge
SHAPES = "uint8 [H, W, C], [N, H, W, C] or [R, K, H, W, C] with C = 1, 3 or 4"  # what can be shown, for messages


def can_be_shown(images: np.ndarray) -> bool:
    """Whether `grid` makes a picture of them: they are of its shapes and type, and no larger than a picture may be."""
    return are_images(images) and math.prod(size := picture_size(images)) <= MOST and max(size) <= LONGEST


def are_images(images: np.ndarray) -> bool:
    """Whether they have one of the shapes and the type that `grid` takes."""
    return images.dtype == np.uint8 and images.ndim in (3, 4, 5) and images.shape[-1] in (1, 3, 4)


def picture_size(images: np.ndarray) -> tuple[int, int]:
    """Height and width of the picture that `grid` makes of such images, in pixels."""
    height, width = images.shape[-3:-1]
    if images.ndim == 3:
        return height, width
    if images.ndim == 5:
        rows, columns = images.shape[:2]
    else:
        columns = max(1, math.ceil(math.sqrt(len(images))))
        rows = math.ceil(len(images) / columns)
    return max(1, rows) * (height + PAD) + PAD, max(1, columns) * (width + PAD) + PAD


def grid(images: np.ndarray, columns: int | None = None, background: int = 255) -> np.ndarray:
    """Images as one picture. C = 1 is gray, 3 is RGB, 4 is RGBA (its alpha is dropped).

    Args:
        images: uint8 [H, W, C], a single picture, which stays as it is; [N, H, W, C], put side by side, row by row,
            2 pixels apart, N may be 0; or [R, K, H, W, C], the same with exactly R rows of K.
        columns: how many of [N, H, W, C] are side by side; None makes the grid as square as it gets.
        background: gray level of the gaps and of cells left over.

    Returns:
        uint8 [H', W', 3].

    Raises:
        ValueError: the shape or the type is another, or the picture would be too large.
    """
    if not can_be_shown(images):
        most = f" of {MOST:,} pixels at most" if are_images(images) else ""
        raise ValueError(f"a grid takes {SHAPES}{most}, got {images.dtype} {list(images.shape)}")
    colored = np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images[..., :3]
    if colored.ndim == 3:
        return colored
    if colored.ndim == 5:
        columns = colored.shape[1]
        colored = colored.reshape(-1, *colored.shape[2:])
    count, height, width, _ = colored.shape
    columns = max(1, columns or math.ceil(math.sqrt(count)))
    rows = max(1, math.ceil(count / columns))
    canvas = np.full((rows * (height + PAD) + PAD, columns * (width + PAD) + PAD, 3), background, np.uint8)
    for i, image in enumerate(colored):
        top, left = PAD + i // columns * (height + PAD), PAD + i % columns * (width + PAD)
        canvas[top : top + height, left : left + width] = image
    return canvas


def labelled_rows(images: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """`grid` of rows, with the name of each to its left.

    Args:
        images: uint8 [R, K, H, W, C].
        labels: R of them.

    Returns:
        uint8 [H', W', 3].
    """
    pictures = grid(images)
    height = images.shape[2] + PAD
    font = ImageFont.load_default(max(8, min(20, height // 2)))
    gap = height // 4
    width = math.ceil(max(font.getlength(label) for label in labels)) + 2 * gap
    canvas = Image.new("RGB", (width + pictures.shape[1], pictures.shape[0]), "white")
    canvas.paste(Image.fromarray(pictures), (width, 0))
    pen = ImageDraw.Draw(canvas)
    for i, label in enumerate(labels):
        pen.text((width - gap, PAD + (i + 0.5) * height), label, "black", font, anchor="rm")
    return np.asarray(canvas)
