"""Settings: who wins, what is refused and how it says so, and the signing key."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from playbooks_providers.errors import ConfigError
from playbooks_providers.settings import (
    Settings,
    ensure_signing_key,
    load_settings,
    settings_json,
    settings_rows,
    settings_table,
    signing_key,
    weakness,
)

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine reaches a test."""
    for name in list(os.environ):
        if name.upper().startswith("PLAYBOOKS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))


def project(folder: Path, text: str) -> Path:
    (folder / "playbooks.toml").write_text(text)
    return folder


def user(folder: Path, text: str) -> None:
    (folder / "user" / "playbooks").mkdir(parents=True)
    (folder / "user" / "playbooks" / "playbooks.toml").write_text(text)


def dev(folder: Path, text: str) -> None:
    (folder / ".playbooks").mkdir()
    (folder / ".playbooks" / "dev.json").write_text(text)


def test_defaults_are_those_of_the_docs(tmp_path: Path) -> None:
    settings = load_settings(cwd=tmp_path)
    assert settings.durability.storage_type == "filesystem"
    assert settings.durability.storage_path == tmp_path / ".checkpoints"
    assert settings.durability.keep_last_n == 10
    assert settings.redis.url == "redis://127.0.0.1:6379/0" and settings.redis.prefix == "playbooks"
    assert (settings.worker.heartbeat_s, settings.worker.concurrency, settings.worker.processes) == (1.0, 50, 1)
    assert settings.worker.drain_timeout_s == 25.0
    assert (settings.coordinator.session_timeout_s, settings.coordinator.tick_s) == (5.0, 0.25)
    assert signing_key(settings) is None


def test_flag_beats_environment_beats_project_beats_user_beats_dev_beats_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def url() -> str:
        return load_settings(cwd=tmp_path).redis.url

    dev(tmp_path, json.dumps({"redis_url": "redis://dev:1"}))
    assert url() == "redis://dev:1"
    assert load_settings(cwd=tmp_path, dev_file=False).redis.url == "redis://127.0.0.1:6379/0"
    user(tmp_path, '[redis]\nurl = "redis://user:1"')
    assert url() == "redis://user:1"
    project(tmp_path, '[redis]\nurl = "redis://project:1"')
    assert url() == "redis://project:1"
    monkeypatch.setenv("PLAYBOOKS_REDIS__URL", "redis://env:1")
    assert url() == "redis://env:1"
    assert load_settings({"redis": {"url": "redis://flag:1"}}, cwd=tmp_path).redis.url == "redis://flag:1"
    assert load_settings({"redis": {"url": None}}, cwd=tmp_path).redis.url == "redis://env:1"


def test_sources_are_laid_over_each_other_key_by_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project(tmp_path, "[worker]\nconcurrency = 7\nprocesses = 3")
    monkeypatch.setenv("PLAYBOOKS_WORKER__CONCURRENCY", "9")
    settings = load_settings({"worker": {"heartbeat_s": 0.2}}, cwd=tmp_path)
    assert (settings.worker.concurrency, settings.worker.processes, settings.worker.heartbeat_s) == (9, 3, 0.2)


def test_an_empty_variable_counts_as_unset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYBOOKS_DURABILITY__SIGNING_KEY", "")
    assert signing_key(load_settings(cwd=tmp_path)) is None


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PLAYBOOKS_WORKER__CONCURENCY", "5", ["worker.concurency", "did you mean worker.concurrency?"]),
        ("PLAYBOOKS_WORKER__CONCURRENCY", "many", ["worker.concurrency = 'many'", "PLAYBOOKS_WORKER__CONCURRENCY"]),
        ("PLAYBOOKS_WORKER__CONCURRENCY", "0", ["greater than or equal to 1"]),
        ("PLAYBOOKS_COORDINATOR__SESSION_TIMEOUT_S", "inf", ["coordinator.session_timeout_s = 'inf'", "finite number"]),
        ("PLAYBOOKS_REDIS__URL", "http://user:secret@x", ["redis.url", "use redis://HOST:PORT/DB"]),
        ("PLAYBOOKS_WORKER", "5x", ["PLAYBOOKS_WORKER in the environment", "use PLAYBOOKS_WORKER__<KEY>"]),
        ("PLAYBOOKS_DURABILITY", "secret", ["PLAYBOOKS_DURABILITY in the environment"]),
        ("PLAYBOOKS_WORKER", "3", ["PLAYBOOKS_WORKER__<KEY> in the environment", "[worker] must be a table"]),
        ("PLAYBOOKS_WORKER__LIMITS", "audit=3", ["PLAYBOOKS_WORKER__LIMITS in the environment", "a JSON object"]),
        ("PLAYBOOKS_WORKER__GROUP", "a b", ["worker.group = 'a b'", "letters, digits"]),
        ("PLAYBOOKS_REDIS__PREFIX", "a{b", ["redis.prefix", "without blanks and braces"]),
        ("PLAYBOOKS_WORKR__CONCURRENCY", "3", ["unknown", "did you mean PLAYBOOKS_WORKER__CONCURRENCY?"]),
        ("PLAYBOOKS_REDISS__URL", "redis://:secret@x", ["did you mean PLAYBOOKS_REDIS__URL?"]),
        ("playbooks_coordinators__tick_s", "1", ["did you mean PLAYBOOKS_COORDINATOR__TICK_S?"]),
    ],
)
def test_a_bad_variable_is_one_line_with_key_source_and_what_is_allowed(
    name: str, value: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        load_settings(cwd=tmp_path)
    message = str(caught.value)
    assert "\n" not in message and "secret" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[coordinator]\nsession_timeout = 5", ["did you mean coordinator.session_timeout_s?", "playbooks.toml"]),
        ("[worker]\nxyzzy = 5", ["unknown setting worker.xyzzy", "[worker] has: processes, concurrency"]),
        ('[worker]\nprocesses = "two"', ["bad setting worker.processes = 'two'", "[worker] processes in"]),
        ("worker = 3", ["[worker] must be a table"]),
        ("[durabilty]\nkeep_last_n = 3", ["unknown section [durabilty] in", "toml", "did you mean [durability]?"]),
        ("[worker", ["playbooks.toml cannot be read"]),
        ('[durability]\nsigning_key = ""', ["durability.signing_key", "any non-empty string"]),
        ('[durability]\nsigning_key = "a"\nsigning_key_file = "b"', ["not both"]),
    ],
)
def test_a_bad_file_is_one_line_with_key_source_and_what_is_allowed(
    text: str, words: list[str], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(cwd=project(tmp_path, text))
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_sections_of_the_upstream_framework_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PLAYBOOKS_MODEL__NAME", "PLAYBOOKS_TEST__X", "PLAYBOOKS_WORKR_CONCURRENCY", "PLAYBOOKS_TEST_SECONDS"):
        monkeypatch.setenv(name, "x")
    project(tmp_path, 'model = "claude"\n[litellm]\nretries = 3\n[worker]\nprocesses = 2')
    assert load_settings(cwd=tmp_path).worker.processes == 2


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_a_torn_dev_file_says_what_to_do(text: str, tmp_path: Path) -> None:
    dev(tmp_path, text)
    with pytest.raises(ConfigError, match="playbooksctl dev"):
        load_settings(cwd=tmp_path)


def test_a_key_hides_the_key_file_of_weaker_sources_and_the_other_way_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("from the file\n")
    dev(tmp_path, json.dumps({"redis_url": "redis://x", "signing_key_file": str(tmp_path / "key")}))
    assert signing_key(load_settings(cwd=tmp_path)) == SecretStr("from the file")
    monkeypatch.setenv("PLAYBOOKS_DURABILITY__SIGNING_KEY", "from the environment")
    assert signing_key(load_settings(cwd=tmp_path)) == SecretStr("from the environment")
    flags = {"durability": {"signing_key_file": "key"}}
    assert signing_key(load_settings(flags, cwd=tmp_path)) == SecretStr("from the file")


def test_a_missing_or_empty_key_file_is_a_config_error(tmp_path: Path) -> None:
    settings = load_settings({"durability": {"signing_key_file": "key"}}, cwd=tmp_path)
    with pytest.raises(ConfigError, match="cannot read the signing key"):
        signing_key(settings)
    (tmp_path / "key").write_text(" \n")
    with pytest.raises(ConfigError, match="is empty"):
        signing_key(settings)


def test_printing_shows_sources_and_hides_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYBOOKS_REDIS__URL", "redis://me:hunter2@db.internal:6379/3")
    monkeypatch.setenv("PLAYBOOKS_DURABILITY__SIGNING_KEY", "top-secret")
    settings = load_settings({"worker": {"processes": 2}}, cwd=tmp_path)
    tree = json.loads(settings_json(settings))
    assert tree["redis"]["url"]["value"] == "redis://me:********@db.internal:6379/3"
    assert tree["worker"]["processes"] == {"value": 2, "source": "worker.processes on the command line"}
    assert tree["worker"]["concurrency"]["source"] == "default"
    for text in (settings_json(settings), settings_table(settings), repr(settings.durability)):
        assert "hunter2" not in text and "top-secret" not in text
    assert "PLAYBOOKS_REDIS__URL in the environment" in settings_table(settings)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://db:1/0?password=hunter2&db=3", "redis://db:1/0?password=********&db=3"),
        ("unix:///run/redis.sock?db=0&password=hunter2", "unix:///run/redis.sock?db=0&password=********"),
        ("rediss://me:hunter2@db/0?p%61ssword=hunter2", "rediss://me:********@db/0?p%61ssword=********"),
        ("redis://db:1/0?db=3", "redis://db:1/0?db=3"),
        ("redis://db:1/0", "redis://db:1/0"),
    ],
)
def test_a_password_is_hidden_wherever_a_url_has_it(url: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYBOOKS_REDIS__URL", url)
    assert json.loads(settings_json(load_settings()))["redis"]["url"]["value"] == shown


def test_plain_settings_are_the_defaults_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYBOOKS_WORKER__CONCURRENCY", "9")
    assert Settings().worker.concurrency == 50


def test_a_made_key_is_private_strong_and_kept(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    key = ensure_signing_key(folder)
    assert weakness(key) is None
    assert stat.S_IMODE((folder / ".signing_key").stat().st_mode) == 0o600
    assert ensure_signing_key(folder) == key
    assert os.listdir(folder) == [".signing_key"]


def test_many_processes_that_make_the_key_at_once_agree_on_it(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from playbooks_providers.settings import ensure_signing_key\n"
        "sys.stdin.readline(); print(ensure_signing_key(Path(sys.argv[1])).get_secret_value())"
    )
    makers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for maker in makers:
        assert maker.stdin is not None
        maker.stdin.write("go\n")
        maker.stdin.flush()
    keys = {maker.communicate(timeout=60)[0].strip() for maker in makers}
    assert keys == {ensure_signing_key(tmp_path).get_secret_value()}


def test_a_short_key_is_warned_about_and_an_empty_key_file_refused(tmp_path: Path) -> None:
    assert "5 characters" in (weakness(SecretStr("short")) or "")
    assert weakness(SecretStr("x" * 32)) is None
    (tmp_path / ".signing_key").write_text("")
    with pytest.raises(ConfigError, match="is empty"):
        ensure_signing_key(tmp_path)


def test_the_documentation_has_each_setting_with_its_default() -> None:
    told = re.findall(r"^\| `(\w+\.\w+)` \| (.*?) \| ", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE)
    settings = {row.name: row.value for row in settings_rows(Settings())}
    defaults = {name: "-" if value is None else json.dumps(value).strip('"') for name, value in settings.items()}
    assert dict(told) == defaults and len(told) == len(defaults)
