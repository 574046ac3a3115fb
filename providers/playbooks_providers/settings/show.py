"""Settings for people: every value with where it came from, secrets hidden. Called by `--print-config`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from pydantic import BaseModel

from playbooks_providers.settings.sections import Settings

HIDDEN = "********"


@dataclass(frozen=True, slots=True)
class Row:
    """One setting. ``value`` is JSON, without secrets."""

    name: str
    value: Any
    source: str


def settings_rows(settings: Settings) -> list[Row]:
    rows = []
    for section in Settings.model_fields:
        values: BaseModel = getattr(settings, section)
        for key, value in values.model_dump(mode="json").items():
            name = f"{section}.{key}"
            shown = hide_password(value) if name == "redis.url" else value  # a SecretStr dumps as stars by itself
            rows.append(Row(name, shown, settings.sources.get(name, "default")))
    return rows


def settings_json(settings: Settings) -> str:
    """`{"section": {"key": {"value": …, "source": …}}}`."""
    tree: dict[str, dict[str, Any]] = {}
    for row in settings_rows(settings):
        section, _, key = row.name.partition(".")
        tree.setdefault(section, {})[key] = {"value": row.value, "source": row.source}
    return json.dumps(tree, indent=2)


def settings_table(settings: Settings) -> str:
    rows = [(row.name, "-" if row.value is None else str(row.value), row.source) for row in settings_rows(settings)]
    names, values = (max(len(row[column]) for row in rows) for column in (0, 1))
    return "\n".join(f"{name:<{names}}  {value:<{values}}  {source}" for name, value, source in rows)


def hide_password(url: str) -> str:
    """*url* with stars for a password, which may be part of the query: a socket's URL has no other place for one."""
    address, asked, query = url.partition("?")
    parts = urlsplit(address)
    if parts.password is not None:
        user, _, host = parts.netloc.rpartition("@")
        address = urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}:{HIDDEN}@{host}"))
    words = [word.partition("=") for word in query.split("&")]
    shown = [f"{name}={HIDDEN}" if unquote(name) == "password" else name + is_ + value for name, is_, value in words]
    return f"{address}{asked}{'&'.join(shown)}"
