"""One thread's connection to one event server: it fetches for all subscribers that listen there.

Asks for what there is, and waits at the server where that is nothing; so it works with no port open on this side,
and through whatever stands in between. A server that is lost is tried again for ever. One that does not know a
subscriber any more makes it a new box, with what is left of the events since the last one that came.
"""

from __future__ import annotations

import logging
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

from gpyro import hub
from gpyro._events.crew import Crew
from gpyro.context import deadline
from gpyro.errors import (
    AccessDeniedError,
    ConnectionDeniedError,
    EventError,
    EventQueueFullError,
    PatternError,
    PyroError,
    ServerBusyError,
    StorageError,
)

if TYPE_CHECKING:
    from gpyro._events.finding import Contact
    from gpyro._events.subscription import Subscription

__all__ = ["Link"]

#: Seconds that one question waits at the server: few questions, and none that a middlebox would take for idle.
POLL_SECONDS = 25.0
#: How much longer an answer may take before the server counts as lost.
GRACE_SECONDS = 10.0
#: What other questions may take.
CALL_SECONDS = 30.0
#: Between two tries to reach a lost server: from the first to the last, doubled each time.
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 0.1, 2.0
#: Between two tries to make a box again that the server has no room for, in the same way.
FIRST_REOPEN_SECONDS, LAST_REOPEN_SECONDS = 0.5, 30.0
#: Boxes that are attached in one call.
ATTACHED_AT_ONCE = 500

_log = logging.getLogger("gpyro.events")


#: Who has told something, in which epoch of its inbox, and what.
_Mark = tuple["Subscription", int, list[Any]]


class _Closed(BaseException):
    """Thrown into the greenlet that asks the server when nobody listens any more."""


class Link:
    """Fetches for the subscribers of one hub at one server; `Link.of` makes it or returns the one there is.

    Resources: its greenlet ends when the last subscriber leaves. The connection is the contact's; as long as that
    is open the server keeps what it has of the link.
    Errors: what cannot be mended by trying again goes to all subscribers.
    """

    def __init__(self, state: hub.HubState, contact: Contact) -> None:
        self.crew = Crew(state)
        self._state = state
        self._contact = contact
        self._es: Any = None
        self._token: str | None = None
        self._greenlet: Any = None
        #: Who listens; by the number of its box once that is attached.
        self._members: dict[Subscription, int | None] = {}
        self._by_number: dict[int, tuple[Subscription, str | None]] = {}
        #: Who has something to tell the server.
        self._dirty: dict[Subscription, None] = {}
        #: For whom `attach` is under way, and who has to wait for that: until when, and how long for.
        self._attaching: set[Subscription] = set()
        self._put_off: dict[Subscription, tuple[float, float]] = {}
        #: What the question tells while it is under way.
        self._told: list[list[Any]] = []
        self._waiting = False
        self._flush_armed = False
        self._lost = False

    def __repr__(self) -> str:
        state = "idle" if self._greenlet is None else "server is lost" if self._lost else "fetching"
        return f"<Link of {len(self._members)} subscribers, {state}>"

    @classmethod
    def of(cls, contact: Contact) -> Link:
        """Return this thread's link to an event server."""
        state, key = hub.current_state(), (contact.key, hub.fork_epoch())
        links = _links.setdefault(state, {})
        link = links.get(key)
        if link is None:
            link = links[key] = cls(state, contact)
        return link

    # -- subscribers -----------------------------------------------------------------------------------------

    def add(self, member: Subscription) -> None:
        """Fetch for this one too."""
        self._members[member] = None
        if self._greenlet is None:
            self._greenlet = True
            hub.spawn_in(self._state, self._run)
        else:
            self._attach_beside()

    def remove(self, member: Subscription) -> None:
        """Fetch for it no more."""
        if member in self._dirty:
            self._flush()
        if self._told:
            # The question that carries it may be taken back before the server has looked at it.
            self._tell("note_done", self._token, self._told)
        number = self._members.pop(member, None)
        if number is not None:
            self._by_number.pop(number, None)
            if member.token is not None:
                self._tell("detach", self._token, member.token)
        self._dirty.pop(member, None)
        self._put_off.pop(member, None)
        if not self._members:
            self._interrupt()

    def renew(self, member: Subscription) -> None:
        """Its box is another one now; from any thread."""
        hub.run_in_hub_of(self._state, partial(self._renew, member))

    def _renew(self, member: Subscription) -> None:
        if member not in self._members:
            return
        number = self._members[member]
        if number is not None:
            if self._by_number.get(number, (None, None))[1] == member.token:
                return
            self._by_number.pop(number, None)
            self._members[member] = None
        self._put_off.pop(member, None)
        hub.spawn_in(self._state, self._attach_beside)

    def note(self, member: Subscription) -> None:
        """It has something to tell the server."""
        self._dirty[member] = None
        if self._waiting and not self._flush_armed:
            # Together with what else is done in this turn of the loop.
            self._flush_armed = True
            self._state.soon(self._flush)

    def _interrupt(self) -> None:
        """Have the greenlet look at its subscribers again."""
        if self._waiting and self._greenlet not in (None, True):
            self._waiting = False
            self._state.soon(self._throw, self._greenlet)

    @staticmethod
    def _throw(greenlet: Any) -> None:
        if not greenlet.dead:
            greenlet.throw(_Closed())

    # -- fetching --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._greenlet = hub.getcurrent()
        retry_seconds, is_strange = FIRST_RETRY_SECONDS, False
        try:
            while self._members:
                try:
                    self._turn()
                    retry_seconds, is_strange = FIRST_RETRY_SECONDS, False
                    continue
                except _Closed:
                    # An answer may have been on its way.
                    self._unattach()
                    continue
                except EventError:
                    # It has begun anew, or has forgotten us.
                    self._close()
                    if not is_strange:
                        is_strange = True
                        continue
                except PyroError as exc:
                    if _is_final(exc):
                        self._fail_all(exc)
                        return
                    self._note_lost(exc)
                hub.sleep(retry_seconds)
                retry_seconds = min(retry_seconds * 2, LAST_RETRY_SECONDS)
            self._close()
        except _Closed:
            self._close()
        except Exception as exc:
            self._fail_all(exc)
            raise
        finally:
            self._greenlet = None
            self._forget()
            self._es = None
            if self._members:
                # Somebody came while this one ended.
                self._greenlet = True
                hub.spawn_in(self._state, self._run)
            else:
                _links.get(self._state, {}).pop((self._contact.key, hub.fork_epoch()), None)

    def _turn(self) -> None:
        self._es = self._contact.es
        with deadline(CALL_SECONDS):
            if self._token is None:
                self._token = self._es.open_link()
            self._attach()
        # It has answered, so it can be told things from here on.
        self._lost = False
        told, marks = self._collect()
        self._told = told
        self._waiting = True
        try:
            with deadline(POLL_SECONDS + GRACE_SECONDS):
                batch = self._es.fetch(self._token, told, POLL_SECONDS)
        except BaseException:
            self._restore(marks)
            raise
        finally:
            self._waiting = False
            self._told = []
        self._take(*batch)
        # Handlers that do not block are done when this returns, so the next question carries that.
        hub.sleep(0)

    def _attach(self) -> None:
        """Have the server let us fetch for those who are new; for some another greenlet may be at that."""
        while True:
            now = time.monotonic()
            new = [
                member for member, number in self._members.items()
                if number is None and member not in self._attaching and self._put_off.get(member, (0, 0))[0] <= now
            ]  # fmt: skip
            some = new[:ATTACHED_AT_ONCE]
            if not some:
                return
            self._attaching.update(some)
            try:
                self._attach_some(some)
            finally:
                self._attaching.difference_update(some)

    def _attach_beside(self) -> None:
        """Attach while a question waits; before one is asked, the greenlet sees to that by itself."""
        if self._waiting:
            try:
                with deadline(CALL_SECONDS):
                    self._attach()
            except PyroError:
                # The greenlet sees to that, which is told of it too.
                self._interrupt()

    def _attach_some(self, some: list[Subscription]) -> None:
        """Attach those that have a box first; to make one may take long."""
        self._attach_boxes([member for member in some if member.token is not None])
        self._attach_boxes([member for member in some if member.token is None and self._reopen(member)])

    def _attach_boxes(self, some: list[Subscription]) -> None:
        if not some:
            return
        token = self._token
        boxes = [[member.token, member.inbox.received, member.inbox.limit] for member in some]
        numbers = self._es.attach(token, boxes)
        if token != self._token:
            return
        self._lost = False
        for member, (box, _, _), number in zip(some, boxes, numbers, strict=True):
            if member.token != box:
                continue  # It has another one by now.
            if number is None:
                member.token = None
            elif isinstance(number, str):
                self._give_up(member, EventError(number))
            elif member in self._members:
                member.inbox.begin_anew()
                self._members[member] = number
                self._by_number[number] = member, box
                self._dirty[member] = None
            else:
                # It has stopped listening meanwhile.
                self._tell("detach", token, box)

    def _reopen(self, member: Subscription) -> bool:
        """Have the server make a box again for one whose box it has forgotten; others are not kept from theirs."""
        try:
            if not member.reopen(self._es):
                # Its program makes it one, and tells by `renew`; or fails with that.
                self._try_later(member, FIRST_REOPEN_SECONDS)
                return False
        except (ServerBusyError, StorageError) as exc:
            seconds = self._put_off.get(member, (0.0, FIRST_REOPEN_SECONDS / 2))[1] * 2
            seconds = min(seconds, LAST_REOPEN_SECONDS)
            _log.warning("%r has no place at the event server; next try in %g s: %s", member, seconds, exc)
            self._try_later(member, seconds)
            return False
        except (EventError, PatternError, AccessDeniedError) as exc:
            self._give_up(member, exc)
            return False
        self._put_off.pop(member, None)
        return True

    def _try_later(self, member: Subscription, seconds: float) -> None:
        self._put_off[member] = time.monotonic() + seconds, seconds
        self._state.later(seconds, partial(hub.spawn_in, self._state, self._attach_beside))

    def _give_up(self, member: Subscription, exc: Exception) -> None:
        self._members.pop(member, None)
        member.end_with(exc)

    def _take(self, rows: list[Any], groups: list[Any], ended: list[Any]) -> None:
        for places, numbers in groups:
            entries = [place if place is None or place < 0 else rows[place] for place in places]
            for number in numbers:
                member = self._member(number)
                if member is not None:
                    member.inbox.take(entries)
        for number, reason in ended:
            member = self._member(number)
            if member is not None:
                member.end_with((EventError if member.inbox.is_queue else EventQueueFullError)(reason))

    def _member(self, number: int) -> Subscription | None:
        """Return whose box has this number, if it is still that."""
        known = self._by_number.get(number)
        return known[0] if known is not None and known[0].token == known[1] else None

    # -- what is done ----------------------------------------------------------------------------------------

    def _collect(self) -> tuple[list[list[Any]], list[_Mark]]:
        """Return what is done, boxes that have done the same number of entries together, and whose it is."""
        dirty, self._dirty = self._dirty, {}
        told: list[list[Any]] = []
        marks: list[_Mark] = []
        together: dict[int, list[int]] = {}
        for member in dirty:
            number = self._members.get(member)
            if number is None:
                continue
            what = member.inbox.collect()
            marks.append((member, member.inbox.epoch, what))
            if len(what) == 1 and what[0] in together:
                together[what[0]].append(number)
                continue
            numbers = [number]
            told.append([numbers, *what])
            if len(what) == 1:
                together[what[0]] = numbers
        return told, marks

    def _restore(self, marks: list[_Mark]) -> None:
        for member, epoch, what in marks:
            if member in self._members and member.inbox.epoch == epoch:
                member.inbox.restore(what)
                self._dirty[member] = None

    def _flush(self) -> None:
        self._flush_armed = False
        told, marks = self._collect()
        if told and not self._tell("note_done", self._token, told):
            self._restore(marks)

    def _tell(self, method: str, *args: Any) -> bool:
        """Call something at the server that nobody waits for; False where that is not possible now."""
        if self._es is None or self._token is None or self._lost:
            return False
        try:
            getattr(self._es, method)(*args)
        except PyroError:
            return False
        return True

    # -- trouble ---------------------------------------------------------------------------------------------

    def _close(self) -> None:
        """End this link; the server need not keep what it has of it."""
        self._tell("close_link", self._token)
        self._forget()

    def _forget(self) -> None:
        self._token = None
        self._unattach()

    def _unattach(self) -> None:
        self._by_number.clear()
        for member in self._members:
            self._members[member] = None

    def _note_lost(self, exc: PyroError) -> None:
        """The connection is gone: the boxes are still there, perhaps, but what was under way may be lost."""
        self._unattach()
        if not self._lost:
            self._lost = True
            _log.warning("the event server is lost, trying again: %s", exc)
        self._contact.forget()

    def _fail_all(self, exc: Exception) -> None:
        for member in list(self._members):
            member.end_with(exc)


def _is_final(exc: PyroError) -> bool:
    """Tell whether trying again is of no use."""
    if isinstance(exc, ConnectionDeniedError):
        return exc.code == ConnectionDeniedError.SECURITY
    return isinstance(exc, AccessDeniedError)


_links: weakref.WeakKeyDictionary[hub.HubState, dict[object, Link]] = weakref.WeakKeyDictionary()
