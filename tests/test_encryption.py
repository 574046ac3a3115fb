"""`durability.encryption_key`: nothing that a program holds lies in clear, and nothing is lost where a key is missing."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from playbooks_providers.envelope import (
    Body,
    Cipher,
    Header,
    Sealer,
    Unreadable,
    open_letter,
    open_start,
    read_header,
    seal_letter,
    seal_start,
)
from playbooks_providers.errors import BadCheckpoint, BadLetter, BadStart, ConfigError, LockedLetter
from playbooks_providers.events import BEGINNING
from playbooks_providers.ids import AgentId, CheckpointId, Nonce, SessionId
from playbooks_providers.letters import Mail
from playbooks_providers.memory import MemoryCheckpoints, MemoryCoordination, MemoryStore
from playbooks_providers.model import Choice, Created, Entry, Minted, SessionInfo, StartRecord, Status
from playbooks_providers.redis import connect
from playbooks_providers.settings import encryption_keys, load_settings, settings_json
from playbooks_providers.testing import RedisServer, eventually, redis_server
from playbooks_worker import daemon
from playbooks_worker.cli.people import asked_by
from playbooks_worker.cli.views import record
from playbooks_worker.hold import Bench
from playbooks_worker.host.answers import answer_letter, answered
from playbooks_worker.host.events import Reading
from playbooks_worker.host.gate import Gate
from playbooks_worker.host.programs import load
from playbooks_worker.host.surroundings import Surroundings
from playbooks_worker.shift import Shift

PROGRAMS = Path(__file__).parent / "programs"
sys.path.insert(0, str(PROGRAMS))
from desks import Desk  # noqa: E402

WORDS = "the quick brown canary"
SIGNING = "a signing key for tests, of good length"
ONE, OTHER = "1" * 64, "2" * 64
A = AgentId("a1")
SOON_S = 20.0


def header(seq: int = 1, **changed: Any) -> Header:
    return replace(
        Header(
            A, "program", 5, seq, Nonce("n"), 1, "step", '[["program:main",3,"await x()",0]]', lowering=1, attempts=1
        ),
        **changed,
    )


def sealed(sealer: Sealer, head: Header, payload: bytes) -> Entry:
    return Entry(head.id, *sealer.seal(head, payload))


# --- the cipher --------------------------------------------------------------------------------------------------------


def test_a_text_opens_in_its_context_at_its_place_and_nowhere_else() -> None:
    cipher = Cipher([ONE])
    text = cipher.seal("context", "place", b"plain")
    assert cipher.open("context", "place", text) == b"plain"
    assert b"plain" not in text and text != cipher.seal("context", "place", b"plain")
    for context, place in (("context", "another"), ("another", "place")):
        with pytest.raises(Unreadable, match="changed, or encrypted for another place"):
            cipher.open(context, place, text)
    for at in range(4, len(text)):
        with pytest.raises(Unreadable):
            cipher.open("context", "place", text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :])


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    old, both, new = Cipher([ONE]), Cipher([OTHER, ONE]), Cipher([OTHER])
    before, after = old.seal("c", "p", b"plain"), both.seal("c", "p", b"plain")
    assert both.open("c", "p", before) == new.open("c", "p", after) == b"plain"
    with pytest.raises(
        Unreadable, match=f"encrypted with key {old.key_id}, which is not here: set durability.encryption_key"
    ):
        new.open("c", "p", before)


def test_what_is_compared_is_alike_for_the_same_text_and_place_alone() -> None:
    cipher = Cipher([ONE])
    text = cipher.seal_alike("c", "p", b"plain")
    assert text == cipher.seal_alike("c", "p", b"plain") and cipher.open("c", "p", text) == b"plain"
    assert len({cipher.seal_alike(c, p, t)[4:16] for c in "ab" for p in "cd" for t in (b"e", b"f")}) == 8


def test_a_key_without_the_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    with pytest.raises(
        ConfigError, match=r"needs the package cryptography: pip install 'playbooks-enterprise\[encryption\]'"
    ):
        Cipher([ONE])


# --- checkpoints, letters, starts ----------------------------------------------------------------------------------------


def test_payload_and_values_of_a_header_are_encrypted_and_what_an_operator_needs_is_not() -> None:
    sealer = Sealer.of(SIGNING, [ONE])
    asks = json.dumps([["q1", "boss", WORDS, 1, None]], separators=(",", ":"))
    steps = json.dumps([["s", 1, 2, WORDS]], separators=(",", ":"))
    whole = header(asks_json=asks, steps_json=steps)
    entry = sealed(sealer, whole, WORDS.encode())
    assert WORDS.encode() not in entry.header + entry.payload
    told = read_header(entry.header)
    assert (told.stack, told.cipher, told.size) == (whole.stack, Cipher([ONE]).key_id, len(WORDS))
    assert (told.asks, told.steps) == ([], []) and told.sealed
    opened = sealer.open(entry, A)
    assert (opened.payload, opened.header.asks_json, opened.header.steps_json) == (WORDS.encode(), asks, steps)


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": "completed", "result": {"said": WORDS}},
        {"kind": "completed", "result": None},
        {"kind": "completed", "result": []},
        {"kind": "failed", "error": {"type": "ValueError", "message": WORDS, "traceback": WORDS}},
    ],
)
def test_an_end_is_encrypted_and_comes_back_as_it_was(changed: dict[str, Any]) -> None:
    sealer = Sealer.of(SIGNING, [ONE])
    entry = sealed(sealer, header(**changed), b"")
    assert WORDS.encode() not in entry.header and b"ValueError" not in entry.header and entry.payload == b""
    back = sealer.verify(entry, A)
    assert (back.kind, back.result, back.error) == (changed["kind"], changed.get("result"), changed.get("error"))


def test_a_stamp_encrypts_as_its_sealer_does() -> None:
    sealer = Sealer.of(SIGNING, [ONE])
    stamp = sealer.stamp(header())
    for steps in ("[]", json.dumps([["s", 1, 2, WORDS]], separators=(",", ":"))):
        entry = Entry(CheckpointId(5, 7), *stamp.step(7, 9, header().stack_json, WORDS.encode(), steps))
        assert WORDS.encode() not in entry.header + entry.payload
        opened = sealer.open(entry, A)
        assert (opened.payload, opened.header.steps_json, opened.header.seq) == (WORDS.encode(), steps, 7)


def test_the_signature_is_verified_before_anything_is_decrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    sealer = Sealer.of(SIGNING, [ONE])
    entry = sealed(sealer, header(), WORDS.encode())
    decrypted: list[str] = []
    monkeypatch.setattr(Cipher, "open", lambda self, context, place, text: decrypted.append(place) or b"")
    forged = Entry(entry.id, entry.header, entry.payload[:-1] + bytes([entry.payload[-1] ^ 1]))
    with pytest.raises(BadCheckpoint, match="not signed with this key"):
        sealer.open(forged, A)
    assert decrypted == []
    sealer.open(entry, A)
    assert decrypted == ["payload 5-1"]


def test_a_missing_key_is_one_line_that_names_it_and_the_setting() -> None:
    entry = sealed(Sealer.of(SIGNING, [ONE]), header(), WORDS.encode())
    for other in (Sealer.of(SIGNING), Sealer.of(SIGNING, [OTHER])):
        with pytest.raises(BadCheckpoint, match="which is not here: set durability.encryption_key") as refused:
            other.open(entry, A)
        assert Cipher([ONE]).key_id in str(refused.value) and "\n" not in str(refused.value)


def test_a_letter_is_encrypted_and_one_whose_key_is_missing_is_no_forgery() -> None:
    one, plain = Sealer.of(SIGNING, [ONE]), Sealer.of(SIGNING)
    letter = seal_letter(one, A, "b1", 3, 1, Body("message", "", WORDS))
    mail = Mail(1, letter.sender, letter.birth, letter.number, letter.body)
    assert WORDS.encode() not in letter.body
    assert open_letter(one, A, mail) == Body("message", "", WORDS)
    with pytest.raises(LockedLetter, match="is not here"):
        open_letter(plain, A, mail)
    with pytest.raises(BadLetter, match="not signed") as refused:
        open_letter(one, AgentId("a2"), mail)
    assert not isinstance(refused.value, LockedLetter)


def test_a_start_is_encrypted_and_the_same_start_is_the_same_record() -> None:
    sealer = Sealer.of(SIGNING, [ONE])
    start = StartRecord(A, "program", "main", [WORDS], {"x": WORDS}, "q", 1)
    stored = StartRecord.from_json(seal_start(sealer, start).to_json())
    assert WORDS not in stored.to_json() + stored.origin
    assert stored.origin == seal_start(sealer, start).origin != seal_start(sealer, replace(start, args=["x"])).origin
    back = open_start(sealer, stored)
    assert (back.args, back.kwargs) == ([WORDS], {"x": WORDS}) and WORDS not in back.to_json()
    for other in (Sealer.of(SIGNING), None):
        with pytest.raises(BadStart, match="agent a1: what it was started with cannot be read: .* is not here"):
            open_start(other, stored)


# --- agents --------------------------------------------------------------------------------------------------------------


class World:
    """Agents of tests/programs/secretive.py over some home, held by one shift after another."""

    def __init__(self, coordination: Any, checkpoints: Any) -> None:
        self.coordination = coordination
        self.checkpoints = checkpoints
        self.program = load(str(PROGRAMS / "secretive.py"))
        self.shifts = 0

    @classmethod
    def in_memory(cls) -> World:
        store = MemoryStore()
        return cls(MemoryCoordination(store), MemoryCheckpoints(store))

    @asynccontextmanager
    async def worker(self, *keys: str, park_after_s: float | None = None) -> AsyncIterator[Sealer]:
        self.shifts += 1
        session = SessionId(f"s{self.shifts}")
        await self.coordination.register(SessionInfo(session, "w", "h", 1, "b", 0))
        sealer = Sealer.of(SIGNING, keys)
        around = Surroundings(self.checkpoints, sealer, lambda: 1, park_after_s=park_after_s)
        bench = Bench(self.coordination, around, {"secretive": self.program})
        gate = Gate(lambda: 0.0)
        shift = Shift(session, gate, bench, ["q"], concurrency=9, drain_timeout_s=5.0)
        serving = asyncio.create_task(shift.serve())
        try:
            yield sealer
        finally:
            await shift.drain(5.0)
            await serving

    async def submit(self, entry: str, *args: Any, keys: tuple[str, ...] = ()) -> None:
        start = StartRecord(A, "secretive", entry, list(args), {}, "q", 0)
        made = await self.coordination.create(seal_start(Sealer.of(SIGNING, keys), start))
        assert isinstance(made, Created) and made.ticket is not None
        await self.coordination.enqueue(made.ticket)

    async def retry(self) -> None:
        view = await self.coordination.describe(A)
        minted = await self.coordination.retry(A, view.fence, Choice.RESUME)
        assert isinstance(minted, Minted)
        await self.coordination.enqueue(minted.ticket)

    async def becomes(self, status: Status, agent: AgentId = A) -> Any:
        async def is_so() -> Any:
            view = await self.coordination.describe(agent)
            return view if view is not None and view.status is status else None

        return await eventually(is_so, SOON_S, f"{agent} to be {status}")

    async def asks(self, sealer: Sealer) -> Any:
        async def it_does() -> Any:
            view = await self.coordination.describe(A)
            return asked_by(view, sealer) if view is not None else None

        return (await eventually(it_does, SOON_S, "it to ask"))[0]

    async def answer(self, sealer: Sealer, question: str) -> None:
        await answered(self.coordination, A, answer_letter(sealer, A, question, f"{WORDS} in an answer"))


async def all_of_it(world: World, *keys: str) -> Any:
    """The story of main: as it waits for a person, who answers, and its end. Yields when there is something to look at."""
    async with world.worker(*keys) as sealer:
        await world.submit("main", f"{WORDS} submitted", keys=keys)
        asked = await world.asks(sealer)
        assert asked.question == f"{WORDS} submitted in a question"
        yield
        await world.answer(sealer, asked.id)
        view = await world.becomes(Status.COMPLETED)
        result = record(view, sealer)["result"]
        assert len(result["kept"]) == 4 and f"{WORDS} in an answer" in result["kept"]
        events = await world.coordination.emitted(A, BEGINNING, limit=9)
        assert [told.event for told in Reading(A, sealer).read(events)] == [f"{WORDS} submitted told to people"]
        yield


def in_store(server: RedisServer, folder: Path) -> bool:
    """Whether the words are anywhere in a dump of the server: its whole memory, in no way packed."""
    assert server.command("SAVE").startswith(b"+OK")
    return WORDS.encode() in (folder / "dump.rdb").read_bytes()


@pytest.mark.redis
@pytest.mark.parametrize(("keys", "seen"), [((ONE,), False), ((), True)], ids=["encrypted", "in clear"])
def test_no_word_that_a_program_says_is_in_redis_in_clear(tmp_path: Path, keys: tuple[str, ...], seen: bool) -> None:
    async def main() -> None:
        with redis_server("--rdbcompression", "no", "--dir", str(tmp_path)) as server:
            home = connect(server.url)
            try:
                world = World(home.coordination, home.checkpoints)
                async for _ in all_of_it(world, *keys):
                    assert in_store(server, tmp_path) is seen
            finally:
                await home.close()

    asyncio.run(main())


@pytest.mark.redis
def test_no_word_of_an_error_and_none_of_a_parked_agent_is_in_redis_in_clear(tmp_path: Path) -> None:
    async def main() -> None:
        with redis_server("--rdbcompression", "no", "--dir", str(tmp_path)) as server:
            home = connect(server.url)
            try:
                world = World(home.coordination, home.checkpoints)
                async with world.worker(ONE) as sealer:
                    await world.submit("fails", WORDS, keys=(ONE,))
                    told = record(await world.becomes(Status.FAILED), sealer)
                    assert told["error"] == {"type": "ValueError", "message": f"{WORDS} in an error"}
                    assert not in_store(server, tmp_path)
                    await home.coordination.delete(A)
                async with world.worker(ONE, park_after_s=0.05) as sealer:
                    other = StartRecord(AgentId("b1"), "secretive", "main", [WORDS], {}, "q", 0)
                    made = await home.coordination.create(seal_start(sealer, other))
                    await home.coordination.enqueue(made.ticket)  # type: ignore[union-attr, arg-type]
                    await world.becomes(Status.WAITING, AgentId("b1"))
                    assert not in_store(server, tmp_path)
            finally:
                await home.close()

    asyncio.run(main())


def test_an_agent_whose_key_is_missing_is_blocked_and_goes_on_when_it_is_there() -> None:
    async def main() -> None:
        world = World.in_memory()
        async with world.worker(ONE) as sealer:
            await world.submit("main", WORDS, keys=(ONE,))
            asked = await world.asks(sealer)
        for keys in ((), (OTHER,)):
            async with world.worker(*keys):
                view = await world.becomes(Status.BLOCKED)
                assert "is encrypted with key" in view.why and "set durability.encryption_key" in view.why
                assert "\n" not in view.why
            await world.retry()
        async with world.worker(OTHER, ONE) as sealer:  # what it writes from now on, it writes with the new one
            await world.answer(sealer, asked.id)
            view = await world.becomes(Status.COMPLETED)
            assert read_header(view.header).cipher == Cipher([OTHER]).key_id

    asyncio.run(main())


def test_an_agent_that_has_not_begun_is_blocked_where_its_arguments_cannot_be_read() -> None:
    async def main() -> None:
        world = World.in_memory()
        await world.submit("fails", WORDS, keys=(ONE,))
        async with world.worker():
            view = await world.becomes(Status.BLOCKED)
            assert view.why.startswith("agent a1: what it was started with cannot be read: it is encrypted with key")
        await world.retry()
        async with world.worker(ONE):
            await world.becomes(Status.FAILED)

    asyncio.run(main())


def test_a_letter_that_cannot_be_decrypted_here_blocks_its_reader_and_is_read_where_it_can_be() -> None:
    async def main() -> None:
        world = World.in_memory()
        await world.submit("listens")
        letter = seal_letter(Sealer.of(SIGNING, [ONE]), A, "person:p", 1, 1, Body("message", "", WORDS))
        async with world.worker():

            async def it_waits() -> bool:
                view = await world.coordination.describe(A)
                return view is not None and view.last is not None or view.status is Status.RUNNING

            await eventually(it_waits, SOON_S, "it to run")
            await answered(world.coordination, A, letter)
            view = await world.becomes(Status.BLOCKED)
            assert "a letter of person:p cannot be read: it is encrypted with key" in view.why
        await world.retry()
        async with world.worker(ONE) as sealer:
            assert record(await world.becomes(Status.COMPLETED), sealer)["result"] == f"heard {WORDS}"

    asyncio.run(main())


def test_agents_that_were_in_clear_go_on_where_everything_is_encrypted() -> None:
    async def main() -> None:
        world = World.in_memory()
        async with world.worker() as sealer:
            await world.submit("main", WORDS)
            asked = await world.asks(sealer)
        async with world.worker(ONE) as sealer:
            await world.answer(sealer, asked.id)
            view = await world.becomes(Status.COMPLETED)
            assert read_header(view.header).sealed

    asyncio.run(main())


def test_a_large_state_is_packed_encrypted_and_resumed_by_the_next_owner() -> None:
    async def main() -> None:
        world = World.in_memory()
        async with world.worker(ONE) as sealer:
            await world.submit("grows", WORDS, keys=(ONE,))
            asked = await world.asks(sealer)
        kept = await world.checkpoints.list(A)
        assert any(read_header(one.header).base is not None for one in kept)
        assert not any(
            WORDS.encode() in one.header + one.payload
            for one in await world.checkpoints.load_many(A, [k.id for k in kept])
        )
        async with world.worker(ONE) as sealer:
            await world.answer(sealer, asked.id)
            view = await world.becomes(Status.COMPLETED)
            assert record(view, sealer)["result"] == sum(len(f"{WORDS} {number} " * 20) for number in range(40))

    asyncio.run(main())


# --- a folder, and commands ----------------------------------------------------------------------------------------------


def test_no_word_is_in_a_folder_in_clear_and_a_run_goes_on_with_its_key_alone(tmp_path: Path) -> None:
    (tmp_path / "secretive.py").write_text((PROGRAMS / "secretive.py").read_text())
    desk, key = Desk(tmp_path), {"PLAYBOOKS_DURABILITY__ENCRYPTION_KEY": ONE}
    here = ("--storage-path", ".checkpoints")

    def in_folder() -> list[Path]:
        return [
            path
            for path in (tmp_path / ".checkpoints").rglob("*")
            if path.is_file() and WORDS.encode() in path.read_bytes()
        ]

    asked = ("run", "secretive.py", "--agent-id", "a1", "--args", json.dumps([WORDS]))
    process = subprocess.Popen(
        desk.command(*asked),
        cwd=tmp_path,
        env={**os.environ, **key},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    questions = desk.until(
        lambda: (said := desk.run("inbox", *here, "--json", **key)).returncode == 0 and json.loads(said.stdout),
        "it to ask",
    )
    assert questions[0]["question"] == f"{WORDS} in a question"
    process.kill()
    process.communicate()
    assert in_folder() == []
    for command in (("inbox", *here), ("run", "secretive.py", "--resume", "a1"), ("tail", "a1", "--no-follow", *here)):
        refused = desk.run(*command)
        assert refused.returncode != 0 and "set durability.encryption_key" in refused.stderr, command
        assert WORDS not in refused.stdout + refused.stderr
    assert desk.run("answer", "a1", "yes", *here, **key).returncode == 0
    ended = desk.run("run", "secretive.py", "--resume", "a1", **key)
    assert ended.returncode == 0 and f"{WORDS} in a result" in ended.stdout
    assert in_folder() == []
    without = desk.run("wait", "a1", *here)
    assert (
        without.returncode != 0 and "set durability.encryption_key" in without.stderr and "completed" in without.stderr
    )
    assert "null" not in without.stdout


# --- settings ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "playbooks.toml"


def test_keys_are_lines_of_the_setting_or_of_its_file(toml: Path) -> None:
    assert encryption_keys(load_settings(cwd=toml.parent)) == []
    toml.write_text(f'[durability]\nencryption_key = """{ONE}\n{OTHER}"""\n')
    assert encryption_keys(load_settings(cwd=toml.parent)) == [ONE, OTHER]
    toml.write_text('[durability]\nencryption_key_file = "keys"\n')
    (toml.parent / "keys").write_text(f"{OTHER}\n{ONE}\n")
    assert encryption_keys(load_settings(cwd=toml.parent)) == [OTHER, ONE]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('encryption_key = "short and weak"\n', "an encryption key has at least 32 characters"),
        ('encryption_key_file = "nowhere"\n', "cannot read the encryption key"),
        ('encryption_key = "x"\nencryption_key_file = "y"\n', "give durability.encryption_key.* not both"),
    ],
)
def test_a_key_that_cannot_be_used_is_one_line_and_not_said(toml: Path, text: str, line: str) -> None:
    toml.write_text("[durability]\n" + text)
    with pytest.raises(ConfigError, match=line) as refused:
        encryption_keys(load_settings(cwd=toml.parent))
    assert "\n" not in str(refused.value) and "weak" not in str(refused.value)
    environment = {"PLAYBOOKS_DURABILITY__SIGNING_KEY": SIGNING}
    done = CliRunner().invoke(daemon.app, ["p.py", "--check-config"], env=environment)
    assert done.exit_code == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_no_key_is_shown(toml: Path) -> None:
    toml.write_text(f'[durability]\nencryption_key = "{ONE}"\n')
    assert ONE not in settings_json(load_settings(cwd=toml.parent))
    assert ONE not in repr(load_settings(cwd=toml.parent))
