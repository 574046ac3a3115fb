"""What `/metrics` of a real daemon says, as values: for tests that cause something and see that it is counted."""

from __future__ import annotations

import re

from daemons import SOON_S, Daemon

from playbooks_providers.testing import eventually

ANYWHERE = ("--http", "127.0.0.1:0")
"""The option with which a daemon serves its pages, wherever there is room."""
_SAMPLE = re.compile(r"(?P<name>\w+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')


class Page:
    """What /metrics of a daemon says now."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.samples = _samples(text)

    def __call__(self, name: str, **labels: str) -> float | None:
        return self.samples.get((name, frozenset(labels.items())))


async def page(daemon: Daemon) -> Page:
    status, text = await daemon.get("/metrics")
    assert status == 200
    return Page(text)


async def counts(daemon: Daemon, name: str, **labels: str) -> float:
    """Wait until *daemon* has counted one; how many it has. (Executors report once a second.)"""

    async def counted() -> float | None:
        return (await page(daemon))(name, **labels) or None

    return await eventually(counted, SOON_S, f"{name} {labels or ''} of {daemon.log.stem} to move")


def _samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            sample = _SAMPLE.fullmatch(line)
            assert sample is not None, line
            found[sample["name"], frozenset(_LABEL.findall(sample["labels"] or ""))] = float(sample["value"])
    return found
