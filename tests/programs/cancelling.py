"""Random programs whose branches are cancelled at random awaits: by their parent, a sibling, an effect, a group that fails,
a timeout that is over at once. The rest of them is that of branching.py; who waits to be cancelled is in dooming.py.

Where a branch is cancelled nothing else of it runs at the time, or what remains would end as the order of branches has it.
"""

from __future__ import annotations

from branching import Branching

_HEAD = """\
from __future__ import annotations

from dooming import *
from fuzzing import Err, Manager, Other, chain, tag
from insisting import *
from pooling import *
from sharing import *
from waiting import Doomed

"""


class Cancelling(Branching):
    beside = False

    def __init__(self, seed: int, fuel: int = 14) -> None:
        super().__init__(seed, fuel)
        # who waits for a lock that another holds neither ends nor waits to be cancelled
        self.locks = self.chance(0.3)

    def text(self) -> str:
        return _HEAD + super().text().split("\n\n", 2)[2].lstrip("\n")

    def concurrent(self, depth: int) -> list[str]:
        if self.chance(0.45):
            return super().concurrent(depth)
        choices = [lambda: self.doomed(depth)] * 3 + [self.at_once, self.insisted]
        if not self.locks:
            choices += [self.doomed_family] * 2
        return self.pick(*choices)()

    # --- who is cancelled ---------------------------------------------------------------------------------------------
    def after(self) -> list[int]:
        """After how many of its statements, each time."""
        first = self.random.randint(0, 6)
        return [first, first + self.random.randint(0, 3)] if self.chance(0.25) else [first]

    def victim(self, name: str, *, again: bool) -> str:
        """*again*: it may be cancelled again after a resume, and must not have begun to tidy up."""
        callee, k = None if again else self.callee(), self.k()
        choices = [
            lambda: f"s.step({name}, {k}, v)",
            lambda: f"recursive(s, {name}, {k % 3})",
            lambda: f"after_waiting(recursive, s, {name}, {k}, 1)",
        ]
        if callee:
            choices += [lambda: f"{callee}(s, {name}, v)"] * 4
            choices += [
                lambda: f"after_waiting({callee}, s, {name}, {k}, v)",
                lambda: f"twice({callee}, s, {name}, {k}, v)",
            ]
        return self.pick(*choices)()

    def doomed(self, depth: int) -> list[str]:
        """A branch, cancelled once or twice."""
        k = self.k()
        doom, task = f"doom{k}", f"task{k}"
        itself, by_effect = self.chance(0.2), self.chance(0.3)
        who = f"cancelled_by_effect((me, {k})" if by_effect else f"cancelled_by(s, (me, {k})"
        cancels = f"{who}, {k}, {task}, {doom}, {self.pick('None', repr(f'why{k}'))})"
        ways = [
            [f"await {cancels}", f"got = await asyncio.gather({task}, return_exceptions=True)"],
            [f"got = await asyncio.gather({task}, {cancels}, return_exceptions=True)"],
            [
                f"canceller = asyncio.create_task({cancels})",
                f"await asyncio.wait([{task}])",
                f"got = await asyncio.gather({task}, return_exceptions=True)",
                "await canceller",
            ],
        ]
        if not by_effect:
            ways.append(
                [
                    f"await when(lambda: {task}.done() or {doom}.stands)",
                    f"{task}.cancel()",
                    f"await when(lambda: {task}.done() or not {doom}.stands)",
                    f"await {cancels}",
                    f"got = await asyncio.gather({task}, return_exceptions=True)",
                ]
            )
        how = self.pick(*ways)
        if itself:
            how = [f"got = await asyncio.gather({task}, return_exceptions=True)"]
        elif not self.locks and self.chance(0.3):
            how = [f"await asyncio.gather({self.branch()}, {self.branch()})", *how]
        return [
            f"{doom} = Doomed((me, {k}), {self.after()[: 1 if by_effect else 2]}{', itself=True' if itself else ''})",
            f"{task} = asyncio.create_task({self.victim(doom, again=by_effect)})",
            *how,
            f"s.at(me, {k}, *[chain(r) if isinstance(r, BaseException) else r for r in got],"
            f" {task}.cancelled(){'' if by_effect else f', {task}.cancelling()'})",
            f"v = mixed(v, {k})",
        ]

    def doomed_family(self) -> list[str]:
        k = self.k()
        dooms, task = f"dooms{k}", f"task{k}"
        how = self.pick("gather", "exceptions", "wait_for", "timeout", "own", "group", "group")
        number = 1 if how in ("wait_for", "own") else self.random.randint(1, 3)
        fails = how == "group" and self.chance(0.5)
        made = [
            f"Doomed((me, {k}, {n}), [{self.random.randint(0, 5)}]"
            f"{', itself=True' if how in ('group', 'exceptions') and self.chance(0.2) else ''})"
            for n in range(number)
        ]
        callee = self.callee()
        child = f"{callee}, [v]" if callee else f"recursive, [{k % 3}]"
        lines = [
            f"{dooms} = [{', '.join(made)}]",
            f"{task} = asyncio.create_task(family(s, (me, {k}), {k}, {dooms}, {child}, {how!r}, {fails}))",
        ]
        if not fails:
            lines += [
                f"await when(lambda: {task}.done() or standing({dooms}))",
                self.pick(f"{task}.cancel()", f"{task}.cancel('why{k}')"),
            ]
        return [
            *lines,
            f"got = await asyncio.gather({task}, return_exceptions=True)",
            f"s.at(me, {k}, *[chain(r) if isinstance(r, BaseException) else r for r in got], {task}.cancelled())",
        ]

    def insisted(self) -> list[str]:
        """Cancelled while it tidies up, and again."""
        k, times = self.k(), self.pick(1, 2, 2, 3)
        task, at = f"task{k}", f"at{k}"
        made = self.pick(
            f"tidies_up((me, {k}), {k}, {times}, {at})",
            f"has_tidied_up(s, (me, {k}), {k}, {times}, {at})",
            f"awaits_a_task(s, (me, {k}), {k}, {times}, {at})",
        )
        insists = f"insists(s, (me, {k}, 'insists'), {k}, {task}, {times}, {at})"
        how = self.pick(
            [f"await {insists}", f"got = await {task}"],
            [f"got = (await asyncio.gather({task}, {insists}))[0]"],
            [f"got = (await asyncio.gather({insists}, {self.branch()}, {task}))[2]"],
        )
        return [
            f"{at} = Standing()",
            f"{task} = asyncio.create_task({made})",
            *how,
            f"s.at(me, {k}, got, {task}.cancelled(), {task}.cancelling())",
            f"{task} = {at} = None",
        ]

    def at_once(self) -> list[str]:
        """Over before it has begun, or at its first await."""
        k = self.k()
        name = f"(me, {k})"
        return self.pick(
            [
                "try:",
                f"    await asyncio.wait_for({self.branch()}, 0)",
                "except TimeoutError:",
                f"    s.at(me, {k}, 'late')",
            ],
            [
                "try:",
                "    async with asyncio.timeout(0):",
                f"        await {self.pick(f'rests(s, {name}, {k})', f'effect({name}, {k}, waits=True)')}",
                f"        s.at(me, {k}, 'never')",
                "except TimeoutError as error:",
                f"    s.at(me, {k}, 'late', owes=True)",
            ],
        )

    # --- what would go on beside who is cancelled ---------------------------------------------------------------------
    def locked(self, depth: int) -> list[str]:
        return super().locked(depth) if self.locks else [f"v = await {self.awaited()}"]

    def asynchronous(self) -> list[str]:
        """Who cancels may wait for a checkpoint, which an atomic region holds back: nobody waits for it there."""
        name = f"(me, {self.k()})"
        return [line.replace("(me,", f"({name},").replace("at(" + name, "at(me") for line in super().asynchronous()]

    def failing(self) -> list[str]:
        lines = super().failing()
        settled = lines.pop()
        return [lines[0], "try:", *["    " + line for line in lines[1:]], "finally:", f"    {settled}"]

    def in_any_order(self) -> list[str]:
        return [line for line in super().in_any_order() if "effect(me," not in line]

    def group(self) -> list[str]:
        return [line for line in super().group() if not line.strip().startswith("v = await effect(me,")]

    def cancelled_task(self) -> list[str]:
        return [line for line in super().cancelled_task() if not line.startswith("v = await effect(me,")]

    # --- who notices --------------------------------------------------------------------------------------------------
    def try_(self, depth: int) -> list[str]:
        if self.chance(0.5):
            return super().try_(depth)
        k = self.k()
        lines = ["try:", *self.inner(depth), "except asyncio.CancelledError as error:"]
        lines += [f"    s.at(me, ({k}, 'told'), chain(error), owes=True)", *self.inner(depth)]
        if self.chance(0.3):
            lines.append("    asyncio.current_task().uncancel()")
        if self.chance(0.6):
            lines.append(f"    {self.pick('raise', 'raise', f'raise asyncio.CancelledError({k}) from error')}")
        if self.chance(0.4):
            lines += ["finally:", f"    s.at(me, ({k}, 'finally'), v)", *self.inner(depth)]
        return lines


def program(seed: int, fuel: int = 14) -> str:
    return Cancelling(seed, fuel).text()
