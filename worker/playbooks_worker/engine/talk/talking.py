"""An agent's part in talking: its mailbox, its world, and who in it waits.

Between `arriving` and `agent`; what is said is letters.py's and children.py's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from playbooks_worker.engine.arriving import Arriving
from playbooks_worker.engine.errors import AgentCancelled
from playbooks_worker.engine.mortal import Awaitable, wake
from playbooks_worker.engine.outcomes import Persist
from playbooks_worker.engine.talk.mailbox import Mailbox, Mailing, Outgoing, Received
from playbooks_worker.engine.talk.world import World

if TYPE_CHECKING:
    from playbooks_worker.engine.frames import Frame

_ROOM = 16
"""Letters to one receiver that have not been accepted: beyond, whoever sends one more waits."""

_SOON_S = 0.01
_LOOK_AGAIN_S = 3600.0  # clocks are set, machines sleep: a far deadline is looked at again


class Talking(Arriving):
    """``letters`` is made when somebody first talks."""

    def __init__(self, agent_id: str, persist: Persist, next_seq: int, world: World) -> None:
        super().__init__(agent_id, persist, next_seq)
        self.world = world
        self.mailbox: Mailbox | None = None
        self.waiting_for_letters: dict[asyncio.Future[None], float | None] = {}  # and until when (Unix time)
        self._room_waiters: list[asyncio.Future[None]] = []
        self.left = False  # somebody has stopped it
        self._promised: tuple[Outgoing, ...] = ()  # the outbox of the newest checkpoint, here or before

    @property
    def letters(self) -> Mailbox:
        if self.mailbox is None:
            self.mailbox = Mailbox()
        return self.mailbox

    def _mailing(self) -> Mailing | None:
        if self.mailbox is None:
            return None
        mailing = self.mailbox.mailing()
        self._promised = mailing.outbox
        return mailing

    async def all_accepted(self) -> None:
        """Wait until every letter that a checkpoint has promised is delivered, or the agent is to leave."""
        while self.mailbox is not None and {one.key for one in self._promised} & {
            one.key for one in self.mailbox.outbox
        }:
            if self.dead and (self._failed is None or self.left):
                return
            try:
                await Awaitable(self.waits(self._room_waiters))
            except asyncio.CancelledError:
                if not self.dead:
                    raise

    # --- from outside ----------------------------------------------------------------------------------------------
    def deliver(self, place: int, letter: Received) -> None:
        """What is at *place* of the agent's inbox, in the order of places. One that is known is passed over."""
        self.letters.came(place, letter)
        self.look_again()

    def not_started(self, child: str, why: str) -> None:
        """Its id belongs to somebody else."""
        self.letters.came_to_nothing(child, {"status": "failed", "type": "AgentExists", "message": why})
        self.look_again()

    def not_answered(self, question: str, how: str) -> None:
        """Whom it asked has ended."""
        self.letters.not_answered(question, how)
        self.look_again()

    def accepted(self, letter: Outgoing) -> None:
        """*letter* is in its receiver's inbox (or can never be): the next checkpoint does not hold it any more."""
        self.letters.accepted(letter)
        wake(self._room_waiters)

    def cancel(self, order: str, why: str, until_s: float | None = None) -> None:
        """Raise `AgentCancelled` at the awaits of the agent, once for each *order*, as soon as a checkpoint says so: in the
        process that it goes on in, if this one dies before it was told. Its children are cancelled, too. *until_s* (Unix
        time): when it is ended by others, if it has not ended."""
        if self.dead or self.letters.order == order:
            return
        if self.restoring or not self.running:
            self.loop.call_later(_SOON_S, self.cancel, order, why, until_s, context=self.context)
            return
        self.letters.cancel(order, why, until_s)
        self._due().add_done_callback(lambda _: self.raise_cancelled(), context=self.context)

    def raise_cancelled(self) -> None:
        """What a checkpoint has promised."""
        box, root = self.letters, self.root_task
        if self.dead or box.raised or root is None or root.done():
            return
        if self.restoring or not self.running:
            self.loop.call_later(_SOON_S, self.raise_cancelled, context=self.context)
            return
        box.raised = True
        self.owed = self.gated = True
        self._cancelled(root, (box.cancelled,))

    def _open_barrier(self) -> None:
        was_restoring = self.restoring
        super()._open_barrier()
        if was_restoring and self.mailbox is not None and not self.mailbox.raised:
            self.raise_cancelled()  # before anybody looks at what has come meanwhile

    def as_raised(self, frame: Frame, error: asyncio.CancelledError) -> asyncio.CancelledError:
        """What *frame* sees of *error*, which has come to one of its awaits. Within a group or a timeout it stays a plain
        `CancelledError`: asyncio looks for that very class there."""
        box = self.mailbox
        if box is None or not box.order or error.args != (box.cancelled,):
            return error
        wanted = asyncio.CancelledError if any(map(_is_exact, frame.headers)) else AgentCancelled
        return error if type(error) is wanted else wanted(box.cancelled)

    def look_again(self) -> None:
        """Whoever waits looks again for what it waits for."""
        for waiter in self.waiting_for_letters:
            if not waiter.done():
                waiter.set_result(None)

    def wakes_at(self) -> float | None:
        """The first deadline of those that wait, Unix time."""
        return min((until for until in self.waiting_for_letters.values() if until is not None), default=None)

    # --- for operations --------------------------------------------------------------------------------------------
    async def waits_for_letters(self, until_s: float | None) -> None:
        """Until something has come, or *until_s*, or for no reason."""
        await Awaitable(self._waits(until_s))
        self.raise_if_dead()

    def _waits(self, until_s: float | None) -> Generator[Any, Any, None]:
        loop = self.loop
        waiter: asyncio.Future[None] = loop.create_future()
        left_s = _LOOK_AGAIN_S if until_s is None else min(_LOOK_AGAIN_S, max(0.0, until_s - self.world.now()))
        timer = loop.call_later(left_s, _done, waiter, context=self.context)
        self.waiting_for_letters[waiter] = until_s
        self.world.waits()
        try:
            yield from waiter
        except GeneratorExit:
            self.die("the process ends")
            raise
        finally:
            timer.cancel()
            del self.waiting_for_letters[waiter]

    async def look_up(self, receiver: str) -> int:
        """The birth of an agent that can be sent letters; of a child, when it has begun. Raises `NoSuchAgent`."""
        while not self.regions and self.mailbox is not None and self.mailbox.is_to_start(receiver):
            await Awaitable(self.waits(self._room_waiters))
            self.raise_if_dead()
        return await self.world.look_up(receiver)

    async def has_room(self, receiver: str) -> None:
        """Wait while too many letters to *receiver* are not accepted."""
        while sum(letter.receiver == receiver for letter in self.letters.outbox) >= _ROOM:
            await Awaitable(self.waits(self._room_waiters))
            self.raise_if_dead()


def _done(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _is_exact(header: tuple[Any, ...]) -> bool:
    return isinstance(header[2], asyncio.TaskGroup | asyncio.Timeout)
