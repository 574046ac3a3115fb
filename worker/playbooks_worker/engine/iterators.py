"""Iterators of `for` loops as saved locals: most pickle as they are; those of dicts and sets need their container.

A dict or set that changes size while it is looped over complains after a resume as before it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from playbooks_worker.engine import completed

_VIEWS: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))


class DictIterator:
    """Iterates a dict or one of its views; saved as (view, items taken, size at the start)."""

    __slots__ = ("_iterator", "_size", "_taken", "_view")

    def __init__(self, view: Any, taken: int = 0, size: int | None = None) -> None:
        self._view = view
        self._taken = taken
        self._size = len(view) if size is None else size
        self._iterator: Iterator[Any] | None = None

    def __iter__(self) -> DictIterator:
        return self

    def __next__(self) -> Any:
        if self._iterator is None:  # the first turn, here or after a resume
            if len(self._view) != self._size:
                raise RuntimeError("dictionary changed size during iteration")
            self._iterator = itertools.islice(iter(self._view), self._taken, None)
        item = next(self._iterator)
        self._taken += 1
        return item

    def __reduce__(self) -> tuple[Any, ...]:
        return DictIterator, (self._view, self._taken, self._size)


class SetIterator:
    """Iterates a set in an order fixed at the start, which another process would not repeat."""

    __slots__ = ("_container", "_rest", "_size")

    def __init__(self, container: Any, rest: list[Any] | None = None, size: int | None = None) -> None:
        self._container = container
        self._rest = list(reversed(list(container))) if rest is None else rest
        self._size = len(container) if size is None else size

    def __iter__(self) -> SetIterator:
        return self

    def __next__(self) -> Any:
        if len(self._container) != self._size:
            raise RuntimeError("Set changed size during iteration")
        if not self._rest:
            raise StopIteration
        return self._rest.pop()

    def __reduce__(self) -> tuple[Any, ...]:
        return SetIterator, (self._container, self._rest, self._size)


def saved_iter(iterable: Iterable[Any]) -> Iterator[Any]:
    """`iter(iterable)`, of a kind that can be saved wherever there is one."""
    kind = type(iterable)
    if kind is dict or kind in _VIEWS:
        return DictIterator(iterable)
    if kind is set:
        return SetIterator(iterable)
    return completed.saved(iterable) or iter(iterable)


def again(iterator: Iterator[Any]) -> Iterator[Any]:
    """One empty turn, the one that is entered again, before the rest of *iterator*."""
    return itertools.chain((None,), iterator)
