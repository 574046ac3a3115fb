"""What has to hold between settings, told in one line at start and by --check-config; and --help, as a manual page."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from playbooks_coordinator import daemon as coordinator_daemon
from playbooks_providers.redis.address import Address
from playbooks_providers.redis.client import BLOCK_S, Server
from playbooks_providers.settings import Settings, load_settings
from playbooks_providers.settings.invariants import AFTER_DRAIN_S, problems
from playbooks_worker import daemon as worker_daemon
from playbooks_worker.supervisor import GRACE_S

KEY = {"PLAYBOOKS_DURABILITY__SIGNING_KEY": "a signing key for tests, of good length"}
DAEMONS = ["worker", "coordinator"]


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine reaches a test."""
    for name in [name for name in os.environ if name.startswith("PLAYBOOKS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.chdir(tmp_path)


@dataclass
class Done:
    """What a command answered."""

    returncode: int
    stdout: str
    stderr: str


def run(daemon: str, *words: str, columns: int = 80, **environment: str) -> Done:
    app = {"worker": worker_daemon.app, "coordinator": coordinator_daemon.app}[daemon]
    programs = ["count.py"] if daemon == "worker" else []
    called = {"prog_name": f"playbooks-{daemon}", "terminal_width": columns}
    result = CliRunner().invoke(app, [*programs, *words], env=KEY | environment, **called)
    return Done(result.exit_code, result.stdout, result.stderr)


PROBLEMS = [
    (
        "[worker]\nheartbeat_s = 3\n",
        "coordinator.session_timeout_s = 5 (default) must be more than twice worker.heartbeat_s = 3 "
        "([worker] heartbeat_s in {toml}): one late heartbeat would end a session",
    ),
    (
        "[worker]\ngrace_s = 30\n",
        "worker.drain_timeout_s = 25 (default) must be at least 10 less than worker.grace_s = 30 "
        "([worker] grace_s in {toml}): the worker would be killed while its agents are handed over",
    ),
    (
        "[worker]\nstall_timeout_s = 2\n",
        "worker.stall_timeout_s = 2 ([worker] stall_timeout_s in {toml}) must be at least 5: a loop is called blocked "
        "after that",
    ),
]


@pytest.mark.parametrize(("toml", "line"), PROBLEMS)
def test_what_cannot_work_together_is_one_line_with_both_settings_and_where_they_were_said(
    tmp_path: Path, toml: str, line: str
) -> None:
    file = tmp_path / "playbooks.toml"
    file.write_text(toml)
    assert list(problems(load_settings(cwd=tmp_path))) == [line.format(toml=file)]


@pytest.mark.parametrize("daemon", DAEMONS)
@pytest.mark.parametrize("options", [["--check-config"], []])
def test_both_daemons_refuse_to_start_with_it_and_say_so_when_asked(
    tmp_path: Path, daemon: str, options: list[str]
) -> None:
    done = run(daemon, *options, PLAYBOOKS_WORKER__HEARTBEAT_S="3")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: coordinator.session_timeout_s = 5 (default) must be more than twice")
    assert "PLAYBOOKS_WORKER__HEARTBEAT_S in the environment" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("daemon", DAEMONS)
def test_settings_in_order_are_no_word_and_a_url_that_the_driver_cannot_use_is_one(tmp_path: Path, daemon: str) -> None:
    fine = run(daemon, "--check-config", PLAYBOOKS_WORKER__GRACE_S="40")
    assert (fine.returncode, fine.stdout, fine.stderr) == (0, "", "")
    bad = run(daemon, "--check-config", "--redis-url", "redis://127.0.0.1:99999/0")
    assert bad.returncode == 2 and bad.stderr.startswith("error: ") and bad.stderr.count("\n") == 1


def test_settings_are_shown_and_checked_without_a_program_and_a_worker_without_one_says_so() -> None:
    def worker(*words: str) -> Done:
        result = CliRunner().invoke(worker_daemon.app, [*words], env=KEY, prog_name="playbooks-worker")
        return Done(result.exit_code, result.stdout, result.stderr)

    assert "worker.concurrency" in worker("--print-config").stdout
    assert worker("--check-config") == Done(0, "", "")
    nothing = worker()
    assert nothing.returncode == 2 and nothing.stdout == ""
    assert nothing.stderr.startswith("error: no program: playbooks-worker PROGRAM") and nothing.stderr.count("\n") == 1


def test_a_short_timeout_alone_is_fine_since_a_heartbeat_that_nobody_set_follows_it() -> None:
    assert list(problems(Settings())) == []
    assert list(problems(Settings.model_validate({"coordinator": {"session_timeout_s": 0.5}}))) == []


def test_a_blocking_read_ends_before_its_sockets_timeout_and_a_drain_before_the_end_of_the_grace() -> None:
    server = Server(Address.parse("redis://127.0.0.1:1/0"), timeout_s=0.001, max_connections=1)
    kwargs = server._pools["blocking"].connection_pool.connection_kwargs
    assert kwargs["socket_timeout"] > BLOCK_S
    assert AFTER_DRAIN_S >= 3 * GRACE_S  # and a third of that besides: a machine may be busy


# --- --help --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("daemon", DAEMONS)
@pytest.mark.parametrize("columns", [40, 80, 200])
def test_help_is_a_manual_page_in_any_terminal(tmp_path: Path, daemon: str, columns: int) -> None:
    page = run(daemon, "--help", columns=columns)
    assert page.returncode == 0 and page.stderr == ""
    headings = re.findall(r"^(\w[\w ]+):", page.stdout, re.MULTILINE)
    assert headings[0] == "Usage"
    assert headings[-6:] == ["Environment", "Files", "Signals", "Exit status", "See also", "Examples"]
    options = re.findall(r"^  (--[\w-]+)", page.stdout, re.MULTILINE)
    assert len(options) == len(set(options)) and {"--http", "--log-format", "--check-config", "--help"} <= set(options)
    prose = page.stdout.partition("Environment:")[0]
    assert max(map(len, prose.splitlines())) <= columns


@pytest.mark.parametrize("daemon", DAEMONS)
def test_what_help_says_of_exit_status_2_and_of_examples_is_so(daemon: str) -> None:
    examples = re.findall(r"^  (playbooks-\S+.*--check-config)$", run(daemon, "--help").stdout, re.MULTILINE)
    (example,) = examples
    assert run(daemon, *[word for word in example.split()[1:] if word != "audit.py"]).returncode == 0
    assert run(daemon, "--no-such-option").returncode == 2
