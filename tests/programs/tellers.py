"""Agents that tell people what they do: what tests/test_events.py runs, kills at every step, and resumes."""

from __future__ import annotations

import asyncio

from playbooks_worker import emit, playbook, step


@step
async def says(*words):
    for word in words:
        emit(word)
        await asyncio.sleep(0)


@step
def says_in_a_thread(*words):
    for word in words:
        emit(word)


TRIES = {"left": 0}


@step(retries=3, backoff=0)
async def stumbles(*words):
    for word in words[:-1]:
        emit(word)
    if TRIES["left"]:
        TRIES["left"] -= 1
        raise RuntimeError("again")
    emit(words[-1])


@playbook
async def inner(name):
    emit(f"inner {name}")
    await says(f"{name} one ", f"{name} two\n")
    emit({"inner": name})
    await asyncio.sleep(0)


async def plain(name):
    emit(f"plain {name} ")
    await inner(name)
    emit("and after\n")


@playbook
async def story():
    emit("begins")
    await says("once ", "upon ", "a time\n")
    emit("goes on")
    for turn in range(2):
        emit({"turn": turn})
        await plain(turn)
    await says_in_a_thread("from ", "a thread\n")
    emit("ends")
    return "told"


@playbook
async def stumbling():
    emit("before")
    await stumbles("a ", "b ", "c\n")
    emit("after")


@playbook
async def tells_what_json_cannot_hold():
    try:
        emit(object())
    except TypeError:
        pass
    try:
        emit("x" * 20_000)
    except ValueError:
        return "refused"
