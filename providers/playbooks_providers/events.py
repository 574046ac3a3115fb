"""What an agent tells people as it goes, as the homes of state see it: bodies at places, each under its teller's fence.

Made by the worker's host, kept by every home (`contracts.Events`), read by commands. Blind like everything here.
"""

from __future__ import annotations

from typing import NamedTuple


class EventPlace(NamedTuple):
    """Where an event stands in its agent's stream. ``number``: the owner's own count of what it told, from 1."""

    fence: int
    number: int


BEGINNING = EventPlace(0, 0)


class Event(NamedTuple):
    """One thing that was told. ``body``: bytes of the host's making (host/events.py)."""

    place: EventPlace
    body: bytes
