"""What supervisor and executor say to each other arrives as it was said, and the end of one is heard by the other."""

from __future__ import annotations

import asyncio
import socket

import pytest

from playbooks_providers.ids import SessionId
from playbooks_providers.model import ProgramInfo
from playbooks_worker import channel
from playbooks_worker.channel import Channel, Message

ORDERS = channel.Orders(
    "w",
    ["p.py"],
    [],
    3,
    {"few": 1},
    "redis://:pw@h/0",
    "pb",
    "secret",
    ["another"],
    "replica",
    2,
    10,
    False,
    60.0,
    25.0,
    "json",
    64_000_000,
    5.0,
    1000,
    100,
    False,
    False,
)
INFO = {"program": "p", "queue": "p", "build": "b", "signatures": {"main": [["a", "KEYWORD_ONLY", True]]}}


@pytest.mark.parametrize(
    "message",
    [
        ORDERS,
        channel.Serve(SessionId("s"), 1.5, 5.0),
        channel.Renewed(SessionId("s"), 2.5, 5.0),
        channel.Refused(SessionId("s")),
        channel.Drain(25.0),
        channel.Ready([INFO]),
        channel.Broken("no such file: p.py"),
        channel.Alive([["playbooks_x_total", ["q"], 2.0]]),
        channel.Dropped(SessionId("s")),
        channel.Drained([]),
    ],
    ids=lambda message: type(message).__name__,
)
def test_every_message_survives_the_way(message: Message) -> None:
    assert channel.decode(channel.encode(message)) == message


def test_what_workers_publish_has_its_shape_again() -> None:
    assert channel.Ready([INFO]).infos() == [ProgramInfo("p", "p", "b", {"main": [("a", "KEYWORD_ONLY", True)]})]


def test_secrets_do_not_print() -> None:
    assert "secret" not in repr(ORDERS) and "pw" not in repr(ORDERS)


def test_hearing_ends_with_the_other_end_and_a_torn_line_is_no_message() -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        here = await Channel.over(ours)
        theirs.sendall(channel.encode(channel.Alive([])) + b'["Dropped",{"sess')
        theirs.close()
        assert [message async for message in here.heard()] == [channel.Alive([])]
        here.say(channel.Alive([]))  # nobody is there: not an error
        await here.flush()
        here.close()

    asyncio.run(main())
