"""The program that is measured: playbooks whose effects cost nothing, so that what is left is ours.

Loaded the way a worker loads programs. The module's globals are the stopwatch of the process that runs it; they are no part
of any agent.
"""

from __future__ import annotations

import asyncio
import base64
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from playbooks_worker import playbook
from playbooks_worker import step as declared


class Mark(NamedTuple):
    """An instant: on the wall's clock, in this process's own time, and how many effects had run by then."""

    wall_s: float
    cpu_s: float
    steps: int


@dataclass
class Watch:
    """``steps`` counts the effects of all agents of this process. All *agents* begin at the same instant."""

    agents: int = 1
    steps: int = 0
    began: list[Mark] = field(default_factory=list)
    ended: list[Mark] = field(default_factory=list)
    all_here: asyncio.Event = field(default_factory=asyncio.Event)

    def mark(self) -> Mark:
        return Mark(time.perf_counter(), time.process_time(), self.steps)

    def reset(self, agents: int = 1) -> None:
        self.agents = agents
        self.steps = 0
        self.all_here = asyncio.Event()
        self.began.clear()
        self.ended.clear()


WATCH = Watch()
HELD: list[asyncio.Event] = []  # what the branches wait for that only stand there
ENDED: list[asyncio.Event] = []  # set when a loop has ended


EACH_STEP: list[Callable[[int], None]] = []  # called with the number of each effect


async def step(number: int) -> int:
    """An effect that is over at once."""
    WATCH.steps += 1
    for call in EACH_STEP:
        call(number)
    return number


@contextmanager
def each_step(call: Callable[[int], None]) -> Iterator[None]:
    EACH_STEP[:] = [call]
    yield
    EACH_STEP.clear()


def message(number: int, size: int = 1000) -> dict[str, str]:
    """One of *size* characters, the same for the same number."""
    text = base64.b64encode(random.Random(number).randbytes(size * 3 // 4 + 3)).decode()[:size]
    return {"role": "assistant" if number % 2 else "user", "text": text}


def messages(size: int) -> list[dict[str, str]]:
    """So many characters, in messages of at most 1,000."""
    return [message(number, min(size, 1000)) for number in range(-(-size // 1000))]


async def answer(number: int) -> dict[str, str]:
    await step(number)
    return message(number)


async def began() -> None:
    WATCH.began.append(WATCH.mark())
    if len(WATCH.began) == WATCH.agents:
        WATCH.all_here.set()
    await WATCH.all_here.wait()


async def ended() -> None:
    WATCH.ended.append(WATCH.mark())
    for event in ENDED:
        event.set()


async def held() -> None:
    await HELD[0].wait()


@playbook
async def loop(rounds: int, topic: str = "what a checkpoint costs") -> int:
    """A small agent: *rounds* awaits in a row, each a checkpoint."""
    total = 0
    notes = {"topic": topic, "sources": ["one", "two", "three"], "done": False}
    await began()
    for number in range(rounds):
        total += await step(number)
    await ended()
    notes["done"] = True
    return total


@playbook
async def nested(depth: int, rounds: int, topic: str = "what a checkpoint costs") -> int:
    """*depth* calls, `loop` being the innermost."""
    notes = {"topic": topic, "level": depth, "done": False}
    total = await (nested(depth - 1, rounds) if depth > 2 else loop(rounds))
    notes["done"] = True
    return total


@playbook
async def branch(text: str, rounds: int) -> int:
    """One of many: it works when *rounds* is positive, else it only waits, with *text* in its hands."""
    if rounds == 0:
        await held()
        return len(text)
    return await loop(rounds) + len(text)


@playbook
async def fan(branches: int, size: int, rounds: int) -> int:
    """*branches* at once, each with *size* characters of its own. One works; the others are part of every checkpoint."""
    texts = [f"{number:08}" * (size // 8) for number in range(branches)]
    results = await asyncio.gather(*[branch(texts.pop(), rounds if number == 0 else 0) for number in range(branches)])
    return sum(results)


@playbook
async def crowd(branches: int, size: int, rounds: int) -> int:
    """*branches* at once, all working: effects that complete in the same turn share a checkpoint."""
    texts = [f"{number:08}" * (size // 8) for number in range(branches)]
    await began()
    results = await asyncio.gather(*[worker(texts.pop(), rounds) for _ in range(branches)])
    await ended()
    return sum(results)


@playbook
async def worker(text: str, rounds: int) -> int:
    for number in range(rounds):
        await step(number)
    return len(text)


@playbook
async def holding(state: list[dict[str, str]], rounds: int) -> int:
    """Awaits with *state* in its hands."""
    await began()
    for number in range(rounds):
        await step(number)
    await ended()
    return len(state)


@playbook
async def talk(turns: int) -> int:
    """A conversation whose history is its state."""
    history: list[dict[str, str]] = []
    while len(history) < turns:
        history.append(await answer(len(history)))
    return len(history)


@declared
async def stepped(number: int) -> int:
    """The same effect as a `@step`."""
    return await step(number)


@declared(on_unknown="raise")
async def intended(number: int) -> int:
    """The same, its intent recorded first."""
    return await step(number)


@playbook
async def steps(rounds: int, intent: bool) -> int:
    """`loop`, with steps for effects."""
    total = 0
    notes = {"topic": "what a step costs", "sources": ["one", "two", "three"], "done": False}
    await began()
    if intent:
        for number in range(rounds):
            total += await intended(number)
    else:
        for number in range(rounds):
            total += await stepped(number)
    await ended()
    notes["done"] = True
    return total
