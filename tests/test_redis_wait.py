"""`durability.wait`: what a checkpoint has to reach before it counts, with real primaries and replicas that stand still, are
cut off and take over."""

from __future__ import annotations

import asyncio
import os
import random
import re
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
from typer.testing import CliRunner

from playbooks_providers import metrics
from playbooks_providers.envelope import Sealer
from playbooks_providers.errors import ConfigError, Unreachable
from playbooks_providers.ids import AgentId, CheckpointId, SessionId, new_nonce, new_session_id
from playbooks_providers.letters import Delivered, Letter, Parked
from playbooks_providers.model import Created, Done, Lock, Lost, Minted, Order, OrderKind, Saved, Status, Taken
from playbooks_providers.redis import RedisHome, connect, wait_for
from playbooks_providers.redis.wait import Wait
from playbooks_providers.settings import check, load_settings
from playbooks_providers.testing import Proxy, RedisServer, entry, eventually, proxy, redis_server, start_record
from playbooks_worker import daemon, playbook
from playbooks_worker.hold import Bench
from playbooks_worker.host.gate import Gate
from playbooks_worker.host.patience import patiently
from playbooks_worker.host.programs import Program
from playbooks_worker.host.surroundings import Surroundings
from playbooks_worker.shift import Shift

pytestmark = pytest.mark.redis

A = AgentId("a1")
S = SessionId("s1")
NOTHING = CheckpointId(0, 0)
STREAM = "playbooks:{a1}:checkpoints"
REPLICA = wait_for("replica")
LONG_S = 30.0
A_WHILE_S = 0.4
FOREVER_MS = 60_000


@dataclass
class Pair:
    """A primary behind one address, and a replica that follows it over a link that can be cut."""

    primary: RedisServer
    replica: RedisServer
    address: Proxy
    link: Proxy

    async def fails_over(self) -> None:
        """The primary dies, and the replica answers at its address, with what it has got."""
        self.primary.kill()
        self.replica.command("REPLICAOF", "NO", "ONE")
        self.address.lead_to(self.replica.port)


@asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    fast = ("--repl-diskless-sync-delay", "0")
    with redis_server(*fast) as primary, redis_server(*fast) as replica:
        async with proxy(primary.port) as address, proxy(primary.port) as link:
            await follows(replica, primary, over=link.port)
            yield Pair(primary, replica, address, link)


async def follows(replica: RedisServer, primary: RedisServer, *, over: int | None = None) -> None:
    """*over*: the port of a link. A replica counts when it has said how far it is: a second after it got everything."""
    await asked(replica, "REPLICAOF", "127.0.0.1", str(over or primary.port))
    await asked(primary, "SET", "something", "to follow")

    wanted = int((await told_of(primary, r"master_repl_offset:(\d+)"))[0])

    async def linked() -> bool:
        said = await told_of(primary, rf"slave\d+:ip=[^,]*,port={replica.port},state=online,offset=(\d+)")
        return bool(said) and int(said[0]) >= wanted

    await eventually(linked, LONG_S, "the replica to follow")


async def told_of(server: RedisServer, pattern: str) -> list[str]:
    return re.findall(pattern, (await asked(server, "INFO", "replication")).decode())


async def asked(server: RedisServer, *words: str) -> bytes:
    """In a thread: what answers may be behind a proxy of this loop."""
    return await asyncio.to_thread(server.command, *words)


def calls(server: RedisServer, command: str) -> int:
    found = re.search(rb"cmdstat_%s:calls=(\d+)" % command.encode(), server.command("INFO", "commandstats"))
    return int(found[1]) if found else 0


@asynccontextmanager
async def opened(url: str, wait: Wait | None = REPLICA, **options: Any) -> AsyncIterator[RedisHome]:
    home = connect(url, wait=wait, **options)
    try:
        yield home
    finally:
        await home.close()


async def own(home: RedisHome, agent: AgentId = A) -> Lock:
    """Patiently: on a busy machine a replica may need longer than a test gives it."""
    created = await patiently(lambda: home.coordination.create(start_record(agent)), "create an agent")
    assert isinstance(created, Created) and created.ticket is not None
    ticket, nonce = created.ticket, new_nonce()
    taken = await patiently(lambda: home.coordination.take(ticket, S, nonce), "take an agent")
    assert isinstance(taken, Taken)
    return taken.lock


async def save(home: RedisHome, lock: Lock, seq: int) -> Saved | Lost:
    return await home.checkpoints.save(lock, entry(lock, seq), oldest=NOTHING)


def saved(lock: Lock, seq: int) -> Saved:
    return Saved(CheckpointId(lock.fence, seq))


async def kept(home: RedisHome, agent: AgentId = A) -> list[int]:
    return [one.id.seq for one in await home.checkpoints.list(agent)]


async def waits(task: asyncio.Future[Any]) -> bool:
    """Whether *task* has no answer for a while, in which it would have had a hundred."""
    await asyncio.wait([task], timeout=A_WHILE_S)
    return not task.done()


# --- a replica -------------------------------------------------------------------------------------------------------


def test_no_checkpoint_counts_while_the_replica_stands_still_and_all_do_when_it_is_back() -> None:
    async def main() -> None:
        async with pair() as two, opened(two.address.url) as home:
            locks = [await own(home, AgentId(f"agent-{number}")) for number in range(5)]
            await asyncio.gather(*(save(home, lock, 1) for lock in locks))
            two.replica.pause()
            waiting = asyncio.gather(*(save(home, lock, 2) for lock in locks))
            assert await waits(waiting)
            assert await kept(home, locks[0].agent) == [1, 2]  # the primary has it
            two.replica.unpause()
            assert await waiting == [saved(lock, 2) for lock in locks]

    asyncio.run(main())


def test_what_is_not_confirmed_in_time_is_told_once_and_counted_and_never_sent_again() -> None:
    async def main() -> None:
        async with pair() as two, opened(two.address.url, timeout_s=1.0) as home:
            lock = await own(home)
            assert await save(home, lock, 1) == saved(lock, 1)
            before, sent = metrics.REDIS_ERRORS.values["unconfirmed",], calls(two.primary, "xadd")
            with structlog.testing.capture_logs() as logs:
                two.replica.pause()
                waiting = asyncio.ensure_future(save(home, lock, 2))
                await eventually(
                    lambda: metrics.REDIS_ERRORS.values["unconfirmed",] >= before + 2, LONG_S, "it to be asked again"
                )
                assert not waiting.done()
                two.replica.unpause()
                assert await waiting == saved(lock, 2)
            assert [(log["log_level"], log["trouble"]) for log in logs] == [
                ("warning", "unconfirmed"),
                ("info", "unconfirmed"),
            ]
            assert logs[0]["reason"] == "0 of 1 replicas have it"
            assert calls(two.primary, "xadd") == sent + 1

    asyncio.run(main())


def test_agents_that_write_in_one_turn_wait_with_one_wait() -> None:
    async def main() -> None:
        async with pair() as two, opened(two.address.url) as home:
            locks = [await own(home, AgentId(f"agent-{number}")) for number in range(50)]
            await asyncio.gather(*(save(home, lock, 1) for lock in locks))
            before = calls(two.primary, "wait")
            await asyncio.gather(*(save(home, lock, 2) for lock in locks))
            assert calls(two.primary, "wait") == before + 1

    asyncio.run(main())


def test_without_it_nobody_waits() -> None:
    async def main() -> None:
        async with pair() as two, opened(two.address.url, wait=None) as home:
            two.replica.pause()
            lock = await own(home)
            assert await save(home, lock, 1) == saved(lock, 1)
            assert calls(two.primary, "wait") == 0
            two.replica.unpause()

    asyncio.run(main())


def test_two_replicas_are_waited_for_where_two_are_asked_for() -> None:
    async def main() -> None:
        async with pair() as two, opened(two.address.url, wait=wait_for("replica", 2)) as home:
            with pytest.raises(Unreachable, match="1 of 2 replicas have it"):
                await home.coordination.create(start_record(A))
            with redis_server() as other:
                await follows(other, two.primary)
                lock = await own(home)
                assert await save(home, lock, 1) == saved(lock, 1)

    asyncio.run(main())


def test_the_user_that_manifests_make_may_wait() -> None:
    made = (Path(__file__).parents[1] / "deploy/kubernetes/overlays/dev/new-secrets.sh").read_text()
    rules = re.search(r"user playbooks on #\$hash (.*)", made)
    assert rules is not None

    async def main() -> None:
        async with pair() as two:
            said = two.primary.command("ACL", "SETUSER", "playbooks", "on", ">secret", *rules[1].split())
            assert said.startswith(b"+OK"), said
            async with opened(f"redis://playbooks:secret@127.0.0.1:{two.address.port}/0") as home:
                lock = await own(home)
                assert await save(home, lock, 1) == saved(lock, 1)

    asyncio.run(main())


# --- failing over ------------------------------------------------------------------------------------------------------


def test_after_a_failover_every_checkpoint_that_counted_is_there_and_the_one_under_way_is_written_again() -> None:
    async def main() -> None:
        async with pair() as two, opened(two.address.url, timeout_s=1.0) as home:
            lock = await own(home)
            for seq in range(1, 21):
                assert await save(home, lock, seq) == saved(lock, seq)
            async with two.link.down():
                waiting = asyncio.ensure_future(save(home, lock, 21))
                await eventually(lambda: b":22\r\n" == two.primary.command("XLEN", STREAM), LONG_S, "it to be written")
                assert await waits(waiting)
                await two.fails_over()
            assert await waits(waiting)  # there is no replica yet
            with redis_server() as other:
                await follows(other, two.replica)
                assert await waiting == saved(lock, 21)
                assert await kept(home) == list(range(1, 22))

    asyncio.run(main())


def test_whenever_the_replica_is_cut_off_and_takes_over_nothing_that_counted_is_missing_and_no_agent_is_lost() -> None:
    async def main() -> None:
        seed = int(os.environ.get("PLAYBOOKS_TEST_SEED", random.SystemRandom().randrange(10**9)))
        print(f"PLAYBOOKS_TEST_SEED={seed} repeats it")
        dice = random.Random(seed)
        for _ in range(2):
            async with pair() as two, opened(two.address.url, timeout_s=1.0) as home:
                locks = [await own(home, AgentId(f"agent-{number}")) for number in range(10)]
                counted = {lock.agent: 0 for lock in locks}
                over = False

                async def life(lock: Lock) -> None:
                    while not over:
                        assert await save(home, lock, counted[lock.agent] + 1) == saved(lock, counted[lock.agent] + 1)
                        counted[lock.agent] += 1

                lives = [asyncio.create_task(life(lock)) for lock in locks]
                await asyncio.sleep(dice.uniform(0.05, 0.3))
                async with two.link.down():
                    await asyncio.sleep(dice.uniform(0.0, 0.1))
                    if dice.random() < 0.5:
                        two.address.cut()
                        await asyncio.sleep(dice.uniform(0.0, 0.05))
                    await two.fails_over()
                before = dict(counted)
                assert min(before.values()) > 0
                with redis_server() as other:
                    await follows(other, two.replica)

                    async def on() -> bool:
                        return all(counted[lock.agent] > before[lock.agent] for lock in locks)

                    await eventually(on, LONG_S, "every agent to go on")
                    over = True
                    await asyncio.gather(*lives)
                    for lock in locks:
                        assert await kept(home, lock.agent) == list(range(1, counted[lock.agent] + 1))

    asyncio.run(main())


def test_without_it_the_same_cut_loses_a_checkpoint_that_counted_and_its_owner_the_agent() -> None:
    async def main() -> None:
        async with pair() as two, opened(two.address.url, wait=None) as home:
            lock = await own(home)
            for seq in range(1, 21):
                assert await save(home, lock, seq) == saved(lock, seq)

            async def caught_up() -> bool:
                return await asked(two.replica, "XLEN", STREAM) == b":21\r\n"

            await eventually(caught_up, LONG_S, "the replica to have all of them")
            async with two.link.down():
                assert await save(home, lock, 21) == saved(lock, 21)
                await two.fails_over()
            assert await save(home, lock, 22) == Lost(A)
            assert await kept(home) == list(range(1, 21))

    asyncio.run(main())


def test_a_checkpoint_whose_reply_was_lost_counts_only_when_the_replica_has_it() -> None:
    async def main() -> None:
        async with pair() as two, opened(two.address.url) as home:
            lock = await own(home)
            assert await save(home, lock, 1) == saved(lock, 1)
            two.replica.pause()
            two.address.lose_reply_to(b"XADD")
            waiting = asyncio.ensure_future(save(home, lock, 2))
            # it is there, as its owner sees on the next connection, which has written nothing that could be waited for
            await eventually(lambda: calls(two.primary, "eval") >= 2, LONG_S, "the owner to ask whose the end is")
            assert await waits(waiting)
            two.replica.unpause()
            assert await waiting == saved(lock, 2)

    asyncio.run(main())


def test_a_server_that_is_demoted_under_a_wait_is_left_and_nothing_is_written_twice() -> None:
    async def main() -> None:
        async with pair() as two, opened(two.address.url) as home:
            lock = await own(home)
            assert await save(home, lock, 1) == saved(lock, 1)
            two.replica.pause()
            waiting = asyncio.ensure_future(save(home, lock, 2))
            await eventually(lambda: b":3\r\n" == two.primary.command("XLEN", STREAM), LONG_S, "it to be written")
            xadds = calls(two.primary, "xadd")
            await asked(two.primary, "REPLICAOF", "127.0.0.1", "1")  # nobody: it keeps what it has
            assert await waits(waiting)
            await asked(two.primary, "REPLICAOF", "NO", "ONE")
            two.replica.unpause()
            assert await waiting == saved(lock, 2)
            assert (await kept(home), calls(two.primary, "xadd")) == ([1, 2], xadds)

    asyncio.run(main())


# --- what else an agent's life is made of --------------------------------------------------------------------------------

TRANSITIONS: list[tuple[str, Callable[[RedisHome, Lock], Awaitable[Any]], Any]] = [
    ("create", lambda home, lock: home.coordination.create(start_record("other")), Created),
    ("release", lambda home, lock: home.coordination.release(lock, "drain"), Minted),
    ("stop", lambda home, lock: home.coordination.stop(lock, Status.BLOCKED, "why"), Done),
    ("finish", lambda home, lock: home.coordination.finish(lock, Status.COMPLETED, entry(lock, 1)), Done),
    ("park", lambda home, lock: home.coordination.park(lock, CheckpointId(lock.fence, 1), 0, None), Parked),
    ("deliver", lambda home, lock: home.coordination.deliver(A, Letter("b", 1, 1, b"hello"), limit=9), Delivered),
    ("order", lambda home, lock: home.coordination.order(A, Order("o1", OrderKind.PAUSE, "why")), object),
]


@pytest.mark.parametrize(("name", "transition", "kind"), TRANSITIONS, ids=[name for name, _, _ in TRANSITIONS])
def test_a_transition_that_no_replica_has_is_unknown_and_may_be_said_again(
    name: str, transition: Callable[[RedisHome, Lock], Awaitable[Any]], kind: Any
) -> None:
    async def main() -> None:
        async with pair() as two, opened(two.address.url, timeout_s=1.0) as home:
            lock = await own(home)
            assert await save(home, lock, 1) == saved(lock, 1)
            two.replica.pause()
            with pytest.raises(Unreachable, match=r"not durable yet \(durability.wait\): 0 of 1 replicas have it"):
                await transition(home, lock)
            two.replica.unpause()
            assert isinstance(await patiently(lambda: transition(home, lock), "say it again"), kind)

    asyncio.run(main())


def test_an_agent_is_not_taken_before_the_replica_has_what_it_goes_on_from() -> None:
    async def main() -> None:
        async with pair() as two, opened(two.address.url, wait=None) as careless:
            async with opened(two.address.url, timeout_s=1.0) as home:
                lock = await own(home)
                two.replica.pause()
                assert await save(careless, lock, 1) == saved(lock, 1)
                minted = await careless.coordination.wake(A, lock.fence, S)
                assert isinstance(minted, Minted)
                nonce = new_nonce()
                with pytest.raises(Unreachable, match="durability.wait"):
                    await home.coordination.take(minted.ticket, SessionId("s2"), nonce)
                two.replica.unpause()
                again = patiently(lambda: home.coordination.take(minted.ticket, SessionId("s2"), nonce), "take it")
                taken = await again
                assert isinstance(taken, Taken) and taken.lock.resume_from == CheckpointId(lock.fence, 1)

    asyncio.run(main())


# --- agents ------------------------------------------------------------------------------------------------------------


class Effects:
    steps: list[int] = []


async def step(number: int) -> int:
    Effects.steps.append(number)
    return number


@playbook
async def main(n: int) -> int:
    total = 0
    for number in range(n):
        total += await step(number)
    return total


def test_no_agent_goes_on_while_the_replica_stands_still_and_each_ends_when_it_is_back() -> None:
    async def story() -> None:
        Effects.steps.clear()
        async with pair() as two, opened(two.address.url, timeout_s=1.0) as home:
            here = Program("here", sys.modules[__name__], "b1", {"main": main})
            gate = Gate(time.monotonic, deadline=float("inf"))
            around = Surroundings(home.checkpoints, Sealer("k" * 32), lambda: 1)
            bench = Bench(home.coordination, around, {"here": here})
            shift = Shift(new_session_id(), gate, bench, ["q"], concurrency=9, drain_timeout_s=5.0)
            serving = asyncio.create_task(shift.serve())
            for number in range(3):
                record = start_record(f"agent-{number}")
                record = type(record)(record.agent, "here", "main", [2000], {}, "q", 0)
                made = await home.coordination.create(record)
                assert isinstance(made, Created) and made.ticket is not None
                await home.coordination.enqueue(made.ticket)
            await eventually(lambda: len(Effects.steps) > 100, LONG_S, "the agents to be under way")
            two.replica.pause()
            await asyncio.sleep(0.05)  # what the replica had got before is still being answered
            before = len(Effects.steps)
            await asyncio.sleep(A_WHILE_S)
            assert len(Effects.steps) == before < 6000
            two.replica.unpause()

            async def ended() -> bool:
                views = [await home.coordination.describe(AgentId(f"agent-{number}")) for number in range(3)]
                return all(view is not None and view.status is Status.COMPLETED for view in views)

            await eventually(ended, LONG_S, "the agents to end")
            assert len(Effects.steps) == 6000
            await shift.drain(5.0)
            await serving

    asyncio.run(story())


# --- the disk ----------------------------------------------------------------------------------------------------------

DISK = wait_for("disk")
AOF = ("--appendonly", "yes", "--appendfsync")


def test_a_checkpoint_counts_when_the_append_only_file_is_on_disk() -> None:
    async def main() -> None:
        with redis_server(*AOF, "always", knows="WAITAOF") as server:
            async with opened(server.url, DISK, timeout_s=1.0) as home:
                await home.check()
                lock = await own(home)
                assert await save(home, lock, 1) == saved(lock, 1)
                server.command("CONFIG", "SET", "appendfsync", "no")
                with structlog.testing.capture_logs() as logs:
                    waiting = asyncio.ensure_future(save(home, lock, 2))
                    await eventually(lambda: logs, LONG_S, "it to be noticed")
                    assert not waiting.done() and "not synced to disk in time" in logs[0]["reason"]
                    server.command("CONFIG", "SET", "appendfsync", "always")
                    server.command("SET", "another", "write")
                    assert await waiting == saved(lock, 2)

    asyncio.run(main())


def test_a_checkpoint_whose_reply_was_lost_counts_only_when_it_is_on_disk() -> None:
    async def main() -> None:
        with redis_server(*AOF, "always", knows="WAITAOF") as server:
            async with proxy(server.port) as middle, opened(middle.url, DISK, timeout_s=1.0) as home:
                lock = await own(home)
                assert await save(home, lock, 1) == saved(lock, 1)
                server.command("CONFIG", "SET", "appendfsync", "no")
                middle.lose_reply_to(b"XADD")
                waiting = asyncio.ensure_future(save(home, lock, 2))
                await eventually(lambda: calls(server, "eval") >= 2, LONG_S, "the owner to ask whose the end is")
                assert await waits(waiting)
                server.command("CONFIG", "SET", "appendfsync", "always")
                server.command("SET", "another", "write")
                assert await waiting == saved(lock, 2)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--appendonly", "no"), "needs an append-only file: set appendonly to yes"),
        ((*AOF, "no"), "needs an append-only file that is synced: set appendfsync to everysec or always"),
    ],
)
def test_a_server_that_writes_no_file_in_time_is_refused_at_the_start(options: tuple[str, ...], line: str) -> None:
    async def main() -> None:
        with redis_server(*options, knows="WAITAOF") as server:
            async with opened(server.url, DISK) as home:
                with pytest.raises(ConfigError, match=f"durability.wait = disk {line}") as refused:
                    await home.check()
                assert "\n" not in str(refused.value)
                assert f"{refused.value}; until then no agent goes on" in await home.advice()

    asyncio.run(main())


def test_a_server_without_waitaof_is_refused_at_the_start_and_no_checkpoint_counts_there() -> None:
    async def main() -> None:
        with redis_server("--rename-command", "WAITAOF", "") if newer() else redis_server() as server:
            async with opened(server.url, DISK, timeout_s=1.0) as home:
                with pytest.raises(ConfigError, match="disk needs WAITAOF: Redis 7.2 or newer, or Valkey 7.2 or newer"):
                    await home.check()
                with pytest.raises(Unreachable, match="durability.wait"):
                    await home.coordination.create(start_record(A))

    asyncio.run(main())


def newer() -> bool:
    """Whether the server that tests get knows the command."""
    with redis_server() as server:
        return b"waitaof" in server.command("COMMAND", "INFO", "WAITAOF")


def test_a_missing_replica_is_told_of_at_the_start() -> None:
    async def main() -> None:
        with redis_server(*AOF, "everysec") as server:
            async with opened(server.url, wait_for("replica", 2)) as home:
                (told,) = await home.advice()
                assert told == "durability.wait = replica, and 0 of 2 replicas are there: no agent goes on"

    asyncio.run(main())


# --- settings ------------------------------------------------------------------------------------------------------------


def test_a_worker_that_asks_for_the_impossible_says_so_in_one_line_and_does_not_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("count.py").write_text("")
    with redis_server() as server:  # without an append-only file, or without WAITAOF
        environment = {
            "PLAYBOOKS_DURABILITY__SIGNING_KEY": "a signing key for tests, of good length",
            "PLAYBOOKS_DURABILITY__WAIT": "disk",
            "PLAYBOOKS_WORKER__HTTP": "off",
        }
        words = ["count.py", "--redis-url", server.url]
        done = CliRunner().invoke(daemon.app, words, env=environment)
        assert done.exit_code == 2
        assert done.stderr.startswith("error: durability.wait = disk needs ") and done.stderr.count("\n") == 1
        assert CliRunner().invoke(daemon.app, [*words, "--check-config"], env=environment).exit_code == 0


@pytest.mark.parametrize(
    ("toml", "line"),
    [
        (
            'wait = "replicas"\n',
            "bad setting durability.wait = 'replicas' ([durability] wait in {toml}): "
            "input should be 'none', 'replica' or 'disk'",
        ),
        (
            "wait_replicas = 0\n",
            "bad setting durability.wait_replicas = 0 ([durability] wait_replicas in {toml}): "
            "input should be greater than or equal to 1",
        ),
        (
            "wait_replicas = 2\n",
            "durability.wait_replicas = 2 ([durability] wait_replicas in {toml}) counts only with durability.wait = "
            "replica, and that is none (default)",
        ),
    ],
)
def test_a_wait_that_cannot_be_is_one_line(tmp_path: Path, toml: str, line: str) -> None:
    file = tmp_path / "playbooks.toml"
    file.write_text("[durability]\n" + toml)
    with pytest.raises(ConfigError) as refused:
        check(load_settings(cwd=tmp_path))
    assert str(refused.value) == line.format(toml=file)
