"""A new agent from a kept checkpoint of another one. For commands; knows no store.

The checkpoint is verified before anything of it is read, and sealed anew for the new agent, under the smallest fence: every
owner of the new one has a greater one.
"""

from __future__ import annotations

import json
from dataclasses import replace

from playbooks_providers.contracts import Checkpoints
from playbooks_providers.envelope import Sealer, open_start, read_header, seal_start
from playbooks_providers.errors import UnknownCheckpoint
from playbooks_providers.ids import AgentId, CheckpointId, new_nonce
from playbooks_providers.model import AgentView, Entry, StartRecord
from playbooks_worker import engine
from playbooks_worker.host.opening import open_checkpoint

_FIRST = 1


async def fork_of(
    checkpoints: Checkpoints, sealer: Sealer, view: AgentView, agent: AgentId, at: int | None, now_ms: int
) -> tuple[StartRecord, Entry]:
    """What `Coordination.fork` is given to make *agent* from checkpoint number *at* (None: the newest) of the viewed one.

    Raises `UnknownCheckpoint`, `BadCheckpoint` and `BadStart`."""
    kept = [entry.id for entry in await checkpoints.list(view.agent) if _holds_state(entry)]
    chosen = [id for id in kept if at is None or id.seq == at]
    if not chosen:
        raise UnknownCheckpoint(view.agent, at or 0, [id.seq for id in kept])
    opened = await open_checkpoint(checkpoints, sealer, view.agent, max(chosen))
    before = opened.header
    payload = engine.forked(opened.payload, view.agent)
    header = replace(
        before, agent=agent, fence=_FIRST, nonce=new_nonce(), time_ms=now_ms, attempts=0, base=None, codec="raw"
    )
    entry = Entry(CheckpointId(_FIRST, before.seq), *sealer.seal(header, payload))
    start = replace(
        open_start(sealer, view.start),
        agent=agent,
        created_ms=now_ms,
        parent="",
        parent_birth=0,
        run="",
        forked=json.dumps([view.agent, view.birth, str(before.id)]),
        sealed="",
    )
    return seal_start(sealer, start), entry


def _holds_state(entry: Entry) -> bool:
    try:
        return read_header(entry.header).kind == "step"
    except ValueError:
        return False
