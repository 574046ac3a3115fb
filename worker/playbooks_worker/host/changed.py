"""Code that changed under an agent, between the engine, which compares, and the store, which keeps the sources of then.

Called by `life` when an agent is blocked by it or a person has accepted it, and by `playbooksctl check`. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from playbooks_providers.contracts import Checkpoints
from playbooks_worker import engine
from playbooks_worker.host.patience import patiently


async def accepted(checkpoints: Checkpoints, payload: bytes) -> dict[str, str | None]:
    """The sources of then for what has changed under a checkpoint: the engine sees whether it can go on with them."""
    try:
        return await sources(checkpoints, engine.changes_of(payload))
    except (engine.CodeChanged, engine.ResumeMismatch):
        return {}  # the engine will say the same


async def told(checkpoints: Checkpoints, changes: Sequence[engine.Change]) -> list[str]:
    """What has changed, for people: where each frame stands, then a diff of each playbook."""
    kept = await sources(checkpoints, changes)
    lines = [engine.place(change, kept[change.frame.fingerprint]) for change in changes]
    return lines + diffs(changes, kept)


def diffs(changes: Sequence[engine.Change], kept: dict[str, str | None]) -> list[str]:
    """One diff for each version of a playbook."""
    lines: list[str] = []
    seen: set[str] = set()
    for change in changes:
        fingerprint = change.frame.fingerprint
        if fingerprint not in seen:
            seen.add(fingerprint)
            lines += engine.diff(change, kept[fingerprint])
    return lines


async def sources(checkpoints: Checkpoints, changes: Sequence[engine.Change]) -> dict[str, str | None]:
    """The kept text of each version that is not in this process, by fingerprint."""
    found: dict[str, str | None] = {}
    for change in changes:
        fingerprint = change.frame.fingerprint
        if fingerprint not in found:
            found[fingerprint] = await patiently(
                partial(checkpoints.source, fingerprint), "read the source of a playbook"
            )
    return found
