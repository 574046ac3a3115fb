"""When an agent has to run alone, and when it is set aside. A pure rule (DESIGN 4.3).

Why: an agent that kills its process (a leak, a crash in C) kills those that run beside it, and they come back with a death
on their account as well. So suspicion alone condemns nobody: from the second death on an agent runs alone, and only
deaths that it died alone count against it. An owner that has written anything has cleared it: attempts start over.
"""

from __future__ import annotations

from enum import Enum

DEATHS_TOGETHER = 2
LONELY_DEATHS = 3


class Verdict(Enum):
    TOGETHER = "together"
    ALONE = "alone"
    QUARANTINE = "quarantine"


def verdict(attempts: int, *, lonely_deaths: int = LONELY_DEATHS) -> Verdict:
    """*attempts*: how often the agent was taken since an owner last wrote, this time included. One less have died."""
    deaths = attempts - 1
    if deaths < DEATHS_TOGETHER:
        return Verdict.TOGETHER
    return Verdict.ALONE if deaths < DEATHS_TOGETHER + lonely_deaths else Verdict.QUARANTINE
