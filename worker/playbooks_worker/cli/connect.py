"""Opens the home of state that a command looks at: Redis, or a folder of `run`. The wiring of the short commands.

Where Redis is: --redis-url, else the environment, else `playbooks.toml`, else a `dev` that runs in this folder, else the
usual place; where nothing answers there, the agents that `run` keeps in this folder are meant. The signing key is found the
same way; without one, what agents ended with is shown unverified, and said to be.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from playbooks_worker.cli.output import CommandError, Exit, no_such_agent

if TYPE_CHECKING:
    from playbooks_providers import contracts
    from playbooks_providers.contracts import Checkpoints, Coordination
    from playbooks_providers.envelope import Sealer
    from playbooks_providers.errors import Unreachable
    from playbooks_providers.filesystem import FilesystemCoordination
    from playbooks_providers.ids import AgentId
    from playbooks_providers.model import AgentView
    from playbooks_providers.settings import Settings

TIMEOUT_S = 3.0  # a person waits; the daemons are more patient
_AT_ONCE = 64


HomeT = TypeVar("HomeT", bound="contracts.Home", covariant=True)


@dataclass(frozen=True, slots=True)
class Home(Generic[HomeT]):
    """A home of state, with the key that checks what is read from it (None: there is none here). *folder*: where it is, when
    it is one of `run`."""

    coordination: HomeT
    checkpoints: Checkpoints
    sealer: Sealer | None
    folder: Path | None = None

    def there(self) -> str:
        """What a command that a person is told to type next needs besides."""
        return "" if self.folder is None else f" --storage-path {shlex.quote(str(self.folder))}"

    def see(self, agent: str) -> str:
        return f"See it: playbooksctl wait {agent}{self.there()}"

    def anew(self, view: AgentView) -> str:
        """The command that starts another one like it."""
        program = view.start.program
        if self.folder is None:
            return f"playbooksctl submit {program}"
        return f"playbooksctl run {program_file(program)}{self.there()}"

    def goes_on(self, view: AgentView) -> str:
        """The command by which an agent of a folder goes on, when no process runs it."""
        return f"playbooksctl run {program_file(view.start.program)} --resume {view.agent}{self.there()}"


if TYPE_CHECKING:
    AnyHome: TypeAlias = Home[contracts.Home]
    RedisHome: TypeAlias = Home[Coordination]


def program_file(program: str) -> str:
    """*program* as a person would name it here."""
    return f"{program}.py" if Path(f"{program}.py").is_file() else program


@asynccontextmanager
async def redis_home(redis_url: str | None) -> AsyncIterator[RedisHome]:
    """Raises `ConfigError` and, when the server does not answer now, `Unreachable`."""
    from playbooks_providers.redis import connect, wait_for
    from playbooks_providers.settings import load_settings

    _quiet_logs()
    settings = load_settings({"redis": {"url": redis_url}}, Path.cwd())
    days = settings.durability.keep_finished_days
    home = connect(
        settings.redis.url,
        prefix=settings.redis.prefix,
        retention_s=days * 24 * 3600,
        timeout_s=TIMEOUT_S,
        wait=wait_for(settings.durability.wait, settings.durability.wait_replicas),
    )
    try:
        await home.coordination.ping()
        yield Home(home.coordination, home.checkpoints, _sealer(settings))
    finally:
        await home.close()


async def known(home: AnyHome, agent: str) -> AgentView:
    """The agent of that id. Raises `InvalidId` and `UnknownAgent`."""
    from playbooks_providers import ids
    from playbooks_providers.errors import UnknownAgent

    view = await home.coordination.describe(ids.agent_id(agent))
    if view is None:
        raise UnknownAgent(agent)
    return view


async def all_known(home: AnyHome) -> list[AgentView]:
    """Every agent, in no order; one whose retention has ended meanwhile is left out."""
    return await described(home, await home.coordination.agents())


async def described(home: AnyHome, agents: Iterable[AgentId]) -> list[AgentView]:
    """Those of *agents* that there are, in their order."""
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(agent: AgentId) -> AgentView | None:
        async with room:
            return await home.coordination.describe(agent)

    found = await asyncio.gather(*map(one, agents))
    return [view for view in found if view is not None]


def signing(home: AnyHome) -> Sealer:
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
    from playbooks_providers.errors import ConfigError
    from playbooks_providers.settings import encryption_keys, ensure_signing_key, signing_key

    key = signing_key(settings)
    if key is None and folder is not None and (folder / ".signing_key").exists():
        key = ensure_signing_key(folder)
    if key is None and encryption_keys(settings):
        raise ConfigError(
            "durability.encryption_key is of no use without the signing key: set both, as the workers have"
        )
    return Sealer.of(key.get_secret_value(), encryption_keys(settings)) if key is not None else None


def _quiet_logs() -> None:
    """What the providers log would go to stdout by default, between a command's own lines."""
    import logging

    from playbooks_providers import logs

    logs.configure(level=logging.WARNING)


@asynccontextmanager
async def home_of(storage_path: Path | None, redis_url: str | None) -> AsyncIterator[AnyHome]:
    """The folder *storage_path* when one is named, else Redis; where nobody has said which Redis, and none is at the usual
    place, the folder of `run` if there is one here."""
    from playbooks_providers.errors import UnknownAgent, Unreachable

    async with AsyncExitStack() as opened:
        home: AnyHome
        try:
            home = (
                folder_home(storage_path)
                if storage_path is not None
                else await opened.enter_async_context(redis_home(redis_url))
            )
        except Unreachable as error:
            home = folder_home(_folder_here(redis_url, error))
        try:
            yield home
        except UnknownAgent as unknown:
            raise no_such_agent(unknown.agent, home.there()) from unknown


def _folder_here(redis_url: str | None, unreachable: Unreachable) -> Path:
    """The folder of `run`, if nobody has said that Redis is meant. Raises *unreachable* where there is none."""
    from playbooks_providers.settings import load_settings

    settings, here = load_settings({}, Path.cwd()), Path.cwd()
    path = settings.durability.storage_path
    if redis_url is not None or not path.is_dir():
        raise unreachable
    path = path.relative_to(here) if path.is_relative_to(here) else path
    if "redis.url" in settings.sources:
        hint = f"The agents that `run` keeps here are shown with --storage-path {shlex.quote(str(path))}."
        raise CommandError(str(unreachable), Exit.SET_ASIDE, kind="Unreachable", hint=hint) from unreachable
    return path


def folder_home(path: Path) -> Home[FilesystemCoordination]:
    """The agents that `run` keeps in a folder. Raises `StorageFailed`."""
    from playbooks_providers.errors import StorageFailed
    from playbooks_providers.filesystem import FilesystemCoordination
    from playbooks_providers.settings import load_settings

    if not path.is_dir():
        raise StorageFailed(f"no such folder: {path}")
    _quiet_logs()
    coordination, checkpoints = FilesystemCoordination.open(path)
    return Home(coordination, checkpoints, _sealer(load_settings({}, Path.cwd(), dev_file=False), path), path)
