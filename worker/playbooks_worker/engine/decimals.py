"""The context of `decimal` that a header has brought (`with localcontext() as context`): what the block has set of it.

It is entered again as its header made it, and then set as it was. Called by managers.py.
"""

from __future__ import annotations

import decimal
from collections.abc import Iterable
from typing import Any

_SET = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp")


def among(*targets: Iterable[Any]) -> decimal.Context | None:
    """The context that a header has brought."""
    return next((one for some in targets for one in some if type(one) is decimal.Context), None)


def fill(fresh: decimal.Context, saved: decimal.Context) -> None:
    for name in _SET:
        setattr(fresh, name, getattr(saved, name))
    fresh.flags.update(saved.flags)
    fresh.traps.update(saved.traps)
