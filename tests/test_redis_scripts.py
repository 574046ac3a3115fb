"""The scripts and keys as files: documented, shipped, within the features we may use, one schema for every key."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from playbooks_providers.ids import AgentId, SessionId
from playbooks_providers.lanes import lanes_of
from playbooks_providers.redis import state
from playbooks_providers.redis.client import trouble
from playbooks_providers.redis.keys import KINDS, Keys
from playbooks_providers.redis.scripts import script

FOLDER = resources.files("playbooks_providers.redis").joinpath("scripts")
NAMES = sorted(file.name.removesuffix(".lua") for file in FOLDER.iterdir() if not file.name.startswith("_"))
TAKES_MEMORY = r"'(XADD|HSET|SET|SADD|ZADD|ZINCRBY|XGROUP)'"
FREES_ONLY = r"redis\.call\('(HDEL|XDEL|SREM|ZREM|DEL|UNLINK)'"


def code(name: str) -> str:
    """A script without its comments."""
    text = FOLDER.joinpath(f"{name}.lua").read_text()
    return "\n".join(line.partition("--")[0] for line in text.splitlines())


@pytest.mark.parametrize("name", NAMES)
def test_each_script_says_what_it_takes_what_it_answers_and_why_it_may_be_repeated(name: str) -> None:
    header = FOLDER.joinpath(f"{name}.lua").read_text().split("\nredis.call")[0]
    assert header.startswith(f"-- {name}(")
    for word in ("KEYS  1", "ANSWERS  "):
        assert word in header
    assert re.search("IDEMPOTENT|Reads only|Changes nothing|Harmless when repeated|More beats harm nobody", header)
    keys = {int(number) for number in re.findall(r"KEYS\[(\d)\]", code(name))}
    assert keys <= {int(number) for number in re.findall(r"(\d) \w", header.split("KEYS")[1].split("--")[0])}


@pytest.mark.parametrize(
    "name", [name for name in NAMES if re.search(TAKES_MEMORY, code(name)) or "mint(" in code(name)]
)
def test_each_script_that_takes_memory_begins_with_a_delete_so_that_it_runs_at_maxmemory(name: str) -> None:
    first = re.search(r"redis\.p?call\('\w+'", code(name))
    writes = re.search(TAKES_MEMORY + r"|mint\(", code(name))
    deletes = re.search(FREES_ONLY, code(name))
    assert first and writes and deletes and deletes.start() < writes.start()


def test_shared_parts_are_put_in_front_of_those_that_use_them() -> None:
    assert script("create").text.index("local function mint") < script("create").text.index("-- create(")
    assert "local function" not in script("beat").text
    assert len({script(name).sha for name in NAMES}) == len(NAMES)


def test_the_keys_that_scripts_and_people_rely_on() -> None:
    keys = Keys("playbooks")
    assert keys.agent(AgentId("a1")).checkpoints == "playbooks:{a1}:checkpoints"
    assert keys.queue("q") == "playbooks:queue:{q}"
    assert keys.queue("q!high") == "playbooks:queue:{q}!high"
    assert keys.agent_of(b"playbooks:{a.1}:meta") == "a.1"


def test_all_keys_of_an_agent_are_in_one_slot_of_a_cluster() -> None:
    keys = Keys("playbooks").agent(AgentId("a1"))
    assert {re.findall(r"\{(.*?)\}", key)[0] for key in (keys.meta, keys.checkpoints, keys.state, keys.inbox)} == {"a1"}


def test_all_keys_of_a_queue_are_in_one_slot_of_a_cluster() -> None:
    keys = Keys("playbooks")
    every = [*map(keys.queue, lanes_of(["q"])), keys.cap("q"), keys.bell("q")]
    assert {re.findall(r"\{(.*?)\}", key)[0] for key in every} == {"q"} and len(set(every)) == 5
    assert all(keys.describe(key) is not None for key in every)


def test_every_key_that_is_built_is_described_by_one_line_of_the_table_and_no_other_is() -> None:
    keys = Keys("team:playbooks")
    agent = keys.agent(AgentId("a1"))
    built = {
        "meta": agent.meta,
        "checkpoints": agent.checkpoints,
        "state": agent.state,
        "inbox": agent.inbox,
        "events": agent.events,
        "sources": keys.sources,
        "queue": keys.queue("q"),
        "cap": keys.cap("q"),
        "bell": keys.bell("q"),
        "queues": keys.queues,
        "programs": keys.programs,
        "sessions": keys.sessions,
        "session": keys.session(SessionId("s")),
        "pokes": keys.pokes(SessionId("s")),
        "session_timeout": keys.session_timeout,
        "due": keys.due,
        "offers": keys.offers,
        "draining": keys.draining,
        "asking": keys.asking,
        "leader": keys.leader,
    }
    assert set(built) == {kind.name for kind in KINDS}
    for name, key in built.items():
        kind = keys.describe(key)
        assert kind is not None and kind.name == name
    for stranger in ("playbooks:due", "team:playbooks:{a1}:other", "team:playbooks:lock", "due"):
        assert keys.describe(stranger) is None


def test_a_stored_state_is_read_back_and_a_torn_one_is_noticed() -> None:
    text = b"5:start,2:{},1:d,6:a,1:b:,"
    assert state.parse(text) == [("start", b"{}"), ("d", b"a,1:b:")]
    assert state.parse(b"") == []
    for torn in (text[:-1], text[:-3], b"5:start,"):
        with pytest.raises(ValueError):
            state.parse(torn)


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("READONLY You can't write against a read only replica.", "unreachable"),
        ("LOADING Redis is loading the dataset in memory", "unreachable"),
        ("ERR Protocol error: unauthenticated multibulk length", "unreachable"),
        (
            "ERR Error running script (call to f_1): @user_script:18: @user_script: 18: -READONLY You can't",
            "unreachable",
        ),
        ("ERR Error running script (call to f_1): @user_script:1: @user_script: 1: -OOM command not allowed", "full"),
        ("OOM command not allowed when used memory > 'maxmemory'.", "full"),
        ("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.", "full"),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", "error"),
        ("ERR unknown command 'BUSYBODY'", "error"),
    ],
)
def test_what_the_server_says_is_understood_from_6_2_on(said: str, means: str) -> None:
    assert trouble(said) == means
