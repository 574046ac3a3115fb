"""What a person should know about the server they gave us, asked once at start-up, where asking is allowed."""

from __future__ import annotations

from typing import Any

from playbooks_providers.errors import ProviderError, Unreachable
from playbooks_providers.redis.client import Server
from playbooks_providers.redis.wait import Wait

_LARGEST_VALUE = 512 << 20  # bytes that Redis takes in one value, unless it was told less


async def unable(server: Server, wait: Wait) -> str | None:
    """Why *server* can never answer *wait*, with what to do; None when it can. Raises `Unreachable`."""
    if wait.kind != "disk":
        return None
    reply = await _refusal(server, "WAITAOF", 1, 0, 1)
    if "unknown command" in reply.lower():
        return f"durability.wait = disk needs WAITAOF: Redis 7.2 or newer, or Valkey 7.2 or newer, at {server.address}"
    if "appendonly" in reply:
        return (
            f"durability.wait = disk needs an append-only file: set appendonly to yes on the Redis at {server.address}"
        )
    synced = await _ask(server, "CONFIG GET", "appendfsync")
    if synced is not None and _text(next(iter(_values(synced)), "")) == "no":
        return (
            "durability.wait = disk needs an append-only file that is synced: set appendfsync to everysec or always on "
            f"the Redis at {server.address}"
        )
    return None


async def advice(server: Server, wait: Wait | None = None) -> list[str]:
    """One line per finding, saying what to do; empty when all is well or the server does not tell. Raises `Unreachable`."""
    found: list[str] = []
    info = await _ask(server, "INFO") or {}
    version = str(info.get("redis_version", ""))
    if version and tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < (6, 2):
        found.append(f"Redis {version} is too old: use Redis 6.2 or newer, or Valkey 7.2 or newer")
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        found.append(f"maxmemory-policy is {policy}: Redis may delete agents; set it to noeviction")
    if info.get("aof_enabled") == 0:
        saves = await _ask(server, "CONFIG GET", "save")
        if saves is not None and not any(_values(saves)):
            found.append("persistence is off: when this Redis ends, all agents are lost; set appendonly to yes")
        else:
            found.append("appendonly is off: a crash of Redis loses everything since its last snapshot; set it to yes")
    if wait is not None and (why := await unable(server, wait)):
        found.append(f"{why}; until then no agent goes on")
    replicas = int(info.get("connected_slaves", wait.replicas if wait is not None else 0))
    if wait is not None and wait.kind == "replica" and replicas < wait.replicas:
        found.append(
            f"durability.wait = replica, and {replicas} of {wait.replicas} replicas are there: no agent goes on"
        )
    limit = await _ask(server, "CONFIG GET", "proto-max-bulk-len")
    bulk = int(next(iter(_values(limit)), _LARGEST_VALUE)) if limit else _LARGEST_VALUE
    if bulk < _LARGEST_VALUE:
        found.append(
            f"proto-max-bulk-len is {bulk / 1e6:g} MB: an agent with a larger checkpoint fails; set it to 512mb, or "
            "durability.max_checkpoint_size_mb below it to be told which variables are that big"
        )
    return found


async def _ask(server: Server, *command: str) -> Any:
    try:
        return await server.command(*command)
    except Unreachable:
        raise
    except ProviderError:  # managed servers forbid such questions
        return None


async def _refusal(server: Server, *command: str | int) -> str:
    """The server's words when it refuses *command*, else empty."""
    try:
        await server.command(*command)
    except Unreachable:
        raise
    except ProviderError as error:
        return str(error)
    return ""


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _values(answer: Any) -> list[Any]:
    return list(answer.values()) if isinstance(answer, dict) else list(answer)[1::2]
