"""What the event server needs of the place where events are kept.

One storage serves one event server. Subjects, times, publishers and messages come in as they are; the storage
gives each event its sequence. All storages pass the same cases, `tests/unit/storage/event_conformance.py`.

The rules, the same everywhere:

    sequences go up in the order of the calls; one that was given is never given again in the same log, not even
    where its event did not come to last, and not after a restart: then some may be passed over
    the events of one call last all or none; nobody sees one before it lasts
    the history has the newest events, as many as its bounds allow; what is in it is in it without a gap
    a queue has what was appended for it and is not acknowledged; it does not matter whether that is in the history
    an event is kept while it is in the history or waits in a queue
    what is acknowledged does not wait any more at once; where that does not come to last, it waits again
    queues that are not there are nobody's: what is appended for one goes nowhere, nothing waits in it
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from gpyro.eventrecords import EventRecord, QueueRecord
from gpyro.storage.closing import Closing

__all__ = ["HISTORY_BYTES", "HISTORY_EVENTS", "LASTS", "EventListener", "EventStorage", "Lasting"]

#: What the history holds if nobody says otherwise: some minutes of a busy server's events, in memory that it can
#: spare. Bytes count as `EventRecord.size` does.
HISTORY_EVENTS, HISTORY_BYTES = 10_000, 64 * 1024 * 1024

#: Called with events that last, in the order of their sequences; from any thread, and never to wait there.
EventListener = Callable[[list[EventRecord]], object]


class Lasting(Protocol):
    """A change on its way to where it lasts."""

    def settle(self) -> None:
        """Wait, without holding the hub, until it lasts.

        Raises:
            StorageError: it does not and is undone, or that took too long.
        """


class _Lasts:
    def settle(self) -> None:
        pass


#: Of a change that lasts already.
LASTS: Lasting = _Lasts()


class EventStorage(Closing):
    """The events of one log, and the queues in which they wait, kept somewhere.

    Who makes a storage closes it; it is a context manager for that. Safe from any thread and greenlet. No method
    waits for a disk: those that change something return what does.

    Attributes:
        log: the random id of the log, the same for as long as it is kept.
        listener: to be set before the first event; it may use the storage.

    StorageError is raised by every method of a closed storage, and by those that change something where the place
    takes no changes any more; ServerBusyError where too many changes are on their way to it.
    """

    log: str
    listener: EventListener | None

    # -- events

    @abstractmethod
    def append(self, records: Sequence[EventRecord], queues: Sequence[Iterable[str]]) -> Lasting:
        """Keep events that belong together, and give them their sequences at once, in order.

        Args:
            records: the events; from now on they are the storage's.
            queues: for each event the names of the queues in which it is to wait.

        Raises:
            EventError: a subject or publisher is no text that can be written; nothing is kept.
            ValueError: there are not as many `queues` as `records`.
        """

    @property
    @abstractmethod
    def newest(self) -> int:
        """The highest sequence that lasts; 0 where there has been none."""

    @property
    @abstractmethod
    def oldest(self) -> int:
        """The sequence from which on the history has all events: one more than the last that it has let go.

        Numbers that were passed over are no events, so it may be lower than that of the first one there is.
        """

    @abstractmethod
    def history(self, after: int = 0) -> list[EventRecord]:
        """Return the events of the history whose sequence is higher than `after`, the oldest first."""

    @abstractmethod
    def history_size(self) -> tuple[int, int]:
        """Return how many events the history has, and how many bytes, as `EventRecord.size` counts them."""

    # -- queues

    @abstractmethod
    def queues(self) -> list[QueueRecord]:
        """Return all queues, in the order in which they were made."""

    @abstractmethod
    def put_queue(self, record: QueueRecord) -> Lasting:
        """Make a queue, or change the one of that name; what waits in it goes on to wait.

        Raises:
            EventError: the record cannot be kept, or there are too many queues.
        """

    @abstractmethod
    def remove_queue(self, name: str) -> Lasting:
        """Remove a queue with what waits in it; one that is not there is removed already."""

    @abstractmethod
    def waiting(self, name: str) -> list[EventRecord]:
        """Return what waits in a queue, by sequence; nothing for one that is not there."""

    @abstractmethod
    def acknowledge(self, name: str, sequences: Iterable[int]) -> Lasting:
        """Have events wait no more in a queue; those that do not wait there (any more, or yet) are passed over."""

    # -- the whole

    @property
    @abstractmethod
    def failure(self) -> Exception | None:
        """Why no changes are taken any more, or None."""
