"""What belongs to a process and every process has its own of: where the agent goes on it gets that one, or a new one.

Called by reducers.py, for what has no name at module level.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from playbooks_worker.engine import losses
from playbooks_worker.engine.losses import Losing, Reduced

LOCKS = (type(threading.Lock()), type(threading.RLock()))


def reduce_lock(value: Any) -> Reduced:
    """A new one: where the agent goes on no thread holds it, and headers take it again."""
    return (_lock if type(value) is LOCKS[0] else _rlock), ()


def reduce_loop(saver: Losing, value: asyncio.AbstractEventLoop) -> Reduced:
    """The loop that the agent runs on comes back as the one that it goes on on; another one is lost."""
    if value is not asyncio.get_running_loop():
        return losses.reduce_never(saver, value)
    return asyncio.get_running_loop, ()


def _lock() -> Any:
    return threading.Lock()


def _rlock() -> Any:
    return threading.RLock()
