"""Locks, semaphores, events and queues of asyncio as part of a checkpoint (snapshot.py asks).

What is held by the header of a `with` is not held in the saved copy: headers and plain coroutines are entered again, and
take it again. What a playbook has acquired by an await of its own stays acquired. Who waits, waits again.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import weakref
from collections.abc import Iterator, Sequence
from enum import StrEnum
from types import AsyncGeneratorType, CoroutineType, GeneratorType, MethodType
from typing import Any

RESTORED: weakref.WeakSet[Any] = weakref.WeakSet()
"""The locks of agents that came back from a checkpoint."""

KINDS: frozenset[type] = frozenset(
    {
        asyncio.Lock,
        asyncio.Semaphore,
        asyncio.BoundedSemaphore,
        asyncio.Event,
        asyncio.Condition,
        asyncio.Queue,
        asyncio.LifoQueue,
        asyncio.PriorityQueue,
    }
)


def reduced(running: Sequence[Any], value: Any, taken: dict[int, int]) -> tuple[Any, ...]:
    """How *value* is pickled; *running* are the running calls of its agent, *taken* is how often open managers have taken
    it in being entered, by their ids."""
    kind = type(value)
    state: dict[str, Any]
    if kind is asyncio.Lock:
        state = {"_locked": value.locked() and not _held(running, value, taken)}
    elif kind is asyncio.Event:
        state = {"_value": value.is_set()}
    elif kind is asyncio.Condition:
        return _condition, (value._lock,)
    elif issubclass(kind, asyncio.Semaphore):
        state = {"_value": free(value) + _held(running, value, taken)}
        if kind is asyncio.BoundedSemaphore:
            state["_bound_value"] = value._bound_value
    else:
        names = ("_maxsize", "_queue", "_unfinished_tasks", "_is_shutdown")
        state = {name: vars(value)[name] for name in names if name in vars(value)}
        return _fresh, (kind,), state, None, None, _fill_queue
    return _fresh, (kind,), state, None, None, _fill


def free(lock: Any) -> int:
    """How often a lock or semaphore can be taken now. A waiter that was woken has its permit already, and will ask again."""
    if type(lock) is asyncio.Lock:
        return 0 if lock.locked() else 1
    woken = sum(1 for waiter in lock._waiters or () if waiter.done() and not waiter.cancelled())
    return int(lock._value + woken)


def _fresh(kind: type) -> Any:
    return kind()


def _fill(value: Any, state: dict[str, Any]) -> None:
    vars(value).update(state)
    RESTORED.add(value)


def _fill_queue(value: Any, state: dict[str, Any]) -> None:
    vars(value).update(state)
    if type(value) is asyncio.PriorityQueue:
        heapq.heapify(value._queue)  # type: ignore[attr-defined]  # what a header had taken was put back
    if value._unfinished_tasks:
        value._finished.clear()


def _condition(lock: Any) -> Any:
    return asyncio.Condition(lock)


# --- who holds it -------------------------------------------------------------------------------------------------------


def _held(running: Sequence[Any], lock: Any, taken: dict[int, int]) -> int:
    """How often *lock* is held by headers that will be entered again: those of playbooks and of plain coroutines."""
    if not running:
        return 0
    headers = [(call.frame, entry[2]) for call in running for entry in call.frame.headers]
    managers = [manager for frame, manager in headers if waiting(frame.value, manager) is None]
    count = sum(1 for manager in managers if _lock_of(manager) is lock)
    seen: set[int] = set()
    for manager in managers:
        held = _held_by(getattr(manager, "gen", None), lock, seen)
        count += max(held, taken.pop(id(manager), 0))
    count += sum(taken.values())
    for call in running:
        count += _held_by(call.frame.value, lock, seen)
    for task in asyncio.all_tasks():
        count += _held_by(task.get_coro(), lock, seen)
    return count


class Waiting(StrEnum):
    """How a frame in the header of a condition waits for it, and so does not hold its lock."""

    DIRECTLY = "directly"  # in `wait`: it waits again before anybody goes on, and misses no notification
    NOTIFIED = "notified"  # in `wait`, which returns when the lock is free
    INSIDE = "inside"  # below `wait_for`, say, which asks its predicate again when the lock is free


def waiting(awaited: Any, condition: Any) -> Waiting | None:
    """How a frame that awaits *awaited* waits for *condition*; None: not at all, it holds the lock."""
    if type(condition) is not asyncio.Condition:
        return None
    code = asyncio.Condition.wait.__code__
    for step in chain(awaited):
        frame = step.cr_frame if isinstance(step, CoroutineType) and step.cr_code is code else None
        if frame is None or frame.f_locals.get("self") is not condition:
            continue
        if step is not awaited:
            return Waiting.INSIDE
        waiter = frame.f_locals.get("fut")
        notified = waiter is not None and waiter.done() and not waiter.cancelled()
        return Waiting.NOTIFIED if notified else Waiting.DIRECTLY
    return None


def wait_unlocked(condition: Any) -> None:
    """Let the next `wait` of *condition* begin without its lock, which others hold: it would give it back at once."""
    released, locked = condition.release, condition.locked

    def release() -> None:
        condition.release, condition.locked = released, locked

    condition.release, condition.locked = release, lambda: True


def wait_notified(condition: Any) -> None:
    """Let the next `wait` of *condition* find at once that it was notified: a checkpoint in between would not know."""
    condition._get_loop = lambda: _Notifying(condition)


class _Notifying:
    """What a condition takes for its loop, once."""

    def __init__(self, condition: Any) -> None:
        self._condition = condition

    def create_future(self) -> asyncio.Future[bool]:
        del self._condition._get_loop
        future: asyncio.Future[bool] = self._condition._get_loop().create_future()
        future.set_result(False)
        return future


def _lock_of(manager: Any) -> Any:
    """What entering *manager* holds: a condition holds its lock."""
    return vars(manager)["_lock"] if type(manager) is asyncio.Condition else manager


def _held_by(awaitable: Any, lock: Any, seen: set[int]) -> int:
    """The same for what a coroutine holds, all that it awaits included. An open `async with` keeps the bound `__aexit__`
    of its manager in its frame."""
    count = 0
    steps = list(chain(awaitable))
    for position, step in enumerate(steps):
        if id(step) in seen:
            continue
        seen.add(id(step))
        for kept in gc.get_referents(step):
            if type(kept) is not MethodType or kept.__name__ != "__aexit__":
                continue
            if _lock_of(kept.__self__) is not lock:
                count += _held_by(getattr(kept.__self__, "gen", None), lock, seen)
            elif not any(_enters(later, lock) for later in steps[position + 1 : position + 2]):
                count += 1
    return count


def _watched(steps: Any) -> Any:
    """What an entry that calls playbooks awaits: how often such a one has taken a lock is not known otherwise."""
    known = steps.gi_frame.f_locals if steps.gi_frame is not None and steps.__name__ == "watched" else {}
    return known["steps"] if "act" in known and not known["act"].undone else None


def _enters(step: Any, lock: Any) -> bool:
    """Whether this coroutine is the `__aenter__` of *lock*, which waits for it."""
    frame = getattr(step, "cr_frame", None)
    return frame is not None and step.__name__ == "__aenter__" and _lock_of(frame.f_locals.get("self")) is lock


def chain(awaitable: Any) -> Iterator[Any]:
    """A suspended coroutine and what it awaits, down to where it is suspended."""
    while True:
        if isinstance(awaitable, CoroutineType):
            yield awaitable
            awaitable = awaitable.cr_await
        elif isinstance(awaitable, AsyncGeneratorType):
            yield awaitable
            awaitable = awaitable.ag_await
        elif isinstance(awaitable, GeneratorType):
            awaitable = awaitable.gi_yieldfrom or _watched(awaitable)
        elif type(awaitable).__name__ in ("async_generator_asend", "async_generator_athrow"):
            awaitable = next((one for one in gc.get_referents(awaitable) if isinstance(one, AsyncGeneratorType)), None)
        else:
            return
