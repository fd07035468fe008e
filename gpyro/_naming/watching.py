"""What happened to the names lately, and who waits to hear of it: the log of a name server and its long polls.

A storage tells of its changes from any thread, with its lock held; there an event is only appended, and those who
wait for it are woken. Who waits stands under the full name of the group that he watches, so an event finds its
watchers by the groups that it stands in, however many others there are.

A place in the log is `<id of the log>:<number of the next event>`. The id is another one in every process, and
the log is bounded, so that a watcher who comes from elsewhere or too late hears "reset": list again.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from gpyro import hub
from gpyro.errors import ServerBusyError
from gpyro.namerecords import Change, Changes, Record
from gpyro.names import GROUP, LEASE, ROOT, split_name

__all__ = [
    "ALIVE", "CHANGED", "CREATED", "DELETED", "KINDS", "MAX_WAIT_SECONDS", "REGISTERED", "RESET", "STALE",
    "UNREGISTERED", "EventLog", "EventRows", "NameEvent",
]  # fmt: skip

REGISTERED, CHANGED, UNREGISTERED = "registered", "changed", "unregistered"
CREATED, DELETED = "created", "deleted"
STALE, ALIVE = "stale", "alive"
RESET = "reset"
#: All there are: of objects, of groups (which have "changed" too), of leases, and of the log itself.
KINDS = (REGISTERED, CHANGED, UNREGISTERED, CREATED, DELETED, STALE, ALIVE, RESET)

#: Events that are remembered: 10 s of 1,000 changes a second, for a watcher that has to connect again; some MB.
MAX_EVENTS = 10_000
#: Addresses in all these events: a name may have 256 of them, and memory counts them, not names.
MAX_ADDRESSES = 100_000
#: Events and addresses in one answer: some 100 KB and few ms of the hub; the rest comes with the next.
MAX_EVENTS_AT_ONCE, MAX_ADDRESSES_AT_ONCE = 1_000, 10_000
#: Calls that wait at once, each with its greenlet; beyond it callers are asked to try again later.
MAX_WATCHERS = 1_000
#: Longest wait of one call. A watcher asks again and again; one that is gone is not kept for longer.
MAX_WAIT_SECONDS = 60.0
#: How often a call that waits looks whether its daemon ends, so that the end is not held up.
LOOK_SECONDS = 0.4

#: Bytes of the random id of a log: nobody meets the one of another process.
ID_BYTES = 8


class NameEvent(NamedTuple):
    """Something that happened to a name.

    `kind` is one of `KINDS`, `name` a full name, `uris` its addresses as text, in order: those that it had, where
    it is "unregistered". `time` is the server's, in seconds since 1970. The name of a "reset" is the group that
    is watched: some events are lost, so list again.
    """

    kind: str
    name: str
    uris: list[str]
    time: float


#: Events as they travel.
EventRows = list[tuple[str, str, list[str], float]]


class _Waiter:
    """A call that waits for an event at or under a group."""

    __slots__ = ("group", "signal", "start", "state")

    def __init__(self, group: str, start: int) -> None:
        self.group = group
        #: Number of the first event that was not looked at; once woken, of the one that woke it.
        self.start = start
        self.state = hub.current_state()
        self.signal = hub.Signal()

    def wake(self) -> None:
        """Have it look at the log; safe from any thread."""
        hub.run_in_hub_of(self.state, self.signal.set)


class EventLog:
    """The events of one name server; safe from any thread.

    Args:
        is_ending: tells whether the server ends, so that nobody may be kept waiting; asked now and then.
    """

    def __init__(self, is_ending: Callable[[], bool] = lambda: False) -> None:
        self.id = os.urandom(ID_BYTES).hex()
        self._is_ending = is_ending
        #: Held for a few lines that never wait; taken with a storage's lock held, and never the other way round.
        self._lock = hub.NativeLock()
        self._events: deque[NameEvent] = deque()
        self._addresses = 0
        #: Number of the next event.
        self._next = 0
        #: Group: who waits for something there. Who was woken is not in it any more.
        self._waiting: dict[str, set[_Waiter]] = {}
        #: Calls that wait, woken or not.
        self.watchers = 0

    def __repr__(self) -> str:
        return f"<EventLog {len(self._events)} of {self._next} events, {self.watchers} watchers>"

    # -- what happens ----------------------------------------------------------------------------------------

    def note_changes(self, changes: Changes) -> None:
        """Take in what a storage changed, as its listener; leases are no names."""
        now = time.time()
        # Of a group with more names than are remembered, the last ones are enough.
        dropped = max(len(changes) - MAX_EVENTS, 0)
        events = [event for change in changes[dropped:] for event in _events_of(change, now)]
        self._append(events, dropped)

    def note(self, kind: str, names: Iterable[str] | Mapping[str, Sequence[str]]) -> None:
        """Take in what happened to names, without addresses or as {full name: addresses}."""
        now = time.time()
        addresses = names if isinstance(names, Mapping) else {}
        self._append([NameEvent(kind, name, [*addresses.get(name, ())], now) for name in names])

    def _append(self, events: Sequence[NameEvent], dropped: int = 0) -> None:
        woken: set[_Waiter] = set()
        with self._lock:
            if dropped:
                self._events.clear()
                self._addresses = 0
                self._next += dropped
            for event in events:
                self._events.append(event)
                self._addresses += len(event.uris)
                if self._waiting:
                    self._find_waiters(event.name, woken)
                self._next += 1
            while len(self._events) > MAX_EVENTS or self._addresses > MAX_ADDRESSES:
                self._addresses -= len(self._events.popleft().uris)
        for waiter in woken:
            waiter.wake()

    def _find_waiters(self, name: str, woken: set[_Waiter]) -> None:
        """Take those out who wait for something at a name or a group that it stands in."""
        while True:
            found = self._waiting.pop(name, None)
            if found:
                for waiter in found:
                    waiter.start = self._next
                woken |= found
            if name == ROOT:
                return
            name = split_name(name)[0]

    # -- who hears of it -------------------------------------------------------------------------------------

    def changes(
        self, group: str, cursor: str | None, seconds: float, may_see: Callable[[str], bool] = lambda name: True
    ) -> tuple[str, list[NameEvent]]:
        """Return what happened at or under a group since a cursor, and the next cursor; wait where it is nothing.

        Args:
            group: a full name; it need not be there (yet).
            cursor: what the last call returned; None begins now, and returns at once.
            seconds: how long to wait at most, and never longer than MAX_WAIT_SECONDS; 0 only looks.
            may_see: tells of which full names the caller may hear.

        Returns:
            The cursor and a bounded number of events, none when the time is over or the server ends; more may
            be there already for the next call.

        Raises:
            ValueError: this can be no cursor, or the seconds are none.
            ServerBusyError: too many wait already.
        """
        if not (isinstance(seconds, (int, float)) and seconds >= 0):
            raise ValueError(f"seconds={seconds!r}; a time to wait is a number, 0 or more")
        start = self._start_of(cursor)
        if start is None:
            return self._begin(group, lost=cursor is not None)
        until = time.monotonic() + min(seconds, MAX_WAIT_SECONDS)
        while True:
            page = self._page(group, start, may_see)
            if page is None:
                return self._begin(group, lost=True)
            start, events = page
            if events or time.monotonic() >= until or self._is_ending():
                return self._cursor(start), events
            start = self._wait(group, start, until)

    def _begin(self, group: str, lost: bool) -> tuple[str, list[NameEvent]]:
        with self._lock:
            return self._cursor(self._next), [NameEvent(RESET, group, [], time.time())] if lost else []

    def _cursor(self, number: int) -> str:
        return f"{self.id}:{number}"

    def _start_of(self, cursor: str | None) -> int | None:
        """Return the number of the event that a cursor is before; None where it is none of this log's.

        Raises:
            ValueError: it is no cursor at all.
        """
        if cursor is None:
            return None
        log, colon, number = cursor.rpartition(":") if isinstance(cursor, str) else ("", "", "")
        if not colon or not (number.isascii() and number.isdecimal() and len(number) < 20):
            raise ValueError(f"cursor={str(cursor)[:60]!r} is none; give the one of the last answer, or None")
        return int(number) if log == self.id and int(number) <= self._next else None

    def _page(
        self, group: str, start: int, may_see: Callable[[str], bool]
    ) -> tuple[int, list[NameEvent]] | None:
        """Return the number to go on from and a page of events; None where some are not remembered any more."""
        with self._lock:
            wanted = self._next - start
            if wanted > len(self._events):
                return None
            # From the end, where most watchers are.
            events = [*islice(reversed(self._events), wanted)][::-1]
        below = ROOT if group == ROOT else group + "."
        found: list[NameEvent] = []
        addresses = 0
        for number, event in enumerate(events, start):
            if (event.name.startswith(below) or event.name == group) and may_see(event.name):
                found.append(event)
                addresses += len(event.uris)
                if len(found) == MAX_EVENTS_AT_ONCE or addresses >= MAX_ADDRESSES_AT_ONCE:
                    return number + 1, found
        return start + len(events), found

    def _wait(self, group: str, start: int, until: float) -> int:
        """Wait until something happens there, the time is over or the server ends; return where to look on."""
        waiter = _Waiter(group, start)
        with self._lock:
            if self.watchers >= MAX_WATCHERS:
                raise ServerBusyError(
                    f"{self.watchers} callers wait for changes of names, limit is {MAX_WATCHERS}; try again later"
                )
            if start != self._next:
                return start
            self._waiting.setdefault(group, set()).add(waiter)
            self.watchers += 1
        try:
            while True:
                left = until - time.monotonic()
                hub.wait_for(waiter.signal, (), min(max(left, 0.0), LOOK_SECONDS))
                if left <= LOOK_SECONDS or self._is_ending() or not self._is_waiting(waiter):
                    break
        finally:
            with self._lock:
                self.watchers -= 1
                if self._forget(waiter):
                    # Nothing happened there, whatever happened elsewhere.
                    waiter.start = self._next
        return waiter.start

    def _is_waiting(self, waiter: _Waiter) -> bool:
        with self._lock:
            return waiter in self._waiting.get(waiter.group, ())

    def _forget(self, waiter: _Waiter) -> bool:
        """Take a waiter out; tell whether it was still there, so that nothing has woken it."""
        others = self._waiting.get(waiter.group)
        if others is None or waiter not in others:
            return False
        others.discard(waiter)
        if not others:
            del self._waiting[waiter.group]
        return True


def _events_of(change: Change, now: float) -> list[NameEvent]:
    """Return the events of one change; two where an object took a group's place or the other way round."""
    before, after = change.before, change.after
    known: Any = after if before is None else before
    if known is None or known.kind == LEASE:
        return []
    if before is not None and after is not None and before.kind == after.kind:
        return [_event(CHANGED, CHANGED, after, now)]
    gone = [] if before is None else [_event(DELETED, UNREGISTERED, before, now)]
    come = [] if after is None else [_event(CREATED, REGISTERED, after, now)]
    return gone + come


def _event(of_group: str, of_object: str, record: Record, now: float) -> NameEvent:
    kind = of_group if record.kind == GROUP else of_object
    return NameEvent(kind, record.name, [member.uri for member in record.members], now)
