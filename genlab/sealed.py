"""JSON mappings that show when a byte of them was altered: their CRC-32 is their last field."""

from __future__ import annotations

import json
import re
import zlib
from typing import Any

_SEALED = re.compile(r'(.+), "crc32": "([0-9a-f]{8})"\}', re.DOTALL)


def seal(text: str) -> str:
    """JSON of a mapping that is not empty, with the CRC-32 of its text as one more field, the last."""
    body = text.removesuffix("}").rstrip()
    return f'{body}, "crc32": "{zlib.crc32(body.encode()):08x}"}}'


def unseal(data: bytes) -> dict[str, Any]:
    """The JSON mapping that was sealed, without its seal.

    Raises:
        ValueError: it is no JSON mapping, it has no seal, or it is not what was sealed.
    """
    text = data.decode()
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("it is no JSON mapping")
    if value.pop("crc32", None) is None:
        raise ValueError("it has no crc32")
    sealed = _SEALED.fullmatch(text)
    if sealed is None or f"{zlib.crc32(sealed[1].encode()):08x}" != sealed[2]:
        raise ValueError("its crc32 is that of another text")
    return value
