"""Branches: the tasks that a playbook's own statements make, with `create_task`, `gather`, a `TaskGroup` and their like.

A branch is part of the checkpoint. Over a playbook's call it goes on inside that call. Over a plain coroutine it is saved
as the function and arguments that made it, and runs again from its start; once it has ended, its outcome is what is saved.
A branch that only the awaited expression of a site in flight holds (the children of a `gather`) is made again by that
expression, and *claimed* there; every other one comes back as a task, even if nobody refers to it (branch_table.py).
Tasks that plain code makes are no branches: they are made again when that code runs again.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from playbooks_worker.engine import contextual, observing
from playbooks_worker.engine.callbacks import Callback
from playbooks_worker.engine.coroutines import Making, give, made, making_of
from playbooks_worker.engine.effects import branch_key
from playbooks_worker.engine.endings import Ending
from playbooks_worker.engine.frames import Call, Frame
from playbooks_worker.engine.mortal import Awaitable
from playbooks_worker.engine.place import Below, Outcome, here

if TYPE_CHECKING:
    from playbooks_worker.engine.agent import Agent
    from playbooks_worker.engine.cancels import Said


class Branch:
    """One task of a playbook. ``number`` counts the branches of *frame* since its last completed site; ``position`` is where
    it was made, (line, column) in the source, ``within`` the innermost header of *frame* that was open there. A loaded
    branch knows whether it has ``ended`` before its outcome has been loaded."""

    __slots__ = (
        "agent",
        "below",
        "call",
        "callbacks",
        "cancelled",
        "context",
        "counted",
        "ended",
        "ended_with",
        "ending",
        "group",
        "id",
        "key",
        "making",
        "name",
        "number",
        "outcome",
        "position",
        "task",
        "within",
    )

    def __init__(self, agent: Agent, frame: Frame | None, number: int, identity: int) -> None:
        self.agent = agent
        self.below = Below(agent, frame, branch=self, atomic=None if frame is None else frame.atomic)
        self.number = number
        self.id = identity
        self.key = ""  # effects.py: what names it in effect keys
        self.call: Call | None = None
        self.making: Making | None = None
        self.context: contextual.Values | None = None  # that it was made in
        self.callbacks: list[Callback] = []  # of the program, which have not been called yet
        self.outcome: Outcome | None = None
        self.ended = False
        self.ended_with: Said = ()
        self.ending = 0  # that of an outcome which is an error (endings.py)
        self.cancelled: tuple[Said, ...] = ()  # loaded: somebody has cancelled it, and it has not been told yet
        self.counted = 0  # loaded: how often it had been cancelled, and told
        self.group: tuple[int, int] | None = None  # loaded: the header (call, number) whose TaskGroup waits for it
        self.name: str | None = None
        self.position: tuple[int, int] | None = None
        self.within = 0 if frame is None or not frame.headers else frame.headers[-1][0]
        self.task: asyncio.Future[Any] | None = None

    def settled(self) -> Outcome | None:
        """What became of it, as far as its task knows or a checkpoint must."""
        task = self.task
        if task is None or not task.done():
            return self.outcome
        if task.cancelled():
            return None, asyncio.CancelledError(*self.said())
        error = task._exception  # `exception()` would count as having been asked
        return (True, task.result()) if error is None else (False, error)

    def said(self) -> Said:
        """The arguments of the `CancelledError` that its cancelled task raises. (Asking the task for it takes it away.)"""
        call, message = self.call, getattr(self.task, "_cancel_message", None)
        if call is not None and call.outcome is not None and isinstance(call.outcome[1], asyncio.CancelledError):
            said: Said = call.outcome[1].args
            return said
        return self.ended_with or (() if message is None else (message,))

    @property
    def alive(self) -> bool:
        return self.task is None or not self.task.done()


class FinishedTask(asyncio.Future[Any]):
    """A branch that had ended when its agent was saved: done at once, and otherwise what `asyncio.Task` is."""

    branch: Branch
    _cancel_message = None  # as with a task whose code has been told; `result` raises what it was told

    @property  # type: ignore[misc]  # a task that has ended cannot be made: `isinstance(it, asyncio.Task)` is answered as before
    def __class__(self) -> type:
        return asyncio.Task

    def result(self) -> Any:
        self._settle()
        return super().result()

    def exception(self) -> BaseException | None:
        self._settle()
        return super().exception()

    def _settle(self) -> None:
        """Its outcome comes last of all that is loaded, and somebody may know already that there is one."""
        if not self.done():
            self.branch.agent.rest()

    def get_coro(self) -> None:
        return None

    def get_context(self) -> contextvars.Context:
        return contextvars.Context()

    def get_name(self) -> str:
        return self.branch.name or f"Task-{self.branch.id}"

    def set_name(self, value: object) -> None:
        self.branch.name = str(value)

    def get_stack(self, *, limit: int | None = None) -> list[Any]:
        return []

    def print_stack(self, *, limit: int | None = None, file: Any = None) -> None:
        return None

    def cancelling(self) -> int:
        return self.branch.counted

    def uncancel(self) -> int:
        self.branch.counted = max(0, self.branch.counted - 1)
        return self.branch.counted


def branch_of(task: Any) -> Branch | None:
    """The branch whose task this is. (A value of the program is asked for nothing: it may have a `branch` of its own.)"""
    return getattr(task, "branch", None) if issubclass(type(task), asyncio.Future) else None


def belongs(task: Any, branch: Branch) -> None:
    task.branch = branch  # what `branch_of` reads
    task.before = branch.counted


# --- made by a statement -------------------------------------------------------------------------------------------------


def begin(frame: Frame, coroutine: Any) -> tuple[Branch, Any]:
    """A statement of *frame* makes a task over *coroutine*: the branch, and what the task is to run."""
    below = frame.below
    number = below.next_number()
    branch = below.claims.pop(number, None) if below.claims else None
    again = branch is not None
    if branch is None:
        branch = Branch(frame.agent, frame, number, frame.agent.next_id())
    branch.key = branch_key(frame, number)
    if contextual.DECLARED:
        branch.context = contextual.values()
    below.add(branch)
    if frame.coroutine is not None and frame.coroutine.cr_frame is not None:  # a callback may come after its end
        branch.position = frame.position()
    if isinstance(coroutine, Call):
        branch.call = coroutine
        return branch, coroutine
    if not branch.ended:
        branch.making = making_of(coroutine)
        if branch.making is not None:
            give(branch.making, branch)
    return branch, _run(branch, coroutine, again=again)


async def _run(branch: Branch, coroutine: Any, *, again: bool) -> Any:
    """A plain coroutine as a branch: its outcome is part of the checkpoint before anybody learns of it."""
    agent = branch.agent
    if branch.ended:
        coroutine.close()
        return await _replayed(branch)
    try:
        if agent.gated:
            await agent.start_allowed()
        if branch.cancelled and branch.task is not None:
            agent.tells_soon(branch.task)
        if agent.observer is not None:
            observing.branch_began(agent.observer, branch, coroutine, again=again)
        branch.outcome = (True, await coroutine)
    except asyncio.CancelledError as error:
        if agent.observer is not None and not agent.dead:
            agent.observer.effect_ended(branch.id, error)
        branch.ended_with = error.args
        _ends(branch)
        agent.owed = agent.gated = True
        await agent.passed_barrier()  # who waits for it goes on
        raise
    except BaseException as error:
        if agent.must_stop(error):
            raise
        branch.outcome = (False, error)
        _ends(branch)
    finally:
        branch.making = None
        coroutine.close()  # it may not have started
    if agent.observer is not None and not agent.dead:
        agent.observer.effect_ended(branch.id, None if branch.outcome[0] else branch.outcome[1])
    agent.all_made(branch.below)
    agent.raise_if_dead()
    agent.left_region()
    await agent.committed()
    return _outcome_of(branch)


def _ends(branch: Branch) -> None:
    branch.agent.endings += 1
    branch.ending = branch.agent.endings


async def _replayed(branch: Branch) -> Any:
    await Awaitable(branch.agent.goes_on(Ending(branch.ending, branch.id)))
    return _outcome_of(branch)


def _outcome_of(branch: Branch) -> Any:
    assert branch.outcome is not None
    done, value = branch.outcome
    if done:
        return value
    raise value


# --- come back from a checkpoint -------------------------------------------------------------------------------------------


def finished(branch: Branch, loop: asyncio.AbstractEventLoop) -> FinishedTask:
    """The task of a branch that had ended; `settle` gives it its outcome when that has been loaded."""
    task = FinishedTask(loop=loop)
    task.branch = branch
    branch.task = task
    return task


def settle(branch: Branch) -> None:
    task = branch.task
    if not isinstance(task, FinishedTask) or task.done():
        return
    assert branch.outcome is not None
    done, value = branch.outcome
    if done:
        task.set_result(value)
    elif isinstance(value, asyncio.CancelledError):
        branch.ended_with = value.args
        asyncio.Future.cancel(task, *value.args[:1])
    else:
        task.set_exception(value)
        task._log_traceback = False  # the process that saw it raised has said so


def start_again(branch: Branch, make: Callable[..., asyncio.Task[Any]]) -> asyncio.Task[Any]:
    """The task of a branch that had not ended goes on: inside its call, or from the start of its plain coroutine."""
    context = branch.agent.context.copy()
    context.run(here.set, branch.below)
    task = branch.task = make(_again(branch), context=context)
    belongs(task, branch)
    if branch.name is not None:
        task.set_name(branch.name)
    return task


async def _again(branch: Branch) -> Any:
    agent = branch.agent
    if branch.call is not None:
        if branch.cancelled and branch.call.frame is None:  # before it began, or as it ended
            said = branch.cancelled[0]
            await agent.passed_barrier()
            agent.complete(branch.call)
            if branch.call.outcome is None or branch.call.outcome[0] is not False:  # an error of its own goes first
                raise asyncio.CancelledError(*said)
        if branch.call.frame is None:
            await _in_its_context(branch)
        return await branch.call
    if branch.ended:
        return await _replayed(branch)
    if not branch.below.expected:
        await agent.passed_barrier()
    await agent.loaded()
    await Awaitable(agent.maker_first(branch))
    await _in_its_context(branch)
    assert branch.making is not None
    give(branch.making, branch)
    return await _run(branch, made(branch.making), again=True)


async def _in_its_context(branch: Branch) -> None:
    """It had not begun, or begins anew."""
    if contextual.DECLARED:
        await branch.agent.loaded()
        contextual.put_back(branch.context)
