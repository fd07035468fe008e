"""What a link fetches: each event once, which boxes get it, in which order, and how it waits."""

from __future__ import annotations

from typing import Any

import gevent
import pytest

from gpyro._events.mailbox import DROP_NEW, Mailbox
from gpyro._events.namedqueue import NamedQueue
from gpyro._events.session import Session
from gpyro.errors import ServerBusyError
from gpyro.eventrecords import EventRecord, QueueRecord
from tests.support.servers import SECONDS


class Caller:
    """A connection, as far as a session looks at it."""

    def __init__(self) -> None:
        self.open = True

    def is_open(self) -> bool:
        return self.open


def record(sequence: int, size: int = 1, subject: str = "a") -> EventRecord:
    return EventRecord(subject, subject, 2.0, "p", b"x" * size, sequence)


def make(limit: int = 100) -> Mailbox:
    return Mailbox(1, "x", None, limit=limit, limit_bytes=10**9, policy=DROP_NEW, block_seconds=1.0)


def got(batch: list[Any]) -> dict[int, list[Any]]:
    """Return for each box the sequences, negative numbers and Nones that it gets."""
    rows, groups, _ = batch
    return {
        number: [place if place is None or place < 0 else rows[place][0] for place in places]
        for places, numbers in groups for number in numbers
    }  # fmt: skip


def test_event_of_many_boxes_is_in_a_batch_once() -> None:
    session, boxes = Session("t", None, Caller()), [make() for _ in range(5)]
    numbers = [session.add(box) for box in boxes]
    for sequence in (1, 2):
        for box in boxes:
            box.put(record(sequence))
    boxes[4].put(record(3, subject="b"))
    batch = session.fetch(0)
    assert [row[0] for row in batch[0]] == [1, 2, 3]
    assert batch[0][2] == [3, "b", 2.0, b"x"]
    assert got(batch) == {**{number: [1, 2] for number in numbers[:4]}, numbers[4]: [1, 2, 3]}
    assert len(batch[1]) == 2
    assert session.fetch(0) == [[], [], []]


def test_gaps_stand_where_events_were_lost() -> None:
    session, box = Session("t", None, None), make(limit=2)
    number = session.add(box)
    for sequence in range(1, 6):
        box.put(record(sequence))
    assert got(session.fetch(0)) == {number: [1]}
    box.acknowledge(1)
    box.note_lost(None)
    assert got(session.fetch(0)) == {number: [2]}
    box.acknowledge(2)
    assert got(session.fetch(0)) == {number: [None]}


def test_deliveries_of_a_queue_come_with_their_number_and_lane() -> None:
    queue = NamedQueue(QueueRecord("q", None, 0.0, 100, 30.0), 10**9, [record(1), record(2, subject="b")])
    session, consumer = Session("t", None, None), queue.join(1, "w")
    session.add(consumer)
    rows = session.fetch(0)[0]
    assert [row[:2] + row[4:] for row in rows] == [[1, "a", 1, 1, 0], [2, "b", 1, 2, 0]]


def test_event_in_two_queues_of_a_link_has_a_row_for_each_lane() -> None:
    session = Session("t", None, None)
    first = NamedQueue(QueueRecord("q", None, 0.0, 100, 30.0), 10**9, [record(1), record(2, subject="b")])
    second = NamedQueue(QueueRecord("r", None, 0.0, 100, 30.0), 10**9, [record(2, subject="b")])
    numbers = [session.add(queue.join(1, "w")) for queue in (first, second)]
    rows, groups, _ = session.fetch(0)
    lanes = {number: [(rows[place][0], rows[place][5]) for place in places] for places, (number,) in groups}
    assert lanes == {numbers[0]: [(1, 1), (2, 2)], numbers[1]: [(2, 1)]}


def test_batch_is_bounded_in_bytes_and_the_rest_follows() -> None:
    session, box = Session("t", None, None), make()
    session.add(box)
    for sequence in range(1, 11):
        box.put(record(sequence, 200_000))
    sizes = []
    while batch := session.fetch(0)[0]:
        sizes.append(len(batch))
    assert sum(sizes) == 10 and max(sizes) <= 3


def test_boxes_of_a_link_take_turns() -> None:
    session, busy, quiet = Session("t", None, None), make(100_000), make()
    first, second = session.add(busy), session.add(quiet)
    for sequence in range(1, 30_001):
        busy.put(record(sequence))
    quiet.put(record(30_001))
    batch = got(session.fetch(0))
    assert batch[second] == [30_001]
    assert batch[first] == [*range(1, 1_001)]
    assert got(session.fetch(0)) == {first: [*range(1_001, 2_001)]}


def test_fetch_waits_until_there_is_something_and_a_newer_one_takes_its_place() -> None:
    session, box = Session("t", None, None), make()
    number = session.add(box)
    old = gevent.spawn(session.fetch, SECONDS)
    gevent.sleep(0)
    new = gevent.spawn(session.fetch, SECONDS)
    assert old.get(timeout=SECONDS) == [[], [], []]
    box.put(record(1))
    assert got(new.get(timeout=SECONDS)) == {number: [1]}
    assert session.fetch(0.001) == [[], [], []]


def test_fetch_over_a_connection_that_is_given_up_takes_nothing_more() -> None:
    old, new = Caller(), Caller()
    session, box = Session("t", None, old), make()
    waiting = gevent.spawn(session.fetch, SECONDS)
    gevent.sleep(0)
    # The link attaches over its new connection; the server has not noticed yet that the old one is gone.
    session.note_caller(new)
    number = session.add(box)
    box.put(record(1))
    assert waiting.get(timeout=SECONDS) == [[], [], []]
    session.note_caller(new)
    assert got(session.fetch(0)) == {number: [1]}


@pytest.mark.parametrize("again", [Session.add, lambda session, box: (session.remove(box), session.add(box))])
def test_box_that_is_added_again_comes_in_order_however_much_it_has(again: Any) -> None:
    session, box = Session("t", None, None), make(10_000)
    session.add(box)
    for sequence in range(1, 3_001):
        box.put(record(sequence))
    box.rewind(0)
    again(session, box)
    sequences: list[Any] = []
    while batch := got(session.fetch(0)):
        (found,) = batch.values()
        sequences += found
    assert sequences == [*range(1, 3_001)]


def test_removed_box_gives_nothing_any_more_and_an_ended_one_says_why() -> None:
    session, removed, ended = Session("t", None, None), make(), make()
    session.add(removed)
    number = session.add(ended)
    for box in (removed, ended):
        box.put(record(1))
    session.remove(removed)
    session.remove(removed)
    waiting = gevent.spawn(session.fetch, SECONDS)
    session.end_box(ended, "it is enough")
    assert waiting.get(timeout=SECONDS) == [[], [], [[number, "it is enough"]]]


def test_box_that_comes_back_keeps_its_number() -> None:
    session, box = Session("t", None, None), make()
    number = session.add(box)
    box.put(record(1))
    assert session.add(box) == number
    assert got(session.fetch(0)) == {number: [1]}
    assert len(session.boxes) == 1


def test_session_that_is_over_lets_nobody_wait() -> None:
    session = Session("t", None, None)
    waiting = gevent.spawn(session.fetch, SECONDS)
    gevent.sleep(0)
    session.end()
    with pytest.raises(ServerBusyError, match="the event server ends"):
        waiting.get(timeout=SECONDS)
    assert repr(session) == "<Session of 0 boxes, 0 ready, over>"


def test_session_is_there_as_long_as_its_connection_is() -> None:
    caller = Caller()
    session = Session("t", None, caller)
    assert session.is_there()
    assert repr(session) == "<Session of 0 boxes, 0 ready, busy>"
    caller.open = False
    assert not session.is_there()
    other = Caller()
    session.note_caller(other)
    assert session.is_there()
    del other
    assert not session.is_there()
    assert repr(session) == "<Session of 0 boxes, 0 ready, away>"
