"""Many agents that talk, and what can be checked of it: nothing lost, nothing twice, in order, each child once.

A *host* spawns *guests*: each sends numbered messages to its two neighbours and to the host, sleeps in between, asks the
host, and answers what it has received. tests/test_talk_processes.py runs it under kills.
"""

from __future__ import annotations

from playbooks_worker import agent_id, ask, gather, playbook, receive, send, sleep, spawn


@playbook
async def host(guests, messages, pause_s):
    """Starts *guests* (names of their own, so that each can find the others) and hears from all of them."""
    me = agent_id()
    names = [f"{me}-guest-{number}" for number in range(guests)]
    children = [
        await spawn(guest, me, names, number, messages, pause_s, agent_id=names[number]) for number in range(guests)
    ]
    for name in names:
        await send(name, "begin")
    heard = {}
    for _ in range(guests * (messages + 1)):
        message = await receive()
        if message.question:
            await message.reply(["yes", message.value])
        else:
            heard.setdefault(message.sender, []).append(message.value)
    told = await gather(*children)
    return {"heard": heard, "told": told}


@playbook
async def guest(host_id, names, number, messages, pause_s):
    """Sends to the next two in the ring, hears from the two before it."""
    await receive(sender=host_id)
    to = [names[(number + far) % len(names)] for far in (1, 2)]
    heard = {}
    for turn in range(messages):
        for whom in to:
            await send(whom, turn)
        await send(host_id, turn)
        if pause_s:
            await sleep(pause_s)
        for _ in to:
            message = await receive()
            heard.setdefault(message.sender, []).append(message.value)
    answer = await ask(host_id, number)
    return {"number": number, "heard": heard, "answer": answer}


def wrong(result, name, guests, messages):
    """What *result* of the host *name* does not prove, in words; empty: all is proven."""
    found = []
    names = [f"{name}-guest-{number}" for number in range(guests)]
    turns = list(range(messages))
    if result["heard"] != dict.fromkeys(names, turns) and sorted(result["heard"]) != sorted(names):
        found.append(f"the host heard of {sorted(result['heard'])}")
    found += [f"the host heard {of} of {one}" for one, of in result["heard"].items() if of != turns]
    for number, told in enumerate(result["told"]):
        if told["number"] != number or told["answer"] != ["yes", number]:
            found.append(f"guest {number} told {told['number']}, {told['answer']}")
        before = {names[(number - far) % guests] for far in (1, 2)}
        if told["heard"].keys() != before or any(of != turns for of in told["heard"].values()):
            found.append(f"guest {number} heard {told['heard']}")
    return found
