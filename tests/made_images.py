"""Image files made for a test, some of which no library writes."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def paint(path: Path, value: int, size: tuple[int, int] = (12, 10)) -> Path:
    """One image whose middle has one gray value, which tells it from others, and whose edge is white and black."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, (value,) * 3)
    image.putpixel((size[0] // 2 - 3, 0), (0, 0, 0))
    image.putpixel((size[0] // 2 + 2, 0), (255, 255, 255))
    image.save(path)
    return path


def noise(path: Path, seed: int = 0, size: int = 16) -> Path:
    """One image of random colors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)).save(path)
    return path


def png(bits: int, kind: int, rows: list[bytes], width: int, clear: bytes = b"", height: int | None = None) -> bytes:
    """A PNG of these packed rows; `kind` is 0 for gray, 2 for RGB; `clear` is the color that is transparent.

    `height` is what it says of its height, if that is not true.
    """

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height or len(rows), bits, kind, 0, 0, 0)
    transparent = chunk(b"tRNS", clear) if clear else b""
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + transparent + pixels + chunk(b"IEND", b"")


def tiff(bits: int, content: bytes, side: int, *, white_is_zero: bool = False, sample: int = 1) -> bytes:
    """A gray TIFF of side x side pixels; `sample` is 1 for unsigned numbers, 2 for signed, 3 for floating-point."""
    entries = {
        256: (3, side),
        257: (3, side),
        258: (3, bits),
        259: (3, 1),  # not compressed
        262: (3, int(not white_is_zero)),
        273: (4, 8),  # where the content begins
        277: (3, 1),
        278: (3, side),
        279: (4, len(content)),
        339: (3, sample),
    }
    packed = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, (kind, value) in entries.items())
    end = 8 + len(content)
    return b"II*\0" + struct.pack("<I", end) + content + struct.pack("<H", len(entries)) + packed + bytes(4)
