"""When an agent of this life only waits: after a while it is parked, so that nobody holds it until something comes.

Between `persisting` and `life`. The engine says whether the agent only waits; the home of state decides whether there is
nothing that it does not know yet (`contracts.Parking`).
"""

from __future__ import annotations

import asyncio
import math

import structlog

from playbooks_providers import letters
from playbooks_providers.model import Gone
from playbooks_worker.engine import Agent, AgentStopped
from playbooks_worker.host.outcome import LockLost, Parked
from playbooks_worker.host.patience import patiently
from playbooks_worker.host.persisting import Persisting

_log = structlog.get_logger()
_REFUSED_S = 0.02  # what came is let in first: each try costs a checkpoint, and keeps the agent from going on


class Parking(Persisting):
    """``courier`` is given by who has a home with inboxes."""

    _agent: Agent | None = None
    _looks: asyncio.TimerHandle | None = None
    _parking: asyncio.Task[None] | None = None
    _held = False  # while the home decides whether it is parked
    _frozen = False  # by the owner

    def begun_to_wait(self, at_least_s: float = 0.0) -> None:
        """Something in the agent waits: look, in a while, whether all of it still does."""
        after_s = self._around.park_after_s
        if after_s is not None and self._looks is None and self._parking is None and self._over is None:
            self._looks = asyncio.get_running_loop().call_later(max(after_s, at_least_s), self._look)

    def no_more_parking(self) -> None:
        if self._looks is not None:
            self._looks.cancel()

    def _look(self) -> None:
        self._looks = None
        agent, courier = self._agent, self.courier
        if agent is None or courier is None or self._over is not None or not agent.waiting_for_letters:
            return
        courier.poked()  # a poke may have been lost
        if agent.is_idle():
            self._parking = courier.begin(self._park(agent))
        else:
            self.begun_to_wait()

    def _something_came(self) -> None:
        """For which it cannot be parked."""
        if self.courier is not None:
            self.courier.poked()

    async def _park(self, agent: Agent) -> None:
        try:
            if not await self._parked(agent):
                self._parking = None
                self.begun_to_wait(at_least_s=_REFUSED_S)
        except AgentStopped:
            return

    async def _parked(self, agent: Agent) -> bool:
        """Whether this life is over: it is parked, or another owner's."""
        courier = self.courier
        assert courier is not None
        await agent.settle()
        await courier.told()
        if not agent.is_idle() or self._last is None or (agent.mailbox is None and agent.wakes_at() is None):
            return False
        until_s = agent.wakes_at()
        wake_ms = None if until_s is None else math.ceil(until_s * 1000)
        cursor = courier.read_through  # of that checkpoint: the agent itself may have read on while it was written
        at = self._last.id
        agent.freeze()
        self._held = True
        keep = self._around.keep_when_parked
        answer: letters.Parked | letters.Unread | Gone
        try:
            answer = await patiently(
                lambda: courier.home.park(self.lock, at, cursor, wake_ms, keep=keep), "park an agent"
            )
        except ValueError:  # it has a newer checkpoint: what it waited for came just before
            answer = letters.Unread(self.lock.agent)
        self._held = False
        if isinstance(answer, letters.Unread):
            if not self._frozen:
                agent.thaw()
            self._something_came()
            return False
        parked = isinstance(answer, letters.Parked)
        if self._over is None:
            self._over = Parked() if parked else LockLost("a newer owner has it")
        assert parked or isinstance(answer, Gone)
        await agent.stop("it is parked")
        return True
