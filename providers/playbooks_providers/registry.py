"""Finds a home of state by its name (`durability.storage_type`), in the entry-point group `playbooks.extensions`.

Called by wiring modules that let the user choose. Third parties add a home by an entry point of that group whose object is
a `HomeFactory`; ours are entry points too, and are made here. No adapter is imported before it is asked for.
"""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, cast

from playbooks_providers.contracts import Checkpoints, Coordination
from playbooks_providers.errors import ConfigError
from playbooks_providers.settings import Settings

GROUP = "playbooks.extensions"


@dataclass(frozen=True, slots=True)
class Home:
    """An open home. ``coordination`` is None where the home has only its own lock: one process at a time."""

    checkpoints: Checkpoints
    coordination: Coordination | None
    close: Callable[[], Awaitable[None]]


class HomeFactory(Protocol):
    def __call__(self, settings: Settings) -> Home:
        """Open the home that *settings* describe. Raises `ConfigError`."""


def known_homes() -> Mapping[str, EntryPoint]:
    """The homes that are installed, by name. Raises `ConfigError` when two packages offer the same name."""
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            raise ConfigError(
                f"two installed packages offer the storage type {point.name}: {_origin(other)} and {_origin(point)};"
                " uninstall one of them"
            )
    return found


def open_home(settings: Settings) -> Home:
    """The home named by ``durability.storage_type``. Raises `ConfigError`, naming those that are there."""
    name = settings.durability.storage_type
    homes = known_homes()
    if name not in homes:
        near = difflib.get_close_matches(name, homes, n=1)
        hint = f"did you mean {near[0]}?" if near else f"installed are {', '.join(sorted(homes)) or 'none'}"
        where = settings.sources.get("durability.storage_type", "default")
        raise ConfigError(f"unknown storage type {name!r} ({where}): {hint}")
    try:
        factory = cast("HomeFactory", homes[name].load())
    except Exception as error:  # whatever a stranger's module raises at import
        raise ConfigError(f"the storage type {name} of {_origin(homes[name])} cannot be loaded: {error!r}") from error
    return factory(settings)


def filesystem(settings: Settings) -> Home:
    from playbooks_providers.filesystem import FilesystemCheckpoints, FilesystemStore

    return Home(FilesystemCheckpoints(FilesystemStore(settings.durability.storage_path)), None, _nothing_to_close)


def memory(settings: Settings) -> Home:
    from playbooks_providers.memory import MemoryCheckpoints, MemoryCoordination, MemoryStore

    store = MemoryStore()
    return Home(MemoryCheckpoints(store), MemoryCoordination(store), _nothing_to_close)


def redis(settings: Settings) -> Home:
    from playbooks_providers.redis import connect, wait_for

    durability = settings.durability
    home = connect(
        settings.redis.url,
        prefix=settings.redis.prefix,
        retention_s=durability.keep_finished_days * 24 * 3600,
        wait=wait_for(durability.wait, durability.wait_replicas),
    )
    return Home(home.checkpoints, home.coordination, home.close)


async def _nothing_to_close() -> None:
    """These homes hold nothing that outlives the process."""


def _origin(point: EntryPoint) -> str:
    package = point.dist.name if point.dist is not None else "an unknown package"
    return f"{package} ({point.value})"
