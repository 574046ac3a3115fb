"""The name of a branch that is to be cancelled, and when. In a file of its own, as what programs are made of (sharing.py)
asks for it.
"""

from __future__ import annotations

import asyncio
from typing import Any


class Doomed:
    """Goes by *name*. After so many of its statements its next effect waits to be cancelled (*after*: once for each number,
    in order), or cancels itself (*itself*). What it does is counted in what a checkpoint holds."""

    def __init__(self, name: Any, after: list[int], *, itself: bool = False) -> None:
        self.name = name
        self.after = after
        self.itself = itself
        self.ran = 0
        self.told = 0
        self.ended = False
        self.stands = False

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "stands": False}  # it will again, in the next process

    @property
    def left(self) -> bool:
        return self.told < len(self.after)

    @property
    def due(self) -> bool:
        return self.left and self.ran >= self.after[self.told]

    async def ends(self) -> None:
        try:
            if self.itself:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                await asyncio.sleep(0)
            self.stands = True
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.stands = False
            self.told += 1  # in the same turn the playbook learns of it
            raise

    def __repr__(self) -> str:
        return repr(self.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Doomed) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)
