"""Comprehensions with awaits: their variables are their own, also where lambdas read them (tests/programs/snippets.py)."""

from __future__ import annotations


def test_lambdas_share_the_variables_of_the_run_that_they_were_made_in(same):
    same("""
        made = []
        x = "outer"
        for n in range(2):
            made.append([(lambda: (x, n)) for x in [1, 2, 3] if await effect((n, x), 1)])
        await effect("between")
        return [[f() for f in run] for run in made], x
    """)


def test_a_lambda_sees_the_variable_change_while_the_comprehension_runs(same):
    same("""
        seen = []
        made = []
        await effect(0)
        values = [(made.append(lambda: x), seen.append([f() for f in made]), await effect(x, x))[2] for x in (1, 2, 3)]
        return seen, values, [f() for f in made]
    """)


def test_lambdas_with_parameters_defaults_and_inner_scopes(same):
    same("""
        a = [lambda x, y=x: (x, y) for x in await effect(1, [1, 2])]
        b = [lambda y=await effect(("default", x), x): (x, y) for x in (3, 4)]
        c = [lambda: [x + z for z in (x, 10)] for x in (5, await effect(2, 6))]
        d = [lambda: (lambda: (x, y)) for x in (7, 8) for y in [await effect(x, x)]]
        e = {k: [(lambda: (k, v)) for v in await effect(k, [1, 2])] for k in "ab"}
        f = [(lambda x: x)(x) for x in [await effect(3, 9)]]
        g = [list(map(lambda v: v * x, range(2))) for x in [1, 2] if await effect(x, 1)]
        await effect("kept")
        return (
            [m(5) for m in a], [m() for m in b], [m() for m in c], [m()() for m in d],
            [[m() for m in row] for row in e.values()], f, g,
        )
    """)


def test_lambdas_of_a_comprehension_have_their_names(same):
    same("""
        made = [lambda: x for x in [await effect(1, 1)]]
        log("name", made[0].__qualname__.replace("<listcomp>.", ""), made[0].__name__)
        def outer(): return [lambda: y for y in (1, 2)]
        found = outer()[0].__qualname__.replace("<listcomp>.", "").replace("<locals>.<locals>.", "<locals>.")
        await effect(2)
        return found.count("lambda"), made[0]()
    """)


def test_targets_with_awaits(same):
    same("""
        box = {}
        a = [box["k"] for box[await effect("key", "k")] in (1, 2)]
        b = [(x, box["m"]) for x, box[await effect("other", "m")] in [(1, 2), (3, 4)]]
        with Manager(1) as box[await effect("with", "w")]:
            log("inside", await effect("body", box["w"]))
        with Manager(2) as box["plain"], Manager(3) as (box[await effect("nested", "n")]):
            log("inside", box["n"])
        async with Manager(4) as box[await effect("async", "a")]:
            pass
        return a, b, sorted(box)
    """)


def test_a_comprehension_has_its_variables_to_itself_where_the_playbook_shares_that_name(same):
    """Since Python 3.12 its variables are the function's; what a lambda in it shares must not hide the playbook's own."""
    same("""
        x = 4
        z = [6, 7]
        g = [sum(x for v in [1]) for x in z]
        x = z[0]
        note([x, g])
        await effect(1)
        f = lambda: x
        await effect(2)
        note([f(), x])
        h = {x: [(lambda: x)() for y in [x]] for x in z if [x for v in [0]]}
        def inner(a=[(lambda: x)() for x in z]): return x, a
        await effect(3)
        note([h, inner(), x])
        k = [[(lambda: x + w)() for x in [w, x]] for w in z for x in [w * 10]]
        x += 1
        await effect(4)
        note([k, f(), x])
    """)


def test_the_first_iterable_of_a_comprehension_is_the_playbooks(same):
    same("""
        x = 4
        a = [await effect(x) for x in [x, x + 1]]
        b = {x: await effect(y) for x in sorted([x, 1]) for y in [x, x * 2]}
        note([a, b, x])
    """)
