"""Shifts over a home that dies: at its k-th call it never answers again, before that call has taken effect or after it.

What a process sees of its own SIGKILL, as far as the others can tell. tests/test_talk_kill.py kills at every call.
"""

from __future__ import annotations

import asyncio
import inspect
import random
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from playbooks_providers.clock import ManualClock
from playbooks_providers.contracts import Checkpoints, Coordination
from playbooks_providers.envelope import Sealer, read_header
from playbooks_providers.ids import AgentId, SessionId
from playbooks_providers.memory import MemoryCheckpoints, MemoryCoordination, MemoryStore
from playbooks_providers.model import FINAL, AgentView, Created, SessionInfo, StartRecord, Status
from playbooks_providers.testing import eventually
from playbooks_worker.hold import Bench
from playbooks_worker.host.gate import Gate
from playbooks_worker.host.programs import load
from playbooks_worker.host.surroundings import Surroundings
from playbooks_worker.shift import Shift

PROGRAM = str(Path(__file__).parent / "talkers.py")
BUSY = {"read", "pokes"}  # called by a shift that has nothing to do: no step of anything, unless they bring something
PATIENCE_S = 20.0

CONVERSATIONS = [
    ("boss", (3,), [[["heard", 0], ["heard", 1], ["heard", 2]], 3]),
    ("burst", (20,), list(range(20))),
    ("asker", (), ["ONE", "TWO", 2]),
    ("fan", (3,), [[0, 1, 4], [0, 1, 4, 100]]),
    ("failing_child", (), [["ChildFailed", "failed", True], ["ChildFailed"]]),
    ("picky", (), ["b", ["a", "c"]]),
    ("cancels_a_child", (), [["tidied: no more need", "tidied: its parent boss has cancelled it"], "completed"]),
    ("looks_at_a_child", (), [True, [7], "completed"]),
    ("in_branches", (), [[1, 2], [1, 2]]),
]


class Fuse:
    """Burns down by one with each call; ``after``: the last call takes effect. None: never."""

    def __init__(self, left: int | None = None, *, after: bool = False, slow: random.Random | None = None) -> None:
        self.left = left
        self.after = after
        self.slow = slow
        self.calls = 0
        self.last = ""
        self.burnt = asyncio.Event()
        self.hung: list[asyncio.Task[Any]] = []

    async def hang(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.hung.append(task)
        await asyncio.Event().wait()

    async def call(self, name: str, method: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        for _ in range(self.slow.randrange(4) if self.slow is not None else 0):
            await asyncio.sleep(0)
        dies = False
        if not self.burnt.is_set() and name not in BUSY:
            self.calls += 1
            dies = self.calls == self.left
        if dies:
            self.last = name
            self.burnt.set()
        if self.burnt.is_set() and not (dies and self.after):
            await self.hang()
        answer = method(*args, **options)
        if inspect.isawaitable(answer):
            answer = await answer
        for _ in range(self.slow.randrange(4) if self.slow is not None else 0):
            await asyncio.sleep(0)
        if self.burnt.is_set():
            await self.hang()
        return answer


class Perishable:
    """A part of the home behind a fuse."""

    def __init__(self, whole: Any, fuse: Fuse) -> None:
        self._whole = whole
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._whole, name)
        return lambda *args, **options: self._fuse.call(name, method, args, options)


class World:
    """The coordinator's part is played by `bury`: what `Coordinator` does of a session that is silent."""

    def __init__(self, park_after_s: float | None, *, inbox_limit: int = 1000) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.coordination: Coordination = MemoryCoordination(self.store)
        self.now_ms = self.clock.now_ms
        self.program = load(PROGRAM)
        self.park_after_s = park_after_s
        self.inbox_limit = inbox_limit
        self.fuses: dict[str, Fuse] = {}
        self.shifts: dict[str, Shift] = {}
        self._serving: dict[str, asyncio.Task[None]] = {}
        self._left: list[asyncio.Task[Any]] = []

    def home(self) -> tuple[Checkpoints, Coordination]:
        """What a worker reaches the store by."""
        return MemoryCheckpoints(self.store), self.coordination

    async def worker(self, name: str, fuse: Fuse | None = None, *, concurrency: int = 50) -> None:
        session, fuse = SessionId(name), fuse or Fuse()
        await self.coordination.register(SessionInfo(session, name, "h", 1, "b", 0))
        checkpoints, coordination = self.home()
        around = Surroundings(
            Perishable(checkpoints, fuse),  # type: ignore[arg-type]
            Sealer("k" * 32),
            self.now_ms,
            park_after_s=self.park_after_s,
            inbox_limit=self.inbox_limit,
        )
        bench = Bench(Perishable(coordination, fuse), around, {"talkers": self.program})  # type: ignore[arg-type]
        shift = Shift(session, Gate(lambda: 0.0), bench, ["q"], concurrency=concurrency, drain_timeout_s=5.0)
        self.fuses[name], self.shifts[name] = fuse, shift
        self._serving[name] = asyncio.create_task(shift.serve())

    async def bury(self, name: str) -> None:
        """Its process is gone: nothing of it goes on, and the coordinator finds that out."""
        self.fuses[name].burnt.set()
        self._left.append(asyncio.create_task(self.shifts[name].drop("killed")))
        await asyncio.sleep(0)
        self._left.append(self._serving.pop(name))
        self._left[-1].cancel()
        await self.coordination.bury(SessionId(name), None)
        await self.coordination.recover(SessionId(name))

    async def submit(self, entry: str, *args: Any, name: str = "boss") -> None:
        made = await self.coordination.create(StartRecord(AgentId(name), "talkers", entry, list(args), {}, "q", 0))
        assert isinstance(made, Created) and made.ticket is not None
        await self.coordination.enqueue(made.ticket)

    async def view(self, name: str = "boss") -> AgentView | None:
        return await self.coordination.describe(AgentId(name))

    def living(self) -> list[str]:
        return list(self._serving)

    async def ended(self, name: str = "boss") -> AgentView:
        return await self.becomes(*FINAL, name=name)

    async def becomes(self, *wanted: Status, name: str = "boss") -> AgentView:
        async def has_it() -> AgentView | None:
            for task in self._serving.values():
                if task.done():
                    task.result()
            await self.coordinate()
            view = await self.view(name)
            return view if view is not None and view.status in wanted else None

        try:
            return await eventually(has_it, PATIENCE_S, f"{name} to be {wanted}")
        except BaseException as error:
            views = [await self.view(agent) for agent in await self.coordination.agents()]
            died = [(fuse.calls, fuse.last, fuse.after) for fuse in self.fuses.values()]
            error.add_note(
                f"died at {died}; " + "; ".join(f"{one.agent} {one.status} mail {one.mail}" for one in views if one)
            )
            raise

    async def coordinate(self) -> None:
        for session in await self.coordination.ownerless():  # handed to a process when it was dead already
            await self.coordination.recover(session)

    async def result(self, name: str = "boss") -> Any:
        return read_header((await self.ended(name)).header).result

    async def close(self) -> None:
        hung = [task for fuse in self.fuses.values() for task in fuse.hung]
        left = [*self._left, *self._serving.values(), *hung]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


def done() -> list[str]:
    """What the program has noted in this process."""
    noted: list[str] = sys.modules["talkers"].DONE
    return noted


# --- killed at every call ----------------------------------------------------------------------------------------------
PARKING = pytest.mark.parametrize("park_after_s", [0.0, None], ids=["parked", "in memory"])
WHEN = pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
IN_ALL = 400  # calls, and more than any of the conversations makes


async def killed(world: World, fuse: Fuse, until: Any) -> Any:
    """What *until* answers, of a world whose first worker dies when its fuse has burnt."""
    await world.worker("w0", fuse)
    ending = asyncio.create_task(until)
    burning = asyncio.create_task(fuse.burnt.wait())
    try:
        await asyncio.wait([ending, burning], return_when=asyncio.FIRST_COMPLETED)
        if fuse.burnt.is_set():
            await world.bury("w0")
            await world.worker("w1")
        return await ending
    finally:
        burning.cancel()
        ending.cancel()


def at_every_call(
    scenario: Any,
    park_after_s: float | None,
    *,
    after: bool,
    in_all: int = IN_ALL,
    begins: Callable[[float | None], World] = World,
    calls: Iterable[int] = range(1, sys.maxsize),
) -> int:
    """Runs *scenario* again and again, until a run has ended before its worker would have died. How many died, which are
    less than *in_all*. *begins* makes each world, and *calls* are those at which it dies: all, or some."""

    async def once(left: int) -> bool:
        done().clear()
        world, fuse = begins(park_after_s), Fuse(left, after=after)
        try:
            await scenario(world, fuse)
        finally:
            await world.close()
        return fuse.burnt.is_set()

    World(None)  # loads the program
    died = 0
    for call in calls:
        if not asyncio.run(once(call)):
            break
        died += 1
        assert died < in_all
    return died
