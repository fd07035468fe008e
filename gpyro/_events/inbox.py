"""A subscriber's events in its own program: in which greenlets they are handled, and what is done.

Events are handled one after the other as long as the handler does not block; where it does, another worker goes on
with the next (`crew`), up to `limit` of them. With a limit of one they are strictly in order. Of a reliable queue,
events of one lane (one publisher and subject) are never handled side by side.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any

from gpyro._events.crew import Crew
from gpyro._events.event import Event

__all__ = ["Inbox"]

_log = logging.getLogger("gpyro.events")

#: A row of a batch, or how many events were lost there, negative; None is an unknown number.
Entry = Any


class _Work:
    """A handler at one lane of a queue, and what came for that lane meanwhile."""

    __slots__ = ("lane", "rows", "sequence")

    def __init__(self, lane: int, row: Entry) -> None:
        #: The number of the lane in the box that there is now; None where that is not known.
        self.lane: int | None = lane
        self.rows = deque([row])
        #: What is handled now; None where that is no event of this log any more.
        self.sequence: int | None = None


class Inbox:
    """What has come for one subscriber and is not dealt with yet.

    Args:
        handle: called with each event.
        tell_lost: called with the number of events that were lost before the next one, None if nobody knows it.
        note_done: called when there is something for `collect`.
        stop: called with an exception that ends the program and not only the handler.
        is_queue: whether these are events of a reliable queue.
    """

    def __init__(
        self, handle: Callable[[Event], object], tell_lost: Callable[[int | None], object],
        note_done: Callable[[], object], stop: Callable[[BaseException], object], is_queue: bool,
    ) -> None:  # fmt: skip
        self._handle = handle
        self._tell_lost = tell_lost
        self._note_done = note_done
        self._stop = stop
        self.is_queue = is_queue
        #: Most handlers at a time.
        self.limit = 1
        self.pending: deque[Entry] = deque()
        self.running = 0
        self.handled = 0
        self.failed = 0
        #: Highest sequence that has come.
        self.last = 0
        #: True while the crew knows that there is something to do.
        self.is_ready = False
        #: True while it is known that there is something for `collect`.
        self._is_noted = False
        self._crew: Crew | None = None
        #: Entries that came for the boxes before this one, that were begun, and of which all before are done.
        self._offset = 0
        self._taken = 0
        self._done = 0
        self._done_early: set[int] = set()
        #: Of a queue: counts the logs whose sequences these are; what was dealt with, and what failed.
        self.epoch = 0
        self._acknowledged: list[int] = []
        self._unable: list[list[int]] = []
        #: What came and is not done, by sequence, with who handles it; and who handles each lane.
        self._in_hand: dict[int, _Work | None] = {}
        self._lanes: dict[int, _Work] = {}
        #: How many events failed; and the lanes with a failure that the server may not know yet: which event that
        #: was, and its number among all failures, the lowest first.
        self._failures = 0
        self._failed: dict[int, tuple[int, int]] = {}

    def __repr__(self) -> str:
        state = "running" if self._crew is not None else "stopped"
        return f"<Inbox {state}, {len(self.pending)} pending, {self.running} running, {self.handled} handled>"

    @property
    def has_taken(self) -> bool:
        """Tell whether anything has ever come."""
        return bool(self._taken or self.pending)

    @property
    def received(self) -> int:
        """Entries that have come from this box."""
        return self._taken + len(self.pending) - self._offset

    # -- what comes ------------------------------------------------------------------------------------------

    def begin(self, crew: Crew, limit: int) -> None:
        """Let this crew handle what comes."""
        self._crew, self.limit = crew, limit
        self.arm()

    def end(self) -> None:
        """Begin with no more; what is pending stays, but that of a queue, which others get."""
        self._crew = None
        if self.is_queue:
            self.pending.clear()
            self._failed.clear()
            self._in_hand = {sequence: work for sequence, work in self._in_hand.items() if work is not None}
            for work in self._lanes.values():
                work.rows.clear()

    def begin_anew(self) -> None:
        """The server sends all again that is not done, in order; so what failed needs no mark any more."""
        self._failed.clear()
        self._unable = []

    def take(self, entries: list[Entry]) -> None:
        """Entries have come."""
        if self.is_queue:
            # What goes out again while its handler still runs is not handled twice.
            entries = [row for row in entries if not self._is_in_hand(row) and self._is_in_order(row)]
            self._in_hand.update(dict.fromkeys([row[0] for row in entries]))
        self.pending.extend(entries)
        for row in reversed(entries):
            if type(row) is list:
                self.last = max(self.last, row[0])
                break
        self.arm()

    def _is_in_hand(self, row: Entry) -> bool:
        """Tell whether an event has gone out again while it waits here, or its handler still runs."""
        work = self._in_hand.get(row[0])
        if work is not None and work.lane is None:
            # Its handler began with it when the box was another one.
            work.lane = row[5]
            self._lanes[row[5]] = work
        return row[0] in self._in_hand

    def _is_in_order(self, row: Entry) -> bool:
        """Tell whether an event may be handled: not one that was sent before the server knew of a failure in its
        lane before it.

        The one that failed goes out again, and then those behind it.
        """
        failed, heard = self._failed, row[6]
        while failed and next(iter(failed.values()))[1] <= heard:
            del failed[next(iter(failed))]
        mark = failed.get(row[5])
        return mark is None or row[0] <= mark[0]

    def change_box(self, last: int, is_same_log: bool) -> None:
        """The server has made a new box, in which counting begins anew; what is pending came from the old one.

        Of a queue what is not begun comes again. Lanes have other numbers, and in another log events too: then
        nothing that is under way is told, as its number is another event's.
        """
        self.last = last
        if self.is_queue:
            self._drop_what_is_not_begun(is_same_log)
        self._offset = self._taken + len(self.pending)

    def _drop_what_is_not_begun(self, is_same_log: bool) -> None:
        self.pending.clear()
        self._failed.clear()
        begun = {work for work in (*self._lanes.values(), *self._in_hand.values()) if work is not None}
        self._lanes.clear()
        self._in_hand.clear()
        for work in begun:
            work.lane = None
            work.rows.clear()
            if not is_same_log:
                work.sequence = None
            elif work.sequence is not None:
                self._in_hand[work.sequence] = work
        self._unable = []
        self._failures = 0
        if not is_same_log:
            self._acknowledged = []
            self.epoch += 1

    # -- handling --------------------------------------------------------------------------------------------

    def arm(self) -> None:
        """Tell the crew if there is something to do."""
        if not self.is_ready and self.pending and self._crew is not None and self.running < self.limit:
            self.is_ready = True
            self._crew.add(self)

    def work(self, crew: Crew, turn: int) -> bool:
        """Handle one after another, until the turn is over; False when something was thrown at this greenlet."""
        deal = self._deal_in_lane if self.is_queue else self._deal
        pending = self.pending
        while pending and self._crew is crew and self.running < self.limit:
            self.running += 1
            try:
                usable = deal(pending.popleft())
            finally:
                self.running -= 1
            if not usable or crew.is_over(turn):
                return usable
        return True

    def _deal(self, entry: Entry) -> bool:
        index = self._taken
        self._taken += 1
        if type(entry) is list:
            outcome = self._call(self._handle, Event.received(entry[1], entry[3], entry[2], entry[0]))
        else:
            outcome = self._call(self._tell_lost, None if entry is None else -entry)
        if index == self._done:
            self._done += 1
            while self._done in self._done_early:
                self._done_early.discard(self._done)
                self._done += 1
            self._note()
        else:
            self._done_early.add(index)
        return outcome is not _THROWN

    def _deal_in_lane(self, row: Entry) -> bool:
        """Handle an event of a reliable queue, and those of its lane that came meanwhile."""
        self._taken += 1
        lane = row[5]
        work = self._lanes.get(lane)
        if work is not None:
            work.rows.append(row)
            return True
        work = self._lanes[lane] = _Work(lane, row)
        outcome = None
        try:
            while work.rows:
                row = work.rows.popleft()
                work.sequence = row[0]
                self._in_hand[row[0]] = work
                outcome = self._call(self._handle, Event.received(row[1], row[3], row[2], row[0], row[4]))
                if work.sequence is None:
                    continue  # Another event has that number by now.
                work.sequence = None
                self._in_hand.pop(row[0], None)
                if outcome is None:
                    self._acknowledged.append(row[0])
                else:
                    self._failures += 1
                    # Lanes are counted from 1; of one whose number is not known nothing else has come.
                    self._unable.append([row[0], work.lane or 0])
                    if work.lane is not None:
                        # It goes out again, and all of its lane that comes after it.
                        self._failed.pop(work.lane, None)
                        self._failed[work.lane] = (row[0], self._failures)
                        self._forget_lane(work.lane, work.rows)
                self._note()
                if self._crew is None:
                    work.rows.clear()  # Others get them.
        finally:
            if work.lane is not None and self._lanes.get(work.lane) is work:
                del self._lanes[work.lane]
        return outcome is not _THROWN

    def _forget_lane(self, lane: int, behind: deque[Entry]) -> None:
        dropped = [*behind, *(row for row in self.pending if row[5] == lane)]
        behind.clear()
        if dropped:
            kept = [row for row in self.pending if row[5] != lane]
            # In place: a worker may be in the middle of it.
            self.pending.clear()
            self.pending.extend(kept)
            for row in dropped:
                self._in_hand.pop(row[0], None)

    def _call(self, function: Callable[..., object], argument: object) -> object:
        """Run a method of the subscriber; None if it returned."""
        try:
            Context().run(function, argument)
        except Exception as exc:
            self.failed += 1
            _log.error("%r failed in a subscriber: %s: %s", argument, type(exc).__name__, exc, exc_info=True)
            return exc
        except (KeyboardInterrupt, SystemExit) as exc:
            self._stop(exc)
            return _THROWN
        except BaseException as exc:
            # Something was thrown at this greenlet, which is not used again.
            self.failed += 1
            _log.error("%r was given up in a subscriber: %r", argument, exc)
            return _THROWN
        self.handled += 1
        return None

    # -- what is done ----------------------------------------------------------------------------------------

    def _note(self) -> None:
        if not self._is_noted:
            self._is_noted = True
            self._note_done()

    def collect(self) -> list[Any]:
        """Return what the server is to be told: how many entries are done; of a queue what is done, what failed,
        and how many failures that makes."""
        self._is_noted = False
        if not self.is_queue:
            return [max(self._done - self._offset, 0)]
        done, unable = self._acknowledged, self._unable
        self._acknowledged, self._unable = [], []
        return [done, unable, self._failures]

    def restore(self, what: list[Any]) -> None:
        """The server has not been told, perhaps; tell it again."""
        if self.is_queue:
            self._acknowledged[:0], self._unable[:0] = what[:2]


_THROWN = object()
