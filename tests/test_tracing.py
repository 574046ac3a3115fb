"""What an observer is told by the engine, and the trace of an agent that moves: spans as a real collector gets them."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from playbooks_providers.testing import eventually
from playbooks_worker import effect_key, playbook, step
from playbooks_worker.engine import Agent, Completed, Failed
from playbooks_worker.tracing import trace_of

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from daemons import SOON_S, TIMINGS, Cluster, on_redis  # noqa: E402

# --- the engine's observer -----------------------------------------------------------------------------------------------


class Told:
    """An observer that writes down what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[int, str] = {}
        self.effects: dict[int, str] = {}

    def call_began(self, number: int, parent: int, name: str, *, again: bool) -> None:
        self.names[number] = name.rpartition(":")[2]
        self.lines.append(f"{'again ' * again}{self.names.get(parent, 'agent')} > {self.names[number]}")

    def call_ended(self, number: int, error: BaseException | None) -> None:
        self.lines.append(f"{self.names[number]} {'ended' if error is None else type(error).__name__}")

    def effect_began(self, frame: int, parent: int, name: str, *, again: bool) -> None:
        self.effects[frame] = name
        self.lines.append(f"{'again ' * again}{self.names[parent]} * {name}")

    def effect_ended(self, frame: int, error: BaseException | None) -> None:
        self.lines.append(f"* {self.effects.pop(frame)} {'ended' if error is None else type(error).__name__}")


async def fetch(number: int) -> int:
    await asyncio.sleep(0)
    if number < 0:
        raise ValueError(number)
    return number


@step
async def pay(amount: int) -> str:
    return effect_key()[:0] + str(amount)


@playbook
async def inner(number: int) -> int:
    return await fetch(number)


@playbook
async def outer() -> int:
    try:
        await inner(-1)
    except ValueError:
        pass
    await pay(3)
    return await inner(2)


def test_an_observer_is_told_of_each_call_and_each_effect_where_they_begin_and_end() -> None:
    told = Told()
    outcome = asyncio.run(Agent("a1", persist=lambda moment, payload: None, observer=told).start(outer))
    assert outcome == Completed(2)
    assert told.lines == [
        "agent > outer",
        "outer > inner",
        "inner * fetch",
        "* fetch ValueError",
        "inner ValueError",
        "outer * step pay",
        "* step pay ended",
        "outer > inner",
        "inner * fetch",
        "* fetch ended",
        "inner ended",
        "outer ended",
    ]


def test_after_a_crash_the_next_owner_is_told_what_goes_on_and_what_begins_again() -> None:
    async def story() -> tuple[list[str], list[str]]:
        kept: list[bytes] = []

        async def persist(moment: Any, payload: bytes) -> None:
            kept.append(payload)
            if len(kept) == 2:
                await asyncio.Event().wait()  # the process is as good as dead from here on

        dying, told = Told(), Told()
        first = asyncio.ensure_future(Agent("a1", persist=persist, observer=dying).start(outer))
        while len(kept) < 2:
            await asyncio.sleep(0)
        again = Agent("a1", persist=lambda moment, payload: None, next_seq=len(kept), observer=told)
        assert await again.resume(kept[0]) == Completed(2)
        first.cancel()
        return dying.lines, told.lines

    _, told = asyncio.run(story())
    assert told[0] == "again agent > outer"
    assert told[-1] == "outer ended" and told.count("outer ended") == 1
    assert all(line in told for line in ("outer * step pay", "outer > inner", "* fetch ended"))


def test_a_failed_agent_is_told_as_one() -> None:
    told = Told()
    outcome = asyncio.run(Agent("a1", persist=lambda moment, payload: None, observer=told).start(inner, (-1,)))
    assert isinstance(outcome, Failed) and told.lines[-1] == "inner ValueError"


# --- spans, as a collector gets them ---------------------------------------------------------------------------------------


class Collector:
    """A collector of traces, over HTTP."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.raw = b""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.raw += body
                request = ExportTraceServiceRequest.FromString(body)
                for resource in request.resource_spans:
                    for scope in resource.scope_spans:
                        collector.spans += scope.spans
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Not on stderr."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self._server.server_port}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    there = Collector()
    yield there
    there.close()


def facts(span: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


@pytest.mark.redis
def test_an_agent_that_moves_between_workers_has_one_trace_with_one_root(
    tmp_path: Path, redis_url: str, collector: Collector
) -> None:
    async def test(cluster: Cluster) -> None:
        one = cluster.worker("one", "--otel", **collector.env)
        await cluster.submit("a", 60, pause=0.02)
        victim = await cluster.begun("a", 20)
        os.kill(victim, signal.SIGKILL)
        await eventually(lambda: cluster.effects("a")[-1][1] != victim, SOON_S, "another executor to go on")
        cluster.worker("two", "--otel", **collector.env)
        one.kill(signal.SIGTERM)
        view = await cluster.ended("a")
        ids = trace_of("a", view.birth)

        def root() -> Any:
            return next((span for span in collector.spans if span.name == "agent count:main"), None)

        await eventually(root, SOON_S, "the root to be exported")
        mine = [span for span in collector.spans if facts(span)["playbooks.agent"] == "a"]
        assert {int.from_bytes(span.trace_id, "big") for span in mine} == {ids[0]}
        roots = [span for span in mine if not span.parent_span_id]
        assert len(roots) == 1 and int.from_bytes(roots[0].span_id, "big") == ids[1]
        assert facts(roots[0])["playbooks.status"] == "completed"
        segments = [span for span in mine if span.name == "count:main"]
        assert all(int.from_bytes(span.parent_span_id, "big") == ids[1] for span in segments)
        assert any(facts(span).get("playbooks.resumed") for span in segments)
        steps = [span for span in mine if span.name == "step" and facts(span)["playbooks.kind"] == "effect"]
        assert len({facts(span)["playbooks.fence"] for span in steps}) >= 2, "spans of more than one owner"
        assert {span.parent_span_id for span in steps} >= {span.span_id for span in segments}
        assert str(cluster.log_of("a")).encode() not in collector.raw, "an argument is no part of a span"

    on_redis(test, tmp_path, redis_url)


LIBRARY = """
import asyncio
from opentelemetry import trace
from playbooks_worker import playbook

tracer = trace.get_tracer("an instrumented library")

async def fetch():
    with tracer.start_as_current_span("GET"):
        await asyncio.sleep(0)

@playbook
async def main(n, log, pause):
    await fetch()
"""


@pytest.mark.redis
def test_spans_of_libraries_go_where_ours_go_as_children_of_effects(
    tmp_path: Path, redis_url: str, collector: Collector
) -> None:
    async def test(cluster: Cluster) -> None:
        (cluster.folder / "library.py").write_text(LIBRARY)
        cluster.worker("w", "--otel", program="library.py", **collector.env)
        await cluster.submit("a", 1, program="library")
        view = await cluster.ended("a")
        wanted = {"GET", "fetch", "agent library:main"}
        await eventually(lambda: wanted <= {span.name for span in collector.spans}, SOON_S, "all spans")
        named = {span.name: span for span in collector.spans}
        assert named["GET"].parent_span_id == named["fetch"].span_id
        assert int.from_bytes(named["GET"].trace_id, "big") == trace_of("a", view.birth)[0]

    on_redis(test, tmp_path, redis_url)


@pytest.mark.redis
def test_without_a_collector_agents_run_workers_drain_and_logs_stay_whole(tmp_path: Path, redis_url: str) -> None:
    async def test(cluster: Cluster) -> None:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_BSP_SCHEDULE_DELAY": "50"}
        worker = cluster.worker("w", "--otel", **env)
        await cluster.submit("a", 5)
        await cluster.ended("a")
        worker.kill(signal.SIGTERM)
        assert await asyncio.to_thread(worker.process.wait) == 0
        assert worker.events("executor drained") and not worker.events("executor did not drain in time, ended")
        for line in worker.log.read_text().splitlines():
            assert "event" in json.loads(line), line

    on_redis(test, tmp_path, redis_url)


def test_without_the_extra_who_asks_for_traces_is_told_what_to_install(tmp_path: Path) -> None:
    program = "import sys\nsys.modules['opentelemetry.sdk'] = None\nfrom playbooks_worker.daemon import main\nmain()\n"
    (tmp_path / "without.py").write_text(program)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "without.py"), "count.py", "--otel"],
        env=os.environ | TIMINGS, capture_output=True, text=True, timeout=SOON_S,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "error: worker.otel needs opentelemetry.sdk: pip install 'playbooks-enterprise[otel]'\n"
