"""`send`, `receive`, `ask` and `reply`: letters between agents, and questions to people.

A letter is in its sender's state from the checkpoint that ends `send` until its receiver's inbox has accepted it, and in the
receiver's state from the checkpoint that ends `receive`. Values are plain JSON data: what is sent is what arrives.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from playbooks_worker.engine.effects import key_of_operation
from playbooks_worker.engine.errors import NoAnswer, NoSuchAgent
from playbooks_worker.engine.talk.mailbox import ANSWERS, Owed, Question, Received
from playbooks_worker.engine.talk.plain import plain
from playbooks_worker.engine.talk.sleeping import clock
from playbooks_worker.engine.talk.waiting import Talk, Wait, in_agent

if TYPE_CHECKING:
    from playbooks_worker.engine.agent import Agent
    from playbooks_worker.engine.frames import Frame

_PERSON = "person:"


@dataclass(frozen=True, slots=True)
class Message:
    """What `receive` answers. ``sender``: an agent's id, or `person(...)`; ``question``: an id when the sender waits for a
    `reply`, else empty."""

    sender: str
    value: Any
    question: str = ""
    birth: int = 0

    def reply(self, value: Any) -> Awaitable[None]:
        """Answer the question; a sender that does not wait for it any more never sees it. Raises ValueError when it is no
        question."""
        if not self.question:
            raise ValueError(
                f"the message of {self.sender} is no question (it was sent with `send`): `send` it a message"
            )
        answer = plain(value, "reply")
        made: Awaitable[None] = in_agent("reply", lambda: _Reply(self, answer))
        return made


def person(name: str = "anyone") -> str:
    """The address of a person, for `ask`: who answers with ``playbooksctl answer``."""
    if not name or name != name.strip():
        raise ValueError(f"person({name!r}): a name")
    return _PERSON + name


# --- sending -------------------------------------------------------------------------------------------------------------
class _Send(Talk):
    __slots__ = ("receiver", "value")

    def __init__(self, receiver: str, value: Any) -> None:
        super().__init__()
        self.receiver = receiver
        self.value = value

    def __reduce__(self) -> Any:
        return _Send, (self.receiver, self.value)

    async def once(self, frame: Frame) -> None:
        agent = frame.agent
        try:
            birth = await agent.look_up(self.receiver)
        except NoSuchAgent as unknown:
            self.result = (False, unknown)
            return
        await agent.has_room(self.receiver)
        agent.letters.post(self.receiver, birth, "message", "", self.value)
        self.result = (True, None)

    def named(self) -> str:
        return "send"

    def told(self) -> str:
        return f"send to {self.receiver}"

    def arguments(self) -> dict[str, Any]:
        return {"receiver": self.receiver, "value": self.value}


class _Reply(Talk):
    __slots__ = ("message", "value")

    def __init__(self, message: Message, value: Any) -> None:
        super().__init__()
        self.message = message
        self.value = value

    def __reduce__(self) -> Any:
        return _Reply, (self.message, self.value)

    async def once(self, frame: Frame) -> None:
        message = self.message
        frame.agent.letters.post(message.sender, message.birth, "reply", message.question, self.value)
        self.result = (True, None)

    def named(self) -> str:
        return "reply"

    def told(self) -> str:
        return f"reply to {self.message.sender}"

    def arguments(self) -> dict[str, Any]:
        return {"message": self.message, "value": self.value}


def send(receiver: str, value: Any) -> Awaitable[None]:
    """Send *value* to the agent *receiver*: exactly once, after everything that was sent to it before.

    Raises `NoSuchAgent` when there is none, or it has ended; TypeError for a value that JSON cannot hold. Waits while the
    letters before it are not accepted, as those to a full inbox are."""
    given = plain(value, "send")
    made: Awaitable[None] = in_agent("send", lambda: _Send(_agent(receiver, "send"), given))
    return made


def _agent(receiver: Any, what: str) -> str:
    id = getattr(receiver, "agent_id", receiver)
    if not isinstance(id, str) or not id:
        raise TypeError(f"{what}: an agent is named by its id, not by {receiver!r}")
    if id.startswith(_PERSON):
        raise ValueError(f"{what}: a person is asked (`ask`), not sent messages")
    return id


# --- receiving -----------------------------------------------------------------------------------------------------------
class _Receive(Wait):
    __slots__ = ("match", "sender", "timeout_s")

    def __init__(
        self,
        timeout_s: float | None,
        sender: str | None,
        match: Callable[[Any], Any] | None,
        until_s: float | None = None,
    ) -> None:
        super().__init__(until_s)
        self.timeout_s = timeout_s
        self.sender = sender
        self.match = match

    def __reduce__(self) -> Any:
        return _Receive, (self.timeout_s, self.sender, self.match, self.until_s)

    async def once(self, frame: Frame) -> None:
        agent = frame.agent
        try:
            found = agent.letters.take(self._fits)
            if found is None:
                await agent.world.fetch()
                found = agent.letters.take(self._fits)
        except Exception as error:  # of the program's own `match`
            self.result = (False, error)
            return
        if found is not None:
            self.result = (True, Message(found.sender, found.value, found.id, found.birth))
        elif self.over(agent):
            whom = "" if self.sender is None else f" from {self.sender}"
            self.result = (False, TimeoutError(f"no message{whom} within {self.timeout_s:g} s"))
        elif self.timeout_s is not None and self.until_s is None:
            await self.starts(agent, self.timeout_s)
        else:
            await self.waits(agent)

    def _fits(self, letter: Received) -> bool:
        if letter.kind not in ("message", "question") or self.sender not in (None, letter.sender):
            return False
        return self.match is None or bool(self.match(letter.value))

    def named(self) -> str:
        return "receive"

    def told(self) -> str:
        whom = "" if self.sender is None else f" from {self.sender}"
        return f"receive{whom}" if self.until_s is None else f"receive{whom} until {clock(self.until_s)}"

    def arguments(self) -> dict[str, Any]:
        return {"timeout": self.timeout_s, "sender": self.sender, "match": self.match}


def receive(
    timeout: float | timedelta | None = None, *, sender: Any = None, match: Callable[[Any], Any] | None = None
) -> Awaitable[Message]:
    """The next message: of *sender* only, and one whose value *match* says yes to. What it passes over stays for others.

    Raises TimeoutError after *timeout* seconds (a resume waits for what is left of them)."""
    whom = None if sender is None else _agent(sender, "receive")
    made: Awaitable[Message] = in_agent("receive", lambda: _Receive(_seconds(timeout), whom, match))
    return made


def _seconds(timeout: float | timedelta | None) -> float | None:
    if timeout is None:
        return None
    return timeout.total_seconds() if isinstance(timeout, timedelta) else float(timeout)


# --- asking --------------------------------------------------------------------------------------------------------------
class _Ask(Wait):
    """``id`` of the question, once it has been asked."""

    __slots__ = ("id", "timeout_s", "value", "whom")

    def __init__(
        self, whom: str, value: Any, timeout_s: float | None, id: str = "", until_s: float | None = None
    ) -> None:
        super().__init__(until_s)
        self.whom = whom
        self.value = value
        self.timeout_s = timeout_s
        self.id = id

    def __reduce__(self) -> Any:
        return _Ask, (self.whom, self.value, self.timeout_s, self.id, self.until_s)

    async def once(self, frame: Frame) -> None:
        agent = frame.agent
        box = agent.letters
        if self.id and self.id not in box.awaited and self.id not in box.questions:
            self.id = ""  # it was asked by the agent from which this one was forked
        try:
            if not self.id:
                await self._asks(frame)
            else:
                await self._awaits(agent)
        except BaseException:
            if not agent.dead:  # its program has cancelled it
                self._gives_up(agent)
            raise
        if self.result is not None:
            self._gives_up(agent)

    async def _asks(self, frame: Frame) -> None:
        agent = frame.agent
        id = key_of_operation(frame.call_)
        person = self.whom.removeprefix(_PERSON) if self.whom.startswith(_PERSON) else None
        birth = 0
        if person is None:
            try:
                birth = await agent.look_up(self.whom)
            except NoSuchAgent as unknown:
                self.result = (False, unknown)
                return
            await agent.has_room(self.whom)
        now = agent.world.now()
        self.id = id
        self.until_s = None if self.timeout_s is None else now + self.timeout_s
        if person is not None:
            agent.letters.questions[id] = Question(id, person, self.value, now, self.until_s)
        else:
            agent.letters.post(self.whom, birth, "question", id, self.value)
            agent.letters.awaited[id] = Owed(id, self.whom, birth)
        await agent.committed()

    async def _awaits(self, agent: Agent) -> None:
        await agent.world.fetch()
        answer = agent.letters.take(lambda letter: letter.kind in ANSWERS and letter.id == self.id)
        if answer is not None:
            replied = answer.kind == "reply"
            self.result = (True, answer.value) if replied else (False, NoAnswer(self.whom, answer.value))
            self._no_longer(agent)
        elif self.over(agent):
            self.result = (False, TimeoutError(f"{self.whom} has not answered within {self.timeout_s:g} s"))
        else:
            await self.waits(agent)

    def _no_longer(self, agent: Agent) -> None:
        box = agent.letters
        box.awaited.pop(self.id, None)
        box.questions.pop(self.id, None)

    def _gives_up(self, agent: Agent) -> None:
        """An answer that comes now is for nobody; who was asked need not remember that it owes one."""
        box = agent.letters
        if self.id in box.awaited:
            box.post(self.whom, box.awaited[self.id].birth, "withdrawn", self.id, None)
        self._no_longer(agent)

    def named(self) -> str:
        return "ask"

    def told(self) -> str:
        return f"ask {self.whom}"

    def arguments(self) -> dict[str, Any]:
        return {"whom": self.whom, "question": self.value, "timeout": self.timeout_s}


def ask(whom: Any, question: Any, *, timeout: float | timedelta | None = None) -> Awaitable[Any]:
    """Ask an agent, or a `person(...)`, and wait for the answer.

    An agent answers with `Message.reply`; a person with ``playbooksctl answer``, or at the prompt of ``playbooksctl run``.
    Raises `NoSuchAgent` when there is none, or it has ended; `NoAnswer` when it ends, or is deleted, before it has answered;
    TimeoutError after *timeout* seconds; TypeError for a question that JSON cannot hold."""
    given = plain(question, "ask")
    is_person = isinstance(whom, str) and whom.startswith(_PERSON)
    address = whom if is_person else _agent(whom, "ask")
    made: Awaitable[Any] = in_agent("ask", lambda: _Ask(address, given, _seconds(timeout)))
    return made
