"""How an agent ends in this process: the dead mark first, then its tasks, without a statement of a playbook.

The ground that `committing`, `arriving` and `agent` build on. LAW (DESIGN 3.3): an agent that stops is marked dead before
anything is closed or cancelled.
"""

from __future__ import annotations

import abc
import asyncio
import contextvars
import weakref
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from playbooks_worker.engine.endings import Ending, InTurn
from playbooks_worker.engine.errors import AgentStopped
from playbooks_worker.engine.frames import Call
from playbooks_worker.engine.tracebacks import cleaned

if TYPE_CHECKING:
    from playbooks_worker.engine.branches import Branch
    from playbooks_worker.engine.cancels import Cancel
    from playbooks_worker.engine.frames import Frame

ENDED = "ended"
_CANCEL_ROUNDS = 5
_CANCEL_AGAIN_S = 1.0


class Mortal(abc.ABC):
    """The tasks of one agent, and whether it is dead."""

    def __init__(self, agent_id: str) -> None:
        self.id = agent_id
        self.why = ""
        self.dead = False
        self.stopping: Any = ()  # what emitted handlers let pass first: everything, once dead
        self.gated = False  # an effect must ask `may_start` before it starts
        self.running: dict[int, Call] = {}
        self.ordered: list[Frame] | None = None  # their frames, until another begins or ends (standing.py)
        self.branches: dict[int, Branch] = {}  # those that have not ended
        self.cancels: dict[asyncio.Task[Any], Cancel] = {}
        self.tells = False  # plain code has cancelled a call (`Call.told`)
        self.held: set[asyncio.Task[Any]] = set()  # cancelled while an outcome is being written, and not told yet
        self._blocked: str | None = None
        self._again: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._unseen: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()  # failed, and nobody has looked yet
        self.root_task: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.context = contextvars.Context()

    @abc.abstractmethod
    def left_region(self) -> None:
        """Something that held checkpoints back has ended."""

    def die(self, why: str) -> None:
        """From this instant handlers and `finally` blocks of playbooks are deaf and checkpoints are refused."""
        if not self.dead:
            self.dead = self.gated = True
            self.why = why
            if why != ENDED:
                for task in self._unseen:
                    task._log_traceback = False  # its program looks where it goes on
            self.stopping = BaseException
        elif self.why == ENDED:
            self.why = why

    def block(self, why: str) -> None:
        """End here: nothing is lost, but this process cannot go on with it."""
        self._blocked = why
        self.die(why)
        if self._loop is not None:
            self._loop.call_soon(self._abort, context=self.context)

    def _abort(self) -> None:
        """End all tasks of a dead agent from a callback; again later, since plain code may swallow a cancellation."""
        pending = [task for task in self.tasks() if not task.done()]
        for task in pending:
            task.cancel()
        if pending and self._loop is not None:
            self._again = self._loop.call_later(_CANCEL_AGAIN_S, self._abort, context=self.context)

    def ends_by_itself(self) -> None:
        """Its root task has been told, and writes its end: no more cancellations, however long that takes."""
        if self._again is not None:
            self._again.cancel()

    async def _end_tasks(self) -> None:
        current = asyncio.current_task()
        for _ in range(_CANCEL_ROUNDS):  # plain code may swallow a cancellation; it cannot make a dead agent go on
            pending = {task for task in self.tasks() if not task.done()}
            if current is not None:
                pending.discard(current)
            if not pending:
                break
            for task in pending:
                task.cancel()
            await asyncio.wait(pending, timeout=_CANCEL_AGAIN_S)
        if self._again is not None:
            self._again.cancel()
        for call in list(self.running.values()):
            coroutine = None if call.frame is None else call.frame.coroutine
            if coroutine is not None and not coroutine.cr_running:  # running: the program stops itself
                coroutine.close()

    def must_stop(self, error: BaseException) -> bool:
        """Whether *error* ends this agent here rather than being the program's own."""
        if isinstance(error, GeneratorExit | KeyboardInterrupt):
            self.die(f"the process ends ({type(error).__name__})")
            raise error
        if closed := self.closed(error):  # what was closed tidied up, on a closed loop, say
            self.die("the process ends (GeneratorExit)")
            raise closed
        return self.dead

    def closed(self, error: BaseException | None) -> GeneratorExit | None:
        """The end of the process, if *error* is that or came of it: a collector closes what ran, from anywhere. A generator
        of the program's that is closed, and fails, does so in a task that runs."""
        if isinstance(error, GeneratorExit):
            return error
        found = _closing(error)
        if found is None:
            return None
        try:
            task = asyncio.current_task()
        except RuntimeError:
            task = None
        return None if task is not None and self.owns(task) else found

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        assert self._loop is not None
        return self._loop

    def tasks(self) -> list[asyncio.Task[Any]]:
        """Those that run playbooks of this agent, and have not been seen to end."""
        return [task for task in (self.root_task, *self._tasks) if task is not None]

    def owns(self, task: asyncio.Task[Any]) -> bool:
        """Whether *task* runs playbooks of this agent."""
        return task is self.root_task or task in self._tasks

    def raise_if_dead(self) -> None:
        if self.dead:
            raise AgentStopped(self.why)

    def adopt_current(self) -> asyncio.Task[Any] | None:
        """A task of plain code that runs a playbook ends with the agent, too."""
        task = asyncio.current_task()
        if task is not None and task is not self.root_task and task not in self._tasks:
            self.adopt(task)
        return task

    def adopt(self, task: asyncio.Task[Any], branch: Branch | None = None) -> None:
        """Keep a task that was made inside this agent, until it is done."""
        self._tasks.add(task)
        if branch is not None:
            self.branches[branch.id] = branch
        task.add_done_callback(lambda done: self._task_done(done, branch), context=self.context)
        if self.dead:
            task.cancel()

    def _task_done(self, task: asyncio.Task[Any], branch: Branch | None) -> None:
        self._tasks.discard(task)
        self.held.discard(task)
        self.cancels.pop(task, None)
        if branch is not None:
            self.branches.pop(branch.id, None)
            branch.callbacks = []  # they are called now
        if (
            not task.cancelled() and (error := task._exception) is not None
        ):  # `exception()` would count as having been asked
            cleaned(error)
        if self.dead and not task.cancelled():
            task.exception()  # seen: nobody else will look
        elif getattr(task, "_log_traceback", False):
            self._unseen.add(task)
        self.left_region()

    def told_later(self, held: asyncio.CancelledError) -> None:
        """What the running task was told while it waited for us is told at its next await. Who decided it has been noted."""
        task = asyncio.current_task()
        if task is not None:
            self.held.discard(task)
            task.uncancel()
            if isinstance(task, Counting):
                task.told_above = task.cancelling()
            asyncio.Task.cancel(task, *held.args)

    def taken_back(self) -> Generator[Any, Any, None]:
        """Before Python 3.13 a running task is told of a cancellation that has been taken back meanwhile, by the exit of a
        timeout or a group that had cancelled it while an outcome was being written: it hears that here."""
        task: Any = asyncio.current_task()
        if not is_told_soon(task) or not is_taken_back(task):
            return
        try:
            yield
        except asyncio.CancelledError as cancelled:
            self.raise_if_dead()
            if not is_taken_back(task):  # once more meanwhile
                self.told_later(cancelled)

    # --- waiting ---------------------------------------------------------------------------------------------------
    def waits(self, waiters: list[asyncio.Future[None]], ending: Ending | None = None) -> Generator[Any, Any, None]:
        """Wait among *waiters*, in the turn of *ending*. A collected coroutine dies without a word to its playbooks."""
        assert self._loop is not None
        waiter: asyncio.Future[None]
        if ending is None:
            waiter = self._loop.create_future()
        else:
            waiter = InTurn(loop=self._loop)
            waiter.ending = ending
        waiters.append(waiter)
        try:
            yield from waiter
        except GeneratorExit:
            self.die("the process ends")
            raise

    def never(self) -> Generator[Any, Any, None]:
        """Wait to be cancelled."""
        return self.waits([])


class Counting(asyncio.Task[Any]):
    """A task that knows how many cancellations counted before the one that it is to be told of."""

    told_above = 0


def is_told_soon(task: Any) -> bool:
    """Whether *task* is told of a cancellation as soon as it waits, or ends."""
    return task is not None and bool(task._must_cancel)


def is_taken_back(task: asyncio.Task[Any]) -> bool:
    """Whether the cancellation that *task* is to be told of, or is being told of, does not count any more."""
    return task.cancelling() <= (task.told_above if isinstance(task, Counting) else 0)


def _closing(error: BaseException | None) -> GeneratorExit | None:
    """What was closing something as *error* was raised."""
    seen: set[int] = set()
    context = None if error is None else error.__context__
    while context is not None and id(context) not in seen:
        if isinstance(context, GeneratorExit):
            return context
        seen.add(id(context))
        context = context.__context__
    return None


class Awaitable:
    """Makes a generator of ours something that `await` takes."""

    __slots__ = ("_generator",)

    def __init__(self, generator: Generator[Any, Any, None]) -> None:
        self._generator = generator

    def __await__(self) -> Generator[Any, Any, None]:
        return self._generator


def wake(waiters: list[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
    waiters.clear()
