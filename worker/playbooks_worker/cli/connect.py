"""Opens the home of state that a command looks at: Redis, or a folder of `run`. The wiring of the short commands.

Where Redis is: --redis-url, else the environment, else `playbooks.toml`, else a `dev` that runs in this folder. The
signing key is found the same way; without one, what agents ended with is shown unverified, and said to be.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from playbooks_worker.cli.output import CommandError, Exit

if TYPE_CHECKING:
    from playbooks_providers.contracts import Checkpoints, Coordination, Events
    from playbooks_providers.envelope import Sealer
    from playbooks_providers.filesystem import (
        FilesystemAgents,
        FilesystemCheckpoints,
        FilesystemEvents,
        FilesystemInboxes,
    )
    from playbooks_providers.ids import AgentId, SessionId
    from playbooks_providers.letters import Standing
    from playbooks_providers.model import AgentView, Created, Entry, Exists, SessionInfo, StartRecord
    from playbooks_providers.settings import Settings
    from playbooks_worker.host.answers import Answerable

TIMEOUT_S = 3.0  # a person waits; the daemons are more patient
_AT_ONCE = 64


class Agents(Protocol):
    """What `list` and `show` need to know, of any home of state."""

    @property
    def sealer(self) -> Sealer | None: ...
    @property
    def checkpoints(self) -> Checkpoints: ...
    @property
    def inboxes(self) -> Answerable: ...
    @property
    def events(self) -> Events: ...
    async def fork(self, start: StartRecord, entry: Entry) -> Created | Exists: ...
    async def agents(self) -> Sequence[AgentId]: ...
    async def standings(self) -> Mapping[AgentId, Standing]: ...
    async def asking(self) -> Sequence[AgentId]: ...
    async def describe(self, agent: AgentId) -> AgentView | None: ...
    async def session(self, session: SessionId) -> SessionInfo | None: ...


@dataclass(frozen=True, slots=True)
class Home:
    """Redis, with the key that checks what is read from it (None: there is none here)."""

    coordination: Coordination
    checkpoints: Checkpoints
    sealer: Sealer | None

    async def fork(self, start: StartRecord, entry: Entry) -> Created | Exists:
        from playbooks_providers.model import Created

        answer = await self.coordination.fork(start, entry)
        if isinstance(answer, Created) and answer.ticket is not None:
            await self.coordination.enqueue(answer.ticket)
        return answer

    async def agents(self) -> Sequence[AgentId]:
        return await self.coordination.agents()

    async def standings(self) -> Mapping[AgentId, Standing]:
        return await self.coordination.standings()

    async def asking(self) -> Sequence[AgentId]:
        return await self.coordination.asking()

    @property
    def inboxes(self) -> Coordination:
        return self.coordination

    @property
    def events(self) -> Coordination:
        return self.coordination

    async def describe(self, agent: AgentId) -> AgentView | None:
        return await self.coordination.describe(agent)

    async def session(self, session: SessionId) -> SessionInfo | None:
        return await self.coordination.session(session)


@asynccontextmanager
async def redis_home(redis_url: str | None) -> AsyncIterator[Home]:
    """Raises `ConfigError` and, when the server does not answer now, `Unreachable`."""
    from playbooks_providers.redis import connect
    from playbooks_providers.settings import load_settings

    _quiet_logs()
    settings = load_settings({"redis": {"url": redis_url}}, Path.cwd())
    days = settings.durability.keep_finished_days
    home = connect(settings.redis.url, prefix=settings.redis.prefix, retention_s=days * 24 * 3600, timeout_s=TIMEOUT_S)
    try:
        await home.coordination.ping()
        yield Home(home.coordination, home.checkpoints, _sealer(settings))
    finally:
        await home.close()


async def known(home: Agents, agent: str) -> AgentView:
    """The agent of that id. Raises `InvalidId` and `UnknownAgent`."""
    from playbooks_providers import ids
    from playbooks_providers.errors import UnknownAgent

    view = await home.describe(ids.agent_id(agent))
    if view is None:
        raise UnknownAgent(agent)
    return view


async def all_known(home: Agents) -> list[AgentView]:
    """Every agent, in no order; one whose retention has ended meanwhile is left out."""
    return await described(home, await home.agents())


async def described(home: Agents, agents: Iterable[AgentId]) -> list[AgentView]:
    """Those of *agents* that there are, in their order."""
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(agent: AgentId) -> AgentView | None:
        async with room:
            return await home.describe(agent)

    found = await asyncio.gather(*map(one, agents))
    return [view for view in found if view is not None]


def signing(home: Agents) -> Sealer:
    """What verifies checkpoints here. Raises `CommandError`: nothing is unpickled, not even its index, unverified."""
    if home.sealer is None:
        raise CommandError(
            "no signing key here, and no checkpoint is read without its signature",
            hint="Set PLAYBOOKS_DURABILITY__SIGNING_KEY to the workers' key",
        )
    return home.sealer


def _sealer(settings: Settings, folder: Path | None = None) -> Sealer | None:
    """With the configured key, else the one that `run` made in *folder*. Makes none."""
    from playbooks_providers.envelope import Sealer
    from playbooks_providers.settings import ensure_signing_key, signing_key

    key = signing_key(settings)
    if key is None and folder is not None and (folder / ".signing_key").exists():
        key = ensure_signing_key(folder)
    return Sealer(key.get_secret_value()) if key is not None else None


def _quiet_logs() -> None:
    """What the providers log would go to stdout by default, between a command's own lines."""
    import logging

    from playbooks_providers import logs

    logs.configure(level=logging.WARNING)


@asynccontextmanager
async def home_of(storage_path: Path | None, redis_url: str | None) -> AsyncIterator[Agents]:
    """The folder *storage_path* when one is named, else Redis."""
    from playbooks_providers.errors import Unreachable

    if storage_path is not None:
        yield _Folder.open(storage_path)
        return
    try:
        async with redis_home(redis_url) as home:
            yield home
    except Unreachable as error:
        if redis_url is None and Path(".checkpoints").is_dir():
            hint = "The agents that `run` keeps here are shown with --storage-path .checkpoints."
            raise CommandError(str(error), Exit.SET_ASIDE, kind="Unreachable", hint=hint) from error
        raise


@dataclass(frozen=True, slots=True)
class _Folder:
    """The agents that `run` keeps in a folder: they have no sessions."""

    files: FilesystemAgents
    checkpoints: FilesystemCheckpoints
    inboxes: FilesystemInboxes
    events: FilesystemEvents
    sealer: Sealer | None

    @classmethod
    def open(cls, path: Path) -> _Folder:
        from playbooks_providers.errors import StorageFailed
        from playbooks_providers.filesystem import (
            FilesystemAgents,
            FilesystemCheckpoints,
            FilesystemEvents,
            FilesystemInboxes,
            FilesystemStore,
        )
        from playbooks_providers.settings import load_settings

        if not path.is_dir():
            raise StorageFailed(f"no such folder: {path}")
        _quiet_logs()
        store = FilesystemStore(path)
        sealer = _sealer(load_settings({}, Path.cwd(), dev_file=False), path)
        checkpoints = FilesystemCheckpoints(store)
        files = FilesystemAgents(store, checkpoints)
        return cls(files, checkpoints, FilesystemInboxes(store, files), FilesystemEvents(store), sealer)

    async def fork(self, start: StartRecord, entry: Entry) -> Created | Exists:
        return await self.files.fork(start, entry)

    async def agents(self) -> Sequence[AgentId]:
        return await self.files.agents()

    async def standings(self) -> Mapping[AgentId, Standing]:
        return await self.files.standings()

    async def asking(self) -> Sequence[AgentId]:
        return await self.files.agents()

    async def describe(self, agent: AgentId) -> AgentView | None:
        return await self.files.describe(agent)

    async def session(self, session: SessionId) -> SessionInfo | None:
        return None
