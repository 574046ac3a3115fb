"""Random programs over the syntax that playbooks promise, from a seed. Called by tests/test_engine_fuzz.py.

Expressions are written in expressing.py, the rarer statements in corners.py; the values and helpers that programs use are in
fuzzing.py, imported by them as `fuzzing`.
"""

from __future__ import annotations

import random
import re
import textwrap

from corners import Corners

_HEAD = """\
from __future__ import annotations

from fuzzing import *
from fuzzing import LOG, _mixed_tag
from playbooks_worker import playbook

GLOBAL = 0

"""
# names of builtins, and such as an engine might use itself
_SHADOWS = ("id", "type", "BaseException", "StopIteration", "iter", "_pc", "__t1", "frame", "outcome")


class Program(Corners):
    """Writes one program. ``fuel`` bounds its statements, ``awaits`` is how often an expression awaits."""

    def __init__(self, seed: int, fuel: int = 14) -> None:
        self.random = random.Random(seed)
        self.fuel = fuel
        self.number = 0
        self.awaits = self.random.choice([0.15, 0.3, 0.5])
        self.names = ["a", "b", "c"]
        self.captured = ["x", "y"]  # shared with nested functions
        self.loop = 0  # loops that break and continue may leave
        self.handler = 0
        self.starred = 0
        self.counters = 0
        self.method = self.random.random() < 0.4

    def text(self) -> str:
        other = self.other() if self.chance(0.4) else ""
        return _HEAD + other + (self.as_method() if self.method else self.as_function())

    def other(self) -> str:
        """A playbook that this one calls."""
        method, self.method = self.method, False
        fuel, self.fuel = self.fuel, 4
        text = f"@playbook\nasync def other(first, second=3, *args, third=4, **words):\n{self.body()}\n\n"
        self.method, self.fuel = method, fuel
        self.callees = (*self.callees, "other")
        return text

    def as_method(self) -> str:
        head = "@playbook\nasync def main(self, first, /, second=3, *args, third=4, **words):\n    'Doc.'\n"
        where = "class K(Base):\n" + textwrap.indent(head + self.body(), "    ")
        name = "K"
        if self.chance(0.2):
            where, name = "class Outer:\n" + textwrap.indent(where, "    "), "Outer.K"
        return where + f"\n\n@playbook\nasync def case():\n    return await {name}().main(1, third=O(2), w=3)\n"

    def as_function(self) -> str:
        text = f"@playbook\nasync def main(first, second=3, *args, third=4, **words):\n{self.body()}\n"
        where = self.pick("", "", "", "if GLOBAL == 0:\n", "try:\n", "@beside\n")
        if where.endswith(":\n"):
            text = textwrap.indent(text, "    ")
        ends = "finally:\n    pass\n" if where.startswith("try") else ""
        case = "\n\n@playbook\nasync def case():\n    return await main(1, 2, O(9), third=O(2), w=3)\n"
        return where + text + ends + case

    def body(self) -> str:
        self.shadow = self.pick(*_SHADOWS) if self.chance(0.3) else ""
        self.names = ["a", "b", "c", *filter(None, [self.shadow])]
        lines = [
            "a, b, c = O(1), O(2), O(3)",
            *([f"{self.shadow} = O(8)"] if self.shadow else []),
            "x = O(4)",
            "y = O(5)",
            "z = [O(6), O(7)]",
            *self.functions(),
            *self.block(3, top=True),
            "return tag([a, b, c, x, y, z, args, words])",
        ]
        declared = sorted({found for line in lines for found in re.findall(r"^ *(global_\d+) =", line)})
        return textwrap.indent("\n".join([*(f"global {name}" for name in declared), *lines]), "    ")

    # --- helpers --------------------------------------------------------------------------------------------------
    def functions(self) -> list[str]:
        shared = self.pick("x", "y")
        return [
            "async def later(v, w=x):",
            f"    nonlocal {shared}",
            f"    {shared} = await effect({self.k()}, v)",
            "    return w",
            "def bump(by=1, *more, k=2):",
            f"    nonlocal {shared}",
            f"    {shared} = O(_mixed_tag({shared}) + 1)",
            "    log('bump', tag(by), tag(k))",
            f"    return {self.pick('x', 'y')}",
            f"double = lambda v, w=x: note(v, {self.pick('x', 'y', 'w')})",
        ]

    # --- statements -----------------------------------------------------------------------------------------------
    def block(self, depth: int, *, top: bool = False) -> list[str]:
        lines: list[str] = []
        for _ in range(self.random.randint(4, 7) if top else self.random.randint(1, 3)):
            if self.fuel <= 0:
                break
            self.fuel -= 1
            guarded = top and self.chance(0.6)  # or most programs would end at their first error
            written = self.statement(depth)
            if guarded:
                written = ["try:", *["    " + line for line in written], "except Exception as error:"]
                written += [f"    log('failed', {self.k()}, chain(error))"]
            lines += written
        return lines or ["pass"]

    def inner(self, depth: int) -> list[str]:
        return ["    " + line for line in self.block(depth - 1)]

    def target(self) -> str:
        return self.pick(
            lambda: self.pick(*self.names, *self.captured),
            lambda: self.pick(*self.names, *self.captured),
            lambda: f"O({self.k()}).p",
            lambda: f"O({self.k()})[{self.expr(1)}]",
            lambda: f"note({self.k()}).p",
            lambda: f"{self.awaited(0)}.p",
            lambda: "unbound",
        )()

    def statement(self, depth: int) -> list[str]:
        choices = [
            self.assign,
            self.assign,
            self.unpack,
            self.augmented,
            lambda: [self.expr(2)],
            lambda: [f"log('at', {self.k()}, tag({self.expr(2)}))"],
            lambda: [f"z.append({self.expr(1)})"],
            lambda: [f"assert note({self.k()}), {self.expr(1)}"],
            lambda: [f"assert {self.expr(1)}, {self.expr(1)}"] if self.chance(0.3) else ["pass"],
            lambda: [f"del O({self.k()})[{self.expr(1)}], {self.awaited(0)}.p"],
            lambda: ["import os.path"],
            self.definition,
            self.match,
            lambda: [f"{self.pick('a', 'x')} = {self.expr(1)}; {self.pick('b', 'y')} = {self.expr(1)}"],
            self.rare,
            self.handlers,
            lambda: self.corner(depth),
            lambda: self.corner(depth),
            lambda: self.corner(depth),
        ]
        if depth > 0:
            choices += [
                lambda: self.if_(depth),
                lambda: self.if_(depth),
                lambda: self.for_(depth),
                lambda: self.for_(depth),
                lambda: self.while_(depth),
                lambda: self.try_(depth),
                lambda: self.try_(depth),
                lambda: self.try_(depth),
                lambda: self.with_(depth),
            ]
        return self.random.choice(choices)()

    def rare(self) -> list[str]:
        roll = self.random.random()
        if self.loop and not roll < 0.3:
            return [f"if {self.expr(1)}: {self.pick('break', 'continue')}"]
        if roll < 0.15 and not self.starred:
            return [f"if {self.expr(1)}: return tag([{self.expr(1)}, a, x])"]
        if roll < 0.3:
            return ["unbound = 5", "log('unbound', unbound)", "del unbound"]
        if self.handler and roll < 0.6:
            return [self.pick("raise", f"raise Err({self.k()})", f"raise Other({self.k()}, {self.expr(1)})")]
        if roll < 0.8:
            return [f"if {self.expr(1)}: raise {self.pick('Err', 'Other')}({self.k()}, {self.expr(1)})"]
        return [f"raise Err({self.expr(1)}) from {self.pick('None', f'Other(1, {self.expr(1)})')}"]

    def assign(self) -> list[str]:
        if self.chance(0.2):
            return [f"{self.target()} = {self.target()} = {self.expr(2)}"]
        if self.chance(0.1):
            return [f"{self.pick(*self.names)}: int = {self.expr(2)}"]
        return [f"{self.target()} = {self.expr(3)}"]

    def unpack(self) -> list[str]:
        pattern = self.pick(
            f"{self.target()}, {self.target()}",
            f"{self.target()}, *{self.target()}",
            f"*{self.target()}, ({self.target()}, {self.target()})",
            f"[{self.target()}, ({self.target()}, *{self.target()})]",
        )
        value = self.pick(
            f"{self.expr(1)}, ({self.expr(1)}, {self.expr(1)})",
            f"[{self.expr(1)}, [{self.expr(1)}, 3]]",
            f"O({self.k()})",
        )
        return [f"{pattern} = {value}"]

    def augmented(self) -> list[str]:
        operator = self.pick("+=", "+=", "-=", "*=", "|=")
        target = self.pick(self.pick("a", "b", "x", "y"), f"O({self.k()}).p", f"O({self.k()})[{self.expr(1)}]", "z[0]")
        return [f"{target} {operator} {self.expr(2)}"]

    def definition(self) -> list[str]:
        k = self.k()
        function = f"def f{k}(v): return note({k}, (v, y))"
        return self.pick(
            [f"def f{k}(v, w={self.expr(1)}, *, u={self.expr(1)}):", f"    return note({k}, (v, w, u, x))"]
            + [f"log('f', tag(f{k}({self.expr(1)})))"],
            [f"class C{k}(Base):", f"    held = note({k}, x)", "    def get(self): return self.held, y"]
            + [f"log('C', C{k}.__qualname__, tag(C{k}().get()))", f"del C{k}"],
            [f"@(note({self.expr(0)}), lambda f: same({k}, f))[1]", function, f"log('f', tag(f{k}({self.expr(1)})))"],
            [f"functions = [lambda n=n: note(n, (n, x)) for n in range({k % 3 + 1})]"]
            + [f"log('lambdas', tag([g() for g in functions]), tag({self.expr(1)}))"],
            [f"def rec(n): return note({k}) if n <= 0 else rec(n - 1)", f"log('rec', tag([rec(2), {self.expr(1)}]))"],
            [f"later = [lambda: note({k}, n) for n in range(3)]", f"b = {self.awaited(1)}"]
            + ["log('later', tag([g() for g in later]))"],
        )

    def match(self) -> list[str]:
        return [
            f"match {self.pick('a', 'z', 'first', '[1, 2, 3]')}:",
            "    case [b, *c]: log('list', tag(b))",
            f"    case O(t=number) if note({self.k()}): log('O', number)",
            "    case _: log('default')",
        ]

    def if_(self, depth: int) -> list[str]:
        lines = [f"if {self.expr(2)}:", *self.inner(depth)]
        if self.chance(0.4):
            lines += [f"elif {self.expr(2)}:", *self.inner(depth)]
        if self.chance(0.5):
            lines += ["else:", *self.inner(depth)]
        return lines

    def handlers(self) -> list[str]:
        """Exceptions raised while others are handled, and awaits where they are."""
        cause = self.pick("", "", " from None", " from first")
        return [
            "try:",
            f"    {self.pick(f'fail({self.k()})', f'await broken({self.k()})')}",
            "except (Err, Other) as first:",
            *([f"    {self.expr(1)}"] if self.chance(0.3) else []),
            "    try:",
            "        try:",
            f"            raise Other({self.k()}, {self.expr(1)})",
            "        except Other:",
            *([f"            {self.awaited(0)}"] if self.chance(0.5) else []),
            f"            {self.pick(f'raise Err({self.k()}){cause}', 'raise', f'raise Err({self.k()}) from None')}",
            "    except (Err, Other) as second:",
            f"        {self.awaited(1)}",
            "        log('handlers', chain(second))",
        ]

    def for_(self, depth: int) -> list[str]:
        head = self.pick(
            lambda: f"for {self.target()} in {self.source(1)}:",
            lambda: f"for {self.pick('a', 'x')} in {self.source(1)}:",
            lambda: f"for i, {self.target()} in enumerate({self.source(1)}):",
            lambda: f"for {self.target()}, *c in [(1, {self.expr(1)}, 3), [4, 5]]:",
            lambda: f"for q, {self.pick('b', 'y')} in {{'a': {self.expr(1)}, 'b': 2}}.items():",
            lambda: f"for q in {{1: {self.expr(1)}, 2: 3}}:",
            lambda: f"for q, {self.pick('b', 'y')} in zip(z[:2], {self.source(1)}):",
            lambda: f"for q in reversed([{self.expr(1)}, 2]):",
        )()
        self.loop += 1
        lines = [head, *self.inner(depth)]
        self.loop -= 1
        if self.chance(0.3):
            lines += ["else:", *self.inner(depth)]
        return lines

    def while_(self, depth: int) -> list[str]:
        self.counters += 1
        n = f"n{self.counters}"
        lines = [f"{n} = 0", f"while ({n} := {n} + 1) < 4 and {self.expr(1)}:"]
        self.loop += 1
        lines += self.inner(depth)
        self.loop -= 1
        if self.chance(0.4):
            lines += ["else:", *self.inner(depth)]
        return lines

    def try_(self, depth: int) -> list[str]:
        lines = ["try:", *self.inner(depth)]
        if self.chance(0.6):
            lines.append(
                "    " + self.pick(f"fail({self.k()})", f"await broken({self.k()})", f"raise Other(1, {self.k()})")
            )
        clauses = []
        if self.chance(0.5):
            clauses.append("except Err as error:")
        if self.chance(0.5):
            clauses.append(
                self.pick("except (Other, TypeError) as y:", "except Other as error:", "except note(1, Other):")
            )
        if self.chance(0.3):
            clauses.append("except Exception as error:")
        final = not clauses or self.chance(0.3)
        for clause in clauses:
            self.handler += 1
            lines += [clause]
            caught = "error" if "as error" in clause else "y" if "as y" in clause else "None"
            if caught != "None" and self.chance(0.3):
                lines.append(f"    {caught}.add_note('n{self.k()}')")
            lines += [*self.inner(depth)]
            if caught != "None" and self.chance(0.6):
                lines.append(f"    log('caught', chain({caught}) if isinstance({caught}, BaseException) else 0)")
            self.handler -= 1
        if clauses and self.chance(0.4):
            lines += ["else:", *self.inner(depth)]
        if final:
            lines += ["finally:", f"    log('finally', {self.k()}, tag(a))"]
            if self.chance(0.3):
                lines += self.inner(depth)
            if self.loop and self.chance(0.1):
                lines.append("    " + self.pick("break", "continue"))
        return lines

    def with_(self, depth: int) -> list[str]:
        head = self.pick(
            lambda: f"with Manager(str(tag({self.expr(1)}))) as {self.pick('a', 'x', 'O(1).p', '_')}:",
            lambda: f"async with Manager(str(tag({self.expr(1)}))) as {self.pick('a', 'y')}:",
            lambda: f"with Manager({self.k()}), Manager(str(tag({self.expr(1)}))) as b:",
            lambda: f"async with Manager({self.k()}) as c, Manager(str(c)):",
        )()
        return [head, *self.inner(depth)]


def program(seed: int, fuel: int = 14) -> str:
    return Program(seed, fuel).text()
