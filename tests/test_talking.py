"""docs/talking.md is true: each of its programs ends as it says, wherever the process of its agents dies.

A block of Python in that page is a whole program, below the first one, which all others share. `# ends: …` says what `main`
returns, `# tells: …` what it tells people, `# the boss answers: …` what a person says, `# cancelled: …` what a cancelled
`main` has noted by its end.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import linecache
import re
import sys
from pathlib import Path

import pytest

from playbooks_worker.engine import Agent, Cancelled

sys.path.insert(0, str(Path(__file__).parent / "programs"))
from harness import Store, run  # noqa: E402 - found beside the programs of the tests
from town import Durable, Town, first  # noqa: E402

# loops that were killed are collected with their generators and coroutines, which Python remarks on
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
]

PAGE = Path(__file__).parents[1] / "docs" / "talking.md"
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_ENDS = re.compile(r"# ends: (.+)$", re.MULTILINE)
_ANSWERS = re.compile(r"# the boss answers: (.+)$", re.MULTILINE)
_TELLS = re.compile(r"# tells: (.+)$", re.MULTILINE)
_CANCELLED = re.compile(r"# cancelled: (.+)$", re.MULTILINE)
_SOON_S = 0.002


def blocks():
    """The shared beginning, and (line in the page, text) of each program."""
    text = PAGE.read_text()
    shared, *others = _BLOCK.finditer(text)
    return shared[1], [(text.count("\n", 0, block.start()) + 2, block[1]) for block in others]


SHARED, PROGRAMS = blocks()


class Place(Town):
    """In which a person answers, and time passes when everybody only waits."""

    answer_of_the_boss = None

    def __init__(self, durable, kill_at=None):
        super().__init__(durable, kill_at, clock=lambda: durable.now_s)
        self.leaping = False
        self.told = []

    def begin(self, id):
        super().begin(id)
        self.agents[id].world.waits = lambda: self.waits(id)
        self.agents[id].world.emit = lambda key, attempt, event: self.told.append(event)

    def waits(self, id):
        if self.questions.get(id):
            self.answer(id, self.answer_of_the_boss)
        self.look_soon()

    def look_soon(self):
        if not self.leaping:
            self.leaping = True
            asyncio.get_running_loop().call_later(_SOON_S, self.leap)

    def leap(self):
        self.leaping = False
        living = [agent for id, agent in self.agents.items() if id not in self.durable.ends]
        if self.kill_at == 0 or not living:
            return
        if not all(agent.is_idle() for agent in living):
            self.look_soon()
        elif times := [at for agent in living if (at := agent.wakes_at()) is not None]:
            self.durable.now_s = max(self.durable.now_s, min(times))
            for agent in living:
                agent.look_again()

    async def until_the_first_ends(self):
        """Others may wait for letters that nobody will write."""
        living = asyncio.ensure_future(self.live())
        while "boss" not in self.durable.ends:
            await asyncio.wait([living, self.tasks.get("boss", living)], timeout=_SOON_S)
        for agent in self.agents.values():
            await agent.stop("the run is over")
        await asyncio.gather(living, return_exceptions=True)
        return self.durable.ends["boss"]


def durable_of(main) -> Durable:
    durable = first(main)
    durable.now_s = 1_000.0
    return durable


@pytest.fixture
def program(tmp_path, monkeypatch, request):
    """A program, imported from a file of its own."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    name = "talking_" + re.sub(r"\W", "_", request.node.callspec.id)
    (tmp_path / f"{name}.py").write_text(SHARED + "\n\n" + request.param)
    importlib.invalidate_caches()
    linecache.checkcache()
    yield importlib.import_module(name)
    sys.modules.pop(name, None)


def that_say(what):
    found = [(line, text) for line, text in PROGRAMS if what.search(text)]
    return {"argvalues": [text for _, text in found], "ids": [f"line {line}" for line, _ in found]}


@pytest.mark.parametrize("program", indirect=True, **that_say(_ENDS))
def test_a_program_of_the_page_ends_as_it_says_wherever_it_is_killed(program, request, monkeypatch):
    text = request.node.callspec.params["program"]
    expected = ast.literal_eval(_ENDS.search(text)[1])
    if answers := _ANSWERS.search(text):
        monkeypatch.setattr(Place, "answer_of_the_boss", answers[1])
    whole = Place(durable_of(program.main))
    assert run(whole.until_the_first_ends()) == expected
    assert whole.told == (ast.literal_eval(tells[1]) if (tells := _TELLS.search(text)) else [])
    for kill_at in range(1, whole.steps + 1):
        durable = durable_of(program.main)
        ended = run(Place(durable, kill_at).until_the_first_ends())
        if ended is None:
            ended = durable.ends.get("boss") or run(Place(durable).until_the_first_ends())
        assert ended == expected, f"killed at step {kill_at}"


@pytest.mark.parametrize("program", indirect=True, **that_say(_CANCELLED))
def test_a_program_of_the_page_that_is_cancelled_tidies_up_wherever_it_goes_on(program, request):
    expected = ast.literal_eval(_CANCELLED.search(request.node.callspec.params["program"])[1])

    async def cancelled():
        store = Store()
        agent = Agent("a", persist=store.persist)
        task = asyncio.create_task(agent.start(program.main))
        while not agent.is_idle():
            await asyncio.sleep(0)
        before = len(store.payloads)
        agent.cancel("order 1", expected[0])
        return await task, store.payloads[before:]

    outcome, payloads = asyncio.run(cancelled())
    assert outcome == Cancelled(expected[0])
    assert program.NOTED == expected
    assert payloads
    for payload in payloads:
        program.NOTED.clear()
        assert run(Agent("a", persist=Store().persist).resume(payload)) == Cancelled(expected[0])
        assert program.NOTED == expected[len(expected) - len(program.NOTED) :]


def test_every_program_of_the_page_says_how_it_ends():
    assert all(_ENDS.search(text) or _CANCELLED.search(text) for _, text in PROGRAMS)
    assert that_say(_ANSWERS)["ids"] and that_say(_CANCELLED)["ids"]
