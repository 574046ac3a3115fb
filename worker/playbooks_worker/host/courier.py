"""An agent's post and its world: delivers the outbox of durable checkpoints, and brings what is in its inbox.

One for each life; the engine asks it (`engine.World`), `life` tells it which checkpoints are durable. It knows the contract
of inboxes and no store. Everything that it does may be repeated by the next owner: letters are numbered, a child's id comes
of where it was spawned, and what is not known to be delivered is in the agent's state.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from playbooks_providers.envelope import Body, Owed, Sealer, open_letter, same_start, seal_letter, seal_start
from playbooks_providers.errors import BadLetter, LockedLetter
from playbooks_providers.ids import AgentId, SessionId
from playbooks_providers.lanes import lane, priority_of, queue_of
from playbooks_providers.letters import Delivered, Full, Gap, Letter, Mail, Poke, Standing
from playbooks_providers.model import FINAL, Created, Exists, Gone, Lock, Order, OrderKind, StartRecord
from playbooks_worker.engine import Agent, AgentStopped, Mailing, NoSuchAgent, Outgoing, Question, Received
from playbooks_worker.host.events import Emitter
from playbooks_worker.host.farewell import farewell, how_it_ended, unanswered_letter
from playbooks_worker.host.giving import give
from playbooks_worker.host.patience import patiently
from playbooks_worker.host.post import Post, heard_of, sender_of, series_name, why_not

_READ = 32  # letters at once
_FORGET_AT, _FORGET_AFTER_S = 32, 0.2  # letters that were read, and for how long, before the inbox is trimmed
_SOON_S = 0.05
_FULL_FIRST_S, _FULL_MOST_S = 0.05, 2.0

_log = structlog.get_logger()


class Courier:
    """``idle()`` is called when the agent has begun to wait, ``locked(why)`` when it has a letter that cannot be decrypted
    here: it stays in the inbox, and those behind it. ``limit``: letters that wait in one inbox, beyond which senders
    wait. ``keep_events``: of what it tells people."""

    def __init__(
        self,
        lock: Lock,
        post: Post,
        sealer: Sealer,
        *,
        now_ms: Callable[[], int],
        limit: int,
        keep_events: int,
        idle: Callable[[], None],
        locked: Callable[[str], None],
    ) -> None:
        self.agent: Agent | None = None
        self._lock = lock
        self.home = post.home
        self._sealer = sealer
        self._now_ms = now_ms
        self._limit = limit
        self._post = post
        self._asked: tuple[Question, ...] = ()
        self._noting: asyncio.Task[None] | None = None
        self._idle = idle
        self._locked = locked
        self._carried: dict[str, asyncio.Queue[tuple[Outgoing, tuple[asyncio.Event, ...]]]] = {}  # by receiver
        self._starting: dict[str, asyncio.Event] = {}  # children: whoever is written to after a spawn finds the child
        # of what is carried, or was and may be in a checkpoint still
        self._known: set[tuple[str, int, int, str]] = set()
        self._carrying = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._stale = True  # there may be mail that nobody has fetched
        self._fetching: asyncio.Task[None] | None = None
        self._events = Emitter(lock, post.home, self.begin, now_ms=now_ms, keep=keep_events, sealer=sealer)
        self.read_through = 0  # the place up to which a durable checkpoint has read the inbox
        self._forgotten = 0  # through this place
        self._forgetting = False
        self._forget_now = asyncio.Event()

    # --- engine.World ----------------------------------------------------------------------------------------------
    def now(self) -> float:
        return self._now_ms() / 1000

    async def look_up(self, receiver: str) -> int:
        stands = self._post.stands(AgentId(receiver)) or await self._standing(receiver)
        if stands is None:
            raise NoSuchAgent(f"agent {receiver} does not exist; `playbooksctl list` shows those that do")
        if stands.status in FINAL:
            raise NoSuchAgent(f"agent {receiver} has ended ({stands.status}): nobody would read the letter")
        return stands.birth

    async def status(self, agent: str) -> str | None:
        stands = await self._standing(agent)
        return None if stands is None else stands.status.value

    async def ended(self, child: str) -> dict[str, Any] | None:
        while True:
            view = await patiently(lambda: self.home.describe(AgentId(child)), "look an agent up")
            if view is None or view.status in FINAL:
                return None if view is None else how_it_ended(self._sealer, view)
            await asyncio.sleep(_SOON_S)  # it has told that it ends, and is about to

    async def _standing(self, agent: str) -> Standing | None:
        return await patiently(lambda: self.home.standing(AgentId(agent)), "look an agent up")

    async def fetch(self) -> None:
        if self._stale or self._fetching is not None:
            await asyncio.shield(self._look())

    def resumed(self, mailing: Mailing) -> None:
        self._stale = True
        self.follow(mailing)

    def waits(self) -> None:
        if self._stale:
            self._look()
        self._idle()

    def emit(self, key: str, attempt: int, event: Any) -> None:
        if self.agent is not None:
            self._events.emit(self.agent.loop, key, attempt, event)

    # --- coming in -------------------------------------------------------------------------------------------------
    def poked(self, poke: Poke | None = None) -> None:
        """There is mail, perhaps. When *poke* has all that the agent has not read yet, nothing needs to be fetched."""
        agent = self.agent
        if agent is None or not agent.waiting_for_letters:  # what nobody waits for stays in the inbox, which is bounded
            self._stale = True
            return
        if poke is not None and poke.mail is not None and poke.birth == self._lock.birth:
            mail, known = poke.mail, agent.letters.cursor
            if mail.place <= known:
                return  # it was fetched meanwhile
            if mail.place == known + 1 and not self._stale and self._fetching is None:
                received = self._read(mail)
                if received is not None:
                    agent.deliver(mail.place, received)
                    self._has_read(agent)
                return
        self._stale = True
        self._look()

    def _look(self) -> asyncio.Task[None]:
        if self._fetching is None:
            self._fetching = self.begin(self._fetch())
            self._fetching.add_done_callback(self._fetched)
        return self._fetching

    def _fetched(self, done: asyncio.Task[None]) -> None:
        self._fetching = None
        if self._stale and not done.cancelled() and self.agent is not None and self.agent.waiting_for_letters:
            self._look()

    async def _fetch(self) -> None:
        agent = self.agent
        assert agent is not None
        more = True
        while more:
            self._stale = False
            after = agent.letters.cursor
            ask = functools.partial(self.home.mail, self._lock.agent, after, limit=_READ)
            found = await patiently(ask, "read an inbox")
            for mail in found:
                received = self._read(mail)
                if received is None:
                    return
                agent.deliver(mail.place, received)
            more = len(found) == _READ and agent.letters.cursor > after
        self._has_read(agent)

    def _has_read(self, agent: Agent) -> None:
        if agent.letters.cursor - self.read_through >= (self._limit // 2 or 1):
            self.begin(self._make_room(agent))

    async def _make_room(self, agent: Agent) -> None:
        """What has come so far may be what nobody wants, and keep out what somebody waits for: only a checkpoint of it lets
        it be trimmed."""
        with contextlib.suppress(AgentStopped):
            await agent.settle()

    def _read(self, letter: Mail) -> Received | None:
        """None: another process can."""
        try:
            body = open_letter(self._sealer, self._lock.agent, letter)
        except LockedLetter as locked:
            self._locked(str(locked))
            return None
        except BadLetter as bad:
            _log.error("letter refused", agent=self._lock.agent, sender=letter.sender, reason=str(bad))
            return Received(letter.sender, letter.birth, "refused", "", None)
        sender = body.id if body.kind == "ended" else sender_of(letter.sender)
        return Received(sender, letter.birth, body.kind, body.id, body.value)

    # --- going out -------------------------------------------------------------------------------------------------
    def follow(self, mailing: Mailing) -> None:
        """A checkpoint with this is durable."""
        if len(self._known) > self._carrying:
            self._known &= {letter.key for letter in mailing.outbox}
        for letter in mailing.outbox:
            if letter.key not in self._known:
                self._known.add(letter.key)
                self._carrying += 1
                waiting = self._carried.get(letter.receiver)
                if waiting is None:
                    waiting = self._carried[letter.receiver] = asyncio.Queue()
                    self.begin(self._carry(letter.receiver, waiting))
                waiting.put_nowait((letter, tuple(self._starting.values())))
                if letter.kind == "spawn":
                    self._starting[letter.receiver] = asyncio.Event()
        if mailing.questions != self._asked:
            if bool(mailing.questions) != bool(self._asked):
                self._noting = self.begin(self._note(self._noting, bool(mailing.questions)))
            self._asked = mailing.questions
            if self._post.asked is not None:
                self._post.asked(self._lock.agent, mailing.questions)
        if mailing.cursor > self.read_through:
            self.read_through = mailing.cursor
            if not self._forgetting:
                self._forgetting = True
                self.begin(self._forget())
            elif self.read_through - self._forgotten >= min(_FORGET_AT, self._limit // 4):
                self._forget_now.set()

    async def told(self) -> None:
        """Wait until everything that the agent told people is in its stream, and whether it asks them is known."""
        await self._events.flush()
        if self._noting is not None:
            await asyncio.wait([self._noting])

    async def _note(self, before: asyncio.Task[None] | None, asking: bool) -> None:
        if before is not None:
            await asyncio.wait([before])
        await patiently(lambda: self.home.asks(self._lock, asking), "say that an agent asks people")

    async def _carry(self, receiver: str, waiting: asyncio.Queue[tuple[Outgoing, tuple[asyncio.Event, ...]]]) -> None:
        """One letter after the other, until there is none."""
        while not waiting.empty():
            letter, after = waiting.get_nowait()
            fresh = True
            if letter.kind == "spawn":
                fresh = await self._spawn(letter)
                self._starting.pop(receiver).set()
            elif letter.kind == "cancel":
                why, until_s = letter.value
                why = why or f"its parent {self._lock.agent} was cancelled"
                deadline_ms = None if until_s is None else round(until_s * 1000)
                await give(self.home, AgentId(receiver), Order(letter.id, OrderKind.CANCEL, why, deadline_ms))
            elif letter.kind == "unanswered":
                owed = Owed(letter.id, receiver, letter.birth)
                told = unanswered_letter(self._sealer, owed, self._lock.birth, letter.value)
                await self.deliver(AgentId(receiver), told, letter.birth)
            else:
                for child in after:
                    await child.wait()
                body = Body(letter.kind, letter.id, letter.value)
                me, passes = self._lock, letter.kind == "withdrawn"
                name = series_name(me.agent, letter.series)
                sealed = seal_letter(
                    self._sealer, AgentId(receiver), name, me.birth, letter.number, body, pressing=passes
                )
                answer = await self.deliver(AgentId(receiver), sealed, letter.birth)
                fresh = isinstance(answer, Delivered) and answer.fresh
                if letter.kind == "question" and not isinstance(answer, Delivered) and self.agent is not None:
                    self.agent.not_answered(letter.id, "before it was asked")
            self._carrying -= 1
            if fresh and self._post.heard is not None:
                self._post.heard(self._lock.agent, letter)
            if self.agent is not None:
                self.agent.accepted(letter)
        del self._carried[receiver]

    async def deliver(self, receiver: AgentId, letter: Letter, birth: int | None) -> Delivered | Gap | Gone:
        """Until it is accepted and its receiver has been told, or can never be."""
        pause_s = _FULL_FIRST_S
        while True:
            answer = await patiently(
                lambda: self.home.deliver(receiver, letter, limit=self._limit, birth=birth), "deliver a letter"
            )
            if not isinstance(answer, Full):
                break
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _FULL_MOST_S)
        if not isinstance(answer, Delivered):
            tell = _log.debug if letter.pressing else _log.warning  # a parent that has ended needs no word of its child
            tell("letter not delivered", agent=self._lock.agent, receiver=receiver, reason=why_not(answer))
            return answer
        delivered, poke = answer, Poke(receiver)
        if delivered.place and birth is not None:
            sent = Mail(delivered.place, letter.sender, letter.birth, letter.number, letter.body)
            poke = Poke(receiver, birth, sent)
        await patiently(lambda: heard_of(self.home, poke, delivered, self._is_here), "tell an agent of a letter")
        return delivered

    def _is_here(self, session: SessionId, poke: Poke) -> bool:
        return session == self._lock.session and self._post.local(poke)

    async def _spawn(self, letter: Outgoing) -> bool:
        """False: it was there."""
        start, me = letter.value, self._lock
        record = StartRecord(
            AgentId(letter.receiver),
            start["program"],
            start["entry"],
            start["args"],
            start["kwargs"],
            self._lane_of(start["program"], start["queue"]),
            self._now_ms(),
            parent=me.agent,
            parent_birth=me.birth,
            run=me.start.run or me.agent,
        )
        record = seal_start(self._sealer, record)
        answer = await patiently(lambda: self.home.create(record), "start an agent")
        if isinstance(answer, Created) and answer.ticket is not None:
            ticket = answer.ticket
            await patiently(lambda: self.home.enqueue(ticket), "enqueue a ticket")
        elif (
            isinstance(answer, Exists) and self.agent is not None and not same_start(self._sealer, answer.start, record)
        ):
            why = f"agent {record.agent} exists already, started by somebody else; choose another agent_id"
            self.agent.not_started(record.agent, why)
        return isinstance(answer, Created) and answer.fresh

    def _lane_of(self, program: str, queue: str | None) -> str:
        """A child of the same program goes where its parent came from; all children are as urgent as their parents."""
        start = self._lock.start
        same = queue_of(start.queue) if program == start.program else program
        return lane(queue or same, priority_of(start.queue))

    async def _forget(self) -> None:
        """Not for each letter: what was read may stay for a moment, as long as it keeps no room from others."""
        while self._forgotten < self.read_through:
            if self.read_through - self._forgotten < min(_FORGET_AT, self._limit // 4):
                self._forget_now.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._forget_now.wait(), _FORGET_AFTER_S)
            through = self.read_through
            await patiently(functools.partial(self.home.forget_mail, self._lock, through), "trim an inbox")
            self._forgotten = through
        self._forgetting = False

    # --- the end ---------------------------------------------------------------------------------------------------
    async def farewell(self, value: dict[str, Any]) -> None:
        """Tell the parent, if there is one, how the agent has ended."""
        me = self._lock
        if me.start.parent:
            letter = farewell(self._sealer, me.start, me.birth, value)
            await self.deliver(AgentId(me.start.parent), letter, me.start.parent_birth)

    def close(self) -> None:
        """Deliver nothing more: the agent goes on elsewhere."""
        for task in list(self._tasks):
            task.cancel()

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do *work* beside the agent, until `close`."""
        # in a context of its own: what the agent asks for is done beside it, and is no task of the agent
        task = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
