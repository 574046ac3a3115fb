"""Expressions with awaits, each word of the language by itself: in plain Python, in an agent, resumed from every checkpoint,
killed, stopped and cancelled at every turn of the loop (tests/programs/snippets.py), with every evaluation logged."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "programs"))

import snippets  # noqa: E402 - found beside the programs it runs

EXPRESSIONS = {
    "call target": """
        a = (await effect(1))(note(2), k=note(3)); b = (await effect(4)).m(5)
        return tag([a, b])
    """,
    "call of an awaited call": """
        a = await (await effect(1, leaf))(note(2), *[3], **{'k': await effect(4)})
        return tag(a)
    """,
    "star arguments": """
        a = note(1).m(note(2), *await effect(3), note(4), *[await effect(5), note(6)])
        return tag(a)
    """,
    "a star alone is gone through behind the keywords (seeds 32000578, 32000780)": """
        a = note(1).m(*note(2), k=await effect(3), **{'j': note(4)})
        xs = ["n"]
        b = await leaf(*xs, other=xs.append(note(5)))
        return tag([a, b])
    """,
    "double star arguments": """
        a = note(1).m(**await effect(2, {'x': 1}), y=note(3), **{'z': await effect(4)}, w=await effect(5))
        return tag(a)
    """,
    "keywords between stars": """
        a = note(1).m(*note(2), k=note(3), *await effect(4), j=note(5))
        return tag(a)
    """,
    "a keyword given twice": """
        try:
            a = note(1).m(k=note(2), **await effect(3, {'k': 1}))
        except TypeError as error:
            a = log('twice', error)
        return await effect(4, 1)
    """,
    "attribute chain": """
        a = (await effect(1)).p.p.m(note(2)).p
        b = await effect(a.p.p.t)
        return tag([a, b])
    """,
    "what is indexed is read before a call in its index": """
        class Shelf:
            def __init__(self):
                self.rows = [[1, 2, 3]]
            def other(self, n):
                self.rows = [[7, 8, 9]]
                return n
        one, two, three = Shelf(), Shelf(), Shelf()
        a = one.rows[one.other(0)][await effect(1, 1)]
        two.rows[two.other(0)][await effect(2, 2)] += await effect(3, 10)
        b = [three.rows[three.other(0)], await effect(4, 4)]
        c = await leaf(three.rows[log("low", 0) : three.other(1)], note(5))
        d = one.rows[0][: await effect(6, 2)]
        return a, b, two.rows, tag(c), d
    """,
    "subscripts and slices": """
        xs = list(range(9))
        a = xs[await effect(1, 2)], xs[note(2, 1) : await effect(3, 7) : note(4, 2)]
        b = xs[: await effect(5, 3)], xs[await effect(6, 6) :], xs[:: await effect(7, 4)]
        c = note(8)[await effect(9), note(10)][note(11) : await effect(12), ...]
        return a, b, tag(c)
    """,
    "format specs": """
        w = 12
        a = f'{await effect(1, 3.14159):{await effect(2, 9)}.{await effect(3, 3)}}|{note(4)!r:>{w}}|{await effect(5)!s}'
        b = f'{note(6):{await effect(7, 5)}}{w=}{await effect(8, 2)=}'
        return a, b
    """,
    "nested f-strings": """
        a = f'{note(1)}{f"{await effect(2)}{note(3)}"}{note(4)}'
        return a
    """,
    "chained comparison": """
        a = note(1, 1) < await effect(2, 2) < note(3, 3) != await effect(4, 4) in [4] is not None
        b = note(5) < await effect(6) > note(7) in await effect(8)
        return a, tag(b)
    """,
    "and or not": """
        a = not await effect(1) and note(2) or await effect(3) and (await effect(4) or note(5)) or await effect(6)
        b = (note(7) or await effect(8)) and not (note(9) and await effect(10))
        return tag([a, b])
    """,
    "and or as operands": """
        a = note(1) + (note(2) and await effect(3)) * (await effect(4) or note(5)) - note(6)
        return tag(a)
    """,
    "conditional expressions": """
        a = (note(1) if note(2) else await effect(3)) if await effect(4) else (await effect(5) if note(6) else note(7))
        b = note(8) + (await effect(9) if note(10) else note(11)) + note(12)
        return tag([a, b])
    """,
    "walrus": """
        x = 1
        a = [x, (x := await effect(1, 2)), x, (y := x + await effect(2, 3)) + y, x]
        while (z := await effect(3, x)) < 4:
            x = z + 1
        b = [w := await effect((4, n), n) for n in range(3) if (v := n + await effect((5, n), 1)) > 1]
        return a, x, y, z, b, w, v
    """,
    "displays with stars": """
        xs = [1, 2]
        a = [*xs, xs.append(3), *await effect(1, [4]), *xs, await effect(2, 5)]
        b = (*xs, await effect(3, 6), *[await effect(4, 7)], *(n for n in xs))
        c = {*xs, await effect(5, 8), *await effect(6, {9})}
        d = {**{'a': 1}, 'b': await effect(7, 2), **await effect(8, {'a': 3}), 'c': note(9, 4)}
        return a, b, sorted(str(x) for x in c), d
    """,
    "dict display evaluates keys before values": """
        a = {note(1).t: await effect(2), await effect(3, 'k'): note(4), **await effect(5, {}), note(6).t: note(7)}
        return tag(a)
    """,
    "unhashable in a display": """
        try:
            a = {note(1): await effect(2), (await effect(3, [])): note(4)}
        except TypeError:
            a = 0
        return a, await effect(5, 1)
    """,
    "nested comprehensions": """
        xs = [1, 2, 3]
        a = [[await effect((x, y), x * y) for y in xs if y != x] for x in xs if await effect(x, x) != 2]
        b = {x: {y: await effect((x, y, 2), x + y) for y in range(x)} for x in xs}
        c = [(x, y, z) for x in xs if x > 1 for y in await effect(x, range(x)) if y for z in [await effect((x, y), y)]]
        d = sorted({await effect((5, x), x % 2) for x in xs})
        return a, b, c, d
    """,
    "comprehension targets": """
        rows = [(1, (2, 3)), (4, (5, 6))]
        a = [a + b + c + await effect(a, 1) for a, (b, c) in rows]
        box = {}
        b = [await effect(n, n) for n, *box['rest'] in [(1, 2, 3)]]
        return a, b, box
    """,
    "comprehension in a comprehension's iterable": """
        a = [x async for x in aeffects(*[await effect(n, n) for n in range(2)])] + [y for y in [await effect(9, 9)]]
        return a
    """,
    "comprehension variables before their for": """
        xs = [1]
        y = z = 5
        for turn in range(2):
            try:
                a = [await effect(y) for x in xs for y in [y]]
            except UnboundLocalError as error:
                log("unbound", str(error))
            try:
                a = [await effect(1) for x in xs if z for z in [1]]
            except UnboundLocalError as error:
                log("unbound", str(error))
            b = {await effect(y, y) for y in [y] if (lambda: y)() for y in [y + 1]}
        await effect(2)
        return b, y, z
    """,
    "comprehension variables do not leak": """
        x = 'kept'
        a = [await effect(x, x) for x in range(2)]
        b = {x: await effect(x, 1) for x in 'ab'}
        try:
            leaked
        except NameError:
            c = [await effect(leaked, 1) for leaked in 'z']
        return a, b, c, x
    """,
    "lambda defaults": """
        f = lambda a, b=await effect(1, 2), *c, d=note(3, 4), e=await effect(5, 6), **g: (a, b, c, d, e, g)
        await effect(7)
        return f(1), f(1, 3, 4, d=5, z=6)
    """,
    "lambda in an argument": """
        xs = sorted(await effect(1, [3, 1, 2]), key=lambda v, sign=await effect(2, -1): v * sign)
        f = (lambda: (yield))
        await effect(3)
        return xs, next(f())
    """,
    "operators": """
        a = await effect(1) + note(2) * await effect(3) - -await effect(4)
        b = note(5) @ await effect(6) | note(7) | await effect(8)
        c = ~await effect(9, 5) ** note(10, 2) << await effect(11, 1)
        return tag([a, b, c])
    """,
    "await of an await": """
        a = await (await effect(1, lambda n: leaf(n)))(await effect(2, 3))
        return tag(a)
    """,
    "parentheses over lines": """
        a = (
            note(1)
            +
            await effect(2)
            + (
                await effect(3)
            )
        )
        return tag(a)
    """,
    "constant expressions": """
        a = 'x' if True else await effect(1); b = 0 and await effect(2); c = 1 or await effect(3)
        return a, b, c, await effect(4, 1)
    """,
    "generator expression over an await": """
        a = total(note(n, n) for n in await effect(1, [1, 2]) for m in 'ab' if n)
        await effect(2)
        return tag(a)
    """,
    "generator expression beside an await": """
        xs = [1, 2]
        a = tag([list(x + n for x in xs), await effect(1, 2)]) if (n := 3) else 0
        return a
    """,
    "ellipsis and bytes": """
        a = [..., b'x', await effect(1, 2), 3j, None, True, -1]
        return str(a)
    """,
    "an error half way": """
        z = [1]
        try:
            a = note(z.pop()) + await effect(1) + note(z.pop()) + await effect(2)
        except IndexError:
            a = await effect(3, 0)
        return a, z
    """,
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_with_awaits_is_evaluated_as_in_python_and_goes_on_anywhere(name, same):
    same(EXPRESSIONS[name], head=HEAD)


HEAD = (
    snippets.HEAD
    + """
async def aeffects(*values):
    for value in values:
        await effect(value)
        yield value
"""
)
