"""A reliable queue: it has a name, outlives its subscribers, and keeps each event until one has acknowledged it.

Several consumers may share a queue; each event goes to one of them. Events of one publisher and one subject form a
*lane*, which is one consumer's alone while it has some of them unacknowledged: so they are dealt with in order,
whoever does it.

    waiting      in its lane, to be sent
    out          sent, unacknowledged until its time, which begins when its consumer has come to it; with the first
                 of a lane that is not acknowledged in time, or that failed, all that is out of that lane waits
                 again, in order
    acknowledged forgotten

At least once: who was sent an event and is gone may have dealt with it. Pure: times are arguments, seconds of a
clock that never jumps; waiting, and making it last, is the service's.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from gpyro.errors import ServerBusyError
from gpyro.eventrecords import EventRecord, QueueRecord

__all__ = ["MAX_CONSUMERS", "Consumer", "Delivery", "NamedQueue", "Waiting"]

#: Most consumers of one queue: waking them costs time for each event.
MAX_CONSUMERS = 1_000
#: Most events that are out at one consumer: enough to keep a line busy, few enough to share them out.
WINDOW = 100
#: How long a failed event waits before it goes out again: at first, doubled each time, never longer than
#: `redeliver_seconds`.
FIRST_DELAY_SECONDS = 0.25


class Delivery(NamedTuple):
    """An event that is sent: for how many times now, the number of its lane, and how many failures its consumer
    had told by then; so that can tell whether it was sent before that was known."""

    record: EventRecord
    deliveries: int
    lane: int
    heard: int

    @property
    def size(self) -> int:
        """As that of the record."""
        return self.record.size


class _Item:
    __slots__ = ("consumer", "deadline", "deliveries", "failures", "has_begun", "lane", "record")

    def __init__(self, record: EventRecord, lane: _Lane) -> None:
        self.record = record
        self.lane = lane
        self.deliveries = 0
        self.failures = 0
        self.consumer: Consumer | None = None
        #: Whether its consumer has come to it, as far as that can be known; then it has a deadline.
        self.has_begun = False
        self.deadline = math.inf


class _Lane:
    """Events of one publisher and subject."""

    __slots__ = ("holder", "is_delayed", "key", "number", "out", "waiting")

    def __init__(self, key: tuple[str, str], number: int) -> None:
        self.key = key
        self.number = number
        self.waiting: deque[_Item] = deque()
        #: How many are out, all of them at the holder.
        self.out = 0
        self.holder: Consumer | None = None
        #: True while it waits for its time after a failure.
        self.is_delayed = False


#: Lanes by the sequence of their first waiting event; what is not true any more is passed over when it is met.
_Heap = list[tuple[int, int, _Lane]]


class Reader(Protocol):
    """Whoever takes deliveries out of a consumer."""

    def ready(self, box: Any) -> None:
        """There is something to take; called once until `is_listed` is reset."""
        ...


class Waiting(NamedTuple):
    """A publisher that waits for room for so many events and bytes together.

    `settle` is called once, with whether it has that now.
    """

    events: int
    size: int
    settle: Callable[[bool], object]


class Consumer:
    """One subscriber's part of a queue."""

    __slots__ = (
        "begun", "delivered", "failed", "heard", "is_late", "is_listed", "label", "lanes", "limit", "number",
        "out", "place", "queue", "reader", "sent_ahead", "turn",
    )  # fmt: skip

    def __init__(self, queue: NamedQueue, number: int, label: str) -> None:
        self.queue = queue
        self.number = number
        self.label = label
        self.reader: Reader | None = None
        self.is_listed = False
        #: The number by which a link knows it.
        self.place = 0
        #: What is out, in the order in which it was sent.
        self.out: dict[int, _Item] = {}
        #: How many events it handles at a time, how many of those out it has come to, and the others, in order.
        self.limit = 1
        self.begun = 0
        self.sent_ahead: deque[_Item] = deque()
        #: Lanes that it holds in which something waits.
        self.lanes: _Heap = []
        #: True once it has let an event's time pass, until it is heard of: it has its hands full, or hangs.
        self.is_late = False
        #: When it last got something, counted in events of the queue.
        self.turn = 0
        self.delivered = 0
        self.failed = 0
        #: Failures that it has told, counted by itself.
        self.heard = 0

    def __repr__(self) -> str:
        return f"<Consumer {self.number} of {self.queue.record.name!r}, {len(self.out)} out>"

    def has_room(self) -> bool:
        """Tell whether it may be sent something."""
        return len(self.out) < WINDOW and self.reader is not None and not self.is_late

    def has_more(self) -> bool:
        """Tell whether `take` would return something."""
        return self.has_room() and self.queue._next_lane(self) is not None

    def take(self, most: int, most_bytes: int, now: float) -> list[Delivery]:
        """Return events to send."""
        self.is_listed = False
        taken: list[Delivery] = []
        while len(taken) < most and most_bytes > 0 and self.has_room():
            lane = self.queue._next_lane(self)
            if lane is None:
                break
            delivery = self.queue._send(lane, self, now)
            taken.append(delivery)
            most_bytes -= delivery.size
        return taken

    def announce(self) -> None:
        """Let its reader know that there may be something to take."""
        if not self.is_listed and self.has_room():
            self.is_listed = True
            assert self.reader is not None
            self.reader.ready(self)


class NamedQueue:
    """The events of one queue.

    Args:
        record: its name, owner, bounds and subjects; the service puts another one in its place when they change.
        limit_bytes: of its events together, but one event always has room.
        kept: what waited in it when the server ended.
    """

    def __init__(self, record: QueueRecord, limit_bytes: int, kept: Iterable[EventRecord] = ()) -> None:
        self.record = record
        self.limit_bytes = limit_bytes
        #: Of the events in it, and of those that room was promised to.
        self.bytes = 0
        self.consumers: list[Consumer] = []
        #: Publishers that wait for room, the first one first.
        self.waiting: deque[Waiting] = deque()
        #: Patterns of the record that this server refuses; they stay in it for one that does not.
        self.refused: tuple[str, ...] = ()
        #: Room that was promised, to events that are not in it yet.
        self.reserved = 0
        self.is_stalled = False
        #: True once it was removed: who waits for it need not any more.
        self.is_removed = False
        self.redelivered = 0
        self.delivered = 0
        self._items: dict[int, _Item] = {}
        self._lanes: dict[tuple[str, str], _Lane] = {}
        self._lane_count = 0
        self._sent = 0
        self._free: _Heap = []
        #: Lanes that wait for their time after a failure: (time, number of the lane, lane).
        self._delayed: list[tuple[float, int, _Lane]] = []
        for event in kept:
            self._add(event)

    def __repr__(self) -> str:
        return (
            f"<NamedQueue {self.record.name!r}, {len(self._items)} events, {self.unacknowledged} out, "
            f"{len(self.consumers)} consumers>"
        )

    def __len__(self) -> int:
        """The number of events that are not acknowledged."""
        return len(self._items)

    @property
    def unacknowledged(self) -> int:
        """The number of events that are out."""
        return sum(len(consumer.out) for consumer in self.consumers)

    # -- in ------------------------------------------------------------------------------------------------

    def could_hold(self, count: int, size: int) -> bool:
        """Tell whether so many events of so many bytes together would have room if it were empty."""
        return count <= 1 or (count <= self.record.limit and size <= self.limit_bytes)

    def reserve(self, count: int, size: int, always: bool = False) -> bool:
        """Promise room to events of this size together; False where there is none, or others wait for it."""
        if not always and (self.waiting or not self._has_room(count, size)):
            return False
        self.reserved += count
        self.bytes += size
        return True

    def release(self, count: int, size: int) -> None:
        """Take a promise back: the events do not come."""
        self.reserved -= count
        self.bytes -= size
        self._let_in()

    def wait(self, count: int, size: int, settle: Callable[[bool], object]) -> Waiting:
        """Queue up for room, as `reserve` asked for."""
        waiting = Waiting(count, size, settle)
        self.waiting.append(waiting)
        return waiting

    def withdraw(self, waiting: Waiting) -> None:
        """A publisher has stopped waiting; harmless where that is settled already."""
        if waiting in self.waiting:
            self.waiting.remove(waiting)
            self._let_in()

    def put(self, record: EventRecord) -> None:
        """Take an event for which room was reserved."""
        self.reserved -= 1
        self.bytes -= record.size
        self._add(record)

    def change(self, record: QueueRecord) -> None:
        """Go on with this record; it may have more room."""
        self.record = record
        self._let_in()

    def give_up(self, late: Waiting) -> None:
        """A publisher has waited for too long.

        Where there is no room for others either, nobody waits for this queue until half of it is dealt with.
        """
        self.withdraw(late)
        late.settle(False)
        if self.waiting or not self._has_room(1, 0):
            self.is_stalled = True
            self.refuse()

    def refuse(self) -> None:
        """Let nobody wait for room any more."""
        waiting, self.waiting = self.waiting, deque()
        for one in waiting:
            one.settle(False)

    def _has_room(self, count: int, size: int) -> bool:
        there = len(self._items) + self.reserved
        if not there:
            return self.could_hold(count, size)
        return there + count <= self.record.limit and self.bytes + size <= self.limit_bytes

    def _add(self, record: EventRecord) -> None:
        self.bytes += record.size
        key = (record.publisher, record.folded)
        lane = self._lanes.get(key)
        if lane is None:
            self._lane_count += 1
            lane = self._lanes[key] = _Lane(key, self._lane_count)
        item = self._items[record.sequence] = _Item(record, lane)
        lane.waiting.append(item)
        if len(lane.waiting) == 1:
            self._offer(lane)

    def _let_in(self) -> None:
        while self.waiting and self._has_room(self.waiting[0].events, self.waiting[0].size):
            one = self.waiting.popleft()
            self.reserve(one.events, one.size, always=True)
            one.settle(True)
        if self.is_stalled and len(self._items) <= self.record.limit // 2:
            self.is_stalled = False

    # -- consumers -------------------------------------------------------------------------------------------

    def join(self, number: int, label: str) -> Consumer:
        """Add a consumer.

        Raises:
            ServerBusyError: there are too many.
        """
        if len(self.consumers) >= MAX_CONSUMERS:
            raise ServerBusyError(
                f"{len(self.consumers)} subscribers share the queue {self.record.name!r}, limit is {MAX_CONSUMERS}"
            )
        consumer = Consumer(self, number, label)
        self.consumers.append(consumer)
        return consumer

    def leave(self, consumer: Consumer) -> None:
        """A consumer has gone for good: what is out there goes to others."""
        if consumer in self.consumers:
            self.consumers.remove(consumer)
            self.release_all(consumer)

    def release_all(self, consumer: Consumer) -> None:
        """A consumer's connection is gone: what is out there waits again, also for itself."""
        consumer.is_late = False
        self._let_go(consumer)
        if self._free:
            # It may have been told of these, and has gone without taking them.
            for other in self.consumers:
                if other is not consumer:
                    other.announce()

    def _let_go(self, consumer: Consumer) -> None:
        for lane in dict.fromkeys(item.lane for item in consumer.out.values()):
            self._release(lane)
            lane.holder = None
            self._offer(lane)

    # -- out -----------------------------------------------------------------------------------------------

    def hear(self, consumer: Consumer) -> None:
        """A consumer has said something, so it does not hang."""
        if consumer.is_late:
            consumer.is_late = False
            consumer.announce()

    def acknowledge(self, sequences: Iterable[int], now: float) -> list[int]:
        """Forget events that were dealt with; return those of them that were still known.

        Also those that meanwhile wait again: who acknowledges late has done the work all the same.
        """
        known = []
        for sequence in sequences:
            item = self._items.pop(sequence, None)
            if item is None:
                continue
            known.append(sequence)
            self.bytes -= item.record.size
            lane = item.lane
            if item.consumer is None:
                lane.waiting.remove(item)
                self._settle(lane, None)
            else:
                holder = item.consumer
                self._take_back(item, holder)
                # It may stand in `sent_ahead` still, and is not to be begun there.
                item.consumer = None
                self._begin(holder, now)
                holder.delivered += 1
                lane.out -= 1
                self._settle(lane, holder)
        self.delivered += len(known)
        if known:
            self._let_in()
        return known

    def fail(self, consumer: Consumer, failures: Iterable[Sequence[int]], total: int, now: float) -> None:
        """A consumer could not deal with these: after a while they go out again, with what is behind them.

        Args:
            failures: sequence and number of the lane of each.
            total: how many failures it has told, with these.
        """
        for sequence, number in failures:
            item = consumer.out.get(sequence)
            if item is None:
                self._send_anew(consumer, number)
                self._begin(consumer, now)
                continue
            consumer.failed += 1
            item.failures += 1
            delay = min(FIRST_DELAY_SECONDS * 2 ** min(item.failures - 1, 20), self.record.redeliver_seconds)
            self._release(item.lane)
            self._begin(consumer, now)
            item.lane.holder, item.lane.is_delayed = None, True
            heapq.heappush(self._delayed, (now + delay, item.lane.number, item.lane))
            consumer.announce()

        consumer.heard = max(consumer.heard, total)

    def _send_anew(self, consumer: Consumer, number: int) -> None:
        """What a consumer has of a lane it has left aside: one that failed before is not its any more."""
        lane = next((item.lane for item in consumer.out.values() if item.lane.number == number), None)
        if lane is not None:
            self._release(lane)
            lane.holder = None
            self._offer(lane)

    def look(self, now: float) -> None:
        """Send out again what was not acknowledged in time, and what has waited long enough after a failure.

        To be called about once a second, more often if delays shall be kept more exactly.
        """
        for consumer in self.consumers:
            if consumer.begun and min([item.deadline for item in consumer.out.values()], default=now) <= now:
                # It hangs, or has more than it can do: others get all that it has.
                consumer.is_late = True
                self._let_go(consumer)
        while self._delayed and self._delayed[0][0] <= now:
            lane = heapq.heappop(self._delayed)[2]
            lane.is_delayed = False
            self._offer(lane)
        if self._free:
            # Who was told first may hang.
            for consumer in self.consumers:
                consumer.announce()

    def next_look(self) -> float | None:
        """Return when the next delay after a failure ends, or None."""
        return self._delayed[0][0] if self._delayed else None

    def _send(self, lane: _Lane, consumer: Consumer, now: float) -> Delivery:
        item = lane.waiting.popleft()
        lane.holder = consumer
        lane.out += 1
        item.consumer = consumer
        item.deliveries += 1
        consumer.out[item.record.sequence] = item
        consumer.sent_ahead.append(item)
        self._begin(consumer, now)
        self._sent += 1
        consumer.turn = self._sent
        if lane.waiting:
            self._push(consumer.lanes, lane)
        return Delivery(item.record, item.deliveries, lane.number, consumer.heard)

    def _begin(self, consumer: Consumer, now: float) -> None:
        """Let the time of those events begin that a consumer has come to; it takes them in order."""
        ahead = consumer.sent_ahead
        while ahead and consumer.begun < consumer.limit:
            item = ahead.popleft()
            if item.consumer is consumer and not item.has_begun:
                item.has_begun, item.deadline = True, now + self.record.redeliver_seconds
                consumer.begun += 1

    @staticmethod
    def _take_back(item: _Item, holder: Consumer) -> None:
        del holder.out[item.record.sequence]
        if item.has_begun:
            item.has_begun, item.deadline = False, math.inf
            holder.begun -= 1

    def _release(self, lane: _Lane) -> None:
        """Let what is out of a lane wait again, in order."""
        holder = lane.holder
        if holder is None or not lane.out:
            return
        items = [item for item in holder.out.values() if item.lane is lane]
        for item in reversed(items):
            self._take_back(item, holder)
            item.consumer = None
            lane.waiting.appendleft(item)
        self.redelivered += len(items)
        lane.out = 0

    def _settle(self, lane: _Lane, holder: Consumer | None) -> None:
        """Something of a lane was acknowledged: see who may go on with it."""
        if not lane.waiting and not lane.out:
            if self._lanes.get(lane.key) is lane:
                del self._lanes[lane.key]
        elif not lane.out and lane.holder is not None:
            lane.holder = None
            self._offer(lane)
        elif lane.waiting and (lane.holder is None or holder is None):
            # Another one may be the first of those that wait.
            self._offer(lane)
        if holder is not None:
            if holder.lanes or self._free:
                holder.announce()

    def _offer(self, lane: _Lane) -> None:
        """Let somebody know that there is something to send of a lane."""
        if not lane.waiting or lane.is_delayed:
            return
        if lane.holder is not None:
            self._push(lane.holder.lanes, lane)
            lane.holder.announce()
            return
        self._push(self._free, lane)
        waiting = [consumer for consumer in self.consumers if consumer.has_room()]
        if waiting:
            min(waiting, key=lambda consumer: (consumer.is_listed, len(consumer.out), consumer.turn)).announce()

    @staticmethod
    def _push(heap: _Heap, lane: _Lane) -> None:
        heapq.heappush(heap, (lane.waiting[0].record.sequence, lane.number, lane))

    def _next_lane(self, consumer: Consumer) -> _Lane | None:
        """Return the lane from which this consumer gets its next event: of those open to it the oldest event's."""
        mine = self._top(consumer.lanes, consumer)
        free = self._top(self._free, None)
        if mine is None or (free is not None and free < mine):
            mine = free
        return None if mine is None else mine[2]

    @staticmethod
    def _top(heap: _Heap, holder: Consumer | None) -> tuple[int, int, _Lane] | None:
        """Return the first entry of a heap that still holds; those before it are thrown away."""
        while heap:
            sequence, _, lane = heap[0]
            if lane.holder is holder and not lane.is_delayed and lane.waiting:
                if lane.waiting[0].record.sequence == sequence:
                    return heap[0]
            heapq.heappop(heap)
        return None
