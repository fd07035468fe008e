"""A subscriber's mailbox on paper: bounds, policies, gaps, what is sent again; and against a model."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gpyro._events.mailbox import BLOCK, DISCONNECT, DROP_NEW, DROP_OLD, POLICIES, Blocked, Gap, Mailbox
from gpyro.errors import EventError
from gpyro.eventrecords import EventRecord


def record(sequence: int, size: int = 1) -> EventRecord:
    return EventRecord("a", "a", 0.0, "p", b"x" * size, sequence)


def make(policy: str = BLOCK, limit: int = 4, limit_bytes: int = 10**9) -> Mailbox:
    return Mailbox(7, "somebody", None, limit=limit, limit_bytes=limit_bytes, policy=policy, block_seconds=1.0)


def shown(entries: list[Any]) -> list[Any]:
    """Sequences, and ("lost", count)."""
    return [("lost", entry.count) if isinstance(entry, Gap) else entry.sequence for entry in entries]


def take(mailbox: Mailbox, most: int = 1000) -> list[Any]:
    return shown(mailbox.take(most, 10**9))


class Ear:
    """A reader that counts how often it is told."""

    def __init__(self) -> None:
        self.told = 0

    def ready(self, mailbox: Mailbox) -> None:
        self.told += 1


def test_events_come_out_as_they_went_in_half_of_the_limit_at_a_time() -> None:
    mailbox = make(limit=6)
    assert all(mailbox.put(record(sequence)) for sequence in range(1, 6))
    assert take(mailbox) == [1, 2, 3]
    assert not mailbox.has_more() and take(mailbox) == []
    mailbox.acknowledge(2)
    assert take(mailbox) == [4, 5]
    mailbox.acknowledge(5)
    assert (mailbox.count, mailbox.bytes, mailbox.delivered) == (0, 0, 5)


def test_reader_is_told_once_until_it_has_looked() -> None:
    mailbox, ear = make(), Ear()
    mailbox.reader = ear
    mailbox.put(record(1))
    mailbox.put(record(2))
    assert ear.told == 1
    take(mailbox)
    mailbox.put(record(3))
    assert ear.told == 1  # The window is full.
    mailbox.acknowledge(1)
    assert ear.told == 2


def test_drop_new_leaves_a_gap_behind_what_is_there() -> None:
    mailbox = make(DROP_NEW, limit=2)
    for sequence in range(1, 6):
        assert mailbox.put(record(sequence))
    assert shown([*mailbox.unsent]) == [1, 2, ("lost", 3)]
    assert mailbox.dropped == 3


def test_drop_old_leaves_a_gap_before_what_is_left_and_nothing_that_was_sent_is_dropped() -> None:
    mailbox = make(DROP_OLD, limit=4)
    mailbox.put(record(1))
    assert take(mailbox) == [1]
    for sequence in range(2, 9):
        assert mailbox.put(record(sequence))
    assert shown([*mailbox.sent, *mailbox.unsent]) == [1, ("lost", 4), 6, 7, 8]
    assert mailbox.dropped == 4


def test_drop_old_with_nothing_left_to_drop_drops_the_new_one() -> None:
    mailbox = make(DROP_OLD, limit=1)
    mailbox.put(record(1))
    assert take(mailbox) == [1]
    assert mailbox.put(record(2))
    assert shown([*mailbox.unsent]) == [("lost", 1)]


def test_drop_old_makes_room_for_bytes_too() -> None:
    size = record(1).size
    mailbox = make(DROP_OLD, limit=100, limit_bytes=3 * size)
    for sequence in range(1, 4):
        mailbox.put(record(sequence))
    mailbox.put(record(4, 1 + size))
    assert shown([*mailbox.unsent]) == [("lost", 2), 3, 4]


def test_disconnect_closes_and_says_why() -> None:
    mailbox, closed = make(DISCONNECT, limit=2), list[Mailbox]()
    mailbox.on_closed = closed.append
    for sequence in range(1, 4):
        assert mailbox.put(record(sequence))
    assert closed == [mailbox]
    assert mailbox.closed is not None and "2 events of" in mailbox.closed and "somebody" in mailbox.closed
    assert mailbox.dropped == 3
    mailbox.close("again")
    assert closed == [mailbox]


def test_block_asks_to_wait_and_lets_in_in_order_as_there_is_room() -> None:
    mailbox, settled = make(limit=2), list[int]()
    assert mailbox.put(record(1)) and mailbox.put(record(2))
    waiting = []
    for sequence in (3, 4):
        assert not mailbox.put(record(sequence))
        waiting.append(mailbox.wait(record(sequence), partial(settled.append, sequence)))
    assert take(mailbox) == [1]
    mailbox.acknowledge(1)
    assert settled == [3] and [one.is_taken for one in waiting] == [True, None]
    # Who comes now stands behind those who wait, though there may be room.
    assert not mailbox.put(record(5))
    mailbox.give_up()
    assert settled == [3, 4] and waiting[1].is_taken is False
    assert mailbox.is_stalled and mailbox.put(record(6))
    assert shown([*mailbox.unsent]) == [2, 3, ("lost", 2)]
    mailbox.rewind(1)
    assert take(mailbox) == [2]
    mailbox.acknowledge(2)
    assert not mailbox.is_stalled


def test_publisher_that_stops_waiting_leaves_a_gap() -> None:
    mailbox = make(limit=1)
    mailbox.put(record(1))
    blocked = mailbox.wait(record(2), lambda: None)
    mailbox.withdraw(blocked)
    mailbox.withdraw(blocked)
    assert shown([*mailbox.unsent]) == [1, ("lost", 1)]
    assert blocked.is_taken is False and mailbox.dropped == 1


def test_publisher_in_the_middle_that_stops_waiting_leaves_its_gap_in_its_place() -> None:
    mailbox = make(limit=1)
    assert mailbox.put(record(1))
    waiting = []
    for sequence in (2, 3, 4):
        assert not mailbox.put(record(sequence))
        waiting.append(mailbox.wait(record(sequence), lambda: None))
    mailbox.withdraw(waiting[1])
    got: list[Any] = []
    for number in range(1, 5):
        got += take(mailbox)
        mailbox.acknowledge(number)
    assert got == [1, 2, ("lost", 1), 4]
    assert mailbox.dropped == 1 and [one.is_taken for one in waiting] == [True, False, True]


def test_one_event_always_has_room_however_large() -> None:
    mailbox = make(limit_bytes=10)
    assert mailbox.put(record(1, 1000))
    assert not mailbox.put(record(2))


def test_what_did_not_arrive_is_sent_again_after_a_rewind() -> None:
    mailbox = make(limit=10)
    for sequence in range(1, 6):
        mailbox.put(record(sequence))
    assert take(mailbox) == [1, 2, 3, 4, 5]
    mailbox.acknowledge(2)
    mailbox.rewind(3)
    assert take(mailbox) == [4, 5]
    mailbox.rewind(0)  # Fewer than it has acknowledged: it forgot, and gets what is still there.
    assert take(mailbox) == [3, 4, 5]


def test_more_cannot_be_acknowledged_than_was_sent() -> None:
    mailbox = make()
    mailbox.put(record(1))
    with pytest.raises(EventError, match="1 entries are acknowledged, but only 0 were sent"):
        mailbox.acknowledge(1)
    take(mailbox)
    mailbox.acknowledge(1)
    mailbox.acknowledge(0)
    assert mailbox.acknowledged == 1


def test_unknown_loss_swallows_known_ones() -> None:
    mailbox = make(DROP_NEW, limit=1)
    mailbox.note_lost(2)
    mailbox.note_lost(None)
    mailbox.note_lost(3)
    assert take(mailbox) == [("lost", None)]


@pytest.mark.parametrize("policy", POLICIES)
def test_repr_tells_the_state(policy: str) -> None:
    mailbox = make(policy)
    mailbox.put(record(1))
    take(mailbox)
    mailbox.put(record(2))
    assert repr(mailbox) == (
        f"<Mailbox 7 of somebody, 1 wait, 1 sent, limit is 4, 0 dropped, {policy}>"
    )
    mailbox.close("gone")
    assert repr(mailbox).endswith("closed: gone>")
    assert repr(Gap(3)) == "<Gap of 3>"


@given(sizes=st.lists(st.integers(0, 50), max_size=30), most=st.integers(1, 10), most_bytes=st.integers(1, 2000))
def test_taking_in_bounded_pieces_loses_and_reorders_nothing(sizes: list[int], most: int, most_bytes: int) -> None:
    mailbox = make(limit=100)
    for sequence, size in enumerate(sizes, 1):
        mailbox.put(record(sequence, size))
    got: list[int] = []
    while piece := mailbox.take(most, most_bytes):
        assert len(piece) <= most
        got += shown(piece)
        mailbox.acknowledge(len(got))
    assert got == list(range(1, len(sizes) + 1))


class Model(RuleBasedStateMachine):
    """A mailbox beside a plain description of it: what was put is got, waits, or is counted as lost, in order."""

    @initialize(policy=st.sampled_from([BLOCK, DROP_NEW, DROP_OLD]), limit=st.integers(1, 6))
    def begin(self, policy: str, limit: int) -> None:
        self.mailbox = make(policy, limit)
        self.sequence = 0
        self.received: list[Any] = []
        self.done = 0
        self.blocked: list[Blocked] = []
        self.refused = 0

    @rule()
    def put(self) -> None:
        self.sequence += 1
        event = record(self.sequence)
        if not self.mailbox.put(event):
            self.blocked.append(self.mailbox.wait(event, lambda: None))

    @rule(most=st.integers(1, 4))
    def take(self, most: int) -> None:
        self.received += shown(self.mailbox.take(most, 10**9))

    @rule(share=st.floats(0, 1))
    def acknowledge(self, share: float) -> None:
        self.done += int((len(self.received) - self.done) * share)
        self.mailbox.acknowledge(self.done)

    @rule(lost=st.integers(0, 3))
    def reconnect(self, lost: int) -> None:
        kept = max(len(self.received) - lost, self.done)
        del self.received[kept:]
        self.mailbox.rewind(kept)

    @rule()
    def give_up(self) -> None:
        if self.mailbox.waiting:
            self.mailbox.give_up()

    @rule()
    def withdraw(self) -> None:
        if self.mailbox.waiting:
            self.mailbox.withdraw(self.mailbox.waiting[0])

    @invariant()
    def nothing_is_lost_doubled_or_out_of_order(self) -> None:
        entries = [*self.received, *shown([*self.mailbox.unsent])]
        sequences = [entry for entry in entries if isinstance(entry, int)]
        assert sequences == sorted(set(sequences))
        lost = sum(entry[1] for entry in entries if isinstance(entry, tuple))
        assert len(sequences) + lost + len(self.mailbox.waiting) == self.sequence
        assert lost == self.mailbox.dropped
        assert self.mailbox.count <= self.mailbox.limit
        assert self.mailbox.count == len(
            [entry for entry in [*self.mailbox.sent, *self.mailbox.unsent] if not isinstance(entry, Gap)]
        )
        assert self.mailbox.bytes == self.mailbox.count * record(1).size


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=100, stateful_step_count=40)
