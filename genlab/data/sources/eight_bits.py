"""The values of image files as eight bits a channel, in gray or RGB: scales, signs and transparency."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin

from genlab.data.rows import BadImage

_SIGNED = 2  # of TIFF's tag SampleFormat
_WHITE_IS_ZERO = 0  # of its tag PhotometricInterpretation
CURE = "save such images with 8 bits a channel, or with 16 that reach from 0 (black) to 65535 (white)"


class Deep(NamedTuple):
    """A gray image of more than eight bits: `shift` bits too many, the brightest value black if `inverted`, and the
    value that is transparent, if there is one."""

    shift: int
    inverted: bool
    clear: int | None


def deep(image: Image.Image, file: str) -> Deep | None:
    """How the image's values become eight bits; None where they are eight bits.

    Raises BadImage where nothing tells which value is white. Values of a file of 16 bits are taken to use all of them.
    """
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    if image.mode == "L" and tags.get(TiffImagePlugin.SAMPLEFORMAT) == (_SIGNED,):
        raise BadImage(f"{file} holds signed numbers of 8 bits, whose scale is unknown", CURE)
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        low, high = image.getextrema()
        kind = "floating-point numbers" if image.mode == "F" else "integers of 32 bits, or signed ones of 16,"
        raise BadImage(
            f"{file} holds {kind} from {low:g} to {high:g} (mode {image.mode}), whose scale is unknown", CURE
        )
    if not image.mode.startswith("I"):
        return None
    bits = tags.get(TiffImagePlugin.BITSPERSAMPLE, (16,))[0]
    clear = image.info.get("transparency")
    return Deep(
        shift=bits - 8,
        inverted=tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO,
        clear=clear if isinstance(clear, int) else None,
    )


def is_plain(image: Image.Image) -> bool:
    """Whether it is opaque, in gray or RGB, of eight bits a channel: `converted` would give it back."""
    return image.mode in ("L", "RGB") and not image.has_transparency_data


def converted(image: Image.Image, values: Deep | None) -> Image.Image:
    """The image in mode "L" or "RGB", as it looks on white; `values` is what `deep` gave for it or for a larger one
    that it was cut from."""
    if values is not None:
        return _shifted(image, values)
    if is_plain(image):
        return image
    if not image.has_transparency_data:
        return image.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA")).convert("RGB")


def scale_clear_value(image: ImageFile.ImageFile) -> None:
    """Bring the color that is transparent to eight bits, as the pixels of the PNG will be, which is not loaded yet.

    Pillow gives it as the file has it.
    """
    clear, stored = image.info.get("transparency"), image.tile[0][3]  # how the file holds the values, in Pillow's terms
    if stored == "RGB;16B" and isinstance(clear, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in clear)
    elif stored in ("L;2", "L;4") and isinstance(clear, int):
        image.info["transparency"] = clear * (85 if stored == "L;2" else 17)


def _shifted(image: Image.Image, values: Deep) -> Image.Image:
    stored = np.asarray(image)
    gray = (stored.astype(np.int64) >> values.shift).clip(0, 255).astype(np.uint8)
    if values.inverted:
        gray = 255 - gray
    if values.clear is not None:
        gray[stored == values.clear] = 255
    return Image.fromarray(gray)
