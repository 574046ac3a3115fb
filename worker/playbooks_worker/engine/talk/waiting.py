"""What all operations of talking have in common, and those that wait beside: a deadline that is durable before it counts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NoReturn

from playbooks_worker.engine.operations import OPERATION, Operation
from playbooks_worker.engine.place import here

if TYPE_CHECKING:
    from playbooks_worker.engine.agent import Agent
    from playbooks_worker.engine.frames import Frame


class Talk(Operation):
    """One whose row is that of the playbook which awaits it."""

    __slots__ = ()

    def row(self, frame: Frame) -> tuple[str, int, str]:
        owner = frame.call_.owner
        above = None if owner is None else owner.frame
        if above is None or above.playbook.of_operation or not above.site:
            return self.named(), 0, self.told()
        return above.playbook.id, above.playbook.rewritten.sites[above.site - 1].line, self.told()

    def told(self) -> str:
        """For people: what it does, or waits for."""
        return self.named()


class Wait(Talk):
    """``until_s``: the deadline in Unix time, once it has been reckoned from a length; None: there is none yet.
    ``waiting``: just now, for nothing but a letter or the deadline."""

    __slots__ = ("until_s", "waiting")

    def __init__(self, until_s: float | None) -> None:
        super().__init__()
        self.until_s = until_s
        self.waiting = False

    async def starts(self, agent: Agent, seconds: float) -> None:
        """From now on the deadline holds, whatever becomes of this process."""
        self.until_s = agent.world.now() + seconds
        await agent.committed()

    async def waits(self, agent: Agent) -> None:
        """Until a letter has come, or the deadline, or neither: the caller looks again."""
        self.waiting = True
        try:
            await agent.waits_for_letters(self.until_s)
        finally:
            self.waiting = False

    def over(self, agent: Agent) -> bool:
        return self.until_s is not None and agent.world.now() >= self.until_s


def begin(make: Callable[[], Operation], alone: Callable[[], Awaitable[Any]]) -> Any:
    """The call of an operation where an agent runs; what *alone* makes where none does."""
    place = here.get()
    if place is None:
        return alone()
    return place.call(OPERATION, (make(),))


def in_agent(what: str, make: Callable[[], Operation]) -> Any:
    """The call of an operation that makes sense in an agent alone: elsewhere, awaiting it raises RuntimeError."""
    return begin(make, lambda: _alone(what))


async def _alone(what: str) -> NoReturn:
    raise needs_agent(what)


def agent_id() -> str:
    """The id of the agent that runs. Raises RuntimeError outside an agent."""
    place = here.get()
    if place is None:
        raise needs_agent("agent_id")
    agent: Agent = place.below.agent
    return agent.id


def needs_agent(what: str) -> RuntimeError:
    return RuntimeError(
        f"{what} needs an agent: call it from a playbook that is run as one (`playbooksctl run`, `submit`)"
    )
