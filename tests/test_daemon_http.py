"""What the daemons show over HTTP: asked of real processes, while Redis is away, their loop stalls, or they drain."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from playbooks_providers.settings.http_address import HttpAddress, http_address
from playbooks_providers.testing import eventually, redis_server

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from daemons import SOON_S, TIMINGS, Cluster, Daemon, on_redis  # noqa: E402

ANYWHERE = ("--http", "127.0.0.1:0")

redis = pytest.mark.redis

STALLS = """
import signal, sys, time
from playbooks_providers.service import probes
probes.STALLED_AFTER_S = 0.7
signal.signal(signal.SIGUSR1, lambda *_: time.sleep(60))
from {module} import main
main()
"""
WITHOUT = """
import sys
sys.modules["uvicorn"] = None
from {module} import main
main()
"""


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("off", None),
        ("127.0.0.1:9464", HttpAddress("127.0.0.1", 9464)),
        ("0.0.0.0:0", HttpAddress("0.0.0.0", 0)),
        ("worker.local:80", HttpAddress("worker.local", 80)),
        ("[::1]:9464", HttpAddress("::1", 9464)),
    ],
)
def test_an_address_is_read_and_written_the_same(text: str, address: HttpAddress | None) -> None:
    assert http_address(text) == address
    assert address is None or str(address) == text


@pytest.mark.parametrize("text", ["", "9464", "127.0.0.1", "::1:9464", "a:70000", "http://a:1", "a b:1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        http_address(text)


async def answers(daemon: Daemon, path: str, status: int, words: str = "ok") -> None:
    async def so() -> bool:
        said, text = await daemon.get(path)
        return said == status and words in text

    await eventually(so, SOON_S, f"{path} of {daemon.log.stem} to be {status} with {words!r}")


@redis
def test_while_redis_is_away_both_daemons_are_alive_and_not_ready(tmp_path: Path) -> None:
    async def test(cluster: Cluster) -> None:
        both = [cluster.worker("w", *ANYWHERE), cluster.coordinator("c", *ANYWHERE)]
        for daemon in both:
            await answers(daemon, "/readyz", 200)
        server.pause()
        for daemon in both:
            await answers(daemon, "/readyz", 503, "Redis")
            assert await daemon.get("/livez") == (200, "ok\n")
            assert await daemon.get("/") == (200, "/livez  /readyz  /metrics\n")
            assert (await daemon.get("/metrics"))[0] == 200
        server.unpause()
        for daemon in both:
            await answers(daemon, "/readyz", 200)
        server.kill()
        for daemon in both:
            await answers(daemon, "/readyz", 503, "Redis")
            assert (await daemon.get("/livez"))[0] == 200

    with redis_server() as server:
        on_redis(test, tmp_path, server.url)


@redis
def test_a_coordinator_that_may_read_and_not_write_says_so_once_and_is_not_ready_until_it_may(tmp_path: Path) -> None:
    user = ("ACL", "SETUSER", "limited", "on", ">secret", "~playbooks:*", "-@all", "+@read", "+@connection", "+info")

    async def test(cluster: Cluster) -> None:
        coordinator = cluster.coordinator("c", *ANYWHERE)
        await answers(coordinator, "/readyz", 503, "refuses this coordinator the lease")
        assert (await coordinator.get("/livez"))[0] == 200
        server.command("ACL", "SETUSER", "limited", "+@all")
        await answers(coordinator, "/readyz", 200)
        await eventually(lambda: coordinator.events("leader won"), SOON_S, "it to lead")
        (told,) = coordinator.events("lease refused")
        assert "no permissions" in told["reason"]
        assert coordinator.events("lease refused no more")
        assert "Traceback" not in coordinator.log.read_text() and "secret" not in coordinator.log.read_text()

    with redis_server() as server:
        server.command(*user)
        on_redis(test, tmp_path, server.url.replace("redis://", "redis://limited:secret@"))


@redis
def test_a_worker_is_ready_when_a_session_is_registered_and_no_longer_when_it_drains(
    tmp_path: Path, redis_url: str
) -> None:
    slow = "import time\nfrom pathlib import Path\nwhile not Path('go').exists():\n    time.sleep(0.01)\n"

    async def test(cluster: Cluster) -> None:
        (cluster.folder / "slow.py").write_text(slow + (cluster.folder / "count.py").read_text())
        worker = cluster.worker("w", *ANYWHERE, program="slow.py")
        await answers(worker, "/readyz", 503, "no session is registered")
        assert (await worker.get("/livez"))[0] == 200
        (cluster.folder / "go").touch()
        await answers(worker, "/readyz", 200)
        await cluster.submit("a", 1000, pause=30, program="slow")
        await cluster.begun("a", 1)
        worker.kill(signal.SIGTERM)
        await answers(worker, "/readyz", 503, "the worker is draining")
        assert (await worker.get("/livez"))[0] == 200

    on_redis(test, tmp_path, redis_url)


@redis
@pytest.mark.parametrize("module", ["playbooks_worker.daemon", "playbooks_coordinator.daemon"])
def test_a_loop_that_stalls_in_silence_is_not_alive(tmp_path: Path, redis_url: str, module: str) -> None:
    async def test(cluster: Cluster) -> None:
        (cluster.folder / "stalls.py").write_text(STALLS.format(module=module))
        flags = ("--log-format", "json", "--redis-url", cluster.url, *ANYWHERE)
        programs = ("count.py",) if "worker" in module else ()
        daemon = Daemon(cluster.folder, "daemon", "stalls", *programs, *flags, env={"PYTHONPATH": str(cluster.folder)})
        cluster.daemons.append(daemon)
        await answers(daemon, "/readyz", 200)
        daemon.kill(signal.SIGUSR1)
        await answers(daemon, "/livez", 503, "the event loop has not turned for")
        await answers(daemon, "/readyz", 503, "the event loop has not turned for")

    on_redis(test, tmp_path, redis_url)


@redis
def test_an_executor_whose_loop_is_blocked_does_not_make_its_worker_dead(tmp_path: Path, redis_url: str) -> None:
    async def test(cluster: Cluster) -> None:
        worker = cluster.worker("w", *ANYWHERE)
        (executor,) = await eventually(worker.executors, SOON_S, "its executor to serve")
        os.kill(executor, signal.SIGSTOP)
        await eventually(lambda: worker.events("executor stopped, session not renewed"), SOON_S, "the stop to be seen")
        assert await worker.get("/livez") == (200, "ok\n")

    on_redis(test, tmp_path, redis_url)


def refused(module: str, *flags: str) -> tuple[int, str]:
    """The exit code and stderr of a daemon that cannot start."""
    done = subprocess.run(
        [sys.executable, *module.split(), *flags, "--redis-url", "redis://127.0.0.1:1/0"],
        env=os.environ | TIMINGS,
        capture_output=True,
        text=True,
        timeout=SOON_S,
    )
    return done.returncode, done.stderr


DAEMONS = [("-m playbooks_worker.daemon", ["count.py"]), ("-m playbooks_coordinator.daemon", [])]


@pytest.mark.parametrize(("module", "programs"), DAEMONS)
def test_a_port_in_use_is_one_line_that_says_what_to_do(module: str, programs: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        code, said = refused(module, *programs, "--http", address)
    assert (code, said) == (
        2,
        f"error: --http {address}: address already in use; give it another HOST:PORT (PORT 0: any that is free), or off\n",
    )


def test_without_the_extra_who_asks_for_http_is_told_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "without.py").write_text(WITHOUT.format(module="playbooks_coordinator.daemon"))
    code, said = refused(str(tmp_path / "without.py"), *ANYWHERE)
    assert (code, said) == (
        2,
        "error: --http 127.0.0.1:0 needs uvicorn: pip install 'playbooks-enterprise[http]'\n",
    )


@redis
def test_without_the_extra_who_does_not_ask_for_http_goes_on_with_a_line_in_the_log(
    tmp_path: Path, redis_url: str
) -> None:
    async def test(cluster: Cluster) -> None:
        (cluster.folder / "without.py").write_text(WITHOUT.format(module="playbooks_coordinator.daemon"))
        env = {"PYTHONPATH": str(cluster.folder), "PLAYBOOKS_COORDINATOR__HTTP": ""}  # empty: not said
        daemon = Daemon(cluster.folder, "d", "without", "--log-format", "json", "--redis-url", cluster.url, env=env)
        cluster.daemons.append(daemon)
        await eventually(lambda: daemon.events("leader won"), SOON_S, "it to go on")
        (off,) = daemon.events("http off")
        assert "pip install 'playbooks-enterprise[http]'" in off["reason"]

    on_redis(test, tmp_path, redis_url)


@redis
def test_the_default_address_that_another_daemon_has_is_given_up_with_a_line_in_the_log(
    tmp_path: Path, redis_url: str
) -> None:
    async def test(cluster: Cluster) -> None:
        holders = []
        try:
            holders.append(socket.create_server(("127.0.0.1", 9465)))
        except OSError:  # somebody on this machine has it, which will do
            pass
        daemon = cluster.coordinator("c", PLAYBOOKS_COORDINATOR__HTTP="")
        await eventually(lambda: daemon.events("leader won"), SOON_S, "it to go on")
        for holder in holders:
            holder.close()
        (off,) = daemon.events("http off")
        assert "address already in use" in off["reason"]

    on_redis(test, tmp_path, redis_url)


def test_a_bad_address_is_a_bad_setting() -> None:
    code, said = refused("-m playbooks_coordinator.daemon", "--http", "9464")
    assert code == 2 and said.startswith(
        "error: bad setting coordinator.http = '9464' (coordinator.http on the command line)"
    )
    assert "HOST:PORT" in said and said.count("\n") == 1
