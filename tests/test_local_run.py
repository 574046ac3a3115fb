"""A run in a folder, in this process: what crosses there between an agent's life and what is done to it from outside."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from playbooks_providers.envelope import Sealer
from playbooks_providers.filesystem import FilesystemCoordination
from playbooks_providers.ids import AgentId
from playbooks_providers.model import Done, Order, OrderKind, StartRecord, Status
from playbooks_providers.testing import eventually
from playbooks_worker.cli.local_run import LocalRun
from playbooks_worker.host.gate import Gate
from playbooks_worker.host.giving import give
from playbooks_worker.host.outcome import Ended
from playbooks_worker.host.programs import load
from playbooks_worker.host.surroundings import Surroundings

PROGRAM = str(Path(__file__).parent / "programs" / "talkers.py")
BOSS = AgentId("boss")
PAUSE = Order("p1", OrderKind.PAUSE, "lunch")


class Crossing(FilesystemCoordination):
    """Something else is wanted of the agent in the very moment in which its owner obeys a pause."""

    meanwhile = None

    async def stop(self, lock, status, why):
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile(self)
        return await super().stop(lock, status, why)


def ended(root, entry, args, meanwhile):
    """How an agent ends that is paused as soon as it has written, while *meanwhile* happens."""

    async def main():
        home, checkpoints = Crossing.open(root)
        home.meanwhile = meanwhile
        program = load(PROGRAM)
        around = Surroundings(checkpoints, Sealer("k" * 32), lambda: 0)
        run = LocalRun(home, around, Gate(lambda: 0.0), BOSS, {"talkers": program})
        sys.modules["talkers"].DONE.clear()
        await home.create(StartRecord(BOSS, "talkers", entry, args, {}, "", 1))
        run.begin(await home.lock(BOSS), program.playbook(entry), numbered_after=0)

        async def paused():
            async def written():
                return (await home.describe(BOSS)).last is not None

            await eventually(written, 10.0, "it to begin")
            await give(home, BOSS, PAUSE)

        _, outcome = await asyncio.gather(paused(), asyncio.wait_for(run.until_over(), 20.0))
        assert isinstance(outcome, Ended) and home.meanwhile is None
        return outcome, await home.describe(BOSS)

    return asyncio.run(main())


def test_a_cancel_that_crosses_with_a_runs_obeying_a_pause_is_raised(tmp_path):
    async def cancelled(home):
        await home.order(BOSS, Order("c1", OrderKind.CANCEL, "enough"))

    outcome, view = ended(tmp_path, "tidies_up", [], cancelled)
    assert (outcome.status, view.status, view.order) == (Status.CANCELLED, Status.CANCELLED, None)
    assert sys.modules["talkers"].DONE == ["enough", "tidied", "twice"]


def test_an_unpause_that_crosses_lets_the_agent_go_on_and_nothing_is_done_twice(tmp_path):
    async def withdrawn(home):
        assert await home.withdraw(BOSS, PAUSE) == Done()

    outcome, view = ended(tmp_path, "counts", [50], withdrawn)
    assert outcome.header.result == 50 and view.last.seq <= 52
