"""What one owner knows of its agent's history: the chain of the newest checkpoint with its bytes, and which ids are kept.

Called by `life` for every checkpoint. The rule is `envelope.Chain`, the bytes are `envelope.delta`; this keeps the bases
that the next delta may need. Small states that do not grow are stored as they are and never packed.

Memory, beyond the state itself: the payload of the newest checkpoint, its chain as stored (at most 1.5 times what it would
take whole), and payloads of older links as long as they take less than `UNPACKED_LIMIT` together.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import dataclass

from playbooks_providers.envelope import Base, Chain, Codec, Opened, base_mac, delta, oldest_needed, read_header
from playbooks_providers.ids import CheckpointId
from playbooks_providers.model import Entry

PLAIN_BELOW = 4 << 10
"""Bytes of a payload below which it is stored as it is, unless it grows: packing costs as much as the rest of an await."""

_PLAIN_ALWAYS = 1 << 10  # bytes below which it is, growing or not

UNPACKED_LIMIT = 4 << 20
"""Bytes of payloads, beside the newest one, that are kept for deltas to come; others are unpacked again when needed."""

_A_LITTLE = 16  # the part of its size by which a state may grow and yet be stored as it is
_NOTHING = CheckpointId(0, 0)


@dataclass(frozen=True, slots=True)
class Packed:
    """A payload as it is to be stored. ``place``: of its base in the chain; ``refused``: a delta was made and is too big."""

    payload: bytes
    stored: bytes
    codec: Codec
    base: Base | None = None
    place: int = 0
    refused: bool = False


@dataclass(slots=True)
class _Link:
    mac: str
    stored: bytes
    codec: Codec
    size: int
    payload: bytes | None


class History:
    """See the module. `pack` may run in a thread, while nothing else is asked; the rest belongs to the event loop.

    ``plain_below``: payloads of fewer bytes are stored as they are; it follows the size of a small state that does not
    grow, up to what was given. ``known``: whether it has learnt what earlier owners wrote; nothing is trimmed before that.
    """

    def __init__(self, keep_last_n: int, *, plain_below: int, known: bool) -> None:
        self.plain_below = min(plain_below, _PLAIN_ALWAYS)
        self.known = known
        self._keep = keep_last_n
        self._small = plain_below
        self._largest = 0  # bytes of a payload, so far
        self._plain: tuple[Entry, bytes] | None = None  # the newest one and its payload, when that is stored as it is
        self._chain: Chain | None = None
        self._links: list[_Link] = []
        self._kept: list[CheckpointId] = []
        self._wholes: dict[CheckpointId, CheckpointId] = {}  # of those that are deltas: the end of the chain

    # --- packing ----------------------------------------------------------------------------------------------------
    def pack(self, payload: bytes) -> Packed:
        """As a delta where the rule says so and it fits; else whole, compressed if that saves a tenth."""
        if self._plain is not None:
            self._begin_with(*self._plain)
        chain = self._chain
        place = chain.base(len(payload)) if chain is not None else None
        if chain is not None and place is not None:
            stored = delta.encode(payload, self._payload(place))
            if chain.fits(len(stored), len(payload)):
                base = Base(
                    chain.ids[: place + 1], self._links[place].mac, chain.number + 1, chain.delta_bytes + len(stored)
                )
                return Packed(payload, stored, "delta", base, place)
        refused = place is not None
        if len(payload) < self._small:
            return Packed(payload, payload, "raw", refused=refused)
        stored = delta.compress(payload)
        if len(stored) * 10 <= len(payload) * 9:
            return Packed(payload, stored, "zstd", refused=refused)
        return Packed(payload, payload, "raw", refused=refused)

    def _payload(self, place: int) -> bytes:
        """What the link at *place* holds, unpacked from the nearest one below it that is at hand."""
        at = place
        while at > 0 and self._links[at].payload is None:
            at -= 1
        payload = b""
        for link in self._links[at : place + 1]:
            payload = link.payload or delta.unpack(link.stored, link.codec, link.size, payload)
        return payload

    # --- what is written --------------------------------------------------------------------------------------------
    def writing(self, id: CheckpointId, base: Base | None) -> CheckpointId:
        """*id* is about to be written: the oldest checkpoint that must stay for the newest `keep_last_n` to open."""
        kept = self._kept
        kept.append(id)
        if base is not None:
            self._wholes[id] = base.ids[0]
        if not self.known:
            return _NOTHING
        if not self._wholes:
            return kept[-self._keep] if len(kept) > self._keep else kept[0]
        return oldest_needed((id, self._wholes.get(id, id)) for id in kept[-self._keep :])

    def unwritten(self, id: CheckpointId) -> None:
        """The store has refused *id* for good."""
        if id in self._kept:
            self._kept.remove(id)
        self._wholes.pop(id, None)

    def written(self, entry: Entry, payload: bytes, packed: Packed | None) -> None:
        """*entry* with *payload* is durable; *packed* is what it was made of, unless it is stored as it is."""
        size = len(payload)
        if size > self._largest:
            self._largest = size
        elif size < self._largest < self._small and self.plain_below <= self._largest:
            self._settled_at(self._largest)  # it grows and shrinks again, as between a call and its return
        if packed is not None:
            self._advance(entry, packed)
        else:
            self._plain = entry, payload
            if self._chain is not None:  # nothing is made against what was before it
                self._chain = None
                self._links.clear()
        if self.known and len(self._kept) > self._keep:
            for id in self._kept[: -self._keep]:
                self._wholes.pop(id, None)
            del self._kept[: -self._keep]

    def _settled_at(self, size: int) -> None:
        self.plain_below = max(self.plain_below, min(self._small, size + size // _A_LITTLE))

    def _begin_with(self, plain: Entry, payload: bytes) -> None:
        """*plain* has become what deltas may be made against."""
        self._plain = None
        size = len(payload)
        self._chain = Chain((plain.id,), size, size)
        self._links = [_Link(base_mac(plain.header), payload, "raw", size, payload)]

    def _advance(self, entry: Entry, packed: Packed) -> None:
        if packed.base is None:
            self._settled_at(len(packed.payload))
        chain, stored = self._chain, len(packed.stored)
        if packed.base is not None and chain is not None:
            self._chain = chain.with_delta(entry.id, stored, packed.place)
            del self._links[packed.place + 1 :]
        elif chain is not None:
            self._chain = chain.with_whole(entry.id, len(packed.payload), stored, refused=packed.refused)
            self._links.clear()
        else:
            self._chain = Chain((entry.id,), len(packed.payload), stored)
        mac = base_mac(entry.header)
        self._links.append(_Link(mac, packed.stored, packed.codec, len(packed.payload), packed.payload))
        room = UNPACKED_LIMIT
        for link in reversed(self._links[:-1]):
            if link.payload is not None and (room := room - link.size) < 0:
                link.payload = None

    # --- what earlier owners wrote ----------------------------------------------------------------------------------
    def resumed(self, opened: Opened) -> None:
        """Go on with the chain of the checkpoint that this owner resumes from."""
        self._kept.append(opened.header.id)
        if opened.header.whole != opened.header.id:
            self._wholes[opened.header.id] = opened.header.whole
        if opened.header.kind != "step":
            return
        if opened.header.base is None and len(opened.payload) < self._small:
            self._plain = opened.chain[-1], opened.payload
            return
        base = opened.header.base
        self._chain = Chain(
            tuple(entry.id for entry in opened.chain),
            opened.headers[0].size,
            len(opened.stored[0]),
            base.number if base is not None else 0,
            base.delta_bytes if base is not None else 0,
        )
        self._links = [
            _Link(base_mac(entry.header), stored, header.codec, header.size, None)
            for entry, header, stored in zip(opened.chain, opened.headers, opened.stored, strict=True)
        ]
        self._links[-1].payload = opened.payload

    def learn(self, stored: Iterable[Entry]) -> None:
        """What the home has, earlier owners' included. A header that cannot be read needs nothing but itself."""
        for entry in stored:
            if entry.id not in self._kept:
                bisect.insort(self._kept, entry.id)
                self._note(entry)
        self.known = True

    def _note(self, entry: Entry) -> None:
        try:
            whole = read_header(entry.header).whole
        except ValueError:
            return
        if whole != entry.id:
            self._wholes[entry.id] = whole
