"""Reliable queues on paper, with times as arguments: lanes, redelivery, room; and against a model."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gpyro._events.namedqueue import MAX_CONSUMERS, WINDOW, Consumer, NamedQueue
from gpyro.errors import ServerBusyError
from gpyro.eventrecords import EventRecord, QueueRecord

REDELIVER = 30.0


class Ear:
    """A reader that counts how often it is told."""

    def __init__(self) -> None:
        self.told = 0

    def ready(self, box: Any) -> None:
        self.told += 1


def record(sequence: int, subject: str = "a", publisher: str = "p") -> EventRecord:
    return EventRecord(subject, subject, 0.0, publisher, b"x", sequence)


def make(limit: int = 1000, *kept: EventRecord, limit_bytes: int = 10**9) -> NamedQueue:
    return NamedQueue(QueueRecord("jobs", None, 0.0, limit, REDELIVER), limit_bytes, kept)


def join(queue: NamedQueue) -> Consumer:
    consumer = queue.join(len(queue.consumers) + 1, "worker")
    consumer.reader = Ear()
    consumer.limit = 100
    return consumer


def put(queue: NamedQueue, *records: EventRecord) -> None:
    for one in records:
        assert queue.reserve(1, one.size)
        queue.put(one)


def take(consumer: Consumer, now: float = 0.0, most: int = 1000) -> list[int]:
    return [delivery.record.sequence for delivery in consumer.take(most, 10**9, now)]


def test_one_consumer_gets_events_in_the_order_of_their_sequences() -> None:
    queue = make()
    worker = join(queue)
    put(queue, record(1), record(2, "b"), record(3), record(4, "c"), record(5, "b"))
    assert take(worker) == [1, 2, 3, 4, 5]
    assert queue.acknowledge([1, 2, 3, 99], 0.0) == [1, 2, 3]
    assert len(queue) == queue.unacknowledged == 2


def test_lane_is_one_consumers_alone_while_something_of_it_is_out() -> None:
    queue = make()
    one, other = join(queue), join(queue)
    put(queue, record(1), record(2), record(3, "b"))
    assert take(one, most=1) == [1]
    assert take(other) == [3]
    queue.acknowledge([1], 0.0)
    assert take(other) == [2]


def test_same_subject_of_two_publishers_is_two_lanes() -> None:
    queue = make()
    one, other = join(queue), join(queue)
    put(queue, record(1, publisher="p"), record(2, publisher="q"))
    assert take(one, most=1) == [1]
    assert take(other) == [2]


def test_what_is_not_acknowledged_in_time_goes_out_again_in_order_and_to_another() -> None:
    queue = make()
    one, other = join(queue), join(queue)
    put(queue, record(1), record(2), record(3))
    assert take(one, 0.0) == [1, 2, 3]
    queue.acknowledge([2], 0.0)
    queue.look(REDELIVER - 1)
    assert take(other, REDELIVER - 1) == []
    queue.look(REDELIVER + 1)
    assert take(one, REDELIVER + 1) == []  # It has not been heard of.
    again = other.take(10, 10**9, REDELIVER + 1)
    assert [(one.record.sequence, one.deliveries) for one in again] == [(1, 2), (3, 2)]
    assert queue.redelivered == 2
    # A late acknowledgement counts all the same.
    queue.hear(one)
    assert queue.acknowledge([1], 0.0) == [1]
    assert queue.unacknowledged == 1


def test_failed_event_waits_longer_each_time_and_holds_its_lane_up() -> None:
    queue = make()
    worker = join(queue)
    put(queue, record(1), record(2), record(3, "b"))
    now, waits = 0.0, []
    assert take(worker, now) == [1, 2, 3]
    for _ in range(4):
        queue.fail(worker, [(1, 1)], 1, now)
        due = queue.next_look()
        assert due is not None
        assert take(worker, now) == []
        queue.look(due - 0.001)
        assert take(worker, now) == []
        queue.look(due)
        assert take(worker, due) == [1, 2]
        waits.append(due - now)
        now = due
    assert waits == pytest.approx([0.25, 0.5, 1.0, 2.0])
    assert worker.failed == 4
    assert queue.acknowledge([3], 0.0) == [3]


def test_failed_event_waits_also_where_it_was_the_only_one_taken() -> None:
    queue = make()
    worker = join(queue)
    put(queue, record(1))
    assert take(worker, most=1) == [1]
    queue.fail(worker, [(1, 1)], 1, 0.0)
    assert take(worker) == []
    queue.look(1.0)
    assert take(worker) == [1]


def test_consumer_that_leaves_leaves_its_events_to_others() -> None:
    queue = make()
    gone, other = join(queue), join(queue)
    put(queue, record(1), record(2), record(3, "b"))
    assert take(gone) == [1, 2, 3]
    queue.leave(gone)
    queue.leave(gone)
    assert isinstance(other.reader, Ear) and other.reader.told
    assert take(other) == [1, 2, 3]


def test_events_are_shared_out_to_whoever_has_fewest() -> None:
    queue = make()
    workers = [join(queue) for _ in range(3)]
    for sequence in range(1, 7):
        put(queue, record(sequence, f"subject {sequence}"))
        for worker in workers:
            if worker.is_listed:
                take(worker)
    assert [len(worker.out) for worker in workers] == [2, 2, 2]


def test_time_of_an_event_begins_when_its_consumer_has_come_to_it() -> None:
    queue = make()
    slow, other = join(queue), join(queue)
    slow.limit = 1
    put(queue, *(record(sequence, f"subject {sequence}") for sequence in range(1, 6)))
    assert take(slow, 0.0) == [1, 2, 3, 4, 5]
    for sequence in (1, 2, 3):
        now = sequence * (REDELIVER - 1)
        queue.look(now)
        assert take(other, now) == []
        assert queue.acknowledge([sequence], now) == [sequence]
    queue.look(now + REDELIVER)
    # It hangs, so what was sent ahead goes to others too.
    assert take(other, now + REDELIVER) == [4, 5]
    assert len(slow.out) == slow.begun == 0


def test_consumer_has_a_window() -> None:
    queue = make()
    worker = join(queue)
    put(queue, *(record(sequence) for sequence in range(1, WINDOW + 11)))
    assert len(take(worker)) == WINDOW
    assert not worker.has_more()
    queue.acknowledge([1, 2, 3], 0.0)
    assert take(worker) == [WINDOW + 1, WINDOW + 2, WINDOW + 3]


def test_room_is_promised_in_order_and_taken_back() -> None:
    queue, answers = make(2), []
    size = record(1).size
    assert queue.reserve(1, size) and queue.reserve(1, size) and not queue.reserve(1, size)
    queue.wait(1, size, lambda has_room: answers.append(("first", has_room)))
    second = queue.wait(1, size, lambda has_room: answers.append(("second", has_room)))
    queue.wait(1, size, lambda has_room: answers.append(("third", has_room)))
    queue.release(1, size)
    assert answers == [("first", True)]
    queue.give_up(second)
    assert answers == [("first", True), ("second", False), ("third", False)]
    assert queue.is_stalled
    queue.release(1, size)
    queue.put(record(1))
    queue.acknowledge([1], 0.0)
    assert not queue.is_stalled and queue.reserved == queue.bytes == 0


def test_bytes_bound_a_queue_too_and_one_event_always_has_room() -> None:
    size = record(1).size
    queue = make(limit_bytes=2 * size)
    put(queue, record(1), record(2))
    assert not queue.reserve(1, size)
    queue.acknowledge([1], 0.0)
    assert queue.reserve(1, size)
    queue.release(1, size)
    queue.acknowledge([2], 0.0)
    assert queue.reserve(1, 100 * size)


def test_events_of_one_call_get_room_together_or_none() -> None:
    size = record(1).size
    queue = make(3)
    put(queue, record(1))
    assert not queue.reserve(3, 3 * size), "two of the three would have room"
    assert queue.reserved == 0
    assert queue.reserve(2, 2 * size)


def test_what_a_queue_can_never_hold_is_known() -> None:
    size = record(1).size
    queue = make(3, limit_bytes=5 * size)
    assert queue.could_hold(3, 5 * size)
    assert not queue.could_hold(4, 4 * size)
    assert not queue.could_hold(2, 6 * size)
    assert queue.could_hold(1, 100 * size), "one event always has room"


def test_a_publisher_that_stops_waiting_lets_in_who_waits_behind_it() -> None:
    size = record(1).size
    queue = make(3)
    put(queue, record(1))
    answers: list[tuple[str, bool]] = []
    many = queue.wait(3, 3 * size, lambda has_room: answers.append(("many", has_room)))
    queue.wait(1, size, lambda has_room: answers.append(("one", has_room)))
    queue.withdraw(many)
    assert answers == [("one", True)]
    queue.withdraw(many)
    assert queue.reserved == 1


def test_publisher_of_many_that_is_late_leaves_the_room_that_there_is_to_those_behind_it() -> None:
    size = record(1).size
    queue = make(10)
    put(queue, record(1))
    answers: list[tuple[str, bool]] = []
    many = queue.wait(10, 10 * size, lambda has_room: answers.append(("many", has_room)))
    queue.wait(1, size, lambda has_room: answers.append(("one", has_room)))
    queue.give_up(many)
    assert answers == [("one", True), ("many", False)]
    assert not queue.is_stalled


def test_lane_that_a_consumer_left_aside_goes_out_again_though_what_failed_is_done() -> None:
    queue = make()
    one, other = join(queue), join(queue)
    put(queue, record(1), record(2))
    assert take(one) == [1, 2]
    queue.release_all(one)
    assert take(other) == [1, 2]
    assert queue.acknowledge([1], 0.0) == [1]
    queue.release_all(other)
    assert take(one) == [2], "sent before it is known that 1 failed at this one, which leaves it aside"
    put(queue, record(3, "b"))
    assert take(one) == [3]
    queue.fail(one, [(1, 1)], 1, 0.0)
    assert one.begun == 1, "the time of what is left begins"
    assert sorted([*take(one), *take(other)]) == [2]


def test_what_was_kept_is_there_at_the_beginning() -> None:
    queue = make(10, record(5), record(7, "b"))
    assert take(join(queue)) == [5, 7]
    assert repr(queue) == "<NamedQueue 'jobs', 2 events, 2 out, 1 consumers>"
    assert repr(queue.consumers[0]) == "<Consumer 1 of 'jobs', 2 out>"


def test_consumers_are_bounded() -> None:
    queue = make()
    queue.consumers = [Consumer(queue, number, "w") for number in range(MAX_CONSUMERS)]
    with pytest.raises(ServerBusyError, match="share the queue 'jobs'"):
        queue.join(1, "w")


def test_failure_told_with_what_was_done_after_it_leaves_nothing_begun() -> None:
    queue = make()
    worker = join(queue)
    put(queue, record(1, "a"), record(2, "b"), record(3, "c"))
    assert take(worker) == [1, 2, 3]
    # As a link tells it: what is done first, then what failed.
    assert queue.acknowledge([2, 3], 0.0) == [2, 3]
    queue.fail(worker, [(1, 1)], 1, 0.0)
    assert worker.begun == 0
    queue.look(1.0)
    assert take(worker) == [1]


def test_first_failure_waits_shortly_however_often_it_went_out_for_others() -> None:
    queue = make()
    worker = join(queue)
    put(queue, record(1), record(2))
    for number in range(6):
        take(worker)
        queue.fail(worker, [(1, 1)], number + 1, 0.0)
        queue.look(REDELIVER)
    assert take(worker) == [1, 2]
    queue.acknowledge([1], 0.0)
    queue.fail(worker, [(2, 1)], 7, 0.0)
    assert queue.next_look() == pytest.approx(0.25)


def test_queue_that_gets_larger_lets_in_who_waits() -> None:
    size = record(1).size
    queue = make(1)
    put(queue, record(1))
    answers: list[bool] = []
    queue.wait(1, size, answers.append)
    queue.change(queue.record._replace(limit=2))
    assert answers == [True]


class Model(RuleBasedStateMachine):
    """Workers come and go, fail and hang: nothing is lost, and each lane stays in order at whoever has it."""

    @initialize()
    def begin(self) -> None:
        self.queue = make(10_000)
        self.now = 0.0
        self.sequence = 0
        self.acknowledged: set[int] = set()
        #: What each worker has in its hands, in order, as a client keeps it.
        self.hands: dict[Consumer, list[tuple[int, str]]] = {}

    @rule(subject=st.sampled_from("abc"), publisher=st.sampled_from("pq"))
    def put(self, subject: str, publisher: str) -> None:
        self.sequence += 1
        put(self.queue, record(self.sequence, subject, publisher))

    @precondition(lambda self: len(self.hands) < 4)
    @rule(limit=st.sampled_from([1, 2, 100]))
    def join(self, limit: int) -> None:
        worker = join(self.queue)
        worker.limit = limit
        self.hands[worker] = []

    @precondition(lambda self: self.hands)
    @rule(data=st.data(), most=st.integers(1, 5))
    def take(self, data: st.DataObject, most: int) -> None:
        worker = data.draw(st.sampled_from(list(self.hands)))
        hand = self.hands[worker]
        for delivery in worker.take(most, 10**9, self.now):
            event = delivery.record
            if event.sequence not in [sequence for sequence, _ in hand]:
                hand.append((event.sequence, event.subject + event.publisher))

    @precondition(lambda self: any(self.hands.values()))
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from([worker for worker, hand in self.hands.items() if hand]))
        # Of another lane than the first one, perhaps: that handler is slower.
        hand = self.hands[worker]
        firsts = [one for place, one in enumerate(hand) if one[1] not in [lane for _, lane in hand[:place]]]
        sequence, lane = data.draw(st.sampled_from(firsts))
        hand.remove((sequence, lane))
        self.queue.hear(worker)
        self.queue.acknowledge([sequence], 0.0)
        self.acknowledged.add(sequence)

    @precondition(lambda self: any(self.hands.values()))
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from([worker for worker, hand in self.hands.items() if hand]))
        sequence, lane = self.hands[worker][0]
        self.hands[worker] = [one for one in self.hands[worker] if one[1] != lane]
        self.queue.hear(worker)
        self.queue.fail(worker, [(sequence, 0)], worker.heard + 1, self.now)

    @precondition(lambda self: self.hands)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(list(self.hands)))
        del self.hands[worker]
        self.queue.leave(worker)

    @rule(seconds=st.floats(0.0, 2 * REDELIVER))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.queue.look(self.now)

    @invariant()
    def everything_is_there_until_it_is_acknowledged(self) -> None:
        assert len(self.queue) == self.sequence - len(self.acknowledged)
        for worker in self.hands:
            assert worker.begun == sum(item.has_begun for item in worker.out.values())
            lanes: dict[str, int] = {}
            for sequence, item in worker.out.items():
                key = item.record.subject + item.record.publisher
                assert lanes.get(key, 0) < sequence
                lanes[key] = sequence
        held = [
            (item.record.subject, item.record.publisher, worker) for worker in self.hands
            for item in worker.out.values()
        ]  # fmt: skip
        assert len({(subject, publisher) for subject, publisher, _ in held}) == len(set(held))

    def teardown(self) -> None:
        """A healthy worker gets all that is left, each lane in order."""
        if not hasattr(self, "queue"):
            return
        for worker in list(self.hands):
            self.queue.leave(worker)
        self.now += 100 * REDELIVER
        self.queue.look(self.now)
        healthy, got = join(self.queue), []
        while taken := take(healthy, self.now):
            got += taken
            self.queue.acknowledge(taken, 0.0)
        assert sorted(got) == sorted(set(range(1, self.sequence + 1)) - self.acknowledged)
        assert len(self.queue) == 0 and not self.queue._lanes


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=100, stateful_step_count=40)
