"""`resource("name", factory)`: agents hold it by name, and it is made where they go on."""

from __future__ import annotations

import asyncio
import copy
import multiprocessing
import sys
import threading
import types
from pathlib import Path

import pytest

from playbooks_worker import PlaybookRefused, playbook, resource, step
from playbooks_worker.engine import Agent, Blocked, Completed, Failed, Stopped, changes_of, close_resources, resources
from playbooks_worker.engine.looking import look

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from harness import Store, kill_everywhere, resume, run, same_everywhere, start  # noqa: E402

# loops that were killed are collected with what they held, which Python remarks on
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

MADE = []  # what factories have made, in this process


class Client:
    """Cannot be saved; knows which of its kind it is."""

    def __init__(self, kind="sync"):
        self.kind = kind
        self.closed = False
        self.part = object()
        MADE.append(self)

    def __reduce__(self):
        raise TypeError("a live client")

    def itself(self):
        return self

    async def ask(self, question):
        await asyncio.sleep(0)
        return f"{self.kind}:{question}"

    def __call__(self, value):
        return value * 2

    def __getitem__(self, key):
        return key.upper()

    def __len__(self):
        return 3

    def __iter__(self):
        return iter("abc")

    def __contains__(self, item):
        return item == "in"

    def __add__(self, other):
        return "added", other

    def __radd__(self, other):
        return other, "added"

    def __enter__(self):
        return "entered"

    def __exit__(self, *raised):
        return None


async def connect():
    await asyncio.sleep(0)
    return Client("async")


def make_client():
    return Client()


client = resource("client", make_client)
pool = resource("pool", connect)
later = resource("later", lambda: connect())
scaled = resource("scaled", lambda: 2.5)


@pytest.fixture(autouse=True)
def another_process():
    forget()
    yield
    forget()


def forget():
    """What another process would have made: nothing."""
    MADE.clear()
    resources.LIVE.clear()
    for definition in resources._definitions.values():
        definition._object = resources._NOT_MADE
        definition._making.clear()


async def effect(name, value=None):
    await asyncio.sleep(0)
    return name if value is None else value


# --- the handle ---


def test_the_object_is_made_at_its_first_use_and_shared():
    assert not MADE and repr(client) == "<resource 'client'>" and not MADE
    assert client.kind == "sync" and resource("client", make_client) is client
    assert client.part is client.part and len(MADE) == 1


def test_it_is_used_like_the_object():
    client.note = "kept"
    assert MADE[0].note == "kept"
    del client.note
    assert not hasattr(client, "note") and "kind" in dir(client)
    assert (client(4), client["k"], len(client), list(client), "in" in client) == (8, "K", 3, ["a", "b", "c"], True)
    assert (client + 1, 1 + client, bool(client)) == (("added", 1), (1, "added"), True)
    with client as entered:
        assert entered == "entered"
    assert (scaled * 2, 2 * scaled, int(scaled)) == (5.0, 5.0, 2)
    with pytest.raises(TypeError, match="unsupported operand"):
        client - 1
    with pytest.raises(TypeError, match="<resource 'client'> is a Client, which has no __next__"):
        next(client)
    assert copy.copy(client) is client and copy.deepcopy([client])[0] is client and {client: 1}[client] == 1


def test_a_handle_goes_to_another_process_by_its_name():
    context = multiprocessing.get_context("spawn").reducer.ForkingPickler
    assert context.loads(context.dumps(client)) is client and not MADE


def test_who_looks_through_a_module_makes_nothing():
    assert not hasattr(client, "__wrapped__") and not hasattr(pool, "__step__") and not MADE
    assert type(client).__name__ == "Resource" and not isinstance(client, Client) and not MADE


def test_threads_share_one_object():
    barrier = threading.Barrier(8)

    def use():
        barrier.wait()
        client.kind  # noqa: B018

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(MADE) == 1


def test_a_factory_that_fails_is_asked_again():
    tries = []

    def flaky():
        tries.append(1)
        if len(tries) < 2:
            raise ConnectionError("not yet")
        return "made"

    handle = resource("flaky", flaky)
    with pytest.raises(ConnectionError):
        handle.upper()
    assert handle.upper() == "MADE"


@pytest.mark.parametrize("handle", [pool, later], ids=["async def", "lambda"])
def test_one_that_a_coroutine_makes_is_awaited_first(handle):
    with pytest.raises(RuntimeError, match="is made by a coroutine: write `await` before its first use"):
        handle.kind  # noqa: B018

    async def use():
        one, two = await asyncio.gather(handle, handle)
        assert one is two is MADE[-1] and handle.kind == "async" and await handle is one
        return await asyncio.to_thread(lambda: handle.kind)

    assert asyncio.run(use()) == "async"
    assert asyncio.run(use()) == "async"  # another loop has its own
    assert len(MADE) == 2


def test_who_stops_waiting_does_not_stop_the_others():
    async def use():
        async def wait():
            return await pool

        first, second = asyncio.create_task(wait()), asyncio.create_task(wait())
        await asyncio.sleep(0)
        first.cancel()
        return (await second).kind

    assert asyncio.run(use()) == "async"


def other_client():
    return Client("other")


def test_one_name_is_one_factory_of_a_module():
    with pytest.raises(
        ValueError, match="'client' is made by make_client of module .*; give that of other_client another"
    ):
        resource("client", other_client)
    with pytest.raises(TypeError, match="needs a function that makes it, not str"):
        resource("none", "make_client")
    with pytest.raises(TypeError, match="a resource has a name"):
        resource(make_client, "none")


def test_it_is_defined_at_module_level():
    main = module(
        "def_inside",
        """
from playbooks_worker import playbook, resource

@playbook
async def main():
    return resource("inside", object)
""",
    ).main
    outcome = start(main)
    assert isinstance(outcome, Failed) and isinstance(outcome.error, PlaybookRefused)
    assert "6: resource('inside') while a playbook runs: define it at module level" in str(outcome.error)


@playbook
async def imports_late():
    made = module("late_module", "from playbooks_worker import resource\nlate = resource('late', dict)")
    await effect("one")
    made.late["a"] = 1
    return repr(made.late), dict(made.late.items())


def test_a_module_that_a_playbook_imports_may_define_it():
    assert same_everywhere(imports_late) == Completed(("<resource 'late'>", {"a": 1}))


def module(name, text):
    made = types.ModuleType(name)
    made.__file__ = f"<{name}>"
    made.__loader__ = types.SimpleNamespace(get_source=lambda _: text)
    sys.modules[name] = made
    exec(compile(text, f"<{name}>", "exec"), vars(made))
    return made


# --- in agents ---


@playbook
async def holds():
    mine, box = client, {"deep": [client]}
    first = await mine.ask("a")
    again = await leaf(box)
    live = await later
    return first, again, box["deep"][0] is mine, mine is client, await live.ask("c"), mine.closed


@playbook
async def leaf(box):
    held = box["deep"][0]
    return await held.ask("b"), [await held.ask(x) for x in held], held["x"]


def test_an_agent_holds_it_by_name():
    assert same_everywhere(holds, between=forget) == Completed(
        ("sync:a", ("sync:b", ["sync:a", "sync:b", "sync:c"], "X"), True, True, "async:c", False)
    )


@playbook
async def awaits_it():
    mine = await pool
    table = {"mine": mine}
    found = [await mine.ask(1), await pool.ask(2)]
    async with asyncio.timeout(30):
        found.append(await (await pool).ask(await effect("n", 3)))
    return found, table["mine"] is await pool, await nested(mine), type(mine).__name__, isinstance(mine, Client)


@playbook
async def nested(given):
    await effect("one")
    return await given.ask(4), await pool.ask(5)


def test_one_that_was_awaited_is_there_again_before_any_statement():
    expected = Completed((["async:1", "async:2", "async:3"], True, ("async:4", "async:5"), "Client", True))
    assert same_everywhere(awaits_it, between=forget) == expected


@playbook
async def uses_the_global_one():
    await pool  # kept in no variable
    await effect("one")
    first = await pool.ask(1)
    await effect("two")
    return first, await pool.ask(2)


def test_it_is_there_again_although_no_variable_holds_it_in_every_process_that_follows():
    expected = Completed(("async:1", "async:2"))
    assert same_everywhere(uses_the_global_one, between=forget) == expected
    payload = saved(uses_the_global_one)
    while payload is not None:  # each process dies at its first checkpoint
        forget()
        victim = Store(1)
        outcome = resume(payload, victim)
        payload = victim.payloads[0] if outcome is None else None
    assert outcome == expected


@playbook
async def object_of_a_sync_one():
    itself = client.itself()
    await effect("one")
    return await client.ask("q"), itself.kind, itself is client.itself(), type(itself).__name__


def test_the_object_itself_is_saved_by_name_too():
    assert same_everywhere(object_of_a_sync_one, between=forget) == Completed(("sync:q", "sync", True, "Client"))


@playbook
async def in_headers():
    held = await pool
    with client as entered:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(nested(held))
            await effect("beside")
        return entered, task.result(), await effect("last")


def test_headers_are_entered_again_with_it():
    assert same_everywhere(in_headers, between=forget).value[1] == ("async:4", "async:5")


@step
def in_a_step(value):
    return client(value) if threading.current_thread() is not threading.main_thread() else None


@playbook
async def steps():
    return await in_a_step(21), await effect("after")


def test_a_step_in_a_thread_uses_it():
    assert same_everywhere(steps, between=forget) == Completed((42, "after"))


def test_a_strict_agent_may_hold_it():
    outcome = run(Agent("a", persist=Store().persist, strict=True).start(awaits_it))
    assert isinstance(outcome, Completed)


def saved(case):
    store = Store()
    assert isinstance(start(case, store=store), Completed)
    return store.payloads[min(2, len(store.payloads) - 2)]


def test_one_that_cannot_be_made_again_blocks_the_agent(monkeypatch):
    payload = saved(awaits_it)
    forget()
    monkeypatch.setattr(pool._playbooks_definition, "factory", refused)
    outcome = resume(payload)
    assert outcome == Blocked("agent a: resource 'pool' cannot be made (ConnectionError: refused); resume when it can")
    monkeypatch.undo()
    assert isinstance(resume(payload), Completed)


async def refused():
    await asyncio.sleep(0)
    raise ConnectionError("refused")


def test_an_agent_can_be_stopped_while_one_is_made(monkeypatch):
    payload = saved(awaits_it)
    forget()

    async def stopped():
        never = asyncio.get_running_loop().create_future()
        monkeypatch.setattr(pool._playbooks_definition, "factory", lambda: asyncio.wait([never]))
        agent = Agent("a", persist=Store().persist)
        going = asyncio.create_task(agent.resume(payload))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await agent.stop("enough")
        return await going

    assert run(stopped()) == Stopped("enough")


def test_a_name_that_is_not_defined_blocks_the_agent_and_says_what_to_define(monkeypatch):
    payload = saved(awaits_it)
    monkeypatch.delitem(resources._definitions, ("pool", __name__))
    outcome = resume(payload)
    assert isinstance(outcome, Blocked)
    assert "resource 'pool'" in outcome.why and "at module level: resource('pool', …)" in outcome.why
    with pytest.raises(Exception, match="resource 'pool'"):
        changes_of(payload)
    monkeypatch.setitem(resources._definitions, ("pool", "moved"), pool._playbooks_definition)
    assert isinstance(resume(payload), Completed)  # the only one of that name: its factory has moved


def test_who_looks_at_an_agent_makes_nothing():
    payload = saved(awaits_it)
    forget()
    seen = look("a", payload)
    assert repr(seen[0].variables["table"]) == "{'mine': <resource 'pool'>}" and not MADE


# --- the end of a process ---


def test_what_was_made_is_closed_at_the_end_the_last_first():
    closed = []

    async def close_async(one):
        await asyncio.sleep(0)
        closed.append(one)

    def fails(one):
        raise OSError("already gone")

    resource("first", lambda: Client("first"), close=closed.append)
    resource("second", lambda: Client("second"), close=close_async)
    broken = resource("broken", lambda: Client("broken"), close=fails)
    unused = resource("unused", lambda: Client("unused"), close=closed.append)
    first, second = (resources._definitions[name, __name__].handle for name in ("first", "second"))

    async def life():
        assert first.kind == "first" and second.kind == "second" and broken.kind == "broken"
        await close_resources()
        await close_resources()
        return first.kind

    assert asyncio.run(life()) == "first"
    assert [one.kind for one in closed] == ["second", "first"] and repr(unused) == "<resource 'unused'>"
    assert [one.kind for one in MADE] == ["first", "second", "broken", "first"]


def test_a_killed_agent_closes_nothing():
    closed = []
    resource("client", make_client, close=closed.append)
    kill_everywhere(holds, between=forget)
    assert not closed
