"""Several agents that talk, in memory, on one loop: what stays when the process dies, and a process that dies at any step.

A step is a checkpoint, an acceptance of a letter, or what its sender hears of that. `kill_everywhere` kills at each of them
in turn, and lets all agents go on in a new loop from what stayed.
"""

from __future__ import annotations

import asyncio
import importlib

from harness import run

from playbooks_worker.engine import Agent, Completed, Failed, NoSuchAgent, Received
from playbooks_worker.engine.playbooks import find_playbook

_COLLECT_EVERY = 10  # kills: collecting takes longer than they do


class Durable:
    """What outlives a process: per agent its newest payload, its inbox, whether it has ended; and what is in flight."""

    def __init__(self):
        self.started = {}  # id → (program, entry, args, kwargs, parent)
        self.payloads = {}
        self.inboxes = {}  # id → [Received]
        self.accepted = {}  # (receiver, sender) → number
        self.cursors = {}
        self.ends = {}
        self.untold = {}  # ended children whose parent has not been told yet
        self.owing = {}  # ended agents → questions that they did not answer, whose askers have not been told yet
        self.seqs = {}
        self.orders = {}  # id → (id of a cancellation, why), for agents that have not ended


class Town:
    def __init__(self, durable, kill_at=None, clock=None):
        self.durable = durable
        self.kill_at = kill_at
        self.steps = 0
        self.agents = {}
        self.tasks = {}
        self.clock = clock or (lambda: 0.0)
        self.delivering = set()
        self.questions = {}
        self.answers = {}

    # --- a process ----------------------------------------------------------------------------------------------------
    def step(self):
        """One more thing is durable. True: the process dies here."""
        self.steps += 1
        if self.steps == self.kill_at:
            asyncio.get_running_loop().stop()
            self.kill_at = 0
        return self.kill_at == 0

    async def live(self):
        for id in list(self.durable.started):
            if id not in self.durable.ends:
                self.begin(id)
        for child in list(self.durable.untold):
            self.tell(child)
        for ended in list(self.durable.owing):
            self.tell_unanswered(ended)
        while pending := [task for task in self.tasks.values() if not task.done()]:
            await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in self.tasks.values():
            task.result()
        return dict(self.durable.ends)

    def begin(self, id):
        agent = self.agents[id] = Agent(
            id,
            persist=lambda moment, payload: self.persist(id, moment, payload),
            next_seq=self.durable.seqs.get(id, 0) + 1,
            world=_World(self, id),
        )
        self.tasks[id] = asyncio.get_running_loop().create_task(self.run_one(id, agent))
        if id in self.durable.orders:
            asyncio.get_running_loop().call_soon(lambda: agent.cancel(*self.durable.orders[id]))

    async def run_one(self, id, agent):
        if id in self.durable.payloads:
            outcome = await agent.resume(self.durable.payloads[id])
        else:
            program, entry, args, kwargs, _ = self.durable.started[id]
            importlib.import_module(program)
            outcome = await agent.start(find_playbook(f"{program}:{entry}").function.__globals__[entry], args, kwargs)
        assert isinstance(outcome, Completed | Failed), outcome

    def persist(self, id, moment, payload):
        durable = self.durable
        if self.kill_at == 0:
            return asyncio.get_running_loop().create_future()
        durable.seqs[id] = moment.seq
        mailing = moment.mailing
        if moment.kind == "step":
            durable.payloads[id] = payload
            if mailing is not None:
                durable.cursors[id] = mailing.cursor
                self.questions[id] = mailing.questions
        else:
            durable.ends[id] = (
                moment.result if moment.kind == "completed" else f"{type(moment.error).__name__}: {moment.error}"
            )
            durable.untold[id] = moment.kind
            read, owed = moment.owes or (0, ())
            unread = [one for one in durable.inboxes.get(id, [])[read:] if one.kind == "question"]
            durable.owing[id] = [*((one.id, one.asker) for one in owed), *((one.id, one.sender) for one in unread)]
        if self.step():
            return asyncio.get_running_loop().create_future()
        if mailing is not None:
            for letter in mailing.outbox:
                self.carry(id, letter)
        if moment.kind != "step":
            self.tell(id)
            self.tell_unanswered(id)
        return None

    # --- the post -----------------------------------------------------------------------------------------------------
    def carry(self, sender, letter):
        key = (sender, letter)
        if repr(key) not in self.delivering:
            self.delivering.add(repr(key))
            asyncio.get_running_loop().call_soon(self.arrive, sender, letter)

    def arrive(self, sender, letter):
        if self.kill_at == 0:
            return
        durable = self.durable
        if letter.kind == "spawn":
            fresh = letter.receiver not in durable.started
            if fresh:
                start = letter.value
                durable.started[letter.receiver] = (
                    start["program"],
                    start["entry"],
                    start["args"],
                    start["kwargs"],
                    sender,
                )
                if self.step():
                    return
            if letter.receiver not in self.agents and letter.receiver not in durable.ends:
                self.begin(letter.receiver)
        elif letter.kind == "cancel":
            if letter.receiver not in durable.ends:
                durable.orders[letter.receiver] = (letter.id, letter.value[0])
                if self.step():
                    return
                self.agents[letter.receiver].cancel(*durable.orders[letter.receiver])
        elif letter.kind == "question" and letter.receiver in durable.ends:
            if sender in self.agents:
                self.agents[sender].not_answered(letter.id, "before it was asked")
        elif letter.receiver not in durable.ends:
            if self.accept(letter.receiver, letter.number, Received(sender, 1, letter.kind, letter.id, letter.value)):
                return
        if self.step():
            return
        if sender in self.agents:
            self.agents[sender].accepted(letter)

    def accept(self, receiver, number, letter):
        """Into the inbox, once. True: the process died."""
        durable = self.durable
        if self.kill_at == 0:
            return True
        known = durable.accepted.get((receiver, letter.sender), 0)
        if number <= known:
            return False
        assert number == known + 1, f"a gap: {number} after {known}"
        durable.accepted[receiver, letter.sender] = number
        inbox = durable.inboxes.setdefault(receiver, [])
        inbox.append(letter)
        if self.step():
            return True
        if receiver in self.agents:
            self.agents[receiver].look_again()
        return False

    def tell(self, child):
        """Its parent hears how *child* has ended."""
        durable = self.durable
        parent = durable.started[child][4]
        if parent is None or parent in durable.ends:
            return
        number = durable.accepted.get((parent, child), 0) + 1 if child in durable.untold else 0
        kind = durable.untold.pop(child, None)
        if kind is None:
            return
        value = {"status": kind, "value": durable.ends[child], "type": "Error", "message": str(durable.ends[child])}
        inbox = durable.inboxes.setdefault(parent, [])
        letter = Received(child, 1, "ended", "", value)
        durable.accepted[parent, child] = number
        inbox.append(letter)
        if self.step():
            return
        if parent in self.agents:
            self.agents[parent].look_again()

    def tell_unanswered(self, ended):
        while questions := self.durable.owing.get(ended):
            id, asker = questions[0]
            if asker not in self.durable.ends and self.accept(
                asker, 1, Received(f"unanswered:{id}", 1, "unanswered", id, "completed")
            ):
                return
            del questions[0]

    def answer(self, id, value):
        """A person answers the first open question of agent *id*."""
        question = self.questions[id][0]
        self.accept(id, 1, Received(f"person:{question.id}", 0, "reply", question.id, value))


class _World:
    def __init__(self, town, id):
        self.town = town
        self.id = id

    def now(self):
        return self.town.clock()

    async def look_up(self, receiver):
        durable = self.town.durable
        if receiver not in durable.started:
            raise NoSuchAgent(f"agent {receiver} is not known")
        if receiver in durable.ends:
            raise NoSuchAgent(f"agent {receiver} has ended")
        return 1

    async def status(self, agent):
        durable = self.town.durable
        return "completed" if agent in durable.ends else "running" if agent in durable.started else None

    async def ended(self, child):
        ends = self.town.durable.ends
        return {"status": "completed", "value": ends[child]} if child in ends else None

    async def fetch(self):
        agent = self.town.agents[self.id]
        for place, letter in enumerate(self.town.durable.inboxes.get(self.id, []), 1):
            agent.deliver(place, letter)

    def resumed(self, mailing):
        self.town.questions[self.id] = mailing.questions
        for letter in mailing.outbox:
            self.town.carry(self.id, letter)

    def waits(self):
        pass


def first(playbook, *args, id="boss"):
    durable = Durable()
    durable.started[id] = (playbook.__module__, playbook.__qualname__, list(args), {}, None)
    return durable


def whole(playbook, *args):
    """(how all agents end, how many steps it took)."""
    town = Town(first(playbook, *args))
    return run(town.live()), town.steps


def kill_everywhere(playbook, *args, check=lambda ends: None):
    """Kill at every step, resume, and compare how all agents end. Answers the ends and how often it was killed."""
    expected, steps = whole(playbook, *args)
    assert expected is not None
    check(expected)
    for kill_at in range(1, steps + 1):
        durable = first(playbook, *args)
        collect = kill_at % _COLLECT_EVERY == 0
        ended = run(Town(durable, kill_at).live(), collect=collect)
        if ended is None:
            ended = run(Town(durable).live(), collect=collect)
        assert ended == expected, f"killed at step {kill_at}: {ended!r} instead of {expected!r}"
    return expected, steps
