"""What every test module may ask for. Helpers live in `playbooks_providers.testing` and in tests/programs; this only wires
them to pytest."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

pytest.register_assert_rewrite("playbooks_providers.testing")

from playbooks_providers.testing import RedisServer, redis_server  # noqa: E402 - after the rewrite is asked for

# Stores, daemons, commands and manifests: what they say does not hang on the Python that says it.
ONCE = (
    *("test_cli_", "test_conformance_", "test_coordinator_", "test_daemon_", "test_demo", "test_deploy_", "test_dev"),
    *(
        "test_filesystem_",
        "test_logs",
        "test_max_agents",
        "test_metrics",
        "test_priorities",
        "test_redis_",
        "test_systemd",
        "test_talk_files",
        "test_tracing",
    ),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.name.startswith(ONCE):
            item.add_marker(pytest.mark.once)


@pytest.fixture(autouse=True)
def fresh_logging() -> Iterator[None]:
    """Whatever a command under test has configured for its process ends with the test."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """One server for all tests that don't stop, fill or reconfigure it."""
    with redis_server() as server:
        yield server


@pytest.fixture
def redis_url(shared_redis: RedisServer) -> str:
    """The URL of an empty Redis. A test that does harm to its server starts its own: `with redis_server() as server`."""
    assert shared_redis.command("FLUSHALL").startswith(b"+OK")
    return shared_redis.url


@pytest.fixture(scope="module", autouse=True)
def what_is_loaded_is_not_collected():
    """Tests of kills collect garbage after each; what was there before them need not be looked through every time."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Checks a playbook body (or a whole program) against plain Python; answers how many checkpoints it had."""
    monkeypatch.syspath_prepend(Path(__file__).parent / "programs")
    import snippets

    return lambda text, **options: snippets.same(text, tmp_path, **options)
