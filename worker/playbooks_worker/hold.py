"""One ticket in an executor's hands: from the queue to its acknowledgement, which always comes last.

Until then the ticket is pending at our session, and whoever finds the session gone gives the agent to others. So every
step here may be cut short by death, and every step may be repeated (DESIGN 4.3). Knows one agent; the `shift` it belongs
to knows which others there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog

from playbooks_providers import metrics
from playbooks_providers.contracts import Coordination
from playbooks_providers.envelope import Header, open_start
from playbooks_providers.errors import BadStart
from playbooks_providers.ids import AgentId, SessionId, new_nonce
from playbooks_providers.lanes import queue_of
from playbooks_providers.letters import Poke, Standing
from playbooks_providers.model import Gone, Lock, Minted, OrderKind, Stale, Status, Ticket, Unwanted
from playbooks_worker.host.ending import finished, terminated
from playbooks_worker.host.gate import Gate
from playbooks_worker.host.life import Life
from playbooks_worker.host.outcome import Blocked, Ended, HandedOver, LockLost, Outcome, Parked, Paused, Terminated
from playbooks_worker.host.patience import patiently
from playbooks_worker.host.post import Post
from playbooks_worker.host.programs import Program, no_such_playbook
from playbooks_worker.host.signatures import ArgumentsError
from playbooks_worker.host.surroundings import Surroundings
from playbooks_worker.trial import Verdict, verdict

HAND_BACK_S = 2.0
"""How long an agent waits that this worker cannot run, before somebody looks again."""

_log = structlog.get_logger()


@dataclass(frozen=True)
class Bench:
    """What all holds of an executor share."""

    coordination: Coordination
    around: Surroundings
    programs: Mapping[str, Program]


class Neighbours(Protocol):
    """What a hold asks of the shift it belongs to."""

    def leaving(self, hold: Hold) -> str:
        """Why *hold* must not begin; empty when it may."""

    async def only(self, hold: Hold) -> bool:
        """Wait until *hold* is the only one here, others handed over. False: another one has asked before."""

    def no_longer_alone(self, hold: Hold) -> None:
        """*hold* needs no room of its own any more."""

    def stands(self, agent: AgentId) -> Standing | None:
        """Where an agent stands that lives here; None: it does not, or may not any more."""

    def mail_for(self, poke: Poke) -> bool:
        """Tell an agent that there is mail for it. False: it is not here."""


class Hold:
    """Call `carry` once. `hand_over`, `abandon` and `drop` end it early, from the same loop."""

    def __init__(self, ticket: Ticket, session: SessionId, gate: Gate, bench: Bench, neighbours: Neighbours) -> None:
        self.ticket = ticket
        self.life: Life | None = None
        self._session = session
        self._gate = gate
        self._bench = bench
        self._neighbours = neighbours
        self._lost = ""
        self._told_lost = False
        self._queue = queue_of(ticket.queue)
        self._log = _log.bind(agent=ticket.agent, session=session, fence=ticket.fence)

    # --- from outside ---------------------------------------------------------------------------------------------
    def hand_over(self, why: str) -> None:
        if self.life is not None:
            self.life.hand_over(why)

    async def abandon(self, why: str) -> None:
        if self.life is not None:
            await self.life.abandon(why)

    async def drop(self, why: str) -> None:
        """The session is over: another owner has the agent, or soon will."""
        self._lost = why
        self._gone(why)
        if self.life is not None:
            await self.life.drop(why)

    # --- the way of a ticket --------------------------------------------------------------------------------------
    async def carry(self) -> None:
        """Take, live, conclude, acknowledge."""
        coordination, nonce = self._bench.coordination, new_nonce()
        answer = await patiently(lambda: coordination.take(self.ticket, self._session, nonce), "take an agent")
        if isinstance(answer, Stale):
            self._log.debug("stale ticket dropped")
        else:
            if (
                answer.by_letter
            ):  # counted here, where each is once, whoever has written: a person's command counts nothing
                metrics.AGENTS_WOKEN.add("letter")
                self._log.info("agent woken", by="letter")
            await self._conclude(answer.lock, await self._guarded(answer.lock))
        if not self._lost:
            await patiently(lambda: coordination.acknowledge(self._session, self.ticket), "acknowledge a ticket")

    async def _guarded(self, lock: Lock) -> Outcome | None:
        try:
            return await self._live(lock)
        except Exception:  # ours, or the engine's: the others here shall not pay for it, and it counts as a death
            self._log.exception("agent ended by an error of the worker itself")
            await self._give_back(lock, "an error of the worker itself", delay_s=HAND_BACK_S, blameless=False)
            return None

    async def _live(self, lock: Lock) -> Outcome | None:
        """None: it was not run, and what follows from that is done."""
        metrics.AGENTS_TAKEN.add(self._queue)
        self._log.info("agent taken", attempts=lock.attempts, resumes_from=str(lock.resume_from or "the start"))
        if lock.order is not None and lock.order.kind is OrderKind.TERMINATE:
            return Terminated(lock.order.why)
        decided = verdict(lock.attempts)
        if decided is Verdict.QUARANTINE:
            why = f"taken {lock.attempts - 1} times without reaching a checkpoint, the last ones alone; each owner died"
            await self._set_aside(lock, Status.QUARANTINED, why)
            return None
        program = self._bench.programs.get(lock.start.program)
        if program is None:
            await self._give_back(lock, f"no program {lock.start.program} here", delay_s=HAND_BACK_S)
            return None
        function = program.playbooks.get(lock.start.entry)
        if function is None:
            return Blocked(no_such_playbook(program.name, lock.start.entry, program.playbooks), elsewhere=True)
        if lock.resume_from is None:
            try:
                start = open_start(self._bench.around.sealer, lock.start)
                if self._bench.around.sealer.cipher is not None and not lock.start.sealed:
                    self._log.warning("arguments are stored in clear: who submitted the agent has no encryption key")
                program.bind(start.entry, start.args, start.kwargs)
            except BadStart as bad:
                return Blocked(str(bad))
            except ArgumentsError as unfit:
                return Blocked(str(unfit), elsewhere=True)
        if decided is Verdict.ALONE and not await self._neighbours.only(self):
            return HandedOver("another agent is running alone here", abandoned=False)
        if leaving := self._neighbours.leaving(self):
            return HandedOver(leaving, abandoned=False)
        if self._lost:
            return LockLost(self._lost)
        self.life = Life(
            lock,
            function,
            self._bench.around,
            self._gate,
            begun=self._begun,
            post=Post(self._bench.coordination, self._neighbours.mail_for, self._neighbours.stands),
        )
        return await self.life.live()

    def _begun(self, header: Header) -> None:
        """Its first checkpoint here is durable."""
        self._neighbours.no_longer_alone(self)
        self._log.info("agent goes on", checkpoint=str(header.id), statement=_where(header))

    async def _conclude(self, lock: Lock, outcome: Outcome | None) -> None:
        newest = self.life.newest if self.life is not None else None
        if newest is not None:
            self._log = self._log.bind(checkpoint=str(newest.id))
        self.life = None
        coordination = self._bench.coordination
        match outcome:
            case None:
                pass
            case Ended(status, header):
                answer = await finished(coordination, self._bench.around.sealer, lock, outcome)
                if isinstance(answer, Gone):
                    return self._gone()
                metrics.AGENTS_ENDED.add(self._queue, status.value)
                error = (header.error or {}).get("type")
                self._log.info(f"agent {status}", **({"error": error} if error else {}))
            case Paused(why):
                await self._set_aside(lock, Status.PAUSED, why)
            case Terminated(why):
                around = self._bench.around
                await terminated(coordination, around.checkpoints, around.sealer, lock.start, lock.birth, why)
                self._log.warning("agent cancelled", reason=why)
            case Parked():
                metrics.AGENTS_PARKED.add(self._queue)
                self._log.info("agent parked")
            case HandedOver(why, unasked=True):  # counts as a death: it may end every process that it comes to
                await self._give_back(lock, why, delay_s=HAND_BACK_S, abandoned=True, blameless=False)
            case HandedOver(why, abandoned):
                await self._give_back(lock, why, abandoned=abandoned)
            case Blocked(why, elsewhere):
                if elsewhere and await self._other_builds(lock):
                    await self._give_back(lock, why, delay_s=HAND_BACK_S)
                else:
                    await self._set_aside(lock, Status.BLOCKED, why)
            case LockLost(why):
                self._gone(why)

    # --- transitions ----------------------------------------------------------------------------------------------
    async def _give_back(
        self, lock: Lock, why: str, *, delay_s: float = 0.0, abandoned: bool = False, blameless: bool = True
    ) -> None:
        coordination = self._bench.coordination
        answer = await patiently(
            lambda: coordination.release(lock, why, delay_s=delay_s, blameless=blameless), "hand an agent over"
        )
        if not isinstance(answer, Minted):
            return self._gone()
        if answer.due_ms is None:
            await patiently(lambda: coordination.enqueue(answer.ticket), "enqueue a ticket")
        metrics.AGENTS_HANDED_OVER.add(self._queue)
        reason = why.partition("\n")[0]
        self._log.info("agent handed over", reason=reason, delay_s=delay_s, abandoned=abandoned)

    async def _set_aside(self, lock: Lock, status: Status, why: str) -> None:
        coordination = self._bench.coordination
        answer = await patiently(lambda: coordination.stop(lock, status, why), f"set an agent aside as {status}")
        if isinstance(answer, Gone):
            return self._gone()
        if isinstance(answer, Unwanted):
            return await self._give_back(lock, "it is to be paused no longer")
        metrics.AGENTS_SET_ASIDE.add(self._queue, status.value)
        told = self._log.info if status is Status.PAUSED else self._log.error
        told(f"agent {status}", reason=why.partition("\n")[0])

    def _gone(self, why: str = "a newer owner has it") -> None:
        if self._told_lost:
            return
        self._told_lost = True
        metrics.LOCKS_LOST.add(self._queue)
        self._log.warning("agent lost", reason=why)

    async def _other_builds(self, lock: Lock) -> bool:
        """Does a live worker host another build of the agent's program, which may fit?"""
        mine = self._bench.programs[lock.start.program].build
        live = await patiently(self._bench.coordination.programs, "read the programs")
        return any(told.program == lock.start.program and told.build != mine for told in live)


def _where(header: Header) -> str:
    stack = header.stack
    return f"{stack[-1][0]}:{stack[-1][1]}" if stack else ""
