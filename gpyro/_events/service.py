"""The event server's object: what publishers, subscribers and tools call.

`publish`, `subscribe`, `subscribeMatch` and `unsubscribe` are Pyro's, for any caller. The others are for gpyro's
own clients (`gpyro.eventserver.Publisher`, `Subscriber`), which fetch their events over their own connection.
Source: Pyro 3 manual, chapter 6; Pyro.EventService.Server.
"""

from __future__ import annotations

import reprlib
import time
from collections.abc import Sequence
from typing import Any

from gpyro._events.distributor import Distributor
from gpyro._events.event import pack_message
from gpyro._events.mailbox import Mailbox
from gpyro._events.members import Member, Members
from gpyro._events.namedqueue import Consumer
from gpyro._events.options import check_name, check_owner
from gpyro._events.patternindex import CompiledPattern
from gpyro._events.reporting import Meter, describe_courier, describe_member, describe_queue, status_of
from gpyro._events.session import Batch, Session
from gpyro._events.subjects import subjects_of
from gpyro.configuration import Settings
from gpyro.configuration import config as process_config
from gpyro.context import current_call
from gpyro.errors import EventError
from gpyro.objects import ObjBase, cancellable
from gpyro.storage.eventmemory import EventMemory
from gpyro.storage.events import EventStorage

__all__ = ["EVENTSERVER_NAME", "EventService"]

#: Source: Pyro.constants.EVENTSERVER_NAME.
EVENTSERVER_NAME = ":Pyro.EventService"
#: Longest wait of one fetch, and longest id of a publisher.
MAX_WAIT_SECONDS, MAX_PUBLISHER_LENGTH = 60.0, 64
#: Most subscribers that one answer describes.
MAX_DESCRIBED = 1_000


class EventService(ObjBase):
    """An event server; connect it to a daemon under `EVENTSERVER_NAME`, or let `EventServiceStarter` do so.

    Args:
        storage: where the history and reliable queues are kept; in memory by default.
        config: settings; the process's by default.
        identification: what to prove ourselves with to the daemons of subscribers that are objects.

    Resources: whoever gives a storage closes it, when the daemon has ended.
    Errors: a subscriber that fails or is gone is told in the log and counted; nobody else notices.
    """

    def __init__(
        self, storage: EventStorage | None = None, config: Settings | None = None, identification: object = None
    ) -> None:
        super().__init__()
        settings = config or process_config
        if storage is None:
            storage = EventMemory(max_events=settings.es_history, max_bytes=settings.es_history_bytes)
        self._settings = settings
        self._distributor = Distributor(storage, settings.es_block_seconds, settings.es_queue_bytes)
        self._members = Members(self._distributor, settings, self._has_ended, identification)
        self._meter = Meter()
        self._had_daemon = False
        for record in storage.queues():
            self._members.restore(record)

    def __repr__(self) -> str:
        return f"<EventService {self._distributor!r}, {self._members!r}>"

    def _has_ended(self) -> bool:
        daemon = self.getDaemon()
        if daemon is None:
            return self._had_daemon
        self._had_daemon = True
        return bool(daemon.is_ending())

    # -- Pyro's ------------------------------------------------------------------------------------------------

    def publish(self, subjects: str | Sequence[str] | None, message: Any) -> None:
        """Publish a message under one subject or several, each an event of its own with the same time.

        Returns when it is in the queue of every subscriber.

        Raises:
            EventError: a subject is not right, or the message is too large.
            SerializationError: the message holds an object of this connection.
            EventQueueFullError: subscribers did not take it in time.
        """
        self._publish(subjects, pack_message(message), _caller_id())

    def subscribe(self, subjects: str | Sequence[str] | None, subscriber: Any) -> None:
        """Call `subscriber.event(event)` for each event of one of these subjects, in whatever case.

        Raises:
            EventError: a subject is not right, or the subscriber is no object that can be called.
        """
        names = subjects_of(subjects)
        if names:
            self._members.select_for(_checked(subscriber), names, ())

    def subscribeMatch(self, subjects: str | Sequence[str] | None, subscriber: Any) -> None:
        """As `subscribe`, for all subjects that match one of these regular expressions, from their beginning.

        Raises:
            PatternError: a pattern is malformed or could take too long.
        """
        patterns = subjects_of(subjects, "pattern")
        if patterns:
            self._members.select_for(_checked(subscriber), (), patterns)

    def unsubscribe(self, subjects: str | Sequence[str] | None, subscriber: Any) -> None:
        """End subscriptions to these subjects, or where there is none of that name, to the pattern of that text.

        One that it does not have is passed over.

        Raises:
            EventError: the subscriber has not subscribed to anything.
        """
        self._members.deselect_for(_checked(subscriber), subjects_of(subjects))

    # -- publishers and subscribers of gpyro -------------------------------------------------------------------

    def publish_packed(self, subjects: str | Sequence[str] | None, payload: bytes, publisher: str) -> None:
        """As `publish`, with what `pack_message` has made; events of one publisher keep their order."""
        if not isinstance(payload, bytes) or not isinstance(publisher, str):
            raise EventError("a packed message is bytes, and the id of its publisher a text")
        if len(publisher) > MAX_PUBLISHER_LENGTH or not publisher.isprintable():
            raise EventError(f"the id of a publisher has up to {MAX_PUBLISHER_LENGTH} printable characters")
        self._publish(subjects, payload, publisher)

    def open_box(
        self, options: dict[str, Any], subjects: Any = None, patterns: Any = None, history: int = 0,
        since: list[Any] | None = None,
    ) -> tuple[str, str, int]:  # fmt: skip
        """Make a subscriber.

        Args:
            options: see `gpyro._events.options`.
            subjects, patterns: what to subscribe to at once.
            history: so many of the last events that match, first.
            since: the log and the sequence of the last event that this subscriber got here before; what came
                since comes first, as far as it is still there.

        Returns:
            Its token, the log, and the highest sequence that is distributed now.
        """
        names, compiled = subjects_of(subjects), self._members.make_patterns(subjects_of(patterns, "pattern"))
        member = self._members.open(options)
        try:
            self._select(member, names, compiled, history, since)
        except BaseException:
            self._members.close(member)
            raise
        return member.token, self._distributor.storage.log, self._distributor.distributed

    def select(self, box: str, subjects: Any = None, patterns: Any = None, history: int = 0) -> None:
        """Subscribe to more; see `open_box`."""
        names, compiled = subjects_of(subjects), self._members.make_patterns(subjects_of(patterns, "pattern"))
        self._select(self._members.find(box), names, compiled, history, None)

    def deselect(self, box: str, subjects: Any) -> None:
        """Unsubscribe from these subjects and patterns."""
        self._members.deselect(self._members.find(box).target, subjects_of(subjects))

    def close_box(self, box: str) -> None:
        """End a subscriber; what waits in a reliable queue stays there."""
        self._members.close(self._members.find(box))

    def open_link(self) -> str:
        """Begin a link, and return its token."""
        return self._members.open_session()

    def close_link(self, link: str) -> None:
        """End a link, if it is there still; its boxes stay for a while, to be fetched from over another one."""
        self._members.close_session(link)

    def attach(self, link: str, boxes: list[list[Any]]) -> list[int | str | None]:
        """Let a link fetch from boxes: of each its token, how many entries of it have arrived, and how many events
        its subscriber handles at a time.

        Returns:
            The number by which the link knows each, None where the server does not know it (any more), or a text
            that says why it cannot be fetched from.
        """
        session = self._members.session(link)
        numbers: list[int | str | None] = []
        for token, received, limit in boxes:
            if type(received) is not int or type(limit) is not int:
                raise EventError(f"received={received!r}, limit={limit!r}; both are whole numbers")
            try:
                member = self._members.find(token)
            except EventError:
                numbers.append(None)
            else:
                numbers.append(self._members.attach(session, member, received, limit))
        return numbers

    def detach(self, link: str, box: str) -> None:
        """Fetch from this box no more; it stays for a while."""
        self._members.detach(self._members.session(link), self._members.find(box))

    @cancellable
    def fetch(self, link: str, done: list[list[Any]], seconds: float) -> Batch:
        """Take in what is done, and return what there is; see `gpyro._events.session`.

        Args:
            done: as for `note_done`.
            seconds: how long to wait at most, up to MAX_WAIT_SECONDS.
        """
        if not isinstance(seconds, (int, float)) or not seconds >= 0:
            raise EventError(f"seconds={seconds!r}; a time to wait is a number, 0 or more")
        session = self._members.session(link)
        self._note_done(session, done)
        if session.is_lost:
            raise EventError("this link was lost for a while; begin a new one")
        try:
            return session.fetch(min(seconds, MAX_WAIT_SECONDS))
        except BaseException:
            if not session.is_there():
                self._members.lost(session)
            raise

    def note_done(self, link: str, done: list[list[Any]]) -> None:
        """Take in what subscribers have dealt with.

        Args:
            done: numbers of boxes, and how many entries are done in all of each; of a reliable queue's box the
                sequences that are acknowledged, the sequences and lanes of those that failed, and how many
                failures that box has told by now.
        """
        self._note_done(self._members.session(link), done)

    # -- looking -----------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Return what the event server does, in numbers; docs/events.md has the keys."""
        return status_of(self._distributor, self._members, self._meter)

    def subscribers(self, after: int = 0, limit: int = 500) -> list[dict[str, Any]]:
        """Return what is known of subscribers whose id is higher than `after`, by id, at most `limit` of them."""
        found = [(member.box.number, describe_member(member, self._distributor)) for member in self._listed(after)]
        found += [
            (courier.mailbox.number, describe_courier(courier, self._distributor))
            for courier in self._members.couriers.values() if courier.mailbox.number > after
        ]  # fmt: skip
        found.sort(key=lambda pair: pair[0])
        return [entry for _, entry in found[: max(min(limit, MAX_DESCRIBED), 0)]]

    def queues(self) -> list[dict[str, Any]]:
        """Return what is known of reliable queues, by name."""
        return [describe_queue(queue) for _, queue in sorted(self._distributor.queues.items())]

    def remove_queue(self, name: str) -> None:
        """Remove a reliable queue with all that waits in it, and its subscribers.

        Raises:
            EventError: there is none. AccessDeniedError: it is somebody else's.
        """
        queue = self._distributor.queues.get(check_name(name))
        if queue is None:
            raise EventError(f"there is no queue {name!r}; `gpyro es status` lists those there are")
        check_owner(queue.record, current_call.identity)
        self._members.remove_queue(queue)

    # -- parts -------------------------------------------------------------------------------------------------

    def _publish(self, subjects: Any, payload: bytes, publisher: str) -> None:
        self._distributor.publish(subjects_of(subjects), payload, publisher)
        self._meter.note(self._distributor.events, time.monotonic())

    def _select(
        self, member: Member, subjects: list[str], patterns: list[CompiledPattern], history: int,
        since: list[Any] | None,
    ) -> None:  # fmt: skip
        target = member.target
        if isinstance(target, Mailbox) and since:
            log, sequence = since
            storage = self._distributor.storage
            known = log == storage.log and sequence <= storage.newest
            if known:
                self._members.replay(member, subjects, patterns, sequence, None)
                return
            target.note_lost(None)
        if isinstance(target, Mailbox) and history > 0:
            self._members.replay(member, subjects, patterns, 0, history)
        else:
            self._members.select(target, subjects, patterns)

    def _note_done(self, session: Session, done: list[list[Any]]) -> None:
        boxes = session.boxes
        for numbers, *what in done:
            for number in numbers:
                box = boxes.get(number)
                if type(box) is Mailbox:
                    if len(what) != 1 or type(what[0]) is not int:
                        raise EventError(f"a subscriber tells how many entries are done, not {reprlib.repr(what)}")
                    box.acknowledge(what[0])
                elif isinstance(box, Consumer):
                    self._members.note_done_in_queue(box, *_checked_done(what))

    def _listed(self, after: int) -> list[Member]:
        return [member for member in self._members.members.values() if member.box.number > after]


def _checked(subscriber: Any) -> Any:
    if not hasattr(type(subscriber), "_gpyro_reference_"):
        raise EventError(
            f"a subscriber is an object with a method event(), or a proxy for one, not {type(subscriber).__name__}"
        )
    return subscriber


def _checked_done(what: list[Any]) -> tuple[list[int], list[list[int]], int]:
    """Return what a queue's subscriber tells, in parts; nothing is done where something of it is not right."""
    try:
        done, failed, total = what
        pairs = [part for pair in failed for part in pair]
        if all(type(part) is int for part in (*done, *pairs, total)) and all(len(pair) == 2 for pair in failed):
            return done, failed, total
    except (TypeError, ValueError):
        pass
    raise EventError(
        "of a queue's subscriber are told sequences, pairs of a sequence and a lane, and how many failures there "
        f"were, not {reprlib.repr(what)}"
    )


def _caller_id() -> str:
    """Return an id for whoever publishes without one of its own: its connection's, so that its order is kept."""
    caller = current_call.caller
    return "" if caller is None else f"connection {id(caller):x}"
