"""Workers as processes on a real Redis: killed, stopped, woken, drained. Order is proven here, speed in `benchmarks/`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from playbooks_providers.envelope import read_header
from playbooks_providers.model import Status
from playbooks_providers.testing import eventually, free_port, redis_server

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from daemons import PROGRAM, SOON_S, TIMINGS, Cluster, is_alive, on_redis, parent_of, serving  # noqa: E402
from pages import ANYWHERE, counts  # noqa: E402

pytestmark = [pytest.mark.redis, pytest.mark.slow]

QUITS = (
    PROGRAM
    + """
@playbook
async def quits(n, log, pause):
    await asyncio.gather(step(0, log, pause), leave())

async def leave():
    await asyncio.sleep(0.01)
    raise SystemExit(3)
"""
)
# --- death ---------------------------------------------------------------------------------------------------------


def test_when_an_executor_is_killed_its_agents_go_on_in_the_other_and_a_new_one_starts(
    tmp_path: Path, redis_url: str
) -> None:
    async def test(cluster: Cluster) -> None:
        worker = cluster.worker("w", "--processes", "2")  # and no coordinator: nobody else needs to act
        await serving(worker, 2)
        await cluster.submit("a", 60)
        victim = await cluster.begun("a", 10)
        os.kill(victim, signal.SIGKILL)
        view = await cluster.ended("a")
        assert len(cluster.repeated("a", 60)) <= 1
        assert {pid for _, pid in cluster.effects("a")} == set(worker.executors()[:2])
        await serving(worker, 3)
        assert worker.events("agents given to others", agents=["a"])
        assert worker.events("executor ended", executor=victim, reason="signal 9")
        assert view.last is not None and view.last.seq == 61

    on_redis(test, tmp_path, redis_url)


def test_when_the_only_executor_is_killed_its_successor_goes_on(tmp_path: Path, redis_url: str) -> None:
    async def test(cluster: Cluster) -> None:
        worker = cluster.worker("w")
        await serving(worker)
        await cluster.submit("a", 40)
        os.kill(await cluster.begun("a", 10), signal.SIGKILL)
        await cluster.ended("a")
        assert len(cluster.repeated("a", 40)) <= 1

    on_redis(test, tmp_path, redis_url)


def test_when_the_supervisor_is_killed_its_executors_end_and_the_agents_go_on_elsewhere(
    tmp_path: Path, redis_url: str
) -> None:
    async def test(cluster: Cluster) -> None:
        cluster.coordinator()
        await cluster.two_workers()
        await cluster.submit("a", 100)
        first, second = cluster.first_and_second(await cluster.begun("a", 5))
        first.kill()
        await eventually(lambda: not any(map(is_alive, first.executors())), SOON_S, "the executors to end")
        await cluster.ended("a")
        assert len(cluster.repeated("a", 100)) <= 1
        assert cluster.effects("a")[-1][1] in second.executors()

    on_redis(test, tmp_path, redis_url)


def test_an_agent_that_kills_its_process_ends_in_quarantine_and_its_neighbours_complete(
    tmp_path: Path, redis_url: str
) -> None:
    async def test(cluster: Cluster) -> None:
        worker = cluster.worker("w", *ANYWHERE, "--processes", "2")
        await serving(worker, 2)
        for name in "bcd":
            await cluster.submit(name, 150)
            await cluster.begun(name, 1)
        await cluster.submit("poison", 10, pause=-0.02)
        view = await cluster.ended("poison", Status.QUARANTINED)
        assert "each owner died" in view.why
        for name in "bcd":
            await cluster.ended(name)
            assert (await cluster.view(name)).status is Status.COMPLETED
        deaths = worker.events("executor ended", reason="exit code 9")
        assert len(deaths) == 2 + 3  # two beside others, three alone
        assert len(worker.events("agent runs alone", agent="poison")) == 3
        assert await counts(worker, "playbooks_agents_set_aside_total", queue="count", status="quarantined") == 1

    on_redis(test, tmp_path, redis_url)


# --- stopped and woken ---------------------------------------------------------------------------------------------


def test_a_worker_stopped_past_the_timeout_loses_its_agents_says_which_and_goes_on_serving(
    tmp_path: Path, redis_url: str
) -> None:
    async def test(cluster: Cluster) -> None:
        cluster.coordinator()
        await cluster.two_workers(*ANYWHERE)
        await cluster.submit("a", 100)
        first, second = cluster.first_and_second(await cluster.begun("a", 5))
        stopped = [first.pid, *first.executors()]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        await eventually(lambda: cluster.effects("a")[-1][1] in second.executors(), SOON_S, "it to go on elsewhere")
        await cluster.only_sessions(2)  # those of the other worker
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        await eventually(lambda: first.events("agent lost", agent="a"), SOON_S, "the loss to be told")
        await serving(first, 4)
        assert first.events("session refused")
        assert await counts(first, "playbooks_session_losses_total") == 2
        assert await counts(first, "playbooks_locks_lost_total", queue="count") == 1
        await cluster.ended("a")
        assert len(cluster.repeated("a", 100)) <= 1
        second.kill(signal.SIGTERM)
        assert await asyncio.to_thread(second.process.wait) == 0
        await cluster.submit("b", 5)
        await cluster.ended("b")
        assert cluster.effects("b")[-1][1] in first.executors()[:2]  # the same processes as before

    on_redis(test, tmp_path, redis_url)


def test_a_supervisor_stopped_alone_has_its_executors_freeze_in_time_and_woken_registers_anew(
    tmp_path: Path, redis_url: str
) -> None:
    async def test(cluster: Cluster) -> None:
        coordinator = cluster.coordinator()
        worker = cluster.worker("w")
        await serving(worker)
        await cluster.submit("a", 100)
        await cluster.begun("a", 5)
        os.kill(worker.pid, signal.SIGSTOP)
        await eventually(lambda: worker.events("executor frozen"), SOON_S, "the executor to freeze")
        begun = len(cluster.effects("a"))
        await eventually(lambda: coordinator.events("session buried"), SOON_S, "its session to be removed")
        assert len(cluster.effects("a")) <= begun + 1, "a frozen executor started an effect"
        frozen_at = worker.events("executor frozen")[0]["timestamp"]
        assert frozen_at <= coordinator.events("session buried")[0]["timestamp"]
        os.kill(worker.pid, signal.SIGCONT)
        await serving(worker, 2)
        assert worker.events("agent lost", agent="a")
        first, second = worker.events("session registered")
        assert first["session"] != second["session"] and first["executor"] == second["executor"]
        await cluster.ended("a")
        assert len(cluster.repeated("a", 100)) <= 1

    on_redis(test, tmp_path, redis_url)


def test_a_short_stop_of_the_supervisor_is_thawed_by_the_next_renewal(tmp_path: Path, redis_url: str) -> None:
    async def test(cluster: Cluster) -> None:
        worker = cluster.worker("w", *ANYWHERE)  # no coordinator: nobody removes the session
        await serving(worker)
        await cluster.submit("a", 60)
        await cluster.begun("a", 5)
        os.kill(worker.pid, signal.SIGSTOP)
        await eventually(lambda: worker.events("executor frozen"), SOON_S, "the executor to freeze")
        os.kill(worker.pid, signal.SIGCONT)
        await eventually(lambda: worker.events("executor thawed"), SOON_S, "the executor to thaw")
        assert await counts(worker, "playbooks_executor_freezes_total") == 1
        await cluster.ended("a")
        assert cluster.repeated("a", 60) == []

    on_redis(test, tmp_path, redis_url)


def test_an_executor_stopped_alone_is_given_up_ended_and_replaced(tmp_path: Path, redis_url: str) -> None:
    async def test(cluster: Cluster) -> None:
        cluster.coordinator()
        worker = cluster.worker("w", "--processes", "2")
        await serving(worker, 2)
        await cluster.submit("a", 60)
        victim = await cluster.begun("a", 5)
        os.kill(victim, signal.SIGSTOP)
        await cluster.ended("a")
        assert len(cluster.repeated("a", 60)) <= 1
        await eventually(lambda: not is_alive(victim), SOON_S, "the stopped executor to be ended")
        await serving(worker, 3)
        assert worker.events("executor stopped, session not renewed", executor=victim)

    on_redis(test, tmp_path, redis_url)


# --- drained ---------------------------------------------------------------------------------------------------------


def test_sigterm_hands_the_agents_over_at_their_next_checkpoint_and_exits_0(tmp_path: Path, redis_url: str) -> None:
    async def test(cluster: Cluster) -> None:
        first = cluster.worker("first", "--processes", "2")
        await serving(first, 2)
        for name in "abc":
            await cluster.submit(name, 50)
        for name in "abc":
            await cluster.begun(name, 5)
        second = cluster.worker("second")
        await serving(second)
        first.kill(signal.SIGTERM)
        assert await asyncio.to_thread(first.process.wait) == 0
        for name in "abc":
            await cluster.ended(name)
            assert cluster.repeated(name, 50) == []
            assert (await cluster.view(name)).attempts <= 1
        assert await cluster.home.coordination.sessions() == {
            told["session"]: pytest.approx(0, abs=1e9) for told in second.events("session registered")
        }

    on_redis(test, tmp_path, redis_url)


def test_show_locals_of_an_agent_that_lives_elsewhere_reads_its_newest_checkpoint(
    tmp_path: Path, redis_url: str
) -> None:
    async def test(cluster: Cluster) -> None:
        await serving(cluster.worker("one"))
        agent = await cluster.submit("a", 50, pause=0.3)
        await cluster.begun("a", 4)
        words = ("show", agent, "--locals", "--program", "count.py", "--json", "--redis-url", cluster.url)
        command = (sys.executable, "-m", "playbooks_worker.cli", *words)
        env = {**os.environ, **TIMINGS}
        done = await asyncio.to_thread(subprocess.run, command, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        (frame,) = json.loads(done.stdout)["frames"]
        assert int(frame["locals"]["number"]) >= 2 and frame["locals"]["n"] == "50"
        assert len({pid for _, pid in cluster.effects("a")}) == 1, "looking at an agent runs nothing of it"

    on_redis(test, tmp_path, redis_url)


def test_a_drained_worker_closes_its_resources_after_its_agents_have_left(tmp_path: Path, redis_url: str) -> None:
    async def test(cluster: Cluster) -> None:
        log = tmp_path / "closed"
        (tmp_path / "pooled.py").write_text(
            PROGRAM.replace("import playbook", "import playbook, resource").replace("await step(", "await pool.step(")
            + "import types\n\nasync def connect():\n    return types.SimpleNamespace(step=step)\n\n"
            + "async def close(it):\n    await asyncio.sleep(0)\n"
            + f"    open({str(log)!r}, 'a').write(str(os.getpid()))\n\n"
            + "pool = resource('pool', connect, close=close)\n"
        )
        text = (tmp_path / "pooled.py").read_text().replace("    total = 0\n", "    total = 0\n    await pool\n")
        (tmp_path / "pooled.py").write_text(text)
        first = cluster.worker("first", program="pooled.py")
        await serving(first)
        await cluster.submit("a", 50, program="pooled")
        await cluster.begun("a", 5)
        (executor,) = first.executors()
        second = cluster.worker("second", program="pooled.py")
        await serving(second)
        first.kill(signal.SIGTERM)
        assert await asyncio.to_thread(first.process.wait) == 0
        assert log.read_text() == str(executor)
        await cluster.ended("a")
        assert cluster.repeated("a", 50) == []

    on_redis(test, tmp_path, redis_url)


def test_at_the_drain_deadline_the_effect_in_flight_is_abandoned_and_repeats_elsewhere(
    tmp_path: Path, redis_url: str
) -> None:
    async def test(cluster: Cluster) -> None:
        first = cluster.worker("first", "--drain-timeout", "0.3")
        await serving(first)
        await cluster.submit("a", 2, pause=1.5)
        await cluster.begun("a", 1)
        first.kill(signal.SIGTERM)
        assert await asyncio.to_thread(first.process.wait) == 0
        assert first.events("agent handed over", agent="a", abandoned=True)
        cluster.worker("second")
        await cluster.ended("a")
        assert cluster.repeated("a", 2) == [0]

    on_redis(test, tmp_path, redis_url)


def test_a_second_signal_stops_at_once(tmp_path: Path, redis_url: str) -> None:
    async def test(cluster: Cluster) -> None:
        worker = cluster.worker("w")
        await serving(worker)
        await cluster.submit("a", 1, pause=600)
        await cluster.begun("a", 1)
        worker.kill(signal.SIGTERM)
        await eventually(lambda: worker.events("executor draining"), SOON_S, "the drain to begin")
        worker.kill(signal.SIGTERM)
        assert await asyncio.to_thread(worker.process.wait) == 128 + signal.SIGTERM
        assert (await cluster.view("a")).status is Status.READY  # others may take it now

    on_redis(test, tmp_path, redis_url)


# --- what people get wrong --------------------------------------------------------------------------------------------


def test_a_worker_waits_for_a_redis_that_is_not_there_yet_saying_so_in_single_lines(tmp_path: Path) -> None:
    with redis_server() as server:
        server.stop()

        async def test(cluster: Cluster) -> None:
            worker = cluster.worker("w")
            await eventually(
                lambda: len(worker.events("store unavailable, trying again")) >= 2, SOON_S, "two attempts to be told"
            )
            await asyncio.to_thread(server.start)
            await serving(worker)
            await cluster.submit("a", 5)
            await cluster.ended("a")
            assert "Traceback" not in worker.log.read_text()

        on_redis(test, tmp_path, server.url)


def test_a_worker_waits_for_a_password_that_redis_wants_and_for_a_redis_where_something_else_answers(
    tmp_path: Path,
) -> None:
    async def something_else(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readline():
                writer.write(b"<html>502 Bad Gateway</html>\r\n")
        finally:
            writer.close()  # or a server of Python 3.12 waits for it for ever

    async def waits(cluster: Cluster, reason: str) -> None:
        worker = cluster.worker("w")

        def told() -> bool:
            events = worker.events("store unavailable, trying again")
            return sum(reason in event["reason"] for event in events) >= 2

        await eventually(told, SOON_S, f"two attempts to be told with {reason!r}")
        assert worker.process.poll() is None
        assert "Traceback" not in worker.log.read_text()
        worker.kill()
        await asyncio.to_thread(worker.process.wait)

    with redis_server() as server:
        server.command("CONFIG", "SET", "requirepass", "secret")
        folder = tmp_path / "password"
        folder.mkdir()
        on_redis(lambda cluster: waits(cluster, "does not serve us now"), folder, server.url)

    async def page(cluster: Cluster) -> None:
        async with await asyncio.start_server(something_else, "127.0.0.1", port):
            await waits(cluster, "what answers there is no Redis")

    port = free_port()
    on_redis(page, tmp_path, f"redis://127.0.0.1:{port}/0")


def test_a_worker_that_redis_does_not_allow_what_it_has_to_do_ends_with_one_line(tmp_path: Path) -> None:
    with redis_server() as server:
        server.command("ACL", "SETUSER", "limited", "on", ">secret", "~playbooks:*", "+@read", "+@connection", "+info")

        async def test(cluster: Cluster) -> None:
            worker = cluster.worker("w")
            assert await asyncio.to_thread(worker.process.wait) == 1
            plain = [line for line in worker.log.read_text().splitlines() if not line.startswith("{")]
            assert len(plain) == 1 and plain[0].startswith("error: a worker cannot work there: Redis at redis://")
            assert "no permissions" in plain[0] and "secret" not in worker.log.read_text()

        on_redis(test, tmp_path, server.url.replace("redis://", "redis://limited:secret@"))


def test_a_redis_that_goes_away_and_comes_back_costs_no_agent(tmp_path: Path) -> None:
    with redis_server("--appendonly", "yes", "--appendfsync", "always") as server:

        async def test(cluster: Cluster) -> None:
            cluster.coordinator()
            worker = cluster.worker("w", *ANYWHERE)
            await serving(worker)
            await cluster.submit("a", 60)
            await cluster.begun("a", 10)
            await asyncio.to_thread(server.kill)
            await eventually(lambda: worker.events("heartbeat failed"), SOON_S, "the outage to be noticed")
            assert await counts(worker, "playbooks_heartbeat_failures_total") >= 1
            assert await counts(worker, "playbooks_redis_errors_total", kind="unreachable") >= 1
            await asyncio.to_thread(server.start)
            await cluster.ended("a")
            assert len(cluster.repeated("a", 60)) <= 1
            assert "Traceback" not in worker.log.read_text()

        on_redis(test, tmp_path, server.url)


def test_a_program_that_cannot_be_hosted_is_one_line_and_exit_code_2(tmp_path: Path, redis_url: str) -> None:
    async def test(cluster: Cluster) -> None:
        (cluster.folder / "broken.py").write_text("import nothing_such\n")
        worker = cluster.worker("w", "--processes", "2", program="broken.py")
        assert await asyncio.to_thread(worker.process.wait) == 2
        plain = [line for line in worker.log.read_text().splitlines() if not line.startswith("{")]
        assert len(plain) == 1 and plain[0].startswith("error: broken.py could not be imported: ModuleNotFoundError")
        assert "broken.py:1" in plain[0]
        assert await cluster.home.coordination.sessions() == {}

    on_redis(test, tmp_path, redis_url)


def test_a_program_that_kills_the_process_that_loads_it_does_not_restart_for_ever(
    tmp_path: Path, redis_url: str
) -> None:
    async def test(cluster: Cluster) -> None:
        (cluster.folder / "broken.py").write_text("import os\nos._exit(5)\n")
        worker = cluster.worker("w", program="broken.py")
        assert await asyncio.to_thread(worker.process.wait) == 2
        assert "error: broken.py: the process ends while loading it" in worker.log.read_text()

    on_redis(test, tmp_path, redis_url)


def test_a_program_that_exits_inside_an_effect_fails_and_its_neighbours_go_on(tmp_path: Path, redis_url: str) -> None:
    async def test(cluster: Cluster) -> None:
        (cluster.folder / "quits.py").write_text(QUITS)
        worker = cluster.worker("w", program="quits.py")
        await serving(worker)
        await cluster.submit("neighbour", 60, program="quits")
        await cluster.begun("neighbour", 5)
        await cluster.submit("a", 1, program="quits", entry="quits")
        view = await cluster.ended("a", Status.FAILED)
        error = read_header(view.header).error
        assert error is not None and (error["type"], error["message"]) == ("SystemExit", "3")
        await cluster.ended("neighbour")
        assert cluster.repeated("neighbour", 60) == []
        assert not worker.events("executor ended")

    on_redis(test, tmp_path, redis_url)


def test_without_a_signing_key_a_worker_exits_2_and_says_what_to_set(tmp_path: Path, redis_url: str) -> None:
    async def test(cluster: Cluster) -> None:
        worker = cluster.worker("w", PLAYBOOKS_DURABILITY__SIGNING_KEY="")
        assert await asyncio.to_thread(worker.process.wait) == 2
        assert worker.log.read_text().startswith("error: no signing key: set PLAYBOOKS_DURABILITY__SIGNING_KEY")

    on_redis(test, tmp_path, redis_url)


def test_an_agent_of_a_program_that_is_not_here_waits_for_a_worker_that_has_it(tmp_path: Path, redis_url: str) -> None:
    async def test(cluster: Cluster) -> None:
        coordinator = cluster.coordinator("c", *ANYWHERE)
        (cluster.folder / "other.py").write_text(PROGRAM)
        first = cluster.worker("first", *ANYWHERE, "--queue", "shared")
        await serving(first)
        await cluster.submit("a", 5, program="other", queue="shared")
        await eventually(lambda: first.events("agent handed over", agent="a"), SOON_S, "it to be handed back")
        assert await counts(first, "playbooks_agents_handed_over_total", queue="shared") >= 1
        second = cluster.worker("second", "--queue", "shared", program="other.py")
        await serving(second)
        await cluster.ended("a")
        assert cluster.repeated("a", 5) == []
        assert cluster.effects("a")[0][1] in second.executors()
        assert await counts(coordinator, "playbooks_agents_woken_total", by="timer") >= 1

    on_redis(test, tmp_path, redis_url)


def test_what_an_agent_was_started_with_and_a_worker_is_never_in_the_logs(tmp_path: Path, redis_url: str) -> None:
    async def test(cluster: Cluster) -> None:
        worker = cluster.worker("w")
        await serving(worker)
        await cluster.submit("a", 5)
        await cluster.ended("a")
        await eventually(lambda: worker.events("agent completed", agent="a"), SOON_S, "the end to be logged")
        said = worker.log.read_text()
        assert TIMINGS["PLAYBOOKS_DURABILITY__SIGNING_KEY"] not in said
        assert str(cluster.log_of("a")) not in said
        for told in worker.events("agent taken", agent="a"):
            assert told["session"] and told["fence"]

    on_redis(test, tmp_path, redis_url)


# --- everything at once ------------------------------------------------------------------------------------------------


def test_under_kills_stops_and_wakes_at_random_every_agent_completes_and_no_two_owners_interleave(
    tmp_path: Path, redis_url: str
) -> None:
    chance = random.Random(2)
    names = [f"agent-{number}" for number in range(12)]

    async def test(cluster: Cluster) -> None:
        cluster.coordinator("coordinator")
        cluster.coordinator("standby")
        await cluster.two_workers()
        workers = cluster.daemons[-2:]
        for name in names:
            await cluster.submit(name, 80, pause=0.03)
        await cluster.begun(names[-1], 5)
        stopped: list[int] = []
        for _ in range(25):
            await asyncio.sleep(chance.uniform(0.1, 0.5))  # the rhythm of the trouble, nothing waits for it
            worker = chance.choice(workers)
            executors = [pid for pid in worker.executors() if is_alive(pid) and parent_of(pid) == worker.pid]
            match chance.choice(["kill", "kill", "stop", "stop the supervisor", "wake"]):
                case "kill" if executors:
                    os.kill(chance.choice(executors), signal.SIGKILL)
                case "stop" if executors:
                    stopped.append(chance.choice(executors))
                    os.kill(stopped[-1], signal.SIGSTOP)
                case "stop the supervisor":
                    stopped.append(worker.pid)
                    worker.kill(signal.SIGSTOP)
                case "wake":
                    wake(stopped)
        wake(stopped)
        for name in names:
            await cluster.ended(name)
            cluster.repeated(name, 80)  # all of them, in order, whoever ran them
        for worker in workers:
            worker.kill(signal.SIGTERM)
        assert [await asyncio.to_thread(worker.process.wait) for worker in workers] == [0, 0]
        assert not any("Traceback" in daemon.log.read_text() for daemon in cluster.daemons)

    def wake(stopped: list[int]) -> None:
        while stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(stopped.pop(), signal.SIGCONT)

    on_redis(test, tmp_path, redis_url)
