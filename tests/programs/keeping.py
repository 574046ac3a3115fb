"""Statements of generated programs about what frames hold: steps and their attempts, exit stacks, values that cannot be
saved, objects that frames and branches share, and what comes in time. Added to the grammar of branching.py.
"""

from __future__ import annotations

from tasking import Tasking


class Keeping(Tasking):
    """What is held across awaits."""

    def holding(self, depth: int) -> list[str]:
        return self.pick(self.step, self.step, self.unsavable, self.alias, self.alias, lambda: self.stack(depth))()

    def step(self) -> list[str]:
        k = self.k()
        return self.pick(
            [f"v = await flaky(me, {k}, v, {k % 3})"],
            [f"v = mixed(await asyncio.gather(flaky((me, {k}), {k}, v, 1), threaded((me, {k}), {k}, v)))"],
            [f"v = await threaded(me, {k}, v)"],
            ["try:", f"    v = await flaky(me, {k}, v, 9)", "except Err as error:", f"    s.at(me, {k}, chain(error))"],
            [
                "try:",
                f"    v = await careful(me, {k}, v)",
                "except OutcomeUnknown:  # it has come to this, as nobody else can know",
                f"    v = mixed({k}, v)",
                f"s.at(me, {k}, v)",
            ],
        )

    def unsavable(self) -> list[str]:
        k = self.k()
        made = self.pick("(n for n in range(2))", "threading.Lock()")
        return [
            f"odd = {made}",
            "kept = [odd, {'odd': odd}, v]",
            f"v = await effect(me, {k}, v)",
            f"back = await {self.pick('passes', 'passes_by')}(s, me, {k}, odd)",
            f"s.at(me, {k}, back is odd, kept[0] is kept[1]['odd'] is odd, kept[2])",
            "odd = back = kept = None",
        ]

    def alias(self) -> list[str]:
        """One list in this frame, in those below, in branches and in the state."""
        k = self.k()
        return [
            f"box = s.boxes[str(me), {k}] = [v]",
            *self.pick(
                [f"got = await shares(s, me, {k}, box)"],
                [f"got = await after_sharing(s, me, {k}, box)"],
                [
                    f"both = shares(s, (me, {k}), {k}, box), after_sharing(s, (me, {k}, 'b'), {k}, box)",
                    "got, other = await asyncio.gather(*both)",
                    f"s.at(me, {k}, got is other)",
                ],
            ),
            f"v = await effect(me, ({k}, 'with'), v)",
            f"s.at(me, {k}, got is box is s.boxes[str(me), {k}], sorted(map(str, box)))",
        ]

    def stack(self, depth: int) -> list[str]:
        k = self.k()
        return [
            f"async with contextlib.AsyncExitStack() as stack{k}:",
            f"    target = await stack{k}.enter_async_context(Manager(mixed({k}, v)))",
            f"    stack{k}.callback(s.seen.add, (str(me), {k}, 'callback'))",  # again if it is left anew
            *([f"    stack{k}.enter_context(Manager(str(target)))"] if self.chance(0.4) else []),
            f"    v = await effect(me, {k}, v)",
            *self.inner(depth),
            f"stack{k} = None",
        ]

    def asynchronous(self) -> list[str]:
        """Loops and comprehensions over what comes in time, and `except*`: atomic regions, all but one."""
        k, source = self.k(), self.pick("numbers(3)", "numbers(2)", "Counting(2)")
        return self.pick(
            [f"v = mixed([await effect(me, ({k}, n), n) async for n in {source} if n != 1])"],
            [f"v = mixed({{n: await s.step(me, ({k}, n), n) async for n in {source}}})"],
            [
                f"async for n in {source}:",
                f"    s.at(me, {k}, n)",
                *([f"    if n: {self.pick('break', 'continue')}"] if self.chance(0.3) else []),
                f"    v = await effect(me, ({k}, n), v)",
                *(["else:", f"    v = await effect(me, ({k}, 'else'), v)"] if self.chance(0.5) else []),
            ],
            [
                "try:",
                f"    await effect(me, ({k}, 'body'), v)",
                f"    raise ExceptionGroup('g', [Err({k}), Other({k}, v)])",
                "except* Err as errors:",
                f"    v = await effect(me, ({k}, 'err'), v)",
                f"    s.at(me, {k}, *map(chain, errors.exceptions))",
                "except* Other as errors:",
                f"    s.at(me, ({k}, 'other'), *map(chain, errors.exceptions))",
                *(["finally:", f"    v = await effect(me, ({k}, 'finally'), v)"] if self.chance(0.4) else []),
            ],
        )
