"""What an agent's state keeps of those that it talks with stays small, however many there are."""

from __future__ import annotations

import json

from playbooks_worker.engine.talk.mailbox import Mailbox, Received


def written_to(count: int, box: Mailbox | None = None, *, accepted: bool = True) -> Mailbox:
    box = box or Mailbox()
    for number in range(count):
        box.post(f"client-{number:08}", 1_700_000_000_000, "message", "", "hello")
        if accepted:
            box.accepted(box.outbox[-1])
    return box


def test_the_state_of_an_agent_that_has_written_to_100_000_others_is_small() -> None:
    assert len(json.dumps(written_to(100_000).plain())) < 60_000


def test_who_is_written_to_in_a_new_series_counts_from_one_and_is_not_taken_for_known() -> None:
    box = written_to(1)
    first = ("client-00000000", 1_700_000_000_000)
    box.post(*first, "message", "", "again")
    assert (box.outbox[-1].series, box.outbox[-1].number) == (0, 2)
    box.accepted(box.outbox[-1])
    written_to(2000, box)
    box.post(*first, "message", "", "much later")
    assert box.outbox[-1].series > 0 and box.outbox[-1].number == 1
    assert len({letter.key for letter in box.outbox}) == len(box.outbox)


def test_letters_on_their_way_keep_their_count() -> None:
    box = written_to(1, accepted=False)
    written_to(3000, box)
    box.post("client-00000000", 1_700_000_000_000, "message", "", "behind it")
    mine = [letter for letter in box.outbox if letter.receiver == "client-00000000"]
    assert [(letter.series, letter.number) for letter in mine] == [(0, 1), (0, 3)]  # the second one was accepted
    assert Mailbox.of(box.plain()).plain() == box.plain()


def test_a_child_ends_once_whoever_tells_it_how_often() -> None:
    box = Mailbox()
    box.spawn("child", {})
    for place, value in enumerate([{"status": "failed"}, {"status": "completed"}], 1):
        box.came(place, Received("child", 1, "ended", "", value))
    assert box.ended == {"child": {"status": "failed"}} and box.children == {}
    box.came(3, Received("stranger", 1, "ended", "", {"status": "completed"}))
    assert "stranger" not in box.ended


def test_of_many_children_the_newest_are_kept() -> None:
    box = Mailbox()
    for number in range(1500):
        box.spawn(f"child-{number}", {})
        box.came(number + 1, Received(f"child-{number}", 1, "ended", "", {"status": "completed", "value": number}))
    assert len(box.ended) == 1000 and "child-499" not in box.ended and "child-500" in box.ended


def test_who_is_spawned_between_a_cancellation_and_its_raising_hears_of_it_also_in_the_next_process() -> None:
    box = Mailbox()
    box.spawn("first", {})
    box.cancel("order 1", "enough", 5.0)
    box = Mailbox.of(box.plain())
    box.spawn("second", {})
    box.raised = True
    box.spawn("tidies up", {})
    told = [(letter.receiver, letter.id, letter.value) for letter in box.outbox if letter.kind == "cancel"]
    assert told == [("first", "order 1", ["", 5.0]), ("second", "order 1", ["", 5.0])]
