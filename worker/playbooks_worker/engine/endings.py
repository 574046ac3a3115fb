"""In which order agents go on with what had ended before a resume: the order in which it had ended.

An outcome is recorded first and its task goes on later, so one checkpoint may hold several: of two failed children,
`gather` raises the one that failed first, and a `TaskGroup` lists them so. Every ending has a number, which an agent counts;
a checkpoint says only the order (capture.py), and only where it is not that of the ids.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from typing import NamedTuple


class Ending(NamedTuple):
    """``number`` counts the endings of an agent, 0: told by the id alone. ``id`` is that of a call or a branch."""

    number: int
    id: int


class InTurn(asyncio.Future[None]):
    """Waits to go on with what has ended."""

    ending: Ending


def order_of(endings: Iterable[Ending]) -> tuple[int, ...]:
    """What a checkpoint says of *endings*: ids as they ended, or nothing where they ended in the order of their ids."""
    ids = tuple(ending.id for ending in sorted(endings))
    return ids if any(one > two for one, two in itertools.pairwise(ids)) else ()


def put_in_order(waiters: list[asyncio.Future[None]]) -> None:
    """Of *waiters* those that go on with what has ended share their places as it ended; the others keep theirs."""
    ended = iter(sorted((one for one in waiters if isinstance(one, InTurn)), key=lambda one: one.ending))
    waiters[:] = [next(ended) if isinstance(one, InTurn) else one for one in waiters]
