"""`playbooksctl run`: an agent in this process, kept in a folder; and `--resume`, which goes on where one stopped.

The command and its checks; what happens then is in `run_here`.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from playbooks_worker.cli import options
from playbooks_worker.cli.output import CommandError, Output
from playbooks_worker.cli.target import arguments, choice, target


def run(  # noqa: PLR0913  (typer: one parameter per option)
    program: Annotated[
        str,
        typer.Argument(metavar="PROGRAM[:PLAYBOOK]", help="A `.py` file or an importable module; `main` is called."),
    ],
    resume_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="With --resume: the agent, or run, to continue.")
    ] = None,
    entry: options.Entry = None,
    args: options.Arguments = None,
    agent_id: options.NewAgentId = None,
    storage_path: options.Folder = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue ID, or the program's newest unfinished run, or its newest.")
    ] = False,
    at: Annotated[
        int | None, typer.Option("--at", metavar="N", min=1, help="With --resume: go on from checkpoint number N.")
    ] = None,
    accept_changed: options.AcceptChanged = False,
    restart: options.Restart = False,
    snoop: Annotated[bool, typer.Option("--snoop", help="Show what the agents say to each other.")] = False,
    json: options.Json = False,
) -> None:
    """Run an agent here, and those it starts, keeping their checkpoints in a folder.

    Whatever stops it, `run PROGRAM --resume` continues all of them from the last awaits that completed.
    """
    with Output(json) as out:
        asked = target(program, entry)
        if resume:
            if args is not None or agent_id is not None:
                raise CommandError("--resume needs neither --args nor --agent-id: both are kept with the agent")
        elif resume_id is not None:
            raise CommandError(f"unexpected {resume_id!r}: --resume continues an agent, --agent-id names a new one")
        elif at is not None:
            raise CommandError("--at goes with --resume")
        elif accept_changed or restart:
            raise CommandError("--accept-changed and --restart go with --resume, which names the agent")
        if restart and at is not None:
            raise CommandError("--restart begins at the start, --at N at a checkpoint; give one of them")
        chosen = choice(accept_changed, restart)
        positional, keywords = arguments(args)
        from playbooks_worker.cli.run_here import Here

        here = Here(out, asked, storage_path, snoop=snoop)
        if resume:
            asyncio.run(here.resume(resume_id, at, chosen))
        else:
            asyncio.run(here.start(agent_id, positional, keywords))
