"""Exit stacks: what an open one holds is entered again after a kill, in order, and belongs to whoever holds it."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from playbooks_worker import NotRestoredError, playbook
from playbooks_worker.engine import Agent, Blocked, Completed, Failed
from playbooks_worker.engine.markers import Marker

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from harness import Store, resume, same_everywhere, start, to_end  # noqa: E402

# loops that were killed are collected with their generators and coroutines, which Python remarks on
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

LOG: list[object] = []


@pytest.fixture(autouse=True)
def reset():
    LOG.clear()


async def effect(name, value=None, turns=1):
    LOG.append(name)
    for _ in range(turns):
        await asyncio.sleep(0)
    return name if value is None else value


class Client:
    """A live connection, made from a transport or a name."""

    def __init__(self, *parts):
        self.parts = parts
        self.opened = False

    def __reduce__(self):
        raise TypeError("a live connection")

    def __enter__(self):
        assert all(part.opened for part in self.parts if isinstance(part, Client))
        self.opened = True
        LOG.append(("open", self.name))
        return self

    def __exit__(self, *raised):
        assert self.opened
        self.opened = False
        LOG.append(("close", self.name))

    @property
    def name(self):
        return [part.name if isinstance(part, Client) else part for part in self.parts]

    async def __aenter__(self):
        await asyncio.sleep(0)
        return self.__enter__()

    async def __aexit__(self, *raised):
        await asyncio.sleep(0)
        self.__exit__()

    async def ask(self, n):
        assert self.opened
        return await effect(("ask", n), f"{self.name}:{n}")


class Plain:
    """Can be saved, opened or not."""

    async def __aenter__(self):
        await asyncio.sleep(0)
        LOG.append("plain opened")
        return self

    async def __aexit__(self, *raised):
        await asyncio.sleep(0)


@asynccontextmanager
async def transport(name):
    async with Client(name, "r") as reader, Client(name, "w") as writer:
        yield reader, writer


@contextmanager
def opened(name):
    with Client(name) as client:
        yield client


@playbook
async def ask(client, n):
    held = [client]
    await effect(("before", n))
    return await held[0].ask(n)


@playbook
async def one_client():
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client("one"))
        found = [await client.ask(1), await ask(client, 2)]
    client = stack = None
    return found


@playbook
async def a_session_over_a_transport():
    async with AsyncExitStack() as stack:
        read, write = await stack.enter_async_context(transport("stdio"))
        session = await stack.enter_async_context(Client(read, write))
        found = [await session.ask(1), await ask(session, 2), session.parts[0] is read, session.parts[1] is write]
        found.append(await asyncio.gather(ask(session, 3), ask(read, 4)))
    read = write = session = stack = None
    await effect("after")
    return found


@playbook
async def several_servers():
    async with AsyncExitStack() as stack:
        sessions = {}
        for name in ("a", "b", "c"):
            sessions[name] = await stack.enter_async_context(Client(await effect(("address", name))))
        found = [await session.ask(name) for name, session in sessions.items()]
        sessions = None
    stack = None
    return found


async def connect(stack, name):
    read, write = await stack.enter_async_context(transport(name))
    return await read.ask("hello")


@playbook
async def through_a_helper():
    async with AsyncExitStack() as stack:
        found = [await connect(stack, "one"), await effect("between"), await connect(stack, "two")]
    stack = None
    return found


def note(*words, **more):
    LOG.append(("noted", words, tuple(more.items())))


async def note_later(word):
    await effect(("later", word))


@playbook
async def callbacks(seen):
    async with AsyncExitStack() as stack:
        stack.callback(note, "first", second=2)
        stack.push_async_callback(note_later, "third")
        seen.append(await effect("inside"))
        stack.callback(seen.append, "last")
        plain = await stack.enter_async_context(Plain())
        seen.append(await effect("again"))
    seen.append(type(plain).__name__)
    stack = None
    return seen


@playbook
async def called_back():
    return await callbacks([])


@playbook
async def synchronous():
    with ExitStack() as stack:
        one = stack.enter_context(Client("one"))
        found = [await one.ask(1)]
        two = stack.enter_context(opened("two"))
        found.append((await two.ask(2), await one.ask(3)))
        three = stack.enter_context(Client(one, two))
        found.append((await three.ask(4), three.parts == (one, two)))
    one = two = three = stack = None
    return found


@playbook
async def closed_early():
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(Client("one"))
        found = [await one.ask(1)]
        one = None
        await stack.aclose()
        found.append(await effect("between"))
        two = await stack.enter_async_context(Client("two"))
        found.append(await two.ask(2))
    two = stack = None
    return found


@playbook
async def returns_from_it(n):
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client(n))
        try:
            if n == 1:
                raise KeyError(n)
            return await client.ask(n)
        finally:
            await client.ask("finally")
            client = None


@playbook
async def both_ways():
    found = [await returns_from_it(0)]
    try:
        await returns_from_it(1)
    except KeyError as error:
        found.append((error.args, await effect("caught")))
    return found


class Counter:
    """Can be saved, and counts how often it was entered."""

    def __init__(self):
        self.entered = 0

    def __enter__(self):
        self.entered += 1
        return self

    def __exit__(self, *raised):
        LOG.append(("left", self.entered > 0))

    async def __aenter__(self):
        await asyncio.sleep(0)
        return self.__enter__()

    async def __aexit__(self, *raised):
        return self.__exit__(*raised)


@playbook
async def managers_of_a_variable():
    one, two = Counter(), Counter()
    held = [one]
    async with AsyncExitStack() as stack:
        got = stack.enter_context(one)
        other = await stack.enter_async_context(two)
        stack.callback(noted, ("same", got is one))
        await effect("inside")
        found = got is one, held[0] is one, other is two, one.entered > 0
        await effect("more")
    return found, await effect("after")


CASES = [
    one_client,
    managers_of_a_variable,
    a_session_over_a_transport,
    several_servers,
    through_a_helper,
    called_back,
    synchronous,
    closed_early,
    both_ways,
]


@playbook
async def ticks():
    for n in range(25):
        await effect(("tick", n))


@playbook
async def alone(case):
    return await case()


@playbook
async def accompanied(case):
    return (await asyncio.gather(case(), ticks()))[0]


@pytest.mark.parametrize("how", [alone, accompanied], ids=lambda p: p.__name__)
@pytest.mark.parametrize("case", CASES, ids=lambda p: p.__name__)
def test_killed_at_every_checkpoint_what_the_stack_holds_is_entered_again(case, how):
    outcome = same_everywhere(how, case, reset=LOG.clear)
    LOG.clear()
    assert outcome == Completed(asyncio.run(case()))


def test_it_is_entered_and_left_in_order():
    store = Store()
    start(a_session_over_a_transport, store=store)
    order = [("open", ["stdio", "r"]), ("open", ["stdio", "w"]), ("open", [["stdio", "r"], ["stdio", "w"]])]
    asked = [n for n, moment in enumerate(store.moments) if "found = [await session.ask(1)" in moment.stack_json]
    LOG.clear()
    resume(store.payloads[asked[-1]])
    assert [entry for entry in LOG if entry[0] == "open"] == order
    assert [entry[1] for entry in LOG if entry[0] == "close"] == [entry[1] for entry in reversed(order)]


@pytest.mark.parametrize("case", CASES, ids=lambda p: p.__name__)
def test_a_stack_leaves_nothing_behind(case):
    async def main():
        assert isinstance(await Agent("a", persist=Store().persist).start(case), Completed)

    to_end(main())


# --- what cannot be saved, in a stack ---


class Live:
    """Cannot be saved; its exit would show."""

    def __init__(self):
        self.socket = "connected"

    def __reduce__(self):
        raise TypeError("a live connection")

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        LOG.append(("left", self.socket))

    def close(self):
        LOG.append(("closed", self.socket))


def live():
    return Live()


@playbook
async def holds_it(push):
    connection = live()
    with ExitStack() as stack:
        push(stack, connection)
        await effect("inside")
        return "end"


def enters(stack, connection):
    stack.enter_context(connection)


def pushes(stack, connection):
    stack.push(connection)


def closes(stack, connection):
    stack.callback(connection.close)


def passes_on(stack, connection):
    stack.callback(noted, connection)


def noted(value):
    LOG.append(value)


def after_a_kill(push):
    store = Store()
    assert start(holds_it, push, store=store) == Completed("end")
    LOG.clear()
    return resume(store.payloads[0])


def test_a_manager_that_did_not_come_back_blocks_the_agent_since_it_cannot_be_entered():
    outcome = after_a_kill(enters)
    assert isinstance(outcome, Blocked)
    assert (
        "cannot be entered again (NotRestoredError: connection (" in outcome.why and "a live connection" in outcome.why
    )
    assert LOG == []


@playbook
async def enters_what_nothing_else_holds():
    with ExitStack() as stack:
        enters(stack, live())
        return await effect("inside")


def test_what_only_a_stack_holds_is_named_by_how_the_stack_got_it():
    store = Store()
    assert start(enters_what_nothing_else_holds, store=store) == Completed("inside")
    outcome = resume(store.payloads[0])
    assert isinstance(outcome, Blocked) and "NotRestoredError: an argument of enter_context (" in outcome.why


@pytest.mark.parametrize("push", [pushes, closes])
def test_an_exit_that_needs_what_did_not_come_back_raises_at_the_exit(push):
    outcome = after_a_kill(push)
    assert isinstance(outcome, Failed) and isinstance(outcome.error, NotRestoredError), outcome
    assert "a live connection" in str(outcome.error) and LOG == []


def test_a_callback_may_be_handed_what_did_not_come_back():
    assert after_a_kill(passes_on) == Completed("end")
    assert [type(one) for one in LOG] == [Marker]
