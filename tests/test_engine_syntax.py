"""Syntax that random programs and sharp eyes once found broken: each in plain Python, in an agent, and resumed from every
checkpoint, with every evaluation logged (tests/programs/fuzz.py)."""

from __future__ import annotations

import ast
import asyncio
import importlib
import sys
import textwrap
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "programs"))

import constructs  # noqa: E402
import trials  # noqa: E402 - found beside the programs it runs

from playbooks_worker.engine import Agent, Completed, definitions, playbook_of, playbooks_in  # noqa: E402

_HEAD = """\
from __future__ import annotations
from fuzzing import *
from fuzzing import LOG
from playbooks_worker import playbook
"""


@pytest.fixture
def module(tmp_path, request):
    """Loads a program from its text."""
    loaded = []

    def load(text):
        name = f"{request.node.name.partition('[')[0]}_{len(loaded)}"
        loaded.append(name)
        return trials.load(name, _HEAD + textwrap.dedent(text), tmp_path)

    yield load
    for name in loaded:
        del sys.modules[name]


# --- operands ----------------------------------------------------------------------------------------------------------


def test_an_operand_chosen_by_a_condition_evaluates_its_arguments_once(same):
    same("""
        z = [1, 2, 3]
        a = await (through(z.pop()) if note(1) else effect(z.pop()))
        b = await (through(z.pop()) if await effect(2, 0) else through(z.pop(), note(3)))
        c = await (None or through(len(z)) if z is not None else 0)
        return tag([a, b, c, z])
    """)


def test_an_operand_of_and_or_evaluates_its_arguments_once(same):
    same("""
        z = [1, 2, 3]
        a = await (z and through(z.pop()))
        b = await (0 or await effect(1, 0) or through(z.pop(), await effect(2)))
        return tag([a, b, z])
    """)


def test_an_operand_that_is_a_display_evaluates_its_parts_once(same):
    same("""
        z = [1, 2, 3]
        async def first(table): return await table["a"]
        a = await first({"a": leaf(z.pop()), **{"b": z.pop()}})
        b = await [through(z.pop())][0]
        first = None
        return tag([a, b, z])
    """)


def test_awaitables_of_a_comprehension_are_made_again_from_the_same_arguments(module):
    """Branches interleave as checkpoints end: only the results are compared."""
    program = module("""
        import asyncio

        async def late(x, y=0):
            for _ in range(9): await asyncio.sleep(0)
            return x, y

        async def wrapped(inner): return await inner

        @playbook
        async def case():
            z = [1, 2, 3, 4, 5, 6]
            a = await asyncio.gather(leaf(z.pop()), *[late(z.pop(), y=z.pop()) for _ in range(2)])
            b = await asyncio.gather(leaf(1), *(late(n, z.pop(0)) for n in "z" for z in [[1]] if n))
            c = await asyncio.gather(leaf(2), *[wrapped(late(n)) for n in range(2)], *[leaf(n) for n in range(2)])
            return tag([a, b, c, z])
    """)

    async def main():
        kept = []
        expected = await Agent("a", persist=lambda moment, payload: kept.append(payload)).start(program.case)
        assert expected == Completed(await program.case())
        for payload in kept[:-1]:
            assert await Agent("a", persist=lambda *_: None).resume(payload) == expected

    asyncio.run(main())


def test_a_spread_argument_is_read_before_what_comes_after_it(same):
    same("""
        z = [1, 2]
        words = {"k": 1}
        a = await leaf(*z, (z.append(note(1)), 5)[1])
        b = await leaf(1, **words, m=(words.update(k=note(2)), 6)[1])
        return tag([a, b, z, words])
    """)


def test_what_an_earlier_statement_left_in_a_temporary_is_not_saved(same):
    same("""
        await through(1, 2)
        a = 1 if not note(1, 1) else await effect(2, await through(3, 4))
        return tag(a)
    """)


# --- names ---------------------------------------------------------------------------------------------------------------


def test_an_unbound_local_raises_before_the_await_that_follows_it(same):
    same("""
        await effect(0)
        try:
            total = total + await effect(1)
        except UnboundLocalError as error:
            log("unbound", str(error))
        try:
            note(1, later).m(await effect(2))
        except UnboundLocalError as error:
            log("unbound", str(error))
        if note(2) is None: later = 1
        return await effect(3, 1)
    """)


def test_a_handler_name_rebound_in_the_handler_and_shared_with_a_closure_comes_back(same):
    same("""
        error = "before"
        def read(): return tag(error)
        try:
            fail(1)
        except Err as error:
            await effect(1)
            error = "rebound"
            log("read", read())
            await effect(2)
            log("read", read())
        try:
            read()
        except NameError:
            log("deleted", await effect(3))
        return 1
    """)


def test_a_handler_name_deleted_or_rebound_in_the_handler_comes_back_as_it_was(same):
    same("""
        for turn in range(2):
            try:
                fail(turn)
            except Err as error:
                if turn:
                    del error
                else:
                    error = 5
                await effect(turn)
                try:
                    log("error", error)
                except UnboundLocalError:
                    log("unbound")
        return 1
    """)


def test_annotated_names_shared_with_a_closure(same):
    same("""
        count: int = 1
        other: int
        def read() -> Missing: return count, lambda: other
        count += await effect(1, 2)
        if note(1):
            count: int = count + 1
        await effect(2)
        return read()[0]
    """)


def test_a_global_declared_inside_a_branch(same):
    same(
        """
        G = 1
        @playbook
        async def case():
            def read(): return G
            if note(1):
                global G
                G = 5
            await effect(1)
            G = await effect(2, 6)
            return G, read()
        """,
        whole=True,
    )


def test_names_that_shadow_builtins(same):
    same("""
        list = set = iter = type = BaseException = AssertionError = range = None
        seen = []
        for x in [1, 2]:
            seen.append({await effect(x, x) for y in (1, x)} and len(seen))
        try:
            assert await effect(3, 0), await effect(4, "said")
        except Exception as error:
            seen.append((str(error), await effect(5, 1)))
        super = note
        seen.append(tag(super(1)))
        return tag(seen)
    """)


def test_a_walrus_rebinds_a_name_that_was_read_before_it(same):
    same("""
        x = 1
        a = [x, (x := 5), await effect(1, x), x]
        b = x + (x := await effect(2, 7)) + x
        c = [x for _ in range(2) if (x := x + await effect(3, 1)) > 0]
        v, z = z, v = z = (await effect(4, 1), 2)
        return a, b, c, x, v, z
    """)


def test_several_targets_of_which_one_awaits(same):
    same("""
        box = {}
        v = (1, 2)
        (v, w), box[await effect(1, "a")] = v, v
        v = (3, 4)
        (v, w) = box[await effect(2, "b")] = v
        del (box["a"], [box[await effect(3, "b")]])
        first, *box[await effect(4, "c")], last = [1, 2, 3, 4]
        return box, v, w, first, last
    """)


def test_a_conditional_definition_and_a_method_of_a_nested_class_keep_their_names(same):
    same("""
        await effect(1)
        class Inner:
            def name(self): return type(self).__qualname__, self.name.__qualname__
        found = Inner().name()
        Inner = None
        def outer():
            def inner(): pass
            return inner.__qualname__
        await effect(2)
        return found, outer()
    """)


def test_private_names_and_super_in_a_class(same):
    same(
        """
        class Base2:
            def said(self, *a): return ("base", *a)
            @classmethod
            def made(cls, n): return cls.__name__, n

        class __Odd(Base2):
            __held = 3
            @playbook
            async def run(self, __arg=4, *, __word=5):
                self.__x = await effect(1, __arg)
                __local = [__arg for __arg in [await effect(2, 9), self.__held]]
                def inner(w=super().said(self.__x)): return w, __word, __local
                await effect(3)
                f = lambda __p=await effect(4, 1): (__p, self.__x)
                return inner(), f(), super().said(await effect(5, 2)), super().made(3), __class__.__name__

        @playbook
        async def case():
            return await __Odd().run(7)
        """,
        whole=True,
    )


def test_private_functions_and_classes_in_a_method_keep_the_names_that_they_are_written_with(same):
    same(
        """
        class Room:
            @playbook
            async def run(self):
                async def __inner(__q=await effect(1, 2)): return await effect(2, __q)
                class __Held:
                    __z = 4
                    def __init__(self): self.__w = 5
                    def get(self): return self.__w, self.__z, self._Held__w
                def __twice(n): return n and __twice(n - 1)
                found = await __inner(), __Held().get(), __twice(2)
                held, deep = __Held(), __inner
                await effect(3)
                found += sorted(vars(held)), __Held.__name__, __Held.get.__qualname__, deep.__qualname__, __twice.__name__
                del __Held
                return found, sorted(name for name in locals() if "__" in name)

        @playbook
        async def case():
            return await Room().run()
        """,
        whole=True,
    )


def test_future_annotations_stay_unevaluated(same):
    same("""
        await effect(1)
        def typed(value: Nowhere = 1) -> Neither: return value
        return typed(await effect(2, 3))
    """)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type parameters came with Python 3.12")
def test_type_parameters(same):
    same(
        """
        class Box[T]:
            @playbook
            async def run[U](self, value: U):
                await effect(1)
                type Pair = tuple[T, U, value]
                log("pair", str(Pair.__value__))
                del Pair
                def typed[V](x: V) -> V: return x
                await effect(2)
                return T.__name__, U.__name__, typed(value)

        @playbook
        async def case():
            return await Box().run(2)
        """,
        whole=True,
    )


# --- control flow -----------------------------------------------------------------------------------------------------


def test_an_exception_with_a_context_keeps_it_when_awaited_in_a_handler(same):
    same("""
        try:
            fail(1)
        except Err as first:
            try:
                await broken(3)
            except Err as second:
                second.add_note("noted")
                log("chain", chain(second), second.__context__.__context__ is first)
                await effect(1)
                log("chain", chain(second), second.__context__.__context__ is first)
        return 1
    """)


def test_handlers_nested_in_handlers_with_bare_raise_and_else_and_finally(same):
    same("""
        for turn in range(3):
            try:
                try:
                    await effect(("try", turn))
                    if turn == 1: fail(1)
                except Err:
                    try:
                        await breaking(2)
                    except Other as error:
                        log("inner", chain(error))
                        await effect("inner")
                    raise
                else:
                    await effect("else")
                    if turn == 2: raise Other(1, 2)
                finally:
                    log("finally", turn)
            except (Err, Other) as error:
                log("outer", chain(error))
                await effect("outer")
                if turn == 1: continue
                break
            finally:
                log("finally 2", turn)
        else:
            return "never"
        return await effect("end", turn)
    """)


def test_a_generator_expression_over_the_variable_of_an_unrolled_comprehension(same):
    same("""
        rows = [[1, 2], [3]]
        a = [await effect(sum(v * len(row) for v in row), 1) for row in rows]
        b = {k: [await effect((k, v), v) for v in row for k in "z"] for k, row in zip("ab", rows)}
        return a, b
    """)


def test_long_chains_of_elif_and_operators(same):
    chain = "".join(f"{'el' if n else ''}if await effect({n}, n == {n}):\n    r = {n}\n" for n in range(60))
    same(f"n = 59\n{chain}s = {' + '.join(f'await effect({n}, {n})' for n in range(60))}\nreturn r, s")


def test_chains_as_long_as_python_takes_are_rewritten(module):
    chain = "".join(f"    {'el' if n else ''}if await effect({n}, n == {n}):\n        r = {n}\n" for n in range(300))
    total = " + ".join(f"await effect({n}, {n})" for n in range(300))
    text = f"@playbook\nasync def case(n):\n{chain}    return r, {total}\n"
    outcome = asyncio.run(Agent("a", persist=lambda *_: None).start(module(text).case, [299]))
    assert outcome == Completed((299, sum(range(300))))


def test_lambdas_in_comprehensions_are_numbered_alike_on_every_python(module):
    program = module("""
        @playbook
        async def case():
            a = [lambda n=n: n for n in range(2)]
            b = {n: lambda: n for n in range(2)}
            c = lambda: [lambda: d for d in a]
            await effect(1)
    """)
    made = playbook_of(program.case)
    index = definitions._index(made.code)
    assert len(index["case.<locals>.<lambda>"]) == 3
    assert len(index["case.<locals>.<lambda>.<locals>.<lambda>"]) == 1


def test_a_header_whose_arguments_await(same):
    same("""
        box = {"m": Manager}
        with Manager(1), box["m"](str(tag(await effect(2)))) as b, Manager(b):
            box = None
            await effect(3)
            async with Manager(str(tag([await effect(n, n) for n in range(2)]))) as c:
                b = await effect(4, 1)
            await effect(5)
        return b, c
    """)


# --- size and depth -----------------------------------------------------------------------------------------------------


def test_five_hundred_awaits_are_rewritten_and_compiled_in_half_a_second(module):
    lines = "".join(f"    a{n % 7} = await effect('step', {n}, xs)\n" for n in range(500))
    text = f"@playbook\nasync def big(xs):\n{lines}"
    started = time.process_time()
    made = playbook_of(module(text).big)
    assert made.code is not None
    took = time.process_time() - started
    emitted = len(ast.unparse(made.emitted()))
    print(f"500 awaits: {took:.2f} s, {emitted / len(text):.1f} times the source")
    assert took < 0.5 * _slowness()
    assert emitted < 6 * len(text)


def test_a_playbook_of_five_hundred_awaits_goes_on_at_any_of_them(module):
    kinds = (
        "    total += await effect({n}, {n})\n",
        "    for x in [await effect({n}, 1), 2]:\n        total += x\n",
        "    if total % 2 or await effect({n}, {n}):\n        total -= 1\n",
        "    try:\n        total += await effect({n}, {n}) // (total % 3)\n    except ArithmeticError:\n        pass\n",
        "    with Manager({n}):\n        total += await leaf({n}, 1) is None\n",
    )
    lines = "".join(kinds[n % len(kinds)].format(n=n) for n in range(500))
    program = module(f"@playbook\nasync def case():\n    total = 0\n{lines}    return total\n")

    async def main():
        kept = []
        agent = Agent("a", persist=lambda moment, payload: kept.append(payload))
        expected = await agent.start(program.case)
        assert expected == Completed(await program.case())
        assert len(kept) > 500
        for payload in kept[:-1:23]:
            assert await Agent("a", persist=lambda *_: None).resume(payload) == expected

    asyncio.run(main())


def size_of(made):
    """(what is written, what is emitted) of one playbook, in characters; ours without the factory around it."""
    return len("\n".join(made.definition.own_lines())), len(ast.unparse(made.emitted().body[0].body))


def test_the_playbooks_of_the_examples_are_emitted_in_less_than_five_times_their_source(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "examples"))
    for name in ("hello", "audit"):
        sizes = [size_of(playbook_of(made)) for made in playbooks_in(importlib.import_module(name)).values()]
        assert sum(emitted for _, emitted in sizes) < 5 * sum(written for written, _ in sizes), name


def test_dense_playbooks_are_emitted_in_less_than_six_times_their_source():
    """Every second word of these is an await: nothing that people write is as dense. `with`s and comprehensions are the
    densest: each header, each `for` is entered again."""
    sizes = {name: size_of(playbook_of(case)) for name, case in constructs.CASES.items()}
    assert sum(emitted for _, emitted in sizes.values()) < 5.5 * sum(written for written, _ in sizes.values())
    assert {name for name, (written, emitted) in sizes.items() if emitted > 7 * written} <= {
        "case_comprehensions", "case_with",
    }  # fmt: skip


def test_an_await_that_runs_on_asks_at_most_twice_whether_it_is_entered_again(module):
    """The hot path: whether it is passed over, and whether its parts come back."""
    program = module("""
        @playbook
        async def case(xs):
            xs.append(await effect(xs.pop(), note(1)))
            return [await effect(2), xs, await effect(3)]
    """)
    function = playbook_of(program.case).emitted().body[0].body[0]
    asked = [node for node in ast.walk(function) if isinstance(node, ast.If)]
    where_arguments_and_locals_come, awaits = asked[:2], asked[2:]
    assert [ast.unparse(node.test) for node in where_arguments_and_locals_come] == ["not .pc", ".pc and .f.spot == 0"]
    assert [ast.unparse(node.test) for node in awaits] == [".pc <= 1", ".pc <= 2", ".pc", ".pc", ".pc"]


def _slowness() -> float:
    """How much slower than a quiet machine of today this one is now, at least 1."""
    started = time.process_time()
    ast.unparse(ast.parse("x = [f(a, b) for a, b in c if d]\n" * 500))
    return max(1.0, (time.process_time() - started) / 0.03)


def test_playbooks_nest_450_deep_at_the_default_recursion_limit(module):
    program = module("""
        @playbook
        async def deep(n):
            if n == 0:
                return await effect(0, 0)
            return 1 + await deep(n - 1)
    """)

    async def main():
        kept = []
        agent = Agent("a", persist=lambda moment, payload: kept.append((moment.kind, payload)))
        assert await agent.start(program.deep, [450]) == Completed(450)
        assert await Agent("a", persist=lambda *_: None).resume(kept[0][1]) == Completed(450)

    assert sys.getrecursionlimit() == 1000
    asyncio.run(main())
