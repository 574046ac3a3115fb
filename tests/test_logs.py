"""What the daemons log: an event per transition with what scripts look for, and never a payload nor a secret."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import structlog

from playbooks_providers import logs
from playbooks_providers.ids import AgentId
from playbooks_providers.model import Created, OrderKind, StartRecord, Status
from playbooks_providers.testing import eventually, redis_server
from playbooks_worker.host.giving import give

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from daemons import SOON_S, TIMINGS, Cluster, on_redis  # noqa: E402

PASSWORD = "hunter2-of-redis"
KEY = "a-signing-key-that-nobody-may-read"
SECRETS = (PASSWORD, KEY)
TALKATIVE = """
import asyncio, os
from playbooks_worker import ask, emit, playbook, receive, send, spawn

@playbook
async def child(told):
    message = await receive()
    await asyncio.sleep(0.01)
    return message.value + told

@playbook
async def main(told):
    held = told + "PAYLOAD-local"
    emit("PAYLOAD-event")
    other = await spawn(child, "PAYLOAD-argument")
    await send(other.agent_id, "PAYLOAD-letter")
    got = await other
    await asyncio.sleep(0.01)
    return got + held

@playbook
async def fails(told):
    await asyncio.sleep(0.01)
    raise ValueError("PAYLOAD-error " + told)

@playbook
async def waits(told):
    return await ask("person:ann", "PAYLOAD-question")

@playbook
async def loops(told):
    while True:
        await asyncio.sleep(0.01)

@playbook
async def narrow():
    await asyncio.sleep(0.01)
"""


async def start(cluster: Cluster, name: str, entry: str, *, clothed: bool = True) -> AgentId:
    agent = AgentId(name)
    made = await cluster.home.coordination.create(
        StartRecord(agent, "talkative", entry, ["PAYLOAD-start"] if clothed else [1, 2], {}, "talkative", 0)
    )
    assert isinstance(made, Created) and made.ticket is not None
    await cluster.home.coordination.enqueue(made.ticket)
    return agent


async def whole_run(cluster: Cluster, log_format: str) -> list[Path]:
    """Completed, failed, parked and answered, blocked, paused, cancelled, taken over, drained. The logs of all daemons."""
    env = {
        "PLAYBOOKS_DURABILITY__SIGNING_KEY": KEY,
        "PLAYBOOKS_WORKER__PARK_AFTER_S": "0.05",
        "PLAYBOOKS_REDIS__URL": cluster.url,
    }
    (cluster.folder / "talkative.py").write_text(TALKATIVE)
    flags = ("--log-format", log_format)
    coordinator = cluster._start("c", "playbooks_coordinator.daemon", flags, env)
    worker = cluster._start("w", "playbooks_worker.daemon", ("talkative.py", *flags, "--name", "w"), env)
    await start(cluster, "does", "main")
    await start(cluster, "fails", "fails")
    await start(cluster, "unfit", "narrow", clothed=False)
    await start(cluster, "waits", "waits")
    for name in ("rests", "stops", "goes-on"):
        await start(cluster, name, "loops")
    await cluster.ended("does")
    await cluster.ended("fails", Status.FAILED)
    await cluster.ended("unfit", Status.BLOCKED)
    await cluster.ended("waits", Status.WAITING)
    from playbooks_providers.ids import new_nonce
    from playbooks_providers.model import Order

    for name, kind, status in (
        ("rests", OrderKind.PAUSE, Status.PAUSED),
        ("stops", OrderKind.CANCEL, Status.CANCELLED),
    ):
        await give(cluster.home.coordination, AgentId(name), Order(new_nonce(), kind, "a person said so"))
        await cluster.ended(name, status)
    (session,) = await cluster.home.coordination.sessions()
    info = await cluster.home.coordination.session(session)
    assert info is not None
    os.kill(info.pid, signal.SIGKILL)

    async def is_with_another() -> bool:
        view = await cluster.view("goes-on")
        return view.status is Status.RUNNING and view.session != session and view.attempts == 1 and bool(view.last)

    await eventually(is_with_another, SOON_S, "the agent to go on in the next executor")
    for daemon in (worker, coordinator):
        daemon.kill(signal.SIGTERM)
        assert await asyncio.to_thread(daemon.process.wait) == 0
    return [worker.log, coordinator.log]


@pytest.mark.redis
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_whole_run_logs_no_payload_and_no_secret(tmp_path: Path, log_format: str) -> None:
    async def test(cluster: Cluster) -> None:
        for log in await whole_run(cluster, log_format):
            text = log.read_text()
            assert "PAYLOAD" not in text
            assert not any(secret in text for secret in SECRETS)
            if log_format == "console":
                assert "\x1b" not in text  # no colours where no terminal is
                continue
            for line in text.splitlines():
                assert {"event", "level", "timestamp", "pid"} <= json.loads(line).keys(), line
            check_transitions([json.loads(line) for line in text.splitlines()] if log.stem == "w" else [])

    with redis_server() as server:
        assert server.command("CONFIG", "SET", "requirepass", PASSWORD) == b"+OK\r\n"
        on_redis(test, tmp_path, f"redis://:{PASSWORD}@127.0.0.1:{server.port}/0")


EXPECTED = {
    "agent taken": {"does", "fails", "unfit", "waits", "rests", "stops", "goes-on"},
    "agent goes on": {"does", "fails", "waits", "rests", "stops", "goes-on"},
    "agent completed": {"does"},
    "agent failed": {"fails"},
    "agent blocked": {"unfit"},
    "agent parked": {"waits"},
    "agent paused": {"rests"},
    "agent cancelled": {"stops"},
    "agent handed over": {"goes-on"},
}


def check_transitions(events: list[dict[str, Any]]) -> None:
    """Each transition has been told, once for each owner, with agent, session, fence and, where there is one, its place."""
    for name, agents in [*EXPECTED.items()] if events else []:
        told = [event for event in events if event["event"] == name]
        assert agents <= {event["agent"] for event in told}, name
        owners = [(event["agent"], event["fence"]) for event in told]
        assert len(set(owners)) == len(owners), f"{name} was told twice"
        for event in told:
            assert {"agent", "session", "fence"} <= event.keys()
            if name not in ("agent taken", "agent blocked"):
                fence, _, number = event["checkpoint"].partition("-")
                assert int(fence) <= event["fence"] and int(number) >= 1
            if name in ("agent blocked", "agent paused", "agent handed over"):
                assert event["reason"]


def stderr_of(terminal: bool) -> str:
    """The first lines of a coordinator that finds no Redis, when stderr is a terminal or not."""
    ours, theirs = pty.openpty() if terminal else os.pipe()
    env = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | TIMINGS
    daemon = subprocess.Popen(
        [sys.executable, "-m", "playbooks_coordinator.daemon", "--redis-url", "redis://127.0.0.1:1/0"],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    said = b""
    while b"store lost" not in said:
        said += os.read(ours, 1000)
    daemon.kill()
    daemon.wait()
    os.close(ours)
    return said.decode()


def test_a_person_at_a_terminal_reads_lines_and_everybody_else_json() -> None:
    assert "coordinator started" in stderr_of(terminal=True).splitlines()[0].partition("{")[0]
    assert json.loads(stderr_of(terminal=False).splitlines()[0])["event"] == "coordinator started"


def test_what_the_engine_and_libraries_say_by_the_standard_way_is_an_event_too(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    logger = logging.getLogger("playbooks_worker")
    before = (list(logger.handlers), logger.propagate)
    try:
        logs.configure("json", stdlib=["playbooks_worker"], worker="w")
        logging.getLogger("playbooks_worker.engine").warning("agent %s: nothing goes on", "a1")
        logging.getLogger("of.a.program").info("is not ours")
    finally:
        logger.handlers, logger.propagate = before
    (line,) = stderr.getvalue().splitlines()
    told = json.loads(line)
    assert (told["event"], told["level"], told["worker"]) == ("agent a1: nothing goes on", "warning", "w")
    assert told["logger"] == "playbooks_worker.engine"


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_an_error_of_ours_is_told_with_its_lines_and_without_the_variables_there(
    log_format: logs.LogFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may be payloads, or keys."""
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    logs.configure(log_format)
    signing_key = KEY
    try:
        raise RuntimeError(f"a key of {len(signing_key)} letters")
    except RuntimeError:
        structlog.get_logger().exception("it failed")
    assert "a key of 34 letters" in stderr.getvalue()
    assert "test_logs.py" in stderr.getvalue()
    assert KEY not in stderr.getvalue()
