"""The Redis home keeps both contracts, on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from playbooks_providers.redis import connect
from playbooks_providers.testing import (
    CheckpointsKit,
    CoordinatedHome,
    CoordinationKit,
    OutageKit,
    RedisServer,
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
