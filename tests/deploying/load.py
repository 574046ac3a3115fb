"""Agents that count until they are told that it is enough, and what they have done: a load under which pods come and go.

One of them may be stubborn: its first effect blocks the loop of its first process for good, so that nothing there can be
handed over, and only the end of that process ends it.
"""

from __future__ import annotations

from pathlib import Path

from daemons import Cluster

from playbooks_providers.envelope import read_header
from playbooks_providers.redis import connect

PROGRAM = """
import asyncio, os, time
from playbooks_worker import playbook

async def step(number, log, enough):
    with open(log, "a") as file:
        file.write(f"{number} {os.getpid()}\\n")
    await asyncio.sleep(0.05)
    return not os.path.exists(enough)

@playbook
async def count(number, log, enough):
    return await step(number, log, enough)

@playbook
async def main(number, log, enough):
    while await count(number, log, enough):
        number += 1
    return number + 1

async def block(number, log, enough):
    first = not os.path.exists(log)
    more = await step(number, log, enough)
    while first:
        time.sleep(0.05)
    return more

@playbook
async def stubborn(number, log, enough):
    await block(number, log, enough)
    return await main(number + 1, log, enough)
"""


class Load:
    def __init__(self, folder: Path, url: str) -> None:
        folder.mkdir()
        self._home = connect(url)
        self._crowd = Cluster(folder, url, self._home)
        self._enough = folder / "enough"
        self.agents: list[str] = []

    async def submit(self, agents: int, *, program: str = "until") -> None:
        """They begin when there is room for them."""
        for _ in range(agents):
            name = f"a{len(self.agents)}"
            self.agents.append(await self._crowd.submit(name, 0, str(self._enough), program=program))

    async def begun(self) -> None:
        """Wait until each has."""
        for agent in self.agents:
            await self._crowd.begun(agent, 1)

    async def submit_stubborn(self) -> str:
        """Returns when it has begun, and blocks its process from now on."""
        agent = await self._crowd.submit("stubborn", 0, str(self._enough), program="until", entry="stubborn")
        self.agents.append(agent)
        await self._crowd.begun(agent, 1)
        return agent

    async def goes_on(self) -> None:
        """Wait until each has begun two more effects, wherever it is now: the first is then recorded."""
        counts = {agent: len(self._crowd.effects(agent)) for agent in self.agents}
        for agent, count in counts.items():
            await self._crowd.begun(agent, count + 2)

    def processes(self, agent: str) -> list[int]:
        """Those that it has been in, in order."""
        return list(dict.fromkeys(pid for _, pid in self._crowd.effects(agent)))

    async def completed(self) -> dict[str, list[int]]:
        """Tell them; when all have completed, the effects that ran more than once, by agent.

        Checks that each counted on without a gap, in order, and to the number that it answers.
        """
        self._enough.touch()
        again: dict[str, list[int]] = {}
        for agent in self.agents:
            view = await self._crowd.ended(agent)
            if repeated := self._crowd.repeated(agent, read_header(view.header).result):
                again[agent] = repeated
        return again

    async def close(self) -> None:
        await self._home.close()
