"""Branches use what the headers around them opened: a resume enters those first, and then the headers of the branch."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

import pytest

from playbooks_worker import playbook
from playbooks_worker.engine import Completed

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from harness import same_everywhere  # noqa: E402

# loops that were killed are collected with their generators and coroutines, which Python remarks on
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Session:
    """Opens slowly what its requests need, and can be saved when it is not open."""

    async def __aenter__(self):
        for _ in range(7):
            await asyncio.sleep(0)
        self.open = lambda: True
        self.file = open(__file__)
        return self

    async def __aexit__(self, *raised):
        self.file.close()

    def get(self, path):
        return Request(self, path)


class Request:
    def __init__(self, session, path):
        self.session = session
        self.path = path

    async def __aenter__(self):
        assert self.session.open()
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *raised):
        await asyncio.sleep(0)

    async def text(self):
        await asyncio.sleep(0)
        return self.path


@playbook
async def fetched(session, path):
    async with session.get(path) as request:
        first = await request.text()
        return first, await request.text()


@playbook
async def connected(session, *paths):
    """A branch whose header is around branches of its own."""
    async with session.get("around") as request:
        tasks = [asyncio.create_task(inside(request, path)) for path in paths]
        await asyncio.sleep(0)
        return await asyncio.gather(*tasks)


@playbook
async def inside(request, path):
    async with request.session.get(request.path + path) as mine:
        return await mine.text(), await mine.text()


async def helper(session, path):
    return await fetched(session, path)


@playbook
async def grouped():
    async with Session() as session, asyncio.TaskGroup() as group:
        tasks = [group.create_task(fetched(session, path)) for path in "ab"]
    return [task.result() for task in tasks]


@playbook
async def held():
    async with Session() as session:
        tasks = [asyncio.create_task(fetched(session, path)) for path in "ab"]
        await asyncio.sleep(0)
        return await asyncio.gather(*tasks)


@playbook
async def on_a_stack():
    async with contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(Session())
        tasks = [asyncio.create_task(fetched(session, path)) for path in "ab"]
        return [await task for task in tasks]


@playbook
async def behind_helpers():
    async with Session() as session:
        tasks = [asyncio.create_task(helper(session, path)) for path in "ab"]
        await asyncio.sleep(0)
        return await asyncio.gather(*tasks)


@playbook
async def below_a_call():
    async with Session() as session:
        return await crawled(session)


@playbook
async def crawled(session):
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(fetched(session, path)) for path in "ab"]
    return [task.result() for task in tasks]


@playbook
async def in_two_storeys():
    async with Session() as session:
        task = asyncio.create_task(connected(session, "a", "b"))
        await asyncio.sleep(0)
        return await task


@playbook
async def started(session):
    tasks = [asyncio.create_task(fetched(session, path)) for path in "ab"]
    await asyncio.sleep(0)
    return tasks


@playbook
async def by_a_call_that_has_ended():
    async with Session() as session:
        tasks = await started(session)
        await asyncio.sleep(0)
        return [await task for task in tasks]


CASES = [grouped, held, on_a_stack, behind_helpers, below_a_call, in_two_storeys, by_a_call_that_has_ended]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_what_is_open_around_a_branch_is_open_when_its_own_headers_are_entered_again(case):
    plain = asyncio.run(case())
    outcome = same_everywhere(case)
    assert isinstance(outcome, Completed), outcome
    assert outcome.value == plain


class Server:
    def __init__(self, ready):
        self.ready = ready

    async def __aenter__(self):
        await asyncio.sleep(0)
        self.ready.put_nowait("ready")

    async def __aexit__(self, *raised):
        pass


class Client:
    def __init__(self, ready):
        self.ready = ready

    async def __aenter__(self):
        await self.ready.get()

    async def __aexit__(self, *raised):
        pass


@playbook
async def serves(ready, over):
    async with Server(ready):
        return await over.wait()


@playbook
async def asks():
    ready, over = asyncio.Queue(), asyncio.Event()
    server = asyncio.create_task(serves(ready, over))
    async with Client(ready):
        for _ in range(3):
            await asyncio.sleep(0)
    over.set()
    return await server


def test_a_header_that_is_younger_than_a_branch_may_wait_for_what_that_opens():
    assert same_everywhere(asks) == Completed(True)
