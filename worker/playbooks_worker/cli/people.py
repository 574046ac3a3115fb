"""`playbooksctl inbox` and `answer`: what agents ask people, and what people tell them.

A question is in the header of the agent's newest checkpoint; an answer is a letter to the agent, from the question itself,
so that there is one for each.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from playbooks_worker.cli import options
from playbooks_worker.cli.output import CommandError, Output, exit_of
from playbooks_worker.cli.views import Record, ago, as_text, given, table_of

if TYPE_CHECKING:
    from playbooks_providers.envelope import Asked, Sealer
    from playbooks_providers.ids import AgentId
    from playbooks_providers.model import AgentView


def inbox(
    person: Annotated[str | None, typer.Argument(metavar="PERSON", help="Only what this person is asked.")] = None,
    storage_path: options.StoragePath = None,
    redis_url: options.RedisUrl = None,
    json: options.Json = False,
) -> None:
    """List what agents ask people and wait for, the oldest question first."""
    with Output(json) as out:
        found, there = asyncio.run(_inbox(person, storage_path, redis_url))
        found.sort(key=lambda told: told["asked_ms"])
        if out.as_json:
            out.json(found)
        elif found:
            _print(out, found)
            out.note(f"Answer one: playbooksctl answer AGENT TEXT{there}")
        else:
            out.note("nobody is asked anything" if person is None else f"{person} is not asked anything")


async def _inbox(person: str | None, storage_path: Path | None, redis_url: str | None) -> tuple[list[Record], str]:
    """What is asked, and what the command that answers needs besides."""
    from playbooks_worker.cli.connect import described, home_of

    async with home_of(storage_path, redis_url) as home:
        found = [
            _told(view.agent, each)
            for view in await described(home, await home.coordination.asking())
            for each in asked_by(view, home.sealer)
            if person in (None, each.person)
        ]
        return found, home.there()


def asked_by(view: AgentView, sealer: Sealer | None) -> list[Asked]:
    """The questions of an agent that has not ended, as its header says; nothing is verified. Raises `CommandError` when they
    cannot be decrypted here."""
    from playbooks_providers.envelope import no_key, read_header
    from playbooks_providers.model import FINAL

    if view.status in FINAL or not view.header:
        return []
    try:
        header = read_header(view.header) if sealer is None else sealer.read(view.header)
    except ValueError:
        return []
    if header.sealed:
        raise CommandError(f"agent {view.agent}: {no_key(header.cipher)}")
    return header.asks


def _told(agent: str, asked: Asked) -> Record:
    return {
        "agent_id": agent,
        "question_id": asked.id,
        "person": asked.person,
        "question": asked.question,
        "asked_ms": asked.asked_ms,
        "until_ms": asked.until_ms,
    }


def _print(out: Output, found: list[Record]) -> None:
    from rich.text import Text

    table = table_of(("AGENT", "PERSON", "QUESTION", "AGE"), right=("AGE",))
    for told in found:
        text = as_text(told["question"])
        table.add_row(Text(told["agent_id"]), Text(told["person"]), Text(text), ago(told["asked_ms"]))
    out.show(table)


def answer(
    agent_id: Annotated[str, typer.Argument(metavar="AGENT", help="Who asks.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The answer.")],
    question: Annotated[
        str | None, typer.Option("--question", metavar="ID", help="Which one, when AGENT asks several.")
    ] = None,
    as_value: options.AsValue = False,
    storage_path: options.StoragePath = None,
    redis_url: options.RedisUrl = None,
    json: options.Json = False,
) -> None:
    """Answer what an agent asks a person. It goes on with the answer, wherever it is."""
    with Output(json) as out:
        from playbooks_providers import ids

        value = given(text, as_value=as_value)
        asyncio.run(_answer(out, ids.agent_id(agent_id), value, question, storage_path, redis_url))


async def _answer(
    out: Output, agent: AgentId, value: Any, question: str | None, storage_path: Path | None, redis_url: str | None
) -> None:
    from playbooks_providers.letters import Delivered
    from playbooks_worker.cli.connect import home_of, known, signing
    from playbooks_worker.cli.control import nobody_runs
    from playbooks_worker.host.answers import answer_letter, answered

    async with home_of(storage_path, redis_url) as home:
        view = await known(home, agent)
        asked = chosen(view, home.sealer, question, f"playbooksctl inbox{home.there()}")
        letter = answer_letter(signing(home), agent, asked.id, value)
        said = await answered(home.coordination, agent, letter)
        if not isinstance(said, Delivered):
            raise CommandError(f"agent {agent} has ended meanwhile: nobody waits for the answer")
        if not said.fresh:
            raise CommandError(f"the question was answered already: {as_text(asked.question)}")
        command = await nobody_runs(home, view)
    if out.as_json:
        out.json({"agent_id": agent, "question_id": asked.id, "answer": value})
    else:
        out.say(f"answered {agent}: {as_text(asked.question)}")
        if exit_of(view.status) is not None or view.status.value == "paused":
            how = "unpause" if view.status.value == "paused" else "retry"
            goes_on = f"playbooksctl {how} {agent}{home.there()}"
            out.note(f"It is {view.status}, and reads the answer when it goes on: {goes_on}")
        elif command:
            out.note(f"Nobody runs it: it reads the answer when it goes on: {command}")


def chosen(view: AgentView, sealer: Sealer | None, question: str | None, look: str) -> Asked:
    """The question that is meant. Raises `CommandError` when there is none, or more than one; *look* lists them all."""
    asked = asked_by(view, sealer)
    if question is not None:
        asked = [one for one in asked if one.id == question]
    if not asked:
        which = "this" if question is not None else "any"
        raise CommandError(
            f"agent {view.agent} ({view.status}) does not ask a person {which} question now",
            hint=f"See who does: {look}",
        )
    if len(asked) > 1:
        each = [f"  --question {one.id}    {as_text(one.question)}" for one in asked]
        raise CommandError(
            f"agent {view.agent} asks {len(asked)} questions: say which one", hint="\n".join(["One of:", *each])
        )
    return asked[0]
