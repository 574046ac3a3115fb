"""Statements of generated programs that run branches: gathers, tasks, groups, timeouts, cancellations. branching.py adds the
sequential half; the playbooks that are called by name are in sharing.py.

Who is cancelled is parked, or cancels itself, so that where it stands does not depend on the order of the branches.
"""

from __future__ import annotations

import abc

from chance import Choosing

_NEVER_S = 30
_AT_ONCE_S = 0.01


class Tasking(Choosing, abc.ABC):
    """What both halves need, and the statements that run branches."""

    @abc.abstractmethod
    def callee(self) -> str | None:
        """A playbook of the program that may be called here."""

    @abc.abstractmethod
    def inner(self, depth: int) -> list[str]:
        """An indented block of further statements."""

    def concurrent(self, depth: int) -> list[str]:
        """One statement that runs branches."""
        choices = [self.gather, self.gather, self.collect, self.failing, self.meeting, self.pipeline, self.shared_loop]
        choices += [self.wait, self.wait_for, self.in_any_order, self.group, self.failing_group, self.cancelled_task]
        choices += [self.late, self.first, lambda: self.held(depth), lambda: self.in_time(depth)]
        return self.pick(*choices)()

    # --- gather -------------------------------------------------------------------------------------------------------
    def branch(self, index: int = 0) -> str:
        """A coroutine to run as a task; each has a name of its own."""
        callee, k = self.callee(), self.k()
        me = f"(me, {k})"
        choices = [
            lambda: f"effect({me}, {k}, v)",
            lambda: f"s.step({me}, {k}, v + {index})",
            lambda: f"recursive(s, {me}, {k % 3})",
            lambda: f"after_waiting(recursive, s, {me}, {k}, 1)",
        ]
        if callee:
            choices += [
                lambda: f"{callee}(s, {me}, v)",
                lambda: f"{callee}(s, {me}, v)",
                lambda: f"after_waiting({callee}, s, {me}, {k}, v)",
                lambda: f"twice({callee}, s, {me}, {k}, v)",
            ]
        return self.pick(*choices)()

    def branches(self, least: int = 1) -> list[str]:
        return [self.branch(index) for index in range(self.random.randint(least, 3))]

    def gather(self) -> list[str]:
        branches = self.branches(2)
        if self.chance(0.2):
            branches.append(f"asyncio.gather({self.branch()}, {self.branch()})")
        return [f"v = mixed(await asyncio.gather({', '.join(branches)}))"]

    def collect(self) -> list[str]:
        """Failures and cancellations among the results."""
        k = self.k()
        branches = self.branches() + [
            self.pick(
                f"fails(s, (me, {k}), v)",
                f"effect((me, {k}), {k}, error=Other({k}, 1))",
                f"effect((me, {k}), {k}, cancel='start')",
                f"after_waiting(fails, s, (me, {k}), {k}, v)",
            )
        ]
        self.random.shuffle(branches)
        return [
            f"got = await asyncio.gather({', '.join(branches)}, return_exceptions=True)",
            f"s.at(me, {k}, *[chain(r) if isinstance(r, BaseException) else r for r in got])",
            "v = mixed([tag(r) for r in got])",
        ]

    def failing(self) -> list[str]:
        """One branch fails; the others go on without their gather."""
        k, callee = self.k(), self.callee()
        group = f"(str(me), {k})"
        rest = [f"counted({callee or 'recursive'}, s, (me, {self.k()}), {group}, {'v' if callee else 1})" for _ in "ab"]
        branches = [f"fails(s, (me, {k}), v)", *rest[: self.random.randint(1, 2)]]
        self.random.shuffle(branches)
        return [
            f"s.live[{group}] = {len(branches) - 1}",
            "try:",
            f"    await asyncio.gather({', '.join(branches)})",
            "except Err as error:",
            f"    s.at(me, {k}, chain(error))",
            *([f"    v = await effect(me, {k}, v)"] if self.chance(0.5) else []),
            f"await settled(s, {group})",
        ]

    def meeting(self) -> list[str]:
        """Branches that wait for each other by an event."""
        k = self.k()
        return [f"v = mixed(await asyncio.gather(meets(s, (me, 'a'), {k}, 2), meets(s, (me, 'b'), {k}, 2)))"]

    def pipeline(self) -> list[str]:
        k, size = self.k(), self.pick(0, 1)
        return [
            f"await asyncio.gather(produces(s, (me, 'in'), ({k}, str(me)), 3, {size}),"
            f" consumes(s, (me, 'out'), ({k}, str(me)), 3))"
        ]

    def shared_loop(self) -> list[str]:
        """Two branches that take from one iterator."""
        k = self.k()
        source = self.pick("iter([1, 2, 3, 4])", "iter(range(4))", "enumerate([4, 5, 6])", "iter({1: 2, 3: 4}.items())")
        return [
            f"shared = {source}",
            f"v = mixed(sum(await asyncio.gather(*[takes(s, (me, {k}), who, shared) for who in 'ab'])))",
        ]

    # --- tasks --------------------------------------------------------------------------------------------------------
    def held(self, depth: int) -> list[str]:
        """A task that runs while its playbook does other things, and is awaited whatever these come to."""
        k = self.k()
        make = self.pick("asyncio.create_task", "asyncio.ensure_future")
        return [
            f"held{k} = {make}({self.branch()})",
            "try:",
            *self.inner(depth),
            "finally:",
            f"    got = await held{k}",
            f"    s.at(me, {k}, got, held{k}.done(), held{k}.cancelled())",
        ]

    def wait(self) -> list[str]:
        k = self.k()
        tasks = ", ".join(f"asyncio.create_task({branch})" for branch in self.branches())
        return [
            f"done, left = await asyncio.wait([{tasks}])",
            f"s.at(me, {k}, len(done), len(left))",
            "v = mixed(sorted(task.result() for task in done))",
        ]

    def first(self) -> list[str]:
        """The first that has ended, and the others cancelled."""
        k = self.k()
        group = f"(str(me), {k})"
        return [
            f"s.live[{group}] = 0",
            f"tasks = [asyncio.create_task(parks(s, (me, {k}), {k}, {group}, {self.chance(0.5)})),"
            f" asyncio.create_task(fails_last(s, (me, 'last'), {k}, {group}, 1))]",
            "done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)",
            "[task.cancel() for task in left]",
            "got = await asyncio.gather(*tasks, return_exceptions=True)",
            f"s.at(me, {k}, *map(chain, got), [task.cancelled() for task in tasks])",
        ]

    def wait_for(self) -> list[str]:
        # a playbook: Python 3.11 runs it in a task of plain code, which may have ended a turn before its site has
        return [f"v = await asyncio.wait_for({self.branch().replace('effect(', 's.step(')}, {_NEVER_S})"]

    def late(self) -> list[str]:
        k = self.k()
        never = self.pick(f"rests(s, (me, {k}), {k})", f"forever(me, {k})", f"asyncio.gather(rests(s, (me, {k}), {k}))")
        head = self.pick(f"await asyncio.wait_for({never}, {_AT_ONCE_S})", "")
        body = [head] if head else [f"async with asyncio.timeout({_AT_ONCE_S}):", f"    await {never}"]
        # the outcome of an await is recorded before its handler runs; that a block was left is not
        said = f"    s.at(me, {k}, 'late', owes={not head})"
        lines = ["try:", *["    " + line for line in body], "except TimeoutError:", said]
        if not never.startswith("asyncio.gather"):
            return lines
        # while the block's beginning is written its time may run out: what is gathered then has never begun
        begun = f"(str((me, {k})), 'begun')"
        lines[-1] = f"    if {begun} in s.live:{said}"
        return [f"while not s.live.pop({begun}, 0):", *["    " + line for line in lines]]

    def in_time(self, depth: int) -> list[str]:
        return [f"async with asyncio.timeout({_NEVER_S}):", *self.inner(depth)]

    def in_any_order(self) -> list[str]:
        return [
            "total = 0",
            f"for each in asyncio.as_completed([{', '.join(self.branches())}]):",
            "    total += mixed(await each)",
            *([f"    total += mixed(await effect(me, {self.k()}))"] if self.chance(0.5) else []),
            "v = mixed(total)",
        ]

    def group(self) -> list[str]:
        k = self.k()
        branches = self.branches()
        return [
            f"async with asyncio.TaskGroup() as group{k}:",
            f"    tasks = [{', '.join(f'group{k}.create_task({branch})' for branch in branches)}]",
            *([f"    v = await effect(me, {k}, v)"] if self.chance(0.5) else []),
            f"    tasks.append(group{k}.create_task({self.branch()}))",
            f"group{k} = None",
            "v = mixed([task.result() for task in tasks])",
        ]

    def failing_group(self) -> list[str]:
        k, number = self.k(), self.pick(1, 2)
        group = f"(str(me), {k})"
        parked = [f"parks(s, (me, {k}, {n}), {k}, {group}, {self.chance(0.5)})" for n in range(number)]
        branches = [*parked, f"fails_last(s, (me, {k}, 'last'), {k}, {group}, {number})"]
        self.random.shuffle(branches)
        return [
            f"s.live[{group}] = 0",
            "try:",
            f"    async with asyncio.TaskGroup() as group{k}:",
            *[f"        group{k}.create_task({branch})" for branch in branches],
            *([f"        await forever(me, {k})"] if self.chance(0.3) else []),
            "except BaseExceptionGroup as error:",
            f"    s.at(me, {k}, sorted(str(chain(each)) for each in error.exceptions))",
            f"group{k} = None",
        ]

    # --- cancellation -------------------------------------------------------------------------------------------------
    def cancelled_task(self) -> list[str]:
        k = self.k()
        group = f"(str(me), {k})"
        when = self.pick(
            [f"await when(lambda: s.live[{group}] == 1)"], [f"await when(lambda: s.live[{group}] == 1)"], []
        )
        return [
            f"s.live[{group}] = 0",
            f"task = asyncio.create_task(parks(s, (me, {k}), {k}, {group}, {self.chance(0.5)}))",
            *when,
            "task.cancel()",
            *([f"v = await effect(me, {k}, v)"] if self.chance(0.4) else []),
            "try:",
            "    await task",
            "except asyncio.CancelledError:",
            f"    s.at(me, {k}, task.cancelled(), task.done())",
        ]

    def cancelled_effect(self) -> list[str]:
        """The branch cancels itself in an effect, at an await of its own or of what it calls."""
        k, how = self.k(), self.pick("start", "start", "end")
        inner = self.pick(
            f"await effect(me, {k}, cancel='{how}')",
            f"await cancelling(s, me, {k}, '{how}')",
            f"await after_waiting(cancelling, s, me, {k}, {k}, '{how}')",
        )
        return [
            "try:",
            f"    {inner}",
            f"    await effect(me, ({k}, 'after'), waits=True)",
            f"    s.at(me, ({k}, 'never'))",
            "except asyncio.CancelledError as error:",
            "    asyncio.current_task().uncancel()",
            f"    s.at(me, {k}, chain(error), owes=True)",
            *([f"    v = await effect(me, ({k}, 'handler'), v)"] if self.chance(0.6) else []),
        ]
