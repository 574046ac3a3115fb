"""One agent in this process: runs its entry playbook, takes its checkpoints, stops without running a statement.

The seam of the engine (DESIGN 3.3): `start`, `resume`, `stop`, and a `persist` given from outside. It asks for durability
and never for a store, a clock or a process.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from playbooks_worker.engine import capture, matching, restore, tasks, tracebacks
from playbooks_worker.engine.errors import AgentLost, AgentStopped, CodeChanged, DetachedTask, ResumeMismatch
from playbooks_worker.engine.frames import Call, Frame
from playbooks_worker.engine.place import DIRECT, OWN, Below, Branch, Path, here, in_region
from playbooks_worker.engine.playbooks import Playbook, playbook_of
from playbooks_worker.engine.rewrite import LOWERING


@dataclass(frozen=True, slots=True)
class Moment:
    """What the engine knows about one checkpoint. ``seq`` numbers the checkpoints of the agent's whole life;
    ``stack_json`` is a JSON list of ``[playbook, line, statement, depth]``."""

    seq: int
    kind: str
    stack_json: str
    lowering: int
    result: Any = None
    error: BaseException | None = None
    traceback: str = ""


Persist: TypeAlias = Callable[[Moment, bytes], Awaitable[None] | None]


@dataclass(frozen=True, slots=True)
class Completed:
    value: Any


@dataclass(frozen=True, slots=True)
class Failed:
    error: BaseException
    traceback: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """It goes on elsewhere, or here later: nothing of it runs any more."""

    why: str


@dataclass(frozen=True, slots=True)
class Blocked:
    """Its checkpoint cannot be resumed with this program; nothing is lost."""

    why: str


Outcome: TypeAlias = Completed | Failed | Stopped | Blocked


class Agent:
    """One agent, once: `start` or `resume`, to its end.

    ``persist(moment, payload)`` answers when the checkpoint is durable: None (it is), or an awaitable. It raises
    `AgentLost` when the agent belongs to another owner.
    """

    def __init__(self, agent_id: str, *, persist: Persist, next_seq: int = 1) -> None:
        self.id = agent_id
        self.why = ""
        self.dead = False
        self.stopping: Any = ()  # what emitted handlers let pass first: everything, once dead
        self.gated = False  # an effect must ask `may_start` before it starts
        self.owed = False  # something since the last checkpoint could not be repeated by a resume
        self.restoring = False
        self.entering = 0  # headers being entered again
        self.regions = 0  # atomic regions open: headers being entered again or left
        self.running: dict[int, Call] = {}
        self._persist = persist
        self._seq = next_seq
        self._calls = 0
        self._frozen = False
        self._handover: str | None = None
        self._blocked: str | None = None
        self._failed: BaseException | None = None
        self._crash: BaseException | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._thaw_waiters: list[asyncio.Future[None]] = []
        self._barrier_waiters: list[asyncio.Future[None]] = []
        self._header_waiters: list[asyncio.Future[None]] = []
        self._scheduled = False
        self._writing = False
        self._idle: asyncio.Future[None] | None = None
        self._again: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._root: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context = contextvars.Context()
        self._loader: restore.Loader | None = None
        self._unreached: set[int] = set()
        self.root_id = 0
        self.detached: DetachedTask | None = None
        # plain branches that outlive their gather hold checkpoints back
        self.siblings: dict[asyncio.Task[Any], tuple[Below, Path]] = {}
        self._progress = 0

    # --- the seam --------------------------------------------------------------------------------------------------
    async def start(
        self, function: Callable[..., Any], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Outcome:
        """Run the entry playbook *function* to its end. A method is given bound.

        Raises TypeError when the arguments do not fit."""
        made = playbook_of(function)
        if made is None:
            raise TypeError(f"{getattr(function, '__qualname__', function)!r} is not a playbook: decorate it")
        if inspect.ismethod(function):
            args = (function.__self__, *args)
        call = self._new_call(made, made.bind(*args, **(kwargs or {})))
        return await self._run(call)

    async def resume(self, payload: bytes) -> Outcome:
        """Go on from a checkpoint's payload, whose signature has been verified."""
        try:
            loader = restore.open_payload(self, payload)
        except (CodeChanged, ResumeMismatch) as error:
            text = str(error)
            return Blocked(text if text.startswith("agent ") else f"agent {self.id}: {text}")
        except Exception as error:  # signed, but not what this engine writes
            why = f"{type(error).__name__}: {error}"
            return Blocked(f"agent {self.id}: its checkpoint cannot be read ({why}); resume from the one before it")
        self._loader = loader
        self._calls = loader.next_call
        self._unreached = set(loader.running)
        self.restoring = True
        self.gated = True
        root = loader.calls[loader.root]
        return await self._run(root)

    async def stop(self, why: str) -> None:
        """Mark the agent dead, then end its tasks. No playbook statement runs from now on."""
        self.die(why)
        await self._end_tasks()

    def stop_at_checkpoint(self, why: str) -> None:
        """Stop as soon as the next checkpoint is durable."""
        self._handover = why

    def freeze(self) -> None:
        """No effect starts until `thaw`."""
        self._frozen = self.gated = True

    def thaw(self) -> None:
        self._frozen = False
        self._gate()
        _wake(self._thaw_waiters)

    def stack(self) -> list[tuple[str, int, str, int]]:
        """Where the agent stands: playbook, line, statement, depth; outermost first."""
        return capture.stack(self)

    # --- running ---------------------------------------------------------------------------------------------------
    async def _run(self, root: Call) -> Outcome:
        loop = self._loop = asyncio.get_running_loop()
        self.root_id = root.id
        tasks.install(loop)
        self._root = tasks.make(self, loop, self._lead(root), context=self._context.copy())
        if self.restoring:
            self._context.run(loop.call_soon, self._watch_barrier, -1, 0)
        if self._loader is not None:
            for number in self._loader.adrift:
                self.adopt(self._context.run(loop.create_task, self._adrift(self._loader.calls[number])), None)
        current = asyncio.current_task()
        try:
            outcome: Outcome = await asyncio.shield(self._root)
        except asyncio.CancelledError:
            if self.dead and self._root.cancelled() and current is not None and not current.cancelling():
                outcome = self._stopped()  # while its end was being written
            else:
                await self.stop("cancelled from outside")
                raise
        except GeneratorExit:
            self.die("the process ends")
            raise
        except BaseException:
            await self._end_tasks()
            raise
        await self._end_tasks()
        return outcome

    async def _lead(self, root: Call) -> Outcome:
        """Run the entry call to its end and write the end."""
        final: Outcome
        moment: tuple[str, Any, BaseException | None, str]
        try:
            value = await root
            if self.dead:
                return self._stopped()
            final, moment = Completed(value), ("completed", value, None, "")
        except BaseException as error:
            if self.must_stop(error):
                if self._failed is None:
                    return self._stopped()
                error = self._failed
            text = tracebacks.readable(error)
            final, moment = Failed(error, text), ("failed", None, error, text)
        await self._quiet()
        if self.dead and self._failed is None:
            return self._stopped()
        if self._failed is None:
            self.die(_ENDED)  # whatever still runs beside the entry playbook ends with it
        stack = capture.EMPTY_STACK
        kind, result, error_, text = moment
        try:
            written = self._persist(Moment(self._take_seq(), kind, stack, LOWERING, result, error_, text), b"")
            if written is not None:
                await written
        except AgentLost as lost:
            return Stopped(str(lost) or "another owner has it")
        return final

    async def _adrift(self, call: Call) -> None:
        """A branch that outlived its gather goes on as it did before the crash."""
        try:
            await call
        except Exception:  # its gather had ended: nobody waits for it, then or now
            return

    def _stopped(self) -> Outcome:
        if self._crash is not None:
            raise self._crash
        return Blocked(self._blocked) if self._blocked is not None else Stopped(self.why)

    def die(self, why: str) -> None:
        """From this instant handlers and `finally` blocks of playbooks are deaf and checkpoints are refused."""
        if not self.dead:
            self.dead = self.gated = True
            self.why = why
            self.stopping = BaseException
        elif self.why == _ENDED:
            self.why = why

    def _abort(self) -> None:
        """End all tasks of a dead agent from a callback; again later, since plain code may swallow a cancellation."""
        pending = [task for task in (self._root, *self._tasks) if task is not None and not task.done()]
        for task in pending:
            task.cancel()
        if pending and self._loop is not None:
            self._again = self._loop.call_later(_CANCEL_AGAIN_S, self._abort, context=self._context)

    async def _end_tasks(self) -> None:
        current = asyncio.current_task()
        for _ in range(_CANCEL_ROUNDS):  # plain code may swallow a cancellation; it cannot make a dead agent go on
            pending = {task for task in (self._root, *self._tasks) if task is not None and not task.done()}
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
        return self.dead

    def owns(self, task: asyncio.Task[Any]) -> bool:
        """Whether *task* runs playbooks of this agent."""
        return task is self._root or task in self._tasks

    def raise_if_dead(self) -> None:
        if self.dead:
            raise AgentStopped(self.why)

    def adopt_current(self) -> None:
        """A task of plain code that runs a playbook ends with the agent, too."""
        task = asyncio.current_task()
        if task is not None and task is not self._root and task not in self._tasks:
            self.adopt(task, None)

    def adopt(self, task: asyncio.Task[Any], below: Below | None) -> None:
        """Keep a task that was made inside this agent, until it is done."""
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._task_done(done, below), context=self._context)
        if self.dead:
            task.cancel()

    def _task_done(self, task: asyncio.Task[Any], below: Below | None) -> None:
        self._tasks.discard(task)
        self.siblings.pop(task, None)
        if below is not None:
            below.plain.pop(task, None)
        if self.dead and not task.cancelled():
            task.exception()  # seen: nobody else will look
        self.left_region()

    # --- calls -----------------------------------------------------------------------------------------------------
    def _new_call(self, playbook: Playbook, arguments: tuple[Any, ...]) -> Call:
        self._calls += 1
        return Call(self, self._calls, playbook, arguments)

    def made_below(self, below: Below, path: Path, playbook: Playbook, arguments: tuple[Any, ...]) -> Call:
        """A call made by a playbook's statement (path `OWN`) or by plain code below its site."""
        if self.dead:
            raise AgentStopped(self.why)
        key = (path, playbook.id)
        number = below.counts.get(key, 0)
        place = (path, playbook.id, number)
        if below.expected:
            try:
                number, known = matching.match(below, path, playbook, number, arguments)
            except ResumeMismatch as error:
                self.block(str(error))
                raise AgentStopped(str(error)) from None
            below.counts[key] = number + 1
            if known is not None:
                below.made[(path, playbook.id, number)] = known
                known.again = path is not OWN
                return known
            place = (path, playbook.id, number)
        else:
            below.counts[key] = number + 1
        call = self._new_call(playbook, arguments)
        if path is not OWN:
            call.given = matching.given(arguments)
        below.made[place] = call
        return call

    def missed(self, frame: Frame) -> None:
        """A site that ran again has completed: calls below it that were running must have been made again."""
        try:
            matching.all_made(self, frame)
        except ResumeMismatch as error:
            self.block(str(error))

    def block(self, why: str) -> None:
        """End here: nothing is lost, but this process cannot go on with it."""
        self._blocked = why
        self.die(why)
        if self._loop is not None:
            self._loop.call_soon(self._abort, context=self._context)

    # --- checkpoints -----------------------------------------------------------------------------------------------
    def commit(self) -> Generator[Any, Any, None]:
        """Wait until what is recorded now is durable. A cancellation meanwhile is held for the task's next await."""
        if self.regions and in_region(here.get()):  # its end is a checkpoint
            return
        held: asyncio.CancelledError | None = None
        waiter = self._due()
        while True:
            try:
                yield from waiter
                break
            except GeneratorExit:
                self.die("the process ends")
                raise
            except asyncio.CancelledError as cancelled:
                if self.dead:
                    raise AgentStopped(self.why) from None
                held = cancelled
                if waiter.cancelled():  # cancelling the task cancelled what it waited for
                    if waiter in self._waiters:
                        self._waiters.remove(waiter)
                    waiter = self._due()
        if self.dead:
            raise AgentStopped(self.why)
        if held is not None:
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
                task.cancel(*held.args)

    async def committed(self) -> None:
        if self.regions and in_region(here.get()):
            return
        waiter = self._due()
        await waiter
        self.raise_if_dead()

    def _due(self) -> asyncio.Future[None]:
        loop = self._loop
        assert loop is not None
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiters.append(waiter)
        self._schedule()
        return waiter

    def _schedule(self) -> None:
        if not self._scheduled and not self._writing and self._loop is not None:
            self._scheduled = True
            self._loop.call_soon(self._checkpoint, context=self._context)

    def enter_region(self, frame: Frame) -> Below:
        """From here to `leave_region` the code of *frame*'s header runs without checkpoints of its own (DESIGN 3.3)."""
        self.regions += 1
        below = Below(frame, atomic=True)
        here.set(Branch(below, DIRECT))
        return below

    def leave_region(self, below: Below) -> None:
        self.regions -= 1
        here.set(below.frame)
        if below.made:  # playbooks ran in it: before the next effect its end is checkpointed
            self.owed = self.gated = True
        self.left_region()

    def left_region(self) -> None:
        """Something that held checkpoints back has ended."""
        if self._waiters and not self.dead:
            self._schedule()

    def _checkpoint(self) -> None:
        """Take the one checkpoint that all waiters share. A loop callback: no playbook is running."""
        self._scheduled = False
        if self.dead or self._writing or not self._waiters or self.restoring:
            return
        try:
            if capture.held_back(self):
                return
            stack_json, payload = capture.capture(self)
        except Exception as error:
            self._fail(error)
            return
        waiters, self._waiters = self._waiters, []
        self.owed = False
        self._gate()
        moment = Moment(self._take_seq(), "step", stack_json, LOWERING)
        self._writing = True
        try:
            written = self._persist(moment, payload)
        except Exception as error:
            self._not_written(error)
            return
        if written is None:
            self._durable(waiters)
            return
        assert self._loop is not None
        future = asyncio.ensure_future(written, loop=self._loop)
        if future.done():
            self._written(future, waiters)
        else:
            future.add_done_callback(lambda done: self._written(done, waiters), context=self._context)

    def _written(self, future: asyncio.Future[None], waiters: list[asyncio.Future[None]]) -> None:
        if future.cancelled():
            self._not_written(AgentLost("the write was cancelled"))
        elif (error := future.exception()) is not None:
            self._not_written(error)
        else:
            self._durable(waiters)

    def _durable(self, waiters: list[asyncio.Future[None]]) -> None:
        self._writing = False
        if self._handover is not None and not self.dead:
            self.die(self._handover)
            self._abort()
        if self.dead:
            self._release_idle()
            return
        _wake(waiters)
        if self._waiters:
            self._schedule()
        self._release_idle()

    def _not_written(self, error: BaseException) -> None:
        self._writing = False
        if not isinstance(error, AgentLost):
            self._crash = error
        self.die(str(error) or type(error).__name__)
        self._release_idle()
        self._abort()

    def _fail(self, error: Exception) -> None:
        """No checkpoint can be taken: the agent ends here as failed, before any statement runs past the last one."""
        self._failed = error
        self.die(str(error))
        self._abort()

    def _release_idle(self) -> None:
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def _quiet(self) -> None:
        """Wait for the write under way."""
        while self._writing:
            assert self._loop is not None
            self._idle = self._loop.create_future()
            await self._idle

    def _take_seq(self) -> int:
        seq = self._seq
        self._seq += 1
        return seq

    @property
    def calls_made(self) -> int:
        return self._calls

    def left_behind(self, frame: Frame) -> None:
        """A site has completed while tasks that its statement made still run."""
        self.detached = self.detached or capture.detached_task(frame)
        below = frame.below
        self.siblings.update({task: (below, path) for task, (path, _) in below.plain.items() if not task.done()})

    def is_adrift(self, call: Call) -> bool:
        """Whether nobody awaits this running call any more: its gather has ended without it."""
        if call.id in self._unreached:
            return self._loader is not None and call.id in self._loader.adrift
        if call.owner is None:
            return call.id != self.root_id
        return call.owner is not call.owner.frame.below

    # --- gates -----------------------------------------------------------------------------------------------------
    def _gate(self) -> None:
        self.gated = self.dead or self._frozen or self.owed or self.restoring

    def may_start(self) -> Generator[Any, Any, None]:
        """Wait until an effect may start: not while frozen, and not before what a resume could not repeat is saved."""
        while self.gated:
            if self.dead:
                raise AgentStopped(self.why)
            if self._frozen:
                waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._thaw_waiters.append(waiter)
                try:
                    yield from waiter
                except GeneratorExit:
                    self.die("the process ends")
                    raise
            elif self.owed and not self.restoring and not (self.regions and in_region(here.get())):
                yield from self.commit()
            else:
                return

    def never(self) -> Generator[Any, Any, None]:
        """Wait to be cancelled."""
        assert self._loop is not None
        try:
            yield from self._loop.create_future()
        except GeneratorExit:
            self.die("the process ends")
            raise

    async def start_allowed(self) -> None:
        if self.gated:
            await _run_generator(self.may_start())

    # --- resuming --------------------------------------------------------------------------------------------------
    def header_entered(self, frame: Frame, number: int, targets: tuple[Any, ...]) -> None:
        assert self._loader is not None
        self._progress += 1
        self._loader.fresh(frame, number, targets)
        if not self._loader.unentered:
            _wake(self._header_waiters)

    def reached(self, frame: Frame) -> None:
        """A restored frame stands at its site again."""
        frame.saved = None
        self._progress += 1
        self._unreached.discard(frame.call_.id)
        if not self._unreached:
            self._open_barrier()

    @property
    def restoring_calls(self) -> bool:
        return self._loader is not None

    def complete(self, call: Call) -> None:
        """Make sure that a call which does not run has its arguments or outcome."""
        if self._loader is not None and call.frame is None and call.id in self._loader.calls:
            self._loader.rest()

    def is_unreached(self, call: Call) -> bool:
        return call.id in self._unreached

    def loader(self) -> restore.Loader:
        assert self._loader is not None
        return self._loader

    def barrier(self) -> Generator[Any, Any, None]:
        """Wait until every saved frame that can reach its site without waiting for an effect has reached it."""
        while self.restoring and not self.dead:
            assert self._loop is not None
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._barrier_waiters.append(waiter)
            try:
                yield from waiter
            except GeneratorExit:
                self.die("the process ends")
                raise
        if self.dead:
            raise AgentStopped(self.why)

    async def passed_barrier(self) -> None:
        if self.restoring:
            await _run_generator(self.barrier())

    def headers_first(self, call: Call) -> Generator[Any, Any, None]:
        """Before a branch has its locals back, the headers of the others are entered: it may hold what they opened."""
        if self.restoring and call.id != self.root_id and self.loader().waits_for_headers(call):
            assert self._loop is not None
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._header_waiters.append(waiter)
            try:
                yield from waiter
            except GeneratorExit:
                self.die("the process ends")
                raise

    def _watch_barrier(self, progress: int, idle: int) -> None:
        """What has not arrived after some turns of the loop without progress waits behind an effect."""
        if not self.restoring or self.dead or self._loop is None:
            return
        if progress != self._progress or self.entering:
            idle = 0
        if idle >= _IDLE_TURNS:
            if not self._header_waiters:
                self._open_barrier()
                return
            _wake(self._header_waiters)  # the headers that are left come behind these branches, or behind an effect
            idle = 0
        if self.entering:
            self._loop.call_later(_ENTERING_POLL_S, self._watch_barrier, self._progress, idle, context=self._context)
        else:
            self._loop.call_soon(self._watch_barrier, self._progress, idle + 1, context=self._context)

    def _open_barrier(self) -> None:
        if self.restoring:
            self.restoring = False
            self._gate()
            _wake(self._barrier_waiters)
            _wake(self._header_waiters)
            self.left_region()


_ENDED = "ended"
_CANCEL_ROUNDS = 5
_CANCEL_AGAIN_S = 1.0
_IDLE_TURNS = 10
_ENTERING_POLL_S = 0.005


async def _run_generator(generator: Generator[Any, Any, None]) -> None:
    await _Awaitable(generator)


class _Awaitable:
    __slots__ = ("_generator",)

    def __init__(self, generator: Generator[Any, Any, None]) -> None:
        self._generator = generator

    def __await__(self) -> Generator[Any, Any, None]:
        return self._generator


def _wake(waiters: list[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
    waiters.clear()
