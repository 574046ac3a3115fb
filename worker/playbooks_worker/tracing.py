"""Traces of agents for OpenTelemetry (the extra `[otel]`): one trace for each agent, however often it moves.

Made by `executor` when `worker.otel` says so; told by the engine through `host.tracing`. The trace's id and the id of its
root are derived from the agent's id and birth, so that every owner continues the same trace and none needs to ask another.
Each owner has spans of its own for the calls it runs; the root is told by whoever ends the agent. What runs is *current*
to OpenTelemetry, so that a span which a library begins in an effect is its child. Ids and names are attributes; no argument,
result or text of an error is.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from playbooks_providers.errors import ConfigError
from playbooks_providers.model import Lock, Status
from playbooks_worker.host.outcome import Ended, Outcome

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Span

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


def over_otlp(worker: str) -> OtelTracer:
    """Sends where OpenTelemetry's own variables say (OTEL_EXPORTER_OTLP_…); libraries' spans too, unless the program has
    made other arrangements for those."""
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    # its retries without a collector are many, and none of ours: the last one is an error, and told
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)
    tracer = OtelTracer(worker, BatchSpanProcessor(OTLPSpanExporter()))
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        trace.set_tracer_provider(tracer.provider)
    return tracer


class OtelTracer:
    """`host.tracing.Tracer` over OpenTelemetry's SDK. *processor*: what is done with a span that has ended."""

    def __init__(self, worker: str, processor: SpanProcessor) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
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
        self.provider = TracerProvider(resource=resource, id_generator=self.ids, shutdown_on_exit=False)
        self.provider.add_span_processor(processor)
        self.tracer = self.provider.get_tracer("playbooks_worker")

    def life(self, lock: Lock) -> _Life:
        return _Life(self, lock)

    def close(self) -> None:
        # in a thread that the process does not wait for: without a collector it would try for a minute
        sending = threading.Thread(target=self.provider.shutdown, daemon=True)
        sending.start()
        sending.join(FLUSH_WITHIN_S)


@dataclass(eq=False, slots=True)
class _Open:
    """A call or an effect that has begun. *owner*: the call whose statements await it, or that it is. *before*: what is
    current where it began, *inside* what is current in it. *id*: of its span."""

    span: Span
    id: int
    owner: int
    before: Context
    inside: Context


class _Life:
    """One owner's spans, by the numbers of calls and effects. What is begun is *current* until it has ended, there where it
    runs: a library's span becomes its child."""

    def __init__(self, home: OtelTracer, lock: Lock) -> None:
        from opentelemetry import context, trace
        from opentelemetry.sdk.trace.sampling import Decision

        self._trace = trace
        self._context = context
        self._home = home
        self._lock = lock
        self._calls: dict[int, _Open] = {}
        self._effects: dict[int, _Open] = {}
        self._open: dict[int, _Open] = {}  # all of them, by their spans' ids
        # made once: with every await there is a span
        self._attributes = {
            (kind, again): self._facts() | {"playbooks.kind": kind} | ({"playbooks.resumed": True} if again else {})
            for kind in ("call", "effect")
            for again in (False, True)
        }
        self._start_span, self._with_span = home.tracer.start_span, trace.set_span_in_context
        self._current, self._attach = context.get_current, context.attach
        self._root = ids = trace_of(lock.agent, lock.birth)
        decided = home.provider.sampler.should_sample(context.Context(), ids[0], self._name_of_root()).decision
        sampled = decided is Decision.RECORD_AND_SAMPLE  # as every other owner decides it
        flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if sampled else trace.TraceFlags.DEFAULT)
        self._above = trace.NonRecordingSpan(trace.SpanContext(*ids, is_remote=True, trace_flags=flags))

    # --- told by the engine -----------------------------------------------------------------------------------------
    def call_began(self, number: int, parent: int, name: str, *, again: bool) -> None:
        self._calls[number] = self._begin(name, parent, number, "call", again)

    def call_ended(self, number: int, error: BaseException | None) -> None:
        self._end(self._calls.pop(number, None), error)

    def effect_began(self, number: int, parent: int, name: str, *, again: bool) -> None:
        self._effects[number] = self._begin(name, parent, parent, "effect", again)

    def effect_ended(self, number: int, error: BaseException | None) -> None:
        self._end(self._effects.pop(number, None), error)

    # --- told by the host -------------------------------------------------------------------------------------------
    def over(self, outcome: Outcome | None) -> None:
        left = type(outcome).__name__
        for one in [*self._effects.values(), *reversed(self._calls.values())]:
            one.span.set_attribute("playbooks.left", left)
            one.span.end()
        self._effects.clear()
        self._calls.clear()
        self._open.clear()
        if isinstance(outcome, Ended):
            self._tell_root(outcome)

    def _tell_root(self, ended: Ended) -> None:
        start, self._home.ids.root = self._lock.start, self._root
        try:
            span = self._home.tracer.start_span(
                self._name_of_root(),
                context=self._context.Context(),
                start_time=start.created_ms * 1_000_000 or None,
                attributes={**self._facts(), "playbooks.status": ended.status.value, "playbooks.queue": start.queue},
            )
        finally:
            self._home.ids.root = None
        if ended.status is Status.FAILED:
            span.set_status(self._trace.StatusCode.ERROR, str((ended.header.error or {}).get("type", "")))
        span.end()

    def _name_of_root(self) -> str:
        return f"agent {self._lock.start.program}:{self._lock.start.entry}"

    # --- inside -----------------------------------------------------------------------------------------------------
    def _begin(self, name: str, parent: int, owner: int, kind: str, again: bool) -> _Open:
        before = self._before(parent)
        span = self._start_span(name, before, attributes=self._attributes[kind, again])
        inside = self._with_span(span, before)
        self._attach(inside)
        id = span.get_span_context().span_id
        opened = self._open[id] = _Open(span, id, owner, before, inside)
        return opened

    def _before(self, parent: int) -> Context:
        """What is current for the statements of the call *parent*: it, or an effect of it whose plain code has called, or a
        span of the program's own below these. Anything else (of what has ended, of another agent) does not count."""
        current, above = self._current(), self._calls.get(parent)
        if above is not None and current is above.inside:
            return current  # nearly always
        span = self._trace.get_current_span(current)
        found = span.get_span_context()
        if found.trace_id == self._root[0]:
            ours = self._open.get(found.span_id)
            if ours.owner == parent if ours is not None else span.is_recording():
                return current
        elif found.is_valid:
            current = self._context.Context()
        return self._with_span(self._above if above is None else above.span, current)

    def _end(self, opened: _Open | None, error: BaseException | None) -> None:
        if opened is None:
            return
        del self._open[opened.id]
        if error is not None:
            opened.span.set_status(self._trace.StatusCode.ERROR, type(error).__name__)
        opened.span.end()
        if self._current() is opened.inside:  # else the program has something of its own there by now
            self._attach(opened.before)

    def _facts(self) -> dict[str, str | int]:
        lock = self._lock
        return {"playbooks.agent": lock.agent, "playbooks.fence": lock.fence, "playbooks.program": lock.start.program}
