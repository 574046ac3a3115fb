"""`durability.wait` and `durability.encryption_key` as daemons and commands are told: real workers, a real replica."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from playbooks_providers.testing import RedisServer, eventually, redis_server

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from daemons import SOON_S, Cluster, on_redis, serving  # noqa: E402

pytestmark = [pytest.mark.redis, pytest.mark.slow]

SETTINGS = {
    "PLAYBOOKS_DURABILITY__WAIT": "replica",
    "PLAYBOOKS_DURABILITY__ENCRYPTION_KEY": "1" * 64,
}
A_WHILE_S = 1.0


def calls(server: RedisServer, command: str) -> int:
    found = re.search(rb"cmdstat_%s:calls=(\d+)" % command.encode(), server.command("INFO", "commandstats"))
    return int(found[1]) if found else 0


def test_workers_stand_still_without_their_replica_and_one_that_dies_then_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "whose-name-is-an-argument"
    folder.mkdir()
    options = ("--repl-diskless-sync-delay", "0", "--rdbcompression", "no")
    with redis_server(*options, "--dir", str(tmp_path)) as primary, redis_server(*options) as replica:
        replica.command("REPLICAOF", "127.0.0.1", str(primary.port))

        async def test(cluster: Cluster) -> None:
            worker = cluster.worker("w", "--processes", "2")
            await serving(worker, 2)
            arguments = json.dumps([60, str(cluster.log_of("a")), 0.02])
            code, _, said = await cluster.ctl("submit", "count", "--agent-id", "a", "--args", arguments)
            assert code == 0, said
            await cluster.begun("a", 10)
            replica.pause()
            await asyncio.sleep(0.1)  # what the replica had got before is still being answered, and begins one more
            before = cluster.effects("a")
            await asyncio.sleep(A_WHILE_S)
            assert cluster.effects("a") == before and len(before) < 60
            victim = before[-1][1]
            os.kill(victim, signal.SIGKILL)
            await asyncio.sleep(A_WHILE_S)
            assert cluster.effects("a") == before  # its heir waits for the same
            replica.unpause()
            await cluster.ended("a")
            assert len(cluster.repeated("a", 60)) <= 1
            assert {pid for _, pid in cluster.effects("a")} == set(worker.executors()[:2])
            assert calls(primary, "wait") >= 60
            assert primary.command("SAVE").startswith(b"+OK")
            assert folder.name.encode() not in (tmp_path / "dump.rdb").read_bytes()
            code, answer, said = await cluster.ctl("wait", "a")
            assert (code, answer.strip()) == (0, str(sum(range(60)))), said
            monkeypatch.delenv("PLAYBOOKS_DURABILITY__ENCRYPTION_KEY")
            code, _, said = await cluster.ctl("wait", "a")
            assert code != 0 and "set durability.encryption_key" in said and said.count("\n") == 1

        async def follows() -> bool:
            return b"state=online" in await asyncio.to_thread(primary.command, "INFO", "replication")

        async def test_with_replica(cluster: Cluster) -> None:
            await eventually(follows, SOON_S, "the replica to follow")
            await test(cluster)

        on_redis(test_with_replica, folder, primary.url)
