"""What a provider must pass, and what tests of this project share. Public: third-party providers use it too.

Called by tests only (it may import pytest, lazily); nothing in the product imports it.

* `CheckpointsKit`, `LettersKit`, `EventsKit`, `OrdersKit`, `CrossingKit`, `EndingKit`, `RetryKit`, `CoordinationKit` (all
  of these but the first, and more), `OutageKit`: subclass one in a test module and say how to open a home.
* `eventually`: wait for a named condition with a deadline, instead of sleeping.
* `redis_server`: a real server on a free port with its own folder.
"""

from playbooks_providers.testing.checkpoints_kit import CheckpointsKit
from playbooks_providers.testing.coordination_kit import CoordinationKit
from playbooks_providers.testing.crossing_kit import Act, Crossing, CrossingKit, crossed, crossings
from playbooks_providers.testing.ending_kit import EndingKit
from playbooks_providers.testing.events_kit import EventsKit
from playbooks_providers.testing.homes import CoordinatedHome, Home, entry, start_record, story
from playbooks_providers.testing.letters_kit import LettersKit
from playbooks_providers.testing.orders_kit import OrdersKit
from playbooks_providers.testing.outage_kit import Breakable, OutageKit
from playbooks_providers.testing.proxy import Proxy, proxy
from playbooks_providers.testing.redis_server import RedisServer, free_port, redis_server
from playbooks_providers.testing.retry_kit import RetryKit
from playbooks_providers.testing.waiting import eventually, eventually_blocking

__all__ = [
    "Act",
    "Breakable",
    "CheckpointsKit",
    "CoordinatedHome",
    "CoordinationKit",
    "Crossing",
    "CrossingKit",
    "EndingKit",
    "EventsKit",
    "Home",
    "LettersKit",
    "OrdersKit",
    "OutageKit",
    "Proxy",
    "RedisServer",
    "RetryKit",
    "crossed",
    "crossings",
    "entry",
    "eventually",
    "eventually_blocking",
    "free_port",
    "proxy",
    "redis_server",
    "start_record",
    "story",
]
