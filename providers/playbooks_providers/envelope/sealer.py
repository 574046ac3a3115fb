"""Signs checkpoints and opens them again. The only place that touches the signing key; it knows no store and no pickle.

Packed, then encrypted (where there is a key for that), then signed; verified, then decrypted, then unpacked. What of a
header are values of a program (its result, its questions to people, ...) is encrypted in it.

The MAC is HMAC-SHA256 over the header's length (4 bytes, big endian), the header's JSON and the stored payload. The
header names agent, fence and seq (its place) and its base's MAC, so an entry that was copied to another agent or
position, or put on another base, does not open. A delta opens with its whole chain: all of it is verified before anything
of it is decoded, and no more is made of it than the signed size.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from playbooks_providers.envelope import delta
from playbooks_providers.envelope.cipher import Cipher, Unreadable, opened
from playbooks_providers.envelope.header import (
    MAC_BYTES,
    Header,
    Unverified,
    base_mac,
    encode,
    fixed,
    parse,
    read_header,
    steps_field,
    values,
    with_values,
    without_values,
)
from playbooks_providers.errors import BadCheckpoint
from playbooks_providers.ids import AgentId, CheckpointId
from playbooks_providers.model import Entry

_BLOCK = 64  # bytes, of SHA-256


@dataclass(frozen=True, slots=True)
class Opened:
    """A checkpoint whose signature and place are right: its payload may be unpickled.

    ``chain``: the entries that it took, the whole one first, itself last; ``headers``: theirs, and ``stored``: what each
    holds, packed and not encrypted, in the same order."""

    header: Header
    payload: bytes
    chain: tuple[Entry, ...]
    headers: tuple[Header, ...]
    stored: tuple[bytes, ...]


class Sealer:
    """Seals and opens with one signing key (any non-empty string). Share one per process; it keeps no other state."""

    __slots__ = ("_inner", "_outer", "cipher", "key_id")

    def __init__(self, key: str | bytes, cipher: Cipher | None = None) -> None:
        self.cipher = cipher
        secret = key.encode() if isinstance(key, str) else key
        if not secret:
            raise ValueError("the signing key is empty")
        self.key_id = hashlib.sha256(secret).hexdigest()[:8]
        # HMAC as RFC 2104 has it, its two hashes keyed once and copied for each use: half of the cost of hmac.digest is
        # fetching the algorithm and hashing the key, a third of that of hmac.HMAC.copy is its Python.
        block = (hashlib.sha256(secret).digest() if len(secret) > _BLOCK else secret).ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    @classmethod
    def of(cls, signing: str, encryption: Sequence[str] = ()) -> Sealer:
        """With the keys of the settings: that which signs, and those which encrypt, if there are any. Raises
        `ConfigError`."""
        return cls(signing, Cipher(encryption) if encryption else None)

    def seal(self, header: Header, stored: bytes) -> tuple[bytes, bytes]:
        """The fields `h` and `d` of a stored entry: MAC and header, and the payload as it is to be stored.

        *header* says how it is stored: codec, base, and the payload's own size unless it is raw."""
        size = len(stored) if header.codec == "raw" else header.size
        if self.cipher is not None:
            header, stored = self._encrypted(self.cipher, header, stored)
        elif header.cipher:  # of a checkpoint that was made from another one
            header = replace(header, cipher="")
        text = encode(header, size, self.key_id)
        return self.mac(text, stored) + text, stored

    def _encrypted(self, cipher: Cipher, header: Header, stored: bytes) -> tuple[Header, bytes]:
        context, shown = context_of(header), values(header)
        sealed = base64.b64encode(cipher.seal(context, f"values {header.id}", shown)).decode() if shown else ""
        hidden = without_values(header, cipher.key_id, sealed)
        return hidden, cipher.seal(context, f"payload {header.id}", stored) if stored else stored

    def stamp(self, header: Header) -> Stamp:
        """For an owner who seals many steps that differ from *header* only in seq, time, stack, steps and size."""
        return Stamp(self, header)

    def verify(self, entry: Entry, agent: AgentId) -> Header:
        """The header of *entry*, as read from its place in *agent*'s history. Raises `BadCheckpoint`; decodes nothing.

        For a final entry (completed, failed, cancelled) pass an empty payload, which is what it was sealed with.
        """
        mac, text = entry.header[:MAC_BYTES], entry.header[MAC_BYTES:]
        if not hmac.compare_digest(mac, self.mac(text, entry.payload)):
            raise BadCheckpoint(agent, str(entry.id), self._why_refused(entry))
        try:
            header = parse(text)
        except ValueError as error:  # signed with our key, so written by a newer version
            raise BadCheckpoint(agent, str(entry.id), str(error)) from error
        if header.agent != agent or header.id != entry.id:
            why = f"it was signed as checkpoint {header.id} of agent {header.agent} and moved here"
            raise BadCheckpoint(agent, str(entry.id), why)
        try:
            return self._with_values(header)
        except Unreadable as error:
            raise BadCheckpoint(agent, str(entry.id), str(error)) from error

    def read(self, h: bytes) -> Unverified:
        """`read_header`, with what of it can be decrypted here; ``sealed`` says that something cannot."""
        header = read_header(h)
        try:
            return Unverified(self._with_values(header))
        except Unreadable:
            return header

    def _with_values(self, header: Header) -> Header:
        if not header.sealed:
            return header
        try:
            sealed = base64.b64decode(header.sealed)
            return with_values(header, opened(self.cipher, context_of(header), f"values {header.id}", sealed))
        except ValueError as error:
            raise Unreadable(header.cipher, f"it does not decode: {error}") from error

    def open(self, entry: Entry, agent: AgentId, bases: Iterable[Entry] = ()) -> Opened:
        """Verify *entry* and its chain, then make its payload. Raises `BadCheckpoint`, naming the base that is at fault.

        *bases*: what is there of the ids that its header's ``base`` names, in any order.
        """
        header = self.verify(entry, agent)
        if header.base is None:
            stored = self._decrypted(entry, header)
            return Opened(header, _payload(entry, header, stored, b""), (entry,), (header,), (stored,))
        there = {base.id: base for base in bases}
        chain, headers = [entry], [header]
        while (base := headers[-1].base) is not None:
            below = there.get(base.ids[-1])
            if below is None:
                raise BadCheckpoint(agent, str(entry.id), f"its base {base.ids[-1]} is not there")
            headers.append(self._verify_base(entry.id, below, base.mac, base.ids, agent))
            chain.append(below)
        payload, pieces = b"", []
        for one, said in zip(reversed(chain), reversed(headers), strict=True):
            pieces.append(self._decrypted(one, said))
            payload = _payload(one, said, pieces[-1], payload)
        return Opened(header, payload, tuple(reversed(chain)), tuple(reversed(headers)), tuple(pieces))

    def _decrypted(self, entry: Entry, header: Header) -> bytes:
        """What *entry*, which has been verified, holds."""
        if not header.cipher or not entry.payload:
            return entry.payload
        try:
            return opened(self.cipher, context_of(header), f"payload {header.id}", entry.payload)
        except Unreadable as error:
            raise BadCheckpoint(header.agent, str(entry.id), str(error)) from error

    def _verify_base(
        self, id: CheckpointId, base: Entry, mac: str, ids: tuple[CheckpointId, ...], agent: AgentId
    ) -> Header:
        """The header of *base*, on which a link of the chain of checkpoint *id* was made, above *ids* and with *mac*."""
        try:
            header = self.verify(base, agent)
        except BadCheckpoint as bad:
            raise BadCheckpoint(agent, str(id), f"its base {base.id} cannot be used: {bad.why}") from bad
        below = () if header.base is None else header.base.ids
        if base_mac(base.header) != mac or below != ids[:-1]:
            raise BadCheckpoint(agent, str(id), f"its base {base.id} is another checkpoint than the one it was made on")
        return header

    def mac(self, text: bytes, payload: bytes) -> bytes:
        """HMAC-SHA256 over the length of *text* (4 bytes), *text* and *payload*."""
        inner = self._inner.copy()
        inner.update(len(text).to_bytes(4, "big") + text)
        inner.update(payload)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()

    def _why_refused(self, entry: Entry) -> str:
        """A guess for people from unverified bytes, after the MAC was found wrong; nothing is decided by it."""
        if len(entry.header) <= MAC_BYTES:
            return "truncated: its header is incomplete"
        try:
            claimed = read_header(entry.header)
        except ValueError:
            return f"corrupt or not signed with this key (key id {self.key_id})"
        if claimed.key != self.key_id:
            return f"signed with another key (key id {claimed.key}, this process has {self.key_id})"
        if claimed.codec == "raw" and isinstance(claimed.size, int) and claimed.size > len(entry.payload):
            return f"truncated: {len(entry.payload)} of {claimed.size} bytes are there"
        return f"corrupt or not signed with this key (key id {self.key_id})"


def context_of(header: Header) -> str:
    """Whose key an entry is encrypted with: one owner's time with an agent."""
    return f"checkpoints {header.agent} {header.fence} {header.nonce}"


def _payload(entry: Entry, header: Header, stored: bytes, base: bytes) -> bytes:
    """Decode one entry that has been verified and decrypted."""
    try:
        return delta.unpack(stored, header.codec, header.size, base)
    except ValueError as error:  # signed with our key: a bug of whoever wrote it
        raise BadCheckpoint(header.agent, str(entry.id), f"it does not decode: {error}") from error


class Stamp:
    """Seals the raw steps of one owner; what they have in common is encoded once. The same bytes as `Sealer.seal`."""

    __slots__ = ("_context", "_end", "_fence", "_middle", "_sealer", "_start")

    def __init__(self, sealer: Sealer, header: Header) -> None:
        self._sealer = sealer
        self._fence = header.fence
        self._context = context_of(header)
        if sealer.cipher is not None:
            header = without_values(header, sealer.cipher.key_id, "")
        self._start, middle, end = fixed(header, sealer.key_id)
        self._middle = middle
        self._end = f"{end}}}"

    def step(
        self, seq: int, time_ms: int, stack_json: str, payload: bytes, steps_json: str = "[]"
    ) -> tuple[bytes, bytes]:
        """The fields `h` and `d` of a stored entry, kind "step"."""
        size, end, cipher = len(payload), self._end, self._sealer.cipher
        if cipher is not None:
            place = f"{self._fence}-{seq}"
            payload = cipher.seal(self._context, f"payload {place}", payload)
            if steps_json != "[]":
                sealed = cipher.seal(self._context, f"values {place}", f'{{"steps":{steps_json}}}'.encode())
                steps_json, end = "[]", f'{end[:-1]},"sealed":"{base64.b64encode(sealed).decode()}"}}'
        text = (
            f'{self._start}{seq}{self._middle}{time_ms},"kind":"step","stack":{stack_json}'
            f'{steps_field(steps_json)},"size":{size}{end}'
        ).encode()
        return self._sealer.mac(text, payload) + text, payload
