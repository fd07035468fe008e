"""The events and queues of one log, in memory: what all storages of events answer from.

    change = table.plan_append(records, queues)     what is to be done; sequences and ids are given
    table.apply(change)                             it lasts, so it is seen from now on
    table.undo()                                    nothing that was planned and not applied comes to last

Changes are applied in the order in which they were planned. A queue has an id beside its name, so that one that is
removed and one that is made in its place are not mixed up while both are on their way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Union

from ormsgpack import packb

from gpyro.errors import EventError
from gpyro.eventrecords import EventRecord, QueueRecord

__all__ = [
    "MAX_QUEUES",
    "Acknowledged",
    "Appended",
    "Change",
    "EventTable",
    "QueuePut",
    "QueueRemoved",
]

#: Each has a place in memory and in every start; more of them are a program that makes up names.
MAX_QUEUES = 10_000


class Appended(NamedTuple):
    """Events, and for each the ids of the queues in which it waits."""

    records: list[EventRecord]
    queues: list[tuple[int, ...]]


class QueuePut(NamedTuple):
    """A queue, new or changed, and how it is written down."""

    id: int
    record: QueueRecord
    packed: bytes


class QueueRemoved(NamedTuple):
    """A queue that goes, with what waits in it."""

    id: int


class Acknowledged(NamedTuple):
    """Events that wait in a queue no more."""

    id: int
    sequences: list[int]


Change = Union[Appended, QueuePut, QueueRemoved, Acknowledged]


class _Queue:
    """What waits in a queue, by sequence; `leaving` is what is acknowledged, until that lasts."""

    __slots__ = ("leaving", "record", "waiting")

    def __init__(self, record: QueueRecord) -> None:
        self.record = record
        self.waiting: dict[int, EventRecord] = {}
        self.leaving: dict[int, EventRecord] = {}


class EventTable:
    """All that lasts, and the names, ids and sequences that are given.

    Args:
        log: the id of the log.
        max_events: most events in the history.
        max_bytes: most bytes in it, as `EventRecord.size` counts them.
    """

    def __init__(self, log: str, *, max_events: int, max_bytes: int) -> None:
        self.log = log
        #: The highest sequence that lasts, and the highest one that was given.
        self.newest = self.given = 0
        self._max_events, self._max_bytes = max_events, max_bytes
        self._history: deque[EventRecord] = deque()
        self._history_bytes = 0
        #: The highest sequence that the history has let go.
        self._let_go_to = 0
        self._queues: dict[int, _Queue] = {}
        self._named: dict[str, _Queue] = {}
        #: Names of queues as they are once all that is planned is applied.
        self._planned: dict[str, int] = {}
        self._last_id = 0
        #: Sequence: in how many queues it waits, or is on its way out.
        self._waits: dict[int, int] = {}

    def __repr__(self) -> str:
        return (
            f"<EventTable {len(self._history)} events to {self.newest}, {self._history_bytes} bytes, "
            f"{len(self._waits)} wait in {len(self._queues)} queues>"
        )

    # -- asking ----------------------------------------------------------------------------------------------

    @property
    def oldest(self) -> int:
        """The sequence from which on the history has all events."""
        return self._let_go_to + 1

    def history_size(self) -> tuple[int, int]:
        """Return how many events there are in the history, and their bytes."""
        return len(self._history), self._history_bytes

    def history(self, after: int) -> list[EventRecord]:
        """Return the events after a sequence, the oldest first."""
        if after < self.oldest:
            return list(self._history)
        found = []
        for record in reversed(self._history):
            if record.sequence <= after:
                break
            found.append(record)
        return found[::-1]

    def queues(self) -> list[QueueRecord]:
        """Return all queues, in the order in which they were made."""
        return [queue.record for queue in self._queues.values()]

    def waiting(self, name: str) -> list[EventRecord]:
        """Return what waits in a queue, by sequence."""
        queue = self._named.get(name)
        return list(queue.waiting.values()) if queue is not None else []

    # -- planning --------------------------------------------------------------------------------------------

    def plan_append(self, records: Sequence[EventRecord], queues: Sequence[Iterable[str]]) -> Appended:
        """Give events their sequences, and find their queues.

        Raises:
            EventError: a text cannot be written. ValueError: the lengths differ.
        """
        if len(records) != len(queues):
            raise ValueError(f"{len(records)} events and the queues of {len(queues)}; there must be as many")
        for record in records:
            _check_text("subject", record.subject)
            _check_text("publisher", record.publisher)
        planned = self._planned
        ids = [tuple(dict.fromkeys(planned[name] for name in names if name in planned)) for names in queues]
        for record in records:
            self.given += 1
            record.sequence = self.given
        return Appended(list(records), ids)

    def plan_put(self, record: QueueRecord) -> QueuePut:
        """Give a queue its id.

        Raises:
            EventError: it cannot be written down, or there are too many.
        """
        try:
            packed = packb(tuple(record))
        except (TypeError, ValueError) as exc:
            raise EventError(f"queue {record.name!r} cannot be kept: {exc}") from exc
        number = self._planned.get(record.name)
        if number is None:
            if len(self._planned) >= MAX_QUEUES:
                raise EventError(
                    f"queue {record.name!r} would be one more than {MAX_QUEUES}, which is the limit; remove others"
                )
            number = self._last_id = self._last_id + 1
            self._planned[record.name] = number
        return QueuePut(number, record, packed)

    def plan_remove(self, name: str) -> QueueRemoved | None:
        """Take a queue's name away; None where there is none."""
        number = self._planned.pop(name, None)
        return None if number is None else QueueRemoved(number)

    def plan_acknowledge(self, name: str, sequences: Iterable[int]) -> Acknowledged | None:
        """Put events aside, so that they wait no more; None where none of them does."""
        number = self._planned.get(name, 0)
        queue = self._queues.get(number)
        if queue is None:
            return None
        leaving = []
        for sequence in sequences:
            record = queue.waiting.pop(sequence, None)
            if record is not None:
                queue.leaving[sequence] = record
                leaving.append(sequence)
        return Acknowledged(number, leaving) if leaving else None

    # -- loading ---------------------------------------------------------------------------------------------

    def load(
        self, records: Iterable[EventRecord], queues: Iterable[tuple[int, QueueRecord]],
        waiting: Iterable[tuple[int, int]], oldest: int,
    ) -> list[EventRecord]:  # fmt: skip
        """Fill an empty table whose `newest` and `given` are set.

        Args:
            records: by sequence.
            queues: with their ids, by id.
            waiting: (id, sequence), sorted.
            oldest: from which sequence on the records are the history.

        Returns:
            The records that are not kept any more.

        Raises:
            ValueError: they do not belong together.
        """
        known = {record.sequence: record for record in records}
        if known and not 0 < min(known) <= max(known) <= self.newest <= self.given:
            raise ValueError(f"an event has sequence {max(known)}, and the highest is {self.newest}")
        for number, record in queues:
            self._put(QueuePut(number, record, b""))
            self._last_id = number
        waits = self._waits
        for number, sequence in waiting:
            if number not in self._queues or sequence not in known:
                raise ValueError(f"event {sequence} waits in queue {number}, and one of both is not there")
            self._queues[number].waiting[sequence] = known[sequence]
            waits[sequence] = waits.get(sequence, 0) + 1
        self.undo()
        self._let_go_to = oldest - 1
        before = [record for sequence, record in known.items() if sequence < oldest and sequence not in waits]
        return before + self._extend_history(record for sequence, record in known.items() if sequence >= oldest)

    # -- putting in place ------------------------------------------------------------------------------------

    def apply(self, change: Change) -> list[EventRecord]:
        """Put a change in place; return the events that are not kept any more with it."""
        if isinstance(change, Appended):
            return self._append(change)
        if isinstance(change, Acknowledged):
            queue = self._queues[change.id]
            return self._let_go([queue.leaving.pop(sequence) for sequence in change.sequences])
        if isinstance(change, QueuePut):
            self._put(change)
            return []
        queue = self._queues.pop(change.id)
        del self._named[queue.record.name]
        return self._let_go([*queue.waiting.values(), *queue.leaving.values()])

    def _append(self, change: Appended) -> list[EventRecord]:
        for record, ids in zip(change.records, change.queues, strict=True):
            for number in ids:
                self._queues[number].waiting[record.sequence] = record
            if ids:
                self._waits[record.sequence] = len(ids)
            self.newest = record.sequence
        return self._extend_history(change.records)

    def _extend_history(self, records: Iterable[EventRecord]) -> list[EventRecord]:
        history = self._history
        for record in records:
            history.append(record)
            self._history_bytes += record.size
        gone = []
        while len(history) > self._max_events or self._history_bytes > self._max_bytes:
            record = history.popleft()
            self._history_bytes -= record.size
            self._let_go_to = record.sequence
            if record.sequence not in self._waits:
                gone.append(record)
        return gone

    def _put(self, change: QueuePut) -> None:
        queue = self._queues.get(change.id)
        if queue is None:
            queue = self._queues[change.id] = self._named[change.record.name] = _Queue(change.record)
        queue.record = change.record

    def _let_go(self, records: list[EventRecord]) -> list[EventRecord]:
        """Have records wait in one queue less; return those that are neither in another one nor in the history."""
        gone = []
        for record in records:
            left = self._waits.pop(record.sequence) - 1
            if left:
                self._waits[record.sequence] = left
            elif record.sequence < self.oldest:
                gone.append(record)
        return gone

    def undo(self) -> None:
        """Take back all that is planned and not applied; sequences and ids that were given stay given."""
        self._planned = {queue.record.name: number for number, queue in self._queues.items()}
        for queue in self._queues.values():
            if queue.leaving:
                queue.waiting = dict(sorted((queue.waiting | queue.leaving).items()))
                queue.leaving = {}


def _check_text(what: str, text: str) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise EventError(f"{what} {text!r} is no text that can be written ({exc.reason}); give another") from exc
