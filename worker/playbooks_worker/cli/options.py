"""The options that several commands share, named and explained once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

AgentId = Annotated[str, typer.Argument(metavar="ID", help="The agent's id, as `list` shows it.")]
RedisUrl = Annotated[
    str | None,
    typer.Option(
        "--redis-url", metavar="URL", help="The Redis server (else PLAYBOOKS_REDIS__URL, playbooks.toml, dev)."
    ),
]
StoragePath = Annotated[
    Path | None,
    typer.Option("--storage-path", metavar="DIR", help="Agents that `run` keeps in this folder, not those on Redis."),
]
Folder = Annotated[
    Path | None,
    typer.Option("--storage-path", metavar="DIR", help="Where agents are kept (else .checkpoints, or as configured)."),
]
AsValue = Annotated[bool, typer.Option("--value", help="TEXT is JSON: the agent gets the value, not the text.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON; the last line of stdout is the answer.")]
Entry = Annotated[str | None, typer.Option("--entry", metavar="NAME", help="The playbook to call (the same as :NAME).")]
Arguments = Annotated[
    str | None,
    typer.Option("--args", metavar="JSON", help="Arguments: a JSON object (keywords) or array (positions)."),
]
AcceptChanged = Annotated[
    bool,
    typer.Option("--accept-changed", help="Go on in playbooks that were edited, where their awaits still line up."),
]
Restart = Annotated[
    bool, typer.Option("--restart", help="Begin again with the arguments it was started with. Its effects repeat.")
]
NewAgentId = Annotated[
    str | None, typer.Option("--agent-id", metavar="ID", help="The new agent's id (made up when not given).")
]
