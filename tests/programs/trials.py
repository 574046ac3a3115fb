"""The trials that a generated program stands: in an agent as in plain Python, and from each checkpoint to the same end,
however the process before died. Called by fuzz.py and shrinking.py.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import linecache
import random
import sys
from pathlib import Path
from typing import Any

import fuzzing
from observing import Counted, Ordered
from witness import WITNESS

from playbooks_worker.engine import Agent, Completed, Failed

_RESUMED_AT_MOST = 10  # checkpoints of one program, chosen at random when it has more
_LIVES = 4  # processes in a row, each resumed from a checkpoint of the one before


class Differs(Exception):
    """The program did not do what it does in plain Python."""


class Endless(Differs):
    """It does not end."""


class Undecided(Exception):
    """The program's result depends on the order of its branches, in plain Python too."""


def load(name: str, text: str, folder: Path) -> Any:
    path = folder / f"{name}.py"
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    linecache.checkcache(str(path))
    spec.loader.exec_module(module)
    return module


class Kept:
    """A checkpoint, and what had been seen of the program when it was taken, in this process and those before.
    ``in_flight``: what the witness expects to begin again; ``once``: what it expects not to, up to the next checkpoint."""

    def __init__(self, payload: bytes, before: Any, in_flight: Any = ()) -> None:
        self.payload = payload
        self.before = before
        self.in_flight = in_flight
        self.once: Any = ()


class Store:
    """Keeps checkpoints. *slow*: a write takes some turns of the loop. *ends*: the number of the write during which
    `end` is called (a kill, a stop); that one is durable or not."""

    def __init__(self, observed: Any, before: Any, *, slow: bool = False) -> None:
        self.observed = observed
        self.before = before
        self.slow = slow
        self.kept: list[Kept] = []
        self.writes = 0
        self.ends = 0
        self.durable = True
        self.end: Any = None

    def persist(self, moment: Any, payload: bytes) -> Any:
        if moment.kind != "step":
            return None
        self.writes += 1
        taken, in_flight = WITNESS.taken()
        kept = Kept(payload, self.observed.total(self.before), in_flight)
        if self.writes == self.ends:
            if self.durable:
                self._keep(kept, taken)
            self.end()
            return asyncio.get_running_loop().create_future()
        if self.slow and (turns := random.choice((0, 1, 2, 6))):
            return self._written(turns, kept, taken)
        self._keep(kept, taken)
        return None

    async def _written(self, turns: int, kept: Kept, taken: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        self._keep(kept, taken)

    def _keep(self, kept: Kept, taken: int) -> None:
        self.ended()
        self.kept.append(kept)
        WITNESS.durable(taken)

    def ended(self) -> None:
        """Nothing more follows upon the last checkpoint than has by now."""
        if self.kept:
            self.kept[-1].once = WITNESS.begun_once()


def ended(outcome: Any) -> tuple[str, str]:
    if isinstance(outcome, Completed):
        return "completed", repr(outcome.value)
    if isinstance(outcome, Failed):
        return "failed", repr(fuzzing.chain(outcome.error))
    return type(outcome).__name__, str(getattr(outcome, "why", ""))


class Trial:
    """One program, its module and what it does in plain Python."""

    def __init__(
        self, loop: Any, observed: Ordered | Counted, module: Any, seed: int, *, longest_s: float = 20
    ) -> None:
        self.loop = loop
        self.longest_s = longest_s
        self.observed = observed
        self.case = module.case
        self.seed = seed
        self.resumed = 0
        self.cancelled_at = 0  # the number of the effect that cancels its own task
        self.expected: tuple[str, str] = ("", "")

    # --- runs ------------------------------------------------------------------------------------------------------
    def plain(self) -> None:
        """Learn what is expected. Raises `Undecided`."""
        found = []
        for number in range(self.observed.plain_runs):
            random.seed(self.seed + number)
            self.observed.reset()
            self._cancels(self.observed.nothing)
            try:
                result = "completed", repr(self.loop.run_until_complete(self._bounded(self.case())))
            except Endless:
                raise Undecided("it does not end") from None
            except (Exception, BaseExceptionGroup, asyncio.CancelledError) as error:
                result = "failed", repr(fuzzing.chain(error))
            found.append((result, self.observed.seen()))
            self._swept()
        if any(other != found[0] for other in found):
            raise Undecided("its branches decide")
        self.expected, self.observed.whole = found[0]

    def _swept(self) -> None:
        """What the program has left running, as `asyncio.run` would end it: it must not go on beside the next one."""
        counted = WITNESS.plain.copy()
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        if left:
            self.loop.run_until_complete(asyncio.wait(left, timeout=1))
        WITNESS.plain = counted

    def start(self, store: Store) -> tuple[str, str]:
        self.observed.reset()
        self._cancels(self.observed.nothing)
        WITNESS.hears(())
        agent = Agent("a", persist=store.persist)
        got = ended(self.loop.run_until_complete(self._bounded(agent.start(self.case))))
        store.ended()
        return got

    def resume(self, kept: Kept, store: Store) -> tuple[str, str]:
        self.resumed += 1
        self.observed.reset()
        self._cancels(kept.before)
        WITNESS.hears(kept.in_flight if self.observed.branches else (), kept.once)
        agent = Agent("a", persist=store.persist)
        got = ended(self.loop.run_until_complete(self._bounded(agent.resume(kept.payload))))
        store.ended()
        return got

    def _cancels(self, before: Any) -> None:
        """Some have begun before this process."""
        done = sum(1 for event in before if event[0] == "effect") if self.cancelled_at else 0
        fuzzing.CANCELS[0] = self.cancelled_at - done

    async def _bounded(self, operation: Any) -> Any:
        running = asyncio.ensure_future(operation)
        if not (await asyncio.wait([running], timeout=self.longest_s))[0]:
            running.cancel()
            await asyncio.wait([running], timeout=1)
            raise Endless(f"it has not ended after {self.longest_s} s")
        return running.result()

    def same(self, got: tuple[str, str], before: Any, where: str) -> None:
        if WITNESS.found is not None:
            raise Differs(f"{where}: {WITNESS.found}")
        wrong = self.observed.wrong(before)
        if got != self.expected or wrong is not None:
            first, second = apart(self.expected[1], got[1])
            raise Differs(
                f"{where}\n  expected {self.expected[0]} {first}\n  got      {got[0]} {second}\n  {wrong or ''}"
            )

    # --- trials ----------------------------------------------------------------------------------------------------
    def all(self) -> None:
        """Raises `Differs` at the first difference. One program in eight with a collector that comes all the time, one in
        four with a `ContextVar` that is part of the agent."""
        fuzzing.counts(self.seed % 4 == 1)
        threshold = gc.get_threshold()
        if self.seed % 8 == 0:
            gc.set_threshold(3 + self.seed % 5)
        try:
            self._all()
        finally:
            gc.set_threshold(*threshold)

    def _all(self) -> None:
        self.plain()
        nothing = self.observed.nothing
        for slow in (False, True):
            random.seed(self.seed)
            store = Store(self.observed, nothing, slow=slow)
            self.same(self.start(store), nothing, f"in an agent{' that is written slowly' if slow else ''}")
            self.each(store)
        if store.kept:
            self.row(store)
            self.stopped(store.writes)
            self.killed(store.writes)
        self.cancelled()

    def cancelled(self) -> None:
        """An effect of one task cancels it: at every await, over many programs."""
        effects = sum(1 for event in self.observed.whole if event[0] == "effect")
        if self.observed.branches or not effects:
            return
        self.cancelled_at = random.randint(1, effects)
        self.plain()
        store = Store(self.observed, self.observed.nothing, slow=True)
        where = f"cancelled in effect {self.cancelled_at}"
        self.same(self.start(store), self.observed.nothing, where)
        for kept in random.sample(store.kept, min(3, len(store.kept))):
            later = Store(self.observed, kept.before)
            self.same(self.resume(kept, later), kept.before, f"{where}, resumed from {store.kept.index(kept) + 1}")

    def everywhere(self) -> int:
        """Written at once, and resumed from every checkpoint; answers their number."""
        self.plain()
        store = Store(self.observed, self.observed.nothing)
        self.same(self.start(store), self.observed.nothing, "in an agent")
        self.each(store, len(store.kept))
        return len(store.kept)

    def each(self, store: Store, at_most: int = _RESUMED_AT_MOST) -> None:
        """Resume from every checkpoint, or from so many of them."""
        chosen = list(enumerate(store.kept, 1))
        if len(chosen) > at_most:
            chosen = random.sample(chosen, at_most)
        for number, kept in chosen:
            later = Store(self.observed, kept.before, slow=store.slow)
            self.same(self.resume(kept, later), kept.before, f"resumed from checkpoint {number} of {len(store.kept)}")

    def row(self, store: Store) -> None:
        """Resume from a checkpoint of a resumed run, and so on."""
        for life in range(2, _LIVES + 1):
            if not store.kept:
                return
            kept = random.choice(store.kept)
            store = Store(self.observed, kept.before, slow=True)
            self.same(self.resume(kept, store), kept.before, f"in life {life} of a row")

    def stopped(self, writes: int) -> None:
        """Drained while a checkpoint is being written: no statement runs, and it goes on from the last durable one."""
        store = self._mortal(writes)
        agent = Agent("a", persist=store.persist)
        ran: list[int] = []

        async def stop() -> None:
            ran.append(self.observed.ran())
            await agent.stop("drained")

        store.end = lambda: self.loop.create_task(stop())
        got = ended(self.loop.run_until_complete(self._bounded(agent.start(self.case))))
        self._after_death(store, ran, got == ("Stopped", "drained"), f"stopped in write {store.ends}: {got}")

    def killed(self, writes: int) -> None:
        """The loop is never run again; what the collector finds of the agent runs no statement."""
        loop = asyncio.new_event_loop()
        store = self._mortal(writes)
        died = False

        def end() -> None:
            nonlocal died
            died = True
            loop.stop()

        store.end = end
        task = loop.create_task(Agent("a", persist=store.persist).start(self.case))
        task.add_done_callback(lambda _: loop.stop())
        loop.call_later(self.longest_s, loop.stop)
        loop.run_forever()
        ran = [self.observed.ran()] if died else []
        loop.set_exception_handler(lambda *_: None)
        for other in (task, *asyncio.all_tasks(loop)):
            other._log_destroy_pending = False
        loop._ready.clear()
        loop._scheduled.clear()
        loop.close()
        hook, sys.unraisablehook = sys.unraisablehook, lambda _: None  # asyncio's own queues want an open loop
        del task, other  # all that is left of the agent goes now, and no frame of it closes beside the next run
        gc.collect()
        sys.unraisablehook = hook
        self._after_death(store, ran, True, f"killed in write {store.ends}")

    def _mortal(self, writes: int) -> Store:
        store = Store(self.observed, self.observed.nothing, slow=True)
        store.ends, store.durable = random.randint(1, writes), random.random() < 0.5
        self.observed.reset()
        WITNESS.hears(())
        return store

    def _after_death(self, store: Store, ran: list[int], fine: bool, where: str) -> None:
        if WITNESS.found is not None:
            raise Differs(f"{where}: {WITNESS.found}")
        store.ended()
        if not ran:
            return  # it had fewer checkpoints this time
        if not fine or self.observed.ran() != ran[0]:
            raise Differs(f"{where}: {self.observed.ran() - ran[0]} statements ran after it")
        if store.kept:
            kept = store.kept[-1]
            self.same(self.resume(kept, Store(self.observed, kept.before)), kept.before, f"{where}, then resumed")


def apart(one: str, two: str, around: int = 150) -> tuple[str, str]:
    """Both texts, from shortly before the place where they part."""
    at = next((n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
    start = max(0, at - around)
    return one[start : at + around], two[start : at + around]
