"""The histories of agents in Redis: one stream each, whose ids are the fence (DESIGN 4.1).

Implements `contracts.Checkpoints`. Writes go through the writer, reads through the server's main pool. A parked agent
and one that has ended have no stream; what their `state` keeps is read instead.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from typing import Any

from playbooks_providers.answer import Answer
from playbooks_providers.ids import AgentId, CheckpointId
from playbooks_providers.model import Entry, Lock, Lost, Saved
from playbooks_providers.redis import state
from playbooks_providers.redis.client import Server
from playbooks_providers.redis.keys import Keys
from playbooks_providers.redis.scripts import script
from playbooks_providers.redis.writer import Writer

_AT_ONCE = 200


class RedisCheckpoints:
    def __init__(self, server: Server, keys: Keys, writer: Writer) -> None:
        self._server = server
        self._keys = keys
        self._writer = writer

    def save(self, lock: Lock, entry: Entry, *, oldest: CheckpointId) -> Answer[Saved | Lost]:
        if entry.id.fence != lock.fence or oldest > entry.id:
            raise ValueError(f"entry {entry.id} under fence {lock.fence}, oldest {oldest}")
        writer, agent = self._writer, lock.agent
        owned = writer.known(agent, lock.fence)
        if owned is None:
            keys = self._keys.agent(agent)
            owned = writer.own(agent, lock.fence, keys.checkpoints, keys.meta)
        return writer.write(owned, entry.id, oldest, lock.nonce, entry.header, entry.payload)

    async def load(self, agent: AgentId, at: CheckpointId | None = None) -> Entry | None:
        keys = self._keys.agent(agent)
        if at is None:
            top = await self._server.command("XREVRANGE", keys.checkpoints, "+", "-", "COUNT", 1)
            if top and _id(top[0]).seq > 0:
                return _entry(top[0])
            if not top:
                folded = await self._folded(keys.state)
                return folded[-1] if folded else None
            after = top[0][1][b"from"].decode()
            if not after:
                return None
            at = CheckpointId.parse(after)
        found = await self._server.command("XRANGE", keys.checkpoints, str(at), str(at))
        if found:
            return _entry(found[0]) if at.seq > 0 else None
        return next((entry for entry in await self._folded(keys.state) if entry.id == at), None)

    async def load_many(self, agent: AgentId, ids: Sequence[CheckpointId]) -> Sequence[Entry]:
        keys = self._keys.agent(agent)
        answers = await self._server.commands([("XRANGE", keys.checkpoints, str(id), str(id)) for id in ids])
        found = [_entry(rows[0]) for rows in answers if rows and _id(rows[0]).seq > 0]
        return found or [entry for entry in await self._folded(keys.state) if entry.id in ids]

    async def list(self, agent: AgentId) -> Sequence[Entry]:
        keys = self._keys.agent(agent)
        flat = await self._server.run(script("headers"), [keys.checkpoints], [])
        pairs = zip(flat[::2], flat[1::2], strict=True)
        kept = [Entry(CheckpointId.parse(id.decode()), header, b"") for id, header in pairs]
        return kept or [Entry(entry.id, entry.header, b"") for entry in await self._folded(keys.state)]

    async def cleanup(self, lock: Lock, *, oldest: CheckpointId) -> None:
        keys = self._keys.agent(lock.agent)
        await self._server.run(
            script("trim"), [keys.meta, keys.checkpoints], [lock.fence, f"{oldest.fence}-{max(oldest.seq, 0)}"]
        )

    async def delete(self, agent: AgentId) -> None:
        keys = self._keys.agent(agent)
        await self._server.run(script("forget"), [keys.checkpoints, keys.state], [])

    async def keep_sources(self, sources: Mapping[str, str]) -> None:
        pairs = list(sources.items())
        for first in range(0, len(pairs), _AT_ONCE):
            args = [text for pair in pairs[first : first + _AT_ONCE] for text in pair]
            await self._server.run(script("put_hash"), [self._keys.sources], [0, *args])

    async def source(self, fingerprint: str) -> str | None:
        text = await self._server.command("HGET", self._keys.sources, fingerprint)
        return None if text is None else text.decode(errors="replace")

    async def _folded(self, key: str) -> builtins.list[Entry]:
        """What is kept of an agent that has no stream, oldest first."""
        kept = state.parse(await self._server.command("GET", key) or b"")
        named = {name: [value for other, value in kept if other == name] for name, _ in kept}
        whole = (named.get(name, []) for name in ("id", "h", "d"))
        entries = [Entry(CheckpointId.parse(id.decode()), h, d) for id, h, d in zip(*whole, strict=True)]
        if "final" in named:
            entries.append(Entry(CheckpointId.parse(named["final_id"][0].decode()), named["final"][0], b""))
        return entries


def _id(row: Any) -> CheckpointId:
    return CheckpointId.parse(row[0].decode())


def _entry(row: Any) -> Entry:
    """A row of XRANGE as redis-py gives it: (id, fields)."""
    return Entry(_id(row), row[1][b"h"], row[1][b"d"])
