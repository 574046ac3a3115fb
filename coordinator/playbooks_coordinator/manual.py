"""The words of `playbooks-coordinator --help`. Called by `daemon`."""

from __future__ import annotations

from typing import ClassVar

from playbooks_providers.manual import FILES, SETTINGS, Manual


class CoordinatorManual(Manual):
    groups: ClassVar = {
        "Watch": ["session_timeout"],
        "Redis": ["redis_url"],
        "What it shows": ["http", "log_format"],
        "Settings": ["print_config", "check_config", "help"],
    }
    sections: ClassVar = {
        "Environment": SETTINGS,
        "Files": FILES,
        "Signals": [
            ("SIGTERM, SIGINT", "Give up the lead, and end: a standby leads at once."),
            ("the second one", "End at once: a standby leads when the lease has run out."),
        ],
        "Exit status": [
            ("0", "Ended in order by SIGTERM (130: by SIGINT)."),
            ("2", "The settings or the options are not in order; one line on stderr says what."),
            ("128 + N", "Ended at once by a second signal N."),
        ],
        "See also": [
            ("playbooks-worker", "Runs the agents."),
            ("playbooksctl", "Starts agents, shows and stops them."),
        ],
    }
    examples: ClassVar = [
        ("playbooks-coordinator", "Lead, or stand by for whoever leads."),
        ("playbooks-coordinator --session-timeout 10", "Give agents to others after 10 s of silence, not 5."),
        ("playbooks-coordinator --check-config", "Say whether the settings are in order, and start nothing."),
    ]
