"""The Redis home keeps both contracts, on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from playbooks_providers.redis import connect, wait_for
from playbooks_providers.testing import (
    CheckpointsKit,
    CoordinatedHome,
    CoordinationKit,
    OutageKit,
    RedisServer,
    eventually_blocking,
    redis_server,
)

pytestmark = pytest.mark.redis


class OnSharedServer:
    @pytest.fixture(autouse=True)
    def _url(self, redis_url: str) -> None:
        self.url = redis_url

    @asynccontextmanager
    async def home(self) -> AsyncIterator[CoordinatedHome]:
        home = connect(self.url)
        try:
            yield CoordinatedHome(home.checkpoints, home.coordination)
        finally:
            await home.close()


class TestRedisCheckpoints(OnSharedServer, CheckpointsKit):
    pass


class TestRedisCoordination(OnSharedServer, CoordinationKit):
    pass


@pytest.fixture(scope="module")
def primary_with_replica() -> Iterator[RedisServer]:
    fast = ("--repl-diskless-sync-delay", "0")
    with redis_server(*fast) as primary, redis_server(*fast) as replica:
        replica.command("REPLICAOF", "127.0.0.1", str(primary.port))
        eventually_blocking(
            lambda: b"state=online" in primary.command("INFO", "replication"), 30.0, "the replica to follow"
        )
        yield primary


class OnAPair:
    """With a replica that is waited for: everything means the same."""

    @pytest.fixture(autouse=True)
    def _url(self, primary_with_replica: RedisServer) -> None:
        assert primary_with_replica.command("FLUSHALL").startswith(b"+OK")
        self.url = primary_with_replica.url

    @asynccontextmanager
    async def home(self) -> AsyncIterator[CoordinatedHome]:
        home = connect(self.url, wait=wait_for("replica"))
        try:
            yield CoordinatedHome(home.checkpoints, home.coordination)
        finally:
            await home.close()


class TestRedisCheckpointsWithAReplica(OnAPair, CheckpointsKit):
    pass


class TestRedisCoordinationWithAReplica(OnAPair, CoordinationKit):
    pass


@dataclass(frozen=True, slots=True)
class BreakableHome(CoordinatedHome):
    server: RedisServer | None = None

    @asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        assert self.server is not None
        self.server.kill()
        yield
        self.server.start()


class TestRedisOutage(OutageKit):
    @pytest.fixture(autouse=True)
    def _server(self) -> Iterator[None]:
        with redis_server("--appendonly", "yes", "--appendfsync", "always") as server:
            self.server = server
            yield

    @asynccontextmanager
    async def home(self) -> AsyncIterator[BreakableHome]:
        home = connect(self.server.url)
        try:
            yield BreakableHome(home.checkpoints, home.coordination, server=self.server)
        finally:
            await home.close()
