"""Fetches a checkpoint with its chain and opens it; and finds the newest one that opens. For `life` and for commands.

Two calls to the store at most, however long the chain: the checkpoint, then all that it needs at once.
"""

from __future__ import annotations

from playbooks_providers.contracts import Checkpoints
from playbooks_providers.envelope import Opened, Sealer
from playbooks_providers.errors import BadCheckpoint
from playbooks_providers.ids import AgentId, CheckpointId
from playbooks_worker.host.patience import patiently


async def open_checkpoint(checkpoints: Checkpoints, sealer: Sealer, agent: AgentId, id: CheckpointId) -> Opened:
    """Raises `BadCheckpoint` when it, or something that it needs, is not there or does not verify."""
    entry = await patiently(lambda: checkpoints.load(agent, id), "load a checkpoint")
    if entry is None:
        raise BadCheckpoint(agent, str(id), "it is not there")
    base = sealer.verify(entry, agent).base
    if base is None:
        return sealer.open(entry, agent)
    return sealer.open(
        entry, agent, await patiently(lambda: checkpoints.load_many(agent, base.ids), "load a chain of checkpoints")
    )


async def newest_that_opens(
    checkpoints: Checkpoints, sealer: Sealer, agent: AgentId, before: CheckpointId
) -> CheckpointId | None:
    """The newest kept checkpoint older than *before* that can be opened, tried one after the other."""
    kept = await patiently(lambda: checkpoints.list(agent), "list checkpoints")
    for id in sorted((entry.id for entry in kept if entry.id < before), reverse=True):
        try:
            await open_checkpoint(checkpoints, sealer, agent, id)
        except BadCheckpoint:
            continue
        return id
    return None
