"""The one connection on which an executor's checkpoints go out: group commit, and patience.

Called by checkpoints.py. What gathers in one turn of the event loop goes out as one piece, without a task in between; while
nothing is on the wire, at once, so that an agent alone waits for nobody (DESIGN 4.4). It must not know what an envelope is.

With `durability.wait` one WAIT goes behind the piece, and nothing of it counts before that is answered well; what gathers
meanwhile is the next piece, with the next WAIT. Too few replicas in time: the entries are there and are not sent again, the
agents are held, and the server is asked again. Whoever wrote on another connection waits with a touch (`settle`).

A write ends in one of two ways, `Saved` or `Lost`, or raises `EntryTooLarge`: no value of that size is read there (it says
so in the place of the reply and hangs up; what others had sent behind it goes out again). Everything else that can happen
(connection cut, server full, loading, demoted, frozen executor) means that its outcome is unknown; then the very same bytes
are sent again, until it is known:

* **accepted**: Redis took the id → saved.
* **refused** (an id that is not greater than the last, or no stream): read back who wrote that id. My nonce → an earlier
  send of this very write had arrived → saved. Anything else, or nothing → a newer owner exists → lost.
* **anything else** → unknown → again, after a pause.

On each new connection, before an agent's first write on it, the writer asks there whose the end of the history is
(DESIGN 4.5): a server that lost acknowledged entries must not be written on as if it had them. Nothing is ever sent behind
a write that assumes it succeeded.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from playbooks_providers.answer import Answer
from playbooks_providers.errors import EntryTooLarge, Unreachable
from playbooks_providers.ids import AgentId, CheckpointId, Nonce
from playbooks_providers.model import Lost, Saved
from playbooks_providers.redis.address import Address
from playbooks_providers.redis.append import append
from playbooks_providers.redis.client import Trouble, trouble
from playbooks_providers.redis.gate import Gate
from playbooks_providers.redis.link import Link, ReplyError, open_link
from playbooks_providers.redis.outage import Outage
from playbooks_providers.redis.wait import Wait
from playbooks_providers.redis.write import Owned, Touch, Write

# A refusal in Redis's and Valkey's words (t_stream.c); the same since 5.0.
_REFUSED = "ERR The ID specified in XADD"
# The same of a value that is longer than `proto-max-bulk-len` (networking.c).
_TOO_LONG = "invalid bulk length"

BURST = 16
"""So many go out before the turn ends: the server then works on them while the rest is still being pickled and signed."""


class _Settler:
    """Stands on the wire for a WAIT: there is one at a time, for everything before it."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def answered(self, reply: Any) -> None:
        self._writer.settled(reply)


class Writer:
    """See the module. One per process and Redis node, used within one event loop; `close` ends it."""

    def __init__(
        self,
        address: Address,
        gate: Gate,
        *,
        wait: Wait | None = None,
        connect_timeout_s: float = 5.0,
        silence_s: float = 10.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.loop: asyncio.AbstractEventLoop
        self._address = address
        self._gate = gate
        self._connect_timeout_s = connect_timeout_s
        self._silence_s = silence_s
        self._owned: dict[AgentId, Owned] = {}
        self._wait = wait
        self._waiting = wait.packed(min(wait.longest_s, silence_s / 2)) if wait is not None else b""
        self._settler = _Settler(self)
        self._settling = False  # a WAIT is on the wire
        self._unsettled: list[Write | Touch] = []  # done by the server, and not yet as durable as asked for
        self._again: asyncio.TimerHandle | None = None
        self.accepted: Callable[[Write | Touch], None] = self._counts if wait is None else self._settle
        self._gathered: list[Write | Touch] = []
        self._flushing = False
        self._link: Link | None = None
        self._driver: asyncio.Task[None] | None = None
        self._later: dict[Write, asyncio.TimerHandle] = {}
        self._watch: asyncio.TimerHandle | None = None
        self._outage = Outage(str(address), jitter)
        self._closed = False

    # --- for checkpoints.py ----------------------------------------------------------------------------------------

    def known(self, agent: AgentId, fence: int) -> Owned | None:
        """The record of this agent, if it is under this fence."""
        owned = self._owned.get(agent)
        return owned if owned is not None and owned.fence == fence else None

    def own(self, agent: AgentId, fence: int, key: str, meta: str) -> Owned:
        """The same; a new fence begins a new record."""
        owned = self._owned.get(agent)
        if owned is None or owned.fence != fence:
            owned = self._owned[agent] = Owned(agent, fence, key, meta)
        return owned

    def disown(self, agent: AgentId, fence: int) -> None:
        """The agent ended or went elsewhere: nothing needs to be remembered."""
        owned = self._owned.get(agent)
        if owned is not None and owned.fence == fence:
            del self._owned[agent]

    def write(
        self, owned: Owned, id: CheckpointId, oldest: CheckpointId, nonce: Nonce, header: bytes, payload: bytes
    ) -> Answer[Saved | Lost]:
        """Starts the write; cancel the answer to give up waiting (what was sent may still arrive)."""
        if self._closed:
            raise Unreachable("this connection has been closed")
        self.loop = asyncio.get_running_loop()
        mine = nonce.encode()
        packed = append(owned.head, oldest, id, header, payload, mine)
        write = Write(self, owned, id, mine, packed)
        self._gather(write)
        return write

    async def settle(self, meta: str) -> None:
        """Until all that this node was told before, on whatever connection, is as durable as asked for. *meta*: a key of
        whose agent something was written. Raises `Unreachable`: that is unknown; say again what was to be waited for."""
        if self._wait is None:
            return
        if self._closed:
            raise Unreachable("this connection has been closed")
        self.loop = asyncio.get_running_loop()
        touch = Touch(self, meta)
        self._gather(touch)
        await touch

    async def close(self) -> None:
        """Ends the connection. Writes that still wait are cancelled; their outcome is unknown."""
        self._closed = True
        for timer in self._later.values():
            timer.cancel()
        for clock in (self._watch, self._again):
            if clock is not None:
                clock.cancel()
        waiting = [*self._gathered, *self._later, *self._unsettled]
        if self._link is not None:
            waiting += [one for one in self._link.waiting if isinstance(one, Write | Touch)]
            self._link.abort()
        for one in waiting:
            one.cancel()
        self._gathered.clear()
        self._unsettled.clear()
        self._later.clear()
        if self._driver is not None:
            self._driver.cancel()
            await asyncio.wait([self._driver])

    # --- out -------------------------------------------------------------------------------------------------------

    def _gather(self, one: Write | Touch) -> None:
        if self._later and isinstance(one, Write):
            self._later.pop(one, None)
        self._gathered.append(one)
        if self._wait is not None:  # that costs a round trip to others: one for all that this turn brings
            self._flush_soon()
        elif self._link is not None and not self._link.waiting and not self._flushing:
            self._flush()  # the server has nothing to do: do not wait for company
        elif len(self._gathered) >= BURST:
            self._flush()
        else:
            self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Everything that has gathered goes out in one piece."""
        self._flushing = False
        link = self._link
        if self._settling or not (self._gathered or self._unsettled):
            return  # they go when the WAIT under way is answered; or they went out as a burst
        if link is None or not self._gate.is_open:
            self._summon()
            return
        gathered, self._gathered = self._gathered, []
        out: list[bytes] = []
        written, waits = False, self._wait is not None
        for one in gathered:
            if one.done():
                continue  # its task was cancelled before anything was sent
            out.append(one.said_on(link, waits=waits))
            link.waiting.append(one)
            written = written or not one.asking
        if waits and (written or self._unsettled):
            self._settling = True
            out.append(self._waiting)
            link.waiting.append(self._settler)
        if out:
            if self._watch is None:
                self._watch = self.loop.call_later(self._silence_s, self._look, link, link.replies, 0)
            link.send(out)

    def _summon(self) -> None:
        """There is something to send and no way to send it now: somebody has to see to that."""
        if not self._closed and (self._driver is None or self._driver.done()):
            self._driver = self.loop.create_task(self._drive())

    async def _drive(self) -> None:
        try:
            await self._drive_on()
        except Exception as error:  # a gate that breaks must not leave its agents hanging
            gathered, self._gathered = self._gathered, []
            for one in gathered:
                if not one.done():
                    one.set_exception(error)

    async def _drive_on(self) -> None:
        while True:
            self._gathered = [one for one in self._gathered if not one.done()]
            if self._settling or not (self._gathered or self._unsettled):
                return
            if not self._gate.is_open:
                await self._gate.wait_open()
                await asyncio.sleep(0)  # it may close again at once; others run in between
                continue
            if self._link is None:
                await asyncio.sleep(self._outage.pause_s(self._outage.failures - 1))  # after a mere cut: at once
                await self._connect()
                continue
            self._flush()

    async def _connect(self) -> None:
        try:
            self._link = await open_link(self._address, self._lost, self._connect_timeout_s)
        except Unreachable as error:
            self._outage.trouble("unreachable", str(error))
            self._gathered = _without_touches(self._gathered, error)

    # --- in --------------------------------------------------------------------------------------------------------

    def _counts(self, one: Write | Touch) -> None:
        if self._outage.failures:
            self._outage.over()
        one.counts()

    def _settle(self, one: Write | Touch) -> None:
        """The server has done it. What was sent with a WAIT behind it waits for that, the rest for the next."""
        self._unsettled.append(one)
        if not self._settling:
            self._flush_soon()

    def settled(self, reply: Any) -> None:
        """The answer to a WAIT."""
        assert self._wait is not None
        self._settling = False
        if isinstance(reply, ReplyError):
            return self._cannot_wait(str(reply))
        missing = self._wait.missing(reply)
        if missing:
            self._short(missing)
        else:
            settled, self._unsettled = self._unsettled, []
            for one in settled:
                self._counts(one)
        self._flush()
        return None

    def _cannot_wait(self, text: str) -> None:
        kind = trouble(text)
        self._short(text, kind)
        if self._link is not None and (kind == "unreachable" or text.startswith("UNBLOCKED")):  # it was demoted
            self._link.abort()
        else:
            self._again = self.loop.call_later(self._outage.pause_s(self._outage.failures), self._flush)

    def _short(self, missing: str, kind: Trouble = "unconfirmed") -> None:
        """What the server has done is not durable, or nobody knows: the appends stay where they are, held; who wrote
        elsewhere says it again."""
        self._outage.trouble("unconfirmed" if kind == "error" else kind, missing)
        unknown = Unreachable(
            f"Redis at {self._address} has it, but it is not durable yet (durability.wait): {missing}"
        )
        self._unsettled = _without_touches(self._unsettled, unknown)

    def answered(self, write: Write, reply: Any) -> None:
        """Any answer but the plain yes."""
        if isinstance(reply, ReplyError):
            self._error(write, str(reply))
        elif not write.asking:  # nil: there is no stream
            write.refused = True
            self._gather(write)
        else:
            top, nonce = reply
            self._judge(write, top, nonce)

    def _judge(self, write: Write, top: bytes, nonce: bytes) -> None:
        """What the end of the history says about a write that is new on this connection, or was refused."""
        owned = write.owned
        if nonce:
            return self.accepted(write) if nonce == write.nonce else self._lose(write)
        if write.refused or not top:
            return self._lose(write)
        end = CheckpointId.parse(top.decode())
        # under my fence only I write: an end that is no older than what was acknowledged to me is mine
        if end.fence != owned.fence or not owned.seq <= end.seq < write.id.seq:
            return self._lose(write)
        owned.link = self._link
        self._gather(write)

    def _lose(self, write: Write) -> None:
        self.disown(write.owned.agent, write.owned.fence)
        if not write.done():
            write.set_result(Lost(write.owned.agent))

    def _error(self, write: Write, text: str) -> None:
        if not write.asking and text.startswith(_REFUSED):
            write.refused = True
            return self._gather(write)
        if not write.asking and _TOO_LONG in text:
            return self._refuse(write)
        kind = trouble(text)
        self._outage.trouble(kind, text)
        if kind == "unreachable":
            self._gathered.append(write)
            if self._link is not None:
                self._link.abort()  # a new connection may find the right server; all that is unanswered goes there again
            return None
        write.tries += 1
        if not write.done():
            self._later[write] = self.loop.call_later(self._outage.pause_s(write.tries), self._gather, write)
        return None

    def _refuse(self, write: Write) -> None:
        if not write.done():
            why = f"Redis at {self._address} reads no value of that size (its proto-max-bulk-len)"
            cure = "set that to 512mb there, and in its configuration file"
            write.set_exception(EntryTooLarge(len(write.packed), why, cure))

    def failed(self, touch: Touch, text: str) -> None:
        kind = trouble(text)
        self._outage.trouble(kind, text)
        touch.fail(Unreachable(f"Redis at {self._address} does not serve us now: {text}"))
        if kind == "unreachable" and self._link is not None:
            self._link.abort()

    def _lost(self, link: Link, error: Exception | None) -> None:
        """The connection is gone: what it had not answered is unknown, and goes out again on the next one."""
        if self._link is not link:
            return
        self._link = None
        # also what it had done and nobody had confirmed: the next one may be another server, which has not got it
        unknown = [*self._unsettled, *(one for one in link.waiting if isinstance(one, Write | Touch))]
        link.waiting.clear()
        self._unsettled.clear()
        self._settling = False
        why = Unreachable(f"Redis at {self._address} does not serve us now: {error or 'connection closed'}")
        self._gathered = [*_without_touches(unknown, why), *self._gathered]
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._closed:
            return
        if self._gathered:
            self._outage.trouble("unreachable", str(error or "connection closed by the server"))
            self._summon()

    def _look(self, link: Link, replies: int, unsent: int) -> None:
        """Is the other side alive? Neither a reply nor a byte taken for `silence_s` means that it is not."""
        self._watch = None
        if self._link is not link or not link.waiting:
            return
        if link.replies == replies and (link.unsent() == 0 or link.unsent() == unsent):
            self._outage.trouble("unreachable", f"no reply for {self._silence_s:g} s")
            link.abort()
        else:
            self._watch = self.loop.call_later(self._silence_s, self._look, link, link.replies, link.unsent())


def _without_touches(all_: list[Write | Touch], error: Exception) -> list[Write | Touch]:
    """The appends among them; the others are told *error*."""
    for one in all_:
        if isinstance(one, Touch):
            one.fail(error)
    return [one for one in all_ if isinstance(one, Write)]
