"""Who waits for a person is found without reading all agents, whoever dies when; and is out of the list once answered."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from playbooks_providers.envelope import Sealer, read_header
from playbooks_providers.ids import AgentId
from playbooks_providers.model import Status
from playbooks_worker.host.answers import answer_letter, answered

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from perishing import WHEN, Fuse, World, at_every_call  # noqa: E402

BOSS = AgentId("boss")


async def until_parked(world: World, fuse: Fuse) -> None:
    """Parked, with a worker that is not dead."""
    await world.worker("w0", fuse)
    waits = asyncio.ensure_future(world.becomes(Status.WAITING))
    burning = asyncio.ensure_future(fuse.burnt.wait())
    await asyncio.wait([waits, burning], return_when=asyncio.FIRST_COMPLETED)
    if fuse.burnt.is_set():
        await world.bury("w0")
        await world.worker("w1")
    else:
        fuse.left = None
    await waits
    burning.cancel()


@WHEN
def test_who_asks_a_person_is_in_the_index_when_it_is_parked_and_out_of_it_when_it_was_answered(after: bool) -> None:
    async def scenario(world: World, fuse: Fuse) -> None:
        await world.submit("approval")
        await until_parked(world, fuse)
        assert list(await world.coordination.asking()) == [BOSS]
        view = await world.view()
        assert view is not None
        (asked,) = read_header(view.header).asks
        home: Any = world.coordination
        await answered(home, BOSS, answer_letter(Sealer("k" * 32), BOSS, asked.id, "yes"))
        await world.ended()
        assert list(await world.coordination.asking()) == []

    assert at_every_call(scenario, 0.0, after=after) > 5
