"""An agent as `wait`, `list`, `show` and `run` tell it: one record (the JSON shape), and its lines for people.

Built from an `AgentView` alone: headers are read, payloads never. What an agent ended with is verified where the signing
key is at hand; the record says which. Called by the commands; it fetches nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

from playbooks_worker.cli.output import CommandError, Exit, Output, exit_of

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from playbooks_providers.envelope import Header, Sealer
    from playbooks_providers.loads import SystemLoad
    from playbooks_providers.model import AgentView

Record = dict[str, Any]


def record(view: AgentView, sealer: Sealer | None) -> Record:
    """The JSON of one agent. ``checkpoint`` is the newest checkpoint's id, ``seq`` its number in the agent's life."""
    from playbooks_providers.lanes import priority_of, queue_of

    told: Record = {
        "agent_id": view.agent,
        "status": view.status.value,
        "program": view.start.program,
        "entry": view.start.entry,
        "queue": queue_of(view.start.queue),
        "priority": priority_of(view.start.queue).value,
        "run": view.start.run or view.agent,
        "parent": view.start.parent or None,
        "created_ms": view.start.created_ms,
        "fence": view.fence,
        "session": view.session,
        "attempts": view.attempts,
        "checkpoint": str(view.last) if view.last else None,
        "seq": view.last.seq if view.last else 0,
    }
    from playbooks_providers.model import FINAL

    why, *details = view.why.removeprefix(f"agent {view.agent}: ").split("\n")
    if why:
        told["why"] = why
    if details:
        told["changes"] = details
    if view.header:
        told.update(_from_header(view, sealer))
    if view.status not in FINAL:
        told["mail"] = view.mail
        told["wake_ms"] = view.wake_ms
        told["order"] = None if view.order is None else {"kind": view.order.kind.value, "why": view.order.why}
    if "error" not in told and exit_of(view.status) is Exit.SET_ASIDE:
        told["error"] = {"type": view.status.value.capitalize(), "message": why or view.status.value}
    return told


def _from_header(view: AgentView, sealer: Sealer | None) -> Record:
    from playbooks_providers.envelope import no_key, read_header
    from playbooks_providers.model import FINAL, Entry

    final = view.status in FINAL and view.last is not None
    try:
        header: Header = read_header(view.header) if sealer is None else sealer.read(view.header)
        if final and sealer is not None and not header.sealed:
            assert view.last is not None
            header = sealer.open(Entry(view.last, view.header, b""), view.agent).header
    except ValueError as error:
        return {"unreadable": str(error)}
    told: Record = {
        "time_ms": header.time_ms,
        "python": header.python,
        "stack": [
            {"playbook": playbook, "line": line, "statement": statement, "depth": depth}
            for playbook, line, statement, depth in header.stack
        ],
        "steps": [
            {"step": step, "attempt": attempt, "attempts_max": most, "error": error}
            for step, attempt, most, error in header.steps
        ],
    }
    if final:
        told["verified"] = sealer is not None
    else:
        told["asks"] = [
            {"question_id": id, "person": person, "question": question, "asked_ms": asked_ms, "until_ms": until_ms}
            for id, person, question, asked_ms, until_ms in header.asks
        ]
    if header.sealed:  # a result that is not known is none, and not null
        told["unreadable"] = f"agent {view.agent}: {no_key(header.cipher)}"
    elif header.kind == "completed":
        told["result"] = header.result
    elif header.kind in ("failed", "cancelled"):
        raised = dict(header.error or {})
        told["error"] = {"type": raised.get("type", "Exception"), "message": raised.get("message", "")}
        told["traceback"] = raised.get("traceback", "")
    return told


def announce_end(out: Output, told: Record) -> NoReturn:
    """Print how the agent ended (or was set aside) and leave with the exit code that means it."""
    code = exit_of(told["status"])
    assert code is not None, told["status"]
    agent = told["agent_id"]
    if "unreadable" in told and "result" not in told and "error" not in told:
        facts = {key: value for key, value in told.items() if key != "error"}
        raise CommandError(
            f"{told['unreadable']}; it is {told['status']}", Exit.SET_ASIDE, kind="Unreadable", facts=facts
        )
    if told.get("verified") is False:
        out.note(
            f"warning: the signature of agent {agent}'s result was not checked: no signing key here "
            "(set PLAYBOOKS_DURABILITY__SIGNING_KEY to the workers' key)"
        )
    if code is Exit.COMPLETED:
        if out.as_json:
            out.json(told)
        else:
            out.say(shown(told.get("result")))
        out.finish(code)
    error = told["error"]
    traceback = told.get("traceback", "")
    if (
        traceback and traceback.partition(": ")[0].rpartition(".")[2] != error["type"]
    ):  # one without frames says no more
        out.note(traceback.rstrip("\n"))
    out.note(*told.get("changes", []))
    if code is Exit.FAILED:
        message = f"agent {agent} failed: {error['type']}: {error['message']}".rstrip(": ")
    else:
        message = f"agent {agent} is {told['status']}: {error['message']}"
    facts = {key: value for key, value in told.items() if key != "error"}
    # in a folder there are no queues: `run --resume` is what lets an agent go on there
    hint = (
        f"Or go on: playbooksctl retry {agent} --accept-changed (or --restart)"
        if told.get("changes") and told["queue"]
        else ""
    )
    raise CommandError(message, code, kind=error["type"], detail=error["message"], facts=facts, hint=hint)


def shown(result: object) -> str:
    """A result for people: text as it is, everything else as indented JSON."""
    return result if isinstance(result, str) else json.dumps(result, indent=2, ensure_ascii=False)


def place(told: Record) -> str:
    """The innermost statement in hand: ``audit:parse line 12: tree = await parse(module)``."""
    stack = told.get("stack") or []
    if not stack:
        return ""
    inner = stack[-1]
    return f"{inner['playbook']} line {inner['line']}: {inner['statement']}"


def waits_for(told: Record) -> str:
    """Of a waiting agent, what for: what each of its branches stands at, and when it wakes at the latest. One that was
    handed back (``why``) waits for a time alone."""
    if told["status"] != "waiting":
        return ""
    wakes = "" if told["wake_ms"] is None else when(told["wake_ms"])
    stack = told.get("stack") or []
    if told.get("why") or not stack:
        return wakes
    below = [*(frame["depth"] for frame in stack[1:]), -1]
    awaited = [frame["statement"] for frame, depth in zip(stack, below, strict=True) if depth <= frame["depth"]]
    text = ", ".join(dict.fromkeys(awaited))
    return f"{text} until {wakes}" if wakes and "until" not in text else text


def waits_for_room(queue: str, of_all: SystemLoad) -> str:
    """Of a ready agent, what for; nothing: it is taken at any moment."""
    load = next((one for one in of_all.queues if one.queue == queue), None)
    if load is None or load.capacity == 0:
        return f"a worker: none takes from queue {queue}"
    if load.cap is not None and load.running >= load.cap:
        held = "is held" if load.cap == 0 else f"runs {load.cap} at once, and no more"
        return f"room: queue {queue} {held} (playbooksctl queue {queue})"
    if load.running >= load.capacity:
        return f"a free slot: workers have {load.capacity} for queue {queue}, all taken"
    if sum(one.running for one in of_all.queues) >= of_all.total.slots:
        return f"a free slot: workers have {of_all.total.slots}, all taken"
    return ""


def table_of(headings: Sequence[str], *, right: Sequence[str] = ()) -> Table:
    """An empty table as all commands print theirs. *right*: the columns of numbers and times."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, overflow="fold", justify="right" if heading in right else "left")
    return table


def given(text: str, *, as_value: bool) -> Any:
    """What a person tells an agent: *text*, or (``--value``) what it says as JSON. Raises `CommandError`."""
    if not as_value:
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise CommandError(f"--value takes JSON: {error}", hint="e.g. '{\"ok\": true}', true, 12") from error


def as_text(value: Any) -> str:
    """What agents say: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def when(time_ms: int, now_s: float | None = None) -> str:
    """A time to come, as a person reads it."""
    left_s = time_ms / 1000 - (time.time() if now_s is None else now_s)
    at = f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return f"{at}, in {_length(left_s)}" if left_s > 0 else f"{at}, now due"


def stack_lines(stack: list[Record]) -> list[str]:
    """The call stack, outermost first; branches of a gather stand side by side at the same depth."""
    lines = []
    for frame in stack:
        indent = "  " * frame["depth"]
        lines += [f"{indent}{frame['playbook']} line {frame['line']}", f"{indent}    {frame['statement']}"]
    return lines


def styled_diff(lines: list[str]) -> Text:
    """What has changed, with the colours of a diff."""
    from rich.text import Text

    text = Text()
    for number, line in enumerate(lines):
        text.append("\n" * bool(number) + line, style=_DIFF_STYLES.get(line[:1], ""))
    return text


_DIFF_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def ago(time_ms: int, now_s: float | None = None) -> str:
    """How long ago, in one number a person can read."""
    return _length(max(0.0, (time.time() if now_s is None else now_s) - time_ms / 1000))


def _length(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)} {unit}"
    return f"{seconds:.0f} s"


_STYLES = {"completed": "green", "failed": "red", "running": "cyan", "blocked": "yellow", "quarantined": "yellow"}


def styled_status(status: str) -> Text:
    from rich.text import Text

    return Text(status, style=_STYLES.get(status, ""))
