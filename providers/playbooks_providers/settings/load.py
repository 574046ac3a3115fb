"""Finds the settings: reads each source, lays one over the other, checks the whole, and explains what is wrong.

Every problem is a `ConfigError` of one line that names the key, where it was set and what is allowed.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_settings import EnvSettingsSource, SettingsError, TomlConfigSettingsSource

from playbooks_providers.errors import ConfigError
from playbooks_providers.settings import misspelt
from playbooks_providers.settings.sections import Settings

CONFIG_FILE = "playbooks.toml"
DEV_FILE = Path(".playbooks", "dev.json")

# Where what pydantic says is no help.
_ALLOWED = {
    "redis.url": "use redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix:///PATH",
    "redis.prefix": "use a word without blanks and braces",
    "durability.signing_key": "use any non-empty string",
    "durability.encryption_key": "use a string of 32 characters or more (`openssl rand -hex 32`)",
    "worker.group": "use at most 63 letters, digits, '.', '-' and '_'; a letter or digit first and last",
}
_SECRET = frozenset({"durability.signing_key", "durability.encryption_key", "redis.url"})
# Two ways to say one thing: a source that says either hides both of the sources below it.
_ALTERNATIVES = {
    "signing_key": "signing_key_file",
    "signing_key_file": "signing_key",
    "encryption_key": "encryption_key_file",
    "encryption_key_file": "encryption_key",
}


@dataclass(frozen=True, slots=True)
class _Layer:
    """What one source says. ``name`` is a format with the fields section and key, for messages."""

    name: str
    values: Mapping[str, Any]


def load_settings(
    overrides: Mapping[str, Mapping[str, object]] | None = None, cwd: Path | None = None, *, dev_file: bool = True
) -> Settings:
    """Read all sources. *overrides* are flags, by section and key; None means that the flag was not given.

    *cwd* is the project's folder; with it, relative paths of the settings become absolute. ``dev_file=False`` leaves
    `.playbooks/dev.json` alone: it says where a running `playbooksctl dev` is, which is nothing to a local run.
    Raises `ConfigError`.
    """
    folder = cwd if cwd is not None else Path()
    merged: dict[str, dict[str, Any]] = {}
    sources: dict[str, str] = {}
    for layer in _layers(overrides or {}, folder, dev_file=dev_file):
        _lay_under(layer, merged, sources)
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_explain(error, merged, sources)) from error
    if cwd is not None:
        settings = _anchor(settings, cwd)
    settings._sources.update(sources)
    return settings


def _layers(overrides: Mapping[str, Mapping[str, object]], folder: Path, *, dev_file: bool) -> Iterator[_Layer]:
    """The sources, strongest first."""
    flags = {
        section: {key: value for key, value in values.items() if value is not None}
        for section, values in overrides.items()
    }
    yield _Layer("{section}.{key} on the command line", flags)
    misspelt.refuse_variables(os.environ, Settings.model_fields)
    try:
        yield _Layer("PLAYBOOKS_{SECTION}__{KEY} in the environment", EnvSettingsSource(Settings)())
    except SettingsError as error:  # which says neither the variable nor what it has
        raise ConfigError(_no_json(Settings.model_fields)) from error
    user = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    for path in (folder / CONFIG_FILE, user / "playbooks" / CONFIG_FILE):
        try:
            said = TomlConfigSettingsSource(Settings, path)()
        except (OSError, ValueError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
            raise ConfigError(f"{path} cannot be read: {error}") from error
        misspelt.refuse_tables(said, Settings.model_fields, str(path))
        yield _Layer(f"[{{section}}] {{key}} in {_literal(path)}", said)
    if dev_file:
        yield _dev_layer(folder / DEV_FILE)


def _no_json(sections: Iterable[str]) -> str:
    """What is wrong in an environment where something ought to be JSON and is none. No value: it may be a secret."""
    for name, text in os.environ.items():
        section, nested, key = name.upper().removeprefix(misspelt.PREFIX).partition("__")
        if not name.upper().startswith(misspelt.PREFIX) or section.lower() not in sections:
            continue
        if not nested and not text.startswith("{"):
            return f"{name} in the environment names no setting: use {name}__<KEY>"
        field = _section(section.lower()).model_fields.get(key.lower())
        if field is not None and isinstance(field.default, dict) and not text.startswith("{"):
            return f"{name} in the environment: use a JSON object, '{{\"NAME\": 3}}' say"
    return "a variable PLAYBOOKS_<SECTION>__<KEY> in the environment is no JSON where it has to be"


def _dev_layer(path: Path) -> _Layer:
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError:
        return _Layer("", {})
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); start `playbooksctl dev` again or delete it") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} is not a JSON object; start `playbooksctl dev` again or delete it")
    values: dict[str, dict[str, Any]] = {}
    for key, (section, name) in {
        "redis_url": ("redis", "url"),
        "signing_key_file": ("durability", "signing_key_file"),
    }.items():
        if data.get(key):
            values.setdefault(section, {})[name] = data[key]
    return _Layer(_literal(path), values)


def _lay_under(layer: _Layer, merged: dict[str, dict[str, Any]], sources: dict[str, str]) -> None:
    """Add what *layer* says and no stronger one said."""
    added: dict[str, set[str]] = {}
    for section in Settings.model_fields:
        values = layer.values.get(section, {})
        if not isinstance(values, Mapping):
            where = layer.name.format(section=section, key="<key>", SECTION=section.upper(), KEY="<KEY>")
            raise ConfigError(f"{where}: [{section}] must be a table of keys and values")
        for key, value in values.items():
            where = layer.name.format(section=section, key=key, SECTION=section.upper(), KEY=key.upper())
            other = _ALTERNATIVES.get(key)
            if other is not None and other in added.get(section, ()):
                raise ConfigError(f"{where}: give {section}.{key} or {section}.{other}, not both")
            there = merged.setdefault(section, {})
            if key in there or (other is not None and other in there):
                continue
            there[key] = value
            sources[f"{section}.{key}"] = where
            added.setdefault(section, set()).add(key)


def _explain(error: ValidationError, merged: Mapping[str, Mapping[str, Any]], sources: Mapping[str, str]) -> str:
    """The first problem of *error* as one line."""
    problem = error.errors()[0]
    section, key = str(problem["loc"][0]), str(problem["loc"][1])
    name = f"{section}.{key}"
    where = sources.get(name, "")
    if problem["type"] == "extra_forbidden":
        known = list(_section(section).model_fields)
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {section}.{near[0]}?" if near else f"[{section}] has: {', '.join(known)}"
        return f"unknown setting {name} ({where}): {hint}"
    shown = "" if name in _SECRET else f" = {merged[section][key]!r}"
    said = problem["msg"].removeprefix("Value error, ")
    allowed = said[:1].lower() + said[1:]
    allowed = _ALLOWED.get(name, allowed)
    return f"bad setting {name}{shown} ({where}): {allowed}"


def _section(name: str) -> type[BaseModel]:
    kind = Settings.model_fields[name].annotation
    assert isinstance(kind, type) and issubclass(kind, BaseModel)
    return kind


def _anchor(settings: Settings, cwd: Path) -> Settings:
    """The same with its paths made absolute."""
    durability = settings.durability
    paths: dict[str, Path] = {"storage_path": cwd / durability.storage_path}
    if durability.signing_key_file is not None:
        paths["signing_key_file"] = cwd / durability.signing_key_file
    if durability.encryption_key_file is not None:
        paths["encryption_key_file"] = cwd / durability.encryption_key_file
    return settings.model_copy(update={"durability": durability.model_copy(update=paths)})


def _literal(path: Path) -> str:
    return str(path).replace("{", "{{").replace("}", "}}")
