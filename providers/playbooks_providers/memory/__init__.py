"""The home of state in this process's memory: for tests, and for whoever needs no durability. A real implementation.

Both contracts are kept, and the conformance kit is passed. A `MemoryStore` outlives event loops and is shared by all who
play a part in one test; it must be used from one thread. It can be made unreachable (`MemoryStore.outage`).
"""

from playbooks_providers.memory.checkpoints import MemoryCheckpoints
from playbooks_providers.memory.coordination import MemoryCoordination
from playbooks_providers.memory.store import MemoryStore

__all__ = ["MemoryCheckpoints", "MemoryCoordination", "MemoryStore"]
