"""What traces cost an await when they are on: spans made, queued and sent to nowhere, over the in-memory provider.

The same loop without traces and without an agent in the same rounds, and as many spans of OpenTelemetry's SDK by themselves,
with as many attributes. A collector costs beside that what its exporter does in a thread of its own. Over Redis an await
takes several times as long, and the same more.

A round is several runs of each. Spans that wait to be sent are what Python's garbage collector looks at: every few thousand
it goes through all that lives (25 ms), whoever's turn it is; a round of one run had that or had it not, 35 % or 48 %.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Sequence

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from benchmarks.figures import Figure
from benchmarks.in_memory import InMemory, took
from playbooks_worker.host.programs import Program
from playbooks_worker.tracing import OtelTracer

AWAITS = 1500  # fewer spans than the queue holds
RUNS = 4  # in a round, in turns


class Nowhere(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def _bare_span_us(tracer: OtelTracer) -> float:
    above = trace.set_span_in_context(tracer.tracer.start_span("above"))
    began = time.process_time()
    for number in range(AWAITS):
        tracer.tracer.start_span("bare", above, attributes={"a": "x", "b": number, "c": "x", "d": "x"}).end()
    return (time.process_time() - began) / AWAITS * 1e6


async def measure(program: Program, *, rounds: int) -> list[Figure]:
    tracer = OtelTracer("bench", BatchSpanProcessor(Nowhere()))
    homes = {"off": InMemory(program), "on": InMemory(program, tracer=tracer)}
    costs: dict[str, list[float]] = {name: [] for name in homes}
    spans: list[float] = []
    for _ in range(rounds):
        bare = await took(program, functools.partial(program.playbook("loop"), AWAITS))
        spent = dict.fromkeys(homes, 0.0)
        for _ in range(RUNS):
            for name, home in homes.items():
                spent[name] += await took(program, functools.partial(home.run, "loop", AWAITS)) - bare
            tracer.provider.force_flush()
        for name, seconds in spent.items():
            costs[name].append(seconds / (RUNS * AWAITS) * 1e6)
        spans.append(_bare_span_us(tracer))
        tracer.provider.force_flush()
    tracer.close()
    off, on = statistics.median(costs["off"]), statistics.median(costs["on"])
    return [
        Figure(
            "awaits a second with traces on, to those with traces off, in memory",
            "%",
            40,
            [100 * without / with_them for without, with_them in zip(costs["off"], costs["on"], strict=True)],
            at_most=False,
            note=f"{on - off:.1f} µs more for each",
            reference=f"off: {off:.1f} µs; a bare span: {statistics.median(spans):.1f} µs",
        )
    ]
