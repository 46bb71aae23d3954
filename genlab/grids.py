"""A report's images as one picture: what MLflow shows for an epoch, and the cells of a contact sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PAD = 2  # pixels between two images, and around them
MOST, LONGEST = 1 << 26, 1 << 16  # pixels of a picture, 200 MB in all; of its edge
LETTERS = 40  # of a label that are drawn
SMALLEST, LARGEST = 9, 20  # pixels: of a label's letters
PLAIN = frozenset(map(chr, range(32, 127))) | set("±·…°")  # what Pillow's own font has among others
SHAPES = "uint8 [H, W, C], [N, H, W, C] or [R, K, H, W, C] with C = 1, 3 or 4"  # what can be shown, for messages


class Labels(NamedTuple):
    """What stands beside the rows and above the columns of images [R, K, H, W, C]: R and K texts, () for none."""

    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


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


def labelled(
    images: np.ndarray, rows: Sequence[str] = (), columns: Sequence[str] = (), largest: int = LARGEST
) -> np.ndarray:
    """`grid`, with a label to the left of each row and one above each column.

    Args:
        images: as `grid` takes them.
        rows, columns: R and K texts for images [R, K, H, W, C]; () for none. Of a text longer than 40 letters the
            beginning is drawn. Where a column is narrower than its label, the labels of all columns stand upright.
        largest: size of the letters in pixels, at most; those beside low images are smaller.

    Returns:
        uint8 [H', W', 3]; without labels what `grid` returns.

    Raises:
        ValueError: as `grid`, and what `check_labels` says.
    """
    pictures = grid(images)
    check_labels(images, Labels(tuple(rows), tuple(columns)))
    if not rows and not columns:
        return pictures
    height, width = images.shape[2] + PAD, images.shape[3] + PAD
    beside = [_short(label) for label in rows]
    above = [_short(label) for label in columns]
    left, top = margins(Labels(tuple(rows), tuple(columns)), images.shape[2], images.shape[3], largest)
    size, gap = _letters(images.shape[2], largest)
    of_columns, upright = _letters_above(above, size, images.shape[3])
    canvas = Image.new("RGB", (left + pictures.shape[1], top + pictures.shape[0]), "white")
    canvas.paste(Image.fromarray(pictures), (left, top))
    pen = ImageDraw.Draw(canvas)
    for i, text in enumerate(beside):
        middle = top + PAD + i * height + (height - PAD) / 2
        pen.text((left - gap, middle), text, "black", font(size, text), anchor="rm")
    for i, text in enumerate(above):
        middle = left + PAD + i * width + (width - PAD) / 2
        if upright:
            turned = _turned(text, of_columns)
            canvas.paste(turned, (round(middle - turned.width / 2), top - gap // 2 - turned.height))
        else:
            pen.text((middle, top - gap // 2), text, "black", font(of_columns, text), anchor="md")
    return np.asarray(canvas)


def check_labels(images: np.ndarray, labels: Labels) -> None:
    """
    Raises:
        ValueError: labels of images that are not [R, K, H, W, C], not one for each row or column, or no texts.
    """
    for i, (what, own) in enumerate((("row", labels.rows), ("column", labels.columns))):
        if own and images.ndim != 5:
            raise ValueError(f"labels go with images [rows, columns, H, W, C], and these are {list(images.shape)}")
        if own and len(own) != images.shape[i]:
            raise ValueError(f"{len(own)} labels for {images.shape[i]} {what}s: there is one for each {what}, or none")
        if not all(isinstance(label, str) for label in own):
            raise ValueError(f"labels of {what}s that are no texts")


def margins(labels: Labels, height: int, width: int, largest: int = LARGEST) -> tuple[int, int]:
    """Pixels that `labelled` takes to the left of the images, and above them, if these are `height` x `width`."""
    size, gap = _letters(height, largest)
    left = math.ceil(_longest([_short(label) for label in labels.rows], size))
    if not labels.columns:
        return (left + 2 * gap if left else 0), 0
    above = [_short(label) for label in labels.columns]
    of_columns, upright = _letters_above(above, size, width)
    top = math.ceil(_longest(above, of_columns) if upright else 1.25 * of_columns) + gap
    return (left + 2 * gap if left else 0), top


def font(size: int, text: str = "") -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Letters of `size` pixels that `text` can be written in: Pillow's own, or, where these lack one, such as an ε,
    matplotlib's."""
    if PLAIN.issuperset(text):
        return ImageFont.load_default(size)
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)


def _short(label: str) -> str:
    line = " ".join(label.split())
    return line if len(line) <= LETTERS else line[: LETTERS - 1] + "…"


def _letters(height: int, largest: int) -> tuple[int, int]:
    """Size of letters beside images of this height, and of the gaps around them, in pixels."""
    size = max(SMALLEST, min(largest, (height + PAD) // 2))
    return size, max(2, min(size, (height + PAD) // 4))


def _letters_above(texts: Sequence[str], size: int, width: int) -> tuple[int, bool]:
    """Size of letters above images of this width, `size` at most, and whether they stand upright."""
    for own in range(size, SMALLEST - 1, -1):
        if _longest(texts, own) <= width - PAD:
            return own, False
    return max(SMALLEST, min(size, width)), True


def _longest(texts: Sequence[str], size: int) -> float:
    return max((_length(text, size) for text in texts), default=0.0)


def _length(text: str, size: int) -> float:
    return font(size, text).getlength(text)


def _turned(text: str, size: int) -> Image.Image:
    """A text that is read from below."""
    line = Image.new("RGB", (max(1, math.ceil(_length(text, size))), math.ceil(1.25 * size)), "white")
    ImageDraw.Draw(line).text((0, line.height / 2), text, "black", font(size, text), anchor="lm")
    return line.transpose(Image.Transpose.ROTATE_90)
