"""Statements of generated programs about what branches share and wait for in rarer ways, added to those of keeping.py:
conditions, queues that are joined, shields, pools whose targets tasks use in headers of their own, nested coroutine
functions, what is kept to be awaited later. The playbooks that are called by name are in pooling.py.
"""

from __future__ import annotations

from keeping import Keeping

_AT_ONCE_S = 0.01


class Joining(Keeping):
    """``beside``: a playbook may have effects while its tasks run, and nothing around it waits for them."""

    beside = True

    def joining(self, depth: int) -> list[str]:
        choices = [self.condition, self.joined_queue, self.first_error, self.shielded, self.shielded_late]
        choices += [self.local_function, self.spawning, self.twice_gathered, self.things, self.policy, self.fan]
        choices += [lambda: self.pool(depth), lambda: self.pool(depth), lambda: self.pool(depth)]
        choices += [lambda: self.kept(depth), lambda: self.kept(depth), lambda: self.rescheduled(depth)]
        if self.beside:
            choices += [self.callback, self.in_time_or_not]
        return self.pick(*choices)()

    def whatever(self, body: list[str], last: list[str]) -> list[str]:
        """*last* happens, whatever *body* (indented) comes to."""
        return ["try:", *body, "finally:", *["    " + line for line in last]]

    # --- headers ------------------------------------------------------------------------------------------------------
    def pool(self, depth: int) -> list[str]:
        """Tasks made inside a header, whose own headers use its target."""
        k, uses = self.k(), self.pick("leases", "leases_twice")
        pool = f"{self.pick('Pool', 'Pool', 'Budget')}({k}, {self.pick(1, 2)})"
        call = f"{uses}(s, (me, {k}), {k}, pool{k}, v)"
        other = self.pick(
            f"leases(s, (me, {k}, 'b'), {k}, pool{k}, v)",
            f"after_waiting(leases, s, (me, {k}, 'b'), {k}, {k}, pool{k}, v)",
            f"pool{k}.query((me, {k}, 'b'), {k}, v)",
        )
        awaited = [f"got = await task{k}", f"s.at(me, {k}, got, pool{k}.out)"]
        body = self.pick(
            [f"task{k} = asyncio.create_task({call})", *self.whatever(self.inner(depth), awaited)],
            [f"task{k} = asyncio.create_task({call})", f"other{k} = asyncio.create_task({other})"]
            + [*self.whatever(self.inner(min(depth, 1)), [f"v = mixed(await other{k})", *awaited]), f"other{k} = None"],
            [f"v = mixed(await asyncio.gather({call}, {other}))"],
            [f"v = mixed(await {call}, await {other})"],
        )
        head, ends = f"async with {pool} as pool{k}:", []
        if self.chance(0.3):
            head = f"async with {pool} as pool{k}, asyncio.TaskGroup() as group{k}:"
            body = [f"task{k} = group{k}.create_task({call})", f"other{k} = group{k}.create_task({other})"]
            ends = [f"v = mixed(task{k}.result(), other{k}.result())", f"group{k} = other{k} = None"]
        return [head, *["    " + line for line in body], *ends, f"task{k} = pool{k} = None"]

    def rescheduled(self, depth: int) -> list[str]:
        k, now = self.k(), "asyncio.get_running_loop().time()"
        head, then = self.pick(
            (f"asyncio.timeout({_AT_ONCE_S})", f"    limit{k}.reschedule({now} + 30)"),
            ("asyncio.timeout(None)", f"    limit{k}.reschedule({now} + 30)"),
            (f"asyncio.timeout_at({now} + 30)", f"    limit{k}.reschedule(None)"),
        )
        lines = [f"async with {head} as limit{k}:", then, *self.inner(depth)]
        return [*lines, f"s.at(me, {k}, limit{k}.expired())", f"limit{k} = None"]

    # --- what is waited for -------------------------------------------------------------------------------------------
    def condition(self) -> list[str]:
        k, number = self.k(), self.pick(1, 2)
        name = f"(str(me), {k})"
        branches = [f"is_told(s, (me, {k}, {n}), {k}, {name}, {number}, {self.chance(0.5)})" for n in range(number)]
        branches.append(f"tells(s, (me, {k}), {k}, {name}, {number})")
        self.random.shuffle(branches)
        return [f"s.live[{name}] = 0", f"await asyncio.gather({', '.join(branches)})"]

    def joined_queue(self) -> list[str]:
        k, size, kind = self.k(), self.pick(0, 1), self.pick("Queue", "LifoQueue", "PriorityQueue")
        queue = f"queue{k}"
        return [
            f"{queue} = asyncio.{kind}({size})",
            f"branches = fills(s, (me, {k}), {k}, {queue}, 4), *[drains(s, (me, {k}, n), {k}, {queue}, 2) for n in 'ab']",
            "await asyncio.gather(*branches)",
            f"s.at(me, {k}, {queue}.qsize(), {queue}.maxsize)",
            f"{queue} = branches = None",
        ]

    def first_error(self) -> list[str]:
        k = self.k()
        group = f"(str(me), {k})"
        rest = [f"asyncio.create_task(parks(s, (me, {k}, {n}), {k}, {group}, {self.chance(0.5)}))" for n in "12"]
        last = f"asyncio.create_task(fails_last(s, (me, 'last'), {k}, {group}, 2))"
        return [
            f"s.live[{group}] = 0",
            f"tasks = [{', '.join([*rest, last])}]",
            f"done, left = await asyncio.wait(tasks, return_when=asyncio.{self.pick('FIRST_EXCEPTION', 'FIRST_COMPLETED')})",
            f"s.at(me, {k}, len(done), len(left), [task.cancel({self.pick('', repr(f'why{k}'))}) for task in left])",
            "got = await asyncio.gather(*tasks, return_exceptions=True)",
            f"s.at(me, {k}, *map(chain, got), [task.cancelled() for task in tasks])",
            "tasks = done = left = None",
        ]

    def in_time_or_not(self) -> list[str]:
        """A wait that is over before its task."""
        k = self.k()
        group = f"(str(me), {k})"
        return [
            f"s.live[{group}] = 0",
            f"tasks = {{asyncio.create_task(parks(s, (me, {k}), {k}, {group}, {self.chance(0.5)}))}}",
            f"await when(lambda: s.live[{group}] == 1)",
            f"done, left = await asyncio.wait(tasks, timeout={_AT_ONCE_S})",
            f"s.at(me, {k}, len(done), left == tasks)",
            "[task.cancel() for task in tasks]",
            f"v = await effect(me, ({k}, 'cancelled'), v)",
            f"s.at(me, {k}, len((await asyncio.wait(left, timeout=30))[0]), [task.cancelled() for task in tasks])",
            "tasks = done = left = None",
        ]

    def shielded(self) -> list[str]:
        return [f"v = await asyncio.shield({self.branch().replace('effect(', 's.step(')})"]

    def shielded_late(self) -> list[str]:
        """What waits for it gives up, and it goes on."""
        k = self.k()
        group = f"(str(me), {k})"
        wait = self.pick(
            [f"    await asyncio.wait_for(asyncio.shield(task{k}), {_AT_ONCE_S})"],
            [f"    async with asyncio.timeout({_AT_ONCE_S}):", f"        await asyncio.shield(task{k})"],
        )
        return [
            f"s.live[{group}] = 0",
            f"task{k} = asyncio.create_task(parks(s, (me, {k}), {k}, {group}, {self.chance(0.5)}))",
            f"await when(lambda: s.live[{group}] == 1)",
            "try:",
            *wait,
            "except TimeoutError:",
            f"    s.at(me, {k}, 'late', task{k}.done(), task{k}.cancelling(), owes={len(wait) > 1})",
            f"task{k}.cancel()",
            f"got = await asyncio.gather(task{k}, return_exceptions=True)",
            f"s.at(me, {k}, *map(chain, got), task{k}.cancelled())",
            f"task{k} = None",
        ]

    # --- what is kept -------------------------------------------------------------------------------------------------
    def kept(self, depth: int) -> list[str]:
        """Made now, awaited later."""
        k, callee = self.k(), self.callee()
        call = f"{callee}(s, (me, {k}), v)" if callee else f"recursive(s, (me, {k}), {k % 2})"
        plain = self.pick(f"effect((me, {k}, 'b'), {k}, v)", f"after_waiting(recursive, s, (me, {k}, 'b'), {k}, 1)")
        made, awaited = self.pick(
            (f"asyncio.gather({self.branch()}, {self.branch()})", f"got = await kept{k}"),
            (f"[{call}, {plain}]", f"got = await kept{k}[0], await kept{k}[1]"),
            (f"[{call}, {plain}]", f"got = await asyncio.gather(*kept{k})"),
            (f"{{'call': {call}, 'plain': {plain}}}", f"got = [await each for each in kept{k}.values()]"),
            (
                f"asyncio.create_task({call}, name='kept{k}')",
                f"got = await kept{k}, kept{k}.get_name(), kept{k}.result()",
            ),
            (f"lambda: {call}", f"got = await kept{k}()"),
        )
        last = [awaited, f"s.at(me, {k}, got)", f"kept{k} = None"]
        return [f"kept{k} = {made}", *self.whatever(self.inner(depth), last)]

    def twice_gathered(self) -> list[str]:
        k = self.k()
        made = self.pick(
            f"s.step((me, {k}), {k}, v)", f"effect((me, {k}), {k}, v)", f"asyncio.create_task({self.branch()})"
        )
        return [
            f"call = {made}",
            "one, two = await asyncio.gather(call, call)",
            f"s.at(me, {k}, one, two)",
            "call = None",
        ]

    def local_function(self) -> list[str]:
        """Tasks over a nested coroutine function, which changes a variable of the playbook."""
        k = self.k()
        run = self.pick(
            f"await asyncio.gather(*[local{k}(n) for n in range(3)])",
            f"await asyncio.gather(*[asyncio.create_task(local{k}(n)) for n in range(2)])",
            f"[await each for each in [asyncio.ensure_future(local{k}(n)) for n in range(2)]]",
            f"[await local{k}(n) for n in range(2)]",
        )
        return [
            f"async def local{k}(n, w=v):",
            "    nonlocal count",
            f"    got = await effect((me, {k}, n), {k}, w)",
            "    count += 1",
            "    return mixed(got, n)",
            f"v = mixed({run})",
            f"s.at(me, {k}, count)",
        ]

    def callback(self) -> list[str]:
        k = self.k()
        return [
            f"kept = [asyncio.create_task(each) for each in ({self.branch()}, {self.branch()})]",
            "tasks = set(kept)",
            "[task.add_done_callback(tasks.discard) for task in kept]",
            f"v = await effect(me, {k}, v)",
            "got = await asyncio.gather(*kept)",
            f"v = await effect(me, ({k}, 'after'), mixed(*got))",
            f"s.at(me, {k}, len(tasks))",
            "tasks = kept = None",
        ]

    # --- others -------------------------------------------------------------------------------------------------------
    def spawning(self) -> list[str]:
        k = self.k()
        return [
            f"async with asyncio.TaskGroup() as group{k}:",
            f"    tasks = [group{k}.create_task(spawns(s, (me, {k}, n), {k}, group{k}, v)) for n in range({k % 2 + 1})]",
            f"group{k} = None",
            "v = mixed([task.result().result() for task in tasks])",
            "tasks = None",
        ]

    def fan(self) -> list[str]:
        k = self.k()
        return [f"v = mixed(await asyncio.gather(*[s.step((me, {k}, n), {k}, v) for n in range({k % 3 * 4 + 3})]))"]

    def things(self) -> list[str]:
        k = self.k()
        return [
            f"things{k} = things({k})",
            f"pair = things{k}[2], things{k}",
            f"v = await effect(me, {k}, v)",
            f"s.at(me, {k}, *whole(things{k}, {k}), pair[0] is things{k}[2], pair[1] is things{k})",
            f"things{k} = pair = None",
        ]

    def policy(self) -> list[str]:
        k = self.k()
        call = f"{self.pick('charged', 'looked_up')}(me, {k}, v)"
        return [self.pick(f"v = await {call}", f"v = mixed(await asyncio.gather({call}, flaky((me, {k}), {k}, v, 1)))")]
