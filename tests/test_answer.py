"""A future that tells its callbacks at once: what asyncio expects of its kind, and what it does sooner."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import pytest

from playbooks_providers.answer import Answer


def pending() -> Answer[str]:
    return Answer(asyncio.get_running_loop())


def test_callbacks_are_told_in_the_turn_of_the_decision_and_in_order() -> None:
    async def main() -> None:
        answer, told = pending(), []
        answer.add_done_callback(lambda done: told.append(("first", done.result())))
        answer.add_done_callback(lambda done: told.append(("second", done.result())))
        answer.set_result("yes")
        assert told == [("first", "yes"), ("second", "yes")]

    asyncio.run(main())


def test_a_callback_that_comes_late_is_told_in_the_next_turn() -> None:
    async def main() -> None:
        answer, told = pending(), []
        answer.set_result("yes")
        answer.add_done_callback(told.append)
        assert told == []
        await asyncio.sleep(0)
        assert told == [answer]

    asyncio.run(main())


def test_a_callback_runs_in_the_context_it_was_given() -> None:
    async def main() -> None:
        var: contextvars.ContextVar[str] = contextvars.ContextVar("var", default="outside")
        context, seen = contextvars.copy_context(), []
        context.run(var.set, "inside")
        answer = pending()
        answer.add_done_callback(lambda _: seen.append(var.get()), context=context)
        answer.add_done_callback(lambda _: seen.append(var.get()))
        answer.set_result("yes")
        assert seen == ["inside", "outside"]

    asyncio.run(main())


def test_a_callback_that_fails_harms_neither_who_decides_nor_the_next_one() -> None:
    async def main() -> None:
        said: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
        answer, told = pending(), []
        answer.add_done_callback(lambda _: 1 / 0)
        answer.add_done_callback(told.append)
        answer.set_result("yes")
        assert told == [answer]
        assert isinstance(said[0]["exception"], ZeroDivisionError)

    asyncio.run(main())


def test_it_can_be_awaited_waited_for_and_gathered_like_any_future() -> None:
    async def main() -> None:
        first, second, third = pending(), pending(), pending()
        assert asyncio.isfuture(first)
        loop = asyncio.get_running_loop()
        for answer in (first, second, third):
            loop.call_soon(answer.set_result, "yes")
        assert await first == "yes"
        assert await asyncio.wait_for(second, 5) == "yes"
        assert await asyncio.gather(third, first) == ["yes", "yes"]

    asyncio.run(main())


def test_an_error_is_raised_where_it_is_awaited() -> None:
    async def main() -> None:
        answer = pending()
        asyncio.get_running_loop().call_soon(answer.set_exception, KeyError("no"))
        with pytest.raises(KeyError):
            await answer
        assert isinstance(answer.exception(), KeyError) and not answer.cancelled()

    asyncio.run(main())


def test_cancelling_the_task_that_awaits_it_cancels_it() -> None:
    async def main() -> None:
        answer = pending()

        async def wait() -> str:
            return await answer

        task = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert answer.cancelled() and not answer.cancel()

    asyncio.run(main())


def test_it_is_decided_once() -> None:
    async def main() -> None:
        answer = pending()
        with pytest.raises(asyncio.InvalidStateError):
            answer.result()
        answer.set_result("yes")
        for again in (lambda: answer.set_result("no"), lambda: answer.set_exception(KeyError())):
            with pytest.raises(asyncio.InvalidStateError):
                again()
        assert not answer.cancel() and answer.result() == "yes"

    asyncio.run(main())


def test_a_callback_can_be_taken_back() -> None:
    async def main() -> None:
        answer, told = pending(), []
        answer.add_done_callback(told.append)
        assert answer.remove_done_callback(told.append) == 1
        answer.set_result("yes")
        assert told == []

    asyncio.run(main())
