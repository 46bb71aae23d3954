"""What is read from a file is checked against its schema here, before anything is done with it.

A record is a frozen msgspec struct: its fields, their types and their bounds are the schema. A sweep's folder may come
from anybody, so every number has a bound, and every name has a pattern.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

LARGEST = 2**53  # integers up to here are the same in every JSON library

Count = Annotated[int, Meta(ge=0, le=LARGEST)]
Number = Annotated[int, Meta(ge=1, le=LARGEST)]
Integer = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Finite = Annotated[float, Meta(ge=-sys.float_info.max, le=sys.float_info.max)]
Time = Annotated[float, Meta(ge=0, le=1e11)]
"""Seconds since 1970."""

TrialName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_-]*\Z", max_length=100)]

Scalar = None | bool | Integer | float | str
Setting = Scalar | list[Scalar | list[Scalar | list[Scalar]]]
"""The value of a config's field, as JSON has it: tuples are lists."""

Settings = dict[str, Setting]


class Record(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one kind of record holds. A field that is not named here is an error, as is one of another type."""


def checked(value: Any, kind: Any) -> Any:
    """`value`, which a JSON file holds, as a record of this kind, or of one of a union.

    Raises:
        ValueError: it is none. The message names the field.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        place = where.rstrip("`")
        raise ValueError(f"{place}: {what[:200]}" if place else what[:200]) from None


def as_json(record: Any) -> Any:
    """A record as values that `json.dumps` takes."""
    return msgspec.to_builtins(record)
