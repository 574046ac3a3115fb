"""The format of an agent's `state` key, the string that outlives its stream. Persisted; the scripts write it (_state.lua).

Netstrings (`<bytes>:<value>,`), name and value in turn. Names, in this order, the absent ones left out:

``start``     the start record, JSON (`model.StartRecord`); always there
``why``       why the agent was set aside (blocked, paused, quarantined) or terminated
``order``     what is wanted of the agent (`model.Order`), until its owner has obeyed
``choice``    parked: what a person has chosen, when no owner has written anything since
``final_id``  finished: id of the final entry, and
``final``     its envelope header, which holds result or error
``id``        parked, failed: id of the newest checkpoint that holds state,
``h``         its envelope header and
``d``         its payload; before it, in the same way, each checkpoint that it needs, the whole one first

A string of netstrings rather than a hash: a value above 64 bytes doubles the memory of a hash (DESIGN 4.1), JSON cannot
hold bytes, and Lua and Python both read this in a few lines. Called by checkpoints.py, for agents that have no stream
(parked ones, and those that have ended), and by orders.py.
"""

from __future__ import annotations


def parse(text: bytes) -> list[tuple[str, bytes]]:
    """The names and values of a stored state, in order. Raises `ValueError` if it is torn."""
    values: list[bytes] = []
    at = 0
    while at < len(text):
        colon = text.index(b":", at)
        end = colon + 1 + int(text[at:colon])
        if text[end : end + 1] != b",":
            raise ValueError("torn state")
        values.append(text[colon + 1 : end])
        at = end + 1
    return [(name.decode(), value) for name, value in zip(values[::2], values[1::2], strict=True)]
