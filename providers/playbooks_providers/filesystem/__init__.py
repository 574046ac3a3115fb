"""The home of state in a folder of this machine: what `playbooksctl run` uses when nothing else is asked for.

`<root>/<agent>/` holds the start record (`start.json`), the fence (`owner.json`), the OS lock (`lock`), how the agent was
left if it was (`left.json`), what is wanted of it (`order.json`), its inbox (`inbox.log`), what it tells people
(`events.log`), and one file for each kept checkpoint (`<agent>_ckpt_<number>.pkl`); `<root>/.pokes` tells processes to
look. Of coordination there is only the lock: one process runs an agent at a time, and a process that dies lets go of it
at once.
"""

from playbooks_providers.filesystem.agents import FilesystemAgents
from playbooks_providers.filesystem.checkpoints import FilesystemCheckpoints
from playbooks_providers.filesystem.coordination import FilesystemCoordination
from playbooks_providers.filesystem.store import FilesystemStore

__all__ = ["FilesystemAgents", "FilesystemCheckpoints", "FilesystemCoordination", "FilesystemStore"]
