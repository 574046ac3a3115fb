"""`except*` around awaits: body, `else` and `finally` are resumed at their awaits, handlers are atomic regions."""

from __future__ import annotations


def test_handlers_share_a_group(same):
    assert (
        same("""
        seen = []
        try:
            seen.append(await effect("body"))
            raise ExceptionGroup("several", [Err(1), KeyError("k"), ExceptionGroup("inner", [Err(2), Other(3, 4)])])
        except* Err as group:
            seen.append(await effect("errors", [tag(error) for error in group.exceptions]))
            seen.append(tag(await leaf(len(group.exceptions))))
        except* KeyError as group:
            log("no await", str(group))
        except* Other:
            seen.append(await effect("other"))
        try: group
        except NameError: log("deleted")
        seen.append(await effect("after"))
        return seen
    """)
        == 1 + 1 + 1
    )


def test_what_no_handler_takes_and_what_they_raise_goes_on(same):
    same("""
        async def handled(error, n):
            return await effect((n, tag(error)), 1)
        for n in range(4):
            try:
                try:
                    await effect(("body", n))
                    raise ExceptionGroup("several", [Err(1), Other(2, n), ValueError(3)])
                except* Err:
                    await effect(("err", n))
                    if n == 1: raise
                    if n == 2: raise KeyError(n)
                except* Other as others:
                    await effect(("other", n))
                    if n == 3:
                        try: await broken(3)
                        except Err as error: raise LookupError(3) from error
            except* ValueError:
                log("value")
            except* (Err, LookupError) as left:
                log("left", len(left.exceptions), chain(left.exceptions[0])[:1])
                await effect(("left", n))
        return await effect("end", n)
    """)


def test_a_single_exception_is_wrapped_and_else_and_finally_run(same):
    same("""
        seen = []
        for n in range(3):
            try:
                if n == 1: fail(n)
                seen.append(await effect(("body", n), n))
            except* Err as group:
                seen.append((type(group).__name__, await effect("handler", tag(group.exceptions[0]))))
            else:
                seen.append(await effect(("else", n), n))
                if n == 2: break
            finally:
                log("finally", n)
                seen.append(await effect(("finally", n), n))
        return seen
    """)


def test_else_with_awaits_beside_a_body_without(same):
    same("""
        try:
            log("body")
        except* ValueError:
            await effect("never")
        else:
            return await effect("else", 1), await effect("else again", 2)
        finally:
            log("finally")
    """)


def test_a_group_that_an_await_raised_comes_back(same):
    same("""
        async def several(n):
            await effect(("several", n))
            raise ExceptionGroup("from an await", [Err(n), ExceptionGroup("inner", [Other(n, 2)])])
        try:
            await several(1)
        except* Err as group:
            log("err", str(group), len(group.exceptions))
            await effect("err")
        except* Other as group:
            log("other", group.exceptions[0].exceptions[0].two)
            await effect("other")
        try:
            await several(2)
        except ExceptionGroup as whole:
            await effect("kept")
            log("whole", len(whole.exceptions), whole.exceptions[1].exceptions[0].two, whole.message)
            try:
                raise whole
            except* Other: await effect("again")
            except* Err: await effect("again too")
        return 1
    """)


def test_loops_comprehensions_and_nested_groups_in_a_handler(same):
    same("""
        seen = []
        try:
            await effect("body")
            raise ExceptionGroup("g", [Err(1), Other(2, 3)])
        except* Err:
            for n in range(3):
                if n == 1: continue
                while await effect(("test", n), n) < 5:
                    n += 3
                    if n == 5: break
                seen.append([await effect(m, m) for m in range(n) if m])
            try:
                try: raise ExceptionGroup("inner", [Err(5), Err(6)])
                except* Err as inner:
                    seen.append(await effect("nested", len(inner.exceptions)))
                    raise
            except* Err as again: seen.append(tag(await through(len(again.exceptions))))
            finally: seen.append(await effect("inner finally"))
            match seen:
                case [first, *_] if await effect("guard", 1): seen.append(first)
            async with Manager(4) as target: seen.append(target)
        except* Other: seen.append(tag(await asyncio.gather(leaf(1), leaf(2))))
        return seen, await effect("end", 1)
    """)


def test_a_handler_of_a_branch_holds_its_siblings_checkpoints(same):
    same(
        """
        @playbook
        async def failing():
            try:
                raise ExceptionGroup("g", [Err(1)])
            except* Err:
                return_value = [await effect(("handler", n), n) for n in range(2)]
            return return_value

        @playbook
        async def case():
            found = await failing(), await failing()
            return found, await effect("end", 1)
        """,
        whole=True,
    )
