"""A call of a playbook as a coroutine: for a task, or for a plain coroutine that awaits it. Called by `frames.Call`.

What a statement of a playbook awaits goes another way, `frames.go`.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, NoReturn

from playbooks_worker.engine.errors import AgentStopped
from playbooks_worker.engine.place import here

if TYPE_CHECKING:
    from playbooks_worker.engine.frames import Call


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
    if call.outcome is None:
        below = getattr(place, "below", None)
        coroutine = call.begin(below, 0 if below is None else below.depth, agent.adopt_current())
        here.set(call.frame)
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
        if place is not None:  # the end of the entry playbook is the end of the agent, which `Agent` writes
            yield from agent.commit()
    else:
        yield from agent.goes_on()
        if call.outcome[0] is None and call.again:
            yield from cancelled_again(call)
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


def raise_as_it_was(error: BaseException) -> NoReturn:
    """Raise what was raised before: where another exception is being handled, `raise` alone would give it a new context."""
    context = error.__context__
    try:
        raise error
    finally:
        error.__context__ = context


def steps_of(value: Any) -> Any:
    """What `await` would run."""
    if isinstance(value, types.GeneratorType) and value.gi_code.co_flags & 0x100:  # types.coroutine
        return value
    method = getattr(type(value), "__await__", None)
    if method is None:
        raise TypeError(f"object {type(value).__name__} can't be used in 'await' expression")
    return method(value)
