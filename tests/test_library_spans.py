"""Spans that a library begins inside an agent: whose children they are, and that no agent has those of another one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from playbooks_providers.ids import AgentId, Nonce, SessionId
from playbooks_providers.model import Lock
from playbooks_providers.testing import start_record
from playbooks_worker import effect_key, playbook, resource, step
from playbooks_worker.engine import Agent, Completed
from playbooks_worker.tracing import OtelTracer, trace_of

EXPORTER = InMemorySpanExporter()
HOME = OtelTracer("w", SimpleSpanProcessor(EXPORTER))
LIBRARY = HOME.provider.get_tracer("an instrumented library")


async def get(name: str) -> str:
    """What an instrumented client does."""
    with LIBRARY.start_as_current_span(f"GET {name}"):
        await asyncio.sleep(0)
    return name


def get_now(name: str) -> str:
    with LIBRARY.start_as_current_span(f"GET {name}"):
        return name


async def fetch(name: str) -> str:
    await asyncio.sleep(0)
    return await get(name)


@step
async def pay(name: str) -> str:
    return await get(name) + effect_key()[:0]


@playbook
async def inner(name: str) -> str:
    return await fetch(name)


async def helper(name: str) -> str:
    return await inner(name)


@contextlib.asynccontextmanager
async def session(name: str) -> AsyncIterator[None]:
    with LIBRARY.start_as_current_span(f"session {name}"):
        yield


def lock(agent: str, fence: int = 1) -> Lock:
    start = start_record(agent)
    return Lock(AgentId(agent), fence, SessionId("s"), Nonce("n"), "q", None, 1, start, birth=1)


async def live(agent: str, function: Any, *args: Any) -> None:
    life = HOME.life(lock(agent))
    outcome = await Agent(agent, persist=lambda moment, payload: None, observer=life).start(function, args)
    assert isinstance(outcome, Completed), outcome
    life.over(None)


@pytest.fixture(autouse=True)
def no_spans_yet() -> None:
    EXPORTER.clear()


def spans(agent: str = "a1") -> list[ReadableSpan]:
    return [span for span in EXPORTER.get_finished_spans() if span.context.trace_id == trace_of(agent, 1)[0]]


def ways(agent: str = "a1", fence: int = 1) -> list[str]:
    """Each library's span with what it is in, outermost first, as one owner told it; by name."""
    told = spans(agent)
    by_id = {span.context.span_id: span for span in told}
    found = []
    for span in told:
        if not (span.name.startswith("GET") or span.name.startswith("session")):
            continue
        way, above = [span.name], by_id.get(span.parent.span_id if span.parent else 0)
        while above is not None:
            assert (above.attributes or {}).get("playbooks.fence", fence) == fence
            way.append(above.name.rpartition(":")[2])
            above = by_id.get(above.parent.span_id if above.parent else 0)
        found.append(" < ".join(way))
    return sorted(found)


@playbook
async def everything() -> None:
    get_now("a statement")
    await get("an effect")
    get_now("a statement behind it")
    await pay("a step")
    await inner("a call")
    await helper("a helper")
    await asyncio.to_thread(get_now, "a thread")
    await asyncio.wait_for(fetch("a deadline"), 5)
    get_now("the last statement")


def test_a_librarys_span_is_a_child_of_the_effect_that_it_is_begun_in() -> None:
    asyncio.run(live("a1", everything))
    assert ways() == sorted(
        [
            "GET a statement < everything",
            "GET an effect < get < everything",
            "GET a statement behind it < everything",
            "GET a step < step pay < everything",
            "GET a call < fetch < inner < everything",
            "GET a helper < fetch < inner < helper < everything",
            "GET a thread < to_thread < everything",
            "GET a deadline < wait_for < everything",
            "GET the last statement < everything",
        ]
    )


@playbook
async def branches() -> None:
    await asyncio.gather(fetch("one"), inner("two"), get("three"))
    async with asyncio.TaskGroup() as group:
        group.create_task(fetch("four"))
        group.create_task(inner("five"))
        await get("six")
    task = asyncio.create_task(fetch("seven"))
    await asyncio.sleep(0)
    await task


def test_each_branch_is_an_effect_of_its_own_or_a_call() -> None:
    asyncio.run(live("a1", branches))
    assert ways() == sorted(
        [
            "GET one < fetch < branches",
            "GET two < fetch < inner < branches",
            "GET three < get < branches",
            "GET four < fetch < branches",
            "GET five < fetch < inner < branches",
            "GET six < get < branches",
            "GET seven < fetch < branches",
        ]
    )


@playbook
async def own_spans() -> None:
    with LIBRARY.start_as_current_span("session of the program"):
        await fetch("one")
        await inner("two")
    async with session("of a manager"):
        await fetch("three")
    await fetch("four")


def test_a_span_that_the_program_keeps_open_over_awaits_is_around_them() -> None:
    asyncio.run(live("a1", own_spans))
    assert [way for way in ways() if way.startswith("GET")] == sorted(
        [
            "GET one < fetch < session of the program < own_spans",
            "GET two < fetch < inner < session of the program < own_spans",
            "GET three < fetch < session of a manager < own_spans",
            "GET four < fetch < own_spans",
        ]
    )


@playbook
async def many(name: str) -> None:
    for number in range(5):
        await asyncio.gather(fetch(f"{name} {number}"), inner(f"{name} {number}"))
        await pay(f"{name} {number}")
        get_now(f"{name} {number}")


def test_agents_on_one_loop_have_their_own_spans_alone() -> None:
    async def main() -> None:
        await asyncio.gather(*(live(name, many, name) for name in ("a1", "a2", "a3")))
        assert not trace.get_current_span().get_span_context().is_valid

    asyncio.run(main())
    for name in ("a1", "a2", "a3"):
        told = ways(name)
        assert len(told) == 20 and all(way.startswith(f"GET {name} ") and way.endswith("< many") for way in told)


def test_what_is_begun_again_elsewhere_is_in_the_next_owners_spans() -> None:
    async def main() -> None:
        kept: list[bytes] = []

        async def persist(moment: Any, payload: bytes) -> None:
            kept.append(payload)
            if len(kept) == 3:
                await asyncio.Event().wait()  # the process is as good as dead from here on

        dying = asyncio.ensure_future(Agent("a1", persist=persist, observer=HOME.life(lock("a1"))).start(everything))
        while len(kept) < 3:
            await asyncio.sleep(0)
        EXPORTER.clear()
        life = HOME.life(lock("a1", fence=2))
        again = Agent("a1", persist=lambda moment, payload: None, next_seq=len(kept), observer=life)
        assert await again.resume(kept[0]) == Completed(None)
        life.over(None)
        dying.cancel()

    asyncio.run(main())
    told = ways(fence=2)
    assert "GET a step < step pay < everything" in told and "GET a helper < fetch < inner < helper < everything" in told
    assert "GET the last statement < everything" in told


class Pool:
    """What keeps tasks of its own, as pools of connections do."""

    def __init__(self) -> None:
        self.keeper = asyncio.get_running_loop().create_task(get("a pool's own task"))


pool = resource("a pool with a task of its own", Pool)


@playbook
async def first_to_ask() -> None:
    await fetch("before")
    made = pool.keeper
    await fetch("behind")
    await asyncio.wait([made])


def test_what_a_resource_does_by_itself_is_in_no_agents_trace() -> None:
    asyncio.run(live("a1", first_to_ask))
    assert ways() == ["GET before < fetch < first_to_ask", "GET behind < fetch < first_to_ask"]
    (other,) = [span for span in EXPORTER.get_finished_spans() if span.name == "GET a pool's own task"]
    assert other.parent is None


def test_a_sampler_that_wants_few_traces_is_asked_once_for_a_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    exporter = InMemorySpanExporter()
    home = OtelTracer("w", SimpleSpanProcessor(exporter))

    async def main() -> None:
        for number in range(40):
            life = home.life(lock(f"a{number}"))
            await Agent("a", persist=lambda moment, payload: None, observer=life).start(inner, ("x",))

    asyncio.run(main())
    told: dict[int, int] = {}
    for span in exporter.get_finished_spans():
        told[span.context.trace_id] = told.get(span.context.trace_id, 0) + 1
    assert 0 < len(told) < 40 and set(told.values()) == {2}


@playbook
async def waits() -> None:
    with LIBRARY.start_as_current_span("session of the program"):
        async with session("of a manager"):
            await asyncio.gather(inner("one"), asyncio.Event().wait())


def test_an_agent_that_is_stopped_leaves_no_context_behind_and_no_complaint(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        life = HOME.life(lock("a1"))
        agent = Agent("a1", persist=lambda moment, payload: None, observer=life)
        living = asyncio.ensure_future(agent.start(waits))
        while "GET one" not in {span.name for span in spans()}:
            await asyncio.sleep(0)
        await agent.stop("drained")
        await living
        life.over(None)
        assert not trace.get_current_span().get_span_context().is_valid

    asyncio.run(main())
    assert not caplog.records
    assert {(span.attributes or {}).get("playbooks.left") for span in spans() if span.name == "Event.wait"} == {
        "NoneType"
    }
