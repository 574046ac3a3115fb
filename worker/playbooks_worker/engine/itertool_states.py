"""Iterators of `itertools` as parts of a checkpoint (reducers.py asks).

Python 3.12 and 3.13 still pickle them, with a DeprecationWarning at each step of it; 3.14 will not. A program that treats
warnings as errors must not lose its iterators for that, so what they say of themselves is asked for, and given back, in
silence. `pairwise`, which says nothing, is taken apart; `batched` cannot be.
"""

from __future__ import annotations

import gc
import itertools
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from playbooks_worker.engine import losses
from playbooks_worker.engine.losses import Losing, Reduced


@contextmanager
def _silence() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _reduce_itertool(saver: Losing, iterator: Any) -> Reduced:
    with _silence():
        reduced = losses.reduce_as_it_wants(saver, iterator)
    if len(reduced) == 3 and reduced[2] is not None:
        return (*reduced, None, None, _fill)
    return reduced


def _fill(iterator: Any, state: Any) -> None:
    with _silence():
        iterator.__setstate__(state)


def _parts(pairs: Any) -> list[Any]:
    """Its iterator; the item before, once it has begun; from Python 3.13 on the tuple that it reuses."""
    parts = gc.get_referents(pairs)
    return parts[1:] if parts and parts[0] is type(pairs) else parts  # from Python 3.12 on


_FRESH = len(_parts(itertools.pairwise(())))


def _reduce_pairwise(saver: Losing, pairs: Any) -> Reduced:
    parts = _parts(pairs)
    if not parts or not hasattr(type(parts[0]), "__next__"):
        return _pairwise, ((), ())  # at its end it lets go of its iterator
    return _pairwise, (parts[0], (parts[1],) if len(parts) > _FRESH else ())


def _pairwise(rest: Any, before: tuple[Any, ...]) -> Any:
    return itertools.pairwise(itertools.chain(before, rest) if before else rest)


_KINDS = [kind for kind in vars(itertools).values() if isinstance(kind, type)]
REDUCERS: dict[type, Callable[[Any, Any], Reduced]] = {
    **dict.fromkeys(_KINDS, _reduce_itertool),
    itertools.pairwise: _reduce_pairwise,
}
