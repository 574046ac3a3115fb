"""What must be done before an agent has ended for its home: who asked it and has no answer is told, and so is its parent.

Called by who holds the agent (`hold`, `run`) and by commands. Everything may be repeated, by anybody who finds the agent not
ended yet: what is told are letters whose sender is the question, or the end, itself. A question that reaches its inbox
meanwhile is found, because no home ends an agent with mail that nobody has looked through; what comes later is answered by
the home itself: there is no such agent any more.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import structlog

from playbooks_providers.contracts import Checkpoints
from playbooks_providers.envelope import Owed, Sealer, open_letter
from playbooks_providers.errors import BadCheckpoint, BadLetter
from playbooks_providers.ids import AgentId
from playbooks_providers.letters import Unread
from playbooks_providers.model import Done, Gone, Lock, StartRecord, Status
from playbooks_worker import engine
from playbooks_worker.host.answers import answered
from playbooks_worker.host.farewell import as_cancelled, tell_parent, unanswered_letter
from playbooks_worker.host.opening import newest_that_opens, open_checkpoint
from playbooks_worker.host.outcome import Ended
from playbooks_worker.host.patience import patiently
from playbooks_worker.host.post import Finishing, Home, sender_of

T = TypeVar("T")
_READ = 100  # letters at once

_log = structlog.get_logger()


async def finished(home: Finishing, sealer: Sealer, lock: Lock, ended: Ended) -> Done | Gone:
    """The agent has ended for its home, and nobody waits for its answer."""
    header = ended.header

    async def finish(read: int) -> Done | Unread | Gone:
        return await home.finish(lock, ended.status, ended.final, read=read)

    return await _last(home, sealer, lock.agent, lock.birth, header.owes, header.cursor, ended.status.value, finish)


async def terminated(
    home: Home, checkpoints: Checkpoints, sealer: Sealer, start: StartRecord, birth: int, why: str
) -> Done | Gone:
    """End an agent that is to be terminated (`OrderKind.TERMINATE` stands): nobody writes its history any more."""
    agent = start.agent
    if start.parent:
        await tell_parent(home, sealer, start, birth, as_cancelled(why))
    questions, cursor = await _owed(checkpoints, sealer, agent)

    async def terminate(read: int) -> Done | Unread | Gone:
        return await home.terminate(agent, why, read=read)

    return await _last(home, sealer, agent, birth, questions, cursor, Status.CANCELLED.value, terminate)


async def _last(
    home: Home,
    sealer: Sealer,
    agent: AgentId,
    birth: int,
    owed: Iterable[Owed],
    read: int,
    how: str,
    end: Callable[[int], Awaitable[T | Unread]],
) -> T:
    while True:
        for question in owed:
            await _tell(home, sealer, question, birth, how)
        answer = await patiently(functools.partial(end, read), "end an agent")
        if not isinstance(answer, Unread):
            return answer
        owed, read = await _unread(home, sealer, agent, read)


async def _tell(home: Home, sealer: Sealer, question: Owed, birth: int, how: str) -> None:
    letter = unanswered_letter(sealer, question, birth, how)
    asker = AgentId(question.asker)
    await patiently(lambda: answered(home, asker, letter, birth=question.birth), "tell who asked")


async def _unread(home: Home, sealer: Sealer, agent: AgentId, after: int) -> tuple[list[Owed], int]:
    """The questions in its mail behind that place, and up to which one that was."""
    found: list[Owed] = []
    while mail := await patiently(functools.partial(home.mail, agent, after, limit=_READ), "read an inbox"):
        for one in mail:
            after = one.place
            try:
                body = open_letter(sealer, agent, one)
            except BadLetter as bad:
                _log.error("letter refused", agent=agent, sender=one.sender, reason=str(bad))
                continue
            if body.kind == "question":
                found.append(Owed(body.id, sender_of(one.sender), one.birth))
    return found, after


async def _owed(checkpoints: Checkpoints, sealer: Sealer, agent: AgentId) -> tuple[Iterable[Owed], int]:
    """Who its newest checkpoint owes an answer, and up to where that has read its mail; of one that cannot be opened, what
    the newest before it says."""
    newest = await patiently(lambda: checkpoints.load(agent), "load a checkpoint")
    at = None if newest is None else newest.id
    while at is not None:
        try:
            opened = await open_checkpoint(checkpoints, sealer, agent, at)
            if opened.header.kind != "step":
                return opened.header.owes, opened.header.cursor
            owes = engine.owed(opened.payload)
            return [Owed(*one) for one in owes.questions], owes.cursor
        except (BadCheckpoint, engine.ResumeMismatch) as bad:
            _log.error("checkpoint not readable: who asked may not be told", agent=agent, reason=str(bad))
            at = await newest_that_opens(checkpoints, sealer, agent, at)
    return (), 0


async def begins_again(
    home: Home,
    checkpoints: Checkpoints,
    sealer: Sealer,
    agent: AgentId,
    birth: int,
    again: Callable[[int], Awaitable[T | Unread]],
) -> T:
    """What *again* answers, which begins an agent again unless there is mail beyond the given place. Who asked it is told
    before: the next one of its id knows nothing of them."""
    owed, read = await _owed(checkpoints, sealer, agent)
    return await _last(home, sealer, agent, birth, owed, read, "begun again", again)
