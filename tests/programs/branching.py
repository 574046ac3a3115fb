"""Random programs with branches that share mutable objects, from a seed; the order of the branches does not show in their
results, or the runner leaves them out (fuzz.py compares several plain runs).

What they are made of is in sharing.py. The sequential half of the grammar is generator.py.
"""

from __future__ import annotations

import random
import textwrap

_HEAD = """\
from __future__ import annotations

from sharing import *

"""


class Branching:
    """Writes one program: some playbooks that call each other downwards, and `case`, which calls the first."""

    def __init__(self, seed: int, fuel: int = 14) -> None:
        self.random = random.Random(seed)
        self.fuel = fuel
        self.number = 0
        self.caught = 0  # `try` statements around that catch what is raised here
        self.loop = 0
        self.held = False  # inside the lock or the semaphore: nothing there may wait for other branches
        self.lowest = 0  # playbooks from this number on may be called
        self.count = self.random.randint(2, 4)

    def text(self) -> str:
        share = max(3, self.fuel // self.count)
        parts = []
        for index in range(self.count):
            self.fuel, self.lowest = share, index + 1
            parts.append(self.playbook(f"p{index}"))
        parts.append(_FAILING.format(k=self.k()))
        parts.append(_RECURSIVE)
        parts.append(_CASE)
        return _HEAD + "\n".join(parts)

    # --- helpers --------------------------------------------------------------------------------------------------
    def k(self) -> int:
        self.number += 1
        return self.number

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def pick(self, *options):
        return self.random.choice(options)

    def playbook(self, name: str) -> str:
        body = [
            "count = 0",
            "items = s.items",
            "def bump(by=1):",
            "    nonlocal count",
            "    count += by",
            "    return count",
            *self.block(3, top=True),
            f"s.at(me, {self.k()}, v, count, items is s.items)",
            "return v",
        ]
        return f"@playbook\nasync def {name}(s, me, v):\n{textwrap.indent(chr(10).join(body), '    ')}\n"

    # --- what is awaited ------------------------------------------------------------------------------------------
    def callee(self) -> str | None:
        if self.held or self.lowest >= self.count:
            return None
        return f"p{self.random.randint(self.lowest, self.count - 1)}"

    def awaited(self) -> str:
        callee, k = self.callee(), self.k()
        choices = [
            lambda: f"effect(me, {k}, v)",
            lambda: f"effect(me, {k}, bump())",
            lambda: f"s.step(me, {k}, v)",
            lambda: f"recursive(s, me, {k % 3})",
            lambda: f"after_waiting(recursive, s, me, {k}, {k % 2})",
        ]
        if callee:
            choices += [
                lambda: f"{callee}(s, me, v)",
                lambda: f"{callee}(s, me, await effect(me, {k}, v))",
                lambda: f"after_waiting({callee}, s, me, {k}, v)",
                lambda: f"twice({callee}, s, me, {k}, v)",
            ]
        return self.pick(*choices)()

    def branch(self, index: int) -> str:
        """One argument of a gather; each has a name of its own."""
        callee, k = self.callee(), self.k()
        me = f"(me, {k})"
        choices = [
            lambda: f"effect({me}, {k}, v)",
            lambda: f"s.step({me}, {k}, v + {index})",
            lambda: f"recursive(s, {me}, {k % 3})",
            lambda: f"after_waiting(recursive, s, {me}, {k}, 1)",
        ]
        if callee:
            choices += [
                lambda: f"{callee}(s, {me}, v)",
                lambda: f"{callee}(s, {me}, v)",
                lambda: f"after_waiting({callee}, s, {me}, {k}, v)",
                lambda: f"twice({callee}, s, {me}, {k}, v)",
                lambda: f"asyncio.gather({callee}(s, {me}, v), effect({me}, {k}, v))",
            ]
        return self.pick(*choices)()

    def branches(self, least: int = 1) -> list[str]:
        return [self.branch(index) for index in range(self.random.randint(least, 3))]

    # --- statements -----------------------------------------------------------------------------------------------
    def block(self, depth: int, *, top: bool = False) -> list[str]:
        lines: list[str] = []
        for _ in range(self.random.randint(3, 5) if top else self.random.randint(1, 3)):
            if self.fuel <= 0:
                break
            self.fuel -= 1
            if self.chance(0.7):
                lines.append(f"s.at(me, {self.k()}, v)")
            lines += self.statement(depth)
        return lines or ["pass"]

    def inner(self, depth: int) -> list[str]:
        return ["    " + line for line in self.block(depth - 1)]

    def statement(self, depth: int) -> list[str]:
        choices = [
            lambda: [f"v = await {self.awaited()}"],
            lambda: [f"v = await {self.awaited()}"],
            lambda: [f"v = mixed(await {self.awaited()}, v, await {self.awaited()})"],
            lambda: [f"bump(await {self.awaited()})"],
            self.update,
            self.update,
            lambda: [f"v = mixed([await {self.awaited()} for n in range({self.k() % 3 + 1}) if n != 1])"],
            self.cancelled_effect,
            self.jump,
        ]
        if not self.held:
            choices += [
                self.gather,
                self.gather,
                self.collect,
                self.failing,
                self.meeting,
                self.pipeline,
                self.shared_loop,
            ]
            choices += [lambda: self.locked(depth)]
        if depth > 0:
            choices += [
                lambda: self.if_(depth),
                lambda: self.loop_(depth),
                lambda: self.loop_(depth),
                lambda: self.try_(depth),
                lambda: self.try_(depth),
                lambda: self.with_(depth),
            ]
        return self.pick(*choices)()

    def update(self) -> list[str]:
        k = self.k()
        return self.pick(
            ["s.total += v"],
            [f"s.seen.add((str(me), {k}))"],
            [f"items.append({k})", "s.at(me, 'alias', items is s.items)"],
            [f"s.live.setdefault((str(me), {k}), 0)", f"s.live[str(me), {k}] += await effect(me, {k}, 1)"],
        )

    def gather(self) -> list[str]:
        return [f"v = mixed(await asyncio.gather({', '.join(self.branches(2))}))"]

    def collect(self) -> list[str]:
        """Failures and cancellations among the results."""
        k = self.k()
        branches = self.branches() + [
            self.pick(
                f"fails(s, (me, {k}), v)",
                f"effect((me, {k}), {k}, error=Other({k}, 1))",
                f"effect((me, {k}), {k}, cancel='start')",
                f"after_waiting(fails, s, (me, {k}), {k}, v)",
            )
        ]
        self.random.shuffle(branches)
        return [
            f"got = await asyncio.gather({', '.join(branches)}, return_exceptions=True)",
            f"s.at(me, {k}, *[chain(r) if isinstance(r, BaseException) else r for r in got])",
            "v = mixed([tag(r) for r in got])",
        ]

    def failing(self) -> list[str]:
        """One branch fails; the others go on without their gather."""
        k, callee = self.k(), self.callee()
        group = f"(str(me), {k})"
        rest = [f"counted({callee or 'recursive'}, s, (me, {self.k()}), {group}, {'v' if callee else 1})" for _ in "ab"]
        branches = [f"fails(s, (me, {k}), v)", *rest[: self.random.randint(1, 2)]]
        self.random.shuffle(branches)
        return [
            f"s.live[{group}] = {len(branches) - 1}",
            "try:",
            f"    await asyncio.gather({', '.join(branches)})",
            "except Err as error:",
            f"    s.at(me, {k}, chain(error))",
            *([f"    v = await effect(me, {k}, v)"] if self.chance(0.5) else []),
            f"await settled(s, {group})",
        ]

    def meeting(self) -> list[str]:
        """Branches that wait for each other by an event."""
        k = self.k()
        return [f"v = mixed(await asyncio.gather(meets(s, (me, 'a'), {k}, 2), meets(s, (me, 'b'), {k}, 2)))"]

    def pipeline(self) -> list[str]:
        k, size = self.k(), self.pick(0, 1)
        return [
            f"await asyncio.gather(produces(s, (me, 'in'), ({k}, str(me)), 3, {size}),"
            f" consumes(s, (me, 'out'), ({k}, str(me)), 3))"
        ]

    def shared_loop(self) -> list[str]:
        """Two branches that take from one iterator."""
        k = self.k()
        source = self.pick("iter([1, 2, 3, 4])", "iter(range(4))", "enumerate([4, 5, 6])", "iter({1: 2, 3: 4}.items())")
        return [
            f"shared = {source}",
            f"v = mixed(sum(await asyncio.gather(*[takes(s, (me, {k}), shared) for _ in 'ab'])))",
        ]

    def locked(self, depth: int) -> list[str]:
        self.held = True
        k, inner = self.k(), self.inner(min(depth, 2))
        self.held = False
        return self.pick(
            ["async with s.lock:", "    before = s.value", f"    got = await effect(me, {k}, 1)"]
            + ["    s.value = before + 1", *inner],
            ["async with s.gate:", "    s.enter()", "    try:", *["    " + line for line in inner]]
            + ["    finally:", "        s.leave()"],
        )

    def cancelled_effect(self) -> list[str]:
        """The branch cancels itself in an effect, at an await of its own or of what it calls."""
        k = self.k()
        inner = self.pick(
            f"await effect(me, {k}, cancel='start')",
            f"await cancelling(s, me, {k}, 'start')",
            f"await after_waiting(cancelling, s, me, {k}, {k}, 'start')",
        )
        return [
            "try:",
            f"    {inner}",
            f"    await effect(me, ({k}, 'after'))",
            f"    s.at(me, ({k}, 'never'))",
            "except asyncio.CancelledError as error:",
            "    asyncio.current_task().uncancel()",
            f"    s.at(me, {k}, chain(error))",
            *([f"    v = await effect(me, ({k}, 'handler'), v)"] if self.chance(0.6) else []),
        ]

    def jump(self) -> list[str]:
        k = self.k()
        if self.loop and self.chance(0.5):
            return [f"if v % {self.pick(2, 3)} == 0:", f"    s.at(me, {k})", f"    {self.pick('break', 'continue')}"]
        if self.caught and self.chance(0.7):
            kind = self.pick(f"Err({k})", f"Other({k}, v)")
            return [f"if v % {self.pick(2, 3)} == 0:", f"    raise {kind}{self.pick('', ' from None')}"]
        if self.chance(0.2):
            return ["if v % 5 == 0:", f"    return await effect(me, {k}, v)"]
        return [f"v = await effect(me, {k}, v)"]

    def if_(self, depth: int) -> list[str]:
        test = self.pick("v % 2", "v % 3 == 0", f"await effect(me, {self.k()}, v) % 2", "count or v % 2")
        lines = [f"if {test}:", *self.inner(depth)]
        if self.chance(0.5):
            lines += ["else:", *self.inner(depth)]
        return lines

    def loop_(self, depth: int) -> list[str]:
        k = self.k()
        self.loop += 1
        inner = self.inner(depth)
        self.loop -= 1
        return self.pick(
            [f"for n in range({k % 3 + 1}):", *inner],
            [f"for n, m in enumerate([await effect(me, {k}, v), 2]):", *inner, "else:", f"    s.at(me, ({k}, 'else'))"],
            [f"for n, m in {{1: v, 2: {k}}}.items():", *inner],
            [f"pairs = iter([1, 2, 3, {k}])", "for n in pairs:", f"    s.at(me, {k}, n, next(pairs, None))", *inner],
            [f"left{k} = 3", f"while (left{k} := left{k} - 1) and await effect(me, {k}, v):", *inner],
        )

    def try_(self, depth: int) -> list[str]:
        self.caught += 1
        body = self.inner(depth)
        k = self.k()
        if self.chance(0.6):
            body.append("    " + self.pick(f"raise Err({k})", "await fails(s, me, v)", f"raise Other({k}, v)"))
        self.caught -= 1
        lines = ["try:", *body]
        if self.chance(0.5):
            lines += ["except Err as error:", f"    error.add_note('n{k}')", *self.inner(depth)]
            lines += [f"    s.at(me, {k}, chain(error))"]
        lines += ["except (Err, Other) as error:", *self.inner(depth), f"    s.at(me, ({k}, 'all'), chain(error))"]
        if self.chance(0.4):
            lines += ["else:", *self.inner(depth)]
        if self.chance(0.4):
            lines += ["finally:", f"    s.at(me, ({k}, 'finally'), v)"]
        return lines

    def with_(self, depth: int) -> list[str]:
        k = self.k()
        head = self.pick(f"with Manager(mixed({k}, v)) as target:", f"async with Manager(mixed({k}, v)) as target:")
        return [head, f"    s.at(me, {k}, target)", *self.inner(depth)]


_FAILING = """\
@playbook
async def fails(s, me, v):
    s.at(me, {k}, v)
    try:
        await effect(me, ({k}, 'fails'), v)
        raise Other({k}, v)
    except Other as error:
        await effect(me, ({k}, 'wraps'), v)
        s.at(me, {k}, chain(error))
        raise Err({k}, v) from error


@playbook
async def counted(made, s, me, group, v):
    try:
        return await made(s, me, v)
    finally:
        s.live[group] -= 1


@playbook
async def cancelling(s, me, k, how):
    s.at(me, k)
    try:
        await effect(me, (k, 'inner'), cancel=how)
    finally:
        s.at(me, (k, 'finally'))
"""

_RECURSIVE = """\
@playbook
async def recursive(s, me, n):
    s.at(me, ('recursive', n))
    if n <= 0:
        return await effect(me, 'bottom', n)
    return mixed(await recursive(s, me, n - 1), await effect(me, ('up', n)), await recursive(s, me, n - 2))


@playbook
async def meets(s, me, k, number):
    where = (str(me[0]), k)
    await effect(me, (k, 'comes'))
    s.live[where] = s.live.get(where, 0) + 1
    if s.live[where] == number:
        s.event(where).set()
    await s.event(where).wait()
    s.at(me, k, s.live[where])
    return await effect(me, (k, 'goes'))


@playbook
async def produces(s, me, name, number, size):
    for n in range(number):
        await effect(me, (name[0], 'produces', n))
        await s.queue(name, size).put(n)
    s.at(me, name[0])


@playbook
async def consumes(s, me, name, number):
    for n in range(number):
        while name not in s.queues:
            await asyncio.sleep(0)
        got = await s.queue(name).get()
        s.at(me, name[0], got)
        await effect(me, (name[0], 'consumes', n), got)


@playbook
async def takes(s, me, shared):
    total = 0
    for item in shared:
        total += mixed(item)
        s.seen.add((str(me), str(item)))
        await effect(me, ('takes', str(item)))
    return total
"""

_CASE = """\
@playbook
async def case():
    s = State()
    v = await p0(s, 'm', 1)
    return v, s.report()
"""


def program(seed: int, fuel: int = 14) -> str:
    return Branching(seed, fuel).text()
