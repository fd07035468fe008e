"""Publisher and Subscriber: the two sides of events, as Pyro's manual has them."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from typing import Any

from gpyro._events.event import Event, pack_message
from gpyro._events.finding import Contact, find_event_server
from gpyro._events.mailbox import POLICIES
from gpyro._events.subscription import Subscription
from gpyro.errors import EventError
from gpyro.uri import PyroURI

__all__ = ["Publisher", "Subscriber"]

#: Handlers of one subscriber that run side by side, if they block: as many as a busy program has use for.
HANDLERS = 100
#: Bytes of a publisher's id: nobody has the same.
ID_BYTES = 8

_log = logging.getLogger("gpyro.events")


class Publisher:
    """Publishes events.

        publisher = Publisher()
        publisher.publish("Stock.SUNW", 12.5)

    Args:
        ident: what to prove ourselves with; None for an event server that lets everybody in.
        esURI: the event server's address; by default it is looked for, see `find_event_server`.

    Raises:
        NamingError: there is no event server.

    Source: Pyro 3 manual, chapter 6; Pyro.EventService.Clients.Publisher.
    """

    def __init__(self, ident: object = None, esURI: PyroURI | str | None = None) -> None:
        # Names of their own, for programs inherit from this and Subscriber at once.
        self._gpyro_es = find_event_server(ident, esURI)
        self._gpyro_publisher = secrets.token_hex(ID_BYTES)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.ES!r}>"

    @property
    def ES(self) -> Any:
        """A proxy for the event server."""
        return self._gpyro_es

    @ES.setter
    def ES(self, es: Any) -> None:
        self._gpyro_es = es

    def publish(self, subjects: str | Sequence[str] | None, msg: Any) -> None:
        """Publish a message under a subject, or several.

        Returns when every subscriber's queue has it; with a queue that is reliable and on disk, when it is there.

        Raises:
            SerializationError: the message cannot travel. EventError: a subject is not right, or it is too large.
            EventQueueFullError: a subscriber had no room for too long, and its policy is `block`; all others have
                the event. ConnectionClosedError: the server is gone; `maybe_executed` tells what is known.
        """
        self.ES.publish_packed(subjects, pack_message(msg), self._gpyro_publisher)


class Subscriber:
    """Gets events. Subclass it, override `event`, subscribe, and `listen`.

        class Prices(Subscriber):
            def event(self, event):
                print(event.subject, event.msg)

        prices = Prices()
        prices.subscribe("Stock.SUNW")
        prices.listen()

    Its events come over its own connection to the event server, which all subscribers of a thread share.

    Args:
        ident, esURI: as for `Publisher`.
        policy: what becomes of events when `queuesize` of them wait for this subscriber: "block" (publishers wait
            up to `block_seconds`), "drop_new", "drop_old" or "disconnect" (`listen` raises EventQueueFullError).
            By default the event server's setting es_blockqueue decides between the first two.
        queuesize: events that may wait; by default the event server's setting es_queuesize.
        block_seconds: by default, and at most, its setting es_block_seconds.
        history: so many of the last events that match come first, as far as the server still has them.
        queue: the name of a reliable queue. It keeps what it is subscribed to until a subscriber's `event` has
            returned, also while there is none; several subscribers share the events of one queue among them.
        redeliver_seconds: when an event of a reliable queue whose `event` has not returned goes out again.

    Raises:
        NamingError: there is no event server.

    Source: Pyro 3 manual, chapter 6; Pyro.EventService.Clients.Subscriber.
    """

    def __init__(
        self, ident: object = None, esURI: PyroURI | str | None = None, *, policy: str | None = None,
        queuesize: int | None = None, block_seconds: float | None = None, history: int = 0,
        queue: str | None = None, redeliver_seconds: float | None = None,
    ) -> None:  # fmt: skip
        if policy is not None and policy not in POLICIES:
            raise EventError(f"policy {policy!r} is not one of {', '.join(POLICIES)}")
        if history and queue is not None:
            raise EventError(f"history={history} with queue={queue!r}; a queue keeps events from when it was made")
        options = {
            "policy": policy, "queuesize": queuesize, "block_seconds": block_seconds, "queue": queue,
            "redeliver_seconds": redeliver_seconds,
        }  # fmt: skip
        given = {name: value for name, value in options.items() if value is not None}
        # One attribute, for this is a class that programs put many of their own things into.
        contact = Contact.of(ident, esURI)
        self._gpyro_subscription = Subscription(contact, given, history, self._gpyro_event, self._gpyro_lost)
        contact.es  # noqa: B018  so that one that is not there is told now
        self._gpyro_publisher = secrets.token_hex(ID_BYTES)
        self._gpyro_limit = HANDLERS

    def __repr__(self) -> str:
        subscription = self.__dict__.get("_gpyro_subscription", "not initialised")
        return f"<{type(self).__name__}: {subscription}>"

    @property
    def ES(self) -> Any:
        """A proxy for the event server."""
        return self._gpyro_behind().es

    # -- what a program calls ----------------------------------------------------------------------------------

    def subscribe(self, subjects: str | Sequence[str] | None) -> None:
        """Get the events of a subject, or several, in whatever case they are written.

        Raises:
            EventError: a subject is not right.
        """
        self._gpyro_behind().select(subjects, None)

    def subscribeMatch(self, subjectPatterns: str | Sequence[str] | None) -> None:
        """Get the events whose subjects match a regular expression from their beginning, without regard to case.

        Raises:
            PatternError: it is malformed, or could take too long.
        """
        self._gpyro_behind().select(None, subjectPatterns)

    def unsubscribe(self, subjects: str | Sequence[str] | None) -> None:
        """Get no more events of these subjects, or of patterns of this text; others are passed over."""
        self._gpyro_behind().deselect(subjects)

    def publish(self, subjects: str | Sequence[str] | None, msg: Any) -> None:
        """Publish a message; see `Publisher.publish`."""
        self.ES.publish_packed(subjects, pack_message(msg), self._gpyro_publisher)

    def listen(self, timeout: float | None = None) -> None:
        """Wait for events and have `event` called with them, until `abort`, or for `timeout` seconds.

        A server that is lost is tried again for ever; what was missed then comes later, or is told to
        `events_lost`.

        Raises:
            EventQueueFullError: the server has ended the subscription, as the policy is "disconnect".
            ConnectionDeniedError: it does not let us in (any more).
        """
        self._gpyro_behind().listen(self._gpyro_limit, timeout)

    def abort(self) -> None:
        """End `listen` at once; from any thread, greenlet or `event`."""
        self._gpyro_behind().abort()

    @property
    def abortListen(self) -> bool:
        """Whether `abort` was called; to set it to true calls it. Source: Pyro's attribute."""
        return self._gpyro_behind().aborted

    @abortListen.setter
    def abortListen(self, aborted: Any) -> None:
        if aborted:
            self.abort()

    def setThreading(self, threaded: bool | int, limit: int = HANDLERS) -> None:
        """Say how events are handled: one after another (0), or side by side where a handler blocks (1).

        Args:
            threaded: 1 is how it begins. Each handler has a greenlet then.
            limit: most handlers at a time.

        It holds from the next `listen` on.
        """
        if not isinstance(limit, int) or limit < 1:
            raise ValueError(f"limit={limit!r}; handlers at a time are a whole number from 1")
        self._gpyro_limit = limit if threaded else 1

    def close(self) -> None:
        """End all subscriptions at the event server, which would find out by itself after a while."""
        self._gpyro_behind().close()

    # -- what a program overrides ----------------------------------------------------------------------------

    def event(self, event: Event) -> None:
        """Handle an event; override it. What it raises is logged, and the next event follows.

        Of a reliable queue, an event whose handling raised goes out again after a while.
        """
        _log.warning("%s gets %r and has no method event() of its own", type(self).__name__, event)

    def events_lost(self, count: int | None) -> None:
        """Events were lost before the next one: so many, or None where nobody knows how many; override it."""
        many = "an unknown number of" if count is None else count
        _log.warning("%s has lost %s events", type(self).__name__, many)

    # -- parts -----------------------------------------------------------------------------------------------

    def _gpyro_event(self, event: Event) -> None:
        self.event(event)

    def _gpyro_lost(self, count: int | None) -> None:
        self.events_lost(count)

    def _gpyro_behind(self) -> Subscription:
        try:
            return self._gpyro_subscription
        except AttributeError:
            raise EventError(
                f"Subscriber.__init__ has not been called for this {type(self).__name__}; call it first in its own"
            ) from None
