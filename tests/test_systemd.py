"""What the daemons tell systemd, over a real datagram socket; and the units, as systemd itself reads them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from playbooks_providers.service import Notifier
from playbooks_providers.settings import Settings, load_settings
from playbooks_providers.testing import eventually

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from daemons import PROGRAM, SOON_S, Cluster, Daemon, on_redis  # noqa: E402

UNITS = Path(__file__).parents[1] / "deploy" / "systemd"
STALLS = """
import signal, time
signal.signal(signal.SIGUSR1, lambda *_: time.sleep(60))
from playbooks_coordinator.daemon import main
main()
"""


class Systemd:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)
        self.env = {"NOTIFY_SOCKET": address}
        self.heard: list[str] = []

    def listen(self) -> list[str]:
        """All lines so far."""
        while True:
            try:
                self.heard += self._socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return self.heard

    async def hears(self, line: str) -> None:
        await eventually(lambda: line in self.listen(), SOON_S, f"{line!r} to be told")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    there = Systemd(getattr(request, "param", str(tmp_path / "notify")))
    yield there
    there.close()


def test_what_systemd_could_not_take_is_told_again(systemd: Systemd) -> None:
    """Given a systemd so busy that its socket is full as a daemon has come up, Then the next beat tells that again."""
    filling = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    filling.setblocking(False)
    filling.connect(systemd.env["NOTIFY_SOCKET"])
    with pytest.raises(BlockingIOError):
        while True:
            filling.send(b"FILLED=1")
    filling.close()
    notifier = Notifier(dict(systemd.env), started=lambda: True, unready=lambda: "", ending=lambda: True)
    notifier.tell()
    assert set(systemd.listen()) == {"FILLED=1"}
    for _ in range(2):
        notifier.tell()
    assert [line for line in systemd.listen() if line != "FILLED=1"] == ["READY=1", "STOPPING=1", "STATUS=ready"]


@pytest.mark.redis
def test_a_worker_tells_that_its_programs_are_loaded_that_its_loop_turns_and_that_it_stops(
    tmp_path: Path, redis_url: str, systemd: Systemd
) -> None:
    prints = PROGRAM + "\nprint('inherited', [name for name in os.environ if 'NOTIFY' in name or 'WATCHDOG' in name])\n"
    slow = "import time\nfrom pathlib import Path\nwhile not Path('go').exists():\n    time.sleep(0.01)\n"

    async def test(cluster: Cluster) -> None:
        (cluster.folder / "slow.py").write_text(slow + prints)
        env = {**systemd.env, "WATCHDOG_USEC": "2000000"}
        worker = cluster.worker("w", program="slow.py", **env)
        await systemd.hears("STATUS=no session is registered")
        await systemd.hears("WATCHDOG=1")
        assert "READY=1" not in systemd.heard
        (cluster.folder / "go").touch()
        await systemd.hears("READY=1")
        await systemd.hears("STATUS=ready")
        beats = systemd.heard.count("WATCHDOG=1")
        await eventually(lambda: systemd.listen().count("WATCHDOG=1") > beats + 1, SOON_S, "it to go on")
        await cluster.submit("a", 2, pause=60, program="slow")
        await cluster.begun("a", 1)
        worker.kill(signal.SIGTERM)
        await systemd.hears("STOPPING=1")
        await systemd.hears("STATUS=the worker is draining")
        assert systemd.heard.count("READY=1") == systemd.heard.count("STOPPING=1") == 1
        assert "inherited []" in worker.log.read_text()  # an agent's own processes are not the service

    on_redis(test, tmp_path, redis_url)


@pytest.mark.redis
@pytest.mark.parametrize("systemd", [f"@playbooks-test-{os.getpid()}"], ids=["abstract"], indirect=True)
def test_a_coordinator_is_started_before_redis_answers_and_a_stall_of_its_loop_is_not_told_as_well_being(
    tmp_path: Path, systemd: Systemd
) -> None:
    async def test(cluster: Cluster) -> None:
        (cluster.folder / "stalls.py").write_text(STALLS)
        env = {**systemd.env, "WATCHDOG_USEC": "1000000", "PYTHONPATH": str(cluster.folder)}
        daemon = Daemon(cluster.folder, "c", "stalls", "--redis-url", "redis://127.0.0.1:1/0", env=env)
        cluster.daemons.append(daemon)
        await systemd.hears("READY=1")
        await systemd.hears("STATUS=Redis does not answer")
        beats = systemd.heard.count("WATCHDOG=1")
        await eventually(lambda: systemd.listen().count("WATCHDOG=1") > beats, SOON_S, "its loop to turn")
        daemon.kill(signal.SIGUSR1)

        def silent() -> bool:
            before = len(systemd.listen())
            time.sleep(1.5)  # not for something to happen: for nothing to, longer than the watchdog waits
            return len(systemd.listen()) == before

        await eventually(silent, SOON_S, "a stalled loop to tell nothing for longer than the watchdog waits")

    on_redis(test, tmp_path, "redis://127.0.0.1:1/0")


def installed(folder: Path) -> list[Path]:
    """The units as they would be on a host whose virtual environment is the one of the tests."""
    units = []
    for unit in sorted(UNITS.glob("*.service")):
        units.append(folder / unit.name)
        units[-1].write_text(unit.read_text().replace("/opt/playbooks/bin", str(Path(sys.executable).parent)))
    return units


def test_the_units_are_in_order_for_systemd_and_hardened(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here")
    units = installed(tmp_path)
    assert len(units) == 2
    for unit in units:
        verified = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60
        )
        ours = [line for line in verified.stderr.splitlines() if unit.name in line]
        assert verified.returncode == 0 and not ours, verified.stderr
        scored = subprocess.run(
            ["systemd-analyze", "security", "--offline=yes", "--threshold=25", str(unit)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert scored.returncode == 0, scored.stdout[-400:] + scored.stderr


def test_the_units_leave_time_for_what_the_settings_allow(tmp_path: Path) -> None:
    settings = load_settings(cwd=tmp_path)
    worker = (UNITS / "playbooks-worker@.service").read_text()
    (stop_s,) = re.findall(r"^TimeoutStopSec=(\d+)$", worker, re.MULTILINE)
    from playbooks_worker.supervisor import GRACE_S

    assert int(stop_s) > settings.worker.drain_timeout_s + 2 * GRACE_S
    for unit in UNITS.glob("*.service"):
        text = unit.read_text()
        assert "Type=notify" in text and "WatchdogSec=" in text and "DynamicUser=yes" in text
        assert not re.search(r"(?i)^Environment=.*SIGNING_KEY=", text, re.MULTILINE), "a secret is no line of a unit"


def test_each_worker_of_a_host_has_settings_of_its_own_and_a_port_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given the file that the documentation shows, Then the two workers and the coordinator of a host share no port."""
    operating = (UNITS.parents[1] / "docs" / "operating.md").read_text()
    comment, *lines = operating.split("# /etc/playbooks/heavy.environment")[1].split("```")[0].strip().splitlines()
    assert "playbooks-worker@heavy" in comment
    (tmp_path / "heavy.environment").write_text("\n".join(lines))
    (tmp_path / "environment").write_text("PLAYBOOKS_WORKER__CONCURRENCY=8")

    def of(instance: str) -> Settings:
        """What the unit's own EnvironmentFile lines say, the later ones stronger, as systemd reads them."""
        unit = (UNITS / "playbooks-worker@.service").read_text()
        with monkeypatch.context() as environment:
            for path in re.findall(r"^EnvironmentFile=-/etc/playbooks/(.+)$", unit, re.MULTILINE):
                file = tmp_path / path.replace("%i", instance)
                for line in file.read_text().splitlines() if file.exists() else []:
                    environment.setenv(*line.split("=", 1))
            return load_settings(cwd=tmp_path)

    first, heavy = of("audit"), of("heavy")
    assert (first.worker.concurrency, heavy.worker.concurrency) == (8, 4)
    assert len({first.worker.http, heavy.worker.http, first.coordinator.http}) == 3
