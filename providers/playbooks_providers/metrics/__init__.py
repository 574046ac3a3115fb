"""Every metric, declared once. What each means to an operator is in docs/metrics.md; a test compares the two.

Whoever knows a number says so where it arises (`metrics.FENCED_WRITES.add()`), in any process, whether or not somebody
looks. No library is needed for that: an executor has no HTTP server, and a base install no prometheus-client
(docs/decisions/0033). `playbooks_providers.service` shows them.

The words are the glossary's; units are seconds and bytes, as is Prometheus' custom. No label holds an id.
"""

from __future__ import annotations

from playbooks_providers.metrics.instruments import Counter, Gauge, Histogram, Registry

_LAGS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)

BUILD_INFO = Gauge("playbooks_build_info", "Which build this is; always 1.", ("version", "python", "daemon"))
EVENT_LOOP_LAG = Histogram(
    "playbooks_event_loop_lag_seconds",
    "How much later than asked for an event loop came back to a timer, by kind of process.",
    ("process",),
    bounds=_LAGS,
)

REGISTRY = Registry()
REGISTRY.add(*[one for one in list(globals().values()) if isinstance(one, (Counter, Gauge, Histogram))])
