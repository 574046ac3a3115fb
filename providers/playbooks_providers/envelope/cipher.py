"""AES-256-GCM over values of programs, under one of several keys: the first encrypts, all decrypt. Made by the wiring.

Used by `sealer` (payloads, and what of a header are values), `letter` and `start`, and by the host for events. It knows no
store; whoever calls it has verified the signature first, where there is one.

A sealed text is the key's id (4 bytes), a random nonce (12), and the ciphertext with its tag (16 more). Each *context* (one
owner's time with an agent, one sender, ...) has a key of its own, derived from the secret: random nonces must not meet
under one key, which 2^32 texts would make likely, and a busy day of one cluster is 2^31. *place* is bound to the text, so
that it does not open elsewhere (GCM's additional data).

The package `cryptography` is an extra, and is not imported before somebody has a key.
"""

from __future__ import annotations

import functools
import hmac
import json
import os
from collections.abc import Sequence
from typing import Any

from playbooks_providers.errors import ConfigError

_ID, _NONCE, _TAG = 4, 12, 16  # bytes
MORE = _ID + _NONCE + _TAG
"""Bytes that a sealed text has more than what is in it."""

_CONTEXTS = 4096  # whose keys are at hand; one takes 4 µs to make
_compact = json.JSONEncoder(separators=(",", ":")).encode


class Unreadable(Exception):
    """A sealed text does not open: its key is not here, or it belongs to another place. ``key``: the id of its key."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(why)
        self.key = key


def no_key(key: str) -> Unreadable:
    """The key with that id is not here."""
    return Unreadable(
        key,
        f"it is encrypted with key {key}, which is not here: set durability.encryption_key (or encryption_key_file)",
    )


def key_of(sealed: bytes) -> str:
    """The id of the key that *sealed* was made with."""
    return sealed[:_ID].hex()


class Cipher:
    """Share one per process; it keeps the keys of a few thousand contexts and no other state."""

    def __init__(self, secrets: Sequence[str]) -> None:
        """*secrets*: non-empty strings, the one that encrypts first. Raises `ConfigError` where the package is missing."""
        try:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError as error:
            raise ConfigError(
                "durability.encryption_key needs the package cryptography: pip install 'playbooks-enterprise[encryption]'"
            ) from error
        roots = [hmac.digest(b"playbooks encryption 1", secret.encode(), "sha256") for secret in secrets]
        self._roots = {hmac.digest(root, b"id", "sha256")[:_ID].hex(): root for root in reversed(roots)}
        self.key_id = hmac.digest(roots[0], b"id", "sha256")[:_ID].hex()
        self._first = bytes.fromhex(self.key_id)
        self._refusal: type[Exception] = InvalidTag

        @functools.lru_cache(_CONTEXTS)
        def box(key: str, context: str) -> Any:
            return AESGCM(hmac.digest(self._roots[key], b"key" + context.encode(), "sha256"))

        self._box = box

    def seal(self, context: str, place: str, plain: bytes) -> bytes:
        nonce = os.urandom(_NONCE)
        sealed: bytes = self._box(self.key_id, context).encrypt(nonce, plain, place.encode())
        return b"%b%b%b" % (self._first, nonce, sealed)

    def seal_alike(self, context: str, place: str, plain: bytes) -> bytes:
        """The same text for the same *plain* at the same place under the same key: it can be compared, and nothing else of
        it can be seen. The nonce is a keyed hash of what it is for (as in SIV)."""
        said = b"nonce" + _compact([context, place]).encode() + plain
        nonce = hmac.digest(self._roots[self.key_id], said, "sha256")[:_NONCE]
        sealed: bytes = self._box(self.key_id, context).encrypt(nonce, plain, place.encode())
        return b"%b%b%b" % (self._first, nonce, sealed)

    def open(self, context: str, place: str, sealed: bytes) -> bytes:
        """Raises `Unreadable`."""
        key = key_of(sealed)
        if key not in self._roots:
            raise no_key(key)
        try:
            plain: bytes = self._box(key, context).decrypt(
                sealed[_ID : _ID + _NONCE], sealed[_ID + _NONCE :], place.encode()
            )
        except (self._refusal, ValueError) as error:
            raise Unreadable(key, "it does not decrypt here: changed, or encrypted for another place") from error
        return plain


def opened(cipher: Cipher | None, context: str, place: str, sealed: bytes) -> bytes:
    """`Cipher.open`, also where there is no cipher. Raises `Unreadable`."""
    if cipher is None:
        raise no_key(key_of(sealed))
    return cipher.open(context, place, sealed)
