"""Puts an object where another stands, wherever the loaded state of an agent holds that (restore.py asks).

A reference to what a header brings may be loaded before the header has been entered: then a placeholder stands for it.
"""

from __future__ import annotations

import collections
import gc
from types import CellType, MethodType
from typing import Any


def replace(old: Any, new: Any) -> None:
    """Let every container and object that refers to *old* refer to *new*; tuples and their like are made again.

    A bound method cannot be changed either: it is made again, too.

    No comprehension here, nor a lambda: on Python 3.11 these keep *old* in a cell, which refers to it like any other."""
    for holder in gc.get_referrers(old):
        kind = type(holder)
        if isinstance(holder, dict):
            items = list(holder.items())
            holder.clear()
            for key, value in items:
                holder[new if key is old else key] = new if value is old else value
        elif isinstance(holder, list | collections.deque):
            for index, item in enumerate(holder):
                if item is old:
                    holder[index] = new
        elif isinstance(holder, set):
            holder.discard(old)
            holder.add(new)
        elif isinstance(holder, tuple | frozenset):
            parts = list(holder)
            for index, item in enumerate(parts):
                if item is old:
                    parts[index] = new
            replace(holder, kind(parts) if not hasattr(kind, "_make") else kind._make(parts))
        elif kind is MethodType:
            replace(holder, MethodType(holder.__func__, new))
        elif kind is CellType:
            holder.cell_contents = new
        else:
            _replace_attributes(holder, old, new)


def _replace_attributes(holder: Any, old: Any, new: Any) -> None:
    """In an object, frozen or not, with a dict or with slots."""
    attributes = getattr(holder, "__dict__", None)
    if isinstance(attributes, dict):
        for name, value in attributes.items():
            if value is old:
                attributes[name] = new
    for base in type(holder).__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            descriptor = vars(base).get(name)
            if descriptor is not None and getattr(holder, name, None) is old:
                descriptor.__set__(holder, new)
