"""Every metric, declared once. What each means to an operator is in docs/metrics.md; a test compares the two.

Whoever knows a number says so where it arises (`metrics.FENCED_WRITES.add()`), in any process, whether or not somebody
looks. No library is needed for that: an executor has no HTTP server, and a base install no prometheus-client
(docs/decisions/0033). `playbooks_providers.service` shows them.

The words are the glossary's; units are seconds and bytes, as is Prometheus' custom. No label holds an id.
"""

from __future__ import annotations

from playbooks_providers.metrics.instruments import Counter, Gauge, Histogram, Registry

_QUEUE = ("queue",)
_GROUP = ("group",)
_LAGS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
_CALLS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_OUTAGES = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_SIZES = (256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0, 16777216.0, 67108864.0)

# --- any process -----------------------------------------------------------------------------------------------------

BUILD_INFO = Gauge("playbooks_build_info", "Which build this is; always 1.", ("version", "python", "daemon"))
EVENT_LOOP_LAG = Histogram(
    "playbooks_event_loop_lag_seconds",
    "How much later than asked for an event loop came back to a timer, by kind of process.",
    ("process",),
    bounds=_LAGS,
)
REDIS_COMMAND_SECONDS = Histogram(
    "playbooks_redis_command_seconds",
    "Time from a command or script to its answer; checkpoints, and reads that wait, are not among them.",
    ("command",),
    bounds=_CALLS,
)
REDIS_ERRORS = Counter(
    "playbooks_redis_errors_total",
    "Calls that Redis did not answer or refused, or did and did not make durable in time, by kind.",
    ("kind",),
    known=(("unreachable",), ("full",), ("unconfirmed",), ("error",)),
)
TAKEOVERS = Counter(
    "playbooks_takeovers_total",
    "Agents that were given to others because their owner was gone, by reason.",
    ("reason",),
    known=(("executor_ended",), ("session_refused",), ("session_silent",), ("session_ownerless",), ("never_enqueued",)),
)
TAKEOVER_SECONDS = Histogram(
    "playbooks_takeover_seconds",
    "From the end of a session, as noticed (a silent one: its last heartbeat), until its agents are in their queues.",
    ("reason",),
    bounds=_OUTAGES,
)
AGENTS_WOKEN = Counter(
    "playbooks_agents_woken_total",
    "Parked and delayed agents made ready again: by a letter, as their takers tell; by a timer, as the leader does.",
    ("by",),
    known=(("letter",), ("timer",)),
)

# --- a worker: its executors' numbers, and its supervisor's ----------------------------------------------------------

AGENTS_HELD = Gauge("playbooks_agents_held", "Agents that this worker's executors hold.", _QUEUE, on=("worker",))
WORKER_SLOTS = Gauge("playbooks_worker_slots", "How many agents its registered executors can hold.", on=("worker",))
AGENTS_TAKEN = Counter("playbooks_agents_taken_total", "Agents that were taken.", _QUEUE, on=("worker",))
AGENTS_ENDED = Counter(
    "playbooks_agents_ended_total",
    "Agents that ended: completed, failed, cancelled.",
    (*_QUEUE, "status"),
    on=("worker",),
)
AGENTS_SET_ASIDE = Counter(
    "playbooks_agents_set_aside_total",
    "Agents that were set aside: paused, blocked, quarantined.",
    (*_QUEUE, "status"),
    on=("worker",),
)
AGENTS_PARKED = Counter("playbooks_agents_parked_total", "Agents that were parked.", _QUEUE, on=("worker",))
AGENTS_HANDED_OVER = Counter(
    "playbooks_agents_handed_over_total",
    "Agents that their owner gave up for others to go on with.",
    _QUEUE,
    on=("worker",),
)
LOCKS_LOST = Counter(
    "playbooks_locks_lost_total", "Agents that were dropped here: a newer owner.", _QUEUE, on=("worker",)
)
FENCED_WRITES = Counter(
    "playbooks_fenced_writes_total", "Checkpoints that the store refused: a newer owner.", on=("worker",)
)
CHECKPOINT_SECONDS = Histogram(
    "playbooks_checkpoint_seconds", "From a finished await to its durable checkpoint.", on=("worker",), bounds=_CALLS
)
CHECKPOINT_BYTES = Histogram(
    "playbooks_checkpoint_bytes",
    "Size of a checkpoint as it is stored, without its header.",
    on=("worker",),
    bounds=_SIZES,
)
EXECUTOR_FREEZES = Counter(
    "playbooks_executor_freezes_total", "Times an executor froze: its session was not renewed in time.", on=("worker",)
)
EXECUTOR_ENDS = Counter("playbooks_executor_ends_total", "Executors that ended without being told to.", on=("worker",))
SESSIONS = Gauge("playbooks_sessions", "Sessions that this worker has registered.", on=("worker",))
SESSION_RENEWALS = Counter("playbooks_session_renewals_total", "Heartbeats that were accepted.", on=("worker",))
SESSION_LOSSES = Counter(
    "playbooks_session_losses_total", "Sessions that were refused: buried by others.", on=("worker",)
)
HEARTBEAT_FAILURES = Counter(
    "playbooks_heartbeat_failures_total", "Rounds of heartbeats without an answer.", on=("worker",)
)

# --- a coordinator; what it says of the whole system it says while it leads ------------------------------------------

LEADER = Gauge("playbooks_leader", "1 while this coordinator leads, else 0.", on=("coordinator",))
LEADER_CHANGES = Counter("playbooks_leader_changes_total", "Times this coordinator began to lead.", on=("coordinator",))
TICK_SECONDS = Histogram(
    "playbooks_tick_seconds",
    "One reading of all counters (watch), and what a leader did after it (act).",
    ("part",),
    on=("coordinator",),
    bounds=_CALLS,
)
LIVE_SESSIONS = Gauge("playbooks_live_sessions", "Sessions of all workers, by the leader.", on=("coordinator",))
AGENTS = Gauge(
    "playbooks_agents",
    "Agents by status and queue, by the leader: ready and running as of now, the others as of the census.",
    ("status", *_QUEUE),
    on=("coordinator",),
)
CENSUS_TIMESTAMP = Gauge(
    "playbooks_census_timestamp_seconds",
    "When the leader last ended a round over all agents (Unix time).",
    on=("coordinator",),
)
RUNNABLE_AGENTS = Gauge(
    "playbooks_runnable_agents",
    "Ready and running agents, but for those that wait for max_agents, by the leader.",
    _QUEUE,
    on=("coordinator",),
)
CAPACITY = Gauge(
    "playbooks_capacity",
    "How many agents of the queue live workers take at once, by the leader; not to be added up.",
    _QUEUE,
    on=("coordinator",),
)
SLOTS = Gauge(
    "playbooks_slots",
    "How many agents a group's live workers take at once, of all their queues together, by the leader.",
    _GROUP,
    on=("coordinator",),
)
GROUP_RUNNABLE = Gauge(
    "playbooks_group_runnable_agents",
    "Runnable agents of the queues that the group takes from (its part of those it shares), by the leader.",
    _GROUP,
    on=("coordinator",),
)
MAX_AGENTS = Gauge(
    "playbooks_max_agents",
    "How many agents may run at once, of queues for which somebody has said it, by the leader.",
    _QUEUE,
    on=("coordinator",),
)
ORPHANS = Gauge(
    "playbooks_orphans", "Agents held by sessions that are over, by the leader.", _QUEUE, on=("coordinator",)
)

REGISTRY = Registry()
REGISTRY.add(*[one for one in list(globals().values()) if isinstance(one, (Counter, Gauge, Histogram))])
