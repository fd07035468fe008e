"""What every storage of events does; a storage's own test file runs these cases.

    class TestMyEvents(EventStorageConformance):
        def make_storage(self, **bounds: int) -> EventStorage: ...

    TestMyEventsModel = event_state_machine(make_storage).TestCase
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gpyro import hub
from gpyro.errors import EventError, StorageError
from gpyro.eventrecords import EventRecord, QueueRecord
from gpyro.storage import eventtable
from gpyro.storage.events import EventStorage

SECONDS = 20.0


def event(subject: str = "Stock", payload: bytes = b"message", time: float = 1.5) -> EventRecord:
    """Return an event that has no sequence yet."""
    return EventRecord(subject, subject.casefold(), time, "publisher", payload)


def queue(name: str, limit: int = 100) -> QueueRecord:
    return QueueRecord(name, None, 2.5, limit, 30.0, ("Stock",), ("st.*",))


def fields_of(record: EventRecord) -> tuple[int, str, str, float, str, bytes]:
    """Return all that is known of an event; two that are equal in all of it are the same."""
    return record.sequence, record.subject, record.folded, record.time, record.publisher, record.payload


def sequences(records: Iterable[EventRecord]) -> list[int]:
    return [record.sequence for record in records]


def append(storage: EventStorage, count: int = 1, queues: tuple[str, ...] = ()) -> list[EventRecord]:
    """Append events one by one, and return them once they last."""
    records = [event(payload=b"%d" % number) for number in range(count)]
    for record in records:
        lasting = storage.append([record], [queues])
    lasting.settle()
    return records


class EventStorageConformance(ABC):
    """The cases; each gets a fresh storage."""

    @abstractmethod
    def make_storage(self, **bounds: int) -> EventStorage:
        """Return an empty storage; `bounds` are those of its history, where the case needs small ones."""

    @pytest.fixture
    def storage(self) -> Iterator[EventStorage]:
        with self.make_storage() as storage:
            yield storage

    # -- events

    def test_size_of_the_history_is_that_of_what_is_in_it(self, storage: EventStorage) -> None:
        assert storage.history_size() == (0, 0)
        append(storage, 3)
        records = storage.history()
        assert storage.history_size() == (3, sum(record.size for record in records))

    def test_new_storage_is_empty_and_logs_have_ids_of_their_own(self, storage: EventStorage) -> None:
        assert (storage.newest, storage.oldest, storage.history(), storage.queues()) == (0, 1, [], [])
        assert storage.failure is None
        assert storage.log

    def test_events_get_their_sequences_at_once_and_in_order(self, storage: EventStorage) -> None:
        first, second, third = event("A"), event("B"), event("é")
        lasting = storage.append([first, second], [(), ()])
        assert sequences([first, second]) == [1, 2]
        other = storage.append([third], [()])
        assert third.sequence == 3
        lasting.settle()
        other.settle()
        assert (storage.newest, storage.oldest) == (3, 1)
        assert [fields_of(record) for record in storage.history()] == [
            (1, "A", "a", 1.5, "publisher", b"message"),
            (2, "B", "b", 1.5, "publisher", b"message"),
            (3, "é", "é", 1.5, "publisher", b"message"),
        ]

    def test_history_goes_on_after_a_sequence(self, storage: EventStorage) -> None:
        append(storage, 5)
        for after in range(7):
            assert sequences(storage.history(after)) == list(range(after + 1, 6))
        assert sequences(storage.history(-3)) == [1, 2, 3, 4, 5]

    def test_history_is_bounded_by_events(self) -> None:
        with self.make_storage(max_events=3) as storage:
            append(storage, 5)
            assert sequences(storage.history()) == sequences(storage.history(1)) == [3, 4, 5]
            assert (storage.oldest, storage.newest) == (3, 5)

    def test_history_is_bounded_by_bytes_and_has_no_gap(self) -> None:
        with self.make_storage(max_bytes=3 * event().size) as storage:
            for size in (7, 7, 7):
                storage.append([event(payload=bytes(size))], [()]).settle()
            assert sequences(storage.history()) == [1, 2, 3]
            storage.append([event(payload=bytes(8))], [()]).settle()
            assert sequences(storage.history()) == [3, 4]
            storage.append([event(payload=bytes(10_000))], [()]).settle()
            assert storage.history() == []
            assert (storage.oldest, storage.newest) == (6, 5)
            storage.append([event()], [()]).settle()
            assert (storage.oldest, storage.newest) == (6, 6)

    def test_storage_without_a_history_still_counts_and_keeps_what_waits(self) -> None:
        with self.make_storage(max_events=0) as storage:
            storage.put_queue(queue("q")).settle()
            append(storage, 2, ("q",))
            append(storage, 1)
            assert (storage.history(), storage.oldest, storage.newest) == ([], 4, 3)
            assert sequences(storage.waiting("q")) == [1, 2]

    def test_append_of_nothing_gives_no_sequence(self, storage: EventStorage) -> None:
        storage.append([], []).settle()
        assert append(storage)[0].sequence == 1

    def test_events_of_another_number_than_their_queues_are_refused(self, storage: EventStorage) -> None:
        with pytest.raises(ValueError, match="1 events and the queues of 2; there must be as many"):
            storage.append([event()], [(), ()])
        assert append(storage)[0].sequence == 1

    def test_text_that_cannot_be_written_is_refused_with_all_of_its_call(self, storage: EventStorage) -> None:
        odd = event()
        odd.publisher = "\ud800"
        with pytest.raises(EventError, match=r"subject 'x\\udfff' is no text that can be written .surrogates"):
            storage.append([event(), event("x\udfff")], [(), ()])
        with pytest.raises(EventError, match=r"publisher '\\ud800' is no text"):
            storage.append([odd], [()])
        assert append(storage)[0].sequence == 1

    def test_texts_and_messages_of_any_kind_come_back_as_they_were(self, storage: EventStorage) -> None:
        odd = [("", b""), ("a\0b", b"\0"), ("数 %_'\"", bytes(range(256))), ("ẞ", bytes(300_000))]
        storage.append([event(subject, payload) for subject, payload in odd], [()] * 4).settle()
        assert [(record.subject, record.payload) for record in storage.history()] == odd
        assert storage.history()[3].folded == "ss"

    # -- the listener

    def test_listener_is_told_of_all_that_lasts_in_order_and_may_use_the_storage(
        self, storage: EventStorage
    ) -> None:
        told: list[str] = []
        over = hub.Ticket()

        def listen(records: list[EventRecord]) -> None:
            assert storage.newest == records[-1].sequence
            assert storage.history(records[0].sequence - 1) == records
            assert storage.waiting("q")[-len(records) :] == records
            assert storage.queues() == [queue("q")]
            storage.acknowledge("q", [records[0].sequence])
            assert storage.waiting("q")[-len(records) :] != records
            for record in records:
                told.append(f"{record.subject}{record.sequence}")
                if record.payload == b"ask":
                    storage.append([event("Answer")], [("q",)])
            if len(told) == 23:
                over.end()

        storage.put_queue(queue("q")).settle()
        storage.listener = listen
        for payload in (b"ask", b"", b"ask", b"", b"ask", b"", b"", b"", b"", b""):
            storage.append([event("Question", payload), event("Question")], [("q",), ("q",)])
        assert over.wait(SECONDS)
        assert told == [f"{record.subject}{record.sequence}" for record in storage.history()]
        assert sum(text.startswith("Answer") for text in told) == 3

    def test_listener_is_told_in_order_where_several_threads_append(self, storage: EventStorage) -> None:
        told: list[int] = []
        ended = [hub.Ticket() for _ in range(4)]

        def work(number: int) -> None:
            for _ in range(50):
                lasting = storage.append([event(), event()], [(), ()])
            lasting.settle()
            ended[number].end()

        over = hub.Ticket()

        def listen(records: list[EventRecord]) -> None:
            told.extend(sequences(records))
            if len(told) == 400:
                over.end()

        storage.listener = listen
        for number in range(4):
            hub.start_native_thread(lambda number=number: work(number))  # type: ignore[misc]
        assert all(ticket.wait(SECONDS) for ticket in ended)
        assert over.wait(SECONDS)
        assert told == sequences(storage.history()) == list(range(1, 401))

    # -- queues

    def test_queues_are_made_changed_and_removed(self, storage: EventStorage) -> None:
        storage.put_queue(queue("b"))
        storage.put_queue(queue("a")).settle()
        assert storage.queues() == [queue("b"), queue("a")]
        append(storage, 1, ("b",))
        changed = QueueRecord("b", "me", 9.0, 5, 1.0, (), ("x", "é"))
        storage.put_queue(changed).settle()
        assert storage.queues() == [changed, queue("a")]
        assert sequences(storage.waiting("b")) == [1]
        storage.remove_queue("b").settle()
        storage.remove_queue("b").settle()
        storage.remove_queue("unknown").settle()
        assert storage.queues() == [queue("a")]
        assert storage.waiting("b") == []

    def test_queue_made_in_the_place_of_a_removed_one_has_nothing_of_it(self, storage: EventStorage) -> None:
        storage.put_queue(queue("q")).settle()
        append(storage, 3, ("q",))
        storage.acknowledge("q", [2])
        storage.remove_queue("q")
        storage.acknowledge("q", [1])
        storage.put_queue(queue("q", 7))
        storage.append([event()], [("q",)])
        storage.acknowledge("q", [3]).settle()
        assert storage.queues() == [queue("q", 7)]
        assert sequences(storage.waiting("q")) == [4]

    def test_queue_that_cannot_be_written_down_is_refused(self, storage: EventStorage) -> None:
        for record in (queue("\ud800"), queue("q", 1 << 70)):
            with pytest.raises(EventError, match="cannot be kept"):
                storage.put_queue(record)
        assert storage.queues() == []

    def test_number_of_queues_is_bounded(self, storage: EventStorage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(eventtable, "MAX_QUEUES", 2)
        storage.put_queue(queue("a"))
        storage.put_queue(queue("b"))
        with pytest.raises(EventError, match="queue 'c' would be one more than 2, which is the limit; remove"):
            storage.put_queue(queue("c"))
        storage.put_queue(queue("a", 5))
        storage.remove_queue("b")
        storage.put_queue(queue("c")).settle()
        assert storage.queues() == [queue("a", 5), queue("c")]

    def test_events_wait_in_each_of_their_queues_until_they_are_acknowledged_there(
        self, storage: EventStorage
    ) -> None:
        storage.put_queue(queue("a"))
        storage.put_queue(queue("b"))
        storage.append([event(), event(), event()], [("a", "b"), ["a", "a"], ("b", "nobody")]).settle()
        assert sequences(storage.waiting("a")) == [1, 2]
        assert sequences(storage.waiting("b")) == [1, 3]
        storage.acknowledge("a", [1, 1, 3, 99, 0, -1]).settle()
        storage.acknowledge("nobody", [1]).settle()
        storage.acknowledge("a", []).settle()
        assert sequences(storage.waiting("a")) == [2]
        assert sequences(storage.waiting("b")) == [1, 3]
        assert sequences(storage.history()) == [1, 2, 3]

    def test_acknowledged_event_waits_no_more_at_once(self, storage: EventStorage) -> None:
        storage.put_queue(queue("q")).settle()
        append(storage, 3, ("q",))
        lasting = storage.acknowledge("q", [1, 3])
        assert sequences(storage.waiting("q")) == [2]
        lasting.settle()
        storage.acknowledge("q", [2, 3]).settle()
        assert storage.waiting("q") == []

    def test_event_that_left_the_history_waits_until_it_is_acknowledged(self) -> None:
        with self.make_storage(max_events=2) as storage:
            storage.put_queue(queue("q")).settle()
            records = append(storage, 5, ("q",))
            assert sequences(storage.history()) == [4, 5]
            found = [fields_of(record) for record in storage.waiting("q")]
            assert found == [fields_of(record) for record in records]
            storage.acknowledge("q", [2, 5]).settle()
            assert sequences(storage.waiting("q")) == [1, 3, 4]
            assert sequences(storage.history()) == [4, 5]

    # -- the end

    def test_closed_storage_refuses_everything_and_closes_again(self) -> None:
        storage = self.make_storage()
        storage.close()
        storage.close()
        for use in (
            lambda: storage.append([event()], [()]),
            lambda: storage.history(),
            lambda: storage.newest,
            lambda: storage.oldest,
            lambda: storage.queues(),
            lambda: storage.put_queue(queue("q")),
            lambda: storage.remove_queue("q"),
            lambda: storage.waiting("q"),
            lambda: storage.acknowledge("q", [1]),
        ):
            with pytest.raises(StorageError, match="is closed"):
                use()


# -- against a model ------------------------------------------------------------------------------------

NAMES = ("a", "b", "c")
#: Small, so that events leave the history in every run.
MODEL_EVENTS, MODEL_BYTES = 6, 6 * 300


def event_state_machine(
    make_storage: Callable[[], EventStorage], reopen: Callable[[EventStorage], EventStorage] | None = None
) -> type[RuleBasedStateMachine]:
    """Make the state machine: a storage beside plain lists, which must agree after every step.

    Args:
        make_storage: makes one with the history's bounds MODEL_EVENTS and MODEL_BYTES.
        reopen: for a storage that lasts: ends the one it is given, and returns one that has the same events.
    """

    class EventsAgainstModel(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.storage = make_storage()
            self.newest = self.let_go_to = 0
            self.events: dict[int, tuple[int, str, str, float, str, bytes]] = {}
            self.history: list[tuple[int, int]] = []
            self.queues: dict[str, QueueRecord] = {}
            self.waiting: dict[str, list[int]] = {}
            self.log = self.storage.log
            self.listen()

        def listen(self) -> None:
            told: list[int] = []
            self.told = told
            self.storage.listener = lambda records: told.extend(sequences(records))

        def teardown(self) -> None:
            self.storage.close()

        @rule(chosen=st.lists(st.lists(st.sampled_from(NAMES), max_size=3), max_size=4), size=st.integers(0, 120))
        def append(self, chosen: list[list[str]], size: int) -> None:
            records = [event(f"Subject{number}", bytes(size), float(size)) for number in range(len(chosen))]
            self.storage.append(records, chosen).settle()
            given = sequences(records)
            last = self.newest
            assert given == sorted(set(given)) and all(sequence > last for sequence in given)
            for record, names in zip(records, chosen, strict=True):
                self.events[record.sequence] = fields_of(record)
                self.history.append((record.sequence, record.size))
                self.newest = record.sequence
                for name in set(names) & set(self.queues):
                    self.waiting[name].append(record.sequence)
            while len(self.history) > MODEL_EVENTS or sum(size for _, size in self.history) > MODEL_BYTES:
                self.let_go_to = self.history.pop(0)[0]
            # One that reopens tells from another thread, and has told before it lets anybody know that they last.
            assert self.told[len(self.told) - len(given) :] == given

        @rule(name=st.sampled_from(NAMES), limit=st.integers(1, 5))
        def put_queue(self, name: str, limit: int) -> None:
            self.queues[name] = queue(name, limit)
            self.waiting.setdefault(name, [])
            self.storage.put_queue(queue(name, limit)).settle()

        @rule(name=st.sampled_from(NAMES))
        def remove_queue(self, name: str) -> None:
            self.queues.pop(name, None)
            self.waiting.pop(name, None)
            self.storage.remove_queue(name).settle()

        @rule(name=st.sampled_from(NAMES), places=st.lists(st.integers(0, 8), max_size=4), waits=st.booleans())
        def acknowledge(self, name: str, places: list[int], waits: bool) -> None:
            waiting = self.waiting.get(name, [])
            gone = [waiting[place] for place in places if place < len(waiting)]
            lasting = self.storage.acknowledge(name, [*gone, 1_000_000])
            if waits:
                lasting.settle()
            if name in self.waiting:
                self.waiting[name] = [sequence for sequence in waiting if sequence not in gone]

        @precondition(lambda self: reopen is not None)
        @rule()
        def end_and_begin_again(self) -> None:
            assert reopen is not None
            self.storage = reopen(self.storage)
            self.listen()

        @invariant()
        def all_that_is_in_it_is_what_the_model_has(self) -> None:
            storage = self.storage
            known = [self.events[sequence] for sequence, _ in self.history]
            assert [fields_of(record) for record in storage.history()] == known
            assert storage.newest == self.newest
            assert storage.oldest == self.let_go_to + 1
            assert storage.queues() == list(self.queues.values())
            for name in NAMES:
                found = [fields_of(record) for record in storage.waiting(name)]
                assert found == [self.events[sequence] for sequence in self.waiting.get(name, [])]
            assert storage.log == self.log

    # A storage on disk may take its time over each of them.
    EventsAgainstModel.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
    return EventsAgainstModel
