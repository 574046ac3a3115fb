"""The three pages of a daemon, and the server for them. The only module that imports the extra `[http]`.

Called by `surface`, in its thread. Answers are a line of plain text that says why, for whoever reads a failed probe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from playbooks_providers.metrics import REGISTRY
from playbooks_providers.metrics.instruments import Counter, Daemon, Gauge, Histogram
from playbooks_providers.service.probes import Probes

UNAVAILABLE = 503


def server_of(probes: Probes, daemon: Daemon) -> uvicorn.Server:
    """Call its `run` with the socket; set its ``should_exit`` to end it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Shown(daemon))

    def show(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    app = Starlette(
        routes=[
            Route("/", lambda _: PlainTextResponse("/livez  /readyz  /metrics\n")),
            Route("/livez", _probe(probes.not_alive)),
            Route("/readyz", _probe(probes.not_ready)),
            Route("/metrics", show),
        ]
    )
    return uvicorn.Server(
        uvicorn.Config(
            app,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
    )


def _probe(why_not: Callable[[], str]) -> Callable[[Request], Response]:
    def answer(_: Request) -> Response:
        why = why_not()
        return PlainTextResponse(f"{why or 'ok'}\n", UNAVAILABLE if why else 200)

    return answer


class _Shown(Collector):
    """Our numbers in prometheus-client's words, at each scrape."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def collect(self) -> Iterator[Metric]:
        for one in REGISTRY.shown_on(self._daemon):
            match one:
                case Counter():
                    yield _with_samples(CounterMetricFamily(one.name, one.help), one)
                case Gauge():
                    yield _with_samples(GaugeMetricFamily(one.name, one.help), one)
                case Histogram():
                    yield _with_buckets(HistogramMetricFamily(one.name, one.help), one)


def _with_samples(family: Metric, one: Counter | Gauge) -> Metric:
    for labels, value in list(one.values.items()):
        family.add_sample(one.name, _named(one.labels, labels), value)
    return family


def _named(names: tuple[str, ...], values: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(names, values, strict=True))


def _with_buckets(family: Metric, one: Histogram) -> Metric:
    for labels, observed in list(one.values.items()):
        named, (*counts, total) = _named(one.labels, labels), list(observed)
        upto = 0.0
        for bound, count in zip([*map(str, map(float, one.bounds)), "+Inf"], counts, strict=True):
            upto += count
            family.add_sample(f"{one.name}_bucket", {**named, "le": bound}, upto)
        family.add_sample(f"{one.name}_count", named, upto)
        family.add_sample(f"{one.name}_sum", named, total)
    return family
