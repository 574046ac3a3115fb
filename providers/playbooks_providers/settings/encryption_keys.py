"""The keys that encrypt what agents hold, if there are any. They encrypt nothing here.

One key a line: the first encrypts, the others decrypt what was encrypted with them before. So a new key is put last
everywhere, then first everywhere, and the old one goes when no agent needs it any more.
"""

from __future__ import annotations

from playbooks_providers.errors import ConfigError
from playbooks_providers.settings.sections import Settings
from playbooks_providers.settings.signing_key import GOOD_LENGTH


def encryption_keys(settings: Settings) -> list[str]:
    """The configured ones (given themselves, or by their file), the one that encrypts first; none: nothing is encrypted.

    Raises `ConfigError`, naming the setting and never the key."""
    given, path = settings.durability.encryption_key, settings.durability.encryption_key_file
    name = "durability.encryption_key" if given is not None else "durability.encryption_key_file"
    where = settings.sources.get(name, name)
    if given is not None:
        text = given.get_secret_value()
    elif path is not None:
        try:
            text = path.expanduser().read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read the encryption key {path} ({where}): {error}") from error
    else:
        return []
    keys = text.split()
    if not keys:
        raise ConfigError(f"there is no encryption key ({where}); `openssl rand -hex 32` makes one")
    if any(len(key) < GOOD_LENGTH for key in keys):
        raise ConfigError(
            f"an encryption key has at least {GOOD_LENGTH} characters, none of them a space ({where}); "
            "`openssl rand -hex 32` makes one"
        )
    return keys
