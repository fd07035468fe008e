"""What a Subscriber has behind it: its box at the server, what it has subscribed to, and the wait in `listen`."""

from __future__ import annotations

import logging
import os
import platform
import time
from collections.abc import Callable
from typing import Any

from gpyro import hub
from gpyro._events.event import Event
from gpyro._events.finding import Contact
from gpyro._events.inbox import Inbox
from gpyro._events.link import Link
from gpyro._events.subjects import fold, subjects_of
from gpyro.errors import EventError

__all__ = ["Subscription"]

_log = logging.getLogger("gpyro.events")

#: Longest wait in one piece.
MAX_WAIT_SECONDS = 3600.0


class Subscription:
    """One subscriber's box, and what is needed to make it again.

    Args:
        contact: the event server.
        options: see `gpyro._events.options`.
        history: so many of the last events come first.
        handle, tell_lost: what to call with events, and with the number of those that were lost.
    """

    def __init__(
        self, contact: Contact, options: dict[str, Any], history: int, handle: Callable[[Event], object],
        tell_lost: Callable[[int | None], object],
    ) -> None:  # fmt: skip
        self.contact = contact
        self.token: str | None = None
        self.inbox = Inbox(handle, tell_lost, self._note_done, self.end_with, options.get("queue") is not None)
        self._options = {"label": f"process {os.getpid()} on {platform.node()}", **options}
        self._history = history
        #: Folded subject: as given. Patterns in order.
        self._subjects: dict[str, str] = {}
        self._patterns: dict[str, None] = {}
        self._log = ""
        #: The program and its link may want to make or change the box at the same time.
        self._box_changes = hub.Turns()
        self._link: Link | None = None
        self._state: hub.HubState | None = None
        self._signal = hub.Signal()
        self._error: BaseException | None = None
        self._over = False

    def __repr__(self) -> str:
        state = "idle" if self._link is None else "listening"
        return f"<Subscription to {len(self._subjects)} subjects, {len(self._patterns)} patterns, {state}>"

    @property
    def es(self) -> Any:
        """A proxy for the event server."""
        return self.contact.es

    # -- subjects --------------------------------------------------------------------------------------------

    def select(self, subjects: Any, patterns: Any) -> None:
        """Subscribe to these."""
        names, texts = subjects_of(subjects), subjects_of(patterns, "pattern")
        if not names and not texts:
            return
        with self._box_changes:
            if self.token is None and not self._subjects and not self._patterns:
                self._open(self.es, names, texts, None, self._history)
            else:
                self._ask("select", names, texts, self._history)
            self._subjects.update({fold(name): name for name in names})
            self._patterns.update(dict.fromkeys(texts))

    def deselect(self, subjects: Any) -> None:
        """Unsubscribe from these, each the exact subject if there is one, else the pattern."""
        names = subjects_of(subjects)
        with self._box_changes:
            if not names or not (self._subjects or self._patterns):
                return
            self._ask("deselect", names)
            for name in names:
                if self._subjects.pop(fold(name), None) is None:
                    self._patterns.pop(name, None)

    def _ask(self, method: str, *args: Any) -> None:
        """Have the server do something with the box, which is made again where it is not there (any more)."""
        if self.token is None:
            self._reopen(self.es)
        try:
            getattr(self.es, method)(self.token, *args)
        except EventError:
            if not self._is_forgotten():
                raise
            self._reopen(self.es)
            getattr(self.es, method)(self.token, *args)

    def _is_forgotten(self) -> bool:
        """Tell whether the server has no such box any more."""
        try:
            self.es.select(self.token)
        except EventError:
            return True
        return False

    def reopen(self, es: Any) -> bool:
        """Have the server make a box again if there is none, with what came since the last event, as far as it
        still has that; False where the program is about to do so."""
        if not self._box_changes.try_enter():
            return False
        try:
            if self.token is None:
                self._reopen(es)
        finally:
            self._box_changes.leave()
        return True

    def _reopen(self, es: Any) -> None:
        since: list[Any] | None = [self._log, self.inbox.last]
        history = 0
        if not self._log:
            since, history = None, self._history
        elif self._history and not self.inbox.has_taken:
            # What it had asked for has never come, nor what came since; no log has this name, so that is told.
            since, history = ["", 0], self._history
        self._open(es, list(self._subjects.values()), list(self._patterns), since, history)

    def _open(
        self, es: Any, subjects: list[str], patterns: list[str], since: list[Any] | None, history: int
    ) -> None:
        token, log, newest = es.open_box(self._options, subjects, patterns, history, since)
        is_same_log = log == self._log
        if self.inbox.is_queue and self._log and not is_same_log:
            _log.warning(
                "the event server began anew without a database: queue %r is made again, and what waited in it is "
                "gone", self._options["queue"],
            )  # fmt: skip
        last = self.inbox.last if since and is_same_log else newest
        self.token, self._log = token, log
        self.inbox.change_box(last, is_same_log)
        link = self._link
        if link is not None:
            link.renew(self)

    def close(self) -> None:
        """End `listen`, tell the server that the box is not needed any more, and forget the subjects."""
        if self._state is not None:
            self.abort()  # Not one that has yet to begin: it may be for what is subscribed to afterwards.
        with self._box_changes:
            token, self.token = self.token, None
            self._subjects.clear()
            self._patterns.clear()
            if token is not None:
                try:
                    self.es.close_box(token)
                except EventError:
                    pass  # It is gone already.

    # -- listening -------------------------------------------------------------------------------------------

    def listen(self, limit: int, seconds: float | None) -> None:
        """Handle events until `abort`, for at most `seconds`.

        Args:
            limit: most handlers at a time.

        Raises:
            EventQueueFullError: the server has ended the subscription. EventError: somebody listens already.
            What a handler raises to end the program.
        """
        if self._link is not None:
            raise EventError("somebody listens already; abort() ends that, or make another Subscriber")
        # An `abort` that came while the thread for the first `listen` was on its way here ends that one.
        first, self._state = self._state is None, hub.current_state()
        self._over, self._error = first and self._over, None
        self._signal = hub.Signal()
        until = None if seconds is None else time.monotonic() + seconds
        link = self._link = Link.of(self.contact)
        try:
            self.inbox.begin(link.crew, limit)
            link.add(self)
            while not self._over:
                left = MAX_WAIT_SECONDS if until is None else until - time.monotonic()
                if left <= 0:
                    break
                hub.wait_for(self._signal, (), min(left, MAX_WAIT_SECONDS))
        finally:
            self._link = None
            self.inbox.end()
            link.remove(self)
        if self._error is not None:
            raise self._error

    @property
    def aborted(self) -> bool:
        """Whether `listen` is ending, or has ended otherwise than by its time."""
        return self._over

    def abort(self) -> None:
        """End `listen`, or the first one before it has begun; from anywhere."""
        self._over = True
        state = self._state
        if state is not None:
            hub.run_soon_or_now(state, self._stop)

    def _stop(self) -> None:
        """Begin with no more events; in the hub's thread."""
        if self._over:
            self.inbox.end()
            self._signal.set()

    def end_with(self, error: BaseException) -> None:
        """End `listen`, which raises this."""
        self._error = error
        self.token = None if isinstance(error, EventError) else self.token
        self.abort()

    def _note_done(self) -> None:
        if self._link is not None:
            self._link.note(self)

