"""The words of `playbooks-worker --help`. Called by `daemon`."""

from __future__ import annotations

from typing import ClassVar

from playbooks_providers.manual import FILES, SETTINGS, Manual


class WorkerManual(Manual):
    arguments: ClassVar = {
        "programs": (
            "PROGRAM...",
            "A .py file or an importable module; one or more (none with --print-config and --check-config).",
        )
    }
    groups: ClassVar = {
        "Arguments": ["programs"],
        "Work": ["queue", "processes", "concurrency", "limit", "name", "group", "drain_timeout"],
        "Redis": ["redis_url"],
        "What it shows": ["http", "otel", "log_format"],
        "Settings": ["print_config", "check_config", "help"],
    }
    sections: ClassVar = {
        "Environment": [
            *SETTINGS,
            ("OTEL_EXPORTER_OTLP_ENDPOINT, ...", "Where --otel sends traces, as OpenTelemetry defines them."),
        ],
        "Files": FILES,
        "Signals": [
            ("SIGTERM, SIGINT", "Drain: take no more agents, hand each over at its next checkpoint, at the latest after "
             "--drain-timeout; then end."),
            ("the second one", "End at once. Nothing is lost: agents go on elsewhere, and what was in flight is repeated."),
        ],
        "Exit status": [
            ("0", "It has drained."),
            ("1", "It has ended, and a session was left for the coordinator to find; or Redis refuses what a worker has to "
             "do: one line on stderr says what."),
            ("2", "The settings, the options or a program are not in order; one line on stderr says what."),
            ("128 + N", "Ended at once by a second signal N."),
        ],
        "See also": [
            ("playbooks-coordinator", "Gives the agents of dead workers to others, and wakes those that are due."),
            ("playbooksctl", "Starts agents, and shows and stops them; `drain` drains a worker from anywhere, `queue` says "
             "how many agents of a queue run at once on all workers together."),
        ],
    }  # fmt: skip
    examples: ClassVar = [
        ("playbooks-worker audit.py", "Run the agents of audit.py, up to 50 at once, in one process."),
        ("playbooks-worker audit.py tea.py --processes 4", "Two programs, four processes: 200 agents at once."),
        ("playbooks-worker shop.jobs --queue urgent", "An importable module; only what was submitted to that queue."),
        ("playbooks-worker --check-config", "Say whether the settings are in order, and start nothing."),
    ]
