"""Sessions and what they host, in Redis: counted heartbeats, no clock (DESIGN 4.2).

The fourth part of `contracts.Coordination`. Heartbeats have a pool of their own: they must not wait behind anything.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from playbooks_providers.ids import SessionId
from playbooks_providers.model import ProgramInfo, SessionInfo
from playbooks_providers.redis.agents import Room
from playbooks_providers.redis.scripts import script

_AFTERLIFE_S = 24 * 3600  # a buried session can still be looked at for a day


class Sessions(Room):
    async def register(self, info: SessionInfo) -> None:
        key = self._keys.session(info.session)
        fields: list[str | bytes | int] = []
        for name, value in asdict(info).items():
            fields += [name, value]
        # mortal until the session exists, so that a registration cut short leaves nothing behind
        await self._server.run(script("put_hash"), [key], [_AFTERLIFE_S, *fields], "beats")
        await self._server.run(script("open_session"), [self._keys.sessions], [info.session], "beats")
        await self._server.command("PERSIST", key, pool="beats")

    async def beat(self, sessions: Sequence[SessionId]) -> tuple[frozenset[SessionId], float | None]:
        refused: Any = []
        if sessions:
            refused = await self._server.run(script("beat"), [self._keys.sessions], list(sessions), "beats")
        timeout = await self._server.command("GET", self._keys.session_timeout, pool="beats")
        return frozenset(SessionId(one.decode()) for one in refused), None if timeout is None else int(timeout) / 1000

    async def sessions(self) -> dict[SessionId, int]:
        found = await self._server.command("ZRANGE", self._keys.sessions, 0, -1, "WITHSCORES")
        flat = [part for pair in found for part in (pair if isinstance(pair, (list, tuple)) else [pair])]
        return {SessionId(name.decode()): int(float(beats)) for name, beats in zip(flat[::2], flat[1::2], strict=True)}

    async def session(self, session: SessionId) -> SessionInfo | None:
        found = await self._server.command("HGETALL", self._keys.session(session))
        if not found:
            return None
        text = {name.decode(): value.decode() for name, value in found.items()}
        return SessionInfo(
            session=SessionId(text["session"]),
            worker=text["worker"],
            host=text["host"],
            pid=int(text["pid"]),
            build=text["build"],
            started_ms=int(text["started_ms"]),
        )

    async def bury(self, session: SessionId, beats: int | None) -> bool:
        args: list[str | bytes | int] = [session, "" if beats is None else beats]
        gone = await self._server.run(script("bury"), [self._keys.sessions], args)
        if gone:
            await self._server.command("EXPIRE", self._keys.session(session), _AFTERLIFE_S)
            await self._server.command("HDEL", self._keys.programs, session)
            await self._server.command("HDEL", self._keys.offers, session)
            await self._server.command("SREM", self._keys.draining, session)
            await self._server.command("UNLINK", self._keys.pokes(session))
        return bool(gone)

    async def publish_timeout(self, seconds: float) -> None:
        await self._server.command("SET", self._keys.session_timeout, round(seconds * 1000))

    async def publish(self, session: SessionId, programs: Sequence[ProgramInfo]) -> None:
        text = json.dumps([asdict(program) for program in programs], separators=(",", ":"))
        await self._server.run(script("put_hash"), [self._keys.programs], [0, session, text])

    async def programs(self) -> Sequence[ProgramInfo]:
        # what is published first, then who lives: one that registers in between is not taken for dead
        published = await self._server.command("HGETALL", self._keys.programs)
        alive = await self.sessions()
        infos: list[ProgramInfo] = []
        for session, text in published.items():
            if SessionId(session.decode()) not in alive:
                await self._server.command("HDEL", self._keys.programs, session)  # its burial was cut short
                continue
            for program in map(_program, json.loads(text)):
                if program not in infos:
                    infos.append(program)
        return infos


def _program(stored: dict[str, Any]) -> ProgramInfo:
    signatures = {
        name: [(parameter, kind, bool(default)) for parameter, kind, default in parameters]
        for name, parameters in stored["signatures"].items()
    }
    return ProgramInfo(program=stored["program"], queue=stored["queue"], build=stored["build"], signatures=signatures)
