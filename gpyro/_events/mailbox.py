"""One subscriber's mailbox: a bounded queue of events, and what happens when it is full.

    put(record) -> unsent -> take(...) -> sent -> acknowledge(total)

Events count against the bounds until the subscriber has dealt with them. `sent` is short: what is not sent yet can
still be dropped, and what was sent to a connection that broke goes out again (`rewind`).

    policy        when it is full
    block         the publisher waits; after its time the mailbox is *stalled*: events are dropped, and nobody
                  waits any more, until the subscriber has dealt with half of what it has
    drop_new      the event is dropped
    drop_old      the oldest event that is not sent yet is dropped
    disconnect    the subscription ends

Where events were dropped a `Gap` stands in their place and tells the subscriber how many they were. Pure: waiting
is the service's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol, Union

from gpyro.errors import EventError
from gpyro.eventrecords import EventRecord

__all__ = [
    "BLOCK", "DISCONNECT", "DROP_NEW", "DROP_OLD", "POLICIES", "Blocked", "Entry", "Gap", "Mailbox", "Reader",
]  # fmt: skip

BLOCK, DROP_NEW, DROP_OLD, DISCONNECT = "block", "drop_new", "drop_old", "disconnect"
POLICIES = (BLOCK, DROP_NEW, DROP_OLD, DISCONNECT)


class Gap:
    """Stands where `count` events were lost; None is an unknown number."""

    __slots__ = ("count",)

    def __init__(self, count: int | None) -> None:
        self.count = count

    def __repr__(self) -> str:
        return f"<Gap of {self.count}>"


Entry = Union[EventRecord, Gap]


class Blocked:
    """An event whose publisher waits for room in a mailbox; `settle` is called once when it need not any more."""

    __slots__ = ("is_taken", "mailbox", "record", "settle")

    def __init__(self, mailbox: Mailbox, record: EventRecord, settle: Callable[[], object]) -> None:
        self.mailbox = mailbox
        self.record = record
        self.settle = settle
        self.is_taken: bool | None = None

    def end(self, is_taken: bool) -> None:
        """Have it over: the mailbox has the event, or will never have it."""
        self.is_taken = is_taken
        self.settle()


class Reader(Protocol):
    """Whoever takes entries out of a mailbox."""

    def ready(self, mailbox: Mailbox) -> None:
        """There is something to take; called once until `is_listed` is reset."""
        ...


class Mailbox:
    """The events that wait for one subscriber.

    Args:
        number: tells mailboxes apart, to people.
        label: whose it is, to people.
        identity: who the subscriber has proved to be; None without authentication.
        limit: most events in it. limit_bytes: of them together, but one event always has room.
        policy: one of `POLICIES`.
        block_seconds: how long a publisher waits for room.
    """

    __slots__ = (
        "acknowledged", "block_seconds", "bytes", "closed", "count", "delivered", "dropped", "failed",
        "identity", "is_listed", "is_stalled", "label", "limit", "limit_bytes", "number", "on_closed", "place",
        "policy", "reader", "sent", "unsent", "waiting", "window",
    )  # fmt: skip

    def __init__(
        self, number: int, label: str, identity: str | None, *, limit: int, limit_bytes: int, policy: str,
        block_seconds: float,
    ) -> None:  # fmt: skip
        self.number = number
        self.label = label
        self.identity = identity
        self.limit = limit
        self.limit_bytes = limit_bytes
        self.policy = policy
        self.block_seconds = block_seconds
        #: Most entries that are sent and not acknowledged: enough to keep a line busy, and half stays droppable.
        self.window = max(limit // 2, 1)
        self.unsent: deque[Entry] = deque()
        self.sent: deque[Entry] = deque()
        #: Events in both, without gaps, and their bytes.
        self.count = 0
        self.bytes = 0
        #: Entries acknowledged since the beginning.
        self.acknowledged = 0
        #: Publishers that wait for room, the first one first, and places of those that have stopped waiting.
        self.waiting: deque[Blocked] = deque()
        self.reader: Reader | None = None
        #: True while the reader knows that there is something to take.
        self.is_listed = False
        #: The number by which a link knows it.
        self.place = 0
        self.is_stalled = False
        #: Why it has ended, or None.
        self.closed: str | None = None
        self.on_closed: Callable[[Mailbox], object] | None = None
        self.delivered = 0
        self.dropped = 0
        self.failed = 0

    def __repr__(self) -> str:
        state = f"closed: {self.closed}" if self.closed else "stalled" if self.is_stalled else self.policy
        return (
            f"<Mailbox {self.number} of {self.label}, {len(self.unsent)} wait, {len(self.sent)} sent, "
            f"limit is {self.limit}, {self.dropped} dropped, {state}>"
        )

    # -- in ------------------------------------------------------------------------------------------------

    def put(self, record: EventRecord) -> bool:
        """Take an event, or do with it what the policy says; False: the publisher has to wait (`wait`)."""
        count, size = self.count, self.bytes + record.size
        if count and (count >= self.limit or size > self.limit_bytes or self.waiting):
            return self._overflow(record)
        self.unsent.append(record)
        self.count = count + 1
        self.bytes = size
        if not self.is_listed and self.reader is not None and len(self.sent) < self.window:
            self.is_listed = True
            self.reader.ready(self)
        return True

    def wait(self, record: EventRecord, settle: Callable[[], object]) -> Blocked:
        """Queue behind a full mailbox, as `put` asked for."""
        blocked = Blocked(self, record, settle)
        self.waiting.append(blocked)
        return blocked

    def give_up(self) -> None:
        """The time of a publisher is over: nobody waits for this subscriber until it takes events again."""
        self.is_stalled = True
        waiting, self.waiting = self.waiting, deque()
        for blocked in waiting:
            if blocked.is_taken is None:
                self.dropped += 1
                blocked.end(False)
            self._note_gap(1)
        self._announce()

    def withdraw(self, blocked: Blocked) -> None:
        """A publisher has stopped waiting; harmless where that is settled already."""
        if blocked.is_taken is None:
            # It leaves a gap in its place, behind those that go on waiting before it.
            blocked.is_taken = False
            self.dropped += 1
            self._let_in()
            self._announce()

    def note_lost(self, count: int | None) -> None:
        """Tell the subscriber that events before those that come were lost."""
        self._note_gap(count)
        self._announce()

    def _overflow(self, record: EventRecord) -> bool:
        if self.closed is not None:
            return True
        if self.policy == BLOCK:
            if not self.is_stalled:
                return False
        elif self.policy == DROP_OLD:
            if self._make_room(record.size):
                return self.put(record)
        elif self.policy == DISCONNECT:
            self.dropped += 1
            self.close(
                f"the queue of {self.label} is full: {self.count} events of {self.bytes} bytes wait, the limits "
                f"are {self.limit} (es_queuesize) and {self.limit_bytes} (es_queue_bytes), and its policy is "
                f"{DISCONNECT}"
            )
            return True
        self._drop(1)
        return True

    def _make_room(self, size: int) -> bool:
        """Drop the oldest events that are not sent yet until one of this size has room."""
        unsent = self.unsent
        lost: int | None = 0
        while unsent and not self._has_room(size):
            entry = unsent.popleft()
            if isinstance(entry, Gap):
                lost = _sum(lost, entry.count)
            else:
                self.count -= 1
                self.bytes -= entry.size
                self.dropped += 1
                lost = _sum(lost, 1)
        if lost != 0:
            if unsent and isinstance(unsent[0], Gap):
                unsent[0].count = _sum(lost, unsent[0].count)
            else:
                unsent.appendleft(Gap(lost))
        return self._has_room(size)

    def _has_room(self, size: int) -> bool:
        return not self.count or (self.count < self.limit and self.bytes + size <= self.limit_bytes)

    def _drop(self, count: int) -> None:
        self.dropped += count
        self._note_gap(count)
        self._announce()

    def _note_gap(self, count: int | None) -> None:
        last = self.unsent[-1] if self.unsent else None
        if isinstance(last, Gap):
            last.count = _sum(last.count, count)
        else:
            self.unsent.append(Gap(count))

    # -- out -----------------------------------------------------------------------------------------------

    def take(self, most: int, most_bytes: int, now: float = 0.0) -> list[Entry]:
        """Return entries to send: at least one, if there is one and the window is open."""
        unsent, sent = self.unsent, self.sent
        self.is_listed = False
        there, room = len(unsent), self.window - len(sent)
        if there <= room and there <= most and self.bytes <= most_bytes:
            taken: list[Entry] = [*unsent]
            unsent.clear()
        else:
            room = min(most, room, there)
            taken = []
            while len(taken) < room and most_bytes > 0:
                entry = unsent.popleft()
                taken.append(entry)
                if not isinstance(entry, Gap):
                    most_bytes -= entry.size
        sent.extend(taken)
        return taken

    def has_more(self) -> bool:
        """Tell whether `take` would return something."""
        return bool(self.unsent) and len(self.sent) < self.window

    def acknowledge(self, total: int) -> None:
        """The subscriber has dealt with `total` entries since the beginning.

        Raises:
            EventError: it was not sent that many.
        """
        done = total - self.acknowledged
        if done > len(self.sent):
            raise EventError(
                f"{total} entries are acknowledged, but only {self.acknowledged + len(self.sent)} were sent"
            )
        if done <= 0:
            return
        sent, size = self.sent, 0
        for _ in range(done):
            entry = sent.popleft()
            if type(entry) is EventRecord:
                size += entry.size
            else:
                done -= 1
        self.count -= done
        self.bytes -= size
        self.delivered += done
        self.acknowledged = total
        if self.waiting or self.is_stalled:
            self._let_in()
        if self.unsent:
            self._announce()

    def _let_in(self) -> None:
        """Give room that was made to those who wait for it."""
        while self.waiting:
            blocked = self.waiting[0]
            if blocked.is_taken is not None:
                self.waiting.popleft()
                self._note_gap(1)
                continue
            if not self._has_room(blocked.record.size):
                break
            self.waiting.popleft()
            self.unsent.append(blocked.record)
            self.count += 1
            self.bytes += blocked.record.size
            blocked.end(True)
        if self.is_stalled and self.count <= self.limit // 2:
            self.is_stalled = False

    def rewind(self, received: int) -> None:
        """A new connection takes over: what was sent and did not arrive is unsent again.

        Args:
            received: how many entries have arrived since the beginning.
        """
        sent = self.sent
        for _ in range(min(len(sent), max(self.acknowledged + len(sent) - received, 0))):
            self.unsent.appendleft(sent.pop())
        self._announce()

    def _announce(self) -> None:
        if not self.is_listed and self.reader is not None and self.has_more():
            self.is_listed = True
            self.reader.ready(self)

    # -- the end -------------------------------------------------------------------------------------------

    def close(self, reason: str) -> None:
        """End it: what is in it is dropped, and nobody waits any more; closing again does nothing."""
        if self.closed is not None:
            return
        self.closed = reason
        self.dropped += self.count - len([entry for entry in self.sent if not isinstance(entry, Gap)])
        self.unsent.clear()
        self.sent.clear()
        self.count = self.bytes = 0
        waiting, self.waiting = self.waiting, deque()
        for blocked in waiting:
            if blocked.is_taken is None:
                # Who is gone has not missed anything that it could have had.
                blocked.end(True)
        if self.on_closed is not None:
            self.on_closed(self)


def _sum(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else first + second
