"""One agent in this process: runs its entry playbook, takes its checkpoints, stops without running a statement.

The seam of the engine (DESIGN 3.3): `start`, `resume`, `stop`, and a `persist` given from outside. It asks for durability
and never for a store, a clock or a process. How it ends, commits and comes back is `mortal`, `committing`, `arriving`.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from types import CodeType
from typing import Any, ClassVar

from playbooks_worker.engine import (
    branches,
    capture,
    diagnosis,
    effects,
    holding,
    matching,
    restore,
    standing,
    tasks,
    tracebacks,
    undoing,
)
from playbooks_worker.engine.errors import (
    AgentCancelled,
    AgentLost,
    AgentStopped,
    CheckpointTooLarge,
    CodeChanged,
    DetachedTask,
    ResumeMismatch,
)
from playbooks_worker.engine.frames import Call, Frame
from playbooks_worker.engine.mortal import ENDED, is_told_soon, wake
from playbooks_worker.engine.observing import Observer
from playbooks_worker.engine.operations import inside_an_operation
from playbooks_worker.engine.outcomes import (
    Blocked,
    Cancelled,
    Completed,
    Failed,
    Moment,
    Outcome,
    Persist,
    Snapshot,
    Stopped,
)
from playbooks_worker.engine.place import OWN, Below, Path, Region, here
from playbooks_worker.engine.playbooks import Playbook, playbook_of
from playbooks_worker.engine.resources import Key
from playbooks_worker.engine.rewrite import LOWERING
from playbooks_worker.engine.talk.idle import is_idle
from playbooks_worker.engine.talk.talking import Talking
from playbooks_worker.engine.talk.world import Alone, World


class Agent(Talking):
    """One agent, once: `start` or `resume`, to its end.

    ``persist(moment, payload)`` answers when the checkpoint is durable: None (it is), or an awaitable. It raises
    `AgentLost` when the agent belongs to another owner. *strict*: a value that cannot be saved is an error at the
    checkpoint, and not a marker where the agent goes on. *max_bytes*: an agent whose payload is bigger fails.
    *summed*: payloads have a check sum; not needed where they are signed. *world*: what it asks of the world around it.
    *observer*: who is told what it begins and ends. ``kept``, to be set before it runs: when False nobody will resume it,
    and its checkpoints say where it stands and hold nothing.
    """

    own_code: ClassVar[frozenset[CodeType]]  # of tasks that run nothing of the program themselves

    def __init__(
        self,
        agent_id: str,
        *,
        persist: Persist,
        next_seq: int = 1,
        strict: bool = False,
        max_bytes: int | None = None,
        summed: bool = True,
        world: World | None = None,
        observer: Observer | None = None,
    ) -> None:
        super().__init__(agent_id, persist, next_seq, world or Alone())
        self.observer = observer
        self.strict = strict
        self.max_bytes = max_bytes
        self.summed = summed
        self.kept = True
        self.large = False  # the newest checkpoint was (sinks.py)
        self.known_losses: diagnosis.Losses = {}
        self.watches: dict[undoing.Header, undoing.Watch] = {}  # headers that are open, being entered or left
        self.resources: dict[Key, bool] = {}  # that it has awaited, here or before: made again where it goes on
        self.last_id = 0  # of a call or a branch
        self.endings = 0  # so far: what endings.py puts in order

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
        call = self._new_call(made, made.bind(*args, **(kwargs or {})), effects.ENTRY)
        return await self._run(call)

    async def resume(self, payload: bytes, accepted: Mapping[str, str | None] | None = None) -> Outcome:
        """Go on from a checkpoint's payload, whose signature has been verified.

        *accepted*: go on in edited playbooks too, where their sites line up (changes.py); the kept sources of then, by
        fingerprint."""
        try:
            loader = restore.open_payload(self, payload, accepted)
        except (CodeChanged, ResumeMismatch) as error:
            changes = error.changes if isinstance(error, CodeChanged) else ()
            return Blocked(f"agent {self.id}: {error}", changes)
        except Exception as error:  # signed, but not what this engine writes
            why = f"{type(error).__name__}: {error}"
            return Blocked(f"agent {self.id}: its checkpoint cannot be read ({why}); resume from the one before it")
        self._loader = loader
        self.mailbox = loader.mailbox
        if (mailing := self._mailing()) is not None:
            self.world.resumed(mailing)
            if not self.letters.raised:
                asyncio.get_running_loop().call_soon(self.raise_cancelled, context=self.context)
        self.last_id = loader.last_id
        self.endings = loader.endings
        self.unreached = set(loader.running)
        self.restoring = True
        self.gated = True
        return await self._run(loader.entry)

    async def stop(self, why: str) -> None:
        """Mark the agent dead, then end its tasks. No playbook statement runs from now on."""
        self.left = True
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
        wake(self._thaw_waiters)

    def stack(self) -> list[tuple[str, int, str, int]]:
        """Where the agent stands: playbook, line, statement, depth; outermost first."""
        return standing.stack(self)

    def is_idle(self) -> bool:
        """Whether everything in the agent waits for letters, deadlines, or for one another, so that nothing would be done
        twice if it ended here now."""
        return is_idle(self)

    async def settle(self) -> None:
        """Take a checkpoint now, and answer when it is durable. Raises `AgentStopped` when the agent ends meanwhile."""
        await self.committed()

    # --- running ----------------------------------------------------------------------------------------------------
    async def _run(self, root: Call) -> Outcome:
        loop = self._loop = asyncio.get_running_loop()
        self.root_id = root.id
        tasks.install(loop)
        if self._loader is not None and not await self._made_resources(self._loader):
            return self._stopped()
        self.root_task = tasks.make(self, loop, self._lead(root), context=self.context.copy())
        if self._loader is not None and isinstance(self.root_task, tasks.AgentTask):
            self.root_task.before = self._loader.root_counted
        if self.restoring:
            self.context.run(loop.call_soon, self._watch_barrier, -1, 0)
        if self._loader is not None:
            for number in self._loader.adrift:
                self.adopt(self.context.run(loop.create_task, self._adrift(self._loader.calls[number])))
            for branch in [branch for branch in self._loader.branches.values() if branch.id in self.branches]:
                self.adopt(branches.start_again(branch, functools.partial(tasks.make, self, loop)), branch)
        current = asyncio.current_task()
        try:
            outcome: Outcome = await asyncio.shield(self.root_task)
        except asyncio.CancelledError:
            if self.dead and self.root_task.cancelled() and current is not None and not current.cancelling():
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

    async def _made_resources(self, loader: restore.Loader) -> bool:
        """Make what the program had made, before anything of it is entered again. False: the agent has ended meanwhile."""
        self.resources = {definition.key: True for definition in loader.resources}
        for definition in loader.resources:
            making = asyncio.ensure_future(definition.obtained())
            self.adopt(making)
            try:
                await asyncio.wait([making])
            except asyncio.CancelledError:
                await self.stop("cancelled from outside")
                raise
            if not self.dead and (error := making.exception()) is not None:
                why = f"{type(error).__name__}: {error}"
                self.block(f"agent {self.id}: resource {definition.name!r} cannot be made ({why}); resume when it can")
            if self.dead:
                return False
        return True

    async def _lead(self, root: Call) -> Outcome:
        """Run the entry call to its end and write the end."""
        final: Outcome
        moment: tuple[str, Any, BaseException | None, str]
        try:
            value = await root
            if is_told_soon(self.root_task):
                await asyncio.sleep(0)  # asyncio ends a task so, whatever it returns
            if self.dead:
                return self._stopped()
            final, moment = Completed(value), ("completed", value, None, "")
        except BaseException as error:
            if self.must_stop(error):
                if self._failed is None:
                    return self._stopped()
                self.ends_by_itself()
                error = self._failed
            box = self.mailbox
            if isinstance(error, asyncio.CancelledError) and box is not None and box.order:
                final, moment = Cancelled(box.cancelled), ("cancelled", None, AgentCancelled(box.cancelled), "")
            else:
                text = tracebacks.readable(error)
                final, moment = Failed(error, text), ("failed", None, error, text)
        here.set(None)  # what the store starts from here is no task of the program
        await self._quiet()
        await self.all_accepted()  # the end says nothing of them
        if self.dead and (self._failed is None or self.left):
            return self._stopped()
        if self._failed is None:
            self.die(ENDED)  # whatever still runs beside the entry playbook ends with it
        try:
            try:
                await self._write_end(*moment)
            except CheckpointTooLarge as error:  # what it answers
                text = tracebacks.readable(error)
                final = Failed(error, text)
                await self._write_end("failed", None, error, text)
        except AgentLost as lost:
            return Stopped(str(lost) or "another owner has it")
        return final

    async def _write_end(self, kind: str, result: Any, error: BaseException | None, text: str) -> None:
        owes = None if self.mailbox is None else self.mailbox.owes()
        moment = Moment(self._take_seq(), kind, standing.EMPTY_STACK, LOWERING, result, error, text, owes=owes)
        written = self._persist(moment, b"")
        if written is not None:
            await written

    async def _adrift(self, call: Call) -> None:
        """A call that a helper's task was left with goes on as it did before the crash."""
        try:
            await call
        except Exception:  # nobody waits for it, then or now
            return

    def _stopped(self) -> Outcome:
        if self._crash is not None:
            raise self._crash
        return Blocked(self._blocked) if self._blocked is not None else Stopped(self.why)

    # --- calls ------------------------------------------------------------------------------------------------------
    def next_id(self) -> int:
        """For a call or a branch."""
        self.last_id += 1
        return self.last_id

    def _new_call(self, playbook: Playbook, arguments: tuple[Any, ...], key: str) -> Call:
        call = Call(self, self.next_id(), playbook, arguments)
        call.key = key
        return call

    def made_below(self, below: Below, path: Path, playbook: Playbook, arguments: tuple[Any, ...]) -> Call:
        """A call made by a playbook's statement (path `OWN`) or by plain code.

        Raises `DetachedTask` from a task whose maker has ended: no resume could find the call again."""
        if self.dead:
            raise AgentStopped(self.why)
        if below.frame is None or below.frame.call_.outcome is not None:
            whose = "a playbook" if below.frame is None else below.frame.playbook.id
            raise DetachedTask(
                f"agent {self.id}: {playbook.id} was called from a task whose maker, a call of {whose}, has ended; "
                "await the task before that playbook returns, or start the playbook itself as the task"
            )
        if below.frame.playbook.of_operation:
            raise inside_an_operation(below.frame, playbook)
        number = below.counts.get((path, playbook.id), 0)
        call = None
        if below.expected:
            try:
                number, call = matching.match(below, path, playbook, number, arguments)
            except ResumeMismatch as error:
                self.block(str(error))
                raise AgentStopped(str(error)) from None
        if call is not None:
            call.again = call.again or path is not OWN
        else:
            call = self._new_call(playbook, arguments, effects.call_key(below, path, playbook, number))
            if path is not OWN:
                call.given = matching.given(arguments)
        below.keep((path, playbook.id, number), call)
        return call

    def all_made(self, below: Below) -> None:
        """Plain code that ran again has ended: calls below it that were running must have been made again."""
        try:
            matching.all_made(below)
        except ResumeMismatch as error:
            self.block(str(error))

    # --- what holds checkpoints back --------------------------------------------------------------------------------
    def enter_region(self, frame: Frame) -> Below:
        """From here to `leave_region` the code of *frame*'s header runs without checkpoints of its own (DESIGN 3.3)."""
        region = Region(frame)
        self.regions.append(region)
        below = Below(self, frame, atomic=region)
        if not self.dead:  # dead: closed by a collector, perhaps, in the context of whatever runs just then
            here.set(below)
        return below

    def leave_region(self, below: Below) -> None:
        assert below.atomic is not None
        below.atomic.depth = 0
        self.regions.remove(below.atomic)
        if not self.dead:
            here.set(below.frame)
        if below.made:  # playbooks ran in it: before the next effect its end is checkpointed
            self.owed = self.gated = True
        self.left_region()

    def is_adrift(self, call: Call) -> bool:
        """Whether nobody awaits this running call any more: its gather has ended without it."""
        if call.id in self.unreached:
            return self._loader is not None and call.id in self._loader.adrift
        if call.owner is None:
            return call.id != self.root_id
        branch = call.owner.branch
        if branch is not None:
            return not branch.alive
        return call.owner.frame is None or call.owner is not call.owner.frame.below

    def _capture(self) -> Snapshot | None:
        if not self.kept:
            return Snapshot(standing.stack_json(self), standing.steps_json(self), b"", None)
        return None if self.regions and holding.held_back(self) else capture.capture(self)

    def what_holds(self) -> str:
        return holding.what_holds(self)


Agent.own_code = frozenset({Agent._lead.__code__, Agent._adrift.__code__})
