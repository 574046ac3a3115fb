"""A call of a playbook as a coroutine: for a task, or for a plain coroutine that awaits it. Called by `frames.Call`.

What a statement of a playbook awaits goes another way, `frames.go`.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import types
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from playbooks_worker.engine import contextual
from playbooks_worker.engine.endings import Ending
from playbooks_worker.engine.errors import AgentStopped
from playbooks_worker.engine.place import here
from playbooks_worker.engine.raising import came_to_plain_code, raise_as_it_was

if TYPE_CHECKING:
    from playbooks_worker.engine.frames import Call
    from playbooks_worker.engine.place import Below


def drive(call: Call) -> Generator[Any, Any, Any]:
    """Run *call* for a task or a plain coroutine; its end is a checkpoint. A plain generator: `__await__` answers it."""
    agent = call.agent
    if agent.dead:
        raise AgentStopped(agent.why)
    place = here.get()
    if agent.restoring_calls:
        agent.complete(call)
        if agent.restoring:
            yield from agent.others_first(call)
    below: Below | None = getattr(place, "below", None)
    if call.outcome is None:
        around = sys.exception()
        coroutine = call.begin(below, 0 if below is None else below.depth, agent.adopt_current())
        frame = call.frame
        here.set(frame)
        try:
            result = yield from coroutine.__await__()
        except BaseException as error:
            if agent.must_stop(error):
                raise
            if isinstance(error, asyncio.CancelledError):
                task = asyncio.current_task()
                if call.told and call.again and not (task is not None and task.cancelling()):
                    call.end((None, error))
                    yield from cancelled_again(call)
                call.end((None if task is not None and task.cancelling() else False, error))
                agent.owed = agent.gated = True
                raise
            call.end((False, error))
        else:
            call.end((True, result))
        finally:
            if not agent.dead:  # dead: closed by a collector, perhaps, in the context of whatever runs just then
                here.set(place)
                if contextual.DECLARED and call.outcome is not None:
                    call.context = contextual.values()
        if call.outcome is not None and not call.outcome[0]:
            came_to_plain_code(None if below is None else below.frame, call.outcome[1], frame, around)
        if place is not None:  # the end of the entry playbook is the end of the agent, which `Agent` writes
            yield from agent.commit()
    else:
        yield from agent.goes_on(Ending(call.ending, call.id))
        if call.context is not None:  # plain code awaits it, in a task of its own or in this one
            contextual.put_back(call.context)
        if call.outcome[0] is None and call.again:
            yield from cancelled_again(call)
        elif call.told is True and call.again and call.outcome[0]:
            # it has swallowed that, and who waits for it has not
            with contextlib.suppress(asyncio.CancelledError):
                yield from cancelled_again(call)
        elif not call.outcome[0]:
            came_to_plain_code(None if below is None else below.frame, call.outcome[1], None, sys.exception())
    assert call.outcome is not None
    done, value = call.outcome
    if done:
        return value
    raise_as_it_was(value)


def cancelled_again(call: Call) -> Generator[Any, Any, None]:
    """Wait for what cancelled *call* before the crash: it runs again, too."""
    try:
        yield from call.agent.never()
    finally:
        if not call.agent.dead:
            call.told, call.again = None, False


def steps_of(value: Any) -> Any:
    """What `await` would run."""
    if isinstance(value, types.GeneratorType) and value.gi_code.co_flags & 0x100:  # types.coroutine
        return value
    method = getattr(type(value), "__await__", None)
    if method is None:
        raise TypeError(f"object {type(value).__name__} can't be used in 'await' expression")
    return method(value)
