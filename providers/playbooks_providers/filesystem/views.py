"""The agents of a folder, looked at: where each stands, by what lies in its folder. Nothing is verified, nothing changed.

The half of `FilesystemAgents` that needs no lock; for `list` and `show` as well as for whoever delivers a letter.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import structlog

from playbooks_providers.errors import InvalidAgentId, StorageFailed
from playbooks_providers.filesystem.files import translated
from playbooks_providers.filesystem.records import Owner
from playbooks_providers.filesystem.store import FilesystemStore
from playbooks_providers.ids import AgentId, SessionId, agent_id
from playbooks_providers.letters import Standing
from playbooks_providers.model import FINAL, AgentView, StartRecord, Status

log = structlog.get_logger()


class FilesystemViews:
    """The agents in a `FilesystemStore`, for whoever only looks."""

    def __init__(self, store: FilesystemStore) -> None:
        self._store = store

    def birth(self, agent: AgentId) -> int | None:
        start = self._start(agent)
        if start is None:
            return None
        with translated(self._store.folder(agent)):
            return self._store.owner(agent).birth or start.created_ms

    def queue(self, agent: AgentId) -> str:
        start = self._start(agent)
        return "" if start is None else start.queue

    def standing(self, agent: AgentId) -> Standing | None:
        birth = self.birth(agent)
        if birth is None:
            return None
        with translated(self._store.folder(agent)):
            return Standing(self._status(agent, self._store.owner(agent))[0], birth)

    async def describe(self, agent: AgentId) -> AgentView | None:
        """Where *agent* stands, by what lies in its folder; nothing is verified. While it runs, ``why`` says where."""
        start = self._start(agent)
        if start is None:
            return None
        with translated(self._store.folder(agent)):
            owner = self._store.owner(agent)
            status, why = self._status(agent, owner)
            newest = self._store.newest(agent)
            wanted = self._store.wanted(agent)
            birth = owner.birth or start.created_ms
        try:
            over = status in (Status.COMPLETED, Status.CANCELLED)
            mail = 0 if over else len(self._store.inbox(agent).read(birth).mail)
        except StorageFailed as error:  # whoever reads the mail is told; the agent can still be looked at
            log.warning("inbox not readable", agent=agent, reason=str(error))
            mail = 0
        return AgentView(
            agent=agent,
            status=status,
            fence=owner.fence,
            start=start,
            session=SessionId(owner.session) if status is Status.RUNNING else None,
            attempts=owner.attempts,
            why=why,
            last=None if newest is None else newest.id,
            header=b"" if newest is None else newest.header,
            birth=birth,
            mail=mail,
            order=None if status in FINAL else wanted.order,
        )

    async def agents(self) -> Sequence[AgentId]:
        """All agents that were started here, in no order."""
        with translated(self._store.root):
            try:
                names = os.listdir(self._store.root)
            except FileNotFoundError:
                return []
            return [
                AgentId(name) for name in names if _is_agent_id(name) and self._store.start_path(AgentId(name)).exists()
            ]

    async def standings(self) -> Mapping[AgentId, Standing]:
        """The same, with where each stands."""
        found = {agent: self.standing(agent) for agent in await self.agents()}
        return {agent: standing for agent, standing in found.items() if standing is not None}

    async def newest(self, program: str) -> AgentId | None:
        """The newest agent of *program* that has not ended, else its newest one, else None. (Not one that another has
        spawned: that goes on with its run.)"""
        starts = []
        for agent in await self.agents():
            try:
                start = self._start(agent)
            except StorageFailed as error:  # one that somebody has damaged does not stand in the way of the others
                log.warning("agent skipped", agent=agent, reason=str(error))
                continue
            if start is not None and start.program == program and not start.run:
                starts.append(start)
        starts.sort(key=lambda start: (start.created_ms, start.agent), reverse=True)
        for start in starts:
            view = await self.describe(start.agent)
            if view is not None and view.status not in FINAL:
                return start.agent
        return starts[0].agent if starts else None

    def _start(self, agent: AgentId) -> StartRecord | None:
        path = self._store.start_path(agent)
        with translated(path):
            try:
                return StartRecord.from_json(path.read_bytes())
            except (FileNotFoundError, NotADirectoryError):
                return None
            except (ValueError, LookupError, TypeError) as error:
                raise StorageFailed(
                    f"{path} is not a start record: {error!r}; restore it, or remove its folder"
                ) from error

    def _status(self, agent: AgentId, owner: Owner) -> tuple[Status, str]:
        """And why. One whose newest owner has left it is what it was left as; else it runs where that owner holds it."""
        left = self._store.left(agent)
        if left is not None and left.fence == owner.fence:
            return left.status, left.why
        holder = self._store.holder(agent)
        if holder is not None and holder.fence in (0, owner.fence):
            return Status.RUNNING, f"in {holder.name}"
        return Status.READY, ""


def _is_agent_id(name: str) -> bool:
    try:
        agent_id(name)
    except InvalidAgentId:
        return False
    return True
