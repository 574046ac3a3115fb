"""`playbooksctl tail`: what an agent tells people (`emit`), from the start, and as it tells it."""

from __future__ import annotations

import asyncio
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from playbooks_worker.cli import options
from playbooks_worker.cli.output import CommandError, Output
from playbooks_worker.cli.views import as_text

if TYPE_CHECKING:
    from playbooks_providers.envelope import Sealer
    from playbooks_providers.ids import AgentId
    from playbooks_worker.cli.connect import AnyHome
    from playbooks_worker.host.events import Told

_AT_ONCE = 1000
_WAIT_S = 1.0
_OWN = "/own"  # ends the key of what is told by no effect (engine/talk/emit.py)


def tail(
    agent_id: options.AgentId,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Go on until the agent has ended.")] = True,
    storage_path: options.StoragePath = None,
    redis_url: options.RedisUrl = None,
    json: options.Json = False,
) -> None:
    """Show what an agent tells people (`emit`), from the start. What a repeated effect told before is left out.

    With --json: a line for each event, then the answer.
    """
    with Output(json) as out:
        asyncio.run(_tail(out, agent_id, follow, storage_path, redis_url))


async def _tail(out: Output, agent: str, follow: bool, storage_path: Path | None, redis_url: str | None) -> None:
    from playbooks_providers import ids
    from playbooks_providers.errors import UnknownAgent
    from playbooks_providers.model import FINAL
    from playbooks_worker.cli.connect import home_of

    chosen = ids.agent_id(agent)
    async with home_of(storage_path, redis_url) as home:
        page = _Page(out, chosen, home.sealer)
        view = await home.coordination.describe(chosen)
        try:
            while view is not None:
                has_ended = view.status in FINAL  # asked before the events are: then none can come after them
                await _read(home, chosen, page, 0.0 if has_ended or not follow else _WAIT_S)
                if has_ended or not follow:
                    break
                view = await home.coordination.describe(chosen)
        finally:
            page.close()
    if view is None:
        raise UnknownAgent(agent)
    if out.as_json:
        out.json({"agent_id": agent, "status": view.status.value, "events": page.told})
    elif not page.told and not follow:
        out.note(f"agent {agent} has told nothing")


async def _read(home: AnyHome, agent: AgentId, page: _Page, wait_s: float) -> None:
    """What there is now, all at once, so that what does not stand is not shown."""
    from playbooks_providers.envelope import Unreadable

    found = list(await home.coordination.emitted(agent, page.after, limit=_AT_ONCE, wait_s=wait_s))
    more = len(found) == _AT_ONCE
    while more:
        next_ones = await home.coordination.emitted(agent, found[-1].place, limit=_AT_ONCE)
        found += next_ones
        more = len(next_ones) == _AT_ONCE
    if found:
        page.after = found[-1].place
        try:
            standing = page.reading.read(found)
        except Unreadable as error:
            raise CommandError(f"agent {agent}: {error}") from error
        for told in standing:
            page.show(told)


class _Page:
    """What was shown so far. Texts of one effect are one text; everything else is a line."""

    def __init__(self, out: Output, agent: AgentId, sealer: Sealer | None) -> None:
        from playbooks_providers.events import BEGINNING
        from playbooks_worker.host.events import Reading

        self.after = BEGINNING
        self.reading = Reading(agent, sealer)
        self.told = 0
        self._out = out
        self._key = ""  # of the effect whose text has no end yet

    def show(self, told: Told) -> None:
        self.told += 1
        if self._out.as_json:
            self._out.json(
                {
                    "place": f"{told.place.fence}-{told.place.number}",
                    "effect": told.key,
                    "attempt": told.attempt,
                    "time_ms": told.time_ms,
                    "replaces": told.replaces,
                    "event": told.event,
                }
            )
            return
        if told.replaces:
            self.close()
            self._out.note("(again: what follows replaces what an earlier attempt told)")
        if not isinstance(told.event, str) or told.key.endswith(_OWN):
            self.close()
            self._out.say(_harmless(as_text(told.event)))
            return
        if told.key != self._key:
            self.close()
        text = _harmless(told.event)
        print(text, end="", flush=True)
        self._key = told.key if text and not text.endswith("\n") else ""

    def close(self) -> None:
        """The next thing begins a line."""
        if self._key and not self._out.as_json:
            print(flush=True)
        self._key = ""


def _harmless(text: str) -> str:
    """Without what would steer a terminal: a model may have written it."""
    return "".join(one for one in text if one in "\n\t" or unicodedata.category(one) not in ("Cc", "Cf"))
