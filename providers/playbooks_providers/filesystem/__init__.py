"""The home of state in a folder of this machine: what `playbooksctl run` uses when nothing else is asked for.

`<root>/<agent>/` holds the start record (`start.json`), the fence (`owner.json`), the OS lock (`lock`), why the agent was
set aside if it was (`stopped.json`), its inbox (`inbox.log`), what it tells people (`events.log`), and one file for each
kept checkpoint (`<agent>_ckpt_<number>.pkl`). Of coordination there is only the lock: one process runs an agent at a time,
and a process that dies lets go of it at once.
"""

from playbooks_providers.filesystem.agents import FilesystemAgents
from playbooks_providers.filesystem.checkpoints import FilesystemCheckpoints
from playbooks_providers.filesystem.events import FilesystemEvents
from playbooks_providers.filesystem.inboxes import FilesystemInboxes
from playbooks_providers.filesystem.store import FilesystemStore

__all__ = ["FilesystemAgents", "FilesystemCheckpoints", "FilesystemEvents", "FilesystemInboxes", "FilesystemStore"]
