"""`playbooksctl` on a folder, whose process dies at its n-th change of a file, for every n: killed, then gone on with.

Run by tests/test_talk_files.py as a process of its own, which has no threads and can fork: each command is a child of it,
with everything loaded already. A death before a change and a death after the one before are the same; a write dies half way,
too. (`fsync` changes nothing that survives a process; what a power cut leaves is tested where files are written.)

    python file_deaths.py SCENARIO before|half [FIRST STRIDE]   prints the number of deaths, and what went wrong
    python file_deaths.py --jobs N                              every change of every scenario: some minutes
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CHANGES = ("rename", "unlink", "link", "mkdir", "truncate", "ftruncate")
PATIENCE_S = 30.0
ENOUGH = 3  # wrong ones
MOST = 3000  # changes, and more than any scenario makes
WHEN = ("before", "half")


class Fatal:
    """Counts changes of files; the n-th (None: none) kills the process. ``half``: counts writes, and dies in the middle."""

    def __init__(self, left: int | None, half: bool) -> None:
        self.left, self.half, self.count = left, half, 0
        for name in () if half else CHANGES:
            setattr(os, name, self._before(getattr(os, name)))
        os.write = self._written(os.write)
        os.pwrite = self._written(os.pwrite)

    def _dies(self) -> bool:
        self.count += 1
        return self.count == self.left

    def _before(self, change: Any) -> Any:
        def changes(*args: Any, **options: Any) -> Any:
            if self._dies():
                os.kill(os.getpid(), signal.SIGKILL)
            return change(*args, **options)

        return changes

    def _written(self, write: Any) -> Any:
        def writes(fd: int, data: Any, *at: int) -> int:
            if self._dies():
                if self.half:
                    write(fd, bytes(data)[: len(data) // 2], *at)
                os.kill(os.getpid(), signal.SIGKILL)
            return int(write(fd, data, *at))

        return writes


def began(words: list[str], folder: Path, left: int | None = None, half: bool = False) -> int:
    """The pid of a command; its output is in the folder."""
    return forked(folder, lambda: command(words, folder, left, half))


def command(words: list[str], folder: Path, left: int | None, half: bool) -> int:
    Fatal(left, half)
    from playbooks_worker.cli.main import app

    try:
        app([*words, "--storage-path", str(folder / "agents")])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def forked(folder: Path, does: Callable[[], int]) -> int:
    """The pid of a child that ends with what *does* answers."""
    pid = os.fork()
    if pid:
        return pid
    try:
        out = os.open(folder / "out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        code = does()
        sys.stdout.flush()
        os._exit(code)
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(70)


def warmed_up(folder: Path) -> None:
    """Everything is loaded that a command needs, which takes ten times as long as what it then does; nothing of it has run,
    so that there is no thread here. And nobody waits for people."""
    modules = folder / "modules"

    def noted() -> int:
        code = command(["run", "talkers.py:boss", "--args", "[1]", "--json"], folder, None, False)
        code += command(["list", "--json"], folder, None, False)
        modules.write_text("\n".join(sys.modules))
        return code

    assert ended(forked(folder, noted)) == 0, (folder / "out").read_text()
    for name in modules.read_text().splitlines():
        if name not in sys.modules:
            importlib.import_module(name)
    from playbooks_worker.cli import control, local_run

    control._TAKES_S = 0.0
    local_run._LOOK_EVERY_S = local_run._SOON_S = 0.01
    gc.freeze()


def ended(pid: int, beside: Callable[[], None] = lambda: None) -> int:
    """Its exit code, -9 when it was killed."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return -1
        beside()
        time.sleep(0.002)


def ran(words: list[str], folder: Path, left: int | None = None, half: bool = False) -> int:
    return ended(began(words, folder, left, half))


def said(folder: Path) -> Any:
    lines = (folder / "out").read_text().splitlines()
    try:
        return json.loads(lines[-1])
    except (ValueError, IndexError):
        return {"out": lines}


def run_words(folder: Path, entry: str, args: list[Any]) -> list[str]:
    """The command that a person would type now."""
    if (folder / "agents" / "boss" / "start.json").exists():
        return ["run", "talkers.py", "--resume", "boss", "--json"]
    return ["run", f"talkers.py:{entry}", "--agent-id", "boss", "--args", json.dumps(args), "--json"]


def standings(folder: Path) -> dict[str, str]:
    """The status of every agent."""
    from playbooks_providers.filesystem import FilesystemCoordination

    home, _ = FilesystemCoordination.open(folder / "agents")
    return {agent: stands.status.value for agent, stands in asyncio.run(home.standings()).items()}


# --- scenarios: each answers whether a process died, and raises AssertionError for what went wrong -----------------------
def conversation(entry: str, args: list[Any], expected: Any) -> Callable[[Path, int, bool], bool]:
    """A run dies at a change, and is gone on with."""

    def scenario(folder: Path, left: int, half: bool) -> bool:
        code = ran(run_words(folder, entry, args), folder, left, half)
        died = code == -signal.SIGKILL
        if died:
            code = ran(run_words(folder, entry, args), folder)
        result = said(folder)
        assert (code, result.get("result")) == (0, expected), (code, result)
        left_over = [(agent, status) for agent, status in standings(folder).items() if status not in ENDED]
        assert not left_over, left_over
        return died

    return scenario


ENDED = ("completed", "failed", "cancelled")


def approved(folder: Path, left: int, half: bool) -> bool:
    """A person answers while it runs; it dies, before or after that."""
    answered = False

    def answers() -> None:
        nonlocal answered
        if not answered and (folder / "agents" / "boss" / "start.json").exists():
            (folder / "there").mkdir(exist_ok=True)
            at = folder / "there"
            (at / "agents").unlink(missing_ok=True)
            (at / "agents").symlink_to(folder / "agents")
            answered = ran(["answer", "boss", "yes", "--json"], at) == 0

    code = ended(began(run_words(folder, "approval", []), folder, left, half), answers)
    died = code == -signal.SIGKILL
    if died:
        code = ended(began(run_words(folder, "approval", []), folder), answers)
    assert (code, said(folder).get("result")) == (0, "yes"), (code, said(folder))
    return died


def ordered(entry: str, words: list[str], *, agents: int, command_dies: bool, ends: int) -> Any:
    """A run of so many agents has died; a person orders something of the first, and it goes on. One of the two dies at a
    change. In the end all are cancelled."""

    def scenario(folder: Path, left: int, half: bool) -> bool:
        has_begun(folder, entry, [], agents=agents)
        died = False
        if command_dies:
            died = ran(words, folder, left, half) == -signal.SIGKILL
        if died or not command_dies:
            code = ran(words, folder)
            known = "is cancelled" in (folder / "out").read_text()  # the one that died had done it
            assert code == 0 or known, (code, said(folder))
        code = ran(run_words(folder, entry, []), folder, None if command_dies else left, half)
        if code == -signal.SIGKILL:
            died = True
            code = ran(run_words(folder, entry, []), folder)
        assert code == ends, (code, said(folder))
        standing = standings(folder)
        assert len(standing) == agents and set(standing.values()) == {"cancelled"}, standing
        return died

    return scenario


def has_begun(folder: Path, entry: str, args: list[Any], *, agents: int) -> None:
    """A run whose process is killed when so many of its agents have written a checkpoint."""
    pid = began(run_words(folder, entry, args), folder)

    def kills() -> None:
        if len(list(folder.glob("agents/*/*_ckpt_*.pkl"))) >= agents:
            os.kill(pid, signal.SIGKILL)

    ended(pid, kills)


def has_paused(folder: Path, left: int, half: bool) -> bool:
    """Paused and unpaused while nobody runs it, each command dying at a change; then it goes on."""
    has_begun(folder, "naps", [0.5], agents=1)
    died = ran(["pause", "boss"], folder, left, half) == -signal.SIGKILL
    code = ran(["pause", "boss"], folder) if died else 0
    assert code == 0, ("pause", code, said(folder))
    assert standings(folder) == {"boss": "paused"}
    if ran(["unpause", "boss"], folder, left, half) == -signal.SIGKILL:
        died = True
        code = ran(["unpause", "boss"], folder)
        assert code == 0 or "is ready, not paused" in str(said(folder)), ("unpause", code, said(folder))
    code = ran(run_words(folder, "naps", [0.5]), folder)
    assert (code, said(folder).get("result")) == (0, 0.5), (code, said(folder))
    return died


SCENARIOS: dict[str, Callable[[Path, int, bool], bool]] = {
    "delivery": conversation("boss", [2], [[["heard", 0], ["heard", 1]], 1]),
    "burst": conversation("burst", [6], list(range(6))),
    "question": conversation("asker", [], ["ONE", "TWO", 2]),
    "join": conversation("fan", [2], [[0, 1], [0, 1, 100]]),
    "failed child": conversation("failing_child", [], [["ChildFailed", "failed", True], ["ChildFailed"]]),
    "passed over": conversation("picky", [], ["b", ["a", "c"]]),
    "cancelled child": conversation(
        "cancels_a_child", [], [["tidied: no more need", "tidied: its parent boss has cancelled it"], "completed"]
    ),
    "timer": conversation("naps", [0.01], 0.01),
    "person": approved,
    "cancel, command": ordered("parent_of_sleepers", ["cancel", "boss"], agents=3, command_dies=True, ends=3),
    "cancel, run": ordered("parent_of_sleepers", ["cancel", "boss"], agents=3, command_dies=False, ends=3),
    "terminate": ordered("approval", ["terminate", "boss"], agents=1, command_dies=True, ends=3),
    "pause": has_paused,
}


def main(name: str, when: str, first: int = 1, stride: int = 1) -> int:
    os.environ["PLAYBOOKS_DURABILITY__SIGNING_KEY"] = "a signing key of thirty-two letters"
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="playbooks-test-", dir=memory) as root:
        os.chdir(root)
        (Path(root) / "talkers.py").write_bytes((HERE / "talkers.py").read_bytes())
        sys.path[0] = root  # and no longer that of this file, whose talkers.py is another module of that name
        from playbooks_worker.host.programs import load

        load("talkers.py")
        warmed_up(Path(root))
        deaths, wrong = 0, []
        for left in range(first, MOST, stride):
            folder = Path(root) / f"death-{left}"
            folder.mkdir()
            try:
                died = SCENARIOS[name](folder, left, when == "half")
            except AssertionError as error:
                died = True
                wrong.append(f"at change {left}: {error}")
            if not died or len(wrong) == ENOUGH:
                break
            deaths += 1
    print(json.dumps({"deaths": deaths, "wrong": wrong}))
    return bool(wrong)


def all_of_them(jobs: int) -> int:
    """Every change of every scenario, so many at a time."""

    def one(what: tuple[str, str]) -> tuple[tuple[str, str], dict[str, Any]]:
        done = subprocess.run([sys.executable, __file__, *what], capture_output=True, text=True)
        found: dict[str, Any] = {"deaths": 0, "wrong": [done.stderr]}
        return what, json.loads(done.stdout) if done.stdout else found

    deaths = wrong = 0
    with ThreadPoolExecutor(jobs) as pool:
        for what, found in pool.map(one, [(name, when) for name in SCENARIOS for when in WHEN]):
            deaths, wrong = deaths + found["deaths"], wrong + len(found["wrong"])
            print(*what, found["deaths"], *found["wrong"], sep=" · ", flush=True)
    print(f"files: {len(SCENARIOS)} scenarios, {deaths} deaths at changes of files: {wrong} wrong")
    return bool(wrong)


if __name__ == "__main__":
    jobs = sys.argv[1] == "--jobs"
    sys.exit(all_of_them(int(sys.argv[2])) if jobs else main(*sys.argv[1:3], *map(int, sys.argv[3:])))
