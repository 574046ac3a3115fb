"""Who leads: one coordinator holds the leader's lease, the others stand by and try for it.

Called by `duty`. Two leaders at once are harmless (each step of theirs is compare-and-set), so the lease saves work and
guards nothing. It must not know what a leader does.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

from playbooks_providers import metrics
from playbooks_providers.clock import Clock
from playbooks_providers.errors import ProviderError, Unreachable
from playbooks_providers.ids import Nonce

log = structlog.get_logger()

RENEWALS_PER_LEASE = 3
RESIGN_WITHIN_S = 2.0


class Lease(Protocol):
    """The part of `Coordination` that an election needs."""

    async def lead(self, nonce: Nonce, lease_s: float) -> bool: ...
    async def resign(self, nonce: Nonce) -> None: ...


class Election:
    """One coordinator's side of it. The lease is counted from before it was asked for, so it ends here first. ``refused``:
    the store answers, and lets this coordinator not even try (an ACL, say)."""

    def __init__(self, lease: Lease, nonce: Nonce, *, lease_s: float, clock: Clock) -> None:
        self._lease = lease
        self._nonce = nonce
        self._lease_s = lease_s
        self._clock = clock
        self._until_s: float | None = None
        self.refused = False
        metrics.LEADER.set(0)

    @property
    def leading(self) -> bool:
        return self._until_s is not None and self._clock.monotonic() < self._until_s

    async def run(self) -> None:
        """Try for the lease, or renew it, for ever."""
        while True:
            await self.campaign()
            await asyncio.sleep(self._lease_s / RENEWALS_PER_LEASE)

    async def campaign(self) -> None:
        """Ask once. A store that does not answer, or refuses, leaves what is held to run out."""
        asked_s = self._clock.monotonic()
        try:
            mine = await self._lease.lead(self._nonce, self._lease_s)
        except ProviderError as error:
            # that it is away is told by who reads the counters; they may be read where nothing may be written
            if not isinstance(error, Unreachable) and not self.refused:
                log.warning("lease refused", reason=str(error), next="trying again until it is not")
                self.refused = True
            if self._until_s is not None and not self.leading:
                self._step_down("the lease ran out while the store did not answer, or refused")
            return
        if self.refused:
            log.info("lease refused no more")
            self.refused = False
        if mine and self._until_s is None:
            log.info("leader won", nonce=self._nonce, lease_s=self._lease_s)
            metrics.LEADER_CHANGES.add()
            metrics.LEADER.set(1)
        if mine:
            self._until_s = asked_s + self._lease_s
        elif self._until_s is not None:
            self._step_down("another coordinator leads")

    async def resign(self) -> None:
        """Give the lease up, so that a standby need not wait for its end. Never fails: a lease ends by itself."""
        if self._until_s is None:
            return
        self._step_down("shutting down")
        try:
            async with asyncio.timeout(RESIGN_WITHIN_S):
                await self._lease.resign(self._nonce)
        except (ProviderError, TimeoutError) as error:
            log.info("lease left to run out", reason=str(error) or "no answer")

    def _step_down(self, reason: str) -> None:
        self._until_s = None
        metrics.LEADER.set(0)
        log.info("leader lost", nonce=self._nonce, reason=reason)
