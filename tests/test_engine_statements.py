"""Statements with awaits, each word of the language by itself: in plain Python, in an agent, resumed from every checkpoint,
killed, stopped and cancelled at every turn of the loop (tests/programs/snippets.py), with every evaluation logged."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "programs"))

import snippets  # noqa: E402 - found beside the programs it runs

STATEMENTS = {
    "augmented names": """
        x = 1
        x += await effect(1, 2)
        x = x + (x := await effect(2, 5)) * 2
        xs = ys = [1]
        xs += await effect(3, [2])
        return x, xs, xs is ys
    """,
    "augmented attributes and subscripts": """
        a = note(1)
        a.p += await effect(2)
        a[note(3)] -= await effect(4)
        (await effect(5)).p += note(6)
        (await effect(7))[await effect(8)] += await effect(9)
        a.p.p[note(10):await effect(11)] += note(12)
        xs = [[1], [2]]
        xs[await effect(13, 0)] += await effect(14, [3])
        return tag(a), xs
    """,
    "an augmented assignment that fails": """
        t = ([1], 2)
        try:
            t[0] += await effect(1, [2])
        except TypeError:
            log("failed", t)
        return t, await effect(2, 1)
    """,
    "several targets": """
        box = {}
        a = box["b"] = box[await effect(1, "c")] = note(2).p = await effect(3, 4)
        x, (y, *z), w = box["d"], *r = await effect(4, (1, [2, 3, 4], 5))
        return a, sorted(box.items()), x, y, z, w, r
    """,
    "star unpacking": """
        a, *b = await effect(1, "xyz")
        *c, d = [*b, await effect(2, "q")]
        [e, (f, *g)] = await effect(3, 1), await effect(4, "mno")
        try:
            h, i = await effect(5, [1])
        except ValueError:
            h = await effect(6, 6)
        return a, b, c, d, e, f, g, h
    """,
    "swap": """
        a, b = 1, 2
        a, b = b, await effect(1, a)
        xs = [1, 2]
        i = 0
        i, xs[i] = await effect(2, (1, 9))
        return a, b, xs
    """,
    "del": """
        xs, box = list(range(6)), {"a": 1, "b": {"c": 2}}
        a = note(1)
        del xs[await effect(2, 0)], a.p, (box["a"], box["b"][await effect(3, "c")]), xs[await effect(4, 1):]
        v = 1
        del v
        await effect(5)
        try:
            v
        except NameError as error:
            log("unbound", error)
        return xs, box
    """,
    "assert": """
        assert await effect(1), await effect(2)
        try:
            assert note(3, 0), await effect(4, "said")
        except AssertionError as error:
            a = error.args
        try:
            assert await effect(5, 0)
        except AssertionError as error:
            b = error.args
        try:
            assert (await effect(6, 1), note(7, 0))[1], (1, await effect(8, 2))
        except AssertionError as error:
            c = error.args
        return a, b, c
    """,
    "annotated assignments": """
        a: note(1) = await effect(2, 3)
        b: int
        box = note(4)
        box.p: note(5) = await effect(6)
        box[await effect(7)]: note(8) = note(9)
        (c): int = 4
        try:
            b
        except NameError as error:
            log("unbound", error)
        return a, c
    """,
    "an annotated assignment to an attribute without a value": """
        box = note(1)
        box.p: note(2)
        note(3).p: int
        (await effect(4)).p: int
        box[await effect(5)]: note(6)
        box[note(7)]: note(8)
        try:
            box[await effect(9)].p: {}[0]
            (await broken(10)).p: int
        except (Err, Other) as error:
            log("said", error)
        return await effect(11, 1)
    """,
    "return await inside try": """
        for n in range(3):
            try:
                if n == 1:
                    return await leaf(n), n
                await leaf(n)
            except Err:
                log("never")
            else:
                log("else", n)
            finally:
                log("finally", n)
    """,
    "return await inside try that fails": """
        try:
            try:
                return await broken(1)
            except Other:
                log("never")
            finally:
                log("finally")
        except Err as error:
            return await effect(2, str(error))
    """,
    "while else": """
        n = 0
        while n < 2:
            n += await effect(n, 1)
        else:
            log("else", await effect("else"))
        while await effect(("t", n), n < 4):
            n += 1
            if n == 3:
                break
        else:
            log("never")
        while note("never", 0):
            await effect("never")
        else:
            await effect("else 2")
        while True:
            while n < 9:
                n += 1
                if n % 2: continue
                if await effect(n, n > 5): break
            else:
                break
            log("inner broken", n)
            if n == 8: n = 9
        return n
    """,
    "for else": """
        out = []
        for x in await effect(0, [1, 2]):
            out.append(await effect(x, x))
        else:
            out.append(await effect("else"))
        for x in range(5):
            if await effect(("b", x), x == 1): break
        else:
            log("never")
        for x in []:
            await effect("never")
        else:
            await effect("empty")
        for x in range(2):
            for y in range(3):
                if y == 1: continue
                await effect((x, y))
            else:
                await effect(("else", x))
                continue
            break
        return tag(out), x, y
    """,
    "loop targets": """
        box = {}
        for box["k"], (a, *b) in [(1, "xyz"), (2, "uv")]:
            log("turn", box["k"], a, b)
            await effect(a)
        for box[await effect("i", 3)] in [7]:
            await effect(8)
        for x, in [(1,), (2,)]:
            await effect(x)
        return sorted(map(str, box.items())), a, b, x
    """,
    "a loop variable rebound": """
        for x in [1, 2]:
            x = await effect(x, x + 5)
            for x in [x, 4]:
                x += await effect(("in", x), 1)
            log("x", x)
        return x
    """,
    "loops in handlers in loops": """
        for a in range(2):
            try:
                fail(a)
            except Err as error:
                for b in range(3):
                    try:
                        if b == 1: raise Other(b, a) from error
                        await effect((a, b))
                    except Other as other:
                        log("inner", chain(other))
                        for c in [await effect(("c", a), 1)]:
                            try:
                                while True:
                                    if await effect(("w", a, c), c > 1): break
                                    c += 1
                                raise
                            except Other:
                                log("again", chain(other))
                                if a: break
                                continue
                            finally:
                                log("finally", a, b, c)
                        else:
                            log("not broken")
                log("after", str(error))
        return await effect("end", 1)
    """,
    "bare raise after an await in a handler": """
        try:
            try:
                await broken(1)
            except Err as error:
                log("chain", chain(error))
                await effect(1)
                raise
        except Err as error:
            log("chain", chain(error))
            try:
                await effect(2)
                try:
                    raise
                except Err as again:
                    await effect(3)
                    log("same", again is error)
                    raise
            except Exception as last:
                log("chain", chain(last), last is error)
        return await effect(4, 1)
    """,
    "a bare raise in a helper": """
        def reraise():
            raise
        try:
            fail(1)
        except Err:
            await effect(1)
            try:
                reraise()
            except Err as error:
                log("again", chain(error))
        reraise = None
        try:
            raise
        except RuntimeError as error:
            return str(error), await effect(2, 1)
    """,
    "raise from": """
        try:
            raise (await effect(1, Err))("a") from await effect(2, Other(1, 2))
        except Err as error:
            await effect(3)
            log("chain", chain(error))
        try:
            try:
                fail(1)
            except Err:
                raise await effect(4, Err("b")) from None
        except Err as error:
            await effect(5)
            log("chain", chain(error), error.__suppress_context__)
        try:
            raise Err from await effect(6, 7)
        except TypeError as error:
            return await effect(8, 1)
    """,
    "exception groups": """
        seen = []
        try:
            await effect(1)
            raise ExceptionGroup("g", [Err(1), ExceptionGroup("h", [Other(2, 3), Err(4)])])
        except* Err as group:
            seen.append(tag(group.exceptions))
            seen.append(await effect(2, 1))
        except* Other as group:
            seen.append(tag(group.exceptions))
        try:
            raise ExceptionGroup("g", [Err(1), KeyError(2)])
        except ExceptionGroup as group:
            await effect(3)
            mine, rest = group.split(Err)
            seen += [tag(mine.exceptions), tag(rest.exceptions), str(group)]
            await effect(4)
        return seen, tag(rest)
    """,
    "awaits in except expressions": """
        for n in range(5):
            try:
                try:
                    log("turn", n)
                    if n == 0: fail(n)
                    if n == 1: raise Other(1, 2)
                    if n == 2: {}[0]
                    if n == 3: await broken(3)
                except await effect(("first", n), KeyError) as error:
                    log("key", error, await effect("in key"))
                    try:
                        await effect("k2")
                        raise
                    except KeyError as again:
                        log("same", again is error)
                except (await effect(("second", n), Err), await effect(("third", n), ZeroDivisionError)) as error:
                    log("err", chain(error))
                    await effect("in err")
                    log("err", chain(error))
                    raise Other(3, 4)
                except IndexError:
                    log("never")
                except Other as error:
                    log("other", chain(error), await effect("in other"))
                    continue
                else:
                    log("else", await effect("else"))
                finally:
                    log("finally", n)
            except Other as error:
                log("outer", chain(error), await effect("outer"))
            try:
                error
            except NameError as gone:
                log("gone", gone)
        return await effect("end", 1)
    """,
    "an except expression that fails, or is no exception": """
        try:
            try:
                fail(1)
            except (await broken(2)):
                log("never")
            except Err:
                log("never")
            finally:
                log("finally", await effect("f"))
        except Other as error:
            log("said", chain(error), await effect(1))
        try:
            try:
                fail(2)
            except (await effect(3)):
                log("never")
        except TypeError as error:
            log("said", chain(error))
        try:
            try:
                await broken(2)
            except (await effect(4, KeyError)):
                log("never")
            except (await effect(5, LookupError)):
                log("never")
        except Exception as error:
            log("out", chain(error))
            return await effect(6, 1)
    """,
    "suppress": """
        from contextlib import suppress
        with suppress(Err, ZeroDivisionError):
            await effect(1)
            await broken(1)
            log("never")
        with suppress(LookupError):
            with suppress(Err):
                await effect(2)
                {}[await effect(3)]
            log("never")
        for n in range(2):
            with suppress(Err):
                if n: continue
                fail(await effect(n, n))
            log("turn", n)
        return await effect(4, 1)
    """,
    "several context managers": """
        with Manager(1) as a, Manager(await effect(2, 2)) as b, Manager(b) as c:
            await effect(3)
            async with Manager(4), Manager(await effect(5)) as d, Manager(tag(d)):
                await effect(6)
        async with Manager(7) as e:
            pass
        with Manager(await effect(8)): log("body")
        with (Manager(9) as f, Manager(10),):
            await effect(11)
        return a, b, c, d, e, f
    """,
    "targets of with": """
        box = {}
        with Manager(1) as box["a"], Manager(2) as box[await effect(1, "b")]:
            await effect(2)
        with Manager(3) as note(4).p:
            await effect(3)
        return sorted(box.items())
    """,
    "match": """
        out = []
        for v in [1, "x", [1, 2, 3], {"k": 1, "r": 2}, (9, 8), None, 3.5, Err(5), [4]]:
            match v:
                case 1 | 2 as n:
                    out.append(("n", await effect(n, n)))
                case str(s) if await effect(("guard", s), s == "y"):
                    log("never")
                case str():
                    out.append("s")
                case [a, *rest] if len(rest) == 2 and await effect(("len", a)):
                    out.append((a, rest, await effect("rest", 1)))
                case {"k": k, **others}:
                    out.append((k, others, await effect("map", 2)))
                case (a, b):
                    await effect("pair")
                    out.append((a, b))
                case None:
                    out.append(await effect("none"))
                    continue
                case float(x):
                    out.append(x)
                case Err(args=(e,)):
                    out.append((e, await effect("err", 3)))
                    break
                case _:
                    log("never")
        return tag(out), a, b, rest
    """,
    "match on an await with captures rebound": """
        x = 1
        match await effect(1, (1, 2)), x:
            case ((x, y), z) if z == 2:
                log("never")
            case ((x, y), 1) if (x := await effect(2, 7)) and note(y) and await effect(3):
                x += await effect(4, y)
        match x:
            case y: pass
        return x, y, z
    """,
    "nested definitions": """
        @note(1, lambda f: f)
        def decorated(a, b=await effect(2, 2), *, c: int = await effect(3, 3)) -> int:
            return a, b, c
        async def later(n):
            return await effect(n, n)
        await effect(4)
        a = decorated(1), await later(5)
        @same
        @(await effect(6, lambda f: f))
        def other(): return 1
        decorated = later = None
        return a, other()
    """,
    "annotations of nested functions": """
        @note(0, lambda f: f)
        def g(
            p: note(1, int)=note(2), /, a: await effect(3, str)=await effect(4), *v: note(5, bytes),
            k: await effect(6, set)=note(7), **w: note(8, dict)
        ) -> await effect(9, list): return a, k
        async def h(*v: *await effect(10, (int,))) -> note(11): pass
        hints = [(name, kind.__name__) for name, kind in g.__annotations__.items()], str(h.__annotations__["v"])
        h = None
        await effect(12)
        return hints, tag(g())
    """,
    "class bodies": """
        x = 1
        class A(await effect(1, dict), metaclass=await effect(2, type)):
            y = x
            w = 5
            def m(self): return x, self.y, self.__class__.__name__
            z = [x for _ in range(2)]
            if note(3):
                def __init__(self): super().__init__(a=1)
            ann: int = 3
        found = A()
        first = found.m(), A.w, A.z, dict(found), A.__qualname__
        A = found = None
        x = await effect(4, 2)
        return first, x, await effect(5, x)
    """,
    "nonlocal": """
        n, m = 0, 10
        def up():
            nonlocal n
            n += 1
            def deeper():
                nonlocal n, m
                n += m
                m += 1
            return deeper
        deeper = up()
        for turn in range(3):
            deeper()
            n += await effect((turn, n), 1)
            log("n", n, m)
        def unbind():
            nonlocal m
            del m
        unbind()
        await effect("unbound")
        try:
            m
        except NameError as error:
            log("unbound", error)
        m = 5
        deeper()
        return n, m
    """,
    "closures of a loop": """
        fs = []
        for n in range(3):
            fs.append(lambda: n)
            fs.append(lambda k=n: k)
            await effect(n)
            log("all", [f() for f in fs])
        n = 9
        await effect("after")
        return [f() for f in fs]
    """,
    "imports": """
        import os.path as p, json
        from collections import OrderedDict as D, deque
        await effect(1)
        return p.join("a", "b"), json.dumps(D(a=1)), list(deque([await effect(2, 2)]))
    """,
    "semicolons": """
        a = 1; b = await effect(1, 2); a += b; c = await effect(2, a)
        if c: d = await effect(3); e = 1
        return tag([a, b, c, d, e])
    """,
    "statements of one line": """
        for n in range(2): await effect(n)
        while n: n -= 1; await effect('w')
        try: await broken(1)
        except Err: await effect('x')
        else: log('never')
        finally: log('f')
        with Manager(1): await effect('m')
        if await effect('i'): pass
        else: await effect('e')
        return n
    """,
    "tabs": (
        "if note(1):\n\tfor n in range(2):\n\t\ta = await effect(n)\n\telse:\n\t\tb = await effect('else')\n"
        "return tag([a, b])"
    ),
    "comments and continuation lines": """
        # a comment
        a = 1 + \\
            await effect(1, 2)  # another

        # and one more

        b = [  # inside
            a,
            # between
            await effect(2, 3),
        ]
        return a, b
    """,
    "a docstring": """
        '''Says
          what it does.'''
        'another string'
        ...
        return await effect(1, 1)
    """,
    "pass and ellipsis": """
        pass
        ...
        if await effect(1): ...
        else: pass
        for n in range(2): pass
        return n
    """,
    "nothing after the await": "await effect(1)",
    "unreachable code": """
        return await effect(1, 1)
        await effect(2)
        for x in y:
            await effect(3)
    """,
    "iterating what changes": """
        xs = [1, 2, 3]
        for x in xs:
            await effect(x)
            if x == 1: xs.append(4)
            if x == 2: xs.remove(1)
        box = {"a": 1, "b": 2}
        out = []
        try:
            for k in box:
                out.append(k)
                await effect(k)
                if k == "b": box["c"] = 3
        except RuntimeError as error:
            out.append(str(error))
        try:
            for k, v in box.items():
                await effect((k, v))
                del box[k]
        except RuntimeError as error:
            out.append(str(error))
        for v in box.values():
            box["b"] = await effect(("value", v), 9)
        found = {1}
        try:
            for n in found:
                await effect(n)
                found.add(n + 1)
        except RuntimeError as error:
            out.append(str(error))
        return xs, out, box, sorted(found)
    """,
    "an iterator shared between a loop and next": """
        it = iter([1, 2, 3, 4, 5, 6])
        for x in it:
            log("next", x, next(it, None))
            await effect(x)
            if x == 3: break
        rest = [await effect(("rest", y), y) for y in it]
        pairs = zip(it2 := iter("abcd"), it2)
        for a, b in pairs:
            await effect((a, b))
        numbered = enumerate(iter("pqr"), 5)
        await effect(next(numbered)[0])
        for n, letter in numbered:
            await effect((n, letter))
        return rest, list(it)
    """,
    "an iterator of the program's own": """
        class Down:
            def __init__(self, n): self.n = n
            def __iter__(self): return self
            def __next__(self):
                if not self.n: raise StopIteration
                self.n -= 1
                return self.n
        Down = None
        shared = Countdown(4)
        for n in shared:
            log("n", n, shared.n)
            await effect(n)
            if n == 2: next(shared)
        return list(shared)
    """,
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_with_awaits_does_what_it_does_in_python_and_goes_on_anywhere(name, same):
    same(STATEMENTS[name], head=EAGER if "annotations of" in name else HEAD)


HEAD = (
    snippets.HEAD
    + """
def same(function): return function

class Countdown:
    def __init__(self, n): self.n = n
    def __iter__(self): return self
    def __next__(self):
        if not self.n: raise StopIteration
        self.n -= 1
        return self.n
"""
)
EAGER = HEAD.removeprefix("from __future__ import annotations\n")
