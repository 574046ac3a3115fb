"""`make demo`: an agent loses its process, then its whole worker, and finishes all the same. Run it and watch.

It starts `playbooksctl dev examples/audit.py` in a folder of its own, submits an audit, and by the agent's own progress
(never by time) kills with SIGKILL first the executor that runs it, later the whole worker that does. In the end it reads
back from the effects' log and from the agent's stream what ran how often. It exits with 1 when anything happened that may
not, or when a kill came too late to prove anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import audit
from demo_agent import Follower, Seen, place
from demo_dev import PATIENCE_S, PROGRAM, DemoFailed, dev, playbooksctl, workers
from demo_evidence import STEPS, judge, judge_stream, places, read_log
from demo_screen import Screen

from playbooks_providers.ids import AgentId
from playbooks_providers.model import FINAL, SessionInfo
from playbooks_providers.redis import connect

FIRST_KILL, SECOND_KILL = 0.25, 0.6  # shares of the awaits that the audit consists of


@dataclass(frozen=True)
class TakeOver:
    """What was killed, where the agent stood, and who went on after how long."""

    killed: str
    before: Seen
    by: str
    after_s: float
    next: Seen
    next_after_s: float


async def main() -> int:
    screen = Screen()
    with tempfile.TemporaryDirectory(prefix="playbooks-demo-") as name:
        folder = Path(name)
        try:
            with screen:
                async with asyncio.timeout(5 * PATIENCE_S), dev(folder) as where:
                    screen.event(f"`playbooksctl dev` runs a server, a coordinator and {len(workers(where))} workers")
                    code = await story(folder, where, screen)
            return code
        except (DemoFailed, TimeoutError) as error:
            screen.event(f"FAILED: {error or 'it took too long'}", style="bold red")
            log = (folder / "dev.log").read_text().splitlines()
            screen.heading("the last lines of `playbooksctl dev`")
            screen.console.print("\n".join(log[-25:]), markup=False)
            return 1


async def story(folder: Path, where: dict[str, Any], screen: Screen) -> int:
    log = folder / "effects.log"
    expected = places(audit.library(), audit.AT_ONCE)
    modules = sum(map(len, audit.library().values()))
    agent = await submit(folder, log)
    screen.event(f"submitted agent {agent}: audit {modules} modules of the standard library, {len(expected)} effects")
    home = connect(where["redis_url"])
    follower = Follower(home, agent, where["redis_url"])
    following = asyncio.create_task(follower.follow())
    drawing = asyncio.create_task(keep_drawing(follower, screen, log, len(expected)))
    try:
        killed: list[int] = []
        first = await kill_executor(follower, screen, int(FIRST_KILL * len(expected)), killed)
        second = await kill_worker(folder, follower, screen, int(SECOND_KILL * len(expected)), killed)
        result = await until_end(folder, follower, screen)
    finally:
        for task in (drawing, following):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await home.close()
    return conclude(screen, log, follower, result, killed, [first, second])


async def submit(folder: Path, log: Path) -> AgentId:
    told = await playbooksctl(folder, "submit", PROGRAM.stem, "--args", json.dumps({"log": str(log)}))
    return AgentId(told["agent_id"])


async def keep_drawing(follower: Follower, screen: Screen, log: Path, effects: int) -> None:
    screen.agent = follower.agent
    while True:
        owner = await follower.owner()
        screen.runs_in = f"{owner.worker}, process {owner.pid}" if owner else ""
        if follower.newest is not None:
            screen.number = follower.newest.id.seq
            screen.share = min(1.0, len(read_log(log)) / effects)
            screen.statement = place(follower.newest.header)
        await asyncio.sleep(0.1)


# --- the two kills ------------------------------------------------------------------------------------------------------


async def kill_executor(follower: Follower, screen: Screen, number: int, killed: list[int]) -> TakeOver:
    """SIGKILL to the process that runs the agent, once the agent has reached checkpoint *number*."""
    await waited(follower.reaches(number), f"reach checkpoint {number}")
    owner = await running(follower)
    what = f"the executor (process {owner.pid}) of {owner.worker}"
    return await taken_over(follower, screen, owner, what, [owner.pid], killed)


async def kill_worker(folder: Path, follower: Follower, screen: Screen, number: int, killed: list[int]) -> TakeOver:
    """SIGKILL to every process of the worker that runs the agent: its supervisor and all its executors."""
    await waited(follower.reaches(number), f"reach checkpoint {number}")
    owner = await running(follower)
    supervisor = workers(json.loads((folder / ".playbooks" / "dev.json").read_text()))[owner.worker]
    sessions = [await follower.home.coordination.session(each) for each in await follower.home.coordination.sessions()]
    executors = [each.pid for each in sessions if each is not None and each.worker == owner.worker]
    what = f"all of {owner.worker} (processes {', '.join(map(str, [supervisor, *executors]))})"
    return await taken_over(follower, screen, owner, what, [supervisor, *executors], killed)


async def running(follower: Follower) -> SessionInfo:
    view, owner = await follower.view(), await follower.owner()
    if view.status in FINAL:
        raise DemoFailed(f"the agent was {view.status} before it could be killed: nothing was shown")
    if owner is None:
        raise DemoFailed("nobody runs the agent at the moment of the kill")
    return owner


async def taken_over(
    follower: Follower, screen: Screen, owner: SessionInfo, what: str, pids: list[int], killed: list[int]
) -> TakeOver:
    fence = (await follower.view()).fence
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # an executor that went with its supervisor
            os.kill(pid, signal.SIGKILL)
    at = time.monotonic()
    killed += pids
    before = follower.newest
    assert before is not None
    screen.event(f"SIGKILL to {what}", f"at checkpoint {before.id.seq}, in {place(before.header)}", style="bold red")
    new = await waited(new_owner(follower, owner), "be taken over")
    after_s = time.monotonic() - at
    went_on = await waited(follower.first_after(fence), "go on")
    after_s = min(after_s, went_on.at - at)  # asking who owns it takes its time on a busy machine
    before = next(seen for seen in reversed(follower.seen) if seen.id.fence <= fence)
    by = f"{new.worker}, process {new.pid}"
    screen.event(
        f"taken over by {by} after {after_s * 1000:.0f} ms",
        f"it goes on in {place(before.header)}",
        f"its next await completes {(went_on.at - at) * 1000:.0f} ms after the kill (checkpoint {went_on.id.seq})",
        style="bold green",
    )
    return TakeOver(what, before, by, after_s, went_on, went_on.at - at)


async def new_owner(follower: Follower, old: SessionInfo) -> SessionInfo:
    while (owner := await follower.owner()) is None or owner.session == old.session:
        if (await follower.view()).status in FINAL:
            raise DemoFailed("the kill came too late: the agent had ended")
        await asyncio.sleep(0.002)
    return owner


async def waited(waiting: Any, what: str) -> Any:
    try:
        return await asyncio.wait_for(waiting, PATIENCE_S)
    except TimeoutError:
        raise DemoFailed(f"the agent did not {what} within {PATIENCE_S:.0f} s") from None


# --- the end ------------------------------------------------------------------------------------------------------------


async def until_end(folder: Path, follower: Follower, screen: Screen) -> dict[str, Any]:
    told = await waited(playbooksctl(folder, "wait", follower.agent), "end")
    screen.event(f"agent {follower.agent} is {told['status']}", style="bold")
    return told


def conclude(
    screen: Screen, log: Path, follower: Follower, told: dict[str, Any], killed: list[int], take_overs: list[TakeOver]
) -> int:
    """Print the result and what log and stream say. 0 only when nothing else happened than was to be shown."""
    if told["status"] != "completed":
        raise DemoFailed(f"the agent is {told['status']}: {told['error']['message']}")
    result = told["result"]
    screen.heading("the agent's result")
    screen.table([(name.replace("_", " "), told_value(value)) for name, value in result.items()], justify="left")
    expected = places(audit.library(), audit.AT_ONCE)
    verdict = judge(read_log(log), expected, killed, audit.AT_ONCE)
    ids = [(seen.id.fence, seen.id.seq) for seen in follower.seen]
    wrong = verdict.wrong + judge_stream(ids)
    modules = sum(map(len, audit.library().values()))
    if result["modules"] != modules:
        wrong.append(f"the result counts {result['modules']} modules instead of {modules}")
    if len({fence for fence, _ in ids}) < 1 + len(take_overs):
        wrong.append("fewer owners wrote the agent's history than there must have been")
    screen.heading("read back from the effects' log and the agent's stream")
    screen.table(
        [
            (str(len(expected)), f"effects: {len(STEPS)} for each of {modules} modules, and those around them"),
            (str(verdict.once), "ran once"),
            (str(len(verdict.twice)), "\n".join(["ran twice, in flight at a kill:", *verdict.twice])),
            (str(len(ids)), f"checkpoints seen, by {len({fence for fence, _ in ids})} owners one after the other"),
            *((f"{each.after_s * 1000:.0f} ms", f"until {each.by} took over") for each in take_overs),
        ]
    )
    for line in wrong:
        screen.event(f"WRONG: {line}", style="bold red")
    if not wrong:
        screen.heading("Killed twice, finished once: only what was in flight at a kill ran again.")
    return 1 if wrong else 0


def told_value(value: Any) -> str:
    return "\n".join(" ".join(map(str, pair)) for pair in value) if isinstance(value, list) else f"{value:,}"


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except KeyboardInterrupt:
        sys.exit(130)
