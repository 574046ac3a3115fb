"""Python's own iterators over dicts and sets as parts of a checkpoint (reducers.py asks): those that a program holds itself.

Left to pickle they come back over a list: nothing complains when the dict or set changes size after a resume, and where
it has changed before one, pickle fails. They come back as iterators of our own, over the same dict or set. Those that a
`for` alone holds are ours from the start (iterators.py).
"""

from __future__ import annotations

import collections
import gc
from collections.abc import Callable, Iterator
from typing import Any

from playbooks_worker.engine.iterators import DictIterator, SetIterator
from playbooks_worker.engine.losses import Reduced

_CHANGED = -1  # no size: it complains at every turn


class OfDict(DictIterator):
    """Shared, so that a checkpoint saves it as an object. *kind* names the view; *backwards* as `reversed` goes."""

    __slots__ = ("_backwards", "_kind", "_mapping")

    def __init__(self, mapping: dict[Any, Any], kind: str, backwards: bool, taken: int, size: int) -> None:
        super().__init__(getattr(dict, kind)(mapping), taken, size)
        self._mapping = mapping
        self._kind = kind
        self._backwards = backwards

    def __next__(self) -> Any:
        try:
            return super().__next__()
        except StopIteration:  # for good, whatever becomes of the dict
            self._mapping, self._taken, self._size = {}, 0, 0
            raise

    def begins(self) -> Iterator[Any]:
        return reversed(self._view) if self._backwards else iter(self._view)

    def __reduce__(self) -> tuple[Any, ...]:
        return OfDict, (self._mapping, self._kind, self._backwards, self._taken, self._size)


class OfSet(SetIterator):
    """Shared, as `OfDict`."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._container, self._rest, self._size)


class OfOrdered(OfSet):
    """Over an `OrderedDict`, whose iterators tell nothing of their place but what is left."""

    __slots__ = ()
    complaint = "OrderedDict mutated during iteration"

    def __next__(self) -> Any:
        try:
            return super().__next__()
        except RuntimeError:  # once: then it is at its end
            self._container, self._rest, self._size = (), [], 0
            raise


def _of_dict(kind: str, backwards: bool) -> Callable[[Any, Any], Reduced]:
    def reduce(saver: Any, iterator: Any) -> Reduced:
        mapping = _below(iterator, dict)
        if mapping is None:
            return iter, ((),)
        size = _CHANGED if _changed(iterator) else len(mapping)
        return OfDict, (mapping, kind, backwards, len(mapping) - iterator.__length_hint__(), size)

    return reduce


def _with_its_rest(made: type[OfSet]) -> Callable[[Any, Any], Reduced]:
    def reduce(saver: Any, iterator: Any) -> Reduced:
        container = _below(iterator, (set, frozenset, dict))
        if container is None:
            return iter, ((),)
        if _changed(iterator):
            return made, (container, [], _CHANGED)
        rest: list[Any] = iterator.__reduce__()[1][0]
        return made, (container, rest[::-1], len(container))

    return reduce


def _below(iterator: Any, kinds: Any) -> Any:
    """What it goes over; None once it has reached the end."""
    return next((found for found in gc.get_referents(iterator) if isinstance(found, kinds)), None)


def _changed(iterator: Any) -> bool:
    """Whether its next turn is an error. One with turns left has not changed, as far as it can tell."""
    if getattr(iterator, "__length_hint__", int)() > 0:
        return False
    try:
        iterator.__reduce__()
    except RuntimeError:
        return True
    return False


REDUCERS: dict[type, Callable[[Any, Any], Reduced]] = {
    **{type(iter(getattr({}, kind)())): _of_dict(kind, False) for kind in ("keys", "values", "items")},
    **{type(reversed(getattr({}, kind)())): _of_dict(kind, True) for kind in ("keys", "values", "items")},
    type(iter(set())): _with_its_rest(OfSet),
    type(iter(collections.OrderedDict())): _with_its_rest(OfOrdered),
}
