"""The way back: restored frames re-enter their sites, and no user statement runs before all that can have arrived.

"Can" means without waiting for an effect (DESIGN 3.2, point 3). What a frame is told of its saved state is `restore`'s.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, cast

from playbooks_worker.engine import cancels, restore, standstill, synchronisers
from playbooks_worker.engine.callbacks import added_again
from playbooks_worker.engine.endings import Ending, put_in_order
from playbooks_worker.engine.errors import AgentStopped
from playbooks_worker.engine.frames import Call, Frame
from playbooks_worker.engine.mortal import Awaitable, wake
from playbooks_worker.engine.outcomes import Persist
from playbooks_worker.engine.place import here, in_region
from playbooks_worker.engine.synchronisers import Waiting
from playbooks_worker.engine.telling import Telling

if TYPE_CHECKING:
    from playbooks_worker.engine.agent import Agent
    from playbooks_worker.engine.branches import Branch
    from playbooks_worker.engine.cancels import Said

_log = logging.getLogger("playbooks_worker.engine")
_IDLE_TURNS = 10
_ENTERING_POLL_S = 0.005
_STANDSTILL_S = 0.05


class Arriving(Telling):
    """The frames that have not reached their sites yet, and the barrier that the others wait at."""

    def __init__(self, agent_id: str, persist: Persist, next_seq: int) -> None:
        super().__init__(agent_id, persist, next_seq)
        self.entering = 0  # headers being entered again
        self.root_id = 0
        self._barrier_waiters: list[asyncio.Future[None]] = []
        self._turn_waiters: list[asyncio.Future[None]] = []  # for those that come in the same turn of the loop
        self._header_waiters: list[asyncio.Future[None]] = []
        self._maker_waiters: list[asyncio.Future[None]] = []  # for what their branches were made in
        self._late_waiters: list[asyncio.Future[None]] = []  # the same, where its makers come behind an effect
        self._loader: restore.Loader | None = None
        self.unreached: set[int] = set()  # ids of the calls whose frames have not
        # by call, what its open header and its site share: a condition
        self.waiting: dict[int, tuple[Any, Waiting]] = {}
        self._progress = 0
        self._in_no_order = False  # who waits for the headers of another waits for nothing else any more
        self.to_call: list[Branch] = []  # their tasks had ended, and callbacks of the program were about to be called

    def header_entered(self, frame: Frame, number: int, targets: Sequence[Any], manager: Any) -> None:
        assert self._loader is not None
        self._progress += 1
        self._loader.fresh(frame, number, targets)
        self._loader.unentered.discard((frame.call_.id, number))
        self._loader.fill(frame, number, manager)
        wake(self._maker_waiters)
        wake(self._late_waiters)
        if not self._loader.unentered:
            wake(self._header_waiters)

    def reached(self, frame: Frame, value: Any = None) -> None:
        """A restored frame stands at its site again, which awaits *value*."""
        frame.saved = None
        begins = frame.outcome is None
        if begins and frame.call_.id in self.loader().gathers:
            if value.done():  # its children had ended: from Python 3.12 on such a gather ends as it is made
                frame.outcome = (False, asyncio.CancelledError())
                self.owed = self.gated = True
            else:
                value._cancel_requested = True  # what `cancel` had noted there
        self._progress += 1
        self.unreached.discard(frame.call_.id)
        wake(self._maker_waiters)
        wake(self._late_waiters)
        if begins and frame.call_.id in self.waiting:
            self._wait_again(*self.waiting.pop(frame.call_.id))
        if frame.call_.id in self.loader().untold and frame.task is not None:
            self.to_be_told(frame.task, frame.call_, self.loader().untold.pop(frame.call_.id))
            if frame.outcome is None:
                self.tells_soon(frame.task)
        if not self.unreached and self._loop is not None:
            # not before its turn: the last to arrive would be the first to go on, ahead of whom it stood behind
            self._loop.call_soon(self._open_barrier, context=self.context)

    def _wait_again(self, condition: Any, waiting: Waiting) -> None:
        """A `wait` of *condition* is about to begin."""
        if waiting is Waiting.DIRECTLY:
            synchronisers.wait_unlocked(condition)
        elif waiting is Waiting.NOTIFIED:
            synchronisers.wait_notified(condition)

    @property
    def restoring_calls(self) -> bool:
        return self._loader is not None

    def complete(self, call: Call) -> None:
        """Make sure that a call which does not run has its arguments or outcome."""
        if self._loader is not None and call.frame is None and call.id in self._loader.calls:
            self._loader.rest()

    def rest(self) -> None:
        """Load what is left."""
        if self._loader is not None:
            self._loader.rest()

    async def loaded(self) -> None:
        """Wait until everything can be loaded: headers that are entered again bring a part of it."""
        if self.restoring and self.loader().unentered:
            await Awaitable(self._not_told(self._header_waiters))
        self.rest()

    def loader(self) -> restore.Loader:
        assert self._loader is not None
        return self._loader

    def barrier(self, ending: Ending | None = None) -> Generator[Any, Any, None]:
        """Wait until every saved frame that can reach its site without waiting for an effect has reached it; who comes later
        waits for those that come with it. *ending*: what goes on behind it."""
        if not self.restoring and self.unreached:
            yield from self._late_ones()
        while self.restoring and not self.dead:
            yield from self._not_told(self._barrier_waiters, ending=ending)
        if self.dead:
            raise AgentStopped(self.why)

    def _not_told(
        self,
        waiters: list[asyncio.Future[None]],
        call: Call | None = None,
        needs: Callable[[], bool] | None = None,
        ending: Ending | None = None,
    ) -> Generator[Any, Any, None]:
        """Wait among *waiters*, where the program does not wait: a cancellation is told at the task's next await, of what is
        to begin, or to go on, first. *call*: what goes on; *needs*: whether it has to wait still."""
        task: Any = asyncio.current_task()
        held: asyncio.CancelledError | None = None
        waiting = True
        while waiting:
            try:
                yield from self.waits(waiters, ending)
                waiting = needs is not None and needs()
            except asyncio.CancelledError as cancelled:
                self.raise_if_dead()
                held = cancelled
                self.held.add(task)
                waiting = self.restoring if needs is None else needs()
        if held is None:
            return
        if call is not None and cancels.knew(cast("Agent", self), task, call):
            self.held.discard(task)
            task.uncancel()
            task.before += 1
        else:
            self.told_later(held)

    def goes_on(self, ending: Ending | None = None) -> Generator[Any, Any, None]:
        """The running task goes on with a saved outcome, behind the barrier, in the turn of its *ending*. If it is to be
        told of a cancellation, its next await tells it, as before."""
        restoring = self.restoring
        if restoring or self.unreached:
            yield from self.barrier(ending)
        if self._loader is not None:
            if not restoring and ending is not None and ending.number <= self._loader.endings:
                yield from self._comes_late(ending)
            self.tell(asyncio.current_task())

    def _comes_late(self, ending: Ending) -> Generator[Any, Any, None]:
        """Plain code between playbooks comes to what had ended behind the barrier: to all that it gathers in one turn."""
        assert self._loop is not None
        if not self._turn_waiters:
            self._loop.call_soon(self._next_turn, context=self.context)
        yield from self._not_told(self._turn_waiters, ending=ending)

    def _next_turn(self) -> None:
        put_in_order(self._turn_waiters)
        wake(self._turn_waiters)

    def _late_ones(self) -> Generator[Any, Any, None]:
        """Frames that plain code comes to behind the barrier wait for one another, too: one may be about to wait for what
        another says next."""
        assert self._loop is not None
        idle = 0
        while self.unreached and idle < _IDLE_TURNS:
            progress, waiters = self._progress, list[asyncio.Future[None]]()
            if self.entering:
                self._loop.call_later(_ENTERING_POLL_S, wake, waiters, context=self.context)
            else:
                self._loop.call_soon(wake, waiters, context=self.context)
            yield from self._not_told(waiters)
            idle = idle + 1 if progress == self._progress else 0

    async def passed_barrier(self) -> None:
        if self.restoring or self.unreached:
            await Awaitable(self.barrier())

    def others_first(self, call: Call) -> Generator[Any, Any, None]:
        """A call that has not begun waits for all frames: it may want a lock that one of them holds. Before a branch has
        its locals back, the headers of the others are entered: it may hold what they opened."""
        if call.frame is None:
            if call.outcome is not None or (self.regions and in_region(here.get())):  # a header may need it
                return
            yield from self.barrier()
        elif call.id != self.root_id and self.loader().waits_for_headers(call):
            yield from self._not_told(self._header_waiters, call)
        if branch := getattr(here.get(), "branch", None):
            yield from self.maker_first(branch, call)

    def maker_first(self, branch: Branch, call: Call | None = None) -> Generator[Any, Any, None]:
        """The headers that a branch was made in are entered before its own: it may hold what they open, or use it. Where
        plain code has an effect before it comes to them, the branch waits for that, if they bring anything."""
        while self.restoring and not self._in_no_order and not self.loader().is_ready(branch, self.unreached):
            yield from self._not_told(self._maker_waiters, call)

        def needs() -> bool:
            return self.loader().misses_targets(branch, self.unreached)

        if needs():
            yield from self._not_told(self._late_waiters, call, needs)

    def _watch_barrier(self, progress: int, idle: int) -> None:
        """What has not arrived after some turns of the loop without progress waits behind an effect."""
        if not self.restoring or self.dead or self._loop is None:
            return
        if progress != self._progress or self.entering:
            idle = 0
        if idle >= _IDLE_TURNS:
            if not (self._header_waiters or self._maker_waiters):
                self._open_barrier()
                return
            self._in_no_order = not self._header_waiters
            wake(self._maker_waiters)
            wake(self._header_waiters)  # the headers that are left come behind these branches, or behind an effect
            idle = 0
        if self.entering:
            self._loop.call_later(_ENTERING_POLL_S, self._watch_barrier, self._progress, idle, context=self.context)
        else:
            self._loop.call_soon(self._watch_barrier, self._progress, idle + 1, context=self.context)

    def _open_barrier(self) -> None:
        if self.restoring:
            self.restoring = False
            self._gate()
            for branch in self.to_call:
                self.loader().task(branch.id)
                added_again(branch)
            put_in_order(self._barrier_waiters)
            wake(self._barrier_waiters)
            wake(self._header_waiters)
            wake(self._maker_waiters)
            assert self._loop is not None
            self._loop.call_soon(self.tell_all, context=self.context)
            self._loop.call_later(_STANDSTILL_S, self._watch_standstill, _STANDSTILL_S, context=self.context)
            self.left_region()

    def _watch_standstill(self, seconds: float) -> None:
        """No agent hangs without a word because of locks that plain code had taken before the crash."""
        if self.dead or self._loop is None:
            return
        waits = standstill.standstill(cast("Agent", self))
        if waits and not standstill.given_back(waits):
            _log.warning(
                "agent %s: nothing goes on since it was resumed: everything waits for locks that nobody gives back (%s); "
                "what acquires a lock by an await of its own should do that in an `async with` (docs/language.md)",
                self.id,
                "; ".join(dict.fromkeys(one.where for one in waits)),
            )
            return
        later = _STANDSTILL_S if waits else min(2 * seconds, 60.0)
        self._loop.call_later(later, self._watch_standstill, later, context=self.context)

    def untold(self) -> list[tuple[int, Said]]:
        """The calls whose tasks a resume from here must cancel again, and what it says."""
        before = {} if self._loader is None else self._loader.untold
        waiting = [(number, said) for number in before if number in self.unreached for said in before[number]]
        return [*super().untold(), *waiting]
