"""`playbooksctl check`: before a deploy, which agents of a program would go on in its source as it is now, and which not.

It loads the program, verifies each agent's newest checkpoint and reads its index: playbooks, fingerprints and sites. The
values that the program saved are not loaded. Nothing is written.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from playbooks_worker.cli import options
from playbooks_worker.cli.output import Exit, Output
from playbooks_worker.cli.target import target
from playbooks_worker.cli.views import Record, styled_diff, styled_status, table_of

if TYPE_CHECKING:
    from playbooks_providers.model import AgentView
    from playbooks_worker.cli.connect import AnyHome
    from playbooks_worker.host.programs import Program

_AT_ONCE = 64
_NAMED = 5
RESUMES, BLOCKS = "resumes", "would block"


def check(
    program: Annotated[str, typer.Argument(metavar="PROGRAM", help="A `.py` file or an importable module.")],
    storage_path: options.StoragePath = None,
    redis_url: options.RedisUrl = None,
    json: options.Json = False,
) -> None:
    """Say which agents of PROGRAM its source as it is now would block. Exits with 1 when there are any.

    An agent that runs goes on meanwhile: what is told of it is true of its newest checkpoint.
    """
    with Output(json) as out:
        asked = target(program)
        from playbooks_worker.host.programs import load

        loaded = load(asked.program)
        told = sorted(asyncio.run(_agents(loaded, storage_path, redis_url)), key=lambda each: str(each["agent_id"]))
        blocks = sum(each["verdict"] == BLOCKS for each in told)
        if out.as_json:
            out.json({"program": loaded.name, "resumes": len(told) - blocks, "blocks": blocks, "agents": told})
        else:
            _print(out, loaded.name, told, blocks)
        out.finish(Exit.FAILED if blocks else Exit.COMPLETED)


async def _agents(program: Program, storage_path: options.StoragePath, redis_url: str | None) -> list[Record]:
    from playbooks_worker.cli.connect import home_of, signing

    async with home_of(storage_path, redis_url) as home:
        signing(home)
        room = asyncio.Semaphore(_AT_ONCE)

        async def one(agent: str) -> Record | None:
            from playbooks_providers.ids import AgentId

            async with room:
                return await _verdict(home, program, AgentId(agent))

        return [told for told in await asyncio.gather(*map(one, await home.coordination.agents())) if told is not None]


async def _verdict(home: AnyHome, program: Program, agent: Any) -> Record | None:
    """None: another program's agent, or one that has ended."""
    from playbooks_providers.errors import ProviderError, Unreachable
    from playbooks_providers.model import FINAL

    try:
        view = await home.coordination.describe(agent)
        if view is None or view.start.program != program.name or view.status in FINAL:
            return None
        told: Record = {
            "agent_id": agent,
            "status": view.status.value,
            "checkpoint": str(view.last) if view.last else None,
            "verdict": RESUMES,
        }
        why, changes = await _against(home, program, view)
    except Unreachable:
        raise
    except ProviderError as error:  # one bad agent must not hide the others
        return {"agent_id": agent, "status": "unreadable", "checkpoint": None, "verdict": BLOCKS, "why": str(error)}
    if why:
        told.update(verdict=BLOCKS, why=why)
    if changes:
        told["changes"] = changes
    return told


async def _against(home: AnyHome, program: Program, view: AgentView) -> tuple[str, list[Record]]:
    """Why the agent would block, or nothing; and what has changed of the playbooks that it is in."""
    from playbooks_providers.envelope import open_start
    from playbooks_worker import engine
    from playbooks_worker.cli.connect import signing
    from playbooks_worker.host.changed import sources
    from playbooks_worker.host.opening import open_checkpoint
    from playbooks_worker.host.programs import ProgramError
    from playbooks_worker.host.signatures import ArgumentsError

    start = view.start
    try:
        if view.last is None:  # it begins with its start record
            said = open_start(home.sealer, start)
            program.bind(start.entry, said.args, said.kwargs)
            return "", []
        program.playbook(start.entry)
        opened = await open_checkpoint(home.checkpoints, signing(home), view.agent, view.last)
        if opened.header.kind != "step":  # its end is written, and only has to be said
            return "", []
        changes = engine.changes_of(opened.payload)
    except (ProgramError, ArgumentsError, engine.EngineError) as error:
        return str(error), []
    kept = await sources(home.checkpoints, changes)
    told: list[Record] = []
    for change in changes:
        text = kept[change.frame.fingerprint]
        refused = engine.refusal(change, text)
        told.append(
            {
                "playbook": change.frame.playbook,
                "site": change.frame.site,
                "what": str(change),
                "place": engine.place(change, text),
                "accept_changed": refused is None,
                "refused": refused,
                "diff": engine.diff(change, text),
            }
        )
    return (str(changes[0]) if changes else ""), told


def _print(out: Output, program: str, told: list[Record], blocks: int) -> None:
    from rich.text import Text

    if not told:
        out.say(f"no unfinished agents of {program} here")
        return
    table = table_of(("AGENT", "STATUS", "VERDICT"))
    for each in told:
        verdict = Text(each["verdict"], style="red" if each["verdict"] == BLOCKS else "green")
        if "why" in each:
            verdict.append(f": {each['why']}", style="default")
        table.add_row(Text(each["agent_id"]), styled_status(each["status"]), verdict)
    out.show(table)
    for agents, change in _distinct(told):
        accepted = "its sites line up: --accept-changed would go on"
        if not change["accept_changed"]:
            accepted = f"--accept-changed would be refused: {change['refused']}"
        more = f" and {len(agents) - _NAMED} more" if len(agents) > _NAMED else ""
        out.say("", f"{change['what']}: {', '.join(agents[:_NAMED])}{more}", f"  {change['place']}", f"  {accepted}")
        if change["diff"]:
            out.show(styled_diff(change["diff"]))
    out.say("", f"agents of {program}: {len(told) - blocks} would resume, {blocks} would block")


def _distinct(told: list[Record]) -> list[tuple[list[str], Record]]:
    """Each change once, with the agents that it is true of."""
    found: dict[str, tuple[list[str], Record]] = {}
    for each in told:
        for change in each.get("changes", []):
            found.setdefault(repr(change), ([], change))[0].append(each["agent_id"])
    return list(found.values())
