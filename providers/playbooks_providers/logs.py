"""One way to log, for every daemon: one event per transition, on stderr, as console lines or JSON.

Called once, by wiring modules, before anything is logged. Everybody else says `structlog.get_logger()`. Fields that scripts
may rely on: ``event``, ``level``, ``timestamp`` and, where they apply, ``agent``, ``session``, ``fence``, ``reason``. A
payload, an argument or a secret is never a field.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal

import structlog
from structlog.typing import EventDict

LogFormat = Literal["console", "json"]


def configure(log_format: LogFormat = "console", *, level: int = logging.INFO, **bound: Any) -> None:
    """Send structlog's events to stderr. *bound* (say, worker and pid) is part of every event of this process."""

    def bind(_logger: Any, _method: str, event: EventDict) -> EventDict:
        return {**event, **bound}

    shared: list[Any] = [
        bind,  # not by contextvars: agents run in contexts of their own
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if log_format == "json":
        shared += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        shared += [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)]
    structlog.configure(
        processors=shared,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,  # one event per transition needs no speed, and who configures last is heard
    )
