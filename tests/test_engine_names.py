"""Names, scopes and definitions, each word of the language by itself: in plain Python, in an agent, resumed from every
checkpoint, killed, stopped and cancelled at every turn of the loop (tests/programs/snippets.py)."""

from __future__ import annotations

import pytest

NAMES = {
    "locals": """
        a = 1
        def read(): return b
        b = await effect(1, 2)
        log("locals", sorted(locals()), locals()["b"])
        for n in [1]:
            with Manager(1):
                log("locals", sorted(f"{key}={tag(value)}" for key, value in locals().items() if key != "read"))
                c = [sorted(locals()), await effect(2, 3), await effect(tag(sorted(locals())), 4)]
        return c, sorted(locals()), locals().keys() == vars().keys() == set(dir())
    """,
    "locals are what they are wherever they are asked": """
        x = await effect(1, 1)
        try:
            fail(1)
        except Err as error:
            y = [tag(locals()["error"]), await effect(2, 2), sorted(locals())]
        finally:
            log("finally", sorted(locals()))
            await effect(3)
            log("finally", sorted(locals()))
        async with Manager(1) as m:
            log("with", sorted(locals()))
        match await effect(4, (1, 2)):
            case (p, q) if await effect(5, 1):
                log("match", sorted(locals()))
        return y, sorted(locals())
    """,
    "eval and exec see locals": """
        x = await effect(1, 20)
        def shared(): return x
        y = eval("x + 1") + (await effect(2, 1))
        z = eval("sorted(locals())"), eval("x + n", None, {"n": 5, **locals()})
        exec("log('exec', x, y)")
        exec("log('exec', x); w = 5")
        v = eval("y + x", globals(), {"x": 1, "y": await effect(3, 2)})
        shared = None
        return y, z, v, eval("x"), await effect(4, 1)
    """,
    "dir and vars in a nested scope": """
        x = await effect(1, 1)
        def inner():
            y = x
            return sorted(locals()), dir(), sorted(vars())
        class C:
            z = sorted(locals())
        a = [sorted(locals()) for _ in [0]][0] is not None
        C = None
        return inner(), a, await effect(2, 2)
    """,
    "unbound names": """
        await effect(1)
        try:
            log("never", x)
        except UnboundLocalError as error:
            log("unbound", str(error), error.name)
        try:
            x += await effect(2, 1)
        except UnboundLocalError as error:
            log("unbound", str(error))
        try:
            del x
        except UnboundLocalError as error:
            log("unbound", str(error))
        try:
            nowhere
        except NameError as error:
            log("no name", type(error).__name__, str(error))
        x = await effect(3, 1)
        return x
    """,
    "unbound names shared with nested functions": """
        def read(): return x
        def write(value):
            nonlocal x
            x = value
        await effect(1)
        try:
            read()
        except NameError as error:
            log("free", type(error).__name__, str(error))
        for turn in range(2):
            for ask in (0, 1, 2, 3):
                try:
                    if ask == 0: log("never", x)
                    if ask == 1: x += await effect((turn, 2), 1)
                    if ask == 2: del x
                    if ask == 3: log("never", [await effect((turn, 3)), x])
                except UnboundLocalError as error:
                    log("unbound", str(error))
            write(5)
            await effect((turn, 4))
            log("x", x, read())
            del x
        with Manager(1) as x, Manager(x): pass
        x = await effect(5, 1)
        return read(), x
    """,
    "a deleted parameter shared with a nested function": """
        @playbook
        async def inner(a, *b, c=1, **d):
            def read(): return a, b, c, d
            await effect(1)
            del a, b
            c = await effect(2, 3)
            try:
                a
            except UnboundLocalError as error:
                log("unbound", str(error))
            try:
                print(b)
            except UnboundLocalError as error:
                log("unbound", str(error))
            a, b = 1, await effect(3, 2)
            return read()

        @playbook
        async def case():
            return await inner(1, 2, d=3)
    """,
    "a handler's name shared with a nested function": """
        def read():
            return str(error)
        for turn in range(2):
            try:
                fail(turn)
            except Err as error:
                log("read", read(), await effect(turn))
                log("read", read())
            try:
                error
            except UnboundLocalError as unbound:
                log("unbound", str(unbound), await effect((turn, 2)))
            try:
                read()
            except NameError as unbound:
                log("free", type(unbound).__name__, str(unbound))
        return 1
    """,
    "names that shadow builtins": """
        list = sum = print = len = await effect(1, str)
        RuntimeError = BaseException = Exception = StopIteration = StopAsyncIteration = GeneratorExit = None
        def locals(): return "mine"
        super = globals = vars = id = await effect(2, 3)
        try:
            fail(1)
        except Err:
            a = [list(x) for x in (1, await effect(3, 2))], sum(4), locals()
        locals = None
        for len in [await effect(4, 5)]:
            assert len, "never"
        return a, len, super
    """,
    "names that look like ours": """
        _t1 = t1 = f = pc = go = body = make = await effect(1, 1)
        frame, agent, again, region, _f, __f, R, U = range(8)
        t1 += await effect(2, 2)
        class C:
            t1 = 5
        def body(): return make, go, pc
        return body(), _t1, t1, f, C.t1, [_f, __f, R, U], await effect(3, frame)
    """,
    "a playbook by the name of its own local": """
        @playbook
        async def inner(inner=1, *, case=2):
            inner += await effect(1, 1)
            def read(): return inner, case
            case = await effect(2, 3)
            return read()

        @playbook
        async def case():
            case = await inner()
            return case, await inner(5, case=6)
    """,
    "parameters of every kind": """
        @playbook
        async def inner(a, b=note(1), /, c=2, *args, d, e=note(3), **words):
            a += await effect(1, 1)
            words["more"] = await effect(2, args)
            return tag([a, b, c, args, d, e, words])

        @playbook
        async def only(*, a, b=2): return a, await effect(3, b)

        @playbook
        async def positional(a, b=2, /): return a, await effect(4, b)

        @playbook
        async def same_name(a, /, **words): return a, await effect(5, words)

        @playbook
        async def case():
            out = [await inner(1, d=2), await inner(1, 2, 3, 4, 5, d=6, e=7, a=8, b=9), await only(a=1), await positional(3)]
            out.append(await same_name(1, a=2))
            for wrong in (lambda: inner(1), lambda: only(1), lambda: positional(a=1), lambda: inner(1, d=1, c=2, *[3, 4])):
                try:
                    await wrong()
                except TypeError as error:
                    log("wrong", str(error))
                await effect("after")
            return out
    """,
    "defaults are evaluated once": """
        @playbook
        async def inner(seen=[]):
            seen.append(await effect(len(seen), 1))
            return len(seen)

        @playbook
        async def case():
            seen = []
            return await inner(seen), await inner(seen), seen
    """,
    "private names": """
        class Odd:
            __shared = 1
            def __init__(self): self.__own = 2
            def __plain(self): return self.__own
            @playbook
            async def __run(self, __a, *, __k=3, **__words):
                __local = self.__plain() + await effect(1, __a)
                self.__own, (__x, *__y) = await effect(2, 5), [__k, 7]
                def nested(__p=__local):
                    nonlocal __local
                    __local = __p + 1
                    return __p, self.__shared, Odd.__shared
                class Inner:
                    __held = 4
                    def get(self, o): return self.__held, hasattr(o, "_Odd__own"), hasattr(o, "_Inner__own")
                inner = Inner().get(self)
                Inner = None
                try:
                    fail(1)
                except Err as __error:
                    await effect(3)
                    log("error", __error)
                match await effect(4, {"a": 1, "b": 2}):
                    case {"a": __m, **__rest}:
                        await effect(5)
                import os as __os
                log("locals", sorted(name for name in locals()))
                __os = None
                return nested(), __local, inner, __x, __y, __m, __rest, sorted(__words), self.__plain()
            async def run(self): return await self.__run(9, _Odd__k=4, other=1)
            @staticmethod
            @playbook
            async def __call(n): return await effect(("static", n), n)
            @playbook
            async def calls(self): return await self.__call(1), await Odd.__call(2)

        class __Twice__(Odd):
            @playbook
            async def __more(self): return await effect("more", __name__ != "")
            @playbook
            async def calls(self): return await super().calls(), await self.__more()

        class _:
            @playbook
            async def run(self, __n): return __n, await effect(1, __n)

        @playbook
        async def case():
            one = await Odd().run()
            return one, await __Twice__().calls(), await _().run(5)
    """,
    "super and __class__": """
        class A:
            def said(self): return "a"
            @classmethod
            def made(cls): pass
            @playbook
            async def up(self): return "A", await effect("a", self.said())
            @property
            def prop(self): return "prop"

        class B(A):
            def said(self): return "b"
            @playbook
            async def up(this, n=1):
                before = super().said()
                f = lambda: (super(B, this).said(), __class__.__name__)
                def nested(me): return super(__class__, me).said()
                got = [await super().up(), await effect(super().prop), f(), nested(this)]
                this.kept = super
                await effect("kept")
                got.append(super(__class__, this).said())
                del this.kept
                return before, got, [x for x in [super().said()]], __class__ is type(this)
            @classmethod
            @playbook
            async def made(cls, *args): return cls.__name__, await effect("made", 1), super().made.__name__
            @playbook
            async def rebinds(self):
                self = await effect("other", A())
                try:
                    return super().said()
                except TypeError as error:
                    return await effect("not")

        class C(B):
            @playbook
            async def up(self, *args, **words): return "C", await super().up(*args, **words)

        @playbook
        async def case():
            one = await C().up()
            return one, await C.made(), await B.up(C(), 2), await B().rebinds()
    """,
    "methods": """
        class Held:
            def __init__(self): self.log = []
            @playbook
            async def run(self, n): self.log.append(await effect(n, n)); return self
            @playbook
            async def __call__(self, n): return await effect(("call", n), n)
            @playbook
            async def __aenter__(self): log("open"); return 5
            @playbook
            async def __aexit__(self, *raised): self.log.append(await effect("exit", raised[0] is Err)); return True
            @property
            def later(self): return self.run(7)
            @staticmethod
            @playbook
            async def static(n, /): return await effect(("static", n), n)
            class Inner:
                @classmethod
                @playbook
                async def made(cls, n): return cls.__qualname__, await effect(n, n)
            also = run

        @playbook
        async def case():
            h = Held()
            chained = await (await (await h.run(1)).also(2)).later
            bound, static = h.run, Held.static
            await effect("between")
            await bound(3)
            async with h as five:
                await effect("inside")
                fail(1)
            others = await h(4), await static(five), await h.Inner.made(6)
            return others, chained.log, h.log is chained.log, await Held.run(h, 8) is h
    """,
    "definitions under if and try": """
        if note(1):
            @playbook
            async def inner(n): return await effect(("one", n), n)
        else:
            @playbook
            async def inner(n): return await effect(("two", n), n)
        try:
            {}[0]
        except KeyError:
            @playbook
            async def other(n): return await inner(n)
        for turn in range(2):
            class Held:
                if turn:
                    @playbook
                    async def run(self): return await effect("held", 3)
        with Manager(1):
            @playbook
            async def case():
                return await other(1), await Held().run()
    """,
    "decorators on top": """
        import functools
        def twice(function):
            @functools.wraps(function)
            async def call(*args):
                return await function(*args), await function(*args)
            return call
        def plain(function):
            return lambda *args: function(*args)
        def counted(n):
            def decorate(function):
                function.count = n
                return function
            return decorate
        class Held:
            @twice
            @counted(3)
            @playbook
            async def run(self, n): return await effect(n, n)

        @twice
        @playbook
        async def inner(n):
            one = await effect((n, 1), n)
            return one + await effect((n, 2), 1)

        @plain
        @counted(2)
        @playbook
        async def other(n=1): return await effect(n, n)

        @playbook
        async def case():
            return await inner(1), await other(), await Held().run(4), await other(5)
    """,
    "nested functions": """
        xs = []
        def add(x, *, to=xs):
            to.append(x)
            def again(): return len(to), total_
            return again
        total_ = await effect(1, 5)
        again = add(1)
        async def helper(n):
            nonlocal total_
            total_ += await effect(("h", n), n)
            return total_
        got = await helper(2), await helper(3)
        await effect(2)
        def gen():
            for x in xs: yield x + total_
        helper = None
        return again(), got, list(gen()), (lambda *a, **k: (a, k, total_))(1, x=2), await effect(3, total_)
    """,
    "what a decorated nested function says of itself": """
        import contextlib, functools
        def wrapped(function):
            @functools.wraps(function)
            def call(*args): return function(*args)
            return call
        @wrapped
        def inner(a: "int") -> "str":
            "It says."
            return a
        @contextlib.contextmanager
        def managed(n):
            yield n
        @functools.lru_cache(maxsize=None)
        def cached(n): return n
        await effect(1)
        with managed(2) as two:
            log("two", two)
        said = inner.__name__, inner.__qualname__, inner.__doc__, sorted(inner.__annotations__.items()), inner(5)
        return said, managed.__name__, await effect(2, 1)
    """,
    "a nested function by the name of a variable of a comprehension": """
        f = [lambda: n for n in [1, await effect(1, 2)]]
        n = 7
        g = [lambda n=n: n + await_ for await_ in [await effect(2, 3)]]
        await effect(3)
        return [h() for h in f], g[0](), n
    """,
    "globals": """
        G = 1
        H = []
        @playbook
        async def inner():
            global G, New
            G = 1
            G += await effect(1, 1)
            H.append(G)
            def read(): return G, New
            New, G = await effect(2, 5), 3
            found = read()
            G = 1
            del New
            H.clear()
            return found, sorted(k for k in ("G", "New") if k in globals())

        @playbook
        async def case():
            return await inner()
    """,
    "multi-line strings in methods": (
        """
        class Held:
            @playbook
            async def run(self):
                '''A docstring
            that is not indented.'''
                text = '''one
        two \\
          three {0}
        ''' + (await effect(1, '''four
        five'''))
                more = f'''{text}
                {await effect(2, "six")}
            seven'''
                return text, more

        @playbook
        async def case():
            return await Held().run()
        """
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_mean_what_they_mean_in_python_and_go_on_anywhere(name, same):
    same(NAMES[name], whole="async def case" in NAMES[name])
