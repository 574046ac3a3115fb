"""The contracts that homes of state keep: *checkpoints*, *inboxes* and *coordination*. Law, before any implementation.

What every implementation promises, and `playbooks_providers.testing` checks:

* **Fenced.** An agent has one fence, a number that only grows. `Checkpoints.save` under a fence that is not the agent's
  newest answers `Lost` and changes nothing. The instant a transition mints the next fence, every earlier owner is out.
* **Atomic.** One `save` is one commit: wholly there or not at all, whatever is killed when. A torn or half-written
  checkpoint never hides the one before it. Each transition of `Coordination` is atomic on its agent.
* **Idempotent.** Every call may be repeated after an unknown outcome, with the same arguments, and gives the answer that
  it would have given the first time. `save` recognises its own earlier write by the lock's nonce.
* **Patient.** `save` returns only when the outcome is known. While the store is unreachable or full it waits and tries
  again (and says so in the log); it is cancelled by cancelling the task.
* **Blind.** Payloads are bytes. Nothing here unpickles, ever.

Reads raise `Unreachable` at once; callers decide how often to try again.
"""

from __future__ import annotations

from playbooks_providers.contracts.agents import Agents, Home
from playbooks_providers.contracts.checkpoints import Checkpoints
from playbooks_providers.contracts.coordination import Coordination
from playbooks_providers.contracts.talking import Events, Inboxes, Orders, Parking, People

__all__ = ["Agents", "Checkpoints", "Coordination", "Events", "Home", "Inboxes", "Orders", "Parking", "People"]
