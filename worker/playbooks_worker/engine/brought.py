"""What a header brings that a checkpoint refers to instead of saving it: the objects behind `as`, unless they are data."""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import pathlib
import uuid
from typing import Any

DATA = (bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, type(None))
"""Python's own kinds of data."""

# `as` targets of these kinds are data: they keep their saved value.
PLAIN = (
    *DATA,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    decimal.Decimal,
    fractions.Fraction,
    uuid.UUID,
    pathlib.PurePath,
    enum.Enum,
)


def targets_of(value: Any) -> tuple[Any, ...]:
    """The objects that a fresh header brings: the value itself, and the parts of a tuple."""
    parts = value if type(value) is tuple else (value,)
    return tuple(None if isinstance(part, PLAIN) else part for part in parts)
