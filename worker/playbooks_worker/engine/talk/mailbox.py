"""What an agent's state says of its letters: plain data, the same in memory and in the index of a checkpoint. Pure.

Letters come in at a *place*, which the receiver's inbox counts; the *cursor* is the last place that this state knows.
Letters go out through the outbox: they stay in it, in the state, until whoever delivers them says that they were accepted.
Each letter to one receiver has a number, from 1 for each birth of that receiver and each *series*. An agent that has written
to very many begins a new series, as if it were another sender: so it need not know for ever how many letters each has got.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

ANSWERS = ("reply", "unanswered")
"""Kinds of letters that end the wait for an answer."""

_MOST_ASKED = 1000
"""Questions that wait for an answer of one agent; of more, the oldest are told that there is none."""


_MOST_ENDED = 1000
"""Children of which is known how they ended; of those before them their home is asked, which keeps them for some days."""

_MOST_RECEIVERS = 1000
"""Receivers whose count of letters is known, before a new series begins."""


class Received(NamedTuple):
    """A letter that came in. ``kind``: "message", "question", "reply", "unanswered" (its receiver has ended), "withdrawn"
    (nobody waits for the answer any more) or "ended" (of a child); ``id`` of the question, if it is about one."""

    sender: str
    birth: int
    kind: str
    id: str
    value: Any


class Outgoing(NamedTuple):
    """A letter in the outbox; or an agent to be started ("spawn") or cancelled ("cancel"), or to be told that its question
    has no answer ("unanswered"): then ``number`` is 0 and ``receiver`` its id."""

    receiver: str
    birth: int
    number: int
    kind: str
    id: str
    value: Any
    series: int = 0

    @property
    def key(self) -> tuple[str, int, int, str]:
        """Which one it is, of its sender's."""
        which = f"{self.kind} {self.id}" if self.number == 0 else str(self.series)
        return self.receiver, self.birth, self.number, which


class Question(NamedTuple):
    """A question to a person that has no answer yet. ``asked_s`` is Unix time; ``until_s`` too, None: it waits for ever."""

    id: str
    person: str
    value: Any
    asked_s: float
    until_s: float | None


class Owed(NamedTuple):
    """A question of another agent that has no answer: its ``id``, who asked, and that one's birth."""

    id: str
    asker: str
    birth: int


class Owes(NamedTuple):
    """What an agent owes to others when it ends, of the letters up to ``cursor``."""

    cursor: int
    questions: tuple[Owed, ...]


class Mailing(NamedTuple):
    """What follows from one checkpoint, once it is durable: letters up to ``cursor`` may go, those in ``outbox`` must be
    delivered, in order, and ``questions`` be shown to people; the cancellation ``order`` is in it, and will be raised."""

    cursor: int
    outbox: tuple[Outgoing, ...]
    questions: tuple[Question, ...]
    order: str


class Mailbox:
    """One agent's. An agent that never talked has none."""

    def __init__(self) -> None:
        self.cursor = 0
        self.letters: list[Received] = []  # came in, and nobody has received them
        self.outbox: list[Outgoing] = []
        self.sent: dict[str, tuple[int, int, int]] = {}  # by receiver: its birth, number and series of the last letter
        self.series = 0
        self.awaited: dict[
            str, Owed
        ] = {}  # by id: questions to agents that somebody waits for; `asker` is who was asked
        self.asked: dict[
            str, Owed
        ] = {}  # by id: questions of agents that were not answered, whoever has read them here
        self.questions: dict[str, Question] = {}  # to people
        self.children: dict[str, None] = {}  # those that have not ended, as far as it knows
        self.ended: dict[str, dict[str, Any]] = {}  # children, by id: how they ended
        self.order = ""  # the id of the newest cancellation
        self.cancelled = ""  # what it says
        self.until_s: float | None = None  # when who has not ended by then is ended by others (Unix time)
        self.raised = True  # and whether it has been raised

    # --- in a checkpoint -------------------------------------------------------------------------------------------
    def plain(self) -> tuple[Any, ...]:
        return (
            self.cursor,
            [tuple(letter) for letter in self.letters],
            [tuple(letter) for letter in self.outbox],
            self.sent,
            self.series,
            [tuple(question) for question in self.awaited.values()],
            [tuple(owed) for owed in self.asked.values()],
            [tuple(question) for question in self.questions.values()],
            list(self.children),
            self.ended,
            self.order,
            self.cancelled,
            self.until_s,
            self.raised,
        )

    @classmethod
    def of(cls, plain: Iterable[Any]) -> Mailbox:
        made = cls()
        (
            made.cursor,
            letters,
            outbox,
            made.sent,
            made.series,
            awaited,
            asked,
            questions,
            children,
            made.ended,
            *cancelled,
        ) = plain
        made.order, made.cancelled, made.until_s, made.raised = cancelled
        made.children = dict.fromkeys(children)
        made.letters = [Received(*letter) for letter in letters]
        made.outbox = [Outgoing(*letter) for letter in outbox]
        made.awaited = {question[0]: Owed(*question) for question in awaited}
        made.asked = {owed[0]: Owed(*owed) for owed in asked}
        made.questions = {question[0]: Question(*question) for question in questions}
        return made

    def mailing(self) -> Mailing:
        return Mailing(self.cursor, tuple(self.outbox), tuple(self.questions.values()), self.order)

    def owes(self) -> Owes:
        """What the agent owes if it ends now. A reply that no checkpoint holds was never sent."""
        unsent = [Owed(one.id, one.receiver, one.birth) for one in self.outbox if one.kind == "reply"]
        return Owes(self.cursor, (*self.asked.values(), *unsent))

    def fork(self, of: str) -> None:
        """From now on it is that of another agent, with another birth and an inbox of its own. What was asked of agents is
        to be asked again, and children that have not ended are those of agent *of*."""
        self.cursor = 0
        self.outbox.clear()
        self.sent.clear()
        answered = {letter.id for letter in self.letters if letter.kind in ANSWERS}
        self.awaited = {id: question for id, question in self.awaited.items() if id in answered}
        self.asked.clear()
        why = f"it is a child of {of}, from which this agent was forked"
        for child in self.children:
            self.ended[child] = {"status": "unknown", "type": "Forked", "message": why}
        self.children.clear()
        if not self.raised:
            self.order, self.cancelled, self.until_s, self.raised = "", "", None, True

    # --- coming in -------------------------------------------------------------------------------------------------
    def came(self, place: int, letter: Received) -> None:
        """What is at *place* of the inbox, the next one that there is. Passed over: a place that is known, and an answer
        that nobody waits for."""
        if place <= self.cursor:
            return
        self.cursor = place
        if letter.kind == "ended":
            if letter.sender in self.children:  # else it has told that before
                del self.children[letter.sender]
                self.ended[letter.sender] = letter.value
                if len(self.ended) > _MOST_ENDED:
                    del self.ended[next(iter(self.ended))]
        elif letter.kind == "withdrawn":
            self.asked.pop(letter.id, None)
        elif letter.kind not in ANSWERS or letter.id in self.awaited or letter.id in self.questions:
            self.letters.append(letter)
            if letter.kind == "question":
                self._is_asked(Owed(letter.id, letter.sender, letter.birth))

    def _is_asked(self, question: Owed) -> None:
        self.asked[question.id] = question
        if len(self.asked) > _MOST_ASKED:
            oldest = self.asked.pop(next(iter(self.asked)))
            why = f"it leaves more than {_MOST_ASKED:,} questions unanswered"
            self.outbox.append(Outgoing(oldest.asker, oldest.birth, 0, "unanswered", oldest.id, why))

    def not_answered(self, question: str, how: str) -> None:
        """No inbox took *question*, which this agent asked: its receiver has ended."""
        if question in self.awaited:
            self.letters.append(Received("", 0, "unanswered", question, how))

    def came_to_nothing(self, child: str, value: dict[str, Any]) -> None:
        """*child* is not ours: nothing comes of it, and it hears nothing of us."""
        self.ended[child] = value
        self.children.pop(child, None)

    def take(self, fits: Callable[[Received], bool]) -> Received | None:
        """The first letter that *fits*, taken out. What *fits* raises changes nothing."""
        for index, letter in enumerate(self.letters):
            if fits(letter):
                del self.letters[index]
                return letter
        return None

    # --- going out -------------------------------------------------------------------------------------------------
    def post(self, receiver: str, birth: int, kind: str, id: str, value: Any) -> None:
        """Put a letter into the outbox, numbered after the one before it to the same receiver."""
        if kind == "reply":
            self.asked.pop(id, None)
        known, number, series = self.sent.get(receiver, (birth, 0, self.series))
        if known != birth:
            number = 0  # another agent under the old id
        self.sent[receiver] = birth, number + 1, series
        self.outbox.append(Outgoing(receiver, birth, number + 1, kind, id, value, series))
        if len(self.sent) > _MOST_RECEIVERS:
            self._begin_series()

    def _begin_series(self) -> None:
        """Whoever has got everything that was sent is not known any more; letters to it count from 1 again, of a sender that
        it has never heard of."""
        waiting = {letter.receiver for letter in self.outbox}
        self.sent = {receiver: known for receiver, known in self.sent.items() if receiver in waiting}
        self.series += 1

    def spawn(self, child: str, value: Any) -> None:
        self.children[child] = None
        self.outbox.append(Outgoing(child, 0, 0, "spawn", "", value))
        if not self.raised:  # the program could not know that it is cancelled; what it starts behind that, it means to
            self.cancel_child(child, self.order, "", self.until_s)

    def is_to_start(self, child: str) -> bool:
        """Whether it was spawned, and nobody has made it yet."""
        return any(one.receiver == child and one.kind == "spawn" for one in self.outbox)

    def cancel(self, order: str, why: str, until_s: float | None) -> None:
        """Note a cancellation, which the children hear of, too."""
        self.order, self.cancelled, self.until_s, self.raised = order, why, until_s, False
        for child in self.children:
            self.cancel_child(child, order, "", until_s)

    def cancel_child(self, child: str, order: str, why: str, until_s: float | None = None) -> None:
        """It hears of *order* once, however often that is said. No *why*: this agent was cancelled."""
        self.outbox.append(Outgoing(child, 0, 0, "cancel", order, [why, until_s]))

    def accepted(self, letter: Outgoing) -> None:
        """*letter* was delivered, or can never be."""
        self.outbox = [one for one in self.outbox if one.key != letter.key]
