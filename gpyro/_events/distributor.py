"""From a publisher to all whom it concerns: an event gets its sequence, is kept, and is put into every box.

    1  the subject's targets are found; where patterns have to be asked, others run in between, and later events of
       that subject wait for their turn
    2  each reliable queue promises room; a publisher waits for that, and where it gets none nothing has happened
    3  the storage gives sequences and keeps the events
    4  once they last each is put into all its boxes in one go, in the order of their sequences; others run in
       between where there is much to put
    5  the publisher waits for those subscribers whose mailboxes are full and whose policy is `block`; all others
       have the event by then

Lives on one hub. What it is told from other threads, by a storage, it does there.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Union

from gpyro import hub
from gpyro._events.mailbox import Blocked, Mailbox
from gpyro._events.namedqueue import NamedQueue
from gpyro._events.subjects import SubjectIndex, fold
from gpyro.errors import EventError, EventQueueFullError, ServerBusyError, StorageError
from gpyro.eventrecords import EventRecord
from gpyro.storage.events import EventStorage, Lasting

__all__ = ["Distributor", "Target"]

Target = Union[Mailbox, NamedQueue]
#: Queues that have promised room, and for how many events and bytes.
_Reserved = list[tuple[NamedQueue, int, int]]

#: How long a publisher that waits does so in one piece; then it looks whether the server ends.
LOOK_SECONDS = 0.5
#: Between the errors of publishers that have waited together: what one error costs, and as much for others.
FAILURE_SECONDS = 0.001
#: Most subscribers that an error names.
NAMED = 3
#: Boxes that events are put into before others may run: some 4 ms.
PUTS_AT_ONCE = 10_000

#: Of an event that is for no reliable queue; never changed.
_NONE: list[NamedQueue] = []
_NO_NAMES: list[str] = []


class _Publication:
    """The events of one publish call on their way."""

    __slots__ = ("blocked", "is_abandoned", "left", "queues", "signal")

    def __init__(self, queues: list[list[NamedQueue]]) -> None:
        #: For each event the queues that have promised room.
        self.queues = queues
        #: How many of its events are not distributed yet.
        self.left = len(queues)
        #: What waits for room in mailboxes.
        self.blocked: list[Blocked] = []
        #: True where nobody waits for that.
        self.is_abandoned = False
        self.signal = hub.Signal()

    def block(self, mailbox: Mailbox, record: EventRecord) -> None:
        """A mailbox has no room for an event."""
        blocked = mailbox.wait(record, self.signal.set)
        self.blocked.append(blocked)
        if self.is_abandoned:
            mailbox.withdraw(blocked)

    def abandon(self) -> None:
        """The publisher waits no more; its events are on their way all the same."""
        self.is_abandoned = True
        for blocked in self.blocked:
            blocked.mailbox.withdraw(blocked)


class _Turn(hub.Signal):
    """Somebody waits until it is his turn with a subject."""

    is_served = False


class Distributor:
    """The events of one event server, and who gets them.

    Args:
        storage: where events are kept.
        block_seconds: how long a publisher waits for room in a reliable queue.
        max_bytes: of one event, with what it is counted with beside its message.
    """

    def __init__(self, storage: EventStorage, block_seconds: float, max_bytes: int) -> None:
        self.index: SubjectIndex[Target] = SubjectIndex()
        self.storage = storage
        self.queues: dict[str, NamedQueue] = {}
        self.block_seconds = block_seconds
        self.max_bytes = max_bytes
        #: Events since the beginning, and publishers that wait now.
        self.events = 0
        self.blocked = 0
        #: The highest sequence that is in all its boxes. What the storage has beyond that is still to come.
        self.distributed = storage.newest
        self.is_ending = False
        self._next_failure = 0.0
        self._state: hub.HubState | None = None
        #: What lasts and is not distributed yet, by sequence; a greenlet that sees to that, and whether we append.
        self._due: deque[EventRecord] = deque()
        self._is_distributing = False
        self._is_appending = False
        self._awaited: dict[int, tuple[_Publication, int]] = {}
        #: Spelling of a subject: those who wait until patterns were asked about it, the first one first.
        self._searching: dict[str, deque[_Turn]] = {}
        storage.listener = self._note_lasting

    def __repr__(self) -> str:
        return f"<Distributor {self.events} events, {len(self.queues)} queues, {self.blocked} publishers wait>"

    def publish(self, subjects: Sequence[str], payload: bytes, publisher: str) -> None:
        """Publish one message under each of these subjects; all its events have one time.

        Raises:
            EventError: it is too large. EventQueueFullError: somebody's queue stayed full; the message tells who
                has it all the same. ServerBusyError: the server ends. StorageError: it could not be kept, and
                nobody gets it.
        """
        if not subjects:
            return
        self._check_thread()
        self._check_size(subjects, payload)
        now = time.time()
        records = [EventRecord(subject, fold(subject), now, publisher, payload) for subject in subjects]
        queues = self._queues_of(subjects)
        reserved: _Reserved = []
        if any(queues):
            reserved = self._reserve(queues, records)
            # While this one waited, a queue may have been removed, and another one made under its name.
            queues = [[one for one in some if self.queues.get(one.record.name) is one] for some in queues]
        publication = _Publication(queues)
        self._is_appending = True
        try:
            names = [[queue.record.name for queue in some] if some else _NO_NAMES for some in queues]
            lasting = self.storage.append(records, names)
        except BaseException:
            self._release(reserved)
            raise
        finally:
            self._is_appending = False
        for place, record in enumerate(records):
            self._awaited[record.sequence] = (publication, place)
        try:
            self._distribute()
            if publication.left:
                # They are there when `settle` returns, or when this hub looks next.
                self._settle(lasting, records, reserved)
                while publication.left:
                    hub.wait_for(publication.signal, (), LOOK_SECONDS)
            if publication.blocked:
                self._await_room(publication)
        except BaseException:
            publication.abandon()
            raise

    def _check_thread(self) -> None:
        state = hub.current_state()
        if self._state is not state:
            if self._state is not None and not self._state.ended:
                raise EventError("this event server belongs to another thread; publish through a Publisher there")
            self._state = state

    def _check_size(self, subjects: Sequence[str], payload: bytes) -> None:
        if self.is_ending:
            raise ServerBusyError("the event server is shutting down; the event was not published")
        if len(payload) > self.max_bytes:
            raise EventError(
                f"the message of {subjects[0]!r} has {len(payload)} bytes, limit is {self.max_bytes} "
                "(es_queue_bytes of the event server)"
            )

    # -- 1: whom it concerns -----------------------------------------------------------------------------------

    def _queues_of(self, subjects: Sequence[str]) -> list[list[NamedQueue]]:
        """Return for each subject its reliable queues; patterns have been asked about it when it does."""
        queues, looked = [], 0
        for subject in subjects:
            if looked > PUTS_AT_ONCE:
                looked = 0
                hub.pause()
            targets = self._find(subject)
            looked += len(targets)
            found = _NONE
            if self.queues:
                found = [target for target in targets if isinstance(target, NamedQueue)]
            queues.append(found)
        return queues

    def _find(self, subject: str) -> tuple[Target, ...]:
        if subject not in self._searching:
            found = self.index.find(subject)
            if found is not None:
                return found
            self._searching[subject] = deque()
            try:
                return self._search(subject)
            finally:
                self._serve_next(subject)
        turn = _Turn()
        self._searching[subject].append(turn)
        try:
            hub.wait_for(turn, (), None)
            return self._search(subject)
        finally:
            self._searching[subject].remove(turn)
            if turn.is_served:
                self._serve_next(subject)

    def _search(self, subject: str) -> tuple[Target, ...]:
        pacer = hub.Pacer()
        while (found := self.index.find(subject)) is None:
            for _ in self.index.search(subject):
                pacer.give()
        return found

    def _serve_next(self, subject: str) -> None:
        waiting = self._searching[subject]
        if waiting:
            waiting[0].is_served = True
            waiting[0].set()
        else:
            del self._searching[subject]

    # -- 2: room in reliable queues ------------------------------------------------------------------------------

    def _reserve(self, queues: list[list[NamedQueue]], records: list[EventRecord]) -> _Reserved:
        """Have each queue promise room to all that this call has for it, or none of them any."""
        wanted: dict[NamedQueue, tuple[int, int]] = {}
        for some, record in zip(queues, records, strict=True):
            for queue in some:
                count, size = wanted.get(queue, (0, 0))
                wanted[queue] = count + 1, size + record.size
        for queue, (count, size) in wanted.items():
            if not queue.could_hold(count, size):
                raise EventError(
                    f"one call has {count} events of {size} bytes for the queue {queue.record.name!r}; its limits "
                    f"are {queue.record.limit} events and {queue.limit_bytes} bytes. Nothing was published; "
                    "publish fewer subjects at a time"
                )
        reserved: _Reserved = []
        # In one order, so that no two publishers wait for each other.
        for queue, (count, size) in sorted(wanted.items(), key=lambda one: one[0].record.name):
            try:
                has_room = queue.reserve(count, size) or self._await_promise(queue, count, size)
            except BaseException:
                self._release(reserved)
                raise
            if has_room:
                reserved.append((queue, count, size))
        return reserved

    def _await_promise(self, queue: NamedQueue, count: int, size: int) -> bool:
        """Wait until there is room; False where the queue is gone meanwhile."""
        signal = hub.Signal()
        answers: list[bool] = []

        def settle(has_room: bool) -> None:
            answers.append(has_room)
            signal.set()

        if not queue.is_stalled:
            waiting = queue.wait(count, size, settle)
            self.blocked += 1
            until = time.monotonic() + self.block_seconds
            try:
                while not answers and (left := until - time.monotonic()) > 0 and not self.is_ending:
                    hub.wait_for(signal, (), min(left, LOOK_SECONDS))
                if not answers and not self.is_ending:
                    queue.give_up(waiting)
            except BaseException:
                if answers == [True]:
                    # The promise came while this publisher was given up.
                    queue.release(count, size)
                raise
            finally:
                self.blocked -= 1
                queue.withdraw(waiting)
            if not answers and self.is_ending:
                raise ServerBusyError("the event server is shutting down; the event was not published")
        if answers != [True] and not queue.is_removed:
            raise EventQueueFullError(
                f"the queue {queue.record.name!r} is full: {len(queue)} events are not acknowledged, there is "
                f"no room for {count} more, its limits are {queue.record.limit} events and {queue.limit_bytes} "
                "bytes; nothing was published. Take from it faster, or remove it"
            )
        return answers == [True]

    @staticmethod
    def _release(reserved: _Reserved) -> None:
        for queue, count, size in reserved:
            queue.release(count, size)

    # -- 3 and 4: keeping and distributing ---------------------------------------------------------------------

    def _settle(self, lasting: Lasting, records: list[EventRecord], reserved: _Reserved) -> None:
        """Wait until the events last; where they do not, it is as if they had never been."""
        try:
            lasting.settle()
        except StorageError:
            for record in records:
                if self._awaited.pop(record.sequence, None) is None:
                    return  # They last after all.
            self._release(reserved)
            raise
        except BaseException:
            # The publisher waits no more, but its events are on their way.
            hub.spawn_in(hub.current_state(), partial(self._settle_alone, lasting, records, reserved))
            raise

    def _settle_alone(self, lasting: Lasting, records: list[EventRecord], reserved: _Reserved) -> None:
        try:
            self._settle(lasting, records, reserved)
        except StorageError:
            pass  # Nobody is there any more who could be told.

    def _note_lasting(self, records: list[EventRecord]) -> None:
        """Called by the storage, from any thread."""
        if self._is_appending and hub.is_current(self._hub_state()):
            # From within `append`; `publish` goes on with them.
            self._due.extend(records)
        else:
            hub.run_in_hub_of(self._hub_state(), partial(self._take_due, records))

    def _take_due(self, records: list[EventRecord]) -> None:
        self._due.extend(records)
        self._distribute()

    def _hub_state(self) -> hub.HubState:
        assert self._state is not None
        return self._state

    def _distribute(self) -> None:
        """Put what is due into its boxes, without waiting; what is too much for that is left to a greenlet."""
        due, left = self._due, PUTS_AT_ONCE
        while due and not self._is_distributing:
            targets = self.index.find(due[0].subject)
            if targets is None or left <= 0:
                self._is_distributing = True
                hub.spawn_in(self._hub_state(), self._distribute_the_rest)
                return
            left -= len(targets) + 1
            self._put(due.popleft(), targets)

    def _distribute_the_rest(self) -> None:
        due, left = self._due, PUTS_AT_ONCE
        try:
            while due:
                # A pattern may have come since its publisher looked.
                targets = self._search(due[0].subject)
                left -= len(targets) + 1
                self._put(due.popleft(), targets)
                if left <= 0:
                    left = PUTS_AT_ONCE
                    hub.pause()
        finally:
            self._is_distributing = False

    def _put(self, record: EventRecord, targets: tuple[Target, ...]) -> None:
        publication, place = self._awaited.pop(record.sequence, (None, 0))
        if publication is None:
            publication = self._publication_of(record, targets)
        self.events += 1
        for queue in publication.queues[place]:
            queue.put(record)
        for target in targets:
            if isinstance(target, Mailbox) and not target.put(record):
                publication.block(target, record)
        self.distributed = record.sequence
        publication.left -= 1
        if not publication.left:
            publication.signal.set()

    @staticmethod
    def _publication_of(record: EventRecord, targets: tuple[Target, ...]) -> _Publication:
        """Return one for an event that nobody waits for any more: the disk took too long, but it took it."""
        queues = [target for target in targets if isinstance(target, NamedQueue)]
        for queue in queues:
            queue.reserve(1, record.size, always=True)
        publication = _Publication([queues])
        publication.is_abandoned = True
        return publication

    # -- 5: room in mailboxes ------------------------------------------------------------------------------------

    def _await_room(self, publication: _Publication) -> None:
        blocked = publication.blocked
        begun = time.monotonic()
        self.blocked += 1
        try:
            while waiting := [one for one in blocked if one.is_taken is None]:
                now = time.monotonic()
                late = [one for one in waiting if one.mailbox.block_seconds <= now - begun]
                if self.is_ending:
                    raise ServerBusyError(
                        f"the event server is shutting down; {len(waiting)} subscribers have no room for "
                        f"{waiting[0].record.subject!r}, all others have it"
                    )
                for one in late:
                    one.mailbox.give_up()
                if late:
                    continue
                left = min(one.mailbox.block_seconds for one in waiting) - (now - begun)
                hub.wait_for(publication.signal, (), min(left, LOOK_SECONDS))
        finally:
            self.blocked -= 1
            for one in blocked:
                one.mailbox.withdraw(one)
        missed = [one for one in blocked if not one.is_taken]
        if missed:
            self._take_turn_to_fail()
            raise EventQueueFullError(_tell_missed(missed))

    def _take_turn_to_fail(self) -> None:
        """Wait until nobody else fails: to make an error of each of 1,000 publishers holds the hub for 0.4 s."""
        now = time.monotonic()
        at, self._next_failure = self._next_failure, max(self._next_failure, now) + FAILURE_SECONDS
        if at > now:
            hub.sleep(at - now)


def _tell_missed(missed: list[Blocked]) -> str:
    mailboxes = list(dict.fromkeys(one.mailbox for one in missed))
    names = ", ".join(f"{mailbox.label} ({mailbox.limit} events)" for mailbox in mailboxes[:NAMED])
    more = "" if len(mailboxes) <= NAMED else f" and {len(mailboxes) - NAMED} more"
    seconds = max(mailbox.block_seconds for mailbox in mailboxes)
    count = "one subscriber" if len(mailboxes) == 1 else f"{len(mailboxes)} subscribers"
    return (
        f"{count} had no room for {missed[0].record.subject!r} within {seconds:g} s "
        f"(es_block_seconds): {names}{more}; all others have it. Nobody waits for these any more until they have "
        "dealt with half of what they have; what they miss meanwhile is counted"
    )
