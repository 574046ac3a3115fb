"""One way to log, for every daemon: one event per transition, on stderr, as lines for people or as JSON.

Called once, by wiring modules, before anything is logged. Everybody else says `structlog.get_logger()`. Fields that scripts
may rely on: ``event``, ``level``, ``timestamp`` and, where they apply, ``agent``, ``session``, ``fence``, ``checkpoint``
(the id of its entry in the agent's stream), ``reason``. A payload, an argument or a secret is never a field.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any, Literal

import structlog
from structlog.typing import EventDict

LogFormat = Literal["console", "json"]
AskedFormat = Literal["auto", "console", "json"]


def chosen(asked: AskedFormat) -> LogFormat:
    """What `auto` means here: console for a person at a terminal, JSON for whatever else reads stderr."""
    if asked == "auto":
        return "console" if sys.stderr.isatty() else "json"
    return asked


def configure(
    log_format: LogFormat = "console", *, level: int = logging.INFO, stdlib: Sequence[str] = (), **bound: Any
) -> None:
    """Send structlog's events to stderr. *bound* (say, worker and pid) is part of every event of this process.

    What the standard library's loggers *stdlib* get, and those below them, becomes events, too: "" is all of them, where no
    program of a user's runs that may have plans of its own for them.
    """

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
        # (the usual tracebacks show locals, which are payloads and keys)
        plainly = structlog.dev.plain_traceback
        shared += [
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0, exception_formatter=plainly)
        ]
    structlog.configure(
        processors=shared,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,  # one event per transition needs no speed, and who configures last is heard
    )
    for name in stdlib:
        logger = logging.getLogger(name)
        logger.handlers = [_Events()]
        logger.propagate = False


class _Events(logging.Handler):
    """Makes a record of `logging` an event."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(
            record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info or None
        )
