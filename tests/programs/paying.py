"""Programs with steps and effect keys, for test_engine_steps.py. What happens outside the agents is in `WORLD`."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from datetime import timedelta

import tenacity

from playbooks_worker import OutcomeUnknown, effect_key, playbook, step

WORLD: list[tuple[object, ...]] = []  # what was done, in order; a test keeps it over a kill, as the world does
FAILURES: dict[object, int] = {}  # how often each name still fails
tenant = contextvars.ContextVar("tenant", default="nobody")


def reset():
    WORLD.clear()
    FAILURES.clear()


def done(*what):
    WORLD.append(what)
    name = what[0]
    if FAILURES.get(name, 0) > 0:
        FAILURES[name] -= 1
        raise ConnectionError(f"{name} refused")


# --- steps ---------------------------------------------------------------------------------------------------------------


@step
async def plain(name, value=None):
    await asyncio.sleep(0)
    done(name, effect_key())
    return name if value is None else value


@step(retries=3, backoff=0)
async def tried(name):
    await asyncio.sleep(0)
    done(name, effect_key())
    return name


@step(retries=2, backoff=timedelta(milliseconds=1))
def threaded(name):
    done(name, effect_key(), threading.current_thread() is threading.main_thread())
    return tenant.get()


@step(on_unknown="raise")
async def charge(name, amount):
    await asyncio.sleep(0)
    done(name, effect_key())
    return amount


async def find_charge(key, name, amount):
    """What a bank with idempotency keys can tell."""
    await asyncio.sleep(0)
    for entry in WORLD:
        if entry == (name, key):
            return amount
    raise step.NotDone


@step(on_unknown=find_charge, retries=1, backoff=0)
async def found_charge(name, amount):
    await asyncio.sleep(0)
    done(name, effect_key())
    await asyncio.sleep(0)  # the answer is on its way
    return amount


def find_in_thread(key, name):
    assert threading.current_thread() is not threading.main_thread()
    if (name, key) in WORLD:
        return name
    raise step.NotDone


@step(on_unknown=find_in_thread)
def charge_in_thread(name):
    done(name, effect_key())
    return name


class Bank:
    def __init__(self, name):
        self.name = name

    @step(retries=1, backoff=0)
    async def transfer(self, amount):
        done(self.name, effect_key())
        return self.name, amount

    @step
    def __audit(self):
        return f"{self.name} audited"

    @staticmethod
    @step
    async def rate(currency):
        return currency

    @classmethod
    @step
    async def opened(cls, name):
        return cls(name).name

    @playbook
    async def day(self):
        return await self.transfer(1), await self.__audit(), await Bank.rate("EUR"), await self.opened("b")


given_another_name = step(retries=1, backoff=0)(asyncio.sleep)


# --- playbooks -----------------------------------------------------------------------------------------------------------


@playbook
async def in_turn():
    found = [await plain("a"), await tried("b"), await threaded("c"), await plain("d", [1])]
    for turn in range(3):
        found.append(await tried(("turn", turn)))
    return found


@playbook
async def in_branches():
    async def later(name):
        await asyncio.sleep(0)
        return [await plain((name, 1)), await tried((name, 2))]

    return await asyncio.gather(tried("a"), plain("b"), later("c"), later("d"), threaded("e"))


@playbook
async def of_a_class():
    return await Bank("a").day()


@playbook
async def held():
    call = tried("held")
    first = await plain("first")
    return first, await call


@playbook
async def keys():
    found = [effect_key()]
    for _ in range(2):
        found.append(await noted())
    found.append(effect_key("again"))
    found += await asyncio.gather(noted(), noted(), noted_below())
    found += [await deeper(1), await deeper(2)]
    return found


@playbook
async def deeper(number):
    first = await noted()
    return first, await noted(), number


async def noted():
    await asyncio.sleep(0)
    key = effect_key()
    done("noted", key)
    return key


async def noted_below():
    return await asyncio.gather(noted(), noted())


@playbook
async def charged_once():
    try:
        return await charge("once", 5)
    except OutcomeUnknown as unknown:
        return unknown.step, unknown.key


@playbook
async def charged_found():
    first = await found_charge("one", 1)
    rest = await asyncio.gather(found_charge("two", 2), found_charge("three", 3))
    return first, rest, await charge_in_thread("four")


LATE = "left"


@playbook
async def racing():
    async def branch(name):
        for _ in range(5 if name == LATE else 1):
            await asyncio.sleep(0)
        return await one_note(name)

    return await asyncio.gather(branch("left"), branch("right"))


@playbook
async def one_note(name):
    await asyncio.sleep(0)
    done(name, effect_key())


@playbook
async def charged_beside():
    return await asyncio.gather(plain("beside"), after_others())


async def after_others():
    for _ in range(3):
        await asyncio.sleep(0)
    return await charge("late", 1)


async def look_in_world(key, kind):
    if kind == "find":
        return "found"
    raise step.NotDone


async def hang(kind):
    done("hang", effect_key())
    await asyncio.Event().wait()


raising = step(timeout=0.01, retries=1, backoff=0, on_unknown="raise")(hang)
finding = step(timeout=0.01, retries=1, backoff=0, on_unknown=look_in_world)(hang)
retrying = step(timeout=0.01, retries=1, backoff=0)(hang)


@playbook
async def timed_out(kind):
    chosen = {"raise": raising, "retry": retrying}.get(kind, finding)
    try:
        return await chosen(kind), None, len(WORLD)
    except OutcomeUnknown as unknown:
        return type(unknown).__name__, type(unknown.__cause__).__name__, len(WORLD)
    except TimeoutError as error:
        return type(error).__name__, None, len(WORLD)


@step(retries=3, backoff=0, on_unknown="raise")
async def loses_its_answer():
    done("lost")
    raise OutcomeUnknown("bank did not answer")


@playbook
async def lost_answer():
    try:
        await loses_its_answer()
    except OutcomeUnknown as unknown:
        return str(unknown), len(WORLD)


def ask_bank(key):
    done("asked")
    return "here"


@step(retries=1, backoff=0, on_unknown=ask_bank)
async def asks():
    done("asks")
    await asyncio.sleep(0)


@playbook
async def asks_a_dead_bank():
    try:
        found = await asks()
    except OutcomeUnknown as unknown:
        return type(unknown).__name__, unknown.__cause__
    return found, sum(entry == ("asked",) for entry in WORLD)


@step(on_unknown="raise")
async def never_answers():
    await asyncio.sleep(100)


@playbook
async def cancelled_charge():
    try:
        async with asyncio.timeout(0.01):
            await never_answers()
    except TimeoutError:
        pass
    except OutcomeUnknown:  # killed while it ran
        pass
    return "timeout", await plain("next")


@playbook
async def charged_in_turn():
    return [await charge(("turn", turn), turn) for turn in range(4)]


@step(on_unknown="raise")
async def charge_slowly(number):
    done("slowly", number)
    for _ in range(1 + 7 * number % 5):
        await asyncio.sleep(0)
    return number


@playbook
async def charged_all_the_time():
    async def one_half(numbers):
        return [await charge_slowly(number) for number in numbers]

    first, second = await asyncio.gather(one_half([0, 1, 2, 3]), one_half([4, 5, 6, 7]))
    return first + second


@playbook
async def in_context():
    tenant.set("tenant of the call")
    return await threaded("c")


@step
def stops():
    raise StopIteration


@step
def misses():
    raise KeyError("x")


@playbook
async def stop_iteration():
    found = []
    try:
        await stops()
    except RuntimeError as error:
        found.append(str(error))
    try:
        await misses()
    except KeyError as error:
        found.append(type(error).__name__)
    return tuple(found)


RELEASED = threading.Event()
FINISHED = threading.Event()


@step(timeout=0.01)
def slow():
    RELEASED.wait(10)
    done("slow")
    FINISHED.set()


@playbook
async def slow_thread():
    try:
        await slow()
    except TimeoutError:
        return "timeout"


@step
async def with_playbook():
    await charged_once()


@step
def sync_with_playbook():
    return charged_once()


@playbook
async def calls_inside():
    try:
        await with_playbook()
    except RuntimeError as error:
        return str(error)


@playbook
async def calls_inside_thread():
    try:
        await sync_with_playbook()
    except RuntimeError as error:
        return str(error)


@step
async def whole():
    return [await tried("part") for _ in range(3)]


@playbook
async def nested():
    return await whole()


def make_local():
    @step
    async def local():
        return 1

    return local


@playbook
async def uses_local():
    return await make_local()()


@playbook
async def renamed():
    return await given_another_name(0, 7)


@step(retries=1, backoff=0, retry_on=ValueError)
async def only_value_errors(name):
    done(name)
    return name


@step(retries=1, backoff=0, retry_on=lambda error: "refused" in str(error))
async def only_refused(name):
    done(name)
    return name


@step(retries=tenacity.stop_after_attempt(5) | tenacity.stop_after_delay(60), backoff=tenacity.wait_none())
async def strategic(name):
    done(name)
    return name


@playbook
async def deep(levels):
    return await plain("bottom", 440) if levels == 0 else await deep(levels - 1)


@playbook
async def tasks_held():
    found = []
    for turn in range(2):
        one, two = asyncio.create_task(noted_slowly()), asyncio.create_task(found_charge(("task", turn), turn))
        found += [await plain("meanwhile"), await one, await two]
    return found


async def noted_slowly():
    key = effect_key()
    done("noted", key)
    for _ in range(5):
        await asyncio.sleep(0)
    return key


class Remote:
    """A context manager whose entering is an effect of its own."""

    def __init__(self, enter):
        self.enter = enter

    async def __aenter__(self):
        self.entered = await self.enter("enter", 1)
        return self

    async def __aexit__(self, *error):
        return None

    def use(self, value):
        done("use", value)
        return value


@playbook
async def careful_in_a_header():
    async with Remote(charge):
        return await plain("inside")


@step(retries=1, backoff=0)
async def uses(remote, value):
    await asyncio.sleep(0)
    return remote.use(value)


@playbook
async def holds_a_header():
    found = []
    async with Remote(plain) as remote:
        for value in range(2):
            found.append(await uses(remote, value))
    return found


@playbook
async def in_every_kind_of_task():
    found = []
    async with asyncio.TaskGroup() as group:
        grouped = [group.create_task(tried(("grouped", number))) for number in range(2)]
    found += [task.result() for task in grouped]
    found.append(await asyncio.wait_for(found_charge("waited", 1), 10))
    async with asyncio.timeout(10):
        found.append(await found_charge("timed", 2))
    for next_one in asyncio.as_completed([found_charge("raced", 3)]):
        found.append(await next_one)
    return found


@playbook
async def careful_in_handlers():
    found = []
    try:
        raise KeyError("x")
    except KeyError:
        found.append(await found_charge("handled", 1))
        try:
            await charge("fails", 2)
        except ConnectionError as error:
            found.append(str(error))
    finally:
        found.append(await found_charge("finally", 3))
    return found


@playbook
async def remembers_what_went_wrong():
    try:
        return await tried("b")
    except ConnectionError as error:
        await plain("then")
        return str(error), type(error.__context__).__name__


async def numbers():
    for number in range(3):
        await asyncio.sleep(0)
        yield number


@playbook
async def careful_in_a_comprehension():
    return [await charge("region", number) async for number in numbers()]


@playbook
async def keys_in_a_comprehension():
    return [await noted() async for _ in numbers()]


@step(on_unknown=find_charge, retries=1, backoff=0.001)
async def pauses(name, amount):
    done(name, effect_key())
    return amount


@playbook
async def charged_after_a_pause():
    return await pauses("paused", 1)


def find_at_second_try(key):
    done("asked")
    return "found"


@step(timeout=0.01, retries=1, backoff=0, on_unknown=find_at_second_try)
async def hangs_once():
    done("begun")
    await asyncio.Event().wait()


@playbook
async def asked_twice():
    return await hangs_once()


@step(retries=1, backoff=0.02)
async def paused_step(name):
    done(name)
    return name


@playbook
async def paused_plainly():
    return await paused_step("paused")
