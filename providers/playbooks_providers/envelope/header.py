"""The header of a checkpoint, format 1: its run-time value, its persisted JSON, and the way between the two.

Persisted shape (the field `h` of an entry): 32 bytes of HMAC-SHA256, then this header as UTF-8 JSON. Called by `sealer`
and by whoever describes a checkpoint; knows neither keys nor payloads.

========  ============================================================================================================
v         format of this header: 1
agent     the agent's id; with fence and seq it binds the entry to its place
program   the module that the agent's playbooks live in
fence     fence of the owner that wrote it
seq       number of the checkpoint in the agent's whole life, from 1
nonce     the owner's nonce: tells two attempts of the same owner apart
time_ms   Unix time of writing, in milliseconds, by the writer's clock (for people only)
kind      "step", or how the agent ended: "completed", "failed", "cancelled"
stack     the call stack, outermost first: [playbook id, line, statement, depth] each
steps     only when steps are being tried again: [step id, attempt, how many at most or null, the last error] each
asks      only when people are asked: the questions without an answer: [id, person, question as JSON, when it was asked,
          until when it waits or null] each, times as Unix time in milliseconds
size      bytes of the payload before compression
codec     only of a whole one: how the stored payload is encoded, "raw" or "zstd" (one frame)
base      only of a delta (delta.py): what it was made from: {"ids": its chain, a whole one first, the one it was made
          from last: "<fence>-<seq>" each, or a seq alone under the fence of the one before it (at first, its own), or
          [first, last] for a run of such seqs, "mac": the first half of that one's MAC in hex, "number": its own number
          since the whole one, "bytes": what all deltas since then take, this one included}
key       id of the signing key: first 8 hex digits of its SHA-256
cipher    only when encrypted (cipher.py): id of the key; the payload is then encrypted behind being packed
sealed    only when encrypted, and there is one of steps, asks, result and error: JSON of these, encrypted, in base64; then
          none of them stands in the header
python    minor version of the writer, "3.11"
lowering  version of the engine's lowering (DESIGN 3.5)
attempts  how often the agent had been taken since an owner last wrote, this owner included
dill      only when dill wrote part of the payload: the minor version that it is therefore bound to
result    only when completed: what the entry playbook returned, as JSON
owes      only when ended, and not all questions of other agents were answered, or letters were read: {"cursor": the place
          up to which its mail was read, "questions": [id, who asked, that one's birth] each}
error     only when failed or cancelled: {"type", "message", "traceback"}
========  ============================================================================================================
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from json.encoder import encode_basestring_ascii
from typing import Any, Literal, NamedTuple, NewType, get_args

from playbooks_providers.ids import AgentId, CheckpointId, Nonce

FORMAT = 1
MAC_BYTES = 32
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"

Kind = Literal["step", "completed", "failed", "cancelled"]

_escape = encode_basestring_ascii  # the C function: a third of the time of json.dumps
_compact = json.JSONEncoder(separators=(",", ":")).encode  # made once: half of the time of json.dumps


_LONGEST_RUN = 1000  # a forged header must not fill the memory

Codec = Literal["raw", "zstd", "delta"]
CODECS: tuple[Codec, ...] = get_args(Codec)


@dataclass(frozen=True, slots=True)
class Base:
    """What a delta needs (fields as in the module's table)."""

    ids: tuple[CheckpointId, ...]
    mac: str
    number: int
    delta_bytes: int


class Owed(NamedTuple):
    """A question of another agent without an answer (fields as in the module's table)."""

    id: str
    asker: str
    birth: int


class Asked(NamedTuple):
    """A question to a person (fields as in the module's table)."""

    id: str
    person: str
    question: Any
    asked_ms: int
    until_ms: int | None


@dataclass(frozen=True, slots=True)
class Header:
    """What a checkpoint says about itself (fields as in the module's table).

    ``stack_json``, ``steps_json`` and ``asks_json`` are already encoded JSON fragments; `stack`, `steps` and `asks` decode
    them. ``key`` and ``python`` are what the sealer writes: values given to `Sealer.seal` are not looked
    at, nor is ``size`` when it is raw.
    """

    agent: AgentId
    program: str
    fence: int
    seq: int
    nonce: Nonce
    time_ms: int
    kind: Kind
    stack_json: str
    lowering: int
    attempts: int
    result: Any = None
    error: Mapping[str, str] | None = None
    base: Base | None = None
    dill: str | None = None
    steps_json: str = "[]"
    asks_json: str = "[]"
    owes: tuple[Owed, ...] = ()
    cursor: int = 0
    size: int = 0
    codec: Codec = "raw"
    key: str = ""
    cipher: str = ""
    sealed: str = ""
    python: str = PYTHON

    @property
    def id(self) -> CheckpointId:
        return CheckpointId(self.fence, self.seq)

    @property
    def whole(self) -> CheckpointId:
        """The whole checkpoint at the end of its chain: itself when it is no delta."""
        return self.id if self.base is None else self.base.ids[0]

    @property
    def stack(self) -> list[tuple[str, int, str, int]]:
        """The call stack, outermost first: (playbook id, line, statement, depth)."""
        return [(playbook, line, statement, depth) for playbook, line, statement, depth in json.loads(self.stack_json)]

    @property
    def steps(self) -> list[tuple[str, int, int | None, str]]:
        """The steps that are being tried again: (step id, attempt, how many at most, the last error)."""
        return [(step, attempt, most, error) for step, attempt, most, error in json.loads(self.steps_json)]

    @property
    def asks(self) -> list[Asked]:
        """The questions to people that have no answer yet."""
        return [Asked(*row) for row in json.loads(self.asks_json)]


Unverified = NewType("Unverified", Header)
"""A header whose signature nobody has checked: good for telling people about it, never for deciding anything."""


def read_header(h: bytes) -> Unverified:
    """Parse the stored field `h` WITHOUT verifying it. Raises `ValueError` when it is not a header at all."""
    return Unverified(parse(h[MAC_BYTES:]))


def encode(header: Header, size: int, key_id: str) -> bytes:
    """The header's JSON. f-strings: this runs once per checkpoint (json.dumps of a dict takes four times as long)."""
    start, middle, end = fixed(header, key_id)
    outcome = ""
    if header.sealed:
        outcome = f',"sealed":"{header.sealed}"'
    elif header.kind == "completed":
        outcome = f',"result":{_compact(header.result)}'
    elif header.kind in ("failed", "cancelled"):
        outcome = f',"error":{_compact(dict(header.error or {}))}'
    if header.kind != "step" and (header.owes or header.cursor):
        outcome += f',"owes":{_compact({"cursor": header.cursor, "questions": header.owes})}'
    return (
        f'{start}{header.seq}{middle}{header.time_ms},"kind":"{header.kind}","stack":{header.stack_json}'
        f'{steps_field(header.steps_json)}{_asks_field(header.asks_json)},"size":{size}{end}{outcome}}}'
    ).encode()


def fixed(header: Header, key_id: str) -> tuple[str, str, str]:
    """What all steps of one owner have in common: the text before seq, between seq and time_ms, and after size."""
    return (
        f'{{"v":1,"agent":{_escape(header.agent)},"program":{_escape(header.program)},"fence":{header.fence},"seq":',
        f',"nonce":{_escape(header.nonce)},"time_ms":',
        f',{_coded(header)},"key":"{key_id}","python":"{PYTHON}","lowering":{header.lowering},"attempts":{header.attempts}'
        + (f',"cipher":"{header.cipher}"' if header.cipher else "")
        + ("" if header.dill is None else f',"dill":{_escape(header.dill)}'),
    )


def steps_field(steps_json: str) -> str:
    return "" if steps_json == "[]" else f',"steps":{steps_json}'


def values(header: Header) -> bytes:
    """What of *header* are values of a program, as JSON; empty when it has none."""
    said = {
        "steps": header.steps_json,
        "asks": header.asks_json,
        "result": _compact(header.result) if header.kind == "completed" else "[]",
        "error": _compact(dict(header.error)) if header.error else "[]",
    }
    told = [
        f'"{name}":{text}'
        for name, text in said.items()
        if text != "[]" or (name, header.kind) == ("result", "completed")
    ]
    return f"{{{','.join(told)}}}".encode() if told else b""


def without_values(header: Header, cipher: str, sealed: str) -> Header:
    """*header* with them encrypted."""
    return replace(header, steps_json="[]", asks_json="[]", result=None, error=None, cipher=cipher, sealed=sealed)


def with_values(header: Header, plain: bytes) -> Header:
    """The opposite. Raises `ValueError` when *plain* is not what `values` gives."""
    try:
        said = json.loads(plain)
        return replace(
            header,
            steps_json=_compact(said["steps"]) if "steps" in said else "[]",
            asks_json=_compact(said["asks"]) if "asks" in said else "[]",
            result=said.get("result"),
            error=said.get("error"),
            sealed="",
        )
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"not the values of a header: {error!r}") from error


def _asks_field(asks_json: str) -> str:
    return "" if asks_json == "[]" else f',"asks":{asks_json}'


def parse(text: bytes) -> Header:
    """The opposite of `encode`. Raises `ValueError` when *text* is not a header of a format known here."""
    try:
        data = json.loads(text)
        if data["v"] != FORMAT:
            raise ValueError(f"header format {data['v']!r} is not known to this version, which reads format {FORMAT}")
        base = _parse_base(data.get("base"), data["fence"])
        codec = "delta" if base is not None else data["codec"]
        if codec not in CODECS:
            raise ValueError(f"codec {codec!r} is not known to this version, which reads {', '.join(CODECS)}")
        if (codec == "delta") != (base is not None) or (base is not None and "codec" in data):
            raise ValueError(f"stored as {data['codec']}, base {base}")
        owes = data.get("owes") or {"cursor": 0, "questions": []}
        return Header(
            agent=data["agent"],
            program=data["program"],
            fence=data["fence"],
            seq=data["seq"],
            nonce=data["nonce"],
            time_ms=data["time_ms"],
            kind=data["kind"],
            stack_json=_compact(data["stack"]),
            steps_json=_compact(data["steps"]) if "steps" in data else "[]",
            asks_json=_compact(data["asks"]) if "asks" in data else "[]",
            lowering=data["lowering"],
            attempts=data["attempts"],
            owes=tuple(Owed(*question) for question in owes["questions"]),
            cursor=owes["cursor"],
            result=data.get("result"),
            error=data.get("error"),
            base=base,
            dill=data.get("dill"),
            size=data["size"],
            codec=codec,
            key=data["key"],
            cipher=data.get("cipher", ""),
            sealed=data.get("sealed", ""),
            python=data["python"],
        )
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a checkpoint header: {error!r}") from error


def base_mac(h: bytes) -> str:
    """What a delta says of the MAC of its base, whose stored field is *h*. Half of it (RFC 2104, 5) tells two checkpoints
    apart that were both signed for one place."""
    return h[: MAC_BYTES // 2].hex()


def _coded(header: Header) -> str:
    base = header.base
    if base is None:
        return f'"codec":"{header.codec}"'
    ids = _ids(base.ids, header.fence)
    return f'"base":{{"ids":[{ids}],"mac":"{base.mac}","number":{base.number},"bytes":{base.delta_bytes}}}'


def _ids(ids: Sequence[CheckpointId], fence: int) -> str:
    """Short, since it is written with each of hundreds of small deltas."""
    told: list[str] = []
    at = 0
    while at < len(ids):
        id = ids[at]
        end = at + 1
        while end < len(ids) and ids[end] == CheckpointId(id.fence, id.seq + end - at):
            end += 1
        if id.fence != fence:
            fence, end = id.fence, at + 1
            told.append(f'"{id}"')
        elif end - at > 2:
            told.append(f"[{id.seq},{id.seq + end - at - 1}]")
        else:
            end = at + 1
            told.append(f"{id.seq}")
        at = end
    return ",".join(told)


def _parse_base(data: Any, fence: int) -> Base | None:
    if data is None:
        return None
    ids: list[CheckpointId] = []
    for told in data["ids"]:
        if isinstance(told, str):
            ids.append(CheckpointId.parse(told))
            fence = ids[-1].fence
            continue
        first, last = (told, told) if isinstance(told, int) else told
        if not 0 <= last - first < _LONGEST_RUN:
            raise ValueError(f"a run of bases from {first} to {last}")
        ids += [CheckpointId(fence, seq) for seq in range(first, last + 1)]
    if not ids:
        raise ValueError("a delta without a base")
    return Base(tuple(ids), data["mac"], data["number"], data["bytes"])
