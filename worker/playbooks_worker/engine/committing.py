"""When checkpoints are taken and who waits for them: one snapshot for all that completed in a turn, one write at a time.

What a snapshot says is `capture`'s; where it goes is `persist`'s, given from outside.
"""

from __future__ import annotations

import abc
import asyncio
import logging
import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from playbooks_worker.engine.errors import AgentLost, AgentStopped, CheckpointTooLarge
from playbooks_worker.engine.mortal import Awaitable, Mortal, is_taken_back, wake
from playbooks_worker.engine.outcomes import Moment, Persist, Snapshot
from playbooks_worker.engine.place import Region, here, in_region
from playbooks_worker.engine.rewrite import LOWERING

if TYPE_CHECKING:
    from playbooks_worker.engine.talk.mailbox import Mailing

_log = logging.getLogger("playbooks_worker.engine")
_HELD_LONG_S = 1.0


class Committing(Mortal):
    """The waiters of the next checkpoint, the write under way, and the gate before each effect."""

    def __init__(self, agent_id: str, persist: Persist, next_seq: int) -> None:
        super().__init__(agent_id)
        self.owed = False  # something since the last checkpoint could not be repeated by a resume
        self._settling = False  # the checkpoint that is being written says what was owed
        self.restoring = False
        self.tries_again = False  # a step has been tried again in this process
        self.careful: set[Any] = set()  # attempts.py: steps in flight whose outcome must not get lost
        self.regions: list[Region] = []  # the atomic ones that are open
        self._persist = persist
        self._seq = next_seq
        self._frozen = False
        self._handover: str | None = None
        self._failed: BaseException | None = None
        self._crash: BaseException | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._thaw_waiters: list[asyncio.Future[None]] = []
        self._scheduled = False
        self._held: asyncio.TimerHandle | None = None
        self._writing = False
        self._idle: asyncio.Future[None] | None = None

    @abc.abstractmethod
    def _capture(self) -> Snapshot | None:
        """The agent now; None while something holds checkpoints back."""

    @abc.abstractmethod
    def _mailing(self) -> Mailing | None:
        """What follows from the letters in a checkpoint that is taken now; None for an agent that never talked."""

    @abc.abstractmethod
    def what_holds(self) -> str:
        """Who waits for a checkpoint, and what holds it back, for people."""

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
                task = asyncio.current_task()
                if task is not None and not is_taken_back(task):
                    held = cancelled
                    self.held.add(task)
                if waiter.cancelled():  # cancelling the task cancelled what it waited for
                    if waiter in self._waiters:
                        self._waiters.remove(waiter)
                    waiter = self._due()
        if self.dead:
            raise AgentStopped(self.why)
        if held is not None:
            self.told_later(held)

    async def committed(self) -> None:
        if self.regions and in_region(here.get()):
            return
        waiter = self._due()
        await waiter
        self.raise_if_dead()

    @property
    def is_writing(self) -> bool:
        """Whether something is being checkpointed, or about to be."""
        return self._writing or self._scheduled or bool(self._waiters)

    @property
    def handing_over(self) -> bool:
        """Whether the agent ends here at its next checkpoint."""
        return self._handover is not None

    def _due(self) -> asyncio.Future[None]:
        loop = self._loop
        assert loop is not None
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiters.append(waiter)
        if not self._scheduled:
            self._schedule()
        return waiter

    def _schedule(self) -> None:
        if not self._scheduled and not self._writing and self._loop is not None:
            self._scheduled = True
            self._loop.call_soon(self._checkpoint, context=self.context)

    def left_region(self) -> None:
        """Something that held checkpoints back has ended."""
        if self._waiters and not self.dead:
            self._schedule()

    def _checkpoint(self) -> None:
        """Take the one checkpoint that all waiters share. A loop callback: no playbook is running."""
        self._scheduled = False
        if self.dead or self._writing or not self._waiters or self.restoring:
            return
        began = time.perf_counter()
        try:
            captured = self._capture()
            if captured is None:
                if self._held is None and self._loop is not None:
                    self._held = self._loop.call_later(_HELD_LONG_S, self._held_long, context=self.context)
                return
        except Exception as error:
            self._fail(error)
            return
        if self._held is not None:
            self._held.cancel()
            self._held = None
        stack_json, steps_json, payload, dill = captured
        mailing = self._mailing()
        waiters, self._waiters = self._waiters, []
        self.owed, self._settling = False, self.owed
        if self.careful:
            self.careful = {attempts for attempts in self.careful if attempts.intended}
        if self.gated:
            self._gate()
        took_s = time.perf_counter() - began
        moment = Moment(
            self._take_seq(), "step", stack_json, LOWERING, None, None, "", steps_json, took_s, dill, mailing
        )
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
            future.add_done_callback(lambda done: self._written(done, waiters), context=self.context)

    def _held_long(self) -> None:
        """Said once for each time that branches wait so long."""
        if not self.dead and self._waiters:
            _log.warning(
                "agent %s: %d completed awaits have waited %g s for a checkpoint: %s",
                self.id,
                len(self._waiters),
                _HELD_LONG_S,
                self.what_holds(),
            )

    def _written(self, future: asyncio.Future[None], waiters: list[asyncio.Future[None]]) -> None:
        if future.cancelled():
            self._not_written(AgentLost("the write was cancelled"))
        elif (error := future.exception()) is not None:
            self._not_written(error)
        else:
            self._durable(waiters)

    def _durable(self, waiters: list[asyncio.Future[None]]) -> None:
        self._writing = False
        if self._settling:
            self._settling = False
            self._gate()
        if self._handover is not None and not self.dead and not self.careful:
            self.die(self._handover)
            self._abort()
        if not self.dead:
            wake(waiters)
            if self._waiters:
                self._schedule()
        if self._idle is not None:
            self._release_idle()

    def _not_written(self, error: BaseException) -> None:
        self._writing = False
        if isinstance(error, CheckpointTooLarge) and not self.dead:
            self._release_idle()
            self._fail(error)
            return
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
        """Whoever waits in `_quiet` goes on."""
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def _quiet(self) -> None:
        """Wait for the write under way."""
        while self._writing:
            assert self._loop is not None
            self._idle = self._loop.create_future()
            await self._idle

    @property
    def checkpoints_taken(self) -> int:
        """The number of the newest checkpoint in the agent's whole life; 0 when there is none."""
        return self._seq - 1

    def _take_seq(self) -> int:
        seq = self._seq
        self._seq += 1
        return seq

    def _gate(self) -> None:
        self.gated = self.dead or self._frozen or self.owed or self._settling or self.restoring

    def may_start(self, again: bool = False) -> Generator[Any, Any, None]:
        """Wait until an effect may start: not while frozen, and not before what a resume could not repeat is saved.

        *again*: it was in flight in the checkpoint that its frame comes back from. What others owe on their way back is
        later, and no statement runs before it has begun again."""
        while self.gated:
            if self.dead:
                raise AgentStopped(self.why)
            if self._frozen:
                yield from self.waits(self._thaw_waiters)
            elif again or self.restoring or (self.regions and in_region(here.get())):
                return
            elif self.owed or self._settling:  # what is being written may not become durable
                yield from self.commit()
            else:
                return

    async def start_allowed(self) -> None:
        if self.gated:
            await Awaitable(self.may_start())
