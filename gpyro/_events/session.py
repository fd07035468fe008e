"""What one client link fetches: the entries of several boxes at one go, each event's message once.

A link is one thread's connection to the event server, shared by all its subscribers. It asks for what there is,
and waits where that is nothing. What was handed out and did not arrive goes out again when the link comes back and
says what it had (`Mailbox.rewind`).

    batch    [rows, groups, ended]
    rows     [sequence, subject, time, payload] of each event; of a reliable queue's the rest of its `Delivery` too
    groups   [entries, boxes]: for each of these boxes, in order, the numbers of rows; -n are n lost events, None
             an unknown number of them
    ended    [box, reason] of each subscription that the server has ended
"""

from __future__ import annotations

import time
import weakref
from collections import deque
from typing import Any, Protocol

from gpyro import hub
from gpyro._events.mailbox import Entry, Gap
from gpyro._events.namedqueue import Delivery
from gpyro.errors import ServerBusyError
from gpyro.eventrecords import EventRecord

__all__ = ["MAX_BOXES", "Batch", "Box", "Session"]

#: Most boxes of one link, so that going through them all stays a matter of a few ms.
MAX_BOXES = 10_000
#: What one batch holds at most: entries that a subscriber's program goes through in some 50 ms, and bytes of which
#: few batches fill a line.
MAX_ENTRIES, MAX_BATCH_BYTES = 20_000, 512 * 1024
#: Entries that one box gives at a time, so that the others of its link are not kept waiting.
MAX_ENTRIES_OF_ONE = 1_000

Batch = list[Any]


class Box(Protocol):
    """Something that a session takes entries from: a mailbox, or a reliable queue's consumer."""

    reader: Any
    #: True while the reader knows that there is something to take.
    is_listed: bool
    #: The number by which the link of its reader knows it.
    place: int

    def take(self, most: int, most_bytes: int, now: float) -> list[Any]:
        """Return entries to send."""
        ...

    def has_more(self) -> bool:
        """Tell whether `take` would return something."""
        ...


class Session:
    """One link's side at the server.

    Args:
        token: what the link shows to be let at it.
        identity: who its caller has proved to be.
        caller: the connection that it came over; a weak reference is kept.
    """

    def __init__(self, token: str, identity: str | None, caller: Any) -> None:
        self.token = token
        self.identity = identity
        self.boxes: dict[int, Box] = {}
        #: When it was last known to be there, on the monotonic clock.
        self.seen = time.monotonic()
        self._caller = weakref.ref(caller) if caller is not None else None
        self._next_number = 1
        self._ready: deque[Box] = deque()
        self._ended: list[tuple[int, str]] = []
        self._signal = hub.Signal()
        #: Counts fetches; one that is not the newest hands nothing out.
        self._fetches = 0
        self._waiting = False
        self._over = False
        #: True once its connection was gone, and what it had of reliable queues has gone to others.
        self.is_lost = False

    def __repr__(self) -> str:
        state = "over" if self._over else "waiting" if self._waiting else "busy" if self.is_there() else "away"
        return f"<Session of {len(self.boxes)} boxes, {len(self._ready)} ready, {state}>"

    # -- who is there ----------------------------------------------------------------------------------------

    def note_caller(self, caller: Any) -> None:
        """It was heard of, over this connection."""
        self.seen = time.monotonic()
        if self._caller is None or self._caller() is not caller:
            self._caller = weakref.ref(caller) if caller is not None else None
            self._give_up_fetch()

    def is_there(self) -> bool:
        """Tell whether its connection is open."""
        caller = None if self._caller is None else self._caller()
        return caller is not None and bool(caller.is_open())

    # -- boxes -----------------------------------------------------------------------------------------------

    def add(self, box: Box) -> int:
        """Let it be fetched from this box; return the number by which the link knows it."""
        if self.boxes.get(box.place) is not box:
            box.place = self._next_number
            self.boxes[box.place] = box
            self._next_number += 1
        if box.reader is not self:
            box.reader = self
            box.is_listed = False
        if not box.is_listed and box.has_more():
            box.is_listed = True
            self.ready(box)
        return box.place

    def remove(self, box: Box) -> None:
        """Fetch from it no more."""
        if self.boxes.get(box.place) is box:
            del self.boxes[box.place]
        self.leave_out(box)

    def leave_out(self, box: Box) -> None:
        """Take nothing out of this box until it is added again."""
        if box.reader is self:
            if box.is_listed:
                # Or it would be there twice when it comes again.
                self._ready.remove(box)
            box.reader = None
            box.is_listed = False

    def end_box(self, box: Box, reason: str) -> None:
        """The server has ended this subscription; the link hears why."""
        is_mine = self.boxes.get(box.place) is box
        self.remove(box)
        if is_mine:
            self._ended.append((box.place, reason))
            self._signal.set()

    def ready(self, box: Box) -> None:
        """There is something to take out of this box."""
        self._ready.append(box)
        if self._waiting:
            self._signal.set()

    # -- fetching --------------------------------------------------------------------------------------------

    def fetch(self, seconds: float) -> Batch:
        """Return what there is, and wait for at most `seconds` where that is nothing.

        An older call that still waits returns with nothing: its answer may go to a connection that is gone.
        """
        self._give_up_fetch()
        mine = self._fetches
        until = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            if mine != self._fetches:
                return [[], [], []]
            batch = self._gather(now)
            if batch[1] or batch[2] or now >= until:
                return batch
            if self._over:
                raise ServerBusyError("the event server ends, or has given this link up; connect again")
            self._waiting = True
            try:
                hub.wait_for(self._signal, (), until - now)
            finally:
                if mine == self._fetches:
                    self._waiting = False

    def is_used(self) -> bool:
        """Tell whether there is something that it is for: a box, or a question that waits."""
        return bool(self.boxes) or self._waiting

    def _give_up_fetch(self) -> None:
        """Have the question that waits, if there is one, come back empty-handed."""
        self._fetches += 1
        if self._waiting:
            self._waiting = False
            self._signal.set()

    def end(self) -> None:
        """Nobody is kept waiting any more: the server ends, or this link has gone."""
        self._over = True
        self._signal.set()

    def _gather(self, now: float) -> Batch:
        rows = _Rows()
        places_of = rows.places
        groups: dict[tuple[int | None, ...], list[int]] = {}
        left = MAX_ENTRIES
        ready, more = self._ready, list[Box]()
        while ready and left > 0 and rows.bytes < MAX_BATCH_BYTES:
            box = ready.popleft()
            if box.reader is not self:
                continue
            entries = box.take(min(left, MAX_ENTRIES_OF_ONE), MAX_BATCH_BYTES - rows.bytes, now)
            if not entries:
                continue
            left -= len(entries)
            # An event that others of this link got too is there already; nearly all are.
            places = tuple([
                places_of[entry.sequence] if type(entry) is EventRecord and entry.sequence in places_of
                else rows.add(entry) for entry in entries
            ])  # fmt: skip
            numbers = groups.get(places)
            if numbers is None:
                groups[places] = [box.place]
            else:
                numbers.append(box.place)
            if not box.is_listed and box.has_more():
                # Once in a batch: a second part could join a group that stands before the first.
                box.is_listed = True
                more.append(box)
        ready.extend(more)
        ended, self._ended = self._ended, []
        grouped = [[[*places], numbers] for places, numbers in groups.items()]
        return [rows.rows, grouped, [[*end] for end in ended]]


class _Rows:
    """The events of one batch."""

    __slots__ = ("bytes", "places", "rows")

    def __init__(self) -> None:
        self.rows: list[list[Any]] = []
        #: Sequence, and of a reliable queue's event the rest of its delivery: the number of its row.
        self.places: dict[Any, int] = {}
        self.bytes = 0

    def add(self, entry: Entry | Delivery) -> int | None:
        """Return the place of an entry, which is added if it is an event."""
        if isinstance(entry, Gap):
            return None if entry.count is None else -entry.count
        if isinstance(entry, EventRecord):
            record, more, key = entry, [], entry.sequence  # type: EventRecord, list[int], Any
        else:
            # Queues number their lanes each for itself, and consumers their failures.
            record, *more = entry
            key = (record.sequence, *more)
        place = self.places.get(key)
        if place is None:
            place = self.places[key] = len(self.rows)
            self.rows.append([record.sequence, record.subject, record.time, record.payload, *more])
            self.bytes += len(record.payload)
        return place
