"""What has to hold between settings: each alone may be fine, and together they cannot work.

Called by the daemons at their start and by `--check-config`. A problem is a `ConfigError` of one line that names both
settings, where each was said, and why. (That a blocking read ends before its socket's timeout is no setting: it holds by
construction, in `redis/client.py`.)
"""

from __future__ import annotations

from collections.abc import Iterator

from playbooks_providers.errors import ConfigError
from playbooks_providers.settings.sections import Settings

LARGEST_CHECKPOINT_MB = 500
"""What is left of Redis's 512 MB for one value (`proto-max-bulk-len`), header and all."""

BLOCKED_AFTER_S = 5.0
"""An executor whose loop has said nothing for so long is called blocked; before that nobody is ended for it."""

AFTER_DRAIN_S = 10.0
"""What a worker needs behind its drain: for executors that do not end, and to tell the store, each within 3 s; and some more
to do it in (8.4 s were seen for a drain of 2 s beside a Redis that was stopped)."""


def check(settings: Settings) -> None:
    """Raises `ConfigError` for the first thing that does not hold."""
    for problem in problems(settings):
        raise ConfigError(problem)


def problems(settings: Settings) -> Iterator[str]:
    worker, coordinator = settings.worker, settings.coordinator
    said = settings.sources

    def named(name: str) -> str:
        section, _, key = name.partition(".")
        return f"{name} = {getattr(getattr(settings, section), key):g} ({said.get(name, 'default')})"

    # One that nobody has set follows the timeout: see heart.py
    if "worker.heartbeat_s" in said and coordinator.session_timeout_s <= 2 * worker.heartbeat_s:
        yield (
            f"{named('coordinator.session_timeout_s')} must be more than twice {named('worker.heartbeat_s')}: one late "
            "heartbeat would end a session"
        )
    if worker.grace_s is not None and worker.drain_timeout_s + AFTER_DRAIN_S > worker.grace_s:
        yield (
            f"{named('worker.drain_timeout_s')} must be at least {AFTER_DRAIN_S:g} less than {named('worker.grace_s')}: "
            "the worker would be killed while its agents are handed over"
        )
    if worker.stall_timeout_s is not None and worker.stall_timeout_s < BLOCKED_AFTER_S:
        yield (
            f"{named('worker.stall_timeout_s')} must be at least {BLOCKED_AFTER_S:g}: a loop is called blocked after that"
        )
    if "durability.wait_replicas" in said and settings.durability.wait != "replica":
        yield (
            f"{named('durability.wait_replicas')} counts only with durability.wait = replica, and that is "
            f"{settings.durability.wait} ({said.get('durability.wait', 'default')})"
        )
    if settings.durability.max_checkpoint_size_mb > LARGEST_CHECKPOINT_MB:
        yield (
            f"{named('durability.max_checkpoint_size_mb')} is more than an entry of a Redis stream can hold (512 MB): "
            f"at most {LARGEST_CHECKPOINT_MB}"
        )
