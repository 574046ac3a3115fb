"""The expressions of generated programs: awaits wherever Python takes one. generator.py and corners.py write the statements
around them.
"""

from __future__ import annotations

from typing import ClassVar

from chance import Choosing

# numbers come back as equal ones (docs/language.md): identity is asked of None alone
_AFTER = (">", "!=", "is not None !=")


class Expressing(Choosing):
    """``awaits`` is how often an expression awaits; ``method`` whether the program is one."""

    awaits: float
    method: bool
    callees: ClassVar[tuple[str, ...]] = ()
    names: list[str]
    captured: list[str]  # shared with nested functions

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
            lambda: f"Base.{self.pick('fixed', 'made')}({self.k()}, {self.expr(depth)})",
            lambda: f"decorated({self.k()}, {self.expr(depth)})",
            lambda: f"later({self.expr(depth)})",
            lambda: f"{self.pick(*self.callees)}({self.arguments(0)})" if self.callees else f"leaf({self.k()})",
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
            lambda: f"({self.expr(depth)} < {self.expr(depth)} {self.pick(*_AFTER)} {self.expr(depth)})",
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
            lambda: self.rarer(depth),
            lambda: self.rarer(depth),
            lambda: self.rarer(depth),
            lambda: f"self.__private({self.expr(depth)})" if self.method else f"first + {self.expr(depth)}",
            lambda: f"super().plain({self.expr(depth)})" if self.method else f"third + {self.expr(depth)}",
        )()

    def rarer(self, depth: int) -> str:
        return self.pick(
            lambda: f"{self.awaited(depth)}({self.arguments(depth)})",
            lambda: f"{self.awaited(depth)}.m({self.arguments(depth)}).p.p",
            lambda: f"O({self.k()}).m(*{self.source(depth)}, **O({self.k()}), last={self.expr(depth)})",
            lambda: f"O({self.k()})[{self.expr(depth)}:{self.expr(depth)}:{self.expr(depth)}]",
            lambda: f"O({self.k()})[*{self.source(depth)}, {self.expr(depth)}]",
            lambda: f"({self.expr(depth)}, *{self.source(depth)})",
            lambda: f"tag({{str(tag({self.expr(depth)})), *map(str, map(tag, {self.source(depth)}))}})",
            lambda: f"{{**{{'a': {self.expr(depth)}}}, 'b': {self.expr(depth)}, **O({self.k()})}}",
            lambda: f"{{'a': {self.expr(depth)}, 'b': {self.expr(depth)}}}[{self.expr(0)} and 'a']",
            lambda: f"({self.expr(depth)} < {self.expr(depth)} not in O({self.k()}) is {self.expr(depth)})",
            lambda: f"({self.expr(depth)} == {self.expr(depth)} <= {self.expr(depth)} > {self.expr(depth)})",
            lambda: f"(lambda *, v={self.expr(depth)}: (v, x, y))()",
            lambda: f"f'{{{self.inside(depth)}!s:^{{{self.inside(0)}}}}}{{{self.inside(depth)}=!r}}'",
            lambda: f"sorted([{self.k()}, {self.k()}], key=lambda n, by={self.expr(depth)}: note(n, -n))",
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
