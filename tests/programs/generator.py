"""Random programs over the syntax that playbooks promise, from a seed. Called by tests/test_engine_fuzz.py.

The values and helpers that programs use are in fuzzing.py, imported by them as `fuzzing`.
"""

from __future__ import annotations

import random
import textwrap

from chance import Choosing

_HEAD = """\
from __future__ import annotations

from fuzzing import *
from fuzzing import LOG, _mixed_tag
from playbooks_worker import playbook

GLOBAL = 0

"""


class Program(Choosing):
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
        self.final = 0
        self.counters = 0
        self.helper = False
        self.method = self.random.random() < 0.4

    def text(self) -> str:
        body = [
            "a, b, c = O(1), O(2), O(3)",
            "x = O(4)",
            "y = O(5)",
            "z = [O(6), O(7)]",
            *self.functions(),
            *self.block(3, top=True),
            "return tag([a, b, c, x, y, z, args, words])",
        ]
        code = textwrap.indent("\n".join(body), "    ")
        if self.method:
            code = f"@playbook\nasync def main(self, first, /, second=3, *args, third=4, **words):\n    'Doc.'\n{code}"
            code = "class K(Base):\n" + textwrap.indent(code, "    ")
            code += "\n\n@playbook\nasync def case():\n    return await K().main(1, third=O(2), w=3)\n"
        else:
            code = f"@playbook\nasync def main(first, second=3, *args, third=4, **words):\n{code}"
            code += "\n\n@playbook\nasync def case():\n    return await main(1, 2, O(9), third=O(2), w=3)\n"
        return _HEAD + code

    # --- helpers --------------------------------------------------------------------------------------------------
    def functions(self) -> list[str]:
        shared = self.pick("x", "y")
        return [
            "def bump(by=1, *more, k=2):",
            f"    nonlocal {shared}",
            f"    {shared} = O(_mixed_tag({shared}) + 1)",
            "    log('bump', tag(by), tag(k))",
            f"    return {self.pick('x', 'y')}",
            f"double = lambda v, w=x: note(v, {self.pick('x', 'y', 'w')})",
        ]

    # --- expressions ----------------------------------------------------------------------------------------------
    def name(self) -> str:
        if self.chance(0.02):
            return "unbound"
        return self.pick(*self.names, *self.names, *self.captured, "first", "second", "third")

    def atom(self) -> str:
        roll = self.random.random()
        if roll < 0.45:
            return self.name()
        if roll < 0.6:
            return str(self.k() % 7)
        if roll < 0.65:
            return "GLOBAL"
        if roll < 0.7:
            return "z[0]"
        return f"note({self.k()})"

    def awaited(self, depth: int) -> str:
        operand = self.pick(
            lambda: f"effect({self.k()}, {self.expr(depth)})",
            lambda: f"effect({self.k()})",
            lambda: f"leaf({self.k()}, {self.expr(depth)})",
            lambda: f"leaf({self.arguments(depth)})",
            lambda: f"through({self.k()}, {self.expr(depth)})",
            lambda: f"through(note({self.k()}), value={self.expr(depth)})",
            lambda: f"Aw({self.k()}, {self.expr(depth)})",
            lambda: f"(effect if {self.expr(depth)} else through)({self.k()}, {self.expr(depth)})",
            lambda: f"(through({self.k()}, {self.atom()}) if {self.expr(depth)} else effect({self.k()}))",
            lambda: f"effect({self.k()}, bump())",
            lambda: f"through({self.k()}, (z.append(note({self.k()})), len(z))[1])",
            lambda: (
                f"[effect({self.k()}), through({self.k()})][{self.expr(0)} and 0]"
                if self.chance(0.05)
                else f"leaf({self.k()})"
            ),
            lambda: f"breaking({self.k()})" if self.chance(0.2) else f"effect({self.k()}, z)",
            lambda: f"broken({self.k()})" if self.chance(0.2) else f"effect({self.k()}, z.copy())",
            lambda: f"super().up({self.expr(depth)})" if self.method else f"effect({self.k()})",
        )()
        return f"(await {operand})"

    def arguments(self, depth: int) -> str:
        parts = []
        for _ in range(self.random.randint(0, 3)):
            parts.append(
                self.pick(
                    lambda: self.expr(depth), lambda: self.expr(depth), lambda: f"*[{self.expr(depth)}]", lambda: "*z"
                )()
            )
        parts.insert(0, self.expr(depth))
        words = [f"k{n}={self.expr(depth)}" for n in range(self.random.randint(0, 2))]
        if self.chance(0.2):
            words.insert(self.random.randint(0, len(words)), f"**{{'q': {self.expr(depth)}}}")
        return ", ".join(parts + words)

    def expr(self, depth: int) -> str:
        if depth <= 0:
            return self.awaited(0) if self.chance(self.awaits * 0.3) else self.atom()
        depth -= 1
        if self.chance(self.awaits * 0.6):
            return self.awaited(depth)
        return self.pick(
            self.atom,
            lambda: f"({self.expr(depth)} {self.pick('+', '-', '*', '|', '@')} {self.expr(depth)})",
            lambda: f"({self.expr(depth)} {self.pick('+', '-', '*')} {self.expr(depth)})",
            lambda: f"(-{self.expr(depth)})",
            lambda: f"(not {self.expr(depth)})",
            lambda: f"({self.expr(depth)} {self.pick('and', 'or')} {self.expr(depth)})",
            lambda: f"({self.expr(depth)} and {self.expr(depth)} or {self.expr(depth)})",
            lambda: f"({self.expr(depth)} if {self.expr(depth)} else {self.expr(depth)})",
            lambda: f"({self.expr(depth)} {self.pick('<', '>', '==', '!=', '<=')} {self.expr(depth)})",
            lambda: f"({self.expr(depth)} < {self.expr(depth)} {self.pick('>', '!=', 'is not')} {self.expr(depth)})",
            lambda: f"({self.expr(depth)} in O({self.k()}))",
            lambda: f"O({self.k()}).m({self.arguments(depth)})",
            lambda: f"note({self.k()}, {self.expr(depth)})",
            lambda: f"O({self.k()})({self.arguments(depth)})",
            lambda: f"O({self.k()}).p",
            lambda: f"O({self.expr(0)} and {self.k()}).p",
            lambda: f"O({self.k()})[{self.expr(depth)}]",
            lambda: f"tuple(z)[{self.k() % 2}:{self.k() % 3}]",
            lambda: f"z[:{self.k() % 3}]",
            lambda: f"O({self.k()})[{self.expr(depth)}:{self.expr(depth)}, {self.atom()}]",
            lambda: f"({self.expr(depth)}, {self.expr(depth)})",
            lambda: f"[{self.expr(depth)}, *{self.source(depth)}, {self.expr(depth)}]",
            lambda: (
                f"{{{self.k()}: {self.expr(depth)}, note({self.k()}, 'n'): {self.expr(depth)},"
                f" **{{'w': {self.expr(depth)}}}}}"
            ),
            lambda: f"({self.pick(*self.names, *self.captured)} := {self.expr(depth)})",
            lambda: f"f'{{{self.inside(depth)}}}-{{{self.inside(depth)}!r:>{{{self.k() % 9}}}}}'",
            lambda: f"f'{{O({self.k()}):{{{self.inside(0)}}}{{{self.inside(0)}}}}}{{{self.atom()}=}}'",
            lambda: self.comprehension(depth),
            lambda: self.comprehension(depth),
            lambda: f"total(note({self.k()}, {self.name()}) for v in {self.source(depth)} if note(v, {self.atom()}))",
            lambda: f"bump({self.expr(depth)}, k={self.expr(depth)})",
            lambda: f"double({self.expr(depth)})",
            lambda: f"(lambda v, w={self.expr(depth)}, *, u={self.expr(depth)}: note(v, (w, u)))({self.expr(depth)})",
            lambda: f"self.__private({self.expr(depth)})" if self.method else f"first + {self.expr(depth)}",
            lambda: f"super().plain({self.expr(depth)})" if self.method else f"third + {self.expr(depth)}",
        )()

    def inside(self, depth: int) -> str:
        """An expression that every Python accepts inside an f-string."""
        text = self.expr(depth)
        return f"(await effect({self.k()}))" if set("'\"{}:!\\=") & set(text) else text

    def source(self, depth: int) -> str:
        return self.pick(
            lambda: f"[{self.expr(depth)}, {self.expr(depth)}]",
            lambda: f"note({self.k()}, [1, 2])",
            lambda: f"O({self.k()})",
            lambda: "list(z)[:3]",
            lambda: f"range({self.k() % 3})",
            lambda: f"(1, {self.expr(0)})",
            lambda: f"await effect({self.k()}, [1, 2])",
        )()

    def comprehension(self, depth: int) -> str:
        target = self.pick("v", "a", "x", "w")
        kept, self.names = self.names, [*self.names, target, target]
        method, self.method = self.method, False  # Python 3.11 has no super() in a comprehension
        captured, self.captured = self.captured, [name for name in self.captured if name != target]
        element = self.expr(depth).replace(":=", "+")
        test = self.expr(0).replace(":=", "+")
        inner = self.expr(0).replace(":=", "+")
        self.names, self.captured, self.method = kept, captured, method
        source = self.source(0).replace(":=", "+")
        second = self.pick("", f" for w in [{inner}, 2]", f" if {test}", f" for w in [1, {inner}] if {test}")
        first = f"for {target} in {source}"
        kind = self.random.random()
        if kind < 0.5:
            return f"[{element} {first}{second}]"
        if kind < 0.7:
            return f"sorted({{str(tag({element})) {first}{second}}})"
        return f"{{note({self.k()}, tag({target})) if 1 else 0: {element} {first}{second}}}".replace(
            "note(", "note(", 1
        ).replace(f"tag({target})) if 1", f"str(tag({target}))) if 1")

    # --- statements -----------------------------------------------------------------------------------------------
    def block(self, depth: int, *, top: bool = False) -> list[str]:
        lines: list[str] = []
        for _ in range(self.random.randint(4, 7) if top else self.random.randint(1, 3)):
            if self.fuel <= 0:
                break
            self.fuel -= 1
            lines += self.statement(depth)
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
        if roll < 0.15:
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
