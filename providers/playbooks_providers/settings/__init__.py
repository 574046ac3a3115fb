"""What a person can set, and where each value came from. Called by the wiring (command line, daemons), by nothing below.

Flag > environment (`PLAYBOOKS_<SECTION>__<KEY>`) > `playbooks.toml` (project, then user) > `.playbooks/dev.json` > default.
"""

from playbooks_providers.settings.encryption_keys import encryption_keys
from playbooks_providers.settings.http_address import HttpAddress, http_address
from playbooks_providers.settings.invariants import check
from playbooks_providers.settings.load import load_settings
from playbooks_providers.settings.sections import (
    CoordinatorSettings,
    DurabilitySettings,
    RedisSettings,
    Settings,
    WaitKind,
    WorkerSettings,
)
from playbooks_providers.settings.show import settings_json, settings_rows, settings_table
from playbooks_providers.settings.signing_key import ensure_signing_key, signing_key, weakness

__all__ = [
    "CoordinatorSettings",
    "DurabilitySettings",
    "HttpAddress",
    "RedisSettings",
    "Settings",
    "WaitKind",
    "WorkerSettings",
    "check",
    "encryption_keys",
    "ensure_signing_key",
    "http_address",
    "load_settings",
    "settings_json",
    "settings_rows",
    "settings_table",
    "signing_key",
    "weakness",
]
