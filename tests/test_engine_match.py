"""`match` around awaits: Python's own semantics, and a resume at every await of it (tests/programs/snippets.py)."""

from __future__ import annotations


def test_awaits_in_subject_guards_and_bodies(same):
    same("""
        seen = []
        for value in [[1, 2, 3], {"k": 1, "more": 2}, "text", 5, None, [9]]:
            match await effect(("subject", tag(value)), value):
                case [x, *rest] if await effect(("long", x), len(rest) > 1):
                    seen.append((x, await effect("body", rest)))
                case {"k": k, **others} if note("plain guard", 1):
                    seen.append((k, others))
                    seen.append(await effect("mapping"))
                case str() as text:
                    seen.append(text)
                case int(n) if await effect("never", 0):
                    seen.append("never")
                case 5 | 6:
                    seen.append(await effect("or"))
                case None:
                    log("none")
                case _:
                    seen.append(await effect("wildcard"))
            log("after", tag(value))
        return tag(seen)
    """)


def test_captures_are_bound_although_the_guard_then_fails(same):
    same("""
        x = "before"
        match [1, 2]:
            case [x, y] if await effect("no", 0):
                log("never")
            case [x, 3]:
                log("never")
            case [_, x] if x == 2 and await effect("yes", x):
                log("bound", x, y)
        log("kept", x, y)
        match x:
            case x if await effect("rebinds", x) is None: pass
            case 2 as z: x = await effect("z", z + x)
        return x, y, z
    """)


def test_patterns_and_guards_are_evaluated_once_and_in_order(same):
    same(
        """
        class Loud:
            __match_args__ = ("one", "two")
            def __init__(self, one, two): self._one, self._two = one, two
            @property
            def one(self):
                log("one", self._one)
                return self._one
            @property
            def two(self):
                log("two", self._two)
                return self._two

        class Words:
            K = 4

        @playbook
        async def case():
            thing = Loud(1, 2)
            seen = []
            match thing:
                case Loud(5, 2): log("never")
                case Loud(1, two=3): log("never")
                case Loud(a, b) if await effect("guard", tag(a)) is None: log("never")
                case Loud(1, two=2) if note("sync guard", 0): log("never")
                case (Loud(one=Words.K) | Loud(two=2)) as whole if await effect("last", 1):
                    seen.append(await effect("chosen", whole._one))
                case _: log("never")
            match seen:
                case [1, _] | [1] if (w := await effect("walrus", 3)) > 2: seen.append(w)
            return seen, a, b
        """,
        whole=True,
    )


def test_no_case_fits(same):
    same("""
        match await effect(1, 5):
            case 4: await effect("never")
            case 6 if await effect("never"): pass
        match 5:
            case 5 if await effect("no", 0): log("never")
            case 5 if await effect("no", None) is not None: await effect("never")
        return await effect("end", 2)
    """)


def test_exits_out_of_cases(same):
    same("""
        async def nothing(): return None
        for n in range(5):
            match n:
                case 0: continue
                case 1 if await effect("one", 1):
                    await effect("continued")
                    continue
                case 2:
                    try:
                        match await effect("inner", n):
                            case 2: raise Err(n)
                    except Err as error:
                        match error.args:
                            case [first]: log("caught", await effect("handler", first))
                case 3 if await effect("break", 1): break
                case _ if fail(1): pass
        else:
            return "never"
        while True:
            match n:
                case 3: return await effect("returned", n)
    """)


def test_captures_shared_with_nested_functions(same):
    same("""
        first = rest = None
        def read(): return first, rest
        match [1, 2, 3]:
            case [first, *rest] if await effect("guard", 0): pass
            case [first, _, rest] if await effect(("cells", read()[0]), 1):
                first = await effect("rebound", 7)
        read_later = lambda: (first, rest)
        await effect("later")
        return read(), read_later()
    """)


def test_private_names_in_patterns_are_spelled_as_their_class_does(same):
    same(
        """
        class Odd:
            @playbook
            async def run(self, value):
                match value:
                    case [__a, *__b] if await effect("guard", len(__b)): return __a, __b, _Odd__a, _Odd__b
                    case {"k": __c, **__d}: return await effect("map", (__c, __d))

        @playbook
        async def case():
            return [await Odd().run(x) for x in ([1, 2], {"k": 3, "l": 4})][1:]
        """,
        whole=True,
    )


def test_a_hundred_cases(same):
    cases = "".join(f"    case {n}: r = await effect({n}, {n})\n" for n in range(120))
    assert same(f"match 119:\n{cases}return r") == 1
