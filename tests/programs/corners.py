"""Statements of generated programs that are rare in real ones: the corners of issue 3's lists that generator.py's everyday
statements leave out. What they are made of is in fuzzing.py.
"""

from __future__ import annotations

import abc

from expressing import Expressing


class Corners(Expressing, abc.ABC):
    """What generator.py tells: where a statement stands, and so what may leave it."""

    loop: int  # loops that `break` and `continue` may leave
    starred: int  # handlers of `except*`, which nothing may leave

    @abc.abstractmethod
    def inner(self, depth: int) -> list[str]:
        """An indented block of further statements."""

    def corner(self, depth: int) -> list[str]:
        choices = [self.of_module, self.strings, self.scope, self.removed, self.shared, self.local_class, self.lately]
        choices += [self.in_parts, self.bound, self.annotated, self.rebound, self.rebound, self.rebound]
        if depth > 0:
            choices += [lambda each=each: each(depth) for each in (self.matched, self.matched, self.changed)]
            choices += [lambda each=each: each(depth) for each in (self.async_for, self.async_for, self.returns)]
            choices += [lambda each=each: each(depth) for each in (self.stars, self.stars, self.managed, self.managed)]
        return self.pick(*choices)()

    def nested(self, depth: int) -> list[str]:
        """A block in a block."""
        return ["    " + line for line in self.inner(depth)]

    # --- names --------------------------------------------------------------------------------------------------------
    def of_module(self) -> list[str]:
        """A global is no part of an agent: it is written and read between two awaits."""
        k = self.k()
        return self.pick(
            [f"global_{k} = {self.expr(2)}", f"log('global', tag([global_{k}, globals()['global_{k}']]))"],
            [
                "import os.path as path, sys",
                "from os.path import join as joined",
                "log('import', joined('a', path.sep))",
            ],
        )

    def scope(self) -> list[str]:
        return self.pick(
            [f"log('locals', sorted(locals()), {self.awaited(0)})"],
            [f"log('eval', tag(eval('[a, b]')), tag({self.expr(1)}))"],
            [f"kept = locals(); c = {self.awaited(0)}; log('kept', sorted(kept)); del kept"],
        )

    def removed(self) -> list[str]:
        k = self.k()
        return [
            f"gone, (also, *_) = {self.expr(1)}, (O({k}), {self.expr(1)})",
            f"log('gone', tag([gone, also, {self.expr(1)}]))",
            self.pick("del gone", "del (gone, [also])", f"del also, O({k})[{self.expr(1)}], gone"),
            "try:",
            f"    log('there', {self.awaited(0)}, tag(gone))",
            "except NameError as error:",
            f"    log('not there', tag([error, {self.expr(1)}]))",
            "gone = also = None",
        ]

    def annotated(self) -> list[str]:
        k = self.k()
        return self.pick(
            [f"O({k}).p: {self.atom()} = {self.expr(1)}"],
            [f"O({k})[{self.expr(1)}]: 'text' = {self.expr(1)}"],
            [f"declared{k}: int", "try:", f"    log('declared', declared{k})"]
            + ["except UnboundLocalError:", f"    declared{k} = {self.awaited(0)}"],
        )

    def rebound(self) -> list[str]:
        """What is indexed, or called, is read before what is evaluated behind it changes it."""
        k = self.k()
        shelf, rows = f"shelf{k}", f"shelf{k}.{self.pick('rows', 'plain')}"
        other = f"{shelf}.other({self.expr(self.pick(0, 1))})"
        return [
            f"{shelf} = Shelf({k})",
            self.pick(
                f"b = {rows}[{other}][{self.awaited(0)}]",
                f"b = [{rows}[{other}], {self.awaited(0)}]",
                f"b = {rows}[{self.atom()}:{other}] + {self.awaited(0)}",
                f"b = {rows}.m({other}, {self.awaited(0)})",
                f"b = note({k}, {rows}[{other}]) or {self.expr(1)}",
                f"{rows}[{other}][{self.awaited(0)}] = {self.expr(1)}",
                f"{rows}[{other}] += {self.expr(1)}",
                f"b, {rows}[{other}] = {self.expr(1)}, {rows}",
                f"b = f'{{{rows}[{other}]}}{{{self.inside(0)}}}'",
                f"b = {rows} < {other} < {self.expr(1)}",
            ),
            f"log('shelf', {shelf}.t, tag([b, {shelf}.plain]))",
            f"{shelf} = None",
        ]

    def strings(self) -> list[str]:
        k = self.k()
        return [
            f"text = '''one {k}",
            "  two''' \"three\" \\",
            f"    f'{{{self.inside(0)}}}'; log('text', text)",
            "if 1:",
            f"\tlog('tab', tag({self.expr(1)}))",
            "\ttext = None",
        ]

    # --- functions and classes ----------------------------------------------------------------------------------------
    def lately(self) -> list[str]:
        """A nested coroutine function, kept and called later."""
        k, shared = self.k(), self.pick(*self.captured)
        call = self.pick(f"late{k}({self.expr(1)})", f"late{k}({self.expr(1)}, w={self.expr(1)})")
        return [
            f"async def late{k}(v, w={self.expr(1)}):",
            f"    nonlocal {shared}",
            f"    {shared} = got = await effect({k}, [v, w])",
            f"    log('done', {k})",
            "    return got",
            *self.pick(
                [f"b = await {call}"],
                [f"kept = {call}", f"log('between', tag({self.expr(1)}))", "b = await kept", "kept = None"],
                [f"b = [{self.expr(1)}, await {call}]"],
            ),
            f"late{k} = None",
        ]

    def local_class(self) -> list[str]:
        """Held across awaits, with `super()`, a name of its own and a private one."""
        k = self.k()
        return [
            f"class L{k}(Base):",
            f"    'Doc {k}.'",
            f"    held: int = note({k}, x)",
            "    several = [n for n in range(2)]",
            "    def __init__(self, v): self.__v = v",
            "    def plain(self, v): return super().plain((v, self.__v, __class__.__name__, y))",
            "    @classmethod",
            "    def made(cls, v): return cls(v)",
            f"one = L{k}.made({self.expr(1)})",
            f"log('plain', tag(one.plain({self.expr(1)})))",
            f"one.v = {self.awaited(1)}",
            f"log('L', isinstance(one, L{k}), tag([L{k}.held, L{k}.several, one.v]), L{k}.__doc__, sorted(vars(one)))",
            f"one = L{k} = None",
        ]

    def bound(self) -> list[str]:
        """A method that is kept, and a partial of it."""
        k = self.k()
        return [
            f"method = {self.pick(f'O({k}).m', 'double', 'bump', f'partial(O({k}).m, {self.expr(1)})', 'z.append')}",
            f"log('method', tag(method({self.expr(2)})), tag({self.expr(1)}))",
            f"method = [method({self.awaited(0)})] and None",
        ]

    def in_parts(self) -> list[str]:
        """Assignments to parts of what is there."""
        k = self.k()
        return self.pick(
            [f"z[{self.expr(0)} and 0:1] = [{self.expr(1)}]"],
            [f"O({k}).p.p {self.pick('+=', '-=', '@=')} {self.expr(1)}"],
            [f"{self.awaited(0)}[{self.expr(0)}:{self.expr(0)}] += {self.expr(1)}"],
            [f"z[0], O({k})[{self.expr(1)}], *O({k}).p = [{self.expr(1)}, *{self.source(0)}, {self.expr(1)}]"],
            [f"a, z[0] = z[0], {self.expr(1)}"],
            [f"table = {{'k': {self.expr(1)}}}", f"table['k'] += {self.expr(1)}", f"table[{self.expr(1)}] = 1"]
            + ["log('table', tag(table))", "table = None"],
        )

    # --- loops --------------------------------------------------------------------------------------------------------
    def shared(self) -> list[str]:
        """An iterator that a loop shares with `next`."""
        source = self.pick(
            f"iter([1, {self.expr(1)}, 3, 4])",
            f"enumerate({self.source(1)})",
            "zip('abc', z, strict=False)",
            "map(note, [1, 2, 3])",
            "filter(None, [0, 1, 2, '', 3])",
            f"chain_of([{self.expr(0)}], range(2))",
            "reversed((1, 2, 3))",
            "iter({1: 2, 3: 4, 5: 6}.items())",
            "count(5)",
            "islice(count(), 1, 9, 3)",
            "iter([3, 2, 1].pop, 2)",
        )
        return [
            f"shared = {source}",
            "for item in shared:",
            f"    log('item', tag(item), tag(next(shared, None)), tag({self.expr(1)}))",
            f"    if item == 7 or {self.expr(0)}: break",
            "else:",
            f"    {self.expr(1)}",
            "log('rest', tag(next(shared, 'end')))",
            "shared = item = None",
        ]

    def changed(self, depth: int) -> list[str]:
        """What is gone over grows or shrinks meanwhile."""
        k = self.k()
        made, change = self.pick(
            ("{1: 2, 3: 4}", f"grown[{k} + len(grown)] = {self.atom()}"),
            ("{1: 2, 3: 4}", "grown.pop(item, None)"),
            ("{1: 2, 3: 4}", "grown[item] = 5"),
            ("{1, 3}", f"grown.add({k} + len(grown))"),
            ("[1, 2]", "grown.append(item) if len(grown) < 5 else None"),
            ("[1, 2, 3]", "grown.remove(item)"),
        )
        self.loop += 1
        lines = [
            f"    for item in {self.pick('grown', 'grown', 'iter(grown)')}:",
            "        log('item', item, len(grown))",
        ]
        lines += [
            f"        {change}",
            f"        {self.awaited(0)}" if self.chance(0.7) else "        pass",
            *self.nested(depth),
        ]
        self.loop -= 1
        return [
            f"grown = {made}",
            "try:",
            *lines,
            "except RuntimeError as error:",
            f"    log('changed', str(error), tag({self.expr(1)}))",
            "grown = None",
        ]

    def async_for(self, depth: int) -> list[str]:
        k, source = self.k(), self.pick("Ticks(2)", "Ticks(3)", "ticks(2)", f"Ticks(note({self.k()}, 2))")
        if self.chance(0.2):
            return [
                f"ticking = Ticks({k % 3})",
                f"log('first', tag(await anext(ticking, {self.expr(1)})), tag({self.expr(1)}))",
                "async for item in ticking: log('item', tag(item), tag(await anext(ticking, None)))",
                "ticking = None",
            ]
        if self.chance(0.3):
            test = self.pick("", f" if {self.expr(0)}", f" for w in [v, {k}]").replace(":=", "+")
            method, self.method = self.method, False  # as in any comprehension
            element = self.expr(1).replace(":=", "+")
            self.method = method
            return [f"c = [{element} async for v in {source}{test}]"]
        self.loop += 1
        lines = [f"async for {self.pick('a', 'x', 'item', f'O({k}).p')} in {source}:", *self.inner(depth)]
        self.loop -= 1
        if self.chance(0.4):
            lines += ["else:", *self.inner(depth)]
        return lines

    # --- blocks -------------------------------------------------------------------------------------------------------
    def matched(self, depth: int) -> list[str]:
        k = self.k()
        guard = self.pick("", f" if {self.expr(1)}", f" if {self.awaited(0)}")
        subject = self.pick(
            self.expr(1),
            f"{self.awaited(0)}, {self.expr(1)}",
            f"[{self.expr(0)}, [{self.expr(0)}, 2]]",
            f"{{'k': {self.expr(1)}}}",
        )
        case = self.pick(
            "[O(t=number) as one, [first_of, *_]]",
            "(one, O() | [*_] as number)",
            "{'k': O(t=number) as one, **others}",
            "{'k': [one, *number]} | [one, number, _, *_]",
            "O(t=(0 | 1 | 2) as number) as one",
            "[*one, O(t=number)]",
        )
        return [
            f"match {subject}:",
            f"    case {case}{guard}:",
            "        log('case', tag([one, number]))",
            *self.nested(depth),
            f"        log('still', tag([one, number, {self.expr(1)}]))",
            "    case None | 0 | 'text' | -1:",
            *self.nested(depth),
            f"    case [one, _] if {self.expr(1)}: log('two', {k}, tag(one))",
            f"    case one: log('else', {k}, tag(one), tag({self.expr(1)}))",
            "one = number = None",
        ]

    def returns(self, depth: int) -> list[str]:
        """A `finally` with awaits, that leaves in its own way, or returns what the body awaits."""
        k = self.k()
        leaves = ["return await effect(%d, a), b" % k, f"raise Err({k})"]
        if self.starred:
            leaves = leaves[1:]
        if self.loop:
            leaves += ["break", "continue"]
        overrides = [f"if {self.expr(0)}: {self.pick(*leaves)}"] if self.chance(0.3) else []
        return [
            "try:",
            *self.inner(depth),
            f"    if {self.expr(1)}: {self.pick(*leaves)}",
            "finally:",
            f"    log('finally', {k}, tag({self.awaited(0)}))",
            *(self.inner(depth) if self.chance(0.5) else []),
            *["    " + line for line in overrides],
        ]

    def stars(self, depth: int) -> list[str]:
        """`except*`: its handlers raise, or end, and nothing else leaves them."""
        k = self.k()
        inside = f"ExceptionGroup('deep', [Err(-{k}), KeyError({k})])"
        group = f"ExceptionGroup('g', [Err({k}), Other({k}, {self.expr(0)}), {inside}])"
        raised = self.pick(
            f"raise {group}", f"raise {group} from Err('cause')", f"raise Err({k})", f"await broken({k})", "pass"
        )
        lines = ["try:", "    try:"]
        lines += [*(self.nested(depth) if self.chance(0.5) else []), f"        {raised}"]
        loop, self.loop = self.loop, 0
        self.starred += 1
        for kinds in self.pick(["Err"], ["Err", "Other"], ["(Other, KeyError)", "Err"], ["Exception"]):
            lines += [f"    except* {kinds} as errors:", "        log('errors', chain(errors))", *self.nested(depth)]
            if self.chance(0.3):
                lines.append("        " + self.pick("raise", f"raise Other({k}, 1)", f"raise Err({k}) from errors"))
        self.starred -= 1
        self.loop = loop
        if self.chance(0.3):
            lines += ["    else:", *self.nested(depth)]
        if self.chance(0.3):
            lines += ["    finally:", f"        log('finally', {k}, tag({self.awaited(0)}))"]
        return [*lines, "except Exception as error:", f"    log('beyond', chain(error), tag({self.expr(1)}))"]

    def managed(self, depth: int) -> list[str]:
        k = self.k()
        inner = self.inner(depth)
        return self.pick(
            [f"with suppress({self.pick('Err', 'Err, Other')}):", *inner, f"    fail({k})"],
            [f"with ExitStack() as stack{k}:", f"    c = stack{k}.enter_context(Manager({k}))"]
            + [f"    stack{k}.callback(log, 'close', {k})" if self.chance(0.5) else "    pass"]
            + [f"    log('stack', c, tag({self.expr(1)}))", *inner, f"stack{k} = None"],
            [f"with opened({k}, {self.expr(1)}) as c:", *inner, f"    log('opened', c, tag({self.expr(1)}))"],
            [f"async with opening({k}, {self.expr(1)}) as (b, c):", *inner, "    log('opening', tag([b, c]))"],
            [f"with Held({k}) as held{k}, opened(held{k}.use({self.expr(1)}), 1) as c:", *inner]
            + [f"    log('held', tag(held{k}.use({self.expr(1)})))", f"held{k} = None"],
            [f"async with Held({k}) as held{k}:", f"    async with held{k}.inside({self.atom()}) as inside{k}:"]
            + [
                f"        log('inside', tag(held{k}.use(inside{k}.use({self.expr(1)}))))",
                *["    " + line for line in inner],
            ]
            + [f"held{k} = inside{k} = None"],
            [f"with Noting({k}, z):", *inner, f"    z.append({self.expr(1)})"]
            + [f"    log('notes', tag(z), tag({self.expr(1)}))"],
            [f"async with Noting({k}, z) as b:", *inner, f"    log('notes', tag(z), tag({self.expr(1)}))", "b = None"],
            [f"with {self.awaited(0)} and Manager(str(tag({self.expr(1)}))), Manager({k}) as (O({k}).p):", *inner],
        )
