"""How one owner makes the engine's moments into signed checkpoints in the store, each behind the gate.

`life.Life` is made of it: that one reads and decides, this one writes. Once per await, so a plain step goes its way without
a task in between.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import cast

from playbooks_providers import metrics
from playbooks_providers.answer import Answer
from playbooks_providers.envelope import Header, Kind, Owed, Stamp
from playbooks_providers.errors import EntryTooLarge, Unreachable
from playbooks_providers.ids import CheckpointId
from playbooks_providers.model import Choice, Entry, Lock, Lost, Saved
from playbooks_worker.engine import AgentLost, CheckpointTooLarge, Mailing, Moment
from playbooks_worker.host.courier import Courier
from playbooks_worker.host.gate import Gate
from playbooks_worker.host.history import History, Packed
from playbooks_worker.host.outcome import LockLost, Outcome
from playbooks_worker.host.results import failure, jsonable
from playbooks_worker.host.surroundings import Surroundings
from playbooks_worker.host.watch import Watch

_IN_A_THREAD = 512 << 10  # bytes of a payload from which packing it would hold up the other agents of this process
_PLAIN = Packed(b"", b"", "raw")


class Persisting:
    """The writing half of a life. `_persist` is what the engine is given."""

    def __init__(
        self,
        lock: Lock,
        around: Surroundings,
        gate: Gate,
        progress: Callable[[Header], None] | None,
        begun: Callable[[Header], None] | None,
    ) -> None:
        self.lock = lock
        self._around = around
        self._gate = gate
        self._progress = progress
        self._begun = begun
        # one that starts again has older checkpoints, which go as always: with those that take their place
        known = lock.resume_from is None and lock.choice is not Choice.RESTART
        self._history = History(around.keep_last_n, plain_below=around.plain_below, known=known)
        self._watch = Watch(lock, around.max_bytes)
        self.courier: Courier | None = None  # of an agent whose home has inboxes
        self._mailing: Mailing | None = None  # what follows from the write under way
        self._last: Entry | None = None  # the newest checkpoint that this owner wrote, or resumed from
        self._stamp: Stamp | None = None
        self._began_s = 0.0  # when the write under way was asked for
        self._saving: Answer[Saved | Lost] | None = None  # the write under way
        self._passing: asyncio.Future[None] | None = None
        self._over: Outcome | None = None  # decided before the engine has said so
        self._waiter: asyncio.Future[None] | None = None

    @property
    def newest(self) -> Header | None:
        """The header of the newest checkpoint that this owner wrote, or resumed from."""
        return self._around.sealer.read(self._last.header) if self._last is not None else None

    @property
    def proven(self) -> bool:
        """This owner has written something, so its earlier deaths are forgiven (DESIGN 4.3)."""
        return self._last is not None and self._last.id.fence == self.lock.fence

    async def _pass(self) -> None:
        """Through the gate. Comes back early when this life is over meanwhile: the gate may never open again."""
        while not self._gate.is_open and self._over is None:
            self._waiter = asyncio.ensure_future(self._gate.wait_open())
            await asyncio.wait([self._waiter])
            self._waiter = None

    def _persist(self, moment: Moment, payload: bytes) -> Awaitable[None] | None:
        """The engine's: answers when the checkpoint is durable; None: it is. A plain step needs no task on its way."""
        self._began_s = time.perf_counter()
        self._mailing = mailing = moment.mailing
        watch = self._watch
        if moment.took_s > watch.slow_from_s or len(payload) > watch.big_from:
            watch.taken(CheckpointId(self.lock.fence, moment.seq), len(payload), moment.took_s)
        if moment.kind != "step" or self._over is not None or not self._history.known or not self._gate.is_open:
            return self._persist_patiently(moment, payload)
        if moment.dill is not None or (mailing is not None and mailing.questions):  # a stamp says nothing of it
            return self._persist_patiently(moment, payload)
        around, lock, history = self._around, self.lock, self._history
        packed = None
        if len(payload) < history.plain_below:
            stamp = self._stamp
            if stamp is None:
                stamp = self._stamp = around.sealer.stamp(self._header(moment, _PLAIN))
            entry = Entry(
                CheckpointId(lock.fence, moment.seq),
                *stamp.step(moment.seq, around.now_ms(), moment.stack_json, payload, moment.steps_json),
            )
        elif len(payload) < _IN_A_THREAD:
            packed = history.pack(payload)
            entry = self._sealed(moment, packed)
        else:
            return self._persist_patiently(moment, payload)
        saving = around.checkpoints.save(
            lock, entry, oldest=history.writing(entry.id, packed.base if packed is not None else None)
        )
        if not isinstance(saving, Answer):
            return self._saved_by(saving, entry, payload, packed)
        if saving.done():
            self._saved(saving.result(), entry, payload, packed)
            return None if self._gate.is_open else self._pass()
        self._saving = saving
        durable: Answer[None] = Answer(saving.get_loop())
        saving.add_done_callback(lambda saving: self._answered(saving, entry, payload, packed, durable))
        return durable

    def _answered(
        self, saving: Answer[Saved | Lost], entry: Entry, payload: bytes, packed: Packed | None, durable: Answer[None]
    ) -> None:
        self._saving = None
        if durable.done():
            return
        try:
            self._saved(saving.result(), entry, payload, packed)
        except asyncio.CancelledError:
            durable.cancel()
        except EntryTooLarge as error:
            durable.set_exception(self._too_large(error, entry))
        except Exception as error:
            durable.set_exception(error)
        else:
            if self._gate.is_open:
                durable.set_result(None)
            else:  # the write came through, but its owner may be given up by now
                self._passing = asyncio.ensure_future(self._pass())
                self._passing.add_done_callback(lambda _: None if durable.done() else durable.set_result(None))

    async def _persist_patiently(self, moment: Moment, payload: bytes) -> None:
        """The same for ends, for the first step after a resume, for large states, and behind a closed gate."""
        history = self._history
        packed = None
        if moment.kind == "step" and len(payload) >= history.plain_below:
            if len(payload) < _IN_A_THREAD:
                packed = history.pack(payload)
            else:
                packed = await asyncio.to_thread(history.pack, payload)
        if not self._gate.is_open:
            await self._pass()
        if self._over is not None:
            raise AgentLost(self.lock.agent)
        entry = self._sealed(moment, packed or Packed(payload, payload, "raw"))
        saving = self._around.checkpoints.save(
            self.lock, entry, oldest=history.writing(entry.id, packed.base if packed is not None else None)
        )
        await self._saved_by(saving, entry, payload, packed)
        if not history.known:
            await self._learn_kept()

    async def _saved_by(
        self, saving: Awaitable[Saved | Lost], entry: Entry, payload: bytes, packed: Packed | None
    ) -> None:
        try:
            self._saved(await saving, entry, payload, packed)
        except EntryTooLarge as error:
            raise self._too_large(error, entry) from error
        if not self._gate.is_open:
            await self._pass()

    def _sealed(self, moment: Moment, packed: Packed) -> Entry:
        header = self._header(moment, packed)
        return Entry(header.id, *self._around.sealer.seal(header, packed.stored))

    def _saved(self, answer: Saved | Lost, entry: Entry, payload: bytes, packed: Packed | None) -> None:
        """The store's *answer* to *entry*: it is durable. Raises `AgentLost` when it was refused."""
        if isinstance(answer, Lost):
            metrics.FENCED_WRITES.add()
            self._over = self._over or LockLost("a newer owner has it")
            raise AgentLost(self.lock.agent)
        first = not self.proven
        self._last = entry
        if self._mailing is not None:
            self._follow(self._mailing)
        self._history.written(entry, payload, packed)
        took_s = time.perf_counter() - self._began_s
        metrics.CHECKPOINT_SECONDS.observe(took_s)
        metrics.CHECKPOINT_BYTES.observe(len(entry.payload))
        if took_s > self._watch.late_from_s:
            self._watch.written(entry.id, took_s)
        if self._progress is not None:
            self._progress(self._around.sealer.read(entry.header))
        if first and self._begun is not None:
            self._begun(self._around.sealer.read(entry.header))

    def _too_large(self, error: EntryTooLarge, entry: Entry) -> CheckpointTooLarge:
        """What the agent fails with, as with `max_checkpoint_size_mb` (engine/sizes.py)."""
        agent, number, size = self.lock.agent, entry.id.seq, f"{error.size / 1e6:.1f} MB"
        self._history.unwritten(entry.id)
        before = 0 if self._last is None else self._last.id.seq
        safe = f"checkpoint {before} is safe" if before else "it has no checkpoint yet"
        way = f"playbooksctl retry {agent}" if before else "start it again"
        return CheckpointTooLarge(
            f"agent {agent}: its checkpoint {number} takes {size} as it is stored, and {error.why}; {safe}; "
            f"keep less in variables, or {error.cure}, then: {way}"
        )

    def _follow(self, mailing: Mailing) -> None:
        """A checkpoint with *mailing* is durable."""

    def _header(self, moment: Moment, packed: Packed) -> Header:
        lock = self.lock
        return Header(
            agent=lock.agent,
            program=lock.start.program,
            fence=lock.fence,
            seq=moment.seq,
            nonce=lock.nonce,
            time_ms=self._around.now_ms(),
            kind=cast(Kind, moment.kind),
            stack_json=moment.stack_json,
            steps_json=moment.steps_json,
            lowering=moment.lowering,
            attempts=lock.attempts,
            result=jsonable(moment.result) if moment.kind == "completed" else None,
            error=failure(moment.error, moment.traceback) if moment.kind in ("failed", "cancelled") else None,
            size=len(packed.payload),
            codec=packed.codec,
            base=packed.base,
            dill=moment.dill,
            asks_json=_asks(moment.mailing),
            owes=() if moment.owes is None else tuple(Owed(*one) for one in moment.owes.questions),
            cursor=0 if moment.owes is None else moment.owes.cursor,
        )

    async def _learn_kept(self) -> None:
        """After the first write of a resumed agent, not before it: trimming must not delay the resume."""
        try:
            stored = await self._around.checkpoints.list(self.lock.agent)
        except Unreachable:
            return  # trims nothing this time; asked again after the next write
        self._history.learn(stored)


def _asks(mailing: Mailing | None) -> str:
    """The questions to people, for a header."""
    if mailing is None or not mailing.questions:
        return "[]"
    return json.dumps(
        [
            (
                one.id,
                one.person,
                one.value,
                round(one.asked_s * 1000),
                None if one.until_s is None else round(one.until_s * 1000),
            )
            for one in mailing.questions
        ],
        separators=(",", ":"),
    )
