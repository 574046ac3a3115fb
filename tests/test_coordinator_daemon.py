"""`playbooks-coordinator` as a process, on a real Redis: killed, stopped, cut off, misconfigured."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from playbooks_providers.errors import Unreachable
from playbooks_providers.ids import AgentId, Nonce, SessionId
from playbooks_providers.model import Created, SessionInfo, Status, Taken
from playbooks_providers.redis import RedisHome, connect
from playbooks_providers.testing import eventually, eventually_blocking, redis_server, start_record

pytestmark = pytest.mark.redis

SOON_S = 30.0  # generous: these tests prove order, not speed
KEY = "a signing key for tests, of good length"


class Process:
    """One coordinator and what it has logged."""

    def __init__(self, folder: Path, name: str, url: str, *options: str, **environment: str) -> None:
        self.log = folder / f"{name}.log"
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("PLAYBOOKS_")}
        with self.log.open("wb") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "playbooks_coordinator.daemon", "--log-format", "json", "--redis-url", url]
                + list(options),
                cwd=folder,
                env=inherited
                | {"PLAYBOOKS_DURABILITY__SIGNING_KEY": KEY, "PLAYBOOKS_COORDINATOR__HTTP": "off"}
                | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def events(self, name: str) -> list[Any]:
        lines = self.log.read_text().splitlines(keepends=True)
        found = [json.loads(line) for line in lines if line.endswith("\n") and line.startswith("{")]
        return [event for event in found if event["event"] == name]

    def wait_for(self, event: str, count: int = 1) -> Any:
        def logged() -> Any:
            assert self.popen.poll() is None or len(self.events(event)) >= count, self.log.read_text()
            return self.events(event)[count - 1 : count]

        return eventually_blocking(logged, SOON_S, f"{self.log.stem} logs {event!r}")[0]

    def send(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def exit_code(self) -> int:
        return self.popen.wait(SOON_S)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def starter(name: str, url: str, *options: str, **environment: str) -> Process:
        started.append(Process(tmp_path, name, url, *options, **environment))
        return started[-1]

    yield starter
    for process in started:
        with suppress(ProcessLookupError):
            process.popen.kill()
        process.popen.wait()


def on(url: str, story: Callable[[RedisHome], Awaitable[None]]) -> None:
    """Tell *story* with a connection of its own."""

    async def main() -> None:
        home = connect(url)
        try:
            await story(home)
        finally:
            await home.close()

    asyncio.run(main())


async def give(home: RedisHome, session: str, agent: str) -> None:
    """A session appears, takes a new agent, and is never heard of again."""
    chosen = SessionId(session)
    await home.coordination.register(SessionInfo(chosen, "worker", "host", 1, "build", 0))
    await home.coordination.beat([chosen])
    created = await home.coordination.create(start_record(agent))
    assert isinstance(created, Created) and created.ticket is not None
    queue = created.ticket.queue
    await home.coordination.enqueue(created.ticket)
    (ticket,) = await home.coordination.read(chosen, [queue], limit=1, wait_s=5.0)
    assert isinstance(await home.coordination.take(ticket, chosen, Nonce("n")), Taken)


async def is_ready(home: RedisHome, agent: str) -> bool:
    try:
        view = await home.coordination.describe(AgentId(agent))
    except Unreachable:  # the first call after a restart of the server finds its connection closed
        return False
    return view is not None and view.status is Status.READY


def test_an_orphan_is_recovered_for_whoever_comes(redis_url: str, start: Callable[..., Process]) -> None:
    one = start("one", redis_url, "--session-timeout", "1")
    one.wait_for("leader won")

    async def story(home: RedisHome) -> None:
        await give(home, "s1", "a1")
        await eventually(lambda: is_ready(home, "a1"), SOON_S, "a1 is ready again")
        assert await home.coordination.sessions() == {}
        heir = SessionId("s2")
        await home.coordination.register(SessionInfo(heir, "worker", "host", 2, "build", 0))
        queue = start_record("a1").queue
        (ticket,) = await home.coordination.read(heir, [queue], limit=2, wait_s=5.0)
        taken = await home.coordination.take(ticket, heir, Nonce("n2"))
        assert isinstance(taken, Taken)
        assert taken.lock.attempts == 2

    on(redis_url, story)
    buried = one.wait_for("session buried")
    assert buried["session"] == "s1"
    assert buried["silent_s"] >= 1.0
    assert one.wait_for("agents recovered")["agents"] == ["a1"]


def test_a_session_that_beats_is_left_alone_and_reads_the_timeout_back(
    redis_url: str, start: Callable[..., Process]
) -> None:
    one = start("one", redis_url, PLAYBOOKS_COORDINATOR__SESSION_TIMEOUT_S="1")
    one.wait_for("leader won")

    async def story(home: RedisHome) -> None:
        await give(home, "silent", "a1")
        await give(home, "beating", "a2")

        async def beats() -> float | None:
            refused, timeout_s = await home.coordination.beat([SessionId("beating")])
            assert not refused
            return timeout_s

        async def the_timeout_is_published() -> bool:
            return await beats() == 1.0

        async def the_other_is_buried() -> bool:
            assert await beats() == 1.0
            return await is_ready(home, "a1")

        await eventually(the_timeout_is_published, SOON_S, "the leader has published the timeout")
        await eventually(the_other_is_buried, SOON_S, "the silent session is buried")
        assert not await is_ready(home, "a2")

    on(redis_url, story)


def test_the_leader_is_killed_and_the_standby_goes_on(redis_url: str, start: Callable[..., Process]) -> None:
    one = start("one", redis_url, "--session-timeout", "1")
    one.wait_for("leader won")
    two = start("two", redis_url, "--session-timeout", "1")
    two.wait_for("coordinator started")
    assert two.events("leader won") == []

    async def story(home: RedisHome) -> None:
        await give(home, "s1", "a1")
        one.send(signal.SIGKILL)  # together with the worker that held a1
        await eventually(lambda: is_ready(home, "a1"), SOON_S, "a1 is ready again")

    on(redis_url, story)
    two.wait_for("leader won")
    assert two.wait_for("agents recovered")["agents"] == ["a1"]


def test_a_leader_that_was_stopped_finds_that_another_leads_and_kills_nobody(
    redis_url: str, start: Callable[..., Process]
) -> None:
    one = start("one", redis_url, "--session-timeout", "1")
    one.wait_for("leader won")
    two = start("two", redis_url, "--session-timeout", "1")
    one.send(signal.SIGSTOP)
    two.wait_for("leader won")
    one.send(signal.SIGCONT)
    assert one.wait_for("leader lost")["reason"] == "another coordinator leads"
    assert one.events("session buried") == []


def test_sigterm_resigns_and_exits_0_and_the_standby_leads(redis_url: str, start: Callable[..., Process]) -> None:
    one = start("one", redis_url, "--session-timeout", "3")
    won = one.wait_for("leader won")
    one.send(signal.SIGTERM)
    assert one.exit_code() == 0
    assert one.wait_for("leader lost")["nonce"] == won["nonce"]

    async def story(home: RedisHome) -> None:
        assert await home.coordination.leader() is None

    on(redis_url, story)
    start("two", redis_url).wait_for("leader won")


def test_a_second_signal_ends_it_at_once(start: Callable[..., Process]) -> None:
    with redis_server() as server:
        one = start("one", server.url)
        one.wait_for("leader won")
        server.pause()  # so that it cannot resign
        one.send(signal.SIGTERM)
        one.wait_for("stopping")
        one.send(signal.SIGTERM)
        assert one.exit_code() == 128 + signal.SIGTERM


def test_it_waits_for_a_redis_that_is_not_there_yet_and_says_so_in_one_line(start: Callable[..., Process]) -> None:
    with redis_server() as server:
        server.stop()
        one = start("one", server.url)
        one.wait_for("store lost")
        server.start()
        one.wait_for("leader won")
        assert len(one.events("store lost")) == 1
        assert "Traceback" not in one.log.read_text()


def test_a_restart_of_redis_kills_no_session(start: Callable[..., Process]) -> None:
    with redis_server("--appendonly", "yes", "--appendfsync", "always") as server:
        one = start("one", server.url, "--session-timeout", "2")
        one.wait_for("leader won")

        async def story(home: RedisHome) -> None:
            await give(home, "s1", "a1")
            server.kill()
            one.wait_for("store lost")
            server.start()
            one.wait_for("store is back")
            assert one.events("session buried") == []
            await eventually(lambda: is_ready(home, "a1"), SOON_S, "a timeout later a1 is ready again")

        on(server.url, story)
        assert one.wait_for("session buried")["silent_s"] >= 2.0


@pytest.mark.parametrize(
    ("options", "environment", "words"),
    [
        ([], {"PLAYBOOKS_DURABILITY__SIGNING_KEY": ""}, "no signing key"),
        (["--session-timeout", "0"], {}, "session_timeout_s"),
        (["--redis-url", "nonsense"], {}, "redis.url"),
    ],
)
def test_what_cannot_work_is_one_line_and_exit_2(
    start: Callable[..., Process], options: list[str], environment: dict[str, str], words: str
) -> None:
    one = start("one", "redis://127.0.0.1:1/0", *options, **environment)
    assert one.exit_code() == 2
    (line,) = one.log.read_text().splitlines()
    assert line.startswith("error: ")
    assert words in line


def test_print_config_shows_settings_and_hides_secrets(start: Callable[..., Process]) -> None:
    one = start("one", "redis://:hidden@127.0.0.1:1/0", "--print-config")
    assert one.exit_code() == 0
    shown = one.log.read_text()
    assert "coordinator.session_timeout_s" in shown
    assert "hidden" not in shown
    assert KEY not in shown


def test_check_config_starts_nothing(start: Callable[..., Process]) -> None:
    one = start("one", "redis://127.0.0.1:1/0", "--check-config")
    assert one.exit_code() == 0
    assert one.log.read_text() == ""
