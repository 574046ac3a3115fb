"""What the kits need of a home, and how they make agents and entries. Used by the kits and their subclasses."""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from playbooks_providers import contracts
from playbooks_providers.contracts import Checkpoints, Coordination
from playbooks_providers.envelope import Header, Kind, Sealer
from playbooks_providers.ids import AgentId, CheckpointId, SessionId, new_nonce, new_session_id
from playbooks_providers.model import Created, Entry, Lock, Minted, StartRecord, Status, Taken, Ticket

KEY = "a key for the conformance kit, of no secrecy"
STORY_LIMIT_S = 120.0


class Home(Protocol):
    """An open provider. One home is one store: all that is asked of it in a test happens in the same place."""

    @property
    def checkpoints(self) -> Checkpoints: ...

    async def own(self, agent: AgentId) -> Lock:
        """Become the newest owner of *agent* (created when there is none): from here on every earlier owner is out."""


class AgentsHome(Home, Protocol):
    """A home that keeps `contracts.Home`. ``statuses``: in which an agent can be there."""

    @property
    def coordination(self) -> contracts.Home: ...

    @property
    def inboxes(self) -> contracts.Home: ...

    @property
    def statuses(self) -> Sequence[Status]: ...

    async def take(self, ticket: Ticket) -> Lock:
        """Open *ticket*, as an owner would that comes after one whose process died."""


OneHome = TypeVar("OneHome")


class Kit(abc.ABC, Generic[OneHome]):
    """Stories about a home. Subclass a kit in a test module, and say there how to open one."""

    @abc.abstractmethod
    def home(self) -> AbstractAsyncContextManager[OneHome]:
        """An empty one, closed behind each story."""


def _no_clock_of_its_own(seconds: float) -> None:
    """Real time passes by itself; the kit waits for what comes of it."""


@dataclass(frozen=True, slots=True)
class CoordinatedHome:
    """A home with both contracts. ``pass_time`` turns the store's clock when that can be turned."""

    checkpoints: Checkpoints
    coordination: Coordination
    pass_time: Callable[[float], None] = _no_clock_of_its_own

    @property
    def statuses(self) -> Sequence[Status]:
        return tuple(Status)

    @property
    def inboxes(self) -> Coordination:
        return self.coordination

    @property
    def events(self) -> Coordination:
        return self.coordination

    async def own(self, agent: AgentId) -> Lock:
        created = await self.coordination.create(start_record(agent))
        if isinstance(created, Created) and created.ticket is not None:
            return await self.take(created.ticket)
        view = await self.coordination.describe(agent)
        assert view is not None and view.status is Status.RUNNING, view
        woken = await self.coordination.wake(agent, view.fence, view.session)
        assert isinstance(woken, Minted), woken
        return await self.take(woken.ticket)

    async def take(self, ticket: Ticket, session: SessionId | None = None) -> Lock:
        taken = await self.coordination.take(ticket, session or new_session_id(), new_nonce())
        assert isinstance(taken, Taken), taken
        return taken.lock


def start_record(agent: str, *, entry: str = "main", queue: str = "q", **kwargs: Any) -> StartRecord:
    return StartRecord(AgentId(agent), "program", entry, [1, "two"], kwargs, queue, 1_700_000_000_000)


def entry(lock: Lock, seq: int, payload: bytes = b"state", *, kind: Kind = "step", result: Any = None) -> Entry:
    """A signed checkpoint as *lock*'s owner would write it."""
    header = Header(
        agent=lock.agent,
        program=lock.start.program,
        fence=lock.fence,
        seq=seq,
        nonce=lock.nonce,
        time_ms=1_700_000_000_000 + seq,
        kind=kind,
        stack_json=f'[["program:main",{seq},"await step({seq})",0]]',
        lowering=1,
        attempts=lock.attempts,
        result=result,
    )
    h, d = Sealer(KEY).seal(header, payload)
    return Entry(CheckpointId(lock.fence, seq), h, d)


def story(test: Callable[[Any, Any], Awaitable[None]]) -> Callable[[Any], None]:
    """Makes a test method of an async method that takes an open home."""

    def run(self: Any) -> None:
        async def main() -> None:
            async with asyncio.timeout(STORY_LIMIT_S), self.home() as home:
                await test(self, home)

        asyncio.run(main())

    # Not functools.wraps: pytest would look through it, and ask for a fixture called home.
    run.__name__, run.__qualname__, run.__doc__ = test.__name__, test.__qualname__, test.__doc__
    return run
