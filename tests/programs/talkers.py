"""Agents that talk: what tests/test_engine_talk.py runs, kills at every step, and resumes."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from playbooks_worker import (
    AgentCancelled,
    ChildFailed,
    Message,
    NoAnswer,
    NoSuchAgent,
    agent_id,
    ask,
    emit,
    gather,
    person,
    playbook,
    receive,
    send,
    sleep,
    spawn,
    step,
)


@playbook
async def boss(rounds):
    child = await spawn(echo, agent_id(), rounds)
    heard = []
    for number in range(rounds):
        await send(child.agent_id, {"number": number})
        answer = await receive(sender=child.agent_id)
        heard.append(answer.value)
    return heard, await child


@playbook
async def echo(parent, rounds):
    total = 0
    for _ in range(rounds):
        message = await receive()
        total += message.value["number"]
        await send(parent, ["heard", message.value["number"]])
    return total


@playbook
async def burst(count):
    """Many letters at once, more than there is room for; the receiver takes them in order."""
    child = await spawn(counter, count)
    for number in range(count):
        await send(child.agent_id, number)
    return await child


@playbook
async def counter(count):
    return [(await receive()).value for _ in range(count)]


@playbook
async def asker():
    expert = await spawn(expert_)
    first, second = await gather(ask(expert.agent_id, "one"), ask(expert.agent_id, "two"))
    return [first, second, await expert]


@playbook
async def expert_():
    asked = []
    for _ in range(2):
        message: Message = await receive(match=lambda value: isinstance(value, str))
        asked.append(message.value)
        await message.reply(message.value.upper())
    return len(asked)


@playbook
async def fan(count):
    children = [await spawn(square, number) for number in range(count)]
    done = await gather(*children)
    again = await gather(*children, square(10), return_exceptions=True)
    return done, again


@playbook
async def square(number):
    await asyncio.sleep(0)
    return number * number


@playbook
async def failing_child():
    child = await spawn(fails)
    try:
        await child
    except Exception as error:
        told = type(error).__name__, error.status, error.agent_id == child.agent_id
    outcomes = await gather(child, return_exceptions=True)
    return told, [type(one).__name__ for one in outcomes]


@playbook
async def fails():
    raise ValueError("no")


@playbook
async def to_nobody():
    try:
        await send("nobody", 1)
    except NoSuchAgent as error:
        return str(error)


@playbook
async def picky():
    """Passes over what it does not want; that stays for the next receive, in order."""
    child = await spawn(sends_three, agent_id())
    wanted = await receive(match=lambda value: value == "b")
    rest = [(await receive()).value for _ in range(2)]
    await child
    return wanted.value, rest


@playbook
async def sends_three(parent):
    for value in ("a", "b", "c"):
        await send(parent, value)


@playbook
async def in_branches():
    """Two branches wait for letters of their own, in helpers of plain code too."""
    one, two = await spawn(talks, agent_id(), 1), await spawn(talks, agent_id(), 2)

    async def helper(sender):
        await asyncio.sleep(0)
        return (await receive(sender=sender)).value

    return await asyncio.gather(helper(one.agent_id), helper(two.agent_id)), await gather(one, two)


@playbook
async def talks(parent, value):
    await send(parent, value)
    return value


@playbook
async def hears_one():
    heard = (await receive()).value
    await asyncio.sleep(0)  # an effect: not while its owner is in doubt
    return heard


# --- who only waits ---------------------------------------------------------------------------------------------------
@playbook
async def nap():
    await sleep(3600)
    return "awake"


@playbook
async def short_nap():
    await sleep(0.05)
    await asyncio.sleep(0)
    return "awake"


@playbook
async def patient():
    try:
        await receive(timeout=60)
    except TimeoutError as error:
        return str(error)


@playbook
async def approval():
    return await ask(person("ann"), {"pay": 10}, timeout=timedelta(days=2))


@playbook
async def two_approvals():
    return [await ask(person("ann"), "the first?"), await ask(person("ann"), "the second?")]


@playbook
async def in_a_group():
    done = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(naps(50))
        group.create_task(waits_for(done))


@playbook
async def naps(seconds):
    await sleep(seconds)
    return seconds


@playbook
async def waits_for(event):
    await event.wait()


@playbook
async def two_naps():
    return await asyncio.gather(naps(10), naps(20))


@playbook
async def a_task_and_a_lock():
    lock, queue = asyncio.Lock(), asyncio.Queue()
    task = asyncio.create_task(naps(10))
    async with lock:
        return await asyncio.gather(task, wants(lock), gets(queue), naps(5))


@playbook
async def wants(lock):
    async with lock:
        return "had it"


@playbook
async def gets(queue):
    return await queue.get()


@playbook
async def busy_beside():
    return await asyncio.gather(naps(10), asyncio.sleep(30))


@playbook
async def under_a_timeout():
    async with asyncio.timeout(30):
        await receive()


@playbook
async def under_wait_for():
    await asyncio.wait_for(receive(), 30)


@playbook
async def in_plain_code():
    async def plain():
        return await receive()

    return await plain()


@playbook
async def in_a_plain_task():
    async def plain():
        return await receive()

    return await asyncio.gather(plain(), naps(10))


# --- cancelled from outside ------------------------------------------------------------------------------------------------
DONE = []


@playbook
async def tidies_up():
    try:
        await naps(1000)
    except AgentCancelled as cancelled:
        DONE.append(cancelled.why)
        raise
    finally:
        await asyncio.sleep(0)
        DONE.append("tidied")
        await asyncio.sleep(0)
        DONE.append("twice")


@playbook
async def tidies_up_in_branches():
    async with asyncio.TaskGroup() as group:
        group.create_task(tidies_up())
        await asyncio.gather(naps(1000), naps(2000))


@playbook
async def goes_on():
    try:
        await naps(1000)
    except AgentCancelled:
        await asyncio.sleep(0)
    return "went on"


@playbook
async def stubborn():
    while True:
        try:
            await naps(1000)
        except AgentCancelled:
            continue


@playbook
async def parent_of_sleepers():
    children = [await spawn(tidies_up) for _ in range(2)]
    return await gather(*children)


@playbook
async def counts(n):
    for number in range(n):
        await asyncio.sleep(0.01)
    return n


@playbook
async def leaves_a_listener():
    child = await spawn(listens)
    await send(child.agent_id, "hello")
    return "done"


@playbook
async def listens():
    while True:
        await receive()


@step
async def says(*words):
    for word in words:
        emit(word)


@playbook
async def waits_for_mail():
    emit("waiting")
    message = await receive()
    await says("heard ", message.value)
    return message.value


@playbook
async def tells_and_fails():
    emit("about to fail")
    await says("one ")
    raise ValueError("no")


async def exists(path):
    while path and not Path(path).exists():
        await asyncio.sleep(0.02)


@playbook
async def tells(gate=""):
    emit("begins")
    await says("\x1b[31monce ", "upon ", "a time\n")
    emit({"gate": gate})
    await exists(gate)
    await says("the end")


@playbook
async def endless():
    try:
        await receive()
    except AgentCancelled as cancelled:
        await asyncio.sleep(0)
        return f"tidied: {cancelled}"


@playbook
async def cancels_a_child():
    one = await spawn(endless)
    two = await spawn(endless)
    await one.cancel("no more need")
    await two.cancel()
    ends = [await one, await two]
    await one.cancel("too late")
    return ends, await one.status()


@playbook
async def looks_at_a_child():
    child = await spawn(counter, 1)
    before = await child.status()
    await send(child.agent_id, 7)
    return before in ("ready", "running", "waiting"), await child, await child.status()


@playbook
async def waits_for_a_child():
    child = await spawn(endless, agent_id=f"{agent_id()}.child")
    await receive()
    try:
        return await child
    except ChildFailed as failed:
        return failed.kind, failed.status


@playbook
async def asks_the_other():
    return await ask("other", "who am I?")


@playbook
async def answers_when_told():
    """Holds questions back until somebody writes."""
    await receive(match=lambda value: value == "now")
    for _ in range(2):
        message = await receive()
        await message.reply(message.sender)


FAILURES = {"left": 0}


@playbook
async def fails_at_first():
    await asyncio.sleep(0)
    if FAILURES["left"]:
        FAILURES["left"] -= 1
        raise RuntimeError("not now")
    return "well"


@playbook
async def awaits_twice():
    child = await spawn(fails_at_first, agent_id=f"{agent_id()}.child")
    heard = []
    for _ in range(2):
        try:
            heard.append(await child)
        except ChildFailed as failed:
            heard.append(failed.status)
        await receive()
    return heard


@playbook
async def asks_one_that_ends(how, others=0):
    """What it hears instead of an answer, and whether it hears it once."""
    other = await spawn(ends, how, agent_id="other")
    heard = []
    for number in range(1 + others):
        try:
            heard.append(await ask(other, number))
        except (NoAnswer, NoSuchAgent) as error:
            heard.append(type(error).__name__)
    return heard


@playbook
async def ends(how):
    if how == "unread":
        await sleep(0)
        return None
    message = await receive()
    if how == "fails":
        raise ValueError("no")
    if how == "replies":
        await message.reply("yes")
        return None
    if how == "waits":
        await receive(sender="nobody")
    return message.value


@playbook
async def gives_up():
    other = await spawn(ends, "waits", agent_id="other")
    try:
        await ask(other, "?", timeout=0.0)
    except TimeoutError:
        pass
    try:
        return await ask(other, "again?", timeout=3600)
    except NoAnswer as error:
        return [error.agent_id, error.how]


@playbook
async def forgets_its_children():
    """Awaits children whose ends its own state does not hold (the test takes them out)."""
    good, bad = await spawn(square, 3), await spawn(fails)
    try:
        await gather(good, bad)
    except ChildFailed:
        pass
    await receive()
    try:
        await bad
    except ChildFailed as error:
        return [await good, error.status, error.kind, error.message]


@playbook
async def awaits_a_handle():
    child = await spawn(square, 3)
    return [await child]


@playbook
async def awaits_its_result():
    child = await spawn(square, 3)
    return [await child.result()]


@playbook
async def gathers_a_handle():
    child = await spawn(square, 3)
    return await gather(child)
