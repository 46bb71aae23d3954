"""Images at the size of a cell of the contact sheet: small, but with what they show still to be seen."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from genlab.grids import PAD, Labels, grid, labelled, margins

CELL = 190  # pixels: the least width and height of a cell
WIDEST, HIGHEST = 480, 280  # pixels: the most
SHOWN = 4  # images along the edge of a cell, of a set [N, H, W, C]
TILE = 44  # pixels: the edge of a square image among others, where there is room
LETTERS, LARGEST = 16, 12  # of a label; pixels of one
LOWEST = 8  # pixels: images that are lower have no room for a label beside them


def arranged(images: np.ndarray, labels: Labels) -> tuple[np.ndarray, Labels]:
    """What a cell shows of images that `grid` takes: [H, W, C] and [R, K, H, W, C] whole, of a set [N, H, W, C] the
    first 16 in a square [R, K, H, W, C], with white ones to fill it. Labels are shortened to 16 letters."""
    short = (tuple(text if len(text) <= LETTERS else text[: LETTERS - 1] + "…" for text in own) for own in labels)
    if images.ndim != 4:
        return images, Labels(*short)
    columns = min(SHOWN, math.ceil(math.sqrt(len(images))))
    images = images[: columns**2]
    rows = math.ceil(len(images) / columns)
    white = np.full((rows * columns - len(images), *images.shape[1:]), 255, np.uint8)
    return np.concatenate((images, white)).reshape(rows, columns, *images.shape[1:]), Labels()


def size(images: np.ndarray, labels: Labels) -> tuple[int, int]:
    """Width and height in pixels at which `arranged` images are well seen: a single picture at its own size, others
    at 44 x 44 pixels each, if they are squares; of small ones the longer edge is 190. At most 480 x 280."""
    height, width = images.shape[-3:-1]
    if images.ndim == 5:
        edge = TILE / math.sqrt(width * height)
        width, height = edge * width, edge * height
        left, top = margins(labels, round(height), round(width), LARGEST)
        rows, columns = images.shape[:2]
        width, height = left + columns * (width + PAD) + PAD, top + rows * (height + PAD) + PAD
    scale = min(WIDEST / width, HIGHEST / height, max(1.0, min(CELL / width, CELL / height)))
    return max(1, round(width * scale)), max(1, round(height * scale))


def drawn(images: np.ndarray, labels: Labels, width: int, height: int) -> np.ndarray:
    """`arranged` images in at most `width` x `height` pixels, uint8 [H, W, 3]. Labels are left out where images are
    lower than letters."""
    if images.ndim == 3:
        return fitted(grid(images), width, height)
    rows, columns = images.shape[:2]
    wide, high = (width - PAD) // columns - PAD, (height - PAD) // rows - PAD
    if high < LOWEST:
        labels = Labels()
    left, top = margins(labels, high, wide, LARGEST)
    wide, high = (width - left - PAD) // columns - PAD, (height - top - PAD) // rows - PAD
    if min(wide, high) < 1:
        return fitted(grid(images), width, height)
    tiles = [fitted(grid(tile), wide, high, smooth=2.0) for tile in images.reshape(-1, *images.shape[2:])]
    whole = labelled(np.stack(tiles).reshape(rows, columns, *tiles[0].shape), *labels, largest=LARGEST)
    return whole if whole.shape[0] <= height and whole.shape[1] <= width else fitted(whole, width, height)


def fitted(image: np.ndarray, width: int, height: int, smooth: float = 1.0) -> np.ndarray:
    """`image` uint8 [H, W, 3] as large as it gets in width x height, its aspect ratio kept. Up to `smooth` times its
    size pixels are blended, above they are repeated whole and stay sharp."""
    scale = min(width / image.shape[1], height / image.shape[0])
    if scale >= smooth:
        return image.repeat(math.floor(scale), 0).repeat(math.floor(scale), 1)
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
