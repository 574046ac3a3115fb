"""What the in-memory home remembers, and the one place where a fence is minted. Used by its two contracts only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from playbooks_providers.clock import Clock, SystemClock
from playbooks_providers.errors import Unreachable
from playbooks_providers.events import Event
from playbooks_providers.ids import AgentId, CheckpointId, Nonce, SessionId
from playbooks_providers.letters import Mail, Poke
from playbooks_providers.loads import Offer
from playbooks_providers.model import Choice, Entry, Order, ProgramInfo, SessionInfo, StartRecord, Status, Ticket


@dataclass(slots=True)
class AgentRecord:
    """One agent. ``last`` is the id of its newest entry, trimmed or not; entries are kept by id, oldest first.

    ``accepted`` counts the letters of its whole life, ``senders`` knows the birth and the last number of each, and
    ``obeyed`` is the id of the last order that was.
    """

    start: StartRecord
    status: Status
    fence: int
    minted_from: int = 0
    by_letter: bool = False
    session: SessionId | None = None
    nonce: Nonce | None = None
    attempts: int = 0
    resume_from: CheckpointId | None = None
    choice: Choice = Choice.RESUME
    due_ms: int | None = None
    why: str = ""
    final: Entry | None = None
    last: CheckpointId = field(default_factory=lambda: CheckpointId(0, 0))
    entries: dict[CheckpointId, Entry] = field(default_factory=dict)
    birth: int = 0
    inbox: list[Mail] = field(default_factory=list)
    accepted: int = 0
    senders: dict[str, tuple[int, int]] = field(default_factory=dict)
    order: Order | None = None
    obeyed: str = ""
    events: list[Event] = field(default_factory=list)

    @property
    def newest(self) -> Entry | None:
        return next(reversed(self.entries.values()), None)

    @property
    def ticket(self) -> Ticket:
        return Ticket(self.start.agent, self.fence, self.start.queue)

    @property
    def goes_on(self) -> bool:
        """By itself: somebody takes it, or its timer makes it ready."""
        return self.status is Status.READY or (self.status is Status.WAITING and self.due_ms is not None)

    def unread(self, through: int | None) -> bool:
        """Whether there is mail beyond that place."""
        return through is not None and any(mail.place > through for mail in self.inbox)

    def owned(self, fence: int, session: SessionId | None, nonce: Nonce) -> bool:
        return self.status is Status.RUNNING and self.fence == fence and self.session == session and self.nonce == nonce


@dataclass(slots=True)
class SessionRecord:
    info: SessionInfo
    beats: int = 0
    programs: tuple[ProgramInfo, ...] = ()
    offer: Offer | None = None
    draining: bool = False


class MemoryStore:
    """All that there is. Give each part its own contract: `MemoryCheckpoints(store)`, `MemoryCoordination(store)`."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock: Clock = clock if clock is not None else SystemClock()
        self.agents: dict[AgentId, AgentRecord] = {}
        self.sources: dict[str, str] = {}
        self.queues: dict[str, list[Ticket]] = {}
        self.pending: dict[str, tuple[SessionId, Ticket]] = {}  # by the ticket's entry
        self.caps: dict[str, int] = {}
        self.deleted: dict[AgentId, int] = {}  # the fence that it had
        self.asking: dict[AgentId, int] = {}  # and the fence of who said so
        self.pokes: dict[SessionId, list[Poke]] = {}
        self.sessions: dict[SessionId, SessionRecord] = {}
        self.session_timeout_s: float | None = None
        self.lease: tuple[Nonce, float] | None = None  # holder, end on the monotonic clock
        self.entry_count = 0
        self._reachable = True
        self._waiting: set[asyncio.Future[None]] = set()

    def mint(
        self, agent: AgentRecord, status: Status, choice: Choice | None = None, *, by_letter: bool = False
    ) -> None:
        """The next fence: from here on every earlier owner is refused (DESIGN 4.1).

        What a person has chosen before holds until an owner has written something, or a person chooses anew."""
        newest = agent.newest
        if agent.last.fence == agent.fence and agent.last.seq > 0:
            agent.attempts = 0  # its owner has written something
            agent.choice = Choice.RESUME
        if choice is not None:
            agent.choice = choice
        agent.minted_from, agent.by_letter = agent.fence, by_letter
        agent.fence = max(agent.fence + 1, self.clock.now_ms())
        agent.resume_from = None if newest is None or agent.choice is Choice.RESTART else newest.id
        agent.last = CheckpointId(agent.fence, 0)
        agent.status = status
        agent.session = agent.nonce = agent.due_ms = None

    # --- being there or not ---------------------------------------------------------------------------------------
    @property
    def reachable(self) -> bool:
        return self._reachable

    def require(self) -> None:
        if not self._reachable:
            raise Unreachable("the in-memory store is in an outage that its test has asked for")

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Unreachable while it is open: reads raise, saves wait."""
        self._reachable = False
        try:
            yield
        finally:
            self._reachable = True
            self.changed()

    async def until_reachable(self) -> None:
        await self.wait_until(lambda: self._reachable, timeout_s=None)

    # --- waiting for something to change --------------------------------------------------------------------------
    def changed(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    async def wait_until(self, condition: Callable[[], bool], timeout_s: float | None) -> None:
        """Until *condition* holds or the time is over. Futures of the running loop, since the store outlives loops."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout_s is None else loop.time() + timeout_s
        while not condition():
            future = loop.create_future()
            self._waiting.add(future)
            try:
                async with asyncio.timeout_at(deadline):
                    await future
            except TimeoutError:
                return
            finally:
                self._waiting.discard(future)
