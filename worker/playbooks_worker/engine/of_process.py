"""What belongs to a process, or to one of its threads, and every process has its own of: where the agent goes on it gets
that one, or a new one.

Called by reducers.py, for what has no name at module level.
"""

from __future__ import annotations

import asyncio
import copyreg
import threading
from typing import Any

import tenacity

from playbooks_worker.engine import losses
from playbooks_worker.engine.losses import Losing, Reduced

LOCKS = (type(threading.Lock()), type(threading.RLock()))


def reduce_lock(value: Any) -> Reduced:
    """A new one: where the agent goes on no thread holds it, and headers take it again."""
    return (_lock if type(value) is LOCKS[0] else _rlock), ()


def reduce_thread_local(value: threading.local) -> Reduced:
    """With what the thread of the agent has in it."""
    return threading.local, (), dict(vars(value))


def reduce_retrying(value: tenacity.BaseRetrying) -> Reduced:
    """A loop of tenacity, with the attempts that it has counted: they are in a thread's local, which its own state leaves
    out."""
    return copyreg.__newobj__, (type(value),), vars(value), None, None, _fill  # type: ignore[attr-defined]


def _fill(value: Any, state: dict[str, Any]) -> None:
    vars(value).update(state)


def reduce_loop(saver: Losing, value: asyncio.AbstractEventLoop) -> Reduced:
    """The loop that the agent runs on comes back as the one that it goes on on; another one is lost."""
    if value is not asyncio.get_running_loop():
        return losses.reduce_never(saver, value)
    return asyncio.get_running_loop, ()


def _lock() -> Any:
    return threading.Lock()


def _rlock() -> Any:
    return threading.RLock()
