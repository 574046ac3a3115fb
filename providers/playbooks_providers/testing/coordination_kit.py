"""The conformance kit of `contracts.Coordination`: who may run which agent, one behaviour a test.

    class TestMyCoordination(CoordinationKit):
        @asynccontextmanager
        async def home(self):
            yield CoordinatedHome(checkpoints, coordination)

The parts are `agents_kit` (transitions), `fork_kit`, `retry_kit`, `letters_kit`, `inbox_kit` (what follows a letter),
`parking_kit`, `orders_kit`, `ending_kit`, `people_kit`, `events_kit`, `queue_kit`, `recovery_kit` (death), `caps_kit`,
`loads_kit` and `sessions_kit` (with leader and programs).
"""

from __future__ import annotations

from playbooks_providers.testing.agents_kit import AgentsKit
from playbooks_providers.testing.caps_kit import CapsKit
from playbooks_providers.testing.crossing_kit import CrossingKit
from playbooks_providers.testing.ending_kit import EndingKit
from playbooks_providers.testing.events_kit import EventLivesKit, EventsKit
from playbooks_providers.testing.fork_kit import ForkKit
from playbooks_providers.testing.inbox_kit import InboxKit
from playbooks_providers.testing.letters_kit import LettersKit
from playbooks_providers.testing.loads_kit import LoadsKit
from playbooks_providers.testing.orders_kit import OrdersKit
from playbooks_providers.testing.parking_kit import ParkingKit
from playbooks_providers.testing.people_kit import PeopleKit
from playbooks_providers.testing.queue_kit import QueueKit
from playbooks_providers.testing.recovery_kit import RecoveryKit
from playbooks_providers.testing.removal_kit import RemovalKit
from playbooks_providers.testing.retry_kit import RetryKit
from playbooks_providers.testing.sessions_kit import SessionsKit


class CoordinationKit(
    AgentsKit,
    ForkKit,
    RetryKit,
    LettersKit,
    InboxKit,
    ParkingKit,
    OrdersKit,
    CrossingKit,
    EndingKit,
    RemovalKit,
    PeopleKit,
    EventsKit,
    EventLivesKit,
    QueueKit,
    RecoveryKit,
    CapsKit,
    LoadsKit,
    SessionsKit,
):
    """All of the contract."""
