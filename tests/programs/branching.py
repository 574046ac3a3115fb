"""Random programs with branches that share mutable objects, from a seed; the order of the branches does not show in their
results, or the runner leaves them out (fuzz.py compares several plain runs).

What they are made of is in sharing.py. The sequential half of the grammar is generator.py.
"""

from __future__ import annotations

import random
import textwrap

from joining import Joining

_HEAD = """\
from __future__ import annotations

from fuzzing import Err, Manager, Other, chain, tag
from pooling import *
from sharing import *

"""


class Branching(Joining):
    """Writes one program: some playbooks that call each other downwards, and `case`, which calls the first."""

    def __init__(self, seed: int, fuel: int = 14) -> None:
        self.random = random.Random(seed)
        self.fuel = fuel
        self.caught = 0  # `try` statements around that catch what is raised here
        self.loop = 0
        self.inside = False  # inside the lock or the semaphore: nothing there may wait for other branches
        self.lowest = 0  # playbooks from this number on may be called
        self.count = self.random.randint(2, 4)

    def text(self) -> str:
        share = max(3, self.fuel // self.count)
        parts = []
        for index in range(self.count):
            self.fuel, self.lowest = share, index + 1
            parts.append(self.playbook(f"p{index}"))
        parts.append(_CASE)
        return _HEAD + "\n".join(parts)

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
        if self.inside or self.lowest >= self.count:
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
            self.asynchronous,
        ]
        if not self.inside:
            choices += [lambda: self.concurrent(depth)] * 7
            choices += [lambda: self.locked(depth)]
            choices += [lambda: self.holding(depth)] * 3
            choices += [lambda: self.joining(depth)] * 6
        if depth > 0:
            choices += [
                lambda: self.if_(depth),
                lambda: self.loop_(depth),
                lambda: self.loop_(depth),
                lambda: self.try_(depth),
                lambda: self.try_(depth),
                lambda: self.match_(depth),
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

    def locked(self, depth: int) -> list[str]:
        self.inside = True
        k, inner = self.k(), self.inner(min(depth, 2))
        self.inside = False
        return self.pick(
            ["async with s.lock:", "    before = s.value", f"    got = await effect(me, {k}, 1)"]
            + ["    s.value = before + 1", *inner],
            ["async with s.gate:", "    s.enter()", "    try:", *["    " + line for line in inner]]
            + ["    finally:", "        s.leave()"],
            [
                "await s.gate.acquire()",
                "s.enter()",
                "try:",
                *inner,
                "finally:",
                "    s.leave()",
                "    s.gate.release()",
            ],
        )

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
            if self.chance(0.5):
                lines += self.inner(depth)
        return lines

    def match_(self, depth: int) -> list[str]:
        k = self.k()
        return [
            f"match {self.pick('v % 3', f'await effect(me, {k}, v) % 3', '[v % 2, v]')}:",
            f"    case 0 | [0, _] if {self.pick('v % 2', f'await effect(me, {k}, v) % 2')}:",
            *["    " + line for line in self.inner(depth)],
            "    case [_, m] | m:",
            *["    " + line for line in self.inner(depth)],
            f"        s.at(me, {k}, m)",
        ]

    def with_(self, depth: int) -> list[str]:
        k = self.k()
        head = self.pick(f"with Manager(mixed({k}, v)) as target:", f"async with Manager(mixed({k}, v)) as target:")
        return [head, f"    s.at(me, {k}, target)", *self.inner(depth)]


_CASE = """\
@playbook
async def case():
    s = State()
    v = await p0(s, 'm', 1)
    return v, s.report()
"""


def program(seed: int, fuel: int = 14) -> str:
    return Branching(seed, fuel).text()
