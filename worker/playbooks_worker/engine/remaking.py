"""A list of awaitables that an awaited expression makes in a comprehension: made again from the very same arguments.

`gather(*[fetch(queue.pop()) for …])` must not pop again after a crash, so emitted code notes each call as it makes it. It
reaches these functions as helpers; they know nothing of frames.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

Row: TypeAlias = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]] | None


def made(rows: list[Row], function: Callable[..., Any], /, *args: Any, **words: Any) -> Any:
    """Call *function*, and note the call."""
    rows.append((function, args, words))
    return function(*args, **words)


def spread(value: Any) -> Any:
    """*value*, of which `*` makes arguments: of an iterator its items, as it gives them but once."""
    return list(value) if hasattr(type(value), "__next__") else value


def whole(rows: Any) -> bool:
    """Whether the notes came through the checkpoint; a note of an awaitable among the arguments does not."""
    return isinstance(rows, list) and all(row is not None for row in rows)


def remade(rows: list[Row]) -> list[Any]:
    return [row[0](*row[1], **row[2]) for row in rows if row is not None]
