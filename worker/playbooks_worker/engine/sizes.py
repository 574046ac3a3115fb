"""Which variables make a checkpoint too big: measured one by one, only when one has exceeded its limit.

Called by capture.py. What several share counts for the outermost: the sum is the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from playbooks_worker.engine.diagnosis import Written, contents
from playbooks_worker.engine.errors import CheckpointTooLarge
from playbooks_worker.engine.snapshot import Saver

_NAMED = 3
_MB = 1_000_000


def too_large(
    agent_id: str, size: int, limit: int, before: int, written: Sequence[Written], saver: Saver
) -> CheckpointTooLarge:
    """The error to fail with. *before*: the number of the newest checkpoint, 0 for none; *saver* is a fresh one."""
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for playbook, name, value in _values(written):
        bytes_, times = found.get((playbook, name), (0, 0))
        found[playbook, name] = bytes_ + _measured(value, saver), times + 1
    biggest = sorted(found.items(), key=lambda item: item[1], reverse=True)[:_NAMED]
    told = ", ".join(
        f"{name} of {playbook} {_mb(bytes_)}" + (f" in {times} calls" if times > 1 else "")
        for (playbook, name), (bytes_, times) in biggest
    )
    safe = f"checkpoint {before} is safe" if before else "it has no checkpoint yet"
    way = (
        f"playbooksctl retry {agent_id} (run PROGRAM --resume {agent_id} --at {before})" if before else "start it again"
    )
    return CheckpointTooLarge(
        f"agent {agent_id}: its state takes {_mb(size)}, and a checkpoint may take {_mb(limit)}; the biggest variables "
        f"are {told}; {safe}; keep less in variables, or raise durability.max_checkpoint_size_mb, then: {way}"
    )


def _values(written: Sequence[Written]) -> Iterator[tuple[str, str, Any]]:
    """(playbook, what, value) of everything that frames hold, variables before what a statement has in hand."""
    for frame, _, kept, _, _ in written:
        for name, value in (*kept.items(), *contents(frame).items()):
            if name[0] != ".":
                yield frame.playbook.id, f"{name!r}", value
    for frame, _, kept, _, _ in written:
        for name, value in kept.items():
            if name[0] == ".":
                yield frame.playbook.id, "a value in hand", value
        if frame.outcome is not None:
            yield frame.playbook.id, "the awaited value", frame.outcome


def _measured(value: Any, saver: Saver) -> int:
    before = saver.sink.size()
    try:
        saver.dump(value)
    except Exception:  # a temporary that is made again instead
        return 0
    return saver.sink.size() - before


def _mb(size: int) -> str:
    return f"{size / _MB:.1f} MB" if size >= _MB / 10 else f"{size / _MB:.3g} MB"
