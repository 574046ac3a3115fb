"""Traces of agents for OpenTelemetry (the extra `[otel]`): one trace for each agent, however often it moves.

Made by `executor` when `worker.otel` says so; told by the engine through `host.tracing`. The trace's id and the id of its
root are derived from the agent's id and birth, so that every owner continues the same trace and none needs to ask another.
Each owner has spans of its own for the calls it runs; the root is told by whoever ends the agent. Ids and names are
attributes; no argument, result or text of an error is.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import threading
from typing import Any

from playbooks_providers.errors import ConfigError
from playbooks_providers.model import Lock, Status
from playbooks_worker.host.outcome import Ended, Outcome

INSTALL = "pip install 'playbooks-enterprise[otel]'"
FLUSH_WITHIN_S = 2.0
"""Less than the supervisor waits for an executor that has drained."""


def check_installed() -> None:
    """Raises `ConfigError` when the extra is not there."""
    for name in ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"):
        try:
            found = importlib.util.find_spec(name)
        except (ModuleNotFoundError, ValueError):
            found = None
        if found is None:
            raise ConfigError(f"worker.otel needs {name}: {INSTALL}")


def trace_of(agent: str, birth: int) -> tuple[int, int]:
    """The ids of an agent's trace and of its root span."""
    digest = hashlib.sha256(f"{agent} {birth}".encode()).digest()
    return int.from_bytes(digest[:16]), int.from_bytes(digest[16:24])


class OtelTracer:
    """`host.tracing.Tracer` over OpenTelemetry's SDK. Where spans go is said by its own variables (OTEL_EXPORTER_OTLP_…)."""

    def __init__(self, worker: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

        class Ids(RandomIdGenerator):
            """Random ones, but for a root, which has its own."""

            root: tuple[int, int] | None = None

            def generate_trace_id(self) -> int:
                return super().generate_trace_id() if self.root is None else self.root[0]

            def generate_span_id(self) -> int:
                return super().generate_span_id() if self.root is None else self.root[1]

        named = {} if "OTEL_SERVICE_NAME" in os.environ else {"service.name": "playbooks"}
        resource = Resource.create({**named, "playbooks.worker": worker})
        self.ids = Ids()
        # its retries without a collector are many, and none of ours: the last one is an error, and told
        logging.getLogger("opentelemetry").setLevel(logging.ERROR)
        self._provider = TracerProvider(resource=resource, id_generator=self.ids, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self.tracer = self._provider.get_tracer("playbooks_worker")

    def life(self, lock: Lock) -> _Life:
        return _Life(self, lock)

    def close(self) -> None:
        # in a thread that the process does not wait for: without a collector it would try for a minute
        sending = threading.Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        sending.join(FLUSH_WITHIN_S)


class _Life:
    """One owner's spans, by call. ``self._effects`` are those in flight."""

    def __init__(self, home: OtelTracer, lock: Lock) -> None:
        from opentelemetry import trace

        self._trace = trace
        self._home = home
        self._lock = lock
        self._calls: dict[int, Any] = {}
        self._effects: dict[int, Any] = {}
        ids = trace_of(lock.agent, lock.birth)
        above = trace.SpanContext(*ids, is_remote=True, trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED))
        self._root = ids
        self._above = trace.set_span_in_context(trace.NonRecordingSpan(above))

    # --- told by the engine -----------------------------------------------------------------------------------------
    def call_began(self, number: int, parent: int, name: str, *, again: bool) -> None:
        self._calls[number] = self._start(name, parent, "call", again)

    def call_ended(self, number: int, error: BaseException | None) -> None:
        self._end(self._calls.pop(number, None), error)

    def effect_began(self, frame: int, parent: int, name: str, *, again: bool) -> None:
        self._effects[frame] = self._start(name, parent, "effect", again)

    def effect_ended(self, frame: int, error: BaseException | None) -> None:
        self._end(self._effects.pop(frame, None), error)

    # --- told by the host -------------------------------------------------------------------------------------------
    def over(self, outcome: Outcome | None) -> None:
        left = type(outcome).__name__
        for span in [*self._effects.values(), *reversed(self._calls.values())]:
            span.set_attribute("playbooks.left", left)
            span.end()
        self._effects.clear()
        self._calls.clear()
        if isinstance(outcome, Ended):
            self._tell_root(outcome)

    def _tell_root(self, ended: Ended) -> None:
        from opentelemetry.context import Context

        start, self._home.ids.root = self._lock.start, self._root
        try:
            span = self._home.tracer.start_span(
                f"agent {start.program}:{start.entry}",
                context=Context(),
                start_time=start.created_ms * 1_000_000 or None,
                attributes={**self._facts(), "playbooks.status": ended.status.value, "playbooks.queue": start.queue},
            )
        finally:
            self._home.ids.root = None
        if ended.status is Status.FAILED:
            span.set_status(self._trace.StatusCode.ERROR, str((ended.header.error or {}).get("type", "")))
        span.end()

    # --- inside -----------------------------------------------------------------------------------------------------
    def _start(self, name: str, parent: int, kind: str, again: bool) -> Any:
        above = self._calls.get(parent)
        context = self._above if above is None else self._trace.set_span_in_context(above)
        facts = {**self._facts(), "playbooks.kind": kind, "playbooks.resumed": again}
        return self._home.tracer.start_span(name, context=context, attributes=facts)

    def _end(self, span: Any, error: BaseException | None) -> None:
        if span is None:
            return
        if error is not None:
            span.set_status(self._trace.StatusCode.ERROR, type(error).__name__)
        span.end()

    def _facts(self) -> dict[str, str | int]:
        lock = self._lock
        return {"playbooks.agent": lock.agent, "playbooks.fence": lock.fence, "playbooks.program": lock.start.program}
