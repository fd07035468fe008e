"""Delivery to subscribers that are objects, as Pyro has them: their `event` is called, wherever they live.

Each has a mailbox and a greenlet that calls one event after the other. The object may be one of any daemon, or of
the caller's own connection, where it ends with that.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from gpyro import hub
from gpyro._events.event import Event
from gpyro._events.mailbox import Gap, Mailbox
from gpyro.errors import ConnectionDeniedError, ProtocolError, UnknownObjectError
from gpyro.proxy import Proxy

__all__ = ["Courier"]

#: Longest that one call of a subscriber's `event` may take; then it counts as failed, and the next follows.
CALL_SECONDS = 30.0
#: Between two tries to reach a subscriber, from the first to the last, doubled each time.
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 0.1, 5.0

_log = logging.getLogger("gpyro.events")


class Courier:
    """Brings the events of one mailbox to an object.

    Args:
        proxy: the object; a copy is used where it has an address, so that it keeps no time limit of ours.
        identification: what to prove ourselves with where the object's daemon asks for it.
        resume_seconds: how long an object that cannot be reached is tried again.
        on_over: called once when it has ended.
        before: one to the same object whose last call may still run; the object gets one event at a time.

    Resources: `end` ends the greenlet; a subscriber that is gone ends it too.
    Errors: what `event` raises is logged, and counted in the mailbox's `failed`.
    """

    def __init__(
        self, proxy: Any, mailbox: Mailbox, identification: object, resume_seconds: float,
        on_over: Callable[[Courier], object], before: Courier | None = None,
    ) -> None:  # fmt: skip
        self.mailbox = mailbox
        #: The subscriber as it was given, which tells the connection that it is bound to.
        self.subscriber = proxy
        self._proxy: Proxy = proxy.__copy__()
        self._proxy._setTimeout(CALL_SECONDS)
        self._identification = identification
        self._resume_seconds = resume_seconds
        self._on_over = on_over
        self._signal = hub.Signal()
        self._ended = False
        self._before = before
        #: True once it has made its last call.
        self.is_over = False
        self._over = hub.Signal()
        mailbox.reader = self
        hub.spawn_in(hub.current_state(), self._run)

    def __repr__(self) -> str:
        return f"<Courier to {self.mailbox.label}, {'ended' if self._ended else 'running'}>"

    def ready(self, mailbox: Mailbox) -> None:
        """There is something to bring."""
        self._signal.set()

    def end(self) -> None:
        """Bring no more events; a call that is running ends by itself."""
        self._ended = True
        self._signal.set()

    def look(self) -> None:
        """See whether its connection has ended, which nobody else tells; to be called now and then."""
        if self._why_gone():
            self._signal.set()

    def _run(self) -> None:
        reason = "unsubscribed"
        try:
            self._await_before()
            while not self._ended:
                entries = self.mailbox.take(1, 1)
                if not entries:
                    hub.wait_for(self._signal, (), None)
                    gone = self._why_gone()
                    if gone:
                        reason = gone
                        break
                    continue
                gone = None if isinstance(entries[0], Gap) else self._bring(entries[0])
                self.mailbox.acknowledge(self.mailbox.acknowledged + 1)
                if gone:
                    reason = gone
                    break
        finally:
            self._ended = self.is_over = True
            self._over.set()
            if self._proxy is not self.subscriber:
                self._proxy._release()
            self.mailbox.close(reason)
            self._on_over(self)

    def _await_before(self) -> None:
        before, self._before = self._before, None
        while before is not None and not before.is_over:
            hub.wait_for(before._over, (), None)

    def _why_gone(self) -> str | None:
        """Return why an object of a connection cannot be reached any more, or None."""
        connection = self._proxy._gpyro_reference_()[0]
        return None if connection is None or connection.is_open() else "its connection has ended"

    def _bring(self, record: Any) -> str | None:
        """Call the subscriber; return why it is gone for good, or None."""
        event = Event.received(record.subject, record.payload, record.time, record.sequence)
        until = time.monotonic() + self._resume_seconds
        wait = FIRST_RETRY_SECONDS
        while not self._ended:
            try:
                self._proxy.event(event)
                return None
            except UnknownObjectError as exc:
                return str(exc)
            except ProtocolError as exc:
                if exc.remote_stacktrace is not None or getattr(exc, "maybe_executed", False):
                    # It has failed, or may have had it, and events are not doubled.
                    self._note_failure(event, exc)
                    return self._why_gone()
                self._identify(exc)
                error = exc
            except Exception as exc:
                self._note_failure(event, exc)
                return None
            gone = self._why_gone()
            if gone or time.monotonic() + wait > until:
                return gone or f"it could not be reached for {self._resume_seconds:g} s: {error}"
            hub.wait_for(self._signal, (), wait)
            wait = min(wait * 2, LAST_RETRY_SECONDS)
        return None

    def _identify(self, exc: ProtocolError) -> None:
        """Prove who we are from now on, where the object's daemon wants to know."""
        if isinstance(exc, ConnectionDeniedError) and self._identification is not None:
            self._proxy._setIdentification(self._identification)

    def _note_failure(self, event: Event, exc: Exception) -> None:
        self.mailbox.failed += 1
        _log.warning(
            "subscriber %s failed with %r: %s: %s", self.mailbox.label, event.subject, type(exc).__name__, exc
        )
