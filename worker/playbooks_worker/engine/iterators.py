"""Iterators of `for` loops as saved locals.

Those over lists, tuples, strings, ranges, dicts and sets are made here, so that nobody else holds them: a checkpoint saves
plain data in their place (`saved`), which costs a tenth of what Python's own iterators cost (each brings two globals along),
and works for dicts and sets. Any other iterator may be shared (with `next()`, say) and is saved as the object that it is
(iterator_states.py). A dict or set that changes size while it is looped over complains after a resume as before it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from playbooks_worker.engine import completed

_VIEWS: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))


class SequenceIterator:
    """Iterates a sequence by index, as Python's own does: it sees what is appended, and stays at its end."""

    __slots__ = ("_items", "_next")

    def __init__(self, items: Sequence[Any], taken: int = 0) -> None:
        self._items = items
        self._next = taken

    def __iter__(self) -> SequenceIterator:
        return self

    def __next__(self) -> Any:
        try:
            item = self._items[self._next]
        except IndexError:
            self._items = ()
            raise StopIteration from None
        self._next += 1
        return item

    def saved(self) -> tuple[Any, ...]:
        items = self._items
        if type(items) is range:  # an object to pickle, unlike its parts
            return "range", items.start, items.stop, items.step, self._next
        return "sequence", items, self._next


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
            self._iterator = itertools.islice(self.begins(), self._taken, None)
        item = next(self._iterator)
        self._taken += 1
        return item

    def begins(self) -> Iterator[Any]:
        return iter(self._view)

    def saved(self) -> tuple[Any, ...]:
        return "dict", self._view, self._taken, self._size


class SetIterator:
    """Iterates a set in an order fixed at the start, which another process would not repeat."""

    __slots__ = ("_container", "_rest", "_size")
    complaint = "Set changed size during iteration"

    def __init__(self, container: Any, rest: list[Any] | None = None, size: int | None = None) -> None:
        self._container = container
        self._rest = list(reversed(list(container))) if rest is None else rest
        self._size = len(container) if size is None else size

    def __iter__(self) -> SetIterator:
        return self

    def __next__(self) -> Any:
        if len(self._container) != self._size:
            raise RuntimeError(self.complaint)
        if not self._rest:
            self._container, self._size = (), 0  # from now on it may change
            raise StopIteration
        return self._rest.pop()

    def saved(self) -> tuple[Any, ...]:
        return "set", self._container, self._rest, self._size


def _over_range(start: int, stop: int, step: int, taken: int) -> SequenceIterator:
    return SequenceIterator(range(start, stop, step), taken)


_OURS: dict[type, Callable[..., Any]] = {
    **dict.fromkeys((list, tuple, str, bytes, range), SequenceIterator),
    **dict.fromkeys((dict, *_VIEWS), DictIterator),
    set: SetIterator,
}
HIDDEN = frozenset(_OURS.values())  # the kinds that have `saved`
_AGAIN: dict[str, Callable[..., Iterator[Any]]] = {
    "sequence": SequenceIterator,
    "range": _over_range,
    "dict": DictIterator,
    "set": SetIterator,
}


def saved_iter(iterable: Iterable[Any]) -> Iterator[Any]:
    """`iter(iterable)`, of a kind that can be saved wherever there is one."""
    make = _OURS.get(type(iterable))
    if make is not None:
        made: Iterator[Any] = make(iterable)
        return made
    return completed.saved(iterable) or iter(iterable)


def loaded(kept: Any) -> Iterator[Any]:
    """The iterator for what a checkpoint holds in its place: what `saved` answered, or the iterator itself."""
    return _AGAIN[kept[0]](*kept[1:]) if type(kept) is tuple else kept


def again(iterator: Iterator[Any]) -> Iterator[Any]:
    """One empty turn, the one that is entered again, before the rest of *iterator*."""
    return itertools.chain((None,), iterator)
